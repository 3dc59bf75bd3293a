/* SPDX-License-Identifier: MIT */
/* The backend of POSIX objects: the files of /dev/shm that shm_open(3) makes. */
#ifndef SHMFS_POSIX_H
#define SHMFS_POSIX_H

#include "shmfs/backend.h"

/*
 * Make the backend over the directory `dir`, "/dev/shm".  Returns 0 and *out
 * (free with shmfs_posix_free()), -ENOMEM, or what opening it failed with.
 */
int shmfs_posix_new(const char *dir, struct shmfs_backend **out);
void shmfs_posix_free(struct shmfs_backend *);

#endif
