/* SPDX-License-Identifier: MIT */
/*
 * Open segments.
 *
 * All handles of an object share its memory (struct sysv_segment).  Who reads
 * takes a reference and needs no lock: a segment that is replaced meanwhile
 * had the same bytes.  Who writes keeps `io` from write_begin() to
 * write_end(), so that nothing is written to a segment that was just copied.
 */
#include "sysv/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct sysv_object *object(struct shmfs_object *base)
{
	return (struct sysv_object *)base;
}

static struct sysv_handle *handle(struct shmfs_handle *base)
{
	return (struct sysv_handle *)base;
}

static int new_handle(int flags, struct sysv_handle **out)
{
	struct sysv_handle *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->base.flags = flags;
	h->base.may_flush = (flags & O_ACCMODE) != O_RDONLY;
	*out = h;
	return 0;
}

/* As an ordinary user we attach like everybody, so the mode must let us, first. */
static int make_segment(struct sysv_backend *be, uint32_t key, mode_t mode,
			const struct shmfs_caller *caller)
{
	mode_t first = be->by_descriptor ? mode : mode | 0600;
	int id = shmfs_caller_assume(caller);

	if (id)
		return id;
	/* A key without a segment may be between two of them: not ours to take. */
	pthread_mutex_lock(&be->lock);
	if (sysv_is_replacing(be, key)) {
		id = -EEXIST;
	} else {
		id = shmget((key_t)key, be->config.min_size,
			    IPC_CREAT | IPC_EXCL | (int)(first & 0777));
		if (id < 0)
			id = sysv_error(SYSV_MAKE, -errno);
	}
	pthread_mutex_unlock(&be->lock);
	shmfs_caller_drop();
	return id;
}

