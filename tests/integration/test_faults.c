/* SPDX-License-Identifier: MIT */
/*
 * Memory that is not there, or not any more, and other ends of what a process
 * may have: an error or a short count for that one call, and the daemon serves
 * on.
 */
#include "harness.h"

#include "engine.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <time.h>

enum { KEY = 3148, PAGE = 4096, MIB = 1 << 20, BULK = 4 * MIB };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static char bytes[BULK];

/* It is there, it makes segments and objects, and reads what others put there. */
static void assert_still_serves(const struct fixture *fixture)
{
	siginfo_t info = { 0 };
	waitid(P_PID, (id_t)fixture->daemon, &info, WEXITED | WNOHANG | WNOWAIT);
	assert_int_equal(info.si_pid, 0);
	file_write(MNT "/3150", O_CREAT | O_EXCL, "served", 6);
	assert_true(segment_has(segment_find(3150), 0, "served", 6));
	segment_put(segment_find(3150), 0, "native", 6);
	assert_true(file_has(MNT "/3150", 0, "native", 6));
	must(unlink(MNT "/3150"));
	file_write(MNT "/probe", O_CREAT | O_EXCL, "served", 6);
	assert_true(object_has("probe", 0, "served", 6));
	must(unlink(MNT "/probe"));
}

/* Write until no more goes, or `count` bytes; the errno of the end in `code`. */
static size_t write_up_to(int fd, size_t count, int *code)
{
	size_t done = 0;

	*code = 0;
	while (done < count) {
		size_t step = count - done < MIB ? count - done : MIB;
		ssize_t n = pwrite(fd, bytes, step, (off_t)done);
		if (n == -1) {
			*code = errno;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

/* --- objects that shrink --- */

static time_t deadline(void)
{
	return time(NULL) + 1;
}

static int shrink(int number)
{
	unsigned seed = (unsigned)number;
	int fd = shm_open("/frames", O_RDWR, 0);
	for (time_t end = deadline(); time(NULL) <= end;) {
		child_must(ftruncate(fd, 0) == 0);
		child_must(ftruncate(fd, rand_r(&seed) % BULK) == 0);
		child_must(ftruncate(fd, BULK) == 0);
	}
	return 0;
}

static int read_on(int number)
{
	int fd = open(OBJECT, O_RDONLY);
	for (time_t end = deadline(); time(NULL) <= end;) {
		ssize_t count = pread(fd, bytes, BULK, 0);
		child_must(count >= 0);
		for (ssize_t i = 0; i < count; i += PAGE)
			child_must(bytes[i] == 0 || bytes[i] == 'w');
	}
	return 0;
}

static int write_on(int number)
{
	int fd = open(OBJECT, O_RDWR);
	memset(bytes, 'w', BULK);
	for (time_t end = deadline(); time(NULL) <= end;)
		child_must(pwrite(fd, bytes, BULK, 0) > 0);
	return 0;
}

/* Within the mount, where the daemon itself moves the bytes. */
static int copy_on(int number)
{
	int from = open(OBJECT, O_RDONLY);
	for (time_t end = deadline(); time(NULL) <= end;) {
		off_t in = 0, out = 0;
		int to = open(SEGMENT, O_CREAT | O_TRUNC | O_RDWR, 0600);
		child_must(copy_file_range(from, &in, to, &out, BULK, 0) >= 0);
		child_must(close(to) == 0);
	}
	return 0;
}

static void an_object_may_shrink_under_every_call(void **state)
{
	static int (*const parts[])(int) = { shrink, read_on, write_on, copy_on };
	pid_t children[array_size(parts)];
	object_create("frames", BULK);
	for (size_t i = 0; i < array_size(parts); i++)
		children[i] = child_start(parts[i], (int)i);
	assert_int_equal(children_join(children, array_size(parts)), 0);
	assert_still_serves(*state);
}

/* --- a full /dev/shm --- */

static void a_full_tmpfs_takes_what_fits(void **state)
{
	int code;
	native_resize("1M");
	int fd = must(open(OBJECT, O_CREAT | O_RDWR, 0600));
	assert_int_equal(write_up_to(fd, BULK, &code), MIB);
	assert_int_equal(code, ENOSPC);
	must_fail(ENOSPC, fallocate(fd, 0, 0, BULK));
	assert_int_equal(object_stat("frames").st_size, MIB);
	must(ftruncate(fd, 0));
	assert_still_serves(*state);
	/* A hole is no memory yet. */
	must(ftruncate(fd, BULK));
	assert_int_equal(pwrite(fd, bytes, PAGE, BULK - PAGE), PAGE);
	assert_int_equal(pread(fd, bytes, BULK, 0), BULK);
	close(fd);
	must(unlink(OBJECT));
	assert_still_serves(*state);
}

static void a_full_tmpfs_ends_a_copy(void **state)
{
	off_t at = 0;
	ssize_t count;
	memset(bytes, 'c', BULK);
	segment_put(segment_create(KEY, BULK, 0600), 0, bytes, BULK);
	native_resize("1M");
	int from = must(open(SEGMENT, O_RDONLY));
	int to = must(open(OBJECT, O_CREAT | O_RDWR, 0600));
	while ((count = copy_file_range(from, &at, to, NULL, BULK, 0)) > 0)
		;
	assert_int_equal(count, -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(at, MIB);
	close(to);
	assert_true(object_has("frames", 0, bytes, MIB));
	must(unlink(OBJECT));
	assert_still_serves(*state);
}

static int store_in_hole(int number)
{
	int fd = open(OBJECT, O_RDWR);
	char *memory = mmap(NULL, BULK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	child_must(memory != MAP_FAILED);
	signal(SIGBUS, SIG_DFL); /* cmocka's would go on with the test, here */
	memset(memory, 1, BULK);
	return 0;
}

static void a_full_tmpfs_ends_who_stores_in_a_mapping(void **state)
{
	int status;
	if (!engine_is_passthrough())
		return; /* nothing is mapped then */
	native_resize("1M");
	object_create("frames", BULK);
	must(waitpid(child_start(store_in_hole, 0), &status, 0));
	assert_int_equal(exit_status(status), 128 + SIGBUS);
	must(unlink(OBJECT));
	assert_still_serves(*state);
}

/* --- a memory limit --- */

#define CONTROLLER "/sys/fs/cgroup/memory"

static char group[PATH_MAX]; /* the control group, or empty */

static bool group_write(const char *file, const char *format, long long value)
{
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/%s", group, file);
	FILE *control = group[0] ? fopen(path, "we") : NULL;
	if (!control)
		return false;
	fprintf(control, format, value);
	return fclose(control) == 0;
}

/* A child of the group that we are in, with a limit at which nothing is killed. */
static bool group_make(pid_t member, long long limit)
{
	char line[PATH_MAX];
	struct stat namespace; /* its number is this run's alone */
	FILE *own = fopen("/proc/self/cgroup", "re");
	must(stat("/proc/self/ns/pid", &namespace));
	if (!own)
		return false;
	while (fgets(line, sizeof(line), own)) {
		char *path = strstr(line, ":memory:");
		line[strcspn(line, "\n")] = '\0';
		if (path)
			snprintf(group, sizeof(group), CONTROLLER "%s/shmfs-test-%ju", path + 8,
				 (uintmax_t) namespace.st_ino);
	}
	fclose(own);
	if (!group[0] || mkdir(group, 0755) == -1) {
		group[0] = '\0';
		return false;
	}
	return group_write("memory.oom_control", "%lld", 1) &&
	       group_write("memory.limit_in_bytes", "%lld", limit) &&
	       group_write("cgroup.procs", "%lld", member);
}

static int group_remove(void **state)
{
	group_write("memory.limit_in_bytes", "%lld", -1);
	int result = fixture_end(state);
	if (group[0] && !eventually(rmdir(group) == 0))
		print_error("%s stays: %s\n", group, strerror(errno));
	group[0] = '\0';
	return result;
}

static void a_memory_limit_ends_a_write(void **state)
{
	struct fixture *fixture = *state;
	int code;
	if (SANITIZED) {
		print_message("skipped: a sanitizer takes fresh memory for each request, "
			      "and at the limit waits for it\n");
		skip();
	}
	if (!group_make(fixture->daemon, 16L * MIB)) {
		print_message("skipped: no memory controller of cgroup v1 that makes groups\n");
		skip();
	}
	int fd = must(open(SEGMENT, O_CREAT | O_WRONLY, 0600));
	size_t done = write_up_to(fd, 32UL * MIB, &code);
	/* Room, for whatever else it needs memory for. */
	assert_true(group_write("memory.limit_in_bytes", "%lld", 64L * MIB));
	assert_in_range(done, MIB, 16L * MIB);
	assert_true(code == ENOMEM || code == ENOSPC);
	assert_int_equal(pwrite(fd, "more", 4, (off_t)done), 4);
	close(fd);
	int id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, done + 4);
	assert_true(segment_has(id, 0, bytes, MIB));
	assert_true(segment_has(id, done, "more", 4));
	must(unlink(SEGMENT));
	assert_still_serves(fixture);
}

/* A segment that others have filled can be larger than what the daemon may have. */
static void a_memory_limit_loses_no_segment(void **state)
{
	struct fixture *fixture = *state;
	int id = segment_create(KEY, 32UL * MIB, 0640);
	if (SANITIZED) {
		print_message("skipped: a sanitizer has memory of its own\n");
		skip();
	}
	for (size_t i = 0; i < 32; i++)
		segment_put(id, i * MIB, bytes, MIB);
	if (!group_make(fixture->daemon, 16L * MIB)) {
		print_message("skipped: no memory controller of cgroup v1 that makes groups\n");
		skip();
	}
	assert_true(group_write("memory.oom_control", "%lld", 0)); /* it kills */
	must_fail(ENOMEM, truncate(SEGMENT, 34L * MIB));
	int fd = must(open(SEGMENT, O_WRONLY));
	must_fail(ENOMEM, ftruncate(fd, 34L * MIB));
	close(fd);
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_stat(id).shm_perm.mode, 0640);
	for (size_t i = 0; i < 32; i++)
		assert_true(segment_has(id, i * MIB, bytes, MIB));
	assert_int_equal(segments_count(), 1);
	/* With more it is done. */
	assert_true(group_write("memory.limit_in_bytes", "%lld", 96L * MIB));
	must(truncate(SEGMENT, 34L * MIB));
	id = segment_find(KEY);
	for (size_t i = 0; i < 32; i++)
		assert_true(segment_has(id, i * MIB, bytes, MIB));
	must(unlink(SEGMENT));
	assert_still_serves(fixture);
}

/* --- limits of the daemon's and of its callers --- */

static void daemon_limit(const struct fixture *fixture, __rlimit_resource_t resource, rlim_t limit)
{
	struct rlimit both;
	must(prlimit(fixture->daemon, resource, NULL, &both));
	both.rlim_cur = limit;
	must(prlimit(fixture->daemon, resource, &both, NULL));
}

static void a_file_size_limit_of_the_daemon_ends_a_write(void **state)
{
	struct fixture *fixture = *state;
	int code;
	daemon_limit(fixture, RLIMIT_FSIZE, MIB);
	int fd = must(open(SEGMENT, O_CREAT | O_WRONLY, 0600));
	size_t done = write_up_to(fd, BULK, &code);
	assert_true(done == BULK || (done == MIB && code == EFBIG));
	close(fd);
	fd = must(open(OBJECT, O_CREAT | O_RDWR, 0600));
	done = write_up_to(fd, BULK, &code);
	assert_true(done == BULK || (done == MIB && code == EFBIG));
	assert_true(ftruncate(fd, BULK) == 0 || errno == EFBIG);
	close(fd);
	assert_still_serves(fixture);
}

static int write_over_limit(int number)
{
	const struct rlimit limit = { MIB, MIB };
	int code;
	child_must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	signal(SIGXFSZ, SIG_IGN);
	int fd = open(number ? SEGMENT : OBJECT, O_RDWR);
	child_must(fd != -1);
	child_must(write_up_to(fd, BULK, &code) == MIB);
	child_must(code == EFBIG);
	return 0;
}

static void a_file_size_limit_of_the_caller_is_the_callers(void **state)
{
	object_create("frames", 0);
	segment_create(KEY, BULK, 0600);
	for (int number = 0; number < 2; number++) {
		pid_t child = child_start(write_over_limit, number);
		assert_int_equal(children_join(&child, 1), 0);
	}
	assert_int_equal(object_stat("frames").st_size, MIB);
	assert_still_serves(*state);
}

static void a_daemon_without_descriptors_says_so(void **state)
{
	struct fixture *fixture = *state;
	char byte;
	int fds[64];
	size_t count = 0;
	segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	daemon_limit(fixture, RLIMIT_NOFILE, 24);
	while (count < array_size(fds)) {
		/* Different objects: handles of one segment share a descriptor. */
		object_create("x", PAGE);
		int fd = open(MNT "/x", O_RDWR);
		must(shm_unlink("/x"));
		if (fd == -1)
			break;
		fds[count++] = fd;
	}
	assert_true(count > 0 && count < 24);
	assert_int_equal(errno, EMFILE);
	must_fail(EMFILE, open(SEGMENT, O_RDONLY));
	must_fail(EMFILE, open(SEGMENT, O_RDWR));
	must_fail(EMFILE, open(MNT "/3149", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(segment_find(3149), -1);
	must_fail(EMFILE, open(MNT "/new", O_CREAT | O_WRONLY, 0600));
	assert_false(object_exists("new"));
	must_fail(EMFILE, chmod(OBJECT, 0640));
	DIR *directory = opendir(MNT);
	assert_non_null(directory);
	errno = 0;
	assert_null(readdir(directory));
	assert_int_equal(errno, EMFILE);
	closedir(directory);
	assert_true(file_exists(SEGMENT) && file_exists(OBJECT));
	assert_true(truncate(SEGMENT, 2 * PAGE) == 0 || errno == EMFILE);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_nattch, 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(pread(fds[i], &byte, 1, 0), 1);
		close(fds[i]);
	}
	assert_true(eventually(daemon_holds_objects(fixture) == 0));
	assert_still_serves(fixture);
}

/* No thread, no buffer, no attachment: what can be had without still works. */
static void a_daemon_without_address_space_says_so(void **state)
{
	struct fixture *fixture = *state;
	if (SANITIZED) {
		print_message("skipped: a sanitizer ends a program that it cannot map more for\n");
		skip();
	}
	segment_create(KEY, 64 * MIB, 0600);
	object_create("frames", BULK);
	/* Room for requests, and not for the segment. */
	daemon_limit(fixture, RLIMIT_AS,
		     (rlim_t)daemon_status(fixture, "VmSize:") * 1024 + 8 * MIB);
	must_fail(ENOMEM, open(SEGMENT, O_RDONLY));
	must_fail(ENOMEM, open(SEGMENT, O_RDWR | O_TRUNC));
	assert_int_equal(file_stat(SEGMENT).st_size, 64 * MIB);
	int fd = must(open(OBJECT, O_RDWR));
	ssize_t count = pread(fd, bytes, BULK, 0);
	assert_true(count >= 0 || errno == ENOMEM);
	close(fd);
	daemon_limit(fixture, RLIMIT_AS, RLIM_INFINITY);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_nattch, 0);
	assert_still_serves(fixture);
}

/* --- callers that end in the middle --- */

static int move_for_ever(int number)
{
	int fd = open(number % 2 ? OBJECT : SEGMENT, number & 2 ? O_RDWR : O_RDWR | O_TRUNC);
	for (;;) {
		child_must(pwrite(fd, bytes, BULK, 0) >= 0);
		child_must(pread(fd, bytes, BULK, 0) >= 0);
	}
	return 0;
}

static void callers_may_be_killed_in_the_middle(void **state)
{
	struct fixture *fixture = *state;
	pid_t children[4];
	const int id = segment_create(KEY, BULK, 0600);
	object_create("frames", BULK);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 4; i++)
			children[i] = child_start(move_for_ever, i);
		usleep(20000);
		for (int i = 0; i < 4; i++)
			kill(children[i], SIGKILL);
		assert_int_equal(children_join(children, 4), 4);
	}
	assert_true(eventually(daemon_holds_objects(fixture) == 0));
	assert_int_equal(segment_find(KEY), id);
	assert_still_serves(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(an_object_may_shrink_under_every_call),
		mounted(a_full_tmpfs_takes_what_fits),
		mounted(a_full_tmpfs_ends_a_copy),
		mounted(a_full_tmpfs_ends_who_stores_in_a_mapping),
		cmocka_unit_test_setup_teardown(a_memory_limit_ends_a_write, fixture_mount,
						group_remove),
		cmocka_unit_test_setup_teardown(a_memory_limit_loses_no_segment, fixture_mount,
						group_remove),
		mounted(a_file_size_limit_of_the_daemon_ends_a_write),
		mounted(a_file_size_limit_of_the_caller_is_the_callers),
		mounted(a_daemon_without_descriptors_says_so),
		mounted(a_daemon_without_address_space_says_so),
		mounted(callers_may_be_killed_in_the_middle),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
