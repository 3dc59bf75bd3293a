/* SPDX-License-Identifier: MIT */
#include "shmfs/object.h"

#include <errno.h>
#include <stdlib.h>

#include "shmfs/backend.h"
#include "shmfs/cleanup.h"

#define FIRST_BUCKETS 64

#define SPARE_NUMBERS (UINT32_C(1) << 27)
#define NUMBER_MASK (2 * SPARE_NUMBERS - 1)

int shmfs_object_table_init(struct shmfs_object_table *table)
{
	*table = (struct shmfs_object_table){ .nbuckets = FIRST_BUCKETS };
	table->buckets = calloc(FIRST_BUCKETS, sizeof(struct shmfs_object *));
	table->numbers = calloc(FIRST_BUCKETS, sizeof(struct shmfs_object *));
	if (!table->buckets || !table->numbers) {
		free(table->buckets);
		free(table->numbers);
		return -ENOMEM;
	}
	pthread_mutex_init(&table->lock, NULL);
	return 0;
}

void shmfs_object_table_destroy(struct shmfs_object_table *table)
{
	free(table->buckets);
	free(table->numbers);
	pthread_mutex_destroy(&table->lock);
}

static struct shmfs_object_table *table_of(const struct shmfs_object *object)
{
	return &object->backend->objects;
}

/* Identities are small numbers and addresses: spread them. */
static size_t bucket_of(uint64_t identity, size_t nbuckets)
{
	return (size_t)(identity * 0x9e3779b97f4a7c15u >> 32) & (nbuckets - 1);
}

/* table->lock is held here and in what follows. */
static struct shmfs_object **find_link(struct shmfs_object_table *table, uint64_t identity)
{
	struct shmfs_object **link = &table->buckets[bucket_of(identity, table->nbuckets)];

	while (*link && (*link)->identity != identity)
		link = &(*link)->next;
	return link;
}

static struct shmfs_object **number_link(struct shmfs_object_table *table, uint32_t number)
{
	struct shmfs_object **link = &table->numbers[bucket_of(number, table->nbuckets)];

	while (*link && (*link)->number != number)
		link = &(*link)->next_number;
	return link;
}

static void grow_identities(const struct shmfs_object_table *table, struct shmfs_object **buckets)
{
	for (size_t i = 0; i < table->nbuckets; i++) {
		struct shmfs_object *object = table->buckets[i];

		while (object) {
			struct shmfs_object *next = object->next;
			size_t to = bucket_of(object->identity, 2 * table->nbuckets);

			object->next = buckets[to];
			buckets[to] = object;
			object = next;
		}
	}
}

static void grow_numbers(const struct shmfs_object_table *table, struct shmfs_object **numbers)
{
	for (size_t i = 0; i < table->nbuckets; i++) {
		struct shmfs_object *object = table->numbers[i];

		while (object) {
			struct shmfs_object *next = object->next_number;
			size_t to = bucket_of(object->number, 2 * table->nbuckets);

			object->next_number = numbers[to];
			numbers[to] = object;
			object = next;
		}
	}
}

/* Twice the buckets.  Without memory for them the chains get longer. */
static void grow(struct shmfs_object_table *table)
{
	struct shmfs_object **buckets = calloc(2 * table->nbuckets, sizeof(*buckets));
	struct shmfs_object **numbers = calloc(2 * table->nbuckets, sizeof(*numbers));

	if (!buckets || !numbers) {
		free(buckets);
		free(numbers);
		return;
	}
	grow_identities(table, buckets);
	grow_numbers(table, numbers);
	free(table->buckets);
	free(table->numbers);
	table->buckets = buckets;
	table->numbers = numbers;
	table->nbuckets *= 2;
}

static void put_in(struct shmfs_object_table *table, struct shmfs_object *object)
{
	struct shmfs_object **bucket;

	if (table->count >= table->nbuckets)
		grow(table);
	bucket = &table->buckets[bucket_of(object->identity, table->nbuckets)];
	object->next = *bucket;
	*bucket = object;
	table->count++;
}

static void take_out(struct shmfs_object_table *table, struct shmfs_object *object)
{
	struct shmfs_object **link;

	if (object->retired) {
		table->nretired--;
		return;
	}
	link = find_link(table, object->identity);
	*link = object->next;
	table->count--;
}

static void retire(struct shmfs_object_table *table, struct shmfs_object *object)
{
	take_out(table, object);
	object->retired = true;
	table->nretired++;
}

static uint32_t number_of(uint64_t identity)
{
	return (uint32_t)identity & (SPARE_NUMBERS - 1);
}

/* The identity's own number, or where that is taken the next that is free. */
static void give_number(struct shmfs_object_table *table, struct shmfs_object *object)
{
	struct shmfs_object **link;

	object->number = number_of(object->identity);
	while (*(link = number_link(table, object->number))) {
		table->last_spare = number_of(table->last_spare + 1);
		object->number = SPARE_NUMBERS | table->last_spare;
	}
	object->next_number = NULL;
	*link = object;
}

