/* SPDX-License-Identifier: MIT */
/*
 * The interface between the filesystem and the shared memory behind it.
 *
 * Above it are names, inodes and FUSE requests; below it System V segments
 * (sysv.h), POSIX objects (posix.h) and, in the unit tests, plain memory.
 * Nothing above asks which of them it talks to.
 *
 *   backend   where objects live and names lead to them; one for each kind
 *   object    one segment or one POSIX object, as long as the kernel
 *             remembers its inode; holds no descriptor and no attachment
 *   handle    one open file; what it opened stays reachable until release
 *   extent      where some bytes of a handle lie just now, so that they are
 *             moved once, between the caller and the memory itself
 *
 * Slots return 0 (or a count) or a negative errno and leave outputs alone on
 * failure.  All may be called from several threads at once.
 */
#ifndef SHMFS_BACKEND_H
#define SHMFS_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "shmfs/caller.h"
#include "shmfs/name.h"
#include "shmfs/object.h"
#include "shmfs/xattr.h"

struct shmfs_backend {
	const struct shmfs_backend_ops *ops;
	struct shmfs_object_table objects; /* those in use; the backend makes and ends it */
	/* Set by whoever shows the objects. */
	dev_t mount_dev; /* st_dev of the mount; 0: not known */
	unsigned number; /* 1 to 7: tells st_ino of its files from those of others */
};

/*
 * A way to show the objects of a backend.  Most slots are the backend's own; a
 * view that differs has other functions in some of them (text.h).  Objects and
 * handles are the backend's whatever the view: to call the backend behind, a
 * slot of a view uses backend->ops.
 */
struct shmfs_view {
	const struct shmfs_backend_ops *ops; /* borrowed */
	struct shmfs_backend *backend;	     /* borrowed */
	void *context;			     /* borrowed; for the slots of this view alone */
	unsigned variant;		     /* 0 or 1; see object.h, inode numbers */
	/* The view whose files its names lead to; NULL: this one. */
	const struct shmfs_view *files;
};

/* The part of an object that is common; a backend's own object starts with it. */
struct shmfs_object {
	struct shmfs_backend *backend; /* borrowed */
	/* See object.h; guarded by the table's lock. */
	struct shmfs_object *next;
	struct shmfs_object *next_number;
	uint64_t identity; /* unique within the backend at one time */
	uint64_t made_at;  /* a moment of the table; never changes */
	uint32_t number;   /* never changes */
	unsigned references;
	bool retired;
	/* What the layer above keeps of it, guarded by that layer's lock. */
	struct shmfs_inode *inodes;
	/* What a view keeps of it, guarded by the table's lock; freed with the object. */
	void *view_state;
	void (*view_state_free)(void *view_state);
};

/* How the kernel may serve an open file without asking again. */
enum shmfs_io_mode {
	SHMFS_IO_DAEMON,      /* every request comes to the daemon */
	SHMFS_IO_MOVABLE,     /* the same, and the kernel is to keep no reference to the memory */
	SHMFS_IO_PASSTHROUGH, /* all of read, write and mmap go to `fd` */
	SHMFS_IO_MMAP_ONLY,   /* mmap goes to `fd`, read and write are served */
};

/* The part of a handle that is common; a backend's own handle starts with it. */
struct shmfs_handle {
	struct shmfs_object *object; /* borrowed; lives longer than its handles */
	int flags;		     /* of open(2) */
	bool may_flush;		     /* close(2) has work to do: ask flush() */
};

/* `len` bytes at `fd`, offset `pos`, or, where fd is -1, at `mem`. */
struct shmfs_extent {
	int fd;
	off_t pos;
	char *mem;
	size_t len;
	bool append; /* to be written at the end, wherever that is then */
	bool huge;   /* huge pages at `fd`: splice(2) does not know them */
	void *owner; /* the backend's own: what keeps the bytes there */
	char *copy;  /* the same: `mem`, where that is a copy of them */
};

