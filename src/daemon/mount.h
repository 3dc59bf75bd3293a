/* SPDX-License-Identifier: MIT */
/* Mounting and unmounting.  Every function logs what goes wrong and what to do about it. */
#pragma once

#include <sys/types.h>

struct fuse_args;
struct fuse_session;
struct shmfs_backend;
struct shmfs_options;

/* Check in advance what would make mounting fail.  Returns 0 or a negative errno. */
int shmfs_mount_check(const char *mountpoint);

/*
 * Add the options of every mount to *args: access, source, flags.  statfs() of `posix` tells
 * whether the mount is noexec.  Returns 0 or a negative errno.
 */
int shmfs_mount_add_options(struct fuse_args *args, const struct shmfs_options *,
			    struct shmfs_backend *posix);

/* Mount.  Returns 0 and the device number of the mount, or a negative errno. */
int shmfs_mount(struct fuse_session *, const char *mountpoint, dev_t *dev);

/* Unmount `mountpoint` if the mount with device number `dev` is there. */
void shmfs_unmount(struct fuse_session *, const char *mountpoint, dev_t dev);
