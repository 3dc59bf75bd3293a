/* SPDX-License-Identifier: MIT */
/* Start and end: options, backends, mount, loop, and all of it back again. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fuse/internal.h"
#include "fuse/reply.h"
#include "shmfs/sigbus.h"
#include "shmfs/log.h"
#include "daemon/options.h"
#include "shmfs/posix.h"
#include "daemon/privilege.h"
#include "shmfs/sysv.h"
#include "daemon/target.h"
#include "shmfs/text.h"
#include "shmfs/users.h"
#include "shmfs/version.h"

#define SHM_DIR "/dev/shm"
#define PROC_DIR "/proc"
#define USER_XATTR_DIR "/run/shmfs"
#define FUSE_DEVICE "/dev/fuse"
#define RESERVED_DESCRIPTORS 64

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
	struct shmfs_backend *sysv;
	struct shmfs_backend *posix;
	struct shmfs_backend *sysv_text;
	struct shmfs_backend *posix_text;
};

static void fs_clear(struct shmfs_fs *fs, const struct backends *backends)
{
	close_dirs(fs);
	close_files(fs);
	pthread_mutex_destroy(&fs->open_lock);
	shmfs_inode_table_destroy(&fs->inodes);
	if (backends->sysv_text)
		shmfs_text_free(backends->sysv_text);
	if (backends->posix_text)
		shmfs_text_free(backends->posix_text);
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
		.release_lead = shmfs_loop_release_lead,
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
		.release_lead = shmfs_loop_release_lead,
	};
	struct shmfs_sysv_config sysv = {
		.min_size = options->min_size,
		.proc_dir = PROC_DIR,
		.user_xattr_dir = USER_XATTR_DIR,
		.release_lead = shmfs_loop_release_lead,
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

static int texts_init(struct backends *backends)
{
	int err =
		shmfs_text_new(backends->sysv, true, shmfs_loop_release_lead, &backends->sysv_text);

	return err ? err :
		     shmfs_text_new(backends->posix, false, shmfs_loop_release_lead,
				    &backends->posix_text);
}

static void views_init(struct shmfs_tree *tree, const struct backends *backends)
{
	tree->views[SHMFS_VIEW_SYSV] = view_of(backends->sysv);
	tree->views[SHMFS_VIEW_BY_ID] = view_of(backends->sysv);
	tree->views[SHMFS_VIEW_POSIX] = view_of(backends->posix);
	tree->views[SHMFS_VIEW_SYSV_TEXT] = view_of(backends->sysv_text);
	tree->views[SHMFS_VIEW_POSIX_TEXT] = view_of(backends->posix_text);
}

static int fs_init(struct shmfs_fs *fs, struct backends *backends,
		   const struct shmfs_options *options)
{
	int err;

	pthread_mutex_init(&fs->open_lock, NULL);
	shmfs_inode_table_init(&fs->inodes);
	err = backends_init(backends, options);
	if (!err)
		err = texts_init(backends);
	if (err)
		return err;
	views_init(&fs->tree, backends);
	fs->tree.keys = options->keys;
	fs->tree.uid = getuid();
	fs->tree.gid = getgid();
	fs->target = options->target;
	if (options->nopassthrough)
		fs->passthrough.unwanted = "nopassthrough was asked for";
	return 0;
}

/* What would fail in the middle of mounting, said before it begins. */
static int check_mount(const char *mountpoint)
{
	struct stat st;

	if (stat(mountpoint, &st) != 0) {
		shmfs_log(LOG_ERR, "mount point %s: %s; %s", mountpoint, strerror(errno),
			  errno == ENOTCONN ?
				  "a shmfs that died is still mounted there: umount it first" :
				  "make it with mkdir");
		return -EINVAL;
	}
	if (!S_ISDIR(st.st_mode)) {
		shmfs_log(LOG_ERR, "mount point %s is not a directory", mountpoint);
		return -EINVAL;
	}
	if (access(FUSE_DEVICE, F_OK) != 0) {
		shmfs_log(LOG_ERR, "%s: %s; try: modprobe fuse", FUSE_DEVICE, strerror(errno));
		return -EINVAL;
	}
	return 0;
}

/* What may not be run from /dev/shm must not be run from here either. */
static bool is_noexec(struct shmfs_backend *posix)
{
	struct statvfs st = { 0 };

	return posix->ops->statfs(posix, &st) == 0 && (st.f_flag & ST_NOEXEC);
}

/* Root's mount is everybody's, with the kernel checking modes; a user's is his own. */
static int check_access(const struct shmfs_options *options)
{
	if (options->allow_other && getuid() != 0) {
		shmfs_log(LOG_ERR, "allow_other is for root: a user's mount acts as that user, "
				   "whoever asks");
		return -EPERM;
	}
	if (options->allow_root && getuid() == 0) {
		shmfs_log(LOG_ERR, "allow_root is for ordinary users: a mount by root is there for "
				   "every user");
		return -EINVAL;
	}
	return 0;
}

static int add_mount_options(struct fuse_args *args, const struct shmfs_options *options,
			     const struct shmfs_tree *tree)
{
	char common[128];
	char of[32] = "";
	int err = check_access(options);

	if (err)
		return err;
	/* df(1) and findmnt(8) tell one mount from another by this. */
	if (options->target)
		snprintf(of, sizeof(of), ":target=%d", (int)options->target);
	snprintf(common, sizeof(common), "-ofsname=shmfs%s,default_permissions", of);
	/* First, so that what the user says of the same comes later and counts. */
	if (fuse_opt_insert_arg(args, 1, common) != 0)
		return -ENOMEM;
	if (getuid() == 0 && fuse_opt_insert_arg(args, 1, "-oallow_other") != 0)
		return -ENOMEM;
	if (options->allow_root && fuse_opt_insert_arg(args, 1, "-oallow_root") != 0)
		return -ENOMEM;
	if (is_noexec(tree->views[SHMFS_VIEW_POSIX].backend) &&
	    fuse_opt_insert_arg(args, 1, "-onoexec") != 0)
		return -ENOMEM;
	/* Last, for mount.fuse3(8) says suid and dev as root, whoever asked for them. */
	return fuse_opt_add_arg(args, "-onosuid,nodev") == 0 ? 0 : -ENOMEM;
}

