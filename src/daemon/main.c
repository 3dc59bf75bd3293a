/* SPDX-License-Identifier: MIT */
/* Start and end: options, backends, mount, loop, and all of it back again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse/internal.h"
#include "fuse/reply.h"
#include "shmfs/sigbus.h"
#include "shmfs/log.h"
#include "daemon/options.h"
#include "daemon/mount.h"
#include "shmfs/posix.h"
#include "daemon/privilege.h"
#include "daemon/process.h"
#include "shmfs/sysv.h"
#include "daemon/target.h"
#include "shmfs/text.h"
#include "shmfs/user_views.h"
#include "shmfs/version.h"

#define SHM_DIR "/dev/shm"
/* What tells the inode numbers of backends apart: object.h. */
#define SYSV_NUMBER 1
#define POSIX_NUMBER 2
#define PROC_DIR "/proc"
#define USER_XATTR_DIR "/run/shmfs"

/* --- messages --- */

/* libfuse writes lines in pieces, some of them with its own prefix. */
static void on_libfuse_log(enum fuse_log_level level, const char *format, va_list args)
{
	static _Thread_local char line[512];
	size_t used = strlen(line);
	char *text = line;

	vsnprintf(line + used, sizeof(line) - used, format, args);
	if (!strchr(line, '\n') && strlen(line) < sizeof(line) - 1)
		return;
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(text, "fuse: ", 6) == 0)
		text += 6;
	shmfs_log((int)level, "%s", text);
	line[0] = '\0';
}

static void show_version(void)
{
	printf("shmfs %s\nlibfuse %s\n", SHMFS_VERSION, fuse_pkgversion());
}

/* --- the filesystem --- */

/* All owned. */
struct backends {
	struct shmfs_users *users;
	struct shmfs_user_views *user_views;
	struct shmfs_backend *sysv;
	struct shmfs_backend *posix;
	/* The slots of the text views. */
	struct shmfs_backend_ops sysv_text;
	struct shmfs_backend_ops posix_text;
};

static void fs_clear(struct shmfs_fs *fs, const struct backends *backends)
{
	dirs_clear(&fs->dirs);
	close_files(fs);
	pthread_mutex_destroy(&fs->open_lock);
	shmfs_inode_table_destroy(&fs->inodes);
	if (backends->user_views)
		shmfs_user_views_free(backends->user_views);
	if (backends->sysv)
		shmfs_sysv_free(backends->sysv);
	if (backends->posix)
		shmfs_posix_free(backends->posix);
	if (backends->users)
		shmfs_users_free(backends->users);
}

/*
 * The directory of the POSIX objects.  With a target, its IPC namespace is
 * ours from here on: first of all, for the backends open what is in it.
 */
