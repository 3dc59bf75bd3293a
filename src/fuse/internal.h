/* SPDX-License-Identifier: MIT */
/* What the files that speak FUSE share.  src/README.md says what each of them does. */
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>

#include "shmfs/backend.h"
#include "shmfs/cleanup.h"
#include "shmfs/clock.h"
#include "shmfs/tree.h"

/* The shortest time to keep attributes; the kernel rounds up (fs/fuse/dir.c, time_to_jiffies()). */
#define ONE_JIFFY 1e-9
/* For what does not change, or what the kernel is told of. */
#define LONG_S 3600

/*
 * The most bytes of one READ or WRITE.  With a page for its header it fits into a pipe of 1 MiB,
 * the default limit of pipe(7), and a copy on its way stays in a processor's own cache.
 */
#define MAX_TRANSFER (512 << 10)

/* A thread that had the file open until a moment ago. */
struct shmfs_closer {
	pid_t thread;
	uint64_t at; /* CLOCK_MONOTONIC, ns */
};
#define SHMFS_CLOSERS 4

/*
 * A file that the kernel knows: an object by one view, counted by lookups.  Its address is the node
 * id that the kernel is given.
 */
struct shmfs_inode {
	/* Guarded by shmfs_fs.lock. */
	struct shmfs_inode *next; /* in the table */
	struct shmfs_inode **link;
	struct shmfs_inode *sibling; /* of the same object, by another view */
	uint64_t nlookup;	     /* lookups that were not forgotten */
	bool superseded;	     /* lookups lead to another one of the same object and view */
	struct shmfs_file *files;    /* owned; the open ones */
	struct shmfs_closer closers[SHMFS_CLOSERS]; /* the last */
	unsigned nclosed;

	const struct shmfs_view *view; /* borrowed */
	struct shmfs_object *object;   /* a reference */
	atomic_uint nopen;	       /* open files */

	/* What the kernel serves its open files from: one descriptor an inode. */
	pthread_mutex_t backing_lock; /* guards all below; held for one ioctl(2) */
	int backing_id;		      /* the kernel's number for it, 0: none */
	unsigned backing_users;	      /* files bound to that */
	unsigned nunbound_writers;    /* files open for writing that are not bound */
	uint64_t daemon_open_at;      /* last open that was not bound; CLOCK_MONOTONIC, ns */
};

/* Guarded by shmfs_fs.lock, as are `inodes` of objects. */
struct shmfs_inode_table {
	struct shmfs_inode *inodes; /* owned */
	size_t count;
	size_t nfreed; /* since memory was given back to the system */
};

/* See passthrough.c. */
struct shmfs_passthrough {
	const char *unwanted; /* why it is not asked for, in words for the user; or NULL */
	bool on;	      /* asked for and, as far as INIT tells, granted */
	atomic_bool refused;  /* to this daemon, which lacks the privilege: nothing is ever bound */
};

/* A thread that was told to walk to a file once more. */
struct shmfs_walker {
	pid_t opener; /* 0: any thread of another PID namespace */
	uint64_t at;  /* CLOCK_MONOTONIC, ns; 0: its open(2) has ended */
	unsigned nlookups;
	const struct shmfs_object *awaited; /* by others, not to be followed; or NULL */
	struct shmfs_handle *held;	    /* owned, with a reference to its object; or NULL */
	bool is_old;			    /* held for TICK_NS and more */
};

#define SHMFS_WALKERS 64
struct shmfs_walks {
	pthread_t thread; /* lets go of what is not opened */
	bool has_thread;  /* it is to be joined */

	/* A thread was ever told to: until then a LOOKUP takes no lock. */
	atomic_bool used;

	/* Guarded by shmfs_fs.lock. */
	bool runs; /* an object is held, or was a moment ago */
	struct shmfs_walker walkers[SHMFS_WALKERS];
};

