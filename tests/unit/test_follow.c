/* SPDX-License-Identifier: MIT */
/* When one caller alone asks, and where it is. */
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "fuse/loop.h"
#include "shmfs/cleanup.h"
#include "shmfs/clock.h"
#include "shmfs/proc.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

static void one_that_asks_again_and_again_is_alone(void **state)
{
	struct loop loop = { 0 };
	uint64_t now = 1000 * MS;

	for (int i = 1; i <= 100; i++) {
		assert_true(shmfs_worker_note(&loop, 7, now += 50 * US));
		assert_int_equal(loop.in_a_row, i);
	}
	/* After a pause it begins anew. */
	assert_true(shmfs_worker_note(&loop, 7, now += 2 * MS));
	assert_int_equal(loop.in_a_row, 1);
}

static void several_at_once_are_not(void **state)
{
	struct loop loop = { 0 };
	uint64_t now = 1000 * MS;
	int alone = 0;

	assert_true(shmfs_worker_note(&loop, 7, now));
	for (int i = 0; i < 100; i++)
		assert_false(shmfs_worker_note(&loop, i % 2 ? 7 : 8, now += 50 * US));
	/* The last of them stays. */
	for (int i = 0; i < 100; i++)
		alone += shmfs_worker_note(&loop, 7, now += 50 * US);
	assert_in_range(alone, 50, 99);
	/* One comes after the other. */
	assert_true(shmfs_worker_note(&loop, 8, now + 2 * MS));
}

/* RELEASE has no caller, and one in another PID namespace cannot be seen. */
static void a_caller_that_cannot_be_seen_changes_nothing(void **state)
{
	struct loop loop = { 0 };
	uint64_t now = 1000 * MS;

	assert_true(shmfs_worker_note(&loop, 7, now));
	assert_true(shmfs_worker_note(&loop, 0, now += 50 * US));
	assert_true(shmfs_worker_note(&loop, 7, now += 50 * US));
	assert_int_equal(loop.in_a_row, 2);
	assert_false(shmfs_worker_note(&loop, 8, now += 50 * US));
	assert_false(shmfs_worker_note(&loop, 0, now += 50 * US));
}

static void finds_where_a_thread_is(void **state)
{
	cpu_set_t one;
	cpu_set_t before;
	int cpu = sched_getcpu();

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(shmfs_proc_stat("/proc", gettid()).cpu, cpu);
	assert_true(shmfs_proc_stat("/proc", gettid()).runs);
	assert_true(shmfs_proc_stat("/proc", gettid()).start > 0);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(shmfs_proc_stat("/proc", INT_MAX).cpu, -1);
	assert_false(shmfs_proc_stat("/proc", INT_MAX).runs);
}

static void *be_reader(void *arg)
{
	struct worker *reader = arg;
	SHMFS_LOCKED(&reader->loop->lock);

	reader->tid = gettid();
	pthread_cond_broadcast(&reader->loop->released);
	while (!reader->loop->stopped)
		pthread_cond_wait(&reader->loop->released, &reader->loop->lock);
	return NULL;
}

static void start_reader(struct loop *loop)
{
	loop->workers[0].loop = loop;
	loop->reader = &loop->workers[0];
	assert_int_equal(pthread_create(&loop->reader->id, NULL, be_reader, loop->reader), 0);
	SHMFS_LOCKED(&loop->lock);
	while (!loop->reader->tid)
		pthread_cond_wait(&loop->released, &loop->lock);
}

static void end_reader(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stopped = true;
	pthread_cond_broadcast(&loop->released);
	pthread_mutex_unlock(&loop->lock);
	assert_int_equal(pthread_join(loop->workers[0].id, NULL), 0);
}

static int processors_of(pid_t thread)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(thread, sizeof(set), &set), 0);
	return CPU_COUNT(&set);
}

/* A reader, put beside this thread, which asks again and again. */
static void place_reader(struct loop *loop, struct shmfs_follow *follow)
{
	*loop = (struct loop){
		.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.released = PTHREAD_COND_INITIALIZER,
		.is_watched = true,
		.caller = gettid(),
		.in_a_row = 100,
		.nread = 1,
		.waiting = 1,
	};
	shmfs_follow_init(follow);
	if (!follow->useful)
		skip(); /* one processor, or neither CAP_SYS_NICE nor RLIMIT_NICE */
	start_reader(loop);
	shmfs_follow_tick(follow, loop);
	assert_int_equal(sched_getscheduler(loop->reader->tid), SCHED_IDLE);
}

