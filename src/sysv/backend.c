/* SPDX-License-Identifier: MIT */
/*
 * System V segments behind the backend interface.
 *
 * A segment is found by its key in one hash lookup of the kernel (shmget).  While a resize replaces
 * it (replace/resize.c), the list `replacing` tells its object.
 */
#include "sysv/internal.h"

#include "shmfs/log.h"

#define LOOKUP_TRIES 10

static struct sysv_backend *backend(struct shmfs_backend *base)
{
	return (struct sysv_backend *)base;
}

/* --- names --- */

static int find_id(struct sysv_backend *be, const struct shmfs_name *name, uint32_t *key)
{
	struct shmid_ds ds;
	int id;

	*key = name->number;
	if (name->space == SHMFS_SPACE_KEY) {
		/* Flags 0 ask for no permission (ipc/util.c, ipcperms()). */
		id = shmget((key_t)name->number, 0, 0);
		return id < 0 ? -errno : id;
	}
	id = (int)name->number;
	if (sysv_segment_stat(be, id, &ds, NULL) != 0)
		return -ENOENT;
	*key = (uint32_t)ds.shm_perm.__key;
	return id;
}

static struct sysv_object *get_replacing(struct sysv_backend *be, uint32_t key)
{
	SHMFS_LOCKED(&be->base.lock);
	struct sysv_object *obj = sysv_find_replacing(be, key);

	if (obj)
		shmfs_object_ref(&obj->base);
	return obj;
}

/*
 * The object of a name, with a reference.  A segment that is being replaced, or is not complete
 * yet, is the object of its key.
 */
static int find(struct sysv_backend *be, const struct shmfs_name *name, struct shmfs_object **out)
{
	struct sysv_object *obj = NULL;
	unsigned nreplaced;
	uint32_t key;
	int id;

	do {
		nreplaced = atomic_load(&be->nreplaced);
		id = find_id(be, name, &key);
		if (id >= 0 || name->space == SHMFS_SPACE_KEY)
			obj = get_replacing(be, key);
		/* A replacement that has just ended may have had the key. */
	} while (!obj && id < 0 && nreplaced != atomic_load(&be->nreplaced));
	if (!obj)
		return id < 0 ? id :
				shmfs_object_get(&be->base, (uint64_t)id, sysv_object_make, out);
	*out = &obj->base;
	return 0;
}

/* The keys whose segments are being replaced.  The backend's lock is held. */
static int list_replacing(struct sysv_backend *be, shmfs_list_fn *fn, void *arg)
{
	int err = 0;

	for (struct sysv_object *obj = be->replacing; !err && obj; obj = obj->next_replacing) {
		struct shmfs_name name = { .space = SHMFS_SPACE_KEY,
					   .text = "",
					   .number = obj->replacing_key };

		err = fn(&name, (uint64_t)obj->replaced_id, arg);
	}
	return err;
}

/*
 * The kernel also finds a segment by its index in the table of all, the first of them 0.  The text
 * of that table, /proc/sysvipc/shm, takes six times as long.
 *
 * A new segment can get an index that was passed already.  The lock keeps every replacement from
 * beginning or ending meanwhile, so that no key is missed.
 */
int sysv_list(const struct shmfs_view *view, enum shmfs_space space, uint32_t dir,
	      const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	struct sysv_backend *be = backend(view->backend);
	SHMFS_LOCKED(&be->base.lock);
	struct shminfo limits;
	int last = shmctl(0, IPC_INFO, (struct shmid_ds *)&limits);
	int err = last < 0 ? -errno : 0;

	if (!err && space == SHMFS_SPACE_KEY)
		err = list_replacing(be, fn, arg);
	for (int i = 0; !err && i <= last; i++) {
		struct shmfs_name name = { .space = space, .text = "" };
		struct shmid_ds ds;
		int id = shmctl(i, SHM_STAT_ANY, &ds);

		if (id < 0)
			continue;
		if (space == SHMFS_SPACE_KEY) {
			name.number = (uint32_t)ds.shm_perm.__key;
			/* A segment that was removed has no key. */
			if (name.number == 0 || sysv_find_replacing(be, name.number))
				continue;
		} else {
			name.number = (uint32_t)id;
			name.deleted = ds.shm_perm.mode & SYSV_MODE_DEST;
		}
		err = fn(&name, (uint64_t)id, arg);
	}
	return err;
}

/* Without an attachment a segment goes when it is removed. */
static void keep_segment(struct sysv_backend *be, int id)
{
	struct shmfs_object *obj =
		be->by_descriptor ? NULL : shmfs_object_find(&be->base, (uint64_t)id);

	if (!obj)
		return;
	sysv_keep_segment(sysv_object(obj));
	shmfs_object_put(obj);
}

