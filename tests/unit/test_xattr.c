/* SPDX-License-Identifier: MIT */
/* Tables of extended attributes, and the sizes that the system calls negotiate. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include <linux/limits.h>

#include <cmocka.h>

#include "shmfs/xattr.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct shmfs_caller caller = { .uid = 1000 };

/* --- a table --- */

struct context {
	const char *text;
	size_t long_len; /* of what "long" gives */
	unsigned gets;
	uid_t uid;
	char set[8];
	size_t set_len;
};

static int get_text(void *context, int field, FILE *out, const struct shmfs_caller *who)
{
	struct context *s = context;

	s->gets++;
	s->uid = who->uid;
	fprintf(out, "%s%d", s->text, field);
	return 0;
}

static int get_line(void *context, int field, FILE *out, const struct shmfs_caller *who)
{
	const struct context *s = context;

	fprintf(out, "%s\n", s->text);
	return 0;
}

static int get_long(void *context, int field, FILE *out, const struct shmfs_caller *who)
{
	const struct context *s = context;

	for (size_t i = 0; i < s->long_len; i++)
		fputc('x', out);
	return 0;
}

static int get_none(void *context, int field, FILE *out, const struct shmfs_caller *who)
{
	fputs("half a val", out);
	return -ENODATA;
}

static int get_empty(void *context, int field, FILE *out, const struct shmfs_caller *who)
{
	return 0;
}

static int set_text(void *context, int field, const char *value, size_t size,
		    const struct shmfs_caller *who)
{
	struct context *s = context;

	assert_int_equal(field, 7);
	if (size > sizeof(s->set))
		return -EINVAL;
	memcpy(s->set, value, size);
	s->set_len = size;
	s->uid = who->uid;
	return 0;
}

static const struct shmfs_xattr table[] = {
	{ SHMFS_XATTR_OBJECT "text", .get = get_text, .set = set_text, .field = 7 },
	{ SHMFS_XATTR_OBJECT "long", .get = get_long },
	{ SHMFS_XATTR_OBJECT "none", .get = get_none },
	{ SHMFS_XATTR_OBJECT "empty", .get = get_empty },
	{ SHMFS_XATTR_OBJECT "line", .get = get_line },
	{ SHMFS_XATTR_OBJECT "busy", .get = get_text, .field = 7, .room = 100 },
	{ 0 },
};

static const struct shmfs_xattr *row(const char *name)
{
	return shmfs_xattr_find(table, name);
}

/* --- open_memstream(3), which needs memory --- */

static bool no_memory;

FILE *__real_open_memstream(char **text, size_t *len);
FILE *__wrap_open_memstream(char **text, size_t *len);

FILE *__wrap_open_memstream(char **text, size_t *len)
{
	return no_memory ? NULL : __real_open_memstream(text, len);
}

/* --- names --- */

static void own_names_are_those_of_two_namespaces(void **state)
{
	static const char *const own[] = { "user.shm.key", "user.shm.", "user.shm.any thing",
					   "user.shmfs.version", "user.shmfs." };
	static const char *const others[] = {
		"",	     "user.",	     "user.shm", "user.shmfs",		"user.shmall",
		"user.note", "User.shm.key", "shm.key",	 "trusted.user.shm.key"
	};

	for (size_t i = 0; i < COUNT(own); i++) {
		if (!shmfs_xattr_is_own(own[i]))
			fail_msg("%s is not taken for our own", own[i]);
	}
	for (size_t i = 0; i < COUNT(others); i++) {
		if (shmfs_xattr_is_own(others[i]))
			fail_msg("%s is taken for our own", others[i]);
	}
}

static void rows_are_found_by_their_whole_name(void **state)
{
	assert_ptr_equal(row("user.shm.text"), &table[0]);
	assert_ptr_equal(row("user.shm.empty"), &table[3]);
	assert_null(row("user.shm.tex"));
	assert_null(row("user.shm.texts"));
	assert_null(row("text"));
	assert_null(row(""));
	assert_null(shmfs_xattr_find(NULL, "user.shm.text"));
}

/* --- values --- */

