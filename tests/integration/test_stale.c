/* SPDX-License-Identifier: MIT */
/*
 * Nothing is served stale: what another program does with the calls of its
 * standard is seen by the very next operation on the mount.  Each case goes
 * round without a pause, since a cache that lives for a moment only is one too.
 */
#include "harness.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/xattr.h>
#include <time.h>

enum { KEY = 3148, PAGE = 4096, ROUNDS = 200 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static void a_segment_appears_and_vanishes(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		assert_false(file_exists(SEGMENT));
		must_fail(ENOENT, open(SEGMENT, O_RDONLY));
		int id = segment_create(KEY, PAGE, 0600);
		assert_true(file_exists(SEGMENT));
		close(must(open(SEGMENT, O_RDONLY)));
		segment_remove(id);
	}
}

static void an_object_appears_and_vanishes(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		assert_false(file_exists(OBJECT));
		must_fail(ENOENT, open(OBJECT, O_RDONLY));
		object_create("frames", 1);
		assert_true(file_exists(OBJECT));
		close(must(open(OBJECT, O_RDONLY)));
		must(shm_unlink("/frames"));
	}
}

static void listings_follow(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		int id = segment_create(KEY, PAGE, 0600);
		assert_int_equal(directory_count(MNT), 1);
		object_create("frames", 1);
		assert_int_equal(directory_count(MNT), 2);
		segment_remove(id);
		assert_true(directory_lists(MNT, "frames"));
		assert_false(directory_lists(MNT, "3148"));
		must(shm_unlink("/frames"));
		assert_int_equal(directory_count(MNT), 0);
	}
}

static void an_open_directory_follows_after_rewinding(void **state)
{
	DIR *directory = opendir(MNT);
	assert_non_null(directory);
	for (int i = 0; i < ROUNDS; i++) {
		int id = segment_create(KEY, PAGE, 0600);
		int count = 0;
		rewinddir(directory);
		while (readdir(directory))
			count++;
		assert_int_equal(count, 3); /* with "." and ".." */
		segment_remove(id);
		count = 0;
		rewinddir(directory);
		while (readdir(directory))
			count++;
		assert_int_equal(count, 2);
	}
	closedir(directory);
}

static void a_segment_made_anew_has_its_new_size_and_bytes(void **state)
{
	for (unsigned i = 1; i <= ROUNDS; i++) {
		unsigned char byte = (unsigned char)i;
		int id = segment_create(KEY, i * 10, 0600);
		segment_put(id, i * 10 - 1, &byte, 1);
		assert_int_equal(file_stat(SEGMENT).st_size, i * 10);
		assert_true(file_has(SEGMENT, i * 10 - 1, &byte, 1));
		segment_remove(id);
	}
}

static void an_open_reaches_the_replacement(void **state)
{
	for (unsigned i = 1; i <= ROUNDS; i++) {
		struct stat data;
		char text[16], seen[16] = "";
		int id = segment_create(KEY, PAGE + i, 0600);
		file_stat(SEGMENT); /* the name is known to the kernel now */
		segment_remove(id);
		id = segment_create(KEY, 2 * PAGE + i, 0600);
		snprintf(text, sizeof(text), "%u", i);
		segment_put(id, 0, text, sizeof(text));
		int fd = must(open(SEGMENT, O_RDWR));
		assert_int_equal(read(fd, seen, sizeof(seen)), sizeof(seen));
		assert_string_equal(seen, text);
		must(fstat(fd, &data));
		assert_int_equal(data.st_size, 2 * PAGE + i);
		close(fd);
		segment_remove(id);
	}
}

/*
 * The first error of requests by path, for a second, other than ENOENT, and EEXIST where the
 * key is taken while its segment is replaced.
 */
