/* SPDX-License-Identifier: MIT */
/*
 * The directory that the objects are in.
 *
 * Something can be mounted on a name, in a container by a hostile user, and may never answer.
 * stat() and open() here do not ask the filesystem that a name leads to.  To ask of each name of a
 * listing whether something is mounted on it doubles the cost.  The kernel says when its table of
 * mounts has changed (proc_pid_mountinfo(5), POLLPRI), so the table is read once, and again after a
 * change.
 */
#include "posix/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <linux/xattr.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static struct timespec time_of(const struct statx_timestamp *time)
{
	return (struct timespec){ .tv_sec = (time_t)time->tv_sec, .tv_nsec = (long)time->tv_nsec };
}

static struct stat stat_of(const struct statx *stx)
{
	return (struct stat){
		.st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.st_ino = (ino_t)stx->stx_ino,
		.st_mode = stx->stx_mode,
		.st_nlink = stx->stx_nlink,
		.st_uid = stx->stx_uid,
		.st_gid = stx->stx_gid,
		.st_size = (off_t)stx->stx_size,
		.st_blksize = (blksize_t)stx->stx_blksize,
		.st_blocks = (blkcnt_t)stx->stx_blocks,
		.st_atim = time_of(&stx->stx_atime),
		.st_mtim = time_of(&stx->stx_mtime),
		.st_ctim = time_of(&stx->stx_ctime),
	};
}

int posix_dir_stat(const struct posix_backend *be, const char *name, struct stat *st)
{
	const bool is_path = *name == '/';
	const int flags =
		(is_path ? 0 : AT_SYMLINK_NOFOLLOW) | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
	struct statx stx;
	struct stat now;

	if (statx(be->dir, name, flags, STATX_BASIC_STATS, &stx) != 0)
		return -errno;
	now = stat_of(&stx);
	if (!S_ISREG(now.st_mode) || now.st_dev != be->dev ||
	    (!is_path && (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT)))
		return -ENOENT;
	*st = now;
	return 0;
}

/*
 * A path of /proc leads to what its process has there now, which can be any file, a device or a
 * file of a server that never answers.  So the file is looked at before it is opened.  If a name is
 * a FIFO's now, opening it does not wait for a writer.
 */
int posix_dir_open(const struct posix_backend *be, const char *name, int flags, ino_t *ino)
{
	const bool is_path = *name == '/';
	const int nonblock = flags & O_PATH ? 0 : O_NONBLOCK;
	const struct open_how how = {
		.flags = (unsigned)(O_CLOEXEC | (is_path ? O_PATH : flags | nonblock | O_NOFOLLOW)),
		.resolve = is_path ? 0 : RESOLVE_NO_XDEV,
	};
	SHMFS_AUTO_FD int fd = (int)syscall(SYS_openat2, be->dir, name, &how, sizeof(how));
	struct statx stx;
	struct stat st;

	if (fd < 0)
		return errno == ELOOP || errno == EXDEV ? -ENOENT : -errno;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &stx) != 0)
		return -errno;
	st = stat_of(&stx);
	if (!S_ISREG(st.st_mode) || st.st_dev != be->dev)
		return -ENOENT;
	if (is_path && nonblock) {
		int again = posix_reopen(fd, flags | nonblock);

		if (again < 0)
			return again;
		close(fd);
		fd = again;
	}
	*ino = st.st_ino;
	return shmfs_steal_fd(&fd);
}

/* --- mounts --- */

/*
 * The directory of another mount namespace (`-o target=PID`) is not in the table at all; then each
 * name is asked.
 */
static bool read_mounts(FILE *table, uint64_t dir_mount)
{
	bool is_listed = false;
	uint64_t mount, parent;

	rewind(table);
	while (fscanf(table, "%" SCNu64 " %" SCNu64 " %*[^\n]", &mount, &parent) == 2) {
		if (parent == dir_mount)
			return true;
		is_listed |= mount == dir_mount;
	}
	return !is_listed;
}

void posix_dir_find_mounts(struct posix_backend *be, const char *proc_dir)
{
	char path[PATH_MAX];
	struct statx stx;

	snprintf(path, sizeof(path), "%s/self/mountinfo", proc_dir);
	be->mounts = fopen(path, "re");
	if (statx(be->dir, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) == 0)
		be->dir_mount = stx.stx_mnt_id;
	be->has_mounts = !be->mounts || read_mounts(be->mounts, be->dir_mount);
}

static bool may_have_mounts(struct posix_backend *be)
{
	SHMFS_LOCKED(&be->base.lock);
	struct pollfd change = { .fd = be->mounts ? fileno(be->mounts) : -1, .events = POLLPRI };

	if (poll(&change, 1, 0) > 0)
		be->has_mounts = read_mounts(be->mounts, be->dir_mount);
	return be->has_mounts;
}

/* --- names --- */

/* `ask_each`: the entry does not say whether something is mounted on it. */
static int list_entry(const struct posix_backend *be, const struct dirent *entry, bool ask_each,
		      shmfs_list_fn *fn, void *arg)
{
	struct shmfs_name name;
	struct stat st;

	if (shmfs_name_parse_posix(entry->d_name, &name) != 0)
		return 0;
	if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN)
		return 0;
	if ((ask_each || entry->d_type == DT_UNKNOWN) &&
	    posix_dir_stat(be, entry->d_name, &st) != 0)
		return 0;
	return fn(&name, entry->d_ino, arg);
}

int posix_dir_list(struct posix_backend *be, shmfs_list_fn *fn, void *arg)
{
	const bool ask_each = may_have_mounts(be);
	char path[POSIX_PROC_PATH];
	struct dirent *entry;
	int err = 0;
	DIR *dir;

	posix_proc_path(be->dir, path);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (!err && (errno = 0, entry = readdir(dir)) != NULL)
		err = list_entry(be, entry, ask_each, fn, arg);
	if (!err && errno)
		err = -errno;
	closedir(dir);
	return err;
}

bool posix_dir_is_closed(const struct posix_backend *be)
{
	char path[POSIX_PROC_PATH];
	struct stat dir;

	if (fstat(be->dir, &dir) != 0 || (dir.st_mode & 0111) != 0111)
		return true;
	posix_proc_path(be->dir, path);
	return getxattr(path, XATTR_NAME_POSIX_ACL_ACCESS, NULL, 0) > 0;
}

int posix_dir_check_search(const struct posix_backend *be, const struct shmfs_caller *caller)
{
	if (shmfs_caller_is_self(caller) || !posix_dir_is_closed(be))
		return 0;
	SHMFS_AS_CALLER(err, caller);

	if (err)
		return err;
	return faccessat(be->dir, ".", X_OK, AT_EACCESS) == 0 ? 0 : -errno;
}

void posix_proc_path(int fd, char path[static POSIX_PROC_PATH])
{
	snprintf(path, POSIX_PROC_PATH, "/proc/self/fd/%d", fd);
}

int posix_reopen(int fd, int flags)
{
	char path[POSIX_PROC_PATH];
	int again;

	posix_proc_path(fd, path);
	again = open(path, flags | O_CLOEXEC);
	return again < 0 ? -errno : again;
}
