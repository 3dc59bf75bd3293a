/* SPDX-License-Identifier: MIT */
/* The text view: the bytes of a text, read, written and measured. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "text_view.h"

#define NO_CHANGE SIZE_MAX

/* --- reading --- */

static void a_text_ends_at_its_nul(void **state)
{
	struct view *v = *state;
	char bytes[16];

	view_begin(v, B("hello\0more\0"));
	view_expect_text(v, B("hello"));
	assert_int_equal(view_read(v, 2, bytes, 2), 2);
	assert_memory_equal(bytes, "ll", 2);
	assert_int_equal(view_read(v, 3, bytes, 16), 2);
	assert_int_equal(view_read(v, 5, bytes, 16), 0);
	/* There are bytes, but not of the text. */
	assert_int_equal(view_read(v, 6, bytes, 4), 0);
	assert_int_equal(view_read(v, 100, bytes, 16), 0);
}

static void a_full_object_is_shown_whole(void **state)
{
	struct view *v = *state;

	view_begin(v, B("full"));
	view_expect_text(v, B("full"));
	view_begin(v, B(""));
	view_expect_text(v, B(""));
	view_begin(v, B("\0\0\0"));
	view_expect_text(v, B(""));
}

/* Past all that is looked through at once, and past what is remembered. */
static void long_texts_have_their_length(void **state)
{
	static const size_t lengths[] = { 1 << 14, (1 << 14) + 1, 1 << 18, (1 << 20) - 2 };
	struct view *v = *state;
	char *bytes = malloc(1 << 20);

	assert_non_null(bytes);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		memset(bytes, 'x', lengths[i]);
		bytes[lengths[i]] = '\0';
		view_begin(v, bytes, lengths[i] + 1);
		assert_int_equal(view_size(v, &view_root), lengths[i]);
		assert_int_equal(view_read(v, (off_t)lengths[i] - 1, bytes, 100), 1);
		view_begin(v, bytes, lengths[i]);
		assert_int_equal(view_size(v, &view_root), lengths[i]);
	}
	free(bytes);
}

static void others_stores_are_seen_at_once(void **state)
{
	struct view *v = *state;
	char bytes[16];

	view_begin(v, B("hello\0....."));
	assert_int_equal(view_read(v, 2, bytes, 16), 3);
	v->file->bytes[5] = '!';
	view_expect_text(v, B("hello!....."));
	v->file->bytes[1] = '\0';
	view_expect_text(v, B("h"));
	assert_int_equal(view_read(v, 2, bytes, 16), 0);
}

static void only_who_may_read_learns_the_length(void **state)
{
	static const struct shmfs_caller caller = { .uid = 1000 };
	struct view *v = *state;

	view_begin(v, B("hello\0more\0"));
	assert_int_equal(view_size(v, &view_root), 5);
	assert_int_equal(v->memory->seen.uid, 0);
	assert_int_equal(view_size(v, &caller), 5);
	assert_int_equal(v->memory->seen.uid, 1000);
	assert_int_equal(v->memory->seen.flags, O_RDONLY | SHMFS_OPEN_TO_LOOK);
	memory_fail(v->memory, MEMORY_OPEN, -EACCES);
	assert_int_equal(view_size(v, &caller), 11);
	memory_fail(v->memory, MEMORY_OPEN, -EPERM);
	assert_int_equal(view_size(v, &caller), 11);
	/* It is being replaced. */
	memory_fail(v->memory, MEMORY_OPEN, -EBUSY);
	assert_int_equal(view_size(v, &caller), 11);
	/* What else fails is an error. */
	memory_fail(v->memory, MEMORY_OPEN, -EMFILE);
	assert_int_equal(view_size(v, &caller), -EMFILE);
	memory_fail(v->memory, MEMORY_READ_BEGIN, -EIO);
	assert_int_equal(view_size(v, &caller), -EIO);
}

/* --- writing --- */

struct write_case {
	const char *before;
	size_t before_len;
	off_t off;
	const char *bytes;
	size_t len;
	ssize_t result;
	const char *after;
	size_t after_len; /* NO_CHANGE: as before */
};

