/* SPDX-License-Identifier: MIT */
/*
 * A C string in memory, treated as a text file.
 *
 * Processes that have the memory attached take no lock and look at any moment.  So every step
 * leaves a string: a byte replaces the NUL only after another NUL was put further on.
 */
#include "text/internal.h"

#include <fcntl.h>

#include "shmfs/clock.h"
#include "shmfs/minmax.h"

/* A step of looking for the NUL; it is on the stack. */
#define LOOK_STEP ((size_t)16 << 10)
/*
 * If no NUL is found in more than LONG_TEXT, the result is kept for TRUST times as long as the
 * search took.  Otherwise reading a text in pieces would cost the square of its length.
 */
#define LONG_TEXT ((uint64_t)1 << 20)
#define TRUST 10

static const struct shmfs_backend_ops *ops_of(const struct shmfs_handle *handle)
{
	return text_inner(handle->object);
}

static ssize_t load(struct shmfs_handle *handle, uint64_t off, char *to, size_t len)
{
	struct shmfs_extent extent;
	ssize_t n = ops_of(handle)->read_begin(handle, (off_t)off, len, &extent);

	if (n)
		return n;
	if (extent.len > 0)
		n = shmfs_extent_load(&extent, to);
	ops_of(handle)->read_end(handle, &extent);
	return n;
}

static ssize_t put(const struct text *text, uint64_t off, const char *bytes, size_t len)
{
	const struct shmfs_backend_ops *ops = ops_of(text->handle);
	struct shmfs_extent extent;
	ssize_t counts;
	ssize_t n = ops->write_begin(text->handle, (off_t)off, len, false, text->caller, &extent);

	if (n)
		return n;
	n = shmfs_extent_store(&extent, bytes);
	counts = ops->write_end(text->handle, &extent, n < 0 ? 0 : (size_t)n);
	return n < 0 ? n : counts;
}

static int put_nul(const struct text *text, uint64_t off)
{
	ssize_t n = put(text, off, "", 1);

	return n < 0 ? (int)n : n == 1 ? 0 : -EIO;
}

/* --- the length --- */

/* The text is known to have no NUL before this offset. */
static uint64_t known_end(const struct text *text)
{
	const struct text_state *state = text->state;
	SHMFS_LOCKED(&text->handle->object->lock);

	return shmfs_now_ns() < state->known_until ? state->known : 0;
}

/*
 * There is no NUL before `end`, because there is none before `from`, as was known, and none behind
 * that.  If `from` is 0 the look took `took` ns.  If it is UINT64_MAX the text was cut at `end`.
 */
static void remember(const struct text *text, uint64_t from, uint64_t end, uint64_t took)
{
	struct text_state *state = text->state;
	SHMFS_LOCKED(&text->handle->object->lock);

	if (from == 0)
		state->known_until = end > LONG_TEXT ? shmfs_now_ns() + TRUST * took : 0;
	if (from == 0 || state->known == from || state->known > end)
		state->known = end;
}

int text_length(const struct text *text, uint64_t limit, uint64_t *len)
{
	const uint64_t from = shmfs_min(known_end(text), limit);
	const uint64_t began = shmfs_now_ns();
	char bytes[LOOK_STEP];
	uint64_t pos = from;
	char *nul = NULL;
	ssize_t n = 1;

	while (!nul && n > 0 && pos < limit) {
		n = load(text->handle, pos, bytes, (size_t)shmfs_min(LOOK_STEP, limit - pos));
		if (n < 0)
			return (int)n;
		nul = memchr(bytes, '\0', (size_t)n);
		pos += nul ? (uint64_t)(nul - bytes) : (uint64_t)n;
	}
	if (pos > from)
		remember(text, from, pos, shmfs_now_ns() - began);
	*len = pos;
	return 0;
}

ssize_t text_load(const struct text *text, uint64_t off, char *to, size_t len)
{
	uint64_t before;
	char *nul;
	ssize_t n = text_length(text, off, &before);

	if (n || before < off)
		return n;
	n = load(text->handle, off, to, len);
	nul = n > 0 ? memchr(to, '\0', (size_t)n) : NULL;
	return nul ? nul - to : n;
}

/* --- writing --- */

/* Zeros at [from, end), or as many as there is room for: -ENOSPC if none.  *stored is their end. */
static int store_zeros(const struct text *text, uint64_t from, uint64_t end, uint64_t *stored)
{
	const size_t size = (size_t)shmfs_min(TEXT_PIECE, end - from);
	SHMFS_AUTO_FREE char *zeros = calloc(1, size);
	uint64_t pos = from;
	ssize_t n = zeros ? 1 : -ENOMEM;

	while (n > 0 && pos < end) {
		n = put(text, pos, zeros, (size_t)shmfs_min(size, end - pos));
		pos += n > 0 ? (uint64_t)n : 0;
	}
	if (n < 0 && !(n == -ENOSPC && pos > from))
		return (int)n;
	*stored = pos;
	return 0;
}

/*
 * Put a NUL at `want`, or as far as there is room for one, and set *new_end to its offset.  Where
 * there is no room past `end`, the end of the text now, *new_end is `end`, and nothing is put.
 */
