/* SPDX-License-Identifier: MIT */
/*
 * Kernel passthrough (Linux 6.9): an open file is bound to a descriptor, and
 * read(2), write(2) and mmap(2) on it never reach the daemon.
 */
#ifndef SHMFS_PASSTHROUGH_H
#define SHMFS_PASSTHROUGH_H

#include <stdbool.h>
#include <stdint.h>

#include "shmfs/inode.h"

struct shmfs_passthrough {
	const char *unwanted; /* why it is not asked for, in words for the user; or NULL */
	bool on;	      /* asked for and, as far as INIT tells, granted */
	int device;	      /* borrowed: the session's /dev/fuse */

	/* The INIT exchange, where libfuse leaves it to us (before 3.17). */
	bool asked;	       /* the kernel's request was seen */
	bool offered;	       /* and had passthrough in it */
	bool killpriv_offered; /* and HANDLE_KILLPRIV_V2 */
	bool settled;	       /* the reply was sent */
	uint64_t init_unique;  /* the request's number */
};

/* What an open reply says of a handle. */
struct shmfs_bound {
	enum shmfs_io_mode binding;
	int backing_id; /* unless SHMFS_IO_DAEMON */
};

#endif