static int open_shm_dir(const struct shmfs_options *options)
{
	int fd;

	if (options->target)
		return shmfs_target_enter(PROC_DIR, options->target);
	fd = open(SHM_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	fd = -errno;
	shmfs_log(LOG_ERR, "cannot open %s: %s", SHM_DIR, strerror(errno));
	return fd;
}

static int users_init(struct backends *backends, int dir)
{
	struct shmfs_users_config config = {
		.proc_dir = PROC_DIR,
		.segment_number = SYSV_NUMBER,
		.object_number = POSIX_NUMBER,
	};
	struct stat st;

	if (fstat(dir, &st) != 0)
		return -errno;
	config.objects = st.st_dev;
	return shmfs_users_new(&config, &backends->users);
}

static int backends_init(struct backends *backends, const struct shmfs_options *options)
{
	struct shmfs_posix_config posix = {
		.dir = open_shm_dir(options),
		.proc_dir = PROC_DIR,
	};
	struct shmfs_sysv_config sysv = {
		.min_size = options->min_size,
		.proc_dir = PROC_DIR,
		.user_xattr_dir = USER_XATTR_DIR,
	};
	int err;

	if (posix.dir < 0)
		return posix.dir;
	err = users_init(backends, posix.dir);
	posix.users = sysv.users = backends->users;
	if (!err)
		err = shmfs_posix_new(&posix, &backends->posix);
	if (err) {
		shmfs_log(LOG_ERR, "%s", strerror(-err));
		close(posix.dir);
		return err;
	}
	err = shmfs_sysv_new(&sysv, &backends->sysv);
	if (err)
		shmfs_log(LOG_ERR, "cannot read %s/sysvipc/shm: %s", PROC_DIR, strerror(-err));
	return err;
}

static struct shmfs_view view_of(struct shmfs_backend *backend)
{
	return (struct shmfs_view){ .ops = backend->ops, .backend = backend };
}

static struct shmfs_view text_view_of(struct shmfs_backend *backend, bool takes_content,
				      struct shmfs_backend_ops *ops)
{
	shmfs_text_ops(backend->ops, takes_content, ops);
	return (struct shmfs_view){ .ops = ops, .backend = backend, .variant = 1 };
}

static int views_init(struct shmfs_tree *tree, struct backends *backends)
{
	backends->sysv->number = SYSV_NUMBER;
	backends->posix->number = POSIX_NUMBER;
	tree->views[SHMFS_VIEW_SYSV] = view_of(backends->sysv);
	tree->views[SHMFS_VIEW_BY_ID] = view_of(backends->sysv);
	tree->views[SHMFS_VIEW_BY_ID].ops = &shmfs_sysv_by_id_ops;
	tree->views[SHMFS_VIEW_POSIX] = view_of(backends->posix);
	tree->views[SHMFS_VIEW_SYSV_TEXT] =
		text_view_of(backends->sysv, true, &backends->sysv_text);
	tree->views[SHMFS_VIEW_POSIX_TEXT] =
		text_view_of(backends->posix, false, &backends->posix_text);
	return shmfs_user_views_new(tree, backends->users, &backends->user_views);
}

static int fs_init(struct shmfs_fs *fs, struct backends *backends,
		   const struct shmfs_options *options)
{
	int err;

	pthread_mutex_init(&fs->open_lock, NULL);
	shmfs_inode_table_init(&fs->inodes);
	dirs_init(&fs->dirs);
	err = backends_init(backends, options);
	if (err)
		return err;
	err = views_init(&fs->tree, backends);
	if (err)
		return err;
	fs->tree.keys = options->keys;
	fs->tree.uid = getuid();
	fs->tree.gid = getgid();
	fs->target = options->target;
	if (options->nopassthrough)
		fs->passthrough.unwanted = "nopassthrough was asked for";
	return 0;
}

static void set_mount_dev(const struct backends *backends, dev_t dev)
{
	backends->sysv->mount_dev = dev;
	backends->posix->mount_dev = dev;
	shmfs_users_set_mount(backends->users, dev);
}

/* The connection to syslog is made first, for then there may be no more sockets. */
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

static int serve(struct fuse_session *session, const struct shmfs_options *options, int signal_fd)
{
	int err = shmfs_sigbus_install();

	if (!err)
		err = shmfs_loop_run(session, signal_fd, options->single_thread);
	if (err)
		shmfs_log(LOG_ERR, "serving requests: %s", strerror(-err));
	return err;
}

static int mount_and_serve(struct shmfs_fs *fs, const struct backends *backends,
			   struct fuse_args *args, const struct shmfs_options *options,
			   int signal_fd)
{
	struct fuse_session *session;
	dev_t dev = 0;
	int err = shmfs_mount_check(options->mountpoint);

	if (err)
		return err;
	/* These two say themselves, through the log, what is wrong. */
	session = fuse_session_new(args, &shmfs_fuse_operations, sizeof(shmfs_fuse_operations), fs);
	if (!session)
		return -EINVAL;
	fs->session = session;
	err = shmfs_mount(session, options->mountpoint, &dev);
	if (!err) {
		set_mount_dev(backends, dev);
		err = shmfs_reply_first(fs);
		if (!err)
			err = give_up_privileges(options);
		if (!err && fuse_daemonize(options->foreground) != 0)
			err = -EIO;
		if (!err)
			err = serve(session, options, signal_fd);
		shmfs_unmount(session, options->mountpoint, dev);
	}
	fuse_session_destroy(session);
	return err;
}

static int run(struct fuse_args *args, const struct shmfs_options *options)
{
	struct backends backends = { 0 };
	struct shmfs_fs fs = { 0 };
	/* Before mounting: a signal that comes then is seen as soon as we serve. */
	int signal_fd = shmfs_process_block_signals();
	int err = fs_init(&fs, &backends, options);

	if (!err && signal_fd < 0)
		err = signal_fd;
	shmfs_process_limit_descriptors();
	shmfs_process_raise_nice_limit();
	if (!err)
		err = shmfs_mount_add_options(args, options, backends.posix);
	if (!err)
		err = mount_and_serve(&fs, &backends, args, options, signal_fd);
	fs_clear(&fs, &backends);
	if (signal_fd >= 0)
		close(signal_fd);
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
		show_version();
	else if (!err)
		err = run(&args, &options);
	shmfs_options_clear(&options);
	fuse_opt_free_args(&args);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
