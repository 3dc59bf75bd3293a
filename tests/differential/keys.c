/* SPDX-License-Identifier: MIT */
/*
 * A file of tmpfs, treated as a segment is.
 *
 * The size of a segment is that of a file but for this: clearing keeps it, one that was
 * made by writing has a page at least once all have closed it that write, and one that nobody can
 * make anew (it has lost its key, or the kernel serves an open file of it) does not grow.
 * Such growth, and all that a segment has not (names that move, times that are set), is
 * left out.
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
#define FILES 4096

/* One segment, from its making to the last that has it open. */
struct key_file {
	bool is_new;   /* its maker or another writer has it open, and nobody has said a size */
	bool has_key;  /* not removed yet */
	unsigned open; /* slots of all processes */
	unsigned writers;
	unsigned bound;
};

struct keys {
	bool passthrough;
	struct key_file files[FILES];
	unsigned next; /* of `files`; 0 is none */
	unsigned by_name[NAMES];
	struct {
		unsigned file;
		bool writes; /* or has made it */
		bool bound;
	} slots[WORKERS][SLOTS];
};

struct keys *keys_new(bool passthrough)
{
	struct keys *keys = mmap(NULL, sizeof(*keys), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (keys == MAP_FAILED)
		return NULL;
	keys->passthrough = passthrough;
	keys->next = 1;
	return keys;
}

static struct key_file *open_file(struct keys *keys, const struct step *step)
{
	return &keys->files[keys->slots[step->worker][step->slot].file];
}

/* The end of what the step writes, or -1: it writes nothing past an end. */
static off_t end_of_write(const struct side *side, const struct step *step)
{
	int fd = side->fd[step->slot];
	struct stat st;

	switch (step->kind) {
	case WRITE:
	case PWRITE:
		if (fcntl(fd, F_GETFL) & O_APPEND)
			return fstat(fd, &st) == 0 ? st.st_size + (off_t)step->len : -1;
		return (step->kind == WRITE ? lseek(fd, 0, SEEK_CUR) : step->off) +
		       (off_t)step->len;
	case FTRUNCATE:
		return step->off;
	case FALLOCATE:
		return step->off + (off_t)step->len;
	default:
		return -1;
	}
}

static bool changes_size(const struct side *side, const struct step *step)
{
	off_t end = end_of_write(side, step);
	struct stat st;

	if (end < 0 || fstat(side->fd[step->slot], &st) != 0)
		return false;
	return step->kind == FTRUNCATE ? end != 0 && end != st.st_size : end > st.st_size;
}

/* A file that was made and not closed has another size to tmpfs only in the end. */
static bool truncate_allowed(const struct keys *keys, const struct step *step)
{
	const struct key_file *file = &keys->files[keys->by_name[step->name]];

	return keys->by_name[step->name] == 0 || (file->open == 0 && step->off > 0);
}

static bool fallocate_allowed(const struct step *step)
{
	return step->flags == 0 || step->flags == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

bool keys_allow(struct keys *keys, const struct side *side, const struct step *step,
		const char *const names[NAMES])
{
	const struct key_file *file = open_file(keys, step);
	bool may_grow = file->has_key && file->bound == 0;

	(void)names;
	switch (step->kind) {
	case OPEN:
		if (keys->next == FILES)
			return false;
		return (step->flags & O_ACCMODE) != O_RDONLY || !(step->flags & O_TRUNC);
	case REOPEN:
		return !(step->flags & O_TRUNC);
	case WRITE:
	case PWRITE:
		return may_grow || !changes_size(side, step);
	case FTRUNCATE:
		return (may_grow || !changes_size(side, step)) && (step->off > 0 || !file->open);
	case FALLOCATE:
		return fallocate_allowed(step) &&
		       (step->flags || may_grow || !changes_size(side, step));
	case TRUNCATE:
		return truncate_allowed(keys, step);
	case READ:
		/* Where an append ended is the kernel's guess once O_TRUNC has kept the size. */
		return !(fcntl(side->fd[step->slot], F_GETFL) & O_APPEND);
	case SETXATTR: /* notes on what has no key are not kept */
		return file->has_key;
	case LIST: /* a key is listed by one spelling */
	case RENAME:
	case UTIMENS:
	case FUTIMENS:
	case COPY_RANGE:
		return false;
	case SEEK:
		if (step->flags == SEEK_CUR && (fcntl(side->fd[step->slot], F_GETFL) & O_APPEND))
			return false;
		return step->flags != SEEK_DATA && step->flags != SEEK_HOLE;
	default:
		return true;
	}
}

static void enter(struct keys *keys, const struct step *step, unsigned slot, unsigned number,
		  bool maker)
{
	struct key_file *file = &keys->files[number];
	bool bound = keys->passthrough && !maker && !(step->flags & O_TRUNC) &&
		     ((step->flags & O_ACCMODE) != O_WRONLY || file->bound > 0);

	bool writes = maker || (step->flags & O_ACCMODE) != O_RDONLY;

	file->open++;
	file->writers += writes;
	file->bound += bound;
	keys->slots[step->worker][slot].file = number;
	keys->slots[step->worker][slot].writes = writes;
	keys->slots[step->worker][slot].bound = bound;
}

static int zero(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_size == 0)
		return 0;
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, st.st_size);
}

