/* SPDX-License-Identifier: MIT */
/* Requests that make a name: create and mknod, and those that make nothing. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROOT SHMFS_DIR_ROOT

static int create(struct kernel *k, const char *name, int flags)
{
	struct fuse_entry_out entry;
	struct kernel_file file;

	return kernel_create(k, ROOT, name, flags, 0600, &entry, &file);
}

static int mknod_at(struct kernel *k, uint64_t dir, const char *name, mode_t mode,
		    struct fuse_entry_out *entry)
{
	const struct fuse_mknod_in in = { .mode = mode };

	return kernel_get(k, FUSE_MKNOD, dir, &in, sizeof(in), name, entry, sizeof(*entry));
}

/* --- create --- */

static void create_makes_and_opens(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file file;
	uint32_t written;

	k->uid = 1000;
	k->gid = 100;
	assert_int_equal(kernel_create(k, ROOT, "3148", O_RDWR, 0640, &entry, &file), 0);
	assert_int_equal(k->sysv->seen.mode & 07777, 0640);
	assert_int_equal(k->sysv->seen.flags & O_ACCMODE, O_RDWR);
	assert_int_equal(k->sysv->seen.uid, 1000);
	assert_int_equal(k->sysv->seen.gid, 100);
	assert_int_equal(entry.attr.mode, S_IFREG | 0640);
	assert_int_equal(entry.attr.uid, 1000);
	assert_int_equal(entry.attr.ino, memory_ino(k->sysv, k->sysv->files));
	assert_true(file.open_flags & FOPEN_DIRECT_IO);
	assert_int_equal(file.backing_id, 0);
	assert_int_equal(k->sysv->handles, 1);
	assert_int_equal(k->sysv->objects, 1);

	/* Its handle is one of that inode, for reading and writing. */
	assert_int_equal(kernel_write(k, &file, O_RDWR, 0, "hi", 2, &written), 0);
	assert_int_equal(kernel_read(k, &file, 0, 100), 0);
	assert_memory_equal(k->reply, "hi", 2);
	assert_int_equal(kernel_find(k, ROOT, "0xc4c"), entry.nodeid);
	kernel_forget(k, entry.nodeid, 1);
	kernel_close(k, &file);
}

/* Somebody has it open: what is known of it is not kept. */
static void what_was_created_is_not_kept(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file file;
	struct fuse_attr_out attr;

	assert_int_equal(kernel_create(k, ROOT, "frames", O_RDWR, 0600, &entry, &file), 0);
	assert_int_equal(entry.entry_valid, 0);
	assert_int_equal(entry.entry_valid_nsec, 0);
	assert_int_equal(entry.attr_valid, 0);
	assert_int_equal(entry.attr_valid_nsec, 0);
	assert_int_equal(kernel_getattr(k, entry.nodeid, &attr), 0);
	assert_int_equal(attr.attr_valid_nsec, 0);
	kernel_release(k, &file);
	assert_int_equal(kernel_getattr(k, entry.nodeid, &attr), 0);
	assert_int_equal(attr.attr_valid_nsec, 1);
	kernel_forget(k, entry.nodeid, 1);
}

/* The caller's groups come from /proc, where the caller is this process. */
static void create_has_the_groups_of_the_caller(void **state)
{
	static const size_t counts[] = { 3, 200, 0 };
	struct kernel *k = *state;
	gid_t groups[200];

	k->uid = 1000;
	k->sysv->want_groups = true;
	for (gid_t i = 0; i < COUNT(groups); i++)
		groups[i] = 4711 + i;
	for (size_t i = 0; i < COUNT(counts); i++) {
		const char name[] = { (char)('1' + i), '\0' };
		struct fuse_entry_out entry;
		struct kernel_file file;

		if (setgroups(counts[i], groups) != 0)
			skip(); /* only root may */
		assert_int_equal(kernel_create(k, ROOT, name, O_RDWR, 0600, &entry, &file), 0);
		assert_int_equal(k->sysv->seen.pid, getpid());
		assert_int_equal(k->sysv->seen.ngroups, counts[i]);
		if (counts[i])
			assert_int_equal(k->sysv->seen.group, groups[0]);
		kernel_close(k, &file);
	}
}

