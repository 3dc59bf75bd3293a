/* SPDX-License-Identifier: MIT */
/*
 * Segments as objects.
 *
 * A segment is inspected by its id without permission and without a trace (SHM_STAT_ANY).  So an
 * object remembers nothing that another process could change: it knows its shmid, and its memory
 * only while handles are open.
 */
#include "sysv/internal.h"

/* A key can get another segment again and again. */
#define MOST_TRIES 10

/* How long to wait for another mount: an owner could keep others waiting. */
#define OWNER_WAITS_NS 1200000000u
#define OTHERS_WAIT_NS 20000000u
#define PAUSE_NS 1000000

struct shmfs_object *sysv_object_make(struct shmfs_backend *base, uint64_t identity)
{
	struct sysv_object *obj = calloc(1, sizeof(*obj));
	pthread_rwlockattr_t attr;

	if (!obj)
		return NULL;
	obj->id = (int)identity;
	pthread_rwlockattr_init(&attr);
#ifdef __GLIBC__
	/* Many who write would keep a close or a resize waiting.  No thread takes it twice. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
	pthread_rwlock_init(&obj->io, &attr);
	pthread_rwlockattr_destroy(&attr);
	return &obj->base;
}

void sysv_object_free(struct shmfs_object *base)
{
	struct sysv_object *obj = sysv_object(base);

	pthread_rwlock_destroy(&obj->io);
	free(obj);
}

/*
 * shmctl(2) tells a 32-bit program 32 bits of the size (ipc/shm.c, copy_compat_shmid_to_user(),
 * Linux 6.18).  A 64-bit program can have made the segment larger.
 */
static uint64_t whole_size(struct sysv_object *obj, const struct shmid_ds *ds)
{
	if (sizeof(ds->shm_segsz) == sizeof(uint64_t))
		return ds->shm_segsz;
	return sysv_usage_size(&sysv_backend_of(obj)->usage, obj->id, (uint32_t)ds->shm_segsz);
}

int sysv_object_stat(struct sysv_object *obj, uint64_t *others)
{
	struct shmid_ds ds;
	int err = sysv_segment_stat(sysv_backend_of(obj), obj->id, &ds, others);

	if (!err && obj->known && !sysv_is_same(&ds, &obj->last))
		err = -ESTALE;
	if (!err && !obj->known) {
		obj->size = whole_size(obj, &ds);
		obj->inode.bytes = 0;
	}
	if (!err) {
		obj->last = ds;
		obj->known = true;
	}
	return err;
}

int sysv_object_now(struct sysv_object *obj, int *id, struct shmid_ds *ds, uint64_t *others)
{
	SHMFS_LOCKED(&obj->base.lock);
	int err = sysv_object_stat(obj, others);

	if (err)
		return err;
	if (id)
		*id = obj->id;
	*ds = obj->last;
	return 0;
}

/* Take over the segment that the key has now.  obj->io is held. */
static int follow_key(struct sysv_object *obj)
{
	SHMFS_LOCKED(&obj->base.lock);
	int id;

	/* A handle goes on with what it opened. */
	if (!obj->key || obj->nhandles)
		return -ESTALE;
	id = shmget((key_t)obj->key, 0, 0);
	/* If another object has that segment, the key had none in between. */
	if (id < 0 || (id != obj->id && !shmfs_object_rekey(&obj->base, (uint64_t)id, false)))
		return -ENOENT;
	obj->id = id;
	obj->known = false;
	obj->growth = SYSV_SETTLED;
	obj->least_size = 0;
	return 0;
}

bool sysv_follows_key(struct sysv_object *obj, unsigned *tries, int *err)
{
	if (*err != -ESTALE)
		return false;
	pthread_rwlock_rdlock(&obj->io);
	*err = follow_key(obj);
	pthread_rwlock_unlock(&obj->io);
	/* Another process makes and removes it again and again. */
	if (!*err && ++*tries > MOST_TRIES)
		*err = -ENOENT;
	return *err == 0;
}

uint64_t sysv_segment_size(const struct sysv_object *obj)
{
	return obj->segment ? obj->segment->size : obj->size;
}

uint64_t sysv_file_size(const struct sysv_object *obj)
{
	if (obj->growth == SYSV_SETTLED)
		return sysv_segment_size(obj);
	return obj->growth == SYSV_GROWING ? obj->content_end :
					     shmfs_max(obj->least_size, obj->content_end);
}

/* --- attributes --- */

static void fill_stat(const struct sysv_snapshot *snapshot, struct stat *st)
{
	struct sysv_backend *be = sysv_backend_of(snapshot->object);
	const struct shmid_ds *ds = &snapshot->ds;
	bool dest = snapshot->gone || (ds->shm_perm.mode & SYSV_MODE_DEST);

	*st = (struct stat){
		.st_mode = S_IFREG | (ds->shm_perm.mode & 0777),
		.st_nlink = (nlink_t)(snapshot->others + (dest ? 0 : 1)),
		.st_uid = ds->shm_perm.uid,
		.st_gid = ds->shm_perm.gid,
		.st_size = (off_t)snapshot->size,
		.st_blksize = (blksize_t)sysconf(_SC_PAGESIZE),
		.st_atim.tv_sec = ds->shm_atime,
		.st_mtim = sysv_times_modified(be, snapshot->id, ds, snapshot->others),
		.st_ctim.tv_sec = ds->shm_ctime,
	};
}

/*
 * No more than there is: of huge pages the kernel's table tells too many times (ipc/shm.c,
 * shm_add_rss_swap(), Linux 6.18: pages of pages).
 */
static blkcnt_t usage_blocks(const struct sysv_snapshot *snapshot, const struct stat *st)
{
	uint64_t page = (uint64_t)st->st_blksize;
	uint64_t most = ((uint64_t)st->st_size + page - 1) / page * page;
	/* A process that has it attached can touch pages at any time. */
	time_t changed = snapshot->others > 0 ? time(NULL) : st->st_mtim.tv_sec;
	uint64_t usage =
		sysv_usage_of(&sysv_backend_of(snapshot->object)->usage, snapshot->id, changed);

	return (blkcnt_t)(shmfs_min(usage, most) / 512);
}

int sysv_snapshot_now(struct sysv_object *obj, struct sysv_snapshot *snapshot)
{
	SHMFS_LOCKED(&obj->base.lock);
	bool gone = false;
	uint64_t others = 0;

	if (!obj->replacing)
		gone = sysv_object_stat(obj, &others) != 0;
	if (gone && !obj->segment)
		return -ESTALE;
	*snapshot = (struct sysv_snapshot){
		.object = obj,
		.id = obj->id,
		.ds = obj->last,
		.size = sysv_file_size(obj),
		.others = others,
		.gone = gone,
		.segment = obj->segment ? sysv_segment_get(obj->segment) : NULL,
	};
	return 0;
}

int sysv_snapshot_take(struct sysv_object *obj, struct sysv_snapshot *snapshot)
{
	unsigned tries = 0;
	int err;

	do {
		err = sysv_snapshot_now(obj, snapshot);
	} while (sysv_follows_key(obj, &tries, &err));
	return err;
}

/*
 * Root waits to open one file.  It does not wait to list the files that a user may have closed.  To
 * attach a new segment takes microseconds.
 */
static uint64_t patience(const struct shmid_ds *ds, bool to_open, const struct shmfs_caller *caller)
{
	bool is_own = to_open ? sysv_is_owner(ds, caller) : caller->uid == ds->shm_perm.uid;
	bool is_filled = (ds->shm_perm.mode & 0777) == SYSV_MODE_CLOSED;

	return is_own && is_filled ? OWNER_WAITS_NS : OTHERS_WAIT_NS;
}

bool sysv_wait_while_closed(struct sysv_object *obj, bool to_open,
			    const struct shmfs_caller *caller)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint64_t start = shmfs_now_ns();
	struct shmid_ds ds;

