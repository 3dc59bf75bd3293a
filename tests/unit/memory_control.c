/* SPDX-License-Identifier: MIT */
/* What a test does to the backend of plain memory, beside the interface. */
#include "memory_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct shmfs_view memory_view(struct memory_backend *be)
{
	return (struct shmfs_view){ .ops = be->base.ops, .backend = &be->base };
}

ino_t memory_ino(struct memory_backend *be, const struct memory_file *file)
{
	return shmfs_identity_ino(&be->base, file->identity, 0);
}

/* One process, which uses all. */
static int find_process(void *context, uint32_t number, const struct shmfs_caller *caller)
{
	return number == MEMORY_PID ? 0 : -ENOENT;
}

static int list_processes(void *context, const struct shmfs_caller *caller,
			  int (*fn)(uint32_t number, void *arg), void *arg)
{
	return fn(MEMORY_PID, arg);
}

void memory_tree(struct shmfs_tree *tree, struct memory_backend *sysv, struct memory_backend *posix)
{
	sysv->base.number = 1;
	posix->base.number = 2;
	tree->views[SHMFS_VIEW_SYSV] = memory_view(sysv);
	tree->views[SHMFS_VIEW_BY_ID] = memory_view(sysv);
	tree->views[SHMFS_VIEW_POSIX] = memory_view(posix);
	tree->views[SHMFS_VIEW_SYSV_TEXT] = memory_view(sysv);
	tree->views[SHMFS_VIEW_POSIX_TEXT] = memory_view(posix);
	tree->views[SHMFS_VIEW_SYSV_TEXT].variant = 1;
	tree->views[SHMFS_VIEW_POSIX_TEXT].variant = 1;
	tree->views[SHMFS_VIEW_SYSV_ORPHANS] = memory_view(sysv);
	tree->views[SHMFS_VIEW_POSIX_ORPHANS] = memory_view(posix);
	/* Names are texts in both. */
	tree->views[SHMFS_VIEW_SYSV_BY_PID] = memory_view(posix);
	tree->views[SHMFS_VIEW_POSIX_BY_PID] = memory_view(posix);
	tree->numbers = (struct shmfs_numbers){ .find = find_process, .list = list_processes };
}

void memory_fail(struct memory_backend *be, enum memory_slot slot, int err)
{
	memory_fail_later(be, slot, 0, 1, err);
}

void memory_fail_later(struct memory_backend *be, enum memory_slot slot, unsigned skip,
		       unsigned times, int err)
{
	be->faults[slot] = (struct memory_fault){ .err = err, .skip = skip, .times = times };
}

struct memory_file *memory_add(struct memory_backend *be, uint32_t key, const char *name)
{
	struct memory_file *file = memory_add_file(be, key, name);

	if (!file)
		abort();
	return file;
}

struct memory_file *memory_add_bytes(struct memory_backend *be, uint32_t key, const char *name,
				     const void *bytes, size_t len)
{
	struct memory_file *file = memory_add(be, key, name);

	if (memory_resize(file, (off_t)len) != 0)
		abort();
	memcpy(file->bytes, bytes, len);
	return file;
}

void memory_unlink(struct memory_backend *be, struct memory_file *file)
{
	pthread_mutex_lock(&be->lock);
	file->linked = false;
	pthread_mutex_unlock(&be->lock);
}

void memory_lose_pages(struct memory_file *file)
{
	if (ftruncate(file->fd, 0) != 0)
		abort();
}
