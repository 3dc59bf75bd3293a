/* SPDX-License-Identifier: MIT */
/* Two mounts of one namespace: what one does to a key is no fault of the other's users. */
#include <time.h>

#include "harness.h"

enum { KEY = 3148, ROUNDS = 150, SIZE = 4 << 20, READING_MS = 300 };

#define SEGMENT MNT "/3148"
#define OTHER STAGE "/other"

static void mount_other(void **state)
{
	must(mkdir(OTHER, 0755));
	assert_int_equal(shell(NULL, 0, BIN "/shmfs " OTHER), 0);
}

static void unmount_other(void)
{
	assert_true(eventually(umount2(OTHER, 0) == 0));
	must(rmdir(OTHER));
}

static int make_segment(void *arg)
{
	char *memory = shmat(shmget(KEY, SIZE, IPC_CREAT | 0600), NULL, 0);
	child_must(memory != (void *)-1);
	memset(memory, 'x', SIZE);
	return shmdt(memory);
}

static int resize_again_and_again(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		(void)!truncate(SEGMENT, SIZE + i);
	return 0;
}

/* How many opens of the owner were refused while the other mount resized. */
static int open_meanwhile(void *arg)
{
	pid_t resizer = *(const pid_t *)arg;
	int refused = 0;
	while (kill(resizer, 0) == 0 || errno == EPERM) {
		int fd = open(OTHER "/3148", O_RDONLY);
		if (fd == -1 && errno == EACCES)
			refused++;
		else
			close(fd);
	}
	return refused > 100 ? 100 : refused;
}

/* What `look`, by the owner, counts while the owner resizes the key through the first mount. */
static int count_while_resizing(int (*look)(void *resizer))
{
	assert_int_equal(run_as(&NOBODY, make_segment, NULL), 0);
	pid_t resizer = must(fork());
	if (resizer == 0)
		_exit(run_as(&NOBODY, resize_again_and_again, NULL));
	pid_t looker = must(fork());
	if (looker == 0)
		_exit(run_as(&NOBODY, look, &resizer));
	int status;
	must(waitpid(resizer, &status, 0));
	must(waitpid(looker, &status, 0));
	return status;
}

static void an_owners_opens_are_not_refused_while_another_mount_resizes(void **state)
{
	mount_other(state);
	int refused = count_while_resizing(open_meanwhile);
	unmount_other();
	assert_int_equal(refused, 0);
}

/* As a replacer would, but for ever. */
static int close_segment(void *arg)
{
	struct shmid_ds ds;
	int id = shmget(KEY, 0, 0);
	child_must(shmctl(id, IPC_STAT, &ds) == 0);
	ds.shm_perm.mode = 0111;
	return shmctl(id, IPC_SET, &ds);
}

static long ms_since(const struct timespec *begin)
{
	struct timespec end;
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (long)(end.tv_sec - begin->tv_sec) * 1000 + (end.tv_nsec - begin->tv_nsec) / 1000000;
}

