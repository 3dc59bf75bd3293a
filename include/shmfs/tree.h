/* SPDX-License-Identifier: MIT */
/*
 * The tree: directories over the backends, one table of rows (tree.c).
 *
 *   root       keys, and the POSIX names that do not read as keys
 *   .by-id     every segment by its shmid
 *   .by-name   every POSIX object by its name
 *   .text      the names of the root as texts
 *   .orphans/sysv, .orphans/posix
 *              what nobody uses, by shmid and by name
 *   .by-pid/PID/sysv, .by-pid/PID/posix
 *              what a process uses, by shmid and by name
 *
 * Those with a dot are found by path and not listed.  A row says where its
 * directory is, whether it is listed there, how the name of a file in it is
 * read, and which view shows the names of each space.  Directories can be in
 * directories, and one row can stand for many that have a number for a name,
 * such as one for each process.  Nothing is made or counted for a directory:
 * row and number say all of it.
 */
#ifndef SHMFS_TREE_H
#define SHMFS_TREE_H

#include <stddef.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "shmfs/backend.h"

/* The views that rows show; struct shmfs_tree has them. */
enum shmfs_view_index {
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
 * A directory: its row, and its number where the row has many, else 0.  Odd, so
 * that no address is one, and below 2^28 for numbers below 2^22 (the most that
 * a PID can be, PID_MAX_LIMIT).  It is the directory's st_ino.
 */
typedef uint32_t shmfs_dir;
#define SHMFS_DIR(row, number) ((shmfs_dir)(number) << 6 | (shmfs_dir)(row) << 1 | 1)
#define SHMFS_ROW_OF(dir) ((enum shmfs_row)((dir) >> 1 & 31))
#define SHMFS_DIR_ROOT SHMFS_DIR(SHMFS_ROW_ROOT, 0)
#define SHMFS_DIR_BY_ID SHMFS_DIR(SHMFS_ROW_BY_ID, 0)
#define SHMFS_DIR_BY_NAME SHMFS_DIR(SHMFS_ROW_BY_NAME, 0)
#define SHMFS_DIR_TEXT SHMFS_DIR(SHMFS_ROW_TEXT, 0)

/* Which directories there are in a row that has many. */
struct shmfs_numbers {
	/* 0, or -ENOENT, or another error */
	int (*find)(void *context, uint32_t number, const struct shmfs_caller *);
	/* Call `fn` for each; stops with what it returns. */
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
 * The directory of that name in another, with the number of that if it has none
 * of its own.  Returns 0 and *out, or -ENOENT.
 */
int shmfs_tree_subdir(const struct shmfs_tree *, shmfs_dir dir, const char *text,
		      const struct shmfs_caller *, shmfs_dir *out);
/* The directory above; the root is above itself. */
shmfs_dir shmfs_tree_parent(shmfs_dir);

/*
 * Which view has the name `text` of directory `dir`, and as what?  Fills *view
 * and *name and returns 0, or an error of the parsers in name.h; -ENOENT where
 * no file can have that name.
 */
int shmfs_tree_resolve(const struct shmfs_tree *, shmfs_dir dir, const char *text,
		       const struct shmfs_view **view, struct shmfs_name *name);
/* The views of a directory, by 0, 1 ...; NULL: there are no more. */
const struct shmfs_view *shmfs_tree_view(const struct shmfs_tree *, shmfs_dir dir, unsigned i);

/* Attributes of a directory.  Returns 0 or a negative errno. */
int shmfs_tree_getattr(const struct shmfs_tree *, shmfs_dir dir, struct stat *);

/* df(1): each backend of the root tells what it knows.  Returns 0 or a negative errno. */
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
	size_t name;   /* offset in `names` */
	uint32_t hash; /* for whoever sorts the entries */
	bool is_dir;
};

/*
 * Read a directory into *listing, which is zeroed or was filled before.
 * Costs one pass over the kernel's table and /dev/shm.  Returns 0 or a
 * negative errno, with the listing empty.
 */
int shmfs_tree_list(const struct shmfs_tree *, shmfs_dir dir, const struct shmfs_caller *,
		    struct shmfs_listing *listing);
void shmfs_listing_clear(struct shmfs_listing *);

#endif
