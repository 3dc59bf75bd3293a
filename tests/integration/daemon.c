/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <dirent.h>
#include <grp.h>
#include <sys/statfs.h>

enum { FUSE_MAGIC = 0x65735546 };

#define LOG STAGE "/stderr"

static const char *const limit_names[LIMITS] = { "shmmax", "shmall", "shmmni" };

bool daemon_is_mounted(void)
{
	struct statfs fs;
	/* Without allow_other the kernel answers others with the type alone. */
	return statfs(MNT, &fs) == 0 && fs.f_type == FUSE_MAGIC;
}

static void __attribute__((noreturn)) exec_daemon(const struct user *user, const char *options)
{
	int log = open(LOG, O_WRONLY | O_CREAT | O_APPEND, 0644);
	int null = open("/dev/null", O_RDWR);
	if (log == -1 || null == -1)
		_exit(126);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	closefrom(STDERR_FILENO + 1);
	if (setgroups(1, &user->group) == -1 || setresgid(user->gid, user->gid, user->gid) == -1 ||
	    setresuid(user->uid, user->uid, user->uid) == -1)
		_exit(126);
	if (options[0])
		execl(BIN "/shmfs", "shmfs", "-f", "-o", options, MNT, (char *)NULL);
	else
		execl(BIN "/shmfs", "shmfs", "-f", MNT, (char *)NULL);
	_exit(127);
}

static bool daemon_is_over(struct fixture *fixture)
{
	siginfo_t info = { 0 };
	return waitid(P_PID, (id_t)fixture->daemon, &info, WEXITED | WNOHANG | WNOWAIT) == -1 ||
	       info.si_pid != 0;
}

void daemon_start(struct fixture *fixture, const char *options)
{
	const char *more = getenv("SHMFS_TEST_OPTIONS");
	char all[256];
	if (!options)
		options = "";
	if (!more)
		more = "";
	snprintf(all, sizeof(all), "%s%s%s", options, *options && *more ? "," : "", more);

	fflush(NULL);
	fixture->daemon = must(fork());
	if (fixture->daemon == 0)
		exec_daemon(fixture->owner, all);
	eventually(daemon_is_mounted() || daemon_is_over(fixture));
	if (!daemon_is_mounted())
		fail_msg("the daemon did not mount with \"%s\"", all);
}

int daemon_wait(struct fixture *fixture)
{
	int status = 0;
	bool over = eventually(waitpid(fixture->daemon, &status, WNOHANG) == fixture->daemon);
	if (!over) {
		print_error("the daemon did not end, and was killed\n");
		kill(fixture->daemon, SIGKILL);
		waitpid(fixture->daemon, &status, 0);
	}
	fixture->daemon = 0;
	return exit_status(status);
}

/* Unmount; if that cannot be, end the daemon all the same. */
static bool unmount(const struct fixture *fixture)
{
	struct statfs fs;
	/* Answered after the last closes, which an unmount would take from the queue. */
	statfs(MNT, &fs);
	/* Busy is the mount for a moment with fusermount3, which works in it. */
	int result = -1;
	eventually((result = umount2(MNT, 0)) == 0 || errno != EBUSY);
	if (result == 0)
		return true;
	print_error("unmounting: %s\n", strerror(errno));
	kill(fixture->daemon, SIGTERM);
	return false;
}

void daemon_stop(struct fixture *fixture)
{
	assert_true(unmount(fixture));
	assert_int_equal(daemon_wait(fixture), 0);
}

/* Count the daemon's descriptors that point to an object, or to anything. */
static unsigned count_descriptors(const struct fixture *fixture, bool objects)
{
	/* These come and go with the threads that serve requests; the last when it is needed. */
	static const char *const transient[] = { "/dev/fuse",
						 "pipe:", "anon_inode:", "/proc/loadavg",
						 RUN "/shmfs" };
	char path[64], target[PATH_MAX];
	unsigned count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", fixture->daemon);
	DIR *directory = opendir(path);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));) {
		ssize_t length =
			readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
		if (length == -1)
			continue;
		target[length] = '\0';
		bool is_object = strncmp(target, "/SYSV", 5) == 0 ||
				 strncmp(target, NATIVE "/", sizeof(NATIVE)) == 0;
		bool is_transient = false;
		for (size_t i = 0; i < array_size(transient); i++)
			is_transient |= strncmp(target, transient[i], strlen(transient[i])) == 0;
		count += objects ? is_object : !is_transient;
	}
	closedir(directory);
	return count;
}

static unsigned count_mappings(const struct fixture *fixture)
{
	char path[64], line[PATH_MAX + 128];
	unsigned count = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", fixture->daemon);
	FILE *maps = fopen(path, "re");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		count += strstr(line, "/SYSV") || strstr(line, NATIVE "/");
	fclose(maps);
	return count;
}

unsigned daemon_holds_objects(const struct fixture *fixture)
{
	return count_descriptors(fixture, true) + count_mappings(fixture);
}

