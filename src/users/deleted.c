/* SPDX-License-Identifier: MIT */
/*
 * Objects that a process uses and that have lost their name, in .by-pid.
 *
 * They are shown by the last part of the path that /proc shows, with a mark,
 * and are reached through the process's descriptor or mapping.  Following that
 * takes the caller's right to look into the process, and for a mapping
 * CAP_SYS_ADMIN as well (fs/proc/base.c, proc_map_files_get_link()).
 */
#include "users/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shmfs/cleanup.h"

bool deleted_strip(const char *text, char bare[static NAME_MAX + 1])
{
	size_t len = strlen(text);
	size_t mark = strlen(DELETED);

	if (len <= mark || len > NAME_MAX || strcmp(text + len - mark, DELETED) != 0)
		return false;
	memcpy(bare, text, len - mark);
	bare[len - mark] = '\0';
	return true;
}

/* The object of a use, through the process. */
static int reach(const struct user_view *view, const struct shmfs_users_snapshot *snapshot,
		 const struct shmfs_use *use, const struct shmfs_caller *caller,
		 struct shmfs_object **out, struct stat *st)
{
	char path[SHMFS_USE_PATH];
	const struct shmfs_name name = { .space = SHMFS_SPACE_POSIX, .text = path };
	int err;

	shmfs_use_path(snapshot, use, path);
	err = view->files->ops->lookup(view->files, &name, caller, out, st);
	if (!err && (*out)->identity != use->file.ino) {
		shmfs_object_put(*out);
		err = -ENOENT;
	}
	return err;
}

/* Does the name that /proc shows lead to it still? */
static bool has_name(const struct user_view *view, const char *text, const struct shmfs_use *use,
		     const struct shmfs_caller *caller)
{
	const struct shmfs_name name = { .space = SHMFS_SPACE_POSIX, .text = text };
	struct shmfs_object *object;
	struct stat st;
	bool is_it;

	if (view->files->ops->lookup(view->files, &name, caller, &object, &st) != 0)
		return false;
	is_it = object->identity == use->file.ino;
	shmfs_object_put(object);
	return is_it;
}

/* Of several that had the same name all but the first are told apart by number. */
static void format_second(const char *name, const struct shmfs_use *use, char *text, size_t size)
{
	snprintf(text, size, "%s.%llu", name, (unsigned long long)use->file.ino);
}

/* The uses of a process come by inode number, so the first is the same each time. */
int deleted_lookup(const struct user_view *view, const struct shmfs_users_snapshot *snapshot,
		   pid_t pid, const char *bare, const struct shmfs_caller *caller,
		   struct shmfs_object **out, struct stat *st)
{
	size_t count;
	const uint32_t *index = shmfs_users_of_process(snapshot, pid, &count);
	int err = -ENOENT;

	for (size_t i = 0; i < count && err; i++) {
		const struct shmfs_use *use = &snapshot->uses[index[i]];
		const char *name = shmfs_use_name(snapshot, use);
		char second[2 * NAME_MAX];

		if (use->file.dev != view->dev)
			continue;
		format_second(name, use, second, sizeof(second));
		if ((strcmp(name, bare) == 0 || strcmp(second, bare) == 0) &&
		    !has_name(view, name, use, caller))
			err = reach(view, snapshot, use, caller, out, st);
	}
	return err;
}

/* --- listings --- */

static int compare_names(const void *a, const void *b, void *arg)
{
	const struct shmfs_use *const *x = a;
	const struct shmfs_use *const *y = b;
	int order = strcmp(shmfs_use_name(arg, *x), shmfs_use_name(arg, *y));

	return order ? order :
		       ((*x)->file.ino > (*y)->file.ino) - ((*x)->file.ino < (*y)->file.ino);
}

/* Those that have no name, each file once; returns how many. */
static size_t collect(const struct user_view *view, const struct shmfs_users_snapshot *snapshot,
		      pid_t pid, const bool *named, const struct shmfs_use **deleted)
{
	size_t count;
	size_t found = 0;
	const uint32_t *index = shmfs_users_of_process(snapshot, pid, &count);

	for (size_t i = 0; i < count; i++) {
		const struct shmfs_use *use = &snapshot->uses[index[i]];

		if (use->file.dev == view->dev && !named[index[i]] && use->name &&
		    (found == 0 || deleted[found - 1]->file.ino != use->file.ino))
			deleted[found++] = use;
	}
	qsort_r(deleted, found, sizeof(const struct shmfs_use *), compare_names, (void *)snapshot);
	return found;
}

int deleted_list(const struct user_view *view, const struct shmfs_users_snapshot *snapshot,
		 pid_t pid, const bool *named, shmfs_list_fn *fn, void *arg)
{
	SHMFS_AUTO_FREE const struct shmfs_use **deleted =
		calloc(snapshot->nuses + 1, sizeof(void *));
	const char *last = "";
	int stopped = deleted ? 0 : -ENOMEM;
	size_t count = deleted ? collect(view, snapshot, pid, named, deleted) : 0;

	for (size_t i = 0; i < count && !stopped; i++) {
		const char *text = shmfs_use_name(snapshot, deleted[i]);
		const char *bare = text;
		char second[NAME_MAX + 24]; /* with a number of 64 bits */
		char shown[sizeof(second) + sizeof(DELETED)];
		const struct shmfs_name name = { .space = SHMFS_SPACE_POSIX, .text = shown };

		if (strcmp(text, last) == 0) {
			format_second(text, deleted[i], second, sizeof(second));
			bare = second;
		}
		snprintf(shown, sizeof(shown), "%s" DELETED, bare);
		last = text;
		if (strlen(shown) <= NAME_MAX)
			stopped = fn(&name, deleted[i]->file.ino, arg);
	}
	return stopped;
}
