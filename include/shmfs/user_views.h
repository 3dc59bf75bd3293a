/* SPDX-License-Identifier: MIT */
/*
 * The views of .orphans, the files that no process uses, and .by-pid, the files that each process
 * uses.  Both show files of .by-id and .by-name, as one snapshot tells their uses (users.h).
 */
#pragma once

#include "shmfs/tree.h"
#include "shmfs/users.h"

struct shmfs_user_views;

/*
 * Fill in the views of .orphans and .by-pid in `tree`, and its numbers, once its views of .by-id
 * and .by-name are set.  `tree` and `users` are borrowed.  Returns 0 and *out (free with
 * shmfs_user_views_free()), or -ENOMEM.
 */
int shmfs_user_views_new(struct shmfs_tree *tree, struct shmfs_users *users,
			 struct shmfs_user_views **out);
void shmfs_user_views_free(struct shmfs_user_views *);
