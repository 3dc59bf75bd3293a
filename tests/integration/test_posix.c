/* SPDX-License-Identifier: MIT */
/* POSIX objects: their life, their bytes, their size. */
#include "harness.h"

#include <sys/mman.h>
#include <sys/statfs.h>

enum { PAGE = 4096, MIB = 1 << 20 };

#define PATH MNT "/frames"

static void creating_makes_an_object(void **state)
{
	int fd = must(open(PATH, O_CREAT | O_EXCL | O_WRONLY, 0642));
	assert_int_equal(object_stat("frames").st_mode, S_IFREG | 0640); /* umask 022 */
	assert_int_equal(object_stat("frames").st_size, 0);
	assert_int_equal(write(fd, "hi", 2), 2);
	assert_true(object_has("frames", 0, "hi", 2));
	assert_int_equal(object_stat("frames").st_size, 2);
	close(fd);
}

static void exclusive_creation_meets_a_native_object(void **state)
{
	object_create("frames", 3);
	must_fail(EEXIST, open(PATH, O_CREAT | O_EXCL | O_WRONLY, 0600));
	must_fail(EEXIST, open(MNT "/.by-name/frames", O_CREAT | O_EXCL | O_WRONLY, 0600));
	assert_int_equal(object_stat("frames").st_size, 3);
}

static void bytes_are_the_objects(void **state)
{
	static char bytes[3 * MIB + 17];
	char output[64];
	pattern_fill(bytes, sizeof(bytes), 1);
	file_write(TMP "/movie", O_CREAT, bytes, sizeof(bytes));
	assert_int_equal(shell(output, sizeof(output), "cp " TMP "/movie " PATH), 0);
	assert_true(object_has("frames", 0, bytes, sizeof(bytes)));
	assert_int_equal(object_stat("frames").st_size, sizeof(bytes));
	object_put("frames", 5000, "native", 6);
	assert_true(file_has(PATH, 5000, "native", 6));
	assert_int_equal(shell(output, sizeof(output), "cmp " PATH " " NATIVE "/frames"), 0);
}

static void a_native_mapping_sees_writes_at_once(void **state)
{
	object_create("frames", PAGE);
	int native = must(shm_open("/frames", O_RDWR, 0));
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, native, 0);
	assert_true(map != MAP_FAILED);
	int fd = must(open(PATH, O_RDWR));
	for (char i = 1; i < 100; i++) {
		char seen;
		assert_int_equal(pwrite(fd, &i, 1, i), 1);
		assert_int_equal(map[(int)i], i);
		map[(int)i] = (char)-i;
		assert_int_equal(pread(fd, &seen, 1, i), 1);
		assert_int_equal(seen, (char)-i);
	}
	munmap(map, PAGE);
	close(fd);
	close(native);
}

static void shared_mappings_are_coherent_or_refused(void **state)
{
	object_create("frames", PAGE);
	int fd = must(open(PATH, O_RDWR));
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		assert_int_equal(errno, ENODEV);
	} else {
		strcpy(map, "through the file");
		assert_true(object_has("frames", 0, "through the file", 17));
		object_put("frames", 0, "natively", 9);
		assert_string_equal(map, "natively");
		munmap(map, PAGE);
	}
	close(fd);
}

static void sizes_change_in_both_directions(void **state)
{
	object_create("frames", 10);
	object_put("frames", 0, "0123456789", 10);
	must(truncate(PATH, 4));
	assert_int_equal(object_stat("frames").st_size, 4);
	must(truncate(PATH, 8));
	assert_true(object_has("frames", 0, "0123\0\0\0\0", 8));
	int fd = must(open(PATH, O_RDWR));
	must(ftruncate(fd, 1LL << 40));
	assert_int_equal(object_stat("frames").st_size, 1LL << 40);
	must(ftruncate(fd, 0));
	assert_int_equal(object_stat("frames").st_size, 0);
	close(fd);
}

static void a_truncating_open_empties(void **state)
{
	object_create("frames", 10);
	close(must(open(PATH, O_WRONLY | O_TRUNC)));
	assert_int_equal(object_stat("frames").st_size, 0);
	assert_int_equal(shell(NULL, 0, "printf hi > " PATH " && printf there >> " PATH), 0);
	assert_true(object_has("frames", 0, "hithere", 7));
	assert_int_equal(object_stat("frames").st_size, 7);
}

