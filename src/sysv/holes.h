/* SPDX-License-Identifier: MIT */
/* Reading an attachment without filling its holes. */
#ifndef SHMFS_SYSV_HOLES_H
#define SHMFS_SYSV_HOLES_H

#include "sysv/internal.h"

/* The most bytes that are copied at once. */
#define SYSV_LONGEST_COPY ((size_t)4 << 20)
/*
 * A copy of at most so many bytes of an attachment, to be freed.  NULL where all
 * of them can be read from the attachment itself: nothing is a hole there, or no
 * hole is known.
 */
char *sysv_copy_around_holes(const struct sysv_segment *, uint64_t off, size_t len);

#endif
