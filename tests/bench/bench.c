/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Seconds.  A quiet machine needs four minutes; a busy one gets fewer rounds. */
#define TIME_LIMIT 360
/* Something hangs. */
#define KILL_LIMIT (2 * TIME_LIMIT)

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

unsigned direct_place(const struct task *task, const struct place *place)
{
	return place->kind == SYSV_SEGMENT && !task->beside_tmpfs ? SHMAT : TMPFS;
}

/* --- one task in one place --- */

static int begin(struct session *session, const struct task *task, const struct place *place)
{
	int err;

	*session = (struct session){
		.task = task,
		.place = place,
		.fd = -1,
		.random = 0x9e3779b97f4a7c15u,
	};
	err = task->begin(session);
	session->begun = !err;
	return err;
}

static void end(struct session *session)
{
	if (session->begun && session->task->end)
		session->task->end(session);
}

/* Nanoseconds that an operation takes, on the average of one round's moment. */
static int measure(struct session *session, double *ns)
{
	const struct task *task = session->task;
	uint64_t limit = task->slice_ms * UINT64_C(1000000);
	uint64_t began, took, count = 0;
	int err;

	if (task->before)
		task->before(session);
	if (task->pause_ms > 0)
		usleep(task->pause_ms * 1000);
	errno = 0;
	began = now_ns();
	do {
		err = task->step(session);
		if (err)
			return err;
		count += task->per_step;
		took = now_ns() - began;
	} while (took < limit);
	*ns = (double)took / (double)count;
	return 0;
}

/* Pages, caches and threads are there before the first round; of a command, its files. */
static int warm_up(struct session *session)
{
	double ignored;

	return session->task->slice_ms > 0 ? measure(session, &ignored) : 0;
}

static void compare(const struct task *task, const struct place *direct, const struct place *place,
		    uint64_t deadline, struct figures *figures)
{
	static struct session there, here; /* large */

	figures->direct_error = begin(&there, task, direct);
	figures->error = begin(&here, task, place);
	if (!figures->direct_error)
		figures->direct_error = warm_up(&there);
	if (!figures->error)
		figures->error = warm_up(&here);
	for (unsigned i = 0; i < task->rounds && !figures->error && now_ns() < deadline; i++) {
		if (!figures->direct_error)
			figures->direct_error = measure(&there, &figures->direct[i]);
		figures->error = measure(&here, &figures->here[i]);
		figures->rounds += !figures->error;
	}
	end(&here);
	end(&there);
}

/* --- all of it --- */

struct bench {
	struct place places[PLACES];
	struct table *table; /* owned */
	uint64_t deadline;
};

static bool concerns(const struct task *task, const struct place *place)
{
	return !place->left_out && (task->kinds == 0 || task->kinds & (1u << place->kind));
}

static void do_task(struct bench *bench, const struct task *task)
{
	struct figures figures[PLACES] = { 0 };
	int err;

	fprintf(stderr, "bench: %s\n", task->label);
	err = task->prepare(task);
	if (err) {
		printf("Left out: %s; %s.\n\n", task->label, strerror(-err));
		return;
	}
	for (unsigned i = SHMAT + 1; i < PLACES; i++) {
		const struct place *place = &bench->places[i];

		if (concerns(task, place) && !(task->left_out & (1u << i)))
			compare(task, &bench->places[direct_place(task, place)], place,
				bench->deadline, &figures[i]);
	}
	task->clean(task);
	table_add(bench->table, task, figures);
}

static void do_tasks(struct bench *bench, const struct task *tasks, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		do_task(bench, &tasks[i]);
}

static const char explanation[] =
	"\n"
	"Medians of 7 rounds, of commands 5, ± half the distance between their quartiles. A round\n"
	"is a moment of direct access, then one in the other column. The columns `direct` have\n"
	"what it reached; the others have ratios to it (0.50 is half as fast) or, with a unit,\n"
	"times. Transfers and `cp` are compared with /dev/shm but for the rows beside\n"
	"`memcpy()`, lists of segments with `lsipc` and `ipcs`. `ENODEV`: no mapping without\n"
	"passthrough. Of what is cold the kernel has neither names nor attributes nor, before "
	"each\n"
	"round of reading, pages. The column `limit` is a FUSE filesystem that does nothing but\n"
	"answer, on its caller's processor.\n";

static int run(struct bench *bench)
{
	struct machine machine;

	bench->deadline = now_ns() + TIME_LIMIT * UINT64_C(1000000000);
	bench->table = table_new(bench->places);
	if (!bench->table)
		return -ENOMEM;
	machine_look(&machine);
	do_tasks(bench, transfer_tasks, transfer_task_count);
	do_tasks(bench, call_tasks, call_task_count);
	do_tasks(bench, command_tasks, command_task_count);
	table_print(bench->table, stdout);
	fputs(explanation, stdout);
	machine_report(&machine, table_unrest(bench->table), stdout);
	if (now_ns() > bench->deadline)
		printf("- Time ran out: the last rows have fewer rounds.\n");
	table_free(bench->table);
	callers_measure(bench->places);
	growth_measure(&bench->places[SERVED_SYSV]);
	return 0;
}

static void set_place(struct bench *bench, unsigned i, const char *title, enum kind kind,
		      const char *dir)
{
	bench->places[i] = (struct place){
		.title = title,
		.dir = dir,
		.kind = kind,
		.left_out = dir && strcmp(dir, "-") == 0,
	};
}

int main(int argc, char **argv)
{
	struct bench bench = { 0 };
	int err;

	if (argc != 6) {
		fprintf(stderr,
			"usage: %s MOUNT NOPASSTHROUGH-MOUNT BINDFS-TIMEOUTS-0 BINDFS LEAST\n"
			"Called by run.sh, which mounts them; \"-\": not there.\n",
			argv[0]);
		return EXIT_FAILURE;
	}
	set_place(&bench, TMPFS, "direct: /dev/shm", POSIX_OBJECT, "/dev/shm");
	set_place(&bench, SHMAT, "direct: shmat()", SYSV_SEGMENT, NULL);
	set_place(&bench, BOUND_POSIX, "shmfs: POSIX", POSIX_OBJECT, argv[1]);
	set_place(&bench, BOUND_SYSV, "shmfs: System V", SYSV_SEGMENT, argv[1]);
	set_place(&bench, SERVED_POSIX, "nopassthrough: POSIX", POSIX_OBJECT, argv[2]);
	set_place(&bench, SERVED_SYSV, "nopassthrough: System V", SYSV_SEGMENT, argv[2]);
	set_place(&bench, BINDFS_COLD, "bindfs, cold", POSIX_OBJECT, argv[3]);
	bench.places[BINDFS_COLD].cold = true;
	set_place(&bench, BINDFS, "bindfs, defaults", POSIX_OBJECT, argv[4]);
	set_place(&bench, LEAST, "limit", POSIX_OBJECT, argv[5]);
	alarm(KILL_LIMIT);
	err = run(&bench);
	if (err)
		fprintf(stderr, "bench: %s\n", strerror(-err));
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
