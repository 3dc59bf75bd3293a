/* SPDX-License-Identifier: MIT */
/* Requests that wait until their user has a thread again.  Not thread-safe: a lock guards it. */
#pragma once

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The user of requests that the kernel makes by itself, when a file was closed or forgotten. */
#define SHMFS_NOBODY UINT32_MAX

struct shmfs_aside {
	struct shmfs_aside *next; /* owned */
	size_t size;
	char bytes[];
};

/* Whose share of the threads a request takes. */
uint32_t shmfs_aside_user(const struct fuse_in_header *);

/* Add a copy of a request.  Returns 0, -ENOMEM, or -EBUSY: its user has too many here. */
int shmfs_aside_put(struct shmfs_aside **list, const char *bytes, size_t size);

/* Take the first whose user `may` be served, to be freed; or NULL. */
struct shmfs_aside *shmfs_aside_take(struct shmfs_aside **list,
				     bool (*may)(const void *arg, uint32_t uid), const void *arg);
