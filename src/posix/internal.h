/* SPDX-License-Identifier: MIT */
/*
 * What the files of the POSIX backend share, from the bottom up:
 *
 *   mounts.c   whether something is mounted in the directory
 *   dir.c      the directory
 *   object.c   the record of an object, ways to it, its attributes
 *   names.c, handle.c, xattr.c   slots of the interface
 *   unused.c                     slots that ask whether anybody uses an object
 *   backend.c  their table
 */
#ifndef SHMFS_POSIX_INTERNAL_H
#define SHMFS_POSIX_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "shmfs/cleanup.h"
#include "shmfs/posix.h"

/* The table of mounts. */
struct posix_mounts {
	FILE *table;	    /* owned; NULL: it cannot be read */
	uint64_t dir_mount; /* the mount that the directory is in; 0: not known */
	bool is_new;	    /* not read yet */
	bool may_be;	    /* something is mounted in the directory, or it is not known */
};

struct posix_backend {
	struct shmfs_backend base;
	struct shmfs_posix_config config; /* the directory is owned */
	dev_t dev;			  /* of the directory's filesystem */
	atomic_uint nkept;		  /* objects with a kept descriptor */
	struct posix_mounts mounts;	  /* base.lock guards it, and is held to try a lease */
};

struct posix_handle {
	struct shmfs_handle base;
	struct posix_handle *next; /* in object->handles */
	int fd;			   /* owned */
};

struct posix_object {
	struct shmfs_object base;
	/* base.lock guards all below. */
	char *name;		      /* owned; the last that led here */
	struct posix_handle *handles; /* all that are open */
	int kept;		      /* owned; O_PATH, see posix_object_keep(); -1: none */
};

static inline struct posix_object *posix_object(struct shmfs_object *base)
{
	return (struct posix_object *)base;
}

static inline struct posix_backend *posix_backend(const struct posix_object *obj)
{
	return (struct posix_backend *)obj->base.backend;
}

/* Room for a path that posix_proc_path() writes. */
#define POSIX_PROC_PATH 32

/* --- dir.c --- */

/*
 * Attributes of the object that has the name.  -ENOENT for whatever else is
 * there: no regular file, or something that is mounted.  A path of /proc, which
 * begins with a slash as no name does, leads to an object that a process has
 * open or mapped.
 */
int posix_dir_stat(const struct posix_backend *, const char *name, struct stat *);
/* Open the object that has the name, and give its inode number.  -ENOENT as above. */
int posix_dir_open(const struct posix_backend *, const char *name, int flags, ino_t *ino);
/* Call `fn` for each object, as the list slot does. */
int posix_dir_list(struct posix_backend *, shmfs_list_fn *fn, void *arg);
/* Can some users not look up names in the directory?  It has 1777 mostly. */
bool posix_dir_is_closed(const struct posix_backend *);
/* -EACCES: the caller cannot. */
int posix_dir_check_search(const struct posix_backend *, const struct shmfs_caller *);
/* A path at which the caller's rights meet a descriptor's inode and no name can intervene. */
void posix_proc_path(int fd, char path[static POSIX_PROC_PATH]);

/* --- object.c --- */

/* The object of an inode number, to which `name` has just led; a reference is counted. */
int posix_object_get(struct shmfs_backend *, uint64_t identity, const char *name,
		     struct shmfs_object **);
void posix_object_free(struct shmfs_object *);
/* 0 or -ENOMEM */
int posix_object_set_name(struct posix_object *, const char *name);
uint64_t posix_object_identity(struct posix_object *);
/* Does the last name that led here still do?  The object's lock is held. */
bool posix_object_is_named(struct posix_object *);

/*
 * Keep a descriptor of an object that is about to lose `name`, until the kernel
 * forgets it.  Returns whether it is kept from here on.
 */
bool posix_object_keep(struct posix_object *, const char *name);
void posix_object_unkeep(struct posix_object *);

/*
 * Enter an open handle of the object with that inode number, which becomes the
 * object of this record.  -ESTALE: the record is of another one that is open.
 */
int posix_object_add_handle(struct posix_object *, struct posix_handle *, ino_t ino);
void posix_object_remove_handle(struct posix_object *, const struct posix_handle *);

