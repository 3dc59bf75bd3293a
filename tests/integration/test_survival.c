/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a segment outlive whatever comes in between: a resize whose
 * processes are killed, limits that are reached half way, a daemon that ends,
 * and other segments that come to have the same number.
 */
#include "harness.h"

#include "engine.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096, MIB = 1 << 20 };

#define SEGMENT MNT "/3148"

/* --- killed in the middle of a resize --- */

enum { LARGE = 64 * MIB, ROUNDS = 8 };

static char *large; /* the content, in memory of our own */

static int large_begin(void **state)
{
	large = malloc(LARGE);
	if (!large)
		return -1;
	pattern_fill(large, LARGE, 1);
	return 0;
}

static int large_end(void **state)
{
	free(large);
	return 0;
}

static int enlarge(int number)
{
	return truncate(SEGMENT, LARGE + MIB) == 0 ? 0 : errno;
}

static bool is_replacer(pid_t pid)
{
	char path[64], name[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	ssize_t count = read(fd, name, sizeof(name) - 1);
	close(fd);
	return count > 0 && strcmp(name, "shmfs-replace\n") == 0;
}

/* The process that replaces a segment, 0 while there is none. */
static pid_t find_replacer(void)
{
	pid_t found = 0;
	DIR *processes = opendir("/proc");
	assert_non_null(processes);
	for (struct dirent *entry; !found && (entry = readdir(processes));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid > 0 && is_replacer(pid))
			found = pid;
	}
	closedir(processes);
	return found;
}

/*
 * An orphan, the replacer is ours; unless it was done and waited for before the
 * daemon was killed.
 */
static bool is_over(pid_t replacer)
{
	return waitpid(replacer, NULL, WNOHANG) != 0;
}

/*
 * Have a child enlarge segment `id`, and wait a part of the time that this
 * takes, a larger one in each round.  Returns the replacer.
 */
static pid_t begin_enlarging(int id, int round, pid_t *child)
{
	pid_t replacer = 0;
	*child = child_start(enlarge, 0);
	assert_true(eventually((replacer = find_replacer()) != 0));
	/* The first rounds end it as early as can be, the others while it copies. */
	if (round > 1)
		assert_true(eventually(segment_find(KEY) != id));
	usleep((unsigned)(rand() % (round * 2000 + 1)));
	return replacer;
}

/* A full segment, with an attribute of its own: the id. */
static int make_large(void)
{
	int id = segment_create(KEY, LARGE, 0640);
	segment_put(id, 0, large, LARGE);
	must(setxattr(SEGMENT, "user.note", "payroll", 7, 0));
	return id;
}

static void assert_attribute_is_there(void)
{
	char value[8] = "";
	must(getxattr(SEGMENT, "user.note", value, sizeof(value)));
	assert_string_equal(value, "payroll");
}

static void assert_all_is_there(void)
{
	int id = segment_find(KEY);
	assert_int_not_equal(id, -1);
	assert_true(segment_has(id, 0, large, LARGE));
	assert_int_equal(segment_stat(id).shm_perm.mode & 0777, 0640);
}

static void the_replacer_may_be_killed(void **state)
{
	int failed = 0;
	for (int round = 0; round < ROUNDS; round++) {
		pid_t child;
		int id = make_large(), status;
		pid_t replacer = begin_enlarging(id, round, &child);
		kill(replacer, SIGKILL);
		must(waitpid(child, &status, 0));
		assert_true(exit_status(status) == 0 || exit_status(status) == EIO);
		failed += exit_status(status) != 0;
		assert_all_is_there();
		assert_attribute_is_there();
		id = segment_find(KEY);
		assert_int_equal(segment_stat(id).shm_segsz,
				 exit_status(status) == 0 ? LARGE + MIB : LARGE);
		/* The rest of what was begun is gone as well. */
		assert_int_equal(segments_count(), 1);
		assert_int_equal(segment_stat(id).shm_nattch, 0);
		must(unlink(SEGMENT));
	}
	assert_true(failed > 0); /* or none was killed in time */
}

static void the_daemon_may_be_killed(void **state)
{
	struct fixture *fixture = *state;
	for (int round = 0; round < ROUNDS; round++) {
		pid_t child;
		int id = make_large();
		pid_t replacer = begin_enlarging(id, round, &child);
		kill(fixture->daemon, SIGKILL);
		assert_int_equal(daemon_wait(fixture), 128 + SIGKILL);
		assert_true(eventually(is_over(replacer)));
		children_join(&child, 1);
		assert_all_is_there();
		assert_int_equal(segments_count(), 1);
		must(umount2(MNT, MNT_DETACH));
		daemon_start(fixture, NULL);
		assert_attribute_is_there();
		segment_remove(segment_find(KEY));
	}
}

