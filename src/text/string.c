/* SPDX-License-Identifier: MIT */
/*
 * A C string in memory, treated as a text file.
 *
 * Those who have the memory attached take no lock and may look at any moment,
 * so every step leaves a string behind: nothing is laid over the NUL before
 * another one is further on.
 */
#include "text/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "shmfs/clock.h"
#include "shmfs/extent.h"

/* A step of looking for the NUL; it is on the stack. */
#define LOOK_STEP ((size_t)16 << 10)
/* Looking through more is worth remembering, and may keep others waiting. */
#define LONG_TEXT ((uint64_t)1 << 20)
/* How many times as long as it took it is believed. */
#define TRUST 10

static const struct shmfs_backend_ops *ops_of(const struct shmfs_handle *handle)
{
	return handle->object->backend->ops;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Load from any handle, as the bytes are. */
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

/* Store to the object behind, as the bytes are. */
static ssize_t put(struct shmfs_handle *inner, uint64_t off, const char *bytes, size_t len,
		   const struct shmfs_caller *caller)
{
	struct shmfs_extent extent;
	ssize_t counts;
	ssize_t n = ops_of(inner)->write_begin(inner, (off_t)off, len, false, caller, &extent);

	if (n)
		return n;
	n = shmfs_extent_store(&extent, bytes);
	counts = ops_of(inner)->write_end(inner, &extent, n < 0 ? 0 : (size_t)n);
	return n < 0 ? n : counts;
}

static int put_nul(struct shmfs_handle *inner, uint64_t off, const struct shmfs_caller *caller)
{
	ssize_t n = put(inner, off, "", 1, caller);

	return n < 0 ? (int)n : n == 1 ? 0 : -EIO;
}

/* --- the length --- */

static uint64_t believed(struct text_object *obj)
{
	uint64_t end = 0;

	pthread_mutex_lock(&obj->lock);
	if (shmfs_now_ns() < obj->known_until)
		end = obj->known;
	pthread_mutex_unlock(&obj->lock);
	return end;
}

/* There is no NUL in [from, end): it was looked through since `began`. */
static void remember(struct text_object *obj, uint64_t from, uint64_t end, uint64_t began)
{
	uint64_t now = shmfs_now_ns();

	pthread_mutex_lock(&obj->lock);
	if (from == 0) {
		obj->known = end;
		obj->known_until = end > LONG_TEXT ? now + TRUST * (now - began) : 0;
	} else if (obj->known < end) {
		obj->known = end;
	}
	pthread_mutex_unlock(&obj->lock);
}

/* The text that ended at `end` ends at `new_end` now. */
static void remember_change(struct text_object *obj, uint64_t end, uint64_t new_end)
{
	pthread_mutex_lock(&obj->lock);
	if (obj->known == end || obj->known > new_end)
		obj->known = new_end;
	pthread_mutex_unlock(&obj->lock);
}

int text_length(struct text_object *obj, struct shmfs_handle *inner, uint64_t limit, uint64_t *len)
{
	const uint64_t from = min_u64(believed(obj), limit);
	const uint64_t began = shmfs_now_ns();
	char bytes[LOOK_STEP];
	uint64_t pos = from;
	char *nul = NULL;
	ssize_t n = 1;

	while (!nul && n > 0 && pos < limit) {
		if (pos - from > LONG_TEXT)
			text_release_lead(obj);
		n = load(inner, pos, bytes, min_u64(LOOK_STEP, limit - pos));
		if (n < 0)
			return (int)n;
		nul = memchr(bytes, '\0', (size_t)n);
		pos += nul ? (uint64_t)(nul - bytes) : (uint64_t)n;
	}
	if (pos > from)
		remember(obj, from, pos, began);
	*len = pos;
	return 0;
}

ssize_t text_load(struct text_object *obj, struct shmfs_handle *inner, uint64_t off, char *to,
		  size_t len)
{
	uint64_t before;
	char *nul;
	ssize_t n = text_length(obj, inner, off, &before);

	if (n || before < off)
		return n;
	n = load(inner, off, to, len);
	nul = n > 0 ? memchr(to, '\0', (size_t)n) : NULL;
	return nul ? nul - to : n;
}

/* --- writing --- */

/*
 * Where a text that shall end at `want` can end: there, or as far as there is
 * room for its NUL.  One that fills the object whole, without a NUL, can stay
 * so long.  Puts the NUL if that is past `end`, where the text ends now.
 */
static int make_end(struct shmfs_handle *inner, uint64_t end, uint64_t want,
		    const struct shmfs_caller *caller, uint64_t *new_end)
{
	struct stat st;
	uint64_t most;
	int err = put_nul(inner, want, caller);

	if (err != -ENOSPC) {
		*new_end = want;
		return err;
	}
	err = ops_of(inner)->getattr(inner->object, NULL, &st);
	if (err)
		return err;
	most = st.st_size > 0 ? (uint64_t)st.st_size - 1 : 0;
	if (most > end) {
		*new_end = min_u64(most, want);
		return put_nul(inner, *new_end, caller);
	}
	*new_end = end;
	return 0;
}

/*
 * Store text that goes past the end.  What comes behind the old NUL is laid
 * there first, where nobody looks; the byte that replaces the NUL shows it.
 */
static ssize_t extend(struct shmfs_handle *inner, uint64_t off, uint64_t end, const char *bytes,
		      size_t len, const struct shmfs_caller *caller)
{
	size_t visible = (size_t)(end - off) + 1;
	uint64_t new_end;
	ssize_t n = make_end(inner, end, off + len, caller, &new_end);

	if (n)
		return n;
	if (new_end == off)
		return -ENOSPC;
	len = (size_t)(new_end - off);
	if (len > visible) {
		n = put(inner, end + 1, bytes + visible, len - visible, caller);
		if (n < 0)
			return n;
		if ((size_t)n < len - visible)
			put_nul(inner, end + 1 + (size_t)n, caller);
		len = visible + (size_t)n;
	}
	n = put(inner, off, bytes, len < visible ? len : visible, caller);
	return n == (ssize_t)visible ? (ssize_t)len : n;
}

/* End the text, which is longer, at `size`, and zero all that is behind. */
static int cut(struct text_object *obj, struct shmfs_handle *inner, uint64_t size,
	       const struct shmfs_caller *caller)
{
	remember_change(obj, UINT64_MAX, size);
	return ops_of(inner)->fallocate(inner, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)size, (off_t)(TEXT_MAX - size), caller);
}

