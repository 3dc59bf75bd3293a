/* SPDX-License-Identifier: MIT */
/* user.shm.locked: SHM_LOCK and SHM_UNLOCK, for who may, within his own limit. */
#include "harness.h"

#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096 };

#define SEGMENT MNT "/3148"

static bool has_value(const char *name, const char *expected)
{
	char value[64] = "";
	return getxattr(SEGMENT, name, value, sizeof(value) - 1) >= 0 &&
	       strcmp(value, expected) == 0;
}

static bool is_locked(int id)
{
	return segment_stat(id).shm_perm.mode & SHM_LOCKED;
}

static int lock(const char *value)
{
	return setxattr(SEGMENT, "user.shm.locked", value, strlen(value), 0);
}

static void locking_is_a_switch(void **state)
{
	static const char *const wrong[] = { "", "2", "on", "11", "1\n\n", "-1", " 1" };
	int id = segment_create(KEY, PAGE, 0600);
	must(lock("1"));
	assert_true(is_locked(id));
	assert_true(has_value("user.shm.locked", "1"));
	assert_true(has_value("user.shm.status", "locked"));
	must(lock("1"));
	must(lock("0\n"));
	assert_false(is_locked(id));
	assert_true(has_value("user.shm.locked", "0"));
	must(lock("0"));
	must(lock("1\n"));
	assert_true(is_locked(id));
	for (size_t i = 0; i < array_size(wrong); i++)
		must_fail(EINVAL, lock(wrong[i]));
	must_fail(EEXIST, setxattr(SEGMENT, "user.shm.locked", "0", 1, XATTR_CREATE));
	assert_true(is_locked(id));
	must(setxattr(SEGMENT, "user.shm.locked", "0", 1, XATTR_REPLACE));
	assert_false(is_locked(id));
}

/* Locked memory is counted by user, over all namespaces: two that no other test has. */
static struct user her, him;

static void make_users(void)
{
	struct stat ipc;
	must(stat("/proc/self/ns/ipc", &ipc));
	uid_t uid = 1000000 + 2 * (uid_t)(ipc.st_ino % 1000000);
	her = (struct user){ uid, uid, uid };
	him = (struct user){ uid + 1, uid + 1, uid + 1 };
}

static int set_limit(rlim_t limit)
{
	const struct rlimit memlock = { limit, limit };
	return setrlimit(RLIMIT_MEMLOCK, &memlock);
}

static bool may_lock_natively(int id)
{
	return shmctl(id, SHM_LOCK, NULL) == 0 && shmctl(id, SHM_UNLOCK, NULL) == 0;
}

/* By the mount exactly when by shmctl(2), with the limit of who asks. */
static int lock_within_limits(void *arg)
{
	int id = *(int *)arg;
	child_must(set_limit(2 * PAGE) == 0);
	child_must(may_lock_natively(id) && lock("1") == 0 && lock("0") == 0);
	child_must(set_limit(PAGE) == 0);
	child_must(!may_lock_natively(id) && errno == ENOMEM);
	child_must(lock("1") == -1 && errno == ENOMEM);
	child_must(set_limit(0) == 0);
	child_must(!may_lock_natively(id) && errno == EPERM);
	child_must(lock("1") == -1 && errno == EPERM);
	return 0;
}

static void who_locks_has_his_own_limit(void **state)
{
	become(&her);
	int id = segment_create(KEY, 2 * PAGE, 0600);
	become(&ROOT);
	assert_int_equal(run_as(&her, lock_within_limits, &id), 0);
	assert_false(is_locked(id));
}

/* What she has locked through the mount is on her account, and off it again. */
static int lock_on_her_account(void *arg)
{
	int other = *(int *)arg;
	child_must(set_limit(2 * PAGE) == 0);
	child_must(lock("1") == 0);
	child_must(shmctl(other, SHM_LOCK, NULL) == -1 && errno == ENOMEM);
	child_must(lock("0") == 0);
	child_must(shmctl(other, SHM_LOCK, NULL) == 0);
	child_must(lock("1") == -1 && errno == ENOMEM);
	return 0;
}

static int lock_on_his_account(void *arg)
{
	child_must(set_limit(2 * PAGE) == 0);
	child_must(lock("1") == 0);
	return 0;
}

static void what_is_locked_counts_for_who_did_it(void **state)
{
	become(&her);
	int other = segment_create(5000, 2 * PAGE, 0600);
	int id = segment_create(KEY, 2 * PAGE, 0600);
	become(&ROOT);
	assert_int_equal(run_as(&her, lock_on_her_account, &other), 0);
	assert_true(is_locked(other));
	segment_chown(id, him.uid, him.gid);
	assert_int_equal(run_as(&him, lock_on_his_account, NULL), 0);
	assert_true(is_locked(id));
}

static int lock_anothers(void *arg)
{
	int id = *(int *)arg;
	child_must(!may_lock_natively(id) && errno == EPERM);
	child_must(lock("1") == -1 && errno == EPERM);
	child_must(lock("0") == -1 && errno == EPERM);
	return 0;
}

static void locking_is_for_owner_and_creator(void **state)
{
	become(&her);
	int id = segment_create(KEY, PAGE, 0666);
	become(&ROOT);
	assert_int_equal(run_as(&him, lock_anothers, &id), 0);
	segment_chown(id, him.uid, him.gid);
	segment_chmod(id, 0666);
	assert_int_equal(run_as(&her, lock_on_his_account, NULL), 0);
	assert_true(is_locked(id));
	must(lock("0"));
	assert_int_equal(run_as(&him, lock_on_his_account, NULL), 0);
	assert_true(is_locked(id));
}

static void a_segment_that_is_resized_stays_locked(void **state)
{
	segment_create(KEY, PAGE, 0600);
	must(lock("1"));
	must(truncate(SEGMENT, 3 * PAGE));
	assert_true(has_value("user.shm.locked", "1"));
	assert_true(is_locked(segment_find(KEY)));
}

/* The old segment is no longer on her account when the new one comes. */
static int resize_within_limit(void *arg)
{
	child_must(set_limit(3 * PAGE) == 0);
	child_must(lock("1") == 0);
	child_must(truncate(SEGMENT, 3 * PAGE) == 0);
	child_must(is_locked(segment_find(KEY)));
	return 0;
}

static void a_lock_moves_within_the_limit(void **state)
{
	become(&her);
	segment_create(KEY, 2 * PAGE, 0600);
	become(&ROOT);
	assert_int_equal(run_as(&her, resize_within_limit, NULL), 0);
}

/* --- an ordinary user's own mount --- */

static int lock_own(void *arg)
{
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600);
	child_must(id != -1);
	child_must(lock("1") == 0 && is_locked(id));
	child_must(lock("0") == 0 && !is_locked(id));
	child_must(set_limit(0) == 0 && lock("1") == -1 && errno == EPERM);
	return 0;
}

static void a_user_locks_on_his_own_mount(void **state)
{
	assert_int_equal(run_as(&NOBODY, lock_own, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(locking_is_a_switch),
		mounted(who_locks_has_his_own_limit),
		mounted(what_is_locked_counts_for_who_did_it),
		mounted(locking_is_for_owner_and_creator),
		mounted(a_segment_that_is_resized_stays_locked),
		mounted(a_lock_moves_within_the_limit),
		mounted_by_user(a_user_locks_on_his_own_mount),
	};

	harness_enter(SHMFS_BINARY);
	make_users();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
