/* SPDX-License-Identifier: MIT */
/* Which object a file name means.  Pure functions of the text, without system calls. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>

/* The name spaces that objects are found in. */
enum shmfs_space {
	SHMFS_SPACE_KEY,   /* System V key, never IPC_PRIVATE */
	SHMFS_SPACE_SHMID, /* System V segment identifier */
	SHMFS_SPACE_POSIX, /* name of a POSIX object, without the slash */
};

/* A decoded name. */
struct shmfs_name {
	enum shmfs_space space;
	uint32_t number;  /* the key or the shmid; 0 in SHMFS_SPACE_POSIX */
	uint32_t dir;	  /* number of its directory (tree.h), such as a PID; mostly 0 */
	bool deleted;	  /* in a listing: a segment that is marked for destruction */
	const char *text; /* borrowed; the name as it was spelled */
};

/* How the listing spells keys (`-o keys=`). */
enum shmfs_key_format {
	SHMFS_KEYS_DEC, /* 3148 */
	SHMFS_KEYS_HEX, /* 0x00000c4c, as ipcs(1) prints it */
};

/* Room for a key in either format, with its NUL. */
#define SHMFS_NUMBER_MAX sizeof("4294967295")

/*
 * Decode the name of a file in the root directory.
 *
 * A key is a decimal 1..4294967295, a negative decimal down to -2147483648, both without leading
 * zeros, or "0x" and 1 to 8 hex digits of either case.  -1 and 4294967295 are one key: key_t is
 * signed, and ipcs(1) prints it unsigned.  Every other name belongs to a POSIX object.
 *
 * Returns 0 and *out, or the first of these that applies:
 *   -ENOENT        empty, ".", "..", or with a '/' in it
 *   -ENAMETOOLONG  longer than NAME_MAX
 *   -EPERM         "sem.*" are the files of sem_open(3)
 *   -EINVAL        key 0, IPC_PRIVATE ("0", "0x0" to "0x00000000"; "-0" and "00" are POSIX names)
 */
int shmfs_name_parse_root(const char *text, struct shmfs_name *out);

/* Decode a POSIX name, which may read as a key.  Errors as above, without -EINVAL. */
int shmfs_name_parse_posix(const char *text, struct shmfs_name *out);

/* Decode a shmid: a decimal 0..2147483647 without leading zeros.  Returns 0 or -ENOENT. */
int shmfs_name_parse_shmid(const char *text, struct shmfs_name *out);

/* Write a name as a listing spells it. */
void shmfs_name_format(const struct shmfs_name *, enum shmfs_key_format, char buf[NAME_MAX + 1]);