static void the_reader_is_put_beside_its_caller_and_back(void **state)
{
	struct shmfs_follow follow;
	struct loop loop;

	place_reader(&loop, &follow);
	assert_int_equal(processors_of(loop.reader->tid), 1);
	loop.in_a_row = 1;
	loop.nread++;
	shmfs_follow_tick(&follow, &loop);
	assert_int_equal(sched_getscheduler(loop.reader->tid), SCHED_OTHER);
	assert_int_equal(processors_of(loop.reader->tid), processors_of(0));
	end_reader(&loop);
	close(loop.timer_fd);
}

/* Nothing was read, and a request is there.  Does the reader stay away from its caller? */
static bool stays_away(bool caller_computes)
{
	struct shmfs_follow follow;
	struct loop loop;
	int device[2];

	place_reader(&loop, &follow);
	assert_int_equal(pipe(device), 0);
	assert_int_equal(write(device[1], "x", 1), 1);
	loop.fd = device[0];
	/* There is no such thread, so it does not run. */
	loop.caller = caller_computes ? gettid() : INT_MAX;
	const uint64_t now = shmfs_now_ns();
	shmfs_follow_tick(&follow, &loop);
	assert_int_equal(sched_getscheduler(loop.reader->tid), SCHED_OTHER);
	const bool away = follow.not_placed_until > now;
	/* This test may be slow. */
	follow.not_placed_until = away ? UINT64_MAX : 0;
	loop.caller = gettid();
	loop.nread++;
	shmfs_follow_tick(&follow, &loop);
	assert_int_equal(sched_getscheduler(loop.reader->tid), away ? SCHED_OTHER : SCHED_IDLE);
	end_reader(&loop);
	close(device[0]);
	close(device[1]);
	close(loop.timer_fd);
	return away;
}

static void a_reader_that_gets_no_processor_stays_away_for_a_while(void **state)
{
	assert_true(stays_away(false));
}

/* Only then does it want the processor for itself. */
static void a_caller_that_computes_after_its_answer_is_followed_again(void **state)
{
	assert_false(stays_away(true));
}

static void await_sleep(pid_t thread)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	while (shmfs_proc_stat("/proc", thread).runs)
		nanosleep(&moment, NULL);
}

/* As while a child reads /proc. */
static void a_reader_that_sleeps_in_a_request_is_beside_its_caller_again(void **state)
{
	struct shmfs_follow follow;
	struct loop loop;

	place_reader(&loop, &follow);
	sem_init(&loop.turn, 0, 0);
	await_sleep(loop.workers[0].tid);
	loop.reader->is_serving = true;
	loop.caller = INT_MAX; /* it sleeps, too */
	shmfs_follow_tick(&follow, &loop);
	/* Another thread reads meanwhile. */
	assert_null(loop.reader);
	assert_int_equal(sem_trywait(&loop.turn), 0);
	assert_int_equal(sched_getscheduler(loop.workers[0].tid), SCHED_OTHER);
	loop.reader = &loop.workers[0];
	loop.caller = gettid();
	loop.nread++;
	shmfs_follow_tick(&follow, &loop);
	assert_int_equal(sched_getscheduler(loop.workers[0].tid), SCHED_IDLE);
	end_reader(&loop);
	sem_destroy(&loop.turn);
	close(loop.timer_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_asks_again_and_again_is_alone),
		cmocka_unit_test(several_at_once_are_not),
		cmocka_unit_test(a_caller_that_cannot_be_seen_changes_nothing),
		cmocka_unit_test(finds_where_a_thread_is),
		cmocka_unit_test(the_reader_is_put_beside_its_caller_and_back),
		cmocka_unit_test(a_reader_that_gets_no_processor_stays_away_for_a_while),
		cmocka_unit_test(a_caller_that_computes_after_its_answer_is_followed_again),
		cmocka_unit_test(a_reader_that_sleeps_in_a_request_is_beside_its_caller_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
