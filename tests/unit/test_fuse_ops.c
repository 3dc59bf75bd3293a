/* SPDX-License-Identifier: MIT */
/* Requests on files: attributes, open and close. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROOT SHMFS_DIR_ROOT

static const char name[] = "frames";

/* --- getattr --- */

/* What is shown of an object can depend on who looks. */
static void the_backend_hears_who_looks(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct fuse_attr_out out;
	struct kernel_file file;
	uint64_t node;

	memory_add(k->posix, 0, name);
	k->uid = 1000;
	node = kernel_find(k, ROOT, name);
	assert_int_equal(k->posix->seen.looker, 1000);
	k->uid = 1001;
	assert_int_equal(kernel_getattr(k, node, &out), 0);
	assert_int_equal(k->posix->seen.looker, 1001);
	kernel_forget(k, node, 1);

	k->uid = 1002;
	assert_int_equal(kernel_create(k, ROOT, "1", O_RDWR, 0600, &entry, &file), 0);
	assert_int_equal(k->sysv->seen.uid, 1002);
	kernel_close(k, &file);
}

static void attributes_are_kept_for_a_jiffy_unless_open(void **state)
{
	struct kernel *k = *state;
	struct memory_file *object = memory_add_bytes(k->posix, 0, name, "hello", 5);
	uint64_t node = kernel_find(k, ROOT, name);
	struct kernel_file files[2];
	struct fuse_entry_out entry;
	struct fuse_attr_out out;

	assert_int_equal(kernel_getattr(k, node, &out), 0);
	assert_int_equal(out.attr_valid, 0);
	assert_int_equal(out.attr_valid_nsec, 1);
	assert_int_equal(out.attr.size, 5);
	assert_int_equal(out.attr.ino, memory_ino(k->posix, object));

	assert_int_equal(kernel_open(k, node, O_RDONLY, &files[0]), 0);
	assert_int_equal(kernel_open(k, node, O_RDONLY, &files[1]), 0);
	kernel_release(k, &files[0]);
	assert_int_equal(kernel_getattr(k, node, &out), 0);
	assert_int_equal(out.attr_valid, 0);
	assert_int_equal(out.attr_valid_nsec, 0);
	assert_int_equal(kernel_lookup(k, ROOT, name, &entry), 0);
	assert_int_equal(entry.attr_valid_nsec, 0);

	kernel_release(k, &files[1]);
	assert_int_equal(kernel_getattr(k, node, &out), 0);
	assert_int_equal(out.attr_valid_nsec, 1);
	kernel_forget(k, node, 2);
}

static void directories_have_attributes(void **state)
{
	struct kernel *k = *state;
	struct fuse_attr_out out;

	for (uint64_t dir = SHMFS_DIR_ROOT; dir <= DIR_TEXT; dir += 2) {
		assert_int_equal(kernel_getattr(k, dir, &out), 0);
		assert_int_equal(out.attr.ino, dir);
		assert_int_equal(out.attr.mode, S_IFDIR | 0777);
		assert_int_equal(out.attr.mtime, 12);
		assert_int_equal(out.attr_valid, 0);
		assert_int_equal(out.attr_valid_nsec, 1);
	}
	memory_lose_names(k->posix);
	assert_int_equal(kernel_getattr(k, ROOT, &out), -EBADF);
}

static void a_removed_file_has_attributes_while_it_is_open(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = memory_add(k->sysv, 1, NULL);
	uint64_t node = kernel_find(k, ROOT, "1");
	struct kernel_file file;
	struct fuse_attr_out out;

	assert_int_equal(kernel_open(k, node, O_RDONLY, &file), 0);
	memory_unlink(k->sysv, segment);
	assert_int_equal(kernel_getattr(k, node, &out), 0);
	assert_int_equal(out.attr.nlink, 0);
	kernel_release(k, &file);
	assert_int_equal(kernel_getattr(k, node, &out), -ESTALE);
	kernel_forget(k, node, 1);
}

/* --- setattr --- */

static int setattr(struct kernel *k, uint64_t node, const struct fuse_setattr_in *in)
{
	struct fuse_attr_out out;

	return kernel_get(k, FUSE_SETATTR, node, in, sizeof(*in), NULL, &out, sizeof(out));
}

static void setattr_resizes(void **state)
{
	struct kernel *k = *state;
	struct memory_file *object = memory_add(k->posix, 0, name);
	uint64_t node = kernel_find(k, ROOT, name);
	/* The kernel sends times along with a size: they are the backend's. */
	const struct fuse_setattr_in in = {
		.valid = FATTR_SIZE | FATTR_MTIME | FATTR_MTIME_NOW | FATTR_CTIME,
		.size = 5000,
	};

	k->uid = 1000;
	assert_int_equal(setattr(k, node, &in), 0);
	assert_int_equal(object->size, 5000);
	assert_null(k->posix->seen.handle);
	assert_int_equal(k->posix->seen.uid, 1000);
	assert_int_equal(k->posix->calls[MEMORY_UTIMENS], 0);
	kernel_forget(k, node, 1);
}

