/* SPDX-License-Identifier: MIT */
/*
 * What the files that replace a segment share.  Code that runs in the replacer allocates nothing
 * and takes no lock: see replacer.c.
 */
#pragma once

#include "sysv/internal.h"

/* How far a replacement is, or how it ended. */
enum replace_phase {
	REPLACE_PREPARING, /* the old segment is as it was */
	REPLACE_CLOSING,   /* its mode is taken, or about to be */
	REPLACE_REMOVED,   /* it has lost its key */
	REPLACE_COMPLETE,  /* the key leads to `made` */
	REPLACE_RESCUED,   /* the content is in `rescue` */
	REPLACE_TORN,	   /* the first bytes are in `filling`, the others in the old segment */
};

/* A copy under way.  A second replacer reads it if the first one is killed. */
struct sysv_copy {
	bool moves;		/* what has been copied leaves the source */
	_Atomic uint64_t moved; /* up to here it may have */
};

/* Slots in the kernel's table of segments that are kept free for the new one. */
#define SYSV_BALLAST 2

/* Had before the old segment is removed, so that its content can be brought back. */
struct sysv_reserve {
	struct sysv_segment *rescue; /* owned; empty, as large as the old one, and open */
	int ballast[SYSV_BALLAST];   /* segments, or -1; the first is as large as the new one */
	uint64_t size;		     /* bytes of memory in `rescue`, from its beginning */
	uint64_t used;		     /* of them by the copy; that is given back, piece by piece */
};

/* One replacement, shared by the thread that asks and its replacer. */
struct replacement {
	struct sysv_backend *backend;
	struct sysv_segment *old;    /* owned reference; kept attached or open throughout */
	struct sysv_segment *anchor; /* owned; attached, so that the old one keeps its id */
	bool leaves_mirror;	     /* the old one stays as the mirror */
	struct shmid_ds ds;	     /* of the old one, as it was */
	uint64_t size;		     /* wanted */
	struct shmfs_caller creator; /* of the old one, and if possible of the new ones */
	struct sysv_locker locker;   /* in whose name the new one is locked */

	enum replace_phase phase;
	int err;	/* why it is not as wanted, or 0 */
	int xattr_err;	/* why users' attributes stayed behind, or 0 */
	pid_t replacer; /* the process that did it */
	struct sysv_reserve reserve;
	struct sysv_segment *made;    /* owned */
	struct sysv_copy copy;	      /* from the old one */
	struct sysv_segment *filling; /* where it goes: `made` or `reserve.rescue` */
};

/* Has somebody, besides readers that get a mirror, the file of the old segment open or mapped? */
static inline bool sysv_is_held(const struct replacement *r)
{
	return r->leaves_mirror ? sysv_segment_is_opened_again(r->old) :
				  sysv_segment_is_shared(r->old);
}

/* --- resize.c --- */

/*
 * Replace the object's segment by one of `size` bytes under the same key.  object->io is held for
 * writing.  Nothing has changed after these errors:
 *
 *   -EBUSY   other processes have it attached       -EAGAIN  somebody has its file open
 *   -EPERM   the caller may not, or it has no key   -ESTALE  it was removed before
 *   -EFBIG   over SHMMAX                            -ENOSPC  over SHMALL or SHMMNI;  -ENOMEM
 *
 * -EIDRM: it was removed meanwhile.  -EEXIST: another process took the key.  The log then says
 * where the content is.
 */
int sysv_resize(struct sysv_object *, uint64_t size, const struct shmfs_caller *);

/* --- replacer.c --- */

/* Replace the old segment, with the outcome in *r. */
void sysv_replacement_run(struct replacement *r);
/* Log what went wrong.  Keep the old segment if it alone has the content. */
void sysv_replacement_report(struct replacement *r);

/* --- reserve.c --- */

/*
 * Make the ballast and the rescue, and populate it for the copy.  -EFBIG, -ENOSPC, -ENOMEM, -EMFILE
 * ...: sysv_reserve_drop() removes the rest.
 */
int sysv_reserve_take(struct replacement *r);
/* One slot less of ballast.  False when there is none left. */
bool sysv_reserve_free_slot(struct replacement *r);
/* Give back the memory that the next `bytes` of a copy take. */
void sysv_reserve_yield(struct sysv_reserve *, uint64_t bytes);
/* Remove what is left, but not a rescue that is needed. */
void sysv_reserve_drop(struct replacement *r);
/* Make a segment that is closed to others.  Its id, or an error of a file. */
int sysv_get_new(const struct replacement *r, key_t key, uint64_t size, int flags);
/* SHM_HUGETLB and the size of its pages, as the segment has them. */
int sysv_huge_flags(const struct sysv_segment *);

/* --- copy.c --- */

/* Copy the first `len` bytes and leave holes.  The reserve, or NULL, gives memory back for it. */
int sysv_segment_copy(struct sysv_segment *to, struct sysv_segment *from, uint64_t len,
		      struct sysv_copy *, struct sysv_reserve *);
