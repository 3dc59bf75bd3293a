/* SPDX-License-Identifier: MIT */
/*
 * What the files of the System V backend share.  src/README.md has the order of the locks.
 */
#ifndef SHMFS_SYSV_INTERNAL_H
#define SHMFS_SYSV_INTERNAL_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/shm.h>

#include "shmfs/sysv.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15 /* Linux 4.17; glibc has it since 2.28 */
#endif
/* Permission bits above 0777 in shm_perm.mode; bits/shm.h hides them. */
#define SYSV_MODE_DEST 01000
#define SYSV_MODE_LOCKED 02000
/*
 * A segment that is being replaced, or is not complete yet, has the first of these modes:
 * nobody may attach it.  An ordinary user's new one has the second until it is attached.
 * Users hardly ever give a segment such a mode.  Other mounts wait a moment for its end.
 */
#define SYSV_MODE_CLOSED 0111
#define SYSV_MODE_CLOSING 0611

/*
 * The memory of one segment.  With CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN it
 * is a descriptor of the segment's inode, which is no attachment; without,
 * an attachment that nattch counts.  Immutable but for its references and its
 * window: while somebody reads from it, a resize may put another in its place.
 */
struct sysv_segment {
	atomic_int refs;
	struct sysv_backend *backend; /* borrowed */
	int id;
	uint64_t size;
	int fd;		 /* owned; -1: attached */
	char *map;	 /* owned; NULL unless attached, or huge pages (no write(2) there) */
	size_t map_size; /* as mapped, or 0: attached, shmdt(2) knows */
	struct sysv_segment *next_attached;
	bool writable;
	bool tells_holes; /* attached, and mincore(2) finds its pages */
	size_t huge;	  /* huge page size, or 0 */
};

/* Bytes of one segment. */
struct sysv_usage_row {
	int id;
	uint64_t resident;
	uint64_t swapped;
};

struct sysv_usage_table {
	uint64_t read_at;	/* CLOCK_MONOTONIC, nanoseconds; 0: too old for any answer */
	uint64_t cost;		/* nanoseconds of processor time that reading took */
	struct shm_info totals; /* just before it was read */
	uint64_t checked_at;	/* when they were found to be the same */
	uint64_t check_cost;
	struct sysv_usage_row *rows; /* owned; sorted by id */
	size_t count;
};

struct sysv_usage {
	char path[128];
	pthread_mutex_t *lock; /* borrowed; guards all below; not held while the table is read */
	struct sysv_usage_table table;
	pthread_t reader; /* reads the next table, or has read it */
	bool has_reader;
	bool is_reading;
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
	int rmid_forced;    /* owned: /proc/sys/kernel/shm_rmid_forced, or -1 */

	/*
	 * base.lock guards all below, and is held while a key is taken, and across shmat(2),
	 * shmdt(2) and the reading of nattch: that and the list of our attachments belong together.
	 */
	struct sysv_object *replacing; /* objects whose segment is being replaced */
	atomic_uint nreplaced;	       /* how often that has ended */

	/* Objects that could not be cut to size when they were closed, with a reference to each. */
	struct sysv_object *untrimmed;
	pthread_cond_t trimming; /* `trims` is no longer so, or `stopping` is */
	bool trims;		 /* a thread does */
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
	struct sysv_object *next_untrimmed;
	bool is_untrimmed; /* in that list */

	/*
	 * Held for reading by whoever writes bytes or opens the segment besides its handles,
	 * for writing by whoever replaces it, for as long as copying takes.
	 */
	pthread_rwlock_t io;
	uint64_t impatient_until; /* see sysv_wait_for_users(); guarded by `io` */

	/* base.lock guards all below. */
	int id;
	bool replacing; /* `last` speaks for it until that is done */
	/* Owned reference, while handles are busy; those that were closed may have let it go. */
	struct sysv_segment *segment;
	unsigned nhandles;    /* open handles */
	unsigned nbusy;	      /* of them, those that were not closed, or used since */
	unsigned nreaders;    /* of them, those that may read */
	unsigned nlent;	      /* of them, those whose memory the kernel was lent */
	unsigned ngrowers;    /* of them, those that may outgrow the segment; and waiting resizes */
	struct shmid_ds last; /* as last seen */
	bool known;	      /* `last` is valid */
	uint32_t key;	      /* the name that led to it, or 0: its shmid alone did */

