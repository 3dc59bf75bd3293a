/* SPDX-License-Identifier: MIT */
/* Operations on the bytes of open files, and on sizes. */
#include "exerciser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/falloc.h>

static char buffer[MOST + PAGE];

uint64_t any_offset(const struct object *obj)
{
	uint64_t end = obj->size < MOST ? obj->size : MOST;
	uint64_t offset;

	switch (random_below(4)) {
	case 0: /* about the end */
		offset = end + random_below(64);
		offset = offset > 32 ? offset - 32 : offset;
		break;
	case 1: /* about the edge of a page */
		offset = random_below(MOST / PAGE) * PAGE + random_below(16);
		offset = offset > 8 ? offset - 8 : offset;
		break;
	case 2: /* anywhere */
		offset = random_below(MOST);
		break;
	default: /* inside */
		offset = end ? random_below(end) : 0;
	}
	return offset < MOST ? offset : MOST - 1;
}

static uint64_t any_length(uint64_t most)
{
	static const uint64_t orders[] = { 16, 200, PAGE + 1, 3 * PAGE, MOST };
	uint64_t length = random_below(orders[once_in(20) ? 4 : random_below(4)]);

	return length < most ? length : most;
}

size_t any_bytes(char *bytes, uint64_t most)
{
	size_t count = (size_t)any_length(most);
	uint64_t seed = random_below(UINT32_MAX);

	for (size_t i = 0; i < count; i++)
		bytes[i] = (char)(1 + (seed + i * 7 + i / 251) % 255);
	return count;
}

static bool may_read(const struct handle *h)
{
	return (h->flags & O_ACCMODE) != O_WRONLY;
}

static bool may_write(const struct handle *h)
{
	return (h->flags & O_ACCMODE) != O_RDONLY;
}

static int number_of(const struct handle *h)
{
	return (int)(h - now.handles);
}

/* --- reading --- */

static void check_read(const struct handle *h, uint64_t offset, size_t length, ssize_t n)
{
	const struct object *obj = h->object;
	uint64_t left = offset < obj->size ? obj->size - offset : 0;

	if (!may_read(h)) {
		expect("read", n, -1, EBADF);
		return;
	}
	expect("read", n, (int64_t)(length < left ? length : left), 0);
	expect_bytes(obj, offset, buffer, (size_t)n);
}

bool do_read(void)
{
	struct handle *h = any_handle();

	if (!h)
		return false;
	size_t length = (size_t)any_length(MOST);
	trace("read handle %d, %zu bytes at %llu", number_of(h), length,
	      (unsigned long long)h->pos);
	ssize_t n = read(h->fd, buffer, length);
	check_read(h, h->pos, length, n);
	if (n > 0)
		h->pos += (uint64_t)n;
	return true;
}

bool do_pread(void)
{
	const struct handle *h = any_handle();

	if (!h)
		return false;
	uint64_t offset = any_offset(h->object);
	size_t length = (size_t)any_length(MOST);
	trace("pread handle %d, %zu bytes at %llu", number_of(h), length,
	      (unsigned long long)offset);
	check_read(h, offset, length, pread(h->fd, buffer, length, (off_t)offset));
	return true;
}

/* --- writing --- */

/*
 * What comes of a write of `length` bytes at `offset`: bytes, or -1 and *code.
 * It is learned from `got` where that depends on the room that a segment has.
 */
static int64_t write_result(const struct handle *h, uint64_t offset, size_t length, int64_t got,
			    int *code)
{
	const struct object *obj = h->object;
	uint64_t fits = offset < obj->size ? obj->size - offset : 0;

	*code = EBADF;
	if (!may_write(h))
		return -1;
	if (offset + length <= obj->size || object_may_resize(obj) || length == 0)
		return (int64_t)length;
	*code = ENOSPC;
	if (got >= (int64_t)fits && got <= (int64_t)length && got > 0)
		return got;
	return fits ? (int64_t)fits : -1;
}

static void enter_write(struct handle *h, uint64_t offset, const char *bytes, int64_t n)
{
	if (n <= 0)
		return;
	object_store(h->object, offset, bytes, (size_t)n);
	object_extend(h->object, offset + (uint64_t)n);
}

/* Where a write at `offset` goes, or false: too far for the model. */
static bool place_write(const struct handle *h, uint64_t *offset)
{
	if (h->flags & O_APPEND)
		*offset = h->object->size;
	return *offset < MOST;
}