/* Listings that are kept for open streams; see dir.c. */
#define SHMFS_DIRS_KEPT 4
struct shmfs_dirs {
	atomic_uint nopen; /* open directories */
	uint64_t seed;	   /* of hashes of names */
	struct snapshot *kept[SHMFS_DIRS_KEPT];
};

/* How many files a user has open. */
struct shmfs_user {
	uid_t uid;
	unsigned nopen;
};

/* Slots for directories that were searched: one for each row, the rest for those with numbers. */
#define SHMFS_SEARCHED 512

struct shmfs_fs {
	struct shmfs_tree tree;
	struct shmfs_passthrough passthrough;
	struct fuse_session *session; /* owned, or NULL */
	pid_t target;		      /* `-o target=PID`; 0: none */

	int names_watch;		      /* owned; of inotify(7); below 0: there is none */
	atomic_uint_fast64_t names_changed;   /* when it told so; CLOCK_MONOTONIC, ns */
	atomic_uint searched[SHMFS_SEARCHED]; /* see note_searched() */

	pthread_mutex_t lock; /* guards all below; no lock is taken under it */
	struct shmfs_inode_table inodes;
	unsigned nopen;		  /* open files */
	struct shmfs_user *users; /* owned; those who have any */
	size_t nusers;
	struct shmfs_dirs dirs;
	struct shmfs_walks walks;

	bool drops;	   /* a thread drops names that the kernel is to forget */
	pthread_t dropper; /* set, as the pipe to it, before the first of them is written */
	int gone[2];	   /* owned; the pipe */
	atomic_bool ends;  /* the thread is to drop no more */
};

/* An open file. */
struct shmfs_file {
	struct shmfs_file *next; /* in inode->files; shmfs_fs.lock guards it */
	struct shmfs_file **link;

	struct shmfs_inode *inode;   /* borrowed: the kernel holds it as long as the file */
	struct shmfs_handle *handle; /* owned */
	pid_t opener;		     /* the thread that opened it */
	uid_t user;		     /* and its user */
	enum shmfs_io_mode mode;     /* how it is bound; SHMFS_IO_DAEMON: it is not */
	int backing_id;		     /* to what, or 0 */
	bool unbound_writer;	     /* counted in inode->nunbound_writers */
	atomic_bool unacknowledged;  /* served, and its open(2) may not have returned */
};

/* The caller of a request.  `caller` comes first: its groups() finds the rest. */
struct request_caller {
	struct shmfs_caller caller;
	fuse_req_t req;
	bool has_groups; /* they were asked for */
	int ngroups;
};

static inline struct shmfs_fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The node id of a directory is itself, which is odd; FUSE_ROOT_ID is the root's. */
static inline bool is_dir(fuse_ino_t ino)
{
	return ino & 1;
}

static inline shmfs_dir dir_of(fuse_ino_t ino)
{
	return (shmfs_dir)ino;
}

/* The kernel gives back what fuse_reply_entry() gave it. */
static inline struct shmfs_inode *inode_of(fuse_ino_t ino)
{
	return (struct shmfs_inode *)(uintptr_t)ino;
}

static inline struct shmfs_file *file_of(const struct fuse_file_info *fi)
{
	return (struct shmfs_file *)(uintptr_t)fi->fh;
}

/* The st_ino of a file. */
static inline ino_t ino_of(const struct shmfs_inode *inode)
{
	return shmfs_object_ino(inode->object, inode->view->variant);
}

static inline const struct shmfs_backend_ops *ops_of(const struct shmfs_inode *inode)
{
	return inode->view->ops;
}

/* Errors are negative below and positive in replies; here they turn. */
static inline void reply_error(fuse_req_t req, int err)
{
	fuse_reply_err(req, -err);
}

/*
 * How long the kernel may keep an inode's attributes, in seconds.  Not at all while the file is
 * open, because fstat(2) would show old ones.
 */
static inline double attr_timeout(const struct shmfs_inode *inode)
{
	return atomic_load(&inode->nopen) ? 0 : ONE_JIFFY;
}

