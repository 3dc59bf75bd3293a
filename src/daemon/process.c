/* SPDX-License-Identifier: MIT */
#include "daemon/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define RESERVED_DESCRIPTORS 64
int shmfs_process_take_descriptors(void)
{
	int fd;

	closefrom(STDERR_FILENO + 1);
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int shmfs_process_block_signals(void)
{
	static const int ending[] = {
		SIGHUP,	 SIGINT,  SIGQUIT,   SIGALRM, SIGTERM,	 SIGUSR1,
		SIGUSR2, SIGPROF, SIGVTALRM, SIGXCPU, SIGSTKFLT, SIGPWR,
	};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		sigaddset(&set, ending[i]);
	for (int i = SIGRTMIN; i <= SIGRTMAX; i++)
		sigaddset(&set, i);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -errno;
	signal(SIGCHLD, SIG_DFL); /* ignored, waitpid(2) would find no child */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a write past RLIMIT_FSIZE fails with EFBIG */
	signal(SIGIO, SIG_IGN);	  /* sent when another process breaks a lease of ours */
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

void shmfs_process_limit_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max <= RESERVED_DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max - RESERVED_DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &limit);
}
