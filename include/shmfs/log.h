/* SPDX-License-Identifier: MIT */
/* Messages: to standard error in the foreground, to syslog(3) in the background. */
#pragma once

#include <syslog.h>

/* Send all further messages to syslog(3) instead of standard error. */
void shmfs_log_to_syslog(void);

/* Log one line, without a newline at its end.  `priority` is LOG_ERR or another of syslog(3). */
void shmfs_log(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
