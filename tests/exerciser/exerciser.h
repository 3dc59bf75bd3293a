/* SPDX-License-Identifier: MIT */
/*
 * The exerciser: random operations on the files of a mount, each compared with
 * what a model in memory says of it.
 *
 *   exerciser.c   the command line, the operations by turns, the end
 *   model.c       what each object should be: sizes, bytes, who holds it
 *   names.c       operations on names: open, close, rename, unlink, list
 *   bytes.c       operations on bytes: read, write, truncate, holes, copies
 *   memory.c      mappings and attachments
 *   native.c      what other programs do, by the calls of the standards
 *   trace.c       what was done, and how a difference is told
 *
 * One seed gives the same operations again, whatever the machine does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	NAMES = 8,
	HANDLES = 12,
	MAPPINGS = 6,
	/* Contents end before that; a growing segment may be larger, with zeros. */
	MOST = 256 * 1024,
	PAGE = 4096,
};

enum kind { POSIX, SYSV };

/* One POSIX object or segment, as long as a name, a handle or a mapping has it. */
struct object {
	char *bytes;   /* MOST of them; those from `size` on are 0 */
	uint64_t size; /* as the file shows it */
	mode_t mode;
	uid_t uid;
	int name;    /* its index, -1: removed */
	int handles; /* of the mount */
	int bound;   /* those of them that the kernel may serve */
	int mapped;  /* mappings, of the mount or of others */
	int attached;

	/* Segments: a writer that goes past the end; README.md, "The size of a segment". */
	int growers; /* handles that may do that */
	bool fresh;
	bool growing;
	uint64_t floor;
	uint64_t extent;
};

struct handle {
	struct object *object; /* NULL: not open */
	int fd;
	int flags;
	uint64_t pos;
	bool grows;
	bool bound;
};

struct mapping {
	struct object *object; /* NULL: none */
	char *memory;
	size_t length;
	bool writable;
	bool attached; /* by shmat(2) */
};

/* All there is: one exerciser is one process. */
struct exerciser {
	enum kind kind;
	const char *mount;
	bool passthrough; /* files can be mapped */
	uint64_t random;
	struct object *names[NAMES];
	struct handle handles[HANDLES];
	struct mapping mappings[MAPPINGS];
};

extern struct exerciser now;

/* --- exerciser.c --- */

uint64_t random_below(uint64_t limit);
/* True once in `times`. */
bool once_in(unsigned times);

/* --- trace.c --- */

extern bool trace_all;

/* Note what is about to be done. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Say what differs and what led there, and end with status 1. */
void differs(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* `result` of a call, as the model has it: 0 or more, or -1 and `code`. */
void expect(const char *call, int64_t result, int64_t expected, int code);
/* These bytes were got for those at `offset` of the object. */
void expect_bytes(const struct object *, uint64_t offset, const char *got, size_t count);
/* End with status 2: this is no difference but a machine that cannot. */
void give_up(const char *what) __attribute__((noreturn));

/* --- model.c --- */

struct object *object_new(int name, uint64_t size, mode_t mode);
/* Free it if nothing has it any more. */
void object_put(struct object *);
void object_unname(int name);
/* Content, from `offset` on, becomes `bytes`, or zeros for NULL. */
void object_store(struct object *, uint64_t offset, const char *bytes, size_t count);
void object_resize(struct object *, uint64_t size);
/* Can its segment be made anew for certain? */
bool object_may_resize(const struct object *);
/* It was written up to there. */
void object_extend(struct object *, uint64_t end);
/* `>` keeps a segment and empties an object. */
void object_clear(struct object *);
/* A size that was asked for, and stays. */
void object_set_size(struct object *, uint64_t size);
/* The last writer has closed it: the size is final. */
void object_settle(struct object *);

/* --- operations: each chooses what to do; false: there was nothing to do --- */

const char *path_of(int name);
struct handle *any_handle(void);
/* Some offset, more often where things end than elsewhere, below MOST. */
uint64_t any_offset(const struct object *);
/* Fill with bytes other than 0 and say how many, at most `most`. */
size_t any_bytes(char *bytes, uint64_t most);

bool do_open(void);
bool do_close(void);
bool do_close_one(struct handle *);
bool do_unlink(void);
bool do_rename(void);
bool do_list(void);
bool do_stat(void);
bool do_chmod(void);
bool do_verify(void);

bool do_read(void);
bool do_pread(void);
bool do_write(void);
bool do_pwrite(void);
bool do_seek_end(void);
bool do_seek_hole(void);
bool do_truncate(void);
bool do_ftruncate(void);
bool do_punch(void);
bool do_allocate(void);
bool do_copy(void);
bool do_set_append(void);

bool do_map(void);
bool do_unmap(void);
bool do_unmap_one(struct mapping *);
bool do_load(void);
bool do_store(void);

bool do_native_verify(void);
bool do_native_write(void);
bool do_native_create(void);
bool do_native_remove(void);
bool do_native_resize(void);
bool do_native_map(void);

/* The whole object, read natively, is as the model has it. */
void native_check(const struct object *);
/* Remove whatever the names lead to; false where there was something. */
bool native_clean(void);
/* The segment or object's number in the mount: shmid or inode. */
long native_id(int name);
