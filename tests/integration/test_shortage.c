/* SPDX-License-Identifier: MIT */
/*
 * No memory and no threads in the daemon: an error of the one call, nothing
 * lost, nothing kept, and the next is served.
 */
#include "harness.h"

#include "engine.h"
#include "shortage.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 3 * PAGE };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"
#define PLAN TMP "/shortage"

static struct shortage *shortage;
static char bytes[SIZE];

static int mount_with_shortage(void **state)
{
	int fd = must(open(PLAN, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	must(ftruncate(fd, sizeof(*shortage)));
	shortage = mmap(NULL, sizeof(*shortage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(shortage, MAP_FAILED);
	close(fd);
	setenv("LD_PRELOAD", BIN "/shortage.so", 1);
	setenv("SHMFS_SHORTAGE", PLAN, 1);
	int result = fixture_mount(state);
	unsetenv("LD_PRELOAD");
	unsetenv("SHMFS_SHORTAGE");
	return result;
}

static int end_with_shortage(void **state)
{
	int result = fixture_end(state);
	munmap(shortage, sizeof(*shortage));
	return result;
}

#define short_of(test) cmocka_unit_test_setup_teardown(test, mount_with_shortage, end_with_shortage)

/* --- operations, each of one system call that asks the daemon --- */

static int segment_fd; /* open for writing */
static int object_fd;  /* open for reading and writing */

static int look_up_segment(void)
{
	struct stat data;
	return stat(SEGMENT, &data);
}

static int look_up_object(void)
{
	struct stat data;
	return stat(OBJECT, &data);
}

static int opened(int fd)
{
	if (fd == -1)
		return -1;
	/* The close is answered, or not, some time later. */
	shortage->countdown = 0;
	return close(fd);
}

static int open_segment_to_read(void)
{
	return opened(open(SEGMENT, O_RDONLY));
}

static int open_segment_to_clear(void)
{
	return opened(open(MNT "/3149", O_WRONLY | O_TRUNC));
}

static int open_object(void)
{
	return opened(open(OBJECT, O_RDWR));
}

static int create_segment(void)
{
	return opened(open(MNT "/4000", O_CREAT | O_EXCL | O_RDWR, 0600));
}

static int create_object(void)
{
	return opened(open(MNT "/new", O_CREAT | O_EXCL | O_RDWR, 0600));
}

static int grow_segment(void)
{
	return truncate(MNT "/3149", 5L * PAGE);
}

static int grow_object(void)
{
	return truncate(OBJECT, 5L * PAGE);
}

static int remove_segment(void)
{
	return unlink(MNT "/3149");
}

static int remove_object(void)
{
	return unlink(MNT "/other");
}

static int rename_object(void)
{
	return rename(MNT "/other", MNT "/renamed");
}

static int change_mode_of_segment(void)
{
	return chmod(SEGMENT, 0600);
}

static int change_mode_of_object(void)
{
	return chmod(OBJECT, 0600);
}

static int give_segment_to_group(void)
{
	return chown(SEGMENT, (uid_t)-1, ALICE.group);
}

static int give_object_to_group(void)
{
	return chown(OBJECT, (uid_t)-1, ALICE.group);
}

static int touch_object(void)
{
	return utimensat(AT_FDCWD, OBJECT, NULL, 0);
}

static int list(void)
{
	DIR *directory = opendir(MNT);
	if (!directory)
		return -1;
	errno = 0;
	while (readdir(directory))
		;
	int code = errno;
	closedir(directory);
	errno = code;
	return code ? -1 : 0;
}

static int ask_how_full(void)
{
	struct statfs fs;
	return statfs(MNT, &fs);
}

static int ask_who_is_attached(void)
{
	char value[4096];
	return getxattr(SEGMENT, "user.shm.attached", value, sizeof(value)) == -1 ? -1 : 0;
}

static int list_attributes(void)
{
	char names[4096];
	return listxattr(SEGMENT, names, sizeof(names)) == -1 ? -1 : 0;
}

static int note_segment(void)
{
	return setxattr(SEGMENT, "user.note", "text", 4, 0);
}

static int read_object(void)
{
	char some[SIZE];
	return pread(object_fd, some, SIZE, 0) == -1 ? -1 : 0;
}

static int write_segment(void)
{
	return pwrite(segment_fd, bytes, PAGE, 0) == -1 ? -1 : 0;
}

/* What does not fit, since it cannot grow, has no room. */
static int write_behind_segment(void)
{
	ssize_t n = pwrite(segment_fd, bytes, PAGE, SIZE);
	if (n == -1 && errno == ENOSPC)
		errno = ENOMEM;
	return n == -1 ? -1 : 0;
}

static int allocate_segment(void)
{
	return fallocate(segment_fd, 0, 0, SIZE);
}

static int copy_to_segment(void)
{
	off_t in = 0, out = 0;
	return copy_file_range(object_fd, &in, segment_fd, &out, SIZE, 0) == -1 ? -1 : 0;
}

static const struct operation {
	const char *name;
	int (*act)(void);
} operations[] = {
#define OPERATION(function) \
	{ \
#function, function \
	}
	OPERATION(look_up_segment),
	OPERATION(look_up_object),
	OPERATION(open_segment_to_read),
	OPERATION(open_segment_to_clear),
	OPERATION(open_object),
	OPERATION(create_segment),
	OPERATION(create_object),
	OPERATION(grow_segment),
	OPERATION(grow_object),
	OPERATION(remove_segment),
	OPERATION(remove_object),
	OPERATION(rename_object),
	OPERATION(change_mode_of_segment),
	OPERATION(change_mode_of_object),
	OPERATION(give_segment_to_group),
	OPERATION(give_object_to_group),
	OPERATION(touch_object),
	OPERATION(list),
	OPERATION(ask_how_full),
	OPERATION(ask_who_is_attached),
	OPERATION(list_attributes),
	OPERATION(note_segment),
	OPERATION(read_object),
	OPERATION(write_segment),
	OPERATION(write_behind_segment),
	OPERATION(allocate_segment),
	OPERATION(copy_to_segment),
};

/* --- one allocation fails --- */

static void make_object(const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), NATIVE "/%s", name);
	object_create(name, SIZE);
	object_put(name, 0, bytes, SIZE);
	must(chown(path, ALICE.uid, ALICE.gid));
}

/* All of it Alice's, who asks: her groups are asked for as well. */
static void prepare(void)
{
	pattern_fill(bytes, sizeof(bytes), 1);
	make_object("frames");
	make_object("other");
	become(&ALICE);
	segment_put(segment_create(KEY, SIZE, 0640), 0, bytes, SIZE);
	segment_put(segment_create(3149, SIZE, 0640), 0, bytes, SIZE);
	segment_fd = must(open(SEGMENT, O_WRONLY));
	object_fd = must(open(OBJECT, O_RDWR));
}

static void clean_up(void)
{
	become(&ROOT);
	close(segment_fd);
	close(object_fd);
	segments_remove_all();
	objects_remove_all();
}

/* Whatever came of it, nothing is lost: where it is to be, or where it was. */
static void assert_nothing_is_lost(const struct operation *operation)
{
	int id = segment_find(KEY);
	if (id == -1 || !segment_has(id, 0, bytes, SIZE))
		fail_msg("%s lost the segment", operation->name);
	if (!object_has("frames", 0, bytes, SIZE))
		fail_msg("%s lost the object", operation->name);
	id = segment_find(3149);
	if (operation->act == grow_segment && (id == -1 || !segment_has(id, 0, bytes, SIZE)))
		fail_msg("%s lost the segment that was to grow", operation->name);
}

/* Let the allocation of this number fail.  False: there are not so many. */
static bool try_with_failure(const struct fixture *fixture, const struct operation *operation,
			     int number)
{
	int before = shortage->failed;
	prepare();
	shortage->countdown = number;
	int result = operation->act();
	int code = errno;
	shortage->countdown = 0;
	bool failed = shortage->failed > before;
	become(&ROOT);
	if (result == -1 && (!failed || code != ENOMEM))
		fail_msg("%s, failure %d: %s", operation->name, number, strerror(code));
	assert_nothing_is_lost(operation);
	clean_up();
	/* A close is served some time later, and is not to want for memory. */
	if (!eventually(daemon_holds_objects(fixture) == 0))
		fail_msg("%s, failure %d: something is held", operation->name, number);
	return failed;
}

static bool is_over(const struct fixture *fixture)
{
	siginfo_t info = { 0 };
	must(waitid(P_PID, (id_t)fixture->daemon, &info, WEXITED | WNOHANG | WNOWAIT));
	return info.si_pid != 0;
}

static void each_allocation_may_fail(void **state)
{
	enum { MANY = 500 };
	const struct fixture *fixture = *state;
	int total = 0;
	for (size_t i = 0; i < array_size(operations); i++) {
		int number = 1;
		while (number < MANY && try_with_failure(fixture, &operations[i], number))
			number++;
		if (number == MANY || is_over(fixture))
			fail_msg("%s: %d failures", operations[i].name, number - 1);
		total += number - 1;
	}
	assert_true(eventually(daemon_holds_objects(fixture) == 0));
	assert_true(total > 50);
}

/* Nobody asks for it once more. */
static void what_the_kernel_lets_go_takes_no_memory(void **state)
{
	const int flags[] = { O_PATH, O_RDONLY };
	for (size_t i = 0; i < array_size(flags); i++) {
		object_create("other", SIZE);
		int fd = must(open(MNT "/other", flags[i]));
		must(unlink(MNT "/other"));
		assert_true(daemon_holds_objects(*state) > 0);
		shortage->largest = 1;
		must(close(fd));
		assert_true(eventually(daemon_holds_objects(*state) == 0));
		shortage->largest = 0;
	}
}

static void what_is_no_longer_listed_takes_no_memory(void **state)
{
	enum { PLENTY = 1000 };
	DIR *directory = opendir(MNT);
	assert_non_null(directory);
	assert_non_null(readdir(directory));
	shortage->countdown = PLENTY;
	closedir(directory);
	/* It is served some time later. */
	usleep(100000);
	assert_int_equal(shortage->countdown, PLENTY);
	shortage->countdown = 0;
}

/* --- no threads --- */

static int use_much(int number)
{
	char path[32];
	snprintf(path, sizeof(path), MNT "/%d", 5000 + number);
	for (int i = 0; i < 20; i++) {
		int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
		child_must(fd != -1);
		child_must(fallocate(fd, 0, 0, 16L * PAGE) == 0);
		child_must(pwrite(fd, bytes, SIZE, 0) == SIZE);
		child_must(close(fd) == 0);
		child_must(unlink(path) == 0);
	}
	return 0;
}

static void use_much_at_a_time(void)
{
	pid_t children[4];
	for (int i = 0; i < 4; i++)
		children[i] = child_start(use_much, i);
	assert_int_equal(children_join(children, 4), 0);
}

static void one_thread_serves_if_there_is_no_other(void **state)
{
	shortage->no_threads = true;
	use_much_at_a_time();
	assert_true(shortage->failed > 0);
	shortage->no_threads = false;
	use_much_at_a_time();
}

/* libfuse's is of 512 KiB or more, and the replacer's stack is less. */
static void threads_without_a_buffer_let_others_serve(void **state)
{
	look_up_object();
	shortage->largest = 300 << 10;
	use_much_at_a_time();
	shortage->largest = 0;
	use_much_at_a_time();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		short_of(each_allocation_may_fail),
		short_of(what_the_kernel_lets_go_takes_no_memory),
		short_of(what_is_no_longer_listed_takes_no_memory),
		short_of(one_thread_serves_if_there_is_no_other),
		short_of(threads_without_a_buffer_let_others_serve),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
