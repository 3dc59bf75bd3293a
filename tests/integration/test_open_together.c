/* SPDX-License-Identifier: MIT */
/* Bound and served files that several open, write, replace and remove at a time. */
#include "harness.h"

#include "engine.h"
#include "hung.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 2 * PAGE };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

static time_t deadline(void)
{
	return time(NULL) + 1;
}

static char segment_by_id[PATH_MAX];

/* No order of opens, writes and closes of several processes makes one of them fail. */
static int open_at_random(int number)
{
	static const int sorts[] = { O_RDONLY, O_RDWR, O_WRONLY, O_WRONLY | O_TRUNC };
	const char *const paths[] = { SEGMENT, OBJECT, segment_by_id };
	unsigned seed = (unsigned)number;
	char byte;

	for (time_t end = deadline(); time(NULL) <= end;) {
		const char *path = paths[rand_r(&seed) % 3];
		int flags = sorts[rand_r(&seed) % 4];
		int fd = open(path, flags);
		child_must(fd != -1);
		if ((flags & O_ACCMODE) == O_RDONLY)
			child_must(pread(fd, &byte, 1, 0) >= 0);
		for (int i = 0; i < 20 && (flags & O_ACCMODE) != O_RDONLY; i++)
			child_must(pwrite(fd, "b", 1, 0) == 1);
		child_must(close(fd) == 0);
	}
	return 0;
}

static void opens_at_a_time_never_fail(void **state)
{
	pid_t children[4];
	snprintf(segment_by_id, sizeof(segment_by_id), MNT "/.by-id/%d",
		 both_create(KEY, "frames", SIZE));
	for (int i = 0; i < 4; i++)
		children[i] = child_start(open_at_random, i);
	assert_int_equal(children_join(children, 4), 0);
}

/* The kernel holds a lock of the file while it reads what never comes. */
static int write_what_never_comes(int number)
{
	int source = open(HUNG_FILE, O_RDWR);
	int fd = open(SEGMENT, O_WRONLY);
	child_must(source != -1 && fd != -1);
	void *bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, source, 0);
	child_must(bytes != MAP_FAILED);
	(void)!write(fd, bytes, PAGE);
	return 0;
}

/*
 * The file stays open until both have written: close(2) waits for the writer as well, and then no
 * other can begin to write (fs/fuse/file.c, fuse_flush(), Linux 6.12).
 */
static int write_once(int flags)
{
	int fd = open(SEGMENT, flags);
	child_must(fd != -1 && pwrite(fd, "b", 1, flags) == 1);
	child_must(eventually(segment_has(segment_find(KEY), O_WRONLY, "bb", 2)));
	return 0;
}

/* In a system call, and not on a processor. */
static bool is_waiting_in(long call, pid_t pid)
{
	char path[64], text[32] = "";
	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	int fd = must(open(path, O_RDONLY));
	ssize_t count = read(fd, text, sizeof(text) - 1);
	close(fd);
	return count > 0 && text[0] != 'r' && strtol(text, NULL, 10) == call;
}

/*
 * Before Linux 6.2 fuse_direct_write_iter() locks out other writers of the file, whatever the
 * daemon allows, and nothing but the version tells.
 */
static bool kernel_writes_one_at_a_time(void)
{
	struct utsname kernel;
	int major = 0, minor = 0;
	must(uname(&kernel));
	assert_int_equal(sscanf(kernel.release, "%d.%d", &major, &minor), 2);
	return major < 6 || (major == 6 && minor < 2);
}

static void a_writer_that_waits_holds_up_no_other(void **state)
{
	if (kernel_writes_one_at_a_time()) {
		print_message("skipped: needs Linux 6.2, which writes a file in parallel\n");
		skip();
	}
	int id = both_create(KEY, "frames", SIZE);
	hung_start();
	pid_t waiting = child_start(write_what_never_comes, 0);
	assert_true(eventually(is_waiting_in(SYS_write, waiting)));
	pid_t others[] = { child_start(write_once, O_WRONLY), child_start(write_once, O_RDWR) };
	bool is_written = eventually(segment_has(id, O_WRONLY, "bb", 2));
	hung_stop();
	assert_true(is_written);
	assert_int_equal(children_join(others, 2), 0);
	assert_int_equal(children_join(&waiting, 1), 0);
}

