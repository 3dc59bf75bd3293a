/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the daemon: one system call fails, when a test says so.
 *
 * The environment variable SHMFS_FAULT names a file with a struct fault, which
 * the test and this library both have mapped.  Left alone are the calls by
 * which requests and replies come and go, and errors that would be a lie: that a
 * segment was removed, or a key taken, when it was not.
 *
 * The process that replaces a segment shares the daemon's memory and may call
 * nothing that takes a lock, so all functions are looked up at the start.
 */
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

static struct fault *fault;

/* Does this call fail?  Then errno says how; `errors` ends with 0. */
static bool fails(const char *function, const int *errors)
{
	if (!fault || (fault->only[0] && strcmp(function, fault->only) != 0))
		return false;
	for (int left = fault->countdown; left > 0;) {
		if (!atomic_compare_exchange_weak(&fault->countdown, &left, left - 1))
			continue;
		if (left > 1)
			return false;
		for (int i = 0; i < fault->choice && *errors; i++)
			errors++;
		strcpy(fault->function, function);
		fault->error = *errors;
		errno = *errors;
		return *errors != 0;
	}
	return false;
}

/* Giving a lease back cannot fail, and others would wait for it. */
static bool never_fails(long command, long argument)
{
	return command == F_SETLEASE && argument == F_UNLCK;
}

#define FIND(type, name, parameters) \
	static type(*real_##name) parameters; \
	static void __attribute__((constructor)) find_##name(void) \
	{ \
		real_##name = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
	}

/*
 * FAULT(type, name, parameters, arguments, failed, errors...)
 *
 * A function that fails as name() may, by its manual page, or calls it.
 */
#define FAULT(type, name, parameters, arguments, failed, ...) \
	FIND(type, name, parameters) \
	type name parameters \
	{ \
		static const int errors[] = { __VA_ARGS__, 0 }; \
\
		return fails(#name, errors) ? (failed) : real_##name arguments; \
	}

/*
 * FAULT_MORE(name, parameters, before, type, arguments, errors...)
 *
 * The same of one whose last argument, `more` of that type, may be left out; `before` is
 * the one before it.
 */
#define FAULT_MORE(name, parameters, before, type, arguments, ...) \
	FIND(int, name, parameters) \
	int name parameters \
	{ \
		static const int errors[] = { __VA_ARGS__, 0 }; \
		va_list list; \
		type more; \
\
		va_start(list, before); \
		more = va_arg(list, type); \
		va_end(list); \
		return !never_fails((long)before, (long)more) && fails(#name, errors) ? \
			       -1 : \
			       real_##name arguments; \
	}

FAULT(int, shmget, (key_t key, size_t size, int flags), (key, size, flags), -1, ENOMEM, ENOSPC)
FAULT(void *, shmat, (int id, const void *at, int flags), (id, at, flags), (void *)-1, EACCES,
      ENOMEM)
FAULT(void *, mmap64, (void *at, size_t len, int prot, int flags, int fd, off64_t off),
      (at, len, prot, flags, fd, off), MAP_FAILED, ENOMEM, EAGAIN)
FAULT(int, madvise, (void *at, size_t len, int advice), (at, len, advice), -1, ENOMEM, EAGAIN)
FAULT(int, fallocate64, (int fd, int mode, off64_t off, off64_t len), (fd, mode, off, len), -1,
      ENOSPC, EINTR, EIO)
FAULT(ssize_t, copy_file_range,
      (int from, off64_t *from_pos, int to, off64_t *to_pos, size_t len, unsigned flags),
      (from, from_pos, to, to_pos, len, flags), -1, ENOMEM, ENOSPC, EIO)
FAULT(int, ftruncate64, (int fd, off64_t size), (fd, size), -1, EIO, EFBIG, EINTR)
FAULT(int, fstat64, (int fd, struct stat64 *st), (fd, st), -1, ENOMEM)
FAULT(int, stat64, (const char *path, struct stat64 *st), (path, st), -1, ENOMEM)
FAULT(int, fstatat64, (int fd, const char *path, struct stat64 *st, int flags),
      (fd, path, st, flags), -1, ENOMEM, EACCES)
FAULT(int, statx, (int fd, const char *path, int flags, unsigned mask, struct statx *st),
      (fd, path, flags, mask, st), -1, ENOMEM, EACCES)
FAULT(ssize_t, pread64, (int fd, void *to, size_t len, off64_t off), (fd, to, len, off), -1, EIO,
      EINTR)
FAULT(ssize_t, pwrite64, (int fd, const void *from, size_t len, off64_t off), (fd, from, len, off),
      -1, EIO, ENOSPC, EINTR)
FAULT(ssize_t, pwritev64v2, (int fd, const struct iovec *iov, int count, off64_t off, int flags),
      (fd, iov, count, off, flags), -1, EIO, ENOSPC, EINTR)
FAULT(int, name_to_handle_at,
      (int fd, const char *path, struct file_handle *handle, int *mount, int flags),
      (fd, path, handle, mount, flags), -1, EOPNOTSUPP, ENOMEM)
FAULT(int, open_by_handle_at, (int fd, struct file_handle *handle, int flags), (fd, handle, flags),
      -1, EMFILE, ENOMEM, ESTALE)
FAULT(int, waitpid, (pid_t pid, int *status, int options), (pid, status, options), -1, EINTR)
FAULT(int, renameat, (int from, const char *old, int to, const char *new), (from, old, to, new), -1,
      ENOSPC, ENOMEM, EIO)
FAULT(int, renameat2, (int from, const char *old, int to, const char *new, unsigned flags),
      (from, old, to, new, flags), -1, ENOSPC, ENOMEM, EIO)
FAULT(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), -1, EIO, ENOMEM,
      EBUSY)
FAULT(int, chmod, (const char *path, mode_t mode), (path, mode), -1, EPERM, ENOMEM)
FAULT(int, fchmod, (int fd, mode_t mode), (fd, mode), -1, EPERM, EIO)
FAULT(int, fchownat, (int fd, const char *path, uid_t uid, gid_t gid, int flags),
      (fd, path, uid, gid, flags), -1, EPERM, ENOMEM)
FAULT(int, utimensat, (int fd, const char *path, const struct timespec times[2], int flags),
      (fd, path, times, flags), -1, EPERM, ENOMEM)
FAULT(int, setxattr,
      (const char *path, const char *name, const void *value, size_t size, int flags),
      (path, name, value, size, flags), -1, ENOSPC, ENOMEM)
FAULT(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags),
      (fd, name, value, size, flags), -1, ENOSPC, ENOMEM)
FAULT(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t size),
      (path, name, value, size), -1, ENOMEM, ERANGE)
