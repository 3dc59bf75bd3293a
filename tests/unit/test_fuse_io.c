/* SPDX-License-Identifier: MIT */
/* Requests on bytes, wherever the backend says that they lie. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel.h"
#include "shmfs/sigbus.h"
#include "shmfs/sanitizer.h"
#include "sigbus.h"

#define ROOT SHMFS_DIR_ROOT
/* More than is copied through a buffer. */
#define MUCH ((size_t)128 << 10)

static const char text[] = "There is no shared memory but mine.";

/* An object of these bytes, opened. */
static struct kernel_file opened(struct kernel *k, const char *name, const void *bytes, size_t len)
{
	struct kernel_file file;

	memory_add_bytes(k->posix, 0, name, bytes, len);
	assert_int_equal(kernel_open(k, kernel_find(k, ROOT, name), O_RDWR, &file), 0);
	return file;
}

/* The newest file of the host: what opened() has just made. */
static struct memory_file *newest(struct kernel *k)
{
	return k->posix->files;
}

/* --- read --- */

static void expect_reads(struct kernel *k, const struct kernel_file *file)
{
	assert_int_equal(kernel_read(k, file, 0, 100), 0);
	assert_int_equal(k->reply_len, sizeof(text));
	assert_memory_equal(k->reply, text, sizeof(text));
	assert_int_equal(kernel_read(k, file, 6, 5), 0);
	assert_int_equal(k->reply_len, 5);
	assert_memory_equal(k->reply, "is no", 5);
	assert_int_equal(kernel_read(k, file, sizeof(text), 100), 0);
	assert_int_equal(k->reply_len, 0);
	assert_int_equal(kernel_read(k, file, (off_t)1 << 40, 100), 0);
	assert_int_equal(k->reply_len, 0);
	assert_int_equal(k->posix->spans_held, 0);
}

static void reads_from_memory(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));

	expect_reads(k, &file);
	kernel_close(k, &file);
}

static void reads_from_a_descriptor(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));

	k->posix->extents = MEMORY_DESCRIPTOR;
	expect_reads(k, &file);
	kernel_close(k, &file);
}

/* No two of its pages are the same. */
static char *much(void)
{
	char *bytes = malloc(MUCH);

	assert_non_null(bytes);
	for (size_t i = 0; i < MUCH; i++)
		bytes[i] = (char)(i * 7 + i / 4096);
	return bytes;
}

static void expect_much(struct kernel *k, const struct kernel_file *file, const char *bytes,
			size_t off, size_t count)
{
	assert_int_equal(kernel_read(k, file, (off_t)off, MUCH), 0);
	assert_int_equal(k->reply_len, count);
	assert_memory_equal(k->reply, bytes + off, count);
	assert_int_equal(k->posix->spans_held, 0);
}

static void reads_much_at_once(void **state)
{
	struct kernel *k = *state;
	char *bytes = much();
	struct kernel_file file = opened(k, "a", bytes, MUCH);

	for (int extents = MEMORY_MAPPED; extents <= MEMORY_DESCRIPTOR; extents++) {
		k->posix->extents = (enum memory_spans)extents;
		expect_much(k, &file, bytes, 0, MUCH);
		expect_much(k, &file, bytes, 4095, MUCH - 4095);
		assert_int_equal(kernel_spliced,
				 extents == MEMORY_DESCRIPTOR && !SHMFS_TSAN ? 2 : 0);
	}
	free(bytes);
	kernel_close(k, &file);
}

static void *read_much(void *arg)
{
	struct kernel *k = ((void **)arg)[0];
	const struct kernel_file *file = ((void **)arg)[1];

	expect_much(k, file, ((void **)arg)[2], 0, MUCH);
	reply_scratch_free();
	return NULL;
}

/* A pipe takes descriptors, which a user's daemon may not have. */
static void reads_much_without_a_pipe(void **state)
{
	struct kernel *k = *state;
	char *bytes = much();
	struct kernel_file file = opened(k, "a", bytes, MUCH);
	void *args[] = { k, &file, bytes };
	struct rlimit before;
	pthread_t thread;

	k->posix->extents = MEMORY_DESCRIPTOR;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 3, before.rlim_max }), 0);
	/* Each thread has a pipe of its own. */
	assert_int_equal(pthread_create(&thread, NULL, read_much, args), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(kernel_spliced, 0);
	free(bytes);
	kernel_close(k, &file);
}

/* The backend has said how much there is; now there is less. */
static void much_that_has_shrunk_is_a_short_read(void **state)
{
	struct kernel *k = *state;
	char *bytes = much();
	struct kernel_file file = opened(k, "a", bytes, MUCH);

	k->posix->extents = MEMORY_DESCRIPTOR;
	for (size_t left = MUCH; left > 0; left /= 3) {
		assert_int_equal(ftruncate(newest(k)->fd, (off_t)left), 0);
		expect_much(k, &file, bytes, 0, left);
	}
	assert_int_equal(ftruncate(newest(k)->fd, 0), 0);
	expect_much(k, &file, bytes, 0, 0);
	free(bytes);
	kernel_close(k, &file);
}

