/* SPDX-License-Identifier: MIT */
/*
 * What the files of the POSIX backend share:
 *
 *   posix.c         names and attributes
 *   posix_handle.c  open files: create, open, close, the bytes
 *   posix_xattr.c   extended attributes
 */
#ifndef SHMFS_POSIX_INTERNAL_H
#define SHMFS_POSIX_INTERNAL_H

#include <pthread.h>

#include "shmfs/cleanup.h"
#include "shmfs/posix.h"
#include "shmfs/write_mapping.h"

/* The table of mounts. */
struct posix_mounts {
	pthread_mutex_t lock; /* guards all below; no lock is taken under it */
	FILE *table;	      /* owned; NULL: it cannot be read */
	uint64_t dir_mount;   /* the mount that the directory is in; 0: not known */
	bool is_new;	      /* not read yet */
	bool may_be;	      /* something is mounted in the directory, or it is not known */
};

struct posix_backend {
	struct shmfs_backend base;
	struct shmfs_posix_config config; /* the directory is owned */
	dev_t dev;			  /* of the directory's filesystem */
	struct posix_mounts mounts;
	atomic_size_t mapping_budget; /* for the windows of all handles */
};

struct posix_handle {
	struct shmfs_handle base;
	struct posix_handle *next; /* in object->handles */
	int fd;			   /* owned */
	struct shmfs_write_mapping mapping;
};

struct posix_object {
	struct shmfs_object base;
	pthread_mutex_t lock; /* protects all below */
	char *name;	      /* owned; the last that led here */
	struct posix_handle *handles;
};

/* Room for a path that posix_proc_path() writes. */
#define POSIX_PROC_PATH 32

/* --- posix.c --- */

/* The object of an inode number, to which `name` has just led; a reference is counted. */
int posix_object_get(struct shmfs_backend *, uint64_t identity, const char *name,
		     struct shmfs_object **);

/*
 * A descriptor of the object itself with `flags` of open(2), as the caller, or
 * where that is NULL as the daemon: by the name, if that still leads to it;
 * else -ESTALE.
 */
int posix_open_object(struct posix_object *, int flags, const struct shmfs_caller *);
/*
 * A descriptor that names the object without opening it: a handle's, if there
 * is one, duplicated so that it outlives the handle.  -EACCES if the caller
 * cannot look up names where it is; NULL is the daemon.
 */
int posix_refer_to(struct posix_object *, const struct shmfs_caller *);
/* Can some users not look up names in the directory?  It has 1777 mostly. */
bool posix_dir_is_closed(const struct posix_backend *);
/* Does the last name that led here still do?  obj->lock is held. */
bool posix_is_named(struct posix_object *);
/* Where the caller's rights meet a descriptor's inode and no name can intervene. */
void posix_proc_path(int fd, char path[static POSIX_PROC_PATH]);

/* A system call on a path: a count, or -1 and errno. */
typedef ssize_t posix_call_fn(const char *path, const void *arg);
/*
 * Make the call on a path that leads to the object, with the caller's
 * credentials or, where that is NULL, the daemon's.  Returns what the call did
 * or a negative errno.
 */
ssize_t posix_call(struct posix_object *, const struct shmfs_caller *, posix_call_fn *,
		   const void *arg);
/* The same for a call that takes the inode's lock, which a user can hold for long. */
int posix_change(struct posix_object *, const struct shmfs_caller *, posix_call_fn *,
		 const void *arg);
/* To be called before whatever can wait for a user. */
void posix_release_lead(const struct posix_backend *);

/*
 * Writing clears the set-user-ID bit, and set-group-ID with group execution,
 * unless root writes.  The daemon is root whoever the caller is, so it clears
 * them itself before each write of a user (FUSE_HANDLE_KILLPRIV_V2).
 */
void posix_drop_setid(int fd, const struct shmfs_caller *);

/* --- mounts.c --- */

void posix_mounts_init(struct posix_mounts *, const char *proc_dir, int dir);
void posix_mounts_clear(struct posix_mounts *);
/* Can something be mounted on a name in the directory? */
bool posix_mounts_may_be(struct posix_mounts *);

/* --- posix_xattr.c --- */

extern const struct shmfs_xattr posix_xattrs[];
ssize_t posix_getxattr(struct shmfs_object *, const char *name, void *value, size_t size,
		       const struct shmfs_caller *);
int posix_setxattr(struct shmfs_object *, const char *name, const void *value, size_t size,
		   int flags, const struct shmfs_caller *);
ssize_t posix_listxattr(struct shmfs_object *, char *names, size_t size,
			const struct shmfs_caller *);
int posix_removexattr(struct shmfs_object *, const char *name, const struct shmfs_caller *);

/* --- posix_handle.c --- */

int posix_create(const struct shmfs_view *, const struct shmfs_name *, int flags, mode_t,
		 const struct shmfs_caller *, struct shmfs_object **, struct shmfs_handle **,
		 struct stat *);
int posix_open(struct shmfs_object *, int flags, const struct shmfs_caller *,
	       struct shmfs_handle **);
int posix_truncate(struct shmfs_object *, struct shmfs_handle *, off_t,
		   const struct shmfs_caller *);
int posix_flush(struct shmfs_handle *, bool by_opener, const struct shmfs_caller *);
void posix_release(struct shmfs_handle *);
enum shmfs_io_mode posix_binding(struct shmfs_handle *, int *fd);
void posix_lent(struct shmfs_handle *);
int posix_read_begin(struct shmfs_handle *, off_t, size_t, struct shmfs_extent *);
void posix_read_end(struct shmfs_handle *, struct shmfs_extent *);
int posix_write_begin(struct shmfs_handle *, off_t, size_t, bool append,
		      const struct shmfs_caller *, struct shmfs_extent *);
ssize_t posix_write_end(struct shmfs_handle *, struct shmfs_extent *, size_t written);
int posix_allocate(struct shmfs_handle *, int mode, off_t, off_t len, const struct shmfs_caller *);
off_t posix_seek(struct shmfs_handle *, off_t, int whence);

#endif
