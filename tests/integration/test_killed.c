/* SPDX-License-Identifier: MIT */
/*
 * The daemon killed at any moment, under load: what it acknowledged is there,
 * and nothing is that should not be.
 *
 * The load is children that note, in memory shared with the test, what they
 * are about to do and what was acknowledged.  SHMFS_KILL_ROUNDS is how often.
 */
#include "harness.h"

#include <dirent.h>
#include <stdatomic.h>
#include <sys/mman.h>

#ifdef __SANITIZE_THREAD__
#define THREAD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZED 1
#endif
#endif
#ifndef THREAD_SANITIZED
#define THREAD_SANITIZED 0
#endif

enum { PAGE = 4096, BASE = 10 * PAGE, MOST = 1 << 20, CHUNK = 3000 };
enum { WRITTEN = 3148, RESIZED = 3149 };

static struct ledger {
	atomic_long acknowledged; /* bytes of the file that is being written */
	atomic_bool exists;	  /* it was created */
	atomic_bool closed;	  /* and is exactly so long */
	atomic_bool removing;
	atomic_int object; /* the number of renames that were acknowledged */
} * ledger;

static char content[MOST];

/* What a call says when the daemon has gone under it. */
static bool is_over(void)
{
	return errno == ENOTCONN || errno == ECONNABORTED || errno == ENODEV || errno == EIO;
}

/* In a child: success goes on, the daemon's end is the child's. */
#define step(call) \
	do { \
		if ((call) == -1) { \
			child_must(is_over()); \
			return 0; \
		} \
	} while (0)

static int write_files(int number)
{
	for (;;) {
		int fd = open(MNT "/3148", O_CREAT | O_EXCL | O_WRONLY, 0600);
		step(fd);
		atomic_store(&ledger->exists, true);
		long size = 20000 + rand() % (MOST - 20000);
		for (long done = 0; done < size;) {
			long count = size - done < CHUNK ? size - done : CHUNK;
			ssize_t n = write(fd, content + done, (size_t)count);
			step(n);
			done += n;
			atomic_store(&ledger->acknowledged, done);
		}
		step(close(fd));
		atomic_store(&ledger->closed, true);
		atomic_store(&ledger->removing, true);
		step(unlink(MNT "/3148"));
		atomic_store(&ledger->exists, false);
		atomic_store(&ledger->closed, false);
		atomic_store(&ledger->acknowledged, 0);
		atomic_store(&ledger->removing, false);
	}
}

static int resize_segment(int number)
{
	for (;;)
		step(truncate(MNT "/3149", BASE + rand() % (MOST - BASE)));
}

static int rename_object(int number)
{
	for (int i = 0;; i++) {
		step(rename(i % 2 ? MNT "/b" : MNT "/a", i % 2 ? MNT "/a" : MNT "/b"));
		atomic_store(&ledger->object, i + 1);
	}
}

static int list_all(int number)
{
	for (;;) {
		DIR *directory = opendir(MNT);
		child_must(directory || is_over());
		if (!directory)
			return 0;
		while (readdir(directory))
			;
		closedir(directory);
	}
}

/* What the daemon leaves behind is ours: a replacer, which ends what it began. */
static bool no_process_is_left(void)
{
	return waitpid(-1, NULL, WNOHANG) == -1;
}

static void check_written(void)
{
	int id = segment_find(WRITTEN);
	long acknowledged = atomic_load(&ledger->acknowledged);

	if (id == -1) {
		assert_true(!atomic_load(&ledger->exists) || atomic_load(&ledger->removing));
		return;
	}
	const struct shmid_ds data = segment_stat(id);
	assert_int_equal(data.shm_perm.mode & 0777, 0600);
	if (atomic_load(&ledger->removing) && (long)data.shm_segsz < acknowledged)
		return; /* removed, and the next one made, of which nobody has heard */
	assert_in_range(data.shm_segsz, acknowledged, LONG_MAX);
	if (atomic_load(&ledger->closed) && !atomic_load(&ledger->removing))
		assert_int_equal(data.shm_segsz, acknowledged);
	assert_true(segment_has(id, 0, content, (size_t)acknowledged));
}

static void check_resized(void)
{
	int id = segment_find(RESIZED);
	assert_int_not_equal(id, -1);
	const struct shmid_ds data = segment_stat(id);
	assert_int_equal(data.shm_perm.mode & 0777, 0640);
	assert_true(segment_has(id, 0, content, BASE));
	assert_true(segment_is_zero(id, BASE, data.shm_segsz - BASE));
}