static void values_come_with_their_size(void **state)
{
	struct context context = { .text = "abc" };
	char value[8] = "-------";

	assert_int_equal(shmfs_xattr_get(row("user.shm.text"), &context, NULL, 0, &caller), 4);
	assert_int_equal(context.uid, 1000);
	assert_int_equal(shmfs_xattr_get(row("user.shm.text"), &context, value, 3, &caller),
			 -ERANGE);
	assert_string_equal(value, "-------");
	assert_int_equal(shmfs_xattr_get(row("user.shm.text"), &context, value, 4, &caller), 4);
	assert_string_equal(value, "abc7---");
	assert_int_equal(shmfs_xattr_get(row("user.shm.text"), &context, value, 8, &caller), 4);
	assert_int_equal(context.gets, 4);
}

static void a_value_that_changes_has_room_to_spare(void **state)
{
	struct context context = { .text = "abc" };
	char value[8] = "";

	assert_int_equal(shmfs_xattr_get(row("user.shm.busy"), &context, NULL, 0, &caller), 100);
	assert_int_equal(context.gets, 0);
	assert_int_equal(shmfs_xattr_get(row("user.shm.busy"), &context, value, 8, &caller), 4);
	assert_string_equal(value, "abc7");
}

static void a_value_ends_without_a_newline(void **state)
{
	struct context context = { .text = "a\nb" };
	char value[8] = "";

	assert_int_equal(shmfs_xattr_get(row("user.shm.line"), &context, value, 8, &caller), 3);
	assert_string_equal(value, "a\nb");
}

static void an_empty_value_is_a_value(void **state)
{
	char value = '-';

	assert_int_equal(shmfs_xattr_get(row("user.shm.empty"), NULL, NULL, 0, &caller), 0);
	assert_int_equal(shmfs_xattr_get(row("user.shm.empty"), NULL, &value, 1, &caller), 0);
	assert_int_equal(value, '-');
}

static void values_may_be_as_long_as_the_kernel_takes_them(void **state)
{
	struct context context = { .long_len = XATTR_SIZE_MAX };
	char *value = malloc(XATTR_SIZE_MAX);

	assert_non_null(value);
	assert_int_equal(
		shmfs_xattr_get(row("user.shm.long"), &context, value, XATTR_SIZE_MAX, &caller),
		XATTR_SIZE_MAX);
	assert_int_equal(value[XATTR_SIZE_MAX - 1], 'x');
	context.long_len++;
	assert_int_equal(shmfs_xattr_get(row("user.shm.long"), &context, NULL, 0, &caller), -E2BIG);
	free(value);
}

static void what_fails_gives_nothing(void **state)
{
	struct context context = { .text = "abc" };
	char value[16] = "-";

	assert_int_equal(
		shmfs_xattr_get(row("user.shm.none"), &context, value, sizeof(value), &caller),
		-ENODATA);
	no_memory = true;
	assert_int_equal(
		shmfs_xattr_get(row("user.shm.text"), &context, value, sizeof(value), &caller),
		-ENOMEM);
	no_memory = false;
	assert_string_equal(value, "-");
}

/* --- writing --- */

static void what_can_be_set_is_set(void **state)
{
	struct context context = { 0 };

	assert_int_equal(shmfs_xattr_set(row("user.shm.text"), &context, "new", 3, 0, &caller), 0);
	assert_int_equal(context.set_len, 3);
	assert_memory_equal(context.set, "new", 3);
	assert_int_equal(context.uid, 1000);
	assert_int_equal(
		shmfs_xattr_set(row("user.shm.text"), &context, "by", 2, XATTR_REPLACE, &caller),
		0);
	assert_int_equal(context.set_len, 2);
	assert_int_equal(
		shmfs_xattr_set(row("user.shm.text"), &context, "x", 1, XATTR_CREATE, &caller),
		-EEXIST);
	assert_int_equal(context.set_len, 2);
	assert_int_equal(
		shmfs_xattr_set(row("user.shm.text"), &context, "too long a", 10, 0, &caller),
		-EINVAL);
}

static void the_rest_is_for_reading_only(void **state)
{
	static const int flags[] = { 0, XATTR_CREATE, XATTR_REPLACE };

	for (size_t i = 0; i < COUNT(flags); i++)
		assert_int_equal(
			shmfs_xattr_set(row("user.shm.long"), NULL, "1", 1, flags[i], &caller),
			-EPERM);
	assert_int_equal(shmfs_xattr_set(NULL, NULL, "1", 1, 0, &caller), -EPERM);
	assert_int_equal(shmfs_xattr_set(NULL, NULL, "1", 1, XATTR_CREATE, &caller), -EPERM);
	assert_int_equal(shmfs_xattr_set(NULL, NULL, "1", 1, XATTR_REPLACE, &caller), -ENODATA);
}

