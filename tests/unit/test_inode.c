/* SPDX-License-Identifier: MIT */
/* The table of inodes: identity, counts, growth, threads. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "memory_backend.h"
#include "shmfs/inode.h"

#define INODE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define MANY 10000u

struct fixture {
	struct shmfs_inode_table table;
	struct memory_backend *sysv;
	struct memory_backend *posix;
};

/* With `no_memory` set, tables of buckets are not to be had; smaller things are. */
static bool no_memory;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
	/* gcc 16 makes calloc(size, 1) of calloc(1, size). */
	return no_memory && count > 1 && size > 1 ? NULL : __real_calloc(count, size);
}

static int setup(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	assert_non_null(f);
	no_memory = false;
	assert_int_equal(shmfs_inode_table_init(&f->table), 0);
	f->sysv = memory_backend_new(MEMORY_SYSV);
	f->posix = memory_backend_new(MEMORY_POSIX);
	*state = f;
	return 0;
}

/* The table goes with all that is in it: objects that are left are leaks. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	bool clean;

	shmfs_inode_table_destroy(&f->table);
	clean = memory_backend_free(f->sysv);
	clean = memory_backend_free(f->posix) && clean;
	free(f);
	assert_true(clean);
	return 0;
}

static struct shmfs_inode *get(struct fixture *f, struct memory_backend *be, uint64_t identity)
{
	struct shmfs_inode *inode;

	assert_int_equal(shmfs_inode_get(&f->table, &be->base, identity, &inode), 0);
	assert_ptr_equal(inode->object->backend, &be->base);
	assert_int_equal(inode->object->identity, identity);
	return inode;
}

static void forget(struct fixture *f, struct shmfs_inode *inode, uint64_t nlookup)
{
	shmfs_inode_forget(&f->table, inode, nlookup);
}

static void one_inode_for_one_object(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode *inode = get(f, f->sysv, 7);

	assert_ptr_equal(get(f, f->sysv, 7), inode);
	assert_int_equal(inode->nlookup, 2);
	assert_int_equal(f->sysv->calls[MEMORY_OBJECT_NEW], 1);
	assert_int_equal(f->table.count, 1);
	assert_int_equal(atomic_load(&inode->nopen), 0);
	forget(f, inode, 2);
	assert_int_equal(f->table.count, 0);
	assert_int_equal(f->sysv->objects, 0);
}

#define BACKENDS 100

/*
 * Backends number their objects each for itself.  There are more of them here
 * than buckets, so that some of the objects are in one bucket.
 */
static void backends_are_apart(void **state)
{
	struct fixture *f = *state;
	struct memory_backend *backends[BACKENDS];
	struct shmfs_inode *inodes[BACKENDS];

	no_memory = true;
	assert_in_range(f->table.nbuckets, 1, BACKENDS - 1);
	for (int i = 0; i < BACKENDS; i++) {
		backends[i] = memory_backend_new(MEMORY_POSIX);
		inodes[i] = get(f, backends[i], 7);
	}
	assert_int_equal(f->table.count, BACKENDS);
	for (int i = 0; i < BACKENDS; i++) {
		assert_ptr_equal(get(f, backends[i], 7), inodes[i]);
		forget(f, inodes[i], 2);
		assert_true(memory_backend_free(backends[i]));
	}
}

static void identities_have_64_bits(void **state)
{
	static const uint64_t identities[] = {
		0, 1, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, UINT64_C(1) << 63, UINT64_MAX,
	};
	const size_t count = sizeof(identities) / sizeof(*identities);
	struct fixture *f = *state;
	struct shmfs_inode *inodes[sizeof(identities) / sizeof(*identities)];

	for (size_t i = 0; i < count; i++)
		inodes[i] = get(f, f->posix, identities[i]);
	assert_int_equal(f->table.count, count);
	for (size_t i = 0; i < count; i++)
		forget(f, inodes[i], 1);
}

static void the_last_forget_frees(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode *inode = get(f, f->posix, 3);

	for (int i = 0; i < 9; i++)
		get(f, f->posix, 3);
	forget(f, inode, 4);
	forget(f, inode, 5);
	assert_int_equal(f->posix->objects, 1);
	assert_ptr_equal(get(f, f->posix, 3), inode);
	forget(f, inode, 2);
	assert_int_equal(f->posix->objects, 0);

	/* Met again, it is a new one. */
	inode = get(f, f->posix, 3);
	assert_int_equal(inode->nlookup, 1);
	assert_int_equal(f->posix->calls[MEMORY_OBJECT_NEW], 2);
	forget(f, inode, 1);
}

static size_t longest_chain(const struct shmfs_inode_table *table)
{
	size_t longest = 0;

	for (size_t i = 0; i < table->nbuckets; i++) {
		size_t len = 0;

		for (struct shmfs_inode *inode = table->buckets[i]; inode; inode = inode->next)
			len++;
		if (len > longest)
			longest = len;
	}
	return longest;
}

/* Identities as the kernel gives them: shmids, and inode numbers of /dev/shm. */
static struct memory_backend *nth(struct fixture *f, uint32_t i, uint64_t *identity)
{
	*identity = i % 2 ? i / 2 : (uint64_t)(i / 2) * 32768 + i / 2 % 5;
	return i % 2 ? f->posix : f->sysv;
}

