/* SPDX-License-Identifier: MIT */
/* How requests are handed to threads: what blocks, and what goes on meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
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
#include "kernel.h"

#define ROOT SHMFS_DIR_ROOT
#define LOOP_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* Longer than anything takes that is not stuck, in ms. */
#define LONG_TIME 10000
/* Long enough for an answer that is not to come, in ms. */
#define A_WHILE 50

/* A session that runs in threads, and requests of it that wait at a gate. */
struct fixture {
	struct kernel *k;
	struct kernel_file file;
	int signal_fd; /* owned */
	bool single_thread;
	pthread_t thread;
	int result;

	enum memory_slot slot; /* whose calls wait */
	sem_t arrived;	       /* one has come */
	sem_t gate;	       /* one may go on */
	sem_t stuck;	       /* and one that asks for attributes of the file */
};

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

/* With `lost_requests` set the device says so often that the mount is going. */
static atomic_uint lost_requests;

ssize_t __real_read(int fd, void *buf, size_t len);
ssize_t __wrap_read(int fd, void *buf, size_t len);

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
	unsigned lost = len < MAX_TRANSFER ? 0 : atomic_load(&lost_requests);

	if (lost == 0)
		return __real_read(fd, buf, len);
	atomic_store(&lost_requests, lost - 1);
	errno = lost == 1 ? ENODEV : lost % 2 ? ECONNABORTED : ENOENT;
	return -1;
}

