/* SPDX-License-Identifier: MIT */
/*
 * Side by side with a classic program (classic.c: key 3148, one page, a C
 * string), in both directions, neither knowing of the other.
 */
#include "harness.h"

#define PATH MNT "/3148"
#define CLASSIC BIN "/classic"

/* Run a command that prints `expected`, and nothing else. */
static void assert_prints(const char *expected, const char *command)
{
	char output[8192];
	assert_int_equal(shell(output, sizeof(output), "%s", command), 0);
	assert_string_equal(output, expected);
}

static void cat_shows_what_it_puts(void **state)
{
	assert_prints("", CLASSIC " -p 'hello from shmat'");
	assert_prints("hello from shmat", "tr -d '\\0' < " PATH);
	assert_prints("4096\n", "cat " PATH " | wc -c");
	assert_prints("", CLASSIC " -p again");
	assert_prints("again", "head -c 5 " PATH);
}

static void it_gets_what_echo_writes(void **state)
{
	assert_prints("", CLASSIC " -p first");
	assert_prints("", "echo second > " PATH);
	assert_prints("second\n\n", CLASSIC " -g"); /* echo's newline, and puts' own */
	assert_prints("", "printf third > " PATH);
	assert_prints("third\n", CLASSIC " -g");
}

static void it_finds_its_page_when_echo_was_first(void **state)
{
	assert_prints("", "printf first > " PATH);
	assert_prints("first\n", CLASSIC " -g");
	assert_prints("", CLASSIC " -p 'put later'");
	assert_prints("put later", "tr -d '\\0' < " PATH);
	assert_int_equal(segments_count(), 1);
}

static void nothing_is_left_of_a_longer_text(void **state)
{
	assert_prints("", CLASSIC " -p 'a very long text, longer than what comes after it'");
	assert_prints("", "printf short > " PATH);
	assert_prints("short\n", CLASSIC " -g");
	assert_prints("short", "tr -d '\\0' < " PATH);
}

static void it_sees_the_text_change_while_attached(void **state)
{
	assert_prints("", CLASSIC " -p 'old and rather long'");
	/* It prints the text once it is no longer the old one. */
	assert_prints("attached\nnew\n", "{ " CLASSIC " -w & } | { read word; echo $word; "
					 "printf new > " PATH "; cat; }");
	assert_int_equal(segments_count(), 1);
}

static void an_attached_one_is_counted_as_a_link(void **state)
{
	assert_prints("", CLASSIC " -p text");
	assert_prints("2\n", "{ " CLASSIC " -w & } | { read word; stat -c %h " PATH
			     "; printf end > " PATH "; cat > /dev/null; }");
	assert_prints("1\n", "stat -c %h " PATH);
}

static void it_makes_a_new_one_after_rm(void **state)
{
	assert_prints("", CLASSIC " -p text");
	assert_prints("", "rm " PATH);
	assert_prints("\n", CLASSIC " -g");
	assert_prints("4096\n", "stat -c %s " PATH);
}

static void another_size_is_refused_to_it_alone(void **state)
{
	char output[256];
	assert_prints("", CLASSIC " -p text");
	assert_prints("", "truncate -s 100 " PATH);
	assert_int_equal(shell(output, sizeof(output), CLASSIC " -g"), 1);
	assert_string_equal(output, "shmget: Invalid argument\n");
	assert_prints("", "truncate -s 8K " PATH);
	assert_prints("text\n", CLASSIC " -g");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(cat_shows_what_it_puts),
		mounted(it_gets_what_echo_writes),
		mounted(it_finds_its_page_when_echo_was_first),
		mounted(nothing_is_left_of_a_longer_text),
		mounted(it_sees_the_text_change_while_attached),
		mounted(an_attached_one_is_counted_as_a_link),
		mounted(it_makes_a_new_one_after_rm),
		mounted(another_size_is_refused_to_it_alone),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
