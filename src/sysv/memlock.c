/* SPDX-License-Identifier: MIT */
/*
 * SHM_LOCK in the caller's name.
 *
 * Unlocking goes by the effective uid.  Locking also looks at RLIMIT_MEMLOCK,
 * which belongs to a process, and puts the memory to the account of the real
 * uid (mm/mlock.c, user_shm_lock()): done by the daemon, all users would share
 * the account and the limit of root.  So a process of its own does it that has
 * the caller's uid and limit.  It shares the daemon's memory, so that nothing
 * has to be copied, and nobody can trace it (a change of uid clears the
 * "dumpable" attribute of that memory, prctl(2)).  What the caller can do is
 * send it signals; stopped, it is ended.
 */
#include "sysv/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shmfs/raw_setid.h"
#include "sysv/clone.h"

#define STACK ((size_t)64 << 10)

struct locker {
	int id;
	uid_t uid;
	struct rlimit limit;
	int err; /* what came of it */
};

/*
 * The process' whole life.  It has the thread-local memory of who waits for
 * it, `errno` included, who leaves that alone meanwhile.
 */
static int be_locker(void *arg)
{
	struct locker *locker = arg;

	/* Of this process alone: not libc's setresuid(), which is for all threads. */
	if (setrlimit(RLIMIT_MEMLOCK, &locker->limit) != 0 ||
	    syscall(SET_UID, locker->uid, locker->uid, locker->uid) != 0 ||
	    shmctl(locker->id, SHM_LOCK, NULL) != 0)
		locker->err = -errno;
	else
		locker->err = 0;
	return 0;
}

/* A process that was stopped would never end, nor would who waits for it. */
static void wait_for_end(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, WUNTRACED) != pid || WIFSTOPPED(status)) {
		if (WIFSTOPPED(status))
			kill(pid, SIGKILL);
	}
}

static int run_locker(struct locker *locker)
{
	char *stack = malloc(STACK);
	sigset_t all, before;
	pid_t pid;

	if (!stack)
		return -ENOMEM;
	locker->err = -EBUSY; /* if it does not come to say otherwise */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = clone(be_locker, stack + STACK, CLONE_VM | CLONE_FILES | SIGCHLD, locker);
	if (pid < 0)
		locker->err = -errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid > 0)
		wait_for_end(pid);
	free(stack);
	return locker->err;
}

/*
 * The soft RLIMIT_MEMLOCK of a process in bytes, from text that everybody may
 * read: prlimit(2) on another user's process takes CAP_SYS_RESOURCE.
 */
static int read_limit(const char *proc_dir, pid_t pid, rlim_t *limit)
{
	static const char label[] = "Max locked memory";
	char path[128];
	char line[256];
	int err = -EPERM;
	FILE *limits;

	snprintf(path, sizeof(path), "%s/%d/limits", proc_dir, pid);
	limits = fopen(path, "re");
	if (!limits)
		return -EPERM;
	while (err && fgets(line, sizeof(line), limits)) {
		const char *number = line + sizeof(label) - 1;
		char *end;

		if (strncmp(line, label, sizeof(label) - 1) != 0)
			continue;
		*limit = strtoull(number, &end, 10);
		if (end == number)
			*limit = RLIM_INFINITY; /* "unlimited" */
		err = 0;
	}
	fclose(limits);
	return err;
}

static int lock_for(struct sysv_backend *be, int id, const struct shmfs_caller *caller)
{
	struct locker locker = { .id = id, .uid = caller->uid };
	rlim_t limit;
	/* Who cannot be seen from here has a limit that is not known. */
	int err = caller->pid ? read_limit(be->config.proc_dir, caller->pid, &limit) : -EPERM;

	if (err)
		return err;
	if (limit == 0)
		return -EPERM;
	if (getrlimit(RLIMIT_MEMLOCK, &locker.limit) != 0)
		return -errno;
	/* Lowering is for all; more than ours takes CAP_SYS_RESOURCE. */
	if (limit < locker.limit.rlim_max)
		locker.limit.rlim_max = limit;
	locker.limit.rlim_cur = locker.limit.rlim_max;
	sysv_release_lead(be);
	return run_locker(&locker);
}

int sysv_lock(struct sysv_backend *be, int id, bool on, const struct shmfs_caller *caller)
{
	int err;

	if (on && caller->uid != 0)
		return lock_for(be, id, caller);
	err = shmfs_caller_assume(caller);
	if (err)
		return err;
	err = shmctl(id, on ? SHM_LOCK : SHM_UNLOCK, NULL) == 0 ? 0 : -errno;
	shmfs_caller_drop();
	return err;
}
