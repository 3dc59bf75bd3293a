/* SPDX-License-Identifier: MIT */
/*
 * Acting as the process that asks.
 *
 * System V IPC and /dev/shm decide by the credentials of whoever makes the
 * call.  The daemon's threads therefore put on the caller's for the one call
 * that creates, removes or changes something.  On Linux credentials belong to
 * a thread; libc's setuid family changes all of them (signal(7), nptl(7)), so
 * this module makes the system calls itself.
 */
#ifndef SHMFS_CALLER_H
#define SHMFS_CALLER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct shmfs_caller {
	uid_t uid;
	gid_t gid;
	pid_t pid; /* of the thread that asks; 0: not to be seen from here */
	mode_t umask;
	/*
	 * Gives the supplementary groups, valid until the next call, and their
	 * number, or a negative errno: not to know them is not to have none, for
	 * a group can have less than others.  Asked for only when they are put
	 * on, for it takes a look into /proc.  NULL: none.
	 */
	int (*groups)(const struct shmfs_caller *, const gid_t **list);
};

/* Who may do what with an object.  A file's creator is its owner. */
struct shmfs_rights {
	uid_t owner, creator;
	gid_t group, creators_group;
	mode_t mode;
};

/*
 * May the caller do all of `want`, bits of one class: 4 read, 2 write, 1
 * search?  The rules are those of ipcperms() (ipc/util.c), and with one owner
 * and one group those of files without ACL.  uid 0 may do anything.  The
 * groups are asked for only where it depends on them; if they cannot be had,
 * it has to be right for members and others.
 */
bool shmfs_caller_may(const struct shmfs_caller *, const struct shmfs_rights *, unsigned want);

/* Has this thread the caller's credentials already, so that assuming them does nothing? */
bool shmfs_caller_is_self(const struct shmfs_caller *);

/*
 * Put on the caller's effective uid, gid and groups for this thread, and with
 * them the caller's rights: an effective uid other than 0 has no capabilities
 * (capabilities(7)).  The real and saved uid stay, which is the way back.
 * In a daemon that is not root it does nothing: there is but one user.
 *
 * Returns 0 or a negative errno, with nothing changed.
 */
int shmfs_caller_assume(const struct shmfs_caller *);

/*
 * Put on the caller's umask as well, which counts where no default ACL takes
 * its place (umask(2)): that is for the kernel to tell.  Until drop().
 */
int shmfs_caller_mask(const struct shmfs_caller *);

/* Put on the daemon's own again.  Ends the process if that cannot be done. */
void shmfs_caller_drop(void);

#endif
