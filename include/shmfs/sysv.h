/* SPDX-License-Identifier: MIT */
/* The backend of System V segments: keys and shmids, shmget(2) and its kin. */
#ifndef SHMFS_SYSV_H
#define SHMFS_SYSV_H

#include <stdint.h>

#include "shmfs/backend.h"
#include "shmfs/users.h"

struct shmfs_sysv_config {
	uint64_t min_size;	   /* bytes of a segment that is made by writing: `-o size=` */
	const char *proc_dir;	   /* where procfs is mounted, "/proc"; borrowed */
	struct shmfs_users *users; /* borrowed */
	/*
	 * Where the attributes are kept that users give segments, beyond the daemon's
	 * end: a directory that is made when it is needed, "/run/shmfs"; borrowed.
	 * NULL: none can be given.
	 */
	const char *user_xattr_dir;
};

/*
 * Make the backend.  All segments are those of the IPC namespace of the
 * calling process.  Returns 0 and *out (free with shmfs_sysv_free()), or
 * -ENOMEM, or what opening <proc_dir>/sysvipc/shm failed with: -ENOENT where
 * the kernel has no System V IPC.
 */
int shmfs_sysv_new(const struct shmfs_sysv_config *, struct shmfs_backend **out);
void shmfs_sysv_free(struct shmfs_backend *);

/* The slots of the view by shmid, under which no segment is given another size. */
extern const struct shmfs_backend_ops shmfs_sysv_by_id_ops;

#endif
