/* SPDX-License-Identifier: MIT */
/* What the files of the System V backend share. */
#pragma once

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/shm.h>

#include "shmfs/cleanup.h"
#include "shmfs/clock.h"
#include "shmfs/minmax.h"
#include "shmfs/sysv.h"
#include "sysv/usage.h"

/* Permission bits above 0777 in shm_perm.mode; bits/shm.h hides them. */
#define SYSV_MODE_DEST 01000
#define SYSV_MODE_LOCKED 02000
/*
 * Modes in which nobody may attach a segment: the first while it is replaced or filled, the second
 * while an ordinary user's daemon attaches a new one.  Users hardly ever set such a mode.  Other
 * mounts wait a moment until it ends.
 */
#define SYSV_MODE_CLOSED 0111
#define SYSV_MODE_CLOSING 0611

/*
 * The memory of one segment: a descriptor of its inode, or without CAP_CHECKPOINT_RESTORE and
 * CAP_SYS_ADMIN an attachment.  Immutable but for its references, and the size of a removed one.
 * A resize may put another one in its place while somebody reads from it.
 */
struct sysv_segment {
	atomic_int refs;
	struct sysv_backend *backend; /* borrowed */
	int id;
	uint64_t size;
	int fd;	   /* owned; -1: attached */
	char *map; /* owned; NULL unless attached, or huge pages (no write(2) there) */
	size_t map_size;
	bool is_attached; /* `map` is an attachment */
	struct sysv_segment *next_attached;
	bool writable;
	bool tells_holes;	    /* attached, and mincore(2) finds its pages */
	size_t huge;		    /* huge page size, or 0 */
	_Atomic uint64_t populated; /* in `map`, bytes from its beginning; a guess */
};

/*
 * How to open the inode of a segment again: a struct file_handle of the internal tmpfs
 * (mm/shmem.c, shmem_encode_fh()).  It holds nothing.
 */
struct sysv_inode_handle {
	unsigned bytes; /* 0: none */
	int type;
	unsigned char handle[12];
	time_t changed; /* shm_ctime of the segment */
};

/* Where the attributes that users give segments are kept. */
struct sysv_user_xattrs {
	const char *dir;		  /* borrowed; NULL: segments can have none */
	unsigned long long namespace_ino; /* of our IPC namespace */
	unsigned long long start;	  /* of process 1 */
	atomic_ullong dir_ino;		  /* of the directory as last seen; 0: not there */
	atomic_uint made;		  /* files so far */
};

struct sysv_backend {
	struct shmfs_backend base;
	struct shmfs_sysv_config config;
	struct sysv_usage usage;
	struct sysv_user_xattrs user_xattrs;
	bool by_descriptor; /* segments are reached through descriptors */
	int proc;	    /* owned: /proc, for paths that are short */
	int rmid_forced;    /* owned: /proc/sys/kernel/shm_rmid_forced, or -1 */
	int tmpfs;	    /* owned: a file of the internal tmpfs, or negative */

	/*
	 * base.lock guards all below.  It is held while a key is taken, and across shmat(2),
	 * shmdt(2) and the reading of nattch, so that nattch and the list of our attachments agree.
	 */
	struct sysv_object *replacing; /* objects whose segment is being replaced */
	atomic_uint nreplaced;	       /* how many such replacements have ended */
	struct sysv_object *untrimmed; /* a reference to each; their segments are to be cut */
	pthread_cond_t trimming;       /* `trims` is false, or `stopping` is true */
	bool trims;		       /* a thread cuts them */
	bool stopping;
	struct sysv_times_row *times;  /* owned, a mapping; other daemons write it too */
	struct sysv_segment *attached; /* our attachments: nattch counts them, st_nlink does not */
};

/* Where a file ends. */
enum sysv_growth {
	SYSV_SETTLED,	/* where its segment does */
	SYSV_GROWING,	/* perhaps before that: a writer has made it, or has outgrown it */
	SYSV_UNTRIMMED, /* all writers have closed it, but the segment could not be cut yet */
};

struct sysv_object {
	struct shmfs_object base;
	/* Of the backend's lists, guarded by its lock. */
	struct sysv_object *next_replacing;
	uint32_t replacing_key;
	int replaced_id; /* the shmid that it had before */
	struct sysv_object *next_untrimmed;
	bool is_untrimmed; /* in that list */

