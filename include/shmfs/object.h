/* SPDX-License-Identifier: MIT */
/*
 * Objects by identity: the table in which a backend keeps those that are in use.
 *
 * An object is in use as long as somebody counts a reference to it: the FUSE
 * layer for each file that the kernel knows, a view for the object behind its
 * own.  The last reference frees it.  All views of one object share one record.
 */
#ifndef SHMFS_OBJECT_H
#define SHMFS_OBJECT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shmfs_backend;
struct shmfs_object;

struct shmfs_object_table {
	pthread_mutex_t lock; /* guards all below, and in objects what they say; innermost */
	struct shmfs_object **buckets; /* owned */
	size_t nbuckets;	       /* a power of two */
	size_t count;		       /* of what is in the buckets */
	size_t nretired;	       /* in use, but not to be found */
};

/* Returns 0 or -ENOMEM. */
int shmfs_object_table_init(struct shmfs_object_table *);
/* Nothing is in use any more. */
void shmfs_object_table_destroy(struct shmfs_object_table *);

/* Makes a backend's record of an object, zeroed in its common part; NULL: no memory. */
typedef struct shmfs_object *shmfs_object_make_fn(struct shmfs_backend *, uint64_t identity);

/* Find the object of that identity or make it, and count a reference.  0 or -ENOMEM. */
int shmfs_object_get(struct shmfs_backend *, uint64_t identity, shmfs_object_make_fn *make,
		     struct shmfs_object **out);
/* Find it, and count a reference; NULL: it is not in use. */
struct shmfs_object *shmfs_object_find(struct shmfs_backend *, uint64_t identity);
/* One reference more, of an object that is in use. */
void shmfs_object_ref(struct shmfs_object *);
/* One less; with the last of them the object goes. */
void shmfs_object_put(struct shmfs_object *);

/* The object is gone, though it may be in use: the next of its identity is another. */
void shmfs_object_retire(struct shmfs_object *);
/* The object has another identity from here on; whichever had that is retired. */
void shmfs_object_rekey(struct shmfs_object *, uint64_t identity);

#endif
