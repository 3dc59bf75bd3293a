/* SPDX-License-Identifier: MIT */
/*
 * The record of an object, and ways to the object itself.
 *
 * An object's identity is its inode number.  It is reached
 *
 *   by the name that last led to it,
 *   by the descriptor of an open handle,
 *   by a descriptor, kept from when this mount removes the name until the kernel forgets it, and
 *   by the name that another program has given it.
 *
 * If none of them leads there the object is gone, and the record stands for the object that has its
 * name now, as if the kernel had looked that up a moment later.
 */
#include "posix/internal.h"

#include <fcntl.h>

/* Of all objects.  A user can make the kernel hold removed ones. */
#define KEPT_MAX 1000

/* --- the record --- */

static struct shmfs_object *make(struct shmfs_backend *base, uint64_t identity)
{
	struct posix_object *obj = calloc(1, sizeof(*obj));

	if (!obj)
		return NULL;
	obj->kept = -1;
	return &obj->base;
}

static void drop_kept(struct posix_object *obj)
{
	if (obj->kept < 0)
		return;
	close(obj->kept);
	atomic_fetch_sub(&posix_backend(obj)->nkept, 1);
	obj->kept = -1;
}

void posix_object_free(struct shmfs_object *base)
{
	struct posix_object *obj = posix_object(base);

	drop_kept(obj);
	free(obj->name);
	free(obj);
}

int posix_object_set_name(struct posix_object *obj, const char *name)
{
	SHMFS_LOCKED(&obj->base.lock);
	char *copy;

	if (obj->name && strcmp(obj->name, name) == 0)
		return 0;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	free(obj->name);
	obj->name = copy;
	return 0;
}

int posix_object_get(struct shmfs_backend *base, uint64_t identity, const char *name,
		     struct shmfs_object **out)
{
	struct shmfs_object *obj;
	int err = shmfs_object_get(base, identity, make, &obj);

	if (err)
		return err;
	err = posix_object_set_name(posix_object(obj), name);
	if (err)
		shmfs_object_put(obj);
	else
		*out = obj;
	return err;
}

bool posix_object_keep(struct posix_object *obj, const char *name)
{
	struct posix_backend *be = posix_backend(obj);
	SHMFS_LOCKED(&obj->base.lock);
	SHMFS_AUTO_FD int fd = -1;
	ino_t ino;

	if (obj->kept >= 0 || atomic_load(&be->nkept) >= KEPT_MAX)
		return false;
	fd = posix_dir_open(be, name, O_PATH, &ino);
	if (fd < 0 || ino != obj->base.identity)
		return false;
	atomic_fetch_add(&be->nkept, 1);
	obj->kept = shmfs_steal_fd(&fd);
	return true;
}

void posix_object_unkeep(struct posix_object *obj)
{
	SHMFS_LOCKED(&obj->base.lock);
	drop_kept(obj);
}

/* --- handles --- */

/* A descriptor that leads to the object, or -1: there is none.  The object's lock is held. */
static int descriptor_of(const struct posix_object *obj)
{
	return obj->handles ? obj->handles->fd : obj->kept;
}

int posix_object_add_handle(struct posix_object *obj, struct posix_handle *handle, ino_t ino)
{
	SHMFS_LOCKED(&obj->base.lock);
	if (ino != obj->base.identity) {
		/* Meanwhile others have opened the next object of that name. */
		if (descriptor_of(obj) >= 0)
			return -ESTALE;
		shmfs_object_rekey(&obj->base, ino, true);
	}
	handle->base.object = &obj->base;
	handle->next = obj->handles;
	obj->handles = handle;
	return 0;
}

void posix_object_remove_handle(struct posix_object *obj, const struct posix_handle *handle)
{
	struct posix_handle **link = &obj->handles;

	SHMFS_LOCKED(&obj->base.lock);
	while (*link != handle)
		link = &(*link)->next;
	*link = handle->next;
}

/* --- ways to the object --- */

/* `named` is what has the name of the record, `wanted` the object of the record. */
static int open_by_name(struct posix_object *obj, int flags, ino_t *named, ino_t *wanted)
{
	struct posix_backend *be = posix_backend(obj);
	SHMFS_LOCKED(&obj->base.lock);
	int fd = posix_dir_open(be, obj->name, flags, named);

	*wanted = obj->base.identity;
	/* The process has another object there, or is another process.  Its name leads to none. */
	if (fd >= 0 && *obj->name == '/' && *named != *wanted) {
		close(fd);
		return -ENOENT;
	}
	if (fd != -EAGAIN)
		return fd;
	/* Another thread has a lease on it, to see whether it is used. */
	SHMFS_LOCKED(&be->base.lock);
	return posix_dir_open(be, obj->name, flags, named);
}

