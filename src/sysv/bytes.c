/* SPDX-License-Identifier: MIT */
/*
 * The bytes of open segments.
 *
 * A reader takes a reference to the segment and no lock: a segment that is replaced meanwhile has
 * the same bytes.  A writer holds `io` from write_begin() to write_end(), so that it writes to no
 * segment that was copied already.
 */
#include "sysv/internal.h"

/* For this many bytes one call to populate pages is faster than a fault for each. */
#define MANY_PAGES ((size_t)64 << 10)

static void fill_extent(struct sysv_segment *segment, bool write, uint64_t off, size_t len,
			struct shmfs_extent *extent)
{
	bool by_map = segment->fd < 0 || (write && segment->map);

	*extent = (struct shmfs_extent){
		.fd = by_map ? -1 : segment->fd,
		.pos = (off_t)off,
		.mem = by_map ? segment->map + off : NULL,
		.len = len,
		.owner = segment,
	};
}

/* The segment, and where the file ends in it; NULL: a close let it go. */
static struct sysv_segment *current_file(struct sysv_object *obj, uint64_t *size)
{
	SHMFS_LOCKED(&obj->base.lock);

	if (!obj->segment)
		return NULL;
	*size = shmfs_min(sysv_file_size(obj), obj->segment->size);
	return sysv_segment_get(obj->segment);
}

int sysv_read_begin(struct shmfs_handle *base, off_t off, size_t len, struct shmfs_extent *extent)
{
	struct sysv_object *obj = sysv_object(base->object);
	struct sysv_segment *segment;
	uint64_t size, left;

	while (!(segment = current_file(obj, &size))) {
		SHMFS_READ_LOCKED(&obj->io);
		int err = sysv_use(obj, sysv_handle(base), false);

		if (err)
			return err;
	}
	left = (uint64_t)off < size ? size - (uint64_t)off : 0;
	if (len > left)
		len = (size_t)left;
	if (segment->fd < 0 && len > SYSV_LONGEST_COPY)
		len = SYSV_LONGEST_COPY;
	fill_extent(segment, false, (uint64_t)off, len, extent);
	if (segment->fd < 0) {
		extent->copy = sysv_copy_around_holes(segment, (uint64_t)off, len);
		if (extent->copy)
			extent->mem = extent->copy;
	}
	return 0;
}

void sysv_read_end(struct shmfs_handle *base, struct shmfs_extent *extent)
{
	free(extent->copy);
	sysv_segment_put(extent->owner);
}

/*
 * Take `io` for reading, or for writing to append, to make room, or to write to the mirror as well.
 * Appending takes turns: where one write ends the next begins.
 */
static int begin_write(struct sysv_object *obj, struct sysv_handle *h, size_t len, bool append,
		       const struct shmfs_caller *caller, uint64_t *pos)
{
	struct sysv_patience patience = { 0 };
	int err;

	if (!append) {
		pthread_rwlock_rdlock(&obj->io);
		err = sysv_use(obj, h, true);
		if (err || (*pos + len <= obj->segment->size && !obj->mirror))
			return err;
		pthread_rwlock_unlock(&obj->io);
	}
	pthread_rwlock_wrlock(&obj->io);
	do {
		err = sysv_use(obj, h, true);
		if (append)
			*pos = sysv_file_size(obj);
		if (err)
			break;
		if (*pos + len > obj->segment->size)
			err = sysv_grow(obj, h, *pos + len, caller);
	} while (err && sysv_wait_for_users(obj, &patience, err));
	return err;
}

/*
 * The error of a write that begins where no room could be made.  For limits and other users of the
 * segment the disk is full; a want of memory or descriptors is told as such.
 */
static int room_error(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE || err == -EIO ? err : -ENOSPC;
}

/*
 * Have the pages of an attachment before a copy touches them.  Those that were populated before are
 * spared the call, which looks at each.  Where they are missing again, or could not be had, they
 * fault.
 */
static void populate(struct sysv_segment *segment, uint64_t pos, size_t len)
{
	const uint64_t before = atomic_load(&segment->populated);

	if (segment->fd >= 0 || len < MANY_PAGES || pos + len <= before)
		return;
	if (sysv_segment_populate(segment, pos, len) == 0 && pos <= before)
		atomic_store(&segment->populated, pos + len);
}

