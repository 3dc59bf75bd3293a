/* SPDX-License-Identifier: MIT */
/* For tests that copy from memory that is missing; see shmfs/guard.h. */
#pragma once

#include <signal.h>

#include "shmfs/sanitizer.h"

/*
 * To be called after each copy that failed.  ThreadSanitizer runs handlers
 * with all signals blocked, whatever sigaction(2) was told, and a handler that
 * is left by a jump leaves them so: the next SIGBUS would end the process.
 * Elsewhere it is for the guard to see to that, so here nothing is done.
 */
static inline void sigbus_over(void)
{
#if SHMFS_TSAN
	sigset_t set;

	sigfillset(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
#endif
}
