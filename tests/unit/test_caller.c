/* SPDX-License-Identifier: MIT */
/* Who may do what by a mode; integration.rights_table holds it against the kernel. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "shmfs/caller.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { OWNER = 1000, CREATOR = 1001, GROUP = 2000, CREATORS_GROUP = 2001, NOBODY = 65534 };
enum { READ = 04, WRITE = 02, BOTH = 06 };

/* Whoever asks is in these as well. */
static const gid_t supplementary[] = { 5, GROUP };
static size_t lists; /* how often they were asked for */

static int give_groups(const struct shmfs_caller *caller, const gid_t **list)
{
	lists++;
	*list = supplementary;
	return (int)COUNT(supplementary);
}

static bool may(uid_t uid, gid_t gid, bool in_groups, mode_t mode, unsigned want)
{
	const struct shmfs_caller caller = {
		.uid = uid,
		.gid = gid,
		.groups = in_groups ? give_groups : NULL,
	};
	const struct shmfs_rights rights = {
		.owner = OWNER,
		.creator = CREATOR,
		.group = GROUP,
		.creators_group = CREATORS_GROUP,
		.mode = mode,
	};

	return shmfs_caller_may(&caller, &rights, want);
}

static const struct {
	uid_t uid;
	gid_t gid;
	bool in_groups;
	mode_t mode;
	unsigned want;
	bool may;
} rows[] = {
	{ 0, 0, false, 0000, BOTH, true },
	{ OWNER, NOBODY, false, 0600, BOTH, true },
	{ OWNER, NOBODY, false, 0400, READ, true },
	{ OWNER, NOBODY, false, 0400, BOTH, false },
	{ OWNER, NOBODY, false, 0200, BOTH, false },
	{ OWNER, GROUP, true, 0066, READ, false },
	{ CREATOR, NOBODY, false, 0600, BOTH, true },
	{ CREATOR, NOBODY, false, 0066, READ, false },
	{ NOBODY, GROUP, false, 0060, BOTH, true },
	{ NOBODY, GROUP, false, 0606, READ, false },
	{ NOBODY, CREATORS_GROUP, false, 0040, READ, true },
	{ NOBODY, CREATORS_GROUP, false, 0040, WRITE, false },
	{ NOBODY, NOBODY, true, 0060, BOTH, true },
	{ NOBODY, NOBODY, true, 0606, READ, false },
	{ NOBODY, NOBODY, true, 0042, BOTH, false },
	{ NOBODY, NOBODY, false, 0660, READ, false },
	{ NOBODY, NOBODY, false, 0006, BOTH, true },
};

static void the_class_of_the_caller_decides(void **state)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (may(rows[i].uid, rows[i].gid, rows[i].in_groups, rows[i].mode, rows[i].want) !=
		    rows[i].may)
			fail_msg("row %zu", i);
	}
}

static void groups_are_asked_for_only_where_it_depends_on_them(void **state)
{
	lists = 0;
	assert_true(may(NOBODY, NOBODY, true, 0644, READ));
	assert_false(may(NOBODY, NOBODY, true, 0620, READ));
	assert_true(may(NOBODY, GROUP, true, 0640, READ));
	assert_true(may(OWNER, NOBODY, true, 0600, READ));
	assert_int_equal(lists, 0);
	assert_true(may(NOBODY, NOBODY, true, 0640, READ));
	assert_int_equal(lists, 1);
}

static int give_creators_group(const struct shmfs_caller *caller, const gid_t **list)
{
	static const gid_t groups[] = { 5, CREATORS_GROUP };

	*list = groups;
	return (int)COUNT(groups);
}

static void the_creators_group_counts_among_all(void **state)
{
	const struct shmfs_caller caller = {
		.uid = NOBODY,
		.gid = NOBODY,
		.groups = give_creators_group,
	};
	const struct shmfs_rights rights = {
		.owner = OWNER,
		.creator = OWNER,
		.group = GROUP,
		.creators_group = CREATORS_GROUP,
		.mode = 0040,
	};

	assert_true(shmfs_caller_may(&caller, &rights, READ));
	assert_false(shmfs_caller_may(&caller, &rights, BOTH));
}

static int fail_to_give_groups(const struct shmfs_caller *caller, const gid_t **list)
{
	return -EMFILE;
}

/* A group may have less than others: who might be in it has no more than both. */
static void unknown_groups_open_nothing(void **state)
{
	const struct shmfs_caller caller = {
		.uid = NOBODY,
		.gid = NOBODY,
		.groups = fail_to_give_groups,
	};
	struct shmfs_rights rights = { .owner = OWNER, .creator = OWNER, .group = GROUP };

	rights.mode = 0604;
	assert_false(shmfs_caller_may(&caller, &rights, READ));
	rights.mode = 0640;
	assert_false(shmfs_caller_may(&caller, &rights, READ));
	rights.mode = 0664;
	assert_true(shmfs_caller_may(&caller, &rights, READ));
	assert_false(shmfs_caller_may(&caller, &rights, BOTH));
	if (getuid() == 0)
		assert_int_equal(shmfs_caller_assume(&caller), -EMFILE);
	assert_int_equal(geteuid(), getuid());
}

/* Root in another group makes what is that group's. */
static void root_may_have_another_group(void **state)
{
	const struct shmfs_caller same = { .uid = 0, .gid = getgid() };
	const struct shmfs_caller other = { .uid = 0, .gid = GROUP };

	if (getuid() != 0)
		skip();
	assert_true(shmfs_caller_is_self(&same));
	assert_false(shmfs_caller_is_self(&other));
	assert_int_equal(shmfs_caller_assume(&other), 0);
	assert_int_equal(getegid(), GROUP);
	shmfs_caller_drop();
	assert_int_equal(getegid(), getgid());
}

static mode_t mask_now(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return mask;
}

/* What the next request makes has the mode that is asked for. */
static void a_callers_umask_goes_with_the_caller(void **state)
{
	const struct shmfs_caller caller = { .uid = getuid(), .gid = getgid(), .umask = 027 };

	assert_int_equal(shmfs_caller_mask(&caller), 0);
	assert_int_equal(mask_now(), 027);
	shmfs_caller_drop();
	assert_int_equal(mask_now(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_class_of_the_caller_decides),
		cmocka_unit_test(groups_are_asked_for_only_where_it_depends_on_them),
		cmocka_unit_test(the_creators_group_counts_among_all),
		cmocka_unit_test(unknown_groups_open_nothing),
		cmocka_unit_test(root_may_have_another_group),
		cmocka_unit_test(a_callers_umask_goes_with_the_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
