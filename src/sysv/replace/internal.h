/* SPDX-License-Identifier: MIT */
/*
 * Between sysv_resize.c, which decides that a segment is replaced, and
 * sysv_guardian.c, which does it.
 */
#ifndef SHMFS_SYSV_REPLACE_INTERNAL_H
#define SHMFS_SYSV_REPLACE_INTERNAL_H

#include "sysv/internal.h"

/* One replacement, shared by the thread that asks and its replacer. */
struct replacement {
	struct sysv_backend *backend;
	struct sysv_segment *old; /* borrowed; kept attached or open throughout */
	struct shmid_ds ds;	  /* of the old one, as it was */
	uint64_t size;		  /* wanted */
	unsigned long own;	  /* attachments of ours that the old one has */

	int err;		       /* 0: made as wanted */
	pid_t replacer;		       /* who did it */
	bool ended;		       /* and lived to the end */
	int probed;		       /* a segment that was made to see whether it can be, or -1 */
	bool closing;		       /* the old one's mode was taken, or is about to be */
	bool removed;		       /* the old one has lost its key */
	bool complete;		       /* the key leads to `made` */
	bool safe;		       /* the content is in `rescued` */
	struct sysv_segment *made;     /* owned */
	struct sysv_segment *rescued;  /* owned */
	struct sysv_attachment *spare; /* owned; to count what `made` attached */
	int xattr_err;		       /* why users' attributes stayed behind, or 0 */
	struct sysv_copy copy;	       /* from the old one */
	struct sysv_segment *filling;  /* what it goes to: `made` or `rescued` */
};

/*
 * Replace the old segment: all that can be checked is, all memory is there.
 * What came of it is in *r.  Returns 0, or a negative errno when nothing was
 * begun.
 */
int sysv_replacement_run(struct replacement *r);

#endif
