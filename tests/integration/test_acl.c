/* SPDX-License-Identifier: MIT */
/* Access control lists: a POSIX object's count on the mount as they do on its own file. */
#include "harness.h"

#include <sys/xattr.h>

#define OBJECT MNT "/frames"
#define ALIAS MNT "/.by-name/frames"
#define OWN NATIVE "/frames"
#define SEGMENT MNT "/3148"
#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

enum { KEY = 3148, PAGE = 4096, ROUNDS = 200 };

/* As the kernel takes them: linux/posix_acl_xattr.h. */
enum { VERSION = 2, USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

struct acl {
	uint32_t version;
	struct {
		uint16_t tag, permissions;
		uint32_t id;
	} entries[5];
};

enum { MINIMAL = sizeof(uint32_t) + 3 * 8 };

/* The mode of the others, and what one user or group has. */
static struct acl list_of(unsigned mode, uint16_t tag, uint32_t id, uint16_t permissions)
{
	return (struct acl){ .version = VERSION,
			     .entries = {
				     { USER_OBJ, mode >> 6 & 7, UINT32_MAX },
				     { tag == USER ? tag : GROUP_OBJ,
				       tag == USER ? permissions : mode >> 3 & 7,
				       tag == USER ? id : UINT32_MAX },
				     { tag == USER ? GROUP_OBJ : tag,
				       tag == USER ? mode >> 3 & 7 : permissions,
				       tag == USER ? UINT32_MAX : id },
				     { MASK, 7, UINT32_MAX },
				     { OTHER, mode & 7, UINT32_MAX },
			     } };
}

static int set_list(const char *path, const struct acl *acl)
{
	return setxattr(path, ACCESS, acl, sizeof(*acl), 0);
}

static void give_user(const char *path, unsigned mode, const struct user *user,
		      uint16_t permissions)
{
	const struct acl acl = list_of(mode, USER, user->uid, permissions);
	must(set_list(path, &acl));
}

static bool can_open(const char *path, int flags)
{
	int fd = open(path, flags);
	if (fd == -1) {
		assert_int_equal(errno, EACCES);
		return false;
	}
	close(fd);
	return true;
}

/* --- what it denies --- */

static void a_list_may_deny_what_the_mode_allows(void **state)
{
	object_create("frames", 10);
	give_user(OWN, 0666, &ALICE, 0);
	become(&ALICE);
	must_fail(EACCES, open(OWN, O_RDONLY));
	must_fail(EACCES, open(OBJECT, O_RDONLY));
	must_fail(EACCES, open(OBJECT, O_WRONLY));
	must_fail(EACCES, open(OBJECT, O_RDWR));
	must_fail(EACCES, open(OBJECT, O_RDONLY | O_TRUNC));
	must_fail(EACCES, open(OBJECT, O_WRONLY | O_TRUNC));
	must_fail(EACCES, open(OBJECT, O_CREAT | O_RDWR, 0600));
	must_fail(EACCES, truncate(OBJECT, 0));
	must_fail(EACCES, setxattr(OBJECT, "user.note", "x", 1, 0));
	must_fail(EACCES, getxattr(OBJECT, "user.shm.name", NULL, 0));
	assert_int_equal(file_stat(OBJECT).st_size, 10);
	become(&BOB);
	close(must(open(OBJECT, O_RDWR)));
	must(truncate(OBJECT, 5));
	become(&ROOT);
	assert_int_equal(object_stat("frames").st_size, 5);
}

static void a_list_may_let_read_alone(void **state)
{
	object_create("frames", 10);
	give_user(OWN, 0666, &ALICE, 4);
	become(&ALICE);
	close(must(open(OBJECT, O_RDONLY)));
	must_fail(EACCES, open(OBJECT, O_WRONLY));
	must_fail(EACCES, open(OBJECT, O_RDWR));
	must_fail(EACCES, open(OBJECT, O_RDONLY | O_TRUNC));
	must_fail(EACCES, truncate(OBJECT, 0));
	become(&ROOT);
	assert_int_equal(object_stat("frames").st_size, 10);
}

/* --- what it grants --- */

static void a_list_may_grant_what_the_mode_denies(void **state)
{
	char text[8] = "";
	object_create("frames", 0);
	object_put("frames", 0, "secret", 7);
	must(chmod(OWN, 0600));
	become(&ALICE);
	must_fail(EACCES, open(OBJECT, O_RDONLY));
	become(&ROOT);
	give_user(OWN, 0600, &ALICE, 6);
	become(&ALICE);
	must(faccessat(AT_FDCWD, OBJECT, R_OK | W_OK, AT_EACCESS));
	int fd = must(open(OBJECT, O_RDWR));
	assert_int_equal(pread(fd, text, sizeof(text), 0), 7);
	assert_string_equal(text, "secret");
	assert_int_equal(pwrite(fd, "public", 6, 0), 6);
	close(fd);
	assert_true(can_open(ALIAS, O_RDWR));
	must(truncate(OBJECT, 3));
	if (objects_take_user_xattrs())
		must(setxattr(OBJECT, "user.note", "hers", 4, 0));
	close(must(open(OBJECT, O_WRONLY | O_TRUNC)));
	become(&BOB);
	must_fail(EACCES, open(OBJECT, O_RDONLY));
	must_fail(EACCES, faccessat(AT_FDCWD, OBJECT, R_OK, AT_EACCESS));
	must_fail(EACCES, open(ALIAS, O_RDONLY));
}

static void a_list_may_grant_to_a_group(void **state)
{
	object_create("frames", 10);
	const struct acl acl = list_of(0600, GROUP, ALICE.group, 4);
	must(set_list(OWN, &acl));
	become(&ALICE); /* it is a supplementary one */
	close(must(open(OBJECT, O_RDONLY)));
	must_fail(EACCES, open(OBJECT, O_RDWR));
	become(&BOB);
	must_fail(EACCES, open(OBJECT, O_RDONLY));
}

/* --- changing it --- */

static void a_list_is_the_same_on_both_sides(void **state)
{
	struct acl there;
	object_create("frames", 10);
	must_fail(ENODATA, getxattr(OBJECT, ACCESS, NULL, 0));
	const struct acl acl = list_of(0600, USER, ALICE.uid, 6);
	must(set_list(OBJECT, &acl));
	assert_int_equal(must(getxattr(OWN, ACCESS, &there, sizeof(there))), sizeof(acl));
	assert_memory_equal(&there, &acl, sizeof(acl));
	give_user(OWN, 0640, &BOB, 4);
	const struct acl other = list_of(0640, USER, BOB.uid, 4);
	assert_int_equal(must(getxattr(OBJECT, ACCESS, &there, sizeof(there))), sizeof(other));
	assert_memory_equal(&there, &other, sizeof(other));
	assert_int_equal(file_stat(OBJECT).st_mode, object_stat("frames").st_mode);
	must(removexattr(OBJECT, ACCESS));
	must_fail(ENODATA, getxattr(OWN, ACCESS, NULL, 0));
	assert_int_equal(file_stat(OBJECT).st_mode, object_stat("frames").st_mode);
}

static void a_list_is_the_owners_to_change(void **state)
{
	become(&ALICE);
	object_create("frames", 10);
	give_user(OBJECT, 0600, &BOB, 6);
	become(&BOB);
	assert_true(can_open(OBJECT, O_RDWR));
	const struct acl acl = list_of(0600, USER, NOBODY.uid, 6);
	must_fail(EPERM, set_list(OBJECT, &acl));
	must_fail(EPERM, removexattr(OBJECT, ACCESS));
}

static void changing_the_mode_changes_the_mask(void **state)
{
	object_create("frames", 10);
	give_user(OBJECT, 0600, &ALICE, 6);
	become(&ALICE);
	assert_true(can_open(OBJECT, O_RDWR));
	become(&ROOT);
	must(chmod(OBJECT, 0640));
	become(&ALICE);
	assert_true(can_open(OBJECT, O_RDONLY));
	assert_false(can_open(OBJECT, O_RDWR));
	become(&ROOT);
	must(chmod(OBJECT, 0600));
	become(&ALICE);
	assert_false(can_open(OBJECT, O_RDONLY));
	become(&ROOT);
	must(chmod(OBJECT, 0660));
	become(&ALICE);
	assert_true(can_open(OBJECT, O_RDWR));
}

static void let_read(const char *path, bool may)
{
	give_user(path, 0600, &ALICE, may ? 4 : 0);
}

/* Without opening it: that alone makes the kernel forget what it has been told. */
static void assert_alice_can_read(const char *path, bool may)
{
	become(&ALICE);
	bool can = faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
	become(&ROOT);
	if (can != may)
		fail_msg("%s %s be read", path, may ? "cannot" : "can still");
}

static void what_others_change_counts_at_once(void **state)
{
	object_create("frames", 10);
	must(chmod(OWN, 0600));
	for (int round = 0; round < ROUNDS; round++) {
		let_read(OWN, round % 2 == 0);
		assert_alice_can_read(round % 4 < 2 ? OBJECT : ALIAS, round % 2 == 0);
	}
}

/* The kernel has its inode, with all that it knows of it, and not that name. */
static void what_others_change_counts_under_a_new_name(void **state)
{
	char name[64], next[64], path[64];
	object_create("frames", 10);
	must(chmod(OWN, 0600));
	snprintf(name, sizeof(name), OWN);
	for (int round = 0; round < ROUNDS; round++) {
		snprintf(next, sizeof(next), NATIVE "/film%d", round);
		snprintf(path, sizeof(path), MNT "/film%d", round);
		must(rename(name, next));
		strcpy(name, next);
		let_read(name, round % 2 == 0);
		assert_alice_can_read(path, round % 2 == 0);
	}
}

/* --- new objects --- */

static void assert_made_alike(const char *name, mode_t mode)
{
	char path[64], native[64];
	struct acl one = { 0 }, other = { 0 };
	snprintf(path, sizeof(path), MNT "/%s", name);
	snprintf(native, sizeof(native), NATIVE "/%s-native", name);
	close(must(open(path, O_CREAT | O_EXCL | O_RDWR, mode)));
	close(must(open(native, O_CREAT | O_EXCL | O_RDWR, mode)));
	assert_int_equal(file_stat(path).st_mode, file_stat(native).st_mode);
	snprintf(path, sizeof(path), NATIVE "/%s", name);
	ssize_t size = getxattr(native, ACCESS, &other, sizeof(other));
	assert_int_equal(getxattr(path, ACCESS, &one, sizeof(one)), size);
	assert_memory_equal(&one, &other, sizeof(one));
}

static void a_default_list_takes_the_place_of_the_umask(void **state)
{
	const struct acl acl = list_of(0640, USER, BOB.uid, 6);
	must(setxattr(NATIVE, DEFAULT, &acl, sizeof(acl), 0));
	umask(077);
	become(&ALICE);
	assert_made_alike("inherited", 0666);
	assert_made_alike("narrower", 0600);
	must(mknod(MNT "/node", S_IFREG | 0666, 0));
	assert_int_equal(object_stat("node").st_mode, object_stat("inherited").st_mode);
	become(&BOB);
	assert_true(can_open(MNT "/inherited", O_RDWR));
	assert_false(can_open(MNT "/narrower", O_RDONLY));
	become(&ROOT);
	must(removexattr(NATIVE, DEFAULT));
	umask(027);
	assert_made_alike("plain", 0666);
	assert_int_equal(object_stat("plain").st_mode & 0777, 0640);
	close(must(open(SEGMENT, O_CREAT | O_RDWR, 0666)));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.mode & 0777, 0640);
	umask(022);
}