	/*
	 * Held for writing while the segment is replaced.  Held for reading to write bytes, and to
	 * open the segment besides the handles.
	 */
	pthread_rwlock_t io;
	uint64_t impatient_until;    /* see sysv_wait_for_users(); guarded by `io` */
	uint64_t grown_at;	     /* CLOCK_MONOTONIC, ns; guarded by `io` */
	struct sysv_segment *mirror; /* owned reference, or NULL; see mirror.c; guarded by `io` */

	/* base.lock guards all below. */
	int id;
	bool replacing;		      /* `last` is what requests are told */
	struct sysv_segment *segment; /* owned reference, while a handle is busy; or NULL */
	unsigned nhandles;	      /* open handles */
	unsigned nbusy;		      /* of them, those that were not closed, or used since */
	unsigned nreaders;	      /* of them, those that may read */
	struct sysv_handle *lent;     /* of them, those whose memory the kernel was lent */
	bool lent_to_readers;	      /* and no mapping that may store in it is left */
	unsigned ngrowers;    /* of them, those that may outgrow the segment; and waiting resizes */
	struct shmid_ds last; /* as last seen */
	uint64_t size;	      /* of the segment: all bits of it */
	bool known;	      /* `last` is valid */
	struct sysv_inode_handle inode; /* of the segment that `last` tells of */
	uint32_t key;			/* the name that led to it, or 0: its shmid alone did */

	/* See size.c. */
	enum sysv_growth growth;
	uint64_t content_end; /* the size it had, or the end of the furthest write */
	uint64_t least_size;  /* of a new file: its segment is cut to no less; else 0 */
	bool creator_is_open; /* the file stays new while this is true, or while it grows */
};

/* An object as it was at one moment. */
struct sysv_snapshot {
	struct sysv_object *object; /* borrowed */
	int id;
	struct shmid_ds ds;
	uint64_t size;		      /* of the file */
	uint64_t others;	      /* attachments that are not ours */
	bool gone;		      /* nothing has it but our open handles */
	struct sysv_segment *segment; /* owned reference; NULL unless it is open */
};

struct sysv_handle {
	struct shmfs_handle base;
	bool fixed; /* opened by its shmid: it gets no other size */
	bool created;
	pid_t opener;				    /* a thread */
	bool lent;				    /* the kernel may have mapped it */
	struct sysv_handle *next_lent, **lent_link; /* in object->lent; guarded by its lock */
	bool grows; /* counted in object->ngrowers; guarded by the object's lock */
	bool busy;  /* counted in object->nbusy, likewise */
	atomic_bool wrote;
};

static inline struct sysv_object *sysv_object(struct shmfs_object *base)
{
	return (struct sysv_object *)base;
}

static inline struct sysv_handle *sysv_handle(struct shmfs_handle *base)
{
	return (struct sysv_handle *)base;
}

static inline int sysv_access(const struct sysv_handle *h)
{
	return h->base.flags & O_ACCMODE;
}

static inline struct sysv_backend *sysv_backend_of(struct sysv_object *obj)
{
	return (struct sysv_backend *)obj->base.backend;
}

/* --- the slots, by their names --- */

#define SYSV_SLOT(slot) SHMFS_SLOT(slot) sysv_##slot;
SHMFS_SLOTS(SYSV_SLOT)
SHMFS_SLOT(fallocate) sysv_fallocate;
SHMFS_SLOT(open) sysv_open_by_id;
SHMFS_SLOT(truncate) sysv_truncate_by_id;
extern const struct shmfs_xattr sysv_xattrs[];
extern const struct shmfs_xattr sysv_root_xattrs[];

/* --- segment.c --- */

/*
 * Open the memory of segment `id`, which was like *seen.  The caller needs the right to read it,
 * and with `writable` to write it.  Caller NULL: shmfs itself.  Returns 0, -EACCES, -ESTALE (the id
 * is another segment's), -EIDRM, -EINVAL, -ENOMEM, -EMFILE, or -EPERM (nobody has it attached, so
 * detaching would remove it).
 */
int sysv_segment_open(struct sysv_backend *, int id, const struct shmid_ds *seen, bool writable,
		      const struct shmfs_caller *caller, struct sysv_segment **);
/*
 * The same by a handle of its inode, without attaching it.  *last is the segment as it was seen,
 * and becomes what it is now.  After any error sysv_segment_open() may do.
 */
int sysv_segment_reopen(struct sysv_backend *, int id, const struct sysv_inode_handle *,
			struct shmid_ds *last, bool writable, const struct shmfs_caller *,
			struct sysv_segment **);
