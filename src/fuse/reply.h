/* SPDX-License-Identifier: MIT */
/* Passthrough, towards FUSE: what fuse_passthrough.c does for the other files. */
#ifndef SHMFS_FUSE_REPLY_H
#define SHMFS_FUSE_REPLY_H

#include "fuse/internal.h"

/*
 * Make the session's I/O on /dev/fuse ours, between mounting and the first
 * request.  Returns 0 or a negative errno.
 */
int shmfs_passthrough_start(struct shmfs_fs *, struct fuse_session *);

/* From the session's init: settle whether passthrough is to be had. */
void shmfs_passthrough_init(struct shmfs_passthrough *, struct fuse_conn_info *);

/*
 * What keeps the kernel from serving the files that are opened now: words for
 * the user, or NULL when nothing does.  Found out by trying.
 */
const char *shmfs_passthrough_lack(const struct shmfs_passthrough *);

/*
 * Bind a handle to the descriptor that its backend names, of which the kernel
 * keeps a reference of its own, and say how it is bound.  SHMFS_IO_DAEMON: the
 * backend does not want it or the kernel would not.  unbind() undoes the rest.
 */
struct shmfs_bound shmfs_passthrough_bind(struct shmfs_fs *, struct shmfs_inode *,
					  struct shmfs_handle *);
/* A request on an open file: the kernel has taken the reply to its open. */
void shmfs_passthrough_acknowledge(struct shmfs_inode *, struct shmfs_handle *);
void shmfs_passthrough_unbind(struct shmfs_passthrough *, struct shmfs_inode *);

/* fuse_reply_open() and fuse_reply_create() with a binding; non-zero: not taken. */
int shmfs_reply_open(fuse_req_t, struct fuse_file_info *, struct shmfs_handle *,
		     struct shmfs_bound);
int shmfs_reply_create(fuse_req_t, const struct fuse_entry_param *, struct fuse_file_info *,
		       struct shmfs_handle *, struct shmfs_bound);

#endif
