/* SPDX-License-Identifier: MIT */
/*
 * Objects in .by-pid that have lost their name.
 *
 * They are shown by the last part of the path in /proc, with a mark, and are reached through the
 * process's descriptor or mapping.  That takes the caller's right to look into the process, and for
 * a mapping CAP_SYS_ADMIN as well (fs/proc/base.c, proc_map_files_get_link()).
 */
#include "users/internal.h"

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

/* Look up a name in .by-name.  -ENOENT if it leads to another object than that of the use. */
static int look_up(const struct uses *uses, const char *text, const struct shmfs_use *use,
		   struct shmfs_object **out, struct stat *st)
{
	const struct shmfs_name name = { .space = SHMFS_SPACE_POSIX, .text = text };
	const struct shmfs_view *files = uses->view->files;
	int err = files->ops->lookup(files, &name, uses->caller, out, st);

	if (err || (*out)->identity == use->file.ino)
		return err;
	shmfs_object_put(*out);
	return -ENOENT;
}

/* Does the name that /proc shows still lead to the object? */
static bool has_name(const struct uses *uses, const struct shmfs_use *use)
{
	struct shmfs_object *object;
	struct stat st;

	if (look_up(uses, shmfs_use_name(uses->snapshot, use), use, &object, &st) != 0)
		return false;
	shmfs_object_put(object);
	return true;
}

/* Objects that had the same name have their numbers behind it, all but the first. */
static void format_second(const char *name, const struct shmfs_use *use, char *text, size_t size)
{
	snprintf(text, size, "%s.%llu", name, (unsigned long long)use->file.ino);
}

static bool is_of(const struct uses *uses, const struct shmfs_use *use)
{
	return use->pid == uses->pid && use->file.dev == SHMFS_OBJECTS;
}

/* The uses of a snapshot come by inode number, so the first is the same each time. */
int deleted_lookup(const struct uses *uses, const char *bare, struct shmfs_object **out,
		   struct stat *st)
{
	int err = -ENOENT;

	for (size_t i = 0; i < uses->snapshot->nuses && err; i++) {
		const struct shmfs_use *use = &uses->snapshot->uses[i];
		const char *name = shmfs_use_name(uses->snapshot, use);
		char second[2 * NAME_MAX];
		char path[SHMFS_USE_PATH];

		if (!is_of(uses, use))
			continue;
		format_second(name, use, second, sizeof(second));
		if ((strcmp(name, bare) != 0 && strcmp(second, bare) != 0) || has_name(uses, use))
			continue;
		shmfs_use_path(uses->snapshot, use, path);
		err = look_up(uses, path, use, out, st);
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

/* Find the uses of objects without a name, one of each object.  Returns how many. */
static size_t collect(const struct uses *uses, const struct shmfs_use **deleted)
{
	const struct shmfs_users_snapshot *snapshot = uses->snapshot;
	size_t found = 0;

	for (size_t i = 0; i < snapshot->nuses; i++) {
		const struct shmfs_use *use = &snapshot->uses[i];

		if (is_of(uses, use) && use->name &&
		    (found == 0 || deleted[found - 1]->file.ino != use->file.ino) &&
		    !has_name(uses, use))
			deleted[found++] = use;
	}
	qsort_r(deleted, found, sizeof(const struct shmfs_use *), compare_names, (void *)snapshot);
	return found;
}

int deleted_list(const struct uses *uses, shmfs_list_fn *fn, void *arg)
{
	const struct shmfs_users_snapshot *snapshot = uses->snapshot;
	SHMFS_AUTO_FREE const struct shmfs_use **deleted =
		calloc(snapshot->nuses + 1, sizeof(void *));
	const char *last = "";
	int stopped = deleted ? 0 : -ENOMEM;
	size_t count = deleted ? collect(uses, deleted) : 0;

	for (size_t i = 0; i < count && !stopped; i++) {
		const char *text = shmfs_use_name(snapshot, deleted[i]);
		char shown[NAME_MAX + 24 + sizeof(DELETED)]; /* with a number of 64 bits */
		const struct shmfs_name name = { .space = SHMFS_SPACE_POSIX, .text = shown };
		size_t len;

		snprintf(shown, sizeof(shown), "%s", text);
		if (strcmp(text, last) == 0)
			format_second(text, deleted[i], shown, sizeof(shown));
		len = strlen(shown);
		snprintf(shown + len, sizeof(shown) - len, "%s", DELETED);
		last = text;
		if (strlen(shown) <= NAME_MAX)
			stopped = fn(&name, deleted[i]->file.ino, arg);
	}
	return stopped;
}
