/* SPDX-License-Identifier: MIT */
/*
 * The interface between the filesystem and a kind of shared memory: System V segments (sysv.h),
 * POSIX objects (posix.h) or, in the unit tests, plain memory.  src/README.md explains its words.
 *
 * An object holds no descriptor and no attachment.  A handle keeps its memory reachable until
 * release().
 *
 * Slots return 0, a count, or a negative errno with outputs untouched.  Several threads may call a
 * slot at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "shmfs/name.h"
#include "shmfs/object.h"
#include "shmfs/xattr.h"

struct shmfs_backend {
	const struct shmfs_backend_ops *ops;
	/* The backend initializes and destroys these three. */
	struct shmfs_object_table objects; /* those in use */
	pthread_mutex_t lock;		   /* guards what the backend's own struct names */
	int names_dir;			   /* of the directory with the names; -1: none */
	unsigned number;		   /* 1 to 7; part of st_ino, see object.h */
};

/*
 * A backend as one directory shows it: the backend's slots, or others in their place (text.h).  All
 * views share the backend's objects and handles.
 */
struct shmfs_view {
	const struct shmfs_backend_ops *ops; /* borrowed */
	struct shmfs_backend *backend;	     /* borrowed */
	void *context;			     /* borrowed; for the slots of this view alone */
	unsigned variant;		     /* 0 or 1; part of st_ino, see object.h */
	const struct shmfs_view *files; /* the view of the files behind the names; NULL: this */
};

/* The common part of an object.  A backend's own object starts with it. */
struct shmfs_object {
	struct shmfs_backend *backend; /* borrowed */
	/* See object.h; guarded by the table's lock. */
	struct shmfs_object *next[SHMFS_OBJECT_KEYS];
	uint64_t identity; /* unique within the backend at one time */
	uint64_t made_at;  /* a moment of the table; never changes */
	uint32_t number;   /* never changes */
	unsigned references;
	bool retired;
	struct shmfs_inode *inodes; /* of the fuse layer, guarded by its lock */
	pthread_mutex_t lock;	    /* guards what the backend and its views name */
	/* The state of a view, guarded by the table's lock and freed with the object. */
	void *view_state;
	void (*view_state_free)(void *view_state);
};

/* Who serves an open file. */
enum shmfs_io_mode {
	SHMFS_IO_DAEMON,      /* the daemon */
	SHMFS_IO_MOVABLE,     /* the daemon; the kernel must hold no reference to the memory */
	SHMFS_IO_APART,	      /* the same, and the kernel has other memory of the inode */
	SHMFS_IO_PASSTHROUGH, /* the kernel, from a descriptor */
	SHMFS_IO_MMAP_ONLY,   /* the kernel maps a descriptor; the daemon reads and writes */
};

/* The common part of a handle.  A backend's own handle starts with it. */
struct shmfs_handle {
	struct shmfs_object *object; /* borrowed; outlives its handles */
	int flags;		     /* of open(2) */
	bool may_flush;		     /* flush() is to be called at close(2) */
};

/* `len` bytes at `fd`, offset `pos`; or at `mem` if `fd` is -1. */
struct shmfs_extent {
	int fd;
	off_t pos;
	char *mem;
	size_t len;
	bool append; /* write at the end of the file, not at `pos` */
	void *owner; /* for the backend: keeps the bytes in place */
	char *copy;  /* for the backend: `mem` if it is a copy of the bytes */
};

/* Returns how many of extent->len bytes were stored, or a negative errno: -ENOMEM, no memory. */
ssize_t shmfs_extent_store(const struct shmfs_extent *, const char *from);
/* Returns how many bytes were loaded, fewer at the end of a file, or a negative errno. */
ssize_t shmfs_extent_load(const struct shmfs_extent *, char *to);

/*
 * Receives one entry of a listing: a name, and the identity of its object.  Returns 0 to go on,
 * another value to stop.  The backend may hold a lock: call none of its slots but remove_unused().
 */
typedef int shmfs_list_fn(const struct shmfs_name *name, uint64_t identity, void *arg);

