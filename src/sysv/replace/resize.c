/* SPDX-License-Identifier: MIT */
/*
 * Giving a segment another size: whether it can be, and what becomes of the
 * object.  The segment itself is replaced in sysv_guardian.c.
 *
 * While that is going on the key may have no segment, or one that is not
 * complete: the object is in the list `replacing` of the backend, and what is
 * asked of the key or the segment in the meantime waits or looks there.
 */
#include "sysv/replace/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* --- segments that are being replaced --- */

/* The object that a key leads to meanwhile.  be->lock is held. */
static struct sysv_object *find_replacing(struct sysv_backend *be, uint32_t key)
{
	struct sysv_object *obj = be->replacing;

	for (; obj; obj = obj->next_replacing) {
		bool found;

		pthread_mutex_lock(&obj->lock);
		found = (uint32_t)obj->last.shm_perm.__key == key;
		pthread_mutex_unlock(&obj->lock);
		if (found)
			break;
	}
	return obj;
}

bool sysv_is_replacing(struct sysv_backend *be, uint32_t key)
{
	return find_replacing(be, key) != NULL;
}

/* Is it the old one, or the new one before it is complete?  be->lock is held. */
static bool is_being_replaced(struct sysv_backend *be, int id)
{
	struct shmid_ds ds;

	for (const struct sysv_object *obj = be->replacing; obj; obj = obj->next_replacing) {
		if (obj->id == id)
			return true;
	}
	return be->replacing && sysv_segment_stat(be, id, &ds, NULL) == 0 &&
	       sysv_is_replacing(be, (uint32_t)ds.shm_perm.__key);
}

void sysv_lock_by_name(struct sysv_object *obj)
{
	struct sysv_backend *be = sysv_backend_of(obj);

	if (obj->by_key)
		return;
	pthread_mutex_lock(&be->lock);
	while (is_being_replaced(be, obj->id)) {
		sysv_release_lead(be);
		pthread_cond_wait(&be->replaced, &be->lock);
	}
}

void sysv_unlock_by_name(struct sysv_object *obj)
{
	if (!obj->by_key)
		pthread_mutex_unlock(&sysv_backend_of(obj)->lock);
}

bool sysv_find_replacing(struct sysv_backend *be, uint32_t key, uint64_t *identity)
{
	const struct sysv_object *obj;

	if (atomic_load(&be->nreplacing) == 0)
		return false;
	pthread_mutex_lock(&be->lock);
	obj = find_replacing(be, key);
	if (obj)
		*identity = obj->base.identity;
	pthread_mutex_unlock(&be->lock);
	return obj != NULL;
}

/* --- checks --- */

static int check(const struct sysv_object *obj, const struct shmfs_handle *handle,
		 const struct replacement *r, uint64_t others, const struct shmfs_caller *caller)
{
	if (r->ds.shm_perm.mode & SYSV_MODE_DEST)
		return -ESTALE;
	if (!obj->by_key || r->ds.shm_perm.__key == 0)
		return -EPERM;
	if (!sysv_is_owner(&r->ds, caller))
		return -EPERM;
	/* Attachments of ours that are not the object's are those of its `.by-id`. */
	if (others || r->ds.shm_nattch > (obj->segment && obj->segment->fd < 0 ? 1 : 0))
		return -EBUSY;
	if (obj->handles > (handle ? 1 : 0) ||
	    (handle && ((const struct sysv_handle *)handle)->lent))
		return -EBUSY;
	return sysv_segment_is_shared(r->old) ? -EAGAIN : 0;
}

/* --- doing it --- */

/* The key leads to the object from here on, whatever segment has it. */
static void begin(struct sysv_object *obj, struct replacement *r)
{
	struct sysv_backend *be = r->backend;

	pthread_mutex_lock(&be->lock);
	obj->next_replacing = be->replacing;
	be->replacing = obj;
	atomic_fetch_add(&be->nreplacing, 1);
	pthread_mutex_lock(&obj->lock);
	obj->replacing = true;
	obj->last = r->ds;
	pthread_mutex_unlock(&obj->lock);
	pthread_mutex_unlock(&be->lock);
}

/* From here on the object is what the key leads to, if that is ours. */
static void adopt(struct sysv_object *obj, struct replacement *r)
{
	sysv_segment_count(r->made, &r->spare);
	obj->id = r->made->id;
	obj->known = false;
	if (obj->segment) {
		sysv_segment_put(obj->segment);
		obj->segment = sysv_segment_get(r->made);
	}
	shmfs_object_rekey(&obj->base, (uint64_t)obj->id);
}

