/* SPDX-License-Identifier: MIT */
/* Requests on names that are there: lookup, forget, remove, rename. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROOT SHMFS_DIR_ROOT

/* --- lookup --- */

/*
 * The name of a file is looked up afresh each time, that of a directory is kept for an hour;
 * attributes may be kept for a jiffy.
 */
static void expect_lifetimes(const struct fuse_entry_out *entry)
{
	assert_int_equal(entry->entry_valid, S_ISDIR(entry->attr.mode) ? 3600 : 0);
	assert_int_equal(entry->entry_valid_nsec, 0);
	assert_int_equal(entry->attr_valid, 0);
	assert_int_equal(entry->attr_valid_nsec, 1);
}

static void lookup_tells_attributes(void **state)
{
	struct kernel *k = *state;
	struct memory_file *file = memory_add_bytes(k->posix, 0, "frames", "hello", 5);
	struct fuse_entry_out entry;

	file->mode = 0640;
	file->uid = 1000;
	file->gid = 100;
	assert_int_equal(kernel_lookup(k, ROOT, "frames", &entry), 0);
	expect_lifetimes(&entry);
	assert_int_equal(entry.attr.ino, memory_ino(k->posix, file));
	assert_int_equal(entry.attr.mode, S_IFREG | 0640);
	assert_int_equal(entry.attr.size, 5);
	assert_int_equal(entry.attr.nlink, 1);
	assert_int_equal(entry.attr.uid, 1000);
	assert_int_equal(entry.attr.gid, 100);
	assert_int_equal(entry.nodeid & 1, 0);
	kernel_forget(k, entry.nodeid, 1);
}

static void all_spellings_are_one_file(void **state)
{
	static const char *const spellings[] = { "3148", "0xc4c", "0x00000C4C" };
	struct kernel *k = *state;
	uint64_t node;

	memory_add(k->sysv, 3148, NULL);
	memory_add(k->posix, 0, "3148");
	node = kernel_find(k, ROOT, "3148");
	for (size_t i = 0; i < COUNT(spellings); i++)
		assert_int_equal(kernel_find(k, ROOT, spellings[i]), node);
	assert_int_equal(k->sysv->objects, 1);
	assert_int_equal(k->posix->objects, 0);
	kernel_forget(k, node, 1 + COUNT(spellings));

	/* The object of that name is under .by-name. */
	node = kernel_find(k, DIR_BY_NAME, "3148");
	assert_int_equal(k->posix->objects, 1);
	kernel_forget(k, node, 1);
}

static void lookup_finds_segments_by_id(void **state)
{
	struct kernel *k = *state;
	char id[24];

	snprintf(id, sizeof(id), "%" PRIu64, memory_add(k->sysv, 0, NULL)->identity);
	kernel_forget(k, kernel_find(k, DIR_BY_ID, id), 1);
}

struct absent {
	uint64_t dir;
	const char *name;
	int err;
};

static void what_is_not_there_is_not_found(void **state)
{
	static const struct absent cases[] = {
		{ SHMFS_DIR_ROOT, "3149", -ENOENT },  { SHMFS_DIR_ROOT, "none", -ENOENT },
		{ SHMFS_DIR_ROOT, "0", -ENOENT },     /* no key, hence no file */
		{ SHMFS_DIR_ROOT, "sem.x", -ENOENT }, /* a semaphore's file */
		{ DIR_BY_NAME, "none", -ENOENT },     { DIR_BY_NAME, "sem.x", -ENOENT },
		{ DIR_BY_NAME, ".by-id", -ENOENT },   { DIR_BY_ID, "99", -ENOENT },
		{ DIR_BY_ID, "x", -ENOENT },	      { DIR_BY_ID, ".by-name", -ENOENT },
	};
	struct kernel *k = *state;
	char name[258] = "";
	struct fuse_entry_out entry;

	memory_add(k->posix, 0, "sem.x");
	for (size_t i = 0; i < COUNT(cases); i++) {
		int err = kernel_lookup(k, cases[i].dir, cases[i].name, &entry);

		if (err != cases[i].err)
			fail_msg("%s: %d", cases[i].name, err);
	}
	memset(name, 'x', 256);
	assert_int_equal(kernel_lookup(k, ROOT, name, &entry), -ENAMETOOLONG);
	name[255] = '\0';
	assert_int_equal(kernel_lookup(k, ROOT, name, &entry), -ENOENT);
	assert_int_equal(k->sysv->made, 0);
	assert_int_equal(k->posix->made, 0);
}