static void setattr_says_which_handle_resizes(void **state)
{
	struct kernel *k = *state;
	struct fuse_setattr_in in = { .valid = FATTR_SIZE | FATTR_FH, .size = 10 };
	struct kernel_file files[2];
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, ROOT, name);
	assert_int_equal(kernel_open(k, node, O_RDWR, &files[0]), 0);
	assert_int_equal(kernel_open(k, node, O_RDWR, &files[1]), 0);
	in.fh = files[1].fh;
	assert_int_equal(setattr(k, node, &in), 0);
	assert_ptr_equal(k->posix->seen.handle,
			 ((struct shmfs_file *)(uintptr_t)files[1].fh)->handle);
	kernel_release(k, &files[0]);
	kernel_close(k, &files[1]);
}

static void setattr_changes_owner_and_mode(void **state)
{
	struct kernel *k = *state;
	struct memory_file *object = memory_add(k->posix, 0, name);
	uint64_t node = kernel_find(k, ROOT, name);
	struct fuse_setattr_in in = { .valid = FATTR_UID, .uid = 7, .gid = 8 };

	assert_int_equal(setattr(k, node, &in), 0);
	assert_int_equal(object->uid, 7);
	assert_int_equal(k->posix->seen.new_gid, (gid_t)-1);
	in.valid = FATTR_GID;
	assert_int_equal(setattr(k, node, &in), 0);
	assert_int_equal(object->gid, 8);
	assert_int_equal(k->posix->seen.new_uid, (uid_t)-1);
	assert_int_equal(k->posix->calls[MEMORY_CHMOD], 0);

	in = (struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = S_IFREG | 04751 };
	assert_int_equal(setattr(k, node, &in), 0);
	assert_int_equal(k->posix->seen.mode, 04751);
	assert_int_equal(k->posix->calls[MEMORY_CHOWN], 2);
	assert_int_equal(k->posix->calls[MEMORY_UTIMENS], 0);
	assert_int_equal(k->posix->calls[MEMORY_TRUNCATE], 0);

	/* The kernel is about to write itself: what a chown(2) clears is to go. */
	in = (struct fuse_setattr_in){ .valid = 0 };
	assert_int_equal(setattr(k, node, &in), 0);
	assert_int_equal(k->posix->calls[MEMORY_CHOWN], 3);
	assert_int_equal(k->posix->seen.new_uid, (uid_t)-1);
	assert_int_equal(k->posix->seen.new_gid, (gid_t)-1);
	kernel_forget(k, node, 1);
}

static void setattr_sets_times(void **state)
{
	struct kernel *k = *state;
	struct fuse_setattr_in in = {
		.valid = FATTR_ATIME | FATTR_MTIME,
		.atime = 100,
		.atimensec = 1,
		.mtime = 200,
		.mtimensec = 2,
	};
	const struct timespec *times = k->posix->seen.times;
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, ROOT, name);
	assert_int_equal(setattr(k, node, &in), 0);
	assert_int_equal(times[0].tv_sec, 100);
	assert_int_equal(times[0].tv_nsec, 1);
	assert_int_equal(times[1].tv_sec, 200);
	assert_int_equal(times[1].tv_nsec, 2);
	in.valid = FATTR_MTIME;
	assert_int_equal(setattr(k, node, &in), 0);
	assert_int_equal(times[0].tv_nsec, UTIME_OMIT);
	assert_int_equal(times[1].tv_sec, 200);
	in.valid = FATTR_ATIME | FATTR_ATIME_NOW;
	assert_int_equal(setattr(k, node, &in), 0);
	assert_int_equal(times[0].tv_nsec, UTIME_NOW);
	assert_int_equal(times[1].tv_nsec, UTIME_OMIT);
	kernel_forget(k, node, 1);
}

/* What comes first and fails is the answer; what comes after it is not done. */
static void setattr_stops_at_an_error(void **state)
{
	static const enum memory_slot order[] = {
		MEMORY_TRUNCATE,
		MEMORY_CHOWN,
		MEMORY_CHMOD,
	};
	const struct fuse_setattr_in in = { .valid = FATTR_SIZE | FATTR_UID | FATTR_MODE };
	struct kernel *k = *state;
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, ROOT, name);
	for (size_t i = 0; i < COUNT(order); i++) {
		memset(k->posix->calls, 0, sizeof(k->posix->calls));
		memory_fail(k->posix, order[i], -EBUSY);
		assert_int_equal(setattr(k, node, &in), -EBUSY);
		for (size_t j = i + 1; j < COUNT(order); j++)
			assert_int_equal(k->posix->calls[order[j]], 0);
	}
	memory_fail(k->posix, MEMORY_UTIMENS, -EROFS);
	assert_int_equal(setattr(k, node, &(struct fuse_setattr_in){ .valid = FATTR_ATIME_NOW }),
			 -EROFS);
	memory_fail(k->posix, MEMORY_GETATTR, -ESTALE);
	assert_int_equal(setattr(k, node, &in), -ESTALE);
	kernel_forget(k, node, 1);
}

