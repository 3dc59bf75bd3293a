/* SPDX-License-Identifier: MIT */
/* The tree: what is listed, what is found by path alone, what is not there. */
#include "harness.h"

enum { KEY = 3148 };

static ino_t inode_of(const char *path)
{
	return file_stat(path).st_ino;
}

static char *by_id(int id)
{
	static char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	return path;
}

static bool by_id_lists(int id)
{
	char name[16];
	snprintf(name, sizeof(name), "%d", id);
	return directory_lists(MNT "/.by-id", name);
}

static void the_root_is_open_to_everybody(void **state)
{
	assert_int_equal(file_stat(MNT).st_mode, S_IFDIR | 0777);
}

static void all_spellings_of_a_key_are_one_inode(void **state)
{
	static const char *const spellings[] = { "0xc4c",  "0xC4C",	 "0xc4C",
						 "0x0c4c", "0x00000c4c", "0x00000C4C" };
	segment_create(KEY, 4096, 0600);
	ino_t inode = inode_of(MNT "/3148");
	for (size_t i = 0; i < array_size(spellings); i++) {
		char path[64];
		snprintf(path, sizeof(path), MNT "/%s", spellings[i]);
		assert_int_equal(inode_of(path), inode);
	}
}

static void negative_keys_are_the_upper_half(void **state)
{
	segment_create(-1, 100, 0600);
	assert_int_equal(file_stat(MNT "/-1").st_size, 100);
	assert_int_equal(inode_of(MNT "/4294967295"), inode_of(MNT "/-1"));
	assert_int_equal(inode_of(MNT "/0xffffffff"), inode_of(MNT "/-1"));
	segment_create(INT_MIN, 200, 0600);
	assert_int_equal(file_stat(MNT "/-2147483648").st_size, 200);
	assert_int_equal(inode_of(MNT "/2147483648"), inode_of(MNT "/-2147483648"));
	assert_int_equal(inode_of(MNT "/0x80000000"), inode_of(MNT "/-2147483648"));
}

static void creating_by_any_spelling_makes_that_key(void **state)
{
	file_write(MNT "/-2", O_CREAT | O_EXCL, "a", 1);
	assert_true(segment_has(segment_find(-2), 0, "a", 2));
	file_write(MNT "/0xABC", O_CREAT | O_EXCL, "b", 1);
	assert_true(segment_has(segment_find(0xabc), 0, "b", 2));
	must_fail(EEXIST, open(MNT "/2748", O_CREAT | O_EXCL | O_WRONLY, 0600));
	assert_int_equal(unlink(MNT "/0x00000abc"), 0);
	assert_false(file_exists(MNT "/2748"));
	assert_int_equal(segment_find(0xabc), -1);
}

static void the_listing_spells_keys_in_unsigned_decimal(void **state)
{
	segment_create(KEY, 1, 0600);
	segment_create(-1, 1, 0600);
	assert_true(directory_lists(MNT, "3148"));
	assert_true(directory_lists(MNT, "4294967295"));
	assert_int_equal(directory_count(MNT), 2);
}

static void keys_hex_lists_them_as_ipcs_prints_them(void **state)
{
	char listed[64], printed[64];
	segment_create(KEY, 1, 0600);
	assert_int_equal(shell(listed, sizeof(listed), "ls " MNT), 0);
	assert_int_equal(shell(printed, sizeof(printed), "ipcs -m | awk '/^0x/ { print $1 }'"), 0);
	assert_string_equal(printed, "0x00000c4c\n");
	assert_string_equal(listed, printed);
	assert_int_equal(inode_of(MNT "/3148"), inode_of(MNT "/0xc4c"));
	segment_create(-1, 1, 0600);
	assert_true(directory_lists(MNT, "0xffffffff"));
}

static void the_dot_directories_are_found_but_not_listed(void **state)
{
	assert_true(S_ISDIR(file_stat(MNT "/.by-id").st_mode));
	assert_true(S_ISDIR(file_stat(MNT "/.by-name").st_mode));
	assert_int_equal(directory_count(MNT), 0);
	segment_create(KEY, 1, 0600);
	object_create("frames", 1);
	char found[128];
	assert_int_equal(shell(found, sizeof(found), "cd " MNT " && find . | sort"), 0);
	assert_string_equal(found, ".\n./3148\n./frames\n");
}

static void by_id_shows_every_segment(void **state)
{
	int id = segment_create(KEY, 3, 0600);
	segment_put(id, 0, "abc", 3);
	assert_true(by_id_lists(id));
	assert_true(file_has(by_id(id), 0, "abc", 3));
	assert_int_equal(file_stat(by_id(id)).st_size, 3);
	segment_create(5, 3, 0600);
	assert_int_equal(directory_count(MNT "/.by-id"), 2);
	segment_remove(id);
	assert_false(by_id_lists(id));
	assert_false(file_exists(by_id(id)));
}

