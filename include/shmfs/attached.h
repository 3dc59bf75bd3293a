/* SPDX-License-Identifier: MIT */
/*
 * Who has a segment or an object mapped or open: `user.shm.attached`.
 *
 * The kernel keeps no such list; /proc has it by process, in what each has
 * mapped and open, and the whole of it is gone through when somebody asks.
 */
#ifndef SHMFS_ATTACHED_H
#define SHMFS_ATTACHED_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "shmfs/caller.h"

/* A file by what a mapping and a descriptor show of it. */
struct shmfs_file_id {
	dev_t dev; /* 0: no file */
	ino_t ino;
};

#define SHMFS_ATTACHED_FILES 2

struct shmfs_attached_query {
	const char *proc_dir; /* where procfs is mounted, "/proc"; borrowed */
	struct shmfs_file_id files[SHMFS_ATTACHED_FILES];
	int segment; /* shmid in our IPC namespace; -1: none */
	bool open;   /* who has one of `files` open counts too */
};

/*
 * Write a line "PID COMMAND" to `out` for each process that has the segment or
 * one of the files mapped, or open, in the order of their numbers.  shmfs
 * itself is left out, and so is what the caller may not see in /proc.  Control
 * characters in a command become '?'.  What does not fit into the value of an
 * extended attribute (XATTR_SIZE_MAX) is left out at the end of a line, and a
 * line "..." says so.
 *
 * A shmid means something within an IPC namespace alone, so of processes in
 * another nothing is said: one that attached and then went there is missing.
 *
 * It takes as long as there are processes, so others should be served
 * meanwhile: shmfs_loop_release_lead().
 *
 * Returns 0, -ENOMEM, -EMFILE, -ENFILE, or what opening `proc_dir` or acting
 * as the caller failed with.
 */
int shmfs_attached_write(const struct shmfs_attached_query *, const struct shmfs_caller *,
			 FILE *out);

#endif