static int walk_to_the_key(void)
{
	char value[16];
	time_t end = time(NULL) + 2;

	for (int i = 0; time(NULL) < end; i++) {
		int fd = open(SEGMENT, O_RDONLY);
		struct stat st;

		if (fd >= 0)
			close(fd);
		else if (errno != ENOENT)
			return errno;
		if ((stat(SEGMENT, &st) != 0 && errno != ENOENT) ||
		    (truncate(SEGMENT, i % 2 ? 0 : PAGE + i) != 0 && errno != ENOENT &&
		     errno != EEXIST) ||
		    (chmod(SEGMENT, 0644) != 0 && errno != ENOENT) ||
		    (getxattr(SEGMENT, "user.shm.id", value, sizeof(value)) < 0 && errno != ENOENT))
			return errno;
	}
	return 0;
}

static void a_key_that_is_made_again_and_again_is_there_or_not(void **state)
{
	pid_t maker = must(fork());
	pid_t other;
	int status;

	while (maker == 0)
		shmctl(shmget(KEY, PAGE, IPC_CREAT | 0644), IPC_RMID, NULL);
	other = must(fork());
	if (other == 0)
		_exit(walk_to_the_key());
	int err = walk_to_the_key();
	must(waitpid(other, &status, 0));
	must(kill(maker, SIGKILL));
	must(waitpid(maker, NULL, 0));
	assert_string_equal(strerror(err), strerror(0));
	assert_string_equal(strerror(WEXITSTATUS(status)), strerror(0));
}

static void an_open_handle_stays_with_the_replaced(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		char byte;
		int id = segment_create(KEY, PAGE, 0600);
		segment_put(id, 0, "o", 1);
		int fd = must(open(SEGMENT, O_RDWR));
		segment_remove(id);
		id = segment_create(KEY, PAGE, 0600);
		segment_put(id, 0, "n", 1);
		assert_int_equal(pread(fd, &byte, 1, 0), 1);
		assert_int_equal(byte, 'o');
		assert_int_equal(pwrite(fd, "w", 1, 0), 1);
		assert_true(file_has(SEGMENT, 0, "n", 1));
		close(fd);
		segment_remove(id);
	}
}

static void a_replaced_object_is_reached_by_name(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		char byte;
		object_create("frames", 10);
		object_put("frames", 0, "o", 1);
		int fd = must(open(OBJECT, O_RDONLY));
		must(shm_unlink("/frames"));
		object_create("frames", 20 + i);
		object_put("frames", 0, "n", 1);
		assert_int_equal(file_stat(OBJECT).st_size, 20 + i);
		assert_true(file_has(OBJECT, 0, "n", 1));
		assert_int_equal(pread(fd, &byte, 1, 0), 1);
		assert_int_equal(byte, 'o');
		close(fd);
		must(shm_unlink("/frames"));
	}
}

static void ipc_set_is_seen(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	int fd = must(open(SEGMENT, O_RDONLY));
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct stat data;
		segment_chmod(id, i & 0777);
		assert_int_equal(file_stat(SEGMENT).st_mode, S_IFREG | (i & 0777));
		segment_chown(id, i, i + 1);
		must(fstat(fd, &data));
		assert_int_equal(data.st_uid, i);
		assert_int_equal(data.st_gid, i + 1);
	}
	close(fd);
}

static void attaching_is_seen(void **state)
{
	int id = segment_create(KEY, PAGE, 0600);
	for (int i = 0; i < ROUNDS; i++) {
		void *memory = segment_attach(id);
		assert_int_equal(file_stat(SEGMENT).st_nlink, 2);
		segment_detach(memory);
		assert_int_equal(file_stat(SEGMENT).st_nlink, 1);
	}
}

static void stores_are_read(void **state)
{
	char seen;
	char *memory = segment_attach(segment_create(KEY, PAGE, 0600));
	int fd = must(open(SEGMENT, O_RDONLY));
	for (int i = 0; i < ROUNDS; i++) {
		memory[100] = (char)i;
		assert_int_equal(pread(fd, &seen, 1, 100), 1);
		assert_int_equal(seen, (char)i);
	}
	close(fd);
	segment_detach(memory);
}

