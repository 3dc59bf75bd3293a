/* SPDX-License-Identifier: MIT */
#include "daemon/internal.h"

#include <cap-ng.h>
#include <linux/securebits.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "shmfs/sanitizer.h"

/*
 * Ordinary users are served with their own credentials (core/caller.c).  These capabilities open
 * what the kernel has allowed a user to open, and carry out requests of root.
 */
static const unsigned kept[] = {
	CAP_SYS_ADMIN,	     /* passthrough; map_files; umount(2); root's IPC_SET and IPC_RMID */
	CAP_SETUID,	     /* taking the caller's uid */
	CAP_SETGID,	     /* taking the caller's groups */
	CAP_IPC_OWNER,	     /* shmat(2) with any mode */
	CAP_DAC_READ_SEARCH, /* open_by_handle_at(2): sysv/segment.c */
	CAP_DAC_OVERRIDE,    /* open(2) in /dev/shm with any mode; root's unlink and rename */
	CAP_LEASE,	     /* a lease on a file of another user: sysv/segment.c, posix/names.c */
	CAP_IPC_LOCK,	     /* SHM_HUGETLB and SHM_LOCK, when such a segment is resized */
	CAP_KILL,	     /* ending a process that locks for a user: sysv/memlock.c */
	CAP_FOWNER,	     /* clearing set-user-ID bits when a user writes; root's chmod */
	CAP_CHOWN,	     /* root's chown */
	CAP_FSETID,	     /* root's chmod g+s */
	CAP_SETFCAP,	     /* root's setcap(8); removing file capabilities on a write */
	CAP_SYS_NICE,	     /* leaving SCHED_IDLE: fuse/follow.c */
	CAP_SYS_PTRACE,	     /* reading /proc where it is mounted with hidepid */
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

/* --- system calls --- */

/*
 * System calls that could reach beyond shared memory with the capabilities that the daemon keeps
 * fail with EPERM.  The filter lists refused calls, not allowed ones, because libc and libfuse may
 * need other calls tomorrow.
 */
static const int refused[] = {
	/* other programs */
	SCMP_SYS(execve), SCMP_SYS(execveat),
/* other processes, by CAP_SYS_PTRACE */
#if !SHMFS_ASAN /* LeakSanitizer traces its own process when it ends */
	SCMP_SYS(ptrace),
#endif
	SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd),
	/* the machine, by CAP_SYS_ADMIN */
	SCMP_SYS(mount), SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen),
	SCMP_SYS(fspick), SCMP_SYS(fsmount), SCMP_SYS(mount_setattr), SCMP_SYS(pivot_root),
	SCMP_SYS(setns), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(quotactl),
	SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(fanotify_init), SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
#ifdef __SNR_open_tree_attr
	SCMP_SYS(open_tree_attr),
#endif
#ifdef __SNR_quotactl_fd
	SCMP_SYS(quotactl_fd),
#endif
	/* a filter does not see what a ring does */
	SCMP_SYS(io_uring_setup),
	/* frequent ways of attack on the kernel */
	SCMP_SYS(userfaultfd), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(keyctl)
};

#ifdef __s390__
#define CLONE_FLAGS_ARG 1
#else
#define CLONE_FLAGS_ARG 0
#endif

#define NAMESPACE(flag) \
	{ \
		SCMP_SYS(clone), SCMP_CMP(CLONE_FLAGS_ARG, SCMP_CMP_MASKED_EQ, flag, flag) \
	}

/* System calls that fail with EPERM for one argument. */
static const struct {
	int call;
	struct scmp_arg_cmp refused;
} arguments[] = {
	/* Threads and processes are allowed, but no namespaces. */
	NAMESPACE(CLONE_NEWNS),
	NAMESPACE(CLONE_NEWUSER),
	NAMESPACE(CLONE_NEWIPC),
	NAMESPACE(CLONE_NEWNET),
	NAMESPACE(CLONE_NEWPID),
	NAMESPACE(CLONE_NEWUTS),
	NAMESPACE(CLONE_NEWCGROUP),
	/* A thread that takes the caller's umask needs CLONE_FS. */
	{ SCMP_SYS(unshare), SCMP_A0(SCMP_CMP_NE, CLONE_FS, 0) },
/*
 * syslog(3) opens a socket of AF_UNIX, and another after syslogd was restarted.  On architectures
 * with socketcall(2) (i386, s390x) a filter cannot read the family, and libseccomp would refuse all.
 */
#ifndef __NR_socketcall
	{ SCMP_SYS(socket), SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0) },
#endif
};

static int fill(scmp_filter_ctx filter)
{
	/* Its flags are in memory, where a filter cannot read.  libc calls clone(2) instead. */
	int err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	for (size_t i = 0; !err && i < sizeof(refused) / sizeof(*refused); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	for (size_t i = 0; !err && i < sizeof(arguments) / sizeof(*arguments); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), arguments[i].call, 1,
				       arguments[i].refused);
	/* It is set already. */
	return err ? err : seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
}

/* In this thread and in every thread that it starts. */
static int install_filter(void)
{
	scmp_filter_ctx filter;
	int err;

	/* A kernel without CONFIG_SECCOMP_FILTER has none. */
	if (prctl(PR_GET_SECCOMP) < 0)
		return errno == EINVAL ? 0 : -errno;
	filter = seccomp_init(SCMP_ACT_ALLOW);
	if (!filter)
		return -ENOMEM;
	err = fill(filter);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

/* --- all of it --- */

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
		err = install_filter();
	if (err)
		shmfs_log(LOG_ERR,
			  "cannot give up privileges: %s; start shmfs outside of the sandbox that "
			  "forbids it",
			  strerror(-err));
	return err;
}
