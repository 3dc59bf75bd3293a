/* SPDX-License-Identifier: MIT */
/* Names: which are keys, which are POSIX names, which are neither. */
#include "harness.h"

static void names_that_are_nearly_keys_are_objects(void **state)
{
	static const char *const names[] = {
		"03148",      "00",	     "-03148",	    "+3148", " 3148", "3148 ", "3148a",
		"4294967296", "-2147483649", "0x123456789", "0x",    "0xg",   "3.14",  "--1",
	};
	for (size_t i = 0; i < array_size(names); i++) {
		char path[64];
		snprintf(path, sizeof(path), MNT "/%s", names[i]);
		file_write(path, O_CREAT | O_EXCL, names[i], strlen(names[i]));
		assert_true(object_has(names[i], 0, names[i], strlen(names[i])));
		assert_true(directory_lists(MNT, names[i]));
	}
	assert_int_equal(segments_count(), 0);
	assert_int_equal(directory_count(NATIVE), array_size(names));
}

static void the_first_and_last_keys_are_keys(void **state)
{
	static const struct {
		const char *name;
		key_t key;
	} keys[] = { { "1", 1 },
		     { "2147483647", INT_MAX },
		     { "2147483648", INT_MIN },
		     { "4294967294", -2 },
		     { "-3", -3 },
		     { "0xF", 15 },
		     { "0x7ffffffe", INT_MAX - 1 } };
	for (size_t i = 0; i < array_size(keys); i++) {
		char path[64];
		snprintf(path, sizeof(path), MNT "/%s", keys[i].name);
		file_write(path, O_CREAT | O_EXCL, "key", 3);
		assert_true(segment_has(segment_find(keys[i].key), 0, "key", 3));
	}
	assert_int_equal(directory_count(NATIVE), 0);
}

static void key_zero_is_no_name(void **state)
{
	must_fail(EINVAL, open(MNT "/0", O_CREAT | O_WRONLY, 0600));
	must_fail(EINVAL, open(MNT "/0x0", O_CREAT | O_WRONLY, 0600));
	must_fail(EINVAL, open(MNT "/0x00000000", O_CREAT | O_WRONLY, 0600));
	must_fail(EINVAL, mknod(MNT "/0", S_IFREG | 0600, 0));
	assert_int_equal(segments_count(), 0);
	assert_int_equal(directory_count(NATIVE), 0);
}

static void an_object_may_be_named_0(void **state)
{
	file_write(MNT "/.by-name/0", O_CREAT | O_EXCL, "zero", 4);
	assert_true(object_has("0", 0, "zero", 4));
	assert_int_equal(directory_count(MNT), 0);
}

static void objects_are_made_by_name_under_any_name(void **state)
{
	file_write(MNT "/.by-name/3148", O_CREAT | O_EXCL, "object", 6);
	assert_true(object_has("3148", 0, "object", 6));
	assert_int_equal(segments_count(), 0);
	must(unlink(MNT "/.by-name/3148"));
	assert_false(object_exists("3148"));
}

static void names_have_up_to_255_bytes(void **state)
{
	char name[257], path[sizeof(MNT) + sizeof(name)];
	memset(name, 'n', 255);
	name[255] = '\0';
	snprintf(path, sizeof(path), MNT "/%s", name);
	file_write(path, O_CREAT | O_EXCL, "long", 4);
	assert_true(file_has(path, 0, "long", 4));
	assert_true(directory_lists(MNT, name));
	assert_int_equal(directory_count(NATIVE), 1);
	must(unlink(path));
	assert_int_equal(directory_count(NATIVE), 0);
}

static void longer_names_are_refused(void **state)
{
	static const char *const directories[] = { MNT, MNT "/.by-name" };
	struct stat data;
	char name[257], path[PATH_MAX];
	memset(name, 'n', 256);
	name[256] = '\0';
	object_create("frames", 1);
	for (size_t i = 0; i < array_size(directories); i++) {
		snprintf(path, sizeof(path), "%s/%s", directories[i], name);
		must_fail(ENAMETOOLONG, open(path, O_CREAT | O_WRONLY, 0600));
		must_fail(ENAMETOOLONG, stat(path, &data));
		must_fail(ENAMETOOLONG, unlink(path));
		must_fail(ENAMETOOLONG, rename(MNT "/frames", path));
	}
}

static void any_byte_but_the_slash_is_allowed(void **state)
{
	static const char *const names[] = { "two words", "caf\xc3\xa9", "\xff\xfe", "a\nb",
					     "*",	  "-rf",	 "..." };
	for (size_t i = 0; i < array_size(names); i++) {
		char path[64];
		snprintf(path, sizeof(path), MNT "/%s", names[i]);
		file_write(path, O_CREAT | O_EXCL, "x", 1);
		assert_true(object_exists(names[i]));
		assert_true(directory_lists(MNT, names[i]));
	}
}

static void missing_names_are_missing(void **state)
{
	static const char *const names[] = { "3148",	      "frames",
					     ".by-id/0",      ".by-name/frames",
					     "frames/deeper", ".by-other" };
	for (size_t i = 0; i < array_size(names); i++) {
		char path[64];
		snprintf(path, sizeof(path), MNT "/%s", names[i]);
		must_fail(ENOENT, open(path, O_RDONLY));
		must_fail(ENOENT, unlink(path));
		must_fail(ENOENT, truncate(path, 10));
		must_fail(ENOENT, chmod(path, 0600));
	}
}

static void files_are_no_directories(void **state)
{
	segment_create(3148, 1, 0600);
	object_create("frames", 1);
	must_fail(ENOTDIR, open(MNT "/3148/x", O_RDONLY));
	must_fail(ENOTDIR, open(MNT "/frames/x", O_RDONLY));
	must_fail(ENOTDIR, rmdir(MNT "/frames"));
	must_fail(EISDIR, open(MNT "/.by-id", O_WRONLY));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(names_that_are_nearly_keys_are_objects),
		mounted(the_first_and_last_keys_are_keys),
		mounted(key_zero_is_no_name),
		mounted(an_object_may_be_named_0),
		mounted(objects_are_made_by_name_under_any_name),
		mounted(names_have_up_to_255_bytes),
		mounted(longer_names_are_refused),
		mounted(any_byte_but_the_slash_is_allowed),
		mounted(missing_names_are_missing),
		mounted(files_are_no_directories),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
