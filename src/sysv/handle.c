/* SPDX-License-Identifier: MIT */
/*
 * Open segments.
 *
 * All handles of an object share its memory (struct sysv_segment), and move to another one with it.
 */
#include "sysv/internal.h"

static int new_handle(const struct sysv_backend *be, int flags, struct sysv_handle **out)
{
	struct sysv_handle *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->base.flags = flags;
	h->base.may_flush = (flags & O_ACCMODE) != O_RDONLY || !be->by_descriptor;
	*out = h;
	return 0;
}

/*
 * Count the handle among those whose memory the kernel was lent, or not.  The object's lock is
 * held.
 */
static void set_lent(struct sysv_object *obj, struct sysv_handle *h, bool lent)
{
	if (h->lent == lent)
		return;
	h->lent = lent;
	if (lent) {
		obj->lent_to_readers = obj->lent_to_readers && sysv_access(h) != O_RDWR;
		h->next_lent = obj->lent;
		h->lent_link = &obj->lent;
		if (h->next_lent)
			h->next_lent->lent_link = &h->next_lent;
		obj->lent = h;
	} else {
		*h->lent_link = h->next_lent;
		if (h->next_lent)
			h->next_lent->lent_link = h->lent_link;
	}
}

/* One handle more.  The object's lock is held. */
static void enter(struct sysv_object *obj, struct sysv_handle *h)
{
	h->base.object = &obj->base;
	h->busy = true;
	obj->nhandles++;
	obj->nbusy++;
	if (sysv_access(h) != O_WRONLY)
		obj->nreaders++;
	sysv_set_grows(obj, h, !h->fixed && (h->created || sysv_access(h) != O_RDONLY));
}

/* One handle less; with the last the memory goes. */
static void leave(struct sysv_object *obj, const struct sysv_handle *h)
{
	struct sysv_segment *segment = NULL;

	pthread_mutex_lock(&obj->base.lock);
	obj->nreaders -= sysv_access(h) != O_WRONLY;
	obj->nbusy -= h->busy;
	if (--obj->nhandles == 0)
		segment = shmfs_steal_pointer(&obj->segment);
	pthread_mutex_unlock(&obj->base.lock);
	sysv_segment_put(segment);
}

/* --- new segments --- */

static int make_segment(struct sysv_backend *be, uint32_t key, mode_t mode,
			const struct shmfs_caller *caller)
{
	/* As an ordinary user we attach like everybody, so the mode must let us, first. */
	mode_t first = (be->by_descriptor ? mode : mode | 0600) & 0777;
	SHMFS_AS_CALLER(err, caller);
	SHMFS_LOCKED(&be->base.lock);
	int id;

	if (err)
		return err;
	/* A key without a segment may be between two of them: not ours to take. */
	if (sysv_find_replacing(be, key))
		return -EEXIST;
	id = shmget((key_t)key, (size_t)be->config.min_size, IPC_CREAT | IPC_EXCL | (int)first);
	return id < 0 ? sysv_error(SYSV_MAKE, -errno) : id;
}

/* Make a segment and get at its memory.  Returns its id or a negative errno. */
static int make_and_open(struct sysv_backend *be, uint32_t key, mode_t mode,
			 const struct shmfs_caller *caller, struct sysv_segment **segment)
{
	int id = make_segment(be, key, mode, caller);
	struct shmid_ds ds;
	int err;

	if (id < 0)
		return id;
	err = sysv_segment_stat(be, id, &ds, NULL);
	if (!err)
		err = sysv_gone(sysv_segment_open(be, id, &ds, true, NULL, segment));
	if (!err && !be->by_descriptor) {
		err = sysv_set_perm(id, &ds, mode);
		if (err)
			sysv_segment_put(*segment);
	}
	if (!err)
		return id;
	if (err != -ESTALE)
		shmctl(id, IPC_RMID, NULL);
	return err;
}

/*
 * Others can remove the segment before it is attached.  If they do so twice, or have made another
 * one by then, it is made without a key, and removed once it is open: a file without a name.
 */
static int make_at_last(struct sysv_backend *be, uint32_t *key, mode_t mode,
			const struct shmfs_caller *caller, struct sysv_segment **segment)
{
	int id = make_and_open(be, *key, mode, caller, segment);

	if (id != -ESTALE)
		return id;
	id = make_and_open(be, *key, mode, caller, segment);
	if (id != -ESTALE && id != -EEXIST)
		return id;
	*key = IPC_PRIVATE;
	return make_and_open(be, *key, mode, caller, segment);
}

