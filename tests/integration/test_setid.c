/* SPDX-License-Identifier: MIT */
/* What makes a program privileged goes when somebody else writes to it. */
#include "harness.h"

#include <linux/capability.h>
#include <sys/xattr.h>

#define OBJECT MNT "/frames"

/* --- set-user-ID --- */

enum { SETID = S_ISUID | S_ISGID };

static unsigned setid_of_object(void)
{
	return object_stat("frames").st_mode & SETID;
}

static void give_setid(void)
{
	must(chmod(NATIVE "/frames", SETID | 0777));
	assert_int_equal(setid_of_object(), SETID);
}

static void a_writer_takes_set_user_id_away(void **state)
{
	const int ways[] = { O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC };
	object_create("frames", 10);
	for (size_t i = 0; i < array_size(ways); i++) {
		give_setid();
		become(&ALICE);
		int fd = must(open(OBJECT, ways[i]));
		assert_int_equal(write(fd, "code", 4), 4);
		must(close(fd));
		become(&ROOT);
		assert_int_equal(setid_of_object(), 0);
		assert_int_equal(object_stat("frames").st_mode & 0777, 0777);
		assert_true(object_has("frames", 0, "code", 4));
	}
	give_setid();
	become(&ALICE);
	must(truncate(OBJECT, 3));
	become(&ROOT);
	assert_int_equal(setid_of_object(), 0);
}

/* Opened before the bits were set, by whichever way, and merely opened. */
static void an_older_handle_clears_set_user_id_when_it_writes(void **state)
{
	object_create("frames", 10);
	for (int natively = 0; natively < 2; natively++) {
		must(chmod(NATIVE "/frames", 0777));
		become(&ALICE);
		int fd = must(open(OBJECT, O_WRONLY));
		become(&ROOT);
		must(chmod(natively ? NATIVE "/frames" : OBJECT, SETID | 0777));
		assert_int_equal(file_stat(OBJECT).st_mode & SETID, SETID);
		become(&ALICE);
		close(must(open(OBJECT, O_RDWR)));
		assert_int_equal(setid_of_object(), SETID);
		assert_int_equal(write(fd, "code", 4), 4);
		become(&ROOT);
		assert_int_equal(setid_of_object(), 0);
		assert_int_equal(file_stat(OBJECT).st_mode & 07777, 0777);
		close(fd);
	}
}

static void a_reader_and_root_leave_set_user_id(void **state)
{
	object_create("frames", 10);
	give_setid();
	become(&ALICE);
	close(must(open(OBJECT, O_RDONLY)));
	become(&ROOT);
	assert_int_equal(setid_of_object(), SETID);
	file_write(OBJECT, 0, "code", 4);
	assert_int_equal(setid_of_object(), SETID);
}

/* --- file capabilities --- */

#define CAPABILITY "security.capability"

static bool has_capability(void)
{
	return getxattr(NATIVE "/frames", CAPABILITY, NULL, 0) > 0;
}

static void give_capability(const char *path)
{
	const struct vfs_cap_data data = {
		.magic_etc = VFS_CAP_REVISION_2,
		.data = { { .permitted = 1 << CAP_NET_RAW } },
	};
	must(setxattr(path, CAPABILITY, &data, XATTR_CAPS_SZ_2, 0));
	assert_true(has_capability());
}

/* As on tmpfs: each of these is allowed and takes the capabilities away. */
static void what_has_capabilities_is_changed_like_any_object(void **state)
{
	const struct user *const writers[] = { &ROOT, &ALICE };
	object_create("frames", 10);
	must(chmod(NATIVE "/frames", 0666));
	for (size_t i = 0; i < array_size(writers); i++) {
		give_capability(NATIVE "/frames");
		become(writers[i]);
		file_write(OBJECT, 0, "code", 4);
		become(&ROOT);
		assert_false(has_capability());
		assert_true(object_has("frames", 0, "code", 4));
		give_capability(OBJECT);
		become(writers[i]);
		must(truncate(OBJECT, 5));
		become(&ROOT);
		assert_false(has_capability());
		give_capability(OBJECT);
		must(chown(OBJECT, ALICE.uid, ALICE.gid));
		assert_false(has_capability());
	}
	give_capability(OBJECT);
	must(removexattr(OBJECT, CAPABILITY));
	assert_false(has_capability());
	/* As natively: Linux before 6.9 asks nobody where the BPF LSM is there. */
	give_capability(OBJECT);
	become(&BOB);
	bool refused = removexattr(NATIVE "/frames", CAPABILITY) == -1;
	become(&ROOT);
	give_capability(OBJECT);
	become(&BOB);
	assert_int_equal(removexattr(OBJECT, CAPABILITY) == -1, refused);
	become(&ROOT);
	assert_int_equal(has_capability(), refused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_writer_takes_set_user_id_away),
		mounted(a_reader_and_root_leave_set_user_id),
		mounted(an_older_handle_clears_set_user_id_when_it_writes),
		mounted(what_has_capabilities_is_changed_like_any_object),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