static void directories_are_found_and_not_counted(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;

	assert_int_equal(kernel_lookup(k, ROOT, ".by-id", &entry), 0);
	assert_int_equal(entry.nodeid, DIR_BY_ID);
	expect_lifetimes(&entry);
	assert_int_equal(kernel_lookup(k, ROOT, ".by-name", &entry), 0);
	assert_int_equal(entry.nodeid, DIR_BY_NAME);
	assert_int_equal(entry.attr.ino, DIR_BY_NAME);
	assert_int_equal(entry.attr.mode, S_IFDIR | 0777);
	kernel_forget(k, DIR_BY_ID, 1);
	kernel_forget(k, DIR_BY_NAME, 2);
	kernel_forget(k, ROOT, 3);
	assert_int_equal(k->posix->calls[MEMORY_LOOKUP], 0);
	memory_lose_names(k->posix);
	assert_int_equal(kernel_lookup(k, ROOT, ".by-id", &entry), -EBADF);
}

/* Their slots are for those in which files were found. */
static void a_process_that_is_found_takes_no_slot(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", MEMORY_PID);
	assert_int_equal(kernel_lookup(k, ROOT, ".by-pid", &entry), 0);
	assert_int_equal(kernel_lookup(k, entry.nodeid, pid, &entry), 0);
	assert_int_equal(kernel_lookup(k, entry.nodeid, "sysv", &entry), 0);
	for (unsigned i = SHMFS_ROWS; i < SHMFS_SEARCHED; i++)
		assert_int_equal(atomic_load(&k->fs.searched[i]), 0);
	assert_int_equal(atomic_load(&k->fs.searched[SHMFS_ROW_BY_PID]),
			 SHMFS_DIR(SHMFS_ROW_BY_PID, 0));
}

/* --- lookup that fails in the middle --- */

static void a_failed_lookup_counts_nothing(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;

	memory_add(k->sysv, 1, NULL);
	memory_fail(k->sysv, MEMORY_LOOKUP, -EIO);
	assert_int_equal(kernel_lookup(k, ROOT, "1", &entry), -EIO);
	assert_int_equal(k->fs.inodes.count, 0);
	assert_int_equal(k->sysv->objects, 0);
}

static void a_failed_lookup_leaves_earlier_ones(void **state)
{
	struct kernel *k = *state;
	struct fuse_entry_out entry;
	uint64_t node;

	memory_add(k->sysv, 1, NULL);
	node = kernel_find(k, ROOT, "1");
	memory_fail(k->sysv, MEMORY_LOOKUP, -EIO);
	assert_int_equal(kernel_lookup(k, ROOT, "1", &entry), -EIO);
	assert_int_equal(k->sysv->objects, 1);
	assert_int_equal(kernel_find(k, ROOT, "1"), node);
	kernel_forget(k, node, 2);
}

/* A name costs one call, which gives the attributes as well. */
static void a_lookup_is_one_call(void **state)
{
	struct kernel *k = *state;

	memory_add(k->posix, 0, "frames");
	kernel_forget(k, kernel_find(k, ROOT, "frames"), 1);
	assert_int_equal(k->posix->calls[MEMORY_LOOKUP], 1);
	assert_int_equal(k->posix->calls[MEMORY_GETATTR], 0);
}

static void an_interrupted_lookup_counts_nothing(void **state)
{
	struct kernel *k = *state;
	const struct kernel_part name = { "1", 2 };

	memory_add(k->sysv, 1, NULL);
	kernel_interrupt(1);
	kernel_send(k, FUSE_LOOKUP, ROOT, &name, 1);
	kernel_expect_silence(k);
	assert_int_equal(k->sysv->calls[MEMORY_LOOKUP], 1);
	assert_int_equal(k->sysv->objects, 0);
}

/* --- forget --- */

static void the_object_goes_with_the_last_forget(void **state)
{
	struct kernel *k = *state;
	uint64_t node = 0;

	memory_add(k->posix, 0, "frames");
	for (int i = 0; i < 5; i++)
		node = kernel_find(k, ROOT, "frames");
	kernel_forget(k, node, 2);
	kernel_forget(k, node, 2);
	assert_int_equal(k->posix->objects, 1);
	kernel_forget(k, node, 1);
	assert_int_equal(k->posix->objects, 0);
}

static void a_batch_forgets_all_of_it(void **state)
{
	struct kernel *k = *state;
	struct fuse_forget_one forgets[4];
	const struct fuse_batch_forget_in in = { .count = COUNT(forgets) };
	const struct kernel_part parts[] = { { &in, sizeof(in) }, { forgets, sizeof(forgets) } };

	memory_add(k->sysv, 1, NULL);
	memory_add(k->sysv, 2, NULL);
	memory_add(k->posix, 0, "frames");
	forgets[0] = (struct fuse_forget_one){ kernel_find(k, ROOT, "1"), 1 };
	forgets[1] = (struct fuse_forget_one){ DIR_BY_ID, 7 };
	forgets[2] = (struct fuse_forget_one){ kernel_find(k, ROOT, "frames"), 1 };
	forgets[3] = (struct fuse_forget_one){ kernel_find(k, ROOT, "2"), 2 };
	kernel_find(k, ROOT, "2");
	kernel_send(k, FUSE_BATCH_FORGET, 0, parts, COUNT(parts));
	kernel_expect_silence(k);
	assert_int_equal(k->sysv->objects, 0);
	assert_int_equal(k->posix->objects, 0);
}

