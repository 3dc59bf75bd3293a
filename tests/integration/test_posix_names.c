/* SPDX-License-Identifier: MIT */
/* POSIX objects: renaming, owner, mode, times. */
#include "harness.h"

#include <time.h>

#define A MNT "/a"
#define B MNT "/b"

#define SECOND TMP "/second"

static void object_with(const char *name, const char *text)
{
	object_create(name, (off_t)strlen(text));
	object_put(name, 0, text, strlen(text));
}

static void renaming_moves_the_object(void **state)
{
	object_with("a", "text");
	ino_t inode = object_stat("a").st_ino;
	must(rename(A, B));
	assert_false(object_exists("a"));
	assert_false(file_exists(A));
	assert_int_equal(object_stat("b").st_ino, inode);
	assert_true(file_has(B, 0, "text", 4));
}

static void renaming_replaces_what_is_there(void **state)
{
	char text[4] = "";
	object_with("a", "new");
	object_with("b", "old");
	int fd = must(open(B, O_RDONLY));
	must(rename(A, B));
	assert_true(object_has("b", 0, "new", 3));
	assert_false(object_exists("a"));
	assert_int_equal(pread(fd, text, 3, 0), 3);
	assert_string_equal(text, "old");
	close(fd);
}

static void an_open_handle_follows_the_object(void **state)
{
	object_with("a", "text");
	int fd = must(open(A, O_RDWR));
	must(rename(A, B));
	assert_int_equal(pwrite(fd, "TEXT", 4, 0), 4);
	must(ftruncate(fd, 3));
	close(fd);
	assert_true(object_has("b", 0, "TEX", 3));
	assert_int_equal(file_stat(B).st_size, 3);
}

static void noreplace_spares_what_is_there(void **state)
{
	object_with("a", "new");
	object_with("b", "old");
	must_fail(EEXIST, renameat2(AT_FDCWD, A, AT_FDCWD, B, RENAME_NOREPLACE));
	assert_true(object_has("a", 0, "new", 3));
	assert_true(object_has("b", 0, "old", 3));
	must(renameat2(AT_FDCWD, A, AT_FDCWD, MNT "/c", RENAME_NOREPLACE));
	assert_true(object_has("c", 0, "new", 3));
}

static void exchange_swaps_two_objects(void **state)
{
	object_with("a", "first");
	object_with("b", "second");
	must(renameat2(AT_FDCWD, A, AT_FDCWD, B, RENAME_EXCHANGE));
	assert_true(object_has("a", 0, "second", 6));
	assert_true(object_has("b", 0, "first", 5));
	assert_true(file_has(A, 0, "second", 6));
	assert_int_equal(file_stat(B).st_size, 5);
	must_fail(ENOENT, renameat2(AT_FDCWD, A, AT_FDCWD, MNT "/c", RENAME_EXCHANGE));
}

static void names_that_read_as_keys_are_renamed_by_name(void **state)
{
	object_with("a", "text");
	must_fail(EXDEV, rename(A, MNT "/3148"));
	must(rename(A, MNT "/.by-name/3148"));
	assert_true(object_has("3148", 0, "text", 4));
	must(rename(MNT "/.by-name/3148", B));
	assert_true(object_has("b", 0, "text", 4));
	assert_int_equal(segments_count(), 0);
}

static void renaming_under_open_directories_is_seen(void **state)
{
	for (int i = 0; i < 100; i++) {
		object_with("a", "text");
		must(rename(A, B));
		assert_false(directory_lists(MNT, "a"));
		assert_true(directory_lists(MNT, "b"));
		must(unlink(B));
	}
}

static int serve_second(int number)
{
	execl(BIN "/shmfs", "shmfs", "-f", SECOND, NULL);
	return 1;
}

