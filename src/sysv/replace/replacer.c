/* SPDX-License-Identifier: MIT */
/*
 * Replacing a segment by one of another size under the same key.
 *
 * A segment's size is fixed, a key leads to one segment at a time, and no call moves a key.  So the
 * old segment has to go before the new one can come.  In between its content belongs to no key, and
 * would be lost with the process that still has it attached.
 *
 * A process of its own makes the change, the replacer.  It shares the daemon's memory and
 * descriptors (CLONE_VM, CLONE_FILES) but not its process id.  A SIGKILL to the daemon leaves the
 * replacer running until the key is whole again.  After a SIGKILL to the replacer the daemon starts
 * a second one.  A SIGKILL to both at once, as at the end of a cgroup, can lose the key.  The
 * calling thread waits for the replacer's end (CLONE_VFORK), because both use its thread-local
 * memory.  The other threads run on.  The replacer takes no lock and allocates nothing, because a
 * killed thread keeps its locks.
 *
 * The mode of the new segment is closed to others until it is filled.  The old one is closed as
 * soon as it is known to be unused, so that nobody attaches it any more.  CAP_IPC_OWNER overrides a
 * mode.
 *
 * Another process can take the key between its removal and its making, which are two calls with
 * nothing in between.  The content is then in the rescue (reserve.c), under an id that the log
 * names.  It is there as well if neither the new segment nor one of the old size can be made.
 *
 * If nobody can read the old segment meanwhile, its pages move: each step of the copy gives its
 * source back, and that is warm memory for the next step.
 */
#include "sysv/replace/internal.h"

#include <sched.h>
#include <sys/prctl.h>

#include "shmfs/log.h"

/* How long copying back may stand still: this many pauses. */
#define MOST_PAUSES 300
#define PAUSE_NS 10000000

/* -ESTALE: there is none.  -EIDRM: it was removed, and goes at its last detach. */
static int look_at(int id, struct shmid_ds *ds)
{
	if (shmctl(id, SHM_STAT_ANY, ds) != id)
		return -ESTALE;
	return ds->shm_perm.mode & SYSV_MODE_DEST ? -EIDRM : 0;
}

/*
 * Set owner, group and mode of the old segment.  Keep those that others have set of the new one by
 * its key since it was made like *first.
 */
static int set_final_perm(const struct replacement *r, int id, const struct shmid_ds *first)
{
	struct shmid_ds want = r->ds;
	struct shmid_ds now;

	if (shmctl(id, SHM_STAT_ANY, &now) != id)
		return -EIDRM;
	if (now.shm_perm.uid != first->shm_perm.uid)
		want.shm_perm.uid = now.shm_perm.uid;
	if (now.shm_perm.gid != first->shm_perm.gid)
		want.shm_perm.gid = now.shm_perm.gid;
	if ((now.shm_perm.mode ^ first->shm_perm.mode) & 0777)
		want.shm_perm.mode = now.shm_perm.mode;
	return sysv_set_perm(id, &want, want.shm_perm.mode);
}

/*
 * Bring moved pages back to the old segment.  Each step makes room for the next.  While others take
 * the room (ENOMEM, or ENOSPC with SHM_NORESERVE), wait a limited time.  Pages that a killed
 * replacer has brought back are holes here, and are left alone.
 */
static int take_back(struct replacement *r)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint64_t len = atomic_load(&r->copy.moved);
	struct sysv_copy back = { .moves = true };
	uint64_t done = 0;
	int err = 0;

	/* Without a descriptor others have removed the new one: there is nothing to bring back. */
	if (len == 0 || r->filling->fd < 0)
		return 0;
	sysv_reserve_yield(&r->reserve, r->reserve.size);
	for (int pauses = 0; pauses < MOST_PAUSES; pauses++) {
		err = sysv_segment_copy(r->old, r->filling, len, &back, NULL);
		if (!err)
			break;
		if (atomic_load(&back.moved) != done)
			pauses = 0;
		done = atomic_load(&back.moved);
		nanosleep(&pause, NULL);
	}
	if (!err)
		atomic_store(&r->copy.moved, 0);
	return err;
}

/* Fill a segment from the old one, and only then open it to others. */
static int fill(struct replacement *r, struct sysv_segment *segment, uint64_t size)
{
	struct shmid_ds first;
	int err;

	if (shmctl(segment->id, SHM_STAT_ANY, &first) != segment->id)
		return -EIDRM;
	r->filling = segment;
	err = segment == r->made ? sysv_segment_fill(segment, size) : 0;
	if (!err && !r->backend->by_descriptor) {
		err = sysv_set_perm(segment->id, &first, SYSV_MODE_CLOSED);
		first.shm_perm.mode = SYSV_MODE_CLOSED;
	}
	if (!err)
		err = sysv_segment_copy(segment, r->old, shmfs_min(size, r->old->size), &r->copy,
					&r->reserve);
	if (err)
		return err;
	/* Attributes that stay behind are no reason to lose the content. */
	r->xattr_err = sysv_user_xattr_carry(r->backend, r->old->id, &r->ds, segment->id, &first);
	return set_final_perm(r, segment->id, &first);
}