static void directories_are_as_they_are(void **state)
{
	struct kernel *k = *state;
	const struct fuse_setattr_in changes[] = {
		{ .valid = FATTR_MODE, .mode = S_IFDIR | 0700 },
		{ .valid = FATTR_UID, .uid = 1 },
		{ .valid = FATTR_GID | FATTR_MTIME, .gid = 1 },
	};
	const struct fuse_setattr_in same = {
		.valid = FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_ATIME_NOW | FATTR_MTIME,
		.mode = S_IFDIR | 0777,
	};

	for (uint64_t dir = SHMFS_DIR_ROOT; dir <= DIR_TEXT; dir += 2) {
		for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++)
			assert_int_equal(setattr(k, dir, &changes[i]), -EPERM);
		assert_int_equal(setattr(k, dir, &same), 0);
	}
}

/* --- open and close --- */

static void open_gives_a_handle(void **state)
{
	struct kernel *k = *state;
	struct memory_file *object = memory_add_bytes(k->posix, 0, name, "hello", 5);
	uint64_t node = kernel_find(k, ROOT, name);
	struct kernel_file file;

	k->uid = 1000;
	assert_int_equal(kernel_open(k, node, O_RDWR, &file), 0);
	assert_int_equal(k->posix->seen.flags, O_RDWR);
	assert_int_equal(k->posix->seen.uid, 1000);
	assert_int_equal(object->nhandles, 1);
	assert_int_equal(file.backing_id, 0);
	/* Served by the daemon: nothing in the page cache. */
	assert_true(file.open_flags & FOPEN_DIRECT_IO);
	assert_false(file.open_flags & (FOPEN_KEEP_CACHE | KERNEL_OPEN_PASSTHROUGH));
	assert_true(file.open_flags & FOPEN_PARALLEL_DIRECT_WRITES);
	kernel_release(k, &file);
	assert_int_equal(object->nhandles, 0);

	assert_int_equal(kernel_open(k, node, O_WRONLY | O_TRUNC, &file), 0);
	assert_int_equal(object->size, 0);
	kernel_close(k, &file);
}

/* Attributes that the kernel kept before are dropped; a negative offset: only those. */
static void open_drops_kept_attributes(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file;
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, ROOT, name);
	assert_int_equal(k->notified, 0);
	assert_int_equal(kernel_open(k, node, O_RDONLY, &file), 0);
	assert_int_equal(k->notified, 1);
	assert_int_equal(k->invalidated.ino, node);
	assert_true(k->invalidated.off < 0);
	kernel_close(k, &file);
}

