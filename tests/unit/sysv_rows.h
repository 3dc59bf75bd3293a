/* SPDX-License-Identifier: MIT */
/* Rows of the kernel's table of segments, as text and as they are read. */
#ifndef SYSV_ROWS_H
#define SYSV_ROWS_H

#include "sysv/table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define HEADING \
	"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  " \
	"cgid      atime      dtime      ctime                   rss                  swap\n"

/* As ipc/shm.c writes them. */
#define ROW_3148 \
	"      3148      65538   666                  4096  1201  1202      3  1000  1001  1002  " \
	"1003 1790000001 1790000002 1790000003                  8192                 12288\n"
#define ROW_NEGATIVE \
	"-559038737 2147483647 13777  18446744073709551615 4194304 4194303  4294967296 " \
	"4294967295 " \
	"4294967294 65534 65535          0          0 9999999999  18446744073709551615     4096\n"
#define ROW_DEST \
	"         0          0  1600                     1     0     0      0     0     0     0  " \
	"   0          0          0          1                     0                     0\n"

#define TABLE HEADING ROW_3148 ROW_NEGATIVE ROW_DEST

extern const struct shmfs_sysv_row row_3148;
extern const struct shmfs_sysv_row row_negative;
extern const struct shmfs_sysv_row row_dest;

/* Fails the test that calls it where one field differs. */
void assert_row_equal(const struct shmfs_sysv_row *row, const struct shmfs_sysv_row *expected);

#endif
