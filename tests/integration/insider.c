/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the daemon: somebody who has got in.
 *
 * A rename of `inside.CALL` to anything makes the system call CALL instead of
 * renaming, from within a thread that serves, and has its result.
 *
 * A user's process that is about to lock a segment for him (sysv_lock.c) is
 * stopped, as he could do.
 *
 * The environment variable SHMFS_WITHOUT is the number of a capability that
 * the daemon does not get to keep.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PREFIX "inside."

/* Arguments with which the kernel, if it is asked, finds a fault, or none. */
static const struct {
	const char *name;
	long number;
	intptr_t arguments[3];
} calls[] = {
	{ "execve", SYS_execve, { (intptr_t) "/nowhere", 0, 0 } },
	{ "ptrace", SYS_ptrace, { PTRACE_ATTACH, INT32_MAX, 0 } },
	{ "process_vm_readv", SYS_process_vm_readv, { INT32_MAX, 0, 0 } },
	{ "mount", SYS_mount, { 0, 0, 0 } },
	{ "fsopen", SYS_fsopen, { 0, 0, 0 } },
	{ "setns", SYS_setns, { -1, 0, 0 } },
	{ "unshare", SYS_unshare, { 0, 0, 0 } },
	{ "clone", SYS_clone, { CLONE_NEWNS | CLONE_FS, 0, 0 } },
	{ "clone3", SYS_clone3, { 0, 0, 0 } },
	{ "bpf", SYS_bpf, { -1, 0, 0 } },
	{ "io_uring_setup", SYS_io_uring_setup, { 1, 0, 0 } },
	{ "keyctl", SYS_keyctl, { -1, 0, 0 } },
	{ "inet", SYS_socket, { AF_INET, SOCK_DGRAM, 0 } },
	{ "unix", SYS_socket, { AF_UNIX, SOCK_DGRAM, 0 } },
};

typedef int shmctl_fn(int id, int command, struct shmid_ds *data);
typedef int renameat2_fn(int fromfd, const char *from, int tofd, const char *to, unsigned flags);
int renameat2(int fromfd, const char *from, int tofd, const char *to, unsigned flags);
int capset(cap_user_header_t header, const cap_user_data_t data);

static int call(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		const intptr_t *arguments = calls[i].arguments;
		long result;

		if (strcmp(calls[i].name, name) != 0)
			continue;
		result = syscall(calls[i].number, arguments[0], arguments[1], arguments[2], 0, 0);
		if (result == -1)
			return -1;
		if (calls[i].number == SYS_socket)
			close((int)result);
		return 0;
	}
	errno = ENOTRECOVERABLE; /* not on the list, and no call's error */
	return -1;
}

int renameat2(int fromfd, const char *from, int tofd, const char *to, unsigned flags)
{
	renameat2_fn *real = (renameat2_fn *)dlsym(RTLD_NEXT, "renameat2");

	if (strncmp(from, PREFIX, strlen(PREFIX)) == 0)
		return call(from + strlen(PREFIX));
	return real(fromfd, from, tofd, to, flags);
}

int shmctl(int id, int command, struct shmid_ds *data)
{
	shmctl_fn *real = (shmctl_fn *)dlsym(RTLD_NEXT, "shmctl");

	if (command == SHM_LOCK && geteuid() != 0)
		kill(getpid(), SIGSTOP);
	return real(id, command, data);
}

int capset(cap_user_header_t header, const cap_user_data_t data)
{
	const char *without = getenv("SHMFS_WITHOUT");

	if (without) {
		unsigned number = (unsigned)atoi(without);

		data[number / 32].effective &= ~(1U << number % 32);
		data[number / 32].permitted &= ~(1U << number % 32);
	}
	return (int)syscall(SYS_capset, header, data);
}