static void appenders_do_not_overwrite_each_other(void **state)
{
	object_create("frames", 0);
	int first = must(open(PATH, O_WRONLY | O_APPEND));
	int second = must(open(PATH, O_WRONLY | O_APPEND));
	int native = must(open(NATIVE "/frames", O_WRONLY | O_APPEND));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(write(first, "a", 1), 1);
		assert_int_equal(write(native, "n", 1), 1);
		assert_int_equal(write(second, "b", 1), 1);
	}
	close(first);
	close(second);
	close(native);
	assert_int_equal(object_stat("frames").st_size, 60);
	for (int i = 0; i < 20; i++)
		assert_true(object_has("frames", 3 * i, "anb", 3));
}

/* fcntl(2) gives the flag and takes it, and the next write is as it says. */
static void appending_can_be_switched(void **state)
{
	static const int flags[] = { O_APPEND, 0 };
	for (size_t i = 0; i < array_size(flags); i++) {
		object_create("frames", 0);
		int fd = must(open(PATH, O_RDWR | flags[i]));
		assert_int_equal(write(fd, "abcd", 4), 4);
		must(fcntl(fd, F_SETFL, 0));
		assert_int_equal(pwrite(fd, "0", 1, 0), 1);
		must(fcntl(fd, F_SETFL, O_APPEND));
		assert_int_equal(write(fd, "e", 1), 1);
		must(fcntl(fd, F_SETFL, 0));
		assert_int_equal(pwrite(fd, "1", 1, 1), 1);
		assert_true(object_has("frames", 0, "01cde", 5));
		assert_int_equal(object_stat("frames").st_size, 5);
		close(fd);
		must(unlink(PATH));
	}
}

static void unlinking_removes_the_object(void **state)
{
	object_create("frames", 10);
	must(unlink(PATH));
	assert_false(object_exists("frames"));
	must_fail(ENOENT, unlink(PATH));
}

static void an_open_handle_outlives_the_name(void **state)
{
	struct stat data;
	char text[4] = "";
	object_create("frames", 3);
	object_put("frames", 0, "old", 3);
	int fd = must(open(PATH, O_RDWR));
	must(unlink(PATH));
	must(fstat(fd, &data));
	assert_int_equal(data.st_nlink, 0);
	assert_int_equal(data.st_size, 3);
	object_create("frames", 10);
	assert_int_equal(pread(fd, text, 3, 0), 3);
	assert_string_equal(text, "old");
	must(ftruncate(fd, 100));
	must(fchmod(fd, 0600));
	must(fstat(fd, &data));
	assert_int_equal(data.st_size, 100);
	assert_int_equal(data.st_mode, S_IFREG | 0600);
	assert_int_equal(object_stat("frames").st_size, 10);
	assert_int_equal(file_stat(PATH).st_nlink, 1);
	close(fd);
}

static void holes_are_found(void **state)
{
	static char page[PAGE];
	memset(page, 1, sizeof(page));
	object_create("frames", 16 * PAGE);
	object_put("frames", 4 * PAGE, page, sizeof(page));
	object_put("frames", 12 * PAGE, page, sizeof(page));
	int fd = must(open(PATH, O_RDONLY));
	assert_int_equal(lseek(fd, 0, SEEK_DATA), 4 * PAGE);
	assert_int_equal(lseek(fd, 4 * PAGE, SEEK_HOLE), 5 * PAGE);
	assert_int_equal(lseek(fd, 5 * PAGE, SEEK_DATA), 12 * PAGE);
	assert_int_equal(lseek(fd, 12 * PAGE, SEEK_HOLE), 13 * PAGE);
	must_fail(ENXIO, lseek(fd, 13 * PAGE, SEEK_DATA));
	must_fail(ENXIO, lseek(fd, 16 * PAGE, SEEK_HOLE));
	assert_int_equal(lseek(fd, -1, SEEK_END), 16 * PAGE - 1);
	close(fd);
}

static void fallocate_reserves_and_gives_back(void **state)
{
	object_create("frames", 0);
	int fd = must(open(PATH, O_RDWR));
	must(fallocate(fd, 0, 0, 8 * PAGE));
	assert_int_equal(object_stat("frames").st_size, 8 * PAGE);
	assert_int_equal(object_stat("frames").st_blocks, 8 * PAGE / 512);
	must(fallocate(fd, FALLOC_FL_KEEP_SIZE, 8 * PAGE, 8 * PAGE));
	assert_int_equal(object_stat("frames").st_size, 8 * PAGE);
	assert_int_equal(object_stat("frames").st_blocks, 16 * PAGE / 512);
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE, 4 * PAGE));
	assert_int_equal(object_stat("frames").st_blocks, 12 * PAGE / 512);
	assert_int_equal(file_stat(PATH).st_blocks, 12 * PAGE / 512);
	must_fail(EOPNOTSUPP, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, PAGE));
	close(fd);
}

