/* SPDX-License-Identifier: MIT */
/*
 * mmap(2) of a file: the very pages that every other process attaches, with
 * whatever becomes of name, segment, mount and daemon.  Where there is no
 * passthrough there are no shared mappings, and test_passthrough.c says so.
 */
#include "harness.h"

#include "engine.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 4 * PAGE };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

/* What two processes say to each other in the shared memory. */
struct board {
	atomic_int present; /* the native side has it attached */
	atomic_int question;
	atomic_int answer;
	atomic_int counter;
	atomic_int turn;
};

enum kind { SYSV, POSIX, KINDS };

static const char *const paths[KINDS] = { SEGMENT, OBJECT };
static int segment = -1; /* its id */

static void make(enum kind kind)
{
	if (kind == SYSV)
		segment = segment_create(KEY, SIZE, 0600);
	else
		object_create("frames", SIZE);
}

static struct board *map_file(const char *path)
{
	int fd = must(open(path, O_RDWR));
	void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (memory == MAP_FAILED)
		fail_msg("mmap %s: %s", path, strerror(errno));
	return memory;
}

/* For a child: as every other program reaches it.  NULL on failure. */
static struct board *attach(enum kind kind)
{
	void *memory;
	if (kind == SYSV) {
		memory = shmat(segment, NULL, 0);
		return memory == (void *)-1 ? NULL : memory;
	}
	int fd = shm_open("/frames", O_RDWR, 0);
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return memory == MAP_FAILED ? NULL : memory;
}

/* --- stores, both ways --- */

static int answer(int kind)
{
	struct board *board = attach((enum kind)kind);
	child_must(board);
	board->present = 1;
	child_must(eventually(board->question == 42));
	board->answer = 43;
	return 0;
}

typedef void event_fn(struct fixture *fixture, enum kind kind);

/* Map a file, let something happen, and see whether both sides still meet in it. */
static void meet(struct fixture *fixture, enum kind kind, event_fn *event)
{
	make(kind);
	struct board *board = map_file(paths[kind]);
	pid_t partner = child_start(answer, (int)kind);
	assert_true(eventually(board->present == 1));
	if (event)
		event(fixture, kind);
	board->question = 42;
	bool answered = eventually(board->answer == 43);
	assert_int_equal(children_join(&partner, 1), 0);
	assert_true(answered);
	munmap(board, SIZE);
}

static void stores_are_seen_both_ways(void **state)
{
	for (enum kind kind = 0; kind < KINDS; kind++)
		meet(*state, kind, NULL);
}

static void unlink_file(struct fixture *fixture, enum kind kind)
{
	must(unlink(paths[kind]));
	assert_false(file_exists(paths[kind]));
}

static void stores_are_seen_in_an_unlinked_file(void **state)
{
	for (enum kind kind = 0; kind < KINDS; kind++)
		meet(*state, kind, unlink_file);
}

static void destroy(struct fixture *fixture, enum kind kind)
{
	if (kind == SYSV)
		segment_remove(segment);
	else
		must(shm_unlink("/frames"));
}

static void stores_are_seen_in_what_others_removed(void **state)
{
	for (enum kind kind = 0; kind < KINDS; kind++)
		meet(*state, kind, destroy);
}

static void unmount_lazily(struct fixture *fixture, enum kind kind)
{
	assert_int_equal(shell(NULL, 0, "umount -l " MNT), 0);
	assert_false(daemon_is_mounted());
}

static void a_mapping_outlives_the_mount(void **state)
{
	struct fixture *fixture = *state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		meet(fixture, kind, unmount_lazily);
		assert_int_equal(daemon_wait(fixture), 0);
		daemon_start(fixture, NULL);
	}
}

static void terminate(struct fixture *fixture, enum kind kind)
{
	must(kill(fixture->daemon, SIGTERM));
	assert_int_equal(daemon_wait(fixture), 0);
}

static void a_mapping_outlives_the_end_of_the_daemon(void **state)
{
	struct fixture *fixture = *state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		meet(fixture, kind, terminate);
		daemon_start(fixture, NULL);
	}
}

static void kill_daemon(struct fixture *fixture, enum kind kind)
{
	must(kill(fixture->daemon, SIGKILL));
	assert_int_equal(daemon_wait(fixture), 128 + SIGKILL);
}

static void a_mapping_outlives_a_killed_daemon(void **state)
{
	struct fixture *fixture = *state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		meet(fixture, kind, kill_daemon);
		must(umount2(MNT, MNT_DETACH));
		daemon_start(fixture, NULL);
	}
}

