/* SPDX-License-Identifier: MIT */
/*
 * The kernel's side of /dev/fuse, played by a test.
 *
 * A session of libfuse with the project's operations, over two memory
 * backends, has one end of a socket pair for its device; the test has the
 * other.  A request is written as the kernel writes it, served, and its reply
 * read back, all in one thread.  Each request is checked to be answered once,
 * with its number and a sound error, and at the end nothing may be left over.
 *
 * The numbers are those of <linux/fuse.h>, so what is tested is what the
 * kernel sees.
 */
#pragma once

#include <linux/fuse.h>

#include "fuse/internal.h"
#include "memory_backend.h"

/* Of <linux/fuse.h> of Linux 6.9; older headers lack them. */
#define KERNEL_OPEN_PASSTHROUGH (1u << 7)
#define KERNEL_INIT2_PASSTHROUGH (1u << 5)

#define KERNEL_REPLY_MAX ((size_t)160 << 10)

#define KERNEL_UNSEEN UINT32_MAX
#define KERNEL_INODES 16

/* An inode that the kernel knows. */
struct kernel_inode {
	uint64_t node;
	int64_t nlookup; /* by kernel_lookup() and kernel_create() */
	unsigned nopen;
};

struct kernel {
	struct shmfs_fs fs;
	struct memory_backend *sysv;
	struct memory_backend *posix;
	struct fuse_session *session;
	struct fuse_buf request; /* as the session received it */
	int device;		 /* owned; the kernel's end */
	uint64_t unique;	 /* of the last request */

	/* Who asks. */
	uint32_t uid;
	uint32_t gid;
	uint32_t pid; /* 0: that of the test; KERNEL_UNSEEN: none that the daemon could see */
	uint32_t umask;

	/* For kernel_forget(): no inode goes of which a file is open. */
	struct kernel_inode inodes[KERNEL_INODES];

	/* The last reply. */
	size_t reply_len; /* without its header */
	char *reply;

	/* Notifications since the test began, and the last of them. */
	unsigned notified;
	struct fuse_notify_inval_inode_out invalidated;
};

/* Every file in use is one of these, as the kernel knows it. */
struct kernel_file {
	uint64_t node;
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};

/* --- for every test: cmocka's setup and teardown; *state is a struct kernel --- */

int kernel_setup(void **state);
int kernel_teardown(void **state);
#define KERNEL_TEST(function) \
	cmocka_unit_test_setup_teardown(function, kernel_setup, kernel_teardown)

/* What INIT offers: flags and flags2.  kernel_setup() sends one without passthrough. */
struct kernel *kernel_start(bool want_passthrough);
int kernel_init(struct kernel *, uint32_t flags, uint32_t flags2, struct fuse_init_out *);
/* The first `len` bytes of any INIT. */
int kernel_ask_init(struct kernel *, const struct fuse_init_in *, size_t len,
		    struct fuse_init_out *);
/* Fails the test if an inode, object, handle or extent is left. */
void kernel_stop(struct kernel *);

/* --- one request --- */

struct kernel_part {
	const void *bytes;
	size_t len;
};

/* Write a request of these parts, which nobody has served yet. */
void kernel_post(struct kernel *, uint32_t opcode, uint64_t node, const struct kernel_part *,
		 size_t count);
/* And serve it, without looking at replies. */
void kernel_send(struct kernel *, uint32_t opcode, uint64_t node, const struct kernel_part *,
		 size_t count);
/* The error of its one reply: 0 or a negative errno. */
int kernel_reply(struct kernel *);
/* No reply is there that was not read. */
void kernel_expect_silence(struct kernel *);

/* The two together, with up to two parts. */
int kernel_ask(struct kernel *, uint32_t opcode, uint64_t node, const void *arg, size_t arg_len,
	       const void *more, size_t more_len);
/* The same, for a reply of `len` bytes, which go to `out`. */
int kernel_get(struct kernel *, uint32_t opcode, uint64_t node, const void *arg, size_t arg_len,
	       const char *name, void *out, size_t len);

/* --- the requests; all return 0 or a negative errno --- */

int kernel_lookup(struct kernel *, uint64_t parent, const char *name, struct fuse_entry_out *);
/* Look up, expect it to be there, and return the node. */
uint64_t kernel_find(struct kernel *, uint64_t parent, const char *name);
void kernel_forget(struct kernel *, uint64_t node, uint64_t nlookup);
int kernel_getattr(struct kernel *, uint64_t node, struct fuse_attr_out *);
int kernel_create(struct kernel *, uint64_t parent, const char *name, int flags, mode_t,
		  struct fuse_entry_out *, struct kernel_file *);
int kernel_open(struct kernel *, uint64_t node, int flags, struct kernel_file *);
/* Release and forget one lookup: what a program that opened by path leaves behind. */
void kernel_close(struct kernel *, const struct kernel_file *);
void kernel_release(struct kernel *, const struct kernel_file *);
/* It was released in another way. */
void kernel_note_release(struct kernel *, const struct kernel_file *);
/* The bytes are then in the kernel's `reply`. */
int kernel_read(struct kernel *, const struct kernel_file *, off_t, size_t len);
int kernel_write(struct kernel *, const struct kernel_file *, int flags, off_t, const void *,
		 size_t len, uint32_t *written);
/* A request of nothing but a name, such as UNLINK. */
int kernel_name(struct kernel *, uint32_t opcode, uint64_t parent, const char *name);

/* --- the device --- */

/* The kernel takes the next `count` replies no more: their requests were interrupted. */
void kernel_interrupt(unsigned count);
/* What ioctl(2) on the device gives from now on for a backing descriptor, and saw. */
struct kernel_backing {
	int next_id; /* or a negative errno */
	unsigned opened;
	unsigned closed;
	int last_fd;
	uint32_t last_closed;
};
extern struct kernel_backing kernel_backing;
/* How many replies came out of a pipe. */
extern unsigned kernel_spliced;
