/* SPDX-License-Identifier: MIT */
/* Cases in which something happens between two steps of the daemon: race.c has the plans. */
#pragma once

#include <stdbool.h>

#include "harness.h"

#define PLAN TMP "/race"

#define racing(test) cmocka_unit_test_setup_teardown(test, mount_with_race, fixture_end)
int mount_with_race(void **state);

void plan(const char *what);
bool plan_was_carried_out(void);

/* Where the plan is to wait: until it does, and no longer. */
void plan_await(void);
void plan_go_on(void);
