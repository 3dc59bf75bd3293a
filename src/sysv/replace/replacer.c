/* SPDX-License-Identifier: MIT */
/*
 * Replacing a segment by one of another size under the same key.
 *
 * The size of a segment is fixed when it is made, a key leads to one segment
 * at a time, and no call moves a key from one to another: the old one has to
 * go before the new one can come.  Between the two its content belongs to no
 * key and would be lost with the process that still holds it attached, were
 * that killed.  So the change is made by a process of its own, the replacer,
 * that shares the daemon's memory and descriptors (CLONE_VM, CLONE_FILES) but
 * not its process id: a SIGKILL to the daemon leaves the replacer running until
 * the key is whole again, and one to the replacer leaves the daemon to send a
 * second.  (Who kills both at once, as a cgroup's end does, can lose the key.
 * So would the kernel where memory runs out, for the two share theirs: that is
 * got beforehand, sysv_reserve.c.)
 * The calling thread is stopped until then (CLONE_VFORK), for the two share its
 * thread-local memory, and the other threads run on.  What the replacer does
 * must not depend on them: it takes no lock and allocates nothing, for a lock
 * may be held for ever by a thread that was killed.
 *
 * While the new segment is being filled nobody may see half of it: its mode
 * is 0 until it is complete, and so is the old one's from the moment when it
 * is known to be unused to its removal, so that nobody attaches in between.
 * (A process with CAP_IPC_OWNER is not kept out by a mode.)
 *
 * Where nobody can read the old one meanwhile its content does not stay there:
 * each piece makes room for the next, so a file that was just written is cut to
 * size in the memory that it has, which is warm, too.
 *
 * Where the new one cannot be made the old content goes back under its key,
 * and where another process took the key, under an id of its own.
 */
#include "sysv/replace/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sysv/clone.h"

#define REPLACER_STACK ((size_t)256 << 10)
#define HUGE_SHIFT 26 /* SHM_HUGE_SHIFT of <linux/shm.h> */

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
 * Owner, group and mode of the old one, but for what others have set of the new
 * one by its key: that was promised to them.
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
 * What has moved comes back to the old one, before the new one goes.  Each page
 * of it makes room for itself; if somebody is faster (ENOMEM, or ENOSPC with
 * SHM_NORESERVE), there is nothing to do but wait.  What came back already,
 * before we took over from a replacer that was killed, is a hole by now and
 * stays as it is.
 */
static void take_back(struct replacement *r)
{
	uint64_t len = atomic_load(&r->copy.moved);
	const struct timespec pause = { .tv_nsec = 10000000 };
	struct sysv_copy back = { .moves = true };

	/* Without a descriptor it was removed by others, and nothing is to come back. */
	while (len > 0 && r->filling->fd >= 0 &&
	       sysv_segment_copy(r->old, r->filling, len, &back) != 0)
		nanosleep(&pause, NULL);
	atomic_store(&r->copy.moved, 0);
}

/*
 * Make a segment, fill it from the old one, and only then open it to others.
 * -EIDRM when somebody removed it before it was complete: then that is what
 * becomes of the key.
 */
static int make(struct replacement *r, key_t key, uint64_t size, struct sysv_segment *out)
{
	int id = get_as_creator(r, key, size);
	struct shmid_ds first;
	int err;

	if (id < 0)
		return size_error(-id);
	err = shmctl(id, SHM_STAT_ANY, &first) == id ? 0 : -EIDRM;
	if (!err)
		err = sysv_segment_fill(out, id, size);
	r->filling = out;
	if (!err)
		err = sysv_segment_copy(out, r->old, min_u64(size, r->old->size), &r->copy);
	/* Attributes that stay behind are no reason to lose the content. */
	if (!err)
		r->xattr_err = sysv_user_xattr_carry(r->backend, r->old->id, &r->ds, id, &first);
	if (!err)
		err = move_lock(r, id);
	if (!err)
		err = set_final_perm(r, id, &first);
	if (!err)
		return 0;
	if (was_removed(id)) {
		err = -EIDRM;
	} else {
		take_back(r);
		shmctl(id, IPC_RMID, NULL);
	}
	sysv_segment_empty(out);
	return err;
}

/* The new one could not be made: bring the old content to where it is found. */
static void restore(struct replacement *r)
{
	int err = -EEXIST;

	sysv_reserve_yield(&r->copy.reserve, r->copy.reserve.size);
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

	/* As it is at this moment, for it is what is set again in the end. */
	if (shmctl(r->old->id, SHM_STAT_ANY, &ds) != r->old->id)
		return -ESTALE;
	if (ds.shm_perm.mode & SYSV_MODE_DEST)
		return -EIDRM;
	r->ds.shm_perm = ds.shm_perm;
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

/* The replacer's whole life. */
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

struct replacer {
	void (*run)(struct replacement *);
	struct replacement *replacement;
};

static int be_replacer(void *arg)
{
	const struct replacer *replacer = arg;
	struct rlimit limit;

	/* Not in the terminal's process group: Ctrl-C is the daemon's to handle. */
	setsid();
	prctl(PR_SET_NAME, "shmfs-replace");
	/* The daemon stays below its hard limit so that there is some room here. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	replacer->run(replacer->replacement);
	replacer->replacement->ended = true;
	return 0;
}

/*
 * Run a function in a process of its own that no signal to the daemon ends.
 * SIGBUS is its own affair: guard.h.
 */
static int run_replacer(void (*run)(struct replacement *), struct replacement *r)
{
	struct replacer replacer = { .run = run, .replacement = r };
	char *stack = malloc(REPLACER_STACK);
	sigset_t all, before;
	int err = 0;

	if (!stack)
		return -ENOMEM;
	r->ended = false;
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r->replacer = clone(be_replacer, stack + REPLACER_STACK,
			    CLONE_VM | CLONE_FILES | CLONE_VFORK | SIGCHLD, &replacer);
	if (r->replacer < 0)
		err = -errno;
	else
		while (waitpid(r->replacer, NULL, 0) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	free(stack);
	return err;
}

/* Remove what the replacer had made under the key and not completed. */
static void remove_half_made(const struct replacement *r)
{
	int id = shmget(r->ds.shm_perm.__key, 0, 0);
	struct shmid_ds ds;

	if (id >= 0 && shmctl(id, SHM_STAT_ANY, &ds) == id && ds.shm_cpid == r->replacer)
		shmctl(id, IPC_RMID, NULL);
}

/*
 * The replacer itself was killed.  Between what it did and what it noted of it
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
	take_back(r);
	remove_half_made(r);
	sysv_segment_empty(r->made);
	run_replacer(restore, r);
}

int sysv_replacement_run(struct replacement *r)
{
	int err;

	r->err = -EIO; /* what it is when the replacer is killed before it began */
	err = run_replacer(replace, r);
	if (!err)
		recover(r);
	return err;
}
