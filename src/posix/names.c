/* SPDX-License-Identifier: MIT */
/* Names of POSIX objects: found, listed, removed, renamed; whether anybody uses their objects. */
#include "posix/internal.h"

#include <fcntl.h>

/* Others can make and remove the new name meanwhile. */
#define RENAME_TRIES 10

static struct posix_backend *backend(const struct shmfs_view *view)
{
	return (struct posix_backend *)view->backend;
}

/* A path through a process also requires the right to look into that process. */
static int stat_as_caller(const struct posix_backend *be, const char *path,
			  const struct shmfs_caller *caller, struct stat *st)
{
	SHMFS_AS_CALLER(err, caller);

	return err ? err : posix_dir_stat(be, path, st);
}

int posix_lookup(const struct shmfs_view *view, const struct shmfs_name *name,
		 const struct shmfs_caller *caller, struct shmfs_object **out, struct stat *st)
{
	struct stat now;
	int err = *name->text == '/' ? stat_as_caller(backend(view), name->text, caller, &now) :
				       posix_dir_stat(backend(view), name->text, &now);

	if (!err)
		err = posix_object_get(view->backend, now.st_ino, name->text, out);
	if (!err)
		*st = now;
	return err;
}

int posix_list(const struct shmfs_view *view, enum shmfs_space space, uint32_t number,
	       const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	return posix_dir_list(backend(view), fn, arg);
}

/* The record of the object with that inode number, with a reference, or NULL. */
static struct posix_object *find_record(const struct shmfs_view *view, ino_t ino)
{
	return (struct posix_object *)shmfs_object_find(view->backend, ino);
}

static void put_record(struct posix_object *const *obj)
{
	if (*obj)
		shmfs_object_put(&(*obj)->base);
}

#define AUTO_RECORD __attribute__((cleanup(put_record))) struct posix_object

/* unlinkat(2), or with `from` renameat2(2) onto the name. */
static int take_name_as(const struct posix_backend *be, const char *name, const char *from,
			unsigned flags, const struct shmfs_caller *caller)
{
	const int dir = be->dir;
	SHMFS_AS_CALLER(refused, caller);
	int err;

	if (refused)
		return refused;
	err = from ? renameat2(dir, from, dir, name, flags) : unlinkat(dir, name, 0);
	return err == 0 ? 0 : -errno;
}

/*
 * Remove `name`, or rename `from` onto it.  It leads to the object with number `ino`, whose record
 * keeps another way to it.
 */
static int take_name(const struct shmfs_view *view, const char *name, ino_t ino, const char *from,
		     unsigned flags, const struct shmfs_caller *caller)
{
	AUTO_RECORD *obj = find_record(view, ino);
	bool kept = obj && !flags && posix_object_keep(obj, name);
	int err = take_name_as(backend(view), name, from, flags, caller);

	if (err && kept)
		posix_object_unkeep(obj);
	return err;
}

int posix_remove(const struct shmfs_view *view, const struct shmfs_name *name,
		 const struct shmfs_caller *caller)
{
	struct stat st;
	int err = posix_dir_stat(backend(view), name->text, &st);

	return err ? err : take_name(view, name->text, st.st_ino, NULL, 0, caller);
}

/* Anything else that has the name `to` must stay. */
static int try_rename(const struct shmfs_view *view, const char *from, const char *to,
		      unsigned flags, const struct shmfs_caller *caller)
{
	struct stat st;
	int err = posix_dir_stat(backend(view), to, &st);

	if (err == -ENOENT)
		return take_name_as(backend(view), to, from, flags | RENAME_NOREPLACE, caller);
	return err ? err : take_name(view, to, st.st_ino, from, flags, caller);
}

int posix_rename(const struct shmfs_view *view, const struct shmfs_name *from,
		 const struct shmfs_name *to, unsigned flags, const struct shmfs_caller *caller)
{
	AUTO_RECORD *obj = NULL;
	int tries = flags & RENAME_NOREPLACE ? 1 : RENAME_TRIES;
	struct stat st;
	int err = posix_dir_stat(backend(view), from->text, &st);

	if (err)
		return err;
	obj = find_record(view, st.st_ino);
	/* An object that somebody puts there meanwhile is replaced after all. */
	do {
		err = try_rename(view, from->text, to->text, flags, caller);
	} while (err == -EEXIST && --tries > 0);
	if (!err && obj)
		posix_object_set_name(obj, to->text);
	return err;
}

/* --- names of unused objects --- */

/*
 * With a lease for writing.  The kernel grants it if nothing else has the file open; what is mapped
 * is open as well (fs/locks.c, check_conflicting_open()).  So it counts processes that nobody sees.
 * A lease is for the owner of a file, or takes CAP_LEASE.  While it is held, others wait in open(2):
 * unlinking under it removes nothing that has come into use.  base.lock is held, so that a thread
 * does not take the lease of another for a use.
 */
int posix_remove_unused(const struct shmfs_view *view, const struct shmfs_name *name,
			const struct shmfs_caller *caller)
{
	struct posix_backend *be = backend(view);
	SHMFS_LOCKED(&be->base.lock);
	struct stat st;
	ino_t ino;
	SHMFS_AUTO_FD int fd = posix_dir_open(be, name->text, O_RDONLY, &ino);
	int err = fd < 0 ? fd : fcntl(fd, F_SETLEASE, F_WRLCK) == 0 ? 0 : -errno;

	/* Somebody has it open, or has a lease. */
	if (err == -EAGAIN)
		return -EBUSY;
	if (!err && caller)
		err = posix_dir_stat(be, name->text, &st);
	if (err || !caller)
		return err;
	/* Has another object the name now? */
	if (st.st_ino != ino)
		return -EBUSY;
	return take_name_as(be, name->text, NULL, 0, caller);
}
