/* SPDX-License-Identifier: MIT */
/*
 * A file of memory, mapped beside its descriptor, to store large blocks.
 *
 * To pages that are there memcpy(3) stores in half the time of write(2), which
 * finds, locks and marks each of them.  To pages that are not, or not in our
 * page tables, it takes longer: each is a fault.  So a window is for pages that
 * are there, and stays for who writes them again.
 *
 * What is mapped counts as memory of this process, to who looks and to the
 * kernel when it has to choose whom to kill: so there is a limit to it.
 */
#ifndef SHMFS_WRITE_MAPPING_H
#define SHMFS_WRITE_MAPPING_H

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

/* Bytes that all windows of a backend show together. */
#define SHMFS_MAPPING_BUDGET ((size_t)256 << 20)

struct shmfs_write_mapping {
	struct shmfs_pane *_Atomic pane; /* owned; made when it is first looked through */
	atomic_size_t *budget;		 /* borrowed; what is left of SHMFS_MAPPING_BUDGET */
};

/*
 * Where `len` bytes at `pos` of the file that `fd` refers to can be stored by
 * shmfs_store_nofault(); NULL where write(2) is the better way, or the only one.
 */
char *shmfs_write_mapping_find(struct shmfs_write_mapping *, int fd, off_t pos, size_t len);

/* Nobody uses it any more. */
void shmfs_write_mapping_close(struct shmfs_write_mapping *);

#endif