/* The handle of the inode of an open segment, or none. */
void sysv_segment_handle(const struct sysv_segment *, struct sysv_inode_handle *);
/* Does a segment that nobody has attached go when it is detached? */
bool sysv_detaching_removes(const struct sysv_backend *);
/*
 * To open a new segment in steps: fill() opens it in a record with its id, and empty() undoes that.
 * Neither allocates or locks.  count() then enters the attachment, if there is one.
 */
struct sysv_segment *sysv_segment_new(struct sysv_backend *);
int sysv_segment_fill(struct sysv_segment *, uint64_t size);
void sysv_segment_empty(struct sysv_segment *);
void sysv_segment_count(struct sysv_segment *);
struct sysv_segment *sysv_segment_get(struct sysv_segment *);
void sysv_segment_put(struct sysv_segment *);
/* Zero [off, off + len) and give the whole pages in it back. */
int sysv_segment_punch(struct sysv_segment *, uint64_t off, uint64_t len);
/* Have the pages of [off, off + len).  -EOPNOTSUPP: an attachment before Linux 5.14. */
int sysv_segment_populate(struct sysv_segment *, uint64_t off, uint64_t len);
/* Map a segment that has a descriptor.  Neither allocates nor locks. */
int sysv_segment_map(struct sysv_segment *);
/* Does anything but us have the inode open or mapped?  False if it cannot be told. */
bool sysv_segment_is_shared(const struct sysv_segment *);
/* Has a daemon, this or another, opened the segment once more? */
bool sysv_segment_is_opened_again(const struct sysv_segment *);
/* Attributes of segment `id`, and its attachments besides ours.  -ESTALE: there is none. */
int sysv_segment_stat(struct sysv_backend *, int id, struct shmid_ds *, uint64_t *others);
/* Attach segment->id.  The last sysv_segment_put() detaches it. */
int sysv_attach(struct sysv_segment *, int flags);
/* The daemon ends, and with it the attachments that were kept. */
void sysv_forget_attachments(struct sysv_backend *);
/* A file of the internal tmpfs, by a mapping.  -EPERM, -ENOENT: no descriptors of segments. */
int sysv_open_tmpfs(int proc);

/* --- shmid.c --- */

/* Can `now` be the segment that was seen as `before`? */
bool sysv_is_same(const struct shmid_ds *now, const struct shmid_ds *before);
/* Is it closed to others for a replacement, since a moment ago? */
bool sysv_is_closed(const struct shmid_ds *);
/* Is the caller its owner or its creator, or root (ipc/util.c, ipcctl_obtain_check())? */
bool sysv_is_owner(const struct shmid_ds *, const struct shmfs_caller *);
/* shmfs_caller_may() for a segment. */
bool sysv_may(const struct shmid_ds *, unsigned want, const struct shmfs_caller *);
/* IPC_SET: owner and group as in `like`, and a mode. */
int sysv_set_perm(int id, const struct shmid_ds *like, unsigned mode);

/* --- replace/resize.c --- */

/* The object whose segment of this key is being replaced, or NULL.  base.lock is held. */
struct sysv_object *sysv_find_replacing(struct sysv_backend *, uint32_t key);

/* --- size.c --- */

/* object->io is held for writing. */

/* Set a size other than 0, without a wait for others. */
int sysv_set_size(struct sysv_object *, struct sysv_handle *, uint64_t size,
		  const struct shmfs_caller *);
/* Zero every byte.  object->io can be held for reading. */
int sysv_clear(struct sysv_object *, const struct shmfs_caller *);
/* Make room for a write that ends at `end`. */
int sysv_grow(struct sysv_object *, struct sysv_handle *, uint64_t end,
	      const struct shmfs_caller *);
/* Make it `size + spare` bytes.  The spare bytes are cut when the file is closed. */
int sysv_grow_to(struct sysv_object *, struct sysv_handle *, uint64_t size, uint64_t spare,
		 const struct shmfs_caller *);
/* How long a resize waits for other users of the segment. */
struct sysv_patience {
	uint64_t since; /* CLOCK_MONOTONIC, nanoseconds; 0: not waiting yet */
	long pause;	/* nanoseconds */
	bool reader;	/* one was met */
};
/*
 * A resize failed with `err`: wait a moment without object->io.  False: others will not go by
 * themselves, or have taken too long.
 */
bool sysv_wait_for_users(struct sysv_object *, struct sysv_patience *, int err);
/* The last writer has closed the file: cut the segment to its size, now or later. */
void sysv_settle(struct sysv_object *);

/* --- times.c --- */

int sysv_times_init(struct sysv_backend *);
void sysv_times_destroy(struct sysv_backend *);
/* When the segment was modified last; `others` as of sysv_segment_stat(). */
struct timespec sysv_times_modified(struct sysv_backend *, int id, const struct shmid_ds *,
				    uint64_t others);
