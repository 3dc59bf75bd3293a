/* SPDX-License-Identifier: MIT */
#include "shmfs/caller.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The order matters both ways: groups and gid can be changed only while the
 * effective uid is still, or again, 0.  SYS_setgroups and its kin take 32-bit
 * ids on every architecture that is not a 32-bit relic (setgroups(2), NOTES).
 */
static int set_ids(uid_t uid, gid_t gid, size_t ngroups, const gid_t *groups)
{
	if (syscall(SYS_setgroups, ngroups, groups) != 0)
		return -errno;
	if (syscall(SYS_setresgid, (gid_t)-1, gid, (gid_t)-1) != 0)
		return -errno;
	if (syscall(SYS_setresuid, (uid_t)-1, uid, (uid_t)-1) != 0)
		return -errno;
	return 0;
}

/* Root needs no groups, and one user alone has nobody else to be. */
static bool is_self(const struct shmfs_caller *caller)
{
	return getuid() != 0 || (caller->uid == 0 && caller->gid == getgid());
}

int shmfs_caller_assume(const struct shmfs_caller *caller)
{
	int err;

	if (is_self(caller))
		return 0;
	err = set_ids(caller->uid, caller->gid, caller->ngroups, caller->groups);
	if (err)
		shmfs_caller_drop();
	return err;
}

void shmfs_caller_drop(void)
{
	if (geteuid() == getuid() && getegid() == getgid())
		return;
	/* A thread that stays somebody else must not serve the next request. */
	if (syscall(SYS_setresuid, (uid_t)-1, 0, (uid_t)-1) != 0 || set_ids(0, getgid(), 0, NULL))
		abort();
}