static void by_id_knows_no_other_names(void **state)
{
	int id = segment_create(KEY, 3, 0600);
	char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/0%d", id);
	assert_false(file_exists(path));
	assert_false(file_exists(by_id(id + 1)));
	assert_false(file_exists(MNT "/.by-id/-1"));
	assert_false(file_exists(MNT "/.by-id/frames"));
	assert_false(file_exists(MNT "/.by-id/99999999999"));
}

static void private_segments_appear_by_id_alone(void **state)
{
	int id = must(shmget(IPC_PRIVATE, 10, IPC_CREAT | 0640));
	segment_put(id, 0, "private", 7);
	assert_int_equal(directory_count(MNT), 0);
	assert_true(by_id_lists(id));
	assert_true(file_has(by_id(id), 0, "private", 7));
	assert_int_equal(file_stat(by_id(id)).st_mode, S_IFREG | 0640);
	assert_false(file_exists(MNT "/0"));
	assert_int_equal(unlink(by_id(id)), 0);
	assert_int_equal(segments_count(), 0);
}

static void a_segment_marked_for_destruction_stays_by_id(void **state)
{
	int id = segment_create(KEY, 10, 0600);
	char *memory = segment_attach(id);
	strcpy(memory, "doomed");
	segment_remove(id);
	assert_false(file_exists(MNT "/3148"));
	assert_int_equal(directory_count(MNT), 0);
	assert_true(by_id_lists(id));
	assert_true(file_has(by_id(id), 0, "doomed", 7));
	assert_int_equal(file_stat(by_id(id)).st_nlink, 1); /* none for the name */
	segment_detach(memory);
	assert_false(file_exists(by_id(id)));
}

static void by_name_shows_every_object(void **state)
{
	object_create("frames", 10);
	object_create("3148", 20);
	object_create(".by-id", 30);
	assert_int_equal(directory_count(MNT "/.by-name"), 3);
	assert_true(directory_lists(MNT "/.by-name", "3148"));
	assert_int_equal(file_stat(MNT "/.by-name/frames").st_size, 10);
	assert_int_equal(file_stat(MNT "/.by-name/3148").st_size, 20);
	assert_int_equal(file_stat(MNT "/.by-name/.by-id").st_size, 30);
	assert_int_equal(inode_of(MNT "/.by-name/frames"), inode_of(MNT "/frames"));
}

static void an_object_whose_name_reads_as_a_key_is_not_that_key(void **state)
{
	object_create("3148", 20);
	assert_false(file_exists(MNT "/3148"));
	assert_int_equal(directory_count(MNT), 0);
	segment_create(KEY, 50, 0600);
	assert_int_equal(file_stat(MNT "/3148").st_size, 50);
	assert_int_equal(directory_count(MNT), 1);
	file_write(MNT "/.by-name/3148", 0, "object", 6);
	assert_true(object_has("3148", 0, "object", 6));
	assert_true(segment_is_zero(segment_find(KEY), 0, 50));
}

static void objects_do_not_shadow_the_dot_directories(void **state)
{
	object_create(".by-id", 1);
	object_create(".hidden", 1);
	assert_true(S_ISDIR(file_stat(MNT "/.by-id").st_mode));
	assert_false(directory_lists(MNT, ".by-id"));
	assert_true(directory_lists(MNT, ".hidden"));
}

static void semaphores_are_no_objects(void **state)
{
	file_write(NATIVE "/sem.lock", O_CREAT, "x", 1);
	assert_int_equal(directory_count(MNT), 0);
	assert_int_equal(directory_count(MNT "/.by-name"), 0);
	assert_false(file_exists(MNT "/sem.lock"));
	assert_false(file_exists(MNT "/.by-name/sem.lock"));
	must_fail(EPERM, open(MNT "/sem.new", O_CREAT | O_WRONLY, 0600));
	must_fail(EPERM, open(MNT "/.by-name/sem.new", O_CREAT | O_WRONLY, 0600));
	object_create("frames", 1);
	must_fail(EPERM, rename(MNT "/frames", MNT "/sem.frames"));
	assert_true(object_exists("frames"));
	assert_false(file_exists(NATIVE "/sem.new"));
}

