/* SPDX-License-Identifier: MIT */
/* What the files of the daemon share.  Every function that fails says so in one line of the log. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include "shmfs/cleanup.h"
#include "shmfs/log.h"
#include "shmfs/user_views.h"

/* --- options.c: shmfs [options] [SOURCE] MOUNTPOINT --- */

struct shmfs_options {
	uint64_t min_size; /* bytes of a segment made by writing */
	enum shmfs_key_format keys;
	pid_t target; /* 0: none */
	int nopassthrough, allow_other, allow_root;
	char *mountpoint;		  /* owned; absolute; NULL with help or version */
	struct fuse_cmdline_opts cmdline; /* -f, -d, -s, -h and -V */
};

/*
 * Parse the command line.  What is left in *args afterwards is for the FUSE session.  Returns 0 or
 * -EINVAL.  Free with shmfs_options_clear() in either case.
 */
int shmfs_options_parse(struct fuse_args *args, struct shmfs_options *);
void shmfs_options_clear(struct shmfs_options *);
/* Print what -h shows. */
void shmfs_options_help(FILE *out, const char *program);
/*
 * Parse a positive number of bytes: decimal digits and one optional suffix K, M or G, in either
 * case, for powers of 1024.  Returns 0 and *bytes, -EINVAL if the text is no such number, or
 * -ERANGE if the number exceeds INT64_MAX, the largest size of a file.
 */
int shmfs_parse_size(const char *text, uint64_t *bytes);

/* --- target.c --- */

/*
 * Open the /dev/shm of process `pid`, and join its IPC namespace.  The mount namespace stays.  The
 * process may end afterwards.  Call it before there are other threads: each thread has its own
 * namespaces.  `proc_dir` is where procfs is mounted, "/proc".
 *
 * Returns a descriptor of the directory (O_PATH) for the caller to close, or a negative errno.
 */
int shmfs_target_enter(const char *proc_dir, pid_t pid);

/* --- backends.c --- */

/* The backends of a mount, and the slots of their views.  All owned.  Zeroed, it can be cleared. */
struct shmfs_backends {
	struct shmfs_users *users;
	struct shmfs_backend *sysv, *posix;
	struct shmfs_backend_ops sysv_by_id, sysv_text, posix_text;
	struct shmfs_user_view user_views[SHMFS_USER_VIEWS];
};

/*
 * Open the shared memory that the options name, and fill in *tree, which borrows from *backends.
 * With `target`, this thread joins another IPC namespace.  Returns 0 or a negative errno.  Clear
 * with shmfs_backends_clear() in either case.
 */
int shmfs_backends_init(struct shmfs_backends *, const struct shmfs_options *,
			struct shmfs_tree *tree);
void shmfs_backends_clear(struct shmfs_backends *);

/* --- mount.c --- */

/*
 * Check in advance what would make mounting fail, and add the options of every mount to *args:
 * access, source, flags.  statfs() of `posix` tells whether the mount is noexec.  Returns 0 or a
 * negative errno.
 */
int shmfs_mount_prepare(struct fuse_args *args, const struct shmfs_options *,
			struct shmfs_backend *posix);
/* Mount.  Returns 0 and the device number of the mount, or a negative errno. */
int shmfs_mount(struct fuse_session *, const char *mountpoint, dev_t *dev);
/* Unmount `mountpoint` if the mount with device number `dev` is there. */
void shmfs_unmount(struct fuse_session *, const char *mountpoint, dev_t dev);

/* --- privilege.c --- */

/*
 * Give up the privileges that serving does not use, once the filesystem is mounted and while there
 * is one thread.  Afterwards
 *
 *   - no core is dumped, neither to a file nor to a program;
 *   - the capabilities that serving uses are left, and no program inherits any;
 *   - root's daemon has no_new_privs and a filter of system calls, so it runs no program.
 *     An ordinary user's daemon runs fusermount3, which is set-user-ID, to unmount.
 *
 * Returns 0 or a negative errno.
 */
int shmfs_privilege_reduce(void);