static void wait_at_gate(struct memory_backend *be, enum memory_slot slot, void *arg)
{
	struct fixture *f = arg;

	(void)be;
	if (slot != f->slot && slot != MEMORY_GETATTR)
		return;
	sem_post(&f->arrived);
	sem_wait(slot == f->slot ? &f->gate : &f->stuck);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct fuse_entry_out entry;
	void *kernel;

	assert_non_null(f);
	assert_int_equal(kernel_setup(&kernel), 0);
	f->k = kernel;
	f->signal_fd = eventfd(0, EFD_CLOEXEC);
	sem_init(&f->arrived, 0, 0);
	sem_init(&f->gate, 0, 0);
	sem_init(&f->stuck, 0, 0);
	assert_int_equal(kernel_create(f->k, ROOT, "1", O_RDWR, 0600, &entry, &f->file), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kernel_close(f->k, &f->file);
	kernel_stop(f->k);
	close(f->signal_fd);
	sem_destroy(&f->arrived);
	sem_destroy(&f->gate);
	sem_destroy(&f->stuck);
	free(f);
	return 0;
}

static void *run(void *arg)
{
	struct fixture *f = arg;

	f->result = shmfs_loop_run(&f->k->fs, f->signal_fd, f->single_thread);
	return NULL;
}

static void start(struct fixture *f, enum memory_slot slot)
{
	f->slot = slot;
	f->k->sysv->hook_arg = f;
	f->k->sysv->hook = wait_at_gate;
	assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static void await_end(struct fixture *f, int result)
{
	assert_int_equal(pthread_join(f->thread, NULL), 0);
	assert_int_equal(f->result, result);
	f->k->sysv->hook = NULL;
}

static void stop(struct fixture *f)
{
	assert_int_equal(eventfd_write(f->signal_fd, 1), 0);
	await_end(f, 0);
}

/* --- requests; each returns its number --- */

static uint64_t post(struct fixture *f, uint32_t opcode, uint64_t node, const void *in, size_t len)
{
	const struct kernel_part part = { in, len };

	kernel_post(f->k, opcode, node, &part, 1);
	return f->k->unique;
}

static uint64_t post_getattr(struct fixture *f)
{
	return post(f, FUSE_GETATTR, ROOT, &(struct fuse_getattr_in){ 0 },
		    sizeof(struct fuse_getattr_in));
}

static uint64_t post_fallocate(struct fixture *f)
{
	const struct fuse_fallocate_in in = { .fh = f->file.fh, .length = 1 };

	return post(f, FUSE_FALLOCATE, f->file.node, &in, sizeof(in));
}

/* The number of the request that is answered next; 0: none is for that long. */
static uint64_t answered(const struct fixture *f, int timeout_ms)
{
	struct pollfd fd = { .fd = f->k->device, .events = POLLIN };
	struct fuse_out_header header;

	if (poll(&fd, 1, timeout_ms) != 1)
		return 0;
	assert_true(recv(f->k->device, &header, sizeof(header), 0) > 0);
	assert_int_equal(header.error, 0);
	return header.unique;
}

/* The sum of the numbers of the next `count` answers. */
static uint64_t sum_answered(const struct fixture *f, int count)
{
	uint64_t sum = 0;

	while (count-- > 0)
		sum += answered(f, LONG_TIME);
	return sum;
}

static void let_through(struct fixture *f, int count)
{
	for (int i = 0; i < count; i++)
		sem_post(&f->gate);
}

/* --- tests --- */

static void serves_in_a_row_until_a_signal(void **state)
{
	struct fixture *f = *state;

	start(f, MEMORY_SLOTS);
	for (int i = 0; i < 1000; i++) {
		uint64_t unique = post_getattr(f);

		assert_int_equal(answered(f, LONG_TIME), unique);
	}
	stop(f);
}

static void what_blocks_does_not_block_others(void **state)
{
	struct fixture *f = *state;
	uint64_t slow;
	uint64_t quick;

	start(f, MEMORY_FALLOCATE);
	slow = post_fallocate(f);
	sem_wait(&f->arrived);
	for (int i = 0; i < 100; i++) {
		quick = post_getattr(f);
		assert_int_equal(answered(f, LONG_TIME), quick);
	}
	let_through(f, 1);
	assert_int_equal(answered(f, LONG_TIME), slow);
	stop(f);
}

/* More than there are threads: the last have to wait, and nothing gets stuck. */
static void any_number_can_block(void **state)
{
	struct fixture *f = *state;
	const int count = 25;
	uint64_t sum = 0;

	start(f, MEMORY_FALLOCATE);
	for (int i = 0; i < count; i++)
		sum += post_fallocate(f);
	for (int i = 0; i < 5; i++)
		sem_wait(&f->arrived);
	sum += post_getattr(f);
	let_through(f, count);
	assert_int_equal(sum_answered(f, count + 1), sum);
	assert_int_equal(answered(f, 0), 0);
	stop(f);
}

/* Threads that blocked once serve again. */
static void threads_come_back(void **state)
{
	struct fixture *f = *state;

	start(f, MEMORY_FALLOCATE);
	let_through(f, 300);
	for (int i = 0; i < 100; i++) {
		uint64_t sum = 0;

		for (int j = 0; j < 3; j++)
			sum += post_fallocate(f);
		assert_int_equal(sum_answered(f, 3), sum);
	}
	stop(f);
}

static void a_single_thread_serves_one_after_the_other(void **state)
{
	struct fixture *f = *state;
	uint64_t slow;
	uint64_t quick;

	f->single_thread = true;
	start(f, MEMORY_FALLOCATE);
	slow = post_fallocate(f);
	sem_wait(&f->arrived);
	quick = post_getattr(f);
	assert_int_equal(answered(f, A_WHILE), 0);
	let_through(f, 1);
	assert_int_equal(answered(f, LONG_TIME), slow);
	assert_int_equal(answered(f, LONG_TIME), quick);
	stop(f);
}

/*
 * A user has half of the threads.  Requests past that wait for one of that user's, and
 * others are served at once.
 */
static void one_user_leaves_threads_to_others(void **state)
{
	struct fixture *f = *state;
	const int share = SHMFS_MAX_THREADS / 2;
	const int count = share + 4;
	uint64_t sum = 0;
	uint64_t other;

	start(f, MEMORY_FALLOCATE);
	f->k->uid = 1001;
	for (int i = 0; i < count; i++)
		sum += post_fallocate(f);
	for (int i = 0; i < share; i++)
		sem_wait(&f->arrived);
	sum += post_getattr(f);
	f->k->uid = 1002;
	other = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), other);
	assert_int_equal(answered(f, A_WHILE), 0);
	assert_int_equal(sem_trywait(&f->arrived), -1);
	let_through(f, count);
	assert_int_equal(sum_answered(f, count + 1), sum);
	stop(f);
}

/* The second of two users who block what they can still leaves something to the third. */
static void two_users_leave_threads_to_others(void **state)
{
	struct fixture *f = *state;
	const int count = SHMFS_MAX_THREADS;
	uint64_t sum = 0;
	uint64_t other;

	start(f, MEMORY_FALLOCATE);
	for (int i = 0; i < 2 * count; i++) {
		f->k->uid = 1001 + (uint32_t)i / (uint32_t)count;
		sum += post_fallocate(f);
	}
	for (int i = 0; i < SHMFS_MAX_THREADS * 3 / 4; i++)
		sem_wait(&f->arrived);
	f->k->uid = 1003;
	other = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), other);
	let_through(f, 2 * count);
	assert_int_equal(sum_answered(f, 2 * count), sum);
	stop(f);
}

