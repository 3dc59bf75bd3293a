/* SPDX-License-Identifier: MIT */
#include "shmfs/sigbus.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

/* Where a SIGBUS of this thread continues; NULL outside of a copy. */
static _Thread_local sigjmp_buf *volatile escape;

static void on_sigbus(int sig)
{
	if (escape)
		siglongjmp(*escape, 1);
	/* Outside of a copy: end as without a handler. */
	signal(sig, SIG_DFL);
	raise(sig);
}

int shmfs_sigbus_install(void)
{
	/* SA_NODEFER: siglongjmp leaves the handler without restoring the mask. */
	struct sigaction action = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };
	sigset_t sigbus;

	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, NULL) != 0)
		return -errno;
	/* A parent may have blocked it, and a blocked SIGBUS ends the process. */
	sigemptyset(&sigbus);
	sigaddset(&sigbus, SIGBUS);
	return -pthread_sigmask(SIG_UNBLOCK, &sigbus, NULL);
}

int shmfs_copy_nofault(void *to, const void *from, size_t len)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0)) {
		escape = NULL;
		return -EFAULT;
	}
	escape = &here;
	if (from)
		memcpy(to, from, len);
	else
		memset(to, 0, len);
	escape = NULL;
	return 0;
}