/*
 * Fill the segment that has the key now.  -EIDRM if somebody removed it before it was complete: the
 * key stays free then.
 */
static int complete(struct replacement *r, int id, uint64_t size)
{
	struct shmid_ds ds;
	bool is_whole;
	int err;

	if (id < 0)
		return id;
	r->made->id = id;
	err = fill(r, r->made, size);
	if (!err) {
		r->phase = REPLACE_COMPLETE;
		return 0;
	}
	/* Open files go on with the old segment, in any case. */
	is_whole = take_back(r) == 0;
	if (look_at(id, &ds) != 0) {
		err = -EIDRM;
	} else if (!is_whole) {
		r->phase = REPLACE_TORN;
		sysv_set_perm(id, &r->ds, r->ds.shm_perm.mode);
	} else {
		shmctl(id, IPC_RMID, NULL);
	}
	sysv_segment_empty(r->made);
	return err;
}

/* Make a segment of the old size under its key: its id. */
static int make_old(const struct replacement *r)
{
	SHMFS_AS_CALLER(refused, &r->creator);

	(void)refused; /* the daemon is the creator then */
	return sysv_get_new(r, r->ds.shm_perm.__key, r->old->size, sysv_huge_flags(r->old));
}

/* Restore the old content under its key, or else in the rescue. */
static void restore(struct replacement *r)
{
	int err = r->err == -EEXIST ? -EEXIST : complete(r, make_old(r), r->old->size);

	if (err == -EEXIST || err == -EIDRM)
		r->err = err;
	if (!err || err == -EIDRM || r->phase == REPLACE_TORN)
		return;
	sysv_reserve_yield(&r->reserve, r->reserve.size);
	if (fill(r, r->reserve.rescue, r->old->size) == 0)
		r->phase = REPLACE_RESCUED;
	else if (take_back(r) != 0)
		r->phase = REPLACE_TORN;
}

/* Let nobody attach the old segment any more, if nobody has it attached. */
static int close_off(struct replacement *r)
{
	struct shmid_ds ds;
	int err;

	/* The mode of this moment: it is set again at the end. */
	err = look_at(r->old->id, &ds);
	if (err)
		return err;
	r->ds.shm_perm = ds.shm_perm;
	r->phase = REPLACE_CLOSING;
	err = sysv_set_perm(r->old->id, &r->ds, SYSV_MODE_CLOSED);
	if (err)
		return sysv_error(SYSV_BY_ID, err);
	err = look_at(r->old->id, &ds);
	if (err)
		return err;
	/* All were ours when it was checked.  With descriptors the anchor has come since. */
	if (ds.shm_nattch > r->ds.shm_nattch + r->backend->by_descriptor)
		return -EBUSY;
	/* Another mount may have opened its file since then. */
	return r->anchor->writable && sysv_is_held(r) ? -EAGAIN : 0;
}

/*
 * Give the key to a new segment, and return its id.  Others can take the slot or the key between
 * the end of the ballast and the making.
 */
static int swap(struct replacement *r)
{
	SHMFS_AS_CALLER(refused, &r->creator);
	int flags = sysv_huge_flags(r->old);
	int id;

	(void)refused; /* the daemon is the creator then */
	sysv_reserve_free_slot(r);
	if (shmctl(r->old->id, IPC_RMID, NULL) != 0)
		return sysv_error(SYSV_BY_ID, -errno);
	do
		id = sysv_get_new(r, r->ds.shm_perm.__key, r->size, flags);
	while (id == -ENOSPC && sysv_reserve_free_slot(r));
	r->phase = REPLACE_REMOVED;
	return id;
}

static void replace(struct replacement *r)
{
	int err = sysv_reserve_take(r);

	if (!err)
		err = close_off(r);
	if (!err)
		err = complete(r, swap(r), r->size);
	r->err = err;
	if (r->phase == REPLACE_CLOSING) {
		sysv_set_perm(r->old->id, &r->ds, r->ds.shm_perm.mode);
		r->phase = REPLACE_PREPARING;
	}
	if (r->phase == REPLACE_REMOVED && err != -EIDRM)
		restore(r);
}

