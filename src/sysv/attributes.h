/* SPDX-License-Identifier: MIT */
/* Attributes of segments: those that every segment has, those that users give, and locked memory. */
#ifndef SHMFS_SYSV_ATTRIBUTES_H
#define SHMFS_SYSV_ATTRIBUTES_H

#include <sys/resource.h>

#include "sysv/internal.h"

/* --- xattr.c --- */

extern const struct shmfs_xattr sysv_xattrs[];
extern const struct shmfs_xattr sysv_root_xattrs[];
ssize_t sysv_getxattr(struct shmfs_object *, const char *name, void *value, size_t size,
		      const struct shmfs_caller *);
int sysv_setxattr(struct shmfs_object *, const char *name, const void *value, size_t size,
		  int flags, const struct shmfs_caller *);
ssize_t sysv_listxattr(struct shmfs_object *, char *names, size_t size,
		       const struct shmfs_caller *);
int sysv_removexattr(struct shmfs_object *, const char *name, const struct shmfs_caller *);

/* --- user_xattr.c --- */

void sysv_user_xattr_init(struct sysv_backend *);
/* Remove what is kept of segments that are gone. */
void sysv_user_xattr_sweep(struct sysv_backend *);
/*
 * As getxattr(2) and so on for the segment `id`, which is like *ds.
 * -EOPNOTSUPP in an ordinary user's daemon, -ENOSPC where one segment would carry
 * too much, -ESTALE when the segment was removed meanwhile.
 */
ssize_t sysv_user_xattr_get(const struct sysv_snapshot *, const char *name, void *value,
			    size_t size);
ssize_t sysv_user_xattr_list(const struct sysv_snapshot *, char *names, size_t size);
/* `value` NULL: remove it. */
int sysv_user_xattr_set(const struct sysv_snapshot *, const char *name, const void *value,
			size_t size, int flags);
/*
 * A segment takes another's place: carry() gives both the same attributes, and
 * drop() takes them from the old one.  Neither allocates nor locks.
 */
int sysv_user_xattr_carry(const struct sysv_backend *, int from, const struct shmid_ds *from_ds,
			  int to, const struct shmid_ds *to_ds);
void sysv_user_xattr_drop(const struct sysv_backend *, int id, const struct shmid_ds *ds);

/* --- memlock.c --- */

/* In whose name a segment is locked. */
struct sysv_locker {
	int id;
	uid_t uid;	     /* on whose account */
	bool is_limited;     /* else the daemon's own rights count */
	struct rlimit limit; /* of locked memory */
};

/*
 * SHM_LOCK or SHM_UNLOCK segment `id` as the caller: with his rights, at his
 * limit and on his account.  -EPERM, -ENOMEM (over RLIMIT_MEMLOCK) ...
 */
int sysv_lock(struct sysv_backend *, int id, bool on, const struct shmfs_caller *);
/*
 * In whose name a locked segment is locked again that becomes `size` bytes:
 * within the caller's limit if it grows.  -ENOMEM when that is over the limit.
 */
int sysv_locker_for(struct sysv_backend *, const struct shmid_ds *, uint64_t size,
		    const struct shmfs_caller *, struct sysv_locker *);
/* SHM_LOCK, by a process of its own. */
int sysv_lock_as(const struct sysv_locker *);

#endif
