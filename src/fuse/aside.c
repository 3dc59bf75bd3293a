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

static const struct fuse_in_header *header_of(const struct shmfs_aside *aside)
{
	return (const void *)aside->request;
}

int shmfs_aside_put(struct shmfs_aside **list, const struct fuse_in_header *request)
{
	const uint32_t uid = shmfs_aside_user(request);
	struct shmfs_aside *aside;
	size_t sum = request->len;

	for (; *list; list = &(*list)->next)
		if (shmfs_aside_user(header_of(*list)) == uid)
			sum += header_of(*list)->len;
	if (sum > MAX_BYTES && uid != SHMFS_NOBODY)
		return -EBUSY;
	aside = malloc(sizeof(*aside) + request->len);
	if (!aside)
		return -ENOMEM;
	aside->next = NULL;
	memcpy(aside->request, request, request->len);
	*list = aside;
	return 0;
}

struct shmfs_aside *shmfs_aside_take(struct shmfs_aside **list,
				     bool (*may)(const void *arg, uint32_t uid), const void *arg)
{
	struct shmfs_aside *aside;

	while (*list && !may(arg, shmfs_aside_user(header_of(*list))))
		list = &(*list)->next;
	aside = *list;
	if (aside)
		*list = aside->next;
	return aside;
}