static void end(struct sysv_object *obj, struct replacement *r)
{
	struct sysv_backend *be = r->backend;
	struct sysv_object **link = &be->replacing;

	pthread_mutex_lock(&be->lock);
	pthread_mutex_lock(&obj->lock);
	obj->replacing = false;
	if (r->phase == REPLACE_COMPLETE)
		adopt(obj, r);
	pthread_mutex_unlock(&obj->lock);
	atomic_fetch_add(&be->nreplaced, 1);
	while (*link != obj)
		link = &(*link)->next_replacing;
	*link = obj->next_replacing;
	atomic_fetch_sub(&be->nreplacing, 1);
	pthread_cond_broadcast(&be->replaced);
	pthread_mutex_unlock(&be->lock);
}

/*
 * As it is now that none of our own requests can open it any more: those that
 * did since check() hold a descriptor or an attachment, and it may have been
 * given away.
 */
static int check_again(struct sysv_object *obj, struct replacement *r,
		       const struct shmfs_caller *caller, char **map)
{
	uint64_t others;
	int err;

	if (sysv_segment_is_shared(r->old))
		return -EAGAIN;
	/* Attached, the old one has an id until the new one is complete. */
	err = sysv_attach(r->backend, r->old->id, r->old->size, SHM_RDONLY, map);
	if (err)
		return sysv_gone(err);
	err = sysv_object_stat_now(obj, &r->ds, &others);
	if (err)
		return err;
	if (!sysv_is_owner(&r->ds, caller))
		return -EPERM;
	r->own = r->old->fd < 0 ? 2 : 1;
	return others || r->ds.shm_nattch > r->own ? -EBUSY : 0;
}

/* All is allocated: do it. */
static int commit(struct sysv_object *obj, struct replacement *r, const struct shmfs_caller *caller)
{
	char *map = NULL;
	int err;

	begin(obj, r);
	err = check_again(obj, r, caller, &map);
	if (!err)
		err = sysv_replacement_run(r);
	if (!err)
		err = r->err;
	end(obj, r);
	sysv_replacement_report(r);
	if (map)
		sysv_detach(r->backend, r->old->id, map);
	return err;
}

/* The segment to be replaced, and empty ones for what may come of it. */
static int prepare(struct sysv_object *obj, struct replacement *r)
{
	r->made = sysv_segment_new(r->backend);
	r->reserve.rescue = sysv_segment_new(r->backend);
	r->spare = calloc(1, sizeof(*r->spare));
	if (!r->made || !r->reserve.rescue || !r->spare)
		return -ENOMEM;
	r->reserve.rescue->id = -1;
	for (size_t i = 0; i < SYSV_BALLAST; i++)
		r->reserve.ballast[i] = -1;
	if (!obj->segment)
		return sysv_gone(
			sysv_segment_open(r->backend, obj->id, &r->ds, true, NULL, &r->old));
	r->old = sysv_segment_get(obj->segment);
	return 0;
}

/*
 * Reading takes no lock (sysv_handle.c), so a handle that reads must find all
 * in the old one for as long as it has that.
 */
static bool is_unread(const struct shmfs_handle *handle)
{
	return !handle || (handle->flags & O_ACCMODE) == O_WRONLY;
}

int sysv_resize(struct sysv_object *obj, struct shmfs_handle *handle, uint64_t size,
		const struct shmfs_caller *caller)
{
	struct replacement r = { .backend = sysv_backend_of(obj), .size = size };
	uint64_t others;
	int err = sysv_object_stat_now(obj, &r.ds, &others);

	if (err)
		return err;
	if (size > SIZE_MAX)
		return -EFBIG;
	/* The new one would go before it is complete. */
	if (sysv_detaching_removes(r.backend))
		return -EPERM;
	sysv_release_lead(r.backend);
	err = prepare(obj, &r);
	if (!err)
		err = check(obj, handle, &r, others, caller);
	r.copy.moves = is_unread(handle);
	/* What was written through us is ours already, and to move it takes no more. */
	r.needs_no_memory = r.copy.moves && obj->is_new;
	if (!err && (r.ds.shm_perm.mode & SYSV_MODE_LOCKED))
		err = sysv_locker_for(r.backend, &r.ds, size, caller, &r.locker);
	if (!err)
		err = commit(obj, &r, caller);
	if (r.phase == REPLACE_COMPLETE || r.phase == REPLACE_RESCUED)
		sysv_user_xattr_drop(r.backend, r.old->id, &r.ds);
	free(r.spare);
	sysv_segment_put(r.old);
	if (r.reserve.rescue)
		sysv_segment_empty(r.reserve.rescue); /* its attachment was never counted */
	sysv_segment_put(r.reserve.rescue);
	sysv_segment_put(r.made);
	return err;
}
