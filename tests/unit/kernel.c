/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel.h"

#define BACKING_OPEN 1u
#define BACKING_CLOSE 2u

struct kernel_backing kernel_backing;
unsigned kernel_spliced;
static unsigned interrupted;

/* --- system calls on the device --- */

/*
 * libfuse is a shared library, where the linker's --wrap does not reach.  It finds
 * these two functions because a program's symbols come before those of libc.
 */

static int device = -1; /* borrowed; the session's */

static ssize_t real_writev(int fd, const struct iovec *iov, int count)
{
	return syscall(SYS_writev, fd, iov, count);
}

static ssize_t reply_to_kernel(const struct iovec *iov, int count)
{
	const struct fuse_out_header *header = iov[0].iov_base;
	struct fuse_out_header failed = { .len = sizeof(failed), .error = -EIO };
	ssize_t n;

	/* ENOENT: what the kernel says of a request that nobody waits for. */
	if (interrupted > 0 && header->unique != 0) {
		interrupted--;
		errno = ENOENT;
		return -1;
	}
	n = real_writev(device, iov, count);
	if (n >= 0 || errno != EFAULT)
		return n;
	/* A reply that cannot be read ends its request (fs/fuse/dev.c, fuse_dev_do_write()). */
	failed.unique = header->unique;
	assert_int_equal(write(device, &failed, sizeof(failed)), sizeof(failed));
	errno = EFAULT;
	return -1;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	return fd == device ? reply_to_kernel(iov, count) : real_writev(fd, iov, count);
}

/* A reply out of a pipe.  The device takes it at once, as a socket would not. */
static ssize_t reply_from_pipe(int from, size_t len)
{
	char *reply = malloc(len);
	struct iovec iov = { reply, len };
	ssize_t n;

	assert_non_null(reply);
	assert_int_equal(read(from, reply, len), len);
	kernel_spliced++;
	n = reply_to_kernel(&iov, 1);
	free(reply);
	return n;
}

ssize_t splice(int from, off64_t *from_pos, int to, off64_t *to_pos, size_t len, unsigned flags)
{
	if (to != device)
		return syscall(SYS_splice, from, from_pos, to, to_pos, len, flags);
	return reply_from_pipe(from, len);
}

int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	assert_int_equal(fd, device);
	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (_IOC_NR(request) == BACKING_CLOSE) {
		kernel_backing.closed++;
		memcpy(&kernel_backing.last_closed, arg, sizeof(uint32_t));
		return 0;
	}
	assert_int_equal(_IOC_NR(request), BACKING_OPEN);
	kernel_backing.opened++;
	memcpy(&kernel_backing.last_fd, arg, sizeof(int));
	if (kernel_backing.next_id < 0) {
		errno = -kernel_backing.next_id;
		return -1;
	}
	return kernel_backing.next_id;
}

void kernel_interrupt(unsigned count)
{
	interrupted = count;
}

/* --- start and end --- */

/* libfuse takes a device that is open already by this name. */
static void attach(struct kernel *k, int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	assert_int_equal(fuse_session_mount(k->session, path), 0);
	device = fd;
}

/* Is there a request that nobody has read? */
static bool is_waiting(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1;
}

static void serve(struct kernel *k)
{
	assert_true(fuse_session_receive_buf(k->session, &k->request) > 0);
	serve_request(&k->fs, k->request.mem);
}

struct kernel *kernel_start(bool want_passthrough)
{
	char *argv[] = { "shmfs", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct kernel *k = calloc(1, sizeof(*k));
	int pair[2];

	assert_non_null(k);
	k->sysv = memory_backend_new(MEMORY_SYSV);
	k->posix = memory_backend_new(MEMORY_POSIX);
	memory_tree(&k->fs.tree, k->sysv, k->posix);
	k->fs.passthrough.unwanted = want_passthrough ? NULL : "nopassthrough was asked for";
	shmfs_fs_init(&k->fs);
	k->reply = malloc(KERNEL_REPLY_MAX);
	assert_non_null(k->reply);
	k->session = fuse_session_new(&args, &shmfs_fuse_operations, sizeof(shmfs_fuse_operations),
				      &k->fs);
	assert_non_null(k->session);
	k->fs.session = k->session;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	k->device = pair[0];
	attach(k, pair[1]);
	fuse_opt_free_args(&args);
	kernel_backing = (struct kernel_backing){ .next_id = -ENOTTY };
	kernel_spliced = 0;
	interrupted = 0;
	return k;
}

int kernel_ask_init(struct kernel *k, const struct fuse_init_in *in, size_t len,
		    struct fuse_init_out *out)
{
	const struct kernel_part part = { in, len };
	int err;

	kernel_post(k, FUSE_INIT, 0, &part, 1);
	assert_int_equal(shmfs_reply_first(&k->fs), 0);
	if (is_waiting(device))
		serve(k);
	err = kernel_reply(k);
	if (!err) {
		assert_int_equal(k->reply_len, sizeof(*out));
		memcpy(out, k->reply, sizeof(*out));
	}
	return err;
}

int kernel_init(struct kernel *k, uint32_t flags, uint32_t flags2, struct fuse_init_out *out)
{
	const struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = 38,
		.max_readahead = 128 << 10,
		.flags = flags | FUSE_MAX_PAGES | FUSE_ATOMIC_O_TRUNC | FUSE_DO_READDIRPLUS,
		.flags2 = flags2,
	};

