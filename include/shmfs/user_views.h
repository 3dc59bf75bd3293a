/* SPDX-License-Identifier: MIT */
/*
 * The views of .orphans, the files that no process uses, and .by-pid, the files that each process
 * uses.  Both show files of .by-id and .by-name, as one snapshot tells their uses (users.h).
 */
#pragma once

#include "shmfs/tree.h"
#include "shmfs/users.h"

/* The slots of a view, and what they know. */
struct shmfs_user_view {
	struct shmfs_backend_ops ops;
	struct shmfs_users *users; /* borrowed */
	bool segments;
};
#define SHMFS_USER_VIEWS 4

/*
 * Fill in the views of .orphans and .by-pid in `tree`, and its numbers, once its views of .by-id
 * and .by-name are set.  `tree` and `users` are borrowed, and `tree` borrows `views`.
 */
void shmfs_user_views_init(struct shmfs_tree *tree, struct shmfs_users *users,
			   struct shmfs_user_view views[static SHMFS_USER_VIEWS]);
