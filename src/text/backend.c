/* SPDX-License-Identifier: MIT */
/* The text view, names and attributes: what a slot does not say goes on as it is. */
#include "text/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

static struct shmfs_backend *inner_of(struct shmfs_backend *base)
{
	return ((struct text_backend *)base)->inner;
}

void text_release_lead(const struct text_object *obj)
{
	const struct text_backend *be = (struct text_backend *)obj->base.backend;

	if (be->release_lead)
		be->release_lead();
}

void text_wait_write(struct text_object *obj)
{
	if (pthread_rwlock_trywrlock(&obj->io) == 0)
		return;
	text_release_lead(obj);
	pthread_rwlock_wrlock(&obj->io);
}

void text_wait_read(struct text_object *obj)
{
	if (pthread_rwlock_tryrdlock(&obj->io) == 0)
		return;
	text_release_lead(obj);
	pthread_rwlock_rdlock(&obj->io);
}

/* --- names --- */

static int text_list(const struct shmfs_view *view, enum shmfs_space space, uint32_t dir,
		     const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	const struct shmfs_view inner = text_inner_view(view);

	return inner.ops->list(&inner, space, dir, caller, fn, arg);
}

static int text_remove(const struct shmfs_view *view, const struct shmfs_name *name,
		       const struct shmfs_caller *caller)
{
	const struct shmfs_view inner = text_inner_view(view);

	return inner.ops->remove(&inner, name, caller);
}

static int text_rename(const struct shmfs_view *view, const struct shmfs_name *from,
		       const struct shmfs_name *to, unsigned flags,
		       const struct shmfs_caller *caller)
{
	const struct shmfs_view inner = text_inner_view(view);

	return inner.ops->rename(&inner, from, to, flags, caller);
}

static int text_statfs(struct shmfs_backend *base, struct statvfs *st)
{
	return inner_of(base)->ops->statfs(inner_of(base), st);
}

static int text_stat_names(struct shmfs_backend *base, struct stat *st)
{
	return inner_of(base)->ops->stat_names(inner_of(base), st);
}

/* --- objects --- */

static struct shmfs_object *object_make(struct shmfs_backend *base, uint64_t identity)
{
	struct text_object *obj = calloc(1, sizeof(*obj));

	(void)base;
	if (!obj)
		return NULL;
	obj->inner = (struct shmfs_object *)(uintptr_t)identity;
	shmfs_object_ref(obj->inner);
	obj->base.number = obj->inner->number;
	pthread_rwlock_init(&obj->io, NULL);
	pthread_mutex_init(&obj->lock, NULL);
	return &obj->base;
}

int text_object_get(struct shmfs_backend *base, struct shmfs_object *inner,
		    struct shmfs_object **out)
{
	int err = shmfs_object_get(base, (uintptr_t)inner, object_make, out);

	shmfs_object_put(inner);
	return err;
}

static void text_object_free(struct shmfs_object *base)
{
	struct text_object *obj = text_object(base);

	shmfs_object_put(obj->inner);
	pthread_mutex_destroy(&obj->lock);
	pthread_rwlock_destroy(&obj->io);
	free(obj);
}

/*
 * The length of a text, as the caller reads it.  An object that has lost its
 * name is opened no more; then a handle that is open will do.
 */
static int measure(struct text_object *obj, const struct shmfs_caller *caller, uint64_t *len)
{
	const struct shmfs_backend_ops *ops = text_inner_ops(obj);
	struct shmfs_handle *inner;
	int err;

	text_wait_write(obj);
	err = ops->open(obj->inner, O_RDONLY, caller, &inner);
	if (!err) {
		err = text_length(obj, inner, TEXT_MAX, len);
		ops->release(inner);
	} else if (err == -ESTALE && obj->opened) {
		err = text_length(obj, obj->opened, TEXT_MAX, len);
	}
	pthread_rwlock_unlock(&obj->io);
	return err;
}

int text_getattr(struct shmfs_object *base, const struct shmfs_caller *caller, struct stat *st)
{
	static const struct shmfs_caller shmfs_itself;
	struct text_object *obj = text_object(base);
	struct stat now;
	uint64_t len;
	int err = text_inner_ops(obj)->getattr(obj->inner, caller, &now);

	if (err)
		return err;
	if (!caller)
		caller = &shmfs_itself;
	err = measure(obj, caller, &len);
	if (err && err != -EACCES && err != -EPERM)
		return err;
	if (!err)
		now.st_size = (off_t)len;
	*st = now;
	return 0;
}

