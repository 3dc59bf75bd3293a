/* SPDX-License-Identifier: MIT */
/*
 * The slots in which the text view differs from the backend behind it.
 *
 * Objects and handles are the backend's.  Its handle can read, whatever the text
 * was opened for: a write has to find the end of the text first.
 *
 * The bytes of a request stop over in a buffer.  A read is cut at its NUL where
 * nobody else can change it; a write is checked before any of it is stored.
 */
#include "text/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "shmfs/cleanup.h"

struct text_write {
	const struct shmfs_caller *caller; /* borrowed, until write_end() */
	uint64_t off;
	bool append;
	char bytes[];
};

/* --- the state of an object --- */

static void free_state(void *memory)
{
	struct text_state *state = memory;

	pthread_mutex_destroy(&state->lock);
	pthread_rwlock_destroy(&state->io);
	free(state);
}

static struct text_state *new_state(void)
{
	struct text_state *state = calloc(1, sizeof(*state));

	if (!state)
		return NULL;
	pthread_rwlock_init(&state->io, NULL);
	pthread_mutex_init(&state->lock, NULL);
	return state;
}

/* Every object that a text leads to has a state. */
static int make_state(struct shmfs_object *object)
{
	SHMFS_LOCKED(&object->backend->objects.lock);
	if (!object->view_state) {
		object->view_state = new_state();
		object->view_state_free = free_state;
	}
	return object->view_state ? 0 : -ENOMEM;
}

static struct text text_of(struct shmfs_handle *handle, const struct shmfs_caller *caller)
{
	return (struct text){ handle, handle->object->view_state, caller };
}

/* --- names and attributes --- */

static struct shmfs_view inner_view(const struct shmfs_view *view)
{
	return (struct shmfs_view){ .ops = view->backend->ops, .backend = view->backend };
}

/* Appending and clearing are done here. */
static int inner_flags(int flags)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);

	return (flags & ~(O_ACCMODE | O_TRUNC | O_APPEND)) | (writes ? O_RDWR : O_RDONLY);
}

static int length_of(const struct text *text, uint64_t *len)
{
	int err;

	pthread_rwlock_rdlock(&text->state->io);
	err = text_length(text, TEXT_MAX, len);
	pthread_rwlock_unlock(&text->state->io);
	return err;
}

/*
 * Put the length of the text in the place of the object's size.  A caller
 * without read permission sees the size.
 */
static int measure(struct shmfs_object *object, const struct shmfs_caller *caller, struct stat *st)
{
	static const struct shmfs_caller shmfs_itself;
	struct shmfs_handle *handle;
	struct text text;
	uint64_t len;
	int err;

	if (!caller)
		caller = &shmfs_itself;
	err = text_inner(object)->open(object, O_RDONLY, caller, &handle);
	if (err)
		return err == -EACCES || err == -EPERM ? 0 : err;
	text = text_of(handle, caller);
	err = length_of(&text, &len);
	text_inner(object)->release(handle);
	if (!err)
		st->st_size = (off_t)len;
	return err;
}

static int text_lookup(const struct shmfs_view *view, const struct shmfs_name *name,
		       const struct shmfs_caller *caller, struct shmfs_object **out,
		       struct stat *st)
{
	const struct shmfs_view inner = inner_view(view);
	struct shmfs_object *object;
	struct stat now;
	int err = inner.ops->lookup(&inner, name, caller, &object, &now);

	if (err)
		return err;
	err = make_state(object);
	if (!err)
		err = measure(object, caller, &now);
	if (err) {
		shmfs_object_put(object);
		return err;
	}
	*out = object;
	*st = now;
	return 0;
}

static int text_create(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
		       mode_t mode, const struct shmfs_caller *caller, struct shmfs_object **out,
		       struct shmfs_handle **handle_out, struct stat *st)
{
	const struct shmfs_view inner = inner_view(view);
	struct shmfs_handle *handle;
	struct shmfs_object *object;
	int err = inner.ops->create(&inner, name, inner_flags(flags), mode, caller, &object,
				    &handle, st);

	if (err)
		return err;
	st->st_size = 0;
	err = make_state(object);
	if (err) {
		inner.ops->release(handle);
		shmfs_object_put(object);
		return err;
	}
	*out = object;
	*handle_out = handle;
	return 0;
}

static int text_getattr(struct shmfs_object *object, const struct shmfs_caller *caller,
			struct stat *st)
{
	struct stat now;
	int err = text_inner(object)->getattr(object, caller, &now);

	if (!err)
		err = measure(object, caller, &now);
	if (!err)
		*st = now;
	return err;
}

static int set_length(struct shmfs_handle *handle, uint64_t size, const struct shmfs_caller *caller)
{
	const struct text text = text_of(handle, caller);
	int err;

	pthread_rwlock_wrlock(&text.state->io);
	err = text_truncate(&text, size);
	pthread_rwlock_unlock(&text.state->io);
	return err;
}

static int text_open(struct shmfs_object *object, int flags, const struct shmfs_caller *caller,
		     struct shmfs_handle **out)
{
	const struct shmfs_backend_ops *ops = text_inner(object);
	struct shmfs_handle *handle;
	int err = ops->open(object, inner_flags(flags), caller, &handle);

	if (err)
		return err;
	if (flags & O_TRUNC)
		err = set_length(handle, 0, caller);
	if (err)
		ops->release(handle);
	else
		*out = handle;
	return err;
}

static int truncate_object(struct shmfs_object *object, struct shmfs_handle *handle, off_t size,
			   const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *ops = text_inner(object);
	struct shmfs_handle *opened;
	int err;

	if (handle)
		return set_length(handle, (uint64_t)size, caller);
	err = ops->open(object, O_RDWR, caller, &opened);
	if (err)
		return err;
	err = set_length(opened, (uint64_t)size, caller);
	ops->release(opened);
	return err;
}

