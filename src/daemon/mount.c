/* SPDX-License-Identifier: MIT */
#include "daemon/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include "daemon/options.h"
#include "fuse/passthrough.h"
#include "shmfs/backend.h"
#include "shmfs/cleanup.h"
#include "shmfs/log.h"

#define FUSE_DEVICE "/dev/fuse"
#define PROFILE "/etc/apparmor.d/fusermount3"
#define APPARMOR_ENABLED "/sys/module/apparmor/parameters/enabled"

int shmfs_mount_check(const char *mountpoint)
{
	struct stat st;

	if (stat(mountpoint, &st) != 0) {
		shmfs_log(LOG_ERR, "mount point %s: %s; %s", mountpoint, strerror(errno),
			  errno == ENOTCONN ?
				  "a shmfs that died is still mounted there: umount it first" :
				  "make it with mkdir");
		return -EINVAL;
	}
	if (!S_ISDIR(st.st_mode)) {
		shmfs_log(LOG_ERR, "mount point %s is not a directory", mountpoint);
		return -EINVAL;
	}
	if (access(FUSE_DEVICE, F_OK) != 0) {
		shmfs_log(LOG_ERR, "%s: %s; try: modprobe fuse", FUSE_DEVICE, strerror(errno));
		return -EINVAL;
	}
	return 0;
}

/*
 * Programs may not be run from the mount where they may not be run from /dev/shm.  Nor where
 * the daemon serves all files: the kernel maps a program, and has no pages to map then.
 */
static bool is_noexec(const struct shmfs_options *options, struct shmfs_backend *posix)
{
	struct statvfs st = { 0 };

	if (options->nopassthrough || getuid() != 0 || !shmfs_passthrough_exists(FUSE_DEVICE))
		return true;
	return posix->ops->statfs(posix, &st) == 0 && (st.f_flag & ST_NOEXEC);
}

/* Root's mount is for every user, and the kernel checks modes.  A user's mount is for that user. */
static int check_access(const struct shmfs_options *options)
{
	if (options->allow_other && getuid() != 0) {
		shmfs_log(LOG_ERR, "allow_other is for root: a user's mount acts as that user, "
				   "whoever asks");
		return -EPERM;
	}
	if (options->allow_root && getuid() == 0) {
		shmfs_log(LOG_ERR, "allow_root is for ordinary users: a mount by root is there for "
				   "every user");
		return -EINVAL;
	}
	return 0;
}

int shmfs_mount_add_options(struct fuse_args *args, const struct shmfs_options *options,
			    struct shmfs_backend *posix)
{
	char common[128];
	char of[32] = "";
	int err = check_access(options);

	if (err)
		return err;
	/* The source, by which df(1) and findmnt(8) tell one mount from another. */
	if (options->target)
		snprintf(of, sizeof(of), ":target=%d", (int)options->target);
	snprintf(common, sizeof(common), "-ofsname=shmfs%s,default_permissions", of);
	/* First, so that the same option given by the user overrides it. */
	if (fuse_opt_insert_arg(args, 1, common) != 0)
		return -ENOMEM;
	if (getuid() == 0 && fuse_opt_insert_arg(args, 1, "-oallow_other") != 0)
		return -ENOMEM;
	if (options->allow_root && fuse_opt_insert_arg(args, 1, "-oallow_root") != 0)
		return -ENOMEM;
	if (is_noexec(options, posix) && fuse_opt_insert_arg(args, 1, "-onoexec") != 0)
		return -ENOMEM;
	/* Last, for mount.fuse3(8) as root passes suid and dev on its own. */
	return fuse_opt_add_arg(args, "-onosuid,nodev") == 0 ? 0 : -ENOMEM;
}

/*
 * The device number of a mount.  AT_STATX_DONT_SYNC: the kernel must not ask the daemon, which
 * does not answer before it serves and after it has stopped.
 */
static int find_dev(int dir, const char *path, int flags, dev_t *dev)
{
	struct statx stx;

	if (statx(dir, path, flags | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &stx) != 0)
		return -errno;
	*dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	return 0;
}

static bool is_confined(void)
{
	char enabled = 'N';
	FILE *file = fopen(APPARMOR_ENABLED, "re");

	if (file) {
		enabled = (char)fgetc(file);
		fclose(file);
	}
	return enabled == 'Y' && access(PROFILE, F_OK) == 0;
}

/* Whether AppArmor's profile of fusermount3 lets a user mount there (Ubuntu 25.04). */
static bool is_allowed_by_profile(const char *mountpoint)
{
	const char *const allowed[] = { "/mnt", "/media", "/tmp", "/run/user", getenv("HOME") };

	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
		size_t len = allowed[i] ? strlen(allowed[i]) : 0;

		if (len > 1 && strncmp(mountpoint, allowed[i], len) == 0 && mountpoint[len] == '/')
			return true;
	}
	return false;
}

int shmfs_mount(struct fuse_session *session, const char *mountpoint, dev_t *dev)
{
	if (fuse_session_mount(session, mountpoint) == 0) {
		find_dev(AT_FDCWD, mountpoint, 0, dev);
		return 0;
	}
	if (getuid() != 0 && is_confined() && !is_allowed_by_profile(mountpoint))
		shmfs_log(LOG_ERR,
			  "mount point %s: AppArmor lets users mount below their home, "
			  "/mnt, /media, /tmp and /run/user alone: see " PROFILE,
			  mountpoint);
	return -EIO;
}

/* Has it been unmounted?  The kernel says so by POLLERR on the device. */
static bool is_unmounted(int device)
{
	struct pollfd poll_fd = { .fd = device };

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLERR);
}

/*
 * Unmount what is on the path, if it is our mount.  Another one may have been mounted over it,
 * and the owner of a directory above can have put another in its place.
 */
static int detach(const char *mountpoint, dev_t dev)
{
	SHMFS_AUTO_FD int dir = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[32];
	dev_t found;

	if (dir < 0)
		return -errno;
	if (find_dev(dir, "", AT_EMPTY_PATH, &found) != 0 || found != dev)
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
	return umount2(path, MNT_DETACH) == 0 ? 0 : -errno;
}

/*
 * libfuse may run umount(8), 3.17.2 always and 3.14 where /etc/mtab is a file, and root's daemon
 * can run no program any more (syscall_filter.c).  So root's daemon unmounts here.  Then a pipe
 * takes the place of the device: libfuse finds POLLERR on it, as on the device of a filesystem
 * that is unmounted, and does nothing.
 */
void shmfs_unmount(struct fuse_session *session, const char *mountpoint, dev_t dev)
{
	const int device = fuse_session_fd(session);
	int ends[2];

	if (getuid() == 0 && !is_unmounted(device) && pipe2(ends, O_CLOEXEC) == 0) {
		if (detach(mountpoint, dev) != 0)
			shmfs_log(LOG_WARNING, "not unmounted: something else is on %s by now",
				  mountpoint);
		dup3(ends[1], device, O_CLOEXEC);
		close(ends[0]);
		close(ends[1]);
	}
	fuse_session_unmount(session);
}
