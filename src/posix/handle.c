/* SPDX-License-Identifier: MIT */
/* Open POSIX objects: each handle is a descriptor of its own. */
#include "posix/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

static struct posix_object *object(struct shmfs_object *base)
{
	return (struct posix_object *)base;
}

static struct posix_handle *handle(struct shmfs_handle *base)
{
	return (struct posix_handle *)base;
}

/*
 * May the caller open it, by the rights that are set at this moment?  The
 * kernel has looked at those that it knew.  Where the mode is not the whole
 * answer, it is asked again: as the caller, on the object itself.
 */
static int check_rights(struct posix_object *obj, int fd, int flags,
			const struct shmfs_caller *caller)
{
	/* O_ACCMODE, for ioctl(2) alone, takes the rights of both (open(2)). */
	static const unsigned wants[] = {
		[O_RDONLY] = 04,
		[O_WRONLY] = 02,
		[O_RDWR] = 06,
		[O_ACCMODE] = 06,
	};
	const struct posix_backend *be = (struct posix_backend *)obj->base.backend;
	struct shmfs_rights rights;
	struct stat st;
	int again;

	if (shmfs_caller_is_self(caller))
		return 0;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (posix_dir_is_closed(be) || fgetxattr(fd, "system.posix_acl_access", NULL, 0) > 0) {
		again = posix_open_object(obj, flags & O_ACCMODE, caller);
		if (again >= 0)
			close(again);
		return again < 0 ? again : 0;
	}
	rights = (struct shmfs_rights){
		.owner = st.st_uid,
		.creator = st.st_uid,
		.group = st.st_gid,
		.creators_group = st.st_gid,
		.mode = st.st_mode,
	};
	return shmfs_caller_may(caller, &rights, wants[flags & O_ACCMODE]) ? 0 : -EACCES;
}

static int resize(struct shmfs_backend *base, int fd, off_t size, const struct shmfs_caller *caller)
{
	posix_release_lead((struct posix_backend *)base);
	posix_drop_setid(fd, caller);
	return ftruncate(fd, size) == 0 ? 0 : -errno;
}

int posix_truncate(struct shmfs_object *base, struct shmfs_handle *h, off_t size,
		   const struct shmfs_caller *caller)
{
	SHMFS_AUTO_FD int opened = h ? -1 : posix_open_object(object(base), O_WRONLY, NULL);
	int fd = h ? handle(h)->fd : opened;
	int err;

	if (fd < 0)
		return fd;
	err = h ? 0 : check_rights(object(base), fd, O_WRONLY, caller);
	return err ? err : resize(base->backend, fd, size, caller);
}

static void add_handle(struct posix_object *obj, struct posix_handle *h)
{
	h->base.object = &obj->base;
	pthread_mutex_lock(&obj->lock);
	h->next = obj->handles;
	obj->handles = h;
	pthread_mutex_unlock(&obj->lock);
}

static void remove_handle(struct posix_object *obj, struct posix_handle *h)
{
	struct posix_handle **link = &obj->handles;

	pthread_mutex_lock(&obj->lock);
	while (*link != h)
		link = &(*link)->next;
	*link = h->next;
	pthread_mutex_unlock(&obj->lock);
}

static struct posix_handle *new_handle(struct shmfs_backend *base, int flags)
{
	struct posix_handle *h = calloc(1, sizeof(*h));

	if (h) {
		h->base.flags = flags;
		h->mapping.budget = &((struct posix_backend *)base)->mapping_budget;
		h->fd = -1;
	}
	return h;
}

/*
 * Those of open(2) that mean something here; the rest is the kernel's affair.
 * O_APPEND comes with each write, for fcntl(2) can change it; O_TRUNC is
 * carried out when it is sure what was opened.
 */
static int open_flags(int flags)
{
	return (flags & O_ACCMODE) | O_CLOEXEC | O_NOFOLLOW;
}

