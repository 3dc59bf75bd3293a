/* SPDX-License-Identifier: MIT */
/*
 * The tree: directories over the backends.  core/tree.c has a table with a row for each directory,
 * and one row for all directories whose names are numbers, such as those of processes.  A directory
 * is its row and its number: nothing is allocated or counted for it.
 */
#pragma once

#include <stddef.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "shmfs/backend.h"

/* Indexes of struct shmfs_tree.views. */
enum shmfs_view_index {
	SHMFS_VIEW_NONE, /* unused */
	SHMFS_VIEW_SYSV,
	SHMFS_VIEW_BY_ID,
	SHMFS_VIEW_POSIX,
	SHMFS_VIEW_SYSV_TEXT,
	SHMFS_VIEW_POSIX_TEXT,
	SHMFS_VIEW_SYSV_ORPHANS,
	SHMFS_VIEW_POSIX_ORPHANS,
	SHMFS_VIEW_SYSV_BY_PID,
	SHMFS_VIEW_POSIX_BY_PID,
	SHMFS_VIEWS,
};

/* The rows of the table. */
enum shmfs_row {
	SHMFS_ROW_ROOT,
	SHMFS_ROW_BY_ID,
	SHMFS_ROW_BY_NAME,
	SHMFS_ROW_TEXT,
	SHMFS_ROW_ORPHANS,
	SHMFS_ROW_ORPHANS_SYSV,
	SHMFS_ROW_ORPHANS_POSIX,
	SHMFS_ROW_BY_PID,
	SHMFS_ROW_PROCESS,
	SHMFS_ROW_PROCESS_SYSV,
	SHMFS_ROW_PROCESS_POSIX,
	SHMFS_ROWS,
};

/*
 * A directory: its row, and in a row of many its number, else 0.  The value is also the st_ino, and
 * the node id that the kernel is given.  It is odd, as no address is, and below 2^28, because
 * numbers are below PID_MAX_LIMIT, 2^22.
 */
typedef uint32_t shmfs_dir;
#define SHMFS_DIR(row, number) ((shmfs_dir)(number) << 6 | (shmfs_dir)(row) << 1 | 1)
#define SHMFS_ROW_OF(dir) ((enum shmfs_row)((dir) >> 1 & 31))
#define SHMFS_DIR_ROOT SHMFS_DIR(SHMFS_ROW_ROOT, 0)
/* Is it always there?  Those with a number come and go. */
#define SHMFS_DIR_IS_FIXED(dir) ((dir) >> 6 == 0)

/* The directories of a row that has many. */
struct shmfs_numbers {
	/* 0, -ENOENT, or another error */
	int (*find)(void *context, uint32_t number, const struct shmfs_caller *);
	/* Call `fn` for each until it returns another value than 0, which is returned. */
	int (*list)(void *context, const struct shmfs_caller *, int (*fn)(uint32_t number, void *),
		    void *arg);
	void *context; /* borrowed */
};

struct shmfs_tree {
	struct shmfs_view views[SHMFS_VIEWS];
	struct shmfs_numbers numbers;
	enum shmfs_key_format keys;
	uid_t uid; /* owner of the directories */
	gid_t gid;
};

/*
 * Find the directory `text` in `dir`.  It inherits the number of `dir` unless it has its own.
 * Returns 0 and *out, or -ENOENT.
 */
int shmfs_tree_subdir(const struct shmfs_tree *, shmfs_dir dir, const char *text,
		      const struct shmfs_caller *, shmfs_dir *out);
/* The directory above; the root is above itself. */
shmfs_dir shmfs_tree_parent(shmfs_dir);

/*
 * Decode the name `text` of a file in `dir`, and find the view that has it.  Returns 0, *view and
 * *name, an error of the parsers in name.h, or -ENOENT if no file can have that name.
 */
int shmfs_tree_resolve(const struct shmfs_tree *, shmfs_dir dir, const char *text,
		       const struct shmfs_view **view, struct shmfs_name *name);
/* View number `i` of a directory, from 0.  NULL: there are no more. */
const struct shmfs_view *shmfs_tree_view(const struct shmfs_tree *, shmfs_dir dir, unsigned i);

/* Attributes of a directory.  Returns 0 or a negative errno. */
int shmfs_tree_getattr(const struct shmfs_tree *, shmfs_dir dir, struct stat *);

/*
 * Have `inotify`, a descriptor of inotify_init1(2), become readable when the times of the
 * directories change.  Returns 0 or a negative errno.
 */
int shmfs_tree_watch(const struct shmfs_tree *, int inotify);

/* statfs() of each backend of the root.  Returns 0 or a negative errno. */
int shmfs_tree_statfs(const struct shmfs_tree *, struct statvfs *);

/* A directory as it was at one moment. */
struct shmfs_listing {
	struct shmfs_entry *entries; /* owned */
	size_t count;
	size_t capacity;
	char *names; /* owned; the entries' names with their NULs */
	size_t names_used;
	size_t names_capacity;
};

struct shmfs_entry {
	ino_t ino;
	size_t name;   /* offset in `names` */
	uint32_t hash; /* for fuse/dir.c */
	bool is_dir;
};

/*
 * Read a directory into *listing, which is zeroed or was filled before.  Returns 0, or a negative
 * errno with the listing empty.
 */
int shmfs_tree_list(const struct shmfs_tree *, shmfs_dir dir, const struct shmfs_caller *,
		    struct shmfs_listing *listing);
void shmfs_listing_clear(struct shmfs_listing *);