/* --- limits --- */

struct locking {
	pid_t daemon;
	rlim_t limit; /* of what it may lock */
};

static int resize_locked(void *arg)
{
	const struct locking *locking = arg;
	struct rlimit both;
	child_must(prlimit(locking->daemon, RLIMIT_MEMLOCK, NULL, &both) == 0);
	both.rlim_cur = locking->limit;
	child_must(prlimit(locking->daemon, RLIMIT_MEMLOCK, &both, NULL) == 0);

	char bytes[2 * PAGE];
	int id = segment_find(KEY);
	pattern_fill(bytes, sizeof(bytes), 2);
	for (int pages = 3; pages <= 64; pages *= 2) {
		bool done = truncate(SEGMENT, pages * PAGE) == 0;
		child_must(done || errno == ENOMEM || errno == EPERM);
		id = segment_find(KEY);
		child_must(id != -1);
		child_must(segment_has(id, 0, bytes, sizeof(bytes)));
		child_must(segments_count() == 1);
		/* As many pages as asked for, or as many as before: never fewer. */
		child_must(segment_stat(id).shm_segsz >= sizeof(bytes));
		child_must(!done || segment_stat(id).shm_segsz == (size_t)pages * PAGE);
	}
	return 0;
}

static void a_locked_segment_is_not_lost_for_want_of_a_lock(void **state)
{
	const struct fixture *fixture = *state;
	const rlim_t limits[] = { 4UL * PAGE, 2UL * PAGE, PAGE, 0 };
	char bytes[2 * PAGE];
	pattern_fill(bytes, sizeof(bytes), 2);
	for (size_t i = 0; i < array_size(limits); i++) {
		become(&NOBODY);
		int id = segment_create(KEY, sizeof(bytes), 0600);
		segment_put(id, 0, bytes, sizeof(bytes));
		become(&ROOT);
		must(shmctl(id, SHM_LOCK, NULL));
		struct locking locking = { fixture->daemon, limits[i] };
		assert_int_equal(run_as(&NOBODY, resize_locked, &locking), 0);
		segment_remove(segment_find(KEY));
	}
}

static void limit_descriptors(const struct fixture *fixture, rlim_t limit)
{
	struct rlimit both;
	must(prlimit(fixture->daemon, RLIMIT_NOFILE, NULL, &both));
	both.rlim_cur = limit;
	must(prlimit(fixture->daemon, RLIMIT_NOFILE, &both, NULL));
}

/* One limit after the other, so that it is reached at every step of a resize. */
static void descriptors_may_run_out_at_any_step(void **state)
{
	const struct fixture *fixture = *state;
	char bytes[2 * PAGE];
	size_t size = sizeof(bytes);
	int failed = 0, id = segment_create(KEY, size, 0600);
	struct rlimit before;
	pattern_fill(bytes, sizeof(bytes), 3);
	segment_put(id, 0, bytes, sizeof(bytes));
	must(prlimit(fixture->daemon, RLIMIT_NOFILE, NULL, &before));
	for (int opened = 0; opened < 2; opened++) {
		int fd = opened ? must(open(SEGMENT, O_WRONLY)) : -1;
		for (rlim_t limit = 4; limit < 32; limit++) {
			limit_descriptors(fixture, limit);
			bool done = (opened ? ftruncate(fd, (off_t)size + PAGE) :
					      truncate(SEGMENT, (off_t)size + PAGE)) == 0;
			assert_true(done || errno == EMFILE);
			size += done ? PAGE : 0;
			failed += !done;
			id = segment_find(KEY);
			assert_int_not_equal(id, -1);
			assert_int_equal(segment_stat(id).shm_segsz, size);
			assert_true(segment_has(id, 0, bytes, sizeof(bytes)));
			assert_int_equal(segments_count(), 1);
		}
		limit_descriptors(fixture, before.rlim_cur);
		close(fd);
	}
	assert_true(failed > 0);
	must(truncate(SEGMENT, PAGE));
	assert_true(segment_has(segment_find(KEY), 0, bytes, PAGE));
}

/* --- the same number again --- */

