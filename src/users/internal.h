/* SPDX-License-Identifier: MIT */
/* What the files of .orphans and .by-pid share. */
#pragma once

#include "shmfs/cleanup.h"
#include "shmfs/user_views.h"

/* What a directory of a view shows to a caller. */
struct uses {
	const struct shmfs_user_view *view;
	const struct shmfs_users_snapshot *snapshot;
	pid_t pid; /* what this process uses; 0: what none does */
	const struct shmfs_caller *caller;
};

/* --- deleted.c --- */

#define DELETED " (deleted)"

/* The text without the mark; false: it has none, or is too long for a name. */
bool deleted_strip(const char *text, char bare[static NAME_MAX + 1]);
/* List the objects that the process uses and that have lost their name. */
int deleted_list(const struct uses *, shmfs_list_fn *, void *arg);
/* The object of that name without its mark.  The caller reaches it through the process. */
int deleted_lookup(const struct uses *, const char *bare, struct shmfs_object **, struct stat *);
