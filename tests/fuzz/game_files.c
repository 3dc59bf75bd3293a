/* SPDX-License-Identifier: MIT */
#include "game.h"

/* --- files --- */

void game_open_file(struct game *g)
{
	struct kernel_file *file = game_free_file(g->files, MAX_FILES);
	const struct node *node = game_node(g);
	int flags = (int)(fuzz_u32(&g->in) & (O_ACCMODE | O_TRUNC | O_APPEND));

	if (file && node && kernel_open(g->k, node->id, flags, file) != 0)
		file->fh = 0;
}

void game_release(struct game *g)
{
	struct kernel_file *file = game_file(g);

	if (!file)
		return;
	kernel_release(g->k, file);
	file->fh = 0;
}

void game_read_file(struct game *g)
{
	const struct kernel_file *file = game_file(g);
	int64_t off = fuzz_offset(&g->in);
	size_t len = fuzz_u32(&g->in) & 0x1ffff;

	if (file && kernel_read(g->k, file, off, len) == 0)
		check(g->k->reply_len <= len);
}

/* What was written is there, unless it was appended to nobody knows where. */
void game_write_file(struct game *g)
{
	const struct kernel_file *file = game_file(g);
	int flags = fuzz_byte(&g->in) % 4 ? O_RDWR : O_RDWR | O_APPEND;
	int64_t off = fuzz_offset(&g->in);
	const uint8_t *bytes;
	size_t len = fuzz_bytes(&g->in, fuzz_below(&g->in, MAX_BYTES), &bytes);
	uint32_t written;

	if (!file || off > INT64_MAX - (int64_t)len)
		return;
	if (kernel_write(g->k, file, flags, off, bytes, len, &written) != 0)
		return;
	check(written <= len);
	if (flags & O_APPEND || written == 0 || kernel_read(g->k, file, off, written) != 0)
		return;
	check(g->k->reply_len == written && memcmp(g->k->reply, bytes, written) == 0);
}

void game_allocate(struct game *g)
{
	const struct kernel_file *file = game_file(g);
	struct fuse_fallocate_in in = {
		.offset = (uint64_t)fuzz_offset(&g->in),
		.length = (uint64_t)fuzz_offset(&g->in),
		.mode = fuzz_byte(&g->in),
	};

	if (!file || in.length == 0 || in.offset + in.length > INT64_MAX)
		return;
	in.fh = file->fh;
	kernel_ask(g->k, FUSE_FALLOCATE, file->node, &in, sizeof(in), NULL, 0);
}

void game_seek(struct game *g)
{
	const struct kernel_file *file = game_file(g);
	struct fuse_lseek_in in = {
		.offset = (uint64_t)fuzz_offset(&g->in),
		.whence = fuzz_byte(&g->in) % 2 ? SEEK_DATA : SEEK_HOLE,
	};
	struct fuse_lseek_out out;

	if (!file)
		return;
	in.fh = file->fh;
	if (kernel_get(g->k, FUSE_LSEEK, file->node, &in, sizeof(in), NULL, &out, sizeof(out)) == 0)
		check(out.offset >= in.offset);
}

void game_copy(struct game *g)
{
	const struct kernel_file *from = game_file(g);
	const struct kernel_file *to = game_file(g);
	struct fuse_copy_file_range_in in = {
		.off_in = (uint64_t)fuzz_offset(&g->in),
		.off_out = (uint64_t)fuzz_offset(&g->in),
		.len = fuzz_u32(&g->in) & 0x3fffff,
	};
	struct fuse_write_out out;

	/* The kernel lets no range be copied over itself, and none wrap around. */
	if (!from || !to || from->node == to->node || in.off_in + in.len > INT64_MAX ||
	    in.off_out + in.len > INT64_MAX)
		return;
	in.fh_in = from->fh;
	in.fh_out = to->fh;
	in.nodeid_out = to->node;
	if (kernel_get(g->k, FUSE_COPY_FILE_RANGE, from->node, &in, sizeof(in), NULL, &out,
		       sizeof(out)) == 0)
		check(out.size <= in.len);
}

void game_flush(struct game *g)
{
	const struct kernel_file *file = game_file(g);
	struct fuse_flush_in in = { .lock_owner = 1 };

	if (!file)
		return;
	in.fh = file->fh;
	kernel_ask(g->k, FUSE_FLUSH, file->node, &in, sizeof(in), NULL, 0);
}

/* --- directories --- */

void game_open_dir(struct game *g)
{
	struct kernel_file *dir = game_free_file(g->dirs, MAX_DIRS);
	const struct fuse_open_in in = { .flags = O_RDONLY | O_DIRECTORY };
	uint64_t node = game_dir(g);
	struct fuse_open_out out;

	if (!dir || kernel_get(g->k, FUSE_OPENDIR, node, &in, sizeof(in), NULL, &out, sizeof(out)))
		return;
	*dir = (struct kernel_file){ .node = node, .fh = out.fh };
}

void game_read_dir(struct game *g)
{
	const struct kernel_file *dir = &g->dirs[fuzz_below(&g->in, MAX_DIRS)];
	const struct fuse_read_in in = {
		.fh = dir->fh,
		.offset = (uint64_t)fuzz_offset(&g->in),
		.size = fuzz_u32(&g->in) & 0x1fff,
	};
	size_t used = 0;

	if (!dir->fh || kernel_ask(g->k, FUSE_READDIR, dir->node, &in, sizeof(in), NULL, 0) != 0)
		return;
	check(g->k->reply_len <= in.size);
	while (used < g->k->reply_len) {
		struct fuse_dirent entry;

		check(g->k->reply_len - used >= FUSE_NAME_OFFSET);
		memcpy(&entry, g->k->reply + used, FUSE_NAME_OFFSET);
		check(entry.namelen > 0 && entry.off > in.offset);
		used += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
	}
	check(used == g->k->reply_len);
}

void game_release_dir(struct game *g)
{
	struct kernel_file *dir = &g->dirs[fuzz_below(&g->in, MAX_DIRS)];

	if (dir->fh)
		game_close_dir(g, dir);
}

void game_close_dir(struct game *g, struct kernel_file *dir)
{
	const struct fuse_release_in in = { .fh = dir->fh };

	check(kernel_ask(g->k, FUSE_RELEASEDIR, dir->node, &in, sizeof(in), NULL, 0) == 0);
	dir->fh = 0;
}
