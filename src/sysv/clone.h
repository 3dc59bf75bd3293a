/* SPDX-License-Identifier: MIT */
#ifndef SHMFS_SYSV_CLONE_H
#define SHMFS_SYSV_CLONE_H

#include <sys/types.h>

/*
 * Run a function in a process of its own that shares the daemon's memory and
 * descriptors, and wait for its end.  The process has the thread-local memory of the
 * calling thread, `errno` included.  No signal reaches it but SIGBUS (sigbus.h).
 * CLONE_VFORK in `flags`: the calling thread does not run meanwhile, not even to end a
 * process that was stopped.  Returns 0, 1 when it was killed, or -ENOMEM.
 */
int sysv_run_process(int flags, int (*run)(void *), void *arg);

#endif