static int read_once(int number)
{
	int fd = open(SEGMENT, O_RDONLY);
	char byte;
	child_must(fd != -1 && pread(fd, &byte, 1, 0) == 1);
	return 0;
}

/* The kernel holds locks of a process that executes while it closes a file that is never closed. */
static int execute_for_ever(int ready)
{
	int source = open(HUNG_FILE, O_RDWR | O_CLOEXEC);
	int fd = open(SEGMENT, O_RDONLY);
	child_must(source != -1 && fd != -1);
	child_must(write(ready, "", 1) == 1);
	execl("/bin/true", "true", NULL);
	return 1;
}

static void an_opener_that_never_gets_on_holds_up_no_other(void **state)
{
	int ready[2];
	char byte;
	both_create(KEY, "frames", SIZE);
	hung_start();
	must(pipe2(ready, O_CLOEXEC));
	int writer = must(open(SEGMENT, O_WRONLY));
	pid_t opener = child_start(execute_for_ever, ready[1]);
	must(read(ready[0], &byte, 1));
	close(writer);
	usleep(20000);
	pid_t reader = child_start(read_once, 0);
	siginfo_t ended = { 0 };
	bool is_read =
		eventually(waitid(P_PID, (id_t)reader, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
			   ended.si_pid == reader);
	hung_stop();
	assert_true(is_read);
	assert_int_equal(children_join(&reader, 1), 0);
	assert_int_equal(children_join(&opener, 1), 0);
	close(ready[0]);
	close(ready[1]);
}

/* Made, opened and removed by several at a time: it is there or it is not. */
static int come_and_go(int number)
{
	static const int sorts[] = { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT | O_RDWR };
	unsigned seed = (unsigned)number;

	for (time_t end = deadline(); time(NULL) <= end;) {
		const char *path = rand_r(&seed) % 2 ? SEGMENT : OBJECT;
		int flags = sorts[rand_r(&seed) % 4];
		int fd = open(path, flags, 0600);

		child_must(fd != -1 || (errno == ENOENT && !(flags & O_CREAT)));
		if (fd != -1)
			close(fd);
		if (rand_r(&seed) % 8 == 0)
			child_must(unlink(path) == 0 || errno == ENOENT);
	}
	return 0;
}

static void what_comes_and_goes_is_opened_or_missing(void **state)
{
	pid_t children[4];
	for (int i = 0; i < 4; i++)
		children[i] = child_start(come_and_go, i);
	assert_int_equal(children_join(children, 4), 0);
}

static int resize_over_and_over(int number)
{
	for (time_t end = deadline(); time(NULL) <= end;)
		for (int pages = 1; pages <= 3; pages++)
			child_must(truncate(SEGMENT, pages * PAGE) == 0 || errno == EBUSY);
	return 0;
}

/* The file that an inode is bound to is never that of a segment that was replaced. */
static void what_is_mapped_is_what_has_the_key(void **state)
{
	int mapped = 0;
	both_create(KEY, "frames", SIZE);
	pid_t child = child_start(resize_over_and_over, 0);
	for (time_t end = deadline(); time(NULL) <= end;) {
		int fd = must(open(SEGMENT, O_RDWR));
		int *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		if (memory == MAP_FAILED)
			continue; /* a resize that waits */
		memory[0] = ++mapped;
		assert_true(segment_has(segment_find(KEY), 0, (char *)&mapped, sizeof(mapped)));
		munmap(memory, PAGE);
	}
	assert_int_equal(children_join(&child, 1), 0);
	assert_true(mapped > 0 || !engine_is_passthrough());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(opens_at_a_time_never_fail),
		mounted(a_writer_that_waits_holds_up_no_other),
		mounted(an_opener_that_never_gets_on_holds_up_no_other),
		mounted(what_comes_and_goes_is_opened_or_missing),
		mounted(what_is_mapped_is_what_has_the_key),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
