/* SPDX-License-Identifier: MIT */
/*
 * The objects of a backend that are in use, by identity.
 *
 * The fuse layer counts a reference to an object for each file that the kernel knows.  The object
 * goes with the last reference.  All views share it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct shmfs_backend;
struct shmfs_object;

enum shmfs_object_key { SHMFS_BY_IDENTITY, SHMFS_BY_NUMBER, SHMFS_OBJECT_KEYS };

struct shmfs_object_table {
	pthread_mutex_t lock; /* guards all below, and the fields of objects that name it */
	struct shmfs_object *(*buckets)[SHMFS_OBJECT_KEYS]; /* owned */
	size_t count;					    /* objects that are found by both */
	uint32_t last_spare; /* the last number that was no identity's own */
	uint64_t made;	     /* objects, ever */
};

/* Returns 0 or -ENOMEM. */
int shmfs_object_table_init(struct shmfs_object_table *);
/* Call it when no object is in use. */
void shmfs_object_table_destroy(struct shmfs_object_table *);

/* Makes an object with its common part zeroed.  NULL: no memory. */
typedef struct shmfs_object *shmfs_object_make_fn(struct shmfs_backend *, uint64_t identity);

/* Find or make the object of an identity, and count a reference.  Returns 0 or -ENOMEM. */
int shmfs_object_get(struct shmfs_backend *, uint64_t identity, shmfs_object_make_fn *make,
		     struct shmfs_object **out);
/* Find the object of an identity, and count a reference.  NULL: none is in use. */
struct shmfs_object *shmfs_object_find(struct shmfs_backend *, uint64_t identity);
/* Count one reference more, or one less. */
void shmfs_object_ref(struct shmfs_object *);
void shmfs_object_put(struct shmfs_object *);

/*
 * Inode numbers have 32 bits, the most that 32-bit programs can read (stat(2), EOVERFLOW):
 *
 *   bits 29 to 31   the backend's `number`; 0: directories
 *   bit 28          the view's `variant`: a text is another file than its memory
 *   bits 0 to 27    the object's `number`
 *
 * An object's number is the low 27 bits of its first identity, and never changes.  Segments that
 * exist at one time differ in these bits: a shmid has the index in its low 15 or 24 bits
 * (ipc/util.h, ipcmni_extend).  Two files of a tmpfs can have the same if 2^27 were made between
 * them.  The later one then gets a number from 2^27 on while it is in use.
 */
#define SHMFS_INO_VARIANT ((ino_t)1 << 28)
enum { SHMFS_SYSV_NUMBER = 1, SHMFS_POSIX_NUMBER };

/* st_ino of an object in the views of a variant. */
ino_t shmfs_object_ino(const struct shmfs_object *, unsigned variant);
/* st_ino of the object of an identity, in use or not. */
ino_t shmfs_identity_ino(struct shmfs_backend *, uint64_t identity, unsigned variant);

/* The kernel has removed the object: its identity may become another's. */
void shmfs_object_retire(struct shmfs_object *);
/* The number of objects made until now, for shmfs_object_retire_older(). */
uint64_t shmfs_object_moment(struct shmfs_backend *);
/* Retire the object of an identity if it was made before the moment. */
void shmfs_object_retire_older(struct shmfs_backend *, uint64_t identity, uint64_t moment);
/*
 * Give the object another identity.  With `replace`, an object that has the identity is retired.
 * Without, returns false if there is one, or this one is retired.
 */
bool shmfs_object_rekey(struct shmfs_object *, uint64_t identity, bool replace);