static void check_renamed(void)
{
	bool at_b = atomic_load(&ledger->object) % 2;
	bool a = object_exists("a"), b = object_exists("b");

	assert_int_equal(a + b, 1);
	/* Where the last acknowledged rename put it, or the one that was under way. */
	if (b != at_b)
		print_message("the last rename was done, not answered\n");
	assert_true(object_has(a ? "a" : "b", 0, content, BASE));
}

/* Each of the segments has a key, its mode, and nobody attached. */
static void check_nothing_else(void)
{
	unsigned expected = 1 + (segment_find(WRITTEN) != -1);

	assert_int_equal(segments_count(), expected);
	assert_int_equal(segment_stat(segment_find(RESIZED)).shm_nattch, 0);
}

static void prepare(void)
{
	memset(ledger, 0, sizeof(*ledger));
	segments_remove_all();
	objects_remove_all();
	int id = segment_create(RESIZED, BASE, 0640);
	segment_put(id, 0, content, BASE);
	object_create("a", BASE);
	object_put("a", 0, content, BASE);
}

static int rounds(int fallback)
{
	const char *text = getenv("SHMFS_KILL_ROUNDS");

	return text ? atoi(text) : fallback;
}

static void begin(void **state)
{
	ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert_ptr_not_equal(ledger, MAP_FAILED);
	pattern_fill(content, sizeof(content), 9);
}

static void what_was_acknowledged_outlives_the_daemon(void **state)
{
	struct fixture *fixture = *state;
	int (*const load[])(int) = { write_files, resize_segment, rename_object, list_all };
	pid_t children[array_size(load)];

	/* A thread that is killed keeps the sanitizer's own locks, and a replacer takes some. */
	if (THREAD_SANITIZED)
		skip();
	begin(state);
	for (int round = 0; round < rounds(40); round++) {
		prepare();
		for (size_t i = 0; i < array_size(load); i++)
			children[i] = child_start(load[i], (int)i);
		usleep(2000 + (unsigned)(rand() % 60000));
		kill(fixture->daemon, SIGKILL);
		assert_int_equal(daemon_wait(fixture), 128 + SIGKILL);
		assert_int_equal(children_join(children, array_size(load)), 0);
		assert_true(eventually(no_process_is_left()));
		check_written();
		check_resized();
		check_renamed();
		check_nothing_else();

		/* The next one serves at once what is there. */
		must(umount2(MNT, MNT_DETACH));
		daemon_start(fixture, NULL);
		assert_true(file_has(MNT "/3149", 0, content, BASE));
		must(truncate(MNT "/3149", BASE));
		assert_int_equal(segment_stat(segment_find(RESIZED)).shm_segsz, BASE);
	}
}

/* --- the mount point --- */

static void a_dead_mount_point_is_named(void **state)
{
	struct fixture *fixture = *state;
	char said[512];

	kill(fixture->daemon, SIGKILL);
	assert_int_equal(daemon_wait(fixture), 128 + SIGKILL);
	assert_int_equal(shell(said, sizeof(said), BIN "/shmfs " MNT), 1);
	assert_non_null(strstr(said, "umount"));
	must(umount2(MNT, 0));
	daemon_start(fixture, NULL);
}

/* Not by a walk to it: that would keep it busy for who unmounts it. */
static bool is_unmounted(void)
{
	return shell(NULL, 0, "! grep -q ' " MNT " .* - fuse[.]shmfs ' /proc/self/mountinfo") == 0;
}

static bool is_unmounted_when_killed(struct fixture *fixture)
{
	daemon_start(fixture, "auto_unmount");
	file_write(MNT "/3148", O_CREAT, "served", 6);
	assert_true(segment_has(segment_find(3148), 0, "served", 6));
	kill(fixture->daemon, SIGKILL);
	assert_int_equal(daemon_wait(fixture), 128 + SIGKILL);
	assert_true(eventually(no_process_is_left()));
	return is_unmounted();
}

/*
 * fusermount3 tries once, when the daemon's socket closes, and not lazily: now
 * and then (1 in 40, libfuse 3.14) the mount is still busy at that moment.
 */
static void auto_unmount_leaves_no_dead_mount_point(void **state)
{
	bool done = false;

	if (shell(NULL, 0, "command -v fusermount3 > " TMP "/out") != 0)
		skip();
	for (int i = 0; i < 5 && !done; i++) {
		done = is_unmounted_when_killed(*state);
		if (!done)
			must(umount2(MNT, MNT_DETACH));
	}
	assert_true(done);
	assert_int_equal(directory_count(MNT), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(what_was_acknowledged_outlives_the_daemon),
		mounted(a_dead_mount_point_is_named),
		bare(auto_unmount_leaves_no_dead_mount_point),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