/*
 * Bob's request is stuck in the thread that read it and keeps its turn.  Alice's requests
 * end one after the other meanwhile, and still somebody has to read Carol's.
 */
static void a_stuck_reader_is_relieved_beside_others_that_get_on(void **state)
{
	struct fixture *f = *state;
	const int share = SHMFS_MAX_THREADS / 2;
	const int count = share + 1500;
	int left = count;
	uint64_t got = 0;
	uint64_t carols;

	start(f, MEMORY_FALLOCATE);
	f->k->uid = 1001;
	for (int i = 0; i < count; i++)
		post_fallocate(f);
	for (int i = 0; i < share; i++)
		sem_wait(&f->arrived);
	f->k->uid = 1002;
	post(f, FUSE_GETATTR, f->file.node, &(struct fuse_getattr_in){ 0 },
	     sizeof(struct fuse_getattr_in));
	sem_wait(&f->arrived);
	f->k->uid = 1003;
	carols = post_getattr(f);
	while (got != carols && left > 0) {
		let_through(f, 1);
		left--;
		usleep(200);
		got = answered(f, LONG_TIME);
	}
	let_through(f, left);
	sem_post(&f->stuck);
	assert_int_equal(got, carols);
	sum_answered(f, left + 2);
	stop(f);
}

/* What was begun is finished, and answered. */
static void ends_when_the_last_request_is_done(void **state)
{
	struct fixture *f = *state;
	uint64_t slow;

	start(f, MEMORY_FALLOCATE);
	slow = post_fallocate(f);
	sem_wait(&f->arrived);
	assert_int_equal(eventfd_write(f->signal_fd, 1), 0);
	assert_int_equal(answered(f, A_WHILE), 0);
	let_through(f, 1);
	await_end(f, 0);
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

static void a_stream_of_requests_hides_no_signal(void **state)
{
	struct fixture *f = *state;
	int count = fill_device(f->k);

	assert_true(count > 260);
	assert_int_equal(eventfd_write(f->signal_fd, 1), 0);
	start(f, MEMORY_SLOTS);
	await_end(f, 0);
	assert_in_range(drain_device(f->k), 1, count);
}

/* Threads that are there go on, though no more can be made. */
static void goes_on_without_memory_for_more_threads(void **state)
{
	struct fixture *f = *state;
	uint64_t sum = 0;
	uint64_t quick;

	start(f, MEMORY_FALLOCATE);
	quick = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), quick);
	atomic_store(&asked_without, 0);
	atomic_store(&no_memory, true);
	sum += post_fallocate(f);
	sem_wait(&f->arrived);
	quick = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), quick);
	for (int i = 0; i < 10; i++)
		sum += post_fallocate(f);
	while (atomic_load(&asked_without) == 0)
		usleep(1000);
	let_through(f, 11);
	assert_int_equal(sum_answered(f, 11), sum);
	atomic_store(&no_memory, false);
	stop(f);
}

static void without_memory_it_does_not_begin(void **state)
{
	struct fixture *f = *state;

	atomic_store(&no_memory, true);
	start(f, MEMORY_SLOTS);
	await_end(f, -ENOMEM);
	atomic_store(&no_memory, false);
}

/* What an unmount looks like under load: some requests are gone, then the device is. */
static void requests_lost_at_an_unmount_are_no_error(void **state)
{
	struct fixture *f = *state;

	atomic_store(&lost_requests, 6);
	start(f, MEMORY_SLOTS);
	await_end(f, 0);
	assert_int_equal(atomic_load(&lost_requests), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(serves_in_a_row_until_a_signal),
		LOOP_TEST(what_blocks_does_not_block_others),
		LOOP_TEST(any_number_can_block),
		LOOP_TEST(threads_come_back),
		LOOP_TEST(a_single_thread_serves_one_after_the_other),
		LOOP_TEST(one_user_leaves_threads_to_others),
		LOOP_TEST(two_users_leave_threads_to_others),
		LOOP_TEST(a_stuck_reader_is_relieved_beside_others_that_get_on),
		LOOP_TEST(ends_when_the_last_request_is_done),
		LOOP_TEST(a_stream_of_requests_hides_no_signal),
		LOOP_TEST(goes_on_without_memory_for_more_threads),
		LOOP_TEST(without_memory_it_does_not_begin),
		LOOP_TEST(requests_lost_at_an_unmount_are_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
