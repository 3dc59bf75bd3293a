/* SPDX-License-Identifier: MIT */
/* Rights that are more than the mode bits: what the daemon, being root, must not give away. */
#include "harness.h"

#include <sys/xattr.h>
#include <time.h>

#define OBJECT MNT "/frames"

static bool is_time(time_t end)
{
	return time(NULL) > end;
}

/* --- O_TRUNC --- */

enum { SIZE = 1 << 16, SECONDS = 1 };

static char bytes[SIZE];

/* Not hers, or another one than a moment ago. */
static bool is_race(int code)
{
	return code == EACCES || code == ESTALE || code == ENOENT;
}

/* Alice's own object, through the mount; now and then the name is another's. */
static int truncate_own(int by_open)
{
	become(&ALICE);
	for (time_t end = time(NULL) + SECONDS; !is_time(end);) {
		if (by_open) {
			int fd = open(OBJECT, O_WRONLY | O_TRUNC);
			child_must(fd != -1 || is_race(errno));
			if (fd != -1)
				close(fd);
		} else {
			child_must(truncate(OBJECT, 0) == 0 || is_race(errno));
		}
	}
	return 0;
}

static int exchange(int number)
{
	(void)number;
	for (time_t end = time(NULL) + SECONDS; !is_time(end);) {
		child_must(renameat2(AT_FDCWD, NATIVE "/frames", AT_FDCWD, NATIVE "/precious",
				     RENAME_EXCHANGE) == 0);
		child_must(renameat2(AT_FDCWD, NATIVE "/frames", AT_FDCWD, NATIVE "/precious",
				     RENAME_EXCHANGE) == 0);
	}
	return 0;
}

static void truncating_never_hits_who_took_the_name(void **state)
{
	(void)state;
	pid_t children[3];
	pattern_fill(bytes, SIZE, 1);
	become(&ALICE);
	object_create("frames", 10);
	become(&ROOT);
	object_create("precious", 0);
	must(chmod(NATIVE "/precious", 0644));
	object_put("precious", 0, bytes, SIZE);
	children[0] = child_start(truncate_own, 0);
	children[1] = child_start(truncate_own, 1);
	children[2] = child_start(exchange, 0);
	assert_int_equal(children_join(children, 3), 0);
	assert_int_equal(object_stat("precious").st_size, SIZE);
	assert_true(object_has("precious", 0, bytes, SIZE));
}

/* --- access control lists --- */

/* As the kernel takes them: linux/posix_acl_xattr.h. */
enum { VERSION = 2, USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, MASK = 16, OTHER = 32 };

struct acl {
	uint32_t version;
	struct {
		uint16_t tag, permissions;
		uint32_t id;
	} entries[5];
};

/* rw for all, as the mode says too, but for one user. */
static void give_list(const char *path, uid_t user, uint16_t permissions)
{
	const struct acl acl = { .version = VERSION,
				 .entries = {
					 { USER_OBJ, 6, UINT32_MAX },
					 { USER, permissions, user },
					 { GROUP_OBJ, 6, UINT32_MAX },
					 { MASK, 6, UINT32_MAX },
					 { OTHER, 6, UINT32_MAX },
				 } };
	if (setxattr(path, "system.posix_acl_access", &acl, sizeof(acl), 0) == 0)
		return;
	assert_int_equal(errno, EOPNOTSUPP);
	print_message("skipped: %s has no access control lists\n", NATIVE);
	skip();
}

static void a_list_may_deny_what_the_mode_allows(void **state)
{
	(void)state;
	object_create("frames", 10);
	give_list(NATIVE "/frames", ALICE.uid, 0);
	assert_int_equal(file_stat(OBJECT).st_mode & 0777, 0666);
	become(&ALICE);
	must_fail(EACCES, open(NATIVE "/frames", O_RDONLY));
	must_fail(EACCES, open(OBJECT, O_RDONLY));
	must_fail(EACCES, open(OBJECT, O_WRONLY));
	must_fail(EACCES, open(OBJECT, O_RDWR));
	must_fail(EACCES, open(OBJECT, O_RDONLY | O_TRUNC));
	must_fail(EACCES, open(OBJECT, O_WRONLY | O_TRUNC));
	must_fail(EACCES, open(OBJECT, O_CREAT | O_RDWR, 0600));
	must_fail(EACCES, truncate(OBJECT, 0));
	assert_int_equal(file_stat(OBJECT).st_size, 10);
	become(&BOB);
	close(must(open(OBJECT, O_RDWR)));
	must(truncate(OBJECT, 5));
	become(&ROOT);
	assert_int_equal(object_stat("frames").st_size, 5);
}

static void a_list_may_let_read_alone(void **state)
{
	(void)state;
	object_create("frames", 10);
	give_list(NATIVE "/frames", ALICE.uid, 4);
	become(&ALICE);
	close(must(open(OBJECT, O_RDONLY)));
	must_fail(EACCES, open(OBJECT, O_WRONLY));
	must_fail(EACCES, open(OBJECT, O_RDWR));
	must_fail(EACCES, open(OBJECT, O_RDONLY | O_TRUNC));
	must_fail(EACCES, truncate(OBJECT, 0));
	become(&ROOT);
	assert_int_equal(object_stat("frames").st_size, 10);
}

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
	(void)state;
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

static void a_reader_and_root_leave_set_user_id(void **state)
{
	(void)state;
	object_create("frames", 10);
	give_setid();
	become(&ALICE);
	close(must(open(OBJECT, O_RDONLY)));
	become(&ROOT);
	assert_int_equal(setid_of_object(), SETID);
	file_write(OBJECT, 0, "code", 4);
	assert_int_equal(setid_of_object(), SETID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(truncating_never_hits_who_took_the_name),
		mounted(a_list_may_deny_what_the_mode_allows),
		mounted(a_list_may_let_read_alone),
		mounted(a_writer_takes_set_user_id_away),
		mounted(a_reader_and_root_leave_set_user_id),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
