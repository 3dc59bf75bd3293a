/* SPDX-License-Identifier: MIT */
/*
 * Open texts.  The handle of the object behind can read, whatever the text was
 * opened for: to write one its end has to be found.
 *
 * The bytes of a request stop over in a buffer.  What is read is cut at its
 * NUL where nobody can change it any more; what is written is looked at before
 * any of it is stored.
 */
#include "text/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct text_write {
	const struct shmfs_caller *caller; /* borrowed, until write_end() */
	uint64_t off;
	bool append;
	char bytes[];
};

static struct text_handle *handle(struct shmfs_handle *base)
{
	return (struct text_handle *)base;
}

/* Appending and clearing are done here. */
static int inner_flags(int flags)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);

	return (flags & ~(O_ACCMODE | O_TRUNC | O_APPEND)) | (writes ? O_RDWR : O_RDONLY);
}

static bool may_write(const struct shmfs_handle *inner)
{
	return (inner->flags & O_ACCMODE) != O_RDONLY;
}

/*
 * One handle more.  Of the handles behind, the one that has just shown that
 * this may be opened and the one that is there, one is kept.  obj->io is held.
 */
static void enter(struct text_object *obj, struct text_handle *h, struct shmfs_handle *inner)
{
	struct shmfs_handle *other = obj->opened;

	h->base.object = &obj->base;
	h->base.may_flush = inner->may_flush;
	obj->nhandles++;
	if (other && (may_write(other) || !may_write(inner)))
		other = inner;
	else
		obj->opened = inner;
	if (other)
		h->ops->release(other);
}

int text_create(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
		mode_t mode, const struct shmfs_caller *caller, struct shmfs_object **out,
		struct shmfs_handle **handle_out, struct stat *st)
{
	const struct shmfs_view inner = text_inner_view(view);
	struct text_handle *h = calloc(1, sizeof(*h));
	struct shmfs_handle *made;
	struct shmfs_object *found;
	struct shmfs_object *obj;
	int err;

	if (!h)
		return -ENOMEM;
	err = inner.ops->create(&inner, name, inner_flags(flags), mode, caller, &found, &made, st);
	if (!err) {
		shmfs_object_ref(found);
		err = text_object_get(view->backend, found, &obj);
		if (err)
			inner.ops->release(made);
		shmfs_object_put(found);
	}
	if (err) {
		free(h);
		return err;
	}
	h->ops = inner.ops;
	h->base.flags = flags;
	text_wait_write(text_object(obj));
	enter(text_object(obj), h, made);
	pthread_rwlock_unlock(&text_object(obj)->io);
	err = text_getattr(obj, caller, st);
	if (err) {
		text_release(&h->base);
		shmfs_object_put(obj);
		return err;
	}
	*out = obj;
	*handle_out = &h->base;
	return 0;
}

int text_open(struct shmfs_object *base, int flags, const struct shmfs_caller *caller,
	      struct shmfs_handle **out)
{
	struct text_object *obj = text_object(base);
	struct text_handle *h = calloc(1, sizeof(*h));
	struct shmfs_handle *inner;
	int err;

	if (!h)
		return -ENOMEM;
	h->ops = text_inner_ops(obj);
	h->base.flags = flags;
	text_wait_write(obj);
	err = h->ops->open(obj->inner, inner_flags(flags), caller, &inner);
	if (!err && (flags & O_TRUNC)) {
		err = text_truncate(obj, inner, 0, caller);
		if (err)
			h->ops->release(inner);
	}
	if (!err)
		enter(obj, h, inner);
	pthread_rwlock_unlock(&obj->io);
	if (err)
		free(h);
	else
		*out = &h->base;
	return err;
}

int text_flush(struct shmfs_handle *base, bool by_opener, const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base->object);
	int err;

	text_wait_write(obj);
	err = handle(base)->ops->flush(obj->opened, by_opener, caller);
	pthread_rwlock_unlock(&obj->io);
	return err;
}

static void leave(struct text_object *obj, const struct text_handle *h)
{
	text_wait_write(obj);
	if (--obj->nhandles == 0) {
		h->ops->release(obj->opened);
		obj->opened = NULL;
	}
	pthread_rwlock_unlock(&obj->io);
}

