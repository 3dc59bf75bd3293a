/* SPDX-License-Identifier: MIT */
/* st_ino: in 32 bits, different for different files, and the same as long as a file is known. */
#include "harness.h"

#include <dirent.h>

enum { KEY = 3148, PAGE = 4096 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static ino_t inode_of(const char *path)
{
	return file_stat(path).st_ino;
}

static struct stat descriptor_stat(int fd)
{
	struct stat st;
	must(fstat(fd, &st));
	return st;
}

static const char *by_id(int id)
{
	static char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	return path;
}

/* A 32-bit program gets EOVERFLOW for more (fs/stat.c, cp_compat_stat()). */
static void numbers_fit_into_32_bits(void **state)
{
	static const char *const paths[] = {
		MNT,
		MNT "/.by-id",
		MNT "/.by-name",
		MNT "/.text",
		SEGMENT,
		OBJECT,
		"id",
		MNT "/.by-name/frames",
		MNT "/.text/3148",
		MNT "/.text/frames",
	};
	int id = segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	for (size_t i = 0; i < array_size(paths); i++) {
		ino_t inode = inode_of(strcmp(paths[i], "id") == 0 ? by_id(id) : paths[i]);
		if (inode == 0 || inode > UINT32_MAX)
			fail_msg("%s: %ju", paths[i], (uintmax_t)inode);
	}
}

static void different_files_have_different_numbers(void **state)
{
	/* The first objects of a fresh /dev/shm have the numbers 2, 3 ... there. */
	object_create("a", 0);
	object_create("b", 0);
	object_create("c", 0);
	segment_create(1, PAGE, 0600);
	segment_create(2, PAGE, 0600);
	static const char *const paths[] = {
		MNT,
		MNT "/.by-id",
		MNT "/.by-name",
		MNT "/.text",
		MNT "/a",
		MNT "/b",
		MNT "/c",
		MNT "/1",
		MNT "/2",
		MNT "/.text/a",
		MNT "/.text/b",
		MNT "/.text/1",
		MNT "/.text/2",
	};
	for (size_t i = 0; i < array_size(paths); i++) {
		for (size_t j = 0; j < i; j++) {
			if (inode_of(paths[i]) == inode_of(paths[j]))
				fail_msg("%s and %s", paths[i], paths[j]);
		}
	}
}

static void all_paths_to_a_file_have_its_number(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	object_create("frames", 0);
	assert_int_equal(inode_of(SEGMENT), inode_of(by_id(id)));
	assert_int_equal(inode_of(SEGMENT), inode_of(MNT "/0xc4c"));
	assert_int_equal(inode_of(OBJECT), inode_of(MNT "/.by-name/frames"));
	/* A segment that was replaced by a resize has another id. */
	ino_t inode = inode_of(SEGMENT);
	must(truncate(SEGMENT, 3 * PAGE));
	assert_int_not_equal(segment_find(KEY), id);
	assert_int_equal(inode_of(SEGMENT), inode);
	assert_int_equal(inode_of(by_id(segment_find(KEY))), inode);
}

/* A program that finds another number takes the file for another one. */
static void a_segment_that_grows_keeps_its_number(void **state)
{
	static char bytes[100 * PAGE];
	int fd = must(open(SEGMENT, O_CREAT | O_RDWR, 0600));
	ino_t inode = descriptor_stat(fd).st_ino;
	int id = segment_find(KEY);
	for (size_t done = 0; done < sizeof(bytes); done += PAGE) {
		assert_int_equal(write(fd, bytes, PAGE), PAGE);
		assert_int_equal(descriptor_stat(fd).st_ino, inode);
		assert_int_equal(inode_of(SEGMENT), inode);
	}
	must(ftruncate(fd, 7 * PAGE));
	assert_int_equal(inode_of(SEGMENT), inode);
	assert_int_not_equal(segment_find(KEY), id);
	close(fd);
	/* The kernel knows the file still, whoever has it open. */
	must(truncate(SEGMENT, 9 * PAGE));
	assert_int_equal(inode_of(SEGMENT), inode);
	/* A listing says the same. */
	DIR *dir = opendir(MNT);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (strcmp(entry->d_name, "3148") == 0)
			assert_int_equal(entry->d_ino, inode);
	}
	closedir(dir);
}

static void an_object_keeps_its_number_when_it_is_renamed(void **state)
{
	object_create("frames", 0);
	ino_t inode = inode_of(OBJECT);
	must(rename(OBJECT, MNT "/other"));
	assert_int_equal(inode_of(MNT "/other"), inode);
	must(rename(NATIVE "/other", NATIVE "/third"));
	assert_int_equal(inode_of(MNT "/third"), inode);
	must(truncate(MNT "/third", PAGE));
	assert_int_equal(inode_of(MNT "/third"), inode);
}

/* The same user makes a segment that gets the id of one that is open and removed. */
static void a_segment_of_a_used_id_is_another_file(void **state)
{
	int old = must(open(SEGMENT, O_CREAT | O_RDWR, 0600));
	assert_int_equal(write(old, "old", 3), 3);
	int id = segment_find(KEY);
	must(unlink(SEGMENT));
	char next[16];
	snprintf(next, sizeof(next), "%d", id);
	file_write("/proc/sys/kernel/shm_next_id", 0, next, strlen(next));
	file_write(SEGMENT, O_CREAT, "new", 3);
	assert_int_equal(segment_find(KEY), id);
	assert_true(segment_has(id, 0, "new", 4));
	assert_int_not_equal(inode_of(SEGMENT), descriptor_stat(old).st_ino);
	assert_int_equal(pwrite(old, "OLD", 3, 0), 3);
	assert_true(segment_has(id, 0, "new", 4));
	assert_true(file_has(SEGMENT, 0, "new", 3));
	close(old);
	assert_true(file_has(SEGMENT, 0, "new", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(numbers_fit_into_32_bits),
		mounted(different_files_have_different_numbers),
		mounted(all_paths_to_a_file_have_its_number),
		mounted(a_segment_that_grows_keeps_its_number),
		mounted(an_object_keeps_its_number_when_it_is_renamed),
		mounted(a_segment_of_a_used_id_is_another_file),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
