/* SPDX-License-Identifier: MIT */
/*
 * Entering what another process sees.
 *
 * Everything is reached from one descriptor of /proc/PID, which stays with the
 * process that had the number when it was opened: what follows is of that one
 * process, or fails with ESRCH, even if the number is used again meanwhile.
 *
 * The other side may be hostile, a container is made to hold such, and we are
 * root.  Its /dev/shm is therefore resolved below its root (a symbolic link
 * leads to something else of its own at most) and must be a tmpfs, which
 * always answers: a network's or another user's filesystem could let us wait.
 */
#include "daemon/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shmfs/log.h"

#define SHM_DIR "dev/shm"

#define say(pid, format, ...) shmfs_log(LOG_ERR, "target=%d: " format, (int)(pid), ##__VA_ARGS__)

/* How the lookup of something in /proc/PID fails, in words. */
static int report_process(pid_t pid, int err)
{
	if (err == -ENOENT || err == -ESRCH)
		say(pid, "there is no such process");
	else if (err == -EACCES || err == -EPERM)
		say(pid, "no permission to look into that process; try as root");
	else
		say(pid, "%s", strerror(-err));
	return err;
}

static int open_process(const char *proc_dir, pid_t pid)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%d", proc_dir, (int)pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? report_process(pid, -errno) : fd;
}

/* --- its /dev/shm --- */

static int resolve_beneath(int root, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

static bool is_tmpfs(int dir)
{
	struct statfs fs;

	return fstatfs(dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static int open_shm_dir(int process, pid_t pid)
{
	int root = openat(process, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int dir;

	if (root < 0)
		return report_process(pid, -errno);
	dir = resolve_beneath(root, SHM_DIR);
	close(root);
	if (dir < 0) {
		say(pid, "cannot open its /" SHM_DIR ": %s", strerror(-dir));
		return dir;
	}
	if (!is_tmpfs(dir)) {
		say(pid, "its /" SHM_DIR " is not a tmpfs");
		close(dir);
		return -ENOTDIR;
	}
	return dir;
}

/* --- its IPC namespace --- */

/* Is `name` in the directory `ns` of the process the same namespace as ours? */
static bool is_ours(const char *proc_dir, int process, const char *name)
{
	char path[128];
	struct stat ours;
	struct stat theirs;

	snprintf(path, sizeof(path), "%s/self/%s", proc_dir, name);
	return stat(path, &ours) == 0 && fstatat(process, name, &theirs, 0) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

static int open_namespace(const char *proc_dir, int process, pid_t pid)
{
	int fd = openat(process, "ns/ipc", O_RDONLY | O_CLOEXEC);
	int err = -errno;
	char path[128];

	if (fd >= 0)
		return fd;
	snprintf(path, sizeof(path), "%s/self/ns/ipc", proc_dir);
	if (err != -ENOENT || faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return report_process(pid, err);
	say(pid, "this kernel has no IPC namespaces (CONFIG_IPC_NS)");
	return -EOPNOTSUPP;
}

/*
 * Joining takes CAP_SYS_ADMIN twice: in the user namespace that owns the IPC
 * namespace, and in our own (ipc/namespace.c, ipcns_install()).  So somebody's
 * own container is not enough; its user namespace has to be entered first, and
 * from there fusermount3 cannot mount in the mounts outside.
 */
static int join(const char *proc_dir, int process, pid_t pid)
{
	int ns = open_namespace(proc_dir, process, pid);
	int err;

	if (ns < 0)
		return ns;
	/* Nothing to join, hence nothing that needs a right. */
	err = is_ours(proc_dir, process, "ns/ipc") || setns(ns, CLONE_NEWIPC) == 0 ? 0 : -errno;
	close(ns);
	if (err == -EPERM && !is_ours(proc_dir, process, "ns/user"))
		say(pid,
		    "joining its IPC namespace takes root; try as root, or in a shell from: "
		    "nsenter -t %d -U --preserve-credentials unshare -m",
		    (int)pid);
	else if (err == -EPERM)
		say(pid, "joining its IPC namespace takes root; try as root");
	else if (err)
		say(pid, "cannot join its IPC namespace: %s", strerror(-err));
	return err;
}

int shmfs_target_enter(const char *proc_dir, pid_t pid)
{
	int process = open_process(proc_dir, pid);
	int dir;
	int err;

	if (process < 0)
		return process;
	dir = open_shm_dir(process, pid);
	err = dir < 0 ? dir : join(proc_dir, process, pid);
	close(process);
	if (err && dir >= 0)
		close(dir);
	return err ? err : dir;
}