static void a_user_cannot_keep_others_waiting_by_a_mode(void **state)
{
	struct timespec begin;
	struct stat st;
	assert_int_equal(run_as(&NOBODY, make_segment, NULL), 0);
	assert_int_equal(run_as(&NOBODY, close_segment, NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_int_equal(stat(SEGMENT, &st), 0);
	assert_in_range(ms_since(&begin), 0, patience(500));
	assert_int_equal(st.st_mode & 0777, 0111);
	close(must(open(SEGMENT, O_RDWR)));
	must(truncate(SEGMENT, SIZE / 2));
}

static int look_by_another_spelling(void *arg)
{
	struct stat st;
	return stat(MNT "/0xC4C", &st);
}

/* The owner waits for the end of a replacement.  The kernel holds the directory for a look. */
static void a_user_who_waits_keeps_nobody_waiting(void **state)
{
	struct timespec begin;
	int status;
	assert_int_equal(run_as(&NOBODY, make_segment, NULL), 0);
	assert_int_equal(run_as(&NOBODY, close_segment, NULL), 0);
	pid_t looker = must(fork());
	if (looker == 0)
		_exit(run_as(&NOBODY, look_by_another_spelling, NULL));
	usleep(30000);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	close(must(open(MNT "/new", O_CREAT | O_EXCL | O_RDWR, 0600)));
	assert_in_range(ms_since(&begin), 0, patience(500));
	assert_int_equal(waitpid(looker, &status, WNOHANG), 0);
	must(waitpid(looker, &status, 0));
	assert_int_equal(exit_status(status), 0);
}

static void a_resize_waits_for_a_reader_of_another_mount(void **state)
{
	static const int modes[] = { O_RDONLY, O_RDWR };
	mount_other(state);
	segment_create(KEY, SIZE, 0600);
	for (int i = 0; i < 2; i++) {
		pid_t reader = must(fork());
		if (reader == 0) {
			int fd = open(SEGMENT, modes[i]);
			usleep(READING_MS * 1000);
			_exit(fd == -1);
		}
		usleep(READING_MS / 3 * 1000);
		must(truncate(OTHER "/3148", SIZE + 1 + i));
		/* A served one moves along, but not with another daemon's resize. */
		int status;
		assert_int_equal(waitpid(reader, &status, WNOHANG), reader);
		assert_int_equal(status, 0);
	}
	unmount_other();
}

/* Whoever attaches the segment meanwhile, as other mounts do to open it, ends no wait. */
static void a_resize_waits_for_a_reader_who_attaches_too(void **state)
{
	mount_other(state);
	int id = segment_create(KEY, SIZE, 0600);
	pid_t reader = must(fork());
	if (reader == 0) {
		int fd = open(SEGMENT, O_RDONLY);
		usleep(READING_MS / 2 * 1000);
		const void *memory = shmat(id, NULL, SHM_RDONLY);
		usleep(READING_MS / 6 * 1000);
		shmdt(memory);
		usleep(READING_MS / 3 * 1000);
		_exit(fd == -1);
	}
	usleep(READING_MS / 6 * 1000);
	must(truncate(OTHER "/3148", SIZE + 1));
	must(waitpid(reader, NULL, 0));
	unmount_other();
}

static int resize_beside_a_reader(void *arg)
{
	char byte;
	int reader = open(SEGMENT, O_RDONLY);
	child_must(pread(reader, &byte, 1, SIZE - 1) == 1 && byte == 'x');
	pid_t child = fork();
	if (child == 0) {
		usleep(READING_MS * 1000);
		_exit(0);
	}
	child_must(close(reader) == 0);
	child_must(truncate(OTHER "/3148", SIZE + 1) == 0);
	child_must(waitpid(child, NULL, 0) == child);
	return 0;
}

static int mount_it(void *arg)
{
	return shell(NULL, 0, BIN "/shmfs " OTHER);
}

static void mount_another_of_the_user(void)
{
	must(mkdir(OTHER, 0755));
	must(chown(OTHER, NOBODY.uid, NOBODY.gid));
	assert_int_equal(run_as(&NOBODY, mount_it, NULL), 0);
}

/* Of two ordinary users' mounts each sees attachments of the other. */
static void ordinary_users_mounts_wait_for_each_other(void **state)
{
	mount_another_of_the_user();
	assert_int_equal(run_as(&NOBODY, make_segment, NULL), 0);
	assert_int_equal(run_as(&NOBODY, resize_beside_a_reader, NULL), 0);
	unmount_other();
}

/* No program that reads the key while it is replaced sees the half of it. */
static int read_meanwhile(void *arg)
{
	pid_t resizer = *(const pid_t *)arg;
	int wrong = 0;
	while (kill(resizer, 0) == 0 || errno == EPERM) {
		char byte = 'x';
		int fd = open(OTHER "/3148", O_RDONLY);
		if (fd == -1 ? errno != ENOENT : pread(fd, &byte, 1, SIZE - 1) != 1 || byte != 'x')
			wrong++;
		close(fd);
		usleep(1000);
	}
	return wrong > 100 ? 100 : wrong;
}

static void ordinary_users_mounts_show_whole_segments(void **state)
{
	mount_another_of_the_user();
	int wrong = count_while_resizing(read_meanwhile);
	unmount_other();
	assert_int_equal(wrong, 0);
}

/* Its reader would go on with the old bytes, unlike one of the writer itself. */
static void a_reader_of_another_mount_keeps_its_segment(void **state)
{
	int id = segment_create(KEY, 100, 0600);
	mount_other(state);
	int own = must(open(SEGMENT, O_RDONLY));
	int other = must(open(OTHER "/3148", O_RDONLY));
	int fd = must(open(SEGMENT, O_WRONLY));
	must_fail(ENOSPC, pwrite(fd, "x", 1, 100));
	close(other);
	assert_true(eventually(pwrite(fd, "x", 1, 100) == 1));
	assert_int_equal(pread(own, &(char){ 0 }, 1, 100), 1);
	close(own);
	close(fd);
	unmount_other();
	assert_int_not_equal(segment_find(KEY), id);
}

/* The other mount keeps its file, and nothing but the time of change tells the two apart. */
static void a_file_of_a_removed_segment_is_not_opened_for_another(void **state)
{
	needs(file_exists("/proc/sys/kernel/shm_next_id"), "checkpoint and restore");
	int id = segment_create(KEY, 100, 0600);
	mount_other(state);
	int known = must(open(SEGMENT, O_PATH));
	close(must(open(SEGMENT, O_RDONLY)));
	int kept = must(open(OTHER "/3148", O_RDONLY));
	segment_remove(id);
	limit_set("shm_next_id", (unsigned long long)id);
	sleep(1);
	assert_int_equal(segment_create(KEY, 100, 0600), id);
	segment_put(id, 0, "new", 3);
	assert_true(file_has(SEGMENT, 0, "new", 3));
	close(known);
	close(kept);
	unmount_other();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(an_owners_opens_are_not_refused_while_another_mount_resizes),
		mounted_with(an_owners_opens_are_not_refused_while_another_mount_resizes,
			     "nopassthrough"),
		mounted(a_user_cannot_keep_others_waiting_by_a_mode),
		mounted(a_user_who_waits_keeps_nobody_waiting),
		mounted(a_resize_waits_for_a_reader_of_another_mount),
		mounted_with(a_resize_waits_for_a_reader_of_another_mount, "nopassthrough"),
		mounted(a_resize_waits_for_a_reader_who_attaches_too),
		mounted_with(a_resize_waits_for_a_reader_who_attaches_too, "nopassthrough"),
		mounted(a_reader_of_another_mount_keeps_its_segment),
		mounted(a_file_of_a_removed_segment_is_not_opened_for_another),
		mounted_by_user(ordinary_users_mounts_wait_for_each_other),
		mounted_by_user(ordinary_users_mounts_show_whole_segments),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