/* --- segments and directories --- */

static void segments_have_none(void **state)
{
	int id = segment_create(KEY, PAGE, 0644);
	const struct acl acl = list_of(0600, USER, ALICE.uid, 6);
	struct acl minimal = { .version = VERSION,
			       .entries = { { USER_OBJ, 6, UINT32_MAX },
					    { GROUP_OBJ, 4, UINT32_MAX },
					    { OTHER, 0, UINT32_MAX } } };
	must_fail(ENODATA, getxattr(SEGMENT, ACCESS, NULL, 0));
	must_fail(EOPNOTSUPP, set_list(SEGMENT, &acl));
	assert_int_equal(segment_stat(id).shm_perm.mode & 0777, 0644);
	/* One that says what a mode says is that mode. */
	must(setxattr(SEGMENT, ACCESS, &minimal, MINIMAL, 0));
	assert_int_equal(segment_stat(id).shm_perm.mode & 0777, 0640);
	must_fail(ENODATA, getxattr(SEGMENT, ACCESS, NULL, 0));
	must(removexattr(SEGMENT, ACCESS));
	become(&ALICE);
	must_fail(EPERM, setxattr(SEGMENT, ACCESS, &minimal, MINIMAL, 0));
	become(&ROOT);
	minimal.entries[1].tag = MASK;
	/* EINVAL of the kernel, from Linux 6.2 on. */
	assert_int_equal(setxattr(SEGMENT, ACCESS, &minimal, MINIMAL, 0), -1);
	assert_int_equal(segment_stat(id).shm_perm.mode & 0777, 0640);
	become(&ROOT);
	must_fail(EOPNOTSUPP, set_list(MNT, &acl));
	must_fail(EOPNOTSUPP, setxattr(MNT, DEFAULT, &acl, sizeof(acl), 0));
}

