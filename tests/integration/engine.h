/* SPDX-License-Identifier: MIT */
/* Who moves the bytes of an open file: the kernel by itself, or the daemon. */
#pragma once

#include <stdbool.h>

#include "daemon.h"

/*
 * Whether root's mount is expected to lend passthrough: the kernel knows it,
 * and the run is not one with `-o nopassthrough`.
 */
bool engine_is_passthrough(void);

/*
 * Whether call(arg) comes to its end while the daemon is stopped.  If it waits
 * for the daemon instead, that goes on, and so does the call.  Either way it
 * has to return true.
 */
bool kernel_does(const struct fixture *fixture, bool (*call)(void *arg), void *arg);

/* The same for reading and for writing the first byte of `fd`. */
bool kernel_reads(const struct fixture *fixture, int fd);
bool kernel_writes(const struct fixture *fixture, int fd);

/*
 * The size of the file in which a segment's memory lies, in bytes: what grows
 * when somebody writes to that behind the segment's back.  For this process
 * the segment is attached at `memory` with `size` bytes, whole pages of
 * `page` each.
 */
off_t inode_size(const void *memory, size_t size, size_t page);

/* Whether the memory attached at `memory` is of huge pages; as above. */
bool inode_is_huge(const void *memory, size_t size, size_t page);
