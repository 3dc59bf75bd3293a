/* SPDX-License-Identifier: MIT */
/*
 * Tables of the extended attributes that shmfs itself has: names, and functions that write the
 * values.  They are in sysv/xattr.c, posix/xattr.c, and fuse/xattr.c for the root directory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "shmfs/caller.h"

#define SHMFS_XATTR_OBJECT "user.shm."
#define SHMFS_XATTR_ROOT "user.shmfs."

/* The end of a table is a row without a name. */
struct shmfs_xattr {
	const char *name; /* whole, with its namespace */
	/*
	 * Write the value to `out`, at most XATTR_SIZE_MAX bytes.  A newline at its end is removed.
	 * It may take its time: listing does not call it.  Returns 0 or a negative errno; -ENODATA:
	 * there is no value now.
	 */
	int (*get)(void *context, int field, FILE *out, const struct shmfs_caller *);
	/* NULL: read-only */
	int (*set)(void *context, int field, const char *value, size_t size,
		   const struct shmfs_caller *);
	int field; /* tells rows apart that share a function */
	/*
	 * The length to report for a value that changes by itself, as programs ask for the length
	 * and then for the value.  0: its length now.
	 */
	size_t room;
};

/* Room for a number or a few words. */
#define SHMFS_XATTR_ROOM 64

/* Is the name in a namespace that is shmfs's alone? */
bool shmfs_xattr_is_own(const char *name);

/* The row of a name, or NULL.  `table` NULL: an empty one. */
const struct shmfs_xattr *shmfs_xattr_find(const struct shmfs_xattr *table, const char *name);

/* Copy a value as getxattr(2) does.  Returns its length; -ERANGE if `size` is less but not 0. */
ssize_t shmfs_xattr_give(const void *bytes, size_t len, void *value, size_t size);

/* Copy the value of a row likewise.  Also -ENOMEM, -E2BIG, or an error of get(). */
ssize_t shmfs_xattr_get(const struct shmfs_xattr *row, void *context, void *value, size_t size,
			const struct shmfs_caller *);

/*
 * setxattr(2) of a name of our own.  `row` is NULL for an unknown one: none can be made.  -EPERM:
 * read-only or unknown.  -ENODATA: unknown, and to be replaced.
 */
int shmfs_xattr_set(const struct shmfs_xattr *row, void *context, const char *value, size_t size,
		    int flags, const struct shmfs_caller *);

/* The result of listxattr(2) while it is written. */
struct shmfs_xattr_list {
	char *names; /* borrowed; `size` bytes */
	size_t size; /* 0: only count */
	size_t len;  /* bytes of all names until now, with their NULs */
};

void shmfs_xattr_list_name(struct shmfs_xattr_list *, const char *name);
void shmfs_xattr_list_table(struct shmfs_xattr_list *, const struct shmfs_xattr *table);
/* Add the names in [names, names + len) that are not in our namespaces. */
void shmfs_xattr_list_others(struct shmfs_xattr_list *, const char *names, size_t len);
/* Returns the length of the list, or -ERANGE if it does not fit into `size`. */
ssize_t shmfs_xattr_list_end(const struct shmfs_xattr_list *);

/* Parse "0" or "1", with or without a newline.  Returns 0 and *on, or -EINVAL. */
int shmfs_xattr_parse_switch(const char *value, size_t size, bool *on);
