/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <sched.h>
#include <sys/prctl.h>

enum {
	TIME_LIMIT = 280, /* seconds for a whole program, with sanitizers on a busy machine */
	SKIPPED = 77,
};

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "harness: %s: %s\n", what, strerror(errno));
	exit(1);
}

int patience(int limit)
{
	const char *factor = getenv("SHMFS_TEST_PATIENCE");
	return factor ? limit * atoi(factor) : limit;
}

static int open_program(const char *path)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd == -1)
		die(path);
	return fd;
}

/* Show a program, whose directory others may not enter, at a path they can. */
static void bind_program(int fd, const char *path)
{
	char source[64];
	snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	int target = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
	if (target == -1 || mount(source, path, NULL, MS_BIND, NULL) == -1)
		die(path);
	close(target);
	close(fd);
}

static void bind_preload(int fd, const char *file)
{
	char path[64];
	snprintf(path, sizeof(path), BIN "%s", strrchr(file, '/'));
	bind_program(fd, path);
}

static void make_directory(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == -1 || chmod(path, mode) == -1)
		die(path);
}

/* Open to everybody, as udev makes it; here it may be as the kernel made it. */
static void open_fuse_device(void)
{
	struct stat device;
	if (stat("/dev/fuse", &device) == -1)
		die("/dev/fuse");
	if (mknod(STAGE "/fuse", S_IFCHR, device.st_rdev) == -1 || chmod(STAGE "/fuse", 0666) == -1)
		die(STAGE "/fuse");
	if (mount(STAGE "/fuse", "/dev/fuse", NULL, MS_BIND, NULL) == -1)
		die("/dev/fuse");
}

static void make_stage(const char *binary)
{
	static const char *const preloads[] = { PRELOADS };
	int preload_fds[array_size(preloads)];
	int daemon = open_program(binary);
	int classic = open_program(CLASSIC_PROGRAM);
	for (size_t i = 0; i < array_size(preloads); i++)
		preload_fds[i] = open_program(preloads[i]);

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
		die("private mounts");
	if (mount("proc", "/proc", "proc", 0, NULL) == -1)
		die("/proc");
	if (mount("tmpfs", NATIVE, "tmpfs", 0, "mode=1777,size=" NATIVE_SIZE) == -1)
		die(NATIVE);
	if (mount("tmpfs", RUN, "tmpfs", 0, "mode=0755") == -1)
		die(RUN);
	if (mount("tmpfs", STAGE, "tmpfs", 0, "mode=0755,size=256M") == -1)
		die(STAGE);
	make_directory(MNT, 0755);
	make_directory(BIN, 0755);
	make_directory(TMP, 01777);
	open_fuse_device();
	bind_program(daemon, BIN "/shmfs");
	bind_program(classic, BIN "/classic");
	for (size_t i = 0; i < array_size(preloads); i++)
		bind_preload(preload_fds[i], preloads[i]);
}

/* A report of a sanitizer must be a failure, whatever the caller's settings. */
static void make_environment(void)
{
	setenv("ASAN_OPTIONS", "halt_on_error=1:exitcode=99:verify_asan_link_order=0", 1);
	setenv("UBSAN_OPTIONS", "halt_on_error=1:exitcode=99:print_stacktrace=1", 1);
	setenv("TSAN_OPTIONS", "exitcode=99:die_after_fork=0", 1);
	setenv("LC_ALL", "C", 1);
	unsetenv("LD_PRELOAD");
	umask(022);
}

void harness_enter(const char *binary)
{
	if (geteuid() != 0) {
		puts("skipped: namespaces and mounts of its own need root");
		exit(SKIPPED);
	}
	if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID) == -1)
		die("namespaces");
	pid_t init = fork();
	if (init == -1)
		die("fork");
	if (init == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		make_environment();
		make_stage(binary);
		return;
	}
	alarm((unsigned)patience(TIME_LIMIT));
	int status;
	if (waitpid(init, &status, 0) == -1)
		die("waitpid");
	/* No exit handlers: with its process 1 gone the namespace takes no new thread. */
	_exit(exit_status(status));
}