static void the_mode_of_a_segment_decides(void **state)
{
	become(&ALICE);
	int id = segment_create(KEY, PAGE, 0640);
	become(&BOB);
	assert_false(can_open(SEGMENT, O_RDONLY));
	become(&ROOT);
	segment_chown(id, ALICE.uid, BOB.group);
	become(&BOB);
	assert_true(can_open(SEGMENT, O_RDONLY));
	assert_false(can_open(SEGMENT, O_RDWR));
	become(&ROOT);
	segment_chmod(id, 0666);
	become(&BOB);
	assert_true(can_open(SEGMENT, O_RDWR));
}

/* --- tools --- */

/* As on a ramfs, or a tmpfs of a kernel without them. */
static void where_there_are_none_the_mode_decides(void **state)
{
	struct fixture *fixture = *state;
	must(mount("ramfs", NATIVE, "ramfs", 0, "mode=1777"));
	daemon_start(fixture, NULL);
	object_create("frames", PAGE);
	must(chmod(OWN, 0644));
	become(&ALICE);
	bool reads = can_open(OBJECT, O_RDONLY);
	bool writes = can_open(OBJECT, O_WRONLY);
	become(&ROOT);
	daemon_stop(fixture);
	objects_remove_all();
	must(umount2(NATIVE, MNT_DETACH));
	assert_true(reads);
	assert_false(writes);
}

