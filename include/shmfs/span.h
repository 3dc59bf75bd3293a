/* SPDX-License-Identifier: MIT */
/* Moving bytes between a span (backend.h) and a buffer. */
#ifndef SHMFS_SPAN_H
#define SHMFS_SPAN_H

#include <sys/types.h>

#include "shmfs/backend.h"

/*
 * Store span->len bytes where the span is.  Returns how many were, which can
 * be fewer, or a negative errno: -ENOMEM for memory that is not there.
 */
ssize_t shmfs_span_store(const struct shmfs_span *, const char *from);

/* Load them from there, likewise; fewer at the end of a file. */
ssize_t shmfs_span_load(const struct shmfs_span *, char *to);

#endif
