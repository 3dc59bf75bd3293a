/* SPDX-License-Identifier: MIT */
/* What the requests of a game have in common: the kernel's own book-keeping. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fuzz.h"
#include "input.h"
#include "kernel.h"

#define MAX_NODES 8
#define MAX_FILES 8
#define MAX_DIRS 4
#define MAX_BYTES 256

struct node {
	uint64_t id; /* 0: none */
	uint64_t nlookup;
};

struct game {
	struct kernel *k;
	struct fuzz_input in;
	struct node nodes[MAX_NODES];
	struct kernel_file files[MAX_FILES]; /* fh 0: none */
	struct kernel_file dirs[MAX_DIRS];
};

/* --- fuzz_requests.c: something of what the kernel knows, NULL if it does not --- */

uint64_t game_dir(struct game *);
struct node *game_node(struct game *);
struct kernel_file *game_file(struct game *);
struct kernel_file *game_free_file(struct kernel_file *, size_t count);

/* --- game_files.c: requests on open files and directories --- */

void game_open_file(struct game *);
void game_release(struct game *);
void game_read_file(struct game *);
void game_write_file(struct game *);
void game_allocate(struct game *);
void game_seek(struct game *);
void game_copy(struct game *);
void game_flush(struct game *);
void game_open_dir(struct game *);
void game_read_dir(struct game *);
void game_release_dir(struct game *);
void game_close_dir(struct game *, struct kernel_file *);
