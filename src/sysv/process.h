/* SPDX-License-Identifier: MIT */
/* Processes that share the daemon's memory: one to lock a segment, one to replace it. */
#pragma once

#include <sys/resource.h>

#include "sysv/internal.h"

/* --- clone.c --- */

/*
 * Run a function in a process that shares the daemon's memory and descriptors, and wait for its
 * end.  The thread-local memory is that of the calling thread, `errno` included.  No signal reaches
 * the process but SIGBUS (sigbus.h).  CLONE_VFORK in `flags`: the calling thread does not run
 * meanwhile, not even to end a process that was stopped.  Returns 0, 1 if killed, or -ENOMEM.
 */
int sysv_run_process(int flags, int (*run)(void *), void *arg);

/* --- memlock.c --- */

/* In whose name a segment is locked. */
struct sysv_locker {
	int id;		     /* of the segment */
	uid_t uid;	     /* whose account it is on */
	bool is_limited;     /* false: the daemon's own rights count */
	struct rlimit limit; /* of locked memory */
	int err;	     /* of the process that locks */
};

/*
 * SHM_LOCK or SHM_UNLOCK segment `id` with the caller's rights and limit, on the caller's account.
 * -EPERM, -ENOMEM (over RLIMIT_MEMLOCK) ...
 */
int sysv_lock(struct sysv_backend *, int id, bool on, const struct shmfs_caller *);
/*
 * In whose name a segment is locked again as one of `size` bytes, if it is locked.  If it grows,
 * -ENOMEM over the caller's limit.
 */
int sysv_locker_for(struct sysv_backend *, const struct shmid_ds *, uint64_t size,
		    const struct shmfs_caller *, struct sysv_locker *);
/* SHM_LOCK, by a process of its own. */
int sysv_lock_as(struct sysv_locker *);
