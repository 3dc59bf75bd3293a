/* SPDX-License-Identifier: MIT */
/* Operations on names, and what is told of the objects that have them. */
#include "exerciser.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

struct handle *any_handle(void)
{
	int first = (int)random_below(HANDLES);

	for (int i = 0; i < HANDLES; i++) {
		struct handle *h = &now.handles[(first + i) % HANDLES];

		if (h->object)
			return h;
	}
	return NULL;
}

static struct handle *free_handle(void)
{
	for (int i = 0; i < HANDLES; i++)
		if (!now.handles[i].object)
			return &now.handles[i];
	return NULL;
}

static int any_flags(void)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR };
	int flags = modes[random_below(4)];

	if (once_in(2))
		flags |= O_CREAT;
	if ((flags & O_CREAT) && once_in(4))
		flags |= O_EXCL;
	if (once_in(5))
		flags |= O_TRUNC;
	if (once_in(6))
		flags |= O_APPEND;
	return flags;
}

static struct object *new_file(int name, mode_t mode)
{
	struct object *obj = object_new(name, 0, mode);

	obj->fresh = now.kind == SYSV;
	obj->floor = PAGE;
	return obj;
}

/* May the kernel serve it, so that it can be mapped, and so that its segment stays? */
static bool is_bound(const struct object *obj, int flags, bool created)
{
	if (now.kind == POSIX)
		return now.passthrough;
	return now.passthrough && !created && !(flags & O_TRUNC) &&
	       (flags & O_ACCMODE) != O_WRONLY && obj->growers == 0;
}

static void enter_handle(struct handle *h, int fd, int name, int flags)
{
	struct object *obj = now.names[name];

	bool created = !obj;

	*h = (struct handle){ .fd = fd, .flags = flags };
	if (created)
		obj = new_file(name, 0640);
	else if (flags & O_TRUNC)
		object_clear(obj);
	h->object = obj;
	h->bound = is_bound(obj, flags, created);
	h->grows = created || (!h->bound && (flags & O_ACCMODE) != O_RDONLY);
	obj->growers += h->grows;
	obj->handles++;
	obj->bound += h->bound;
}

bool do_open(void)
{
	int name = (int)random_below(NAMES), flags = any_flags(), code = 0;
	struct handle *h = free_handle();

	if (!h)
		return false;
	if (now.names[name] && (flags & O_EXCL))
		code = EEXIST;
	else if (!now.names[name] && !(flags & O_CREAT))
		code = ENOENT;
	trace("open %d flags 0%o -> handle %d", name, flags, (int)(h - now.handles));
	int fd = open(path_of(name), flags | O_CLOEXEC, 0640);
	expect("open", fd < 0 ? -1 : 0, code ? -1 : 0, code);
	if (fd >= 0)
		enter_handle(h, fd, name, flags);
	return true;
}

/*
 * The kernel sends the last word on a file after close(2) has returned.  It has
 * come when something sent later was answered, and is done with when an IPC_SET
 * is, for that waits for who replaces the segment.
 */
static void wait_for_release(const struct object *obj)
{
	struct statfs fs;
	struct stat st;

	if (statfs(now.mount, &fs) != 0)
		give_up("statfs");
	if (now.kind == POSIX || obj->handles > 0 || obj->name < 0)
		return;
	expect("chmod", chmod(path_of(obj->name), obj->mode), 0, 0);
	expect("stat", stat(path_of(obj->name), &st), 0, 0);
	if ((uint64_t)st.st_size != obj->size)
		differs("closed, name %d has size %lld, expected %llu", obj->name,
			(long long)st.st_size, (unsigned long long)obj->size);
}

bool do_close_one(struct handle *h)
{
	struct object *obj = h->object;
	trace("close handle %d", (int)(h - now.handles));
	expect("close", close(h->fd), 0, 0);
	h->object = NULL;
	obj->handles--;
	obj->bound -= h->bound;
	obj->growers -= h->grows;
	if (h->grows && obj->growers == 0)
		object_settle(obj);
	wait_for_release(obj);
	object_put(obj);
	return true;
}

bool do_close(void)
{
	struct handle *h = any_handle();

	return h && do_close_one(h);
}

bool do_unlink(void)
{
	int name = (int)random_below(NAMES);
	bool there = now.names[name];

	trace("unlink %d", name);
	expect("unlink", unlink(path_of(name)), there ? 0 : -1, ENOENT);
	if (there)
		object_unname(name);
	return true;
}

static void rename_in_model(int from, int to, unsigned flags)
{
	struct object *moved = now.names[from], *other = now.names[to];

	if (from == to)
		return;
	if (other && flags != RENAME_EXCHANGE)
		object_unname(to);
	now.names[from] = flags == RENAME_EXCHANGE ? other : NULL;
	if (now.names[from])
		other->name = from;
	now.names[to] = moved;
	moved->name = to;
}

