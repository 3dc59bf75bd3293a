/* SPDX-License-Identifier: MIT */
#include "shmfs/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

/* Set once, before there are threads. */
static atomic_bool to_syslog;

void shmfs_log_open_syslog(void)
{
	openlog("shmfs", LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void shmfs_log_to_syslog(void)
{
	atomic_store(&to_syslog, true);
}

static void log_line(int priority, const char *format, va_list args)
{
	char line[512];

	if (atomic_load(&to_syslog)) {
		vsyslog(priority, format, args);
		return;
	}
	/* One write, so that lines of several threads do not mix. */
	vsnprintf(line, sizeof(line), format, args);
	fprintf(stderr, "shmfs: %s\n", line);
}

void shmfs_log(int priority, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_line(priority, format, args);
	va_end(args);
}