void text_release(struct shmfs_handle *base)
{
	struct text_handle *h = handle(base);

	leave(text_object(base->object), h);
	free(h);
}

enum shmfs_io_mode text_binding(struct shmfs_handle *base, int *fd)
{
	(void)base, (void)fd;
	return SHMFS_IO_DAEMON;
}

void text_lent(struct shmfs_handle *base, bool lent)
{
	(void)base, (void)lent;
}

/* --- bytes --- */

int text_read_begin(struct shmfs_handle *base, off_t off, size_t len, struct shmfs_extent *extent)
{
	struct text_object *obj = text_object(base->object);
	char *bytes;
	ssize_t n;

	if (len > TEXT_PIECE)
		len = TEXT_PIECE;
	bytes = malloc(len);
	if (!bytes && len > 0)
		return -ENOMEM;
	text_wait_read(obj);
	n = text_load(obj, obj->opened, (uint64_t)off, bytes, len);
	pthread_rwlock_unlock(&obj->io);
	if (n < 0) {
		free(bytes);
		return (int)n;
	}
	*extent = (struct shmfs_extent){ .fd = -1, .mem = bytes, .len = (size_t)n, .owner = bytes };
	return 0;
}

void text_read_end(struct shmfs_handle *base, struct shmfs_extent *extent)
{
	(void)base;
	free(extent->owner);
}

int text_write_begin(struct shmfs_handle *base, off_t off, size_t len, bool append,
		     const struct shmfs_caller *caller, struct shmfs_extent *extent)
{
	struct text_write *write;

	(void)base;
	if (len > TEXT_PIECE)
		len = TEXT_PIECE;
	if ((uint64_t)off > TEXT_MAX - len)
		return -EFBIG;
	write = malloc(sizeof(*write) + len);
	if (!write)
		return -ENOMEM;
	*write = (struct text_write){ .caller = caller, .off = (uint64_t)off, .append = append };
	*extent =
		(struct shmfs_extent){ .fd = -1, .mem = write->bytes, .len = len, .owner = write };
	return 0;
}

ssize_t text_write_end(struct shmfs_handle *base, struct shmfs_extent *extent, size_t written)
{
	struct text_object *obj = text_object(base->object);
	struct text_write *write = extent->owner;
	ssize_t n;

	text_wait_write(obj);
	n = text_store(obj, obj->opened, write->off, write->append, write->bytes, written,
		       write->caller);
	pthread_rwlock_unlock(&obj->io);
	free(write);
	return n;
}

/*
 * Memory can be had for what is there and for what may come.  Making a file
 * longer, as it is without KEEP_SIZE, makes no text so, and a hole is NULs.
 */
static int allocate(struct text_object *obj, int mode, uint64_t off, uint64_t len,
		    const struct shmfs_caller *caller)
{
	bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	uint64_t end;
	int err;

	if (mode == FALLOC_FL_KEEP_SIZE)
		return text_reserve(obj, obj->opened, off + len, caller);
	if (!punch && mode != 0)
		return -EOPNOTSUPP;
	err = text_length(obj, obj->opened, off + len, &end);
	if (err)
		return err;
	if (punch && off < end)
		return -EILSEQ;
	if (!punch && off + len > end)
		return -EINVAL;
	return text_inner_ops(obj)->fallocate(obj->opened, mode, (off_t)off, (off_t)len, caller);
}

int text_fallocate(struct shmfs_handle *base, int mode, off_t off, off_t len,
		   const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base->object);
	int err;

	text_wait_write(obj);
	err = allocate(obj, mode, (uint64_t)off, (uint64_t)len, caller);
	pthread_rwlock_unlock(&obj->io);
	return err;
}

/* All of a text is data. */
off_t text_seek(struct shmfs_handle *base, off_t off, int whence)
{
	struct text_object *obj = text_object(base->object);
	uint64_t len;
	int err;

	text_wait_read(obj);
	err = text_length(obj, obj->opened, TEXT_MAX, &len);
	pthread_rwlock_unlock(&obj->io);
	if (err)
		return err;
	if ((uint64_t)off >= len)
		return -ENXIO;
	return whence == SEEK_DATA ? off : (off_t)len;
}
