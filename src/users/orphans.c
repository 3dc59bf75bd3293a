/* SPDX-License-Identifier: MIT */
/*
 * .orphans: objects that no process has attached, mapped or open.
 *
 * A snapshot rules out objects that a process was seen to use.  The kernel is asked about the rest,
 * because it knows of hidden processes, and of uses that began after the snapshot.
 */
#include "users/internal.h"

#include <errno.h>

/*
 * A name leads to what its listing showed: the kernel is not asked again for each name of a walk.
 * Removing asks it.
 */
static int look_up(const struct shmfs_view *base, const struct shmfs_name *name,
		   const struct shmfs_caller *caller, struct shmfs_object **out, struct stat *st)
{
	const struct user_view *view = user_view(base);
	const struct shmfs_view *files = view->files;
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	int err = shmfs_users_get(view->users, &snapshot);

	if (!err)
		err = files->ops->lookup(files, name, caller, out, st);
	if (err || !uses_include(view, snapshot, (*out)->identity, 0))
		return err;
	shmfs_object_put(*out);
	return -ENOENT;
}

struct lister {
	const struct user_view *view;
	const struct shmfs_users_snapshot *snapshot;
	shmfs_list_fn *fn;
	void *arg;
};

static int list_orphan(const struct shmfs_name *name, uint64_t identity, void *arg)
{
	const struct lister *lister = arg;
	const struct shmfs_users_snapshot *snapshot = lister->snapshot;
	const struct shmfs_view *files = lister->view->files;

	if (uses_include(lister->view, snapshot, identity, 0) ||
	    files->ops->check_unused(files, name) != 0)
		return 0;
	return lister->fn(name, identity, lister->arg);
}

static int list(const struct shmfs_view *base, enum shmfs_space space, uint32_t dir,
		const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	const struct user_view *view = user_view(base);
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	int err = shmfs_users_get(view->users, &snapshot);
	struct lister lister = { view, snapshot, fn, arg };

	return err ? err :
		     view->files->ops->list(view->files, space, dir, caller, list_orphan, &lister);
}

/* The snapshot is old: ask the kernel once more. */
static int remove_orphan(const struct shmfs_view *base, const struct shmfs_name *name,
			 const struct shmfs_caller *caller)
{
	const struct shmfs_view *files = user_view(base)->files;

	return files->ops->remove_unused(files, name, caller);
}

void orphans_init(struct shmfs_backend_ops *ops)
{
	ops->lookup = look_up;
	ops->list = list;
	ops->remove = remove_orphan;
}
