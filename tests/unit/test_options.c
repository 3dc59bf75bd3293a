/* SPDX-License-Identifier: MIT */
/*
 * The command line: what it means, what is left of it for libfuse, and that
 * each mistake is said in one line.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <cmocka.h>

#include "daemon/internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ARGS_MAX 8

/* A command line and what came of it. */
struct run {
	struct shmfs_options options;
	struct fuse_args args;
	char said[1024]; /* on standard error */
};

/* Read back what was written to `fd`. */
static void read_back(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
}

/* Parse the program's name and these arguments, the last of them NULL. */
static int parse(struct run *run, const char *const *arguments)
{
	char *argv[ARGS_MAX + 2] = { "another-name" };
	int out = memfd_create("stderr", MFD_CLOEXEC);
	int kept = dup(STDERR_FILENO);
	int argc = 1;
	int err;

	for (; arguments[argc - 1]; argc++) {
		assert_in_range(argc, 1, ARGS_MAX);
		argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
	}
	memset(run, 0xff, sizeof(*run));
	run->args = (struct fuse_args)FUSE_ARGS_INIT(argc, argv);
	assert_true(out >= 0 && kept >= 0);
	assert_true(dup2(out, STDERR_FILENO) >= 0);
	err = shmfs_options_parse(&run->args, &run->options);
	dup2(kept, STDERR_FILENO);
	read_back(out, run->said, sizeof(run->said));
	close(out);
	close(kept);
	return err;
}

static void clear(struct run *run)
{
	shmfs_options_clear(&run->options);
	assert_null(run->options.mountpoint);
	fuse_opt_free_args(&run->args);
}

#define PARSE(run, ...) parse(run, (const char *const[]){ __VA_ARGS__, NULL })

/*
 * All that is left for the session after the program's name, with blanks
 * between.  The type is always in it, whatever the program is called.
 */
static const char *rest(const struct run *run)
{
	static char text[1024];
	size_t used = 0;

	text[0] = '\0';
	for (int i = 1; i < run->args.argc; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
					 used > 0 ? " " : "", run->args.argv[i]);
	return text;
}

/* --- what is understood --- */

static void a_mount_point_is_enough(void **state)
{
	struct run run;

	assert_int_equal(PARSE(&run, "/"), 0);
	assert_string_equal(run.options.mountpoint, "/");
	assert_int_equal(run.options.min_size, sysconf(_SC_PAGESIZE));
	assert_int_equal(run.options.keys, SHMFS_KEYS_DEC);
	assert_int_equal(run.options.target, 0);
	assert_false(run.options.nopassthrough);
	assert_false(run.options.allow_other);
	assert_false(run.options.allow_root);
	assert_false(run.options.cmdline.foreground);
	assert_false(run.options.cmdline.singlethread);
	assert_false(run.options.cmdline.show_help);
	assert_false(run.options.cmdline.show_version);
	assert_string_equal(run.said, "");
	assert_string_equal(rest(&run), "-o subtype=shmfs");
	clear(&run);
}

static void our_options_are_taken_out(void **state)
{
	struct run run;

	assert_int_equal(PARSE(&run, "-o", "ro,min_size=64K,keys=hex", "/",
			       "-onopassthrough,noatime,allow_other,target=2147483647"),
			 0);
	assert_int_equal(run.options.target, 2147483647);
	assert_int_equal(run.options.min_size, 65536);
	assert_int_equal(run.options.keys, SHMFS_KEYS_HEX);
	assert_true(run.options.nopassthrough);
	assert_true(run.options.allow_other);
	assert_string_equal(run.options.mountpoint, "/");
	assert_string_equal(run.said, "");
	assert_string_equal(rest(&run), "-o subtype=shmfs,ro,noatime");
	clear(&run);
}

static void allow_root_is_left_to_who_mounts(void **state)
{
	struct run run;

	assert_int_equal(PARSE(&run, "-oallow_root", "/"), 0);
	assert_true(run.options.allow_root);
	assert_string_equal(rest(&run), "-o subtype=shmfs");
	clear(&run);
}

