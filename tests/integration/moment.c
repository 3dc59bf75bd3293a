/* SPDX-License-Identifier: MIT */
#include "moment.h"

#include <stdlib.h>
#include <string.h>

int mount_with_race(void **state)
{
	setenv("LD_PRELOAD", BIN "/race.so", 1);
	setenv("SHMFS_RACE", PLAN, 1);
	int result = fixture_mount(state);
	unsetenv("LD_PRELOAD");
	unsetenv("SHMFS_RACE");
	return result;
}

void plan(const char *what)
{
	file_write(PLAN, O_CREAT | O_TRUNC, what, strlen(what));
}

bool plan_was_carried_out(void)
{
	return !file_exists(PLAN);
}

void plan_await(void)
{
	assert_true(eventually(file_exists(PLAN ".reached")));
}

void plan_go_on(void)
{
	must(unlink(PLAN ".reached"));
}