/* --- operations.c --- */

/* Requests that come by libfuse: shmfs_fuse_lookup() and so on. */
/* clang-format off */
#define SHMFS_REQUESTS(each) \
	each(lookup) each(create) each(mknod) each(mkdir) each(symlink) each(link) \
	each(unlink) each(rmdir) each(rename) \
	each(getattr) each(setattr) each(open) each(flush) \
	each(getxattr) each(setxattr) each(listxattr) each(removexattr) \
	each(read) each(write) each(fallocate) each(lseek) each(copy_file_range) \
	each(opendir) each(readdir) each(statfs)
/* clang-format on */
#define SHMFS_DECLARE_REQUEST(name) \
	__typeof__(*((struct fuse_lowlevel_ops *)NULL)->name) shmfs_fuse_##name;
SHMFS_REQUESTS(SHMFS_DECLARE_REQUEST)

extern const struct fuse_lowlevel_ops shmfs_fuse_operations;
/* Begin what the requests share; `fs` is zeroed. */
void shmfs_fs_init(struct shmfs_fs *);
/* Serve a request.  Those that nobody serves fail with ENOSYS. */
void serve_request(struct shmfs_fs *, const struct fuse_in_header *);
/* The kernel is gone, and neither releases nor forgets any more: close and free all. */
void close_all(struct shmfs_fs *);
void shmfs_fs_clear(struct shmfs_fs *);

/* --- caller.c --- */

struct request_caller caller_of(fuse_req_t req);
/* The thread ends. */
void caller_groups_free(void);
/* Can both ids be of one user? */
bool are_kin(uid_t, uid_t);
/*
 * May a user have one more of `left`, which others leave?  A user may have half, and all ids that
 * can be of one user three quarters, but `small` in any case.  `kin` counts what these ids have,
 * and `own` what the one id has of it.
 */
bool is_within_share(uint64_t own, uint64_t kin, uint64_t left, uint64_t small);

/* --- inode.c --- */

/*
 * Find or make the inode of an object by a view, and count one lookup more.  Takes over the
 * caller's reference to the object.  Returns 0 and *out, or -ENOMEM.
 */
int shmfs_inode_get(struct shmfs_fs *, const struct shmfs_view *, struct shmfs_object *,
		    struct shmfs_inode **out);

/* Let lookups find another inode of the object. */
void shmfs_inode_supersede(struct shmfs_fs *, struct shmfs_inode *);

/* Take `nlookup` lookups back; with the last of them the inode goes. */
void shmfs_inode_forget(struct shmfs_fs *, struct shmfs_inode *, uint64_t nlookup);

/* --- file.c --- */

/*
 * Make an open file of a handle, which is owned from here on and released on failure, and bind it
 * to what the kernel may serve.  -ESTALE: another inode of the object has to be looked up.
 */
int open_file(struct shmfs_fs *, struct shmfs_inode *, struct shmfs_handle *,
	      const struct fuse_ctx *opener, struct shmfs_file **);
void close_file(struct shmfs_fs *, struct shmfs_file *);

/*
 * May this user open one more file?  -EMFILE: it has half of the descriptors that others leave, or
 * all ids that can be of one user have three quarters.
 */
int check_open_share(struct shmfs_fs *, uid_t);

/* --- ops.c --- */

/* `names_watch` is readable: have the kernel drop the attributes of the root. */
void shmfs_fs_names_changed(struct shmfs_fs *);

/* --- forget.c --- */

/* Note a directory in which a file was found, or a fixed one that was found. */
void note_searched(struct shmfs_fs *, shmfs_dir);
/* Have the kernel forget a name that is gone, in all directories but `own`.  Waits for nothing. */
void forget_elsewhere(struct shmfs_fs *, shmfs_dir own, const char *name);
/*
 * End the thread that drops names, while requests are served: it can wait for a lock of a caller
 * that waits for a reply.  False: it is held up, and still uses `fs`.
 */