/*
 * One entry of a listing: a name, and the identity of the object that it leads
 * to.  Returns 0 to go on, anything else to stop.  The backend may hold a lock
 * meanwhile: of its slots only check_unused() may be called.
 */
typedef int shmfs_list_fn(const struct shmfs_name *name, uint64_t identity, void *arg);

struct shmfs_backend_ops {
	/* --- names: the view is the one that has the slot --------------------- */

	/*
	 * The object that has this name now, with a reference counted, and its
	 * attributes, which are those of one moment.  -ENOENT when there is none.
	 */
	int (*lookup)(const struct shmfs_view *, const struct shmfs_name *,
		      const struct shmfs_caller *, struct shmfs_object **, struct stat *);

	/*
	 * Call `fn` for every name of a space, in directory number `dir` (see
	 * name.h).  The order is one in which the entries that stay keep their
	 * places.  Stops with what `fn` returns.
	 */
	int (*list)(const struct shmfs_view *, enum shmfs_space, uint32_t dir,
		    const struct shmfs_caller *, shmfs_list_fn *fn, void *arg);

	/*
	 * Make a new object with the caller as owner and creator: the object with
	 * a reference counted, a handle on it, and its attributes.  The mode is as
	 * the caller gave it, the umask not yet taken off.  -EEXIST when the name
	 * is taken, -EPERM where nothing is created, -ESTALE when another process
	 * removed the object at once.
	 */
	int (*create)(const struct shmfs_view *, const struct shmfs_name *, int flags, mode_t,
		      const struct shmfs_caller *, struct shmfs_object **, struct shmfs_handle **,
		      struct stat *);

	/* Remove the name.  The memory goes with its last user. */
	int (*remove)(const struct shmfs_view *, const struct shmfs_name *,
		      const struct shmfs_caller *);

	/*
	 * Does any process use the object of that name, this one included?  0: none
	 * does, -EBUSY: one does, or another errno where it is not known.  With
	 * `since` it is enough that the object has not changed since that time, by
	 * CLOCK_REALTIME, when none used it.
	 */
	int (*check_unused)(const struct shmfs_view *, const struct shmfs_name *,
			    const struct timespec *since);
	/* Remove the name of an object that no process uses; -EBUSY if one does. */
	int (*remove_unused)(const struct shmfs_view *, const struct shmfs_name *,
			     const struct shmfs_caller *);

	/* renameat2(2) with its flags; -EXDEV where names are not movable. */
	int (*rename)(const struct shmfs_view *, const struct shmfs_name *from,
		      const struct shmfs_name *to, unsigned flags, const struct shmfs_caller *);

	/*
	 * A rename from another backend in the same directory: the object gets the
	 * content of `from`, whole or, on failure, not at all, if the caller may
	 * read the one and write the other.  The caller of this slot removes the
	 * name that `from` had.  NULL: such renames are -EXDEV.
	 */
	int (*replace_content)(struct shmfs_object *, struct shmfs_object *from,
			       const struct shmfs_caller *);

	/* Fill in what this backend knows of statvfs(3): blocks and flags, or inodes. */
	int (*statfs)(struct shmfs_backend *, struct statvfs *);

	/*
	 * Fill in the times of the directory that the names are in.  NULL where
	 * there is none.
	 */
	int (*stat_names)(struct shmfs_backend *, struct stat *);

	/* --- objects ----------------------------------------------------- */

	/* The last reference to the object was put. */
	void (*object_free)(struct shmfs_object *);

	/*
	 * All but st_ino.  -ESTALE when the object is gone and no handle keeps it.  The caller may
	 * be NULL, shmfs itself: what is shown can depend on who looks (text.h).
	 */
	int (*getattr)(struct shmfs_object *, const struct shmfs_caller *, struct stat *);
	int (*chmod)(struct shmfs_object *, mode_t, const struct shmfs_caller *);
	/* uid or gid -1: unchanged; both: clear set-user-ID as a write by the caller does */
	int (*chown)(struct shmfs_object *, uid_t, gid_t, const struct shmfs_caller *);
	/* utimensat(2)'s two times, UTIME_NOW and UTIME_OMIT included */
	int (*utimens)(struct shmfs_object *, const struct timespec[2],
		       const struct shmfs_caller *);
	/*
	 * `handle`: the one that asks (ftruncate), or NULL (truncate), and then
	 * the caller must be allowed to write, as in open().
	 */
	int (*truncate)(struct shmfs_object *, struct shmfs_handle *handle, off_t,
			const struct shmfs_caller *);

