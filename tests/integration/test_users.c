/* SPDX-License-Identifier: MIT */
/*
 * Several users on root's mount: each acts as nobody but himself.  What each
 * may do by owner, group and mode is in test_rights_table.c.
 */
#include "harness.h"

enum { KEY = 3148, PAGE = 4096 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static void a_new_segment_belongs_to_who_made_it(void **state)
{
	char lines[64];
	become(&ALICE);
	file_write(SEGMENT, O_CREAT | O_EXCL, "alice's", 7);
	become(&ROOT);
	struct shmid_ds data = segment_stat(segment_find(KEY));
	assert_int_equal(data.shm_perm.uid, ALICE.uid);
	assert_int_equal(data.shm_perm.gid, ALICE.gid);
	assert_int_equal(data.shm_perm.cuid, ALICE.uid);
	assert_int_equal(data.shm_perm.cgid, ALICE.gid);
	/* `ipcs -c` would print names where the host has any for these numbers. */
	assert_int_equal(shell(lines, sizeof(lines),
			       "ipcs -m -i %d | grep -c '^uid=%d\tgid=%d\tcuid=%d\tcgid=%d$'",
			       segment_find(KEY), ALICE.uid, ALICE.gid, ALICE.uid, ALICE.gid),
			 0);
	assert_string_equal(lines, "1\n");
}

static void a_segment_that_grew_still_belongs_to_who_made_it(void **state)
{
	static char bytes[100000];
	become(&ALICE);
	file_write(SEGMENT, O_CREAT, bytes, sizeof(bytes));
	must(truncate(SEGMENT, 200000));
	become(&ROOT);
	struct shmid_ds data = segment_stat(segment_find(KEY));
	assert_int_equal(data.shm_segsz, 200000);
	assert_int_equal(data.shm_perm.uid, ALICE.uid);
	assert_int_equal(data.shm_perm.gid, ALICE.gid);
	assert_int_equal(data.shm_perm.cuid, ALICE.uid);
	assert_int_equal(data.shm_perm.cgid, ALICE.gid);
}

static void a_new_object_belongs_to_who_made_it(void **state)
{
	become(&ALICE);
	file_write(OBJECT, O_CREAT | O_EXCL, "alice's", 7);
	become(&ROOT);
	assert_int_equal(object_stat("frames").st_uid, ALICE.uid);
	assert_int_equal(object_stat("frames").st_gid, ALICE.gid);
}

static int create_many(int number)
{
	uid_t uid = 1000 + (uid_t)number;
	become(&(struct user){ uid, uid, uid });
	for (int i = 0; i < 50; i++) {
		char path[64];
		snprintf(path, sizeof(path), MNT "/%d", (int)uid * 1000 + i);
		int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
		child_must(fd != -1);
		close(fd);
	}
	return 0;
}

static void users_at_the_same_time_are_not_mixed_up(void **state)
{
	enum { USERS = 4 };
	pid_t children[USERS];
	for (int i = 0; i < USERS; i++)
		children[i] = child_start(create_many, i);
	assert_int_equal(children_join(children, USERS), 0);
	assert_int_equal(segments_count(), USERS * 50);
	for (unsigned i = 0; i < USERS * 50; i++) {
		unsigned uid = 1000 + i % USERS;
		int id = segment_find((key_t)(uid * 1000 + i / USERS));
		assert_int_equal(segment_stat(id).shm_perm.cuid, uid);
		assert_int_equal(segment_stat(id).shm_perm.gid, uid);
	}
}

static void anybody_may_write_what_the_mode_lets_him(void **state)
{
	int id = segment_create(KEY, PAGE, 0666);
	segment_put(id, 0, "a longer text", 14);
	become(&ALICE);
	file_write(SEGMENT, O_CREAT | O_TRUNC, "alice", 5);
	assert_true(file_has(SEGMENT, 0, "alice", 6));
	int fd = must(open(SEGMENT, O_WRONLY));
	assert_int_equal(pwrite(fd, "0123", 4, PAGE - 2), 2); /* she may not re-create it */
	must_fail(ENOSPC, pwrite(fd, "x", 1, PAGE));
	close(fd);
	become(&ROOT);
	assert_int_equal(segment_find(KEY), id);
	assert_true(segment_has(id, 0, "alice", 6));
	assert_true(segment_has(id, PAGE - 2, "01", 2));
}

static void dev_shm_is_sticky_for_the_mount_too(void **state)
{
	object_create("frames", 1);
	must(chmod(NATIVE "/frames", 0666));
	become(&ALICE);
	file_write(MNT "/mine", O_CREAT, "x", 1);
	must_fail(EPERM, unlink(OBJECT));
	must_fail(EPERM, rename(OBJECT, MNT "/taken"));
	must_fail(EPERM, rename(MNT "/mine", OBJECT));
	must_fail(EPERM, renameat2(AT_FDCWD, MNT "/mine", AT_FDCWD, OBJECT, RENAME_EXCHANGE));
	must_fail(EPERM, chmod(OBJECT, 0600));
	must(rename(MNT "/mine", MNT "/still-mine"));
	become(&BOB);
	must_fail(EPERM, unlink(MNT "/still-mine"));
	become(&ALICE);
	must(unlink(MNT "/still-mine"));
	become(&ROOT);
	assert_int_equal(directory_count(NATIVE), 1);
}

static void private_segments_are_private_to_their_users(void **state)
{
	char path[64];
	int id = must(shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600));
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	become(&ALICE);
	must_fail(EACCES, open(path, O_RDONLY));
	must_fail(EPERM, unlink(path));
	assert_int_equal(file_stat(path).st_size, PAGE); /* as with ipcs */
	become(&ROOT);
	assert_int_equal(segments_count(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_new_segment_belongs_to_who_made_it),
		mounted(a_segment_that_grew_still_belongs_to_who_made_it),
		mounted(a_new_object_belongs_to_who_made_it),
		mounted(users_at_the_same_time_are_not_mixed_up),
		mounted(anybody_may_write_what_the_mode_lets_him),
		mounted(dev_shm_is_sticky_for_the_mount_too),
		mounted(private_segments_are_private_to_their_users),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
