/* SPDX-License-Identifier: MIT */
/*
 * A seccomp filter.  System calls that could reach beyond shared memory with the capabilities that
 * the daemon keeps fail with EPERM.  The filter lists refused calls, not allowed ones, because libc
 * and libfuse may need other calls tomorrow.
 */
#include "daemon/internal.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "shmfs/sanitizer.h"

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

/*
 * Allow threads and processes, but no namespaces.  A filter cannot read the flags of clone3(2),
 * which are in memory.  libc calls clone(2) where clone3(2) fails with ENOSYS.
 */
static int restrict_clone(scmp_filter_ctx filter)
{
	static const unsigned long namespaces[] = {
		CLONE_NEWNS,  CLONE_NEWUSER, CLONE_NEWIPC,    CLONE_NEWNET,
		CLONE_NEWPID, CLONE_NEWUTS,  CLONE_NEWCGROUP,
	};
	int err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	for (size_t i = 0; !err && i < sizeof(namespaces) / sizeof(*namespaces); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
				       SCMP_CMP(CLONE_FLAGS_ARG, SCMP_CMP_MASKED_EQ, namespaces[i],
						namespaces[i]));
	return err;
}

/*
 * Allow sockets of AF_UNIX: syslog(3) opens a new one after syslogd was restarted.  On
 * architectures with socketcall(2) (i386, s390x) a filter cannot read the family, and libseccomp
 * would refuse all sockets, so none is refused there.
 */
static int restrict_sockets(scmp_filter_ctx filter)
{
#ifdef __NR_socketcall
	return 0;
#else
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
				SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0));
#endif
}

static int fill(scmp_filter_ctx filter)
{
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(refused) / sizeof(*refused); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	if (!err)
		err = restrict_sockets(filter);
	/* A thread that takes the caller's umask needs unshare(CLONE_FS). */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1,
				       SCMP_A0(SCMP_CMP_NE, CLONE_FS, 0));
	if (!err)
		err = restrict_clone(filter);
	/* privilege.c has set no_new_privs. */
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	return err;
}

int shmfs_syscall_filter_install(void)
{
	scmp_filter_ctx filter;
	int err;

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
