/* SPDX-License-Identifier: MIT */
/*
 * Between the files of the views by use, from the bottom up:
 *
 *   uses.c      what a snapshot says of a file, or of a file and a process
 *   orphans.c   .orphans
 *   by_pid.c    .by-pid: processes, and names in them
 *   deleted.c   what has lost its name there
 *   views.c     the views, made of those of .by-id and .by-name
 */
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

/* A snapshot to the end of the block. */
struct user_snapshot {
	struct shmfs_users *users;
	const struct shmfs_users_snapshot *of;
};
#define USER_SNAPSHOT __attribute__((cleanup(user_snapshot_put))) struct user_snapshot

static inline void user_snapshot_put(const struct user_snapshot *snapshot)
{
	if (snapshot->of)
		shmfs_users_put(snapshot->users, snapshot->of);
}

static inline int user_snapshot_get(struct shmfs_users *users, struct user_snapshot *snapshot)
{
	snapshot->users = users;
	return shmfs_users_get(users, &snapshot->of);
}

/* --- uses.c --- */

/* Is it seen that a process uses the memory of that identity?  `pid` 0: any process. */
bool uses_include(const struct user_view *, const struct shmfs_users_snapshot *, uint64_t identity,
		  pid_t pid);
/* Create nothing: -EPERM. */
int uses_create(const struct shmfs_view *, const struct shmfs_name *, int flags, mode_t,
		const struct shmfs_caller *, struct shmfs_object **, struct shmfs_handle **,
		struct stat *);

/* --- orphans.c --- */

int orphans_lookup(const struct shmfs_view *, const struct shmfs_name *,
		   const struct shmfs_caller *, struct shmfs_object **, struct stat *);
int orphans_list(const struct shmfs_view *, enum shmfs_space, uint32_t dir,
		 const struct shmfs_caller *, shmfs_list_fn *, void *arg);
int orphans_remove(const struct shmfs_view *, const struct shmfs_name *,
		   const struct shmfs_caller *);

/* --- by_pid.c --- */

/* Slots of struct shmfs_numbers; the context is the struct shmfs_users. */
int by_pid_find(void *context, uint32_t pid, const struct shmfs_caller *);
int by_pid_list_processes(void *context, const struct shmfs_caller *, int (*fn)(uint32_t, void *),
			  void *arg);

int by_pid_lookup(const struct shmfs_view *, const struct shmfs_name *, const struct shmfs_caller *,
		  struct shmfs_object **, struct stat *);
int by_pid_list(const struct shmfs_view *, enum shmfs_space, uint32_t dir,
		const struct shmfs_caller *, shmfs_list_fn *, void *arg);
int by_pid_remove(const struct shmfs_view *, const struct shmfs_name *,
		  const struct shmfs_caller *);

/* --- deleted.c --- */

#define DELETED " (deleted)"

/* The text without the mark; false: it has none, or is too long for a name. */
bool deleted_strip(const char *text, char bare[static NAME_MAX + 1]);
/*
 * List the objects that a process uses and that are not in `named`, which has a
 * flag for each of the process's uses.
 */
int deleted_list(const struct user_view *, const struct shmfs_users_snapshot *, pid_t,
		 const bool *named, shmfs_list_fn *, void *arg);
/* The object of that name without its mark.  The caller reaches it through the process. */
int deleted_lookup(const struct user_view *, const struct shmfs_users_snapshot *, pid_t,
		   const char *bare, const struct shmfs_caller *, struct shmfs_object **,
		   struct stat *);

#endif
