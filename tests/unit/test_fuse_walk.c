/* SPDX-License-Identifier: MIT */
/* Opens of files that others remove between the requests of an open(2). */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const char name[] = "frames";

static void whoever_opens_what_is_gone_walks_once_more(void **state)
{
	static const struct {
		uint32_t pid;
		int err;
	} opens[] = { { 7, -ESTALE },
		      { 7, -ENOENT },
		      { 7, -ESTALE },
		      { 8, -ESTALE },
		      { 7, -ENOENT },
		      { 7 + SHMFS_WALKERS, -ESTALE },
		      { 7, -ESTALE },
		      { 7 + SHMFS_WALKERS, -ENOENT },
		      { 7, -ENOENT },
		      { KERNEL_UNSEEN, -ESTALE },
		      { KERNEL_UNSEEN, -ENOENT } };
	struct kernel *k = *state;
	struct kernel_file file;
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, FUSE_ROOT_ID, name);
	for (size_t i = 0; i < COUNT(opens); i++) {
		k->pid = opens[i].pid;
		memory_fail(k->posix, MEMORY_OPEN, i % 2 ? -ENOENT : -ESTALE);
		assert_int_equal(kernel_open(k, node, O_RDONLY, &file), opens[i].err);
	}
	k->pid = 0;
	kernel_forget(k, node, 1);
}

/* The kernel asks for attributes, to check rights, before it sends an OPEN. */
static void whoever_looks_at_what_is_gone_walks_once_more(void **state)
{
	struct kernel *k = *state;
	struct fuse_attr_out out;
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, FUSE_ROOT_ID, name);
	memory_fail_later(k->posix, MEMORY_GETATTR, 0, 2, -ENOENT);
	assert_int_equal(kernel_getattr(k, node, &out), -ESTALE);
	assert_int_equal(kernel_getattr(k, node, &out), -ENOENT);
	kernel_forget(k, node, 1);
}

static int handles(struct memory_backend *memory)
{
	SHMFS_LOCKED(&memory->lock);
	return memory->handles;
}

/* An open that loses, and the LOOKUP of its second walk. */
static uint64_t walk_again(struct kernel *k)
{
	struct kernel_file file;
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, FUSE_ROOT_ID, name);
	memory_fail(k->posix, MEMORY_OPEN, -ENOENT);
	assert_int_equal(kernel_open(k, node, O_WRONLY, &file), -ESTALE);
	kernel_forget(k, node, 1);
	return kernel_find(k, FUSE_ROOT_ID, name);
}

static void what_is_found_on_the_second_walk_is_held(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file;
	uint64_t node = walk_again(k);

	assert_int_equal(handles(k->posix), 1);
	assert_int_equal(k->posix->seen.flags, O_RDONLY);
	memory_unlink(k->posix, k->posix->files);
	assert_int_equal(kernel_open(k, node, O_WRONLY, &file), 0);
	assert_int_equal(handles(k->posix), 1);
	kernel_close(k, &file);
}

static void what_is_not_opened_is_let_go(void **state)
{
	struct kernel *k = *state;
	uint64_t node;

	for (k->pid = 7; k->pid < 9; k->pid++) {
		node = walk_again(k);
		for (int i = 0; i < 6000 && handles(k->posix) > 0; i++) {
			usleep(10000);
			assert_true(i > 5 || handles(k->posix) == 1);
		}
		assert_int_equal(handles(k->posix), 0);
		kernel_forget(k, node, 1);
		memory_unlink(k->posix, k->posix->files);
	}
	k->pid = 0;
}

static void what_is_held_at_the_end_is_let_go(void **state)
{
	struct kernel *k = *state;

	kernel_forget(k, walk_again(k), 1);
	assert_int_equal(handles(k->posix), 1);
}

/* Its walk has ended without an OPEN, and these LOOKUPs are of other calls. */
static void only_a_walk_is_held(void **state)
{
	struct kernel *k = *state;
	uint64_t node = walk_again(k);
	unsigned opens;

	for (int i = 0; i < 20; i++)
		kernel_find(k, FUSE_ROOT_ID, name);
	opens = k->posix->calls[MEMORY_OPEN];
	kernel_find(k, FUSE_ROOT_ID, name);
	assert_int_equal(k->posix->calls[MEMORY_OPEN], opens);
	assert_int_equal(handles(k->posix), 1);
	kernel_forget(k, node, 22);
}

static void what_cannot_be_held_is_found(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file;
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, FUSE_ROOT_ID, name);
	memory_fail(k->posix, MEMORY_OPEN, -ENOENT);
	assert_int_equal(kernel_open(k, node, O_RDONLY, &file), -ESTALE);
	memory_fail(k->posix, MEMORY_OPEN, -EACCES);
	kernel_find(k, FUSE_ROOT_ID, name);
	assert_int_equal(handles(k->posix), 0);
	kernel_forget(k, node, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(whoever_opens_what_is_gone_walks_once_more),
		KERNEL_TEST(whoever_looks_at_what_is_gone_walks_once_more),
		KERNEL_TEST(what_is_found_on_the_second_walk_is_held),
		KERNEL_TEST(what_is_not_opened_is_let_go),
		KERNEL_TEST(what_is_held_at_the_end_is_let_go),
		KERNEL_TEST(only_a_walk_is_held),
		KERNEL_TEST(what_cannot_be_held_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
