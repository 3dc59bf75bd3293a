/* SPDX-License-Identifier: MIT */
/*
 * Replacing a segment by one of another size under the same key.
 *
 * The size of a segment is fixed when it is made, a key leads to one segment
 * at a time, and no call moves a key from one to another: the old one has to
 * go before the new one can come.  Between the two its content belongs to no
 * key and would be lost with the process that still holds it attached, were
 * that killed.  So the change is made by a process of its own, the guardian,
 * that shares the daemon's memory and descriptors (CLONE_VM, CLONE_FILES) but
 * not its process id: a SIGKILL to the daemon leaves the guardian running until
 * the key is whole again, and one to the guardian leaves the daemon to send a
 * second.  (Who kills both at once, as a cgroup's end does, can lose the key.
 * So would the kernel where memory runs out, for the two share theirs: that is
 * got beforehand, sysv_reserve.c.)
 * The calling thread is stopped until then (CLONE_VFORK), for the two share its
 * thread-local memory, and the other threads run on.  What the guardian does
 * must not depend on them: it takes no lock and allocates nothing, for a lock
 * may be held for ever by a thread that was killed.
 *
 * While the new segment is being filled nobody may see half of it: its mode
 * is 0 until it is complete, and so is the old one's from the moment when it
 * is known to be unused to its removal, so that nobody attaches in between.
 * (A process with CAP_IPC_OWNER is not kept out by a mode.)
 *
 * Where the new one cannot be made the old content goes back under its key,
 * and where another process took the key, under an id of its own.
 */
#include "sysv_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shmfs/log.h"
#include "sysv_clone.h"

#define GUARDIAN_STACK ((size_t)256 << 10)
#define HUGE_SHIFT 26 /* SHM_HUGE_SHIFT of <linux/shm.h> */

/* One replacement, shared by the thread that asks and its guardian. */
struct replacement {
	struct sysv_backend *backend;
	struct sysv_segment *old; /* borrowed; kept attached or open throughout */
	struct shmid_ds ds;	  /* of the old one, as it was */
	uint64_t size;		  /* wanted */
	uint64_t own;		  /* attachments of ours that the old one has */

