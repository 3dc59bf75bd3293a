/* SPDX-License-Identifier: MIT */
/* What the files that make and read snapshots of /proc share. */
#pragma once

#include <stdatomic.h>

#include "shmfs/cleanup.h"
#include "shmfs/users.h"

/* Huge pages have sizes from 64 KiB to 16 GiB, and a filesystem for each. */
#define HUGE_SHIFT_MIN 16
#define HUGE_SHIFT_MAX 34
#define SEGMENT_DEVICES (2 + HUGE_SHIFT_MAX - HUGE_SHIFT_MIN)

/* Bounds of one snapshot.  A process that does not fit is not in it. */
#define USES_MAX ((size_t)1 << 19)
#define PROCESSES_MAX ((size_t)1 << 16)
#define NAMES_MAX ((size_t)8 << 20)

#define USERS_MOUNTS 16
#define USERS_SELF 16

/* What a pass over /proc looks for, and where. */
struct users_scope {
	const char *proc_dir; /* borrowed */
	dev_t objects;
	dev_t mount;		    /* ours; 0: not known yet */
	dev_t mounts[USERS_MOUNTS]; /* of shmfs that show the same memory, ours included */
	size_t nmounts;
	dev_t segments[SEGMENT_DEVICES];
	size_t nsegments;
	struct dirent **processes; /* owned; sorted by number */
	size_t nprocesses;
	char self[USERS_SELF]; /* the daemon, which is left out */
};

/* The snapshot while it is made, in memory that the child and the daemon share. */
struct users_sheet {
	atomic_size_t at;  /* index in scope->processes of the one that is being read */
	atomic_uint ticks; /* moves as long as the reading goes on */
	int error;	   /* what users_scan() returned */
	/* Of the processes before `at`. */
	size_t nuses;
	size_t nprocesses;
	size_t names_used;
	struct shmfs_use uses[USES_MAX];
	struct shmfs_process processes[PROCESSES_MAX];
	char names[NAMES_MAX];
};

/* Set scope->mounts by scope->mount. */
void users_find_mounts(struct users_scope *);

/*
 * Read the processes from sheet->at on.  Allocates nothing, because it runs in the child of a
 * process with threads.  Returns 0, -EMFILE, -ENFILE, -ENOMEM, or the error of opening `proc_dir`.
 * Other errors of one process leave that process out.
 */
int users_scan(const struct users_scope *, struct users_sheet *);

/* Get the number of this process in that procfs; getpid(2) can differ.  0 or a negative errno. */
int users_find_self(const char *proc_dir, char self[static USERS_SELF]);

/* The order of the uses of a snapshot. */
static inline int users_compare_files(const struct shmfs_file_id *a, const struct shmfs_file_id *b)
{
	if (a->dev != b->dev)
		return a->dev > b->dev ? 1 : -1;
	return (a->ino > b->ino) - (a->ino < b->ino);
}
