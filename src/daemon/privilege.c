/* SPDX-License-Identifier: MIT */
#include "daemon/internal.h"

#include <cap-ng.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/*
 * Ordinary users are served with their own credentials (core/caller.c).  These capabilities open
 * what the kernel has allowed a user to open, and carry out requests of root.
 */
static const unsigned kept[] = {
	CAP_SYS_ADMIN,	  /* passthrough; map_files; umount(2); root's IPC_SET and IPC_RMID */
	CAP_SETUID,	  /* taking the caller's uid */
	CAP_SETGID,	  /* taking the caller's groups */
	CAP_IPC_OWNER,	  /* shmat(2) with any mode */
	CAP_DAC_OVERRIDE, /* open(2) in /dev/shm with any mode; root's unlink and rename */
	CAP_LEASE,	  /* a lease on a file of another user: sysv/segment.c, posix/names.c */
	CAP_IPC_LOCK,	  /* SHM_HUGETLB and SHM_LOCK, when such a segment is resized */
	CAP_KILL,	  /* ending a process that locks for a user: sysv/memlock.c */
	CAP_FOWNER,	  /* clearing set-user-ID bits when a user writes; root's chmod */
	CAP_CHOWN,	  /* root's chown */
	CAP_FSETID,	  /* root's chmod g+s */
	CAP_SETFCAP,	  /* root's setcap(8); removing file capabilities on a write */
	CAP_SYS_NICE,	  /* leaving SCHED_IDLE: fuse/follow.c */
	CAP_SYS_PTRACE,	  /* reading /proc where it is mounted with hidepid */
};

/*
 * The limit is 1 byte because the kernel ignores 0 when a program takes the core (fs/coredump.c,
 * coredump_pipe()).  PR_SET_DUMPABLE alone does not last: a change of credentials sets it anew.
 */
static int forbid_core(void)
{
	const struct rlimit one_byte = { 1, 1 };
	struct rlimit now;

	if (prctl(PR_SET_DUMPABLE, 0) != 0 || getrlimit(RLIMIT_CORE, &now) != 0)
		return -errno;
	if (now.rlim_max < one_byte.rlim_max)
		return 0;
	return setrlimit(RLIMIT_CORE, &one_byte) == 0 ? 0 : -errno;
}

/*
 * core/caller.c relies on the kernel to drop the effective capabilities of a thread whose
 * effective uid is not 0.  The daemon can have inherited a securebit that turns this off.
 */
static int require_uid_rule(void)
{
	int bits = prctl(PR_GET_SECUREBITS);

	if (bits < 0)
		return -errno;
	if (!(bits & SECBIT_NO_SETUID_FIXUP))
		return 0;
	return prctl(PR_SET_SECUREBITS, bits & ~SECBIT_NO_SETUID_FIXUP) == 0 ? 0 : -errno;
}

/* Keep those of `kept` that the process has (a container may have fewer), and drop the rest. */
static int reduce_capabilities(void)
{
	const size_t count = sizeof(kept) / sizeof(*kept);
	bool have[sizeof(kept) / sizeof(*kept)];
	capng_select_t sets = CAPNG_SELECT_CAPS;

	if (capng_get_caps_process() != 0)
		return -EPERM;
	/* An ordinary user's daemon lacks it, and fusermount3 needs the bounding set. */
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		sets |= CAPNG_SELECT_BOUNDS;
	for (size_t i = 0; i < count; i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < count; i++)
		if (have[i])
			capng_update(CAPNG_ADD, CAPNG_PERMITTED | CAPNG_EFFECTIVE, kept[i]);
	errno = 0;
	if (capng_apply(sets) == 0)
		return 0;
	return errno ? -errno : -EPERM;
}

int shmfs_privilege_reduce(void)
{
	int err = forbid_core();

	if (!err && getuid() == 0)
		err = require_uid_rule();
	if (!err)
		err = reduce_capabilities();
	if (!err && getuid() == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		err = -errno;
	if (!err && getuid() == 0)
		err = shmfs_syscall_filter_install();
	if (err)
		shmfs_log(LOG_ERR,
			  "cannot give up privileges: %s; start shmfs outside of the sandbox that "
			  "forbids it",
			  strerror(-err));
	return err;
}
