/* SPDX-License-Identifier: MIT */
/*
 * Touching memory that may not be there.
 *
 * A mapped page can be missing when it is touched: no huge page is left, or
 * no memory to bring it in.  The kernel then sends SIGBUS, which ends a
 * process.  Here it ends the one copy.
 */
#ifndef SHMFS_SIGBUS_H
#define SHMFS_SIGBUS_H

#include <stddef.h>

/*
 * Handle SIGBUS for the whole process.  A SIGBUS that does not come from a
 * copy below ends the process as it would without a handler.
 * Returns 0 or a negative errno.
 */
int shmfs_sigbus_install(void);

/*
 * memcpy(3), or -EFAULT when a page of either side could not be had; how much
 * was copied by then is unknown.
 */
int shmfs_copy_nofault(void *to, const void *from, size_t len);

/* The same to mapped memory: where there are many pages they are all brought in first. */
int shmfs_store_nofault(void *to, const void *from, size_t len);

/* memset(3) to zero, likewise. */
int shmfs_zero_nofault(void *to, size_t len);

#endif