	/* --- extended attributes ------------------------------------------ */

	/* What shmfs tells of an object, which is the context, and of the backend; NULL: nothing. */
	const struct shmfs_xattr *xattrs;
	const struct shmfs_xattr *root_xattrs;

	/*
	 * Objects can have POSIX ACLs, which others may change: the kernel is not
	 * to keep what getxattr() says of them.
	 */
	bool has_acls;

	/*
	 * What the object itself has of all other names, as the system calls:
	 * `size` 0 asks for the length, -ERANGE says that there is more, -ENODATA
	 * that there is none, -EOPNOTSUPP that there never is.  That the caller
	 * may read or write the file, where the name requires that, was checked
	 * before.
	 */
	ssize_t (*getxattr)(struct shmfs_object *, const char *name, void *value, size_t size,
			    const struct shmfs_caller *);
	int (*setxattr)(struct shmfs_object *, const char *name, const void *value, size_t size,
			int flags, const struct shmfs_caller *);
	ssize_t (*listxattr)(struct shmfs_object *, char *names, size_t size,
			     const struct shmfs_caller *);
	int (*removexattr)(struct shmfs_object *, const char *name, const struct shmfs_caller *);

	/* --- handles ----------------------------------------------------- */

	/*
	 * Open with the flags of open(2); O_TRUNC is carried out.  -EACCES where
	 * the caller may not, by the rights that are set at this moment: what the
	 * kernel has checked before can be out of date.
	 */
	int (*open)(struct shmfs_object *, int flags, const struct shmfs_caller *,
		    struct shmfs_handle **);
	/*
	 * The file has been closed once, by the process that opened it or by
	 * another one, and may be open elsewhere still.
	 */
	int (*flush)(struct shmfs_handle *, bool by_opener, const struct shmfs_caller *);
	void (*release)(struct shmfs_handle *);

	/* How may the kernel serve this handle, and from which descriptor? */
	enum shmfs_io_mode (*binding)(struct shmfs_handle *, int *fd);
	/*
	 * What came of binding(), for the last time: has the kernel been lent the
	 * handle's memory?  Then mappings, and whatever else was allowed, do not come
	 * to the daemon until release().
	 */
	void (*lent)(struct shmfs_handle *, bool lent);

	/*
	 * The bytes at [off, off + len), fewer at the end or of a long range;
	 * len 0: end of file.
	 * read_end() gives the extent back, by its content: the handle may have been
	 * released since the reply.
	 */
	int (*read_begin)(struct shmfs_handle *, off_t off, size_t len, struct shmfs_extent *);
	void (*read_end)(struct shmfs_handle *, struct shmfs_extent *);

	/*
	 * Room for [off, off + len), perhaps less: -ENOSPC when there is none.
	 * `append`: for `len` bytes at the end, wherever that is.  write_end()
	 * gives it back, says how many bytes were written, and returns how many
	 * of them count or a negative errno; nothing waits in between, and the
	 * caller is there until then.
	 */
	int (*write_begin)(struct shmfs_handle *, off_t off, size_t len, bool append,
			   const struct shmfs_caller *, struct shmfs_extent *);
	ssize_t (*write_end)(struct shmfs_handle *, struct shmfs_extent *, size_t written);

	int (*fallocate)(struct shmfs_handle *, int mode, off_t off, off_t len,
			 const struct shmfs_caller *);
	/* lseek(2) with SEEK_DATA or SEEK_HOLE; returns the offset. */
	off_t (*seek)(struct shmfs_handle *, off_t off, int whence);
};

#endif