/* Beside the flags of open(2): the handle is released in a moment. */
#define SHMFS_OPEN_TO_LOOK (1 << 30)

struct shmfs_backend_ops {
	/* --- names --- */

	/*
	 * Find the object of a name, count a reference, and read the attributes of that moment.
	 * -ENOENT if the name is free.
	 */
	int (*lookup)(const struct shmfs_view *, const struct shmfs_name *,
		      const struct shmfs_caller *, struct shmfs_object **, struct stat *);

	/*
	 * Call `fn` for every name of a space in directory number `dir` (name.h) until it returns
	 * another value than 0, and return that value.  Names that stay keep their order.
	 */
	int (*list)(const struct shmfs_view *, enum shmfs_space, uint32_t dir,
		    const struct shmfs_caller *, shmfs_list_fn *fn, void *arg);

	/*
	 * Make an object with the caller as owner and creator, count a reference, open a handle,
	 * and read the attributes.  The slot applies the umask to the mode.  -EEXIST if the name is
	 * taken, -EPERM in a view that creates nothing, -ESTALE if another process removed the
	 * object at once.
	 */
	int (*create)(const struct shmfs_view *, const struct shmfs_name *, int flags, mode_t,
		      const struct shmfs_caller *, struct shmfs_object **, struct shmfs_handle **,
		      struct stat *);

	/* Remove a name.  The last user of the memory frees it. */
	int (*remove)(const struct shmfs_view *, const struct shmfs_name *,
		      const struct shmfs_caller *);

	/*
	 * Remove the name of an object that no process uses, this one included.  Caller NULL: only
	 * look, as a listing does.  -EBUSY if one uses it, or another errno if that is unknown.
	 */
	int (*remove_unused)(const struct shmfs_view *, const struct shmfs_name *,
			     const struct shmfs_caller *);

	/* renameat2(2) with its flags.  -EXDEV if names cannot be moved. */
	int (*rename)(const struct shmfs_view *, const struct shmfs_name *from,
		      const struct shmfs_name *to, unsigned flags, const struct shmfs_caller *);

	/*
	 * Rename from another backend: copy the content of `from` into the object, whole or not at
	 * all.  The caller needs the right to read the one and to write the other.  The fuse layer
	 * then removes the name of `from`.  NULL: such renames fail with -EXDEV.
	 */
	int (*replace_content)(struct shmfs_object *, struct shmfs_object *from,
			       const struct shmfs_caller *);

	/* Fill in what this backend knows of statvfs(3): blocks and flags, or inodes. */
	int (*statfs)(struct shmfs_backend *, struct statvfs *);

	/* --- objects --- */

	/* Called when the last reference to the object was put. */
	void (*object_free)(struct shmfs_object *);

	/*
	 * Read all attributes but st_ino.  -ESTALE if the object is gone and no handle keeps it.
	 * In a view they may depend on the caller's rights (text.h).  Caller NULL: shmfs itself,
	 * which asks the backend's own slot.
	 */
	int (*getattr)(struct shmfs_object *, const struct shmfs_caller *, struct stat *);
	int (*chmod)(struct shmfs_object *, mode_t, const struct shmfs_caller *);
	/* uid or gid -1: unchanged.  Both -1: clear set-user-ID, as a write by the caller does. */
	int (*chown)(struct shmfs_object *, uid_t, gid_t, const struct shmfs_caller *);
	/* The times of utimensat(2), with UTIME_NOW and UTIME_OMIT. */
	int (*utimens)(struct shmfs_object *, const struct timespec[2],
		       const struct shmfs_caller *);
	/*
	 * `handle` is the open file for ftruncate(2).  For truncate(2) it is NULL, and the slot
	 * checks that the caller may write, as open() does.
	 */
	int (*truncate)(struct shmfs_object *, struct shmfs_handle *handle, off_t,
			const struct shmfs_caller *);

	/* --- extended attributes --- */

	/* Attributes of shmfs for an object and for the root directory.  NULL: none. */
	const struct shmfs_xattr *xattrs;
	const struct shmfs_xattr *root_xattrs;

