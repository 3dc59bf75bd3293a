/* SPDX-License-Identifier: MIT */
/*
 * What the objects should be.
 *
 * Of a POSIX object that is what every file is.  A segment has a size, which
 * only another segment under its key can change: object_may_resize() says when
 * that is possible.  How much room a growing one gets is not the model's to
 * say; it learns it, and holds shmfs to what is in it and to what is left of
 * it in the end.
 */
#include "exerciser.h"

#include <stdlib.h>
#include <string.h>

struct exerciser now;

struct object *object_new(int name, uint64_t size, mode_t mode)
{
	struct object *obj = calloc(1, sizeof(*obj));

	if (obj)
		obj->bytes = calloc(1, MOST);
	if (!obj || !obj->bytes)
		give_up("memory for the model");
	obj->size = size;
	obj->mode = mode;
	obj->name = name;
	now.names[name] = obj;
	return obj;
}

void object_put(struct object *obj)
{
	if (obj->name >= 0 || obj->handles || obj->mapped || obj->attached)
		return;
	free(obj->bytes);
	free(obj);
}

void object_unname(int name)
{
	struct object *obj = now.names[name];

	now.names[name] = NULL;
	obj->name = -1;
	object_put(obj);
}

void object_store(struct object *obj, uint64_t offset, const char *bytes, size_t count)
{
	if (offset >= MOST)
		return;
	if (count > MOST - offset)
		count = (size_t)(MOST - offset);
	if (bytes)
		memcpy(obj->bytes + offset, bytes, count);
	else
		memset(obj->bytes + offset, 0, count);
}

void object_resize(struct object *obj, uint64_t size)
{
	obj->size = size;
	object_store(obj, size, NULL, MOST);
}

bool object_may_resize(const struct object *obj, const struct handle *h)
{
	if (now.kind == POSIX)
		return true;
	return obj->name >= 0 && !obj->attached && !obj->mapped && obj->handles <= (h ? 1 : 0) &&
	       !(h && h->bound);
}

uint64_t object_end(const struct object *obj)
{
	if (obj->fresh)
		return obj->extent;
	if (obj->growing)
		return obj->floor > obj->extent ? obj->floor : obj->extent;
	return obj->size;
}

void object_set_size(struct object *obj, uint64_t size)
{
	object_resize(obj, size);
	obj->fresh = false;
	obj->growing = false;
	obj->floor = size;
	if (obj->extent > size)
		obj->extent = size;
}

void object_settle(struct object *obj)
{
	uint64_t content = obj->floor > obj->extent ? obj->floor : obj->extent;

	if (obj->growing && content < obj->size && object_may_resize(obj, NULL))
		object_resize(obj, content);
	obj->growing = false;
}