long daemon_status(const struct fixture *fixture, const char *field)
{
	char path[64], line[256];
	long value = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", fixture->daemon);
	FILE *status = fopen(path, "re");
	assert_non_null(status);
	while (fgets(line, sizeof(line), status)) {
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtol(line + strlen(field), NULL, 10);
	}
	fclose(status);
	return value;
}

bool daemon_said(const char *text)
{
	char log[16384] = "";
	int fd = open(LOG, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	ssize_t count = read(fd, log, sizeof(log) - 1);
	close(fd);
	return count > 0 && strstr(log, text);
}

static void show_log(void)
{
	char line[1024];
	FILE *log = fopen(LOG, "re");
	if (!log)
		return;
	while (fgets(line, sizeof(line), log))
		print_error("the daemon said: %s", line);
	fclose(log);
	unlink(LOG);
}

static FILE *open_limit(const char *name, const char *mode)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/sys/kernel/%s", name);
	FILE *file = fopen(path, mode);
	assert_non_null(file);
	return file;
}

void limit_set(const char *name, unsigned long long value)
{
	FILE *file = open_limit(name, "we");
	fprintf(file, "%llu\n", value);
	assert_int_equal(fclose(file), 0);
}

static void save_limits(struct fixture *fixture)
{
	for (int i = 0; i < LIMITS; i++) {
		FILE *file = open_limit(limit_names[i], "re");
		assert_non_null(fgets(fixture->limits[i], sizeof(fixture->limits[i]), file));
		fclose(file);
	}
}

static void restore_limits(const struct fixture *fixture)
{
	for (int i = 0; i < LIMITS; i++) {
		FILE *file = open_limit(limit_names[i], "we");
		fputs(fixture->limits[i], file);
		fclose(file);
	}
}

void native_resize(const char *size)
{
	char options[64];
	snprintf(options, sizeof(options), "mode=1777,size=%s", size);
	must(mount("tmpfs", NATIVE, "tmpfs", MS_REMOUNT, options));
}

int fixture_begin(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	assert_non_null(fixture);
	fixture->owner = &ROOT;
	save_limits(fixture);
	unlink(LOG);
	fixture->first_fd = must(open("/", O_PATH));
	close(fixture->first_fd);
	*state = fixture;
	return 0;
}

void daemon_is_idle(struct fixture *fixture)
{
	/* What it opens once, it has opened after this. */
	directory_count(MNT "/.by-id");
	directory_count(MNT "/.by-name");
	directory_count(MNT);
	fixture->held = count_descriptors(fixture, false);
}

int fixture_mount(void **state)
{
	const char *options = *state;

	fixture_begin(state);
	struct fixture *fixture = *state;
	daemon_start(fixture, options);
	daemon_is_idle(fixture);
	return 0;
}

int fixture_mount_as_nobody(void **state)
{
	const char *options = *state;

	fixture_begin(state);
	struct fixture *fixture = *state;
	fixture->owner = &NOBODY;
	must(chown(MNT, NOBODY.uid, NOBODY.gid));
	/* It cannot create its log in the stage, only append to it. */
	int log = must(open(LOG, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
	fchmod(log, 0666);
	close(log);
	daemon_start(fixture, options);
	fixture->held = count_descriptors(fixture, false);
	return 0;
}

/* Nothing of one case may be there in the next, whatever became of it. */
static void clear(void)
{
	while (umount2(MNT, MNT_DETACH) == 0)
		;
	must(chown(MNT, 0, 0));
	segments_remove_all();
	objects_remove_all();
	native_resize(NATIVE_SIZE);
	shell(NULL, 0, "find " TMP " -mindepth 1 -delete");
	show_log();
}

/* Whether the daemon, idle now, lets go of everything and ends well. */
static bool end_daemon(struct fixture *fixture)
{
	if (daemon_is_over(fixture)) {
		print_error("the daemon ended early, with status %d\n", daemon_wait(fixture));
		return false;
	}
	unsigned objects, held;
	/* Not counted once more: the daemon opens files of /proc now and then for an instant. */
	eventually((objects = daemon_holds_objects(fixture)) == 0);
	eventually((held = count_descriptors(fixture, false)) <= fixture->held);
	if (objects > 0)
		print_error("the daemon still holds %u objects\n", objects);
	if (held > fixture->held) {
		char open[4096];
		shell(open, sizeof(open), "ls -l /proc/%d/fd", fixture->daemon);
		print_error("the daemon keeps %u descriptors more:\n%s\n", held - fixture->held,
			    open);
	}
	bool unmounted = unmount(fixture);
	int status = daemon_wait(fixture);
	if (status != 0)
		print_error("the daemon ended with status %d\n", status);
	return objects == 0 && held <= fixture->held && unmounted && status == 0;
}

int fixture_end(void **state)
{
	struct fixture *fixture = *state;

	become(&ROOT);
	closefrom(fixture->first_fd);
	restore_limits(fixture);
	bool clean = !fixture->daemon || end_daemon(fixture);
	clear();
	free(fixture);
	return clean ? 0 : -1;
}
