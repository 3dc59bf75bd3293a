/* SPDX-License-Identifier: MIT */
/*
 * What the objects should be.
 *
 * Of a POSIX object that is what every file is.  A segment has a size that only
 * another segment under its key can change: object_may_resize() says when that is
 * certain.  Otherwise it depends on the room that it has already, which the model
 * does not know, and so it learns what came of a call.  What the file shows it
 * does know.
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

bool object_may_resize(const struct object *obj)
{
	if (now.kind == POSIX)
		return true;
	return obj->name >= 0 && !obj->attached && !obj->mapped && !obj->bound;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void object_extend(struct object *obj, uint64_t end)
{
	if (now.kind == POSIX) {
		obj->size = larger(obj->size, end);
		return;
	}
	if (end > obj->size && !obj->fresh && !obj->growing) {
		obj->growing = true;
		obj->floor = obj->size;
		obj->extent = 0;
	}
	obj->extent = larger(obj->extent, end);
	if (obj->fresh)
		obj->size = obj->extent;
	else if (obj->growing)
		obj->size = larger(obj->floor, obj->extent);
}

void object_clear(struct object *obj)
{
	object_store(obj, 0, NULL, MOST);
	if (now.kind == POSIX || obj->fresh)
		obj->size = 0;
	else
		obj->floor = obj->size;
	obj->extent = 0;
}

void object_set_size(struct object *obj, uint64_t size)
{
	object_resize(obj, size);
	obj->fresh = false;
	obj->growing = false;
	obj->floor = size;
	obj->extent = 0;
}

void object_settle(struct object *obj)
{
	if (obj->fresh || obj->growing)
		obj->size = larger(obj->floor, obj->extent);
	obj->fresh = false;
	obj->growing = false;
	obj->floor = obj->size;
}
