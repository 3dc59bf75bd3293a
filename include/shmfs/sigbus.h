/* SPDX-License-Identifier: MIT */
/*
 * Copies that survive SIGBUS.
 *
 * A mapped page can be missing when it is touched: the file was made shorter,
 * or no huge page or memory is left.  The kernel then sends SIGBUS, which ends
 * a process.  These functions return an error instead.
 */
#ifndef SHMFS_SIGBUS_H
#define SHMFS_SIGBUS_H

#include <stddef.h>

/*
 * Handle SIGBUS for the whole process.  A SIGBUS outside of the functions below
 * ends the process, as without a handler.  Returns 0 or a negative errno.
 */
int shmfs_sigbus_install(void);

/*
 * memcpy(3).  Returns 0, or -EFAULT when a page of either side is missing.  An
 * unknown part has been copied then.
 */
int shmfs_copy_nofault(void *to, const void *from, size_t len);

/* The same, for a mapping as destination: many pages are populated in one call first. */
int shmfs_store_nofault(void *to, const void *from, size_t len);

/* memset(3) with zero.  Returns 0 or -EFAULT. */
int shmfs_zero_nofault(void *to, size_t len);

#endif
