/* SPDX-License-Identifier: MIT */
/* The requests that the tests need often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel.h"

/* What is kept of an inode; of the last if there are too many. */
static struct kernel_inode *known(struct kernel *k, uint64_t node)
{
	size_t i = 0;

	while (i < KERNEL_INODES - 1 && k->inodes[i].node && k->inodes[i].node != node)
		i++;
	k->inodes[i].node = node;
	return &k->inodes[i];
}

int kernel_name(struct kernel *k, uint32_t opcode, uint64_t parent, const char *name)
{
	return kernel_ask(k, opcode, parent, name, strlen(name) + 1, NULL, 0);
}

int kernel_lookup(struct kernel *k, uint64_t parent, const char *name, struct fuse_entry_out *out)
{
	int err = kernel_get(k, FUSE_LOOKUP, parent, NULL, 0, name, out, sizeof(*out));

	if (!err)
		known(k, out->nodeid)->nlookup++;
	return err;
}

uint64_t kernel_find(struct kernel *k, uint64_t parent, const char *name)
{
	struct fuse_entry_out out;

	assert_int_equal(kernel_lookup(k, parent, name, &out), 0);
	return out.nodeid;
}

void kernel_forget(struct kernel *k, uint64_t node, uint64_t nlookup)
{
	const struct fuse_forget_in in = { .nlookup = nlookup };
	const struct kernel_part part = { &in, sizeof(in) };
	struct kernel_inode *inode = known(k, node);

	inode->nlookup -= (int64_t)nlookup;
	/* An open file holds its inode (fs/fuse/inode.c, fuse_evict_inode()). */
	if (inode->nlookup <= 0 && inode->nopen > 0)
		fail_msg("a file of the inode is open");
	kernel_send(k, FUSE_FORGET, node, &part, 1);
	kernel_expect_silence(k);
}

int kernel_getattr(struct kernel *k, uint64_t node, struct fuse_attr_out *out)
{
	const struct fuse_getattr_in in = { 0 };

	return kernel_get(k, FUSE_GETATTR, node, &in, sizeof(in), NULL, out, sizeof(*out));
}

static struct kernel_file opened_file(uint64_t node, const struct fuse_open_out *out)
{
	struct kernel_file file = { .node = node, .fh = out->fh, .open_flags = out->open_flags };

	/* The kernel's `backing_id` is where older headers have padding. */
	memcpy(&file.backing_id, &out->open_flags + 1, sizeof(file.backing_id));
	return file;
}

int kernel_create(struct kernel *k, uint64_t parent, const char *name, int flags, mode_t mode,
		  struct fuse_entry_out *entry, struct kernel_file *file)
{
	const struct fuse_create_in in = {
		.flags = (uint32_t)flags,
		.mode = S_IFREG | mode,
		.umask = k->umask,
	};
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	int err = kernel_get(k, FUSE_CREATE, parent, &in, sizeof(in), name, &out, sizeof(out));

	if (!err) {
		*entry = out.entry;
		*file = opened_file(out.entry.nodeid, &out.open);
		known(k, file->node)->nlookup++;
		known(k, file->node)->nopen++;
	}
	return err;
}

int kernel_open(struct kernel *k, uint64_t node, int flags, struct kernel_file *file)
{
	const struct fuse_open_in in = { .flags = (uint32_t)flags };
	struct fuse_open_out out;
	int err = kernel_get(k, FUSE_OPEN, node, &in, sizeof(in), NULL, &out, sizeof(out));

	if (!err) {
		*file = opened_file(node, &out);
		known(k, node)->nopen++;
	}
	return err;
}

void kernel_note_release(struct kernel *k, const struct kernel_file *file)
{
	known(k, file->node)->nopen--;
}

void kernel_release(struct kernel *k, const struct kernel_file *file)
{
	const struct fuse_release_in in = { .fh = file->fh };

	assert_int_equal(kernel_ask(k, FUSE_RELEASE, file->node, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(k->reply_len, 0);
	kernel_note_release(k, file);
}

void kernel_close(struct kernel *k, const struct kernel_file *file)
{
	kernel_release(k, file);
	kernel_forget(k, file->node, 1);
}

/* With an owner, as read(2) has it and what fills the page cache has not. */
int kernel_read(struct kernel *k, const struct kernel_file *file, off_t off, size_t len)
{
	const struct fuse_read_in in = {
		.fh = file->fh,
		.offset = (uint64_t)off,
		.size = (uint32_t)len,
		.lock_owner = 1,
	};

	return kernel_ask(k, FUSE_READ, file->node, &in, sizeof(in), NULL, 0);
}

int kernel_write(struct kernel *k, const struct kernel_file *file, int flags, off_t off,
		 const void *bytes, size_t len, uint32_t *written)
{
	const struct fuse_write_in in = {
		.fh = file->fh,
		.offset = (uint64_t)off,
		.size = (uint32_t)len,
		.flags = (uint32_t)flags,
		.lock_owner = 1,
	};
	struct fuse_write_out out;
	int err = kernel_ask(k, FUSE_WRITE, file->node, &in, sizeof(in), bytes, len);

	if (!err) {
		assert_int_equal(k->reply_len, sizeof(out));
		memcpy(&out, k->reply, sizeof(out));
		*written = out.size;
	}
	return err;
}
