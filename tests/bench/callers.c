/* SPDX-License-Identifier: MIT */
/*
 * A second table: how long single calls take, one after the other, when one process
 * calls, when sixteen do, and when processes that only compute keep all processors busy.
 * And how it grows with the number of segments.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

enum {
	CALLERS = 16,
	CALLS = 200000, /* of one of them that are noted */
	ROUND_MS = 500,
	GROWTH_ROUNDS = 15,
	MOST_SEGMENTS = 32000,
	BUSY = 64, /* processes that compute, at most */
};

/* What the callers note, in memory that they share. */
static struct notes {
	unsigned count;
	float us[CALLS];
} * notes;

static int compare_floats(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static bool do_call(const char *path, int fd, char *buf, uint64_t at)
{
	struct stat st;

	if (fd < 0)
		return stat(path, &st) == 0;
	return pwrite(fd, buf, SMALL_SIZE,
		      (off_t)(at * 7 % (BIG_SIZE / SMALL_SIZE) * SMALL_SIZE)) == SMALL_SIZE;
}

static void call(struct notes *own, const char *path, bool writes)
{
	static char buf[SMALL_SIZE];
	const uint64_t end = now_ns() + ROUND_MS * UINT64_C(1000000);
	const int fd = writes ? open(path, O_WRONLY | O_CLOEXEC) : -1;
	uint64_t began;

	own->count = 0;
	while ((began = now_ns()) < end && own->count < CALLS) {
		if (!do_call(path, fd, buf, began))
			_exit(EXIT_FAILURE);
		own->us[own->count++] = (float)(now_ns() - began) / 1000;
	}
	_exit(EXIT_SUCCESS);
}

/* Print how many calls a second there were, and how long half and 99 of 100 took. */
static void print_calls(int callers)
{
	static float all[CALLERS * CALLS];
	unsigned count = 0;

	for (int i = 0; i < callers; i++) {
		memcpy(all + count, notes[i].us, notes[i].count * sizeof(*all));
		count += notes[i].count;
	}
	if (count == 0) {
		printf(" - |");
		return;
	}
	qsort(all, count, sizeof(*all), compare_floats);
	printf(" %u/s, %.0f us, %.0f us |", count * 1000 / ROUND_MS, (double)all[count / 2],
	       (double)all[(uint64_t)count * 99 / 100]);
}

static void measure_calls(const char *path, bool writes, int callers)
{
	pid_t children[CALLERS];

	fflush(stdout);
	for (int i = 0; i < callers; i++) {
		notes[i].count = 0;
		children[i] = fork();
		if (children[i] == 0)
			call(&notes[i], path, writes);
	}
	for (int i = 0; i < callers; i++)
		waitpid(children[i], NULL, 0);
	print_calls(callers);
}

/* --- processes that compute --- */

static pid_t busy[BUSY];

static void keep_busy(void)
{
	const long processors = sysconf(_SC_NPROCESSORS_ONLN);

	for (int i = 0; i < BUSY && i < processors; i++) {
		busy[i] = fork();
		if (busy[i] == 0)
			for (;;)
				;
	}
}

static void end_busy(void)
{
	for (int i = 0; i < BUSY && busy[i] > 0; i++) {
		kill(busy[i], SIGKILL);
		waitpid(busy[i], NULL, 0);
		busy[i] = 0;
	}
}

static void measure_row(const struct place *place, bool writes)
{
	char path[PATH_SIZE];

	object_path(path, place, 0);
	printf("| %s %s |", place->title, writes ? "write 4 KiB" : "stat");
	measure_calls(path, writes, 1);
	measure_calls(path, writes, CALLERS);
	keep_busy();
	measure_calls(path, writes, 1);
	end_busy();
	printf("\n");
}

void callers_measure(const struct place places[PLACES])
{
	const size_t size = CALLERS * sizeof(*notes);

	notes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (notes == MAP_FAILED || object_make(POSIX_OBJECT, 0, BIG_SIZE) != 0 ||
	    object_make(SYSV_SEGMENT, 0, BIG_SIZE) != 0)
		return;
	printf("\nCalls a second, how long half of them take, and 99 of 100:\n\n"
	       "| | one caller | 16 callers | one, beside a busy process a processor |\n"
	       "| --- | ---: | ---: | ---: |\n");
	for (unsigned i = 0; i < PLACES; i++) {
		if (!places[i].dir || places[i].left_out)
			continue;
		measure_row(&places[i], false);
		measure_row(&places[i], true);
	}
	object_remove(POSIX_OBJECT, 0);
	object_remove(SYSV_SEGMENT, 0);
	munmap(notes, size);
}

/* --- growth --- */

/* The median of calls that come after a pause, as a person's command does. */
static double isolated_stat(const char *path)
{
	float us[GROWTH_ROUNDS];
	struct stat st;

	for (int i = 0; i < GROWTH_ROUNDS; i++) {
		uint64_t began;

		usleep(100000);
		began = now_ns();
		if (stat(path, &st) != 0)
			return -1;
		us[i] = (float)(now_ns() - began) / 1000;
	}
	qsort(us, GROWTH_ROUNDS, sizeof(*us), compare_floats);
	return (double)us[GROWTH_ROUNDS / 2];
}

void growth_measure(const struct place *place)
{
	static const int counts[] = { 50, 1000, MOST_SEGMENTS };
	static int ids[MOST_SEGMENTS];
	char path[PATH_SIZE];
	FILE *limit = fopen("/proc/sys/kernel/shmmni", "w");
	int made = 0;

	if (limit) {
		fprintf(limit, "%d\n", MOST_SEGMENTS + 100);
		fclose(limit);
	}
	object_path(path, place, NEW_OBJECT);
	if (object_make(SYSV_SEGMENT, NEW_OBJECT, SMALL_SIZE) != 0)
		return;
	printf("\nA `stat` of a key after a pause of 100 ms, with so many segments on the "
	       "host:\n\n");
	for (unsigned i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		while (made < counts[i] && (ids[made] = shmget(IPC_PRIVATE, 4096, 0600)) >= 0)
			made++;
		printf("- %d: %.0f us\n", made, isolated_stat(path));
	}
	for (int i = 0; i < made; i++)
		shmctl(ids[i], IPC_RMID, NULL);
	object_remove(SYSV_SEGMENT, NEW_OBJECT);
}