static int text_lookup(const struct shmfs_view *view, const struct shmfs_name *name,
		       const struct shmfs_caller *caller, struct shmfs_object **out,
		       struct stat *st)
{
	const struct shmfs_view inner = text_inner_view(view);
	struct shmfs_object *found;
	struct shmfs_object *obj;
	int err = inner.ops->lookup(&inner, name, caller, &found, st);

	if (!err)
		err = text_object_get(view->backend, found, &obj);
	if (err)
		return err;
	err = text_getattr(obj, caller, st);
	if (err)
		shmfs_object_put(obj);
	else
		*out = obj;
	return err == -ESTALE ? -ENOENT : err;
}

static int text_chmod(struct shmfs_object *base, mode_t mode, const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base);

	return text_inner_ops(obj)->chmod(obj->inner, mode, caller);
}

static int text_chown(struct shmfs_object *base, uid_t uid, gid_t gid,
		      const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base);

	return text_inner_ops(obj)->chown(obj->inner, uid, gid, caller);
}

static int text_utimens(struct shmfs_object *base, const struct timespec times[2],
			const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base);

	return text_inner_ops(obj)->utimens(obj->inner, times, caller);
}

static int truncate_object(struct shmfs_object *base, struct shmfs_handle *handle, off_t size,
			   const struct shmfs_caller *caller)
{
	struct text_object *obj = text_object(base);
	const struct shmfs_backend_ops *ops = text_inner_ops(obj);
	struct shmfs_handle *inner;
	int err = 0;

	text_wait_write(obj);
	inner = obj->opened;
	if (!handle)
		err = ops->open(obj->inner, O_RDWR, caller, &inner);
	if (!err) {
		err = text_truncate(obj, inner, (uint64_t)size, caller);
		if (!handle)
			ops->release(inner);
	}
	pthread_rwlock_unlock(&obj->io);
	return err;
}

static int text_replace_content(struct shmfs_object *base, struct shmfs_object *from,
				const struct shmfs_caller *caller)
{
	const struct shmfs_backend_ops *from_ops = from->backend->ops;
	struct text_object *obj = text_object(base);
	struct shmfs_handle *source;
	struct shmfs_handle *target;
	struct stat st;
	int err = from_ops->open(from, O_RDONLY, caller, &source);

	if (err)
		return err;
	err = from_ops->getattr(from, NULL, &st);
	if (!err)
		err = text_open(base, O_RDWR, caller, &target);
	if (!err) {
		text_wait_write(obj);
		text_release_lead(obj);
		err = text_replace(obj, obj->opened, source, (uint64_t)st.st_size, caller);
		pthread_rwlock_unlock(&obj->io);
		text_release(target);
	}
	from_ops->release(source);
	return err;
}

static const struct shmfs_backend_ops text_ops = {
	.lookup = text_lookup,
	.list = text_list,
	.create = text_create,
	.remove = text_remove,
	.rename = text_rename,
	.replace_content = text_replace_content,
	.statfs = text_statfs,
	.stat_names = text_stat_names,
	.object_free = text_object_free,
	.getattr = text_getattr,
	.chmod = text_chmod,
	.chown = text_chown,
	.utimens = text_utimens,
	.truncate = truncate_object,
	.getxattr = text_getxattr,
	.setxattr = text_setxattr,
	.listxattr = text_listxattr,
	.removexattr = text_removexattr,
	.open = text_open,
	.flush = text_flush,
	.release = text_release,
	.binding = text_binding,
	.lent = text_lent,
	.read_begin = text_read_begin,
	.read_end = text_read_end,
	.write_begin = text_write_begin,
	.write_end = text_write_end,
	.fallocate = text_fallocate,
	.seek = text_seek,
};

int shmfs_text_new(struct shmfs_backend *inner, bool takes_content, void (*release_lead)(void),
		   struct shmfs_backend **out)
{
	struct text_backend *be = calloc(1, sizeof(*be));

	if (!be)
		return -ENOMEM;
	be->inner = inner;
	be->release_lead = release_lead;
	be->ops = text_ops;
	be->ops.has_acls = inner->ops->has_acls;
	if (!takes_content)
		be->ops.replace_content = NULL;
	be->base.ops = &be->ops;
	if (shmfs_object_table_init(&be->base.objects) != 0) {
		free(be);
		return -ENOMEM;
	}
	if (text_xattrs_init(be) != 0) {
		shmfs_text_free(&be->base);
		return -ENOMEM;
	}
	*out = &be->base;
	return 0;
}

void shmfs_text_free(struct shmfs_backend *base)
{
	text_xattrs_clear((struct text_backend *)base);
	shmfs_object_table_destroy(&base->objects);
	free(base);
}
