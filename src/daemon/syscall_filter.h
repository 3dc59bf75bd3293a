/* SPDX-License-Identifier: MIT */
/*
 * The filter refuses system calls with EPERM that the daemon does not need to serve.
 *
 * It lists the calls that are refused, not those that are allowed: libc and libfuse may make other
 * calls tomorrow than they do today.  The listed calls could reach beyond shared memory with the
 * capabilities that the daemon keeps (privilege.c).
 */
#ifndef SHMFS_SYSCALL_FILTER_H
#define SHMFS_SYSCALL_FILTER_H

/*
 * Install the filter, for good, in this thread and in every thread that it starts.  Needs
 * no_new_privs or CAP_SYS_ADMIN.  Does nothing on a kernel that is built without filters.
 * Returns 0 or a negative errno.
 */
int shmfs_syscall_filter_install(void);

#endif