FAULT(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t size),
      (fd, name, value, size), -1, ENOMEM)
FAULT(ssize_t, listxattr, (const char *path, char *names, size_t size), (path, names, size), -1,
      ENOMEM)
FAULT(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE, ENOMEM)
FAULT(int, pipe2, (int ends[2], int flags), (ends, flags), -1, EMFILE, ENFILE)
FAULT(int, setrlimit64, (__rlimit_resource_t resource, const struct rlimit64 *limit),
      (resource, limit), -1, EPERM)
FAULT(int, getrlimit64, (__rlimit_resource_t resource, struct rlimit64 *limit), (resource, limit),
      -1, EINVAL)
FAULT(int, statfs64, (const char *path, struct statfs64 *fs), (path, fs), -1, ENOMEM, EIO)
FAULT(int, fstatfs64, (int fd, struct statfs64 *fs), (fd, fs), -1, ENOMEM, EIO)

FIND(int, shmctl, (int id, int command, struct shmid_ds *ds))

/*
 * EPERM is for the owner and the creator alone, and looking needs no permission.  Of a
 * segment without a key that nobody may attach it would be a lie that leaves it for good: the
 * daemon has just made that.
 */
static bool may_refuse(int id, int command)
{
	struct shmid_ds now;

	return command != SHM_STAT_ANY && command != IPC_INFO && command != SHM_INFO &&
	       real_shmctl(id, SHM_STAT_ANY, &now) == id &&
	       (now.shm_perm.__key != IPC_PRIVATE || (now.shm_perm.mode & 0777) != 0111);
}

int shmctl(int id, int command, struct shmid_ds *ds)
{
	static const int errors[] = { EPERM, 0 };

	return may_refuse(id, command) && fails("shmctl", errors) ? -1 :
								    real_shmctl(id, command, ds);
}

FAULT_MORE(openat64, (int dir, const char *path, int flags, ...), flags, mode_t,
	   (dir, path, flags, more), EMFILE, ENFILE, ENOMEM, EACCES)
FAULT_MORE(open64, (const char *path, int flags, ...), flags, mode_t, (path, flags, more), EMFILE,
	   ENFILE, ENOMEM, EACCES)
FAULT_MORE(ioctl, (int fd, unsigned long request, ...), request, void *, (fd, request, more),
	   ENOMEM, ENOENT)
FAULT_MORE(fcntl64, (int fd, int command, ...), command, long, (fd, command, more), EAGAIN, ENOMEM,
	   EMFILE)
FAULT(int, clone, (int (*function)(void *), void *stack, int flags, void *argument, ...),
      (function, stack, flags, argument), -1, EAGAIN, ENOMEM)

static void __attribute__((constructor)) begin(void)
{
	const char *path = getenv("SHMFS_FAULT");
	int fd = path ? open64(path, O_RDWR | O_CLOEXEC) : -1;
	void *map;

	if (fd == -1)
		return;
	map = real_mmap64(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		fault = map;
}
