/* SPDX-License-Identifier: MIT */
#include "shmfs/sigbus.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* For this many bytes one call to populate pages is faster than a fault for each. */
#define MANY_PAGES ((size_t)64 << 10)

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

/* `from` NULL: zeros. */
static int copy(void *to, const void *from, size_t len)
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

int shmfs_copy_nofault(void *to, const void *from, size_t len)
{
	return copy(to, from, len);
}

int shmfs_zero_nofault(void *to, size_t len)
{
	return copy(to, NULL, len);
}

/* Pages that could not be populated fault again when they are touched. */
int shmfs_store_nofault(void *to, const void *from, size_t len)
{
	const size_t before = (uintptr_t)to % (size_t)sysconf(_SC_PAGESIZE);

	if (len >= MANY_PAGES)
		madvise((char *)to - before, before + len, MADV_POPULATE_WRITE);
	return copy(to, from, len);
}
