/* SPDX-License-Identifier: MIT */
/*
 * The tree: three directories over the backends.
 *
 *   root       keys, and the POSIX names that do not read as keys
 *   .by-id     every segment by its shmid
 *   .by-name   every POSIX object by its name
 *
 * The latter two are found by path and not listed.
 */
#ifndef SHMFS_TREE_H
#define SHMFS_TREE_H

#include <stddef.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "shmfs/backend.h"

/* The directories, by their inode numbers. */
enum shmfs_dir {
	SHMFS_DIR_ROOT = 1,
	SHMFS_DIR_BY_ID = 2,
	SHMFS_DIR_BY_NAME = 3,
};

struct shmfs_tree {
	struct shmfs_view sysv;
	struct shmfs_view posix;
	enum shmfs_key_format keys;
	uid_t uid; /* owner of the directories */
	gid_t gid;
};

/* Is `text` the name of a directory in `dir`?  Returns it, or 0. */
enum shmfs_dir shmfs_tree_subdir(enum shmfs_dir dir, const char *text);

/*
 * Which view has the name `text` of directory `dir`, and as what?  Fills *view
 * and *name and returns 0, or an error of the parsers in name.h.
 */
int shmfs_tree_resolve(const struct shmfs_tree *, enum shmfs_dir dir, const char *text,
		       const struct shmfs_view **view, struct shmfs_name *name);

/* Attributes of a directory.  Returns 0 or a negative errno. */
int shmfs_tree_getattr(const struct shmfs_tree *, enum shmfs_dir dir, struct stat *);

/* df(1): each backend tells what it knows.  Returns 0 or a negative errno. */
int shmfs_tree_statfs(const struct shmfs_tree *, struct statvfs *);

/* A directory as it was at one moment. */
struct shmfs_listing {
	struct shmfs_entry *entries; /* owned */
	size_t count;
	size_t capacity;
	char *names; /* owned; the entries' names, each with its NUL */
	size_t names_used;
	size_t names_capacity;
};

struct shmfs_entry {
	ino_t ino;
	size_t name; /* offset in `names` */
};

/*
 * Read a directory into *listing, which is zeroed or was filled before.
 * Costs one pass over the kernel's table and /dev/shm.  Returns 0 or a
 * negative errno, with the listing empty.
 */
int shmfs_tree_list(const struct shmfs_tree *, enum shmfs_dir dir, const struct shmfs_caller *,
		    struct shmfs_listing *listing);
void shmfs_listing_clear(struct shmfs_listing *);

#endif
