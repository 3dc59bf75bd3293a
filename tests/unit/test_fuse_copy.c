/* SPDX-License-Identifier: MIT */
/* copy_file_range(2), from a POSIX object to a segment. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel.h"
#include "shmfs/sanitizer.h"
#include "shmfs/sigbus.h"
#include "sigbus.h"

#define ROOT SHMFS_DIR_ROOT

static const char text[] = "There is no shared memory but mine.";

struct copy {
	struct kernel_file from;
	struct kernel_file to;
	struct memory_file *source;
	struct memory_file *segment;
};

static struct copy begin_copy(struct kernel *k, const void *bytes, size_t len)
{
	struct copy c;
	struct fuse_entry_out entry;

	c.source = memory_add_bytes(k->posix, 0, "from", bytes, len);
	assert_int_equal(kernel_open(k, kernel_find(k, ROOT, "from"), O_RDWR, &c.from), 0);
	assert_int_equal(kernel_create(k, ROOT, "1", O_RDWR, 0600, &entry, &c.to), 0);
	c.segment = k->sysv->files;
	return c;
}

static void end_copy(struct kernel *k, const struct copy *c)
{
	assert_int_equal(k->posix->spans_held, 0);
	assert_int_equal(k->sysv->spans_held, 0);
	kernel_close(k, &c->from);
	kernel_close(k, &c->to);
}

static int copy(struct kernel *k, const struct copy *c, uint64_t off_in, uint64_t off_out,
		uint64_t len, uint32_t *copied)
{
	const struct fuse_copy_file_range_in in = {
		.fh_in = c->from.fh,
		.off_in = off_in,
		.nodeid_out = c->to.node,
		.fh_out = c->to.fh,
		.off_out = off_out,
		.len = len,
	};
	struct fuse_write_out out = { 0 };
	int err = kernel_get(k, FUSE_COPY_FILE_RANGE, c->from.node, &in, sizeof(in), NULL, &out,
			     sizeof(out));

	*copied = out.size;
	return err;
}

static void copies_between_all_kinds_of_spans(void **state)
{
	struct kernel *k = *state;
	struct copy c = begin_copy(k, text, sizeof(text));
	uint32_t copied;

	for (unsigned i = 0; i < 4; i++) {
		k->posix->extents = i & 1 ? MEMORY_DESCRIPTOR : MEMORY_MAPPED;
		k->sysv->extents = i & 2 ? MEMORY_DESCRIPTOR : MEMORY_MAPPED;
		if (c.segment->bytes)
			memset(c.segment->bytes, 0, (size_t)c.segment->size);
		assert_int_equal(copy(k, &c, 6, 10, 15, &copied), 0);
		assert_int_equal(copied, 15);
		assert_int_equal(c.segment->size, 25);
		assert_memory_equal(c.segment->bytes + 10, text + 6, 15);
		/* To the end of the file, and past it. */
		assert_int_equal(copy(k, &c, 9, 0, 1000, &copied), 0);
		assert_int_equal(copied, sizeof(text) - 9);
		assert_memory_equal(c.segment->bytes, text + 9, sizeof(text) - 9);
		assert_int_equal(copy(k, &c, sizeof(text), 0, 10, &copied), 0);
		assert_int_equal(copied, 0);
		assert_int_equal(ftruncate(c.segment->fd, 0), 0);
		c.segment->size = 0;
	}
	end_copy(k, &c);
}

/* The copy goes in parts where the backend gives parts. */
static void a_copy_says_how_far_it_came(void **state)
{
	struct kernel *k = *state;
	struct copy c = begin_copy(k, text, sizeof(text));
	uint32_t copied;

	assert_int_equal(copy(k, &c, 0, MEMORY_FILE_MAX - 4, 10, &copied), 0);
	assert_int_equal(copied, 4);
	assert_memory_equal(c.segment->bytes + MEMORY_FILE_MAX - 4, text, 4);
	assert_int_equal(copy(k, &c, 0, MEMORY_FILE_MAX, 10, &copied), -ENOSPC);
	end_copy(k, &c);
}

/* An error in a later part is the next call's. */
static void what_was_copied_before_an_error_counts(void **state)
{
	struct kernel *k = *state;
	static char bytes[3 << 16];
	struct copy c = begin_copy(k, bytes, sizeof(bytes));
	uint32_t copied;

	memory_fail_later(k->posix, MEMORY_READ_BEGIN, 1, 1, -EIO);
	assert_int_equal(copy(k, &c, 0, 0, sizeof(bytes), &copied), 0);
	assert_in_range(copied, 1, sizeof(bytes) - 1);
	assert_int_equal(c.segment->size, copied);
	end_copy(k, &c);
}

static void copy_errors_pass_through(void **state)
{
	struct kernel *k = *state;
	struct copy c = begin_copy(k, text, sizeof(text));
	uint32_t copied;

	memory_fail(k->posix, MEMORY_READ_BEGIN, -EACCES);
	assert_int_equal(copy(k, &c, 0, 0, 10, &copied), -EACCES);
	memory_fail(k->sysv, MEMORY_WRITE_BEGIN, -EBUSY);
	assert_int_equal(copy(k, &c, 0, 0, 10, &copied), -EBUSY);
	memory_fail(k->sysv, MEMORY_WRITE_END, -EILSEQ);
	assert_int_equal(copy(k, &c, 0, 0, 10, &copied), -EILSEQ);
	assert_int_equal(k->posix->spans_held, 0);
	k->posix->extents = MEMORY_BROKEN;
	assert_int_equal(copy(k, &c, 0, 0, 10, &copied), -EBADF);
	k->posix->extents = MEMORY_MAPPED;
	k->sysv->extents = MEMORY_BROKEN;
	assert_int_equal(copy(k, &c, 0, 0, 10, &copied), -EBADF);
	assert_int_equal(k->sysv->seen.written, 0);
	end_copy(k, &c);
}

static void copying_memory_that_is_gone_is_an_error(void **state)
{
	struct kernel *k = *state;
	struct copy c = begin_copy(k, text, sizeof(text));
	uint32_t copied;

	assert_int_equal(shmfs_sigbus_install(), 0);
	memory_lose_pages(c.source);
	assert_int_equal(copy(k, &c, 0, 0, 10, &copied), -ENOMEM);
	sigbus_over();
	k->sysv->extents = MEMORY_DESCRIPTOR;
	assert_int_equal(copy(k, &c, 0, 0, 10, &copied), -ENOMEM);
	end_copy(k, &c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(copies_between_all_kinds_of_spans),
		KERNEL_TEST(a_copy_says_how_far_it_came),
		KERNEL_TEST(what_was_copied_before_an_error_counts),
		KERNEL_TEST(copy_errors_pass_through),
		KERNEL_TEST(copying_memory_that_is_gone_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
