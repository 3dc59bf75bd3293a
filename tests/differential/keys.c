/* SPDX-License-Identifier: MIT */
/*
 * A file of tmpfs, treated as a segment is.
 *
 * What a segment does otherwise than a file, each by a rule of the design:
 *
 *   - Clearing keeps the size.
 *   - One that was made by writing has a page at least, when all have closed it that write.
 *   - A file that the kernel serves keeps its segment, which then cannot grow, but through the
 *     process that alone has it open like that, for reading: other such steps are left out, and
 *     those where it was open for both, as a mapping might be left.
 *   - What is allocated and not written is a hole.  On tmpfs it becomes data where a file that
 *     ended there grows.
 *   - It is not renamed, its times are not set, its mode has nine bits, and it is listed by
 *     one spelling.
 *   - To the kernel a key that is written while it serves readers is two inodes, each with its
 *     own locks, and copies within it may overlap.  If that outgrew its segment, no descriptor
 *     of the first is opened for both.
 *   - User xattrs live as long as the segment: those of a removed one are left out, and
 *     all of an ordinary user's daemon, which has no place for them, and those that tmpfs
 *     does not have before Linux 6.6.
 *
 * The kernel learns of a size that the first two or another inode have given the file when it
 * asks for attributes.  Until then it takes the old one for where an append ended, and for the
 * end of what copy_file_range(2) copies.
 */
#include "differential.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
/* More than can be open or have a name. */
#define FILES (NAMES + WORKERS * SLOTS + 1)

/* One segment, from its making to the last that has it open. */
struct key_file {
	bool is_new;	 /* its maker or another writer has it open, and nobody has said a size */
	bool is_growing; /* the segment is larger than the file */
	bool has_key;	 /* not removed yet */
	bool has_unwritten; /* pages of fallocate(2) */
	bool end_unknown;   /* to the kernel */
	bool was_both;	    /* the kernel has served it for reading and writing */
	bool was_mirrored;  /* perhaps its segment was replaced while the kernel served it */
	unsigned inode;	    /* of those that the kernel has, the one that the name leads to */
	unsigned open;	    /* slots of all processes */
	unsigned growers;   /* of them, those that may outgrow the segment */
	unsigned bound;	    /* of them, those that the kernel serves */
};

struct slot {
	unsigned file;
	unsigned inode;
	bool grows;
	bool bound;
	bool reads;	       /* and does not write */
	bool position_unknown; /* to the kernel */
};

struct keys {
	enum engine engine;
	bool has_xattrs;	      /* to compare */
	struct key_file files[FILES]; /* 0 is none */
	unsigned by_name[NAMES];
	struct slot slots[WORKERS][SLOTS];
};

