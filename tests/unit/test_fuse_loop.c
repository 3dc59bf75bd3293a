/* SPDX-License-Identifier: MIT */
/* How requests are handed to threads: what blocks, and what goes on meanwhile. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fuse/loop.h"
#include "loop_fixture.h"

/* With `no_memory` set a thread that has no buffer yet gets none. */
static atomic_bool no_memory;
static atomic_uint asked_without;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	if (size < MAX_TRANSFER || !atomic_load(&no_memory))
		return __real_malloc(size);
	atomic_fetch_add(&asked_without, 1);
	return NULL;
}

/* With `lost_requests` set so many requests cannot be read, and then the mount is gone. */
static atomic_uint lost_requests;

ssize_t __real_read(int fd, void *buf, size_t len);
ssize_t __wrap_read(int fd, void *buf, size_t len);

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
	static const int errors[] = { ENOENT, ECONNABORTED, ENOMEM };
	unsigned lost = len < MAX_TRANSFER ? 0 : atomic_load(&lost_requests);

	if (lost == 0)
		return __real_read(fd, buf, len);
	atomic_store(&lost_requests, lost - 1);
	errno = lost == 1 ? ENODEV : errors[lost % 3];
	return -1;
}

static void serves_in_a_row_until_a_signal(void **state)
{
	struct fixture *f = *state;

	loop_start(f, MEMORY_SLOTS);
	for (int i = 0; i < 1000; i++) {
		uint64_t unique = post_getattr(f);

		assert_int_equal(answered(f, LONG_TIME), unique);
	}
	loop_stop(f);
}

/* Does a thread of this process give way to all others on its processor? */
static bool a_thread_is_idle(void)
{
	DIR *tasks = opendir("/proc/self/task");
	bool found = false;

	assert_non_null(tasks);
	for (struct dirent *task; (task = readdir(tasks));)
		found |= sched_getscheduler(atoi(task->d_name)) == SCHED_IDLE;
	closedir(tasks);
	return found;
}

static void a_caller_that_asks_again_and_again_is_followed(void **state)
{
	struct fixture *f = *state;
	struct shmfs_follow follow;
	bool followed = false;

	shmfs_follow_init(&follow);
	if (!follow.useful)
		skip(); /* one processor, or neither CAP_SYS_NICE nor RLIMIT_NICE */
	loop_start(f, MEMORY_SLOTS);
	for (int i = 0; i < 100000 && !followed; i++) {
		uint64_t unique = post_getattr(f);

		assert_int_equal(answered(f, LONG_TIME), unique);
		followed = a_thread_is_idle();
	}
	loop_stop(f);
	assert_true(followed);
}

static void what_blocks_does_not_block_others(void **state)
{
	struct fixture *f = *state;
	uint64_t slow;
	uint64_t quick;

	loop_start(f, MEMORY_FALLOCATE);
	slow = post_fallocate(f);
	sem_wait(&f->arrived);
	for (int i = 0; i < 100; i++) {
		quick = post_getattr(f);
		assert_int_equal(answered(f, LONG_TIME), quick);
	}
	let_through(f, 1);
	assert_int_equal(answered(f, LONG_TIME), slow);
	loop_stop(f);
}

/* Whoever closes a file and then asks for something finds it closed. */
static void a_file_that_is_being_closed_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct kernel_file other;
	uint64_t closed, asked, root;

	assert_int_equal(kernel_open(f->k, f->file.node, O_RDWR, &other), 0);
	loop_start(f, MEMORY_RELEASE);
	closed = post(f, FUSE_RELEASE, other.node, &(struct fuse_release_in){ .fh = other.fh },
		      sizeof(struct fuse_release_in));
	sem_wait(&f->arrived);
	asked = post(f, FUSE_GETATTR, other.node, &(struct fuse_getattr_in){ 0 },
		     sizeof(struct fuse_getattr_in));
	root = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), root);
	assert_int_equal(answered(f, A_WHILE), 0);
	assert_int_equal(sem_trywait(&f->arrived), -1);
	let_through(f, 1);
	assert_int_equal(answered(f, LONG_TIME), closed);
	kernel_note_release(f->k, &other);
	sem_wait(&f->arrived);
	sem_post(&f->stuck);
	assert_int_equal(answered(f, LONG_TIME), asked);
	loop_stop(f);
}

