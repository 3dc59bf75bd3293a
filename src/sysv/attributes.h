/* SPDX-License-Identifier: MIT */
/* Attributes of segments: those that every segment has, those that users give, and locked memory. */
#ifndef SHMFS_SYSV_ATTRIBUTES_H
#define SHMFS_SYSV_ATTRIBUTES_H

#include <sys/resource.h>

#include "sysv/internal.h"

/* --- xattr.c --- */

extern const struct shmfs_xattr sysv_xattrs[];
extern const struct shmfs_xattr sysv_root_xattrs[];
SHMFS_SLOT(getxattr) sysv_getxattr;
SHMFS_SLOT(setxattr) sysv_setxattr;
SHMFS_SLOT(listxattr) sysv_listxattr;
SHMFS_SLOT(removexattr) sysv_removexattr;

/* --- user_xattr.c --- */

void sysv_user_xattr_init(struct sysv_backend *);
/* Remove what is kept of segments that are gone. */
void sysv_user_xattr_sweep(struct sysv_backend *);
/*
 * As getxattr(2) and so on.  -EOPNOTSUPP in an ordinary user's daemon, -ENOSPC for too much on one
 * segment, -ESTALE if the segment was removed meanwhile.
 */
ssize_t sysv_user_xattr_get(const struct sysv_snapshot *, const char *name, void *value,
			    size_t size);
ssize_t sysv_user_xattr_list(const struct sysv_snapshot *, char *names, size_t size);
/* `value` NULL: remove it. */
int sysv_user_xattr_set(const struct sysv_snapshot *, const char *name, const void *value,
			size_t size, int flags);
/*
 * carry() gives a segment the attributes of another as well, and drop() removes them from one.
 * Neither allocates or locks.
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
	int err;	     /* of the process that locks */
};

/*
 * SHM_LOCK or SHM_UNLOCK segment `id` with the caller's rights and limit, on the caller's account.
 * -EPERM, -ENOMEM (over RLIMIT_MEMLOCK) ...
 */
int sysv_lock(struct sysv_backend *, int id, bool on, const struct shmfs_caller *);
/*
 * In whose name a segment is locked again as one of `size` bytes, if it is locked.  If it grows,
 * -ENOMEM over the caller's limit.
 */
int sysv_locker_for(struct sysv_backend *, const struct shmid_ds *, uint64_t size,
		    const struct shmfs_caller *, struct sysv_locker *);
/* SHM_LOCK, by a process of its own. */
int sysv_lock_as(struct sysv_locker *);

#endif
