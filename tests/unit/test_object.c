/* SPDX-License-Identifier: MIT */
/* Tables of objects: identity, counts, growth. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "memory_backend.h"

#define OBJECT_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MANY 10000u

/* All that is counted is of the first; the other is there to be apart. */
struct fixture {
	struct memory_backend *sysv;
	struct memory_backend *posix;
	struct shmfs_object_table *table;
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
	f->sysv = memory_backend_new(MEMORY_SYSV);
	f->posix = memory_backend_new(MEMORY_POSIX);
	f->sysv->base.number = 1;
	f->posix->base.number = 2;
	f->table = &f->sysv->base.objects;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	bool clean;

	clean = memory_backend_free(f->sysv);
	clean = memory_backend_free(f->posix) && clean;
	free(f);
	assert_true(clean);
	return 0;
}

static struct shmfs_object *get(struct memory_backend *be, uint64_t identity)
{
	struct shmfs_object *object;

	assert_int_equal(shmfs_object_get(&be->base, identity, memory_object_make, &object), 0);
	assert_ptr_equal(object->backend, &be->base);
	assert_int_equal(object->identity, identity);
	return object;
}

static void put(struct shmfs_object *object, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		shmfs_object_put(object);
}

static void one_object_for_one_identity(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *object = get(f->sysv, 7);

	assert_ptr_equal(get(f->sysv, 7), object);
	assert_ptr_equal(shmfs_object_find(&f->sysv->base, 7), object);
	shmfs_object_ref(object);
	assert_null(shmfs_object_find(&f->sysv->base, 8));
	assert_int_equal(f->sysv->made, 1);
	assert_int_equal(f->table->count, 1);
	put(object, 4);
	assert_int_equal(f->table->count, 0);
	assert_int_equal(f->sysv->objects, 0);
}

/* Backends number their objects each for itself. */
static void backends_are_apart(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *here = get(f->sysv, 7);
	struct shmfs_object *there = get(f->posix, 7);

	assert_ptr_not_equal(here, there);
	put(here, 1);
	assert_ptr_equal(get(f->posix, 7), there);
	put(there, 2);
}

static void identities_have_64_bits(void **state)
{
	static const uint64_t identities[] = {
		0, 1, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, UINT64_C(1) << 63, UINT64_MAX,
	};
	const size_t count = sizeof(identities) / sizeof(*identities);
	struct shmfs_object *objects[sizeof(identities) / sizeof(*identities)];
	struct fixture *f = *state;

	for (size_t i = 0; i < count; i++)
		objects[i] = get(f->sysv, identities[i]);
	assert_int_equal(f->table->count, count);
	for (size_t i = 0; i < count; i++)
		put(objects[i], 1);
}

static void the_last_reference_frees(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *object = get(f->sysv, 3);

	for (int i = 0; i < 9; i++)
		get(f->sysv, 3);
	put(object, 9);
	assert_int_equal(f->sysv->objects, 1);
	assert_ptr_equal(get(f->sysv, 3), object);
	put(object, 2);
	assert_int_equal(f->sysv->objects, 0);

	/* Met again, it is a new one. */
	object = get(f->sysv, 3);
	assert_int_equal(object->references, 1);
	assert_int_equal(f->sysv->made, 2);
	put(object, 1);
}

/* Identities as the kernel gives them: shmids, and inode numbers of /dev/shm. */
static uint64_t nth(uint32_t i)
{
	return i % 2 ? i / 2 : UINT64_C(1) << 40 | ((uint64_t)(i / 2) * 32768 + i / 2 % 5);
}

static void finds_each_of_many_objects(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object **objects = calloc(MANY, sizeof(struct shmfs_object *));

	assert_non_null(objects);
	for (uint32_t i = 0; i < MANY; i++)
		objects[i] = get(f->sysv, nth(i));
	assert_int_equal(f->table->count, MANY);
	for (uint32_t i = 0; i < MANY; i++)
		assert_ptr_equal(get(f->sysv, nth(i)), objects[i]);
	for (uint32_t i = 0; i < MANY; i++)
		put(objects[i], 2);
	assert_int_equal(f->table->count, 0);
	free(objects);
}

/* Knuth's shuffle with a generator of our own: the same order every time. */
static void shuffle(struct shmfs_object **objects, uint32_t count)
{
	uint32_t random = 1;

	for (uint32_t i = count - 1; i > 0; i--) {
		struct shmfs_object *object = objects[i];
		uint32_t j;

		random = random * 1664525 + 1013904223;
		j = (random >> 8) % (i + 1);
		objects[i] = objects[j];
		objects[j] = object;
	}
}

