/* SPDX-License-Identifier: MIT */
#include "shmfs/caller.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Groups and gid can be changed only while the effective uid is 0: uid comes last. */
static int set_ids(uid_t uid, gid_t gid, size_t ngroups, const gid_t *groups)
{
	if (syscall(SET_GROUPS, ngroups, groups) != 0)
		return -errno;
	if (syscall(SET_GID, (gid_t)-1, gid, (gid_t)-1) != 0)
		return -errno;
	if (syscall(SET_UID, (uid_t)-1, uid, (uid_t)-1) != 0)
		return -errno;
	return 0;
}

int shmfs_caller_in_group(const struct shmfs_caller *caller, gid_t a, gid_t b)
{
	const gid_t *groups = NULL;
	int ngroups;

	if (caller->gid == a || caller->gid == b)
		return true;
	ngroups = caller->groups ? caller->groups(caller, &groups) : 0;
	for (int i = 0; i < ngroups; i++) {
		if (groups[i] == a || groups[i] == b)
			return true;
	}
	return ngroups < 0 ? ngroups : false;
}

bool shmfs_caller_may(const struct shmfs_caller *caller, const struct shmfs_rights *rights,
		      unsigned want)
{
	unsigned other = rights->mode & want;
	unsigned group = rights->mode >> 3 & want;
	int member;

	if (caller->uid == 0)
		return true;
	if (caller->uid == rights->owner || caller->uid == rights->creator)
		return (rights->mode >> 6 & want) == want;
	if (group == other)
		return other == want;
	member = shmfs_caller_in_group(caller, rights->group, rights->creators_group);
	if (member < 0)
		return (group & other) == want;
	return (member ? group : other) == want;
}

/* Root needs no groups.  An ordinary user's daemon serves that user alone. */
bool shmfs_caller_is_self(const struct shmfs_caller *caller)
{
	return getuid() != 0 || (caller->uid == 0 && caller->gid == getgid());
}

int shmfs_caller_assume(const struct shmfs_caller *caller)
{
	const gid_t *groups = NULL;
	int ngroups, err;

	if (shmfs_caller_is_self(caller))
		return 0;
	ngroups = caller->groups ? caller->groups(caller, &groups) : 0;
	if (ngroups < 0)
		return ngroups;
	err = set_ids(caller->uid, caller->gid, (size_t)ngroups, groups);
	if (err)
		shmfs_caller_drop();
	return err;
}

/* Has this thread a umask of its own?  Threads share one until unshare(CLONE_FS). */
static _Thread_local bool own_umask;

int shmfs_caller_mask(const struct shmfs_caller *caller)
{
	if (!own_umask && unshare(CLONE_FS) != 0)
		return -errno;
	own_umask = true;
	umask(caller->umask);
	return 0;
}

void shmfs_caller_drop(void)
{
	if (own_umask)
		umask(0);
	if (geteuid() == getuid() && getegid() == getgid())
		return;
	/* A thread that keeps a caller's credentials must not serve the next request. */
	if (syscall(SET_UID, (uid_t)-1, 0, (uid_t)-1) != 0 || set_ids(0, getgid(), 0, NULL))
		abort();
}