/* --- unlink --- */

static void unlink_removes_as_the_caller(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = memory_add(k->sysv, 3148, NULL);
	struct memory_file *object = memory_add(k->posix, 0, "3148");

	k->uid = 1000;
	k->gid = 100;
	assert_int_equal(kernel_name(k, FUSE_UNLINK, ROOT, "0xc4c"), 0);
	assert_false(segment->linked);
	assert_true(object->linked);
	assert_int_equal(k->sysv->seen.uid, 1000);
	assert_int_equal(k->sysv->seen.gid, 100);
	assert_int_equal(kernel_name(k, FUSE_UNLINK, DIR_BY_NAME, "3148"), 0);
	assert_false(object->linked);
}

static void unlink_works_by_id(void **state)
{
	struct kernel *k = *state;
	struct memory_file *segment = memory_add(k->sysv, 0, NULL);
	char id[24];

	snprintf(id, sizeof(id), "%" PRIu64, segment->identity);
	assert_int_equal(kernel_name(k, FUSE_UNLINK, DIR_BY_ID, id), 0);
	assert_false(segment->linked);
}

static void unlink_errors_pass_through(void **state)
{
	struct kernel *k = *state;

	memory_add(k->sysv, 1, NULL);
	memory_fail(k->sysv, MEMORY_REMOVE, -EACCES);
	assert_int_equal(kernel_name(k, FUSE_UNLINK, ROOT, "1"), -EACCES);
	assert_int_equal(kernel_name(k, FUSE_UNLINK, ROOT, "2"), -ENOENT);
	assert_int_equal(kernel_name(k, FUSE_UNLINK, ROOT, "sem.x"), -EPERM);
	assert_int_equal(k->posix->calls[MEMORY_REMOVE], 0);
}

/* --- rename --- */

static int rename_to(struct kernel *k, uint64_t dir, const char *from, uint64_t newdir,
		     const char *to, unsigned flags)
{
	const struct fuse_rename2_in in = { .newdir = newdir, .flags = flags };
	char names[64];
	int len = snprintf(names, sizeof(names), "%s%c%s", from, '\0', to);

	return kernel_ask(k, FUSE_RENAME2, dir, &in, sizeof(in), names, (size_t)len + 1);
}

static void rename_moves_names_as_the_caller(void **state)
{
	struct kernel *k = *state;
	struct memory_file *file = memory_add(k->posix, 0, "a");

	k->uid = 1000;
	assert_int_equal(rename_to(k, ROOT, "a", ROOT, "b", 0), 0);
	assert_string_equal(file->name, "b");
	assert_int_equal(k->posix->seen.uid, 1000);
	/* In .by-name a name may read as a key. */
	assert_int_equal(rename_to(k, ROOT, "b", DIR_BY_NAME, "3148", 0), 0);
	assert_string_equal(file->name, "3148");
}

