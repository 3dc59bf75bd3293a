/* SPDX-License-Identifier: MIT */
#include "shmfs/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

/* Where the running copy of this thread returns to; NULL while none runs. */
static _Thread_local sigjmp_buf *volatile escape;

static void on_sigbus(int sig)
{
	if (escape)
		siglongjmp(*escape, 1);
	/* Not ours: end as if there were no handler. */
	signal(sig, SIG_DFL);
	raise(sig);
}

int shmfs_guard_install(void)
{
	/* SA_NODEFER: siglongjmp leaves the handler without restoring the mask. */
	struct sigaction action = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };

	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) == 0 ? 0 : -errno;
}

int shmfs_guard_copy(void *to, const void *from, size_t len)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0)) {
		escape = NULL;
		return -EFAULT;
	}
	escape = &here;
	memcpy(to, from, len);
	escape = NULL;
	return 0;
}

int shmfs_guard_zero(void *to, size_t len)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0)) {
		escape = NULL;
		return -EFAULT;
	}
	escape = &here;
	memset(to, 0, len);
	escape = NULL;
	return 0;
}