static int make_another(int size)
{
	int id = shmget(KEY, (size_t)size, IPC_CREAT | IPC_EXCL | 0600);
	char *memory = id == -1 ? (char *)-1 : shmat(id, NULL, 0);
	child_must(memory != (char *)-1);
	memcpy(memory, "new", 3);
	return 0;
}

/*
 * The kernel counts to the same shmid again after some ten thousand segments,
 * or when it is told to.
 */
static void a_number_used_again_is_another_segment(void **state)
{
	/* Another size, or the same from another process. */
	const int sizes[] = { 2 * PAGE, PAGE / 2, PAGE };
	for (size_t i = 0; i < array_size(sizes); i++) {
		struct stat data;
		char seen[4] = "";
		int id = segment_create(KEY, PAGE, 0600);
		segment_put(id, 0, "old", 3);
		int old = must(open(SEGMENT, O_RDWR));
		segment_remove(id);
		limit_set("shm_next_id", (unsigned long long)id);
		pid_t child = child_start(make_another, sizes[i]);
		assert_int_equal(children_join(&child, 1), 0);
		assert_int_equal(segment_find(KEY), id);

		assert_true(file_has(SEGMENT, 0, "new", 3));
		assert_int_equal(file_stat(SEGMENT).st_size, sizes[i]);
		must(fstat(old, &data));
		assert_int_equal(data.st_size, PAGE);
		assert_int_equal(pread(old, seen, 3, 0), 3);
		assert_string_equal(seen, "old");
		assert_int_equal(pwrite(old, "OLD", 3, 0), 3);
		/* Whoever may have it mapped keeps the size. */
		assert_int_equal(ftruncate(old, PAGE * 4), engine_is_passthrough() ? -1 : 0);
		close(old);
		assert_true(file_has(SEGMENT, 0, "new", 3));
		assert_true(segment_has(id, 0, "new", 3));
		assert_int_equal(segment_stat(id).shm_segsz, sizes[i]);
		segment_remove(id);
	}
}

/* --- growing segments --- */

static char grown[100000];

/* Close a file that grew while this process has its segment attached.  Returns the id. */
static int close_attached(char **memory)
{
	pattern_fill(grown, sizeof(grown), 4);
	int fd = must(open(SEGMENT, O_CREAT | O_RDWR, 0600));
	assert_int_equal(write(fd, grown, sizeof(grown)), sizeof(grown));
	int id = segment_find(KEY);
	*memory = segment_attach(id);
	must(close(fd));
	assert_true(segment_stat(id).shm_segsz > sizeof(grown));
	return id;
}

static void what_could_not_be_cut_stays_as_it_is(void **state)
{
	char *memory;
	int id = close_attached(&memory);
	size_t size = segment_stat(id).shm_segsz;
	/* The process that is attached may use all of it. */
	memory[size - 1] = 'e';
	assert_true(eventually(daemon_holds_objects(*state) == 0));
	assert_int_equal(segment_stat(id).shm_segsz, size);
	segment_detach(memory);
	assert_true(eventually(file_stat(SEGMENT).st_size == (off_t)size));

	const int ways[] = { O_RDONLY, O_WRONLY, O_RDWR };
	for (size_t i = 0; i < array_size(ways); i++) {
		close(must(open(SEGMENT, ways[i])));
		file_write(SEGMENT, 0, grown, 10);
		assert_int_equal(segment_find(KEY), id);
		assert_int_equal(segment_stat(id).shm_segsz, size);
		assert_true(segment_has(id, 0, grown, sizeof(grown)));
		assert_true(segment_has(id, size - 1, "e", 1));
	}
}

/* Nobody uses the room behind the end: it goes with who was attached. */
static void what_could_not_be_cut_is_cut_later(void **state)
{
	char *memory;
	close_attached(&memory);
	assert_int_equal(file_stat(SEGMENT).st_size, sizeof(grown));
	segment_detach(memory);
	assert_true(eventually(segment_is_complete(KEY, sizeof(grown))));
	assert_true(segment_has(segment_find(KEY), 0, grown, sizeof(grown)));
}

enum { SHRINKS = 300 };

static int shrink_again_and_again(void *arg)
{
	for (int i = 0; i < SHRINKS; i++) {
		int fd = open(SEGMENT, O_CREAT | O_RDWR, 0600);
		child_must(pwrite(fd, grown, sizeof(grown), 0) == sizeof(grown));
		child_must(ftruncate(fd, PAGE) == 0);
		child_must(close(fd) == 0);
	}
	return 0;
}