static void go_in_any_order(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object **objects = calloc(MANY, sizeof(struct shmfs_object *));

	assert_non_null(objects);
	for (uint32_t i = 0; i < MANY; i++)
		objects[i] = get(f->sysv, i);
	shuffle(objects, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		put(objects[i], 1);
		assert_int_equal(f->table->count, MANY - i - 1);
		/* Those that stay are found as before. */
		if (i + 1 < MANY) {
			assert_ptr_equal(get(f->sysv, objects[i + 1]->identity), objects[i + 1]);
			put(objects[i + 1], 1);
		}
	}
	assert_int_equal(f->sysv->objects, 0);
	free(objects);
}

/* --- objects that go, or come to be others --- */

static void a_retired_object_makes_room_for_another(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *old = get(f->sysv, 7);
	struct shmfs_object *object;

	shmfs_object_retire(old);
	shmfs_object_retire(old);
	assert_int_equal(f->table->count, 0);
	object = get(f->sysv, 7);
	assert_ptr_not_equal(object, old);

	/* The kernel still has the old one, and gives it back some time. */
	put(old, 1);
	assert_int_equal(f->sysv->objects, 1);
	assert_ptr_equal(get(f->sysv, 7), object);
	put(object, 2);
	assert_int_equal(f->table->count, 0);
}

static void an_object_is_found_by_its_new_identity(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *object = get(f->sysv, 7);
	struct shmfs_object *other;

	shmfs_object_rekey(object, 99, true);
	assert_int_equal(f->table->count, 1);
	assert_ptr_equal(get(f->sysv, 99), object);
	other = get(f->sysv, 7);
	assert_ptr_not_equal(other, object);
	put(object, 2);
	put(other, 1);
}

/* Whoever had that identity before is gone. */
static void a_new_identity_is_taken_from_another(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *object = get(f->sysv, 7);
	struct shmfs_object *stale = get(f->sysv, 99);
	struct shmfs_object *foreign = get(f->posix, 99);

	shmfs_object_rekey(object, 99, true);
	assert_int_equal(f->table->count, 1);
	assert_ptr_equal(get(f->sysv, 99), object);
	assert_ptr_equal(get(f->posix, 99), foreign);
	put(stale, 1);
	assert_ptr_equal(get(f->sysv, 99), object);
	put(object, 3);
	put(foreign, 2);
	assert_int_equal(f->sysv->objects, 0);
}

static void a_retired_object_can_have_a_new_identity(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *old = get(f->sysv, 7);
	struct shmfs_object *other = get(f->sysv, 99);
	struct shmfs_object *object;

	shmfs_object_retire(old);
	object = get(f->sysv, 7);
	shmfs_object_rekey(old, 99, true);
	assert_int_equal(old->identity, 99);
	/* It is in nobody's way. */
	assert_ptr_equal(get(f->sysv, 7), object);
	assert_ptr_equal(get(f->sysv, 99), other);
	put(old, 1);
	put(other, 2);
	put(object, 2);
}

static void an_identity_is_taken_from_nobody_who_has_it(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *object = get(f->sysv, 7);
	struct shmfs_object *other = get(f->sysv, 99);

	assert_false(shmfs_object_rekey(object, 99, false));
	assert_int_equal(object->identity, 7);
	assert_false(other->retired);
	assert_true(shmfs_object_rekey(object, 100, false));
	assert_ptr_equal(shmfs_object_find(&f->sysv->base, 100), object);
	shmfs_object_retire(object);
	assert_false(shmfs_object_rekey(object, 101, false));
	put(object, 2);
	put(other, 1);
}

static void many_can_have_new_identities(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object **objects = calloc(MANY, sizeof(struct shmfs_object *));

	assert_non_null(objects);
	for (uint32_t i = 0; i < MANY; i++) {
		objects[i] = get(f->sysv, i);
		shmfs_object_rekey(objects[i], MANY + i, true);
	}
	assert_int_equal(f->table->count, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		assert_ptr_equal(get(f->sysv, MANY + i), objects[i]);
		put(objects[i], 2);
	}
	free(objects);
}

static void an_older_object_is_another(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *old = get(f->sysv, 7);
	uint64_t moment = shmfs_object_moment(&f->sysv->base);
	struct shmfs_object *object;

	shmfs_object_retire_older(&f->sysv->base, 7, moment - 1);
	shmfs_object_retire_older(&f->sysv->base, 8, moment);
	assert_false(old->retired);
	shmfs_object_retire_older(&f->sysv->base, 7, moment);
	assert_true(old->retired);
	object = get(f->sysv, 7);
	shmfs_object_retire_older(&f->sysv->base, 7, moment);
	assert_false(object->retired);
	put(old, 1);
	put(object, 1);
}