/* Make the text that of `source`; both are open. */
static int replace(struct shmfs_handle *target, struct shmfs_handle *source,
		   const struct shmfs_caller *caller)
{
	const struct text text = text_of(target, caller);
	const struct text from = text_of(source, caller);
	uint64_t len;
	int err = length_of(&from, &len);

	if (err)
		return err;
	pthread_rwlock_wrlock(&text.state->io);
	err = text_replace(&text, &from, len);
	pthread_rwlock_unlock(&text.state->io);
	return err;
}

static int text_replace_content(struct shmfs_object *object, struct shmfs_object *from,
				const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *ops = text_inner(object);
	struct shmfs_handle *source;
	struct shmfs_handle *target;
	int err = text_inner(from)->open(from, O_RDONLY, caller, &source);

	if (err)
		return err;
	err = ops->open(object, O_RDWR, caller, &target);
	if (!err) {
		err = replace(target, source, caller);
		ops->release(target);
	}
	text_inner(from)->release(source);
	return err;
}

/* --- bytes --- */

/* The kernel serves nothing of a text. */
static enum shmfs_io_mode text_binding(struct shmfs_handle *handle, int *fd)
{
	(void)handle, (void)fd;
	return SHMFS_IO_DAEMON;
}

static int text_read_begin(struct shmfs_handle *handle, off_t off, size_t len,
			   struct shmfs_extent *extent)
{
	const struct text text = text_of(handle, NULL);
	char *bytes;
	ssize_t n;

	if (len > TEXT_PIECE)
		len = TEXT_PIECE;
	bytes = malloc(len);
	if (!bytes && len > 0)
		return -ENOMEM;
	pthread_rwlock_rdlock(&text.state->io);
	n = text_load(&text, (uint64_t)off, bytes, len);
	pthread_rwlock_unlock(&text.state->io);
	if (n < 0) {
		free(bytes);
		return (int)n;
	}
	*extent = (struct shmfs_extent){ .fd = -1, .mem = bytes, .len = (size_t)n, .owner = bytes };
	return 0;
}

static void text_read_end(struct shmfs_handle *handle, struct shmfs_extent *extent)
{
	(void)handle;
	free(extent->owner);
}

static int text_write_begin(struct shmfs_handle *handle, off_t off, size_t len, bool append,
			    const struct shmfs_caller *caller, struct shmfs_extent *extent)
{
	struct text_write *write;

	(void)handle;
	if (len > TEXT_PIECE)
		len = TEXT_PIECE;
	if ((uint64_t)off > TEXT_MAX - len)
		return -EFBIG;
	write = malloc(sizeof(*write) + len);
	if (!write)
		return -ENOMEM;
	*write = (struct text_write){ .caller = caller, .off = (uint64_t)off, .append = append };
	*extent =
		(struct shmfs_extent){ .fd = -1, .mem = write->bytes, .len = len, .owner = write };
	return 0;
}

static ssize_t text_write_end(struct shmfs_handle *handle, struct shmfs_extent *extent,
			      size_t written)
{
	SHMFS_AUTO_FREE struct text_write *write = extent->owner;
	const struct text text = text_of(handle, write->caller);
	ssize_t n;

	pthread_rwlock_wrlock(&text.state->io);
	n = text_store(&text, write->off, write->append, write->bytes, written);
	pthread_rwlock_unlock(&text.state->io);
	return n;
}

/*
 * Memory can be reserved for the text of now and for one to come.  Without
 * KEEP_SIZE the file would become longer, which makes no text longer, and a
 * hole is NULs.
 */
static int allocate(const struct text *text, int mode, uint64_t off, uint64_t len)
{
	bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	uint64_t end;
	int err;

	if (mode == FALLOC_FL_KEEP_SIZE)
		return text_reserve(text, off + len);
	if (!punch && mode != 0)
		return -EOPNOTSUPP;
	err = text_length(text, off + len, &end);
	if (err)
		return err;
	if (punch && off < end)
		return -EILSEQ;
	if (!punch && off + len > end)
		return -EINVAL;
	return text_inner(text->handle->object)
		->fallocate(text->handle, mode, (off_t)off, (off_t)len, text->caller);
}

static int text_fallocate(struct shmfs_handle *handle, int mode, off_t off, off_t len,
			  const struct shmfs_caller *caller)
{
	const struct text text = text_of(handle, caller);
	int err;

	pthread_rwlock_wrlock(&text.state->io);
	err = allocate(&text, mode, (uint64_t)off, (uint64_t)len);
	pthread_rwlock_unlock(&text.state->io);
	return err;
}

/* All of a text is data. */
static off_t text_seek(struct shmfs_handle *handle, off_t off, int whence)
{
	const struct text text = text_of(handle, NULL);
	uint64_t len;
	int err = length_of(&text, &len);

	if (err)
		return err;
	if ((uint64_t)off >= len)
		return -ENXIO;
	return whence == SEEK_DATA ? off : (off_t)len;
}

void shmfs_text_ops(const struct shmfs_backend_ops *inner, bool takes_content,
		    struct shmfs_backend_ops *out)
{
	*out = *inner;
	out->lookup = text_lookup;
	out->create = text_create;
	out->replace_content = takes_content ? text_replace_content : NULL;
	out->getattr = text_getattr;
	out->truncate = truncate_object;
	out->open = text_open;
	out->binding = text_binding;
	out->read_begin = text_read_begin;
	out->read_end = text_read_end;
	out->write_begin = text_write_begin;
	out->write_end = text_write_end;
	out->fallocate = text_fallocate;
	out->seek = text_seek;
}
