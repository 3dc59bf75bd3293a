/* SPDX-License-Identifier: MIT */
/* The backend of POSIX objects: the files of /dev/shm that shm_open(3) makes. */
#pragma once

#include "shmfs/backend.h"
#include "shmfs/users.h"

struct shmfs_posix_config {
	int dir;		   /* descriptor of /dev/shm; O_PATH is enough */
	const char *proc_dir;	   /* where procfs is mounted, "/proc"; borrowed */
	struct shmfs_users *users; /* borrowed */
};

/*
 * Make the backend.  Returns 0 and *out, which owns config->dir then (free with
 * shmfs_posix_free()), or -ENOMEM.
 */
int shmfs_posix_new(const struct shmfs_posix_config *, struct shmfs_backend **out);
void shmfs_posix_free(struct shmfs_backend *);