static void a_segment_marked_for_destruction_is_mapped_by_id(void **state)
{
	char path[64];
	make(SYSV);
	pid_t partner = child_start(answer, SYSV);
	assert_true(eventually(segment_stat(segment).shm_nattch == 1));
	segment_remove(segment);
	snprintf(path, sizeof(path), MNT "/.by-id/%d", segment);
	struct board *board = map_file(path);
	board->question = 42;
	assert_true(eventually(board->answer == 43));
	assert_int_equal(children_join(&partner, 1), 0);
	/* The last attachment is gone, and with it the segment; not these pages. */
	must_fail(EINVAL, shmctl(segment, IPC_STAT, &(struct shmid_ds){ 0 }));
	assert_int_equal(board->answer, 43);
	munmap(board, SIZE);
}

static void pages_stay_while_they_are_mapped(void **state)
{
	char bytes[SIZE];
	pattern_fill(bytes, SIZE, 3);
	for (enum kind kind = 0; kind < KINDS; kind++) {
		make(kind);
		file_write(paths[kind], 0, bytes, SIZE);
		void *memory = map_file(paths[kind]);
		must(unlink(paths[kind]));
		assert_memory_equal(memory, bytes, SIZE);
		munmap(memory, SIZE);
	}
	assert_int_equal(segments_count(), 0);
}

static void the_open_mode_is_the_mappings(void **state)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		make(kind);
		int fd = must(open(paths[kind], O_RDONLY));
		void *memory = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(memory, MAP_FAILED);
		must_fail(EACCES, mprotect(memory, SIZE, PROT_READ | PROT_WRITE));
		munmap(memory, SIZE);
		memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_equal(memory, MAP_FAILED);
		assert_int_equal(errno, EACCES);
		close(fd);
	}
}

static void a_private_mapping_is_a_copy(void **state)
{
	make(SYSV);
	segment_put(segment, 0, "shared", 6);
	int fd = must(open(SEGMENT, O_RDONLY));
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_memory_equal(memory, "shared", 6);
	memcpy(memory, "mine  ", 6);
	assert_true(segment_has(segment, 0, "shared", 6));
	munmap(memory, SIZE);
}

/* --- synchronizing --- */

enum { TURNS = 2000, COUNTS = 200000 };

/* Sleep until it is `turn`; false when nobody wakes us in time. */
static bool await(atomic_int *word, int turn)
{
	const struct timespec limit = { .tv_sec = 5 };
	int now;

	while ((now = *word) != turn) {
		if (syscall(SYS_futex, word, FUTEX_WAIT, now, &limit, NULL, 0) == -1 &&
		    errno == ETIMEDOUT)
			return false;
	}
	return true;
}

static void pass(atomic_int *word, int turn)
{
	*word = turn;
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static int take_turns(int kind)
{
	struct board *board = attach((enum kind)kind);
	child_must(board);
	for (int turn = 1; turn < TURNS; turn += 2) {
		child_must(await(&board->turn, turn));
		pass(&board->turn, turn + 1);
	}
	return 0;
}

static void a_futex_wakes_across(void **state)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		make(kind);
		struct board *board = map_file(paths[kind]);
		pid_t partner = child_start(take_turns, (int)kind);
		bool woken = true;
		for (int turn = 1; woken && turn < TURNS; turn += 2) {
			pass(&board->turn, turn);
			woken = await(&board->turn, turn + 1);
		}
		assert_int_equal(children_join(&partner, 1), 0);
		assert_true(woken);
		munmap(board, SIZE);
	}
}

static int count_up(int kind)
{
	struct board *board = attach((enum kind)kind);
	child_must(board);
	for (int i = 0; i < COUNTS; i++)
		atomic_fetch_add(&board->counter, 1);
	return 0;
}

static void an_atomic_counter_is_exact(void **state)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		make(kind);
		struct board *board = map_file(paths[kind]);
		pid_t partner = child_start(count_up, (int)kind);
		for (int i = 0; i < COUNTS; i++)
			atomic_fetch_add(&board->counter, 1);
		assert_int_equal(children_join(&partner, 1), 0);
		assert_int_equal(board->counter, 2 * COUNTS);
		munmap(board, SIZE);
	}
}

/* --- Python --- */

#define TEXT_AT 64 /* where the script below looks; behind struct board */

static int answer_python(int kind)
{
	char *memory = (char *)attach((enum kind)kind);
	child_must(memory);
	child_must(eventually(memcmp(memory + TEXT_AT, "from python", 11) == 0));
	memcpy(memory + TEXT_AT + 16, "from C", 6);
	return 0;
}

static void python_maps_it_as_any_file(void **state)
{
	char output[1024];
	for (enum kind kind = 0; kind < KINDS; kind++) {
		make(kind);
		pid_t partner = child_start(answer_python, (int)kind);
		int status = shell(output, sizeof(output),
				   "python3 -c '\n"
				   "import mmap, time\n"
				   "with open(\"%s\", \"r+b\") as f:\n"
				   "    m = mmap.mmap(f.fileno(), 0)\n"
				   "assert len(m) == %d, len(m)\n"
				   "m[64:75] = b\"from python\"\n"
				   "m.flush()\n"
				   "end = time.monotonic() + 5\n"
				   "while m[80:86] != b\"from C\":\n"
				   "    assert time.monotonic() < end\n"
				   "with open(\"%s\", \"rb\") as f:\n"
				   "    r = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)\n"
				   "assert r[80:86] == b\"from C\"\n"
				   "assert r.find(b\"python\") == 69\n'",
				   paths[kind], SIZE, paths[kind]);
		if (status != 0)
			print_error("%s", output);
		assert_int_equal(children_join(&partner, 1), 0);
		assert_int_equal(status, 0);
	}
}

