/* SPDX-License-Identifier: MIT */
/* The backend of POSIX objects: the files of /dev/shm that shm_open(3) makes. */
#ifndef SHMFS_POSIX_H
#define SHMFS_POSIX_H

#include "shmfs/backend.h"

/*
 * Make the backend over the directory `dir`, a descriptor of /dev/shm, which
 * O_PATH is enough for; it is the backend's from then on.  Returns 0 and *out
 * (free with shmfs_posix_free()), or -ENOMEM.
 */
int shmfs_posix_new(int dir, struct shmfs_backend **out);
void shmfs_posix_free(struct shmfs_backend *);

#endif
