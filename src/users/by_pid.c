/* SPDX-License-Identifier: MIT */
/*
 * .by-pid: what each process uses, of the processes that the caller may look into.
 *
 * Names are those of .by-id and .by-name.  A segment that is marked for destruction, and an object
 * without a name, have the mark that /proc gives them.
 */
#include "users/internal.h"

#include <errno.h>
#include <stdio.h>

#include "shmfs/cleanup.h"

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

int by_pid_find(void *context, uint32_t pid, const struct shmfs_caller *caller)
{
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	int err = shmfs_users_get(context, &snapshot);

	if (!err && !shmfs_users_process(snapshot, (pid_t)pid))
		err = -ENOENT;
	return err ? err : check_process(snapshot, (pid_t)pid, caller);
}

int by_pid_list_processes(void *context, const struct shmfs_caller *caller,
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

static bool is_of_segments(const struct user_view *view)
{
	return view->dev == SHMFS_SEGMENTS;
}

/* The name in .by-id or .by-name. */
static int translate(const struct user_view *view, const char *text, struct shmfs_name *name)
{
	if (is_of_segments(view))
		return shmfs_name_parse_shmid(text, name);
	*name = (struct shmfs_name){ .space = SHMFS_SPACE_POSIX, .text = text };
	return 0;
}

/* An object that still has its name, and that the process uses. */
static int look_up_named(const struct process_uses *uses, const char *text,
			 struct shmfs_object **out, struct stat *st)
{
	const struct shmfs_view *files = uses->view->files;
	struct shmfs_name name;
	int err = translate(uses->view, text, &name);

	if (!err)
		err = files->ops->lookup(files, &name, uses->caller, out, st);
	if (err || uses_include(uses->view, uses->snapshot, (*out)->identity, uses->pid))
		return err;
	shmfs_object_put(*out);
	return -ENOENT;
}

static int look_up(const struct shmfs_view *base, const struct shmfs_name *name,
		   const struct shmfs_caller *caller, struct shmfs_object **out, struct stat *st)
{
	struct process_uses uses = { user_view(base), NULL, (pid_t)name->dir, caller };
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	char bare[NAME_MAX + 1];
	int err = shmfs_users_get(uses.view->users, &snapshot);

	uses.snapshot = snapshot;
	if (!err)
		err = check_process(snapshot, uses.pid, caller);
	if (!err)
		err = look_up_named(&uses, name->text, out, st);
	if (err != -ENOENT || !deleted_strip(name->text, bare))
		return err;
	/* A segment keeps its number. */
	return is_of_segments(uses.view) ? look_up_named(&uses, bare, out, st) :
					   deleted_lookup(&uses, bare, out, st);
}

/* A marked name cannot be removed. */
static int remove_used(const struct shmfs_view *base, const struct shmfs_name *name,
		       const struct shmfs_caller *caller)
{
	const struct user_view *view = user_view(base);
	struct shmfs_object *object;
	struct shmfs_name inner;
	struct stat st;
	int err = look_up(base, name, caller, &object, &st);

	if (err)
		return err;
	shmfs_object_put(object);
	err = translate(view, name->text, &inner);
	if (!err)
		err = view->files->ops->remove(view->files, &inner, caller);
	return err == -ENOENT ? -EPERM : err;
}

/* --- listings --- */

struct lister {
	struct process_uses uses;
	shmfs_list_fn *fn;
	void *arg;
};

static int list_segment(const struct lister *lister, const struct shmfs_name *name,
			uint64_t identity)
{
	char text[NAME_MAX + 1];
	const struct shmfs_name shown = { .space = SHMFS_SPACE_POSIX, .text = text };

	snprintf(text, sizeof(text), "%u%s", name->number, name->deleted ? DELETED : "");
	return lister->fn(&shown, identity, lister->arg);
}

static int list_used(const struct shmfs_name *name, uint64_t identity, void *arg)
{
	const struct lister *lister = arg;
	const struct process_uses *uses = &lister->uses;

	if (!uses_include(uses->view, uses->snapshot, identity, uses->pid))
		return 0;
	return is_of_segments(uses->view) ? list_segment(lister, name, identity) :
					    lister->fn(name, identity, lister->arg);
}

static int list(const struct shmfs_view *base, enum shmfs_space space, uint32_t dir,
		const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	const struct user_view *view = user_view(base);
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	int err = shmfs_users_get(view->users, &snapshot);
	struct lister lister = { { view, snapshot, (pid_t)dir, caller }, fn, arg };

	if (!err)
		err = check_process(snapshot, (pid_t)dir, caller);
	if (err)
		return err;
	space = is_of_segments(view) ? SHMFS_SPACE_SHMID : space;
	err = view->files->ops->list(view->files, space, 0, caller, list_used, &lister);
	return err || is_of_segments(view) ? err : deleted_list(&lister.uses, fn, arg);
}

void by_pid_init(struct shmfs_backend_ops *ops)
{
	ops->lookup = look_up;
	ops->list = list;
	ops->remove = remove_used;
}