bool do_rename(void)
{
	static const unsigned ways[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	int from = (int)random_below(NAMES), to = (int)random_below(NAMES), code = 0;
	unsigned flags = ways[random_below(4)];

	if (!now.names[from])
		code = ENOENT;
	else if (flags == RENAME_NOREPLACE && now.names[to])
		code = EEXIST;
	else if (flags == RENAME_EXCHANGE && !now.names[to])
		code = ENOENT;
	else if (now.kind == SYSV && from != to)
		code = EXDEV;
	char source[256];
	snprintf(source, sizeof(source), "%s", path_of(from));
	trace("rename %d %d flags %u", from, to, flags);
	expect("rename", renameat2(AT_FDCWD, source, AT_FDCWD, path_of(to), flags), code ? -1 : 0,
	       code);
	if (!code)
		rename_in_model(from, to, flags);
	return true;
}

bool do_list(void)
{
	bool seen[NAMES] = { false };
	DIR *dir = opendir(now.mount);
	char path[512];

	trace("list");
	if (!dir)
		differs("opendir: %s", strerror(errno));
	for (const struct dirent *entry; (entry = readdir(dir));) {
		snprintf(path, sizeof(path), "%s/%s", now.mount, entry->d_name);
		for (int i = 0; i < NAMES; i++) {
			if (strcmp(path, path_of(i)) != 0)
				continue;
			if (seen[i] || !now.names[i])
				differs("name %d is listed %s", i, seen[i] ? "twice" : "but gone");
			seen[i] = true;
		}
	}
	closedir(dir);
	for (int i = 0; i < NAMES; i++)
		if (now.names[i] && !seen[i])
			differs("name %d is not listed", i);
	return true;
}

static void check_stat(const struct object *obj, const struct stat *st)
{
	nlink_t links = (nlink_t)(obj->attached + (obj->name >= 0));

	if ((uint64_t)st->st_size != obj->size)
		differs("st_size %lld, expected %llu", (long long)st->st_size,
			(unsigned long long)obj->size);
	/* Of a segment that is gone nobody knows more than its memory. */
	if (now.kind == SYSV && obj->name < 0)
		return;
	if (st->st_mode != (S_IFREG | obj->mode) || st->st_uid != obj->uid)
		differs("st_mode 0%o st_uid %u, expected mode 0%o uid %u", st->st_mode, st->st_uid,
			obj->mode, obj->uid);
	if (st->st_nlink != links)
		differs("st_nlink %lu, expected %lu", (unsigned long)st->st_nlink,
			(unsigned long)links);
}

bool do_stat(void)
{
	int name = (int)random_below(NAMES);
	struct handle *h = once_in(2) ? any_handle() : NULL;
	const struct object *obj = h ? h->object : now.names[name];
	struct stat st;

	trace(h ? "fstat handle %d" : "stat %d", h ? (int)(h - now.handles) : name);
	expect("stat", h ? fstat(h->fd, &st) : stat(path_of(name), &st), obj ? 0 : -1, ENOENT);
	if (obj)
		check_stat(obj, &st);
	return true;
}

bool do_chmod(void)
{
	int name = (int)random_below(NAMES);
	struct object *obj = now.names[name];
	mode_t mode = 0600 | (mode_t)random_below(0100);
	uid_t uid = (uid_t)random_below(4);

	if (!obj)
		return false;
	trace("chmod %d 0%o, chown %u", name, mode, uid);
	expect("chown", chown(path_of(name), uid, (gid_t)-1), 0, 0);
	expect("chmod", chmod(path_of(name), mode), 0, 0);
	obj->mode = mode;
	obj->uid = uid;
	return true;
}

/* The other directory that leads to it. */
static void second_path(int name, char *path, size_t size)
{
	if (now.kind == SYSV)
		snprintf(path, size, "%s/.by-id/%ld", now.mount, native_id(name));
	else
		snprintf(path, size, "%s/.by-name%s", now.mount, strrchr(path_of(name), '/'));
}

bool do_verify(void)
{
	static char bytes[MOST + PAGE];
	int name = (int)random_below(NAMES);
	const struct object *obj = now.names[name];
	char path[512];

	if (!obj)
		return false;
	if (once_in(3))
		second_path(name, path, sizeof(path));
	else
		snprintf(path, sizeof(path), "%s", path_of(name));
	trace("verify %d by %s", name, path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		differs("%s: %s", path, strerror(errno));
	uint64_t count = obj->size < sizeof(bytes) ? obj->size : sizeof(bytes);
	expect("read", read(fd, bytes, sizeof(bytes)), (int64_t)count, 0);
	expect_bytes(obj, 0, bytes, (size_t)count);
	close(fd);
	wait_for_release(obj);
	return true;
}