/* Tie the handle of a new segment to its object. */
static void adopt(struct sysv_handle *h, struct sysv_object *obj, uint32_t key,
		  struct sysv_segment *segment)
{
	SHMFS_READ_LOCKED(&obj->io);
	SHMFS_LOCKED(&obj->base.lock);

	enter(obj, h);
	if (obj->segment)
		sysv_segment_put(segment);
	else
		obj->segment = segment;
	obj->key = key;
	obj->growth = SYSV_GROWING;
	obj->creator_is_open = true;
	obj->least_size = obj->segment->size;
	obj->content_end = 0;
}

int sysv_create(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
		mode_t mode, const struct shmfs_caller *caller, struct shmfs_object **out,
		struct shmfs_handle **handle_out, struct stat *st)
{
	struct sysv_backend *be = (struct sysv_backend *)view->backend;
	uint64_t before = shmfs_object_moment(view->backend);
	uint32_t key = name->number;
	struct sysv_segment *segment;
	struct shmfs_object *obj;
	struct sysv_handle *h;
	int err, id;

	if (name->space != SHMFS_SPACE_KEY)
		return -EPERM;
	err = new_handle(be, flags, &h);
	if (err)
		return err;
	h->created = true;
	id = make_at_last(be, &key, mode & ~caller->umask, caller, &segment);
	/* The id can be one of a segment that was removed while it was open. */
	if (id >= 0)
		shmfs_object_retire_older(view->backend, (uint64_t)id, before);
	err = id < 0 ? id : shmfs_object_get(view->backend, (uint64_t)id, sysv_object_make, &obj);
	if (err) {
		if (id >= 0)
			sysv_segment_put(segment);
		if (id >= 0 && key == IPC_PRIVATE)
			shmctl(id, IPC_RMID, NULL);
		free(h);
		return err;
	}
	adopt(h, sysv_object(obj), key, segment);
	err = sysv_look(sysv_object(obj), caller, st);
	if (key == IPC_PRIVATE)
		shmctl(id, IPC_RMID, NULL);
	if (err) {
		sysv_release(&h->base);
		shmfs_object_put(obj);
		return err;
	}
	*out = obj;
	*handle_out = &h->base;
	return 0;
}

/* --- open and close --- */

/* Check the caller's rights, count the handle, and carry out O_TRUNC.  `io` is held. */
static int open_segment(struct sysv_object *obj, struct sysv_handle *h, bool closed_too,
			const struct shmfs_caller *caller)
{
	bool clears = h->base.flags & O_TRUNC;
	int err;

	{
		SHMFS_LOCKED(&obj->base.lock);

		err = sysv_open_checked(obj, clears || sysv_access(h) != O_RDONLY, closed_too,
					caller);
		if (!err)
			enter(obj, h);
	}
	if (err || !clears)
		return err;
	err = sysv_clear(obj, caller);
	if (err) {
		sysv_stop_growing(obj, h);
		leave(obj, h);
	}
	return err;
}

static int open_handle(struct sysv_object *obj, int flags, bool fixed,
		       const struct shmfs_caller *caller, struct shmfs_handle **out)
{
	struct sysv_handle *h;
	bool looks = flags & SHMFS_OPEN_TO_LOOK;
	int err = new_handle(sysv_backend_of(obj), flags, &h);

	if (err)
		return err;
	h->fixed = fixed;
	h->opener = caller->pid;
	for (int i = 0; i <= SYSV_CLOSED_TRIES; i++) {
		bool waited = i > 0 && !sysv_wait_while_closed(obj, true, caller);

		/* Somebody with the lock can take long, as to replace the segment. */
		err = looks ? shmfs_read_lock_soon(&obj->io) : pthread_rwlock_rdlock(&obj->io);
		if (err)
			break;
		err = open_segment(obj, h, waited, caller);
		pthread_rwlock_unlock(&obj->io);
		if (err != -EACCES || looks || waited)
			break;
	}
	if (err)
		free(h);
	else
		*out = &h->base;
	return err;
}

int sysv_open(struct shmfs_object *base, int flags, const struct shmfs_caller *caller,
	      struct shmfs_handle **out)
{
	unsigned tries = 0;
	int err;

