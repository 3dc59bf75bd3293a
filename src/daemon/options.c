/* SPDX-License-Identifier: MIT */
#include "daemon/internal.h"

/* What fuse_opt_parse() fills in.  The strings are owned. */
struct command_line {
	struct shmfs_options options;
	char *source, *mountpoint;
};

enum { MIN_SIZE, KEYS, TARGET, NOT_SUPPORTED };

#define FLAG(templ, field) \
	{ \
		templ, offsetof(struct command_line, options.field), 1 \
	}
/* FUSE_OPT_KEY(), whose -1U clang warns of where a long has 64 bits. */
#define KEY(templ, key) \
	{ \
		templ, (unsigned long)UINT_MAX, key \
	}
#define VALUE(name, key) KEY(name "=", key), KEY(name, key)
#define REFUSED(templ) KEY(templ, NOT_SUPPORTED)

static const struct fuse_opt option_table[] = {
	VALUE("min_size", MIN_SIZE),
	VALUE("keys", KEYS),
	VALUE("target", TARGET),
	FLAG("nopassthrough", nopassthrough),
	FLAG("allow_other", allow_other), /* mount.c passes these two on to libfuse */
	FLAG("allow_root", allow_root),
	/* libfuse accepts these for its own request loop, which shmfs does not use. */
	REFUSED("clone_fd"),
	REFUSED("max_threads="),
	REFUSED("max_idle_threads="),
	REFUSED("max_read="), /* init() would have to set the same value */
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
		"    -o min_size=BYTES      least size of a segment made by writing to a new key;\n"
		"                           suffixes K, M, G (default: one page)\n"
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

int shmfs_parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KkMmGg";
	/* strtoull(3) alone would also take blanks and a sign. */
	const char *suffix = text + strspn(text, "0123456789");
	const char *found = *suffix ? strchr(suffixes, *suffix) : NULL;
	unsigned shift = 0;
	unsigned long long value;

	if (suffix == text || (*suffix && (!found || suffix[1])))
		return -EINVAL;
	if (found)
		shift = 10 * ((unsigned)(found - suffixes) / 2 + 1);
	errno = 0;
	value = strtoull(text, NULL, 10);
	if (errno == ERANGE || value > (uint64_t)INT64_MAX >> shift)
		return -ERANGE;
	if (value == 0)
		return -EINVAL;
	*bytes = value << shift;
	return 0;
}

/* The parsers of values return 0, or -1 after a message, as fuse_opt_parse() wants it. */
static int parse_min_size(const char *text, uint64_t *size)
{
	int err = shmfs_parse_size(text, size);

	if (!err && *size <= SIZE_MAX) /* where shmget(2) takes 32 bits */
		return 0;
	if (err == -EINVAL)
		shmfs_log(LOG_ERR, "min_size=%s is no size: give bytes over 0, such as 4096 or 64K",
			  text);
	else
		shmfs_log(LOG_ERR,
			  "min_size=%s is larger than a segment can be: give less, such as 64K",
			  text);
	return -1;
}

static int parse_keys(const char *text, enum shmfs_key_format *keys)
{
	*keys = strcmp(text, "hex") == 0 ? SHMFS_KEYS_HEX : SHMFS_KEYS_DEC;
	if (*keys == SHMFS_KEYS_HEX || strcmp(text, "dec") == 0)
		return 0;
	shmfs_log(LOG_ERR, "keys=%s is not known: give keys=dec or keys=hex", text);
	return -1;
}

static int parse_target(const char *text, pid_t *pid)
{
	/* Out of range, strtoll(3) gives LLONG_MAX. */
	const long long number = strtoll(text, NULL, 10);

	*pid = number <= INT_MAX ? (pid_t)number : 0;
	/* strtoll(3) would also take blanks and a sign. */
	if (*pid > 0 && text[strspn(text, "0123456789")] == '\0')
		return 0;
	shmfs_log(LOG_ERR, "target=%s is no process: give its number, such as target=1234", text);
	return -1;
}

/* Of two words the first is the source: mount(8) calls its helpers with both. */
static int take_word(struct command_line *line, const char *word)
{
	if (line->source) {
		shmfs_log(LOG_ERR, "one argument too many: %s; see: shmfs --help", word);
		return -1;
	}
	line->source = line->mountpoint;
	line->mountpoint = strdup(word);
	return line->mountpoint ? 0 : -1;
}

static int take_argument(void *data, const char *arg, int key, struct fuse_args *args)
{
	struct command_line *line = data;
	const char *equals = strchr(arg, '=');
	const char *value = equals ? equals + 1 : "";

	switch (key) {
	case MIN_SIZE:
		return parse_min_size(value, &line->options.min_size);
	case KEYS:
		return parse_keys(value, &line->options.keys);
	case TARGET:
		return parse_target(value, &line->options.target);
	case NOT_SUPPORTED:
		shmfs_log(LOG_ERR,
			  "%s is not supported: shmfs schedules requests itself; leave it out",
			  arg);
		return -1;
	case FUSE_OPT_KEY_NONOPT:
		return take_word(line, arg);
	default:
		return 1; /* for libfuse */
	}
}

/* mount -a compares the source of a mount with the first field in fstab. */
static int put_source(struct fuse_args *args, const char *source)
{
	SHMFS_AUTO_FREE char *option = NULL;
	SHMFS_AUTO_FREE char *escaped = NULL;

	if (asprintf(&option, "fsname=%s", source) < 0)
		return -ENOMEM;
	if (fuse_opt_add_opt_escaped(&escaped, option) == 0 &&
	    fuse_opt_insert_arg(args, 1, escaped) == 0 && fuse_opt_insert_arg(args, 1, "-o") == 0)
		return 0;
	return -ENOMEM;
}

/* The daemon leaves its directory, so the path becomes absolute. */
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

/* libfuse reads -f, -d, -s, -h and -V. */
static int parse_cmdline(struct fuse_args *args, const char *mountpoint,
			 struct shmfs_options *options)
{
	/* Without this, the type of the mount would be the name of the program. */
	if (fuse_opt_insert_arg(args, 1, "-osubtype=shmfs") != 0)
		return -ENOMEM;
	if (fuse_parse_cmdline(args, &options->cmdline) != 0) /* says itself what is wrong */
		return -EINVAL;
	if (options->cmdline.show_help || options->cmdline.show_version)
		return 0;
	return resolve_mountpoint(mountpoint, &options->mountpoint);
}

int shmfs_options_parse(struct fuse_args *args, struct shmfs_options *options)
{
	struct command_line line = {
		.options = { .min_size = (uint64_t)sysconf(_SC_PAGESIZE) },
	};
	int err = -EINVAL;

	if (fuse_opt_parse(args, &line, option_table, take_argument) == 0)
		err = parse_cmdline(args, line.mountpoint, &line.options);
	if (!err && line.source)
		err = put_source(args, line.source);
	free(line.source);
	free(line.mountpoint);
	*options = line.options;
	return err;
}

void shmfs_options_clear(struct shmfs_options *options)
{
	free(options->mountpoint);
	options->mountpoint = NULL;
}
