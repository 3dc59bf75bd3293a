/* SPDX-License-Identifier: MIT */
/*
 * What the kernel is asked for in the INIT exchange, and which open files it
 * is told to serve by itself.  Both are looked at on the wire, where every
 * libfuse has to say the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel.h"

#define ROOT SHMFS_DIR_ROOT
#define BOUND_TEST(function) cmocka_unit_test_setup_teardown(function, setup_bound, kernel_teardown)

static const char name[] = "frames";

/* --- INIT --- */

/* max_stack_depth, which older headers lack. */
static uint32_t stack_depth(const struct fuse_init_out *out)
{
	uint32_t depth;

	memcpy(&depth, &out->flags2 + 1, sizeof(depth));
	return depth;
}

struct init_case {
	uint32_t flags;
	uint32_t flags2;
	bool wanted;
	bool on;
};

static void asks_for_passthrough_where_offered_and_wanted(void **state)
{
	static const struct init_case cases[] = {
		{ FUSE_INIT_EXT, KERNEL_INIT2_PASSTHROUGH, true, true },
		{ FUSE_INIT_EXT, UINT32_MAX, true, true },
		{ FUSE_INIT_EXT, 0, true, false },
		{ FUSE_INIT_EXT, ~KERNEL_INIT2_PASSTHROUGH, true, false },
		/* Without the first flag the second word means nothing. */
		{ 0, KERNEL_INIT2_PASSTHROUGH, true, false },
		{ FUSE_INIT_EXT, KERNEL_INIT2_PASSTHROUGH, false, false },
		{ 0, 0, false, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct init_case *c = &cases[i];
		struct kernel *k = kernel_start(c->wanted);
		struct fuse_init_out out;
		bool asked;

		assert_int_equal(kernel_init(k, c->flags, c->flags2, &out), 0);
		asked = (out.flags & FUSE_INIT_EXT) && (out.flags2 & KERNEL_INIT2_PASSTHROUGH);
		if (asked != c->on || stack_depth(&out) != c->on || k->fs.passthrough.on != c->on)
			fail_msg("case %zu: flags %x %x, depth %u", i, out.flags, out.flags2,
				 stack_depth(&out));
		kernel_stop(k);
	}
}

static void the_rest_of_init_is_as_it_should_be(void **state)
{
	struct kernel *k = kernel_start(true);
	struct fuse_init_out out;

	assert_int_equal(kernel_init(k, FUSE_INIT_EXT, KERNEL_INIT2_PASSTHROUGH, &out), 0);
	assert_int_equal(out.major, FUSE_KERNEL_VERSION);
	/* O_TRUNC comes with the open, as clearing is no resizing. */
	assert_true(out.flags & FUSE_ATOMIC_O_TRUNC);
	/* Entries that are listed would be used without being looked up. */
	assert_false(out.flags & (FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO));
	assert_false(out.flags & FUSE_WRITEBACK_CACHE);
	assert_int_equal(out.flags2 & ~KERNEL_INIT2_PASSTHROUGH, 0);
	/* With a page for the header it has to fit into a pipe. */
	assert_in_range(out.max_write, 128 << 10, (1 << 20) - 4096);
	kernel_stop(k);
}

/* Linux before 5.17 sends the first four words alone. */
#define SHORT_INIT offsetof(struct fuse_init_in, flags2)

/* Else the kernel asks for the capabilities of a file before every write. */
static void takes_over_dropping_setid_bits_where_offered(void **state)
{
	const size_t lengths[] = { sizeof(struct fuse_init_in), SHORT_INIT };

	for (int i = 0; i < 4; i++) {
		const bool offered = i % 2;
		const struct fuse_init_in in = {
			.major = FUSE_KERNEL_VERSION,
			.minor = 34,
			.flags = FUSE_MAX_PAGES | (offered ? FUSE_HANDLE_KILLPRIV_V2 : 0),
		};
		struct kernel *k = kernel_start(false);
		struct fuse_init_out out;

		assert_int_equal(kernel_ask_init(k, &in, lengths[i / 2], &out), 0);
		assert_int_equal(!!(out.flags & FUSE_HANDLE_KILLPRIV_V2), offered);
		kernel_stop(k);
	}
}

static void a_kernel_without_a_second_word_of_flags_has_no_passthrough(void **state)
{
	const struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = 34,
		.flags = FUSE_MAX_PAGES,
		.flags2 = KERNEL_INIT2_PASSTHROUGH, /* beyond what is sent */
	};
	struct kernel *k = kernel_start(true);
	struct fuse_init_out out;

	assert_int_equal(kernel_ask_init(k, &in, SHORT_INIT, &out), 0);
	assert_int_equal(out.flags2, 0);
	assert_int_equal(stack_depth(&out), 0);
	assert_false(k->fs.passthrough.on);
	kernel_stop(k);
}