static struct outcome run_open(struct keys *keys, struct side *side, const struct step *step,
			       const char *const names[NAMES])
{
	bool is_new = keys->by_name[step->name] == 0;
	struct step plain = *step;
	struct outcome outcome;

	plain.mode &= 0777;
	plain.flags &= ~O_TRUNC;
	outcome = step_run(side, &plain, names);
	if (outcome.ret < 0)
		return outcome;
	if (is_new) {
		keys->by_name[step->name] = keys->next;
		keys->files[keys->next++] = (struct key_file){ .is_new = true, .has_key = true };
	} else if (step->flags & O_TRUNC) {
		if (keys->files[keys->by_name[step->name]].is_new)
			outcome.ret = ftruncate(side->fd[step->slot], 0);
		else
			outcome.ret = zero(side->fd[step->slot]);
	}
	enter(keys, step, step->slot, keys->by_name[step->name], is_new);
	return outcome;
}

static struct outcome run_close(struct keys *keys, struct side *side, const struct step *step,
				const char *const names[NAMES])
{
	struct key_file *file = open_file(keys, step);
	int fd = side->fd[step->slot];
	char path[64];
	struct stat st;

	file->writers -= keys->slots[step->worker][step->slot].writes;
	if (file->is_new && file->writers == 0) {
		file->is_new = false;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (fstat(fd, &st) == 0 && st.st_size < PAGE && truncate(path, PAGE) != 0)
			abort();
	}
	file->open--;
	file->bound -= keys->slots[step->worker][step->slot].bound;
	keys->slots[step->worker][step->slot].file = 0;
	return step_run(side, step, names);
}

struct outcome keys_run(struct keys *keys, struct side *side, const struct step *step,
			const char *const names[NAMES])
{
	struct step plain = *step;
	struct outcome outcome;
	bool says_size = step->kind == FTRUNCATE ||
			 (step->kind == FALLOCATE && step->flags == 0 && changes_size(side, step));

	switch (step->kind) {
	case OPEN:
		return run_open(keys, side, step, names);
	case CLOSE:
		return run_close(keys, side, step, names);
	case CHMOD:
	case FCHMOD:
		plain.mode &= 0777;
		return step_run(side, &plain, names);
	default:
		break;
	}
	outcome = step_run(side, step, names);
	if (outcome.ret < 0)
		return outcome;
	if (step->kind == REOPEN)
		enter(keys, step, step->other, keys->slots[step->worker][step->slot].file, false);
	if (step->kind == UNLINK) {
		keys->files[keys->by_name[step->name]].has_key = false;
		keys->by_name[step->name] = 0;
	}
	if (says_size)
		open_file(keys, step)->is_new = false;
	return outcome;
}