	return kernel_ask_init(k, &in, sizeof(in), out);
}

void kernel_stop(struct kernel *k)
{
	const size_t inodes = k->fs.inodes.count;
	const bool closed = k->fs.nopen == 0 && k->fs.dirs.nopen == 0;
	bool clean;

	assert_true(forget_end(&k->fs));
	kernel_expect_silence(k);
	shmfs_fs_clear(&k->fs);
	device = -1;
	close(k->device);
	clean = memory_backend_free(k->sysv);
	clean = memory_backend_free(k->posix) && clean;
	free(k->request.mem);
	free(k->reply);
	free(k);
	assert_int_equal(inodes, 0);
	assert_true(closed);
	assert_true(clean);
}

int kernel_setup(void **state)
{
	struct kernel *k = kernel_start(false);
	struct fuse_init_out out;

	*state = k;
	return kernel_init(k, FUSE_INIT_EXT, 0, &out);
}

int kernel_teardown(void **state)
{
	kernel_stop(*state);
	return 0;
}

/* --- one request --- */

void kernel_post(struct kernel *k, uint32_t opcode, uint64_t node, const struct kernel_part *parts,
		 size_t count)
{
	struct fuse_in_header header = {
		.len = sizeof(header),
		.opcode = opcode,
		.unique = k->unique += 2,
		.nodeid = node,
		.uid = k->uid,
		.gid = k->gid,
		.pid = k->pid == KERNEL_UNSEEN ? 0 :
		       k->pid		       ? k->pid :
						 (uint32_t)getpid(),
	};
	struct iovec iov[4] = { { &header, sizeof(header) } };

	assert_in_range(count, 0, 3);
	for (size_t i = 0; i < count; i++) {
		iov[i + 1] = (struct iovec){ (void *)(uintptr_t)parts[i].bytes, parts[i].len };
		header.len += (uint32_t)parts[i].len;
	}
	assert_int_equal(real_writev(k->device, iov, (int)count + 1), header.len);
}

void kernel_send(struct kernel *k, uint32_t opcode, uint64_t node, const struct kernel_part *parts,
		 size_t count)
{
	kernel_post(k, opcode, node, parts, count);
	serve(k);
}

/* Look at the header of what the filesystem has sent next; false: nothing. */
static bool peek(const struct kernel *k, struct fuse_out_header *header)
{
	ssize_t n = recv(k->device, header, sizeof(*header), MSG_DONTWAIT | MSG_PEEK);

	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	else
		assert_int_equal(n, sizeof(*header));
	return n > 0;
}

/* Not asked for: the number is 0 and the code stands where the error is. */
static void take_notifications(struct kernel *k)
{
	struct {
		struct fuse_out_header header;
		struct fuse_notify_inval_inode_out out;
	} message;

	while (peek(k, &message.header) && message.header.unique == 0) {
		assert_int_equal(read(k->device, &message, sizeof(message)), sizeof(message));
		assert_int_equal(message.header.len, sizeof(message));
		assert_int_equal(message.header.error, FUSE_NOTIFY_INVAL_INODE);
		k->invalidated = message.out;
		k->notified++;
	}
}

void kernel_expect_silence(struct kernel *k)
{
	struct fuse_out_header header;

	take_notifications(k);
	if (peek(k, &header))
		fail_msg("there is one reply more than requests, to number %llu",
			 (unsigned long long)header.unique);
}

int kernel_reply(struct kernel *k)
{
	struct fuse_out_header header;
	struct iovec iov[] = {
		{ &header, sizeof(header) },
		{ k->reply, KERNEL_REPLY_MAX },
	};
	ssize_t len;

	take_notifications(k);
	if (!peek(k, &header))
		fail_msg("request %llu was not answered", (unsigned long long)k->unique);
	len = readv(k->device, iov, 2);
	assert_in_range(len, sizeof(header), sizeof(header) + KERNEL_REPLY_MAX);
	assert_int_equal(header.len, len);
	assert_int_equal(header.unique, k->unique);
	assert_in_range(-header.error, 0, 999);
	k->reply_len = (size_t)len - sizeof(header);
	if (header.error)
		assert_int_equal(k->reply_len, 0);
	kernel_expect_silence(k);
	return header.error;
}

int kernel_ask(struct kernel *k, uint32_t opcode, uint64_t node, const void *arg, size_t arg_len,
	       const void *more, size_t more_len)
{
	const struct kernel_part parts[] = { { arg, arg_len }, { more, more_len } };

	kernel_send(k, opcode, node, parts, 2);
	return kernel_reply(k);
}

int kernel_get(struct kernel *k, uint32_t opcode, uint64_t node, const void *arg, size_t arg_len,
	       const char *name, void *out, size_t len)
{
	int err = kernel_ask(k, opcode, node, arg, arg_len, name, name ? strlen(name) + 1 : 0);

	if (!err) {
		assert_int_equal(k->reply_len, len);
		memcpy(out, k->reply, len);
	}
	return err;
}
