/* SPDX-License-Identifier: MIT */
/* The shared memory that another process sees: `-o target=PID`. */
#pragma once

#include <sys/types.h>

/*
 * Open the /dev/shm of process `pid`, and join its IPC namespace.  The mount namespace stays.  The
 * process may end afterwards.  Call it before there are other threads: each thread has its own
 * namespaces.  `proc_dir` is where procfs is mounted, "/proc".
 *
 * Returns a descriptor of the directory (O_PATH) for the caller to close, or a negative errno after
 * one line in the log, in the old namespace.
 */
int shmfs_target_enter(const char *proc_dir, pid_t pid);
