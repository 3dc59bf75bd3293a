/* SPDX-License-Identifier: MIT */
/* Replies that libfuse is not asked for, or cannot make before 3.17. */
#pragma once

#include "fuse/internal.h"

/*
 * Answer the kernel's first request, INIT.  The only thread calls it between mounting and
 * shmfs_loop_run().  Returns 0 or a negative errno.
 */
int shmfs_reply_first(struct shmfs_fs *);

/* Answer a request that libfuse has not seen: a negative errno, or 0. */
void shmfs_reply_error(struct shmfs_fs *, const void *request, int err);

/* From the session's init: ask for passthrough and FUSE_HANDLE_KILLPRIV_V2. */
void shmfs_reply_init(struct shmfs_passthrough *, struct fuse_conn_info *);

/* fuse_reply_open() and fuse_reply_create() with a binding.  Non-zero: not taken. */
int shmfs_reply_open(fuse_req_t, struct fuse_file_info *, struct shmfs_file *, struct shmfs_bound);
int shmfs_reply_create(fuse_req_t, const struct fuse_entry_param *, struct fuse_file_info *,
		       struct shmfs_file *, struct shmfs_bound);
