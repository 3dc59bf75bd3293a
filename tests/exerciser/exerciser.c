/* SPDX-License-Identifier: MIT */
#include "exerciser.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct operation {
	bool (*run)(void);
	unsigned weight;
};

static const struct operation operations[] = {
	{ do_open, 90 },	  { do_close, 80 },	    { do_unlink, 12 },
	{ do_rename, 15 },	  { do_list, 4 },	    { do_stat, 60 },
	{ do_chmod, 6 },	  { do_verify, 20 },	    { do_read, 60 },
	{ do_pread, 70 },	  { do_write, 80 },	    { do_pwrite, 90 },
	{ do_seek_end, 20 },	  { do_seek_hole, 30 },	    { do_truncate, 30 },
	{ do_ftruncate, 30 },	  { do_punch, 30 },	    { do_allocate, 30 },
	{ do_copy, 25 },	  { do_set_append, 10 },    { do_map, 30 },
	{ do_unmap, 30 },	  { do_load, 40 },	    { do_store, 50 },
	{ do_native_verify, 20 }, { do_native_write, 25 },  { do_native_create, 15 },
	{ do_native_remove, 5 },  { do_native_resize, 10 }, { do_native_map, 8 },
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* Knuth's 64-bit linear congruential generator; its upper half is good enough. */
static uint32_t random_word(void)
{
	now.random = now.random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(now.random >> 32);
}

uint64_t random_below(uint64_t limit)
{
	return limit ? random_word() % limit : 0;
}

bool once_in(unsigned times)
{
	return random_below(times) == 0;
}

static void run_one(void)
{
	unsigned all = 0;
	const struct operation *op = operations;

	for (size_t i = 0; i < OPERATIONS; i++)
		all += operations[i].weight;
	uint64_t choice = random_below(all);
	for (; choice >= op->weight; op++)
		choice -= op->weight;
	while (!op->run())
		op = &operations[random_below(OPERATIONS)];
}

/* Can files be mapped here?  Where the daemon moves all bytes they cannot. */
static bool probe_mapping(void)
{
	int fd = open(path_of(0), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		give_up(path_of(0));
	close(fd);
	fd = open(path_of(0), O_RDWR | O_CLOEXEC);
	void *memory = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	bool found = memory != MAP_FAILED;
	if (found)
		munmap(memory, PAGE);
	close(fd);
	unlink(path_of(0));
	return found;
}

/* Everything closed, each object once more as the model has it, then nothing left. */
static void finish(void)
{
	for (int i = 0; i < MAPPINGS; i++)
		if (now.mappings[i].object)
			do_unmap_one(&now.mappings[i]);
	for (int i = 0; i < HANDLES; i++)
		if (now.handles[i].object)
			do_close_one(&now.handles[i]);
	trace("the end");
	for (int i = 0; i < NAMES; i++) {
		if (!now.names[i])
			continue;
		native_check(now.names[i]);
		expect("unlink", unlink(path_of(i)), 0, 0);
		object_unname(i);
	}
	if (!native_clean())
		differs("an object is left");
}

static void exercise(uint64_t seed, uint64_t count)
{
	struct timespec start, end;

	umask(0);
	if (!native_clean())
		fprintf(stderr, "removed what an earlier run had left\n");
	now.passthrough = probe_mapping();
	printf("exerciser: --kind %s --seed %llu --ops %llu, %s\n",
	       now.kind == SYSV ? "sysv" : "posix", (unsigned long long)seed,
	       (unsigned long long)count,
	       now.passthrough ? "served by the kernel" : "served by the daemon");
	fflush(stdout);
	now.random = seed * 0x9e3779b97f4a7c15u;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint64_t i = 0; i < count; i++)
		run_one();
	finish();
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("no difference; %.1f s\n",
	       (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
}

static int usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: exerciser [--kind posix|sysv] [--seed N] [--ops N] [--trace] MOUNTPOINT\n"
		"Does random operations as root on objects of its own names (exerciser.N, keys\n"
		"from 0x65780000) and compares each with a model.  Status 1: they differ.\n");
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kind", required_argument, NULL, 'k' }, { "seed", required_argument, NULL, 's' },
		{ "ops", required_argument, NULL, 'o' },  { "trace", no_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },	  { 0 },
	};
	uint64_t seed = (uint64_t)time(NULL), count = 100000;

	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		if (c == 'k' && strcmp(optarg, "sysv") == 0)
			now.kind = SYSV;
		else if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 'o')
			count = strtoull(optarg, NULL, 0);
		else if (c == 't')
			trace_all = true;
		else if (c == 'h')
			return usage(0);
		else if (c != 'k' || strcmp(optarg, "posix") != 0)
			return usage(2);
	}
	if (optind != argc - 1)
		return usage(2);
	now.mount = argv[optind];
	exercise(seed, count);
	return 0;
}
