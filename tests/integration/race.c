/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the daemon: what can go wrong between two steps, above all
 * between the removal of a segment and its re-creation under the same key, at
 * exactly that moment.
 *
 * The environment variable SHMFS_RACE names a file.  While it exists, the
 * first shmget(2) that creates a segment under a key after an IPC_RMID meets
 * what the file says:
 *
 *   take       another program has just made a segment under the key
 *   28, 12...  the call fails with this errno
 *   28 always  so does every later one, for as long as the file exists
 *
 *   kill       the daemon is killed when it is about to remove a segment that
 *              has no key yet
 *   gone       another program removes a segment as soon as the daemon has made
 *              it under a key, without any IPC_RMID before; with ` always` each of them
 *
 *   close, rmid, shmget, copy
 *              the daemon waits before it lets nobody read a segment, removes
 *              one that has a key, makes it again, or copies to it.  Meanwhile there is a file with
 *              ".reached" at the end of its name; it goes on when that is gone
 *
 *   attach, xattr
 *              the daemon waits before it attaches a segment, or sets an attribute,
 *              in the same way
 *
 *   drought    from the third piece of a copy on there is no memory, for any copy,
 *              as long as the file exists
 *
 *   shortage   there is no memory for the third piece of a copy, nor for the next
 *              one, of whatever copy that is
 *
 *   made       the process that replaces a segment is killed when it has made one without a key
 *
 *   open       the process that replaces a segment is killed when it has opened
 *              /proc/meminfo
 *
 *   fifo       a name in a directory is that of a regular file when it is looked
 *              at, and right after it that of a fifo
 *
 * The file is removed when that happens (but for `always`), so a test sees
 * that the moment came.
 */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_bool removed; /* an IPC_RMID went before */
static int pieces;	    /* that a copy was made in, so far */
static atomic_bool still_short;
static pid_t daemon_pid; /* a replacer has another */

typedef int shmget_fn(key_t key, size_t size, int flags);
typedef int shmctl_fn(int id, int command, struct shmid_ds *data);

