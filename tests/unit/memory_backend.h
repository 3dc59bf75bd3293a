/* SPDX-License-Identifier: MIT */
/*
 * A backend of plain memory, for tests of everything above the interface.
 *
 * It comes in both flavours, keys and shmids or POSIX names, does what
 * backend.h says of each slot, and shows what a test wants to know: how often
 * a slot was called, with what, and what has not been given back.  Any slot
 * that can fail does so on demand.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shmfs/tree.h"

#define DIR_BY_ID SHMFS_DIR(SHMFS_ROW_BY_ID, 0)
#define DIR_BY_NAME SHMFS_DIR(SHMFS_ROW_BY_NAME, 0)
#define DIR_TEXT SHMFS_DIR(SHMFS_ROW_TEXT, 0)

enum memory_flavour {
	MEMORY_SYSV,  /* names are keys; the identity of a segment is its shmid */
	MEMORY_POSIX, /* names are text */
};

enum memory_slot {
	MEMORY_LOOKUP,
	MEMORY_LIST,
	MEMORY_CREATE,
	MEMORY_REMOVE,
	MEMORY_RENAME,
	MEMORY_STATFS,
	MEMORY_OBJECT_FREE,
	MEMORY_GETATTR,
	MEMORY_CHMOD,
	MEMORY_CHOWN,
	MEMORY_UTIMENS,
	MEMORY_TRUNCATE,
	MEMORY_GETXATTR,
	MEMORY_SETXATTR,
	MEMORY_LISTXATTR,
	MEMORY_REMOVEXATTR,
	MEMORY_OPEN,
	MEMORY_FLUSH,
	MEMORY_RELEASE,
	MEMORY_BINDING,
	MEMORY_LENT,
	MEMORY_READ_BEGIN,
	MEMORY_READ_END,
	MEMORY_WRITE_BEGIN,
	MEMORY_WRITE_END,
	MEMORY_FALLOCATE,
	MEMORY_SEEK,
	MEMORY_SLOTS,
};

/* Where the extents of reads and writes lie. */
enum memory_spans {
	MEMORY_MAPPED,	   /* in memory */
	MEMORY_DESCRIPTOR, /* at a descriptor */
	MEMORY_BROKEN,	   /* at a descriptor that is none: EBADF */
};

/* A file is at most this long; more is -ENOSPC. */
#define MEMORY_FILE_MAX ((size_t)1 << 20)

struct memory_xattr {
	struct memory_xattr *next;
	char name[64];
	size_t len;
	char value[]; /* NUL-terminated for the test's sake */
};

/* A segment or object of the host, as it were. */
struct memory_file {
	struct memory_file *next;
	uint64_t identity;
	bool linked;	   /* has its name */
	uint32_t key;	   /* MEMORY_SYSV */
	char name[256];	   /* MEMORY_POSIX */
	unsigned nhandles; /* that keep it */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	off_t size;
	off_t limit;		     /* it grows no further; at most MEMORY_FILE_MAX */
	struct timespec times[2];    /* as they were last set */
	struct memory_xattr *xattrs; /* owned; the newest first */
	int fd;			     /* owned; a memfd with the bytes, -1 until there are any */
	char *bytes;		     /* MEMORY_FILE_MAX of it, mapped */
};

/* What the last call that had it was given. */
struct memory_seen {
	uid_t uid; /* of the caller */
	gid_t gid;
	pid_t pid;
	uid_t looker;	/* the caller of getattr; -1: none */
	mode_t umask;	/* of create */
	size_t ngroups; /* of create, if `want_groups` */
	gid_t group;	/* the first of them */
	int flags;	/* of create, open, rename and setxattr; mode of fallocate */
	mode_t mode;	/* of create and chmod */
	uid_t new_uid;
	gid_t new_gid;
	struct timespec times[2];
	struct shmfs_handle *handle; /* of truncate and lent */
	bool by_opener;		     /* of flush */
	off_t off;
	off_t len;
	int whence;
	char xattr[64]; /* the name, of those that have one */
	size_t written; /* of write_end */
};

struct memory_fault {
	int err; /* negative errno, 0: none */
	unsigned skip;
	unsigned times;
};

struct memory_backend {
	struct shmfs_backend base;
	enum memory_flavour flavour;

	/* To be set by the test. */
	enum memory_spans extents;
	enum shmfs_io_mode binding;
	bool may_flush;
	bool want_groups; /* create() asks for the caller's groups */
	/* Called before the slot does anything, without the lock. */
	void (*hook)(struct memory_backend *, enum memory_slot, void *arg);
	void *hook_arg;

	pthread_mutex_t lock;	   /* protects all below */
	struct memory_file *files; /* owned; the newest first */
	uint64_t last_identity;
	struct memory_fault faults[MEMORY_SLOTS];
	unsigned calls[MEMORY_SLOTS];
	struct memory_seen seen;
	atomic_uint made;   /* objects, ever */
	atomic_int objects; /* that were made and not freed */
	int handles;
	int spans_held;
};

struct memory_backend *memory_backend_new(enum memory_flavour);
/* For shmfs_object_get(). */
shmfs_object_make_fn memory_object_make;
/* Shows it as it is. */
struct shmfs_view memory_view(struct memory_backend *);
/* The st_ino of a file, in a tree. */
ino_t memory_ino(struct memory_backend *, const struct memory_file *);
/* The one process of a tree, in its numbered directories. */
#define MEMORY_PID 1234
/*
 * Has the tree show both, as the daemon does.  Its texts are as the memory is,
 * nobody uses anything, and the process uses all objects.
 */
void memory_tree(struct shmfs_tree *, struct memory_backend *sysv, struct memory_backend *posix);
/* Frees it with its files; false: objects, handles or extents were not given back. */
bool memory_backend_free(struct memory_backend *);

/* Let the next call of a slot fail with `err`, which is negative. */
void memory_fail(struct memory_backend *, enum memory_slot, int err);
/* Let the times of the names fail with -EBADF from now on. */
void memory_lose_names(struct memory_backend *);
/* Let `skip` calls succeed and the `times` after them fail. */
void memory_fail_later(struct memory_backend *, enum memory_slot, unsigned skip, unsigned times,
		       int err);

/* Make a file as another process would; of the name, what the flavour needs. */
struct memory_file *memory_add(struct memory_backend *, uint32_t key, const char *name);
/* With these bytes in it. */
struct memory_file *memory_add_bytes(struct memory_backend *, uint32_t key, const char *name,
				     const void *bytes, size_t len);
/* Take a file's name away as another process would. */
void memory_unlink(struct memory_backend *, struct memory_file *);
/* The memory of a file is gone from under it, though its size is not. */
void memory_lose_pages(struct memory_file *);
/* Give a file an attribute as another process would. */
void memory_set_xattr(struct memory_file *, const char *name, const char *value);
/* The attribute of that name, or NULL. */
const struct memory_xattr *memory_find_xattr(const struct memory_file *, const char *name);
