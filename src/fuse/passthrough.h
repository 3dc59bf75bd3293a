/* SPDX-License-Identifier: MIT */
/*
 * Kernel passthrough (Linux 6.9): an open file is bound to a descriptor, and read(2), write(2) and
 * mmap(2) on it never reach the daemon.
 */
#pragma once

#include <stdbool.h>

#include "fuse/inode.h"

struct shmfs_file;
struct shmfs_fs;

struct shmfs_passthrough {
	const char *unwanted; /* why it is not asked for, in words for the user; or NULL */
	bool on;	      /* asked for and, as far as INIT tells, granted */
	atomic_bool refused;  /* to this daemon, which lacks the privilege: nothing is ever bound */
};

/* Has the kernel passthrough at all?  `device` is the path of /dev/fuse. */
bool shmfs_passthrough_exists(const char *device);

/*
 * Try out whether the kernel serves files that are opened now.  Returns NULL, or why not, in words
 * for the user.
 */
const char *shmfs_passthrough_lack(const struct shmfs_fs *);

/*
 * Bind an open file to the descriptor that its backend names, unless the backend does not want it
 * or the kernel refuses.  -ESTALE: it must not be bound, and the kernel would want that of this
 * inode; the next lookup finds another one.
 */
int shmfs_passthrough_bind(struct shmfs_fs *, struct shmfs_file *);
void shmfs_passthrough_unbind(struct shmfs_fs *, struct shmfs_file *);