static void the_last_of_an_option_counts(void **state)
{
	struct run run;

	assert_int_equal(PARSE(&run, "-omin_size=1M,keys=hex", "/", "-omin_size=2M", "-okeys=dec"),
			 0);
	assert_int_equal(run.options.min_size, 2 << 20);
	assert_int_equal(run.options.keys, SHMFS_KEYS_DEC);
	clear(&run);
}

static void flags_are_those_of_every_filesystem(void **state)
{
	struct run run;

	assert_int_equal(PARSE(&run, "-f", "-s", "/"), 0);
	assert_true(run.options.cmdline.foreground);
	assert_true(run.options.cmdline.singlethread);
	clear(&run);
	/* Messages of -d are for who looks at them. */
	assert_int_equal(PARSE(&run, "-d", "/"), 0);
	assert_true(run.options.cmdline.foreground);
	assert_false(run.options.cmdline.singlethread);
	clear(&run);
}

static void a_mount_point_becomes_absolute(void **state)
{
	struct run run;
	char *here = getcwd(NULL, 0);

	assert_non_null(here);
	assert_int_equal(PARSE(&run, "."), 0);
	assert_string_equal(run.options.mountpoint, here);
	clear(&run);
	free(here);
}

static void of_two_words_the_first_is_the_source(void **state)
{
	struct run run;

	assert_int_equal(PARSE(&run, "host,1", "/", "-o", "ro"), 0);
	assert_string_equal(run.options.mountpoint, "/");
	assert_string_equal(rest(&run), "-o fsname=host\\,1 -o subtype=shmfs,ro");
	clear(&run);
	/* What is said of the name in so many words comes later and counts. */
	assert_int_equal(PARSE(&run, "-ofsname=mine", "none", "/"), 0);
	assert_string_equal(rest(&run), "-o fsname=none -o subtype=shmfs,fsname=mine");
	clear(&run);
	assert_int_equal(PARSE(&run, "--", "-dash", "/"), 0);
	assert_string_equal(rest(&run), "-o fsname=-dash -o subtype=shmfs");
	clear(&run);
}

static void help_and_version_need_no_mount_point(void **state)
{
	struct run run;

	assert_int_equal(PARSE(&run, "-h"), 0);
	assert_true(run.options.cmdline.show_help);
	assert_string_equal(run.said, "");
	clear(&run);
	assert_int_equal(PARSE(&run, "--help"), 0);
	assert_true(run.options.cmdline.show_help);
	clear(&run);
	assert_int_equal(PARSE(&run, "-V"), 0);
	assert_true(run.options.cmdline.show_version);
	assert_false(run.options.cmdline.show_help);
	clear(&run);
	assert_int_equal(PARSE(&run, "--version"), 0);
	assert_true(run.options.cmdline.show_version);
	clear(&run);
}

static void the_help_has_every_option(void **state)
{
	static const char *const words[] = {
		"usage: program [options] [SOURCE] MOUNTPOINT",
		"-o min_size=",
		"-o keys=dec|hex",
		"-o target=PID",
		"-o nopassthrough",
		"-d ",
		"-f ",
		"-s ",
		"-h   --help",
		"-V   --version",
	};
	char text[4096];
	int fd = memfd_create("help", MFD_CLOEXEC);
	FILE *out = fdopen(dup(fd), "w");

	assert_non_null(out);
	shmfs_options_help(out, "program");
	fclose(out);
	read_back(fd, text, sizeof(text));
	close(fd);
	for (size_t i = 0; i < COUNT(words); i++)
		if (!strstr(text, words[i]))
			fail_msg("\"%s\" is not in the help", words[i]);
}

/* --- mistakes --- */

struct mistake {
	const char *arguments[4];
	const char *said; /* is in the one line */
};

