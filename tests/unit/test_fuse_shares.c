/* SPDX-License-Identifier: MIT */
/* Whatever one user does, there are threads for others. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop_fixture.h"

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

	loop_start(f, MEMORY_FALLOCATE);
	f->k->uid = 1001;
	sum += post_fallocates(f, count);
	await_arrivals(f, share);
	sum += post_getattr(f);
	f->k->uid = 1002;
	other = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), other);
	assert_int_equal(answered(f, A_WHILE), 0);
	assert_int_equal(sem_trywait(&f->arrived), -1);
	let_through(f, count);
	assert_int_equal(sum_answered(f, count + 1), sum);
	loop_stop(f);
}

/* Nothing would come of it, and told so once the kernel sends no more. */
static void an_interrupt_takes_no_share(void **state)
{
	struct fixture *f = *state;
	const int share = SHMFS_MAX_THREADS / 2;
	struct fuse_interrupt_in in;
	struct fuse_out_header header;
	uint64_t sum;

	loop_start(f, MEMORY_FALLOCATE);
	f->k->uid = 1001;
	sum = post_fallocates(f, share);
	await_arrivals(f, share);
	in.unique = f->k->unique;
	post(f, FUSE_INTERRUPT, 0, &in, sizeof(in));
	assert_int_equal(recv(f->k->device, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(header.unique, f->k->unique);
	assert_int_equal(header.error, -ENOSYS);
	let_through(f, share);
	assert_int_equal(sum_answered(f, share), sum);
	loop_stop(f);
}

/* The second of two users who block what they can still leaves something to the third. */
static void two_users_leave_threads_to_others(void **state)
{
	struct fixture *f = *state;
	const int count = SHMFS_MAX_THREADS;
	uint64_t sum = 0;
	uint64_t other;

	loop_start(f, MEMORY_FALLOCATE);
	for (int i = 0; i < 2 * count; i++) {
		f->k->uid = 1001 + (uint32_t)i / (uint32_t)count;
		sum += post_fallocate(f);
	}
	await_arrivals(f, SHMFS_MAX_THREADS * 3 / 4);
	f->k->uid = 1003;
	other = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), other);
	let_through(f, 2 * count);
	assert_int_equal(sum_answered(f, 2 * count), sum);
	loop_stop(f);
}

/* A user can have thousands of ids by newuidmap(1). */
static void many_ids_of_one_user_leave_threads_to_others(void **state)
{
	struct fixture *f = *state;
	const int count = 2 * SHMFS_MAX_THREADS;
	uint64_t sum = 0;
	uint64_t other;

	loop_start(f, MEMORY_FALLOCATE);
	for (int i = 0; i < count; i++) {
		f->k->uid = 100000 + (uint32_t)i;
		sum += post_fallocate(f);
	}
	await_arrivals(f, SHMFS_MAX_THREADS * 3 / 4);
	f->k->uid = 1003;
	other = post_getattr(f);
	assert_int_equal(answered(f, LONG_TIME), other);
	let_through(f, count);
	assert_int_equal(sum_answered(f, count), sum);
	loop_stop(f);
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

	loop_start(f, MEMORY_FALLOCATE);
	f->k->uid = 1001;
	post_fallocates(f, count);
	await_arrivals(f, share);
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
	loop_stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(one_user_leaves_threads_to_others),
		LOOP_TEST(an_interrupt_takes_no_share),
		LOOP_TEST(two_users_leave_threads_to_others),
		LOOP_TEST(many_ids_of_one_user_leave_threads_to_others),
		LOOP_TEST(a_stuck_reader_is_relieved_beside_others_that_get_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
