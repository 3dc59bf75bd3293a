/* SPDX-License-Identifier: MIT */
#include "shmfs/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#define FILES_MAX 2

struct row {
	const char *name; /* in the parent; NULL: a number, of `numbers` */
	/* Reads the name of a file; NULL: there are directories alone. */
	int (*parse)(const char *text, struct shmfs_name *);
	/* What is listed, and the view that has the names of each space; the rest is zeroed. */
	struct {
		enum shmfs_space space;
		enum shmfs_view_index view;
	} files[FILES_MAX];
	enum shmfs_row parent;
	bool listed; /* in the parent */
};

static const struct row rows[SHMFS_ROWS] = {
	[SHMFS_ROW_ROOT] = {
		.name = "",
		.parse = shmfs_name_parse_root,
		.files = { { SHMFS_SPACE_KEY, SHMFS_VIEW_SYSV },
			   { SHMFS_SPACE_POSIX, SHMFS_VIEW_POSIX } },
	},
	[SHMFS_ROW_BY_ID] = {
		.name = ".by-id",
		.parse = shmfs_name_parse_shmid,
		.files = { { SHMFS_SPACE_SHMID, SHMFS_VIEW_BY_ID } },
	},
	[SHMFS_ROW_BY_NAME] = {
		.name = ".by-name",
		.parse = shmfs_name_parse_posix,
		.files = { { SHMFS_SPACE_POSIX, SHMFS_VIEW_POSIX } },
	},
	[SHMFS_ROW_TEXT] = {
		.name = ".text",
		.parse = shmfs_name_parse_root,
		.files = { { SHMFS_SPACE_KEY, SHMFS_VIEW_SYSV_TEXT },
			   { SHMFS_SPACE_POSIX, SHMFS_VIEW_POSIX_TEXT } },
	},
	[SHMFS_ROW_ORPHANS] = { .name = ".orphans" },
	[SHMFS_ROW_ORPHANS_SYSV] = {
		.parent = SHMFS_ROW_ORPHANS,
		.name = "sysv",
		.listed = true,
		.parse = shmfs_name_parse_shmid,
		.files = { { SHMFS_SPACE_SHMID, SHMFS_VIEW_SYSV_ORPHANS } },
	},
	[SHMFS_ROW_ORPHANS_POSIX] = {
		.parent = SHMFS_ROW_ORPHANS,
		.name = "posix",
		.listed = true,
		.parse = shmfs_name_parse_posix,
		.files = { { SHMFS_SPACE_POSIX, SHMFS_VIEW_POSIX_ORPHANS } },
	},
	[SHMFS_ROW_BY_PID] = { .name = ".by-pid" },
	[SHMFS_ROW_PROCESS] = { .parent = SHMFS_ROW_BY_PID, .listed = true },
	/* Texts: "65538 (deleted)" is a name as well. */
	[SHMFS_ROW_PROCESS_SYSV] = {
		.parent = SHMFS_ROW_PROCESS,
		.name = "sysv",
		.listed = true,
		.parse = shmfs_name_parse_posix,
		.files = { { SHMFS_SPACE_POSIX, SHMFS_VIEW_SYSV_BY_PID } },
	},
	[SHMFS_ROW_PROCESS_POSIX] = {
		.parent = SHMFS_ROW_PROCESS,
		.name = "posix",
		.listed = true,
		.parse = shmfs_name_parse_posix,
		.files = { { SHMFS_SPACE_POSIX, SHMFS_VIEW_POSIX_BY_PID } },
	},
};

static const struct row *row_at(shmfs_dir dir)
{
	return &rows[SHMFS_ROW_OF(dir)];
}

static uint32_t number_of(shmfs_dir dir)
{
	return dir >> 6;
}

/* --- names --- */

/* Is the row one of directories in `dir`? */
static bool is_in(unsigned row, shmfs_dir dir)
{
	return row != SHMFS_ROW_ROOT && rows[row].parent == SHMFS_ROW_OF(dir);
}

static bool is_named(unsigned row, shmfs_dir dir, const char *text)
{
	return is_in(row, dir) && rows[row].name && strcmp(text, rows[row].name) == 0;
}

int shmfs_tree_subdir(const struct shmfs_tree *tree, shmfs_dir dir, const char *text,
		      const struct shmfs_caller *caller, shmfs_dir *out)
{
	for (unsigned row = 0; row < SHMFS_ROWS; row++) {
		struct shmfs_name number = { .number = number_of(dir) };
		int err = 0;

		if (is_in(row, dir) && !rows[row].name &&
		    shmfs_name_parse_shmid(text, &number) == 0)
			err = tree->numbers.find(tree->numbers.context, number.number, caller);
		else if (!is_named(row, dir, text))
			continue;
		if (!err)
			*out = SHMFS_DIR(row, number.number);
		return err;
	}
	return -ENOENT;
}

shmfs_dir shmfs_tree_parent(shmfs_dir dir)
{
	const struct row *row = row_at(dir);

	return SHMFS_DIR(row->parent, row->name ? number_of(dir) : 0);
}

int shmfs_tree_resolve(const struct shmfs_tree *tree, shmfs_dir dir, const char *text,
		       const struct shmfs_view **view, struct shmfs_name *name)
{
	const struct row *row = row_at(dir);
	int err = row->parse ? row->parse(text, name) : -ENOENT;
	unsigned i = 0; /* the parser gives the spaces of its row alone */

	if (err)
		return err;
	name->dir = number_of(dir);
	while (row->files[i].space != name->space)
		i++;
	*view = shmfs_tree_view(tree, dir, i);
	return 0;
}