/* A write through the mount, now. */
void sysv_times_wrote(struct sysv_backend *, int id);
/* shmfs is going to attach it, and its process id will take the place of that in `before`. */
void sysv_times_attaching(struct sysv_backend *, int id, const struct shmid_ds *before);
/* shmfs has detached it, and others had it attached `others` times.  base.lock is held. */
void sysv_times_detached(struct sysv_backend *, int id, const struct shmid_ds *before,
			 uint64_t others, const struct shmid_ds *after);
/* One segment takes the place of another. */
void sysv_times_carry(struct sysv_backend *, int to, int from);

/* --- trim.c --- */

void sysv_trim_begin(struct sysv_backend *);
/* The backend ends: try once more for all that is left. */
void sysv_trim_end(struct sysv_backend *);
void sysv_trim_later(struct sysv_object *);
/* Cut it if it is to be; `object->io` is held for writing.  -EAGAIN, -EBUSY ... */
int sysv_trim(struct sysv_object *);

/* --- attached.c --- */

/* Has `opener`, or a child of it, a descriptor of the object?  True where that is not known. */
bool sysv_is_open_in(const struct sysv_object *, pid_t opener);
/* `opener` has closed the handle: detach if nothing else uses it.  `io` is held for writing. */
void sysv_let_go(struct sysv_object *, struct sysv_handle *, pid_t opener);

/* --- mirror.c --- */

/*
 * Is the object's segment to become a mirror?  1: yes, it is lent to readers of the process of
 * `thread` alone.  0: it is not lent, or there is a mirror.  -EAGAIN: it is lent to others.
 */
int sysv_plan_mirror(struct sysv_object *, pid_t thread);
/* Bytes were written, or with length 0 the file was resized.  `io` is held for writing. */
void sysv_mirror_write(struct sysv_object *, uint64_t off, uint64_t len);
/* Bytes were zeroed.  `io` is held. */
void sysv_mirror_punch(struct sysv_object *, uint64_t off, uint64_t len);

/* --- holes.c --- */

/* The most bytes that are copied at once. */
#define SYSV_LONGEST_COPY ((size_t)4 << 20)
/* A copy of [off, off + len) with zeros for holes, to be freed.  NULL: no hole is known there. */
char *sysv_copy_around_holes(const struct sysv_segment *, uint64_t off, size_t len);
/* Is a byte of an attachment behind `end` not zero?  Pages that are swapped are not looked at. */
bool sysv_has_bytes_behind(const struct sysv_segment *, uint64_t end);

/* --- errors.c --- */

enum sysv_call { SYSV_BY_ID, SYSV_REMOVE, SYSV_MAKE, SYSV_RESIZE };
/* Turns a negative errno of a shared-memory call into one of a file. */
int sysv_error(enum sysv_call, int err);
/* Turns -EINVAL and -EIDRM of a segment that is gone into -ESTALE. */
static inline int sysv_gone(int err)
{
	return sysv_error(SYSV_BY_ID, err);
}

/* --- object.c --- */

shmfs_object_make_fn sysv_object_make;
/*
 * sysv_segment_stat() into object->last; the object's lock is held.  -ESTALE also if the id is
 * another segment's by now.
 */
int sysv_object_stat(struct sysv_object *, uint64_t *others);
/* The same into *ds, with the shmid of that moment; takes the lock.  `id`, `others` can be NULL. */
int sysv_object_now(struct sysv_object *, int *id, struct shmid_ds *ds, uint64_t *others);
/* Count the handle among those that may outgrow the segment, or not; the object's lock is held. */
void sysv_set_grows(struct sysv_object *, struct sysv_handle *, bool grows);
/* The handle writes no more.  Returns whether it was the last that did. */
bool sysv_stop_growing(struct sysv_object *, struct sysv_handle *);
/* Set the size of the file; a write can make it larger. */
void sysv_set_file(struct sysv_object *, enum sysv_growth, uint64_t size);
/* The size of the segment as last seen.  The object's lock is held. */
uint64_t sysv_segment_size(const struct sysv_object *);
/* The size that the file shows.  The object's lock is held. */
uint64_t sysv_file_size(const struct sysv_object *);
/*
 * A request by path has failed with *err.  If the segment is gone, and no handle keeps it, the
 * object takes over the segment that the key has now.  Returns whether to make the request again.
 * No lock is held.  ESTALE would not do: the kernel walks to a file only once more (fs/namei.c,
 * retry_estale()).
 */
