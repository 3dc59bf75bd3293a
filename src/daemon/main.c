/* SPDX-License-Identifier: MIT */
/* Start and end: options, backends, mount, loop, and all of it back again. */
#include <sys/utsname.h>

#include "daemon/backends.h"
#include "daemon/mount.h"
#include "daemon/options.h"
#include "daemon/privilege.h"
#include "daemon/process.h"
#include "fuse/internal.h"
#include "fuse/reply.h"
#include "shmfs/cleanup.h"
#include "shmfs/log.h"
#include "shmfs/sigbus.h"
#include "shmfs/version.h"

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
	struct utsname kernel;

	if (!isatty(STDERR_FILENO) || uname(&kernel) != 0)
		return;
	if (!lack)
		shmfs_log(LOG_INFO, "%s: kernel passthrough", mountpoint);
	else if (!fs->passthrough.on && !fs->passthrough.unwanted)
		shmfs_log(LOG_INFO, "%s: served by the daemon: Linux %s has no passthrough",
			  mountpoint, kernel.release);
	else
		shmfs_log(LOG_INFO, "%s: served by the daemon: %s", mountpoint, lack);
}

/* syslog(3) is connected first: afterwards the daemon may open no more sockets. */
static int give_up_privileges(const struct shmfs_options *options)
{
	int err;

	if (!options->foreground)
		shmfs_log_open_syslog();
	err = shmfs_privilege_reduce();
	if (!err && !options->foreground)
		shmfs_log_to_syslog();
	return err;
}

static int serve(struct shmfs_fs *fs, const struct shmfs_options *options, int signal_fd)
{
	int err = shmfs_reply_first(fs);

	if (err)
		return err;
	greet(fs, options->mountpoint);
	err = give_up_privileges(options);
	if (err)
		return err;
	if (fuse_daemonize(options->foreground) != 0)
		return -EIO;
	err = shmfs_sigbus_install();
	if (!err)
		err = shmfs_loop_run(fs, signal_fd, options->single_thread);
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
	int err = shmfs_mount_check(options->mountpoint);

	if (!err)
		err = shmfs_mount_add_options(args, options, backends->posix);
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
		/* Before the device is closed.  What the thread may wait for ends with the mount. */
		has_ended = forget_end(fs);
		shmfs_unmount(fs->session, options->mountpoint, dev);
		if (!has_ended && !forget_end(fs))
			_exit(err ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	fuse_session_destroy(fs->session);
	return err;
}

static int run(struct fuse_args *args, const struct shmfs_options *options)
{
	struct shmfs_backends backends = { 0 };
	struct shmfs_fs fs = { 0 };
	/* Before mounting: a signal that comes meanwhile is read as soon as the loop runs. */
	SHMFS_AUTO_FD const int signal_fd = shmfs_process_block_signals();
	int err;

	if (signal_fd < 0)
		return signal_fd;
	shmfs_process_limit_descriptors();
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

	if (shmfs_process_take_descriptors() != 0)
		return EXIT_FAILURE; /* there is nowhere to say why */
	fuse_set_log_func(on_libfuse_log);
	umask(0);
	err = shmfs_options_parse(&args, &options);
	if (!err && options.show_help)
		shmfs_options_help(stdout, argv[0]);
	else if (!err && options.show_version)
		printf("shmfs %s\nlibfuse %s\n", SHMFS_VERSION, fuse_pkgversion());
	else if (!err)
		err = run(&args, &options);
	shmfs_options_clear(&options);
	fuse_opt_free_args(&args);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
