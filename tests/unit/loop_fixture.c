/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop_fixture.h"

static void wait_at_gate(struct memory_backend *be, enum memory_slot slot, void *arg)
{
	struct fixture *f = arg;

	if (slot != f->slot && slot != MEMORY_GETATTR)
		return;
	sem_post(&f->arrived);
	sem_wait(slot == f->slot ? &f->gate : &f->stuck);
}

int loop_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct fuse_entry_out entry;
	void *kernel;

	assert_non_null(f);
	assert_int_equal(kernel_setup(&kernel), 0);
	f->k = kernel;
	f->signal_fd = eventfd(0, EFD_CLOEXEC);
	sem_init(&f->arrived, 0, 0);
	sem_init(&f->gate, 0, 0);
	sem_init(&f->stuck, 0, 0);
	assert_int_equal(kernel_create(f->k, ROOT, "1", O_RDWR, 0600, &entry, &f->file), 0);
	*state = f;
	return 0;
}

int loop_teardown(void **state)
{
	struct fixture *f = *state;

	kernel_close(f->k, &f->file);
	kernel_stop(f->k);
	close(f->signal_fd);
	sem_destroy(&f->arrived);
	sem_destroy(&f->gate);
	sem_destroy(&f->stuck);
	free(f);
	return 0;
}

static void *run(void *arg)
{
	struct fixture *f = arg;

	f->result = shmfs_loop_run(&f->k->fs, f->signal_fd, f->single_thread);
	return NULL;
}

void loop_start(struct fixture *f, enum memory_slot slot)
{
	f->slot = slot;
	f->k->sysv->hook_arg = f;
	f->k->sysv->hook = wait_at_gate;
	assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

void loop_await_end(struct fixture *f, int result)
{
	assert_int_equal(pthread_join(f->thread, NULL), 0);
	assert_int_equal(f->result, result);
	f->k->sysv->hook = NULL;
}

void loop_stop(struct fixture *f)
{
	assert_int_equal(eventfd_write(f->signal_fd, 1), 0);
	loop_await_end(f, 0);
}

/* --- requests --- */

uint64_t post(struct fixture *f, uint32_t opcode, uint64_t node, const void *in, size_t len)
{
	const struct kernel_part part = { in, len };

	kernel_post(f->k, opcode, node, &part, 1);
	return f->k->unique;
}

uint64_t post_getattr(struct fixture *f)
{
	return post(f, FUSE_GETATTR, ROOT, &(struct fuse_getattr_in){ 0 },
		    sizeof(struct fuse_getattr_in));
}

uint64_t post_fallocate(struct fixture *f)
{
	const struct fuse_fallocate_in in = { .fh = f->file.fh, .length = 1 };

	return post(f, FUSE_FALLOCATE, f->file.node, &in, sizeof(in));
}

uint64_t answered(const struct fixture *f, int timeout_ms)
{
	struct pollfd fd = { .fd = f->k->device, .events = POLLIN };
	struct fuse_out_header header;

	if (poll(&fd, 1, timeout_ms) != 1)
		return 0;
	assert_true(recv(f->k->device, &header, sizeof(header), 0) > 0);
	assert_int_equal(header.error, 0);
	return header.unique;
}

uint64_t sum_answered(const struct fixture *f, int count)
{
	uint64_t sum = 0;

	while (count-- > 0)
		sum += answered(f, LONG_TIME);
	return sum;
}

uint64_t post_fallocates(struct fixture *f, int count)
{
	uint64_t sum = 0;

	while (count-- > 0)
		sum += post_fallocate(f);
	return sum;
}

void await_arrivals(struct fixture *f, int count)
{
	while (count-- > 0)
		sem_wait(&f->arrived);
}

void let_through(struct fixture *f, int count)
{
	for (int i = 0; i < count; i++)
		sem_post(&f->gate);
}
