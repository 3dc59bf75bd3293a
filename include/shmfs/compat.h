/* SPDX-License-Identifier: MIT */
/*
 * Functions and constants that musl lacks: statx() and pwritev2() before 1.2.5, renameat2() before
 * 1.2.6, closefrom() and strerrorname_np() in any version.  CMakeLists.txt checks for them, and has
 * the compiler include this header before each file.
 */
#pragma once

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef SHMFS_WITHOUT_STATX
#include <linux/stat.h>
#endif
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE (1 << 1)
#define RENAME_WHITEOUT (1 << 2)
#endif

#ifndef SHMFS_COMPAT_NO_FUNCTIONS

#ifdef SHMFS_WITHOUT_STATX
static inline int statx(int dir, const char *path, int flags, unsigned mask, struct statx *stx)
{
	return (int)syscall(SYS_statx, dir, path, flags, mask, stx);
}
#endif

#ifdef SHMFS_WITHOUT_PWRITEV2
static inline ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t pos, int flags)
{
	return (ssize_t)syscall(SYS_pwritev2, fd, iov, count, (long)pos, (long)(pos >> 32), flags);
}
#endif

#ifdef SHMFS_WITHOUT_RENAMEAT2
static inline int renameat2(int from_dir, const char *from, int to_dir, const char *to,
			    unsigned flags)
{
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}
#endif

#ifdef SHMFS_WITHOUT_CLOSEFROM
static inline void closefrom(int first)
{
	syscall(SYS_close_range, (unsigned)first, ~0U, 0);
}
#endif

#ifdef SHMFS_WITHOUT_STRERRORNAME_NP
static inline const char *strerrorname_np(int error)
{
	return strerror(error);
}
#endif

#endif
