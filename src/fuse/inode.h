/* SPDX-License-Identifier: MIT */
/*
 * Inodes: the files that the kernel knows, each an object by one view, counted by lookups.  An
 * inode's address is the node id that the kernel is given.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "shmfs/backend.h"

struct shmfs_file;
struct shmfs_fs;

/* A thread that had the file open until a moment ago. */
struct shmfs_closer {
	pid_t thread;
	uint64_t at; /* CLOCK_MONOTONIC, ns */
};
#define SHMFS_CLOSERS 4

struct shmfs_inode {
	/* Guarded by shmfs_fs.lock. */
	struct shmfs_inode *next; /* in the table */
	struct shmfs_inode **link;
	struct shmfs_inode *sibling; /* of the same object, by another view */
	uint64_t nlookup;	     /* lookups that were not forgotten */
	bool superseded;	     /* lookups lead to another one of the same object and view */
	struct shmfs_file *files;    /* owned; the open ones */
	struct shmfs_closer closers[SHMFS_CLOSERS]; /* the last */
	unsigned nclosed;

	const struct shmfs_view *view; /* borrowed */
	struct shmfs_object *object;   /* a reference */
	atomic_uint nopen;	       /* open files */

	/* What the kernel serves its open files from: one descriptor an inode. */
	pthread_mutex_t backing_lock; /* guards all below; held for one ioctl(2) */
	int backing_id;		      /* the kernel's number for it, 0: none */
	unsigned backing_users;	      /* files bound to that */
	unsigned nunbound_writers;    /* files open for writing that are not bound */
	uint64_t daemon_open_at;      /* last open that was not bound; CLOCK_MONOTONIC, ns */
};

/* Guarded by shmfs_fs.lock, as are `inodes` of objects. */
struct shmfs_inode_table {
	struct shmfs_inode *inodes; /* owned */
	size_t count;
	size_t nfreed; /* since memory was given back to the system */
};

/*
 * Find or make the inode of an object by a view, and count one lookup more.  Takes over the
 * caller's reference to the object.  Returns 0 and *out, or -ENOMEM.
 */
int shmfs_inode_get(struct shmfs_fs *, const struct shmfs_view *, struct shmfs_object *,
		    struct shmfs_inode **out);

/* Let lookups find another inode of the object. */
void shmfs_inode_supersede(struct shmfs_fs *, struct shmfs_inode *);

/* Take `nlookup` lookups back; with the last of them the inode goes. */
void shmfs_inode_forget(struct shmfs_fs *, struct shmfs_inode *, uint64_t nlookup);

/* Its st_ino. */
static inline ino_t ino_of(const struct shmfs_inode *inode)
{
	return shmfs_object_ino(inode->object, inode->view->variant);
}

static inline const struct shmfs_backend_ops *ops_of(const struct shmfs_inode *inode)
{
	return inode->view->ops;
}