int sysv_write_begin(struct shmfs_handle *base, off_t off, size_t len, bool append,
		     const struct shmfs_caller *caller, struct shmfs_extent *extent)
{
	struct sysv_object *obj = sysv_object(base->object);
	struct sysv_segment *segment;
	uint64_t pos = (uint64_t)off;
	int err;

	if (len > (uint64_t)INT64_MAX - pos)
		return -EFBIG;
	err = begin_write(obj, sysv_handle(base), len, append, caller, &pos);
	/* One that a reader has attached cannot be written.  Then `err` says why there is no other. */
	segment = obj->segment && obj->segment->writable ? obj->segment : NULL;
	if (!segment || (pos >= segment->size && len > 0)) {
		pthread_rwlock_unlock(&obj->io);
		return segment ? room_error(err) : err;
	}
	if (len > segment->size - pos)
		len = (size_t)(segment->size - pos);
	populate(segment, pos, len);
	fill_extent(sysv_segment_get(segment), true, pos, len, extent);
	return 0;
}

ssize_t sysv_write_end(struct shmfs_handle *base, struct shmfs_extent *extent, size_t written)
{
	struct sysv_object *obj = sysv_object(base->object);
	uint64_t end = (uint64_t)extent->pos + written;

	if (written) {
		SHMFS_LOCKED(&obj->base.lock);

		if (obj->content_end < end)
			obj->content_end = end;
		sysv_times_wrote(sysv_backend_of(obj), obj->id);
	}
	sysv_mirror_write(obj, (uint64_t)extent->pos, written);
	sysv_segment_put(extent->owner);
	pthread_rwlock_unlock(&obj->io);
	atomic_store(&sysv_handle(base)->wrote, true);
	return (ssize_t)written;
}

/* Make the segment larger than the file.  It is cut when the file is closed. */
static int make_room(struct sysv_object *obj, struct sysv_handle *h, uint64_t end, bool keep_size,
		     const struct shmfs_caller *caller)
{
	uint64_t room = obj->segment->size;
	int err = 0;

	if (keep_size)
		return end > room ? sysv_grow_to(obj, h, room, end - room, caller) : 0;
	if (end > sysv_file_size(obj))
		err = sysv_set_size(obj, h, end, caller);
	if (!err || end > room)
		return err;
	/* There is room.  It is cut to that size when it is closed. */
	sysv_set_file(obj, SYSV_GROWING, end);
	return 0;
}

int sysv_fallocate(struct shmfs_handle *base, int mode, off_t off, off_t len,
		   const struct shmfs_caller *caller)
{
	struct sysv_object *obj = sysv_object(base->object);
	bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	uint64_t end = (uint64_t)off + (uint64_t)len;
	struct sysv_patience patience = { 0 };
	int err = 0;

	if (!punch && mode != 0 && mode != FALLOC_FL_KEEP_SIZE)
		return -EOPNOTSUPP;
	pthread_rwlock_wrlock(&obj->io);
	do {
		err = sysv_use(obj, sysv_handle(base), true);
		if (!err && !punch)
			err = make_room(obj, sysv_handle(base), end, mode, caller);
	} while (err && sysv_wait_for_users(obj, &patience, err));
	if (!err) {
		err = punch ? sysv_segment_punch(obj->segment, (uint64_t)off, (uint64_t)len) :
			      sysv_segment_populate(obj->segment, (uint64_t)off, (uint64_t)len);
		sysv_mirror_punch(obj, (uint64_t)off, punch && !err ? (uint64_t)len : 0);
		sysv_times_wrote(sysv_backend_of(obj), obj->id);
		atomic_store(&sysv_handle(base)->wrote, true);
	}
	pthread_rwlock_unlock(&obj->io);
	return sysv_error(SYSV_RESIZE, err);
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
	struct sysv_object *obj = sysv_object(base->object);
	uint64_t size = 0;
	off_t pos;

	/* Pages that move are no holes meanwhile. */
	SHMFS_READ_LOCKED(&obj->io);

	pos = sysv_use(obj, sysv_handle(base), false);
	if (!pos) {
		struct sysv_segment *segment = current_file(obj, &size);

		pos = (uint64_t)off < size ? seek_in(segment, off, whence) : -ENXIO;
		sysv_segment_put(segment);
	}
	if (pos > (off_t)size || (pos == (off_t)size && whence == SEEK_DATA))
		pos = whence == SEEK_DATA ? -ENXIO : (off_t)size;
	return pos;
}
