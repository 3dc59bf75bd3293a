/* SPDX-License-Identifier: MIT */
/*
 * What the daemon may do, besides serving: nothing.
 *
 * Mounting takes root's powers, or those of fusermount3; serving takes few of
 * them, and what moves here is other people's memory.  So once it is mounted
 * the daemon gives up, for good, what it will not use again.
 */
#ifndef SHMFS_PRIVILEGE_H
#define SHMFS_PRIVILEGE_H

/*
 * To be called after mounting, while there is one thread.  Afterwards
 *
 *   - no core is dumped, whether to a file or to a program;
 *   - of capabilities those are left that serving uses; none can be inherited
 *     or had again;
 *   - as root, no program can be run, no_new_privs is set, and a filter
 *     refuses the system calls with which the rest would still reach far
 *     (syscall_filter.c).
 *
 * An ordinary user's daemon has no power to give up, and has fusermount3,
 * which is set-user-ID, to run at its end.
 *
 * Returns 0 or a negative errno, and has logged what could not be done.
 */
int shmfs_privilege_reduce(void);

#endif