struct keys *keys_new(enum engine engine, bool tmpfs_has_xattrs)
{
	struct keys *keys = mmap(NULL, sizeof(*keys), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (keys == MAP_FAILED)
		return NULL;
	keys->engine = engine;
	keys->has_xattrs = engine != ATTACHED && tmpfs_has_xattrs;
	return keys;
}

static struct slot *slot_of(struct keys *keys, const struct step *step)
{
	return &keys->slots[step->worker][step->slot];
}

static struct slot *other_slot(struct keys *keys, const struct step *step)
{
	return &keys->slots[step->worker][step->other];
}

/* The file that a step changes, or file 0. */
static struct key_file *target_of(struct keys *keys, const struct step *step)
{
	switch (step->kind) {
	case TRUNCATE:
	case STAT:
	case CHMOD:
	case UNLINK:
		return &keys->files[keys->by_name[step->name]];
	case COPY_RANGE:
		return &keys->files[other_slot(keys, step)->file];
	default:
		return &keys->files[slot_of(keys, step)->file];
	}
}

static bool appends(int fd)
{
	return fcntl(fd, F_GETFL) & O_APPEND;
}

/* --- what is left out --- */

static off_t size_of(const struct side *side, const struct step *step,
		     const char *const names[NAMES])
{
	unsigned slot = step->kind == COPY_RANGE ? step->other : step->slot;
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", side->dir, names[step->name]);
	if ((step->kind == TRUNCATE ? stat(path, &st) : fstat(side->fd[slot], &st)) != 0)
		return -1;
	return st.st_size;
}

/* Where the file has to reach for the step, `size` where it does already. */
static off_t end_of(const struct side *side, const struct step *step, off_t size)
{
	int fd = side->fd[step->slot];
	off_t end;

	switch (step->kind) {
	case WRITE:
	case PWRITE:
		end = appends(fd) ? size : step->kind == WRITE ? lseek(fd, 0, SEEK_CUR) : step->off;
		end += (off_t)step->len;
		break;
	case COPY_RANGE:
		end = COPY_TO(step) + (off_t)step->len;
		break;
	case FALLOCATE:
		end = step->flags & FALLOC_FL_PUNCH_HOLE ? 0 : step->off + (off_t)step->len;
		break;
	case TRUNCATE:
	case FTRUNCATE:
		return step->off ? step->off : size;
	default:
		return size;
	}
	return end > size ? end : size;
}

static bool may_get_other_size(struct keys *keys, const struct step *step)
{
	const struct key_file *file = target_of(keys, step);
	unsigned own = 0;

	if (!file->has_key)
		return !slot_of(keys, step)->bound && !other_slot(keys, step)->bound;
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct slot *slot = &keys->slots[step->worker][i];

		own += &keys->files[slot->file] == file && slot->bound && slot->reads;
	}
	return file->bound == 0 || (file->bound == own && !file->was_both);
}

static bool has_one_inode(const struct keys *keys, unsigned file)
{
	unsigned inode = 0;

	if (keys->files[file].was_mirrored)
		return false;
	for (unsigned i = 0; i < WORKERS * SLOTS; i++) {
		const struct slot *slot = &keys->slots[i / SLOTS][i % SLOTS];

		if (slot->file == file && inode && slot->inode != inode)
			return false;
		if (slot->file == file)
			inode = slot->inode;
	}
	return true;
}

bool keys_allow(struct keys *keys, const struct side *side, const struct step *step,
		const char *const names[NAMES])
{
	const struct slot *slot = slot_of(keys, step);
	bool is_data = step->flags == SEEK_DATA || step->flags == SEEK_HOLE;
	off_t size;

	switch (step->kind) {
	case WRITE:
	case PWRITE:
	case TRUNCATE:
	case FTRUNCATE:
	case FALLOCATE:
	case COPY_RANGE:
		if (step->kind == COPY_RANGE &&
		    (keys->files[slot->file].end_unknown ||
		     (target_of(keys, step) == &keys->files[slot->file] &&
		      !has_one_inode(keys, slot->file))))
			return false;
		size = size_of(side, step, names);
		return end_of(side, step, size) == size || may_get_other_size(keys, step);
	case REOPEN:
		return (step->flags & O_ACCMODE) != O_RDWR || !keys->files[slot->file].was_mirrored;
	case READ:
		return !slot->position_unknown;
	case SEEK:
		if (step->flags == SEEK_CUR && slot->position_unknown)
			return false;
		return !is_data ||
		       (keys->engine != ATTACHED && !keys->files[slot->file].has_unwritten);
	case SETXATTR:
		return keys->has_xattrs && keys->files[slot->file].has_key;
	case GETXATTR:
		return keys->has_xattrs;
	case LOCK:
		return has_one_inode(keys, slot->file);
	default:
		return true;
	}
}

/* --- open and close --- */

/* Does the kernel serve an open file of that inode? */
static bool is_bound(const struct keys *keys, unsigned file, unsigned inode)
{
	for (unsigned i = 0; i < WORKERS * SLOTS; i++) {
		const struct slot *slot = &keys->slots[i / SLOTS][i % SLOTS];

		if (slot->file == file && slot->inode == inode && slot->bound)
			return true;
	}
	return false;
}

