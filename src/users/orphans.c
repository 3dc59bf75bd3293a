/* SPDX-License-Identifier: MIT */
/* .orphans: objects that no process has attached, mapped or open. */
#include "users/internal.h"

/*
 * A name leads to what its listing showed: the kernel is not asked again for each name of a walk.
 * Removing asks it.
 */
static int look_up(const struct shmfs_view *view, const struct shmfs_name *name,
		   const struct shmfs_caller *caller, struct shmfs_object **out, struct stat *st)
{
	AUTO_USES uses;
	int err = uses_begin(&uses, view, 0, caller);

	return err ? err : uses_look_up(&uses, name, out, st);
}

static int list(const struct shmfs_view *view, enum shmfs_space space, uint32_t dir,
		const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	AUTO_USES uses;
	int err = uses_begin(&uses, view, 0, caller);

	return err ? err : uses_list(&uses, fn, arg);
}

static int remove_orphan(const struct shmfs_view *view, const struct shmfs_name *name,
			 const struct shmfs_caller *caller)
{
	return view->files->ops->remove_unused(view->files, name, caller);
}

void orphans_init(struct shmfs_backend_ops *ops)
{
	ops->lookup = look_up;
	ops->list = list;
	ops->remove = remove_orphan;
}
