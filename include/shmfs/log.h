/* SPDX-License-Identifier: MIT */
/* Messages: to standard error in the foreground, to syslog(3) in the background. */
#ifndef SHMFS_LOG_H
#define SHMFS_LOG_H

#include <syslog.h>

/* Connect to syslog(3) already.  Messages still go to standard error. */
void shmfs_log_open_syslog(void);

/* Send all further messages to syslog instead of standard error. */
void shmfs_log_to_syslog(void);

/* One line, without its newline; `priority` is one of syslog(3)'s. */
void shmfs_log(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