bool sysv_follows_key(struct sysv_object *, unsigned *tries, int *err);
/* Fill in a snapshot.  -ESTALE: nothing has the segment any more. */
int sysv_snapshot_now(struct sysv_object *, struct sysv_snapshot *);
/* The same, of the segment that the key has now.  No lock is held. */
int sysv_snapshot_take(struct sysv_object *, struct sysv_snapshot *);
/* SYSV_SNAPSHOT snapshot = { 0 }: puts its segment back at the end of the block. */
#define SYSV_SNAPSHOT __attribute__((cleanup(sysv_snapshot_clear))) struct sysv_snapshot
static inline void sysv_snapshot_clear(struct sysv_snapshot *snapshot)
{
	sysv_segment_put(snapshot->segment);
}
/* The attributes of the segment that the object has; sysv_getattr() follows its key. */
int sysv_look(struct sysv_object *, const struct shmfs_caller *, struct stat *);
/*
 * May the caller read, or write, now?  `io` is held.  -EACCES: the caller may not, or, without
 * `closed_too`, the mode is closed.  -ESTALE: it is gone.
 */
int sysv_check_rights(struct sysv_object *, bool writable, bool closed_too,
		      const struct shmfs_caller *);
/* Check these rights, and open object->segment if it is not.  The object's lock is held. */
int sysv_open_checked(struct sysv_object *, bool writable, bool closed_too,
		      const struct shmfs_caller *);
/* Open object->segment for a handle, perhaps after a close.  Rights do not matter.  `io` is held. */
int sysv_use(struct sysv_object *, struct sysv_handle *, bool writes);
/* Open object->segment if handles are open, before a change after which it cannot be attached. */
int sysv_keep_segment(struct sysv_object *);
/* The segment that handles have open, to be put back, or NULL. */
struct sysv_segment *sysv_open_segment(struct sysv_object *);
/* A writable segment of the object, to be put back. */
int sysv_borrow_segment(struct sysv_object *, const struct shmfs_caller *, struct sysv_segment **);
/*
 * Wait a moment while another mount is replacing the segment.  No lock is held.  False: its mode
 * stays closed, so a user may have set that.
 */
bool sysv_wait_while_closed(struct sysv_object *, bool to_open, const struct shmfs_caller *);
/* How often a request waits like that: a segment can be replaced again at once. */
#define SYSV_CLOSED_TRIES 3

/* --- user_xattr.c --- */

void sysv_user_xattr_init(struct sysv_backend *);
/* Remove what is kept of segments that are gone. */
void sysv_user_xattr_sweep(struct sysv_backend *);
/*
 * carry() gives a segment the attributes of another as well, and drop() removes them from one.
 * Neither allocates or locks.
 */
int sysv_user_xattr_carry(const struct sysv_backend *, int from, const struct shmid_ds *from_ds,
			  int to, const struct shmid_ds *to_ds);
void sysv_user_xattr_drop(const struct sysv_backend *, int id, const struct shmid_ds *ds);

/* --- clone.c --- */

/*
 * Run a function in a process that shares the daemon's memory and descriptors, and wait for its
 * end.  The thread-local memory is that of the calling thread, `errno` included.  No signal reaches
 * the process but SIGBUS (sigbus.h).  CLONE_VFORK in `flags`: the calling thread does not run
 * meanwhile, not even to end a process that was stopped.  Returns 0, 1 if killed, or -ENOMEM.
 */
int sysv_run_process(int flags, int (*run)(void *), void *arg);

/* --- memlock.c --- */

/* In whose name a segment is locked. */
struct sysv_locker {
	int id;		     /* of the segment */
	uid_t uid;	     /* whose account it is on */
	bool is_limited;     /* false: the daemon's own rights count */
	struct rlimit limit; /* of locked memory */
	int err;	     /* of the process that locks */
};

/*
 * SHM_LOCK or SHM_UNLOCK segment `id` with the caller's rights and limit, on the caller's account.
 * -EPERM, -ENOMEM (over RLIMIT_MEMLOCK) ...
 */
int sysv_lock(struct sysv_backend *, int id, bool on, const struct shmfs_caller *);
/*
 * In whose name a segment is locked again as one of `size` bytes, if it is locked.  If it grows,
 * -ENOMEM over the caller's limit.
 */
int sysv_locker_for(struct sysv_backend *, const struct shmid_ds *, uint64_t size,
		    const struct shmfs_caller *, struct sysv_locker *);
/* SHM_LOCK, by a process of its own. */
int sysv_lock_as(struct sysv_locker *);