/* close(2) asks only where there is something to do. */
static void flush_is_asked_for_where_wanted(void **state)
{
	struct kernel *k = *state;
	struct fuse_flush_in in = { 0 };
	struct fuse_entry_out entry;
	struct kernel_file file;

	assert_int_equal(kernel_create(k, ROOT, "1", O_RDWR, 0600, &entry, &file), 0);
	assert_true(file.open_flags & FOPEN_NOFLUSH);
	kernel_release(k, &file);
	k->sysv->may_flush = true;
	assert_int_equal(kernel_open(k, file.node, O_RDWR, &file), 0);
	assert_false(file.open_flags & FOPEN_NOFLUSH);
	in.fh = file.fh;
	k->uid = 1000;
	assert_int_equal(kernel_ask(k, FUSE_FLUSH, file.node, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(k->sysv->seen.uid, 1000);
	assert_int_equal(k->sysv->calls[MEMORY_FLUSH], 1);
	memory_fail(k->sysv, MEMORY_FLUSH, -ENOSPC);
	assert_int_equal(kernel_ask(k, FUSE_FLUSH, file.node, &in, sizeof(in), NULL, 0), -ENOSPC);
	kernel_close(k, &file);
}

static bool is_flushed_by_opener(struct kernel *k, const struct kernel_file *file, pid_t pid)
{
	const struct fuse_flush_in in = { .fh = file->fh };

	k->pid = (uint32_t)pid;
	assert_int_equal(kernel_ask(k, FUSE_FLUSH, file->node, &in, sizeof(in), NULL, 0), 0);
	return k->sysv->seen.by_opener;
}

static struct {
	struct kernel *k;
	const struct kernel_file *file;
	bool is_opener;
} closing;

static void *close_in_thread(void *unused)
{
	closing.is_opener = is_flushed_by_opener(closing.k, closing.file, gettid());
	return unused;
}

/* Any thread of the process that opened the file closes it, and no other process does. */
static void a_thread_of_the_opener_is_the_opener(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file file;
	pthread_t thread;

	k->sysv->may_flush = true;
	assert_int_equal(kernel_create(k, ROOT, "1", O_RDWR, 0600, &entry, &file), 0);
	closing.k = k;
	closing.file = &file;
	assert_int_equal(pthread_create(&thread, NULL, close_in_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(closing.is_opener);
	assert_true(is_flushed_by_opener(k, &file, getpid()));
	assert_false(is_flushed_by_opener(k, &file, getppid()));
	kernel_close(k, &file);
}

static void a_failed_open_leaves_nothing_open(void **state)
{
	struct kernel *k = *state;
	struct kernel_file file;
	struct fuse_attr_out out;
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, ROOT, name);
	memory_fail(k->posix, MEMORY_OPEN, -EACCES);
	assert_int_equal(kernel_open(k, node, O_RDWR, &file), -EACCES);
	assert_int_equal(k->posix->handles, 0);
	assert_int_equal(kernel_getattr(k, node, &out), 0);
	assert_int_equal(out.attr_valid_nsec, 1);
	kernel_forget(k, node, 1);
}

/* The kernel looks the name up again then. */
static void what_was_replaced_is_stale_to_open(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = memory_add(k->sysv, 1, NULL);
	uint64_t node = kernel_find(k, ROOT, "1");
	struct kernel_file file;

	memory_unlink(k->sysv, segment);
	memory_add(k->sysv, 1, NULL);
	assert_int_equal(kernel_open(k, node, O_RDONLY, &file), -ESTALE);
	kernel_forget(k, node, 1);
	node = kernel_find(k, ROOT, "1");
	assert_int_equal(kernel_open(k, node, O_RDONLY, &file), 0);
	kernel_close(k, &file);
}

static void an_interrupted_open_leaves_nothing_open(void **state)
{
	struct kernel *k = *state;
	const struct fuse_open_in in = { .flags = O_RDWR };
	const struct kernel_part part = { &in, sizeof(in) };
	struct fuse_attr_out out;
	uint64_t node;

	memory_add(k->posix, 0, name);
	node = kernel_find(k, ROOT, name);
	kernel_interrupt(1);
	kernel_send(k, FUSE_OPEN, node, &part, 1);
	kernel_expect_silence(k);
	assert_int_equal(k->posix->calls[MEMORY_OPEN], 1);
	assert_int_equal(k->posix->handles, 0);
	assert_int_equal(kernel_getattr(k, node, &out), 0);
	assert_int_equal(out.attr_valid_nsec, 1);
	kernel_forget(k, node, 1);
}

/* The kernel has gone, and releases nothing any more. */
static void what_was_left_open_is_closed_at_the_end(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file files[3];

	for (int i = 0; i < 2; i++)
		assert_int_equal(
			kernel_create(k, ROOT, i ? "1" : name, O_RDWR, 0600, &entry, &files[i]), 0);
	assert_int_equal(kernel_open(k, files[0].node, O_RDONLY, &files[2]), 0);
	kernel_release(k, &files[0]);
	assert_int_equal(k->posix->handles, 1);
	close_all(&k->fs);
	assert_int_equal(k->posix->handles, 0);
	assert_int_equal(k->sysv->handles, 0);
	assert_int_equal(k->fs.nopen, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(the_backend_hears_who_looks),
		KERNEL_TEST(attributes_are_kept_for_a_jiffy_unless_open),
		KERNEL_TEST(directories_have_attributes),
		KERNEL_TEST(a_removed_file_has_attributes_while_it_is_open),
		KERNEL_TEST(setattr_resizes),
		KERNEL_TEST(setattr_says_which_handle_resizes),
		KERNEL_TEST(setattr_changes_owner_and_mode),
		KERNEL_TEST(setattr_sets_times),
		KERNEL_TEST(setattr_stops_at_an_error),
		KERNEL_TEST(directories_are_as_they_are),
		KERNEL_TEST(open_gives_a_handle),
		KERNEL_TEST(open_drops_kept_attributes),
		KERNEL_TEST(flush_is_asked_for_where_wanted),
		KERNEL_TEST(a_thread_of_the_opener_is_the_opener),
		KERNEL_TEST(a_failed_open_leaves_nothing_open),
		KERNEL_TEST(what_was_replaced_is_stale_to_open),
		KERNEL_TEST(an_interrupted_open_leaves_nothing_open),
		KERNEL_TEST(what_was_left_open_is_closed_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
