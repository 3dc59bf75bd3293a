/* SPDX-License-Identifier: MIT */
/*
 * The kernel's asynchronous calls, one at a time and waited for: Linux aio and
 * io_uring without their libraries.  Each gives the count of bytes or a
 * negative errno; those of io_uring -ENOSYS where the kernel does not have it,
 * or does not let us.
 */
#pragma once

#include <sys/types.h>

ssize_t aio_read_raw(int fd, void *bytes, size_t count, off_t offset);
ssize_t aio_write_raw(int fd, const void *bytes, size_t count, off_t offset);

ssize_t uring_read(int fd, void *bytes, size_t count, off_t offset);
ssize_t uring_write(int fd, const void *bytes, size_t count, off_t offset);
ssize_t uring_fallocate(int fd, int mode, off_t offset, off_t count);
ssize_t uring_splice(int pipe, int fd, off_t offset, size_t count);