int sysv_remove(const struct shmfs_view *view, const struct shmfs_name *name,
		const struct shmfs_caller *caller)
{
	struct sysv_backend *be = backend(view->backend);
	uint32_t key;
	int id = find_id(be, name, &key);

	if (id < 0)
		return id;
	keep_segment(be, id);
	SHMFS_AS_CALLER(err, caller);
	if (err)
		return err;
	return shmctl(id, IPC_RMID, NULL) == 0 ? 0 : sysv_error(SYSV_REMOVE, -errno);
}

static int check_attachments(int id, struct shmid_ds *ds)
{
	if (shmctl(id, SHM_STAT_ANY, ds) < 0)
		return sysv_error(SYSV_REMOVE, -errno);
	return ds->shm_nattch > 0 ? -EBUSY : 0;
}

/*
 * -EBUSY if a mount of shmfs, ours or another, has the file open or mapped.  An ordinary user's
 * daemon cannot tell, and does not open files of segments itself.
 */
static int check_file(struct sysv_backend *be, int id, const struct shmid_ds *seen)
{
	struct sysv_segment *segment;
	bool is_shared;

	if (!be->by_descriptor || sysv_segment_open(be, id, seen, false, NULL, &segment) != 0)
		return 0;
	is_shared = sysv_segment_is_shared(segment);
	sysv_segment_put(segment);
	return is_shared ? -EBUSY : 0;
}

int sysv_remove_unused(const struct shmfs_view *view, const struct shmfs_name *name,
		       const struct shmfs_caller *caller)
{
	struct sysv_backend *be = backend(view->backend);
	int id = (int)name->number;
	struct shmid_ds ds;
	int err = check_attachments(id, &ds);

	if (!err && caller)
		err = check_file(be, id, &ds);
	if (err || !caller)
		return err;
	SHMFS_AS_CALLER(refused, caller);
	if (refused)
		return refused;
	/* Between these two somebody can attach: the kernel has no call for both. */
	err = check_attachments(id, &ds);
	if (!err && shmctl(id, IPC_RMID, NULL) != 0)
		err = sysv_error(SYSV_REMOVE, -errno);
	return err;
}

int sysv_rename(const struct shmfs_view *view, const struct shmfs_name *from,
		const struct shmfs_name *to, unsigned flags, const struct shmfs_caller *caller)
{
	return -EXDEV;
}

/* Fills in the inodes; the blocks are those of /dev/shm. */
int sysv_statfs(struct shmfs_backend *base, struct statvfs *st)
{
	struct shminfo limits;
	struct shm_info used;

	if (shmctl(0, IPC_INFO, (struct shmid_ds *)&limits) < 0 ||
	    shmctl(0, SHM_INFO, (struct shmid_ds *)&used) < 0)
		return -errno;
	st->f_files = limits.shmmni;
	st->f_ffree = (unsigned long)used.used_ids < limits.shmmni ?
			      limits.shmmni - (unsigned long)used.used_ids :
			      0;
	st->f_favail = st->f_ffree;
	return 0;
}

/* --- objects --- */

/*
 * The number of the name may be another segment's by now, while handles hold the memory of the one
 * that had it: -ESTALE.  If no handle is open, sysv_look() finds it out.
 */
static int revalidate(struct sysv_object *obj, const struct shmfs_name *name)
{
	SHMFS_LOCKED(&obj->base.lock);

	if (name->space == SHMFS_SPACE_KEY)
		obj->key = name->number;
	return !obj->replacing && obj->segment ? sysv_object_stat(obj, NULL) : 0;
}

int sysv_lookup(const struct shmfs_view *view, const struct shmfs_name *name,
		const struct shmfs_caller *caller, struct shmfs_object **out, struct stat *st)
{
	/* The kernel holds the directory: not even the owner waits long for a closed segment. */
	static const struct shmfs_caller stranger = { .uid = (uid_t)-1 };
	struct shmfs_object *obj;
	int err = -ESTALE;

	/* A segment can be replaced between finding and asking. */
	for (int i = 0; i < LOOKUP_TRIES && err == -ESTALE; i++) {
		err = find(backend(view->backend), name, &obj);
		if (err)
			return err;
		err = revalidate(sysv_object(obj), name);
		if (!err)
			err = sysv_look(sysv_object(obj), &stranger, st);
		if (err == -ESTALE)
			shmfs_object_retire(obj);
		if (err)
			shmfs_object_put(obj);
		else
			*out = obj;
	}
	return err == -ESTALE ? -ENOENT : err;
}

