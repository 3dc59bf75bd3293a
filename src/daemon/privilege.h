/* SPDX-License-Identifier: MIT */
/* Once the filesystem is mounted, the daemon gives up the privileges that serving does not use. */
#pragma once

/*
 * Call it after mounting, while there is one thread.  Afterwards
 *
 *   - no core is dumped, neither to a file nor to a program;
 *   - the capabilities that serving uses are left, and no program inherits any;
 *   - root's daemon has no_new_privs and the filter of syscall_filter.c, so it runs no program.
 *     An ordinary user's daemon runs fusermount3, which is set-user-ID, to unmount.
 *
 * Returns 0, or a negative errno after a message.
 */
int shmfs_privilege_reduce(void);

/*
 * Install the filter of syscall_filter.c in this thread and in every thread that it starts.
 * Requires no_new_privs or CAP_SYS_ADMIN.  Does nothing on a kernel without CONFIG_SECCOMP_FILTER.
 * Returns 0 or a negative errno.
 */
int shmfs_syscall_filter_install(void);
