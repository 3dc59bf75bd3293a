/* SPDX-License-Identifier: MIT */
#include "fuse/internal.h"

#include <malloc.h>

/* So many inodes are worth a look at the heap: some hundred kilobytes. */
#define TRIM_EVERY 1024

/* fs->lock is held. */
static struct shmfs_inode *find(const struct shmfs_object *object, const struct shmfs_view *view)
{
	struct shmfs_inode *inode = object->inodes;

	while (inode && (inode->view != view || inode->superseded))
		inode = inode->sibling;
	return inode;
}

/* fs->lock is held. */
static struct shmfs_inode *make(struct shmfs_inode_table *table, const struct shmfs_view *view,
				struct shmfs_object *object)
{
	struct shmfs_inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->view = view;
	inode->object = object;
	pthread_mutex_init(&inode->backing_lock, NULL);
	inode->sibling = object->inodes;
	object->inodes = inode;
	inode->next = table->inodes;
	inode->link = &table->inodes;
	if (inode->next)
		inode->next->link = &inode->next;
	table->inodes = inode;
	table->count++;
	return inode;
}

int shmfs_inode_get(struct shmfs_fs *fs, const struct shmfs_view *view, struct shmfs_object *object,
		    struct shmfs_inode **out)
{
	struct shmfs_inode *inode;
	bool is_new;

	pthread_mutex_lock(&fs->lock);
	inode = find(object, view);
	is_new = !inode;
	if (is_new)
		inode = make(&fs->inodes, view, object);
	if (inode)
		inode->nlookup++;
	pthread_mutex_unlock(&fs->lock);
	if (!inode || !is_new)
		shmfs_object_put(object);
	if (!inode)
		return -ENOMEM;
	*out = inode;
	return 0;
}

void shmfs_inode_supersede(struct shmfs_fs *fs, struct shmfs_inode *inode)
{
	SHMFS_LOCKED(&fs->lock);

	/* All: the kernel may serve the one that was made last as well. */
	for (struct shmfs_inode *other = inode->object->inodes; other; other = other->sibling)
		other->superseded = other->superseded || other->view == inode->view;
}

/* fs->lock is held. */
static void take_out(struct shmfs_inode_table *table, struct shmfs_inode *inode)
{
	struct shmfs_inode **link = &inode->object->inodes;

	while (*link != inode)
		link = &(*link)->sibling;
	*link = inode->sibling;
	*inode->link = inode->next;
	if (inode->next)
		inode->next->link = inode->link;
	table->count--;
}

static void free_inode(struct shmfs_inode *inode)
{
	shmfs_object_put(inode->object);
	pthread_mutex_destroy(&inode->backing_lock);
	free(inode);
}

/*
 * Give memory back to the system after most of many inodes have gone.  glibc keeps freed memory
 * below the end of each heap (malloc_trim(3)).
 */
static bool is_time_to_trim(struct shmfs_inode_table *table)
{
	if (++table->nfreed < TRIM_EVERY || table->nfreed < table->count)
		return false;
	table->nfreed = 0;
	return true;
}

static void trim(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

void shmfs_inode_forget(struct shmfs_fs *fs, struct shmfs_inode *inode, uint64_t nlookup)
{
	bool trims = false;
	bool last;

	pthread_mutex_lock(&fs->lock);
	inode->nlookup -= nlookup;
	last = inode->nlookup == 0;
	if (last) {
		take_out(&fs->inodes, inode);
		trims = is_time_to_trim(&fs->inodes);
	}
	pthread_mutex_unlock(&fs->lock);
	if (last)
		free_inode(inode);
	if (trims)
		trim();
}