static void a_refused_init_grants_nothing(void **state)
{
	struct kernel *k = kernel_start(true);
	const struct fuse_init_in in = {
		.major = 6,
		.flags = FUSE_INIT_EXT,
		.flags2 = KERNEL_INIT2_PASSTHROUGH,
	};
	struct fuse_init_out out;

	assert_int_equal(kernel_ask_init(k, &in, sizeof(in), &out), -EPROTO);
	assert_false(k->fs.passthrough.on);
	kernel_stop(k);
}

/* --- bindings --- */

static int setup_bound(void **state)
{
	struct kernel *k = kernel_start(true);
	struct fuse_init_out out;

	*state = k;
	kernel_backing.next_id = 5;
	return kernel_init(k, FUSE_INIT_EXT, KERNEL_INIT2_PASSTHROUGH, &out);
}

/* An open file of the object `name`, which the backend wants bound like this. */
static struct kernel_file open_as(struct kernel *k, enum shmfs_io_mode binding)
{
	struct kernel_file file;

	k->posix->binding = binding;
	assert_int_equal(kernel_open(k, kernel_find(k, ROOT, name), O_RDWR, &file), 0);
	return file;
}

static void expect_flags(const struct kernel_file *file, bool passthrough, bool direct, int id)
{
	assert_int_equal(!!(file->open_flags & KERNEL_OPEN_PASSTHROUGH), passthrough);
	assert_int_equal(!!(file->open_flags & FOPEN_DIRECT_IO), direct);
	assert_int_equal(file->backing_id, id);
	assert_int_equal(!!(file->open_flags & FOPEN_PARALLEL_DIRECT_WRITES), direct);
}

static void expect_backings(unsigned opened, unsigned closed)
{
	assert_int_equal(kernel_backing.opened, opened);
	assert_int_equal(kernel_backing.closed, closed);
}

static void a_bound_file_is_the_kernels(void **state)
{
	struct kernel *k = *state;
	struct memory_file *object = memory_add(k->posix, 0, name);
	struct kernel_file file = open_as(k, SHMFS_IO_PASSTHROUGH);

	expect_flags(&file, true, false, 5);
	assert_int_equal(kernel_backing.last_fd, object->fd);
	expect_backings(1, 0);
	kernel_close(k, &file);
	expect_backings(1, 1);
	assert_int_equal(kernel_backing.last_closed, 5);

	/* Opened again it is bound again. */
	kernel_backing.next_id = 6;
	file = open_as(k, SHMFS_IO_PASSTHROUGH);
	expect_flags(&file, true, false, 6);
	kernel_close(k, &file);
	assert_int_equal(kernel_backing.last_closed, 6);
}

static void a_mapped_file_is_read_and_written_here(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file;

	memory_add_bytes(k->posix, 0, name, "hello", 5);
	file = open_as(k, SHMFS_IO_MMAP_ONLY);
	expect_flags(&file, true, true, 5);
	assert_int_equal(kernel_read(k, &file, 0, 10), 0);
	assert_memory_equal(k->reply, "hello", 5);
	kernel_close(k, &file);
	expect_backings(1, 1);
}

static void a_served_file_is_not_bound(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file;

	memory_add(k->posix, 0, name);
	file = open_as(k, SHMFS_IO_DAEMON);
	expect_flags(&file, false, true, 0);
	kernel_close(k, &file);
	expect_backings(0, 0);
}

/* Its write under way would keep an inode bound that nobody has open. */
static void an_unbound_writer_keeps_others_from_being_bound(void **state)
{
	struct kernel *k = *state;
	struct kernel_file writer;
	struct kernel_file file;

	memory_add(k->posix, 0, name);
	writer = open_as(k, SHMFS_IO_DAEMON);
	file = open_as(k, SHMFS_IO_PASSTHROUGH);
	expect_flags(&file, false, true, 0);
	kernel_close(k, &file);
	kernel_close(k, &writer);
	file = open_as(k, SHMFS_IO_PASSTHROUGH);
	expect_flags(&file, true, false, 5);
	kernel_close(k, &file);
}

