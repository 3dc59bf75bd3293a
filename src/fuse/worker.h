/* SPDX-License-Identifier: MIT */
#ifndef SHMFS_FUSE_WORKER_H
#define SHMFS_FUSE_WORKER_H

/* Serve requests until the loop is stopped.  `worker` is a struct worker of threads.h. */
void *shmfs_worker_run(void *worker);

#endif
