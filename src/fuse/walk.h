/* SPDX-License-Identifier: MIT */
/*
 * Opens that walk to their file once more.
 *
 * The kernel makes several requests of an open(2): a LOOKUP of the name, a GETATTR at times, and an
 * OPEN.  Other processes can remove the object in between.  With O_CREAT open(2) must not fail
 * then, and an OPEN does not tell of O_CREAT.  So the request is answered with -ESTALE, and the
 * kernel walks to the file once more.  A second -ESTALE would be the program's (fs/namei.c,
 * do_filp_open(), Linux 6.18).  The LOOKUP of the second walk finds nothing, and the kernel sends a
 * CREATE if O_CREAT was given (fs/fuse/dir.c, fuse_atomic_open()); or it finds an object that is
 * held until its OPEN.
 *
 * An opener is also told to walk once more when it should come to another inode of the object
 * (passthrough.c).
 */
#pragma once

#include <stdatomic.h>

#include "fuse/inode.h"

#define SHMFS_WALKERS 64
/* Threads whose ids have near remainders share this many slots. */
#define SHMFS_SLOTS_OF_WALKER 8

/* A thread that was told to walk to a file once more. */
struct shmfs_walker {
	pid_t opener; /* 0: any thread of another PID namespace */
	uint64_t at;  /* CLOCK_MONOTONIC, ns; 0: its open(2) has ended */
	unsigned nlookups;
	const struct shmfs_object *awaited; /* by others, not to be followed; or NULL */
	struct shmfs_handle *held;	    /* owned, with a reference to its object; or NULL */
	bool is_old;			    /* held for TICK_NS and more */
};

struct shmfs_walks {
	pthread_t thread; /* lets go of what is not opened */
	bool has_thread;  /* it is to be joined */

	/* A thread was ever told to: until then a LOOKUP takes no lock. */
	atomic_bool used;

	/* Guarded by shmfs_fs.lock. */
	bool runs; /* an object is held, or was a moment ago */
	struct shmfs_walker walkers[SHMFS_WALKERS];
};

void shmfs_walks_clear(struct shmfs_fs *);

/*
 * May a request of an open(2) be answered with -ESTALE?  False: this is its second walk.  If
 * `awaited` is not NULL, others wait for the opener before they bind an inode of that object.
 */
bool shmfs_walk_again(struct shmfs_fs *, pid_t opener, const struct shmfs_object *awaited);
/* Is an opener other than `opener` awaited at another inode of the object? */
bool shmfs_walk_is_awaited(struct shmfs_fs *, const struct shmfs_object *, pid_t opener);
/* Is a LOOKUP that of an opener's second walk? */
bool shmfs_walk_is_second(struct shmfs_fs *, pid_t opener);
/* Hold an object until its OPEN, by a handle, which is owned from here on. */
void shmfs_walk_hold(struct shmfs_fs *, pid_t opener, struct shmfs_handle *);
/* The open(2) ends. */
void shmfs_walk_end(struct shmfs_fs *, pid_t opener);
