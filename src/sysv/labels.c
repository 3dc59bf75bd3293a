/* SPDX-License-Identifier: MIT */
/*
 * Labels: the attributes that users give a segment (user.note).
 *
 * They are extended attributes of the segment's own inode, so they live as long
 * as it does, whatever becomes of shmfs, and go with it.  A descriptor leads
 * there, and getting one takes an attachment, which leaves a trace: not for
 * looking.  So what was set is also noted in a hint (sysv_hint.c); a segment
 * without one has no labels, and one that fits tells them.
 */
#include "sysv/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include <linux/xattr.h>

/* Each label is its name with the NUL, the length of its value, and that. */
static size_t label_size(const char *name, size_t len)
{
	return strlen(name) + 1 + sizeof(uint32_t) + len;
}

static size_t value_length(const char *name)
{
	uint32_t len;

	memcpy(&len, name + strlen(name) + 1, sizeof(len));
	return len;
}

static const char *value_of(const char *name)
{
	return name + strlen(name) + 1 + sizeof(uint32_t);
}

int sysv_labels_add(struct sysv_labels *labels, const char *name, const void *value, size_t len)
{
	size_t size = label_size(name, len);
	char *end = labels->bytes + labels->len;
	const uint32_t length = (uint32_t)len;

	if (len > sizeof(labels->bytes) || size > sizeof(labels->bytes) - labels->len)
		return -ENOSPC;
	memcpy(end, name, strlen(name) + 1);
	memcpy(end + strlen(name) + 1, &length, sizeof(length));
	memcpy(end + size - len, value, len);
	labels->len += size;
	return 0;
}

const char *sysv_labels_next(const struct sysv_labels *labels, const char *name)
{
	const char *end = labels->bytes + labels->len;
	const char *next = name ? value_of(name) + value_length(name) : labels->bytes;

	return next < end ? next : NULL;
}

static const char *find_label(const struct sysv_labels *labels, const char *wanted)
{
	const char *name = NULL;

	while ((name = sysv_labels_next(labels, name)) && strcmp(name, wanted) != 0)
		;
	return name;
}

bool sysv_labels_valid(const struct sysv_labels *labels)
{
	size_t pos = 0;

	while (pos < labels->len) {
		const char *name = labels->bytes + pos;
		size_t left = labels->len - pos;
		size_t head = strnlen(name, left) + 1 + sizeof(uint32_t);

		if (head > left || value_length(name) > left - head)
			return false;
		pos += head + value_length(name);
	}
	return pos == labels->len;
}

/* --- on the inode; these neither allocate nor lock --- */

static bool is_label(const char *name)
{
	return strncmp(name, XATTR_USER_PREFIX, XATTR_USER_PREFIX_LEN) == 0 &&
	       !shmfs_xattr_is_own(name);
}

void sysv_labels_read(int fd, struct sysv_labels *labels)
{
	char names[SYSV_LABELS_SIZE];
	char value[SYSV_LABELS_SIZE];
	ssize_t size = flistxattr(fd, names, sizeof(names));

	labels->len = 0;
	for (const char *name = names; name < names + size; name += strlen(name) + 1) {
		ssize_t len = is_label(name) ? fgetxattr(fd, name, value, sizeof(value)) : -1;

		/* What has no room here was not set by us. */
		if (len >= 0)
			sysv_labels_add(labels, name, value, (size_t)len);
	}
}

/* --- when a segment is replaced --- */

int sysv_labels_carry(const struct sysv_segment *to, const struct sysv_segment *from,
		      struct sysv_labels *labels)
{
	const char *name = NULL;
	int err = 0;

	if (to->fd < 0)
		return 0;
	sysv_labels_read(from->fd, labels);
	while (!err && (name = sysv_labels_next(labels, name))) {
		if (fsetxattr(to->fd, name, value_of(name), value_length(name), 0) != 0)
			err = -errno;
	}
	if (!err && labels->len > 0)
		sysv_hint_inherit(to->backend, to->id, from->id);
	return err;
}

void sysv_labels_settle(const struct sysv_segment *to, const struct sysv_segment *from,
			struct sysv_labels *labels)
{
	static const struct sysv_labels none;
	struct shmid_ds ds = { 0 };

	if (labels->len == 0 || sysv_hints_lock(to->backend) != 0)
		return;
	/* Another daemon may have given it more since the key was whole again. */
	sysv_labels_read(to->fd, labels);
	if (sysv_segment_stat(to->backend, to->id, &ds, NULL) == 0)
		sysv_hint_end(to->backend, to->id, &ds, labels);
	sysv_hint_end(to->backend, from->id, &ds, &none);
	sysv_hints_unlock(to->backend);
}

/* --- reading --- */

static int open_segment(const struct sysv_snapshot *snapshot, struct sysv_segment **out)
{
	struct sysv_backend *be = sysv_backend_of(snapshot->object);

	if (snapshot->segment) {
		*out = sysv_segment_get(snapshot->segment);
		return 0;
	}
	return sysv_gone(sysv_segment_open(be, snapshot->id, snapshot->ds.shm_segsz, false, out));
}

/*
 * The hint is not of the segment as it is now: another has the id, or its mode
 * was changed, or somebody died while a label was set.  The inode knows.
 */
