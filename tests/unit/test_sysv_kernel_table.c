/* SPDX-License-Identifier: MIT */
/* The reader of the table of segments on what this kernel really writes. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cmocka.h>

#include "sysv_rows.h"

/* More than one page of text, so that the kernel needs several reads. */
#define SEGMENTS 100
#define TOUCHED 8192U

struct witness {
	size_t count;
	bool seen[SEGMENTS];
	int ids[SEGMENTS];
};

/* Every field of a row, against what shmctl(2) says of the same segment. */
static int compare_with_shmctl(const struct shmfs_sysv_row *row, void *arg)
{
	struct witness *witness = arg;
	struct shmid_ds ds;
	size_t i = 0;

	while (i < SEGMENTS && witness->ids[i] != row->id)
		i++;
	assert_in_range(i, 0, SEGMENTS - 1);
	assert_false(witness->seen[i]);
	witness->seen[i] = true;
	witness->count++;

	assert_int_equal(shmctl(row->id, IPC_STAT, &ds), 0);
	assert_int_equal(row->key, (uint32_t)ds.shm_perm.__key);
	assert_int_equal(row->mode, ds.shm_perm.mode);
	assert_int_equal(row->size, ds.shm_segsz);
	assert_int_equal(row->cpid, ds.shm_cpid);
	assert_int_equal(row->lpid, ds.shm_lpid);
	assert_int_equal(row->nattch, ds.shm_nattch);
	assert_int_equal(row->uid, ds.shm_perm.uid);
	assert_int_equal(row->gid, ds.shm_perm.gid);
	assert_int_equal(row->cuid, ds.shm_perm.cuid);
	assert_int_equal(row->cgid, ds.shm_perm.cgid);
	assert_int_equal(row->atime, ds.shm_atime);
	assert_int_equal(row->dtime, ds.shm_dtime);
	assert_int_equal(row->ctime, ds.shm_ctime);
	if (ds.shm_nattch > 0)
		assert_true(row->resident + row->swapped >= TOUCHED);
	else
		assert_int_equal(row->resident + row->swapped, 0);
	return 0;
}

/*
 * Segments that differ in all that the table shows: i, by remainders, has
 * another key, size, mode, owner, attachments; one is marked for destruction.
 */
static void make_segments(struct witness *witness)
{
	static const key_t keys[] = { 3148, (key_t)0xdeadbeefU, (key_t)0x80000000U, 0x7fffffff,
				      -1 };

	for (size_t i = 0; i < SEGMENTS; i++) {
		key_t key = i < COUNT(keys) ? keys[i] : IPC_PRIVATE;
		int mode = i % 3 == 0 ? 0600 : 0640;
		int id = shmget(key, TOUCHED + i, IPC_CREAT | IPC_EXCL | mode);

		assert_true(id >= 0);
		witness->ids[i] = id;
		if (i % 4 == 0) {
			char *at = shmat(id, NULL, 0);

			assert_ptr_not_equal(at, (void *)-1);
			memset(at, 'x', TOUCHED);
		}
		if (i % 7 == 0) {
			struct shmid_ds ds;

			assert_int_equal(shmctl(id, IPC_STAT, &ds), 0);
			ds.shm_perm.uid = 4000000000U;
			ds.shm_perm.gid = (gid_t)(i + 1);
			assert_int_equal(shmctl(id, IPC_SET, &ds), 0);
		}
		if (i % 5 == 0)
			assert_int_equal(shmctl(id, SHM_LOCK, NULL), 0);
	}
	/* Attached above, so it stays, without a key. */
	assert_int_equal(shmctl(witness->ids[0], IPC_RMID, NULL), 0);
}

/*
 * In an IPC namespace of its own, so the segments of the machine are neither
 * seen nor touched, and ours go away with this process.
 */
static void the_real_table(void **state)
{
	struct witness witness = { 0 };
	int fd;

	(void)state;
	if (unshare(CLONE_NEWIPC) != 0) {
		print_message("skipped: unshare(CLONE_NEWIPC): %s\n", strerror(errno));
		skip();
	}

	fd = open("/proc/sysvipc/shm", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);

	/* A namespace just made: no more than the heading. */
	assert_int_equal(shmfs_sysv_table_read(fd, compare_with_shmctl, &witness), 0);
	assert_int_equal(witness.count, 0);

	make_segments(&witness);
	assert_int_equal(shmfs_sysv_table_read(fd, compare_with_shmctl, &witness), 0);
	assert_int_equal(witness.count, SEGMENTS);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_real_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
