/* SPDX-License-Identifier: MIT */
/* The backends of a mount, and the views by which the tree shows them. */
#pragma once

#include "shmfs/user_views.h"

struct shmfs_options;

/* All owned.  Zeroed, it can be cleared. */
struct shmfs_backends {
	struct shmfs_users *users;
	struct shmfs_user_views *user_views;
	struct shmfs_backend *sysv, *posix;
	struct shmfs_backend_ops sysv_by_id, sysv_text, posix_text;
};

/*
 * Open the shared memory that the options name, and fill in *tree, which borrows from *backends.
 * With `target`, this thread joins another IPC namespace.
 *
 * Returns 0, or a negative errno after a message.  Clear with shmfs_backends_clear() in either
 * case.
 */
int shmfs_backends_init(struct shmfs_backends *, const struct shmfs_options *,
			struct shmfs_tree *tree);
void shmfs_backends_clear(struct shmfs_backends *);
