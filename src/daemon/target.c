/* SPDX-License-Identifier: MIT */
/*
 * Entering the IPC namespace and the /dev/shm of another process.
 *
 * Everything is reached from one descriptor of /proc/PID.  It stays with the process that had the
 * number when it was opened: later calls fail with ESRCH if another process has the number.
 *
 * The process may be hostile: containers hold such, and the daemon is root.  So its /dev/shm is
 * resolved below its root, where a symbolic link cannot lead out, and it must be a tmpfs: another
 * filesystem could keep the daemon waiting.
 */
#include "daemon/internal.h"

#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define SHM_DIR "dev/shm"

#define say(pid, format, ...) shmfs_log(LOG_ERR, "target=%d: " format, (int)(pid), ##__VA_ARGS__)

/* Log why a lookup in /proc/PID failed.  Returns `err`. */
static int report_process(pid_t pid, int err)
{
	if (err == -ENOENT || err == -ESRCH)
		say(pid, "there is no such process; list them with: ps -e");
	else if (err == -EACCES || err == -EPERM)
		say(pid, "no permission to look into that process; try as root");
	else
		say(pid, "%s", strerror(-err));
	return err;
}

/* Returns a descriptor of the process's /dev/shm, or a negative errno after a message. */
static int open_shm_dir(int process, pid_t pid)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	SHMFS_AUTO_FD const int root = openat(process, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	SHMFS_AUTO_FD int dir = -1;
	struct statfs fs;

	if (root < 0)
		return report_process(pid, -errno);
	dir = (int)syscall(SYS_openat2, root, SHM_DIR, &how, sizeof(how));
	if (dir < 0 || fstatfs(dir, &fs) != 0) {
		int err = -errno;

		say(pid, "cannot open its /" SHM_DIR ": %s; give a process that has one",
		    strerror(-err));
		return err;
	}
	if (fs.f_type != TMPFS_MAGIC) {
		say(pid, "its /" SHM_DIR " is not a tmpfs; mount one there first");
		return -ENOTDIR;
	}
	return shmfs_steal_fd(&dir);
}

/* Is the namespace ns/`name` of the process the one of this thread? */
static bool is_ours(const char *proc_dir, int process, const char *name)
{
	char path[128];
	struct stat ours, theirs;

	snprintf(path, sizeof(path), "%s/self/%s", proc_dir, name);
	return stat(path, &ours) == 0 && fstatat(process, name, &theirs, 0) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

/* Returns a descriptor of the process's IPC namespace, or a negative errno after a message. */
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
	say(pid, "this kernel has no IPC namespaces (CONFIG_IPC_NS); leave target= out");
	return -EOPNOTSUPP;
}

/*
 * Join the IPC namespace of the process.  That takes CAP_SYS_ADMIN in the user namespace that owns
 * it and in our own (ipc/namespace.c, ipcns_install()).  The owner of a rootless container has
 * only the former, and has to enter the user namespace of the container first.
 */
static int join(const char *proc_dir, int process, pid_t pid)
{
	SHMFS_AUTO_FD const int ns = open_namespace(proc_dir, process, pid);
	int err;

	if (ns < 0)
		return ns;
	if (is_ours(proc_dir, process, "ns/ipc") || setns(ns, CLONE_NEWIPC) == 0)
		return 0;
	err = -errno;
	if (err == -EPERM && !is_ours(proc_dir, process, "ns/user"))
		say(pid,
		    "joining its IPC namespace takes root; try as root, or in a shell from: "
		    "nsenter -t %d -U --preserve-credentials unshare -m",
		    (int)pid);
	else
		say(pid, "cannot join its IPC namespace: %s; try as root", strerror(-err));
	return err;
}

int shmfs_target_enter(const char *proc_dir, pid_t pid)
{
	SHMFS_AUTO_FD int process = -1;
	SHMFS_AUTO_FD int dir = -1;
	char path[128];
	int err;

	snprintf(path, sizeof(path), "%s/%d", proc_dir, (int)pid);
	process = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process < 0)
		return report_process(pid, -errno);
	dir = open_shm_dir(process, pid);
	if (dir < 0)
		return dir;
	err = join(proc_dir, process, pid);
	return err ? err : shmfs_steal_fd(&dir);
}
