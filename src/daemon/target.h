/* SPDX-License-Identifier: MIT */
/* The shared memory that another process sees: `-o target=PID`. */
#ifndef SHMFS_TARGET_H
#define SHMFS_TARGET_H

#include <sys/types.h>

/*
 * Open the /dev/shm of process `pid` and join its IPC namespace, whose segments
 * are those that this process sees from then on, /proc/sysvipc/shm included.
 * The mounts stay our own, and nothing needs the process any more: it may end.
 * To be called before there are other threads, for a namespace is each
 * thread's own.  `proc_dir` is where procfs is mounted, "/proc".
 *
 * Returns a descriptor of the directory (O_PATH), for the caller to close, or
 * a negative errno after one line in the log that says what is wrong and what
 * to do; the namespace is the old one then.
 */
int shmfs_target_enter(const char *proc_dir, pid_t pid);

#endif
