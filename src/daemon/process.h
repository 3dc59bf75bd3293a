/* SPDX-License-Identifier: MIT */
/* Give the daemon the descriptors, signals and limits that it needs, whichever it inherited. */
#ifndef SHMFS_PROCESS_H
#define SHMFS_PROCESS_H

/*
 * Open descriptors 0, 1 and 2 if they are closed, and close all others: the daemon must not keep
 * files of the shell open.  Returns 0 or a negative errno.
 */
int shmfs_process_take_descriptors(void);

/*
 * Block the signals that end a process by default, except those of a crash: a killed daemon
 * leaves a dead mount.  Set the action of all other signals that matter to the daemon.
 *
 * Returns a descriptor of signalfd(2) for the caller to close, or a negative errno.
 */
int shmfs_process_block_signals(void);

/*
 * Raise the limit of open descriptors to its maximum less 64.  Each open file of a mount takes
 * one.  The process that replaces a segment raises it by these 64.
 */
void shmfs_process_limit_descriptors(void);

#endif
