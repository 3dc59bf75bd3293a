/* SPDX-License-Identifier: MIT */
/*
 * Names: which object a file name means.
 *
 * A directory entry is either a System V key in one of its spellings, the
 * shmid of a segment, or the name of a POSIX object.  This module decides
 * field, from the text alone: pure functions, no system calls.
 */
#ifndef SHMFS_NAME_H
#define SHMFS_NAME_H

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

/* A name, decoded.  `text` is borrowed from the caller of the parser. */
struct shmfs_name {
	enum shmfs_space space;
	uint32_t number;  /* the key or the shmid; 0 in SHMFS_SPACE_POSIX */
	uint32_t dir;	  /* number of the directory that it is in, such as a PID; mostly 0 */
	bool deleted;	  /* in a listing: a segment that is marked for destruction */
	const char *text; /* the name as it was spelled */
};

/* How the listing spells keys (`-o keys=`). */
enum shmfs_key_format {
	SHMFS_KEYS_DEC, /* 3148 */
	SHMFS_KEYS_HEX, /* 0x00000c4c, as ipcs(1) prints it */
};

/* Room for a number of a name, with its NUL: both spellings of the largest key. */
#define SHMFS_NUMBER_MAX sizeof("4294967295")

/*
 * Decode a name of the root directory.
 *
 * A key is a decimal 1..4294967295 without leading zeros, a negative decimal
 * down to -2147483648 without leading zeros, or "0x" and 1 to 8 hex digits of
 * either case; key_t is a signed 32-bit number that ipcs(1) prints unsigned,
 * so -1 and 4294967295 are one key.  Every other name is a POSIX one.
 *
 * Where more than one error applies, the first of -ENOENT, -ENAMETOOLONG,
 * -EPERM, -EINVAL is given.  The directories .by-id and .by-name are no names
 * of objects: the caller looks for them first.
 *
 * Returns 0 and fills *out, or
 *   -EINVAL        the name spells key 0, which is IPC_PRIVATE and no key
 *                  ("0", "0x0" .. "0x00000000"; "-0" and "00" are POSIX names)
 *   -EPERM         no shared-memory object can have it: "sem.*" are the
 *                  files of sem_open(3)
 *   -ENAMETOOLONG  longer than NAME_MAX
 *   -ENOENT        empty, ".", "..", or with a '/' in it
 */
int shmfs_name_parse_root(const char *text, struct shmfs_name *out);

/*
 * Decode a name under .by-name, where every text is a POSIX name, also one
 * that reads as a key.  Errors as above, but for -EINVAL.
 */
int shmfs_name_parse_posix(const char *text, struct shmfs_name *out);

/*
 * Decode a name under .by-id: a shmid, decimal 0..2147483647 without leading
 * zeros.  Returns 0, or -ENOENT for everything else.
 */
int shmfs_name_parse_shmid(const char *text, struct shmfs_name *out);

/* Write the listing's spelling of a name. */
void shmfs_name_format(const struct shmfs_name *, enum shmfs_key_format, char buf[NAME_MAX + 1]);

#endif