/* Owner, group and mode to be set; -1 leaves one as it is. */
struct perm {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

static void apply_perm(struct shmid_ds *ds, const struct perm *perm)
{
	if (perm->uid != (uid_t)-1)
		ds->shm_perm.uid = perm->uid;
	if (perm->gid != (gid_t)-1)
		ds->shm_perm.gid = perm->gid;
	if (perm->mode != (mode_t)-1)
		ds->shm_perm.mode =
			(unsigned short)((ds->shm_perm.mode & ~0777u) | (perm->mode & 0777));
}

/* The kernel has forgotten the segment.  Its open files show what is set here. */
static int set_removed_perm(struct sysv_object *obj, const struct perm *perm,
			    const struct shmfs_caller *caller)
{
	SHMFS_LOCKED(&obj->base.lock);

	if (!obj->segment)
		return -ESTALE;
	if (!sysv_is_owner(&obj->last, caller))
		return -EPERM;
	apply_perm(&obj->last, perm);
	obj->last.shm_ctime = time(NULL);
	return 0;
}

static int set_segment_perm(int id, const struct shmid_ds *ds, const struct shmfs_caller *caller)
{
	SHMFS_AS_CALLER(err, caller);

	return err ? err : sysv_gone(sysv_set_perm(id, ds, ds->shm_perm.mode));
}

/*
 * IPC_SET sets owner, group and mode together, as the caller.  Even with nothing to change it moves
 * shm_ctime.
 */
static int set_perm(struct sysv_object *obj, struct perm perm, const struct shmfs_caller *caller)
{
	unsigned tries = 0;
	struct shmid_ds ds;
	int id, err;

	do {
		pthread_rwlock_rdlock(&obj->io);
		sysv_keep_segment(obj);
		err = sysv_object_now(obj, &id, &ds, NULL);
		if (!err) {
			apply_perm(&ds, &perm);
			err = set_segment_perm(id, &ds, caller);
		}
		if (err == -ESTALE)
			err = set_removed_perm(obj, &perm, caller);
		pthread_rwlock_unlock(&obj->io);
	} while (sysv_follows_key(obj, &tries, &err));
	return err;
}

int sysv_chmod(struct shmfs_object *base, mode_t mode, const struct shmfs_caller *caller)
{
	return set_perm(sysv_object(base), (struct perm){ (uid_t)-1, (gid_t)-1, mode }, caller);
}

int sysv_chown(struct shmfs_object *base, uid_t uid, gid_t gid, const struct shmfs_caller *caller)
{
	return set_perm(sysv_object(base), (struct perm){ uid, gid, (mode_t)-1 }, caller);
}

int sysv_utimens(struct shmfs_object *base, const struct timespec times[2],
		 const struct shmfs_caller *caller)
{
	const struct perm as_it_is = { (uid_t)-1, (gid_t)-1, (mode_t)-1 };
	int err = set_perm(sysv_object(base), as_it_is, caller);

	/* The kernel has allowed it to a writer, too.  IPC_SET is for the owner, so ctime stays. */
	return err == -EPERM ? 0 : err;
}

#define ROW(slot) .slot = sysv_##slot,

static const struct shmfs_backend_ops sysv_ops = {
	SHMFS_SLOTS(ROW) /* and the rest */
		.fallocate = sysv_fallocate,
	.xattrs = sysv_xattrs,
	.root_xattrs = sysv_root_xattrs,
};

void shmfs_sysv_by_id_ops(struct shmfs_backend_ops *out)
{
	*out = sysv_ops;
	out->open = sysv_open_by_id;
	out->truncate = sysv_truncate_by_id;
}

int shmfs_sysv_new(const struct shmfs_sysv_config *config, struct shmfs_backend **out)
{
	struct sysv_backend *be = calloc(1, sizeof(*be));
	int err;

	if (!be || shmfs_object_table_init(&be->base.objects) != 0) {
		free(be);
		return -ENOMEM;
	}
	be->base.ops = &sysv_ops;
	be->base.number = SHMFS_SYSV_NUMBER;
	be->base.names_dir = -1; /* keys leave no trace in time */
	be->config = *config;
	be->proc = open(config->proc_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	be->rmid_forced = openat(be->proc, "sys/kernel/shm_rmid_forced", O_RDONLY | O_CLOEXEC);
	be->tmpfs = sysv_open_tmpfs(be->proc);
	be->by_descriptor = be->tmpfs >= 0;
	pthread_mutex_init(&be->base.lock, NULL);
	sysv_trim_begin(be);
	err = sysv_usage_init(&be->usage, config->proc_dir, &be->base.lock);
	if (!err)
		err = sysv_times_init(be);
	if (err) {
		shmfs_sysv_free(&be->base);
		return err;
	}
	if (sysv_detaching_removes(be))
		shmfs_log(LOG_WARNING, "kernel.shm_rmid_forced is set: segments that nobody has "
				       "attached are shown, but neither opened nor made; to change "
				       "that: sysctl kernel.shm_rmid_forced=0");
	sysv_user_xattr_init(be);
	*out = &be->base;
	return 0;
}

void shmfs_sysv_free(struct shmfs_backend *base)
{
	struct sysv_backend *be = backend(base);

	sysv_trim_end(be);
	sysv_user_xattr_sweep(be);
	sysv_usage_destroy(&be->usage);
	sysv_forget_attachments(be);
	if (be->proc >= 0)
		close(be->proc);
	if (be->rmid_forced >= 0)
		close(be->rmid_forced);
	if (be->tmpfs >= 0)
		close(be->tmpfs);
	sysv_times_destroy(be);
	pthread_mutex_destroy(&be->base.lock);
	shmfs_object_table_destroy(&be->base.objects);
	free(be);
}