/* A filesystem that does not answer, as a container can have one mounted. */
static void what_is_mounted_on_a_name_is_not_asked(void **state)
{
	object_create("frames", 0);
	object_create("other", 0);
	must(mkdir(SECOND, 0700));
	pid_t second = child_start(serve_second, 0);
	assert_true(eventually(file_exists(SECOND "/other")));
	must(mount(SECOND "/other", NATIVE "/frames", NULL, MS_BIND, NULL));
	kill(second, SIGSTOP);
	alarm((unsigned)patience(20));
	must_fail(ENOENT, access(MNT "/frames", F_OK));
	assert_false(directory_lists(MNT, "frames"));
	must_fail(EEXIST, rename(MNT "/other", MNT "/frames"));
	must_fail(EEXIST, open(MNT "/frames", O_CREAT | O_RDWR, 0600));
	must_fail(EBUSY, unlink(NATIVE "/frames"));
	must(access(MNT "/other", F_OK));
	alarm(0);
	kill(second, SIGKILL);
	children_join(&second, 1);
	must(umount2(NATIVE "/frames", MNT_DETACH));
	must(umount2(SECOND, MNT_DETACH));
	must(access(MNT "/frames", F_OK));
}

/* Of the same filesystem, which the device number does not tell. */
static void a_bind_mount_is_no_object(void **state)
{
	object_with("a", "new");
	object_with("b", "below");
	object_with("c", "on top");
	assert_true(directory_lists(MNT, "b"));
	must(mount(NATIVE "/c", NATIVE "/b", NULL, MS_BIND, NULL));
	must_fail(ENOENT, access(B, F_OK));
	assert_false(directory_lists(MNT, "b"));
	assert_true(directory_lists(MNT, "c"));
	must_fail(EEXIST, rename(A, B));
	must(umount2(NATIVE "/b", MNT_DETACH));
	assert_true(directory_lists(MNT, "b"));
	assert_true(file_has(B, 0, "below", 5));
}

static void what_is_no_object_is_not_replaced(void **state)
{
	static const char hidden[] = NATIVE "/b";
	object_with("a", "new");
	for (int kind = 0; kind < 4; kind++) {
		struct stat before, after;
		if (kind == 0)
			must(symlink("a", hidden));
		else if (kind == 1)
			must(mkdir(hidden, 0700));
		else
			must(mknod(hidden, kind == 2 ? S_IFIFO | 0600 : S_IFSOCK | 0600, 0));
		must(lstat(hidden, &before));
		must_fail(EEXIST, rename(A, B));
		must_fail(EEXIST, rename(A, MNT "/.by-name/b"));
		must_fail(ENOENT, renameat2(AT_FDCWD, A, AT_FDCWD, B, RENAME_EXCHANGE));
		must_fail(ENOENT, rename(B, MNT "/c"));
		must_fail(ENOENT, unlink(B));
		assert_true(shell(NULL, 0, "mv %s %s 2>/dev/null", A, B) != 0);
		must(lstat(hidden, &after));
		assert_int_equal(after.st_ino, before.st_ino);
		assert_true(object_has("a", 0, "new", 3));
		must(kind == 1 ? rmdir(hidden) : unlink(hidden));
	}
	must(rename(A, B));
}

static int put_and_take(int number)
{
	for (int i = 0; i < 20000; i++) {
		int fd = open(NATIVE "/b", O_CREAT | O_RDWR, 0600);
		child_must(fd != -1);
		close(fd);
		unlink(NATIVE "/b");
	}
	return 0;
}

/* The target comes and goes: a rename succeeds all the same. */
static void renaming_onto_a_name_that_comes_and_goes(void **state)
{
	pid_t other = child_start(put_and_take, 0);
	for (int i = 0; i < 2000; i++) {
		object_create("a", 0);
		must(rename(A, B));
	}
	children_join(&other, 1);
}

