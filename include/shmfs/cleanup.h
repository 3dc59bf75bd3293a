/* SPDX-License-Identifier: MIT */
/* Release descriptors, memory, locks and credentials at the end of a block.  errno is kept. */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shmfs/caller.h"

/* SHMFS_AUTO_FD int fd = open(...): closes it unless it is negative. */
#define SHMFS_AUTO_FD __attribute__((cleanup(shmfs_cleanup_fd)))
/* SHMFS_AUTO_FREE char *text = strdup(...): frees it. */
#define SHMFS_AUTO_FREE __attribute__((cleanup(shmfs_cleanup_free)))
/* SHMFS_LOCKED(&object->lock): holds a mutex to the end of the block. */
#define SHMFS_LOCKED(mutex) SHMFS_LOCKED_(mutex, __LINE__)
#define SHMFS_LOCKED_(mutex, line) SHMFS_LOCKED__(mutex, line)
#define SHMFS_LOCKED__(mutex, line) \
	__attribute__((cleanup(shmfs_cleanup_mutex), unused)) \
	pthread_mutex_t *const locked_##line = shmfs_lock(mutex)
/* SHMFS_READ_LOCKED(&object->io) holds a read-write lock for reading, the other for writing. */
#define SHMFS_READ_LOCKED(rwlock) \
	__attribute__((cleanup(shmfs_cleanup_rwlock), unused)) \
	pthread_rwlock_t *const read_locked = shmfs_lock_rw(rwlock, pthread_rwlock_rdlock)
#define SHMFS_WRITE_LOCKED(rwlock) \
	__attribute__((cleanup(shmfs_cleanup_rwlock), unused)) \
	pthread_rwlock_t *const write_locked = shmfs_lock_rw(rwlock, pthread_rwlock_wrlock)
/* Declares `err`, the result of shmfs_caller_assume(), and drops the credentials if it is 0. */
/* NOLINTBEGIN(bugprone-macro-parentheses): a declaration takes none */
#define SHMFS_AS_CALLER(err, caller) \
	__attribute__((cleanup(shmfs_cleanup_caller))) const int err = shmfs_caller_assume(caller)
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void shmfs_cleanup_fd(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

/* return shmfs_steal_fd(&fd): the descriptor outlives the block. */
static inline int shmfs_steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* `variable` is the address of a pointer of any type here and in shmfs_steal_pointer(). */
static inline void shmfs_cleanup_free(void *variable)
{
	int saved = errno;
	void *memory;

	memcpy(&memory, variable, sizeof(memory));
	free(memory);
	errno = saved;
}

static inline void *shmfs_steal_pointer(void *variable)
{
	void *stolen;

	memcpy(&stolen, variable, sizeof(stolen));
	memset(variable, 0, sizeof(stolen));
	return stolen;
}

static inline pthread_mutex_t *shmfs_lock(pthread_mutex_t *mutex)
{
	pthread_mutex_lock(mutex);
	return mutex;
}

static inline void shmfs_cleanup_mutex(pthread_mutex_t *const *mutex)
{
	pthread_mutex_unlock(*mutex);
}

static inline pthread_rwlock_t *shmfs_lock_rw(pthread_rwlock_t *rwlock,
					      int (*lock)(pthread_rwlock_t *))
{
	lock(rwlock);
	return rwlock;
}

/* For a look at what another thread may change for long: -EBUSY after 10 ms. */
static inline int shmfs_read_lock_soon(pthread_rwlock_t *rwlock)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 10000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_rwlock_timedrdlock(rwlock, &until) ? -EBUSY : 0;
}

static inline void shmfs_cleanup_rwlock(pthread_rwlock_t *const *rwlock)
{
	pthread_rwlock_unlock(*rwlock);
}

static inline void shmfs_cleanup_caller(const int *err)
{
	int saved = errno;

	if (*err == 0)
		shmfs_caller_drop();
	errno = saved;
}
