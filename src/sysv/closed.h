/* SPDX-License-Identifier: MIT */
/* Waiting for another mount that replaces a segment. */
#ifndef SHMFS_SYSV_CLOSED_H
#define SHMFS_SYSV_CLOSED_H

#include "sysv/internal.h"

/* What a process that replaces a segment is called; comm in /proc has 15 bytes. */
#define SYSV_REPLACER_NAME "shmfs-replace"
/* It can be replaced again at once: a request waits and looks again so often. */
#define SYSV_CLOSED_TRIES 3
/* Wait a moment if another mount is replacing the segment; no lock is held. */
void sysv_wait_while_closed(struct sysv_backend *, int id, const struct shmfs_caller *);

#endif