/* --- inode numbers --- */

static void a_number_stays_whatever_becomes_of_the_object(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *object = get(f->sysv, 7);
	ino_t ino = shmfs_object_ino(object, 0);

	shmfs_object_rekey(object, 99, true);
	assert_int_equal(shmfs_object_ino(object, 0), ino);
	assert_int_equal(shmfs_identity_ino(&f->sysv->base, 99, 0), ino);
	shmfs_object_retire(object);
	assert_int_equal(shmfs_object_ino(object, 0), ino);
	put(object, 1);
}

static void a_number_in_use_is_not_given_again(void **state)
{
	static const uint64_t identities[] = { 7, 7 + (1 << 27), 7 + (1 << 28) };
	struct fixture *f = *state;
	struct shmfs_object *objects[COUNT(identities)];

	for (size_t i = 0; i < COUNT(identities); i++)
		objects[i] = get(f->sysv, identities[i]);
	for (size_t i = 0; i < COUNT(identities); i++) {
		ino_t ino = shmfs_object_ino(objects[i], 0);

		assert_int_equal(shmfs_identity_ino(&f->sysv->base, identities[i], 0), ino);
		assert_in_range(ino, UINT64_C(1) << 29, (UINT64_C(1) << 29) + (1 << 28) - 1);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(shmfs_object_ino(objects[j], 0), ino);
	}
	for (size_t i = 0; i < COUNT(identities); i++)
		put(objects[i], 1);
}

static void a_listing_knows_a_number_before_the_object_is_in_use(void **state)
{
	struct fixture *f = *state;
	ino_t ino = shmfs_identity_ino(&f->sysv->base, 65538, 0);
	struct shmfs_object *object = get(f->sysv, 65538);

	assert_int_equal(shmfs_object_ino(object, 0), ino);
	put(object, 1);
}

static void backends_and_variants_have_numbers_of_their_own(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *here = get(f->sysv, 7);
	struct shmfs_object *there = get(f->posix, 7);
	ino_t inos[] = { shmfs_object_ino(here, 0), shmfs_object_ino(here, 1),
			 shmfs_object_ino(there, 0), shmfs_object_ino(there, 1) };

	for (size_t i = 0; i < COUNT(inos); i++) {
		assert_true(inos[i] <= UINT32_MAX);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(inos[i], inos[j]);
	}
	put(here, 1);
	put(there, 1);
}

static struct shmfs_object *no_object(struct shmfs_backend *backend, uint64_t identity)
{
	return NULL;
}

static void an_object_that_cannot_be_made_is_none(void **state)
{
	struct fixture *f = *state;
	struct shmfs_object *untouched = (struct shmfs_object *)&no_memory;
	struct shmfs_object *object = untouched;

	assert_int_equal(shmfs_object_get(&f->sysv->base, 7, no_object, &object), -ENOMEM);
	assert_ptr_equal(object, untouched);
	assert_int_equal(f->table->count, 0);
	put(get(f->sysv, 7), 1);
}

static void no_table_without_memory(void **state)
{
	struct shmfs_object_table table;

	no_memory = true;
	assert_int_equal(shmfs_object_table_init(&table), -ENOMEM);
	no_memory = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OBJECT_TEST(one_object_for_one_identity),
		OBJECT_TEST(backends_are_apart),
		OBJECT_TEST(identities_have_64_bits),
		OBJECT_TEST(the_last_reference_frees),
		OBJECT_TEST(finds_each_of_many_objects),
		OBJECT_TEST(go_in_any_order),
		OBJECT_TEST(a_retired_object_makes_room_for_another),
		OBJECT_TEST(an_object_is_found_by_its_new_identity),
		OBJECT_TEST(a_new_identity_is_taken_from_another),
		OBJECT_TEST(a_retired_object_can_have_a_new_identity),
		OBJECT_TEST(an_identity_is_taken_from_nobody_who_has_it),
		OBJECT_TEST(many_can_have_new_identities),
		OBJECT_TEST(an_older_object_is_another),
		OBJECT_TEST(a_number_stays_whatever_becomes_of_the_object),
		OBJECT_TEST(a_number_in_use_is_not_given_again),
		OBJECT_TEST(a_listing_knows_a_number_before_the_object_is_in_use),
		OBJECT_TEST(backends_and_variants_have_numbers_of_their_own),
		OBJECT_TEST(an_object_that_cannot_be_made_is_none),
		cmocka_unit_test(no_table_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
