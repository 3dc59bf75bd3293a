/* SPDX-License-Identifier: MIT */
/*
 * Requests in any order with any arguments, from a kernel that keeps its own
 * rules: it names nodes that it was told of, handles that are open, and sizes
 * that exist.  Everything above the backend interface serves them, on memory.
 *
 * That each request is answered once and that nothing is left at the end is
 * checked by kernel.c.
 */
#include "game.h"

/* cmocka's checks end the process, though no test of cmocka's is running. */
static void __attribute__((constructor)) abort_when_a_check_fails(void)
{
	setenv("CMOCKA_TEST_ABORT", "1", 1);
}

/* --- what the kernel knows --- */

uint64_t game_dir(struct game *g)
{
	return SHMFS_DIR(fuzz_below(&g->in, SHMFS_ROWS), 0);
}

/* A node that was looked up, or NULL. */
struct node *game_node(struct game *g)
{
	struct node *node = &g->nodes[fuzz_below(&g->in, MAX_NODES)];

	return node->id ? node : NULL;
}

/* A node or a directory. */
static uint64_t game_inode(struct game *g)
{
	const struct node *node = game_node(g);

	return node ? node->id : game_dir(g);
}

struct kernel_file *game_file(struct game *g)
{
	struct kernel_file *file = &g->files[fuzz_below(&g->in, MAX_FILES)];

	return file->fh ? file : NULL;
}

struct kernel_file *game_free_file(struct kernel_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!files[i].fh)
			return &files[i];
	}
	return NULL;
}

/* Where this node is, or could be, noted. */
static struct node *place_of(struct game *g, uint64_t id)
{
	struct node *place = NULL;

	for (size_t i = 0; i < MAX_NODES; i++) {
		if (g->nodes[i].id == id)
			return &g->nodes[i];
		if (!g->nodes[i].id)
			place = &g->nodes[i];
	}
	return place;
}

/* A reply named a node: one lookup more of it.  Without room it is forgotten again. */
static void count_lookup(struct game *g, uint64_t id)
{
	struct node *node = place_of(g, id);

	if (id & 1)
		return;
	if (!node) {
		kernel_forget(g->k, id, 1);
		return;
	}
	node->id = id;
	node->nlookup++;
}

static bool is_open(const struct game *g, uint64_t id)
{
	for (size_t i = 0; i < MAX_FILES; i++) {
		if (g->files[i].fh && g->files[i].node == id)
			return true;
	}
	return false;
}

static void check_attr(const struct fuse_attr *attr)
{
	check((attr->mode & S_IFMT) == S_IFREG || (attr->mode & S_IFMT) == S_IFDIR);
	check(attr->size <= INT64_MAX && attr->ino != 0);
}

/* --- names --- */

static void look_up(struct game *g)
{
	struct fuse_entry_out out;
	uint64_t dir = game_dir(g);
	char name[32];

	fuzz_name(&g->in, name);
	if (kernel_lookup(g->k, dir, name, &out) != 0)
		return;
	check_attr(&out.attr);
	/* A file may be gone at any time. */
	check(S_ISDIR(out.attr.mode) || (out.entry_valid == 0 && out.entry_valid_nsec == 0));
	count_lookup(g, out.nodeid);
}

static void create(struct game *g)
{
	struct kernel_file *file = game_free_file(g->files, MAX_FILES);
	uint64_t dir = game_dir(g);
	struct fuse_entry_out out;
	char name[32];
	int flags;

	fuzz_name(&g->in, name);
	flags = O_CREAT | (int)(fuzz_u32(&g->in) & (O_ACCMODE | O_EXCL | O_TRUNC | O_APPEND));
	if (!file || kernel_create(g->k, dir, name, flags, fuzz_u32(&g->in) & 07777, &out, file))
		return;
	check_attr(&out.attr);
	/* A node that goes again has no open file. */
	if (!place_of(g, out.nodeid)) {
		kernel_release(g->k, file);
		file->fh = 0;
	}
	count_lookup(g, out.nodeid);
}

static void make(struct game *g)
{
	const struct fuse_mknod_in in = { .mode = fuzz_byte(&g->in) % 2 ? S_IFREG | 0600 :
									  fuzz_u32(&g->in) };
	uint64_t dir = game_dir(g);
	struct fuse_entry_out out;
	char name[32];

	fuzz_name(&g->in, name);
	if (kernel_get(g->k, FUSE_MKNOD, dir, &in, sizeof(in), name, &out, sizeof(out)) == 0)
		count_lookup(g, out.nodeid);
}

static void remove_name(struct game *g)
{
	uint32_t opcode = fuzz_byte(&g->in) % 8 ? FUSE_UNLINK : FUSE_RMDIR;
	uint64_t dir = game_dir(g);
	char name[32];

	fuzz_name(&g->in, name);
	kernel_name(g->k, opcode, dir, name);
}

