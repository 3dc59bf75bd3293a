/* SPDX-License-Identifier: MIT */
/* The backend of System V segments: keys and shmids, shmget(2) and its kin. */
#pragma once

#include <stdint.h>

#include "shmfs/backend.h"
#include "shmfs/users.h"

struct shmfs_sysv_config {
	uint64_t min_size;	   /* least bytes of a segment made by writing */
	const char *proc_dir;	   /* where procfs is mounted, "/proc"; borrowed */
	struct shmfs_users *users; /* borrowed */
	/*
	 * The directory of user xattrs, made when it is needed, "/run/shmfs"; borrowed.  They
	 * outlive the daemon there.  NULL: users can set none.
	 */
	const char *user_xattr_dir;
};

/*
 * Make the backend of the segments in the calling thread's IPC namespace.  Returns 0 and *out (free
 * with shmfs_sysv_free()), -ENOMEM, or the error of opening <proc_dir>/sysvipc/shm: -ENOENT if the
 * kernel has no System V IPC.
 */
int shmfs_sysv_new(const struct shmfs_sysv_config *, struct shmfs_backend **out);
void shmfs_sysv_free(struct shmfs_backend *);

/* Fill in *out, the slots of the view by shmid, in which segments are neither made nor resized. */
void shmfs_sysv_by_id_ops(struct shmfs_backend_ops *out);
