/* SPDX-License-Identifier: MIT */
/* Between attached.c, which goes through all processes, and attached_process.c. */
#ifndef SHMFS_ATTACHED_INTERNAL_H
#define SHMFS_ATTACHED_INTERNAL_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "shmfs/attached.h"

/* Huge pages have sizes from 64 KiB to 16 GiB, and a filesystem for each. */
#define HUGE_SHIFT_MIN 16
#define HUGE_SHIFT_MAX 34
#define SEGMENT_DEVICES (2 + HUGE_SHIFT_MAX - HUGE_SHIFT_MIN)
#define NAMESPACE_SIZE 32

/* What is looked for in each process. */
struct attached_search {
	const struct shmfs_attached_query *query;
	char *buffer;			/* owned; for one file after the other */
	char ipc[NAMESPACE_SIZE];	/* our namespace, as /proc names it */
	dev_t devices[SEGMENT_DEVICES]; /* where the kernel keeps segments */
	size_t ndevices;
};

/*
 * Begin to search, as the process that `self` is the directory of in /proc.
 * Returns 0, -ENOMEM, -EMFILE or -ENFILE.
 */
int attached_search_init(struct attached_search *, const struct shmfs_attached_query *, int self);
void attached_search_clear(struct attached_search *);

/*
 * Has the process with this directory what is looked for?  1, 0, or a negative
 * errno: -ESRCH when it is no process of a user, or none any more.
 */
int attached_search(const struct attached_search *, int process);

/* Does the error say nothing of the process, but of us? */
bool attached_is_shortage(int err);

/* A file of /proc that has `size - 1` bytes at most, as a string; its length. */
ssize_t attached_read(int dir, const char *path, char *text, size_t size);
/* NULL and errno. */
DIR *attached_open_dir(int at, const char *name);

#endif
