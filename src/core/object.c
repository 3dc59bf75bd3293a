/* SPDX-License-Identifier: MIT */
#include "shmfs/object.h"

#include "shmfs/backend.h"
#include "shmfs/cleanup.h"

/* A bucket takes memory once it is used.  A chain of a million objects has some sixty. */
#define BUCKETS ((size_t)1 << 14)

#define SPARE_NUMBERS (UINT32_C(1) << 27)

int shmfs_object_table_init(struct shmfs_object_table *table)
{
	*table = (struct shmfs_object_table){ .buckets = calloc(BUCKETS, sizeof(*table->buckets)) };
	if (!table->buckets)
		return -ENOMEM;
	pthread_mutex_init(&table->lock, NULL);
	return 0;
}

void shmfs_object_table_destroy(struct shmfs_object_table *table)
{
	free(table->buckets);
	pthread_mutex_destroy(&table->lock);
}

static struct shmfs_object_table *table_of(const struct shmfs_object *object)
{
	return &object->backend->objects;
}

/* table->lock is held in this function and in all static ones below. */
static struct shmfs_object **find_link(struct shmfs_object_table *table, enum shmfs_object_key key,
				       uint64_t value)
{
	/* Identities are small numbers and addresses: spread them. */
	const size_t bucket = (size_t)(value * 0x9e3779b97f4a7c15u >> 32) & (BUCKETS - 1);
	struct shmfs_object **link = &table->buckets[bucket][key];

	while (*link && (key == SHMFS_BY_NUMBER ? (*link)->number : (*link)->identity) != value)
		link = &(*link)->next[key];
	return link;
}

static struct shmfs_object *find(struct shmfs_object_table *table, uint64_t identity)
{
	return *find_link(table, SHMFS_BY_IDENTITY, identity);
}

static void insert(struct shmfs_object **bucket, struct shmfs_object *object,
		   enum shmfs_object_key key)
{
	object->next[key] = *bucket;
	*bucket = object;
}

static void put_in(struct shmfs_object_table *table, struct shmfs_object *object)
{
	if (object->retired)
		return;
	insert(find_link(table, SHMFS_BY_IDENTITY, object->identity), object, SHMFS_BY_IDENTITY);
	table->count++;
}

static void take_out(struct shmfs_object_table *table, struct shmfs_object *object)
{
	if (object->retired)
		return;
	*find_link(table, SHMFS_BY_IDENTITY, object->identity) = object->next[SHMFS_BY_IDENTITY];
	table->count--;
}

static void retire(struct shmfs_object_table *table, struct shmfs_object *object)
{
	take_out(table, object);
	object->retired = true;
}

static uint32_t number_of(uint64_t identity)
{
	return (uint32_t)identity & (SPARE_NUMBERS - 1);
}

/* Give the object its identity's own number if that is free, else the next spare number. */
static void give_number(struct shmfs_object_table *table, struct shmfs_object *object)
{
	struct shmfs_object **link;

	object->number = number_of(object->identity);
	while (*(link = find_link(table, SHMFS_BY_NUMBER, object->number))) {
		table->last_spare = number_of(table->last_spare + 1);
		object->number = SPARE_NUMBERS | table->last_spare;
	}
	insert(link, object, SHMFS_BY_NUMBER);
}

int shmfs_object_get(struct shmfs_backend *backend, uint64_t identity, shmfs_object_make_fn *make,
		     struct shmfs_object **out)
{
	struct shmfs_object_table *table = &backend->objects;
	struct shmfs_object *object;
	SHMFS_LOCKED(&table->lock);

	object = find(table, identity);
	if (!object) {
		object = make(backend, identity);
		if (!object)
			return -ENOMEM;
		object->backend = backend;
		object->identity = identity;
		object->made_at = table->made++;
		pthread_mutex_init(&object->lock, NULL);
		put_in(table, object);
		give_number(table, object);
	}
	object->references++;
	*out = object;
	return 0;
}

struct shmfs_object *shmfs_object_find(struct shmfs_backend *backend, uint64_t identity)
{
	struct shmfs_object_table *table = &backend->objects;
	struct shmfs_object *object;
	SHMFS_LOCKED(&table->lock);

	object = find(table, identity);
	if (object)
		object->references++;
	return object;
}

void shmfs_object_ref(struct shmfs_object *object)
{
	struct shmfs_object_table *table = table_of(object);

	SHMFS_LOCKED(&table->lock);
	object->references++;
}

void shmfs_object_put(struct shmfs_object *object)
{
	struct shmfs_object_table *table = table_of(object);
	bool last;

	pthread_mutex_lock(&table->lock);
	last = --object->references == 0;
	if (last) {
		take_out(table, object);
		*find_link(table, SHMFS_BY_NUMBER, object->number) = object->next[SHMFS_BY_NUMBER];
	}
	pthread_mutex_unlock(&table->lock);
	if (!last)
		return;
	if (object->view_state)
		object->view_state_free(object->view_state);
	pthread_mutex_destroy(&object->lock);
	object->backend->ops->object_free(object);
}

void shmfs_object_retire(struct shmfs_object *object)
{
	struct shmfs_object_table *table = table_of(object);

	SHMFS_LOCKED(&table->lock);
	retire(table, object);
}

uint64_t shmfs_object_moment(struct shmfs_backend *backend)
{
	SHMFS_LOCKED(&backend->objects.lock);
	return backend->objects.made;
}

void shmfs_object_retire_older(struct shmfs_backend *backend, uint64_t identity, uint64_t moment)
{
	struct shmfs_object_table *table = &backend->objects;
	struct shmfs_object *object;
	SHMFS_LOCKED(&table->lock);

	object = find(table, identity);
	if (object && object->made_at < moment)
		retire(table, object);
}

bool shmfs_object_rekey(struct shmfs_object *object, uint64_t identity, bool replace)
{
	struct shmfs_object_table *table = table_of(object);
	struct shmfs_object *other;
	SHMFS_LOCKED(&table->lock);

	other = find(table, identity);
	if (!replace && (object->retired || other))
		return false;
	if (!object->retired && other && other != object)
		retire(table, other);
	take_out(table, object);
	object->identity = identity;
	put_in(table, object);
	return true;
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
	SHMFS_LOCKED(&table->lock);

	object = find(table, identity);
	return ino_of(backend, variant, object ? object->number : number_of(identity));
}