static const struct mistake mistakes[] = {
	{ { NULL }, "no mount point" },
	{ { "-f", NULL }, "no mount point" },
	{ { "-omin_size=4K", NULL }, "no mount point" },
	{ { "-omin_size=0", "/", NULL }, "min_size=0 is no size" },
	{ { "-omin_size=", "/", NULL }, "min_size= is no size" },
	{ { "-omin_size=12Q", "/", NULL }, "min_size=12Q is no size" },
	{ { "-omin_size=-1", "/", NULL }, "min_size=-1 is no size" },
	{ { "-omin_size=8589934592G", "/", NULL }, "larger than a segment can be" },
#if SIZE_MAX == UINT32_MAX
	{ { "-omin_size=5G", "/", NULL }, "larger than a segment can be" },
#endif
	{ { "-omin_size", "/", NULL }, "min_size= is no size" },
	{ { "-okeys", "/", NULL }, "keys= is not known" },
	{ { "-otarget", "/", NULL }, "target= is no process" },
	{ { "-okeys=oct", "/", NULL }, "keys=oct is not known" },
	{ { "-okeys=", "/", NULL }, "keys= is not known" },
	{ { "-okeys=HEX", "/", NULL }, "keys=HEX is not known" },
	{ { "-otarget=", "/", NULL }, "target= is no process" },
	{ { "-otarget=0", "/", NULL }, "target=0 is no process" },
	{ { "-otarget=-1", "/", NULL }, "target=-1 is no process" },
	{ { "-otarget=+1", "/", NULL }, "target=+1 is no process" },
	{ { "-otarget= 1", "/", NULL }, "target= 1 is no process" },
	{ { "-otarget=12x", "/", NULL }, "target=12x is no process" },
	{ { "-otarget=2147483648", "/", NULL }, "target=2147483648 is no process" },
	{ { "-otarget=99999999999999999999", "/", NULL }, "target=99999999999999999999 is no" },
	{ { "-oclone_fd", "/", NULL }, "clone_fd is not supported" },
	{ { "-omax_threads=3", "/", NULL }, "max_threads=3 is not supported" },
	{ { "-oro,max_idle_threads=3", "/", NULL }, "max_idle_threads=3 is not supported" },
	{ { "-omax_read=4096", "/", NULL }, "max_read=4096 is not supported" },
	{ { "-oio_uring", "/", NULL }, "io_uring is not supported" },
	/* The first of them is said, and that alone. */
	{ { "-omin_size=x,keys=y", NULL }, "min_size=x is no size" },
	{ { "shmfs", "/", "/tmp", NULL }, "/tmp" },
	{ { "/nonexistent/mount/point", NULL }, "/nonexistent/mount/point" },
	{ { "/", "-o", NULL }, "-o" },
};

static void each_mistake_is_one_line(void **state)
{
	for (size_t i = 0; i < COUNT(mistakes); i++) {
		const struct mistake *m = &mistakes[i];
		struct run run;
		int err = parse(&run, m->arguments);
		const char *newline = strchr(run.said, '\n');

		if (err != -EINVAL || !strstr(run.said, m->said))
			fail_msg("mistake %zu: %d, \"%s\"", i, err, run.said);
		if (!newline || newline[1] != '\0' || newline == run.said)
			fail_msg("mistake %zu is not said in one line: \"%s\"", i, run.said);
		clear(&run);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mount_point_is_enough),
		cmocka_unit_test(our_options_are_taken_out),
		cmocka_unit_test(allow_root_is_left_to_who_mounts),
		cmocka_unit_test(the_last_of_an_option_counts),
		cmocka_unit_test(flags_are_those_of_every_filesystem),
		cmocka_unit_test(a_mount_point_becomes_absolute),
		cmocka_unit_test(of_two_words_the_first_is_the_source),
		cmocka_unit_test(help_and_version_need_no_mount_point),
		cmocka_unit_test(the_help_has_every_option),
		cmocka_unit_test(each_mistake_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
