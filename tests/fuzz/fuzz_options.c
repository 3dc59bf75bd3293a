/* SPDX-License-Identifier: MIT */
/* The command line, one argument a line. */
#include "fuzz.h"

#include <errno.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include "daemon/internal.h"

#define MAX_ARGS 32

static void keep_quiet(enum fuse_log_level level, const char *format, va_list args)
{
}

static int parse(int argc, char **argv, struct shmfs_options *options)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	int err = shmfs_options_parse(&args, options);

	fuse_opt_free_args(&args);
	return err;
}

/* The same options, spelled as the manual spells them. */
static void check_spelled_out(const struct shmfs_options *options)
{
	struct shmfs_options again;
	char values[128];
	char *argv[MAX_ARGS] = { (char *)"shmfs", (char *)"-o", values };
	int argc = 3;

	snprintf(values, sizeof(values), "min_size=%llu,keys=%s%s",
		 (unsigned long long)options->min_size,
		 options->keys == SHMFS_KEYS_HEX ? "hex" : "dec",
		 options->nopassthrough ? ",nopassthrough" : "");
	if (options->target)
		snprintf(values + strlen(values), sizeof(values) - strlen(values), ",target=%d",
			 (int)options->target);
	if (options->cmdline.foreground)
		argv[argc++] = (char *)"-f";
	if (options->cmdline.singlethread)
		argv[argc++] = (char *)"-s";
	argv[argc++] = options->mountpoint;
	check(parse(argc, argv, &again) == 0);
	check(again.min_size == options->min_size && again.keys == options->keys);
	check(again.target == options->target && again.nopassthrough == options->nopassthrough);
	check(again.cmdline.foreground == options->cmdline.foreground);
	check(again.cmdline.singlethread == options->cmdline.singlethread);
	check(strcmp(again.mountpoint, options->mountpoint) == 0);
	shmfs_options_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	char *rest = text;
	char *argv[MAX_ARGS + 1] = { (char *)"shmfs" };
	int argc = 1;
	struct shmfs_options options;
	int err;

	fuse_set_log_func(keep_quiet);
	while (rest && argc < MAX_ARGS)
		argv[argc++] = strsep(&rest, "\n");
	err = parse(argc, argv, &options);
	check(err == 0 || err == -EINVAL);
	if (!err && !options.cmdline.show_help && !options.cmdline.show_version) {
		check(options.mountpoint && options.mountpoint[0] == '/');
		check(options.min_size > 0 && options.min_size <= INT64_MAX);
		check(options.target >= 0);
		check_spelled_out(&options);
	}
	shmfs_options_clear(&options);
	check(!options.mountpoint);
	free(text);
	return 0;
}
