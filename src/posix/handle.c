/* SPDX-License-Identifier: MIT */
/* Open POSIX objects: each handle is a descriptor of its own. */
#include "posix/internal.h"

#include <fcntl.h>
#include <linux/xattr.h>
#include <sys/xattr.h>

/* Opening races with others that open the next object of the same name. */
#define OPEN_TRIES 10

static struct posix_handle *handle(struct shmfs_handle *base)
{
	return (struct posix_handle *)base;
}

/*
 * May the caller open it, by the rights of this moment?  The kernel has checked those that it knew.
 * Where the mode is not the whole answer, the kernel is asked again, as the caller.
 */
static int check_rights(const struct posix_backend *be, int fd, const struct stat *st, int flags,
			const struct shmfs_caller *caller)
{
	/* O_ACCMODE, for ioctl(2) alone, takes the rights of both (open(2)). */
	static const unsigned wants[] = { [O_RDONLY] = 04, 02, 06, 06 };
	const struct shmfs_rights rights = { st->st_uid, st->st_uid, st->st_gid, st->st_gid,
					     st->st_mode };
	SHMFS_AUTO_FD int again = -1;
	int err;

	if (shmfs_caller_is_self(caller))
		return 0;
	if (!posix_dir_is_closed(be) && fgetxattr(fd, XATTR_NAME_POSIX_ACL_ACCESS, NULL, 0) <= 0)
		return shmfs_caller_may(caller, &rights, wants[flags]) ? 0 : -EACCES;
	err = posix_dir_check_search(be, caller);
	if (err)
		return err;
	SHMFS_AS_CALLER(refused, caller);

	if (refused)
		return refused;
	again = posix_reopen(fd, flags);
	return again < 0 ? again : 0;
}

static int resize(int fd, off_t size, const struct shmfs_caller *caller)
{
	posix_drop_setid(fd, caller);
	return ftruncate(fd, size) == 0 ? 0 : -errno;
}

int posix_truncate(struct shmfs_object *base, struct shmfs_handle *h, off_t size,
		   const struct shmfs_caller *caller)
{
	if (h)
		return resize(handle(h)->fd, size, caller);

	POSIX_PATH(path, posix_object(base), caller);

	return path.err ? path.err : (int)posix_result(truncate(path.text, size));
}

/* One that is closed at the end of the block, unless it is stolen. */
#define AUTO_HANDLE __attribute__((cleanup(close_handle))) struct posix_handle

static void close_handle(struct posix_handle *const *h)
{
	if (*h && (*h)->fd >= 0)
		close((*h)->fd);
	free(*h);
}

static struct posix_handle *new_handle(int flags)
{
	struct posix_handle *h = calloc(1, sizeof(*h));

	if (h) {
		h->base.flags = flags;
		h->fd = -1;
	}
	return h;
}

static int make_object(const struct posix_backend *be, const struct shmfs_name *name, int flags,
		       mode_t mode, const struct shmfs_caller *caller, int *fd)
{
	SHMFS_AS_CALLER(refused, caller);
	int err = refused ? refused : shmfs_caller_mask(caller);

	if (err)
		return err;
	/* O_APPEND comes with each write, because fcntl(2) can change it. */
	*fd = openat(be->dir, name->text,
		     (flags & O_ACCMODE) | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & 07777);
	return *fd < 0 ? -errno : 0;
}

int posix_create(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
		 mode_t mode, const struct shmfs_caller *caller, struct shmfs_object **out,
		 struct shmfs_handle **handle_out, struct stat *st)
{
	const struct posix_backend *be = (struct posix_backend *)view->backend;
	AUTO_HANDLE *h = new_handle(flags);
	struct stat now;
	int err = h ? make_object(be, name, flags, mode, caller, &h->fd) : -ENOMEM;

