/* SPDX-License-Identifier: MIT */
/*
 * What the files of the text view share:
 *
 *   text.c         names, attributes; the slots that are passed on
 *   text_handle.c  open files
 *   text_bytes.c   a C string in memory, treated as a text file
 *   text_xattr.c   extended attributes, passed on
 *
 * Locks, in the order in which they are taken: object->io, the locks of the
 * backend behind, object->lock.
 */
#ifndef SHMFS_TEXT_INTERNAL_H
#define SHMFS_TEXT_INTERNAL_H

#include <pthread.h>

#include "shmfs/text.h"

struct text_backend {
	struct shmfs_backend base;
	struct shmfs_backend_ops ops;	 /* base.ops; as many as the backend behind has */
	struct shmfs_backend *inner;	 /* borrowed */
	struct shmfs_xattr *xattrs;	 /* owned; in ops */
	struct shmfs_xattr *root_xattrs; /* owned; in ops */
	void (*release_lead)(void);
};

struct text_handle {
	struct shmfs_handle base;
	const struct shmfs_backend_ops *ops; /* of the backend behind */
};

struct text_object {
	struct shmfs_object base;
	struct shmfs_object *inner; /* a reference */

	/*
	 * Held for writing by whoever changes the text or what is open, for
	 * reading by readers.  May be held for long: text_wait_*().
	 */
	pthread_rwlock_t io;
	/*
	 * The one handle of the object behind, for all of its texts: one that may
	 * write, if there was any.  It would not grow with two open, be it that
	 * the other is there for a moment, to measure.
	 */
	struct shmfs_handle *opened; /* owned, while there are handles; protected by io */
	unsigned nhandles;	     /* protected by io */

	pthread_mutex_t lock; /* protects all below; innermost */
	uint64_t known;	      /* up to here there was no NUL when it was looked at */
	uint64_t known_until; /* and that is believed until then; CLOCK_MONOTONIC, ns */
};

/* --- text.c --- */

static inline const struct shmfs_backend_ops *text_inner_ops(const struct text_object *obj)
{
	return obj->inner->backend->ops;
}

static inline struct text_object *text_object(struct shmfs_object *base)
{
	return (struct text_object *)base;
}

/* The view behind, for its slots. */
static inline struct shmfs_view text_inner_view(const struct shmfs_view *view)
{
	struct shmfs_backend *inner = ((struct text_backend *)view->backend)->inner;

	return (struct shmfs_view){ .ops = inner->ops, .backend = inner };
}

/* The text of an object behind, whose reference is taken over; one is counted of the text. */
int text_object_get(struct shmfs_backend *, struct shmfs_object *inner, struct shmfs_object **);
int text_getattr(struct shmfs_object *, const struct shmfs_caller *, struct stat *);

/* Before something that may take long. */
void text_release_lead(const struct text_object *);
/* Take object->io; give it back with pthread_rwlock_unlock(). */
void text_wait_write(struct text_object *);
void text_wait_read(struct text_object *);

/* --- text_bytes.c: `inner` is a handle of the object behind --- */

/* No text is longer. */
#define TEXT_MAX ((uint64_t)INT64_MAX)
/* Bytes that are moved at once, at most. */
#define TEXT_PIECE ((size_t)1 << 20)

/*
 * The length of the text, or `limit` if it is at least that long.  Returns 0
 * or a negative errno.
 */
int text_length(struct text_object *, struct shmfs_handle *inner, uint64_t limit, uint64_t *len);

/* Load up to `len` bytes of text at `off`.  Returns how many, 0 at its end. */
ssize_t text_load(struct text_object *, struct shmfs_handle *inner, uint64_t off, char *to,
		  size_t len);

/* The rest is with object->io held for writing. */

/* write(2).  Returns how many bytes were taken, or a negative errno. */
ssize_t text_store(struct text_object *, struct shmfs_handle *inner, uint64_t off, bool append,
		   const char *bytes, size_t len, const struct shmfs_caller *);
/* ftruncate(2). */
int text_truncate(struct text_object *, struct shmfs_handle *inner, uint64_t size,
		  const struct shmfs_caller *);
/*
 * Have room and memory for a text of `len` bytes, or fail with nothing changed
 * that shows.
 */
int text_reserve(struct text_object *, struct shmfs_handle *inner, uint64_t len,
		 const struct shmfs_caller *);
/*
 * Make the text that of another handle, of whatever backend, which is `len`
 * long now.  Whether there is room is settled before anything is changed.
 */
int text_replace(struct text_object *, struct shmfs_handle *inner, struct shmfs_handle *from,
		 uint64_t len, const struct shmfs_caller *);

/* --- text_xattr.c --- */

/* Fill in ops.xattrs and ops.root_xattrs.  Returns 0 or -ENOMEM; clear in any case. */
int text_xattrs_init(struct text_backend *);
void text_xattrs_clear(struct text_backend *);
ssize_t text_getxattr(struct shmfs_object *, const char *name, void *value, size_t size,
		      const struct shmfs_caller *);
int text_setxattr(struct shmfs_object *, const char *name, const void *value, size_t size,
		  int flags, const struct shmfs_caller *);
ssize_t text_listxattr(struct shmfs_object *, char *names, size_t size,
		       const struct shmfs_caller *);
int text_removexattr(struct shmfs_object *, const char *name, const struct shmfs_caller *);

/* --- text_handle.c --- */

int text_create(const struct shmfs_view *, const struct shmfs_name *, int flags, mode_t,
		const struct shmfs_caller *, struct shmfs_object **, struct shmfs_handle **,
		struct stat *);
int text_open(struct shmfs_object *, int flags, const struct shmfs_caller *,
	      struct shmfs_handle **);
int text_flush(struct shmfs_handle *, bool by_opener, const struct shmfs_caller *);
void text_release(struct shmfs_handle *);
enum shmfs_io_mode text_binding(struct shmfs_handle *, int *fd);
void text_lent(struct shmfs_handle *, bool lent);
int text_read_begin(struct shmfs_handle *, off_t, size_t, struct shmfs_extent *);
void text_read_end(struct shmfs_handle *, struct shmfs_extent *);
int text_write_begin(struct shmfs_handle *, off_t, size_t, bool append, const struct shmfs_caller *,
		     struct shmfs_extent *);
ssize_t text_write_end(struct shmfs_handle *, struct shmfs_extent *, size_t written);
int text_fallocate(struct shmfs_handle *, int mode, off_t, off_t len, const struct shmfs_caller *);
off_t text_seek(struct shmfs_handle *, off_t, int whence);

#endif