static int check_hint(const struct sysv_snapshot *snapshot, struct sysv_labels *labels)
{
	struct sysv_backend *be = sysv_backend_of(snapshot->object);
	struct sysv_segment *segment;
	int err = sysv_hints_lock(be);

	if (err)
		return err;
	err = open_segment(snapshot, &segment);
	if (!err) {
		sysv_labels_read(segment->fd, labels);
		sysv_hint_end(be, snapshot->id, &snapshot->ds, labels);
		sysv_segment_put(segment);
	}
	sysv_hints_unlock(be);
	return err;
}

/*
 * With `io`, for a resize would take our descriptor for another user's.  (That of
 * another object, by the id, still would for the moment that this takes.)
 */
static int look_closer(struct sysv_object *obj, struct sysv_labels *labels)
{
	struct sysv_snapshot snapshot;
	int err;

	sysv_wait_read(obj);
	err = sysv_snapshot_take(obj, &snapshot);
	if (!err) {
		err = check_hint(&snapshot, labels);
		sysv_segment_put(snapshot.segment);
	}
	pthread_rwlock_unlock(&obj->io);
	return err;
}

static int look_up(struct sysv_object *obj, struct sysv_labels *labels)
{
	struct sysv_snapshot snapshot;
	int err = sysv_snapshot_take(obj, &snapshot);

	if (err)
		return err;
	if (!sysv_backend_of(obj)->by_descriptor)
		err = -EOPNOTSUPP;
	else if (snapshot.segment)
		sysv_labels_read(snapshot.segment->fd, labels);
	else
		err = sysv_hint_read(sysv_backend_of(obj), snapshot.id, &snapshot.ds, labels);
	sysv_segment_put(snapshot.segment);
	return err == -ESTALE ? look_closer(obj, labels) : err;
}

ssize_t sysv_label_get(struct sysv_object *obj, const char *name, void *value, size_t size)
{
	struct sysv_labels labels;
	const char *found;
	int err = look_up(obj, &labels);

	if (err)
		return err;
	found = find_label(&labels, name);
	if (!found)
		return -ENODATA;
	return shmfs_xattr_give(value_of(found), value_length(found), value, size);
}

ssize_t sysv_label_list(struct sysv_object *obj, char *names, size_t size)
{
	struct shmfs_xattr_list list = { .names = names, .size = size };
	struct sysv_labels labels;
	const char *name = NULL;
	int err = look_up(obj, &labels);

	if (err)
		return err;
	while ((name = sysv_labels_next(&labels, name)))
		shmfs_xattr_list_name(&list, name);
	return shmfs_xattr_list_end(&list);
}

/* --- writing --- */

/*
 * The kernel sets no limit to what an inode of its own tmpfs carries, in memory
 * that is nobody's account: so we do.
 */
static int check_room(const struct sysv_labels *labels, const char *name, size_t len)
{
	const char *old = find_label(labels, name);
	size_t used = labels->len - (old ? label_size(old, value_length(old)) : 0);

	return label_size(name, len) > sizeof(labels->bytes) - used ? -ENOSPC : 0;
}

/* What is to be done to a segment's labels. */
struct change {
	const char *name;
	const void *value; /* NULL: remove it */
	size_t len;
	int flags;
};

static int apply(int fd, const struct change *change)
{
	int failed = change->value ? fsetxattr(fd, change->name, change->value, change->len,
					       change->flags) :
				     fremovexattr(fd, change->name);

	return failed ? -errno : 0;
}

/* The lock of the hints is held. */
static int change_locked(const struct sysv_snapshot *snapshot, int fd, const struct change *change)
{
	struct sysv_backend *be = sysv_backend_of(snapshot->object);
	struct sysv_labels labels;
	int err = 0;

	sysv_labels_read(fd, &labels);
	if (change->value)
		err = check_room(&labels, change->name, change->len);
	/* Whoever looks in between, or after we were killed there, asks the inode. */
	if (!err)
		err = sysv_hint_begin(be, snapshot->id);
	if (err)
		return err;
	err = apply(fd, change);
	sysv_labels_read(fd, &labels);
	sysv_hint_end(be, snapshot->id, &snapshot->ds, &labels);
	return err;
}

/* So it is here. */
static int change_found(struct sysv_object *obj, const struct change *change)
{
	struct sysv_segment *segment;
	struct sysv_snapshot snapshot;
	int err = sysv_snapshot_take(obj, &snapshot);

	if (err)
		return err;
	err = open_segment(&snapshot, &segment);
	if (!err) {
		err = change_locked(&snapshot, segment->fd, change);
		sysv_segment_put(segment);
	}
	sysv_segment_put(snapshot.segment);
	return err;
}

static int change_label(struct sysv_object *obj, const struct change *change)
{
	struct sysv_backend *be = sysv_backend_of(obj);
	int err;

	if (!be->by_descriptor)
		return -EOPNOTSUPP;
	sysv_wait_read(obj);
	err = sysv_hints_lock(be);
	if (!err) {
		err = change_found(obj, change);
		sysv_hints_unlock(be);
	}
	pthread_rwlock_unlock(&obj->io);
	return err;
}

int sysv_label_set(struct sysv_object *obj, const char *name, const void *value, size_t len,
		   int flags)
{
	const struct change change = { name, value, len, flags };

	return change_label(obj, &change);
}

int sysv_label_remove(struct sysv_object *obj, const char *name)
{
	const struct change change = { .name = name };
	struct sysv_labels labels;
	int err = look_up(obj, &labels);

	/* Without a label there is nothing to attach for. */
	if (err)
		return err;
	return find_label(&labels, name) ? change_label(obj, &change) : -ENODATA;
}
