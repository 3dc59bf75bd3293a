/* SPDX-License-Identifier: MIT */
/* Moving bytes between a extent (backend.h) and a buffer. */
#ifndef SHMFS_EXTENT_H
#define SHMFS_EXTENT_H

#include <sys/types.h>

#include "shmfs/backend.h"

/*
 * Store extent->len bytes where the extent is.  Returns how many were, which can
 * be fewer, or a negative errno: -ENOMEM for memory that is not there.
 */
ssize_t shmfs_extent_store(const struct shmfs_extent *, const char *from);

/* Load them from there, likewise; fewer at the end of a file. */
ssize_t shmfs_extent_load(const struct shmfs_extent *, char *to);

#endif