static void grows_with_the_number_of_inodes(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode **inodes = calloc(MANY, sizeof(struct shmfs_inode *));
	uint64_t identity;

	assert_non_null(inodes);
	for (uint32_t i = 0; i < MANY; i++) {
		struct memory_backend *be = nth(f, i, &identity);

		inodes[i] = get(f, be, identity);
	}
	assert_int_equal(f->table.count, MANY);
	assert_in_range(f->table.nbuckets, MANY / 2, 4 * MANY);
	assert_in_range(longest_chain(&f->table), 1, 16);
	for (uint32_t i = 0; i < MANY; i++) {
		struct memory_backend *be = nth(f, i, &identity);

		assert_ptr_equal(get(f, be, identity), inodes[i]);
		assert_int_equal(inodes[i]->nlookup, 2);
	}
	for (uint32_t i = 0; i < MANY; i++)
		forget(f, inodes[i], 2);
	assert_int_equal(f->table.count, 0);
	free(inodes);
}

/* Knuth's shuffle with a generator of our own: the same order every time. */
static void shuffle(struct shmfs_inode **inodes, uint32_t count)
{
	uint32_t random = 1;

	for (uint32_t i = count - 1; i > 0; i--) {
		struct shmfs_inode *inode = inodes[i];
		uint32_t j;

		random = random * 1664525 + 1013904223;
		j = (random >> 8) % (i + 1);
		inodes[i] = inodes[j];
		inodes[j] = inode;
	}
}

static void forgets_in_any_order(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode **inodes = calloc(MANY, sizeof(struct shmfs_inode *));

	assert_non_null(inodes);
	for (uint32_t i = 0; i < MANY; i++)
		inodes[i] = get(f, f->posix, i);
	shuffle(inodes, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		uint64_t identity = inodes[i]->object->identity;

		forget(f, inodes[i], 1);
		assert_int_equal(f->table.count, MANY - i - 1);
		/* Those that stay are found as before. */
		if (i + 1 < MANY) {
			assert_int_not_equal(inodes[i + 1]->object->identity, identity);
			assert_ptr_equal(get(f, f->posix, inodes[i + 1]->object->identity),
					 inodes[i + 1]);
			forget(f, inodes[i + 1], 1);
		}
	}
	assert_int_equal(f->posix->objects, 0);
	free(inodes);
}

/* --- objects that go, or come to be others --- */

static void a_retired_inode_makes_room_for_another(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode *old = get(f, f->sysv, 7);
	struct shmfs_inode *inode;

	shmfs_inode_retire(&f->table, old);
	shmfs_inode_retire(&f->table, old);
	assert_int_equal(f->table.count, 0);
	inode = get(f, f->sysv, 7);
	assert_ptr_not_equal(inode, old);
	assert_int_equal(inode->nlookup, 1);
	assert_int_equal(old->nlookup, 1);

	/* The kernel still has the old one, and gives it back some time. */
	forget(f, old, 1);
	assert_int_equal(f->sysv->objects, 1);
	assert_ptr_equal(get(f, f->sysv, 7), inode);
	forget(f, inode, 2);
	assert_int_equal(f->table.count, 0);
}

static void a_renumbered_object_is_found_by_its_new_identity(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode *inode = get(f, f->sysv, 7);
	struct shmfs_inode *other;

	shmfs_inode_identity_changed(&f->table, inode->object, 99);
	assert_int_equal(f->table.count, 1);
	assert_ptr_equal(get(f, f->sysv, 99), inode);
	other = get(f, f->sysv, 7);
	assert_ptr_not_equal(other, inode);
	forget(f, inode, 2);
	forget(f, other, 1);
}

/* Whoever had that identity before is gone. */
static void a_renumbered_object_takes_the_place_of_another(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode *inode = get(f, f->sysv, 7);
	struct shmfs_inode *stale = get(f, f->sysv, 99);
	struct shmfs_inode *foreign = get(f, f->posix, 99);

	shmfs_inode_identity_changed(&f->table, inode->object, 99);
	assert_int_equal(f->table.count, 2);
	assert_ptr_equal(get(f, f->sysv, 99), inode);
	assert_ptr_equal(get(f, f->posix, 99), foreign);
	forget(f, stale, 1);
	assert_ptr_equal(get(f, f->sysv, 99), inode);
	forget(f, inode, 3);
	forget(f, foreign, 2);
	assert_int_equal(f->sysv->objects, 0);
}

static void a_retired_object_can_be_renumbered(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode *old = get(f, f->sysv, 7);
	struct shmfs_inode *other = get(f, f->sysv, 99);
	struct shmfs_inode *inode;

	shmfs_inode_retire(&f->table, old);
	inode = get(f, f->sysv, 7);
	shmfs_inode_identity_changed(&f->table, old->object, 99);
	assert_int_equal(old->object->identity, 99);
	/* It is in nobody's way. */
	assert_ptr_equal(get(f, f->sysv, 7), inode);
	assert_ptr_equal(get(f, f->sysv, 99), other);
	forget(f, old, 1);
	forget(f, other, 2);
	forget(f, inode, 2);
}

