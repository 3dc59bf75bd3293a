/* SPDX-License-Identifier: MIT */
/* Short files of /proc. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Read the file of a path, which openat(2) takes and `format` spells, as a string of `size - 1`
 * bytes at most.  Returns its length, or a negative errno and an empty string.
 */
ssize_t shmfs_proc_read(int dir, char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