/* `from`: the open file that it is opened by; NULL: by its name. */
static void enter(struct keys *keys, const struct step *step, struct slot *slot, unsigned number,
		  const struct slot *from, bool is_maker)
{
	struct key_file *file = &keys->files[number];
	unsigned inode = from ? from->inode : file->inode;
	int access = step->flags & O_ACCMODE;
	bool may_bind = keys->engine == PASSTHROUGH && !is_maker && !(step->flags & O_TRUNC) &&
			access != O_WRONLY && !file->is_growing && file->growers == 0;

	/* An inode that is bound is left to those that have it; a descriptor leads nowhere else. */
	if (!may_bind && is_bound(keys, number, inode)) {
		file->inode++;
		if (from)
			may_bind = true;
		else
			inode = file->inode;
	}
	*slot = (struct slot){
		.file = number,
		.inode = inode,
		.bound = may_bind,
		.reads = access == O_RDONLY,
		.grows = !may_bind && (is_maker || access != O_RDONLY),
	};
	file->open++;
	file->growers += slot->grows;
	file->bound += slot->bound;
	file->was_both = file->was_both || (slot->bound && access == O_RDWR);
}

static unsigned make_file(struct keys *keys)
{
	for (unsigned i = 1; i < FILES; i++) {
		struct key_file *file = &keys->files[i];

		if (file->open || file->has_key)
			continue;
		*file = (struct key_file){
			.is_new = true, .is_growing = true, .has_key = true, .inode = 1
		};
		return i;
	}
	abort();
}

/* All bytes become zero; a file that is new has none again. */
static int clear(struct key_file *file, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || ftruncate(fd, 0) != 0)
		return -1;
	return file->is_new ? 0 : ftruncate(fd, st.st_size);
}

/* By another descriptor, for one may be open for reading alone. */
static int clear_path(struct key_file *file, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int ret = fd < 0 ? -1 : clear(file, fd);

	if (fd >= 0)
		close(fd);
	return ret;
}

static struct outcome run_open(struct keys *keys, struct side *side, const struct step *step,
			       const char *const names[NAMES])
{
	bool by_fd = step->kind == REOPEN;
	unsigned to = by_fd ? step->other : step->slot;
	const struct slot from = *slot_of(keys, step);
	unsigned number = by_fd ? from.file : keys->by_name[step->name];
	struct step plain = *step;
	struct outcome outcome;
	char path[64];
	struct stat st;

	plain.mode &= 0777;
	plain.flags &= ~O_TRUNC;
	outcome = step_run(side, &plain, names);
	if (outcome.ret < 0)
		return outcome;
	if (number == 0) {
		number = make_file(keys);
		keys->by_name[step->name] = number;
		enter(keys, step, &keys->slots[step->worker][to], number, NULL, true);
		return outcome;
	}
	if (step->flags & O_TRUNC) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", side->fd[to]);
		if (clear_path(&keys->files[number], path) != 0 || stat(path, &st) != 0)
			abort();
		keys->files[number].end_unknown = st.st_size > 0;
	}
	enter(keys, step, &keys->slots[step->worker][to], number, by_fd ? &from : NULL, false);
	return outcome;
}

static struct outcome run_close(struct keys *keys, struct side *side, const struct step *step,
				const char *const names[NAMES])
{
	struct slot *slot = slot_of(keys, step);
	struct key_file *file = &keys->files[slot->file];
	char path[64];
	struct stat st;

	file->growers -= slot->grows;
	if (slot->grows && file->growers == 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", side->fd[step->slot]);
		if (file->is_new && stat(path, &st) == 0 && st.st_size < PAGE) {
			if (truncate(path, PAGE) != 0)
				abort();
			file->end_unknown = true;
		}
		file->is_new = false;
		file->is_growing = file->is_growing && !file->has_key;
	}
	file->open--;
	file->bound -= slot->bound;
	file->was_mirrored = file->was_mirrored && file->open > 0;
	*slot = (struct slot){ 0 };
	return step_run(side, step, names);
}

