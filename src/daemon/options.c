/* SPDX-License-Identifier: MIT */
#include "daemon/options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include "shmfs/log.h"
#include "daemon/parse_size.h"

/* Options as text, before their values are looked at. */
struct raw_options {
	char *min_size;
	char *keys;
	char *target;
	int nopassthrough;
	int allow_other;
	int allow_root;
	int valueless;

	char *source;
	char *mountpoint;
};

#define RAW(templ, field) \
	{ \
		templ, offsetof(struct raw_options, field), 1 \
	}

/*
 * Options that libfuse would accept and that do nothing here, or harm: all but max_read are for
 * the loop of libfuse (io_uring: 3.18), which shmfs does not use.  libfuse wants max_read from
 * init() as well.
 */
enum { KEY_REFUSED };

/* FUSE_OPT_KEY() as it is meant: clang warns of its -1U in an unsigned long. */
#define REFUSED(templ) \
	{ \
		templ, (unsigned long)UINT_MAX, KEY_REFUSED \
	}

static const struct fuse_opt option_table[] = {
	RAW("min_size=%s", min_size),
	RAW("min_size", valueless),
	RAW("keys=%s", keys),
	RAW("keys", valueless),
	RAW("target=%s", target),
	RAW("target", valueless),
	RAW("nopassthrough", nopassthrough),
	RAW("allow_other", allow_other), /* these two main.c says to libfuse */
	RAW("allow_root", allow_root),
	REFUSED("clone_fd"),
	REFUSED("max_threads="),
	REFUSED("max_idle_threads="),
	REFUSED("max_read="),
	REFUSED("io_uring"),
	REFUSED("io_uring_q_depth="),
	FUSE_OPT_END,
};

void shmfs_options_help(FILE *out, const char *program)
{
	fprintf(out,
		"usage: %s [options] [SOURCE] MOUNTPOINT\n"
		"\n"
		"Shows the System V segments and POSIX objects of this host as files.\n"
		"\n"
		"    -o min_size=BYTES          least size of a segment made by writing to a new\n"
		"                           key; suffixes K, M, G (default: one page)\n"
		"    -o keys=dec|hex        list keys as 3148 or as 0x00000c4c (default: dec)\n"
		"    -o target=PID          the shared memory that process PID sees: its IPC\n"
		"                           namespace and its /dev/shm\n"
		"    -o nopassthrough       serve all reads and writes through the daemon\n"
		"    -d                     print every request on standard error; implies -f\n"
		"    -f                     stay in the foreground\n"
		"    -s                     serve one request at a time\n"
		"    -h   --help            print help\n"
		"    -V   --version         print the versions of shmfs and libfuse\n"
		"\n"
		"Other options of -o are for libfuse and the kernel, such as ro and "
		"auto_unmount.\n"
		"\n"
		"Examples:\n"
		"    shmfs /mnt/shm                       show all shared memory of this host\n"
		"    shmfs -o keys=hex /mnt/shm           with keys as ipcs prints them\n"
		"    shmfs -o target=1234 /mnt/container  what process 1234 sees\n",
		program);
}

static int parse_size(const char *text, uint64_t *size)
{
	int err;

	if (!text) {
		*size = (uint64_t)sysconf(_SC_PAGESIZE);
		return 0;
	}
	err = shmfs_parse_size(text, size);
	if (!err && *size > SIZE_MAX) /* where shmget(2) takes 32 bits */
		err = -ERANGE;
	if (err == -ERANGE)
		shmfs_log(LOG_ERR, "min_size=%s is larger than a segment can be", text);
	else if (err)
		shmfs_log(LOG_ERR,
			  "min_size=%s is no size: give a number of bytes over 0, such as 4096 or "
			  "64K",
			  text);
	return err ? -EINVAL : 0;
}

static int parse_keys(const char *text, enum shmfs_key_format *keys)
{
	if (!text || strcmp(text, "dec") == 0)
		*keys = SHMFS_KEYS_DEC;
	else if (strcmp(text, "hex") == 0)
		*keys = SHMFS_KEYS_HEX;
	else {
		shmfs_log(LOG_ERR, "keys=%s is not known: give keys=dec or keys=hex", text);
		return -EINVAL;
	}
	return 0;
}

