/* SPDX-License-Identifier: MIT */
/* What the files of the text view share. */
#pragma once

#include <pthread.h>

#include "shmfs/cleanup.h"
#include "shmfs/text.h"

/* What the view keeps of an object: shmfs_object.view_state. */
struct text_state {
	/*
	 * Held for writing to change the text, for reading to read it.  Both can take long.  The
	 * locks of the backend are taken under it.
	 */
	pthread_rwlock_t io;

	/* The object's lock guards all below. */
	uint64_t known;	      /* the text had no NUL before this offset */
	uint64_t known_until; /* `known` is trusted until then; CLOCK_MONOTONIC, ns */
};

/* The text in an object, reached by a handle that may read, and write where the text changes. */
struct text {
	struct shmfs_handle *handle;	   /* borrowed */
	struct text_state *state;	   /* borrowed */
	const struct shmfs_caller *caller; /* borrowed */
};

static inline const struct shmfs_backend_ops *text_inner(const struct shmfs_object *object)
{
	return object->backend->ops;
}

/* --- string.c --- */

/* No text is longer. */
#define TEXT_MAX ((uint64_t)INT64_MAX)
/* Bytes that are moved at once, at most. */
#define TEXT_PIECE ((size_t)1 << 20)

/*
 * The length of the text, or `limit` if it is at least that long.  Returns 0 or a negative errno.
 * text->state->io is held here and in all that follows.
 */
int text_length(const struct text *, uint64_t limit, uint64_t *len);

/* Load up to `len` bytes of text at `off`.  Returns how many, 0 at its end. */
ssize_t text_load(const struct text *, uint64_t off, char *to, size_t len);

/* The lock is held for writing in all that follows. */

/* write(2).  Returns how many bytes were taken, or a negative errno. */
ssize_t text_store(const struct text *, uint64_t off, bool append, const char *bytes, size_t len);
/* ftruncate(2). */
int text_truncate(const struct text *, uint64_t size);
/* Have room and memory for a text of `len` bytes, or fail with nothing changed that shows. */
int text_reserve(const struct text *, uint64_t len);
/*
 * Replace the text by that of another object, which is `len` long now.  Nothing is changed if there
 * is no room.
 */
int text_replace(const struct text *, const struct text *from, uint64_t len);
