/* SPDX-License-Identifier: MIT */
/* Reading /proc. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Read a file into a string of `size - 1` bytes at most.  `dir` and the path, which `format`
 * spells, are those of openat(2).  Returns the length, or a negative errno and an empty string.
 */
ssize_t shmfs_proc_read(int dir, char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Of /proc/PID/stat (proc(5)). */
struct shmfs_proc_stat {
	bool runs;		  /* or waits for a processor */
	unsigned long long start; /* in clock ticks since boot */
	int cpu;		  /* that it is on; -1: there is no such thread */
};
struct shmfs_proc_stat shmfs_proc_stat(const char *proc_dir, pid_t);

/* Are these threads of one process?  False where `proc_dir`, "/proc", does not tell. */
bool shmfs_proc_is_same(const char *proc_dir, pid_t a, pid_t b);