/* The memory of an object that cannot grow, before and after one write. */
static const struct write_case write_cases[] = {
	/* over what is there */
	{ B("hello\0\0\0"), 0, B("J"), 1, B("Jello\0\0\0") },
	{ B("hello\0\0\0"), 1, B("ELLO"), 4, B("hELLO\0\0\0") },
	{ B("full"), 0, B("FULL"), 4, B("FULL") },
	{ B("hello\0\0\0"), 2, B(""), 0, "", NO_CHANGE },
	/* past the end, with a new NUL, whatever was there */
	{ B("hello\0\0\0"), 5, B("!"), 1, B("hello!\0\0") },
	{ B("hello\0zzzz"), 5, B("!"), 1, B("hello!\0zzz") },
	{ B("hello\0zzzz"), 3, B("p me"), 4, B("help me\0zz") },
	{ B("hello\0zzzz"), 0, B("good-bye"), 8, B("good-bye\0z") },
	{ B("\0zzz"), 0, B("abc"), 3, B("abc\0") },
	/* as much as has room with its NUL, and then no more */
	{ B("hello\0\0\0"), 5, B("!!!!"), 2, B("hello!!\0") },
	{ B("hello\0zz"), 3, B("LO and more"), 4, B("helLO a\0") },
	{ B("hello\0"), 5, B("!"), -ENOSPC, "", NO_CHANGE },
	{ B("hello\0"), 4, B("O!"), 1, B("hellO\0") },
	{ B("full"), 4, B("!"), -ENOSPC, "", NO_CHANGE },
	{ B("full"), 2, B("LL!"), 2, B("fuLL") },
	{ B(""), 0, B("x"), -ENOSPC, "", NO_CHANGE },
	/* no gap, no NUL before text */
	{ B("hello\0\0\0"), 6, B("x"), -EINVAL, "", NO_CHANGE },
	{ B("hello\0\0\0"), 900, B("x"), -EINVAL, "", NO_CHANGE },
	{ B("hello\0\0\0"), 0, B("a\0b"), -EILSEQ, "", NO_CHANGE },
	{ B("hello\0\0\0"), 0, B("\0b"), -EILSEQ, "", NO_CHANGE },
	{ B("hello\0\0\0"), 0, B("a\0\0"), -EILSEQ, "", NO_CHANGE },
	{ B("hello\0\0\0"), 4, B("\0"), 1, B("hell\0\0\0\0") },
	/* NULs at the end are the end */
	{ B("hello\0\0\0"), 5, B("!\0\0\0\0\0\0"), 7, B("hello!\0\0") },
	{ B("hello\0zz"), 0, B("hi\0\0\0"), 5, B("hi\0\0\0\0\0\0") },
	{ B("hello\0zz"), 0, B("hi\0\0\0\0\0\0\0\0"), 10, B("hi\0\0\0\0\0\0") },
	{ B("hello\0zz"), 0, B("\0\0\0\0\0"), 5, B("\0\0\0\0\0\0\0\0") },
	{ B("hello\0zz"), 6, B("\0\0"), 2, "", NO_CHANGE },
	{ B("hello\0zz"), 4000, B("\0\0"), 2, "", NO_CHANGE },
};

static void a_write_does_what_it_does_to_a_text_file(void **state)
{
	struct view *v = *state;

	for (size_t i = 0; i < COUNT(write_cases); i++) {
		const struct write_case *c = &write_cases[i];
		bool same = c->after_len == NO_CHANGE;
		ssize_t n;

		view_begin(v, c->before, c->before_len);
		v->file->limit = v->file->size;
		n = view_write(v, v->handle, c->off, false, c->bytes, c->len);
		if (n != c->result)
			fail_msg("case %zu: %zd and not %zd", i, n, c->result);
		view_expect_bytes(v, same ? c->before : c->after,
				  same ? c->before_len : c->after_len);
	}
}

static void an_object_grows_to_hold_the_nul(void **state)
{
	struct view *v = *state;

	view_begin(v, B(""));
	assert_int_equal(view_write(v, v->handle, 0, false, B("hi\n")), 3);
	view_expect_bytes(v, B("hi\n\0"));
	assert_int_equal(view_write(v, v->handle, 900, true, B("more\n")), 5);
	view_expect_bytes(v, B("hi\nmore\n\0"));
	assert_int_equal(view_write(v, v->handle, 1, false, B("ello")), 4);
	view_expect_text(v, B("hellore\n"));
	view_begin(v, B("full"));
	assert_int_equal(view_write(v, v->handle, 0, true, B("er")), 2);
	view_expect_bytes(v, B("fuller\0"));
	assert_int_equal(view_write(v, v->handle, INT64_MAX, false, B("x")), -EFBIG);
}

/* Whenever the backend is called there is a NUL, or it was full before. */
static void expect_nul(struct memory_backend *memory, enum memory_slot slot, void *arg)
{
	struct view *v = arg;

	assert_non_null(memchr(v->file->bytes, '\0', (size_t)v->file->size));
}

