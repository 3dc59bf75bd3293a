/* SPDX-License-Identifier: MIT */
/* shmfs-key prints what ftok(3) gives, as a name of a file of the mount. */
#include <sys/ipc.h>

#include "harness.h"

#define CONFIG TMP "/app.conf"

/* What shmfs-key prints for these arguments, without its newline. */
static const char *key_of(const char *arguments)
{
	static char output[256];
	int status = shell(output, sizeof(output), KEY_PROGRAM " %s 2>&1", arguments);
	if (status != 0)
		fail_msg("shmfs-key %s: status %d, \"%s\"", arguments, status, output);
	output[strcspn(output, "\n")] = '\0';
	return output;
}

static void assert_key(const char *arguments, const char *format, int id)
{
	char expected[32];
	snprintf(expected, sizeof(expected), format, (unsigned)must(ftok(CONFIG, id)));
	assert_string_equal(key_of(arguments), expected);
}

static void ids_are_written_as_in_c(void **state)
{
	file_write(CONFIG, O_CREAT, "x", 1);
	assert_key(CONFIG " A", "%u", 'A');
	assert_key(CONFIG " 65", "%u", 'A');
	assert_key(CONFIG " 0x41", "%u", 'A');
	assert_key(CONFIG " 0101", "%u", 'A');
	assert_key(CONFIG " '*'", "%u", '*');
	assert_key(CONFIG " -", "%u", '-');
	/* A digit is a number: that is how ftok(path, 1) looks. */
	assert_key(CONFIG " 1", "%u", 1);
	assert_key(CONFIG " 49", "%u", '1');
	/* As ftok() itself, of which eight bits count. */
	assert_key(CONFIG " 321", "%u", 'A');
	assert_key(CONFIG " -1", "%u", -1);
	assert_key("$(printf '" CONFIG " \\377')", "%u", 0xff);
}

static void keys_are_decimal_or_as_ipcs_has_them(void **state)
{
	file_write(CONFIG, O_CREAT, "x", 1);
	assert_key("-x " CONFIG " 1", "0x%08x", 1);
	assert_key("-x " CONFIG " 0xff", "0x%08x", 0xff);
	assert_key(CONFIG " 0xff", "%u", 0xff);
}

static void help_and_version_are_given(void **state)
{
	static const char *const arguments[] = { "-h", "--help", "-V", "--version" };
	for (size_t i = 0; i < array_size(arguments); i++)
		assert_non_null(strstr(key_of(arguments[i]), "shmfs-key"));
}

static void it_names_the_segment_of_a_program(void **state)
{
	file_write(CONFIG, O_CREAT, "x", 1);
	int id = segment_create(must(ftok(CONFIG, 'A')), 4096, 0600);
	segment_put(id, 0, "configured", 10);
	char output[64];
	assert_int_equal(
		shell(output, sizeof(output), "head -c 10 " MNT "/$(" KEY_PROGRAM " " CONFIG " A)"),
		0);
	assert_string_equal(output, "configured");
	assert_int_equal(shell(NULL, 0, "rm " MNT "/$(" KEY_PROGRAM " -x " CONFIG " A)"), 0);
	assert_int_equal(segments_count(), 0);
}

static void mistakes_are_said_in_one_line(void **state)
{
	static const struct {
		const char *arguments;
		const char *word;
	} mistakes[] = {
		{ "", "usage: " },
		{ CONFIG, "usage: " },
		{ CONFIG " A B", "usage: " },
		{ CONFIG " AB", "'AB' is neither" },
		{ CONFIG " ''", "'' is neither" },
		{ CONFIG " ' 1'", "neither" },
		{ CONFIG " 1x", "'1x' is neither" },
		{ CONFIG " 4294967295",
		  "'4294967295' is neither one character nor a number of 32" },
		{ CONFIG " A >/dev/full", "cannot print the key: No space left" },
		{ TMP "/nothing A", "'" TMP "/nothing': No such file" },
	};
	file_write(CONFIG, O_CREAT, "x", 1);
	for (size_t i = 0; i < array_size(mistakes); i++) {
		char output[512];
		int status = shell(output, sizeof(output), KEY_PROGRAM " 2>&1 >/dev/null %s",
				   mistakes[i].arguments);
		const char *newline = strchr(output, '\n');
		if (status != 1 || !strstr(output, mistakes[i].word) || !newline || newline[1])
			fail_msg("shmfs-key %s: status %d, \"%s\"", mistakes[i].arguments, status,
				 output);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bare(ids_are_written_as_in_c),	     bare(keys_are_decimal_or_as_ipcs_has_them),
		bare(help_and_version_are_given),    mounted(it_names_the_segment_of_a_program),
		bare(mistakes_are_said_in_one_line),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
