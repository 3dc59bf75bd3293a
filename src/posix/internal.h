/* SPDX-License-Identifier: MIT */
/* What the files of the POSIX backend share. */
#pragma once

#include <stdatomic.h>

#include "shmfs/cleanup.h"
#include "shmfs/posix.h"

struct posix_backend {
	struct shmfs_backend base;
	int dir;		   /* owned */
	struct shmfs_users *users; /* borrowed */
	dev_t dev;		   /* of the directory's filesystem */
	atomic_uint nkept;	   /* objects with a kept descriptor */
	uint64_t dir_mount;	   /* the mount that the directory is in */
	/* base.lock guards these two, and is held to try a lease. */
	FILE *mounts;	 /* owned: the table of mounts; NULL: it cannot be read */
	bool has_mounts; /* something is mounted in the directory, or it is not known */
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

/* --- the slots, by their names --- */

#define POSIX_SLOT(slot) SHMFS_SLOT(slot) posix_##slot;
SHMFS_SLOTS(POSIX_SLOT)
SHMFS_SLOT(fallocate) posix_allocate;
extern const struct shmfs_xattr posix_xattrs[];

/* --- dir.c --- */

/* Open and read the table of mounts. */
void posix_dir_find_mounts(struct posix_backend *, const char *proc_dir);
/*
 * Attributes of the object that has the name.  -ENOENT if it is no regular file, or something is
 * mounted on it.  A name that begins with a slash is a path of /proc to an object in use.
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
/* A path to the inode of a descriptor, at which the thread's rights are checked. */
void posix_proc_path(int fd, char path[static POSIX_PROC_PATH]);
/* Open the inode of a descriptor once more, with the rights of this thread. */
int posix_reopen(int fd, int flags);

/* --- object.c --- */

/* The object of an inode number, to which `name` has just led, with a reference. */
int posix_object_get(struct shmfs_backend *, uint64_t identity, const char *name,
		     struct shmfs_object **);
/* 0 or -ENOMEM */
int posix_object_set_name(struct posix_object *, const char *name);

/*
 * Keep a descriptor of an object that is about to lose `name`, until the kernel forgets it.
 * Returns whether this call has kept it.
 */
bool posix_object_keep(struct posix_object *, const char *name);
void posix_object_unkeep(struct posix_object *);

/*
 * Enter an open handle.  If `ino` is another object's, the record becomes that object's, or
 * -ESTALE if its own is open.
 */
int posix_object_add_handle(struct posix_object *, struct posix_handle *, ino_t ino);
void posix_object_remove_handle(struct posix_object *, const struct posix_handle *);

/*
 * Open the object without O_TRUNC, or if it is gone the object that has its name now.  Returns a
 * descriptor and its inode number.
 */
int posix_object_open(struct posix_object *, int flags, ino_t *ino);

/* A path to an object, for one system call with the credentials of a caller. */
struct posix_path {
	int err;
	int fd; /* owned */
	bool assumed;
	char text[POSIX_PROC_PATH];
};

/* Caller NULL: the daemon. */
struct posix_path posix_path_begin(struct posix_object *, const struct shmfs_caller *);
void posix_path_end(const struct posix_path *);
/* Declares a path that is good to the end of the block if its `err` is 0. */
#define POSIX_PATH(path, object, caller) \
	__attribute__((cleanup(posix_path_end))) const struct posix_path path = \
		posix_path_begin(object, caller)

/* The result of a system call, or a negative errno. */
static inline ssize_t posix_result(ssize_t n)
{
	return n < 0 ? -errno : n;
}

/*
 * Clear the set-user-ID and set-group-ID bits as a write by the caller does.  The daemon writes as
 * root, so the kernel does not (FUSE_HANDLE_KILLPRIV_V2).  A member of the group keeps set-group-ID
 * on a file that the group cannot execute.
 */
void posix_drop_setid(int fd, const struct shmfs_caller *);
