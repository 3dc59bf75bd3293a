/* SPDX-License-Identifier: MIT */
/*
 * The slots of .orphans and .by-pid, which stand before those of .by-id and .by-name.
 *
 * .by-pid shows what each process uses, of the processes that the caller may look into.  A segment
 * that is marked for destruction, and an object without a name, have the mark that /proc gives
 * them.
 */
#include "users/internal.h"

/* --- processes --- */

/* May the caller look into it? */
static int check_process(const struct shmfs_users_snapshot *snapshot, pid_t pid,
			 const struct shmfs_caller *caller)
{
	SHMFS_AS_CALLER(err, caller);

	if (err)
		return err;
	return shmfs_users_may_see(snapshot, pid) ? 0 : -ENOENT;
}

static int find_process(void *context, uint32_t pid, const struct shmfs_caller *caller)
{
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	int err = shmfs_users_get(context, &snapshot);

	if (!err && !shmfs_users_process(snapshot, (pid_t)pid))
		err = -ENOENT;
	return err ? err : check_process(snapshot, (pid_t)pid, caller);
}

static int list_processes(void *context, const struct shmfs_caller *caller,
			  int (*fn)(uint32_t, void *), void *arg)
{
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	int stopped = shmfs_users_get(context, &snapshot);

	if (stopped)
		return stopped;
	SHMFS_AS_CALLER(err, caller);
	if (err)
		return err;
	for (size_t i = 0; i < snapshot->nprocesses && !stopped; i++) {
		pid_t pid = snapshot->processes[i].pid;

		if (shmfs_users_may_see(snapshot, pid))
			stopped = fn((uint32_t)pid, arg);
	}
	return stopped;
}

/* --- names --- */

/* The name in .by-id or .by-name. */
static int translate(const struct shmfs_user_view *view, const char *text, struct shmfs_name *name)
{
	if (view->segments)
		return shmfs_name_parse_shmid(text, name);
	*name = (struct shmfs_name){ .space = SHMFS_SPACE_POSIX, .text = text };
	return 0;
}

/* An object that still has its name. */
static int look_up_named(const struct uses *uses, const char *text, struct shmfs_object **out,
			 struct stat *st)
{
	struct shmfs_name name;
	int err = translate(uses->view, text, &name);

	return err ? err : uses_look_up(uses, &name, out, st);
}

static int begin(struct uses *uses, const struct shmfs_view *view, uint32_t pid,
		 const struct shmfs_caller *caller)
{
	int err = uses_begin(uses, view, pid, caller);

	return err || !pid ? err : check_process(uses->snapshot, uses->pid, caller);
}

/*
 * A name leads to what its listing showed: the kernel is not asked again for each name of a walk.
 * Removing an orphan asks it.
 */
static int look_up(const struct shmfs_view *view, const struct shmfs_name *name,
		   const struct shmfs_caller *caller, struct shmfs_object **out, struct stat *st)
{
	AUTO_USES uses;
	char bare[NAME_MAX + 1];
	int err = begin(&uses, view, name->dir, caller);

	if (!err)
		err = look_up_named(&uses, name->text, out, st);
	if (err != -ENOENT || !deleted_strip(name->text, bare))
		return err;
	/* A segment keeps its number. */
	return uses.view->segments ? look_up_named(&uses, bare, out, st) :
				     deleted_lookup(&uses, bare, out, st);
}

static int list(const struct shmfs_view *view, enum shmfs_space space, uint32_t dir,
		const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	AUTO_USES uses;
	int err = begin(&uses, view, dir, caller);

	if (!err)
		err = uses_list(&uses, fn, arg);
	return err || !uses.pid || uses.view->segments ? err : deleted_list(&uses, fn, arg);
}

static int create_nothing(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
			  mode_t mode, const struct shmfs_caller *caller,
			  struct shmfs_object **object, struct shmfs_handle **handle,
			  struct stat *st)
{
	return -EPERM;
}

static int remove_orphan(const struct shmfs_view *view, const struct shmfs_name *name,
			 const struct shmfs_caller *caller)
{
	return view->files->ops->remove_unused(view->files, name, caller);
}

/* A marked name cannot be removed. */
static int remove_used(const struct shmfs_view *view, const struct shmfs_name *name,
		       const struct shmfs_caller *caller)
{
	struct shmfs_object *object;
	struct shmfs_name inner;
	struct stat st;
	int err = look_up(view, name, caller, &object, &st);

	if (err)
		return err;
	shmfs_object_put(object);
	err = translate(view->context, name->text, &inner);
	if (!err)
		err = view->files->ops->remove(view->files, &inner, caller);
	return err == -ENOENT ? -EPERM : err;
}

/* --- the views --- */

static const struct {
	enum shmfs_view_index view;
	enum shmfs_view_index files;
	bool segments;
	SHMFS_SLOT(remove) * remove;
} rows[SHMFS_USER_VIEWS] = {
	{ SHMFS_VIEW_SYSV_ORPHANS, SHMFS_VIEW_BY_ID, true, remove_orphan },
	{ SHMFS_VIEW_POSIX_ORPHANS, SHMFS_VIEW_POSIX, false, remove_orphan },
	{ SHMFS_VIEW_SYSV_BY_PID, SHMFS_VIEW_BY_ID, true, remove_used },
	{ SHMFS_VIEW_POSIX_BY_PID, SHMFS_VIEW_POSIX, false, remove_used },
};

void shmfs_user_views_init(struct shmfs_tree *tree, struct shmfs_users *users,
			   struct shmfs_user_view views[static SHMFS_USER_VIEWS])
{
	for (size_t i = 0; i < SHMFS_USER_VIEWS; i++) {
		const struct shmfs_view *files = &tree->views[rows[i].files];
		struct shmfs_user_view *view = &views[i];

		*view = (struct shmfs_user_view){ *files->ops, users, files, rows[i].segments };
		view->ops.lookup = look_up;
		view->ops.list = list;
		view->ops.create = create_nothing;
		view->ops.remove = rows[i].remove;
		tree->views[rows[i].view] = (struct shmfs_view){
			.ops = &view->ops,
			.backend = files->backend,
			.context = view,
			.files = files,
		};
	}
	tree->numbers = (struct shmfs_numbers){ find_process, list_processes, users };
}