static void rename_passes_its_flags(void **state)
{
	struct kernel *k = *state;
	struct memory_file *other = memory_add(k->posix, 0, "b");

	memory_add(k->posix, 0, "a");
	assert_int_equal(rename_to(k, ROOT, "a", ROOT, "b", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(k->posix->seen.flags, RENAME_NOREPLACE);
	assert_true(other->linked);
	assert_int_equal(rename_to(k, ROOT, "a", ROOT, "b", 0), 0);
	assert_int_equal(k->posix->seen.flags, 0);
	assert_false(other->linked);
	assert_int_equal(rename_to(k, ROOT, "b", ROOT, "b2", RENAME_EXCHANGE), 0);
	assert_int_equal(k->posix->seen.flags, RENAME_EXCHANGE);
}

/* As an old kernel asks. */
static void rename_without_flags(void **state)
{
	struct kernel *k = *state;
	struct memory_file *file = memory_add(k->posix, 0, "a");
	const struct fuse_rename_in in = { .newdir = ROOT };

	assert_int_equal(kernel_ask(k, FUSE_RENAME, ROOT, &in, sizeof(in), "a\0b", 4), 0);
	assert_string_equal(file->name, "b");
}

struct rename_case {
	uint64_t dir;
	const char *from;
	uint64_t newdir;
	const char *to;
	int err;
};

static void keys_ids_and_directories_stay_in_place(void **state)
{
	static const struct rename_case cases[] = {
		{ SHMFS_DIR_ROOT, "frames", SHMFS_DIR_ROOT, "3149", -EXDEV },
		{ SHMFS_DIR_ROOT, "3148", SHMFS_DIR_ROOT, "other", -EXDEV },
		{ SHMFS_DIR_ROOT, "3148", SHMFS_DIR_ROOT, "3149", -EXDEV },
		{ SHMFS_DIR_ROOT, "3148", DIR_BY_NAME, "3148", -EXDEV },
		{ SHMFS_DIR_ROOT, "frames", DIR_BY_ID, "1", -EXDEV },
		{ SHMFS_DIR_ROOT, "frames", DIR_BY_ID, "x", -EXDEV },
		{ DIR_BY_ID, "1", SHMFS_DIR_ROOT, "x", -EXDEV },
		{ SHMFS_DIR_ROOT, "frames", SHMFS_DIR_ROOT, ".by-id", -EPERM },
		{ SHMFS_DIR_ROOT, ".by-name", SHMFS_DIR_ROOT, "x", -EPERM },
		{ SHMFS_DIR_ROOT, "frames", SHMFS_DIR_ROOT, "sem.x", -EPERM },
		{ SHMFS_DIR_ROOT, "frames", SHMFS_DIR_ROOT, "0", -EINVAL },
		{ SHMFS_DIR_ROOT, "none", SHMFS_DIR_ROOT, "x", -ENOENT },
	};
	struct kernel *k = *state;
	struct memory_file *segment = memory_add(k->sysv, 3148, NULL);
	struct memory_file *object = memory_add(k->posix, 0, "frames");

	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct rename_case *c = &cases[i];
		int err = rename_to(k, c->dir, c->from, c->newdir, c->to, 0);

		if (err != c->err)
			fail_msg("%s to %s: %d and not %d", c->from, c->to, err, c->err);
	}
	assert_true(segment->linked);
	assert_string_equal(object->name, "frames");
	memory_fail(k->posix, MEMORY_RENAME, -EDQUOT);
	assert_int_equal(rename_to(k, ROOT, "frames", ROOT, "x", 0), -EDQUOT);
}

/* A child of the daemon may have copies of all descriptors for as long as it runs. */
static void a_child_does_not_hold_up_the_end(void **state)
{
	struct kernel *k = *state;
	char told[512];
	pid_t child;

	note_searched(&k->fs, ROOT);
	forget_elsewhere(&k->fs, 0, "frames");
	assert_true(recv(k->device, told, sizeof(told), 0) > 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	usleep(20000); /* the thread waits by now */
	assert_true(forget_end(&k->fs));
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void *end(void *fs)
{
	return forget_end(fs) ? fs : NULL;
}

/* The kernel holds up the thread at the first names that do not fit into the socket. */
static void names_that_wait_are_not_dropped_at_the_end(void **state)
{
	struct kernel *k = *state;
	const int count = 5000;
	char told[512];
	pthread_t ender;
	void *has_ended;
	int dropped = 0;

	note_searched(&k->fs, ROOT);
	for (int i = 0; i < count; i++)
		forget_elsewhere(&k->fs, 0, "frames");
	assert_int_equal(pthread_create(&ender, NULL, end, &k->fs), 0);
	usleep(20000); /* it waits for the thread by now */
	for (struct pollfd fd = { .fd = k->device, .events = POLLIN }; poll(&fd, 1, 50) == 1;
	     dropped++)
		assert_true(recv(k->device, told, sizeof(told), 0) > 0);
	assert_int_equal(pthread_join(ender, &has_ended), 0);
	assert_non_null(has_ended);
	assert_in_range(dropped, 1, count / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(lookup_tells_attributes),
		KERNEL_TEST(all_spellings_are_one_file),
		KERNEL_TEST(lookup_finds_segments_by_id),
		KERNEL_TEST(what_is_not_there_is_not_found),
		KERNEL_TEST(directories_are_found_and_not_counted),
		KERNEL_TEST(a_process_that_is_found_takes_no_slot),
		KERNEL_TEST(a_failed_lookup_counts_nothing),
		KERNEL_TEST(a_failed_lookup_leaves_earlier_ones),
		KERNEL_TEST(a_lookup_is_one_call),
		KERNEL_TEST(an_interrupted_lookup_counts_nothing),
		KERNEL_TEST(the_object_goes_with_the_last_forget),
		KERNEL_TEST(a_batch_forgets_all_of_it),
		KERNEL_TEST(unlink_removes_as_the_caller),
		KERNEL_TEST(unlink_works_by_id),
		KERNEL_TEST(unlink_errors_pass_through),
		KERNEL_TEST(rename_moves_names_as_the_caller),
		KERNEL_TEST(rename_passes_its_flags),
		KERNEL_TEST(rename_without_flags),
		KERNEL_TEST(keys_ids_and_directories_stay_in_place),
		KERNEL_TEST(a_child_does_not_hold_up_the_end),
		KERNEL_TEST(names_that_wait_are_not_dropped_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