static void there_is_a_nul_at_every_moment(void **state)
{
	struct view *v = *state;

	for (size_t i = 0; i < COUNT(write_cases); i++) {
		const struct write_case *c = &write_cases[i];

		if (!memchr(c->before, '\0', c->before_len))
			continue;
		view_begin(v, c->before, c->before_len);
		v->memory->hook = expect_nul;
		v->memory->hook_arg = v;
		view_write(v, v->handle, c->off, false, c->bytes, c->len);
		v->ops.truncate(v->object, v->handle, 1, &view_root);
		v->memory->hook = NULL;
	}
}

/* What a program that has the memory attached could have seen, in order. */
static void see_string(struct memory_backend *memory, enum memory_slot slot, void *arg)
{
	struct view *v = arg;

	if (strcmp(v->file->bytes, "hello") != 0)
		assert_string_equal(v->file->bytes, "hello, world");
}

static void what_is_appended_is_seen_at_once(void **state)
{
	struct view *v = *state;

	view_begin(v, B("hello\0zzzzzzzzzzzzzzz"));
	v->memory->hook = see_string;
	v->memory->hook_arg = v;
	assert_int_equal(view_write(v, v->handle, 0, true, B(", world")), 7);
	v->memory->hook = NULL;
	assert_string_equal(v->file->bytes, "hello, world");
}

/* Each call of the backend fails once. */
static void a_write_that_fails_leaves_the_text(void **state)
{
	struct view *v = *state;
	unsigned skip = 0;
	ssize_t n;

	do {
		view_begin(v, B("hello\0zzzzzzzzzz"));
		memory_fail_later(v->memory, MEMORY_WRITE_BEGIN, skip++, 1, -EIO);
		n = view_write(v, v->handle, 3, false, B("p me"));
		view_expect_text(v, n < 0 ? "hello" : "help me", n < 0 ? 5 : 7);
	} while (n < 0);
	assert_int_equal(skip, 4);
	memory_fail(v->memory, MEMORY_WRITE_BEGIN, 0);
	memory_fail(v->memory, MEMORY_READ_BEGIN, -EIO);
	assert_int_equal(view_write(v, v->handle, 0, true, B("!")), -EIO);
	memory_fail(v->memory, MEMORY_WRITE_END, -EIO);
	assert_int_equal(view_write(v, v->handle, 0, false, B("!")), -EIO);
	assert_int_equal(v->memory->spans_held, 0);
}

/* --- several at once --- */

#define LINES 200
#define LINE "one of many lines\n"

/* Others have the time to come in between. */
static void dawdle(struct memory_backend *memory, enum memory_slot slot, void *arg)
{
	if (slot == MEMORY_WRITE_BEGIN)
		usleep(10);
}

static void *append_lines(void *arg)
{
	struct view *v = arg;
	struct shmfs_handle *handle = view_open(v, O_WRONLY | O_APPEND);
	intptr_t wrong = 0;

	for (int i = 0; i < LINES; i++)
		wrong += view_write(v, handle, 0, true, B(LINE)) != sizeof(LINE) - 1;
	v->ops.release(handle);
	return (void *)wrong;
}

static void appenders_lose_nothing(void **state)
{
	struct view *v = *state;
	const size_t len = sizeof(LINE) - 1;
	pthread_t threads[4];
	void *wrong;

	view_begin(v, B(""));
	v->memory->hook = dawdle;
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, append_lines, v), 0);
	for (size_t i = 0; i < COUNT(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
	v->memory->hook = NULL;
	assert_int_equal(view_size(v, &view_root), COUNT(threads) * LINES * len);
	for (size_t i = 0; i < COUNT(threads) * LINES; i++)
		assert_memory_equal(v->file->bytes + i * len, LINE, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VIEW_TEST(a_text_ends_at_its_nul),
		VIEW_TEST(a_full_object_is_shown_whole),
		VIEW_TEST(long_texts_have_their_length),
		VIEW_TEST(others_stores_are_seen_at_once),
		VIEW_TEST(only_who_may_read_learns_the_length),
		VIEW_TEST(a_write_does_what_it_does_to_a_text_file),
		VIEW_TEST(an_object_grows_to_hold_the_nul),
		VIEW_TEST(there_is_a_nul_at_every_moment),
		VIEW_TEST(what_is_appended_is_seen_at_once),
		VIEW_TEST(a_write_that_fails_leaves_the_text),
		VIEW_TEST(appenders_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