	/* See size.c. */
	enum sysv_growth growth;
	bool is_new;	      /* made by a handle that is open, or has been while it grows */
	bool creator_is_open; /* that handle */
	uint64_t keep_size;   /* the size it had, or was made with */
	uint64_t content_end; /* end of the furthest write */
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
	bool lent;  /* the kernel may have mapped it */
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

/* --- segment.c --- */

/*
 * Open the memory of segment `id`, which was like *seen.  `caller` must have the
 * right to read it, and to write it if `writable`; NULL: nobody is asked.
 * -EACCES, -ESTALE when the id is another segment's, -EIDRM / -EINVAL (gone),
 * -ENOMEM, -EMFILE ...  -EPERM where that would be its end, for nobody has it
 * attached.
 */
int sysv_segment_open(struct sysv_backend *, int id, const struct shmid_ds *seen, bool writable,
		      const struct shmfs_caller *caller, struct sysv_segment **);
/* As far as can be told. */
bool sysv_is_same(const struct shmid_ds *, const struct shmid_ds *);
/* Does a segment that nobody has attached go when it is detached? */
bool sysv_detaching_removes(const struct sysv_backend *);
/*
 * The same in two steps for the replacer of a resize, which may outlive the
 * daemon's other threads and whatever they had locked: fill() neither
 * allocates nor locks, for a segment that is empty yet, and empty() undoes it;
 * count() enters the attachment that it may have made, later.
 */
struct sysv_segment *sysv_segment_new(struct sysv_backend *);
int sysv_segment_fill(struct sysv_segment *, int id, uint64_t size);
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
bool sysv_segment_is_shared(struct sysv_segment *);
/*
 * What the kernel says of segment `id`, and how many attachments besides ours
 * it has.  Needs no permission, changes nothing.  -ESTALE when it is gone.
 */
int sysv_segment_stat(struct sysv_backend *, int id, struct shmid_ds *, uint64_t *others);
/* IPC_SET: owner and group as in `like`, and a mode. */
int sysv_set_perm(int id, const struct shmid_ds *like, unsigned mode);
/* Attach segment->id; the last sysv_segment_put() detaches it.  nattch counts it, st_nlink does not. */
int sysv_attach(struct sysv_segment *, int flags);
/* The daemon ends, and with it the attachments that were kept. */
void sysv_forget_attachments(struct sysv_backend *);
/* Is he its owner or its creator, or root (ipc/util.c, ipcctl_obtain_check())? */
bool sysv_is_owner(const struct shmid_ds *, const struct shmfs_caller *);
/* Does the mode give him all of `want`, as in shmfs_caller_may()? */
bool sysv_may(const struct shmid_ds *, unsigned want, const struct shmfs_caller *);
/* Can this process open the files behind its mappings? */
bool sysv_descriptors_work(const char *proc_dir);

/* --- unused.c --- */

int sysv_check_unused(const struct shmfs_view *, const struct shmfs_name *);
int sysv_remove_unused(const struct shmfs_view *, const struct shmfs_name *,
		       const struct shmfs_caller *);

/* --- usage.c --- */

int sysv_usage_init(struct sysv_usage *, const char *proc_dir, pthread_mutex_t *lock);
void sysv_usage_destroy(struct sysv_usage *);
/*
 * Resident and swapped bytes of segment `id`, without a wait for a long table; 0
 * when it is not in it.
 */
uint64_t sysv_usage_of(struct sysv_usage *, int id);
/* The two apart, as they are now; -ENODATA when it is not in the table. */
int sysv_usage_find(struct sysv_usage *, int id, struct sysv_usage_row *);
/* Resident bytes of a segment that is open, as they are now. */
uint64_t sysv_segment_resident(struct sysv_segment *);
/* The segment's memory was just changed through us. */
void sysv_usage_touched(struct sysv_segment *);
/* --- replace/resize.c --- */

/*
 * Replace the object's segment by one of `size` bytes under the same key.
 * `object->io` is held for writing.
 * -EBUSY when others use the segment, -EAGAIN when somebody has its file open,
 * -EPERM when the caller may not remove it or it has no key, -ESTALE when it
 * was removed already, -EFBIG over SHMMAX, -ENOSPC over SHMALL or SHMMNI, -ENOMEM: nothing
 * has changed then.  -EIDRM when it was removed meanwhile; -EEXIST when the key was lost on the way: the log says
 * where the bytes are.
 */
int sysv_resize(struct sysv_object *, uint64_t size, const struct shmfs_caller *);
/* The object whose segment of this key is being replaced, or NULL.  base.lock is held. */
struct sysv_object *sysv_find_replacing(struct sysv_backend *, uint32_t key);

/* --- size.c --- */

int sysv_truncate(struct shmfs_object *, struct shmfs_handle *handle, off_t size,
		  const struct shmfs_caller *);
int sysv_truncate_by_id(struct shmfs_object *, struct shmfs_handle *handle, off_t size,
			const struct shmfs_caller *);

/* The rest is with `object->io` held for writing. */

/* Give it a size other than 0; the wait for others is the caller's. */
int sysv_set_size(struct sysv_object *, struct sysv_handle *, uint64_t size,
		  const struct shmfs_caller *);
/* Zero every byte; held for reading will do.  -EACCES where the caller may not write. */
int sysv_clear(struct sysv_object *, const struct shmfs_caller *);
/* Make room for a write that ends at `end`. */
int sysv_grow(struct sysv_object *, struct sysv_handle *, uint64_t end,
	      const struct shmfs_caller *);
/* The segment shall be at least so large until the file is closed, with `spare` bytes beside. */
int sysv_grow_to(struct sysv_object *, struct sysv_handle *, uint64_t size, uint64_t spare,
		 const struct shmfs_caller *);
/*
 * A resize was refused with `err`.  Wait a moment, with `object->io` given up,
 * for those to go that may go by themselves.  False when that is in vain, or has
 * taken too long: then the error stays.
 */
struct sysv_patience {
	uint64_t since; /* CLOCK_MONOTONIC, nanoseconds; 0: not waiting yet */
	long pause;	/* nanoseconds */
};
bool sysv_wait_for_users(struct sysv_object *, struct sysv_patience *, int err);
/* The last writer has closed the file: cut the segment to it, now or as soon as it can be. */
void sysv_settle(struct sysv_object *);

/* --- times.c --- */

int sysv_times_init(struct sysv_backend *);
void sysv_times_destroy(struct sysv_backend *);
/* When the segment was modified last; `others` as of sysv_segment_stat(). */
struct timespec sysv_times_modified(struct sysv_backend *, int id, const struct shmid_ds *,
				    uint64_t others);
/* Through a mount, just now. */
void sysv_times_wrote(struct sysv_backend *, int id);
/* We have detached it; it was and is like that.  base.lock is held. */
void sysv_times_detached(struct sysv_backend *, int id, const struct shmid_ds *before,
			 const struct shmid_ds *after);
/* One segment takes the place of another. */
void sysv_times_carry(struct sysv_backend *, int to, int from);

/* --- trim.c --- */

void sysv_trim_begin(struct sysv_backend *);
/* The backend ends: try once more for all that is left. */
void sysv_trim_end(struct sysv_backend *);
void sysv_trim_later(struct sysv_object *);
/* Cut it if it is to be; `object->io` is held for writing.  -EAGAIN, -EBUSY ... */
int sysv_trim(struct sysv_object *);

/* --- handle.c: slots --- */

int sysv_create(const struct shmfs_view *, const struct shmfs_name *, int flags, mode_t,
		const struct shmfs_caller *, struct shmfs_object **, struct shmfs_handle **,
		struct stat *);
int sysv_open(struct shmfs_object *, int flags, const struct shmfs_caller *,
	      struct shmfs_handle **);
int sysv_open_by_id(struct shmfs_object *, int flags, const struct shmfs_caller *,
		    struct shmfs_handle **);
int sysv_flush(struct shmfs_handle *, bool by_opener, const struct shmfs_caller *);
void sysv_release(struct shmfs_handle *);
enum shmfs_io_mode sysv_binding(struct shmfs_handle *, int *fd);
void sysv_lent(struct shmfs_handle *, bool lent);

/* --- attached.c --- */

/*
 * `opener` has closed the handle, and this is a mount that attaches segments: detach if
 * nothing else uses it.  `io` is held for writing.
 */
void sysv_let_go(struct sysv_object *, struct sysv_handle *, pid_t opener);

/* --- holes.c --- */

/* The most bytes that are copied at once. */
#define SYSV_LONGEST_COPY ((size_t)4 << 20)
/*
 * A copy of at most so many bytes of an attachment, to be freed.  NULL where all
 * of them can be read from the attachment itself: nothing is a hole there, or no
 * hole is known.
 */
char *sysv_copy_around_holes(const struct sysv_segment *, uint64_t off, size_t len);

/* --- bytes.c: slots --- */

int sysv_read_begin(struct shmfs_handle *, off_t, size_t, struct shmfs_extent *);
void sysv_read_end(struct shmfs_handle *, struct shmfs_extent *);
int sysv_write_begin(struct shmfs_handle *, off_t, size_t, bool append, const struct shmfs_caller *,
		     struct shmfs_extent *);
ssize_t sysv_write_end(struct shmfs_handle *, struct shmfs_extent *, size_t written);
int sysv_fallocate(struct shmfs_handle *, int mode, off_t, off_t len, const struct shmfs_caller *);
off_t sysv_seek(struct shmfs_handle *, off_t, int whence);

/* --- errors.c --- */

enum sysv_call { SYSV_BY_ID, SYSV_REMOVE, SYSV_MAKE };
/* Turns a negative errno of a shared-memory call into one of a file. */
int sysv_error(enum sysv_call, int err);
/* -EINVAL and -EIDRM, the kernel's words for a segment that is gone, as -ESTALE. */
static inline int sysv_gone(int err)
{
	return sysv_error(SYSV_BY_ID, err);
}

static inline uint64_t sysv_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t sysv_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* --- object.c --- */

shmfs_object_make_fn sysv_object_make;
void sysv_object_free(struct shmfs_object *);
/*
 * sysv_segment_stat() of the object's segment into object->last; the lock is
 * held.  shmids are used again in the end: what has the id now must be what
 * had it before, else -ESTALE.
 */
int sysv_object_stat(struct sysv_object *, uint64_t *others);
/* The same with the lock taken, into *ds. */
int sysv_object_stat_now(struct sysv_object *, struct shmid_ds *ds, uint64_t *others);
/* The same with the shmid that *ds is of: the key may lead to another at any moment. */
int sysv_object_id_now(struct sysv_object *, int *id, struct shmid_ds *ds);
/* Count the handle among those that may outgrow the segment, or not; the object's lock is held. */
void sysv_set_grows(struct sysv_object *, struct sysv_handle *, bool grows);
/* The handle writes no more.  Was it the last that did?  Then the size is final. */
bool sysv_stop_growing(struct sysv_object *, struct sysv_handle *);
/* It writes, perhaps after it was closed once.  The object's lock is held. */
void sysv_resume_growing(struct sysv_object *, struct sysv_handle *);
/* The file has that size unless it is written past that end. */
void sysv_set_file(struct sysv_object *, enum sysv_growth, uint64_t keep_size);
/* The size that the file shows; the lock is held. */
uint64_t sysv_file_size(const struct sysv_object *);
/*
 * A request by path has failed with *err.  If the segment is gone, and no handle keeps
 * it, the object takes over the segment that the key has now, and the request is to be
 * made again.  No lock is held.  The kernel walks to a file once more when it is told
 * ESTALE, and then the caller is told (fs/namei.c, retry_estale()).
 */
bool sysv_follows_key(struct sysv_object *, unsigned *tries, int *err);
/* Look at the object now; put snapshot->segment back.  -ESTALE when nothing has it any more. */
int sysv_snapshot_take(struct sysv_object *, struct sysv_snapshot *);
/* The attributes of the segment that the object has; sysv_getattr() follows its key. */
int sysv_look(struct sysv_object *, const struct shmfs_caller *, struct stat *);
int sysv_getattr(struct shmfs_object *, const struct shmfs_caller *, struct stat *);
/*
 * Have object->segment, or one for a moment, which is to be put back.  The lock
 * is held for need().  -EACCES where the caller, if there is one, may not.
 */
int sysv_need_segment(struct sysv_object *, bool writable, const struct shmfs_caller *);
/*
 * The same for a handle, which may have been closed once, in this or another process:
 * its rights are not asked for again.  `io` is held.
 */
int sysv_use(struct sysv_object *, struct sysv_handle *, bool writes);
/* Before anything that keeps us from attaching it: have it if handles are open. */
int sysv_keep_segment(struct sysv_object *);
int sysv_borrow_segment(struct sysv_object *, const struct shmfs_caller *, struct sysv_segment **);
/*
 * Wait a moment while another mount is replacing the segment; no lock is held.  False:
 * it still is, or a user gave it that mode.
 */
bool sysv_wait_while_closed(struct sysv_object *, bool to_open, const struct shmfs_caller *);
/* It can be replaced again at once: a request waits and looks again so often. */
#define SYSV_CLOSED_TRIES 3
/*
 * May the caller read, or write, at this moment?  `io` is held.  -EACCES, also where it
 * looks as if another mount is replacing the segment, unless `closed_too`; -ESTALE when
 * it is gone.
 */
int sysv_check_rights(struct sysv_object *, bool writable, bool closed_too,
		      const struct shmfs_caller *);

#endif