static void tools_work(void **state)
{
	char output[4096];
	object_create("frames", 10);
	segment_create(KEY, PAGE, 0644);
	assert_int_equal(shell(output, sizeof(output),
			       "cd " MNT " && setfacl -m u:1001:rw frames && getfacl -cn frames"),
			 0);
	assert_non_null(strstr(output, "user:1001:rw-"));
	assert_int_equal(shell(output, sizeof(output), "ls -l " MNT), 0);
	assert_non_null(strstr(output, "-rw-rw-r--+ "));
	assert_non_null(strstr(output, "-rw-r--r--  "));
	assert_int_equal(
		shell(output, sizeof(output),
		      "cd " MNT " && getfacl -cn 3148 && cp -p frames films && getfacl -cn films"
		      " && cp -p 3148 3149 && tar --acls -cf " TMP "/t.tar 3148 films"
		      " && rm films 3148 && tar --acls -xf " TMP "/t.tar && getfacl -cn films"),
		0);
	assert_null(strstr(output, "cp:"));
	assert_null(strstr(output, "tar:"));
	assert_int_equal(shell(output, sizeof(output), "setfacl -m u:1001:rw " SEGMENT), 1);
	assert_non_null(strstr(output, "not supported"));
}

/* --- an ordinary user's own mount --- */

static int use_what_is_granted(void *arg)
{
	int fd = open(OBJECT, O_RDWR);
	child_must(fd != -1 && close(fd) == 0);
	child_must(open(MNT "/denied", O_RDONLY) == -1 && errno == EACCES);
	return 0;
}

static void a_users_mount_honours_them_too(void **state)
{
	object_create("frames", 10);
	give_user(OWN, 0600, &NOBODY, 6);
	object_create("denied", 10);
	give_user(NATIVE "/denied", 0666, &NOBODY, 0);
	assert_int_equal(run_as(&NOBODY, use_what_is_granted, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_list_may_deny_what_the_mode_allows),
		mounted(a_list_may_let_read_alone),
		mounted(a_list_may_grant_what_the_mode_denies),
		mounted(a_list_may_grant_to_a_group),
		mounted(a_list_is_the_same_on_both_sides),
		mounted(a_list_is_the_owners_to_change),
		mounted(changing_the_mode_changes_the_mask),
		mounted(what_others_change_counts_at_once),
		mounted(what_others_change_counts_under_a_new_name),
		mounted(a_default_list_takes_the_place_of_the_umask),
		mounted(segments_have_none),
		mounted(the_mode_of_a_segment_decides),
		bare(where_there_are_none_the_mode_decides),
		mounted(tools_work),
		mounted_by_user(a_users_mount_honours_them_too),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
