/* SPDX-License-Identifier: MIT */
/*
 * A text view before a backend of plain memory, which shows what is really
 * there.  Every case runs twice: with bytes in memory and at a descriptor.
 */
#pragma once

#include "memory_backend.h"
#include "text/internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* Bytes with their length, NULs included but for C's own. */
#define B(literal) literal, sizeof(literal) - 1

/* One object with its text, open for reading and writing; all cases' state. */
struct view {
	struct memory_backend *memory;
	struct shmfs_backend_ops ops; /* of the view */
	struct memory_file *file;
	struct shmfs_object *object;
	struct shmfs_handle *handle;
};

extern const struct shmfs_caller view_root;

int view_setup(void **state);
int view_teardown(void **state);
#define VIEW_TEST(function) \
	{ #function " in memory", function, view_setup, view_teardown, NULL }, \
	{ \
#function " at a descriptor", function, view_setup, view_teardown, "" \
	}

struct shmfs_view view_of(const struct view *);
/* Have another object, of these bytes. */
void view_begin(struct view *, const char *bytes, size_t len);
struct shmfs_handle *view_open(struct view *, int flags);

/* st_size, or a negative errno. */
int view_size(struct view *, const struct shmfs_caller *);
ssize_t view_read(struct view *, off_t, char *to, size_t len);
ssize_t view_write(struct view *, struct shmfs_handle *, off_t, bool append, const char *bytes,
		   size_t len);

void view_expect_text(struct view *, const char *text, size_t len);
/* What is in memory, all of it. */
void view_expect_bytes(struct view *, const char *bytes, size_t len);