/* In a process of its own: give the key a new segment, or bring back what was. */
static int be_replacer(void *arg)
{
	struct replacement *r = arg;
	struct rlimit limit;

	r->replacer = getpid();
	/* Not in the terminal's process group: Ctrl-C is the daemon's to handle. */
	setpgid(0, 0);
	prctl(PR_SET_NAME, "shmfs-replace");
	/* The daemon stays below its hard limit, so that there is some room here. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (r->phase == REPLACE_REMOVED)
		restore(r);
	else
		replace(r);
	sysv_reserve_drop(r);
	return 0;
}

/* 1 when the process was killed. */
static int run_replacer(struct replacement *r)
{
	return sysv_run_process(CLONE_VFORK, be_replacer, r);
}

/* Remove what the killed replacer had made and not noted, or under the key and not completed. */
static void remove_remains(const struct replacement *r)
{
	const int *ballast = r->reserve.ballast;
	struct shmid_ds ds = { 0 };
	struct shm_info used;
	int last = r->replacer ? shmctl(0, SHM_INFO, (struct shmid_ds *)&used) : -1;

	for (int i = 0; i <= last; i++) {
		int id = shmctl(i, SHM_STAT_ANY, &ds);
		bool is_noted = id == r->reserve.rescue->id || id == ballast[0] || id == ballast[1];
		bool is_unnoted = ds.shm_perm.__key == IPC_PRIVATE && ds.shm_nattch == 0 &&
				  !is_noted && sysv_is_closed(&ds);
		bool is_half_made =
			ds.shm_perm.__key == r->ds.shm_perm.__key && r->phase == REPLACE_REMOVED;

		if (id >= 0 && ds.shm_cpid == r->replacer && (is_unnoted || is_half_made))
			shmctl(id, IPC_RMID, NULL);
	}
}

/*
 * The replacer was killed, perhaps between a step and its note of it: ask the kernel.  A second
 * replacer restores the old content.
 */
static void recover(struct replacement *r)
{
	struct shmid_ds ds;

	if (r->phase != REPLACE_COMPLETE)
		r->err = -EIO;
	if (r->phase == REPLACE_CLOSING) {
		int err = look_at(r->old->id, &ds);

		if (err == -EIDRM)
			r->phase = REPLACE_REMOVED;
		else if (!err)
			sysv_set_perm(r->old->id, &r->ds, r->ds.shm_perm.mode);
	}
	if (r->phase == REPLACE_REMOVED && take_back(r) != 0)
		r->phase = REPLACE_TORN;
	remove_remains(r);
	if (r->phase == REPLACE_REMOVED) {
		sysv_segment_empty(r->made);
		run_replacer(r);
	}
	sysv_reserve_drop(r);
}

/*
 * Lock the new segment as the old one was.  The replacer does not do it, because the user whose
 * account it is could stop the process that locks.
 */
static void move_lock(struct replacement *r)
{
	unsigned key = (unsigned)r->ds.shm_perm.__key;
	int err;

	if (!(r->ds.shm_perm.mode & SYSV_MODE_LOCKED) ||
	    (r->phase != REPLACE_COMPLETE && r->phase != REPLACE_RESCUED))
		return;
	shmctl(r->old->id, SHM_UNLOCK, NULL);
	r->locker.id = r->phase == REPLACE_RESCUED ? r->reserve.rescue->id : r->made->id;
	err = sysv_lock_as(&r->locker);
	if (err)
		shmfs_log(LOG_WARNING,
			  "key 0x%08x is no longer locked in memory: %s; "
			  "try: setfattr -n user.shm.locked -v 1 %u",
			  key, strerror(-err), key);
}

void sysv_replacement_run(struct replacement *r)
{
	int err;

	r->err = -EIO; /* what it is when the replacer is killed before it began */
	err = run_replacer(r);
	if (err < 0)
		r->err = err;
	else if (err)
		recover(r);
	move_lock(r);
}

void sysv_replacement_report(struct replacement *r)
{
	unsigned key = (unsigned)r->ds.shm_perm.__key;

	if (r->xattr_err)
		shmfs_log(LOG_ERR,
			  "the user.* attributes of key 0x%08x are lost: %s; "
			  "set them again with setfattr",
			  key, strerror(-r->xattr_err));
	if (r->phase == REPLACE_RESCUED)
		shmfs_log(LOG_ERR,
			  "key 0x%08x was taken while its segment was resized; its content is "
			  "kept under shmid %d; copy it from .by-id/%d",
			  key, r->reserve.rescue->id, r->reserve.rescue->id);
	if ((r->phase != REPLACE_REMOVED && r->phase != REPLACE_TORN) || r->err == -EIDRM)
		return;
	/* The old segment stays attached as long as the daemon lives. */
	sysv_segment_get(r->backend->by_descriptor ? r->anchor : r->old);
	if (r->phase == REPLACE_TORN)
		shmfs_log(LOG_CRIT,
			  "memory ran out: the first bytes of shmid %d are in shmid %d; "
			  "copy both from .by-id",
			  r->old->id, r->filling->id);
	shmfs_log(LOG_CRIT,
		  "key 0x%08x was lost while its segment was resized, and no other could be made; "
		  "copy .by-id/%d before unmounting",
		  key, r->old->id);
}