	do {
		err = open_handle(sysv_object(base), flags, false, caller, out);
	} while (sysv_follows_key(sysv_object(base), &tries, &err));
	return err;
}

int sysv_open_by_id(struct shmfs_object *base, int flags, const struct shmfs_caller *caller,
		    struct shmfs_handle **out)
{
	return open_handle(sysv_object(base), flags, true, caller, out);
}

/*
 * Several processes that share a handle close it one after the other.  Cutting the segment each
 * time would copy it each time.  So the process that opened the file does it, or else release().
 */
int sysv_flush(struct shmfs_handle *base, bool by_opener, const struct shmfs_caller *caller)
{
	struct sysv_object *obj = sysv_object(base->object);

	if (!by_opener)
		return 0;
	SHMFS_WRITE_LOCKED(&obj->io);
	/* Nothing was written: a shell closes one of two descriptors before its command runs. */
	if (obj->least_size && obj->content_end == 0 && sysv_is_open_in(obj, caller->pid))
		return 0;
	if (sysv_stop_growing(obj, sysv_handle(base)))
		sysv_settle(obj);
	sysv_let_go(obj, sysv_handle(base), caller->pid);
	return 0;
}

void sysv_release(struct shmfs_handle *base)
{
	SHMFS_AUTO_FREE struct sysv_handle *h = sysv_handle(base);
	struct sysv_object *obj = sysv_object(base->object);

	/* Whoever has the lock uses the memory by a handle or a reference of its own. */
	if (base->flags & SHMFS_OPEN_TO_LOOK) {
		leave(obj, h);
		return;
	}
	SHMFS_WRITE_LOCKED(&obj->io);

	pthread_mutex_lock(&obj->base.lock);
	set_lent(obj, h, false);
	if (!obj->lent) {
		sysv_segment_put(obj->mirror);
		obj->mirror = NULL;
	}
	if (h->created) {
		obj->creator_is_open = false;
		if (obj->growth == SYSV_SETTLED)
			obj->least_size = 0;
	}
	pthread_mutex_unlock(&obj->base.lock);
	if (sysv_stop_growing(obj, h))
		sysv_settle(obj);
	if (atomic_load(&h->wrote) && obj->segment)
		sysv_usage_touched(obj->segment);
	leave(obj, h);
}

/*
 * The kernel would write past the end of a file that it serves, and so grow the segment's inode but
 * not the segment.  So it may serve a reader whole, the mappings of a reader and writer, and
 * nothing that may yet grow.  A file that it serves keeps the segment from being replaced by others
 * (mirror.c): while somebody may outgrow the segment, or it is still to be cut, the daemon serves
 * every open file.
 *
 * The segment stays until lent() or release() says that the kernel does not refer to it.  A lease
 * would not tell: the kernel keeps the file of an inode, and binds the next open to it, until the
 * last RELEASE was served.
 */
enum shmfs_io_mode sysv_binding(struct shmfs_handle *base, int *fd)
{
	struct sysv_handle *h = sysv_handle(base);
	struct sysv_object *obj = sysv_object(base->object);
	/* A replacement under way ends first. */
	SHMFS_READ_LOCKED(&obj->io);
	SHMFS_LOCKED(&obj->base.lock);
	bool may = sysv_backend_of(obj)->by_descriptor && !h->created && !(base->flags & O_TRUNC) &&
		   sysv_access(h) != O_WRONLY && obj->growth == SYSV_SETTLED &&
		   obj->ngrowers == (h->grows ? 1 : 0) && !obj->mirror;

	/* Mappings outlive their handles. */
	if (may && !obj->lent)
		obj->lent_to_readers = !sysv_segment_is_shared(obj->segment);
	set_lent(obj, h, may);
	/* What is stored in a mapping of the mirror would be lost. */
	if (!may)
		return obj->mirror && sysv_access(h) == O_RDWR ? SHMFS_IO_APART : SHMFS_IO_MOVABLE;
	*fd = obj->segment->fd;
	return sysv_access(h) == O_RDONLY ? SHMFS_IO_PASSTHROUGH : SHMFS_IO_MMAP_ONLY;
}

void sysv_lent(struct shmfs_handle *base, bool lent)
{
	struct sysv_object *obj = sysv_object(base->object);
	SHMFS_LOCKED(&obj->base.lock);

	set_lent(obj, sysv_handle(base), lent);
	if (lent)
		sysv_set_grows(obj, sysv_handle(base), false);
}