static void attributes_are_the_objects(void **state)
{
	object_with("a", "text");
	must(chown(NATIVE "/a", 1001, 2000));
	must(chmod(NATIVE "/a", 0461));
	must(link(NATIVE "/a", NATIVE "/b"));
	struct stat native = object_stat("a"), seen = file_stat(A);
	assert_int_equal(seen.st_mode, native.st_mode);
	assert_int_equal(seen.st_uid, native.st_uid);
	assert_int_equal(seen.st_gid, native.st_gid);
	assert_int_equal(seen.st_size, native.st_size);
	assert_int_equal(seen.st_blocks, native.st_blocks);
	assert_int_equal(seen.st_nlink, 2);
	assert_memory_equal(&seen.st_atim, &native.st_atim, sizeof(seen.st_atim));
	assert_memory_equal(&seen.st_mtim, &native.st_mtim, sizeof(seen.st_mtim));
	assert_memory_equal(&seen.st_ctim, &native.st_ctim, sizeof(seen.st_ctim));
	assert_int_equal(file_stat(B).st_ino, seen.st_ino);
}

static void chmod_and_chown_reach_the_object(void **state)
{
	object_with("a", "text");
	must(chmod(A, 0461));
	must(chown(A, 1001, (gid_t)-1));
	must(chown(A, (uid_t)-1, 2000));
	struct stat native = object_stat("a");
	assert_int_equal(native.st_mode, S_IFREG | 0461);
	assert_int_equal(native.st_uid, 1001);
	assert_int_equal(native.st_gid, 2000);
	int fd = must(open(A, O_RDWR));
	must(fchmod(fd, 0600));
	must(fchown(fd, 0, 0));
	close(fd);
	assert_int_equal(object_stat("a").st_mode, S_IFREG | 0600);
	assert_int_equal(object_stat("a").st_uid, 0);
}

static void times_reach_the_object(void **state)
{
	const struct timespec times[] = { { 1000, 111 }, { 2000, 222 } };
	const struct timespec only_mtime[] = { { 0, UTIME_OMIT }, { 3000, 333 } };
	const struct timespec now[] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	object_with("a", "text");
	must(utimensat(AT_FDCWD, A, times, 0));
	struct stat native = object_stat("a");
	assert_memory_equal(&native.st_atim, &times[0], sizeof(times[0]));
	assert_memory_equal(&native.st_mtim, &times[1], sizeof(times[1]));
	int fd = must(open(A, O_RDWR));
	must(futimens(fd, only_mtime));
	native = object_stat("a");
	assert_memory_equal(&native.st_atim, &times[0], sizeof(times[0]));
	assert_memory_equal(&native.st_mtim, &only_mtime[1], sizeof(times[1]));
	must(futimens(fd, now));
	close(fd);
	assert_true(object_stat("a").st_mtime >= time(NULL) - 60);
}

static void tools_keep_times_and_modes(void **state)
{
	char output[256];
	file_write(TMP "/source", O_CREAT, "text", 4);
	must(chmod(TMP "/source", 0751));
	const struct timespec times[] = { { 1000, 0 }, { 2000, 0 } };
	must(utimensat(AT_FDCWD, TMP "/source", times, 0));
	assert_int_equal(shell(output, sizeof(output), "cp -p " TMP "/source " A), 0);
	assert_string_equal(output, "");
	assert_int_equal(object_stat("a").st_mtime, 2000);
	assert_int_equal(object_stat("a").st_mode, S_IFREG | 0751);
	assert_int_equal(shell(output, sizeof(output),
			       "tar -C " MNT " -cf " TMP "/all.tar a && rm " A " && tar -C " MNT
			       " -xf " TMP "/all.tar"),
			 0);
	assert_true(object_has("a", 0, "text", 4));
	assert_int_equal(object_stat("a").st_mtime, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(renaming_moves_the_object),
		mounted(renaming_replaces_what_is_there),
		mounted(an_open_handle_follows_the_object),
		mounted(noreplace_spares_what_is_there),
		mounted(exchange_swaps_two_objects),
		mounted(names_that_read_as_keys_are_renamed_by_name),
		mounted(renaming_under_open_directories_is_seen),
		mounted(what_is_mounted_on_a_name_is_not_asked),
		mounted(a_bind_mount_is_no_object),
		mounted(what_is_no_object_is_not_replaced),
		mounted(renaming_onto_a_name_that_comes_and_goes),
		mounted(attributes_are_the_objects),
		mounted(chmod_and_chown_reach_the_object),
		mounted(times_reach_the_object),
		mounted(tools_keep_times_and_modes),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