static void rename_name(struct game *g)
{
	uint64_t dir = game_dir(g);
	const struct fuse_rename2_in in = { .newdir = game_dir(g), .flags = fuzz_byte(&g->in) % 8 };
	char names[64];
	size_t len;

	fuzz_name(&g->in, names);
	len = strlen(names) + 1;
	fuzz_name(&g->in, names + len);
	len += strlen(names + len) + 1;
	kernel_ask(g->k, FUSE_RENAME2, dir, &in, sizeof(in), names, len);
}

static void forget(struct game *g)
{
	struct node *node = game_node(g);
	uint64_t nlookup;

	if (!node)
		return;
	nlookup = 1 + fuzz_byte(&g->in) % node->nlookup;
	/* An open file keeps its inode. */
	if (nlookup == node->nlookup && is_open(g, node->id))
		return;
	kernel_forget(g->k, node->id, nlookup);
	node->nlookup -= nlookup;
	if (node->nlookup == 0)
		node->id = 0;
}

/* --- attributes --- */

static void get_attr(struct game *g)
{
	struct fuse_attr_out out;

	if (kernel_getattr(g->k, game_inode(g), &out) == 0)
		check_attr(&out.attr);
}

static void set_attr(struct game *g)
{
	const struct kernel_file *file = game_file(g);
	uint64_t node = file ? file->node : game_inode(g);
	struct fuse_setattr_in in = {
		.valid = fuzz_u32(&g->in) & 0x7ff & ~(uint32_t)FATTR_FH,
		.size = (uint64_t)fuzz_offset(&g->in),
		.mode = fuzz_u32(&g->in),
		.uid = fuzz_u32(&g->in),
		.gid = fuzz_u32(&g->in),
		.mtime = fuzz_u32(&g->in),
		.mtimensec = fuzz_u32(&g->in) % 1000000000,
	};
	struct fuse_attr_out out;

	if (file) {
		in.valid |= FATTR_FH;
		in.fh = file->fh;
	}
	if (kernel_get(g->k, FUSE_SETATTR, node, &in, sizeof(in), NULL, &out, sizeof(out)) == 0)
		check_attr(&out.attr);
}

static void get_xattr(struct game *g)
{
	uint32_t opcode = fuzz_byte(&g->in) % 2 ? FUSE_GETXATTR : FUSE_LISTXATTR;
	const struct fuse_getxattr_in in = { .size = fuzz_u32(&g->in) & 0x1fff };
	uint64_t node = game_inode(g);
	char name[7 + 32] = "user.s_";
	int err;

	fuzz_name(&g->in, name + 7);
	err = kernel_ask(g->k, opcode, node, &in, sizeof(in), name,
			 opcode == FUSE_GETXATTR ? strlen(name) + 1 : 0);
	if (!err && in.size == 0)
		check(g->k->reply_len == sizeof(struct fuse_getxattr_out));
	if (!err && in.size > 0)
		check(g->k->reply_len <= in.size);
}

/* Names that there are, and others; the value is behind the name. */
static void set_xattr(struct game *g)
{
	static const char *const names[] = { "user.shm.mode", "user.", "system.posix_acl_",
					     "trusted." };
	const struct fuse_setxattr_in in = { .size = fuzz_byte(&g->in) % 32,
					     .flags = fuzz_byte(&g->in) % 4 };
	uint64_t node = game_inode(g);
	const unsigned which = fuzz_below(&g->in, 4);
	char text[20 + 32 + 32];
	size_t len;

	strcpy(text, names[which]);
	if (which > 0)
		fuzz_name(&g->in, text + strlen(text));
	len = strlen(text) + 1;
	if (fuzz_byte(&g->in) % 4 == 0) {
		kernel_ask(g->k, FUSE_REMOVEXATTR, node, NULL, 0, text, len);
		return;
	}
	for (size_t i = 0; i < in.size; i++)
		text[len + i] = (char)fuzz_byte(&g->in);
	kernel_ask(g->k, FUSE_SETXATTR, node, &in, FUSE_COMPAT_SETXATTR_IN_SIZE, text,
		   len + in.size);
}

/* --- what else there is --- */

static void stat_fs(struct game *g)
{
	struct fuse_statfs_out out;

	kernel_get(g->k, FUSE_STATFS, game_inode(g), NULL, 0, NULL, &out, sizeof(out));
}

/* What there is not: any answer but none. */
static void refuse(struct game *g)
{
	const struct fuse_mkdir_in in = { .mode = 0700 };
	uint64_t dir = game_dir(g);
	char names[64];

	fuzz_name(&g->in, names);
	if (fuzz_byte(&g->in) % 2) {
		check(kernel_ask(g->k, FUSE_MKDIR, dir, &in, sizeof(in), names,
				 strlen(names) + 1) != 0);
	} else {
		const struct node *node = game_node(g);
		const struct fuse_link_in link = { .oldnodeid = node ? node->id : dir };

		check(kernel_ask(g->k, FUSE_LINK, dir, &link, sizeof(link), names,
				 strlen(names) + 1) != 0);
	}
}

