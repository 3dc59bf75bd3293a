/* SPDX-License-Identifier: MIT */
#include "shmfs/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

/* Set once, before there are threads. */
static atomic_bool to_syslog;

void shmfs_log_to_syslog(void)
{
	openlog("shmfs", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	atomic_store(&to_syslog, true);
}

void shmfs_log(int priority, const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (atomic_load(&to_syslog))
		syslog(priority, "%s", line);
	else /* in one call, so that lines of several threads do not mix */
		fprintf(stderr, "shmfs: %s\n", line);
}