static void only_regular_files_are_objects(void **state)
{
	static const char *const names[] = { "directory", "link", "fifo" };
	must(mkdir(NATIVE "/directory", 0755));
	must(symlink("/etc/passwd", NATIVE "/link"));
	must(mkfifo(NATIVE "/fifo", 0644));
	assert_int_equal(directory_count(MNT), 0);
	assert_int_equal(directory_count(MNT "/.by-name"), 0);
	for (size_t i = 0; i < array_size(names); i++) {
		char path[64];
		snprintf(path, sizeof(path), MNT "/%s", names[i]);
		must_fail(ENOENT, access(path, F_OK));
		must_fail(ENOENT, open(path, O_RDONLY | O_NONBLOCK));
		assert_int_equal(unlink(path), -1);
	}
	assert_true(file_exists(NATIVE "/link"));
}

static void only_regular_files_can_be_made(void **state)
{
	static const char *const directories[] = { MNT, MNT "/.by-id", MNT "/.by-name" };
	segment_create(KEY, 1, 0600);
	object_create("frames", 1);
	for (size_t i = 0; i < array_size(directories); i++) {
		char path[64];
		snprintf(path, sizeof(path), "%s/new", directories[i]);
		must_fail(EPERM, mkdir(path, 0755));
		must_fail(EPERM, symlink("frames", path));
		must_fail(EPERM, mkfifo(path, 0644));
		must_fail(EPERM, mknod(path, S_IFSOCK | 0644, 0));
		must_fail(EPERM, mknod(path, S_IFCHR | 0644, 259));
	}
	must_fail(EPERM, link(MNT "/3148", MNT "/new"));
	must_fail(EPERM, link(MNT "/frames", MNT "/new"));
	assert_int_equal(directory_count(NATIVE), 1);
	assert_int_equal(segments_count(), 1);
}

static void mknod_makes_regular_files(void **state)
{
	must(mknod(MNT "/3148", S_IFREG | 0640, 0));
	struct shmid_ds data = segment_stat(segment_find(KEY));
	assert_int_equal(data.shm_segsz, 4096);
	assert_int_equal(data.shm_perm.mode, 0640);
	must(mknod(MNT "/frames", S_IFREG | 0640, 0));
	assert_int_equal(object_stat("frames").st_mode, S_IFREG | 0640);
	must_fail(EEXIST, mknod(MNT "/3148", S_IFREG | 0640, 0));
	must_fail(EEXIST, mknod(MNT "/frames", S_IFREG | 0640, 0));
}

static void the_dot_directories_cannot_be_removed(void **state)
{
	assert_int_equal(rmdir(MNT "/.by-id"), -1);
	assert_int_equal(unlink(MNT "/.by-name"), -1);
	assert_int_equal(rename(MNT "/.by-id", MNT "/other"), -1);
	assert_true(file_exists(MNT "/.by-id"));
	assert_true(file_exists(MNT "/.by-name"));
}

/* They restore the directory as well: its times, mode and owner. */
static void tools_copy_whole_directories_into_the_root(void **state)
{
	char output[512];
	object_create("frames", 10);
	assert_int_equal(segment_create(KEY, 4096, 0600) < 0, false);
	assert_int_equal(shell(output, sizeof(output),
			       "exec 2>&1; mkdir " TMP "/saved; cd " TMP "/saved &&"
			       " cp -a " MNT "/. . && tar -cf ../all.tar -C " MNT " . &&"
			       " rm " MNT "/3148 " MNT "/frames && cp -a . " MNT "/ &&"
			       " tar -xpf ../all.tar -C " MNT " && rsync -a ./ " MNT "/"),
			 0);
	assert_string_equal(output, "");
	assert_int_equal(object_stat("frames").st_size, 10);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(the_root_is_open_to_everybody),
		mounted(all_spellings_of_a_key_are_one_inode),
		mounted(negative_keys_are_the_upper_half),
		mounted(creating_by_any_spelling_makes_that_key),
		mounted(the_listing_spells_keys_in_unsigned_decimal),
		mounted_with(keys_hex_lists_them_as_ipcs_prints_them, "keys=hex"),
		mounted(the_dot_directories_are_found_but_not_listed),
		mounted(by_id_shows_every_segment),
		mounted(by_id_knows_no_other_names),
		mounted(private_segments_appear_by_id_alone),
		mounted(a_segment_marked_for_destruction_stays_by_id),
		mounted(by_name_shows_every_object),
		mounted(an_object_whose_name_reads_as_a_key_is_not_that_key),
		mounted(objects_do_not_shadow_the_dot_directories),
		mounted(semaphores_are_no_objects),
		mounted(only_regular_files_are_objects),
		mounted(only_regular_files_can_be_made),
		mounted(mknod_makes_regular_files),
		mounted(the_dot_directories_cannot_be_removed),
		mounted(tools_copy_whole_directories_into_the_root),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
