/* SPDX-License-Identifier: MIT */
/*
 * clone(2) for processes that share the daemon's memory for a moment: the
 * replacer of a resize, and who locks a segment for a user.
 */
#ifndef SHMFS_SYSV_CLONE_H
#define SHMFS_SYSV_CLONE_H

#include <sched.h>

#include "shmfs/sanitizer.h"

#if SHMFS_TSAN
/*
 * ThreadSanitizer takes every clone(2) for a fork(2) and would note, in the
 * memory that the two share, that all other threads are gone.  By glibc's other
 * name for it the process passes for the thread that waits for it.
 */
int __clone(int (*)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

#endif
