/* SPDX-License-Identifier: MIT */
#include "daemon/internal.h"

#include <poll.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "fuse/internal.h"

#define FUSE_DEVICE "/dev/fuse"
#define PROFILE "/etc/apparmor.d/fusermount3"
#define APPARMOR "/sys/kernel/security/apparmor"

static int check_mountpoint(const char *mountpoint)
{
	struct stat st;
	int err = stat(mountpoint, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;

	if (err) {
		shmfs_log(LOG_ERR, "mount point %s: %s; %s", mountpoint, strerror(err),
			  err == ENOTCONN ?
				  "a shmfs that died is still mounted there: umount it first" :
				  "make a directory with mkdir");
		return -EINVAL;
	}
	if (access(FUSE_DEVICE, R_OK | W_OK) != 0) {
		shmfs_log(LOG_ERR, "%s: %s; as root, try: %s", FUSE_DEVICE, strerror(errno),
			  errno == EACCES ? "chmod 666 " FUSE_DEVICE : "modprobe fuse");
		return -EINVAL;
	}
	return 0;
}

/*
 * The mount is noexec where /dev/shm is.  It is noexec without passthrough as well: the kernel
 * maps a program to run it, and files that the daemon serves cannot be mapped.
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
		shmfs_log(LOG_ERR, "allow_other is for root, since a user's mount has that user's "
				   "rights; leave it out");
		return -EPERM;
	}
	if (options->allow_root && getuid() == 0) {
		shmfs_log(LOG_ERR, "allow_root is for ordinary users, since every user reaches a "
				   "mount by root; leave it out");
		return -EINVAL;
	}
	return 0;
}

int shmfs_mount_prepare(struct fuse_args *args, const struct shmfs_options *options,
			struct shmfs_backend *posix)
{
	char source[32] = "shmfs";
	char first[128];
	int err = check_mountpoint(options->mountpoint);

	if (!err)
		err = check_access(options);
	if (err)
		return err;
	/* df(1) and findmnt(8) tell mounts apart by the source. */
	if (options->target)
		snprintf(source, sizeof(source), "shmfs:target=%d", (int)options->target);
	snprintf(first, sizeof(first), "-ofsname=%s,default_permissions%s%s%s", source,
		 getuid() == 0 ? ",allow_other" : "", options->allow_root ? ",allow_root" : "",
		 is_noexec(options, posix) ? ",noexec" : "");
	/* At the front: the same option given by the user comes later and counts. */
	if (fuse_opt_insert_arg(args, 1, first) != 0)
		return -ENOMEM;
	/* At the end: for root mount.fuse3(8) adds suid and dev. */
	return fuse_opt_add_arg(args, "-onosuid,nodev") == 0 ? 0 : -ENOMEM;
}

/*
 * The device number of a mount.  With AT_STATX_DONT_SYNC the kernel does not ask the daemon, which
 * answers neither before it serves nor after it has stopped.
 */
static int find_dev(int dir, const char *path, int flags, dev_t *dev)
{
	struct statx stx;

	if (statx(dir, path, flags | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &stx) != 0)
		return -errno;
	*dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	return 0;
}

/* Does AppArmor's profile of fusermount3 forbid a user to mount there (Ubuntu 25.04)? */
static bool is_forbidden_by_profile(const char *mountpoint)
{
	const char *const allowed[] = { "/mnt", "/media", "/tmp", "/run/user", getenv("HOME") };

	if (access(APPARMOR, F_OK) != 0 || access(PROFILE, F_OK) != 0)
		return false;
	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
		size_t len = allowed[i] ? strlen(allowed[i]) : 0;

		if (len > 1 && strncmp(mountpoint, allowed[i], len) == 0 && mountpoint[len] == '/')
			return false;
	}
	return true;
}

int shmfs_mount(struct fuse_session *session, const char *mountpoint, dev_t *dev)
{
	if (fuse_session_mount(session, mountpoint) == 0) {
		find_dev(AT_FDCWD, mountpoint, 0, dev);
		return 0;
	}
	if (getuid() != 0 && is_forbidden_by_profile(mountpoint))
		shmfs_log(LOG_ERR,
			  "mount point %s: AppArmor lets users mount only below their home, /mnt, "
			  "/media, /tmp and /run/user (" PROFILE "); try: shmfs ~/shm",
			  mountpoint);
	return -EIO;
}

/*
 * Unmount `mountpoint` if our mount is there.  Something else may have been mounted over it, and
 * the owner of a directory above can have replaced the directory.
 *
 * MNT_FORCE fails the requests that wait (fs/fuse/inode.c, fuse_umount_begin(), Linux 6.18).  To
 * close the device does that as well, but not while the thread that drops names is in a write(2) to
 * it, where it can wait for a lock that a caller of such a request has.
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
	return umount2(path, MNT_DETACH | MNT_FORCE) == 0 ? 0 : -errno;
}

/*
 * libfuse may run umount(8): 3.17.2 always, 3.14 where /etc/mtab is a file.  Root's daemon can run
 * no program any more (privilege.c), so it unmounts here.  Then it replaces the device by a
 * pipe without a reader.  libfuse finds POLLERR on that too, and does nothing.
 */
void shmfs_unmount(struct fuse_session *session, const char *mountpoint, dev_t dev)
{
	const int device = fuse_session_fd(session);
	struct pollfd gone = { .fd = device };
	int ends[2];

	/* poll(2) finds POLLERR if it is unmounted already. */
	if (getuid() == 0 && poll(&gone, 1, 0) == 0 && pipe2(ends, O_CLOEXEC) == 0) {
		if (detach(mountpoint, dev) != 0)
			shmfs_log(LOG_WARNING,
				  "not unmounted: something else is on %s by now; umount it twice",
				  mountpoint);
		dup3(ends[1], device, O_CLOEXEC);
		close(ends[0]);
		close(ends[1]);
	}
	fuse_session_unmount(session);
}