/* --- other steps --- */

/* It has another file system for a target: what does the kernel find first? */
static struct outcome run_rename(const struct keys *keys, const struct step *step)
{
	bool exists = keys->by_name[step->name];
	bool to_exists = keys->by_name[step->to];
	int64_t ret = -EXDEV;

	if (!exists || (step->flags == RENAME_EXCHANGE && !to_exists))
		ret = -ENOENT;
	else if (step->flags == RENAME_NOREPLACE && to_exists)
		ret = -EEXIST;
	else if (step->name == step->to)
		ret = 0;
	return (struct outcome){ .ret = ret };
}

static struct outcome run_clear(struct keys *keys, const struct side *side, const struct step *step,
				const char *const names[NAMES])
{
	struct key_file *file = target_of(keys, step);
	char path[256];
	int ret;

	snprintf(path, sizeof(path), "%s/%s", side->dir, names[step->name]);
	if (step->kind == TRUNCATE)
		ret = access(path, F_OK) ? -1 : clear_path(file, path);
	else
		ret = (fcntl(side->fd[step->slot], F_GETFL) & O_ACCMODE) == O_RDONLY ?
			      ftruncate(side->fd[step->slot], 0) :
			      clear(file, side->fd[step->slot]);
	return (struct outcome){ .ret = ret ? -errno : 0 };
}

/* What the step has said of the size. */
static void note_size(struct keys *keys, const struct side *side, const struct step *step,
		      off_t size, off_t end)
{
	struct key_file *file = target_of(keys, step);
	struct slot *slot = slot_of(keys, step);
	bool says_size = step->kind == TRUNCATE || step->kind == FTRUNCATE ||
			 (step->kind == FALLOCATE && step->flags == 0);

	if (step->kind == FALLOCATE && !(step->flags & FALLOC_FL_PUNCH_HOLE))
		file->has_unwritten = true;
	file->was_mirrored = file->was_mirrored || (end != size && file->bound > 0);
	if (end != size && !has_one_inode(keys, (unsigned)(file - keys->files)))
		file->end_unknown = true;
	if (step->kind == WRITE && appends(side->fd[step->slot]))
		slot->position_unknown = slot->position_unknown || file->end_unknown;
	if (says_size && (step->kind != FALLOCATE || end > size)) {
		file->is_new = false;
		file->is_growing = false;
	} else if (end > size) {
		file->is_growing = true;
	}
}

struct outcome keys_run(struct keys *keys, struct side *side, const struct step *step,
			const char *const names[NAMES])
{
	struct step plain = *step;
	struct outcome outcome;
	off_t size = size_of(side, step, names);
	off_t end = end_of(side, step, size);

	switch (step->kind) {
	case OPEN:
	case REOPEN:
		return run_open(keys, side, step, names);
	case CLOSE:
		return run_close(keys, side, step, names);
	case RENAME:
		return run_rename(keys, step);
	case TRUNCATE:
	case FTRUNCATE:
		if (step->off == 0)
			return run_clear(keys, side, step, names);
		break;
	case CHMOD:
	case FCHMOD:
		plain.mode &= 0777;
		break;
	case UTIMENS:
	case FUTIMENS:
		plain.off = UNSET_TIME;
		break;
	default:
		break;
	}
	outcome = step_run(side, &plain, names);
	if (outcome.ret < 0)
		return outcome;
	if (step->kind == COPY_RANGE) /* perhaps fewer bytes */
		end = outcome.ret ? COPY_TO(step) + outcome.ret : size;
	note_size(keys, side, step, size, end);
	if (step->kind == UNLINK) {
		target_of(keys, step)->has_key = false;
		keys->by_name[step->name] = 0;
	}
	if (step->kind == FSTAT && has_one_inode(keys, slot_of(keys, step)->file))
		target_of(keys, step)->end_unknown = false;
	if (step->kind == SEEK && step->flags != SEEK_CUR)
		slot_of(keys, step)->position_unknown = false;
	return outcome;
}