ssize_t text_store(struct text_object *obj, struct shmfs_handle *inner, uint64_t off, bool append,
		   const char *bytes, size_t len, const struct shmfs_caller *caller)
{
	size_t text = len; /* of `bytes`, without the NULs behind it */
	uint64_t end;
	ssize_t n;

	while (text > 0 && bytes[text - 1] == '\0')
		text--;
	if (memchr(bytes, '\0', text))
		return -EILSEQ;
	n = text_length(obj, inner, append ? TEXT_MAX : off + len + 1, &end);
	if (n)
		return n;
	if (append)
		off = end;
	if (text == 0 && off >= end)
		return (ssize_t)len;
	if (off > end)
		return -EINVAL;
	if (text < len && off + len < end)
		return -EILSEQ;
	if (off + text > end) {
		n = extend(inner, off, end, bytes, text, caller);
		if (n > 0 && off + (uint64_t)n > end)
			remember_change(obj, end, off + (uint64_t)n);
	} else if (text > 0) {
		n = put(inner, off, bytes, text, caller);
	}
	if (n < (ssize_t)text || text == len)
		return n;
	if (off + text < end) {
		int err = text_truncate(obj, inner, off + text, caller);

		if (err)
			return err;
	}
	return (ssize_t)len;
}

int text_truncate(struct text_object *obj, struct shmfs_handle *inner, uint64_t size,
		  const struct shmfs_caller *caller)
{
	uint64_t len;
	int err = text_length(obj, inner, size + 1, &len);

	if (err)
		return err;
	if (size > len)
		return -EINVAL;
	/* One store ends the text; to be seen before the rest goes page by page. */
	if (size < len)
		err = put_nul(inner, size, caller);
	else if (size > 0)
		return 0;
	return err ? err : cut(obj, inner, size, caller);
}

/* --- replacing it whole --- */

int text_reserve(struct text_object *obj, struct shmfs_handle *inner, uint64_t len,
		 const struct shmfs_caller *caller)
{
	uint64_t end;
	int err = text_length(obj, inner, len, &end);

	if (!err && end < len)
		err = put_nul(inner, len, caller);
	if (!err && len > 0)
		err = ops_of(inner)->fallocate(inner, FALLOC_FL_KEEP_SIZE, 0, (off_t)len, caller);
	return err == -EOPNOTSUPP ? 0 : err;
}

int text_replace(struct text_object *obj, struct shmfs_handle *inner, struct shmfs_handle *from,
		 uint64_t len, const struct shmfs_caller *caller)
{
	char *piece = malloc(TEXT_PIECE);
	uint64_t pos = 0;
	ssize_t n = 0;
	int err = piece ? text_reserve(obj, inner, len, caller) : -ENOMEM;

	while (!err && (n = load(from, pos, piece, TEXT_PIECE)) > 0) {
		ssize_t stored = text_store(obj, inner, pos, false, piece, (size_t)n, caller);

		if (stored < n)
			err = stored < 0 ? (int)stored : -ENOSPC;
		pos += (uint64_t)n;
	}
	free(piece);
	if (!err && n < 0)
		err = (int)n;
	if (!err)
		err = text_truncate(obj, inner, pos, caller);
	/* It may be as long as the old one and still have remains behind it. */
	return err ? err : cut(obj, inner, pos, caller);
}