/* --- size --- */

static void a_segment_that_is_mapped_keeps_its_size(void **state)
{
	char bytes[SIZE];
	pattern_fill(bytes, SIZE, 5);
	make(SYSV);
	segment_put(segment, 0, bytes, SIZE);
	char *memory = (char *)map_file(SEGMENT); /* no handle, no attachment */
	must_fail(EBUSY, truncate(SEGMENT, 2 * SIZE));
	must_fail(EBUSY, truncate(SEGMENT, PAGE));
	int fd = must(open(SEGMENT, O_WRONLY));
	must_fail(EBUSY, ftruncate(fd, 2 * SIZE));
	must_fail(ENOSPC, pwrite(fd, "x", 1, SIZE));
	close(fd);
	assert_int_equal(segment_find(KEY), segment);
	assert_int_equal(segment_stat(segment).shm_segsz, SIZE);
	assert_true(segment_has(segment, 0, bytes, SIZE));
	assert_int_equal(segments_count(), 1);
	segment_put(segment, 0, "still the same", 14);
	assert_memory_equal(memory, "still the same", 14);
	munmap(memory, SIZE);
	assert_true(eventually(truncate(SEGMENT, 2 * SIZE) == 0));
	assert_true(segment_has(segment_find(KEY), 14, bytes + 14, SIZE - 14));
}

static void a_mapping_of_less_keeps_the_size_too(void **state)
{
	make(SYSV);
	int fd = must(open(SEGMENT, O_RDONLY));
	void *memory = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, SIZE - PAGE);
	assert_ptr_not_equal(memory, MAP_FAILED);
	close(fd);
	must_fail(EBUSY, truncate(SEGMENT, PAGE));
	munmap(memory, PAGE);
	assert_true(eventually(truncate(SEGMENT, PAGE) == 0));
}

/* The handle itself may be what it is mapped through: nobody is waited for. */
static void a_handle_that_may_be_mapped_keeps_the_size(void **state)
{
	struct timespec began, now;
	make(SYSV);
	int fd = must(open(SEGMENT, O_RDWR));
	clock_gettime(CLOCK_MONOTONIC, &began);
	must_fail(EBUSY, ftruncate(fd, 2 * SIZE));
	clock_gettime(CLOCK_MONOTONIC, &now);
	now.tv_sec -= began.tv_sec;
	assert_in_range(now.tv_sec * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000, 0,
			patience(1000));
	close(fd);
	must(truncate(SEGMENT, 2 * SIZE));
}

static int touch_behind_the_end(int kind)
{
	int fd = open(paths[kind], O_RDWR);
	volatile char *memory = mmap(NULL, 2L * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	child_must(memory != MAP_FAILED);
	signal(SIGBUS, SIG_DFL); /* cmocka's would go on with the test, here */
	memory[SIZE] = 'x';
	return 0;
}

static void behind_the_end_there_is_no_page(void **state)
{
	int status;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		make(kind);
		must(waitpid(child_start(touch_behind_the_end, (int)kind), &status, 0));
		assert_int_equal(exit_status(status), 128 + SIGBUS);
	}
	assert_int_equal(segment_stat(segment).shm_segsz, SIZE);
	assert_int_equal(object_stat("frames").st_size, SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(stores_are_seen_both_ways),
		mounted(stores_are_seen_in_an_unlinked_file),
		mounted(stores_are_seen_in_what_others_removed),
		mounted(a_mapping_outlives_the_mount),
		mounted(a_mapping_outlives_the_end_of_the_daemon),
		mounted(a_mapping_outlives_a_killed_daemon),
		mounted(a_segment_marked_for_destruction_is_mapped_by_id),
		mounted(pages_stay_while_they_are_mapped),
		mounted(the_open_mode_is_the_mappings),
		mounted(a_private_mapping_is_a_copy),
		mounted(a_futex_wakes_across),
		mounted(an_atomic_counter_is_exact),
		mounted(python_maps_it_as_any_file),
		mounted(a_segment_that_is_mapped_keeps_its_size),
		mounted(a_mapping_of_less_keeps_the_size_too),
		mounted(a_handle_that_may_be_mapped_keeps_the_size),
		mounted(behind_the_end_there_is_no_page),
	};

	harness_enter(SHMFS_BINARY);
	if (!engine_is_passthrough()) {
		puts("skipped: shared mappings need FUSE passthrough (Linux 6.9)");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