/* The kernel wants one backing file an inode: all opens of it share one. */
static void open_files_of_an_inode_share_a_backing(void **state)
{
	struct kernel *k = *state;
	struct kernel_file files[4];

	memory_add(k->posix, 0, name);
	files[0] = open_as(k, SHMFS_IO_PASSTHROUGH);
	kernel_backing.next_id = 6;
	files[1] = open_as(k, SHMFS_IO_MMAP_ONLY);
	/* One that would be served is bound as well, for reads and writes to come here. */
	files[2] = open_as(k, SHMFS_IO_DAEMON);
	expect_flags(&files[1], true, true, 5);
	expect_flags(&files[2], true, true, 5);
	kernel_close(k, &files[0]);
	files[3] = open_as(k, SHMFS_IO_PASSTHROUGH);
	expect_flags(&files[3], true, false, 5);
	kernel_close(k, &files[2]);
	kernel_close(k, &files[1]);
	expect_backings(1, 0);
	kernel_close(k, &files[3]);
	expect_backings(1, 1);
}

static void inodes_have_backings_of_their_own(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file;
	struct kernel_file other;

	memory_add(k->posix, 0, name);
	memory_add(k->posix, 0, "other");
	file = open_as(k, SHMFS_IO_PASSTHROUGH);
	kernel_backing.next_id = 6;
	assert_int_equal(kernel_open(k, kernel_find(k, ROOT, "other"), O_RDWR, &other), 0);
	expect_flags(&other, true, false, 6);
	kernel_close(k, &file);
	assert_int_equal(kernel_backing.last_closed, 5);
	kernel_close(k, &other);
	assert_int_equal(kernel_backing.last_closed, 6);
}

static void what_the_kernel_will_not_bind_is_served(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file;

	memory_add_bytes(k->posix, 0, name, "hello", 5);
	kernel_backing.next_id = -EPERM;
	file = open_as(k, SHMFS_IO_PASSTHROUGH);
	expect_flags(&file, false, true, 0);
	assert_int_equal(kernel_read(k, &file, 0, 10), 0);
	assert_memory_equal(k->reply, "hello", 5);
	kernel_close(k, &file);
	expect_backings(1, 0);
}

static void a_new_file_can_be_bound(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file file;

	k->posix->binding = SHMFS_IO_PASSTHROUGH;
	assert_int_equal(kernel_create(k, ROOT, name, O_RDWR, 0600, &entry, &file), 0);
	expect_flags(&file, true, false, 5);
	assert_int_equal(kernel_backing.last_fd, k->posix->files->fd);
	kernel_close(k, &file);
	expect_backings(1, 1);
}

static void an_interrupted_open_is_unbound(void **state)
{
	struct kernel *k = *state;
	const struct fuse_open_in in = { .flags = O_RDWR };
	const struct fuse_create_in create_in = { .flags = O_RDWR, .mode = S_IFREG | 0600 };
	const struct kernel_part part = { &in, sizeof(in) };
	const struct kernel_part parts[] = { { &create_in, sizeof(create_in) }, { "new", 4 } };
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, ROOT, name);
	k->posix->binding = SHMFS_IO_PASSTHROUGH;
	kernel_interrupt(1);
	kernel_send(k, FUSE_OPEN, node, &part, 1);
	kernel_expect_silence(k);
	expect_backings(1, 1);
	kernel_interrupt(1);
	kernel_send(k, FUSE_CREATE, ROOT, parts, 2);
	kernel_expect_silence(k);
	expect_backings(2, 2);
	assert_int_equal(k->posix->handles, 0);
	kernel_forget(k, node, 1);
}

static void nothing_is_bound_without_passthrough(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file;

	memory_add(k->posix, 0, name);
	file = open_as(k, SHMFS_IO_PASSTHROUGH);
	assert_int_equal(file.open_flags & (KERNEL_OPEN_PASSTHROUGH | FOPEN_DIRECT_IO),
			 FOPEN_DIRECT_IO);
	assert_true(file.open_flags & FOPEN_PARALLEL_DIRECT_WRITES);
	expect_backings(0, 0);
	kernel_close(k, &file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_for_passthrough_where_offered_and_wanted),
		cmocka_unit_test(the_rest_of_init_is_as_it_should_be),
		cmocka_unit_test(takes_over_dropping_setid_bits_where_offered),
		cmocka_unit_test(a_kernel_without_a_second_word_of_flags_has_no_passthrough),
		cmocka_unit_test(a_refused_init_grants_nothing),
		BOUND_TEST(a_bound_file_is_the_kernels),
		BOUND_TEST(a_mapped_file_is_read_and_written_here),
		BOUND_TEST(a_served_file_is_not_bound),
		BOUND_TEST(an_unbound_writer_keeps_others_from_being_bound),
		BOUND_TEST(open_files_of_an_inode_share_a_backing),
		BOUND_TEST(inodes_have_backings_of_their_own),
		BOUND_TEST(what_the_kernel_will_not_bind_is_served),
		BOUND_TEST(a_new_file_can_be_bound),
		BOUND_TEST(an_interrupted_open_is_unbound),
		KERNEL_TEST(nothing_is_bound_without_passthrough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
