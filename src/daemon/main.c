/* SPDX-License-Identifier: MIT */
/* Start and end: options, backends, mount, loop, and all of it back again. */
#include "daemon/internal.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "fuse/internal.h"
#include "shmfs/sigbus.h"
#include "shmfs/version.h"

/* The process that replaces a segment raises its limit by so many (sysv/replace). */
#define RESERVED_DESCRIPTORS 64

/* --- what the daemon inherits --- */

/*
 * Open descriptors 0, 1 and 2 if they are closed, and close all others: the daemon must not keep
 * files of the shell open.  Returns 0 or a negative errno.
 */
static int take_descriptors(void)
{
	int fd;

	closefrom(STDERR_FILENO + 1);
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/*
 * Block the signals that end a process by default, except those of a crash: a killed daemon leaves
 * a dead mount.  Set the action of all other signals that matter to the daemon.  Returns a
 * descriptor of signalfd(2), or a negative errno.
 */
static int block_signals(void)
{
	static const int ending[] = {
		SIGHUP,	 SIGINT,  SIGQUIT,   SIGALRM, SIGTERM,	 SIGUSR1,
		SIGUSR2, SIGPROF, SIGVTALRM, SIGXCPU, SIGSTKFLT, SIGPWR,
	};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		sigaddset(&set, ending[i]);
	for (int i = SIGRTMIN; i <= SIGRTMAX; i++)
		sigaddset(&set, i);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -errno;
	signal(SIGCHLD, SIG_DFL); /* ignored, waitpid(2) would find no child */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a write past RLIMIT_FSIZE fails with EFBIG */
	signal(SIGIO, SIG_IGN);	  /* sent when another process breaks a lease of ours */
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Each open file of a mount takes a descriptor. */
static void raise_limit_of_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max <= RESERVED_DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max - RESERVED_DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* --- start and end --- */

/* libfuse writes lines in pieces, some of them with its own prefix. */
static void on_libfuse_log(enum fuse_log_level level, const char *format, va_list args)
{
	static _Thread_local char line[512];
	size_t used = strlen(line);
	bool is_usage;

	vsnprintf(line + used, sizeof(line) - used, format, args);
	if (!strchr(line, '\n') && strlen(line) < sizeof(line) - 1)
		return;
	line[strcspn(line, "\n")] = '\0';
	is_usage = strstr(line, "unknown option") || strstr(line, "missing argument");
	shmfs_log((int)level, "%s%s", strncmp(line, "fuse: ", 6) == 0 ? line + 6 : line,
		  is_usage ? "; see: shmfs --help" : "");
	line[0] = '\0';
}

/* Tell a person at a terminal who moves the bytes, and why. */
static void greet(const struct shmfs_fs *fs, const char *mountpoint)
{
	const char *lack = shmfs_passthrough_lack(fs);

	if (isatty(STDERR_FILENO))
		shmfs_log(LOG_INFO, "%s: %s%s", mountpoint,
			  lack ? "served by the daemon: " : "kernel passthrough", lack ? lack : "");
}

static int serve(struct shmfs_fs *fs, const struct shmfs_options *options, int signal_fd)
{
	int err = shmfs_reply_first(fs);

	if (err)
		return err;
	greet(fs, options->mountpoint);
	err = shmfs_privilege_reduce();
	if (err)
		return err;
	if (!options->cmdline.foreground)
		shmfs_log_to_syslog();
	if (fuse_daemonize(options->cmdline.foreground) != 0)
		return -EIO;
	err = shmfs_sigbus_install();
	if (!err)
		err = shmfs_loop_run(fs, signal_fd, options->cmdline.singlethread);
	if (err)
		shmfs_log(LOG_ERR, "serving requests: %s; mount again", strerror(-err));
	return err;
}

static int mount_and_serve(struct shmfs_fs *fs, const struct shmfs_backends *backends,
			   struct fuse_args *args, const struct shmfs_options *options,
			   int signal_fd)
{
	bool has_ended;
	dev_t dev = 0;
	int err = shmfs_mount_prepare(args, options, backends->posix);

	if (err)
		return err;
	/* libfuse itself logs what is wrong with the options. */
	fs->session =
		fuse_session_new(args, &shmfs_fuse_operations, sizeof(shmfs_fuse_operations), fs);
	if (!fs->session)
		return -EINVAL;
	err = shmfs_mount(fs->session, options->mountpoint, &dev);
	if (!err) {
		shmfs_users_set_mount(backends->users, dev);
		err = serve(fs, options, signal_fd);
		/* Before the device is closed.  What the thread may wait for ends with it. */
		has_ended = forget_end(fs);
		shmfs_unmount(fs->session, options->mountpoint, dev);
		if (!has_ended && !forget_end(fs))
			_exit(err ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	return err;
}

static int run(struct fuse_args *args, const struct shmfs_options *options)
{
	struct shmfs_backends backends = { 0 };
	struct shmfs_fs fs = { 0 };
	/* Before mounting: a signal that comes meanwhile is read as soon as the loop runs. */
	SHMFS_AUTO_FD const int signal_fd = block_signals();
	int err;

	if (signal_fd < 0) {
		shmfs_log(LOG_ERR, "cannot wait for signals: %s", strerror(-signal_fd));
		return signal_fd;
	}
	raise_limit_of_descriptors();
	shmfs_fs_init(&fs);
	fs.target = options->target;
	fs.passthrough.unwanted = options->nopassthrough ? "nopassthrough was asked for" : NULL;
	err = shmfs_backends_init(&backends, options, &fs.tree);
	if (!err)
		err = mount_and_serve(&fs, &backends, args, options, signal_fd);
	shmfs_fs_clear(&fs);
	shmfs_backends_clear(&backends);
	return err;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct shmfs_options options;
	int err;

	if (take_descriptors() != 0)
		return EXIT_FAILURE; /* there is nowhere to say why */
	fuse_set_log_func(on_libfuse_log);
	umask(0);
	err = shmfs_options_parse(&args, &options);
	if (!err && options.cmdline.show_help)
		shmfs_options_help(stdout, argv[0]);
	else if (!err && options.cmdline.show_version)
		printf("shmfs %s\nlibfuse %s\n", SHMFS_VERSION, fuse_pkgversion());
	else if (!err)
		err = run(&args, &options);
	shmfs_options_clear(&options);
	fuse_opt_free_args(&args);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