/* A duplicate of a descriptor that leads to the object.  -ENOENT: there is none. */
static int duplicate(struct posix_object *obj)
{
	SHMFS_LOCKED(&obj->base.lock);
	int fd = descriptor_of(obj);

	if (fd < 0)
		return -ENOENT;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

struct renamed {
	struct posix_object *obj;
	ino_t ino;
};

/* Stops a listing at the name that leads to the object. */
static int is_name_of(const struct shmfs_name *name, uint64_t identity, void *arg)
{
	const struct renamed *renamed = arg;

	if (identity != renamed->ino)
		return 0;
	return posix_object_set_name(renamed->obj, name->text) == 0 ? 1 : -ENOMEM;
}

/* Another program has renamed it. */
static int open_renamed(struct posix_object *obj, int flags, ino_t wanted)
{
	struct renamed renamed = { obj, wanted };
	SHMFS_AUTO_FD int fd = -1;
	ino_t named;

	if (posix_dir_list(posix_backend(obj), is_name_of, &renamed) != 1)
		return -ENOENT;
	fd = open_by_name(obj, flags, &named, &wanted);
	return fd < 0 || named == renamed.ino ? shmfs_steal_fd(&fd) : -ENOENT;
}

int posix_object_open(struct posix_object *obj, int flags, ino_t *ino)
{
	ino_t wanted;
	SHMFS_AUTO_FD int by_name = open_by_name(obj, flags, ino, &wanted);
	SHMFS_AUTO_FD int other = -1;
	int fd;

	if (by_name >= 0 && *ino == wanted)
		return shmfs_steal_fd(&by_name);
	other = duplicate(obj);
	fd = other < 0 || (flags & O_PATH) ? shmfs_steal_fd(&other) : posix_reopen(other, flags);
	if (fd == -ENOENT)
		fd = open_renamed(obj, flags, wanted);
	if (fd == -ENOENT)
		return shmfs_steal_fd(&by_name);
	*ino = wanted;
	return fd;
}

/*
 * A descriptor for posix_proc_path() and fstat(2).  -EACCES if the caller cannot search the
 * directory.  Caller NULL: the daemon.
 */
static int refer(struct posix_object *obj, const struct shmfs_caller *caller)
{
	int err = caller ? posix_dir_check_search(posix_backend(obj), caller) : 0;
	ino_t ino;
	int fd;

	if (err)
		return err;
	fd = duplicate(obj);
	return fd == -ENOENT ? posix_object_open(obj, O_PATH, &ino) : fd;
}

/* --- attributes --- */

/* Without opening anything, which is all that is needed mostly. */
static int stat_quickly(struct posix_object *obj, struct stat *st)
{
	SHMFS_LOCKED(&obj->base.lock);
	int fd = descriptor_of(obj);
	int err;

	if (fd >= 0)
		return fstat(fd, st) == 0 ? 0 : -errno;
	err = posix_dir_stat(posix_backend(obj), obj->name, st);
	return err || st->st_ino == obj->base.identity ? err : -ENOENT;
}

int posix_getattr(struct shmfs_object *base, const struct shmfs_caller *caller, struct stat *st)
{
	SHMFS_AUTO_FD int fd = -1;
	struct stat now;
	int err = stat_quickly(posix_object(base), &now);

	if (err == -ENOENT) {
		fd = refer(posix_object(base), NULL);
		err = fd < 0 ? fd : fstat(fd, &now) == 0 ? 0 : -errno;
	}
	if (!err)
		*st = now;
	return err;
}

struct posix_path posix_path_begin(struct posix_object *obj, const struct shmfs_caller *caller)
{
	struct posix_path path = { .fd = refer(obj, caller) };

	if (path.fd < 0) {
		path.err = path.fd;
		return path;
	}
	posix_proc_path(path.fd, path.text);
	if (caller)
		path.err = shmfs_caller_assume(caller);
	path.assumed = caller && !path.err;
	return path;
}

void posix_path_end(const struct posix_path *path)
{
	if (path->assumed)
		shmfs_caller_drop();
	shmfs_cleanup_fd(&path->fd);
}

int posix_chmod(struct shmfs_object *base, mode_t mode, const struct shmfs_caller *caller)
{
	POSIX_PATH(path, posix_object(base), caller);

	return path.err ? path.err : (int)posix_result(chmod(path.text, mode));
}

int posix_chown(struct shmfs_object *base, uid_t uid, gid_t gid, const struct shmfs_caller *caller)
{
	if (uid == (uid_t)-1 && gid == (gid_t)-1) {
		SHMFS_AUTO_FD int fd = refer(posix_object(base), NULL);

		if (fd >= 0)
			posix_drop_setid(fd, caller);
		return fd < 0 ? fd : 0;
	}

	POSIX_PATH(path, posix_object(base), caller);

	return path.err ? path.err : (int)posix_result(chown(path.text, uid, gid));
}

int posix_utimens(struct shmfs_object *base, const struct timespec times[2],
		  const struct shmfs_caller *caller)
{
	POSIX_PATH(path, posix_object(base), caller);

	return path.err ? path.err : (int)posix_result(utimensat(AT_FDCWD, path.text, times, 0));
}

/* As of Linux 6.2: setattr_should_drop_sgid() in fs/attr.c. */
static mode_t bits_to_drop(const struct stat *st, const struct shmfs_caller *caller)
{
	mode_t drop = st->st_mode & (S_ISUID | S_ISGID);

	if ((drop & S_ISGID) && !(st->st_mode & S_IXGRP) &&
	    shmfs_caller_in_group(caller, st->st_gid, st->st_gid) > 0)
		drop &= ~(mode_t)S_ISGID;
	return drop;
}

void posix_drop_setid(int fd, const struct shmfs_caller *caller)
{
	char path[POSIX_PROC_PATH];
	struct stat st;
	mode_t drop;

	if (caller->uid == 0 || fstat(fd, &st) != 0)
		return;
	drop = bits_to_drop(&st, caller);
	if (!drop)
		return;
	posix_proc_path(fd, path);
	chmod(path, st.st_mode & 07777 & ~drop);
}
