/* SPDX-License-Identifier: MIT */
/*
 * The kernel's table of System V segments, /proc/sysvipc/shm, as text.
 *
 * Pure: the reader hands in bytes and gets rows.  The kernel writes one line
 * a segment (ipc/shm.c, sysvipc_shm_proc_show(), Linux 6.18) under a heading
 *
 *   key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap
 *
 * with `perms` in octal, all other columns in decimal, `key` signed; rss and
 * swap (bytes) came in Linux 2.6.34.  Columns are padded with blanks.
 */
#ifndef SHMFS_SYSV_TABLE_H
#define SHMFS_SYSV_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct shmfs_sysv_row {
	uint32_t key;  /* 0: IPC_PRIVATE, or marked for destruction */
	int id;	       /* shmid */
	unsigned mode; /* permission bits and SHM_DEST, SHM_LOCKED ... */
	uint64_t size; /* bytes */
	pid_t cpid;
	pid_t lpid;
	uint64_t nattch;
	uid_t uid;
	gid_t gid;
	uid_t cuid;
	gid_t cgid;
	int64_t atime; /* seconds since 1970 */
	int64_t dtime;
	int64_t ctime;
	uint64_t resident; /* bytes */
	uint64_t swapped;  /* bytes */
};

/*
 * Parse one line, [line, line + len), without its newline.
 * Returns 0 and fills *row; -EINVAL when the line is no row, the heading
 * included, a number out of range, or columns missing (more columns than are
 * known are ignored: newer kernels may add some).
 */
int shmfs_sysv_row_parse(const char *line, size_t len, struct shmfs_sysv_row *row);

/*
 * Called for every row, which is lent for the time of the call; returns 0 to
 * go on, anything else to stop.
 */
typedef int shmfs_sysv_row_fn(const struct shmfs_sysv_row *row, void *arg);

/*
 * Read the table from descriptor `fd`, from its beginning, in one pass, and
 * call `fn` for every row.  seq_file(9) hands out whole lines up to a page at
 * a time, so a line may still be cut by the end of the buffer: such a line is
 * joined with what the next read brings.  The first line is the heading and is
 * skipped; an empty file has no rows.  Where the descriptor can seek, its offset
 * is used: one reader of a descriptor at a time.  A pipe is read from where it is.
 *
 * Returns 0, what `fn` stopped with, or a negative errno: of read(2) or
 * lseek(2), or -EINVAL when a line after the heading cannot be parsed or any
 * line is too long to be one of the table.  The rows before it have been handed
 * to `fn` by then.
 */
int shmfs_sysv_table_read(int fd, shmfs_sysv_row_fn *fn, void *arg);

#endif
