/* SPDX-License-Identifier: MIT */
#include "fuse/loop.h"

/* Bytes of requests, of each user. */
#define MAX_BYTES ((size_t)64 << 20)

uint32_t shmfs_aside_user(const struct fuse_in_header *header)
{
	switch (header->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_INTERRUPT:
		return SHMFS_NOBODY;
	default:
		return header->uid;
	}
}

static uint32_t user_of(const char *bytes)
{
	return shmfs_aside_user((const void *)bytes);
}

int shmfs_aside_put(struct shmfs_aside **list, const char *bytes, size_t size)
{
	const uint32_t uid = user_of(bytes);
	struct shmfs_aside *aside;
	size_t sum = size;

	for (; *list; list = &(*list)->next)
		if (user_of((*list)->bytes) == uid)
			sum += (*list)->size;
	if (sum > MAX_BYTES && uid != SHMFS_NOBODY)
		return -EBUSY;
	aside = malloc(sizeof(*aside) + size);
	if (!aside)
		return -ENOMEM;
	*aside = (struct shmfs_aside){ .size = size };
	memcpy(aside->bytes, bytes, size);
	*list = aside;
	return 0;
}

struct shmfs_aside *shmfs_aside_take(struct shmfs_aside **list,
				     bool (*may)(const void *arg, uint32_t uid), const void *arg)
{
	struct shmfs_aside *aside;

	while (*list && !may(arg, user_of((*list)->bytes)))
		list = &(*list)->next;
	aside = *list;
	if (aside)
		*list = aside->next;
	return aside;
}
