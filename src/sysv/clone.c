/* SPDX-License-Identifier: MIT */
#include "sysv/internal.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "shmfs/sanitizer.h"

#define STACK ((size_t)256 << 10)

#if SHMFS_TSAN
/*
 * ThreadSanitizer takes every clone(2) for a fork(2), and would note in the shared memory that all
 * other threads are gone.  It does not know glibc's other name for clone(2).
 */
int __clone(int (*)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

struct process {
	int (*run)(void *);
	void *arg;
};

static int start(void *arg)
{
	const struct process *process = arg;

	/* A thread beside its caller gives way to every process.  Its child need not. */
	sched_setscheduler(0, SCHED_OTHER, &(const struct sched_param){ 0 });
	return process->run(process->arg);
}

int sysv_run_process(int flags, int (*run)(void *), void *arg)
{
	SHMFS_AUTO_FREE char *stack = malloc(STACK);
	struct process process = { run, arg };
	sigset_t all, before;
	int status = 0;
	int err = 0;
	pid_t pid;

	if (!stack)
		return -ENOMEM;
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = clone(start, stack + STACK, CLONE_VM | CLONE_FILES | SIGCHLD | flags, &process);
	if (pid < 0)
		err = -ENOMEM; /* EAGAIN: no process more */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	/* A process that was stopped would never end, and neither would the wait for it. */
	while (!err && (waitpid(pid, &status, WUNTRACED) != pid || WIFSTOPPED(status))) {
		if (WIFSTOPPED(status))
			kill(pid, SIGKILL);
	}
	return err ? err : WIFSIGNALED(status);
}
