/* SPDX-License-Identifier: MIT */
/*
 * Acting with the credentials of the process that made a request.
 *
 * The kernel checks System V IPC and /dev/shm by the credentials of the calling thread.  So a
 * thread of the daemon assumes the caller's credentials for each call that creates, removes or
 * changes something.  This module makes the system calls itself, because libc's setuid family
 * changes the credentials of all threads (nptl(7)).
 */
#pragma once

#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/types.h>

struct shmfs_caller {
	uid_t uid;
	gid_t gid;
	pid_t pid; /* the thread that made the request; 0: its PID namespace is not ours */
	mode_t umask;
	/*
	 * Set *list to the supplementary groups, valid until the next call, and return their number
	 * or a negative errno.  It reads /proc, so call it only where the groups matter.  An error
	 * is not an empty list: members of a group may have fewer rights than others.  NULL: there
	 * are none.
	 */
	int (*groups)(const struct shmfs_caller *, const gid_t **list);
};

/* Owner, group and mode of an object.  A file has its owner as creator. */
struct shmfs_rights {
	uid_t owner, creator;
	gid_t group, creators_group;
	mode_t mode;
};

/*
 * May the caller do all of `want`: 4 read, 2 write, 1 search?  The rules are those of ipcperms()
 * (ipc/util.c), and of files without ACL if the owner is the creator.  uid 0 may do
 * anything.  If the groups cannot be read, members and others must both have the right.
 */
bool shmfs_caller_may(const struct shmfs_caller *, const struct shmfs_rights *, unsigned want);

/* Is one of these the caller's group?  1 or 0, or a negative errno when they cannot be read. */
int shmfs_caller_in_group(const struct shmfs_caller *, gid_t a, gid_t b);

/* Does this thread have the caller's credentials already? */
bool shmfs_caller_is_self(const struct shmfs_caller *);

/*
 * Give this thread the caller's effective uid, gid and groups, and so no capabilities unless the
 * uid is 0 (capabilities(7)).  Does nothing in a daemon that is not root.
 *
 * Returns 0, or a negative errno with nothing changed.
 */
int shmfs_caller_assume(const struct shmfs_caller *);

/*
 * Give this thread the caller's umask as well, until shmfs_caller_drop().  The kernel ignores it in
 * a directory with a default ACL (umask(2)).  Returns 0 or a negative errno.
 */
int shmfs_caller_mask(const struct shmfs_caller *);

/* Return to the daemon's own credentials.  Ends the process if that fails. */
void shmfs_caller_drop(void);

/*
 * The system calls that change the ids of one thread.  On older 32-bit architectures those without
 * "32" take 16-bit ids.
 */
#ifdef SYS_setresuid32
#define SET_UID SYS_setresuid32
#define SET_GID SYS_setresgid32
#define SET_GROUPS SYS_setgroups32
#else
#define SET_UID SYS_setresuid
#define SET_GID SYS_setresgid
#define SET_GROUPS SYS_setgroups
#endif
