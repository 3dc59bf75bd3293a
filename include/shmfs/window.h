/* SPDX-License-Identifier: MIT */
/*
 * A file of memory, mapped beside its descriptor, to store large blocks.
 *
 * To pages that are there memcpy(3) stores in half the time of write(2), which
 * finds, locks and marks each of them.  To pages that are not it takes longer:
 * each is a fault, and is zeroed first.  So the window is for the former.
 */
#ifndef SHMFS_WINDOW_H
#define SHMFS_WINDOW_H

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

/* All zero to begin with. */
struct shmfs_window {
	struct shmfs_pane *_Atomic pane; /* owned; made when it is first looked through */
};

/*
 * Store up to `len` bytes at `pos` of the file that `fd` refers to.  Returns
 * how many were: 0 where write(2) is the better way or the only one, and never
 * all of them.  What the last write(2) does besides, such as setting times and
 * the file's length, is thus always done.
 */
size_t shmfs_window_store(struct shmfs_window *, int fd, off_t pos, const char *from, size_t len);

/* Nobody uses it any more. */
void shmfs_window_close(struct shmfs_window *);

#endif
