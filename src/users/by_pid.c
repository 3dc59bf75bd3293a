/* SPDX-License-Identifier: MIT */
/*
 * .by-pid: what each process uses, of the processes that the caller may look into.
 *
 * Names are those of .by-id and .by-name.  A segment that is marked for
 * destruction, and an object that has lost its name, have the mark that /proc
 * gives them.
 */
#include "users/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shmfs/cleanup.h"

#define PREFIX_OF_SEMAPHORES "sem."

/* --- processes --- */

/* Named semaphores are files of the same directory. */
static bool is_of_semaphore(const struct shmfs_users_snapshot *snapshot,
			    const struct shmfs_use *use)
{
	return strncmp(shmfs_use_name(snapshot, use), PREFIX_OF_SEMAPHORES,
		       strlen(PREFIX_OF_SEMAPHORES)) == 0;
}

static bool uses_any(const struct shmfs_users_snapshot *snapshot, pid_t pid)
{
	size_t count;
	const uint32_t *index = shmfs_users_of_process(snapshot, pid, &count);

	for (size_t i = 0; i < count; i++) {
		const struct shmfs_use *use = &snapshot->uses[index[i]];

		if (!use->is_self && !is_of_semaphore(snapshot, use))
			return true;
	}
	return false;
}

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
	USER_SNAPSHOT snapshot = { 0 };
	int err = user_snapshot_get(context, &snapshot);

	if (!err)
		err = check_process(snapshot.of, (pid_t)pid, caller);
	if (err)
		return err;
	return uses_any(snapshot.of, (pid_t)pid) ? 0 : -ENOENT;
}

int by_pid_list_processes(void *context, const struct shmfs_caller *caller,
			  int (*fn)(uint32_t, void *), void *arg)
{
	USER_SNAPSHOT snapshot = { 0 };
	int stopped = user_snapshot_get(context, &snapshot);

	if (stopped)
		return stopped;
	SHMFS_AS_CALLER(err, caller);
	if (err)
		return err;
	for (size_t i = 0; i < snapshot.of->nprocesses && !stopped; i++) {
		pid_t pid = snapshot.of->processes[i].pid;

		if (uses_any(snapshot.of, pid) && shmfs_users_may_see(snapshot.of, pid))
			stopped = fn((uint32_t)pid, arg);
	}
	return stopped;
}

/* --- names --- */

static bool is_of_segments(const struct user_view *view)
{
	return view->dev == SHMFS_SEGMENTS;
}

/* Is the segment marked for destruction? */
static bool is_destroyed(struct shmfs_object *object, const struct shmfs_caller *caller)
{
	const struct shmfs_xattr *row =
		shmfs_xattr_find(object->backend->ops->xattrs, SHMFS_XATTR_OBJECT "status");
	char status[64] = "";
	ssize_t len = row ? shmfs_xattr_get(row, object, status, sizeof(status) - 1, caller) : -1;

	return len > 0 && strstr(status, "dest");
}

/* The name in .by-id or .by-name. */
static int translate(const struct user_view *view, const char *text, struct shmfs_name *name)
{
	if (is_of_segments(view))
		return shmfs_name_parse_shmid(text, name);
	*name = (struct shmfs_name){ .space = SHMFS_SPACE_POSIX, .text = text };
	return 0;
}

/* What has its name still, and is used by the process. */
static int look_up_named(const struct user_view *view, const struct shmfs_users_snapshot *snapshot,
			 pid_t pid, const char *text, const struct shmfs_caller *caller,
			 struct shmfs_object **out, struct stat *st)
{
	struct shmfs_name name;
	int err = translate(view, text, &name);

	if (!err)
		err = view->files->ops->lookup(view->files, &name, caller, out, st);
	if (err || uses_include(view, snapshot, (*out)->identity, pid))
		return err;
	shmfs_object_put(*out);
	return -ENOENT;
}

/* A segment keeps its number. */
static int look_up_destroyed(const struct user_view *view,
			     const struct shmfs_users_snapshot *snapshot, pid_t pid,
			     const char *bare, const struct shmfs_caller *caller,
			     struct shmfs_object **out, struct stat *st)
{
	int err = look_up_named(view, snapshot, pid, bare, caller, out, st);

	if (err || is_destroyed(*out, caller))
		return err;
	shmfs_object_put(*out);
	return -ENOENT;
}

int by_pid_lookup(const struct shmfs_view *base, const struct shmfs_name *name,
		  const struct shmfs_caller *caller, struct shmfs_object **out, struct stat *st)
{
	const struct user_view *view = user_view(base);
	pid_t pid = (pid_t)name->dir;
	USER_SNAPSHOT snapshot = { 0 };
	char bare[NAME_MAX + 1];
	int err = user_snapshot_get(view->users, &snapshot);

	if (!err)
		err = check_process(snapshot.of, pid, caller);
	if (!err)
		err = look_up_named(view, snapshot.of, pid, name->text, caller, out, st);
	if (err != -ENOENT || !deleted_strip(name->text, bare))
		return err;
	if (is_of_segments(view))
		return look_up_destroyed(view, snapshot.of, pid, bare, caller, out, st);
	return deleted_lookup(view, snapshot.of, pid, bare, caller, out, st);
}

/* What is marked has no name that could be removed. */
int by_pid_remove(const struct shmfs_view *base, const struct shmfs_name *name,
		  const struct shmfs_caller *caller)
{
	const struct user_view *view = user_view(base);
	struct shmfs_object *object;
	struct shmfs_name inner;
	struct stat st;
	int err = by_pid_lookup(base, name, caller, &object, &st);

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
	const struct user_view *view;
	const struct shmfs_users_snapshot *snapshot;
	pid_t pid;
	shmfs_list_fn *fn;
	void *arg;
	bool *named; /* borrowed; which uses of the snapshot are of a file that has a name */
};

static void note_name(const struct lister *lister, ino_t ino)
{
	const struct shmfs_file_id file = { lister->view->dev, ino };
	size_t count;
	const struct shmfs_use *use = shmfs_users_of(lister->snapshot, &file, &count);

	for (size_t i = 0; i < count; i++)
		lister->named[use + i - lister->snapshot->uses] = true;
}

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

	if (!uses_include(lister->view, lister->snapshot, identity, lister->pid))
		return 0;
	if (is_of_segments(lister->view))
		return list_segment(lister, name, identity);
	note_name(lister, identity);
	return lister->fn(name, identity, lister->arg);
}

int by_pid_list(const struct shmfs_view *base, enum shmfs_space space, uint32_t dir,
		const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	const struct user_view *view = user_view(base);
	struct lister lister = { .view = view, .pid = (pid_t)dir, .fn = fn, .arg = arg };
	USER_SNAPSHOT snapshot = { 0 };
	SHMFS_AUTO_FREE bool *named = NULL;
	int err = user_snapshot_get(view->users, &snapshot);

	if (!err)
		err = check_process(snapshot.of, lister.pid, caller);
	if (err)
		return err;
	named = calloc(snapshot.of->nuses + 1, sizeof(*named));
	if (!named)
		return -ENOMEM;
	lister.snapshot = snapshot.of;
	lister.named = named;
	space = is_of_segments(view) ? SHMFS_SPACE_SHMID : space;
	err = view->files->ops->list(view->files, space, 0, caller, list_used, &lister);
	if (err || is_of_segments(view))
		return err;
	return deleted_list(view, snapshot.of, lister.pid, named, fn, arg);
}