/* Who opens many files can bring it there. */
static void create_fails_without_a_descriptor_for_the_groups(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file file;
	struct rlimit limit;
	struct rlimit less;
	int err;

	k->uid = 1000;
	k->sysv->want_groups = true;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	less = (struct rlimit){ .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &less), 0);
	err = kernel_create(k, ROOT, "1", O_RDWR, 0600, &entry, &file);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(err, -EMFILE);
}

/* Each has a half of what others leave, also of two whose ids are nearly the same. */
static void each_user_has_a_share_of_the_descriptors(void **state)
{
	static const uint32_t uids[] = { 1256, 1000, 66536 };
	static const unsigned shares[] = { 50, 25, 16 }; /* 16 in any case */
	struct kernel *k = *state;
	struct kernel_file files[3][64];
	struct rlimit limit;
	int err = 0;

	memory_add_bytes(k->posix, 0, "frames", "x", 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 100, limit.rlim_max }), 0);
	for (unsigned user = 0; user < 3; user++) {
		unsigned n = 0;

		k->uid = uids[user];
		for (; n < 64; n++) {
			uint64_t node = kernel_find(k, ROOT, "frames");

			err = kernel_open(k, node, O_RDONLY, &files[user][n]);
			if (err) {
				kernel_forget(k, node, 1);
				break;
			}
		}
		assert_int_equal(n, shares[user]);
		assert_int_equal(err, -EMFILE);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (unsigned user = 0; user < 3; user++)
		for (unsigned n = 0; n < shares[user]; n++)
			kernel_close(k, &files[user][n]);
}

struct refusal {
	uint64_t dir;
	const char *name;
	int err;
};

static const struct refusal refusals[] = {
	{ SHMFS_DIR_ROOT, "0", -EINVAL },    { SHMFS_DIR_ROOT, "0x0", -EINVAL },
	{ SHMFS_DIR_ROOT, "sem.x", -EPERM }, { DIR_BY_NAME, "sem.x", -EPERM },
	{ DIR_BY_ID, "65538", -EPERM },	     { DIR_BY_ID, "x", -EPERM },
};

static void create_refuses_what_cannot_be(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file file;
	char name[257] = "";

	for (size_t i = 0; i < COUNT(refusals); i++) {
		int err = kernel_create(k, refusals[i].dir, refusals[i].name, O_RDWR, 0600, &entry,
					&file);

		if (err != refusals[i].err)
			fail_msg("%s: %d", refusals[i].name, err);
		err = mknod_at(k, refusals[i].dir, refusals[i].name, S_IFREG | 0600, &entry);
		if (err != refusals[i].err)
			fail_msg("mknod %s: %d", refusals[i].name, err);
	}
	memset(name, 'x', 256);
	assert_int_equal(create(k, name, O_RDWR), -ENAMETOOLONG);
	assert_int_equal(create(k, ".by-id", O_RDWR), -EISDIR);
	assert_int_equal(create(k, ".by-name", O_RDWR | O_EXCL), -EEXIST);
	assert_null(k->posix->files);
	assert_null(k->sysv->files);
}

/* --- create of what others have made since the kernel looked --- */

static void a_taken_name_is_opened(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = memory_add_bytes(k->sysv, 3148, NULL, "hello", 5);
	struct fuse_entry_out entry;
	struct kernel_file file;

	assert_int_equal(kernel_create(k, ROOT, "3148", O_RDWR, 0600, &entry, &file), 0);
	assert_int_equal(entry.attr.ino, memory_ino(k->sysv, segment));
	assert_int_equal(entry.attr_valid_nsec, 0);
	assert_int_equal(segment->size, 5);
	assert_int_equal(segment->nhandles, 1);
	assert_int_equal(kernel_find(k, ROOT, "3148"), entry.nodeid);
	kernel_forget(k, entry.nodeid, 1);
	kernel_close(k, &file);
	assert_int_equal(k->sysv->objects, 0);

	assert_int_equal(kernel_create(k, ROOT, "3148", O_WRONLY | O_TRUNC, 0600, &entry, &file),
			 0);
	assert_int_equal(segment->size, 0);
	kernel_close(k, &file);
}