static void ftruncate_is_seen_by_name_and_by_handle(void **state)
{
	struct stat data;
	char byte;
	object_create("frames", 0);
	int native = must(shm_open("/frames", O_RDWR, 0));
	int fd = must(open(OBJECT, O_RDWR));
	for (int i = 1; i <= ROUNDS; i++) {
		must(ftruncate(native, i * 100));
		must(fstat(fd, &data));
		assert_int_equal(data.st_size, i * 100);
		assert_int_equal(lseek(fd, 0, SEEK_END), i * 100);
		assert_int_equal(pread(fd, &byte, 1, i * 100 - 1), 1);
		must(ftruncate(native, 5));
		assert_int_equal(file_stat(OBJECT).st_size, 5);
		assert_int_equal(pread(fd, &byte, 1, 5), 0);
	}
	close(fd);
	close(native);
}

static void a_resize_between_open_and_fstat_is_seen(void **state)
{
	struct stat data;
	object_create("frames", 0);
	int native = must(shm_open("/frames", O_RDWR, 0));
	for (int i = 1; i <= ROUNDS; i++) {
		file_stat(OBJECT);
		int fd = must(open(OBJECT, O_RDONLY));
		must(ftruncate(native, i));
		must(fstat(fd, &data));
		assert_int_equal(data.st_size, i);
		close(fd);
	}
	close(native);
}

static void native_chmod_rename_and_unlink_are_seen(void **state)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		object_create("frames", (off_t)i);
		must(chmod(NATIVE "/frames", i & 0777));
		assert_int_equal(file_stat(OBJECT).st_mode, S_IFREG | (i & 0777));
		must(rename(NATIVE "/frames", NATIVE "/others"));
		must_fail(ENOENT, access(OBJECT, F_OK));
		assert_int_equal(file_stat(MNT "/others").st_size, i);
		must(unlink(NATIVE "/others"));
		must_fail(ENOENT, access(MNT "/others", F_OK));
	}
}

static void an_object_of_two_names_is_resized_under_both(void **state)
{
	object_create("frames", 1);
	must(link(NATIVE "/frames", NATIVE "/others"));
	for (int i = 1; i <= ROUNDS; i++) {
		must(truncate(OBJECT, i));
		assert_int_equal(file_stat(MNT "/others").st_size, i);
		assert_int_equal(file_stat(MNT "/.by-name/others").st_size, i);
	}
}

static void a_resize_through_the_mount_is_seen_by_every_name(void **state)
{
	for (int i = 1; i <= ROUNDS; i++) {
		char path[64];
		file_write(SEGMENT, O_CREAT, "x", 1);
		must(truncate(MNT "/0xc4c", 5000 + i));
		assert_int_equal(file_stat(SEGMENT).st_size, 5000 + i);
		snprintf(path, sizeof(path), MNT "/.by-id/%d", segment_find(KEY));
		assert_int_equal(file_stat(path).st_size, 5000 + i);
		must(unlink(SEGMENT));
		assert_false(file_exists(MNT "/0xc4c"));
		assert_false(file_exists(path));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_segment_appears_and_vanishes),
		mounted(an_object_appears_and_vanishes),
		mounted(listings_follow),
		mounted(an_open_directory_follows_after_rewinding),
		mounted(a_segment_made_anew_has_its_new_size_and_bytes),
		mounted(an_open_reaches_the_replacement),
		mounted(a_key_that_is_made_again_and_again_is_there_or_not),
		mounted(an_open_handle_stays_with_the_replaced),
		mounted(a_replaced_object_is_reached_by_name),
		mounted(ipc_set_is_seen),
		mounted(attaching_is_seen),
		mounted(stores_are_read),
		mounted(ftruncate_is_seen_by_name_and_by_handle),
		mounted(a_resize_between_open_and_fstat_is_seen),
		mounted(native_chmod_rename_and_unlink_are_seen),
		mounted(an_object_of_two_names_is_resized_under_both),
		mounted(a_resize_through_the_mount_is_seen_by_every_name),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
