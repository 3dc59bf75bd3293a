/* SPDX-License-Identifier: MIT */
/*
 * SHM_LOCK in the caller's name.
 *
 * Unlocking goes by the effective uid.  Locking also looks at RLIMIT_MEMLOCK, which a process has,
 * and puts the memory on the account of the real uid (mm/mlock.c, user_shm_lock()).  The daemon
 * itself would lock all of it on root's account.  So a process with the caller's uid and limit does
 * it.  It shares the daemon's memory.  Nobody can trace it: a change of uid clears the "dumpable"
 * attribute of that memory (prctl(2)).  The caller can signal it: if it is stopped, it is ended.
 */
#include "sysv/internal.h"

#include "shmfs/proc.h"

/* The whole life of the process that locks. */
static int be_locker(void *arg)
{
	struct sysv_locker *locker = arg;
	const uid_t effective = locker->is_limited ? locker->uid : (uid_t)-1;

	/*
	 * libc's setresuid() would change all threads of the daemon.  The account goes by the real
	 * uid, the right to pass the limit by the effective one.
	 */
	if ((locker->is_limited && setrlimit(RLIMIT_MEMLOCK, &locker->limit) != 0) ||
	    (getuid() == 0 && syscall(SET_UID, locker->uid, effective, effective) != 0) ||
	    shmctl(locker->id, SHM_LOCK, NULL) != 0)
		locker->err = -errno;
	else
		locker->err = 0;
	return 0;
}

int sysv_lock_as(struct sysv_locker *locker)
{
	int err;

	locker->err = -EBUSY; /* if the process does not say */
	err = sysv_run_process(0, be_locker, locker);
	return err < 0 ? err : locker->err;
}

/*
 * The soft RLIMIT_MEMLOCK of a process in bytes, from text that everybody may read: prlimit(2) on
 * another user's process takes CAP_SYS_RESOURCE.
 */
static int read_limit(const char *proc_dir, pid_t pid, rlim_t *limit)
{
	static const char label[] = "\nMax locked memory";
	char text[4096];
	const char *line;
	char *end;

	shmfs_proc_read(AT_FDCWD, text, sizeof(text), "%s/%d/limits", proc_dir, pid);
	line = strstr(text, label);
	if (!line)
		return -EPERM;
	line += sizeof(label) - 1;
	*limit = strtoull(line, &end, 10);
	if (end == line)
		*limit = RLIM_INFINITY; /* "unlimited" */
	return 0;
}

/* The caller and the limit.  The limit of a process that cannot be seen from here is unknown. */
static int find_locker(struct sysv_backend *be, const struct shmfs_caller *caller,
		       struct sysv_locker *locker)
{
	rlim_t limit;
	int err = caller->pid ? read_limit(be->config.proc_dir, caller->pid, &limit) : -EPERM;

	if (err)
		return err;
	if (getrlimit(RLIMIT_MEMLOCK, &locker->limit) != 0)
		return -errno;
	/* Every process may lower its limit.  Raising ours takes CAP_SYS_RESOURCE. */
	if (limit < locker->limit.rlim_max)
		locker->limit.rlim_max = limit;
	locker->limit.rlim_cur = locker->limit.rlim_max;
	locker->uid = caller->uid;
	locker->is_limited = true;
	return 0;
}

int sysv_locker_for(struct sysv_backend *be, const struct shmid_ds *ds, uint64_t size,
		    const struct shmfs_caller *caller, struct sysv_locker *locker)
{
	int err;

	*locker = (struct sysv_locker){ .uid = ds->shm_perm.uid };
	if (!(ds->shm_perm.mode & SYSV_MODE_LOCKED) || caller->uid == 0 || size <= ds->shm_segsz)
		return 0;
	err = find_locker(be, caller, locker);
	return !err && size > locker->limit.rlim_cur ? -ENOMEM : err;
}

int sysv_lock(struct sysv_backend *be, int id, bool on, const struct shmfs_caller *caller)
{
	struct sysv_locker locker = { .id = id };

	if (on && caller->uid != 0) {
		int err = find_locker(be, caller, &locker);

		return err ? err : sysv_lock_as(&locker);
	}

	SHMFS_AS_CALLER(err, caller);

	if (err)
		return err;
	return shmctl(id, on ? SHM_LOCK : SHM_UNLOCK, NULL) == 0 ? 0 : -errno;
}
