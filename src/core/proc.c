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

struct shmfs_proc_stat shmfs_proc_stat(const char *proc_dir, pid_t pid)
{
	struct shmfs_proc_stat stat = { .cpu = -1 };
	char text[1024];
	const char *field;

	shmfs_proc_read(AT_FDCWD, text, sizeof(text), "%s/%d/stat", proc_dir, (int)pid);
	/* The second field, the command, can hold spaces and brackets. */
	field = strrchr(text, ')');
	for (int i = 3; field && (field = strchr(field + 1, ' ')); i++) {
		if (i == 3)
			stat.runs = field[1] == 'R';
		else if (i == 22)
			stat.start = strtoull(field, NULL, 10);
		else if (i == 39)
			stat.cpu = atoi(field);
	}
	return stat;
}

bool shmfs_proc_is_same(const char *proc_dir, pid_t a, pid_t b)
{
	char path[128];

	if (a == b)
		return true;
	snprintf(path, sizeof(path), "%s/%d/task/%d", proc_dir, (int)a, (int)b);
	return access(path, F_OK) == 0;
}