static int parse_target(const char *text, pid_t *pid)
{
	char *end;
	long long number;

	*pid = 0;
	if (!text)
		return 0;
	/* strtoll(3) takes blanks and signs as well; out of range it gives LLONG_MAX. */
	number = isdigit((unsigned char)*text) ? strtoll(text, &end, 10) : 0;
	if (number <= 0 || number > INT_MAX || *end) {
		shmfs_log(LOG_ERR, "target=%s is no process: give its number, such as target=1234",
			  text);
		return -EINVAL;
	}
	*pid = (pid_t)number;
	return 0;
}

static int parse_values(const struct raw_options *raw, struct shmfs_options *options)
{
	int err;

	if (raw->valueless) {
		shmfs_log(LOG_ERR, "min_size, keys and target need a value, such as min_size=64K");
		return -EINVAL;
	}
	err = parse_size(raw->min_size, &options->min_size);
	if (!err)
		err = parse_keys(raw->keys, &options->keys);
	if (!err)
		err = parse_target(raw->target, &options->target);
	options->nopassthrough = raw->nopassthrough;
	options->allow_other = raw->allow_other;
	options->allow_root = raw->allow_root;
	return err;
}

/* Of two words the first is a source, for so mount(8) calls its helpers. */
static int take_word(void *data, const char *arg, int key, struct fuse_args *args)
{
	struct raw_options *raw = data;

	(void)args;
	if (key == KEY_REFUSED) {
		shmfs_log(LOG_ERR, "%s is not supported: shmfs schedules requests itself", arg);
		return -1;
	}
	if (key != FUSE_OPT_KEY_NONOPT)
		return 1;
	if (raw->source) {
		shmfs_log(LOG_ERR, "one argument too many: %s", arg);
		return -1;
	}
	raw->source = raw->mountpoint;
	raw->mountpoint = strdup(arg);
	return raw->mountpoint ? 0 : -1;
}

/* Shown as the source of the mount, by which mount -a knows what is mounted already. */
static int put_source(struct fuse_args *args, const char *source)
{
	char *option = NULL;
	char *escaped = NULL;
	int err = -ENOMEM;

	if (asprintf(&option, "fsname=%s", source) < 0)
		return -ENOMEM;
	if (fuse_opt_add_opt_escaped(&escaped, option) == 0 &&
	    fuse_opt_insert_arg(args, 1, escaped) == 0 && fuse_opt_insert_arg(args, 1, "-o") == 0)
		err = 0;
	free(escaped);
	free(option);
	return err;
}

/* Absolute, for the daemon leaves its directory. */
static int resolve_mountpoint(const char *given, char **mountpoint)
{
	if (!given) {
		shmfs_log(LOG_ERR, "no mount point given; try: shmfs /mnt/shm");
		return -EINVAL;
	}
	*mountpoint = realpath(given, NULL);
	if (*mountpoint)
		return 0;
	shmfs_log(LOG_ERR, "mount point %s: %s; make it with mkdir", given, strerror(errno));
	return -EINVAL;
}

/* -f, -d, -s, -h and -V are the same for every filesystem. */
static int parse_cmdline(struct fuse_args *args, const char *mountpoint,
			 struct shmfs_options *options)
{
	struct fuse_cmdline_opts opts = { 0 };

	/* libfuse would name the type of the mount by what the program is called. */
	if (fuse_opt_insert_arg(args, 1, "-osubtype=shmfs") != 0)
		return -ENOMEM;
	if (fuse_parse_cmdline(args, &opts) != 0) /* says itself what is wrong */
		return -EINVAL;
	options->foreground = opts.foreground;
	options->single_thread = opts.singlethread;
	options->show_help = opts.show_help;
	options->show_version = opts.show_version;
	if (options->show_help || options->show_version)
		return 0;
	return resolve_mountpoint(mountpoint, &options->mountpoint);
}

int shmfs_options_parse(struct fuse_args *args, struct shmfs_options *options)
{
	struct raw_options raw = { 0 };
	int err = -EINVAL;

	*options = (struct shmfs_options){ 0 };
	if (fuse_opt_parse(args, &raw, option_table, take_word) == 0)
		err = parse_values(&raw, options);
	if (!err)
		err = parse_cmdline(args, raw.mountpoint, options);
	if (!err && raw.source)
		err = put_source(args, raw.source);
	free(raw.min_size);
	free(raw.keys);
	free(raw.target);
	free(raw.source);
	free(raw.mountpoint);
	return err;
}

void shmfs_options_clear(struct shmfs_options *options)
{
	free(options->mountpoint);
	options->mountpoint = NULL;
}