/* Another process: it makes, it removes, or there is not enough of something. */
static void outside(struct game *g)
{
	static const int errors[] = { -ENOMEM, -EIO, -ESTALE, -ENOENT, -ENOSPC, -EMFILE, -EACCES };
	const bool posix = fuzz_byte(&g->in) % 2;
	struct memory_backend *be = posix ? g->k->posix : g->k->sysv;
	const uint8_t kind = fuzz_byte(&g->in);
	struct memory_file *file = be->files;
	struct shmfs_name parsed;
	char name[32];

	if (kind % 3 == 0) {
		fuzz_name(&g->in, name);
		/* A backend lists what can be a name alone. */
		if (!posix || shmfs_name_parse_posix(name, &parsed) == 0)
			memory_add(be, 1 + (uint32_t)kind, name);
	} else if (kind % 3 == 1) {
		for (unsigned i = kind / 3; file && i > 0; i--)
			file = file->next;
		if (file && file->linked)
			memory_unlink(be, file);
	} else {
		const enum memory_slot slot = fuzz_below(&g->in, MEMORY_SLOTS);
		const unsigned skip = fuzz_below(&g->in, 3);

		memory_fail_later(be, slot, skip, 1, errors[fuzz_below(&g->in, 7)]);
	}
}

/* The reply is not taken, and what it named was not given. */
static void interrupt(struct game *g)
{
	const struct node *node = game_node(g);
	const uint64_t dir = game_dir(g);
	const struct fuse_open_in open_in = { .flags = fuzz_u32(&g->in) & O_ACCMODE };
	const struct fuse_create_in create_in = { .flags = O_CREAT | O_RDWR, .mode = S_IFREG };
	const struct fuse_mknod_in mknod_in = { .mode = S_IFREG };
	const uint8_t kind = fuzz_byte(&g->in) % 4;
	char name[32];
	struct kernel_part parts[2] = { { NULL, 0 }, { name, 0 } };

	fuzz_name(&g->in, name);
	parts[1].len = strlen(name) + 1;
	kernel_interrupt(1);
	if (kind == 0 && node) {
		parts[0] = (struct kernel_part){ &open_in, sizeof(open_in) };
		kernel_send(g->k, FUSE_OPEN, node->id, parts, 1);
	} else if (kind == 1) {
		parts[0] = (struct kernel_part){ &create_in, sizeof(create_in) };
		kernel_send(g->k, FUSE_CREATE, dir, parts, 2);
	} else if (kind == 2) {
		parts[0] = (struct kernel_part){ &mknod_in, sizeof(mknod_in) };
		kernel_send(g->k, FUSE_MKNOD, dir, parts, 2);
	} else {
		kernel_send(g->k, FUSE_LOOKUP, dir, parts, 2);
	}
	kernel_expect_silence(g->k);
	kernel_interrupt(0);
}

static void (*const moves[])(struct game *) = {
	look_up,	create,		  create,	make,		remove_name,
	rename_name,	forget,		  get_attr,	set_attr,	get_xattr,
	game_open_file, game_open_file,	  game_release, game_read_file, game_write_file,
	game_allocate,	game_seek,	  game_copy,	game_flush,	game_open_dir,
	game_read_dir,	game_release_dir, stat_fs,	refuse,		outside,
	interrupt,	set_xattr,
};

/* Everything is closed and forgotten, as at an unmount; kernel_stop() looks what is left. */
static void end(struct game *g)
{
	for (size_t i = 0; i < MAX_FILES; i++) {
		if (g->files[i].fh)
			kernel_release(g->k, &g->files[i]);
	}
	for (size_t i = 0; i < MAX_DIRS; i++) {
		if (g->dirs[i].fh)
			game_close_dir(g, &g->dirs[i]);
	}
	for (size_t i = 0; i < MAX_NODES; i++) {
		if (g->nodes[i].id)
			kernel_forget(g->k, g->nodes[i].id, g->nodes[i].nlookup);
	}
	check(kernel_backing.closed <= kernel_backing.opened);
	kernel_stop(g->k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct game g = { .in = { data, data + size } };
	uint8_t settings = fuzz_byte(&g.in);
	struct fuse_init_out out;

	g.k = kernel_start(settings & 1);
	check(kernel_init(g.k, FUSE_INIT_EXT, settings & 1 ? KERNEL_INIT2_PASSTHROUGH : 0, &out) ==
	      0);
	if (settings & 1)
		kernel_backing.next_id = 1;
	g.k->sysv->binding = settings >> 1 & 3 ? SHMFS_IO_MMAP_ONLY : SHMFS_IO_DAEMON;
	g.k->posix->binding = settings >> 1 & 1 ? SHMFS_IO_PASSTHROUGH : SHMFS_IO_DAEMON;
	g.k->sysv->extents = settings >> 3 & 1 ? MEMORY_MAPPED : MEMORY_DESCRIPTOR;
	g.k->posix->extents = settings >> 4 & 1 ? MEMORY_MAPPED : MEMORY_DESCRIPTOR;
	g.k->sysv->may_flush = true;
	g.k->uid = settings >> 5 & 1 ? 1000 : 0;
	while (!fuzz_is_over(&g.in))
		moves[fuzz_below(&g.in, sizeof(moves) / sizeof(*moves))](&g);
	end(&g);
	return 0;
}
