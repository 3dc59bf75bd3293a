/* SPDX-License-Identifier: MIT */
/*
 * System calls that a daemon which serves has no use for, refused with EPERM.
 *
 * It is a list of what is refused, not of what is allowed: libc and libfuse
 * are free to make other calls tomorrow than they do today, and what is on the
 * list is what could reach beyond shared memory with the capabilities that are
 * kept (privilege.c).
 */
#ifndef SHMFS_SYSCALL_FILTER_H
#define SHMFS_SYSCALL_FILTER_H

/*
 * Install the filter, for good, in this thread and all that it starts.  Needs
 * no_new_privs or CAP_SYS_ADMIN.  A kernel that is built without filters goes
 * without.  Returns 0 or a negative errno.
 */
int shmfs_syscall_filter_install(void);

#endif