/*
 * The device number that the mount has just got.  Nothing is to be fetched for
 * that: nobody would answer yet.
 */
static void find_mount_dev(const struct backends *backends, const char *mountpoint)
{
	struct statx stx;

	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &stx) != 0)
		return;
	backends->sysv->mount_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	backends->posix->mount_dev = backends->sysv->mount_dev;
	shmfs_users_set_mount(backends->users, backends->sysv->mount_dev);
}

/*
 * Descriptors as they should be, whatever we were started with.  0, 1 and 2 are
 * there, or the next that we open would be taken for one of them.  And nothing
 * else is: what a shell has open, a lock perhaps, is not to stay so for as long
 * as we serve.
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

/* Signals that end the daemon are read from a descriptor; see fuse_loop.c. */
static int block_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -errno;
	signal(SIGCHLD, SIG_DFL); /* ignored, no end of a child could be waited for */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* EFBIG is the writer's to hear of */
	signal(SIGIO, SIG_IGN);	  /* a lease that is wanted back: sysv_segment.c */
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/*
 * Every open file of a mount is a descriptor here, and the soft limit is meant
 * for one program.  A few stay in reserve: the guardian of a resize may use
 * them (sysv_guardian.c).
 */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max <= RESERVED_DESCRIPTORS)
		return;
	if (limit.rlim_cur < limit.rlim_max - RESERVED_DESCRIPTORS) {
		limit.rlim_cur = limit.rlim_max - RESERVED_DESCRIPTORS;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
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

/* Unmounted already?  The kernel says so on the device, and so libfuse asks it. */
static bool is_unmounted(int device)
{
	struct pollfd poll_fd = { .fd = device };

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLERR);
}

static bool is_ours(int dir, dev_t mount_dev)
{
	struct statx stx;

	return statx(dir, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &stx) == 0 &&
	       makedev(stx.stx_dev_major, stx.stx_dev_minor) == mount_dev;
}

/*
 * Unmount what is on the path, if it is what we mounted.  Something else may be
 * mounted over it by now, and whoever owns a directory above can have put
 * another one in its place.
 */
static int detach(const char *mountpoint, dev_t mount_dev)
{
	int dir = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[32];
	int err = -ENOENT;

	if (dir < 0)
		return -errno;
	snprintf(path, sizeof(path), PROC_DIR "/self/fd/%d", dir);
	if (is_ours(dir, mount_dev))
		err = umount2(path, MNT_DETACH) == 0 ? 0 : -errno;
	close(dir);
	return err;
}

/*
 * libfuse may run umount(8) for it, 3.17.2 always and 3.14 where /etc/mtab is a
 * file, and root's daemon runs no programs any more.  So it is done here, and
 * the device gives way to a pipe that looks to libfuse as the device does after
 * that.
 */
static void unmount(struct fuse_session *session, const char *mountpoint, dev_t mount_dev)
{
	const int device = fuse_session_fd(session);
	int ends[2];

	if (getuid() == 0 && !is_unmounted(device) && pipe2(ends, O_CLOEXEC) == 0) {
		if (detach(mountpoint, mount_dev) != 0)
			shmfs_log(LOG_WARNING, "%s is something else by now: not unmounted",
				  mountpoint);
		dup3(ends[1], device, O_CLOEXEC);
		close(ends[0]);
		close(ends[1]);
	}
	fuse_session_unmount(session);
}

static int mount_and_serve(struct shmfs_fs *fs, const struct backends *backends,
			   struct fuse_args *args, const struct shmfs_options *options,
			   int signal_fd)
{
	struct fuse_session *session;
	int err = check_mount(options->mountpoint);

	if (err)
		return err;
	/* These two say themselves, through the log, what is wrong. */
	session = fuse_session_new(args, &shmfs_fuse_operations, sizeof(shmfs_fuse_operations), fs);
	if (!session)
		return -EINVAL;
	fs->session = session;
	err = fuse_session_mount(session, options->mountpoint) == 0 ? 0 : -EIO;
	if (!err) {
		find_mount_dev(backends, options->mountpoint);
		err = shmfs_reply_first(fs);
		if (!err)
			err = shmfs_privilege_reduce();
		if (!err && !options->foreground)
			shmfs_log_to_syslog();
		if (!err && fuse_daemonize(options->foreground) != 0)
			err = -EIO;
		if (!err)
			err = serve(session, options, signal_fd);
		unmount(session, options->mountpoint, backends->sysv->mount_dev);
	}
	fuse_session_destroy(session);
	return err;
}

static int run(struct fuse_args *args, const struct shmfs_options *options)
{
	struct backends backends = { 0 };
	struct shmfs_fs fs = { 0 };
	/* Before mounting: a signal that comes then is seen as soon as we serve. */
	int signal_fd = block_signals();
	int err = fs_init(&fs, &backends, options);

	if (!err && signal_fd < 0)
		err = signal_fd;
	raise_descriptor_limit();
	if (!err)
		err = add_mount_options(args, options, &fs.tree);
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

	if (take_descriptors() != 0)
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
