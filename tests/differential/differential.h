/* SPDX-License-Identifier: MIT */
/*
 * The same random program on two directories, compared call by call.
 *
 * The one directory is on tmpfs, the other is the mount.  Several processes take
 * turns; each has its own open files on both sides.  A step is one system call.
 * Its outcome has to be the same on both sides: the value, the error, the bytes
 * that were read, the attributes that were seen.
 *
 *   differential.c  chooses the steps, hands them out, prints what went before a difference
 *   step.c          carries out a step on one side
 *   keys.c          what DESIGN says of segments and tmpfs does not know: sizes
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WORKERS 4
#define SLOTS 4 /* open files of each */
#define NAMES 4
#define LONGEST 70000

enum kind {
	OPEN,
	REOPEN, /* /proc/self/fd/N */
	CLOSE,
	READ,
	PREAD,
	WRITE,
	PWRITE,
	SEEK,
	TRUNCATE,
	FTRUNCATE,
	FALLOCATE,
	RENAME,
	UNLINK,
	STAT,
	FSTAT,
	SAME_INODE, /* does the name lead to the open file? */
	CHMOD,
	FCHMOD,
	CHOWN,
	SETXATTR,
	GETXATTR,
	UTIMENS,
	FUTIMENS,
	COPY_RANGE,
	LOCK,
	LIST,
	KINDS
};

struct step {
	enum kind kind;
	unsigned worker;
	unsigned slot;
	unsigned other; /* another slot */
	unsigned name;
	unsigned to; /* another name */
	int flags;   /* of the call */
	mode_t mode;
	off_t off;
	size_t len;
	unsigned char fill; /* the bytes that are written */
};
/* Times that a step sets are before this; what the kernel sets is after it. */
#define UNSET_TIME 1000000
/* Where copy_file_range(2) writes. */
#define COPY_TO(step) ((off_t)(step)->fill * 64)

/* What a step did, in numbers; `ret` is a negative errno where it failed. */
#define DETAILS 7
struct outcome {
	int64_t ret;
	int64_t detail[DETAILS];
};

/* One of the two directories, as one process sees it. */
struct side {
	const char *dir; /* borrowed */
	int fd[SLOTS];	 /* owned; -1: not open */
};

void side_init(struct side *, const char *dir);
struct outcome step_run(struct side *, const struct step *, const char *const names[NAMES]);
void step_print(const struct step *, const char *const names[NAMES]);

/* --- keys.c; all of it in memory that the processes share --- */

struct keys;

/* How the daemon gets at segments. */
enum engine {
	PASSTHROUGH, /* the kernel serves readers, and a key that is bound does not grow */
	DESCRIPTORS, /* the daemon serves all */
	ATTACHED,    /* the same, as an ordinary user's daemon */
};

struct keys *keys_new(enum engine, bool tmpfs_has_xattrs);
/* Whether the filesystem of a directory has attributes of users. */
bool has_xattrs(const char *directory);
/* Is the outcome of the step one that the two sides can agree on? */
bool keys_allow(struct keys *, const struct side *tmpfs, const struct step *,
		const char *const names[NAMES]);
/* Carry out on tmpfs what the step does to a segment. */
struct outcome keys_run(struct keys *, struct side *tmpfs, const struct step *,
			const char *const names[NAMES]);