	if (!err && fstat(h->fd, &now) != 0)
		err = -errno;
	if (!err)
		err = posix_object_get(view->backend, now.st_ino, name->text, out);
	if (err)
		return err;
	posix_object_add_handle(posix_object(*out), h, now.st_ino);
	*handle_out = shmfs_steal_pointer(&h);
	*st = now;
	return 0;
}

/* -ESTALE: others have opened another object by the same record meanwhile. */
static int open_handle(struct posix_object *obj, struct posix_handle *h, int flags,
		       const struct shmfs_caller *caller)
{
	/* Truncating takes a descriptor that may write, whatever the file was opened for. */
	int mode = flags & O_ACCMODE;
	struct stat st;
	ino_t ino;
	int err;

	if (mode == O_RDONLY && (flags & O_TRUNC))
		mode = O_RDWR;
	h->fd = posix_object_open(obj, mode, &ino);
	if (h->fd < 0)
		return h->fd;
	if (fstat(h->fd, &st) != 0)
		return -errno;
	err = check_rights(posix_backend(obj), h->fd, &st, mode, caller);
	if (!err && (flags & O_TRUNC))
		err = resize(h->fd, 0, caller);
	return err ? err : posix_object_add_handle(obj, h, ino);
}

int posix_open(struct shmfs_object *base, int flags, const struct shmfs_caller *caller,
	       struct shmfs_handle **out)
{
	AUTO_HANDLE *h = NULL;
	int err = -ESTALE;

	for (int i = 0; i < OPEN_TRIES && err == -ESTALE; i++) {
		close_handle(&h);
		h = new_handle(flags);
		err = h ? open_handle(posix_object(base), h, flags, caller) : -ENOMEM;
	}
	if (!err)
		*out = shmfs_steal_pointer(&h);
	return err;
}

int posix_flush(struct shmfs_handle *h, bool by_opener, const struct shmfs_caller *caller)
{
	return 0;
}

void posix_release(struct shmfs_handle *base)
{
	AUTO_HANDLE *h = handle(base);

	posix_object_remove_handle(posix_object(base->object), h);
}

/*
 * The kernel opens the backing file with the flags of the open, and keeps an O_APPEND that fcntl(2)
 * takes away later (fs/fuse/passthrough.c, Linux 6.18): writes would go to the end.  Writes that
 * the daemon serves have the flag of the moment.
 */
enum shmfs_io_mode posix_binding(struct shmfs_handle *base, int *fd)
{
	*fd = handle(base)->fd;
	return base->flags & O_APPEND ? SHMFS_IO_MMAP_ONLY : SHMFS_IO_PASSTHROUGH;
}

void posix_lent(struct shmfs_handle *base, bool lent)
{
}

/* --- bytes --- */

int posix_read_begin(struct shmfs_handle *base, off_t off, size_t len, struct shmfs_extent *extent)
{
	*extent = (struct shmfs_extent){ .fd = handle(base)->fd, .pos = off, .len = len };
	return 0;
}

void posix_read_end(struct shmfs_handle *base, struct shmfs_extent *extent)
{
}

int posix_write_begin(struct shmfs_handle *base, off_t off, size_t len, bool append,
		      const struct shmfs_caller *caller, struct shmfs_extent *extent)
{
	posix_drop_setid(handle(base)->fd, caller);
	*extent = (struct shmfs_extent){
		.fd = handle(base)->fd,
		.pos = off,
		.len = len,
		.append = append,
	};
	return 0;
}

ssize_t posix_write_end(struct shmfs_handle *base, struct shmfs_extent *extent, size_t written)
{
	return (ssize_t)written;
}

int posix_allocate(struct shmfs_handle *base, int mode, off_t off, off_t len,
		   const struct shmfs_caller *caller)
{
	posix_drop_setid(handle(base)->fd, caller);
	return fallocate(handle(base)->fd, mode, off, len) == 0 ? 0 : -errno;
}

off_t posix_seek(struct shmfs_handle *base, off_t off, int whence)
{
	off_t pos = lseek(handle(base)->fd, off, whence);
	return pos < 0 ? -errno : pos;
}
