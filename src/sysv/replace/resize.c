/* SPDX-License-Identifier: MIT */
/*
 * Whether a segment may be replaced, and what becomes of its object.  replacer.c replaces the
 * segment.
 *
 * Meanwhile its key has no segment, or an incomplete one.  The object is in the backend's list
 * `replacing`.  Requests for the key or the segment wait, or use that object.
 */
#include "sysv/replace/internal.h"

/* --- segments that are being replaced --- */

struct sysv_object *sysv_find_replacing(struct sysv_backend *be, uint32_t key)
{
	struct sysv_object *obj = be->replacing;

	while (obj && obj->replacing_key != key)
		obj = obj->next_replacing;
	return obj;
}

/* --- whether --- */

/*
 * May the segment be replaced?  Handles of the object move along.  Attachments of other processes
 * forbid it (-EBUSY), and files that the kernel serves, with their mappings (-EAGAIN), but not those
 * of readers that get a mirror.  Fills in r->ds and r->locker.
 */
static int may_be_replaced(struct sysv_object *obj, struct replacement *r,
			   const struct shmfs_caller *caller)
{
	uint64_t others;
	int err = sysv_object_now(obj, NULL, &r->ds, &others);

	if (err)
		return err;
	if (r->ds.shm_perm.mode & SYSV_MODE_DEST)
		return -ESTALE;
	if (r->size > SIZE_MAX)
		return -EFBIG;
	/* With shm_rmid_forced the new one would go before it is complete. */
	if (r->ds.shm_perm.__key == 0 || !sysv_is_owner(&r->ds, caller) ||
	    sysv_detaching_removes(r->backend))
		return -EPERM;
	/* Perhaps another mount of an ordinary user: wait as for a reader. */
	if (others)
		return r->backend->by_descriptor ? -EBUSY : -EAGAIN;
	err = sysv_plan_mirror(obj, caller->pid);
	r->leaves_mirror = err > 0;
	if (err < 0 || sysv_is_held(r))
		return -EAGAIN;
	/* Huge pages take CAP_IPC_LOCK: the daemon itself makes those. */
	if (!r->old->huge)
		r->creator = (struct shmfs_caller){ .uid = r->ds.shm_perm.cuid,
						    .gid = r->ds.shm_perm.cgid };
	return sysv_locker_for(r->backend, &r->ds, r->size, caller, &r->locker);
}

/* --- doing it --- */

/* From here on the key leads to the object. */
static void begin(struct sysv_object *obj, struct replacement *r)
{
	SHMFS_LOCKED(&obj->base.lock);
	SHMFS_LOCKED(&r->backend->base.lock);

	obj->replacing = true;
	obj->last = r->ds;
	obj->replacing_key = (uint32_t)r->ds.shm_perm.__key;
	obj->replaced_id = obj->id;
	obj->next_replacing = r->backend->replacing;
	r->backend->replacing = obj;
}

/* The object takes the new segment. */
static void adopt(struct sysv_object *obj, struct replacement *r)
{
	sysv_segment_count(r->made);
	sysv_times_carry(r->backend, r->made->id, obj->id);
	obj->id = r->made->id;
	obj->known = false;
	if (obj->segment) {
		if (r->leaves_mirror)
			obj->mirror = obj->segment;
		else
			sysv_segment_put(obj->segment);
		obj->segment = sysv_segment_get(r->made);
	}
	shmfs_object_rekey(&obj->base, (uint64_t)obj->id, true);
}

static void end(struct sysv_object *obj, struct replacement *r)
{
	struct sysv_backend *be = r->backend;
	struct sysv_object **link = &be->replacing;
	SHMFS_LOCKED(&obj->base.lock);

	obj->replacing = false;
	if (r->phase == REPLACE_COMPLETE)
		adopt(obj, r);
	SHMFS_LOCKED(&be->base.lock);
	atomic_fetch_add(&be->nreplaced, 1);
	while (*link != obj)
		link = &(*link)->next_replacing;
	*link = obj->next_replacing;
}

/* A read-only attachment would count as a reader of the file (sysv_segment_is_shared()). */
static int attach_anchor(struct sysv_segment *anchor)
{
	int err = sysv_attach(anchor, 0);

	anchor->writable = !err;
	/* Without CAP_IPC_OWNER. */
	if (err == -EACCES)
		err = sysv_attach(anchor, SHM_RDONLY);
	return sysv_gone(err);
}

/* All is allocated: do it. */
static int commit(struct sysv_object *obj, struct replacement *r)
{
	begin(obj, r);
	/*
	 * Attached, the old segment keeps its id until the new one is complete.  Without
	 * descriptors it is attached already, and its mode may forbid to attach it again.
	 */
	if (r->backend->by_descriptor) {
		r->anchor->id = r->old->id;
		r->anchor->size = r->old->size;
		r->err = attach_anchor(r->anchor);
	}
	if (!r->err)
		sysv_replacement_run(r);
	end(obj, r);
	sysv_replacement_report(r);
	return r->err;
}

/* The segment to be replaced, and empty ones for what may come of it. */
static int prepare(struct sysv_object *obj, struct replacement *r)
{
	r->made = sysv_segment_new(r->backend);
	r->reserve.rescue = sysv_segment_new(r->backend);
	r->anchor = sysv_segment_new(r->backend);
	if (!r->made || !r->reserve.rescue || !r->anchor)
		return -ENOMEM;
	r->reserve.rescue->id = -1;
	for (size_t i = 0; i < SYSV_BALLAST; i++)
		r->reserve.ballast[i] = -1;
	r->old = sysv_open_segment(obj);
	return r->old ? 0 : sysv_borrow_segment(obj, NULL, &r->old);
}

static void clear(struct replacement *r)
{
	if (r->phase == REPLACE_COMPLETE || r->phase == REPLACE_RESCUED)
		sysv_user_xattr_drop(r->backend, r->old->id, &r->ds);
	if (r->reserve.rescue)
		sysv_segment_empty(r->reserve.rescue); /* its attachment was never counted */
	sysv_segment_put(r->reserve.rescue);
	sysv_segment_put(r->made);
	sysv_segment_put(r->anchor);
	sysv_segment_put(r->old);
}

/* How the content is copied, and the memory that is reserved for that. */
static void plan_copy(struct sysv_object *obj, struct replacement *r)
{
	uint64_t resident = shmfs_min(sysv_segment_resident(r->old), r->old->size);

	/*
	 * Reading takes no lock (bytes.c): a handle that reads must find all content in the old
	 * segment as long as it has that.  A rescue holds all of it then.
	 */
	pthread_mutex_lock(&obj->base.lock);
	r->copy.moves = obj->nreaders == 0;
	pthread_mutex_unlock(&obj->base.lock);
	if (!r->copy.moves)
		r->reserve.size = resident;
	/* A file that was written through the mount moves into its own memory. */
	else if (!obj->least_size)
		r->reserve.size = shmfs_min(resident, r->size);
}

int sysv_resize(struct sysv_object *obj, uint64_t size, const struct shmfs_caller *caller)
{
	__attribute__((cleanup(clear))) struct replacement r = { .backend = sysv_backend_of(obj),
								 .size = size,
								 .creator.gid = getgid() };
	int err = prepare(obj, &r);

	if (!err)
		err = may_be_replaced(obj, &r, caller);
	if (err)
		return err;
	plan_copy(obj, &r);
	return commit(obj, &r);
}
