/* SPDX-License-Identifier: MIT */
/*
 * .orphans: what no process has attached, mapped or open.
 *
 * A snapshot rules out what a process was seen to use.  The backend is asked
 * about the rest, for the kernel knows more than /proc shows: attachments of a
 * segment are counted, and an object that changed after the snapshot, or that
 * processes out of sight may use, is tried.
 */
#include "users/internal.h"

#include <errno.h>

/*
 * A name leads to what its listing showed, so that a walk to each does not ask
 * the kernel again.  Removing does.
 */
int orphans_lookup(const struct shmfs_view *base, const struct shmfs_name *name,
		   const struct shmfs_caller *caller, struct shmfs_object **out, struct stat *st)
{
	const struct user_view *view = user_view(base);
	const struct shmfs_view *files = view->files;
	USER_SNAPSHOT snapshot = { 0 };
	struct shmfs_object *object;
	struct stat now;
	int err = user_snapshot_get(view->users, &snapshot);

	if (!err)
		err = files->ops->lookup(files, name, caller, &object, &now);
	if (err)
		return err;
	if (uses_include(view, snapshot.of, object->identity, 0)) {
		shmfs_object_put(object);
		return -ENOENT;
	}
	*out = object;
	*st = now;
	return 0;
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
	const struct timespec *since = snapshot->complete ? &snapshot->taken_at : NULL;
	const struct shmfs_view *files = lister->view->files;

	if (uses_include(lister->view, snapshot, identity, 0) ||
	    files->ops->check_unused(files, name, since) != 0)
		return 0;
	return lister->fn(name, identity, lister->arg);
}

int orphans_list(const struct shmfs_view *base, enum shmfs_space space, uint32_t dir,
		 const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	const struct user_view *view = user_view(base);
	const struct shmfs_view *files = view->files;
	USER_SNAPSHOT snapshot = { 0 };
	struct lister lister = { .view = view, .fn = fn, .arg = arg };
	int err = user_snapshot_get(view->users, &snapshot);

	if (err)
		return err;
	lister.snapshot = snapshot.of;
	return files->ops->list(files, space, dir, caller, list_orphan, &lister);
}

/* The snapshot is of a while ago: the kernel is asked about this one once more. */
int orphans_remove(const struct shmfs_view *base, const struct shmfs_name *name,
		   const struct shmfs_caller *caller)
{
	const struct shmfs_view *files = user_view(base)->files;

	return files->ops->remove_unused(files, name, caller);
}