	while (sysv_object_now(obj, NULL, &ds, NULL) == 0 && sysv_is_closed(&ds)) {
		if (!caller || shmfs_now_ns() - start >= patience(&ds, to_open, caller))
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

int sysv_look(struct sysv_object *obj, const struct shmfs_caller *caller, struct stat *st)
{
	struct sysv_snapshot snapshot;
	struct stat file;
	int err = sysv_snapshot_now(obj, &snapshot);
	int tries = SYSV_CLOSED_TRIES;

	while (!err && !snapshot.gone && sysv_is_closed(&snapshot.ds) && tries-- > 0) {
		sysv_segment_put(snapshot.segment);
		if (!sysv_wait_while_closed(obj, false, caller))
			tries = 0;
		err = sysv_snapshot_now(obj, &snapshot);
	}
	if (err)
		return err;
	fill_stat(&snapshot, st);
	if (snapshot.segment && snapshot.segment->fd >= 0 &&
	    fstat(snapshot.segment->fd, &file) == 0)
		st->st_blocks = file.st_blocks;
	else
		st->st_blocks = usage_blocks(&snapshot, st);
	sysv_segment_put(snapshot.segment);
	return 0;
}

int sysv_getattr(struct shmfs_object *base, const struct shmfs_caller *caller, struct stat *st)
{
	unsigned tries = 0;
	int err;

	do {
		err = sysv_look(sysv_object(base), caller, st);
	} while (sysv_follows_key(sysv_object(base), &tries, &err));
	return err;
}

/* --- handles that may outgrow the segment --- */

void sysv_set_grows(struct sysv_object *obj, struct sysv_handle *h, bool grows)
{
	obj->ngrowers += (unsigned)grows - (unsigned)h->grows;
	h->grows = grows;
}

bool sysv_stop_growing(struct sysv_object *obj, struct sysv_handle *h)
{
	SHMFS_LOCKED(&obj->base.lock);
	bool last = h->grows && obj->ngrowers == 1;

	sysv_set_grows(obj, h, false);
	return last;
}

/* The handle writes, perhaps after a close.  The object's lock is held. */
static void resume_growing(struct sysv_object *obj, struct sysv_handle *h)
{
	if (h->grows || h->lent || h->fixed)
		return;
	sysv_set_grows(obj, h, true);
	/* The writer that made the file goes on behind its last write. */
	if (h->created && obj->least_size)
		obj->growth = SYSV_GROWING;
}

void sysv_set_file(struct sysv_object *obj, enum sysv_growth growth, uint64_t size)
{
	SHMFS_LOCKED(&obj->base.lock);

	obj->growth = growth;
	obj->least_size = 0;
	obj->content_end = size;
}

/* --- memory and rights --- */

/* Open the segment that object->last has just told of.  The object's lock is held. */
static int open_segment(struct sysv_object *obj, bool writable, const struct shmfs_caller *caller,
			struct sysv_segment **out)
{
	return sysv_gone(sysv_segment_open(sysv_backend_of(obj), obj->id, &obj->last, writable,
					   caller, out));
}

struct sysv_segment *sysv_open_segment(struct sysv_object *obj)
{
	SHMFS_LOCKED(&obj->base.lock);

	return obj->segment ? sysv_segment_get(obj->segment) : NULL;
}

int sysv_borrow_segment(struct sysv_object *obj, const struct shmfs_caller *caller,
			struct sysv_segment **out)
{
	SHMFS_LOCKED(&obj->base.lock);
	int err;

	if (!obj->segment || !obj->segment->writable) {
		err = sysv_object_stat(obj, NULL);
		return err ? err : open_segment(obj, true, caller, out);
	}
	*out = sysv_segment_get(obj->segment);
	return 0;
}

static bool has_segment(const struct sysv_object *obj, bool writable)
{
	return obj->segment && (obj->segment->writable || !writable);
}

/* As open_segment(), into object->segment. */
static int set_segment(struct sysv_object *obj, bool writable, const struct shmfs_caller *caller)
{
	struct sysv_segment *segment;
	int err = open_segment(obj, writable, caller, &segment);

	if (err)
		return err;
	sysv_segment_put(obj->segment);
	obj->segment = segment;
	sysv_segment_handle(segment, &obj->inode);
	obj->inode.changed = obj->last.shm_ctime;
	return 0;
}

/* Open object->segment if it is not, for shmfs itself.  The object's lock is held. */
static int need_segment(struct sysv_object *obj, bool writable)
{
	int err = has_segment(obj, writable) ? 0 : sysv_object_stat(obj, NULL);

	return err || has_segment(obj, writable) ? err : set_segment(obj, writable, NULL);
}

int sysv_use(struct sysv_object *obj, struct sysv_handle *h, bool writes)
{
	SHMFS_LOCKED(&obj->base.lock);

	if (!h->busy) {
		h->busy = true;
		obj->nbusy++;
	}
	if (writes)
		resume_growing(obj, h);
	return need_segment(obj, sysv_access(h) != O_RDONLY);
}

int sysv_keep_segment(struct sysv_object *obj)
{
	SHMFS_LOCKED(&obj->base.lock);

	return obj->nhandles ? need_segment(obj, false) : 0;
}

/*
 * The kernel has checked a mode that may be old.  Check the mode of this moment by the rules of
 * shmat(2): writing requires read permission.  The last mode of a removed segment is not known.
 * Only its owner and creator may open that.  The object's lock is held.
 */
static int check_rights(struct sysv_object *obj, bool writable, bool closed_too,
			const struct shmfs_caller *caller)
{
	int err = sysv_object_stat(obj, NULL);

	if (err)
		return obj->segment && sysv_is_owner(&obj->last, caller) ? 0 : err;
	if (!closed_too && sysv_is_closed(&obj->last))
		return -EACCES;
	return sysv_may(&obj->last, writable ? 06 : 04, caller) ? 0 : -EACCES;
}

int sysv_check_rights(struct sysv_object *obj, bool writable, bool closed_too,
		      const struct shmfs_caller *caller)
{
	SHMFS_LOCKED(&obj->base.lock);

	return check_rights(obj, writable, closed_too, caller);
}

int sysv_open_checked(struct sysv_object *obj, bool writable, bool closed_too,
		      const struct shmfs_caller *caller)
{
	int err;

	if (obj->known && !obj->segment &&
	    sysv_segment_reopen(sysv_backend_of(obj), obj->id, &obj->inode, &obj->last, writable,
				caller, &obj->segment) == 0)
		return 0;
	err = check_rights(obj, writable, closed_too, caller);
	return err || has_segment(obj, writable) ? err : set_segment(obj, writable, caller);
}
