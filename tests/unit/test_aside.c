/* SPDX-License-Identifier: MIT */
/* Requests that wait for their user's share. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fuse/loop.h"

#define BIG ((size_t)1 << 20)
#define MANY 64 /* big ones that a user may have */

static int put(struct shmfs_aside **list, uint32_t uid, uint32_t opcode, uint64_t unique,
	       size_t size)
{
	struct fuse_in_header *header = calloc(1, size);
	int err;

	assert_non_null(header);
	*header = (struct fuse_in_header){
		.len = (uint32_t)size,
		.uid = uid,
		.opcode = opcode,
		.unique = unique,
	};
	err = shmfs_aside_put(list, header);
	free(header);
	return err;
}

static bool is_not(const void *arg, uint32_t uid)
{
	return uid != *(const uint32_t *)arg;
}

/* The number of the next request of any user but `uid`; 0: there is none. */
static uint64_t take(struct shmfs_aside **list, uint32_t uid)
{
	struct shmfs_aside *aside = shmfs_aside_take(list, is_not, &uid);
	uint64_t unique = aside ? ((struct fuse_in_header *)(void *)aside->request)->unique : 0;

	free(aside);
	return unique;
}

static void the_first_that_may_comes_first(void **state)
{
	struct shmfs_aside *list = NULL;

	assert_int_equal(put(&list, 1, FUSE_GETATTR, 11, 100), 0);
	assert_int_equal(put(&list, 2, FUSE_GETATTR, 21, 100), 0);
	assert_int_equal(put(&list, 1, FUSE_GETATTR, 12, 100), 0);
	assert_int_equal(put(&list, 2, FUSE_GETATTR, 22, 100), 0);
	assert_int_equal(take(&list, 1), 21);
	assert_int_equal(take(&list, 2), 11);
	assert_int_equal(take(&list, 2), 12);
	assert_int_equal(take(&list, 2), 0);
	assert_int_equal(take(&list, 1), 22);
	assert_null(list);
}

static void a_user_has_a_limit(void **state)
{
	struct shmfs_aside *list = NULL;

	for (int i = 0; i < MANY; i++)
		assert_int_equal(put(&list, 1, FUSE_WRITE, 1, BIG), 0);
	assert_int_equal(put(&list, 1, FUSE_WRITE, 1, BIG), -EBUSY);
	assert_int_equal(put(&list, 2, FUSE_WRITE, 2, BIG), 0);
	while (take(&list, 0))
		;
	assert_null(list);
}

/* A RELEASE comes as root's, and nobody would hear that it was refused. */
static void what_the_kernel_sends_by_itself_is_nobodys(void **state)
{
	struct shmfs_aside *list = NULL;

	for (int i = 0; i < MANY + 1; i++)
		assert_int_equal(put(&list, 0, FUSE_RELEASE, 1, BIG), 0);
	assert_int_equal(put(&list, 0, FUSE_GETATTR, 2, 100), 0);
	assert_int_equal(take(&list, SHMFS_NOBODY), 2);
	while (take(&list, 0))
		;
	assert_null(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_that_may_comes_first),
		cmocka_unit_test(a_user_has_a_limit),
		cmocka_unit_test(what_the_kernel_sends_by_itself_is_nobodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