/* Tie the handle of a new segment to its object. */
static void adopt(struct sysv_handle *h, struct sysv_object *obj, struct sysv_segment *segment)
{
	h->base.object = &obj->base;
	sysv_wait_read(obj);
	pthread_mutex_lock(&obj->lock);
	obj->handles++;
	if (!obj->segment) {
		obj->segment = segment;
		segment = NULL;
	}
	obj->is_new = true;
	obj->keep_size = obj->segment->size;
	obj->content_end = 0;
	pthread_mutex_unlock(&obj->lock);
	pthread_rwlock_unlock(&obj->io);
	sysv_segment_put(segment);
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

int sysv_create(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
		mode_t mode, const struct shmfs_caller *caller, struct shmfs_object **out,
		struct shmfs_handle **handle_out, struct stat *st)
{
	struct sysv_backend *be = (struct sysv_backend *)view->backend;
	uint64_t before = shmfs_object_moment(view->backend);
	struct sysv_segment *segment;
	struct shmfs_object *obj;
	struct sysv_handle *h;
	int err;
	int id;

	if (name->space != SHMFS_SPACE_KEY)
		return -EPERM;
	err = new_handle(flags, &h);
	if (err)
		return err;
	h->created = true;
	id = make_and_open(be, name->number, mode & ~caller->umask, caller, &segment);
	/* The id can be one of a segment that was removed while it was open. */
	if (id >= 0)
		shmfs_object_retire_older(view->backend, (uint64_t)id, before);
	err = id < 0 ? id : shmfs_object_get(view->backend, (uint64_t)id, sysv_object_make, &obj);
	if (err) {
		if (id >= 0)
			sysv_segment_put(segment);
		free(h);
		return err;
	}
	adopt(h, object(obj), segment);
	err = sysv_getattr(obj, caller, st);
	if (err) {
		sysv_release(&h->base);
		shmfs_object_put(obj);
		return err;
	}
	*out = obj;
	*handle_out = &h->base;
	return 0;
}

/* Make sure that the object has its segment's memory.  obj->lock is held. */
static int need_segment(struct sysv_object *obj, bool writable, const struct shmfs_caller *caller)
{
	struct sysv_segment *segment;
	int err;

	if (obj->segment && (obj->segment->writable || !writable))
		return 0;
	err = sysv_object_stat(obj, NULL);
	if (!err)
		err = sysv_segment_open(sysv_backend_of(obj), obj->id, &obj->last, writable, caller,
					&segment);
	if (err)
		return sysv_gone(err);
	sysv_segment_put(obj->segment);
	obj->segment = segment;
	return 0;
}

/*
 * The kernel has looked at the mode that it knew.  This is the mode at this
 * moment, with the rules of shmat(2): who writes must be able to read.  What
 * was removed and lives on in handles had perhaps another mode in the end than
 * we know: it is left to those whose it was.
 */
int sysv_check_rights(struct sysv_object *obj, bool writable, const struct shmfs_caller *caller)
{
	struct shmid_ds ds;
	int err = sysv_object_stat_now(obj, &ds, NULL);
	bool may;

	if (!err)
		return sysv_may(&ds, writable ? 06 : 04, caller) ? 0 : -EACCES;
	pthread_mutex_lock(&obj->lock);
	may = obj->segment && sysv_is_owner(&obj->last, caller);
	pthread_mutex_unlock(&obj->lock);
	return may ? 0 : err;
}

/* One handle less; with the last the memory goes, and the size is final. */
static void drop_handle(struct sysv_object *obj, bool created)
{
	struct sysv_segment *segment = NULL;

	pthread_mutex_lock(&obj->lock);
	if (created)
		obj->is_new = false;
	if (--obj->handles == 0) {
		obj->overallocated = false;
		segment = obj->segment;
		obj->segment = NULL;
	}
	pthread_mutex_unlock(&obj->lock);
	sysv_segment_put(segment);
}

int sysv_open(struct shmfs_object *base, int flags, const struct shmfs_caller *caller,
	      struct shmfs_handle **out)
{
	struct sysv_object *obj = object(base);
	struct sysv_handle *h;
	bool writable = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	int err = new_handle(flags, &h);

	if (err)
		return err;
	h->base.object = base;
	sysv_wait_read(obj);
	sysv_lock_by_name(obj);
	err = sysv_check_rights(obj, writable, caller);
	pthread_mutex_lock(&obj->lock);
	if (!err)
		err = need_segment(obj, writable, caller);
	if (!err)
		obj->handles++;
	pthread_mutex_unlock(&obj->lock);
	sysv_unlock_by_name(obj);
	if (!err && (flags & O_TRUNC)) {
		h->cleared = true;
		err = sysv_clear(obj, caller);
		if (err)
			drop_handle(obj, false);
	}
	pthread_rwlock_unlock(&obj->io);
	if (err)
		free(h);
	else
		*out = &h->base;
	return err;
}

/*
 * A handle that several processes share is closed by each of them.  Cutting
 * the segment to size every time would copy it every time: the process that
 * opened the file does it, and where that is not the last, release().
 */
int sysv_flush(struct shmfs_handle *base, bool by_opener, const struct shmfs_caller *caller)
{
	struct sysv_object *obj = object(base->object);
	int err = 0;

	(void)caller;
	/* What may be mapped keeps its size until it is released. */
	if (handle(base)->lent || !by_opener)
		return 0;
	sysv_wait_write(obj);
	if (obj->handles == 1 && obj->overallocated)
		err = sysv_trim_patiently(obj, base);
	pthread_rwlock_unlock(&obj->io);
	return err;
}

void sysv_release(struct shmfs_handle *base)
{
	struct sysv_handle *h = handle(base);
	struct sysv_object *obj = object(base->object);

	h->lent = false;
	sysv_wait_write(obj);
	if (obj->handles == 1)
		sysv_trim_patiently(obj, base);
	if (atomic_load(&h->wrote))
		sysv_usage_touched(obj->segment);
	drop_handle(obj, h->created);
	pthread_rwlock_unlock(&obj->io);
	free(h);
}

/*
 * The kernel writes past the end of a file that it serves, which would grow
 * the segment's inode and not the segment.  So it may serve a reader whole,
 * the mappings of a reader and writer, and nothing that may yet grow.
 */
enum shmfs_io_mode sysv_binding(struct shmfs_handle *base, int *fd)
{
	const struct sysv_handle *h = handle(base);
	struct sysv_object *obj = object(base->object);
	int mode = base->flags & O_ACCMODE;

	if (!sysv_backend_of(obj)->by_descriptor || h->created || h->cleared || mode == O_WRONLY)
		return SHMFS_IO_DAEMON;
	pthread_mutex_lock(&obj->lock);
	*fd = obj->segment->fd;
	pthread_mutex_unlock(&obj->lock);
	return mode == O_RDONLY ? SHMFS_IO_PASSTHROUGH : SHMFS_IO_MMAP_ONLY;
}

void sysv_lent(struct shmfs_handle *base)
{
	handle(base)->lent = true;
}

/* --- bytes --- */

static void fill_extent(struct sysv_segment *segment, bool write, uint64_t off, size_t len,
			struct shmfs_extent *extent)
{
	bool by_map = segment->fd < 0 || (write && segment->map);

	*extent = (struct shmfs_extent){
		.fd = by_map ? -1 : segment->fd,
		.pos = (off_t)off,
		.mem = by_map ? segment->map + off : NULL,
		.len = len,
		.huge = segment->huge,
		.mapping = by_map ? NULL : &segment->mapping,
		.owner = segment,
	};
}

static struct sysv_segment *current_segment(struct sysv_object *obj)
{
	struct sysv_segment *segment;

	pthread_mutex_lock(&obj->lock);
	segment = sysv_segment_get(obj->segment);
	pthread_mutex_unlock(&obj->lock);
	return segment;
}

int sysv_read_begin(struct shmfs_handle *base, off_t off, size_t len, struct shmfs_extent *extent)
{
	struct sysv_segment *segment = current_segment(object(base->object));
	uint64_t left = (uint64_t)off < segment->size ? segment->size - (uint64_t)off : 0;

	fill_extent(segment, false, (uint64_t)off, len < left ? len : left, extent);
	return 0;
}

void sysv_read_end(struct shmfs_handle *base, struct shmfs_extent *extent)
{
	(void)base;
	sysv_segment_put(extent->owner);
}

/* Where `>>` writes: behind the content, which may end before the segment. */
static uint64_t append_position(struct sysv_object *obj)
{
	uint64_t pos;

	pthread_mutex_lock(&obj->lock);
	if (obj->is_new)
		pos = obj->content_end;
	else if (obj->overallocated)
		pos = obj->keep_size > obj->content_end ? obj->keep_size : obj->content_end;
	else
		pos = obj->segment->size;
	pthread_mutex_unlock(&obj->lock);
	return pos;
}

/*
 * Take `io` the way that this write needs it, and the segment as it is then.
 * Appending takes turns: where one write ends the next begins.
 */
static struct sysv_segment *begin_write(struct sysv_object *obj, bool append, uint64_t end)
{
	struct sysv_segment *segment;

	if (!append) {
		sysv_wait_read(obj);
		segment = current_segment(obj);
		if (end <= segment->size)
			return segment;
		sysv_segment_put(segment);
		pthread_rwlock_unlock(&obj->io);
	}
	sysv_wait_write(obj);
	return current_segment(obj);
}

/*
 * What becomes of a write that begins where no room could be made: a limit, or
 * others who use the segment, make it a full disk; what we are short of does
 * not.
 */
static int room_error(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE || err == -EIO ? err : -ENOSPC;
}

int sysv_write_begin(struct shmfs_handle *base, off_t off, size_t len, bool append,
		     const struct shmfs_caller *caller, struct shmfs_extent *extent)
{
	struct sysv_object *obj = object(base->object);
	uint64_t pos = (uint64_t)off;
	struct sysv_segment *segment;
	int err = 0;

	if (len > (uint64_t)INT64_MAX - pos)
		return -EFBIG;
	segment = begin_write(obj, append, pos + len);
	if (append)
		pos = append_position(obj);
	if (pos + len > segment->size) {
		err = sysv_grow(obj, base, pos + len, caller);
		sysv_segment_put(segment);
		segment = current_segment(obj);
	}
	if (pos >= segment->size && len > 0) {
		sysv_segment_put(segment);
		pthread_rwlock_unlock(&obj->io);
		return room_error(err);
	}
	if (len > segment->size - pos)
		len = segment->size - pos;
	fill_extent(segment, true, pos, len, extent);
	return 0;
}

ssize_t sysv_write_end(struct shmfs_handle *base, struct shmfs_extent *extent, size_t written)
{
	struct sysv_object *obj = object(base->object);
	uint64_t end = (uint64_t)extent->pos + written;

	pthread_mutex_lock(&obj->lock);
	if (written && obj->content_end < end)
		obj->content_end = end;
	pthread_mutex_unlock(&obj->lock);
	sysv_segment_put(extent->owner);
	pthread_rwlock_unlock(&obj->io);
	atomic_store(&handle(base)->wrote, true);
	return (ssize_t)written;
}

int sysv_fallocate(struct shmfs_handle *base, int mode, off_t off, off_t len,
		   const struct shmfs_caller *caller)
{
	struct sysv_object *obj = object(base->object);
	bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	uint64_t end = (uint64_t)off + (uint64_t)len;
	struct sysv_segment *segment;
	int err = 0;

	if (!punch && mode != 0 && mode != FALLOC_FL_KEEP_SIZE)
		return -EOPNOTSUPP;
	sysv_wait_write(obj);
	/* Room behind the end is nothing that a segment can have. */
	if (!punch && end > obj->segment->size)
		err = mode ? -EOPNOTSUPP : sysv_set_size(obj, base, end, caller);
	if (!err) {
		segment = current_segment(obj);
		err = punch ? sysv_segment_punch(segment, (uint64_t)off, (uint64_t)len) :
			      sysv_segment_populate(segment, (uint64_t)off, (uint64_t)len);
		sysv_segment_put(segment);
		atomic_store(&handle(base)->wrote, true);
	}
	pthread_rwlock_unlock(&obj->io);
	return err;
}

off_t sysv_seek(struct shmfs_handle *base, off_t off, int whence)
{
	struct sysv_object *obj = object(base->object);
	struct sysv_segment *segment;
	off_t pos;

	/* With `io`, for what has data is no hole while it moves. */
	sysv_wait_read(obj);
	segment = current_segment(obj);
	if ((uint64_t)off >= segment->size) {
		pos = -ENXIO;
	} else if (segment->fd >= 0) {
		pos = lseek(segment->fd, off, whence);
		if (pos < 0)
			pos = -errno;
	} else {
		/* An attachment cannot tell: all of it is data. */
		pos = whence == SEEK_DATA ? off : (off_t)segment->size;
	}
	sysv_segment_put(segment);
	pthread_rwlock_unlock(&obj->io);
	return pos;
}