static void a_request_for_no_file_waits_for_no_close(void **state)
{
	struct fixture *f = *state;
	const struct fuse_interrupt_in in = { .unique = 1 };
	struct pollfd device = { .fd = f->k->device, .events = POLLIN };
	struct fuse_out_header header;
	struct kernel_file other;
	uint64_t closed;

	assert_int_equal(kernel_open(f->k, f->file.node, O_RDWR, &other), 0);
	loop_start(f, MEMORY_RELEASE);
	closed = post(f, FUSE_RELEASE, other.node, &(struct fuse_release_in){ .fh = other.fh },
		      sizeof(struct fuse_release_in));
	sem_wait(&f->arrived);
	post(f, FUSE_INTERRUPT, 0, &in, sizeof(in));
	assert_int_equal(poll(&device, 1, LONG_TIME), 1);
	assert_int_equal(recv(device.fd, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(header.error, -ENOSYS);
	let_through(f, 1);
	assert_int_equal(answered(f, LONG_TIME), closed);
	kernel_note_release(f->k, &other);
	loop_stop(f);
}

/* More than there are threads: the last have to wait, and nothing gets stuck. */
static void any_number_can_block(void **state)
{
	struct fixture *f = *state;
	const int count = 25;
	uint64_t sum = 0;

	loop_start(f, MEMORY_FALLOCATE);
	sum += post_fallocates(f, count);
	await_arrivals(f, 5);
	sum += post_getattr(f);
	let_through(f, count);
	assert_int_equal(sum_answered(f, count + 1), sum);
	assert_int_equal(answered(f, 0), 0);
	loop_stop(f);
}

/* Threads that blocked once serve again. */
static void threads_come_back(void **state)
{
	struct fixture *f = *state;

	loop_start(f, MEMORY_FALLOCATE);
	let_through(f, 300);
	for (int i = 0; i < 100; i++) {
		uint64_t sum = post_fallocates(f, 3);

		assert_int_equal(sum_answered(f, 3), sum);
	}
	loop_stop(f);
}

static void a_single_thread_serves_one_after_the_other(void **state)
{
	struct fixture *f = *state;
	uint64_t slow;
	uint64_t quick;

	f->single_thread = true;
	loop_start(f, MEMORY_FALLOCATE);
	slow = post_fallocate(f);
	sem_wait(&f->arrived);
	quick = post_getattr(f);
	assert_int_equal(answered(f, A_WHILE), 0);
	let_through(f, 1);
	assert_int_equal(answered(f, LONG_TIME), slow);
	assert_int_equal(answered(f, LONG_TIME), quick);
	loop_stop(f);
}

/* What was begun is finished, and answered. */
static void ends_when_the_last_request_is_done(void **state)
{
	struct fixture *f = *state;
	uint64_t quick, slow;

	loop_start(f, MEMORY_FALLOCATE);
	quick = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), quick);
	/* The same thread has read it, and would read on. */
	slow = post_fallocate(f);
	sem_wait(&f->arrived);
	assert_int_equal(eventfd_write(f->signal_fd, 1), 0);
	assert_int_equal(answered(f, A_WHILE), 0);
	let_through(f, 1);
	loop_await_end(f, 0);
	assert_int_equal(answered(f, 0), slow);
}

/* As many requests as the device takes; FORGET has no reply. */
static int fill_device(const struct kernel *k)
{
	const struct {
		struct fuse_in_header header;
		struct fuse_forget_in in;
	} request = {
		.header = { .len = sizeof(request), .opcode = FUSE_FORGET, .nodeid = ROOT },
		.in = { .nlookup = 1 },
	};
	const int size = 1 << 20;
	int count = 0;

	setsockopt(k->device, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	while (send(k->device, &request, sizeof(request), MSG_DONTWAIT) > 0)
		count++;
	return count;
}

/* Take what nobody has served. */
static int drain_device(struct kernel *k)
{
	struct pollfd fd = { .fd = fuse_session_fd(k->session), .events = POLLIN };
	int count = 0;

	while (poll(&fd, 1, 0) == 1) {
		assert_true(fuse_session_receive_buf(k->session, &k->request) > 0);
		count++;
	}
	return count;
}

/* A slow machine can serve all before the main thread runs: so it may take some rounds. */
static void a_stream_of_requests_hides_no_signal(void **state)
{
	struct fixture *f = *state;
	eventfd_t signals;
	int left = 0;

	for (int round = 0; round < 100 && left == 0; round++) {
		assert_true(fill_device(f->k) > 260);
		assert_int_equal(eventfd_write(f->signal_fd, 1), 0);
		loop_start(f, MEMORY_SLOTS);
		loop_await_end(f, 0);
		assert_int_equal(eventfd_read(f->signal_fd, &signals), 0);
		left = drain_device(f->k);
	}
	assert_true(left > 0);
}

/* Threads that are there go on, though no more can be made. */
static void goes_on_without_memory_for_more_threads(void **state)
{
	struct fixture *f = *state;
	uint64_t sum = 0;
	uint64_t quick;

	loop_start(f, MEMORY_FALLOCATE);
	quick = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), quick);
	atomic_store(&asked_without, 0);
	atomic_store(&no_memory, true);
	sum += post_fallocate(f);
	sem_wait(&f->arrived);
	quick = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), quick);
	sum += post_fallocates(f, 10);
	while (atomic_load(&asked_without) == 0)
		usleep(1000);
	let_through(f, 11);
	assert_int_equal(sum_answered(f, 11), sum);
	atomic_store(&no_memory, false);
	loop_stop(f);
}

static void without_memory_it_does_not_begin(void **state)
{
	struct fixture *f = *state;

	atomic_store(&no_memory, true);
	loop_start(f, MEMORY_SLOTS);
	loop_await_end(f, -ENOMEM);
	atomic_store(&no_memory, false);
}

/*
 * What an unmount looks like under load: some requests are gone, then the device is.  At the
 * limit of a memory cgroup a request is gone as well.
 */
static void requests_that_are_lost_are_no_error(void **state)
{
	struct fixture *f = *state;

	atomic_store(&lost_requests, 6);
	loop_start(f, MEMORY_SLOTS);
	loop_await_end(f, 0);
	assert_int_equal(atomic_load(&lost_requests), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(serves_in_a_row_until_a_signal),
		LOOP_TEST(a_caller_that_asks_again_and_again_is_followed),
		LOOP_TEST(what_blocks_does_not_block_others),
		LOOP_TEST(a_file_that_is_being_closed_is_waited_for),
		LOOP_TEST(a_request_for_no_file_waits_for_no_close),
		LOOP_TEST(any_number_can_block),
		LOOP_TEST(threads_come_back),
		LOOP_TEST(a_single_thread_serves_one_after_the_other),
		LOOP_TEST(ends_when_the_last_request_is_done),
		LOOP_TEST(a_stream_of_requests_hides_no_signal),
		LOOP_TEST(goes_on_without_memory_for_more_threads),
		LOOP_TEST(without_memory_it_does_not_begin),
		LOOP_TEST(requests_that_are_lost_are_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
