/* SPDX-License-Identifier: MIT */
/*
 * Views by use: .orphans, what nobody uses, and .by-pid, what each process uses.
 *
 * Both show the files of .by-id and .by-name under other names, or fewer of
 * them.  The kernel is asked by one snapshot for all (users.h).
 */
#ifndef SHMFS_USER_VIEWS_H
#define SHMFS_USER_VIEWS_H

#include "shmfs/backend.h"
#include "shmfs/tree.h"
#include "shmfs/users.h"

struct shmfs_user_views;

/*
 * Fill in the views of `tree` that go by use, and its numbers.  Its views of
 * .by-id and .by-name are there already.  `users` and the tree are borrowed.
 * Returns 0 and *out (free with shmfs_user_views_free()), or -ENOMEM.
 */
int shmfs_user_views_new(struct shmfs_tree *tree, struct shmfs_users *users,
			 struct shmfs_user_views **out);
void shmfs_user_views_free(struct shmfs_user_views *);

#endif