/* The kernel has checked nothing there: the backend knows who may. */
static void a_taken_name_is_opened_by_who_may(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file file;

	memory_add(k->sysv, 3148, NULL);
	k->uid = 1000;
	memory_fail(k->sysv, MEMORY_OPEN, -EACCES);
	assert_int_equal(create(k, "3148", O_RDWR), -EACCES);
	assert_int_equal(k->sysv->calls[MEMORY_OPEN], 1);
	assert_int_equal(k->sysv->seen.uid, 1000);
	/* Gone in between: looked for again. */
	memory_fail(k->sysv, MEMORY_OPEN, -ESTALE);
	assert_int_equal(kernel_create(k, ROOT, "3148", O_RDWR, 0600, &entry, &file), 0);
	assert_int_equal(k->sysv->calls[MEMORY_OPEN], 3);
	kernel_close(k, &file);
}

static void a_failed_open_of_a_taken_name_leaves_nothing(void **state)
{
	static const enum memory_slot slots[] = {
		MEMORY_LOOKUP,
		MEMORY_OPEN,
	};
	struct kernel *k = *state;

	memory_add(k->sysv, 3148, NULL);
	for (size_t i = 0; i < COUNT(slots); i++) {
		memory_fail(k->sysv, slots[i], -EBUSY);
		assert_int_equal(create(k, "3148", O_RDWR), -EBUSY);
		assert_int_equal(k->sysv->handles, 0);
		assert_int_equal(k->sysv->objects, 0);
	}
}

/* Made by somebody and removed again: then it is for us to make. */
static void a_name_that_is_free_again_is_created(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	struct kernel_file file;

	memory_fail(k->posix, MEMORY_CREATE, -EEXIST);
	assert_int_equal(kernel_create(k, ROOT, "frames", O_RDWR, 0600, &entry, &file), 0);
	assert_int_equal(k->posix->calls[MEMORY_CREATE], 2);
	kernel_close(k, &file);
}

static void a_taken_name_fails_an_exclusive_create(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;

	memory_add(k->sysv, 3148, NULL);
	assert_int_equal(create(k, "3148", O_RDWR | O_EXCL), -EEXIST);
	assert_int_equal(mknod_at(k, ROOT, "3148", S_IFREG | 0600, &entry), -EEXIST);
}

/* A directory of somebody's in /dev/shm: taken, but no object and never found. */
static void a_name_taken_by_no_object_is_an_error(void **state)
{
	struct kernel *k = *state;

	memory_fail_later(k->posix, MEMORY_CREATE, 0, 1000, -EEXIST);
	assert_int_equal(create(k, "somebody", O_RDWR), -EEXIST);
	assert_int_equal(create(k, "somebody", O_RDWR | O_EXCL), -EEXIST);
}

/* --- create that fails in the middle --- */

static void a_failed_create_leaves_nothing_open(void **state)
{
	static const int errors[] = { -EACCES, -ENOSPC, -ENOMEM };
	struct kernel *k = *state;
	struct fuse_entry_out entry;

	for (size_t i = 0; i < COUNT(errors); i++) {
		memory_fail(k->posix, MEMORY_CREATE, errors[i]);
		assert_int_equal(create(k, "a", O_RDWR), errors[i]);
		memory_fail(k->posix, MEMORY_CREATE, errors[i]);
		assert_int_equal(mknod_at(k, ROOT, "a", S_IFREG | 0600, &entry), errors[i]);
		assert_int_equal(k->posix->handles, 0);
		assert_int_equal(k->posix->objects, 0);
	}
}