static void much_can_fail_too(void **state)
{
	struct kernel *k = *state;
	char *bytes = much();
	struct kernel_file file = opened(k, "a", bytes, MUCH);

	k->posix->extents = MEMORY_BROKEN;
	assert_int_equal(kernel_read(k, &file, 0, MUCH), -EBADF);
	assert_int_equal(k->posix->spans_held, 0);
	k->posix->extents = MEMORY_DESCRIPTOR;
	expect_much(k, &file, bytes, 0, MUCH);
	free(bytes);
	kernel_close(k, &file);
}

static void read_errors_pass_through(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));

	memory_fail(k->posix, MEMORY_READ_BEGIN, -ENXIO);
	assert_int_equal(kernel_read(k, &file, 0, 10), -ENXIO);
	assert_int_equal(k->posix->calls[MEMORY_READ_END], 0);
	k->posix->extents = MEMORY_BROKEN;
	assert_int_equal(kernel_read(k, &file, 0, 10), -EBADF);
	assert_int_equal(k->posix->calls[MEMORY_READ_END], 1);
	kernel_close(k, &file);
}

/* The reply is the memory itself: it is the kernel that finds it gone. */
static void reading_memory_that_is_gone_is_an_error(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));

	memory_lose_pages(newest(k));
	assert_int_equal(kernel_read(k, &file, 0, 10), -EIO);
	assert_int_equal(k->posix->spans_held, 0);
	kernel_close(k, &file);
}

/* What fills the kernel's page cache has no owner; the page would be served stale. */
static void pages_of_the_cache_are_not_filled(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));
	const struct fuse_read_in in = { .fh = file.fh, .size = 4096 };

	assert_int_equal(kernel_ask(k, FUSE_READ, file.node, &in, sizeof(in), NULL, 0), -EINVAL);
	assert_int_equal(k->posix->calls[MEMORY_READ_BEGIN], 0);
	kernel_close(k, &file);
}

/* --- write --- */

static void expect_writes(struct kernel *k)
{
	struct kernel_file file = opened(k, "a", text, sizeof(text));
	struct memory_file *object = newest(k);
	uint32_t written = 0;

	assert_int_equal(kernel_write(k, &file, O_RDWR, 9, "NO", 2, &written), 0);
	assert_int_equal(written, 2);
	assert_memory_equal(object->bytes, "There is NO shared", 18);
	assert_int_equal(object->size, sizeof(text));
	assert_int_equal(kernel_write(k, &file, O_RDWR, 100, "end", 3, &written), 0);
	assert_int_equal(object->size, 103);
	assert_memory_equal(object->bytes + 99, "\0end", 4);

	/* At the end, wherever the kernel believes that to be. */
	assert_int_equal(kernel_write(k, &file, O_RDWR | O_APPEND, 5, "more", 4, &written), 0);
	assert_int_equal(written, 4);
	assert_int_equal(object->size, 107);
	assert_memory_equal(object->bytes + 100, "endmore", 7);
	assert_memory_equal(object->bytes, "There is NO shared", 18);
	assert_int_equal(k->posix->spans_held, 0);
	kernel_close(k, &file);
}

static void writes_to_memory(void **state)
{
	expect_writes(*state);
}

static void writes_to_a_descriptor(void **state)
{
	struct kernel *k = *state;

	k->posix->extents = MEMORY_DESCRIPTOR;
	expect_writes(k);
}

static void writes_what_has_room(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));
	uint32_t written;

	assert_int_equal(kernel_write(k, &file, O_RDWR, MEMORY_FILE_MAX - 2, "abcd", 4, &written),
			 0);
	assert_int_equal(written, 2);
	assert_int_equal(k->posix->seen.written, 2);
	assert_int_equal(kernel_write(k, &file, O_RDWR, MEMORY_FILE_MAX, "cd", 2, &written),
			 -ENOSPC);
	assert_int_equal(k->posix->calls[MEMORY_WRITE_END], 1);
	kernel_close(k, &file);
}

static void write_errors_pass_through(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));
	uint32_t written;

	memory_fail(k->posix, MEMORY_WRITE_BEGIN, -EBUSY);
	assert_int_equal(kernel_write(k, &file, O_RDWR, 0, "hi", 2, &written), -EBUSY);
	assert_int_equal(k->posix->calls[MEMORY_WRITE_END], 0);
	/* What is stored need not count. */
	memory_fail(k->posix, MEMORY_WRITE_END, -EILSEQ);
	assert_int_equal(kernel_write(k, &file, O_RDWR, 0, "hi", 2, &written), -EILSEQ);
	k->posix->extents = MEMORY_BROKEN;
	k->posix->seen.written = 77;
	assert_int_equal(kernel_write(k, &file, O_RDWR, 0, "hi", 2, &written), -EBADF);
	assert_int_equal(k->posix->seen.written, 0);
	assert_int_equal(k->posix->spans_held, 0);
	kernel_close(k, &file);
}

