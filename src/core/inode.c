/* SPDX-License-Identifier: MIT */
#include "shmfs/inode.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_BUCKETS 64

int shmfs_inode_table_init(struct shmfs_inode_table *table)
{
	*table = (struct shmfs_inode_table){ .nbuckets = FIRST_BUCKETS };
	table->buckets = calloc(FIRST_BUCKETS, sizeof(struct shmfs_inode *));
	if (!table->buckets)
		return -ENOMEM;
	pthread_mutex_init(&table->lock, NULL);
	return 0;
}

static void free_inode(struct shmfs_inode *inode)
{
	inode->object->backend->ops->object_free(inode->object);
	pthread_mutex_destroy(&inode->backing_lock);
	free(inode);
}

static void free_chain(struct shmfs_inode *inode)
{
	while (inode) {
		struct shmfs_inode *next = inode->next;

		free_inode(inode);
		inode = next;
	}
}

void shmfs_inode_table_destroy(struct shmfs_inode_table *table)
{
	for (size_t i = 0; i < table->nbuckets; i++)
		free_chain(table->buckets[i]);
	free_chain(table->retired);
	free(table->buckets);
	pthread_mutex_destroy(&table->lock);
}

/* Identities count up from small numbers: spread them, and the backends apart. */
static size_t bucket_of(const struct shmfs_backend *backend, uint64_t identity, size_t nbuckets)
{
	uint64_t hash = (identity ^ (uint64_t)(uintptr_t)backend) * 0x9e3779b97f4a7c15u;

	return (size_t)(hash >> 32) & (nbuckets - 1);
}

static struct shmfs_inode **find_link(struct shmfs_inode_table *table,
				      const struct shmfs_backend *backend, uint64_t identity)
{
	struct shmfs_inode **link = &table->buckets[bucket_of(backend, identity, table->nbuckets)];

	while (*link &&
	       ((*link)->object->identity != identity || (*link)->object->backend != backend))
		link = &(*link)->next;
	return link;
}

/* Twice the buckets; without memory for them the chains just get longer. */
static void grow(struct shmfs_inode_table *table)
{
	size_t nbuckets = 2 * table->nbuckets;
	struct shmfs_inode **buckets = calloc(nbuckets, sizeof(*buckets));

	if (!buckets)
		return;
	for (size_t i = 0; i < table->nbuckets; i++) {
		struct shmfs_inode *inode = table->buckets[i];

		while (inode) {
			struct shmfs_inode *next = inode->next;
			size_t to = bucket_of(inode->object->backend, inode->object->identity,
					      nbuckets);

			inode->next = buckets[to];
			buckets[to] = inode;
			inode = next;
		}
	}
	free(table->buckets);
	table->buckets = buckets;
	table->nbuckets = nbuckets;
}

/* table->lock is held. */
static void put_in(struct shmfs_inode_table *table, struct shmfs_inode *inode)
{
	struct shmfs_inode **bucket;

	if (table->count >= table->nbuckets)
		grow(table);
	bucket = &table->buckets[bucket_of(inode->object->backend, inode->object->identity,
					   table->nbuckets)];
	inode->next = *bucket;
	*bucket = inode;
	inode->retired = false;
	table->count++;
}

static struct shmfs_inode *new_inode(struct shmfs_backend *backend, uint64_t identity)
{
	struct shmfs_inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	if (backend->ops->object_new(backend, identity, &inode->object) != 0) {
		free(inode);
		return NULL;
	}
	pthread_mutex_init(&inode->backing_lock, NULL);
	return inode;
}

int shmfs_inode_get(struct shmfs_inode_table *table, struct shmfs_backend *backend,
		    uint64_t identity, struct shmfs_inode **out)
{
	struct shmfs_inode *inode;

	pthread_mutex_lock(&table->lock);
	inode = *find_link(table, backend, identity);
	if (!inode) {
		inode = new_inode(backend, identity);
		if (inode)
			put_in(table, inode);
	}
	if (inode)
		inode->nlookup++;
	pthread_mutex_unlock(&table->lock);
	if (!inode)
		return -ENOMEM;
	*out = inode;
	return 0;
}

/* table->lock is held. */
static void take_out(struct shmfs_inode_table *table, struct shmfs_inode *inode)
{
	struct shmfs_inode **link = &table->buckets[bucket_of(
		inode->object->backend, inode->object->identity, table->nbuckets)];

	if (inode->retired)
		link = &table->retired;
	else
		table->count--;
	while (*link != inode)
		link = &(*link)->next;
	*link = inode->next;
}

/* table->lock is held. */
static void retire(struct shmfs_inode_table *table, struct shmfs_inode *inode)
{
	take_out(table, inode);
	inode->retired = true;
	inode->next = table->retired;
	table->retired = inode;
}

void shmfs_inode_retire(struct shmfs_inode_table *table, struct shmfs_inode *inode)
{
	pthread_mutex_lock(&table->lock);
	retire(table, inode);
	pthread_mutex_unlock(&table->lock);
}

void shmfs_inode_identity_changed(void *arg, struct shmfs_object *object, uint64_t identity)
{
	struct shmfs_inode_table *table = arg;
	struct shmfs_inode *inode;
	struct shmfs_inode *other;

	pthread_mutex_lock(&table->lock);
	inode = *find_link(table, object->backend, object->identity);
	if (inode && inode->object == object) {
		other = *find_link(table, object->backend, identity);
		if (other)
			retire(table, other);
		take_out(table, inode);
		object->identity = identity;
		put_in(table, inode);
	} else {
		object->identity = identity;
	}
	pthread_mutex_unlock(&table->lock);
}

void shmfs_inode_forget(struct shmfs_inode_table *table, struct shmfs_inode *inode,
			uint64_t nlookup)
{
	bool last;

	pthread_mutex_lock(&table->lock);
	inode->nlookup -= nlookup;
	last = inode->nlookup == 0;
	if (last)
		take_out(table, inode);
	pthread_mutex_unlock(&table->lock);
	if (last)
		free_inode(inode);
}
