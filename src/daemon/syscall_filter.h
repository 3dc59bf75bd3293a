/* SPDX-License-Identifier: MIT */
/*
 * A seccomp filter.  System calls that could reach beyond shared memory with the capabilities that
 * the daemon keeps (privilege.c) fail with EPERM.
 *
 * The filter lists refused calls, not allowed ones, because libc and libfuse may need other calls
 * tomorrow.
 */
#ifndef SHMFS_SYSCALL_FILTER_H
#define SHMFS_SYSCALL_FILTER_H

/*
 * Install the filter in this thread and in every thread that it starts.  Requires no_new_privs or
 * CAP_SYS_ADMIN.  Does nothing on a kernel without CONFIG_SECCOMP_FILTER.  Returns 0 or a negative
 * errno.
 */
int shmfs_syscall_filter_install(void);

#endif
