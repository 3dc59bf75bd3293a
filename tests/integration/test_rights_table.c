/* SPDX-License-Identifier: MIT */
/*
 * Every user x every mode x every operation: on the mount the same is allowed,
 * and the rest refused with the same errno, as the same user meets at the same
 * moment without it.  The cells that differ are listed here, and in README.md
 * under Security; what is listed and does not differ any more fails too.
 */
#include "harness.h"
#include "rights_table.h"

static const struct difference none[] = { { .why = NULL } };

static const struct difference segments_of_users[] = {
	{ .why = "a file has an owner and a group, no creator beside them",
	  .relations = ONLY(CREATOR) | CREATORS_GROUPS,
	  .native = 0,
	  .mounted = EACCES,
	  .operations = { "access r", "access w", "access rw", "open r", "open w", "open rw",
			  "open r+trunc", "open w+trunc", "open rw+trunc", "open r+creat",
			  "open rw+creat", "truncate to 0" } },
	{ .why = "the same",
	  .relations = ONLY(CREATOR),
	  .native = 0,
	  .mounted = EACCES,
	  .operations = { "truncate" } },
	{ .why = "the same, and that is asked first",
	  .relations = CREATORS_GROUPS,
	  .native = EPERM,
	  .mounted = EACCES,
	  .operations = { "truncate" } },
	{ .why = "only its owner changes a file",
	  .relations = ONLY(CREATOR),
	  .native = 0,
	  .mounted = EPERM,
	  .operations = { "chmod", "chown to other", "chown to self", "chgrp to own",
			  "chgrp to other", "set times" } },
	{ .why = "only root gives files away",
	  .relations = ONLY(OWNER) | ONLY(NEW_OWNER),
	  .native = 0,
	  .mounted = EPERM,
	  .operations = { "chown to other", "chgrp to other" } },
	{ .why = "access(2) goes by the mode; open(2) knows that writing takes reading",
	  .relations = ALL_RELATIONS,
	  .native = EACCES,
	  .mounted = 0,
	  .operations = { "access w" } },
	{ .why = "access(2) goes by the mode; open(2) knows the creator",
	  .relations = ONLY(CREATOR) | CREATORS_GROUPS,
	  .native = EACCES,
	  .mounted = 0,
	  .operations = { "access r", "access rw" } },
	{ .why = "getxattr(2) takes to read the file, unlike ipcs",
	  .relations = ALL_RELATIONS,
	  .native = 0,
	  .mounted = EACCES,
	  .operations = { "get attribute" } },
	{ .why = "setxattr(2) takes to write the file",
	  .relations = ONLY(OWNER) | ONLY(NEW_OWNER) | ONLY(CREATOR),
	  .native = 0,
	  .mounted = EACCES,
	  .operations = { "lock" } },
	{ .why = "the same, and that is asked first",
	  .relations = CREATORS_GROUPS | ONLY(GROUP) | ONLY(SUPPLEMENTARY) | ONLY(OTHER),
	  .native = EPERM,
	  .mounted = EACCES,
	  .operations = { "lock" } },
	{ .why = NULL },
};

/* proc(5): open(2) with O_CREAT in a sticky directory may be for owners alone. */
static bool regular_files_are_protected(void)
{
	char digit = '0';
	int fd = open("/proc/sys/fs/protected_regular", O_RDONLY | O_CLOEXEC);
	if (fd != -1) {
		(void)!read(fd, &digit, 1);
		close(fd);
	}
	return digit != '0';
}

#define NOT_STICKY \
	{ \
		.why = "the mount is not sticky, as fs.protected_regular wants it", \
		.relations = ONLY(GROUP) | ONLY(SUPPLEMENTARY) | ONLY(OTHER), .native = EACCES, \
		.mounted = 0, .operations = { "open r+creat", "open rw+creat" }, \
		.holds = regular_files_are_protected, \
	}

static const struct difference objects_of_all[] = { NOT_STICKY, { .why = NULL } };

/* For root the daemon acts as what it is itself. */
static const struct difference segments_of_powerless_root[] = {
	{ .why = "root is root",
	  .relations = ONLY(OTHER),
	  .native = EACCES,
	  .mounted = 0,
	  .operations = { "access w", "open w", "open w+trunc", "truncate to 0", "truncate" } },
	{ .why = "root is root",
	  .relations = ONLY(OTHER),
	  .native = EPERM,
	  .mounted = 0,
	  .operations = { "truncate", "unlink", "lock" } },
	{ .why = "getxattr(2) takes to read the file, unlike ipcs",
	  .relations = ONLY(OTHER),
	  .native = 0,
	  .mounted = EACCES,
	  .operations = { "get attribute" } },
	{ .why = "setxattr(2) takes to write the file, and that is asked first",
	  .relations = ONLY(OTHER),
	  .native = EPERM,
	  .mounted = EACCES,
	  .operations = { "lock" } },
	{ .why = NULL },
};

/* Of objects nobody knows who created them. */
#define RELATIONS_TO_OBJECTS (ONLY(OWNER) | ONLY(GROUP) | ONLY(SUPPLEMENTARY) | ONLY(OTHER))

static const struct rights_case users_segments = { &ALICE, false, ALL_RELATIONS,
						   segments_of_users };
static const struct rights_case users_objects = { &ALICE, false, RELATIONS_TO_OBJECTS,
						  objects_of_all };
static const struct rights_case roots_segments = { &ROOT, false, ONLY(OTHER), none };
static const struct rights_case roots_objects = { &ROOT, false, ONLY(OTHER), objects_of_all };
static const struct rights_case powerless_segments = { &ROOT, true, ONLY(OTHER),
						       segments_of_powerless_root };
static const struct rights_case powerless_objects = { &ROOT, true, ONLY(OTHER), objects_of_all };
static const struct rights_case mounters_segments = { &NOBODY, false, ALL_RELATIONS,
						      segments_of_users };
static const struct rights_case mounters_objects = { &NOBODY, false, RELATIONS_TO_OBJECTS,
						     objects_of_all };

static void a_user_has_the_rights_of_shmat_and_shmctl(void **state)
{
	rights_try_segments(&users_segments);
}

static void a_user_has_the_rights_of_shm_open(void **state)
{
	rights_try_objects(&users_objects);
}

static void root_may_everything(void **state)
{
	rights_try_segments(&roots_segments);
	rights_try_objects(&roots_objects);
}

static void root_without_capabilities_is_root(void **state)
{
	rights_try_segments(&powerless_segments);
	rights_try_objects(&powerless_objects);
}

static void a_users_own_mount_gives_him_his_rights(void **state)
{
	rights_try_segments(&mounters_segments);
	rights_try_objects(&mounters_objects);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_user_has_the_rights_of_shmat_and_shmctl),
		mounted(a_user_has_the_rights_of_shm_open),
		mounted(root_may_everything),
		mounted(root_without_capabilities_is_root),
		mounted_by_user(a_users_own_mount_gives_him_his_rights),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
