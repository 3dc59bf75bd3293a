/* SPDX-License-Identifier: MIT */
/* Short files of /proc. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Read a file into a string of `size - 1` bytes at most.  `dir` and the path, which `format`
 * spells, are those of openat(2).  Returns the length, or a negative errno and an empty string.
 */
ssize_t shmfs_proc_read(int dir, char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