bool do_write(void)
{
	struct handle *h = any_handle();
	uint64_t offset = h ? h->pos : 0;
	int code;

	if (!h || !place_write(h, &offset))
		return false;
	size_t length = any_bytes(buffer, MOST - offset);
	trace("write handle %d, %zu bytes at %llu%s", number_of(h), length,
	      (unsigned long long)offset, h->flags & O_APPEND ? " (append)" : "");
	int64_t got = write(h->fd, buffer, length), expected;
	int error = errno;
	expected = write_result(h, offset, length, got, &code);
	errno = error;
	expect("write", got, expected, code);
	enter_write(h, offset, buffer, expected);
	if (expected > 0)
		h->pos = offset + (uint64_t)expected;
	/* Behind an append the kernel counts on from the size that it knew. */
	if (h->flags & O_APPEND)
		lseek(h->fd, (off_t)h->pos, SEEK_SET);
	expect("position", lseek(h->fd, 0, SEEK_CUR), (int64_t)h->pos, 0);
	return true;
}

bool do_pwrite(void)
{
	struct handle *h = any_handle();
	int code;

	if (!h)
		return false;
	uint64_t offset = any_offset(h->object);
	if (!place_write(h, &offset))
		return false;
	size_t length = any_bytes(buffer, MOST - offset);
	trace("pwrite handle %d, %zu bytes at %llu%s", number_of(h), length,
	      (unsigned long long)offset, h->flags & O_APPEND ? " (append)" : "");
	int64_t got = pwrite(h->fd, buffer, length, (off_t)offset), expected;
	int error = errno;
	expected = write_result(h, offset, length, got, &code);
	errno = error;
	expect("pwrite", got, expected, code);
	enter_write(h, offset, buffer, expected);
	return true;
}

bool do_set_append(void)
{
	struct handle *h = any_handle();

	if (!h)
		return false;
	trace("toggle O_APPEND of handle %d", number_of(h));
	h->flags ^= O_APPEND;
	expect("fcntl", fcntl(h->fd, F_SETFL, h->flags & O_APPEND), 0, 0);
	return true;
}

/* Both within the mount; the kernel may copy less, never something else. */
bool do_copy(void)
{
	struct handle *from = any_handle(), *to = any_handle();
	struct stat st;
	int code;

	if (!from || from->object == to->object || !may_read(from) || !may_write(to) ||
	    (to->flags & O_APPEND) || from->object->size == 0)
		return false;
	uint64_t in = random_below(from->object->size < MOST ? from->object->size : MOST);
	uint64_t out = any_offset(to->object), left = from->object->size - in;
	size_t length = (size_t)any_length(left < MOST - out ? left : MOST - out);
	loff_t pos_in = (loff_t)in, pos_out = (loff_t)out;
	trace("copy %zu bytes from handle %d at %llu to handle %d at %llu", length, number_of(from),
	      (unsigned long long)in, number_of(to), (unsigned long long)out);
	fstat(from->fd, &st); /* the kernel copies no further than the size it knows */
	int64_t got = copy_file_range(from->fd, &pos_in, to->fd, &pos_out, length, 0), expected;
	int error = errno;
	expected = write_result(to, out, length, got, &code);
	errno = error;
	expect("copy_file_range", got, expected, code);
	memset(buffer, 0, length);
	if (in < MOST)
		memcpy(buffer, from->object->bytes + in,
		       (size_t)(length < MOST - in ? length : MOST - in));
	enter_write(to, out, buffer, expected);
	return true;
}

/* --- positions --- */

bool do_seek_end(void)
{
	struct handle *h = any_handle();

	if (!h)
		return false;
	uint64_t pos = any_offset(h->object);
	trace("seek handle %d to its end, then to %llu", number_of(h), (unsigned long long)pos);
	expect("lseek", lseek(h->fd, 0, SEEK_END), (int64_t)h->object->size, 0);
	expect("lseek", lseek(h->fd, (off_t)pos, SEEK_SET), (int64_t)pos, 0);
	h->pos = pos;
	return true;
}

/* Is there nothing but zeros in [from, to)? */
static bool is_zero(const struct object *obj, uint64_t from, uint64_t to)
{
	if (to > MOST)
		to = MOST;
	for (; from < to; from++)
		if (obj->bytes[from])
			return false;
	return true;
}

