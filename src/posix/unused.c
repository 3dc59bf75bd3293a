/* SPDX-License-Identifier: MIT */
/*
 * Does anybody use an object?
 *
 * The kernel grants a lease for writing if nothing but the asker has the file
 * open; what is mapped is open as well (fs/locks.c, check_conflicting_open()).
 * So it counts processes that nobody sees.  A lease is for the owner of a file,
 * or takes CAP_LEASE.  While it is held, others wait in open(2): unlinking
 * under it removes nothing that has come into use.
 */
#include "posix/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shmfs/cleanup.h"

/*
 * A descriptor of the object with a lease; -EBUSY if somebody uses it.
 * Our own look must not be taken for a use by another thread: base.lock is held.
 */
static int open_leased(const struct posix_backend *be, const char *name, ino_t *ino)
{
	SHMFS_AUTO_FD int fd = posix_dir_open(be, name, O_RDONLY, ino);
	int err = fd < 0 ? fd : fcntl(fd, F_SETLEASE, F_WRLCK) == 0 ? 0 : -errno;

	/* Somebody has it open, or has a lease. */
	if (err)
		return err == -EAGAIN ? -EBUSY : err;
	return shmfs_steal_fd(&fd);
}

int posix_check_unused(const struct shmfs_view *view, const struct shmfs_name *name)
{
	struct posix_backend *be = (struct posix_backend *)view->backend;
	SHMFS_LOCKED(&be->base.lock);
	ino_t ino;
	SHMFS_AUTO_FD int fd = open_leased(be, name->text, &ino);

	return fd < 0 ? fd : 0;
}

int posix_remove_unused(const struct shmfs_view *view, const struct shmfs_name *name,
			const struct shmfs_caller *caller)
{
	struct posix_backend *be = (struct posix_backend *)view->backend;
	SHMFS_LOCKED(&be->base.lock);
	struct stat st;
	ino_t ino;
	SHMFS_AUTO_FD int fd = open_leased(be, name->text, &ino);
	int err = fd < 0 ? fd : posix_dir_stat(be, name->text, &st);

	/* Has another object the name now? */
	if (!err && st.st_ino != ino)
		err = -EBUSY;
	if (err)
		return err;
	SHMFS_AS_CALLER(refused, caller);
	if (refused)
		return refused;
	return unlinkat(be->config.dir, name->text, 0) == 0 ? 0 : -errno;
}
