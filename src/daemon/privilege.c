/* SPDX-License-Identifier: MIT */
#include "daemon/privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/securebits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shmfs/log.h"
#include "daemon/syscall_filter.h"

/*
 * What serving uses.  Whoever is not root is served with his own credentials
 * (caller.c) and meets his own rights there; these are for opening what the
 * kernel has allowed him to open, and for what root asks for.
 */
static const unsigned kept[] = {
	CAP_SYS_ADMIN,	  /* passthrough; map_files; umount(2); root's IPC_SET and IPC_RMID */
	CAP_SETUID,	  /* being the caller */
	CAP_SETGID,	  /* and in his groups */
	CAP_IPC_OWNER,	  /* shmat(2) whatever the mode */
	CAP_DAC_OVERRIDE, /* open(2) in /dev/shm whatever the mode; root's unlink and rename */
	CAP_LEASE,	  /* a lease on what others own: sysv_segment_is_shared() */
	CAP_IPC_LOCK,	  /* SHM_HUGETLB and SHM_LOCK, when such a segment is resized */
	CAP_KILL,	  /* ending a process that locks for a user: sysv_lock.c */
	CAP_FOWNER,	  /* dropping set-user-ID bits for who writes; root's chmod */
	CAP_CHOWN,	  /* root's chown */
	CAP_FSETID,	  /* root's chmod g+s */
	CAP_SETFCAP,	  /* root's setcap(8); removing capabilities of what is written to */
	CAP_SYS_PTRACE,	  /* what /proc has of a caller, where it is mounted with hidepid */
};

/*
 * A limit of 0 would be ignored where cores go to a program; one of 1 byte is
 * not (fs/coredump.c, coredump_pipe()), and too short for any file.
 * PR_SET_DUMPABLE is not enough, for a change of credentials sets it anew.
 */
static int forbid_core(void)
{
	const struct rlimit none = { 1, 1 };
	struct rlimit now;

	if (prctl(PR_SET_DUMPABLE, 0) != 0 || getrlimit(RLIMIT_CORE, &now) != 0)
		return -errno;
	if (now.rlim_max < none.rlim_max)
		return 0;
	return setrlimit(RLIMIT_CORE, &none) == 0 ? 0 : -errno;
}

/*
 * Acting as a caller rests on the rule that an effective uid other than 0 has
 * no effective capabilities.  Who starts the daemon can have set that aside.
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

/*
 * Keep of `kept` what is there, in a container perhaps less; drop the rest.
 * What cannot be inherited cannot be ambient either (capabilities(7)).
 */
static int reduce_capabilities(void)
{
	bool have[sizeof(kept) / sizeof(*kept)];
	capng_select_t sets = CAPNG_SELECT_CAPS;

	if (capng_get_caps_process() != 0)
		return -EPERM;
	/* Without it, as an ordinary user, the bounding set stays, and is fusermount3's. */
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		sets |= CAPNG_SELECT_BOUNDS;
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		if (have[i])
			capng_update(CAPNG_ADD, CAPNG_PERMITTED | CAPNG_EFFECTIVE, kept[i]);
	}
	errno = 0;
	if (capng_apply(sets) == 0)
		return 0;
	return errno ? -errno : -EPERM;
}

static int forbid_programs(void)
{
	if (getuid() != 0)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	return shmfs_syscall_filter_install();
}

int shmfs_privilege_reduce(void)
{
	int err = forbid_core();

	if (!err && getuid() == 0)
		err = require_uid_rule();
	if (!err)
		err = reduce_capabilities();
	if (!err)
		err = forbid_programs();
	if (err)
		shmfs_log(LOG_ERR, "cannot give up privileges: %s", strerror(-err));
	return err;
}