static void many_can_be_renumbered(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode **inodes = calloc(MANY, sizeof(struct shmfs_inode *));

	assert_non_null(inodes);
	for (uint32_t i = 0; i < MANY; i++) {
		inodes[i] = get(f, f->sysv, i);
		shmfs_inode_identity_changed(&f->table, inodes[i]->object, MANY + i);
	}
	assert_int_equal(f->table.count, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		assert_ptr_equal(get(f, f->sysv, MANY + i), inodes[i]);
		forget(f, inodes[i], 2);
	}
	free(inodes);
}

/* The kernel unmounts without forgetting: teardown() sees that all of it goes. */
static void destroying_forgets_all(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 1000; i++)
		get(f, i % 2 ? f->posix : f->sysv, i);
	assert_int_equal(f->posix->objects, 500);
}

static void an_object_that_is_not_to_be_had(void **state)
{
	struct fixture *f = *state;
	struct shmfs_inode *untouched = (struct shmfs_inode *)&no_memory;
	struct shmfs_inode *inode = untouched;

	memory_fail(f->sysv, MEMORY_OBJECT_NEW, -ENOMEM);
	assert_int_equal(shmfs_inode_get(&f->table, &f->sysv->base, 7, &inode), -ENOMEM);
	assert_ptr_equal(inode, untouched);
	assert_int_equal(f->table.count, 0);
	forget(f, get(f, f->sysv, 7), 1);
}

static void works_on_without_memory_to_grow(void **state)
{
	struct fixture *f = *state;
	size_t nbuckets = f->table.nbuckets;
	struct shmfs_inode *inodes[1000];

	no_memory = true;
	for (uint32_t i = 0; i < 1000; i++)
		inodes[i] = get(f, f->sysv, i);
	assert_int_equal(f->table.nbuckets, nbuckets);
	no_memory = false;
	for (uint32_t i = 0; i < 1000; i++) {
		assert_ptr_equal(get(f, f->sysv, i), inodes[i]);
		forget(f, inodes[i], 2);
	}
}

static void no_table_without_memory(void **state)
{
	struct shmfs_inode_table table;

	(void)state;
	no_memory = true;
	assert_int_equal(shmfs_inode_table_init(&table), -ENOMEM);
	no_memory = false;
}

/* --- threads --- */

#define THREADS 4
#define ROUNDS 3000

struct walker {
	struct fixture *f;
	uint32_t first;
	unsigned wrong;
};

/*
 * All threads look up and forget the same few objects, so that a last forget
 * meets a lookup of the same object again and again, and many of their own, so
 * that the table grows under them.
 */
static void *walk(void *arg)
{
	struct walker *w = arg;
	struct shmfs_inode *own;
	struct shmfs_inode *shared;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t identity = i % 3;

		if (shmfs_inode_get(&w->f->table, &w->f->sysv->base, identity, &shared) != 0 ||
		    shmfs_inode_get(&w->f->table, &w->f->posix->base, w->first + i, &own) != 0) {
			w->wrong++;
			continue;
		}
		w->wrong += shared->object->identity != identity;
		w->wrong += own->object->identity != w->first + i;
		atomic_fetch_add(&shared->nopen, 1);
		atomic_fetch_sub(&shared->nopen, 1);
		shmfs_inode_forget(&w->f->table, shared, 1);
		if (i % 4)
			shmfs_inode_forget(&w->f->table, own, 1);
	}
	return NULL;
}

static void threads_count_together(void **state)
{
	struct fixture *f = *state;
	struct walker walkers[THREADS];
	pthread_t ids[THREADS];

	for (uint32_t i = 0; i < THREADS; i++) {
		walkers[i] = (struct walker){ .f = f, .first = i * ROUNDS };
		assert_int_equal(pthread_create(&ids[i], NULL, walk, &walkers[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(walkers[i].wrong, 0);
	assert_int_equal(f->sysv->objects, 0);
	assert_int_equal(f->posix->objects, THREADS * ROUNDS / 4);
	assert_int_equal(f->table.count, THREADS * ROUNDS / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INODE_TEST(one_inode_for_one_object),
		INODE_TEST(backends_are_apart),
		INODE_TEST(identities_have_64_bits),
		INODE_TEST(the_last_forget_frees),
		INODE_TEST(grows_with_the_number_of_inodes),
		INODE_TEST(forgets_in_any_order),
		INODE_TEST(a_retired_inode_makes_room_for_another),
		INODE_TEST(a_renumbered_object_is_found_by_its_new_identity),
		INODE_TEST(a_renumbered_object_takes_the_place_of_another),
		INODE_TEST(a_retired_object_can_be_renumbered),
		INODE_TEST(many_can_be_renumbered),
		INODE_TEST(destroying_forgets_all),
		INODE_TEST(an_object_that_is_not_to_be_had),
		INODE_TEST(works_on_without_memory_to_grow),
		cmocka_unit_test(no_table_without_memory),
		INODE_TEST(threads_count_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