	int err;		       /* 0: made as wanted */
	pid_t guardian;		       /* who did it */
	bool ended;		       /* and lived to the end */
	int probed;		       /* a segment that was made to see whether it can be, or -1 */
	bool closing;		       /* the old one's mode was taken, or is about to be */
	bool removed;		       /* the old one has lost its key */
	bool complete;		       /* the key leads to `made` */
	bool safe;		       /* the content is in `rescued` */
	struct sysv_segment *made;     /* owned */
	struct sysv_segment *rescued;  /* owned */
	struct sysv_attachment *spare; /* owned; to count what `made` attached */
	struct sysv_labels *labels;    /* owned; those that were carried over */
	struct sysv_reserve reserve;   /* owned; of what the copy takes */
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* shmget(2)'s errors as those of a file that grows. */
static int size_error(int err)
{
	return err == EINVAL ? -EFBIG : -err;
}

/* SHM_HUGETLB and the size of its pages, as the old one has them. */
static int huge_flags(const struct sysv_segment *segment)
{
	int log2 = 0;

	if (!segment->huge)
		return 0;
	while (((size_t)1 << log2) < segment->huge)
		log2++;
	return SHM_HUGETLB | (log2 << HUGE_SHIFT);
}

/*
 * Would the kernel make such a segment?  Asked before anything is touched; the
 * old one is still there then, as it will be when the new one is made.
 */
static int probe(struct replacement *r)
{
	r->probed = shmget(IPC_PRIVATE, r->size, IPC_CREAT | huge_flags(r->old));
	if (r->probed < 0)
		return size_error(errno);
	shmctl(r->probed, IPC_RMID, NULL);
	r->probed = -1;
	return 0;
}

/* shmget(2) as the creator of the old segment, so that the new one has the same. */
static int get_as_creator(const struct replacement *r, key_t key, uint64_t size)
{
	struct shmfs_caller creator = { .uid = r->ds.shm_perm.cuid, .gid = r->ds.shm_perm.cgid };
	int flags = IPC_CREAT | IPC_EXCL | huge_flags(r->old);
	bool assumed = !r->old->huge && shmfs_caller_assume(&creator) == 0;
	int id;

	/* Mode 0 keeps all out; as an ordinary user we need in ourselves. */
	if (!r->backend->by_descriptor)
		flags |= 0600;
	id = shmget(key, size, flags);
	if (id < 0)
		id = -errno;
	if (assumed)
		shmfs_caller_drop();
	return id;
}

static bool was_removed(int id)
{
	struct shmid_ds ds;

	return shmctl(id, SHM_STAT_ANY, &ds) != id || (ds.shm_perm.mode & SYSV_MODE_DEST);
}

/*
 * Lock the new one as the old one was; the two together may be over the limit.
 * What is brought back counts for more than that it stays in memory.
 */
static int move_lock(const struct replacement *r, int id)
{
	if (!(r->ds.shm_perm.mode & SYSV_MODE_LOCKED))
		return 0;
	shmctl(r->old->id, SHM_UNLOCK, NULL);
	if (shmctl(id, SHM_LOCK, NULL) == 0 || r->err)
		return 0;
	return -errno;
}

/*
 * Make a segment, fill it from the old one, and only then open it to others.
 * -EIDRM when somebody removed it before it was complete: then that is what
 * becomes of the key.
 */
static int make(struct replacement *r, key_t key, uint64_t size, struct sysv_segment *out)
{
	int id = get_as_creator(r, key, size);
	int err;

	if (id < 0)
		return size_error(-id);
	err = sysv_segment_fill(out, id, size);
	if (!err)
		err = sysv_segment_copy(out, r->old, min_u64(size, r->old->size), &r->reserve);
	if (!err)
		err = sysv_labels_carry(out, r->old, r->labels);
	if (!err)
		err = move_lock(r, id);
	if (!err)
		err = sysv_set_perm(id, &r->ds, r->ds.shm_perm.mode);
	if (!err)
		return 0;
	if (was_removed(id))
		err = -EIDRM;
	else
		shmctl(id, IPC_RMID, NULL);
	sysv_segment_empty(out);
	return err;
}

/* The new one could not be made: bring the old content to where it is found. */
static void restore(struct replacement *r)
{
	int err = -EEXIST;

	sysv_reserve_yield(&r->reserve, r->reserve.size);
	if (r->err != -EEXIST)
		err = make(r, r->ds.shm_perm.__key, r->old->size, r->made);
	if (!err)
		r->complete = true;
	else if (err == -EEXIST || err == -EIDRM)
		r->err = err;
	if (err && err != -EIDRM)
		r->safe = make(r, IPC_PRIVATE, r->old->size, r->rescued) == 0;
}

/* Nobody else attached, counted while nobody can attach. */
static int close_off(struct replacement *r)
{
	struct shmid_ds ds;
	int err;

	r->closing = true;
	err = sysv_set_perm(r->old->id, &r->ds, 0);
	if (err)
		return sysv_gone(err);
	if (shmctl(r->old->id, SHM_STAT_ANY, &ds) != r->old->id)
		return -ESTALE;
	if (ds.shm_perm.mode & SYSV_MODE_DEST)
		err = -EIDRM;
	else if (ds.shm_nattch > r->own)
		err = -EBUSY;
	else if (shmctl(r->old->id, IPC_RMID, NULL) != 0)
		err = sysv_gone(-errno);
	if (err)
		sysv_set_perm(r->old->id, &r->ds, r->ds.shm_perm.mode);
	return err;
}

/* The guardian's whole life. */
static void replace(struct replacement *r)
{
	int err = probe(r);

	if (!err)
		err = close_off(r);
	if (err) {
		r->err = err;
		return;
	}
	r->removed = true;
	r->err = 0; /* make() looks at it: nothing has failed yet */
	r->err = make(r, r->ds.shm_perm.__key, r->size, r->made);
	r->complete = !r->err;
	if (r->err && r->err != -EIDRM)
		restore(r);
}

struct guardian {
	void (*run)(struct replacement *);
	struct replacement *replacement;
};

static int be_guardian(void *arg)
{
	const struct guardian *guardian = arg;
	struct rlimit limit;

	/* Not in the terminal's process group: Ctrl-C is the daemon's to handle. */
	setsid();
	prctl(PR_SET_NAME, "shm-guardian");
	/* The daemon stays below its hard limit so that there is some room here. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	guardian->run(guardian->replacement);
	guardian->replacement->ended = true;
	return 0;
}

/*
 * Run a function in a process of its own that no signal to the daemon ends.
 * SIGBUS is its own affair: guard.h.
 */
static int run_guardian(void (*run)(struct replacement *), struct replacement *r)
{
	struct guardian guardian = { .run = run, .replacement = r };
	char *stack = malloc(GUARDIAN_STACK);
	sigset_t all, before;
	int err = 0;

	if (!stack)
		return -ENOMEM;
	r->ended = false;
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r->guardian = clone(be_guardian, stack + GUARDIAN_STACK,
			    CLONE_VM | CLONE_FILES | CLONE_VFORK | SIGCHLD, &guardian);
	if (r->guardian < 0)
		err = -errno;
	else
		while (waitpid(r->guardian, NULL, 0) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	free(stack);
	return err;
}

/* Remove what the guardian had made under the key and not completed. */
static void remove_half_made(const struct replacement *r)
{
	int id = shmget(r->ds.shm_perm.__key, 0, 0);
	struct shmid_ds ds;

	if (id >= 0 && shmctl(id, SHM_STAT_ANY, &ds) == id && ds.shm_cpid == r->guardian)
		shmctl(id, IPC_RMID, NULL);
}

/*
 * The guardian itself was killed.  Between what it did and what it noted of it
 * the kernel knows better; a second one brings back what was.
 */
static void recover(struct replacement *r)
{
	struct shmid_ds ds;

	if (!r->ended && r->probed >= 0)
		shmctl(r->probed, IPC_RMID, NULL);
	if (r->ended || !r->closing)
		return;
	r->err = -EIO;
	if (!r->removed && shmctl(r->old->id, SHM_STAT_ANY, &ds) == r->old->id) {
		r->removed = ds.shm_perm.mode & SYSV_MODE_DEST;
		if (!r->removed)
			sysv_set_perm(r->old->id, &r->ds, r->ds.shm_perm.mode);
	}
	if (!r->removed || r->complete || r->safe)
		return;
	remove_half_made(r);
	sysv_segment_empty(r->made);
	run_guardian(restore, r);
}

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
	if (obj->handles > (handle ? 1 : 0) || (handle && handle->bound))
		return -EBUSY;
	return sysv_segment_is_shared(r->old) ? -EAGAIN : 0;
}

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
	struct shmfs_backend *base = &r->backend->base;

	sysv_segment_count(r->made, &r->spare);
	obj->id = r->made->id;
	obj->known = false;
	if (obj->segment) {
		sysv_segment_put(obj->segment);
		obj->segment = sysv_segment_get(r->made);
	}
	if (base->renumber)
		base->renumber(base->renumber_arg, &obj->base, (uint64_t)obj->id);
}

static void end(struct sysv_object *obj, struct replacement *r)
{
	struct sysv_backend *be = r->backend;
	struct sysv_object **link = &be->replacing;

	pthread_mutex_lock(&be->lock);
	pthread_mutex_lock(&obj->lock);
	obj->replacing = false;
	if (r->complete)
		adopt(obj, r);
	pthread_mutex_unlock(&obj->lock);
	atomic_fetch_add(&be->nreplaced, 1);
	while (*link != obj)
		link = &(*link)->next_replacing;
	*link = obj->next_replacing;
	atomic_fetch_sub(&be->nreplacing, 1);
	pthread_mutex_unlock(&be->lock);
}

/*
 * The key is lost.  Say where the content is; when that is the old segment
 * alone, keep it as long as we live.
 */
static void report_loss(struct replacement *r)
{
	unsigned key = (unsigned)r->ds.shm_perm.__key;
	char *map;

	if (r->safe) {
		shmfs_log(LOG_ERR,
			  "key 0x%08x was taken while its segment was resized; its content is "
			  "kept under shmid %d",
			  key, r->rescued->id);
		return;
	}
	if (sysv_attach(r->backend, r->old->id, SHM_RDONLY, &map) != 0)
		sysv_segment_get(r->old);
	shmfs_log(LOG_CRIT,
		  "key 0x%08x was lost while its segment was resized, and no other could be made; "
		  "copy .by-id/%d before unmounting",
		  key, r->old->id);
}

/* All is checked and allocated: do it. */
static int commit(struct sysv_object *obj, struct replacement *r, const struct shmfs_caller *caller)
{
	uint64_t others;
	char *map;
	/* Attached, the old one has an id until the new one is complete. */
	int err = sysv_attach(r->backend, r->old->id, SHM_RDONLY, &map);

	if (err)
		return sysv_gone(err);
	err = sysv_object_stat_now(obj, &r->ds, &others);
	/* It may have been given away since check(). */
	if (!err && !sysv_is_owner(&r->ds, caller))
		err = -EPERM;
	r->own = r->ds.shm_nattch - others;
	r->err = -EIO; /* what it is when the guardian is killed before it began */
	begin(obj, r);
	if (!err)
		err = run_guardian(replace, r);
	if (!err) {
		recover(r);
		err = r->err;
	}
	end(obj, r);
	if (r->removed && err != -EIDRM && !r->complete)
		report_loss(r);
	sysv_detach(r->backend, r->old->id, map);
	return err;
}

/* The segment to be replaced, and empty ones for what may come of it. */
static int prepare(struct sysv_object *obj, struct replacement *r)
{
	r->made = sysv_segment_new(r->backend);
	r->rescued = sysv_segment_new(r->backend);
	r->spare = calloc(1, sizeof(*r->spare));
	r->labels = calloc(1, sizeof(*r->labels));
	if (!r->made || !r->rescued || !r->spare || !r->labels)
		return -ENOMEM;
	if (!obj->segment)
		return sysv_gone(
			sysv_segment_open(r->backend, obj->id, r->ds.shm_segsz, true, &r->old));
	r->old = sysv_segment_get(obj->segment);
	return 0;
}

int sysv_resize(struct sysv_object *obj, struct shmfs_handle *handle, uint64_t size,
		const struct shmfs_caller *caller)
{
	struct replacement r = { .backend = sysv_backend_of(obj), .size = size, .probed = -1 };
	uint64_t others;
	int err = sysv_object_stat_now(obj, &r.ds, &others);

	if (err)
		return err;
	sysv_may_block(r.backend);
	err = prepare(obj, &r);
	if (!err)
		err = check(obj, handle, &r, others, caller);
	if (!err)
		err = sysv_reserve_take(&r.reserve, r.old, size);
	if (!err)
		err = commit(obj, &r, caller);
	sysv_reserve_free(&r.reserve);
	if (r.complete)
		sysv_labels_settle(r.made, r.old, r.labels);
	free(r.labels);
	free(r.spare);
	sysv_segment_put(r.old);
	if (r.rescued)
		sysv_segment_empty(r.rescued); /* its attachment was never counted */
	sysv_segment_put(r.rescued);
	sysv_segment_put(r.made);
	return err;
}
