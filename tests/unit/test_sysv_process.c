/* SPDX-License-Identifier: MIT */
/* Processes that share the daemon's memory. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sysv/internal.h"

static bool set_policy(int policy)
{
	return sched_setscheduler(0, policy, &(const struct sched_param){ 0 }) == 0;
}

static int note_policy(void *arg)
{
	*(int *)arg = sched_getscheduler(0);
	return 0;
}

static void *run_idly(void *arg)
{
	/* To come back takes CAP_SYS_NICE or RLIMIT_NICE. */
	if (set_policy(SCHED_IDLE) && set_policy(SCHED_OTHER) && set_policy(SCHED_IDLE))
		sysv_run_process(0, note_policy, arg);
	return NULL;
}

/* A resize is not to wait for every other process. */
static void a_process_of_an_idle_thread_has_the_usual_priority(void **state)
{
	int policy = -1;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run_idly, &policy), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (policy == -1)
		skip();
	assert_int_equal(policy, SCHED_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_of_an_idle_thread_has_the_usual_priority),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