const struct shmfs_view *shmfs_tree_view(const struct shmfs_tree *tree, shmfs_dir dir, unsigned i)
{
	enum shmfs_view_index view = i < FILES_MAX ? row_at(dir)->files[i].view : SHMFS_VIEW_NONE;

	return view ? &tree->views[view] : NULL;
}

/* --- attributes --- */

int shmfs_tree_getattr(const struct shmfs_tree *tree, shmfs_dir dir, struct stat *st)
{
	const struct shmfs_view *view;
	struct stat names = { 0 };

	for (unsigned i = 0; (view = shmfs_tree_view(tree, SHMFS_DIR_ROOT, i)); i++) {
		if (view->backend->names_dir >= 0 && fstat(view->backend->names_dir, &names) != 0)
			return -errno;
	}
	*st = (struct stat){
		.st_ino = dir,
		/* Not sticky: fs.protected_regular would refuse `>` onto others' segments. */
		.st_mode = S_IFDIR | 0777,
		.st_nlink = 2,
		.st_uid = tree->uid,
		.st_gid = tree->gid,
		/* inotify(7) does not tell reading the directory from reading a file in it. */
		.st_atim = names.st_mtim,
		.st_mtim = names.st_mtim,
		.st_ctim = names.st_ctim,
	};
	return 0;
}

int shmfs_tree_watch(const struct shmfs_tree *tree, int inotify)
{
	const uint32_t events =
		IN_CREATE | IN_DELETE | IN_MOVE | IN_ATTRIB | IN_ONLYDIR | IN_ONESHOT;
	const struct shmfs_view *view;
	char path[32];

	for (unsigned i = 0; (view = shmfs_tree_view(tree, SHMFS_DIR_ROOT, i)); i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", view->backend->names_dir);
		if (view->backend->names_dir >= 0 && inotify_add_watch(inotify, path, events) < 0)
			return -errno;
	}
	return 0;
}

int shmfs_tree_statfs(const struct shmfs_tree *tree, struct statvfs *st)
{
	const struct shmfs_view *view;
	struct statvfs now = { 0 };
	int err = 0;

	for (unsigned i = 0; !err && (view = shmfs_tree_view(tree, SHMFS_DIR_ROOT, i)); i++)
		err = view->ops->statfs(view->backend, &now);
	if (!err)
		*st = now;
	return err;
}

/* --- listings --- */

struct lister {
	const struct shmfs_tree *tree;
	shmfs_dir dir;
	struct shmfs_listing *listing;
	unsigned row;		       /* of the directories that are being listed */
	const struct shmfs_view *view; /* of the files that are being listed */
};

/* Make room for `extra` more elements of `size` bytes. */
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

static int add_entry(struct shmfs_listing *list, const char *name, ino_t ino, bool is_dir)
{
	size_t len = strlen(name) + 1;

	if (reserve((void **)&list->entries, &list->capacity, list->count, 1,
		    sizeof(*list->entries)) ||
	    reserve((void **)&list->names, &list->names_capacity, list->names_used, len, 1))
		return -ENOMEM;
	list->entries[list->count++] = (struct shmfs_entry){
		.ino = ino,
		.name = list->names_used,
		.is_dir = is_dir,
	};
	memcpy(list->names + list->names_used, name, len);
	list->names_used += len;
	return 0;
}

/* Does the name mean something else in this directory than a file of that space? */
static bool is_shadowed(shmfs_dir dir, const char *text, enum shmfs_space space)
{
	struct shmfs_name read;

	for (unsigned row = 0; row < SHMFS_ROWS; row++) {
		if (is_named(row, dir, text))
			return true;
	}
	return row_at(dir)->parse(text, &read) != 0 || read.space != space;
}

static int list_file(const struct shmfs_name *name, uint64_t identity, void *arg)
{
	struct lister *lister = arg;
	char text[NAME_MAX + 1];

	shmfs_name_format(name, lister->tree->keys, text);
	if (is_shadowed(lister->dir, text, name->space))
		return 0;
	return add_entry(lister->listing, text,
			 shmfs_identity_ino(lister->view->backend, identity, lister->view->variant),
			 false);
}

static int list_number(uint32_t number, void *arg)
{
	struct lister *lister = arg;
	char text[SHMFS_NUMBER_MAX];

	snprintf(text, sizeof(text), "%u", number);
	return add_entry(lister->listing, text, SHMFS_DIR(lister->row, number), true);
}

/* List the directories in lister->dir. */
static int list_subdirs(struct lister *lister, const struct shmfs_caller *caller)
{
	const struct shmfs_numbers *numbers = &lister->tree->numbers;
	int err = 0;

	for (unsigned row = 0; row < SHMFS_ROWS && !err; row++) {
		if (!is_in(row, lister->dir) || !rows[row].listed)
			continue;
		lister->row = row;
		if (rows[row].name)
			err = add_entry(lister->listing, rows[row].name,
					SHMFS_DIR(row, number_of(lister->dir)), true);
		else
			err = numbers->list(numbers->context, caller, list_number, lister);
	}
	return err;
}

int shmfs_tree_list(const struct shmfs_tree *tree, shmfs_dir dir, const struct shmfs_caller *caller,
		    struct shmfs_listing *listing)
{
	struct lister lister = { .tree = tree, .dir = dir, .listing = listing };
	const struct shmfs_view *view;
	int err;

	listing->count = 0;
	listing->names_used = 0;
	err = list_subdirs(&lister, caller);
	for (unsigned i = 0; !err && (view = shmfs_tree_view(tree, dir, i)); i++) {
		lister.view = view;
		err = view->ops->list(view, row_at(dir)->files[i].space, number_of(dir), caller,
				      list_file, &lister);
	}
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