static int make_end(const struct text *text, uint64_t end, uint64_t want, uint64_t *new_end)
{
	uint64_t stored;
	int err = put_nul(text, want);

	if (err != -ENOSPC) {
		*new_end = want;
		return err;
	}
	err = store_zeros(text, end, want + 1, &stored);
	if (err && err != -ENOSPC)
		return err;
	*new_end = err || stored == end ? end : stored - 1;
	return 0;
}

/*
 * Store text that goes past the end.  The bytes behind the old NUL come first.  The byte that
 * replaces the NUL shows them all at once.
 */
static ssize_t extend(const struct text *text, uint64_t off, uint64_t end, const char *bytes,
		      size_t len)
{
	size_t visible = (size_t)(end - off) + 1;
	uint64_t new_end;
	ssize_t n = make_end(text, end, off + len, &new_end);

	if (n)
		return n;
	if (new_end == off)
		return -ENOSPC;
	len = (size_t)(new_end - off);
	if (len > visible) {
		n = put(text, end + 1, bytes + visible, len - visible);
		if (n < 0)
			return n;
		if ((size_t)n < len - visible)
			put_nul(text, end + 1 + (size_t)n);
		len = visible + (size_t)n;
	}
	n = put(text, off, bytes, len < visible ? len : visible);
	return n == (ssize_t)visible ? (ssize_t)len : n;
}

/* End the text, which is longer, at `size`, and zero all that is behind. */
static int cut(const struct text *text, uint64_t size)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	const struct shmfs_backend_ops *ops = ops_of(text->handle);
	struct stat st;
	uint64_t end;
	int err = ops->getattr(text->handle->object, NULL, &st);

	remember(text, UINT64_MAX, size, 0);
	if (err || (uint64_t)st.st_size <= size)
		return err;
	err = ops->fallocate(text->handle, punch, (off_t)size, st.st_size - (off_t)size,
			     text->caller);
	/* Not every filesystem that can be on /dev/shm punches holes. */
	if (err == -EOPNOTSUPP)
		err = store_zeros(text, size, (uint64_t)st.st_size, &end);
	return err;
}

ssize_t text_store(const struct text *text, uint64_t off, bool append, const char *bytes,
		   size_t len)
{
	size_t used = len; /* of `bytes`, without the NULs behind */
	uint64_t end;
	ssize_t n;

	while (used > 0 && bytes[used - 1] == '\0')
		used--;
	if (memchr(bytes, '\0', used))
		return -EILSEQ;
	n = text_length(text, append ? TEXT_MAX : off + len + 1, &end);
	if (n)
		return n;
	if (append)
		off = end;
	if (used == 0 && off >= end)
		return (ssize_t)len;
	if (off > end)
		return -EINVAL;
	if (used < len && off + len < end)
		return -EILSEQ;
	if (off + used > end) {
		n = extend(text, off, end, bytes, used);
		if (n > 0 && off + (uint64_t)n > end)
			remember(text, end, off + (uint64_t)n, 0);
	} else if (used > 0) {
		n = put(text, off, bytes, used);
	}
	if (n < (ssize_t)used || used == len)
		return n;
	if (off + used < end)
		n = text_truncate(text, off + used);
	return n < 0 ? n : (ssize_t)len;
}

int text_truncate(const struct text *text, uint64_t size)
{
	uint64_t len;
	int err = text_length(text, size + 1, &len);

	if (err)
		return err;
	if (size > len)
		return -EINVAL;
	/* One store ends the text for every process.  The bytes behind go page by page. */
	if (size < len)
		err = put_nul(text, size);
	else if (size > 0)
		return 0;
	return err ? err : cut(text, size);
}

/* --- replacing it whole --- */

int text_reserve(const struct text *text, uint64_t len)
{
	uint64_t end;
	int err = text_length(text, len, &end);

	if (!err && end < len)
		err = put_nul(text, len);
	if (!err && len > 0)
		err = ops_of(text->handle)
			      ->fallocate(text->handle, FALLOC_FL_KEEP_SIZE, 0, (off_t)len,
					  text->caller);
	return err == -EOPNOTSUPP ? 0 : err;
}

/* The lock of the other text is taken while that of this text is held. */
static ssize_t load_other(const struct text *from, uint64_t off, char *to, size_t len)
{
	SHMFS_READ_LOCKED(&from->state->io);
	return text_load(from, off, to, len);
}

int text_replace(const struct text *text, const struct text *from, uint64_t len)
{
	SHMFS_AUTO_FREE char *piece = malloc(TEXT_PIECE);
	uint64_t pos = 0;
	ssize_t n = 0;
	int err = piece ? text_reserve(text, len) : -ENOMEM;

	while (!err && (n = load_other(from, pos, piece, TEXT_PIECE)) > 0) {
		ssize_t stored = text_store(text, pos, false, piece, (size_t)n);

		if (stored < n)
			err = stored < 0 ? (int)stored : -ENOSPC;
		pos += (uint64_t)n;
	}
	if (!err && n < 0)
		err = (int)n;
	if (!err)
		err = text_truncate(text, pos);
	/* text_truncate() leaves the bytes of an old text behind one that ends where it did. */
	return err ? err : cut(text, pos);
}
