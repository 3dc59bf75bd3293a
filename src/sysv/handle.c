/* SPDX-License-Identifier: MIT */
/*
 * Open segments.
 *
 * All handles of an object share its memory (struct sysv_segment), and move to
 * another one with it.  A reader takes a reference and needs no lock: a segment
 * that is replaced meanwhile had the same bytes.  A writer keeps `io` from
 * write_begin() to write_end(), so that nothing is written to a segment that
 * was just copied.
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

static int access_mode(const struct sysv_handle *h)
{
	return h->base.flags & O_ACCMODE;
}

/* Count the handle among those that may outgrow the segment, or not.  obj->lock is held. */
static void set_grows(struct sysv_object *obj, struct sysv_handle *h, bool grows)
{
	if (h->grows == grows)
		return;
	h->grows = grows;
	obj->ngrowers += grows ? 1 : -1u;
}

/* One handle more.  obj->lock is held. */
static void enter(struct sysv_object *obj, struct sysv_handle *h)
{
	h->base.object = &obj->base;
	obj->nhandles++;
	if (access_mode(h) != O_WRONLY)
		obj->nreaders++;
	set_grows(obj, h, !h->fixed && (h->created || access_mode(h) != O_RDONLY));
}

/* One handle less; with the last the memory goes. */
static void leave(struct sysv_object *obj, const struct sysv_handle *h)
{
	struct sysv_segment *segment = NULL;

	pthread_mutex_lock(&obj->lock);
	if (access_mode(h) != O_WRONLY)
		obj->nreaders--;
	if (--obj->nhandles == 0) {
		segment = obj->segment;
		obj->segment = NULL;
	}
	pthread_mutex_unlock(&obj->lock);
	sysv_segment_put(segment);
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
	sysv_wait_read(obj);
	pthread_mutex_lock(&obj->lock);
	enter(obj, h);
	if (!obj->segment) {
		obj->segment = segment;
		segment = NULL;
	}
	obj->growth = SYSV_GROWING;
	obj->is_new = true;
	obj->creator_is_open = true;
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

/* The handle writes no more.  Was it the last that did?  Then the size is final. */
static bool stop_growing(struct sysv_object *obj, struct sysv_handle *h)
{
	bool last;

	pthread_mutex_lock(&obj->lock);
	last = h->grows && obj->ngrowers == 1;
	set_grows(obj, h, false);
	pthread_mutex_unlock(&obj->lock);
	return last;
}

/*
 * A file that was closed once is written again, through another descriptor of
 * the same handle.  The one who made it goes on behind what it had written.
 */
static void resume_growing(struct sysv_object *obj, struct sysv_handle *h)
{
	pthread_mutex_lock(&obj->lock);
	if (!h->grows && !h->lent && !h->fixed) {
		set_grows(obj, h, true);
		if (h->created && obj->is_new)
			obj->growth = SYSV_GROWING;
	}
	pthread_mutex_unlock(&obj->lock);
}

static int open_handle(struct shmfs_object *base, int flags, bool fixed,
		       const struct shmfs_caller *caller, struct shmfs_handle **out)
{
	struct sysv_object *obj = object(base);
	struct sysv_handle *h;
	bool writable = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	int err = new_handle(flags, &h);

	if (err)
		return err;
	h->fixed = fixed;
	sysv_wait_read(obj);
	err = sysv_check_rights(obj, writable, caller);
	pthread_mutex_lock(&obj->lock);
	if (!err)
		err = need_segment(obj, writable, caller);
	if (!err)
		enter(obj, h);
	pthread_mutex_unlock(&obj->lock);
	if (!err && (flags & O_TRUNC)) {
		h->cleared = true;
		err = sysv_clear(obj, caller);
		if (err) {
			stop_growing(obj, h);
			leave(obj, h);
		}
	}
	pthread_rwlock_unlock(&obj->io);
	if (err)
		free(h);
	else
		*out = &h->base;
	return err;
}

int sysv_open(struct shmfs_object *base, int flags, const struct shmfs_caller *caller,
	      struct shmfs_handle **out)
{
	return open_handle(base, flags, false, caller, out);
}

int sysv_open_by_id(struct shmfs_object *base, int flags, const struct shmfs_caller *caller,
		    struct shmfs_handle **out)
{
	return open_handle(base, flags, true, caller, out);
}

/*
 * A handle that several processes share is closed by each of them.  Cutting
 * the segment to size every time would copy it every time: the process that
 * opened the file does it, and where that is not the last, release().
 */
int sysv_flush(struct shmfs_handle *base, bool by_opener, const struct shmfs_caller *caller)
{
	struct sysv_object *obj = object(base->object);

	(void)caller;
	if (!by_opener)
		return 0;
	sysv_wait_write(obj);
	if (stop_growing(obj, handle(base)))
		sysv_settle(obj);
	pthread_rwlock_unlock(&obj->io);
	return 0;
}

void sysv_release(struct shmfs_handle *base)
{
	struct sysv_handle *h = handle(base);
	struct sysv_object *obj = object(base->object);

	sysv_wait_write(obj);
	if (h->created) {
		pthread_mutex_lock(&obj->lock);
		obj->creator_is_open = false;
		obj->is_new = obj->is_new && obj->growth != SYSV_SETTLED;
		pthread_mutex_unlock(&obj->lock);
	}
	if (stop_growing(obj, h))
		sysv_settle(obj);
	if (atomic_load(&h->wrote))
		sysv_usage_touched(obj->segment);
	leave(obj, h);
	pthread_rwlock_unlock(&obj->io);
	free(h);
}

/*
 * The kernel writes past the end of a file that it serves, which would grow
 * the segment's inode and not the segment.  So it may serve a reader whole, the
 * mappings of a reader and writer, and nothing that may yet grow.  A file that
 * it serves keeps the segment from being replaced: while somebody may outgrow
 * that, or has and it was not cut yet, every open file is served here.
 */
enum shmfs_io_mode sysv_binding(struct shmfs_handle *base, int *fd)
{
	const struct sysv_handle *h = handle(base);
	struct sysv_object *obj = object(base->object);
	int mode = access_mode(h);
	bool grows;

	if (!sysv_backend_of(obj)->by_descriptor || h->created || h->cleared || mode == O_WRONLY)
		return SHMFS_IO_MOVABLE;
	pthread_mutex_lock(&obj->lock);
	grows = obj->growth != SYSV_SETTLED || obj->ngrowers > (h->grows ? 1 : 0);
	*fd = obj->segment->fd;
	pthread_mutex_unlock(&obj->lock);
	if (grows)
		return SHMFS_IO_MOVABLE;
	return mode == O_RDONLY ? SHMFS_IO_PASSTHROUGH : SHMFS_IO_MMAP_ONLY;
}

void sysv_lent(struct shmfs_handle *base)
{
	struct sysv_object *obj = object(base->object);

	pthread_mutex_lock(&obj->lock);
	handle(base)->lent = true;
	set_grows(obj, handle(base), false);
	pthread_mutex_unlock(&obj->lock);
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

/* The segment, and where the file ends in it. */
static struct sysv_segment *current_file(struct sysv_object *obj, uint64_t *size)
{
	struct sysv_segment *segment;

	pthread_mutex_lock(&obj->lock);
	segment = sysv_segment_get(obj->segment);
	*size = sysv_file_size(obj);
	pthread_mutex_unlock(&obj->lock);
	if (*size > segment->size)
		*size = segment->size;
	return segment;
}

int sysv_read_begin(struct shmfs_handle *base, off_t off, size_t len, struct shmfs_extent *extent)
{
	uint64_t size;
	struct sysv_segment *segment = current_file(object(base->object), &size);
	uint64_t left = (uint64_t)off < size ? size - (uint64_t)off : 0;

	fill_extent(segment, false, (uint64_t)off, len < left ? len : (size_t)left, extent);
	return 0;
}

void sysv_read_end(struct shmfs_handle *base, struct shmfs_extent *extent)
{
	(void)base;
	sysv_segment_put(extent->owner);
}

/*
 * Take `io` the way that this write needs it and make room for it.  Appending
 * takes turns: where one write ends the next begins.
 */
static int begin_write(struct sysv_object *obj, struct sysv_handle *h, size_t len, bool append,
		       const struct shmfs_caller *caller, uint64_t *pos)
{
	struct sysv_patience patience = { 0 };
	int err;

	if (!append) {
		bool fits;

		sysv_wait_read(obj);
		pthread_mutex_lock(&obj->lock);
		fits = *pos + len <= obj->segment->size;
		pthread_mutex_unlock(&obj->lock);
		if (fits)
			return 0;
		pthread_rwlock_unlock(&obj->io);
	}
	sysv_wait_write(obj);
	do {
		if (append)
			*pos = sysv_file_size(obj);
		if (len > (uint64_t)INT64_MAX - *pos)
			err = -EFBIG;
		else if (*pos + len <= obj->segment->size)
			err = 0;
		else
			err = sysv_grow(obj, h, *pos + len, caller);
	} while (err && sysv_wait_for_users(obj, &patience, err));
	return err;
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
	struct sysv_segment *segment;
	uint64_t pos = (uint64_t)off;
	int err;

	if (len > (uint64_t)INT64_MAX - pos)
		return -EFBIG;
	resume_growing(obj, handle(base));
	err = begin_write(obj, handle(base), len, append, caller, &pos);
	segment = current_segment(obj);
	if (pos >= segment->size && len > 0) {
		sysv_segment_put(segment);
		pthread_rwlock_unlock(&obj->io);
		return room_error(err);
	}
	if (len > segment->size - pos)
		len = (size_t)(segment->size - pos);
	fill_extent(segment, true, pos, len, extent);
	return 0;
}

/* The file reaches to `end` at least.  obj->io is held. */
static void note_end(struct sysv_object *obj, uint64_t end)
{
	pthread_mutex_lock(&obj->lock);
	if (obj->content_end < end)
		obj->content_end = end;
	pthread_mutex_unlock(&obj->lock);
}

ssize_t sysv_write_end(struct shmfs_handle *base, struct shmfs_extent *extent, size_t written)
{
	struct sysv_object *obj = object(base->object);

	if (written) {
		note_end(obj, (uint64_t)extent->pos + written);
		sysv_times_wrote(sysv_backend_of(obj), obj->id);
	}
	sysv_segment_put(extent->owner);
	pthread_rwlock_unlock(&obj->io);
	atomic_store(&handle(base)->wrote, true);
	return (ssize_t)written;
}

/* Room behind the end of the file is that of a larger segment, until it is closed. */
static int make_room(struct sysv_object *obj, struct sysv_handle *h, uint64_t end, bool keep_size,
		     const struct shmfs_caller *caller)
{
	uint64_t room = obj->segment->size;
	int err = 0;

	if (keep_size)
		return end > room ? sysv_grow_to(obj, h, end, caller) : 0;
	if (end > sysv_file_size(obj))
		err = sysv_set_size(obj, h, end, caller);
	if (!err || end > room)
		return err;
	/* There is room.  It is cut to that size when it is closed. */
	pthread_mutex_lock(&obj->lock);
	obj->is_new = false;
	obj->growth = SYSV_GROWING;
	obj->keep_size = end;
	obj->content_end = 0;
	pthread_mutex_unlock(&obj->lock);
	return 0;
}

int sysv_fallocate(struct shmfs_handle *base, int mode, off_t off, off_t len,
		   const struct shmfs_caller *caller)
{
	struct sysv_object *obj = object(base->object);
	bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	uint64_t end = (uint64_t)off + (uint64_t)len;
	struct sysv_patience patience = { 0 };
	int err = 0;

	if (!punch && mode != 0 && mode != FALLOC_FL_KEEP_SIZE)
		return -EOPNOTSUPP;
	resume_growing(obj, handle(base));
	sysv_wait_write(obj);
	do {
		if (!punch)
			err = make_room(obj, handle(base), end, mode, caller);
	} while (err && sysv_wait_for_users(obj, &patience, err));
	if (!err) {
		err = punch ? sysv_segment_punch(obj->segment, (uint64_t)off, (uint64_t)len) :
			      sysv_segment_populate(obj->segment, (uint64_t)off, (uint64_t)len);
		sysv_times_wrote(sysv_backend_of(obj), obj->id);
		atomic_store(&handle(base)->wrote, true);
	}
	pthread_rwlock_unlock(&obj->io);
	return err == -EAGAIN ? -EBUSY : err;
}

/* An attachment cannot tell: all of it is data. */
static off_t seek_in(const struct sysv_segment *segment, off_t off, int whence)
{
	off_t pos;

	if (segment->fd < 0)
		return whence == SEEK_DATA ? off : (off_t)segment->size;
	pos = lseek(segment->fd, off, whence);
	return pos < 0 ? -errno : pos;
}

off_t sysv_seek(struct shmfs_handle *base, off_t off, int whence)
{
	struct sysv_object *obj = object(base->object);
	struct sysv_segment *segment;
	uint64_t size;
	off_t pos;

	/* With `io`, for what has data is no hole while it moves. */
	sysv_wait_read(obj);
	segment = current_file(obj, &size);
	pos = (uint64_t)off < size ? seek_in(segment, off, whence) : -ENXIO;
	if (pos > (off_t)size || (pos == (off_t)size && whence == SEEK_DATA))
		pos = whence == SEEK_DATA ? -ENXIO : (off_t)size;
	sysv_segment_put(segment);
	pthread_rwlock_unlock(&obj->io);
	return pos;
}