/* As the caller, who is assumed already. */
static int make_object(const struct posix_backend *be, const struct shmfs_name *name, int flags,
		       mode_t mode, const struct shmfs_caller *caller, int *fd)
{
	int err = shmfs_caller_mask(caller);

	if (err)
		return err;
	*fd = openat(be->config.dir, name->text, open_flags(flags) | O_CREAT | O_EXCL,
		     mode & 07777);
	return *fd < 0 ? -errno : 0;
}

int posix_create(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
		 mode_t mode, const struct shmfs_caller *caller, struct shmfs_object **out,
		 struct shmfs_handle **handle_out, struct stat *st)
{
	struct posix_handle *h = new_handle(view->backend, flags);
	struct stat now;
	int err;

	if (!h)
		return -ENOMEM;
	err = shmfs_caller_assume(caller);
	if (!err) {
		err = make_object((struct posix_backend *)view->backend, name, flags, mode, caller,
				  &h->fd);
		shmfs_caller_drop();
	}
	if (!err && fstat(h->fd, &now) != 0)
		err = -errno;
	if (!err)
		err = posix_object_get(view->backend, now.st_ino, name->text, out);
	if (err) {
		if (h->fd >= 0)
			close(h->fd);
		free(h);
		return err;
	}
	add_handle(object(*out), h);
	*handle_out = &h->base;
	*st = now;
	return 0;
}

int posix_open(struct shmfs_object *base, int flags, const struct shmfs_caller *caller,
	       struct shmfs_handle **out)
{
	struct posix_object *obj = object(base);
	/* Truncating takes a descriptor that may write, whatever the file was opened for. */
	int mode =
		(flags & O_ACCMODE) == O_RDONLY && (flags & O_TRUNC) ? O_RDWR : flags & O_ACCMODE;
	struct posix_handle *h = new_handle(base->backend, flags);
	int err;

	if (!h)
		return -ENOMEM;
	h->fd = posix_open_object(obj, open_flags(mode), NULL);
	err = h->fd < 0 ? h->fd : check_rights(obj, h->fd, mode, caller);
	if (!err && (flags & O_TRUNC))
		err = resize(base->backend, h->fd, 0, caller);
	if (err) {
		if (h->fd >= 0)
			close(h->fd);
		free(h);
		return err;
	}
	add_handle(obj, h);
	*out = &h->base;
	return 0;
}

int posix_flush(struct shmfs_handle *h, bool by_opener, const struct shmfs_caller *caller)
{
	(void)h, (void)by_opener, (void)caller;
	return 0;
}

void posix_release(struct shmfs_handle *base)
{
	struct posix_handle *h = handle(base);

	remove_handle(object(base->object), h);
	shmfs_write_mapping_close(&h->mapping);
	close(h->fd);
	free(h);
}

/*
 * The kernel opens the backing file with the flags of the open, and an
 * O_APPEND that fcntl(2) takes away later stays on there (fs/fuse/passthrough.c,
 * Linux 6.18): writes would go to the end.  With those that come here comes the
 * flag as it is.
 */
enum shmfs_io_mode posix_binding(struct shmfs_handle *base, int *fd)
{
	*fd = handle(base)->fd;
	return base->flags & O_APPEND ? SHMFS_IO_MMAP_ONLY : SHMFS_IO_PASSTHROUGH;
}

void posix_lent(struct shmfs_handle *base)
{
	(void)base;
}

/* --- bytes --- */

int posix_read_begin(struct shmfs_handle *base, off_t off, size_t len, struct shmfs_extent *extent)
{
	*extent = (struct shmfs_extent){ .fd = handle(base)->fd, .pos = off, .len = len };
	return 0;
}

void posix_read_end(struct shmfs_handle *base, struct shmfs_extent *extent)
{
	(void)base, (void)extent;
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
		.mapping = &handle(base)->mapping,
	};
	return 0;
}

ssize_t posix_write_end(struct shmfs_handle *base, struct shmfs_extent *extent, size_t written)
{
	(void)base, (void)extent;
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
	off_t pos;

	posix_release_lead((struct posix_backend *)base->object->backend);
	pos = lseek(handle(base)->fd, off, whence);
	return pos < 0 ? -errno : pos;
}