static void writing_memory_that_is_gone_is_an_error(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));
	uint32_t written;

	/* Here, as cmocka handles SIGBUS itself between tests. */
	assert_int_equal(shmfs_sigbus_install(), 0);
	k->posix->seen.written = 77;
	memory_lose_pages(newest(k));
	assert_int_equal(kernel_write(k, &file, O_RDWR, 0, "hi", 2, &written), -ENOMEM);
	sigbus_over();
	assert_int_equal(k->posix->seen.written, 0);
	assert_int_equal(k->posix->spans_held, 0);
	kernel_close(k, &file);
}

static void writing_much_memory_that_is_gone_is_an_error(void **state)
{
	struct kernel *k = *state;
	char *bytes = much();
	struct kernel_file file = opened(k, "a", bytes, MUCH);
	struct memory_file *object = newest(k);
	uint32_t written;

	assert_int_equal(shmfs_sigbus_install(), 0);
	memset(bytes, 'x', MUCH);
	assert_int_equal(kernel_write(k, &file, O_RDWR, 1, bytes, MUCH - 1, &written), 0);
	assert_int_equal(written, MUCH - 1);
	assert_memory_equal(object->bytes + 1, bytes, MUCH - 1);
	memory_lose_pages(object);
	assert_int_equal(kernel_write(k, &file, O_RDWR, 0, bytes, MUCH, &written), -ENOMEM);
	sigbus_over();
	assert_int_equal(k->posix->spans_held, 0);
	free(bytes);
	kernel_close(k, &file);
}

/* --- fallocate, lseek --- */

static void fallocate_passes_its_arguments(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));
	const struct fuse_fallocate_in in = {
		.fh = file.fh,
		.offset = 4096,
		.length = 8192,
		.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	};

	k->uid = 1000;
	assert_int_equal(kernel_ask(k, FUSE_FALLOCATE, file.node, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(k->posix->seen.off, 4096);
	assert_int_equal(k->posix->seen.len, 8192);
	assert_int_equal(k->posix->seen.flags, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	assert_int_equal(k->posix->seen.uid, 1000);
	memory_fail(k->posix, MEMORY_FALLOCATE, -EOPNOTSUPP);
	assert_int_equal(kernel_ask(k, FUSE_FALLOCATE, file.node, &in, sizeof(in), NULL, 0),
			 -EOPNOTSUPP);
	kernel_close(k, &file);
}

static int seek(struct kernel *k, const struct kernel_file *file, uint64_t off, uint32_t whence,
		uint64_t *pos)
{
	const struct fuse_lseek_in in = { .fh = file->fh, .offset = off, .whence = whence };
	struct fuse_lseek_out out = { 0 };
	int err = kernel_get(k, FUSE_LSEEK, file->node, &in, sizeof(in), NULL, &out, sizeof(out));

	*pos = out.offset;
	return err;
}

static void lseek_finds_data_and_holes(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file = opened(k, "a", text, sizeof(text));
	uint64_t pos;

	assert_int_equal(seek(k, &file, 3, SEEK_DATA, &pos), 0);
	assert_int_equal(pos, 3);
	assert_int_equal(k->posix->seen.whence, SEEK_DATA);
	assert_int_equal(seek(k, &file, 0, SEEK_HOLE, &pos), 0);
	assert_int_equal(pos, sizeof(text));
	assert_int_equal(seek(k, &file, sizeof(text), SEEK_DATA, &pos), -ENXIO);
	memory_fail(k->posix, MEMORY_SEEK, -EINVAL);
	assert_int_equal(seek(k, &file, 0, SEEK_DATA, &pos), -EINVAL);
	kernel_close(k, &file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(reads_from_memory),
		KERNEL_TEST(reads_from_a_descriptor),
		KERNEL_TEST(reads_much_at_once),
		KERNEL_TEST(reads_much_without_a_pipe),
		KERNEL_TEST(much_that_has_shrunk_is_a_short_read),
		KERNEL_TEST(much_can_fail_too),
		KERNEL_TEST(read_errors_pass_through),
		KERNEL_TEST(reading_memory_that_is_gone_is_an_error),
		KERNEL_TEST(pages_of_the_cache_are_not_filled),
		KERNEL_TEST(writes_to_memory),
		KERNEL_TEST(writes_to_a_descriptor),
		KERNEL_TEST(writes_what_has_room),
		KERNEL_TEST(write_errors_pass_through),
		KERNEL_TEST(writing_memory_that_is_gone_is_an_error),
		KERNEL_TEST(writing_much_memory_that_is_gone_is_an_error),
		KERNEL_TEST(fallocate_passes_its_arguments),
		KERNEL_TEST(lseek_finds_data_and_holes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