bool forget_end(struct shmfs_fs *);
/* After that, and after the last request. */
void forget_clear(struct shmfs_fs *);

/* --- dir.c --- */

/* Note that a directory was closed. */
void dirs_close(struct shmfs_fs *);
void dirs_clear(struct shmfs_fs *);

/* --- loop.c, worker.c --- */

/*
 * Serve requests until the filesystem is unmounted or `signal_fd`, of
 * signalfd(2), is readable.  Returns 0 or a negative errno.
 */
int shmfs_loop_run(struct shmfs_fs *, int signal_fd, bool single_thread);

/* --- passthrough.c --- */

/* Has the kernel passthrough at all?  `device` is the path of /dev/fuse. */
bool shmfs_passthrough_exists(const char *device);

/*
 * Try out whether the kernel serves files that are opened now.  Returns NULL, or why not, in words
 * for the user.
 */
const char *shmfs_passthrough_lack(const struct shmfs_fs *);

/*
 * Bind an open file to the descriptor that its backend names, unless the backend does not want it
 * or the kernel refuses.  -ESTALE: it must not be bound, and the kernel would want that of this
 * inode; the next lookup finds another one.
 */
int shmfs_passthrough_bind(struct shmfs_fs *, struct shmfs_file *);
void shmfs_passthrough_unbind(struct shmfs_fs *, struct shmfs_file *);

/* --- walk.c --- */

void shmfs_walks_clear(struct shmfs_fs *);

/*
 * May a request of an open(2) be answered with -ESTALE?  False: this is its second walk.  If
 * `awaited` is not NULL, others wait for the opener before they bind an inode of that object.
 */
bool shmfs_walk_again(struct shmfs_fs *, pid_t opener, const struct shmfs_object *awaited);
/* Is an opener other than `opener` awaited at another inode of the object? */
bool shmfs_walk_is_awaited(struct shmfs_fs *, const struct shmfs_object *, pid_t opener);
/* Is a LOOKUP that of an opener's second walk? */
bool shmfs_walk_is_second(struct shmfs_fs *, pid_t opener);
/* Hold an object until its OPEN, by a handle, which is owned from here on. */
void shmfs_walk_hold(struct shmfs_fs *, pid_t opener, struct shmfs_handle *);
/* The open(2) ends. */
void shmfs_walk_end(struct shmfs_fs *, pid_t opener);

/* --- open_order.c --- */

/* An open is about to be answered as served by the daemon.  inode->backing_lock is held. */
void shmfs_open_order_served(struct shmfs_file *);
/* A request on an open file shows that its open(2) has returned. */
void shmfs_open_order_acknowledge(struct shmfs_file *);
/*
 * Before the first binding of an inode, which `opener` asked for: wait for served opens of the last
 * moment.  inode->backing_lock is held, and released meanwhile.
 */
void shmfs_open_order_settle(struct shmfs_fs *, struct shmfs_inode *, pid_t opener);

/* --- reply.c --- */

/* Answer INIT, the kernel's first request.  The only thread calls it before shmfs_loop_run(). */
int shmfs_reply_first(struct shmfs_fs *);
/* Answer a request that libfuse has not seen: a negative errno, or 0. */
void shmfs_reply_error(struct shmfs_fs *, const struct fuse_in_header *, int err);
/* fuse_reply_create(), or fuse_reply_open() without an entry, with a binding.  Non-zero: not taken. */
int shmfs_reply_open(fuse_req_t, const struct fuse_entry_param *, const struct shmfs_file *);
/* A buffer of this thread, good until the next call, or NULL: no memory. */
char *reply_scratch(size_t size);
/* A pipe of the calling thread, empty, with room for a reply; borrowed.  NULL: there is none. */
const int *reply_pipe(void);
void reply_pipe_close(void);
/* The thread ends. */
void reply_scratch_free(void);