static void a_full_dev_shm_is_an_error_of_that_write(void **state)
{
	static char bytes[3 * MIB];
	native_resize("1M");
	object_create("frames", 0);
	int fd = must(open(PATH, O_RDWR));
	ssize_t written = must(write(fd, bytes, sizeof(bytes)));
	assert_true(written < (ssize_t)sizeof(bytes));
	must_fail(ENOSPC, pwrite(fd, bytes, sizeof(bytes), 2 * MIB));
	must_fail(ENOSPC, fallocate(fd, 0, 0, 4 * MIB));
	struct statfs fs;
	must(statfs(MNT, &fs));
	assert_int_equal(fs.f_bavail, 0);
	must(ftruncate(fd, 0));
	assert_int_equal(pwrite(fd, "again", 5, 0), 5);
	close(fd);
	assert_true(object_has("frames", 0, "again", 5));
}

static void an_object_shrunk_meanwhile_reads_short(void **state)
{
	char buffer[100];
	object_create("frames", 10 * PAGE);
	int fd = must(open(PATH, O_RDWR));
	assert_int_equal(pread(fd, buffer, sizeof(buffer), 5 * PAGE), sizeof(buffer));
	must(truncate(NATIVE "/frames", 5 * PAGE + 10));
	assert_int_equal(pread(fd, buffer, sizeof(buffer), 5 * PAGE), 10);
	assert_int_equal(pread(fd, buffer, sizeof(buffer), 6 * PAGE), 0);
	close(fd);
}

/* Several times, for it can be done in another way than writing what is new. */
static void writing_over_it_is_a_write_as_any(void **state)
{
	static char bytes[MIB];
	const size_t block = MIB / 4; /* one request */
	pattern_fill(bytes, sizeof(bytes), 1);
	object_create("frames", 0);
	int fd = must(open(PATH, O_WRONLY));
	for (size_t i = 0; i < 3; i++) {
		const struct timespec long_ago[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
		must(utimensat(AT_FDCWD, NATIVE "/frames", long_ago, 0));
		assert_int_equal(pwrite(fd, bytes + i, block, 7), block);
		assert_true(object_stat("frames").st_mtim.tv_sec > 1);
		assert_true(object_has("frames", 7, bytes + i, block));
	}
	must(truncate(NATIVE "/frames", 10));
	assert_int_equal(pwrite(fd, bytes, MIB, 0), MIB);
	assert_int_equal(object_stat("frames").st_size, MIB);
	assert_true(object_has("frames", 0, bytes, MIB));
	close(fd);
}

static int open_to_write(int unused)
{
	return open(PATH, O_RDWR) == -1;
}

static int look(int unused)
{
	struct stat st;
	return stat(PATH, &st);
}

/* The kernel lets an open wait until the lease is given back. */
static void a_lease_holds_up_no_look(void **state)
{
	int status = -1;
	signal(SIGIO, SIG_IGN);
	become(&ALICE);
	int native = must(open(NATIVE "/frames", O_CREAT | O_RDONLY, 0666));
	int reader = must(open(PATH, O_RDONLY));
	must(fcntl(native, F_SETLEASE, F_RDLCK));
	pid_t opener = child_start(open_to_write, 0);
	usleep(100000);
	become(&ROOT);
	pid_t looker = child_start(look, 0);
	bool looked = eventually(waitpid(looker, &status, WNOHANG) == looker);
	must(fcntl(native, F_SETLEASE, F_UNLCK));
	assert_int_equal(children_join(&opener, 1), 0);
	assert_true(looked);
	assert_int_equal(status, 0);
	close(native);
	close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(creating_makes_an_object),
		mounted(exclusive_creation_meets_a_native_object),
		mounted(bytes_are_the_objects),
		mounted(a_native_mapping_sees_writes_at_once),
		mounted(shared_mappings_are_coherent_or_refused),
		mounted(sizes_change_in_both_directions),
		mounted(a_truncating_open_empties),
		mounted(appenders_do_not_overwrite_each_other),
		mounted(appending_can_be_switched),
		mounted(unlinking_removes_the_object),
		mounted(an_open_handle_outlives_the_name),
		mounted(holes_are_found),
		mounted(fallocate_reserves_and_gives_back),
		mounted(a_full_dev_shm_is_an_error_of_that_write),
		mounted(an_object_shrunk_meanwhile_reads_short),
		mounted(writing_over_it_is_a_write_as_any),
		mounted(a_lease_holds_up_no_look),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
