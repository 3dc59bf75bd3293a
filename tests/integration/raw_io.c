/* SPDX-License-Identifier: MIT */
#include "raw_io.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- Linux aio --- */

/* One for all calls of the process: to end one takes the kernel long. */
static aio_context_t context;

static ssize_t aio_call(struct iocb *request)
{
	struct io_event event = { 0 };
	long count;

	if (!context && syscall(SYS_io_setup, 1, &context) == -1)
		return -errno;
	if (syscall(SYS_io_submit, context, 1, &request) != 1)
		return -errno;
	/* The end of a ring that was closed before interrupts it, as a signal would. */
	do {
		count = syscall(SYS_io_getevents, context, 1, 1, &event, NULL);
	} while (count == -1 && errno == EINTR);
	if (count != 1)
		return -errno;
	return (ssize_t)event.res;
}

static ssize_t aio_move(unsigned opcode, int fd, const void *bytes, size_t count, off_t offset)
{
	struct iocb request = {
		.aio_lio_opcode = (uint16_t)opcode,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = (uintptr_t)bytes,
		.aio_nbytes = count,
		.aio_offset = offset,
	};
	return aio_call(&request);
}

ssize_t aio_read_raw(int fd, void *bytes, size_t count, off_t offset)
{
	return aio_move(IOCB_CMD_PREAD, fd, bytes, count, offset);
}

ssize_t aio_write_raw(int fd, const void *bytes, size_t count, off_t offset)
{
	return aio_move(IOCB_CMD_PWRITE, fd, bytes, count, offset);
}

/* --- io_uring --- */

struct ring {
	int fd;
	struct io_uring_params params;
	char *rings; /* both, in one mapping */
	size_t size;
	struct io_uring_sqe *requests;
};

static _Atomic unsigned *ring_word(const struct ring *ring, uint32_t offset)
{
	return (_Atomic unsigned *)(void *)(ring->rings + offset);
}

static int ring_open(struct ring *ring)
{
	*ring = (struct ring){ .fd = -1 };
	ring->fd = (int)syscall(SYS_io_uring_setup, 1, &ring->params);
	if (ring->fd == -1)
		return errno == EPERM ? -ENOSYS : -errno;
	size_t submissions = ring->params.sq_off.array + ring->params.sq_entries * sizeof(uint32_t);
	size_t completions =
		ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe);
	ring->size = submissions > completions ? submissions : completions;
	ring->rings = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			   IORING_OFF_SQ_RING);
	ring->requests = mmap(NULL, sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
			      ring->fd, IORING_OFF_SQES);
	if (ring->rings == MAP_FAILED || ring->requests == MAP_FAILED) {
		close(ring->fd);
		return -ENOMEM;
	}
	return 0;
}

/* The kernel writes the tail after the result; the head is ours. */
static bool is_done(const struct ring *ring)
{
	unsigned tail = atomic_load_explicit(ring_word(ring, ring->params.cq_off.tail),
					     memory_order_acquire);

	return tail != *ring_word(ring, ring->params.cq_off.head);
}

/* Hand the request over and wait for its end, however often that is interrupted. */
static ssize_t ring_enter(const struct ring *ring)
{
	unsigned count = 1;

	do {
		long taken = syscall(SYS_io_uring_enter, ring->fd, count, 1, IORING_ENTER_GETEVENTS,
				     NULL, 0);

		if (taken == -1 && errno != EINTR)
			return -errno;
		if (taken > 0)
			count = 0;
	} while (!is_done(ring));
	return 0;
}

static ssize_t uring_call(const struct io_uring_sqe *request)
{
	struct ring ring;
	const struct io_uring_cqe *done;
	ssize_t result = ring_open(&ring);

	if (result)
		return result;
	ring.requests[0] = *request;
	*ring_word(&ring, ring.params.sq_off.array) = 0;
	atomic_fetch_add_explicit(ring_word(&ring, ring.params.sq_off.tail), 1,
				  memory_order_release);
	result = ring_enter(&ring);
	if (!result) {
		done = (const void *)(ring.rings + ring.params.cq_off.cqes);
		result = done->res;
	}
	munmap(ring.requests, sizeof(struct io_uring_sqe));
	munmap(ring.rings, ring.size);
	close(ring.fd);
	return result;
}

ssize_t uring_read(int fd, void *bytes, size_t count, off_t offset)
{
	const struct io_uring_sqe request = {
		.opcode = IORING_OP_READ,
		.fd = fd,
		.addr = (uintptr_t)bytes,
		.len = (uint32_t)count,
		.off = (uint64_t)offset,
	};
	return uring_call(&request);
}

ssize_t uring_write(int fd, const void *bytes, size_t count, off_t offset)
{
	const struct io_uring_sqe request = {
		.opcode = IORING_OP_WRITE,
		.fd = fd,
		.addr = (uintptr_t)bytes,
		.len = (uint32_t)count,
		.off = (uint64_t)offset,
	};
	return uring_call(&request);
}

ssize_t uring_fallocate(int fd, int mode, off_t offset, off_t count)
{
	const struct io_uring_sqe request = {
		.opcode = IORING_OP_FALLOCATE,
		.fd = fd,
		.addr = (uint64_t)count,
		.len = (uint32_t)mode,
		.off = (uint64_t)offset,
	};
	return uring_call(&request);
}

ssize_t uring_splice(int pipe, int fd, off_t offset, size_t count)
{
	const struct io_uring_sqe request = {
		.opcode = IORING_OP_SPLICE,
		.fd = fd,
		.off = (uint64_t)offset,
		.splice_fd_in = pipe,
		.splice_off_in = (uint64_t)-1,
		.len = (uint32_t)count,
	};
	return uring_call(&request);
}