	/* Objects can have POSIX ACLs.  The kernel must not cache what others may change. */
	bool has_acls;

	/*
	 * All other attributes, by the rules of the system calls of these names: `size` 0 asks for
	 * the length.  -ERANGE: the value is longer; -ENODATA: there is none; -EOPNOTSUPP: there
	 * never is one.
	 * The kernel has checked that the caller may read or write the file.
	 */
	ssize_t (*getxattr)(struct shmfs_object *, const char *name, void *value, size_t size,
			    const struct shmfs_caller *);
	int (*setxattr)(struct shmfs_object *, const char *name, const void *value, size_t size,
			int flags, const struct shmfs_caller *);
	ssize_t (*listxattr)(struct shmfs_object *, char *names, size_t size,
			     const struct shmfs_caller *);
	int (*removexattr)(struct shmfs_object *, const char *name, const struct shmfs_caller *);

	/* --- handles --- */

	/*
	 * Open with the flags of open(2), O_TRUNC included.  The slot checks the caller's rights
	 * (-EACCES), because those that the kernel has checked can be out of date.  With
	 * SHMFS_OPEN_TO_LOOK it may fail with -EBUSY rather than wait.
	 */
	int (*open)(struct shmfs_object *, int flags, const struct shmfs_caller *,
		    struct shmfs_handle **);
	/* A process, the opener or another, has closed its descriptor.  Others may have one. */
	int (*flush)(struct shmfs_handle *, bool by_opener, const struct shmfs_caller *);
	/* No view replaces it. */
	void (*release)(struct shmfs_handle *);

	/* How may the kernel serve this handle, and from which descriptor? */
	enum shmfs_io_mode (*binding)(struct shmfs_handle *, int *fd);
	/*
	 * The outcome of the last binding().  `lent`: the kernel refers to the memory, so mappings,
	 * and with SHMFS_IO_PASSTHROUGH reads and writes, bypass the daemon until release().
	 */
	void (*lent)(struct shmfs_handle *, bool lent);

	/*
	 * Find the bytes at [off, off + len).  The extent can be shorter; length 0 is the end of
	 * the file.  read_end() gives the extent back.  It may be called after release(), so it
	 * uses the extent alone.
	 */
	int (*read_begin)(struct shmfs_handle *, off_t off, size_t len, struct shmfs_extent *);
	void (*read_end)(struct shmfs_handle *, struct shmfs_extent *);

	/*
	 * Find room for [off, off + len), or for `len` bytes at the end with `append`.  The extent
	 * can be shorter; -ENOSPC if there is no room.  write_end() gives the extent back after
	 * `written` bytes.  It returns how many of them count, or a negative errno.  One thread
	 * calls both, and waits for nothing in between.
	 */
	int (*write_begin)(struct shmfs_handle *, off_t off, size_t len, bool append,
			   const struct shmfs_caller *, struct shmfs_extent *);
	ssize_t (*write_end)(struct shmfs_handle *, struct shmfs_extent *, size_t written);

	int (*fallocate)(struct shmfs_handle *, int mode, off_t off, off_t len,
			 const struct shmfs_caller *);
	/* lseek(2) with SEEK_DATA or SEEK_HOLE.  Returns the offset. */
	off_t (*seek)(struct shmfs_handle *, off_t off, int whence);
};

/* SHMFS_SLOT(open) sysv_open; declares the function of a slot. */
#define SHMFS_SLOT(slot) __typeof__(*((struct shmfs_backend_ops *)NULL)->slot)

/* The functions that every backend has, besides fallocate(): libc has a posix_fallocate(). */
/* clang-format off */
#define SHMFS_SLOTS(each) \
	each(lookup) each(list) each(create) each(remove) each(remove_unused) \
	each(rename) each(statfs) \
	each(object_free) each(getattr) each(chmod) each(chown) each(utimens) each(truncate) \
	each(getxattr) each(setxattr) each(listxattr) each(removexattr) \
	each(open) each(flush) each(release) each(binding) each(lent) \
	each(read_begin) each(read_end) each(write_begin) each(write_end) each(seek)
/* clang-format on */