#define STOP TMP "/stop"

static int read_until_stopped(void *arg)
{
	char seen[sizeof(grown)];
	int fd = open(SEGMENT, O_RDONLY);
	child_must(fd != -1);
	while (access(STOP, F_OK) == -1)
		child_must(pread(fd, seen, sizeof(seen), 0) >= PAGE);
	return close(fd);
}

/* A reader between two sizes reads no further than there is memory. */
static void a_reader_survives_that_it_shrinks(void **state)
{
#ifdef __SANITIZE_THREAD__
	print_message("skipped: ThreadSanitizer sees the two race for the bytes\n");
	skip();
#endif
	become(&NOBODY);
	segment_create(KEY, PAGE, 0600);
	become(&ROOT);
	pid_t reader = must(fork());
	if (reader == 0)
		_exit(run_as(&NOBODY, read_until_stopped, NULL));
	int shrunk = run_as(&NOBODY, shrink_again_and_again, NULL);
	file_write(STOP, O_CREAT, "", 0);
	assert_int_equal(children_join(&reader, 1), 0);
	assert_int_equal(shrunk, 0);
}

static int shared_fd;

static int write_part(int number)
{
	char *part = malloc(MIB);
	child_must(part);
	pattern_fill(part, MIB, (unsigned)number);
	child_must(write(shared_fd, part, MIB) == MIB);
	child_must(close(shared_fd) == 0);
	free(part);
	return 0;
}

/* How often writing `parts` parts has the whole segment copied. */
static int write_in_parts(int parts)
{
	int copies = 0, last = -1;
	char *part = malloc(MIB);
	assert_non_null(part);
	shared_fd = must(open(SEGMENT, O_CREAT | O_EXCL | O_WRONLY, 0600));
	for (int i = 0; i < parts; i++) {
		pid_t child = child_start(write_part, i);
		assert_int_equal(children_join(&child, 1), 0);
		copies += segment_find(KEY) != last;
		last = segment_find(KEY);
	}
	must(close(shared_fd));
	int id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, parts * MIB);
	for (int i = 0; i < parts; i++) {
		pattern_fill(part, MIB, (unsigned)i);
		assert_true(segment_has(id, (size_t)i * MIB, part, MIB));
	}
	free(part);
	must(unlink(SEGMENT));
	return copies;
}

/* As a shell does it whose commands share one redirection. */
static void a_close_of_many_does_not_copy_all(void **state)
{
	assert_in_range(write_in_parts(32), 1, 7); /* it doubles */
	assert_in_range(write_in_parts(64), 1, 8);
}

static void the_daemons_end_cuts_what_grew(void **state)
{
	struct fixture *fixture = *state;
	const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	char bytes[10000];
	pattern_fill(bytes, sizeof(bytes), 5);
	for (size_t i = 0; i < array_size(signals); i++) {
		int fd = must(open(SEGMENT, O_CREAT | O_EXCL | O_WRONLY, 0600));
		DIR *directory = opendir(MNT);
		assert_non_null(directory);
		assert_non_null(readdir(directory));
		assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
		assert_true(segment_stat(segment_find(KEY)).shm_segsz > sizeof(bytes));
		kill(fixture->daemon, signals[i]);
		assert_int_equal(daemon_wait(fixture), 0);
		assert_false(daemon_is_mounted());
		int id = segment_find(KEY);
		assert_int_equal(segment_stat(id).shm_segsz, sizeof(bytes));
		assert_true(segment_has(id, 0, bytes, sizeof(bytes)));
		assert_int_equal(segment_stat(id).shm_nattch, 0);
		closedir(directory);
		close(fd);
		segment_remove(id);
		daemon_start(fixture, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(the_replacer_may_be_killed),
		mounted(the_daemon_may_be_killed),
		mounted_by_user(a_locked_segment_is_not_lost_for_want_of_a_lock),
		mounted(descriptors_may_run_out_at_any_step),
		mounted(a_number_used_again_is_another_segment),
		mounted(what_could_not_be_cut_stays_as_it_is),
		mounted(what_could_not_be_cut_is_cut_later),
		mounted_by_user(a_reader_survives_that_it_shrinks),
		mounted(a_close_of_many_does_not_copy_all),
		mounted(the_daemons_end_cuts_what_grew),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, large_begin, large_end);
}