int shmfs_object_get(struct shmfs_backend *backend, uint64_t identity, shmfs_object_make_fn *make,
		     struct shmfs_object **out)
{
	struct shmfs_object_table *table = &backend->objects;
	struct shmfs_object *object;

	pthread_mutex_lock(&table->lock);
	object = *find_link(table, identity);
	if (!object) {
		object = make(backend, identity);
		if (object) {
			object->backend = backend;
			object->identity = identity;
			object->made_at = table->made++;
			put_in(table, object);
			give_number(table, object);
		}
	}
	if (object)
		object->references++;
	pthread_mutex_unlock(&table->lock);
	if (!object)
		return -ENOMEM;
	*out = object;
	return 0;
}

struct shmfs_object *shmfs_object_find(struct shmfs_backend *backend, uint64_t identity)
{
	struct shmfs_object_table *table = &backend->objects;
	struct shmfs_object *object;

	pthread_mutex_lock(&table->lock);
	object = *find_link(table, identity);
	if (object)
		object->references++;
	pthread_mutex_unlock(&table->lock);
	return object;
}

void shmfs_object_ref(struct shmfs_object *object)
{
	struct shmfs_object_table *table = table_of(object);

	pthread_mutex_lock(&table->lock);
	object->references++;
	pthread_mutex_unlock(&table->lock);
}

void shmfs_object_put(struct shmfs_object *object)
{
	struct shmfs_object_table *table = table_of(object);
	bool last;

	pthread_mutex_lock(&table->lock);
	last = --object->references == 0;
	if (last) {
		take_out(table, object);
		*number_link(table, object->number) = object->next_number;
	}
	pthread_mutex_unlock(&table->lock);
	if (!last)
		return;
	if (object->view_state)
		object->view_state_free(object->view_state);
	object->backend->ops->object_free(object);
}

void shmfs_object_retire(struct shmfs_object *object)
{
	struct shmfs_object_table *table = table_of(object);

	pthread_mutex_lock(&table->lock);
	retire(table, object);
	pthread_mutex_unlock(&table->lock);
}

uint64_t shmfs_object_moment(struct shmfs_backend *backend)
{
	uint64_t moment;

	pthread_mutex_lock(&backend->objects.lock);
	moment = backend->objects.made;
	pthread_mutex_unlock(&backend->objects.lock);
	return moment;
}

void shmfs_object_retire_older(struct shmfs_backend *backend, uint64_t identity, uint64_t moment)
{
	struct shmfs_object_table *table = &backend->objects;
	struct shmfs_object *object;

	pthread_mutex_lock(&table->lock);
	object = *find_link(table, identity);
	if (object && object->made_at < moment)
		retire(table, object);
	pthread_mutex_unlock(&table->lock);
}

void shmfs_object_rekey(struct shmfs_object *object, uint64_t identity)
{
	struct shmfs_object_table *table = table_of(object);
	struct shmfs_object *other;

	pthread_mutex_lock(&table->lock);
	if (object->retired) {
		object->identity = identity;
	} else {
		take_out(table, object);
		other = *find_link(table, identity);
		if (other)
			retire(table, other);
		object->identity = identity;
		put_in(table, object);
	}
	pthread_mutex_unlock(&table->lock);
}

int shmfs_object_move(struct shmfs_object *object, uint64_t identity)
{
	struct shmfs_object_table *table = table_of(object);
	SHMFS_LOCKED(&table->lock);

	if (object->retired || *find_link(table, identity))
		return -EEXIST;
	take_out(table, object);
	object->identity = identity;
	put_in(table, object);
	return 0;
}

static ino_t ino_of(const struct shmfs_backend *backend, unsigned variant, uint32_t number)
{
	return (ino_t)backend->number << 29 | (variant ? SHMFS_INO_VARIANT : 0) | number;
}

ino_t shmfs_object_ino(const struct shmfs_object *object, unsigned variant)
{
	return ino_of(object->backend, variant, object->number);
}

ino_t shmfs_identity_ino(struct shmfs_backend *backend, uint64_t identity, unsigned variant)
{
	struct shmfs_object_table *table = &backend->objects;
	const struct shmfs_object *object;
	uint32_t number = number_of(identity);

	pthread_mutex_lock(&table->lock);
	object = *find_link(table, identity);
	if (object)
		number = object->number;
	pthread_mutex_unlock(&table->lock);
	return ino_of(backend, variant, number);
}

struct shmfs_object *shmfs_object_by_ino(struct shmfs_backend *backend, ino_t ino)
{
	struct shmfs_object_table *table = &backend->objects;
	struct shmfs_object *object;

	if (ino >> 29 != backend->number)
		return NULL;
	pthread_mutex_lock(&table->lock);
	object = *number_link(table, (uint32_t)ino & NUMBER_MASK);
	if (object)
		object->references++;
	pthread_mutex_unlock(&table->lock);
	return object;
}
