/* SPDX-License-Identifier: MIT */
/* What the files of the memory backend share. */
#pragma once

#include "memory_backend.h"

/* --- memory_backend.c --- */

/* Count a call, and say whether it is to fail.  Leaves the lock held. */
int memory_enter(struct memory_backend *, enum memory_slot);
/* Give the lock back; returns `err`. */
int memory_leave(struct memory_backend *, int err);
void memory_see_caller(struct memory_backend *, const struct shmfs_caller *);

/* A file of a key or a name, or NULL. */
struct memory_file *memory_add_file(struct memory_backend *, uint32_t key, const char *name);
/* As the interface has it: what has no name is reached as long as it is open. */
struct memory_file *memory_by_object(const struct shmfs_object *);
int memory_need_bytes(struct memory_file *);
int memory_resize(struct memory_file *, off_t size);

/* --- memory_xattr.c --- */

extern const struct shmfs_xattr memory_xattrs[];
ssize_t memory_getxattr(struct shmfs_object *, const char *name, void *value, size_t size,
			const struct shmfs_caller *);
int memory_setxattr(struct shmfs_object *, const char *name, const void *value, size_t size,
		    int flags, const struct shmfs_caller *);
ssize_t memory_listxattr(struct shmfs_object *, char *names, size_t size,
			 const struct shmfs_caller *);
int memory_removexattr(struct shmfs_object *, const char *name, const struct shmfs_caller *);
void memory_free_xattrs(struct memory_file *);

/* --- memory_handle.c --- */

/* A handle without its object, or NULL. */
struct shmfs_handle *memory_add_handle(struct memory_backend *, struct memory_file *, int flags);

int memory_open(struct shmfs_object *, int flags, const struct shmfs_caller *,
		struct shmfs_handle **);
int memory_flush(struct shmfs_handle *, bool by_opener, const struct shmfs_caller *);
void memory_release(struct shmfs_handle *);
enum shmfs_io_mode memory_binding(struct shmfs_handle *, int *fd);
void memory_lent(struct shmfs_handle *, bool lent);
int memory_read_begin(struct shmfs_handle *, off_t, size_t, struct shmfs_extent *);
void memory_read_end(struct shmfs_handle *, struct shmfs_extent *);
int memory_write_begin(struct shmfs_handle *, off_t, size_t, bool append,
		       const struct shmfs_caller *, struct shmfs_extent *);
ssize_t memory_write_end(struct shmfs_handle *, struct shmfs_extent *, size_t written);
int memory_fallocate(struct shmfs_handle *, int mode, off_t, off_t len,
		     const struct shmfs_caller *);
off_t memory_seek(struct shmfs_handle *, off_t, int whence);
