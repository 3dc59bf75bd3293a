/* SPDX-License-Identifier: MIT */
/* The backend of POSIX objects: the files of /dev/shm that shm_open(3) makes. */
#pragma once

#include "shmfs/backend.h"
#include "shmfs/users.h"

/*
 * Make the backend of the objects in `dir`, a descriptor of /dev/shm; O_PATH is enough.  `proc_dir`
 * is where procfs is mounted, "/proc"; it and `users` are borrowed.  Returns 0 and *out, which owns
 * `dir` then (free with shmfs_posix_free()), or -ENOMEM.
 */
int shmfs_posix_new(int dir, const char *proc_dir, struct shmfs_users *users,
		    struct shmfs_backend **out);
void shmfs_posix_free(struct shmfs_backend *);
