/* SPDX-License-Identifier: MIT */
/* Labels in one piece of memory, which may come from a file that is not to be trusted. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sysv/internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct sysv_labels labels;

static int begin(void **state)
{
	(void)state;
	memset(&labels, 0x5a, sizeof(labels));
	labels.len = 0;
	return 0;
}

static void labels_come_out_as_they_went_in(void **state)
{
	static const char *const names[] = { "user.a", "user.bc", "user.d" };
	const char *name = NULL;

	(void)state;
	assert_null(sysv_labels_next(&labels, NULL));
	assert_true(sysv_labels_valid(&labels));
	assert_int_equal(sysv_labels_add(&labels, names[0], "value", 5), 0);
	assert_int_equal(sysv_labels_add(&labels, names[1], "", 0), 0);
	assert_int_equal(sysv_labels_add(&labels, names[2], "\0\0", 2), 0);
	assert_true(sysv_labels_valid(&labels));
	for (size_t i = 0; i < COUNT(names); i++) {
		name = sysv_labels_next(&labels, name);
		assert_non_null(name);
		assert_string_equal(name, names[i]);
	}
	assert_null(sysv_labels_next(&labels, name));
}

static void there_is_room_for_so_much(void **state)
{
	static const char value[SYSV_LABELS_SIZE];
	const size_t most = SYSV_LABELS_SIZE - sizeof("user.a") - sizeof(uint32_t);

	(void)state;
	assert_int_equal(sysv_labels_add(&labels, "user.a", value, most + 1), -ENOSPC);
	assert_int_equal(sysv_labels_add(&labels, "user.a", value, SIZE_MAX), -ENOSPC);
	assert_int_equal(labels.len, 0);
	assert_int_equal(sysv_labels_add(&labels, "user.a", value, most), 0);
	assert_int_equal(labels.len, SYSV_LABELS_SIZE);
	assert_true(sysv_labels_valid(&labels));
	assert_int_equal(sysv_labels_add(&labels, "", "", 0), -ENOSPC);
}

static void nothing_that_is_cut_passes(void **state)
{
	size_t first;
	size_t whole;

	(void)state;
	assert_int_equal(sysv_labels_add(&labels, "user.a", "value", 5), 0);
	first = labels.len;
	assert_int_equal(sysv_labels_add(&labels, "user.b", "more", 4), 0);
	whole = labels.len;
	for (labels.len = 0; labels.len <= whole; labels.len++) {
		bool complete = labels.len == 0 || labels.len == first || labels.len == whole;

		if (sysv_labels_valid(&labels) != complete)
			fail_msg("%zu of %zu bytes", labels.len, whole);
	}
}

static void no_length_leads_out(void **state)
{
	const size_t length_at = sizeof("user.a");
	static const uint32_t wrong[] = { 6, 4, 0, 4096, INT32_MAX, UINT32_MAX - 10, UINT32_MAX };

	(void)state;
	assert_int_equal(sysv_labels_add(&labels, "user.a", "value", 5), 0);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		memcpy(labels.bytes + length_at, &wrong[i], sizeof(wrong[i]));
		assert_false(sysv_labels_valid(&labels));
	}
	memset(labels.bytes, 'x', sizeof(labels.bytes));
	labels.len = sizeof(labels.bytes);
	assert_false(sysv_labels_valid(&labels));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(labels_come_out_as_they_went_in, begin),
		cmocka_unit_test_setup(there_is_room_for_so_much, begin),
		cmocka_unit_test_setup(nothing_that_is_cut_passes, begin),
		cmocka_unit_test_setup(no_length_leads_out, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
