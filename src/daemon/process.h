/* SPDX-License-Identifier: MIT */
/* The daemon's process: its descriptors and signals, whatever it was started with. */
#ifndef SHMFS_PROCESS_H
#define SHMFS_PROCESS_H

/*
 * Open descriptors 0, 1 and 2, and close all others.  Without the first three, a file opened
 * later would be taken for one of them.  A file that the shell has open, perhaps with a lock,
 * must not stay open for as long as the daemon serves.  Returns 0 or a negative errno.
 */
int shmfs_process_take_descriptors(void);

/*
 * Block all signals that end a process by default, but for those of a crash.  Returns a
 * descriptor from which they can be read, for the caller to close, or a negative errno.
 * Signals that others may have had ignored, or that the daemon has no use for, are set as it
 * needs them.
 */
int shmfs_process_block_signals(void);

/*
 * Let the process have all the descriptors that it may have but 64, for each open file of a
 * mount is one.  The process that replaces a segment can use these 64.
 */
void shmfs_process_limit_descriptors(void);

/*
 * Where root starts the daemon, let its threads return from SCHED_IDLE to normal
 * scheduling: fuse/follow.h.
 */
void shmfs_process_raise_nice_limit(void);

#endif
