/* SPDX-License-Identifier: MIT */
#include "shmfs/proc.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

#include "shmfs/cleanup.h"

ssize_t shmfs_proc_read(int dir, char *text, size_t size, const char *format, ...)
{
	SHMFS_AUTO_FD int fd = -1;
	char path[128];
	va_list args;
	ssize_t len;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, size - 1);
	text[len < 0 ? 0 : len] = '\0';
	return len < 0 ? -errno : len;
}

bool shmfs_proc_is_same(const char *proc_dir, pid_t a, pid_t b)
{
	char path[128];

	if (a == b)
		return true;
	snprintf(path, sizeof(path), "%s/%d/task/%d", proc_dir, (int)a, (int)b);
	return access(path, F_OK) == 0;
}
