/* SPDX-License-Identifier: MIT */
#include "shmfs/object.h"

#include <errno.h>
#include <stdlib.h>

#include "shmfs/backend.h"

#define FIRST_BUCKETS 64

int shmfs_object_table_init(struct shmfs_object_table *table)
{
	*table = (struct shmfs_object_table){ .nbuckets = FIRST_BUCKETS };
	table->buckets = calloc(FIRST_BUCKETS, sizeof(struct shmfs_object *));
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

/* Twice the buckets.  Without memory for them the chains get longer. */
static void grow(struct shmfs_object_table *table)
{
	size_t nbuckets = 2 * table->nbuckets;
	struct shmfs_object **buckets = calloc(nbuckets, sizeof(*buckets));

	if (!buckets)
		return;
	for (size_t i = 0; i < table->nbuckets; i++) {
		struct shmfs_object *object = table->buckets[i];

		while (object) {
			struct shmfs_object *next = object->next;
			size_t to = bucket_of(object->identity, nbuckets);

			object->next = buckets[to];
			buckets[to] = object;
			object = next;
		}
	}
	free(table->buckets);
	table->buckets = buckets;
	table->nbuckets = nbuckets;
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
			put_in(table, object);
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
	if (last)
		take_out(table, object);
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
