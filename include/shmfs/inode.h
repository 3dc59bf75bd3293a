/* SPDX-License-Identifier: MIT */
/*
 * Inodes: the objects that the kernel knows, found by identity, counted by
 * lookups.  An inode's address is the node id that the kernel is given.
 */
#ifndef SHMFS_INODE_H
#define SHMFS_INODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "shmfs/backend.h"

struct shmfs_inode {
	struct shmfs_inode *next;    /* in its bucket, or retired; the table's lock */
	uint64_t nlookup;	     /* lookups that were not forgotten; the table's lock */
	bool retired;		     /* not in the table any more; the table's lock */
	struct shmfs_object *object; /* owned */
	atomic_uint nopen;	     /* open handles */
	atomic_uint nunacknowledged; /* those that are not bound and not seen in use yet */

	/* What the kernel serves its open files from: one descriptor an inode. */
	pthread_mutex_t backing_lock; /* protects all below; held for one ioctl(2) */
	int backing_id;		      /* the kernel's number for it, 0: none */
	unsigned backing_users;	      /* handles that are bound to it */
	uint64_t daemon_open_at;      /* last open that was not bound; CLOCK_MONOTONIC, ns */
};

struct shmfs_inode_table {
	pthread_mutex_t lock;	      /* protects the buckets and counts; no system call under it */
	struct shmfs_inode **buckets; /* owned */
	size_t nbuckets;	      /* a power of two */
	struct shmfs_inode *retired;  /* owned; in use, but not to be found */
	size_t count;
};

/* Returns 0 or -ENOMEM. */
int shmfs_inode_table_init(struct shmfs_inode_table *);
/* Forgets every inode: the kernel is gone. */
void shmfs_inode_table_destroy(struct shmfs_inode_table *);

/*
 * Find the inode of an object or make it, and count one lookup more.
 * Returns 0 and *out, or -ENOMEM.
 */
int shmfs_inode_get(struct shmfs_inode_table *, struct shmfs_backend *, uint64_t identity,
		    struct shmfs_inode **out);

/*
 * The object is gone, though its inode may be in use: let the next that has
 * its identity be another.
 */
void shmfs_inode_retire(struct shmfs_inode_table *, struct shmfs_inode *);

/* An object's identity has changed: struct shmfs_backend.identity_changed. */
void shmfs_inode_identity_changed(void *table, struct shmfs_object *, uint64_t identity);

/* Take `nlookup` lookups back; with the last of them the inode goes. */
void shmfs_inode_forget(struct shmfs_inode_table *, struct shmfs_inode *, uint64_t nlookup);

#endif
