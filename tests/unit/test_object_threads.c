/* SPDX-License-Identifier: MIT */
/* Tables of objects: many threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "memory_backend.h"

#define THREADS 4
#define ROUNDS 3000

struct walker {
	struct shmfs_backend *backend;
	uint32_t first;
	unsigned wrong;
	struct shmfs_object *kept[ROUNDS / 4];
};

/*
 * All threads look up and forget the same few objects, so that a last reference
 * meets a lookup of the same object again and again, and many of their own, so
 * that the table grows under them.
 */
static void *walk(void *arg)
{
	struct walker *w = arg;
	struct shmfs_backend *be = w->backend;
	struct shmfs_object *own;
	struct shmfs_object *shared;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t identity = i % 3;

		if (shmfs_object_get(be, identity, memory_object_make, &shared) != 0 ||
		    shmfs_object_get(be, w->first + i, memory_object_make, &own) != 0) {
			w->wrong++;
			continue;
		}
		w->wrong += shared->identity != identity;
		w->wrong += own->identity != w->first + i;
		shmfs_object_put(shared);
		if (i % 4)
			shmfs_object_put(own);
		else
			w->kept[i / 4] = own;
	}
	return NULL;
}

static void threads_count_together(void **state)
{
	struct memory_backend *memory = memory_backend_new(MEMORY_SYSV);
	struct walker *walkers = calloc(THREADS, sizeof(*walkers));
	pthread_t ids[THREADS];

	assert_non_null(walkers);
	for (uint32_t i = 0; i < THREADS; i++) {
		walkers[i].backend = &memory->base;
		walkers[i].first = (i + 1) * ROUNDS;
		assert_int_equal(pthread_create(&ids[i], NULL, walk, &walkers[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	assert_int_equal(memory->base.objects.count, THREADS * ROUNDS / 4);
	for (uint32_t i = 0; i < THREADS; i++) {
		assert_int_equal(walkers[i].wrong, 0);
		for (uint32_t j = 0; j < ROUNDS / 4; j++)
			shmfs_object_put(walkers[i].kept[j]);
	}
	assert_int_equal(memory->objects, 0);
	assert_true(memory_backend_free(memory));
	free(walkers);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(threads_count_together) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
