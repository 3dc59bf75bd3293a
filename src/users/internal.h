/* SPDX-License-Identifier: MIT */
/* What the files of .orphans and .by-pid share. */
#ifndef SHMFS_USERS_VIEWS_INTERNAL_H
#define SHMFS_USERS_VIEWS_INTERNAL_H

#include "shmfs/user_views.h"

/* The context of one view. */
struct user_view {
	struct shmfs_backend_ops ops;
	struct shmfs_users *users;	/* borrowed */
	const struct shmfs_view *files; /* borrowed; .by-id or .by-name */
	dev_t dev;			/* of the memory in a snapshot */
	dev_t file_dev;			/* of the files of mounts of shmfs */
};

static inline const struct user_view *user_view(const struct shmfs_view *view)
{
	return view->context;
}

/* What one process uses, as one view shows it. */
struct process_uses {
	const struct user_view *view;
	const struct shmfs_users_snapshot *snapshot;
	pid_t pid;
	const struct shmfs_caller *caller; /* whoever asks */
};

/* --- uses.c --- */

/* Is it seen that a process uses the memory of that identity?  `pid` 0: any process. */
bool uses_include(const struct user_view *, const struct shmfs_users_snapshot *, uint64_t identity,
		  pid_t pid);
/* Look up a name in .by-id or .by-name.  -ENOENT if it leads to another identity than this. */
int uses_look_up(const struct process_uses *, const struct shmfs_name *, uint64_t identity,
		 struct shmfs_object **, struct stat *);

/* --- orphans.c --- */

void orphans_init(struct shmfs_backend_ops *);

/* --- by_pid.c --- */

void by_pid_init(struct shmfs_backend_ops *);
/* Slots of struct shmfs_numbers; the context is the struct shmfs_users. */
int by_pid_find(void *context, uint32_t pid, const struct shmfs_caller *);
int by_pid_list_processes(void *context, const struct shmfs_caller *, int (*fn)(uint32_t, void *),
			  void *arg);

/* --- deleted.c --- */

#define DELETED " (deleted)"

/* The text without the mark; false: it has none, or is too long for a name. */
bool deleted_strip(const char *text, char bare[static NAME_MAX + 1]);
/* List the objects that the process uses and that have lost their name. */
int deleted_list(const struct process_uses *, shmfs_list_fn *, void *arg);
/* The object of that name without its mark.  The caller reaches it through the process. */
int deleted_lookup(const struct process_uses *, const char *bare, struct shmfs_object **,
		   struct stat *);

#endif
