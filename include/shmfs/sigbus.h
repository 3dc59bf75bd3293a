/* SPDX-License-Identifier: MIT */
/*
 * Copies that survive SIGBUS.
 *
 * The kernel sends SIGBUS when a process touches a mapped page that the kernel cannot provide: the
 * file was made shorter, or no memory or huge page is left.  These functions return an error
 * instead.
 */
#pragma once

#include <stddef.h>

/*
 * Handle SIGBUS for the whole process.  Outside of the functions below it still ends the process.
 * Returns 0 or a negative errno.
 */
int shmfs_sigbus_install(void);

/*
 * memcpy(3), or zeros if `from` is NULL.  Returns 0, or -EFAULT after an unknown part if a page of
 * either side is missing.
 */
int shmfs_copy_nofault(void *to, const void *from, size_t len);

static inline int shmfs_zero_nofault(void *to, size_t len)
{
	return shmfs_copy_nofault(to, NULL, len);
}
