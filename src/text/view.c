/* SPDX-License-Identifier: MIT */
/*
 * The slots in which the text view differs from the backend behind it.
 *
 * Objects and handles are the backend's.  Every handle can read, because a write has to find the
 * end of the text.  The bytes of a request stop over in a buffer: a read is cut at its NUL where
 * nobody can change it, and a write is checked before any of it is stored.
 */
#include "text/internal.h"

#include <fcntl.h>

struct text_write {
	const struct shmfs_caller *caller; /* borrowed, until write_end() */
	char bytes[];
};

/* --- the state of an object --- */

static void free_state(void *memory)
{
	struct text_state *state = memory;

	pthread_rwlock_destroy(&state->io);
	free(state);
}

/* Every object that a text leads to has a state. */
static int make_state(struct shmfs_object *object)
{
	struct text_state *state;
	SHMFS_LOCKED(&object->backend->objects.lock);

	if (object->view_state)
		return 0;
	state = calloc(1, sizeof(*state));
	if (!state)
		return -ENOMEM;
	pthread_rwlock_init(&state->io, NULL);
	object->view_state = state;
	object->view_state_free = free_state;
	return 0;
}

static struct text text_of(struct shmfs_handle *handle, const struct shmfs_caller *caller)
{
	return (struct text){ handle, handle->object->view_state, caller };
}

/* A handle of the object that is released at the end of the block. */
#define AUTO_HANDLE __attribute__((cleanup(release))) struct shmfs_handle

static void release(struct shmfs_handle *const *handle)
{
	if (*handle)
		text_inner((*handle)->object)->release(*handle);
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
	SHMFS_READ_LOCKED(&text->state->io);
	return text_length(text, TEXT_MAX, len);
}

/*
 * Put the length of the text in the place of the object's size.  Without read permission, and
 * during a long write or resize, the caller sees the size of the object.
 */
static int measure(struct shmfs_object *object, const struct shmfs_caller *caller, struct stat *st)
{
	AUTO_HANDLE *handle = NULL;
	struct text text;
	uint64_t len;
	int err = text_inner(object)->open(object, O_RDONLY | SHMFS_OPEN_TO_LOOK, caller, &handle);

	if (err)
		return err == -EACCES || err == -EPERM || err == -EBUSY ? 0 : err;
	text = text_of(handle, caller);
	/* A write can take for ever, and its user may hold the lock of the object's inode. */
	err = shmfs_read_lock_soon(&text.state->io);
	if (!err) {
		err = text_length(&text, TEXT_MAX, &len);
		pthread_rwlock_unlock(&text.state->io);
	}
	if (!err)
		st->st_size = (off_t)len;
	return err == -EBUSY ? 0 : err;
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
	SHMFS_WRITE_LOCKED(&text.state->io);

	return text_truncate(&text, size);
}

static int text_open(struct shmfs_object *object, int flags, const struct shmfs_caller *caller,
		     struct shmfs_handle **out)
{
	AUTO_HANDLE *handle = NULL;
	int err = text_inner(object)->open(object, inner_flags(flags), caller, &handle);

	if (!err && (flags & O_TRUNC))
		err = set_length(handle, 0, caller);
	if (!err)
		*out = shmfs_steal_pointer(&handle);
	return err;
}

static int truncate_object(struct shmfs_object *object, struct shmfs_handle *handle, off_t size,
			   const struct shmfs_caller *caller)
{
	AUTO_HANDLE *opened = NULL;
	int err = handle ? 0 : text_inner(object)->open(object, O_RDWR, caller, &opened);

	return err ? err : set_length(handle ? handle : opened, (uint64_t)size, caller);
}

static int text_replace_content(struct shmfs_object *object, struct shmfs_object *from,
				const struct shmfs_caller *caller)
{
	AUTO_HANDLE *source = NULL;
	AUTO_HANDLE *target = NULL;
	struct text text, other;
	uint64_t len;
	int err = text_inner(from)->open(from, O_RDONLY, caller, &source);

	if (!err)
		err = text_inner(object)->open(object, O_RDWR, caller, &target);
	if (err)
		return err;
	text = text_of(target, caller);
	other = text_of(source, caller);
	err = length_of(&other, &len);
	if (err)
		return err;
	SHMFS_WRITE_LOCKED(&text.state->io);
	return text_replace(&text, &other, len);
}

/* --- bytes --- */

/* The kernel serves nothing of a text. */
static enum shmfs_io_mode text_binding(struct shmfs_handle *handle, int *fd)
{
	return SHMFS_IO_DAEMON;
}

static int text_read_begin(struct shmfs_handle *handle, off_t off, size_t len,
			   struct shmfs_extent *extent)
{
	const struct text text = text_of(handle, NULL);
	const size_t most = len < TEXT_PIECE ? len : TEXT_PIECE;
	SHMFS_AUTO_FREE char *bytes = malloc(most);
	ssize_t n;
	SHMFS_READ_LOCKED(&text.state->io);

	if (!bytes && most > 0)
		return -ENOMEM;
	n = text_load(&text, (uint64_t)off, bytes, most);
	if (n < 0)
		return (int)n;
	*extent = (struct shmfs_extent){ .fd = -1, .mem = bytes, .len = (size_t)n };
	extent->owner = shmfs_steal_pointer(&bytes);
	return 0;
}

static void text_read_end(struct shmfs_handle *handle, struct shmfs_extent *extent)
{
	free(extent->owner);
}

static int text_write_begin(struct shmfs_handle *handle, off_t off, size_t len, bool append,
			    const struct shmfs_caller *caller, struct shmfs_extent *extent)
{
	struct text_write *write;

	if (len > TEXT_PIECE)
		len = TEXT_PIECE;
	if ((uint64_t)off > TEXT_MAX - len)
		return -EFBIG;
	write = malloc(sizeof(*write) + len);
	if (!write)
		return -ENOMEM;
	write->caller = caller;
	*extent =
		(struct shmfs_extent){ .fd = -1, .mem = write->bytes, .len = len, .owner = write };
	extent->pos = off;
	extent->append = append;
	return 0;
}

static ssize_t text_write_end(struct shmfs_handle *handle, struct shmfs_extent *extent,
			      size_t written)
{
	SHMFS_AUTO_FREE struct text_write *write = extent->owner;
	const struct text text = text_of(handle, write->caller);
	SHMFS_WRITE_LOCKED(&text.state->io);

	return text_store(&text, (uint64_t)extent->pos, extent->append, write->bytes, written);
}

/* Memory for a text to come can be had.  A text has no hole, and no byte beyond its end. */
static int text_fallocate(struct shmfs_handle *handle, int mode, off_t off, off_t len,
			  const struct shmfs_caller *caller)
{
	const struct text text = text_of(handle, caller);
	SHMFS_WRITE_LOCKED(&text.state->io);

	return mode == FALLOC_FL_KEEP_SIZE ? text_reserve(&text, (uint64_t)off + (uint64_t)len) :
					     -EOPNOTSUPP;
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
