/* SPDX-License-Identifier: MIT */
/* Open files of the memory backend, and their bytes. */
#include "memory_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Nobody has a descriptor of this number. */
#define NO_DESCRIPTOR (1 << 24)

struct memory_handle {
	struct shmfs_handle base;
	struct memory_backend *backend; /* borrowed */
	struct memory_file *file;	/* borrowed; stays while it is open */
};

static struct memory_handle *handle(struct shmfs_handle *base)
{
	return (struct memory_handle *)base;
}

static struct memory_backend *backend_of(const struct shmfs_object *base)
{
	return (struct memory_backend *)base->backend;
}

struct shmfs_handle *memory_add_handle(struct memory_backend *be, struct memory_file *file,
				       int flags)
{
	struct memory_handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->base.flags = flags;
	h->base.may_flush = be->may_flush;
	h->backend = be;
	h->file = file;
	file->nhandles++;
	be->handles++;
	be->seen.flags = flags;
	return &h->base;
}

int memory_open(struct shmfs_object *obj, int flags, const struct shmfs_caller *caller,
		struct shmfs_handle **out)
{
	struct memory_backend *be = backend_of(obj);
	int err = memory_enter(be, MEMORY_OPEN);
	struct memory_file *file = memory_by_object(obj);
	struct shmfs_handle *h = NULL;

	memory_see_caller(be, caller);
	if (!err && !file)
		err = -ESTALE;
	if (!err && (flags & O_TRUNC))
		err = memory_resize(file, 0);
	if (!err) {
		h = memory_add_handle(be, file, flags);
		err = h ? 0 : -ENOMEM;
	}
	if (!err) {
		h->object = obj;
		*out = h;
	}
	return memory_leave(be, err);
}

static void drop_handle(struct memory_handle *h)
{
	h->file->nhandles--;
	h->backend->handles--;
	free(h);
}

int memory_flush(struct shmfs_handle *base, bool by_opener, const struct shmfs_caller *caller)
{
	struct memory_backend *be = handle(base)->backend;
	int err = memory_enter(be, MEMORY_FLUSH);

	be->seen.by_opener = by_opener;
	memory_see_caller(be, caller);
	return memory_leave(be, err);
}

void memory_release(struct shmfs_handle *base)
{
	struct memory_backend *be = handle(base)->backend;

	memory_enter(be, MEMORY_RELEASE);
	drop_handle(handle(base));
	memory_leave(be, 0);
}

enum shmfs_io_mode memory_binding(struct shmfs_handle *base, int *fd)
{
	struct memory_backend *be = handle(base)->backend;

	memory_enter(be, MEMORY_BINDING);
	memory_need_bytes(handle(base)->file);
	if (be->binding != SHMFS_IO_DAEMON)
		*fd = handle(base)->file->fd;
	memory_leave(be, 0);
	return be->binding;
}

void memory_lent(struct shmfs_handle *base, bool lent)
{
	struct memory_backend *be = handle(base)->backend;

	if (!lent)
		return;
	memory_enter(be, MEMORY_LENT);
	be->seen.handle = base;
	memory_leave(be, 0);
}

/* --- bytes --- */

/* A extent of [off, off + len) of a file; be->lock is held. */
static void fill_extent(struct memory_backend *be, struct memory_file *file, off_t off, size_t len,
			struct shmfs_extent *extent)
{
	*extent = (struct shmfs_extent){ .fd = -1, .pos = off, .len = len, .owner = file };
	if (be->extents == MEMORY_MAPPED)
		extent->mem = file->bytes + off;
	else
		extent->fd = be->extents == MEMORY_BROKEN ? NO_DESCRIPTOR : file->fd;
	be->spans_held++;
}

