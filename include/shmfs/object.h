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
#include <sys/types.h>

struct shmfs_backend;
struct shmfs_object;

struct shmfs_object_table {
	pthread_mutex_t lock; /* guards all below, and in objects what they say; innermost */
	struct shmfs_object **buckets; /* owned; by identity */
	struct shmfs_object **numbers; /* owned; by number, as many */
	size_t nbuckets;	       /* a power of two */
	size_t count;		       /* of what is in the buckets */
	size_t nretired;	       /* in use, but not to be found by identity */
	uint32_t last_spare;	       /* the last number that was no identity's own */
	uint64_t made;		       /* objects, ever */
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

/*
 * Inode numbers.
 *
 * st_ino has 32 bits, for 32-bit programs have no more (stat(2), EOVERFLOW):
 *
 *   bits 29 to 31   the backend's `number`; 0: directories
 *   bit 28          the view's `variant`: a text is another file than its memory
 *   bits 0 to 27    the object's `number`
 *
 * An object's number is the low 27 bits of the identity that it had first, and
 * stays when that changes.  Segments that are there at one time differ in them:
 * a shmid has the index in its low 15 or 24 bits (ipc/util.h, ipcmni_extend).
 * Files of a tmpfs do unless 2^27 have been made between them.  An object in use
 * whose number is taken gets one from 2^27 on.
 */
#define SHMFS_INO_VARIANT ((ino_t)1 << 28)

/* st_ino of an object, by the views of that variant. */
ino_t shmfs_object_ino(const struct shmfs_object *, unsigned variant);
/* The same of an identity, for a listing: whether the object is in use or not. */
ino_t shmfs_identity_ino(struct shmfs_backend *, uint64_t identity, unsigned variant);
/*
 * The object in use that has this st_ino, of whatever variant, and a reference
 * is counted; NULL: there is none in this backend.
 */
struct shmfs_object *shmfs_object_by_ino(struct shmfs_backend *, ino_t);

/* The object is gone, though it may be in use: the next of its identity is another. */
void shmfs_object_retire(struct shmfs_object *);
/* How many objects were made until now: a moment, for the next. */
uint64_t shmfs_object_moment(struct shmfs_backend *);
/* Retire the object of that identity if it was made before the moment: it is another. */
void shmfs_object_retire_older(struct shmfs_backend *, uint64_t identity, uint64_t moment);
/* The object has another identity from here on; whichever had that is retired. */
void shmfs_object_rekey(struct shmfs_object *, uint64_t identity);
/* The same where no object has it.  -EEXIST: one does, or this one is retired. */
int shmfs_object_move(struct shmfs_object *, uint64_t identity);

#endif