/* The plan for the making of a segment, or false when there is none. */
static bool read_plan(char *plan, size_t size)
{
	const char *path = getenv("SHMFS_RACE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd == -1)
		return false;
	ssize_t count = read(fd, plan, size - 1);
	close(fd);
	if (count <= 0)
		return false;
	plan[count] = '\0';
	if (strncmp(plan, "take", 4) != 0 && !isdigit((unsigned char)plan[0]))
		return false;
	if (!strstr(plan, "always"))
		unlink(path);
	return true;
}

static void __attribute__((constructor)) note_daemon(void)
{
	daemon_pid = getpid();
}

static bool is_planned(const char *wanted)
{
	const char *path = getenv("SHMFS_RACE");
	char plan[32] = "";
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t count = fd == -1 ? 0 : read(fd, plan, sizeof(plan) - 1);
	if (fd != -1)
		close(fd);
	return count > 0 && strncmp(plan, wanted, strlen(wanted)) == 0;
}

/* Is this the plan?  Then it is used up; another one stays. */
static bool take_plan(const char *wanted)
{
	return is_planned(wanted) && unlink(getenv("SHMFS_RACE")) == 0;
}

/* If this is the plan, wait here for as long as the test likes. */
static void pause_at(const char *point)
{
	char reached[256];

	if (!take_plan(point))
		return;
	snprintf(reached, sizeof(reached), "%s.reached", getenv("SHMFS_RACE"));
	close(open(reached, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	/* ThreadSanitizer loses track of a process that is killed in a usleep() of its own. */
	while (access(reached, F_OK) == 0)
		select(0, NULL, NULL, NULL, &(struct timeval){ .tv_usec = 1000 });
}

static bool has_key(shmctl_fn *real, int id)
{
	struct shmid_ds data;

	return real(id, SHM_STAT_ANY, &data) == id && data.shm_perm.__key != IPC_PRIVATE;
}

static bool is_time_to_kill(shmctl_fn *real, int id)
{
	struct shmid_ds data;

	return real(id, SHM_STAT_ANY, &data) == id && data.shm_perm.__key == IPC_PRIVATE &&
	       take_plan("kill");
}

int shmctl(int id, int command, struct shmid_ds *data)
{
	shmctl_fn *real = (shmctl_fn *)dlsym(RTLD_NEXT, "shmctl");

	if (command == IPC_RMID && is_time_to_kill(real, id))
		kill(daemon_pid, SIGKILL);
	if (command == IPC_SET && !(data->shm_perm.mode & 0666))
		pause_at("close");
	if (command == IPC_RMID && has_key(real, id))
		pause_at("rmid");
	int result = real(id, command, data);

	if (command == IPC_RMID && result == 0)
		removed = true;
	return result;
}

int shmget(key_t key, size_t size, int flags)
{
	shmget_fn *real = (shmget_fn *)dlsym(RTLD_NEXT, "shmget");
	char plan[32];

	if (key == IPC_PRIVATE || !(flags & IPC_CREAT)) {
		int id = real(key, size, flags);
		if (key == IPC_PRIVATE && getpid() != daemon_pid && take_plan("made"))
			kill(getpid(), SIGKILL);
		return id;
	}
	if (is_planned("gone always") || take_plan("gone")) {
		int made = real(key, size, flags);
		((shmctl_fn *)dlsym(RTLD_NEXT, "shmctl"))(made, IPC_RMID, NULL);
		return made;
	}
	if (!removed)
		return real(key, size, flags);
	pause_at("shmget");
	if (!read_plan(plan, sizeof(plan)))
		return real(key, size, flags);
	if (!strstr(plan, "always"))
		removed = false;
	if (strncmp(plan, "take", 4) != 0) {
		errno = atoi(plan);
		return -1;
	}
	int id = real(key, 64, IPC_CREAT | IPC_EXCL | 0600);
	char *text = shmat(id, NULL, 0);
	if (text != (void *)-1) {
		strcpy(text, "taken");
		shmdt(text);
	}
	return real(key, size, flags);
}

typedef ssize_t copy_fn(int from, off64_t *from_pos, int to, off64_t *to_pos, size_t count,
			unsigned flags);
ssize_t copy_file_range(int from, off64_t *from_pos, int to, off64_t *to_pos, size_t count,
			unsigned flags)
{
	pause_at("copy");
	if (is_planned("drought") && ++pieces >= 3) {
		errno = ENOMEM;
		return -1;
	}
	/* The kernel has two words for it, by how the memory was to be accounted. */
	if (atomic_exchange(&still_short, false)) {
		errno = ENOSPC;
		return -1;
	}
	/* In the middle: what is large is copied in pieces. */
	if (is_planned("shortage") && ++pieces == 3 && take_plan("shortage")) {
		pieces = 0;
		still_short = true;
		errno = ENOMEM;
		return -1;
	}
	return ((copy_fn *)dlsym(RTLD_NEXT, "copy_file_range"))(from, from_pos, to, to_pos, count,
								flags);
}

typedef void *shmat_fn(int id, const void *address, int flags);
void *shmat(int id, const void *address, int flags)
{
	pause_at("attach");
	return ((shmat_fn *)dlsym(RTLD_NEXT, "shmat"))(id, address, flags);
}

typedef int lsetxattr_fn(const char *path, const char *name, const void *value, size_t size,
			 int flags);
int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	pause_at("xattr");
	return ((lsetxattr_fn *)dlsym(RTLD_NEXT, "lsetxattr"))(path, name, value, size, flags);
}

typedef int open_fn(const char *path, int flags, ...);
int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	va_start(args, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(args, mode_t);
	va_end(args);
	int fd = ((open_fn *)dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
	if (strstr(path, "/meminfo") && getpid() != daemon_pid && take_plan("open"))
		kill(getpid(), SIGKILL);
	return fd;
}

typedef int statx_fn(int dir, const char *name, int flags, unsigned mask, struct statx *data);
int statx(int dir, const char *restrict name, int flags, unsigned mask, struct statx *restrict data)
{
	int result = ((statx_fn *)dlsym(RTLD_NEXT, "statx"))(dir, name, flags, mask, data);

	if (dir < 0 || result == -1 || !S_ISREG(data->stx_mode))
		return result;
	if (take_plan("fifo") && unlinkat(dir, name, 0) == 0)
		mkfifoat(dir, name, 0666);
	return result;
}