int memory_read_begin(struct shmfs_handle *base, off_t off, size_t len, struct shmfs_extent *extent)
{
	struct memory_backend *be = handle(base)->backend;
	struct memory_file *file = handle(base)->file;
	int err = memory_enter(be, MEMORY_READ_BEGIN);

	if (!err)
		err = memory_need_bytes(file);
	if (err)
		return memory_leave(be, err);
	if (off >= file->size)
		len = 0;
	else if (len > (size_t)(file->size - off))
		len = (size_t)(file->size - off);
	fill_extent(be, file, len > 0 ? off : 0, len, extent);
	return memory_leave(be, 0);
}

void memory_read_end(struct shmfs_handle *base, struct shmfs_extent *extent)
{
	struct memory_backend *be = handle(base)->backend;

	memory_enter(be, MEMORY_READ_END);
	be->spans_held -= extent->owner == handle(base)->file;
	memory_leave(be, 0);
}

/* Part of what is asked for, if the rest has no room. */
int memory_write_begin(struct shmfs_handle *base, off_t off, size_t len, bool append,
		       const struct shmfs_caller *caller, struct shmfs_extent *extent)
{
	struct memory_backend *be = handle(base)->backend;
	struct memory_file *file = handle(base)->file;
	int err = memory_enter(be, MEMORY_WRITE_BEGIN);
	off_t end;

	memory_see_caller(be, caller);
	if (append)
		off = file->size;
	if (!err && off >= file->limit)
		err = -ENOSPC;
	if (!err)
		err = memory_need_bytes(file);
	if (err)
		return memory_leave(be, err);
	if (len > (size_t)(file->limit - off))
		len = (size_t)(file->limit - off);
	end = off + (off_t)len;
	/* What is at a descriptor grows by being written, and so it is appended. */
	if (be->extents == MEMORY_MAPPED && end > file->size && ftruncate(file->fd, end) != 0)
		return memory_leave(be, -errno);
	fill_extent(be, file, off, len, extent);
	/* Where the end is then is for the writing to find. */
	extent->append = append && be->extents == MEMORY_DESCRIPTOR;
	if (extent->append)
		extent->pos = 0;
	return memory_leave(be, 0);
}

ssize_t memory_write_end(struct shmfs_handle *base, struct shmfs_extent *extent, size_t written)
{
	struct memory_backend *be = handle(base)->backend;
	struct memory_file *file = handle(base)->file;
	off_t end = (extent->append ? file->size : extent->pos) + (off_t)written;
	int err = memory_enter(be, MEMORY_WRITE_END);

	be->seen.written = written;
	if (written > 0 && end > file->size)
		memory_resize(file, end);
	be->spans_held -= extent->owner == file;
	memory_leave(be, 0);
	return err ? err : (ssize_t)written;
}

int memory_fallocate(struct shmfs_handle *base, int mode, off_t off, off_t len,
		     const struct shmfs_caller *caller)
{
	struct memory_backend *be = handle(base)->backend;
	struct memory_file *file = handle(base)->file;
	int err = memory_enter(be, MEMORY_FALLOCATE);

	memory_see_caller(be, caller);
	be->seen.flags = mode;
	be->seen.off = off;
	be->seen.len = len;
	if (!err && !(mode & FALLOC_FL_KEEP_SIZE) && off + len > file->size)
		err = memory_resize(file, off + len);
	if (!err && (mode & FALLOC_FL_PUNCH_HOLE) && off < file->size)
		memset(file->bytes + off, 0,
		       (size_t)(len < file->size - off ? len : file->size - off));
	return memory_leave(be, err);
}

/* All of a file is data. */
off_t memory_seek(struct shmfs_handle *base, off_t off, int whence)
{
	struct memory_backend *be = handle(base)->backend;
	off_t size = handle(base)->file->size;
	int err = memory_enter(be, MEMORY_SEEK);

	be->seen.off = off;
	be->seen.whence = whence;
	memory_leave(be, 0);
	if (err)
		return err;
	if (off >= size)
		return -ENXIO;
	return whence == SEEK_DATA ? off : size;
}
