/* SPDX-License-Identifier: MIT */
/*
 * Each allocation of a request fails in turn: it is answered with an error or
 * done, and nothing is left of it.  What is not freed is LeakSanitizer's.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROOT SHMFS_DIR_ROOT
#define SIZE 8192

static unsigned countdown; /* the how-manieth allocation fails; 0: none */
static bool failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

static bool is_short(void)
{
	if (countdown == 0 || --countdown > 0)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return is_short() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return is_short() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return is_short() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return is_short() ? NULL : __real_reallocarray(old, count, size);
}

/* --- operations; what they open and find they close and forget --- */

struct game {
	struct kernel *k;
	uint64_t node;		 /* of key 1, which is looked up */
	struct kernel_file file; /* and open */
	struct kernel_file dir;
};

static int look_up(struct game *g)
{
	struct fuse_entry_out out;
	int err = kernel_lookup(g->k, ROOT, "frames", &out);

	countdown = 0;
	if (!err)
		kernel_forget(g->k, out.nodeid, 1);
	return err;
}

static int create(struct game *g)
{
	struct fuse_entry_out entry;
	struct kernel_file file;
	int err = kernel_create(g->k, ROOT, "new", O_RDWR, 0600, &entry, &file);

	countdown = 0;
	if (!err)
		kernel_close(g->k, &file);
	return err;
}

static int make(struct game *g)
{
	const struct fuse_mknod_in in = { .mode = S_IFREG | 0600 };
	struct fuse_entry_out out;
	int err = kernel_get(g->k, FUSE_MKNOD, ROOT, &in, sizeof(in), "5", &out, sizeof(out));

	countdown = 0;
	if (!err)
		kernel_forget(g->k, out.nodeid, 1);
	return err;
}

static int open_one(struct game *g)
{
	struct kernel_file file;
	int err = kernel_open(g->k, g->node, O_RDWR, &file);

	countdown = 0;
	if (!err)
		kernel_release(g->k, &file);
	return err;
}

static int get_attr(struct game *g)
{
	struct fuse_attr_out out;

	return kernel_getattr(g->k, g->node, &out);
}

static int set_attr(struct game *g)
{
	const struct fuse_setattr_in in = {
		.valid = FATTR_SIZE | FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_MTIME,
		.size = SIZE,
		.mode = 0640,
	};
	struct fuse_attr_out out;

	return kernel_get(g->k, FUSE_SETATTR, g->node, &in, sizeof(in), NULL, &out, sizeof(out));
}

static int read_file(struct game *g)
{
	return kernel_read(g->k, &g->file, 0, SIZE);
}

static int write_file(struct game *g)
{
	static const char bytes[SIZE];
	uint32_t written;

	return kernel_write(g->k, &g->file, O_RDWR, 0, bytes, sizeof(bytes), &written);
}

static int open_dir(struct game *g)
{
	const struct fuse_open_in in = { .flags = O_RDONLY | O_DIRECTORY };
	struct fuse_open_out out;
	int err = kernel_get(g->k, FUSE_OPENDIR, ROOT, &in, sizeof(in), NULL, &out, sizeof(out));
	const struct fuse_release_in release = { .fh = out.fh };

	countdown = 0;
	if (!err)
		kernel_ask(g->k, FUSE_RELEASEDIR, ROOT, &release, sizeof(release), NULL, 0);
	return err;
}

static int read_dir(struct game *g)
{
	const struct fuse_read_in in = { .fh = g->dir.fh, .size = SIZE };

	return kernel_ask(g->k, FUSE_READDIR, ROOT, &in, sizeof(in), NULL, 0);
}

static int get_xattr(struct game *g)
{
	static const char name[] = "user.shmfs.version";
	const struct fuse_getxattr_in in = { .size = 100 };

	return kernel_ask(g->k, FUSE_GETXATTR, ROOT, &in, sizeof(in), name, sizeof(name));
}

static int list_xattrs(struct game *g)
{
	const struct fuse_getxattr_in in = { .size = SIZE };

	return kernel_ask(g->k, FUSE_LISTXATTR, g->node, &in, sizeof(in), NULL, 0);
}

static int remove_name(struct game *g)
{
	return kernel_name(g->k, FUSE_UNLINK, ROOT, "frames");
}

static int rename_name(struct game *g)
{
	static const char names[] = "frames\0others";
	const struct fuse_rename2_in in = { .newdir = ROOT };

	return kernel_ask(g->k, FUSE_RENAME2, ROOT, &in, sizeof(in), names, sizeof(names));
}

static int (*const operations[])(struct game *) = {
	look_up,    create,   make,	open_one,  get_attr,	set_attr,    read_file,
	write_file, open_dir, read_dir, get_xattr, list_xattrs, remove_name, rename_name,
};

/* --- */

static void begin(struct game *g)
{
	const struct fuse_open_in in = { .flags = O_RDONLY | O_DIRECTORY };
	struct fuse_init_out init;
	struct fuse_open_out out;

	g->k = kernel_start(false);
	assert_int_equal(kernel_init(g->k, FUSE_INIT_EXT, 0, &init), 0);
	g->k->uid = 1000;
	g->k->sysv->want_groups = true;
	g->k->posix->want_groups = true;
	/* Enough to make a listing grow, and the bytes are there. */
	for (uint32_t key = 100; key < 200; key++)
		memory_add(g->k->sysv, key, NULL);
	memory_add_bytes(g->k->sysv, 1, NULL, "bytes", 5);
	memory_add_bytes(g->k->posix, 0, "frames", "bytes", 5);
	g->node = kernel_find(g->k, ROOT, "1");
	assert_int_equal(kernel_open(g->k, g->node, O_RDWR, &g->file), 0);
	assert_int_equal(
		kernel_get(g->k, FUSE_OPENDIR, ROOT, &in, sizeof(in), NULL, &out, sizeof(out)), 0);
	g->dir = (struct kernel_file){ .node = ROOT, .fh = out.fh };
}

/* All that is left is what was there before: kernel_stop() looks. */
static void end(struct game *g)
{
	const struct fuse_release_in in = { .fh = g->dir.fh };

	assert_int_equal(kernel_ask(g->k, FUSE_RELEASEDIR, ROOT, &in, sizeof(in), NULL, 0), 0);
	kernel_close(g->k, &g->file);
	kernel_stop(g->k);
}

static void each_allocation_may_fail(void **state)
{
	unsigned total = 0;

	for (size_t i = 0; i < COUNT(operations); i++) {
		for (unsigned n = 1; n == 1 || failed; n++, total++) {
			struct game g;
			int err;

			begin(&g);
			failed = false;
			countdown = n;
			err = operations[i](&g);
			countdown = 0;
			if (err && (!failed || err != -ENOMEM))
				fail_msg("operation %zu, allocation %u: %s", i, n, strerror(-err));
			end(&g);
		}
	}
	/* Each once more than there are allocations. */
	assert_true(total > 2 * COUNT(operations));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_allocation_may_fail) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
