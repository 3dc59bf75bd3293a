/* SPDX-License-Identifier: MIT */
/* When a segment was modified last, by what the kernel notes of attaches and detaches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "sysv/internal.h"

enum { ID = 7, ANOTHER = 8, SHARES_ROW = ID + 4096, CREATED = 100, BEFORE = 200, NOW = 300 };

static int begin(void **state)
{
	struct sysv_backend *be = calloc(1, sizeof(*be));

	assert_non_null(be);
	be->config.proc_dir = "/proc";
	*state = be;
	return sysv_times_init(be);
}

static int end(void **state)
{
	sysv_times_destroy(*state);
	free(*state);
	return 0;
}

static struct shmid_ds noted(time_t dtime, pid_t lpid)
{
	return (struct shmid_ds){ .shm_ctime = CREATED, .shm_dtime = dtime, .shm_lpid = lpid };
}

static time_t modified(struct sysv_backend *be, const struct shmid_ds *ds, uint64_t others)
{
	return sysv_times_modified(be, ID, ds, others).tv_sec;
}

static void a_detach_of_ours_does_not_count(void **state)
{
	const struct shmid_ds before = noted(BEFORE, 1);
	const struct shmid_ds after = noted(NOW, getpid());

	assert_int_equal(modified(*state, &after, 0), NOW);
	sysv_times_detached(*state, ID, &before, 0, &after);
	assert_int_equal(modified(*state, &after, 0), BEFORE);
	/* And no second one in the same second. */
	sysv_times_detached(*state, ID, &after, 0, &after);
	assert_int_equal(modified(*state, &after, 0), BEFORE);
}

static void others_that_attach_it_have_not_modified_it(void **state)
{
	const struct shmid_ds before = noted(BEFORE, 1);
	const struct shmid_ds after = noted(NOW, getpid());
	const struct shmid_ds attached = noted(NOW, 1);

	sysv_times_detached(*state, ID, &before, 0, &after);
	assert_int_equal(modified(*state, &attached, 1), BEFORE);
	/* Nobody has it attached any more: whoever did has detached it in that second. */
	assert_int_equal(modified(*state, &attached, 0), NOW);
}

static void a_detach_of_others_right_after_ours_counts(void **state)
{
	const struct shmid_ds before = noted(BEFORE, 1);
	const struct shmid_ds after = noted(NOW, 1);

	sysv_times_detached(*state, ID, &before, 0, &after);
	assert_int_equal(modified(*state, &after, 0), NOW);
}

static void a_detach_of_others_between_two_of_ours_counts(void **state)
{
	const struct shmid_ds before = noted(BEFORE, 1);
	const struct shmid_ds ours = noted(NOW, getpid());
	const struct shmid_ds theirs = noted(NOW, 1);

	sysv_times_detached(*state, ID, &before, 0, &ours);
	sysv_times_attaching(*state, ID, &theirs);
	sysv_times_detached(*state, ID, &ours, 0, &ours);
	assert_int_equal(modified(*state, &ours, 0), NOW);
}

static void a_detach_of_others_while_we_have_it_attached_counts(void **state)
{
	const struct shmid_ds before = noted(BEFORE, 1);
	const struct shmid_ds ours = noted(NOW, getpid());
	const struct shmid_ds theirs = noted(NOW, 1);

	sysv_times_detached(*state, ID, &before, 0, &ours);
	sysv_times_detached(*state, ID, &theirs, 0, &ours);
	assert_int_equal(modified(*state, &ours, 0), NOW);
}

static void an_attach_of_others_between_two_of_ours_does_not_count(void **state)
{
	const struct shmid_ds before = noted(BEFORE, 1);
	const struct shmid_ds ours = noted(NOW, getpid());
	struct shmid_ds attached = noted(NOW, 1);

	attached.shm_nattch = 1;
	sysv_times_detached(*state, ID, &before, 0, &ours);
	sysv_times_attaching(*state, ID, &attached);
	sysv_times_detached(*state, ID, &attached, 1, &ours);
	assert_int_equal(modified(*state, &ours, 1), BEFORE);
}

static void a_write_counts_and_moves_along(void **state)
{
	const struct shmid_ds ds = noted(BEFORE, 1);
	struct timespec written;

	sysv_times_wrote(*state, ID);
	written = sysv_times_modified(*state, ID, &ds, 0);
	assert_in_range(time(NULL) - written.tv_sec, 0, 5);
	sysv_times_carry(*state, ANOTHER, ID);
	assert_memory_equal(&(struct timespec[]){ sysv_times_modified(*state, ANOTHER, &ds, 0) },
			    &written, sizeof(written));
}

static void what_comes_after_a_write_counts(void **state)
{
	const time_t later = time(NULL) + 1000;
	const struct shmid_ds ds = noted(later, 1);

	sysv_times_wrote(*state, ID);
	assert_int_equal(modified(*state, &ds, 0), later);
}

/* Without its row a segment shows what the kernel tells. */
static void a_row_is_of_one_segment(void **state)
{
	const struct shmid_ds before = noted(BEFORE, 1);
	const struct shmid_ds after = noted(NOW, getpid());

	sysv_times_detached(*state, ID, &before, 0, &after);
	sysv_times_wrote(*state, SHARES_ROW);
	assert_int_equal(modified(*state, &after, 0), NOW);
}

#define times_test(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		times_test(a_detach_of_ours_does_not_count),
		times_test(others_that_attach_it_have_not_modified_it),
		times_test(a_detach_of_others_right_after_ours_counts),
		times_test(a_detach_of_others_between_two_of_ours_counts),
		times_test(a_detach_of_others_while_we_have_it_attached_counts),
		times_test(an_attach_of_others_between_two_of_ours_does_not_count),
		times_test(a_write_counts_and_moves_along),
		times_test(what_comes_after_a_write_counts),
		times_test(a_row_is_of_one_segment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