/* --- lists --- */

static const char two[] = "user.shm.key\0user.b";

static ssize_t list(char *names, size_t size)
{
	static const struct shmfs_xattr short_table[] = { { .name = "user.shm.key" }, { 0 } };
	static const char others[] = "user.shm.other\0user.b\0user.shmfs.c";
	struct shmfs_xattr_list to = { .names = names, .size = size };

	shmfs_xattr_list_table(&to, short_table);
	shmfs_xattr_list_table(&to, NULL);
	shmfs_xattr_list_others(&to, others, sizeof(others));
	return shmfs_xattr_list_end(&to);
}

static void lists_are_the_table_and_what_others_have(void **state)
{
	char names[64];

	assert_int_equal(list(NULL, 0), sizeof(two));
	assert_int_equal(list(names, sizeof(names)), sizeof(two));
	assert_memory_equal(names, two, sizeof(two));
	assert_int_equal(list(names, sizeof(two)), sizeof(two));
}

static void lists_stay_within_their_room(void **state)
{
	for (size_t size = 1; size < sizeof(two); size++) {
		char names[2 * sizeof(two)];

		memset(names, '.', sizeof(names));
		assert_int_equal(list(names, size), -ERANGE);
		for (size_t i = size; i < sizeof(names); i++)
			assert_int_equal(names[i], '.');
	}
}

static void an_empty_list_is_a_list(void **state)
{
	struct shmfs_xattr_list none = { .size = 10 };

	shmfs_xattr_list_others(&none, "", 0);
	assert_int_equal(shmfs_xattr_list_end(&none), 0);
}

static void listing_computes_no_value(void **state)
{
	char names[128];
	struct shmfs_xattr_list to = { .names = names, .size = sizeof(names) };
	static const struct shmfs_xattr no_functions[] = { { .name = "user.shm.a" },
							   { .name = "user.shm.b" },
							   { 0 } };

	shmfs_xattr_list_table(&to, no_functions);
	assert_int_equal(shmfs_xattr_list_end(&to), 22);
}

/* --- switches --- */

static void switches_are_0_or_1(void **state)
{
	static const struct {
		const char *value;
		size_t size;
	} wrong[] = {
		{ "", 0 },   { "2", 1 },     { "01", 2 },    { "10", 2 },
		{ "\n", 1 }, { "1\n\n", 3 }, { "1 ", 2 },    { "0\0", 2 },
		{ " 1", 2 }, { "yes", 3 },   { "1\r\n", 3 }, { "-1", 2 },
	};
	bool on = false;

	assert_int_equal(shmfs_xattr_parse_switch("1", 1, &on), 0);
	assert_true(on);
	assert_int_equal(shmfs_xattr_parse_switch("0\n", 2, &on), 0);
	assert_false(on);
	assert_int_equal(shmfs_xattr_parse_switch("1\n", 2, &on), 0);
	assert_true(on);
	assert_int_equal(shmfs_xattr_parse_switch("0", 1, &on), 0);
	assert_false(on);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		if (shmfs_xattr_parse_switch(wrong[i].value, wrong[i].size, &on) != -EINVAL || on)
			fail_msg("\"%s\" was taken for a switch", wrong[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_names_are_those_of_two_namespaces),
		cmocka_unit_test(rows_are_found_by_their_whole_name),
		cmocka_unit_test(values_come_with_their_size),
		cmocka_unit_test(a_value_that_changes_has_room_to_spare),
		cmocka_unit_test(a_value_ends_without_a_newline),
		cmocka_unit_test(an_empty_value_is_a_value),
		cmocka_unit_test(values_may_be_as_long_as_the_kernel_takes_them),
		cmocka_unit_test(what_fails_gives_nothing),
		cmocka_unit_test(what_can_be_set_is_set),
		cmocka_unit_test(the_rest_is_for_reading_only),
		cmocka_unit_test(lists_are_the_table_and_what_others_have),
		cmocka_unit_test(lists_stay_within_their_room),
		cmocka_unit_test(an_empty_list_is_a_list),
		cmocka_unit_test(listing_computes_no_value),
		cmocka_unit_test(switches_are_0_or_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
