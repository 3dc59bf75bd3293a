/* SPDX-License-Identifier: MIT */
/*
 * Keeps the kernel from meeting a bound open before the served ones that were
 * answered first.  inode->backing_lock is held for settle() and served().
 */
#pragma once

#include "fuse/internal.h"

/* An open is about to be answered as served by the daemon. */
void shmfs_open_order_served(struct shmfs_file *);

/* A request on an open file shows that its open(2) has returned. */
void shmfs_open_order_acknowledge(struct shmfs_file *);

/*
 * Before the first binding of an inode, which `opener` asked for: wait for served opens
 * of the last moment.  backing_lock is released meanwhile.
 */
void shmfs_open_order_settle(struct shmfs_fs *, struct shmfs_inode *, pid_t opener);
