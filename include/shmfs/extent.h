/* SPDX-License-Identifier: MIT */
/* Moving bytes between an extent (backend.h) and a buffer. */
#pragma once

#include <sys/types.h>

#include "shmfs/backend.h"

/* Returns how many of extent->len bytes were stored, or a negative errno: -ENOMEM, no memory. */
ssize_t shmfs_extent_store(const struct shmfs_extent *, const char *from);

/* Returns how many bytes were loaded, fewer at the end of a file, or a negative errno. */
ssize_t shmfs_extent_load(const struct shmfs_extent *, char *to);
