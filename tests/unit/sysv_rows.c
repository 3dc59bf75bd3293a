/* SPDX-License-Identifier: MIT */
#include "sysv_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/shm.h>

#include <cmocka.h>

const struct shmfs_sysv_row row_3148 = {
	.key = 3148,
	.id = 65538,
	.mode = 0666,
	.size = 4096,
	.cpid = 1201,
	.lpid = 1202,
	.nattch = 3,
	.uid = 1000,
	.gid = 1001,
	.cuid = 1002,
	.cgid = 1003,
	.atime = 1790000001,
	.dtime = 1790000002,
	.ctime = 1790000003,
	.resident = 8192,
	.swapped = 12288,
};

const struct shmfs_sysv_row row_negative = {
	.key = 0xdeadbeefU,
	.id = INT32_MAX,
	.mode = 013777,
	.size = UINT64_MAX,
	.cpid = 4194304,
	.lpid = 4194303,
	.nattch = UINT64_C(4294967296),
	.uid = UINT32_MAX,
	.gid = UINT32_MAX - 1,
	.cuid = 65534,
	.cgid = 65535,
	.ctime = 9999999999,
	.resident = UINT64_MAX,
	.swapped = 4096,
};

const struct shmfs_sysv_row row_dest = {
	.mode = SHM_DEST | 0600,
	.size = 1,
	.ctime = 1,
};

void assert_row_equal(const struct shmfs_sysv_row *row, const struct shmfs_sysv_row *expected)
{
	assert_int_equal(row->key, expected->key);
	assert_int_equal(row->id, expected->id);
	assert_int_equal(row->mode, expected->mode);
	assert_int_equal(row->size, expected->size);
	assert_int_equal(row->cpid, expected->cpid);
	assert_int_equal(row->lpid, expected->lpid);
	assert_int_equal(row->nattch, expected->nattch);
	assert_int_equal(row->uid, expected->uid);
	assert_int_equal(row->gid, expected->gid);
	assert_int_equal(row->cuid, expected->cuid);
	assert_int_equal(row->cgid, expected->cgid);
	assert_int_equal(row->atime, expected->atime);
	assert_int_equal(row->dtime, expected->dtime);
	assert_int_equal(row->ctime, expected->ctime);
	assert_int_equal(row->resident, expected->resident);
	assert_int_equal(row->swapped, expected->swapped);
}