/* Where holes are is the kernel's affair; that they are zeros is not. */
bool do_seek_hole(void)
{
	struct handle *h = any_handle();

	if (!h)
		return false;
	const struct object *obj = h->object;
	uint64_t offset = any_offset(obj);
	bool hole = once_in(2);
	trace("seek handle %d to the next %s from %llu", number_of(h), hole ? "hole" : "data",
	      (unsigned long long)offset);
	off_t pos = lseek(h->fd, (off_t)offset, hole ? SEEK_HOLE : SEEK_DATA);
	if (offset >= obj->size) {
		expect("lseek", pos, -1, ENXIO);
	} else if (pos < 0) {
		expect("lseek", pos, -1, ENXIO);
		if (hole || !is_zero(obj, offset, obj->size))
			differs("no %s from %llu on", hole ? "hole" : "data",
				(unsigned long long)offset);
	} else {
		uint64_t found = (uint64_t)pos;
		bool fits = hole ? is_zero(obj, found, (found / PAGE + 1) * PAGE) :
				   is_zero(obj, offset, found);
		if (found < offset || found > obj->size || !fits)
			differs("the next %s from %llu on cannot be at %llu",
				hole ? "hole" : "data", (unsigned long long)offset,
				(unsigned long long)found);
	}
	lseek(h->fd, (off_t)h->pos, SEEK_SET);
	return true;
}

/* --- sizes --- */

/* Give an object that size by a truncate(2) or its like, which gave `got`; 0, or the error. */
static int set_size_in_model(struct object *obj, uint64_t size, int got)
{
	if (now.kind == SYSV && size == 0) {
		object_clear(obj);
		return 0;
	}
	if (now.kind == SYSV && got != 0 && size != obj->size && !object_may_resize(obj))
		return EBUSY;
	object_set_size(obj, size);
	return 0;
}

bool do_truncate(void)
{
	int name = (int)random_below(NAMES);
	struct object *obj = now.names[name];
	uint64_t size = obj && !once_in(8) ? any_offset(obj) : 0;
	int code = ENOENT;

	trace("truncate %d to %llu", name, (unsigned long long)size);
	int result = truncate(path_of(name), (off_t)size), got = errno;
	if (obj)
		code = set_size_in_model(obj, size, result);
	errno = got;
	expect("truncate", result, code ? -1 : 0, code);
	return true;
}

bool do_ftruncate(void)
{
	struct handle *h = any_handle();
	int code = EINVAL;

	if (!h)
		return false;
	uint64_t size = once_in(8) ? 0 : any_offset(h->object);
	trace("ftruncate handle %d to %llu", number_of(h), (unsigned long long)size);
	int result = ftruncate(h->fd, (off_t)size), got = errno;
	if (may_write(h))
		code = set_size_in_model(h->object, size, result);
	errno = got;
	expect("ftruncate", result, code ? -1 : 0, code);
	return true;
}

bool do_punch(void)
{
	struct handle *h = any_handle();

	if (!h)
		return false;
	uint64_t offset = any_offset(h->object), length = 1 + (size_t)any_length(MOST);
	trace("punch handle %d, %llu bytes at %llu", number_of(h), (unsigned long long)length,
	      (unsigned long long)offset);
	int result = fallocate(h->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			       (off_t)length);
	expect("fallocate", result, may_write(h) ? 0 : -1, EBADF);
	if (may_write(h))
		object_store(h->object, offset, NULL, (size_t)length);
	return true;
}

/* What is to be expected of an fallocate(2) that gave `got`: 0, or the error. */
static int allocate_in_model(struct handle *h, int mode, uint64_t end, int got)
{
	struct object *obj = h->object;

	if (!may_write(h))
		return EBADF;
	if (mode & FALLOC_FL_ZERO_RANGE)
		return EOPNOTSUPP;
	if (got != 0 && end > obj->size && !object_may_resize(obj))
		return EBUSY;
	if (end > obj->size && mode == 0)
		object_set_size(obj, end);
	/* Room behind the end, which nobody sees, until it is closed. */
	if (now.kind == SYSV && mode && got == 0 && end > obj->size && !obj->fresh &&
	    !obj->growing) {
		obj->growing = true;
		obj->floor = obj->size;
		obj->extent = 0;
	}
	return 0;
}

bool do_allocate(void)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE };
	struct handle *h = any_handle();
	int mode = modes[random_below(3)];

	if (!h)
		return false;
	uint64_t offset = any_offset(h->object);
	uint64_t end = offset + 1 + any_length(MOST - offset - 1);
	trace("allocate handle %d, mode %d, %llu bytes at %llu", number_of(h), mode,
	      (unsigned long long)(end - offset), (unsigned long long)offset);
	int result = fallocate(h->fd, mode, (off_t)offset, (off_t)(end - offset)), error = errno;
	int code = allocate_in_model(h, mode, end, result);
	errno = error;
	expect("fallocate", result, code ? -1 : 0, code);
	return true;
}
