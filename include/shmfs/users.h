/* SPDX-License-Identifier: MIT */
/*
 * Which process uses which segment or object, and how.  The kernel has no such list.  One pass over
 * what /proc shows of each process gives a snapshot of all segments and objects.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#include "shmfs/caller.h"
#include "shmfs/object.h"

/* A file, as mappings and descriptors show it. */
struct shmfs_file_id {
	dev_t dev; /* 0: no file */
	ino_t ino;
};

/*
 * Values of `dev`.  Then `ino` is the shmid of a segment of our IPC namespace, or the inode number
 * of a POSIX object.  Of a file in a mount of shmfs that shows the same memory, `ino` is the number
 * of the object behind it (object.h).
 */
#define SHMFS_SEGMENTS ((dev_t)-1)
#define SHMFS_OBJECTS ((dev_t)-2)
#define SHMFS_SEGMENT_FILES ((dev_t)-3)
#define SHMFS_OBJECT_FILES ((dev_t)-4)
#define SHMFS_FILE_NUMBER(ino) ((ino) & (SHMFS_INO_VARIANT - 1))

enum shmfs_use_kind {
	SHMFS_USE_ATTACHED, /* a segment, by shmat(2) */
	SHMFS_USE_MAPPED,
	SHMFS_USE_OPEN,
};

/* What one process does with one file. */
struct shmfs_use {
	struct shmfs_file_id file;
	uint64_t begin, end; /* addresses of the first mapping; `end` 0: descriptor `begin` */
	pid_t pid;
	uint32_t name;	/* see shmfs_use_name() */
	unsigned count; /* mappings or descriptors */
	uint8_t kind;	/* enum shmfs_use_kind */
	bool writable;
};

struct shmfs_process {
	pid_t pid;
	uid_t uid;	  /* effective */
	uint32_t command; /* offset in the names of the snapshot */
};

struct shmfs_users_snapshot {
	const struct shmfs_use *uses; /* sorted by file, pid, kind */
	size_t nuses;
	const struct shmfs_process *processes; /* those with a use; sorted by pid */
	size_t nprocesses;
	const char *names;
	const char *proc_dir;
};

struct shmfs_users;

/*
 * `proc_dir` is where procfs is mounted, "/proc"; it is borrowed.  `objects` is the st_dev of the
 * POSIX objects.  Returns 0 and *out (free with shmfs_users_free()), -ENOMEM, -EMFILE or -ENFILE.
 */
int shmfs_users_new(const char *proc_dir, dev_t objects, struct shmfs_users **out);
void shmfs_users_free(struct shmfs_users *);
/* Set the st_dev of our mount, before requests are served. */
void shmfs_users_set_mount(struct shmfs_users *, dev_t);

/*
 * Get a snapshot, which may be as old as ten times what it took.  It is immutable and shared.
 *
 * Returns 0, -ENOMEM, -EAGAIN (no process can be made), -EMFILE, -ENFILE, or the error of opening
 * `proc_dir`.
 */
int shmfs_users_get(struct shmfs_users *, const struct shmfs_users_snapshot **out);
/* Give a snapshot back.  NULL: there is none. */
void shmfs_users_put(const struct shmfs_users_snapshot *const *);
/* Declares a snapshot that is given back at the end of the block. */
#define SHMFS_USERS_SNAPSHOT \
	__attribute__((cleanup(shmfs_users_put))) const struct shmfs_users_snapshot

/* The uses of one file: the first of *count, or NULL. */
const struct shmfs_use *shmfs_users_of(const struct shmfs_users_snapshot *,
				       const struct shmfs_file_id *, size_t *count);
/* A process that uses any of the files, or NULL. */
const struct shmfs_process *shmfs_users_process(const struct shmfs_users_snapshot *, pid_t);
/* The last part of the path of an object in /proc, or "" if it was not kept. */
static inline const char *shmfs_use_name(const struct shmfs_users_snapshot *snapshot,
					 const struct shmfs_use *use)
{
	return snapshot->names + use->name;
}
#define SHMFS_USE_PATH 128
/* Write a path below /proc that opens the file through the process. */
void shmfs_use_path(const struct shmfs_users_snapshot *, const struct shmfs_use *,
		    char path[static SHMFS_USE_PATH]);
/* May this thread, with its credentials of now, look into the process (PTRACE_MODE_READ)? */
bool shmfs_users_may_see(const struct shmfs_users_snapshot *, pid_t);

/* --- the values of extended attributes --- */

enum shmfs_users_format {
	SHMFS_USERS_ATTACHED, /* "PID COMMAND" */
	SHMFS_USERS_FULL,     /* "PID UID KIND r|rw COUNT COMMAND" */
};

struct shmfs_users_query {
	struct shmfs_file_id files[2];
	bool open; /* list processes that have a file open but not mapped, too */
	enum shmfs_users_format format;
};

/*
 * Write a line to `out` for each process that uses one of the files, in the order of the PIDs.
 * SHMFS_USERS_FULL has a line for each kind of use.  Left out are the daemon itself and processes
 * that the caller may not look into.  Control characters in a command become '?'.  A list over
 * XATTR_SIZE_MAX bytes is cut at the end of a line, and a line "..." follows.
 *
 * Returns 0, or an error of shmfs_users_get() or shmfs_caller_assume().
 */
int shmfs_users_write(struct shmfs_users *, const struct shmfs_users_query *,
		      const struct shmfs_caller *, FILE *out);
