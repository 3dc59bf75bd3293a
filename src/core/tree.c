/* SPDX-License-Identifier: MIT */
#include "shmfs/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BY_ID_NAME ".by-id"
#define BY_NAME_NAME ".by-name"

enum shmfs_dir shmfs_tree_subdir(enum shmfs_dir dir, const char *text)
{
	if (dir != SHMFS_DIR_ROOT)
		return 0;
	if (strcmp(text, BY_ID_NAME) == 0)
		return SHMFS_DIR_BY_ID;
	if (strcmp(text, BY_NAME_NAME) == 0)
		return SHMFS_DIR_BY_NAME;
	return 0;
}

int shmfs_tree_resolve(const struct shmfs_tree *tree, enum shmfs_dir dir, const char *text,
		       const struct shmfs_view **view, struct shmfs_name *name)
{
	int err;

	if (dir == SHMFS_DIR_BY_ID)
		err = shmfs_name_parse_shmid(text, name);
	else if (dir == SHMFS_DIR_BY_NAME)
		err = shmfs_name_parse_posix(text, name);
	else
		err = shmfs_name_parse_root(text, name);
	if (!err)
		*view = name->space == SHMFS_SPACE_POSIX ? &tree->posix : &tree->sysv;
	return err;
}

int shmfs_tree_getattr(const struct shmfs_tree *tree, enum shmfs_dir dir, struct stat *st)
{
	struct stat now = { .st_nlink = 2, .st_uid = tree->uid, .st_gid = tree->gid };
	/* Keys leave no trace in time; names do, in the directory they live in. */
	int err = tree->posix.ops->stat_names(tree->posix.backend, &now);

	if (err)
		return err;
	now.st_ino = dir;
	/* Not sticky: fs.protected_regular would refuse `>` onto others' segments. */
	now.st_mode = S_IFDIR | 0777;
	*st = now;
	return 0;
}

int shmfs_tree_statfs(const struct shmfs_tree *tree, struct statvfs *st)
{
	struct statvfs now = { 0 };
	int err = tree->posix.ops->statfs(tree->posix.backend, &now);

	if (!err)
		err = tree->sysv.ops->statfs(tree->sysv.backend, &now);
	if (!err)
		*st = now;
	return err;
}

/* --- listings --- */

struct lister {
	const struct shmfs_tree *tree;
	enum shmfs_dir dir;
	struct shmfs_listing *listing;
};

/* Make room for one more element of `size` bytes, and `extra` of them. */
static int reserve(void **array, size_t *capacity, size_t used, size_t extra, size_t size)
{
	size_t want = *capacity ? *capacity : 64;
	void *grown;

	if (used + extra <= *capacity)
		return 0;
	while (want < used + extra)
		want *= 2;
	grown = reallocarray(*array, want, size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*capacity = want;
	return 0;
}

static int add_entry(struct shmfs_listing *list, const char *name, size_t len, ino_t ino)
{
	if (reserve((void **)&list->entries, &list->capacity, list->count, 1,
		    sizeof(*list->entries)) ||
	    reserve((void **)&list->names, &list->names_capacity, list->names_used, len + 1, 1))
		return -ENOMEM;
	list->entries[list->count++] = (struct shmfs_entry){ .ino = ino, .name = list->names_used };
	memcpy(list->names + list->names_used, name, len + 1);
	list->names_used += len + 1;
	return 0;
}

static int list_number(const struct shmfs_name *name, ino_t ino, void *arg)
{
	struct lister *lister = arg;
	enum shmfs_key_format format =
		name->space == SHMFS_SPACE_KEY ? lister->tree->keys : SHMFS_KEYS_DEC;
	char text[SHMFS_NUMBER_MAX];
	size_t len = shmfs_name_format_key(name->number, format, text);

	return add_entry(lister->listing, text, len, ino);
}

/* In the root a POSIX object is shown where its name means it. */
static int list_text(const struct shmfs_name *name, ino_t ino, void *arg)
{
	struct lister *lister = arg;
	struct shmfs_name read;

	if (lister->dir == SHMFS_DIR_ROOT &&
	    (shmfs_tree_subdir(SHMFS_DIR_ROOT, name->text) ||
	     shmfs_name_parse_root(name->text, &read) != 0 || read.space != SHMFS_SPACE_POSIX))
		return 0;
	return add_entry(lister->listing, name->text, strlen(name->text), ino);
}

static int list_view(const struct shmfs_view *view, enum shmfs_space space,
		     const struct shmfs_caller *caller, shmfs_list_fn *fn, struct lister *lister)
{
	return view->ops->list(view, space, 0, caller, fn, lister);
}

int shmfs_tree_list(const struct shmfs_tree *tree, enum shmfs_dir dir,
		    const struct shmfs_caller *caller, struct shmfs_listing *listing)
{
	struct lister lister = { .tree = tree, .dir = dir, .listing = listing };
	int err = 0;

	listing->count = 0;
	listing->names_used = 0;
	if (dir == SHMFS_DIR_ROOT)
		err = list_view(&tree->sysv, SHMFS_SPACE_KEY, caller, list_number, &lister);
	else if (dir == SHMFS_DIR_BY_ID)
		err = list_view(&tree->sysv, SHMFS_SPACE_SHMID, caller, list_number, &lister);
	if (!err && dir != SHMFS_DIR_BY_ID)
		err = list_view(&tree->posix, SHMFS_SPACE_POSIX, caller, list_text, &lister);
	if (err)
		listing->count = 0;
	return err;
}

void shmfs_listing_clear(struct shmfs_listing *listing)
{
	free(listing->entries);
	free(listing->names);
	*listing = (struct shmfs_listing){ 0 };
}
