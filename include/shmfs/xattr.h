/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes that shmfs itself has: tables of names and of functions
 * that write the value.
 *
 * To add one: a function and a row in the table of the subject that it tells
 * of (sysv_xattr.c, posix_xattr.c; fuse_xattr.c for the root directory).  Pure:
 * what a value is made of is the function's affair.
 */
#ifndef SHMFS_XATTR_H
#define SHMFS_XATTR_H

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
	 * Write the value of now to `out`, at most XATTR_SIZE_MAX bytes; a newline
	 * at its end is left out.  Called
	 * when it is asked for by name, never to list, so it may take its time.
	 * Returns 0 or a negative errno; -ENODATA: just now it has none.
	 */
	int (*get)(void *context, int field, FILE *out, const struct shmfs_caller *);
	/* NULL: for reading only */
	int (*set)(void *context, int field, const char *value, size_t size,
		   const struct shmfs_caller *);
	int field; /* tells rows apart that share a function */
	/*
	 * The value changes by itself: what a question for its length is answered,
	 * for programs ask for the value next.  0: the length as it is.
	 */
	size_t room;
};

/* Room for a number or a few words. */
#define SHMFS_XATTR_ROOM 64

/* Is the name in a namespace that is shmfs's alone? */
bool shmfs_xattr_is_own(const char *name);

/* The row of a name, or NULL.  `table` NULL: an empty one. */
const struct shmfs_xattr *shmfs_xattr_find(const struct shmfs_xattr *table, const char *name);

/*
 * Give out a value as getxattr(2) does: its length if `size` is 0, else the
 * bytes and their number, or -ERANGE when they are more than `size`.
 */
ssize_t shmfs_xattr_give(const void *bytes, size_t len, void *value, size_t size);

/* The value of a row, likewise; -ENOMEM, -E2BIG, or what its get() failed with. */
ssize_t shmfs_xattr_get(const struct shmfs_xattr *row, void *context, void *value, size_t size,
			const struct shmfs_caller *);

/*
 * setxattr(2) and removexattr(2) of a name that is our own, `row` being what
 * was found of it.  -EPERM where it is for reading only, is not known (none can
 * be made) or would be removed; -ENODATA to remove or replace what is not there.
 */
int shmfs_xattr_set(const struct shmfs_xattr *row, void *context, const char *value, size_t size,
		    int flags, const struct shmfs_caller *);
int shmfs_xattr_remove(const struct shmfs_xattr *row);

/* A list of names as listxattr(2) gives it, while it is written. */
struct shmfs_xattr_list {
	char *names; /* borrowed: room for `size` bytes */
	size_t size; /* 0: only count */
	size_t len;  /* wanted so far, each name with its NUL */
};

void shmfs_xattr_list_name(struct shmfs_xattr_list *, const char *name);
void shmfs_xattr_list_table(struct shmfs_xattr_list *, const struct shmfs_xattr *table);
/* Each of the names in [names, names + len) that is not in our namespaces. */
void shmfs_xattr_list_others(struct shmfs_xattr_list *, const char *names, size_t len);
/* How long it is, or -ERANGE when there was too little room. */
ssize_t shmfs_xattr_list_end(const struct shmfs_xattr_list *);

/* A value that switches: "0" or "1", with a newline behind it or without. */
int shmfs_xattr_parse_switch(const char *value, size_t size, bool *on);

#endif