/*
 * A descriptor with `flags` of open(2), O_TRUNC excepted, of the object or, if
 * that is gone, of the one that has its name now, and its inode number.
 */
int posix_object_open(struct posix_object *, int flags, ino_t *ino);
/*
 * A descriptor that is good for paths and fstat(2) alone.  -EACCES if the caller
 * cannot look up names in the directory; NULL is the daemon.
 */
int posix_object_refer(struct posix_object *, const struct shmfs_caller *);
/* Open the file of a descriptor once more, with the thread's rights. */
int posix_reopen(int fd, int flags);

/* A system call on a path: a count, or -1 and errno. */
typedef ssize_t posix_call_fn(const char *path, const void *arg);
/*
 * Make the call on a path that leads to the object, with the caller's
 * credentials or, where that is NULL, the daemon's.  Returns what the call did
 * or a negative errno.
 */
ssize_t posix_call(struct posix_object *, const struct shmfs_caller *, posix_call_fn *,
		   const void *arg);

int posix_getattr(struct shmfs_object *, const struct shmfs_caller *, struct stat *);
int posix_chmod(struct shmfs_object *, mode_t, const struct shmfs_caller *);
int posix_chown(struct shmfs_object *, uid_t, gid_t, const struct shmfs_caller *);
int posix_utimens(struct shmfs_object *, const struct timespec[2], const struct shmfs_caller *);

/*
 * Writing clears the set-user-ID and set-group-ID bits unless root writes; without
 * group execution a member of the group keeps the second.  The daemon is root whoever
 * the caller is, so it clears them itself before each write of a user
 * (FUSE_HANDLE_KILLPRIV_V2).
 */
void posix_drop_setid(int fd, const struct shmfs_caller *);

/* --- names.c --- */

int posix_lookup(const struct shmfs_view *, const struct shmfs_name *, const struct shmfs_caller *,
		 struct shmfs_object **, struct stat *);
int posix_list(const struct shmfs_view *, enum shmfs_space, uint32_t dir,
	       const struct shmfs_caller *, shmfs_list_fn *fn, void *arg);
int posix_remove(const struct shmfs_view *, const struct shmfs_name *, const struct shmfs_caller *);
int posix_rename(const struct shmfs_view *, const struct shmfs_name *from,
		 const struct shmfs_name *to, unsigned flags, const struct shmfs_caller *);

/* --- unused.c --- */

int posix_check_unused(const struct shmfs_view *, const struct shmfs_name *);
int posix_remove_unused(const struct shmfs_view *, const struct shmfs_name *,
			const struct shmfs_caller *);

/* --- mounts.c --- */

void posix_mounts_init(struct posix_mounts *, const char *proc_dir, int dir);
void posix_mounts_clear(struct posix_mounts *);
/* Can something be mounted on a name in the directory? */
bool posix_mounts_may_be(struct posix_backend *);

/* --- xattr.c --- */

extern const struct shmfs_xattr posix_xattrs[];
ssize_t posix_getxattr(struct shmfs_object *, const char *name, void *value, size_t size,
		       const struct shmfs_caller *);
int posix_setxattr(struct shmfs_object *, const char *name, const void *value, size_t size,
		   int flags, const struct shmfs_caller *);
ssize_t posix_listxattr(struct shmfs_object *, char *names, size_t size,
			const struct shmfs_caller *);
int posix_removexattr(struct shmfs_object *, const char *name, const struct shmfs_caller *);

/* --- handle.c --- */

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
void posix_lent(struct shmfs_handle *, bool lent);
int posix_read_begin(struct shmfs_handle *, off_t, size_t, struct shmfs_extent *);
void posix_read_end(struct shmfs_handle *, struct shmfs_extent *);
int posix_write_begin(struct shmfs_handle *, off_t, size_t, bool append,
		      const struct shmfs_caller *, struct shmfs_extent *);
ssize_t posix_write_end(struct shmfs_handle *, struct shmfs_extent *, size_t written);
int posix_allocate(struct shmfs_handle *, int mode, off_t, off_t len, const struct shmfs_caller *);
off_t posix_seek(struct shmfs_handle *, off_t, int whence);

#endif
