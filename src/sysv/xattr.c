/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes of segments, and those of the root directory that tell of all segments.  The
 * numbers come from the calls that ipcs(1) and lsipc(1) make, at the moment of the request.
 */
#include "sysv/internal.h"

#include <inttypes.h>
#include <linux/limits.h>
#include <sys/sysinfo.h>

/* --- of a segment; the context is its struct sysv_object --- */

enum field { KEY, ID, NATTCH, CPID, LPID, CUID, CGID, LOCKED, RESIDENT, SWAPPED };

static bool is_swap_empty(void)
{
	struct sysinfo info;

	return sysinfo(&info) == 0 && info.freeswap == info.totalswap;
}

/* shmctl(2) tells most of them, /proc/sysvipc/shm alone what is resident and swapped. */
static int get_field(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	SYSV_SNAPSHOT snapshot = { 0 };
	struct sysv_usage_row row = { 0 };
	const struct shmid_ds *ds = &snapshot.ds;
	int err = sysv_snapshot_take(context, &snapshot);

	if (!err && (field == RESIDENT || (field == SWAPPED && !is_swap_empty())))
		err = sysv_usage_find(&sysv_backend_of(snapshot.object)->usage, snapshot.id, &row);
	if (err)
		return err;

	const uint64_t values[] = {
		[KEY] = (unsigned)ds->shm_perm.__key,
		[ID] = (unsigned)snapshot.id,
		[NATTCH] = snapshot.others,
		[CPID] = (unsigned)ds->shm_cpid,
		[LPID] = (unsigned)ds->shm_lpid,
		[CUID] = ds->shm_perm.cuid,
		[CGID] = ds->shm_perm.cgid,
		[LOCKED] = (ds->shm_perm.mode & SYSV_MODE_LOCKED) != 0,
		[RESIDENT] = row.resident,
		[SWAPPED] = row.swapped,
	};

	fprintf(out, field == KEY ? "0x%08" PRIx64 : "%" PRIu64, values[field]);
	return 0;
}

/*
 * Only the descriptor of an open segment tells of huge pages.  SHM_NORESERVE has no word, for the
 * kernel does not show it.
 */
static int get_status(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	SYSV_SNAPSHOT snapshot = { 0 };
	int err = sysv_snapshot_take(context, &snapshot);
	unsigned mode = snapshot.ds.shm_perm.mode;
	const char *words[] = {
		snapshot.gone || (mode & SYSV_MODE_DEST) ? "dest" : NULL,
		mode & SYSV_MODE_LOCKED ? "locked" : NULL,
		snapshot.segment && snapshot.segment->huge ? "hugetlb" : NULL,
	};
	const char *blank = "";

	for (size_t i = 0; !err && i < sizeof(words) / sizeof(*words); i++) {
		if (words[i]) {
			fprintf(out, "%s%s", blank, words[i]);
			blank = " ";
		}
	}
	return err;
}

/*
 * `field` is the format.  A segment that only our descriptor keeps has no id, and no process has it
 * attached.
 */
static int get_users(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	struct sysv_backend *be = sysv_backend_of(context);
	SYSV_SNAPSHOT snapshot = { 0 };
	int err = sysv_snapshot_take(context, &snapshot);

	if (err)
		return err;

	const struct shmfs_users_query query = {
		.files = { { SHMFS_SEGMENT_FILES, SHMFS_FILE_NUMBER(shmfs_object_ino(context, 0)) },
			   { snapshot.gone ? 0 : SHMFS_SEGMENTS, (ino_t)snapshot.id } },
		.open = field == SHMFS_USERS_FULL,
		.format = (enum shmfs_users_format)field,
	};

	return shmfs_users_write(be->config.users, &query, caller, out);
}

static int set_locked(void *context, int field, const char *value, size_t size,
		      const struct shmfs_caller *caller)
{
	struct sysv_object *obj = context;
	struct shmid_ds ds;
	bool on;
	int id, err = shmfs_xattr_parse_switch(value, size, &on);

	if (err)
		return err;
	SHMFS_READ_LOCKED(&obj->io);
	err = sysv_object_now(obj, &id, &ds, NULL);
	return err ? err : sysv_gone(sysv_lock(sysv_backend_of(obj), id, on, caller));
}

#define OF(name) SHMFS_XATTR_OBJECT name

const struct shmfs_xattr sysv_xattrs[] = {
	{ OF("key"), get_field, NULL, KEY, 0 },
	{ OF("id"), get_field, NULL, ID, 0 },
	{ OF("nattch"), get_field, NULL, NATTCH, SHMFS_XATTR_ROOM },
	{ OF("cpid"), get_field, NULL, CPID, 0 },
	{ OF("lpid"), get_field, NULL, LPID, SHMFS_XATTR_ROOM },
	{ OF("cuid"), get_field, NULL, CUID, 0 },
	{ OF("cgid"), get_field, NULL, CGID, 0 },
	{ OF("resident"), get_field, NULL, RESIDENT, SHMFS_XATTR_ROOM },
	{ OF("swapped"), get_field, NULL, SWAPPED, SHMFS_XATTR_ROOM },
	{ OF("status"), get_status, NULL, 0, SHMFS_XATTR_ROOM },
	{ OF("attached"), get_users, NULL, SHMFS_USERS_ATTACHED, XATTR_SIZE_MAX },
	{ OF("users"), get_users, NULL, SHMFS_USERS_FULL, XATTR_SIZE_MAX },
	{ OF("locked"), get_field, set_locked, LOCKED, 0 },
	{ 0 },
};

/* --- of the root directory; the context is the backend --- */

enum limit { SHMMAX, SHMALL, SHMMNI, SEGMENTS, PAGES };

static int get_limit(void *context, int field, FILE *out, const struct shmfs_caller *caller)
{
	struct shminfo limits;
	struct shm_info used;

	if (shmctl(0, IPC_INFO, (struct shmid_ds *)&limits) < 0 ||
	    shmctl(0, SHM_INFO, (struct shmid_ds *)&used) < 0)
		return -errno;

	const unsigned long values[] = {
		[SHMMAX] = limits.shmmax, [SHMALL] = limits.shmall,
		[SHMMNI] = limits.shmmni, [SEGMENTS] = (unsigned long)used.used_ids,
		[PAGES] = used.shm_tot,
	};

	fprintf(out, "%lu", values[field]);
	return 0;
}

const struct shmfs_xattr sysv_root_xattrs[] = {
	{ SHMFS_XATTR_ROOT "shmmax", get_limit, NULL, SHMMAX, 0 },
	{ SHMFS_XATTR_ROOT "shmall", get_limit, NULL, SHMALL, 0 },
	{ SHMFS_XATTR_ROOT "shmmni", get_limit, NULL, SHMMNI, 0 },
	{ SHMFS_XATTR_ROOT "segments", get_limit, NULL, SEGMENTS, SHMFS_XATTR_ROOM },
	{ SHMFS_XATTR_ROOT "pages", get_limit, NULL, PAGES, SHMFS_XATTR_ROOM },
	{ 0 },
};