static void an_interrupted_create_leaves_nothing_open(void **state)
{
	struct kernel *k = *state;
	const struct fuse_create_in in = { .flags = O_RDWR, .mode = S_IFREG | 0600 };
	const struct kernel_part parts[] = { { &in, sizeof(in) }, { "frames", 7 } };

	kernel_interrupt(1);
	kernel_send(k, FUSE_CREATE, ROOT, parts, 2);
	kernel_expect_silence(k);
	assert_int_equal(k->posix->calls[MEMORY_CREATE], 1);
	assert_int_equal(k->posix->handles, 0);
	assert_int_equal(k->posix->objects, 0);
}

/* --- mknod --- */

static void mknod_makes_without_opening(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;

	assert_int_equal(mknod_at(k, ROOT, "3148", S_IFREG | 0640, &entry), 0);
	assert_int_equal(entry.attr.mode, S_IFREG | 0640);
	assert_int_equal(entry.entry_valid_nsec, 0);
	assert_int_equal(entry.attr_valid_nsec, 1);
	assert_int_equal(k->sysv->handles, 0);
	assert_int_equal(kernel_find(k, ROOT, "3148"), entry.nodeid);
	kernel_forget(k, entry.nodeid, 2);
	assert_int_equal(k->sysv->objects, 0);
}

static void an_interrupted_mknod_counts_nothing(void **state)
{
	struct kernel *k = *state;
	const struct fuse_mknod_in in = { .mode = S_IFREG | 0600 };
	const struct kernel_part parts[] = { { &in, sizeof(in) }, { "frames", 7 } };

	kernel_interrupt(1);
	kernel_send(k, FUSE_MKNOD, ROOT, parts, 2);
	kernel_expect_silence(k);
	assert_int_equal(k->posix->objects, 0);
}

static void only_regular_files_are_made(void **state)
{
	static const mode_t types[] = { S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR };
	struct kernel *k = *state;
	const struct fuse_mkdir_in directory = { .mode = 0700 };
	const struct fuse_link_in link = { .oldnodeid = ROOT };
	struct fuse_entry_out entry;

	for (size_t i = 0; i < COUNT(types); i++)
		assert_int_equal(mknod_at(k, ROOT, "x", types[i] | 0600, &entry), -EPERM);
	assert_int_equal(kernel_ask(k, FUSE_MKDIR, ROOT, &directory, sizeof(directory), "x", 2),
			 -EPERM);
	assert_int_equal(kernel_ask(k, FUSE_SYMLINK, ROOT, "x", 2, "to", 3), -EPERM);
	assert_int_equal(kernel_ask(k, FUSE_LINK, ROOT, &link, sizeof(link), "x", 2), -EPERM);
	assert_int_equal(kernel_name(k, FUSE_RMDIR, ROOT, ".by-id"), -EPERM);
	assert_int_equal(k->posix->calls[MEMORY_CREATE], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(create_makes_and_opens),
		KERNEL_TEST(what_was_created_is_not_kept),
		KERNEL_TEST(create_has_the_groups_of_the_caller),
		KERNEL_TEST(create_fails_without_a_descriptor_for_the_groups),
		KERNEL_TEST(each_user_has_a_share_of_the_descriptors),
		KERNEL_TEST(create_refuses_what_cannot_be),
		KERNEL_TEST(a_taken_name_is_opened),
		KERNEL_TEST(a_taken_name_is_opened_by_who_may),
		KERNEL_TEST(a_failed_open_of_a_taken_name_leaves_nothing),
		KERNEL_TEST(a_name_that_is_free_again_is_created),
		KERNEL_TEST(a_taken_name_fails_an_exclusive_create),
		KERNEL_TEST(a_name_taken_by_no_object_is_an_error),
		KERNEL_TEST(a_failed_create_leaves_nothing_open),
		KERNEL_TEST(an_interrupted_create_leaves_nothing_open),
		KERNEL_TEST(mknod_makes_without_opening),
		KERNEL_TEST(an_interrupted_mknod_counts_nothing),
		KERNEL_TEST(only_regular_files_are_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
