/* SPDX-License-Identifier: MIT */
/*
 * Directories.
 *
 * The offset of a name is a hash of it, so it means the same in every listing.  A name that stays
 * comes once in a stream, and a stream may begin where another one left off.  Nothing is kept for
 * an open directory.  A few listings are kept for the next requests of open streams while some
 * directory is open.
 *
 * Offsets have 31 bits, for the telldir(3) of 32-bit programs.  Names with the same hash are told
 * in one reply.
 *
 * There is no readdirplus: it would hand out entries that may be used without another lookup, and
 * names are never served stale.
 */
#include "fuse/internal.h"

/* Offsets of the entries of every directory, and of the first after them. */
static const char *const dots[] = { ".", ".." };
#define FIRST_HASH 2
#define HASHES ((UINT64_C(1) << 31) - FIRST_HASH - 1)

/* A directory as it was at one moment, sorted by hash. */
struct snapshot {
	atomic_uint references;
	shmfs_dir dir;
	uid_t uid; /* of the caller: what is listed can depend on it */
	gid_t gid;
	uint64_t moment; /* it is not older; CLOCK_MONOTONIC, ns */
	struct shmfs_listing listing;
};

static void put_snapshot(struct snapshot *const *variable)
{
	struct snapshot *snapshot = *variable;

	if (!snapshot || atomic_fetch_sub(&snapshot->references, 1) > 1)
		return;
	shmfs_listing_clear(&snapshot->listing);
	free(snapshot);
}
/* "unused": clang-tidy 14 does not know that a cleanup reads the variable. */
#define SNAPSHOT __attribute__((cleanup(put_snapshot), unused)) struct snapshot *

void dirs_clear(struct shmfs_fs *fs)
{
	for (size_t i = 0; i < SHMFS_DIRS_KEPT; i++) {
		SNAPSHOT old = NULL;
		SHMFS_LOCKED(&fs->lock);

		old = shmfs_steal_pointer(&fs->dirs.kept[i]);
	}
}

/* --- listings --- */

static uint32_t hash_of(uint64_t seed, const char *name)
{
	uint64_t hash = seed;

	for (; *name; name++) {
		hash = (hash ^ (unsigned char)*name) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
	}
	return FIRST_HASH + (uint32_t)(hash % HASHES);
}

static int compare(const void *a, const void *b)
{
	const struct shmfs_entry *x = a;
	const struct shmfs_entry *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static bool is_of(const struct snapshot *snapshot, shmfs_dir dir, const struct shmfs_caller *caller)
{
	return snapshot && snapshot->dir == dir && snapshot->uid == caller->uid &&
	       snapshot->gid == caller->gid;
}

/*
 * Keep the snapshot in place of an older one of the same directory and caller, or of the oldest,
 * which is the last.  Returns the other one, to be put without the lock, or NULL.
 */
static struct snapshot *keep(struct shmfs_fs *fs, struct snapshot *snapshot,
			     const struct shmfs_caller *caller)
{
	struct snapshot **kept = fs->dirs.kept;
	struct snapshot *old;
	size_t i = 0;
	SHMFS_LOCKED(&fs->lock);

	while (i < SHMFS_DIRS_KEPT - 1 && !is_of(kept[i], snapshot->dir, caller))
		i++;
	old = kept[i];
	if (is_of(old, snapshot->dir, caller) && old->moment > snapshot->moment)
		return NULL;
	memmove(kept + 1, kept, i * sizeof(*kept));
	atomic_fetch_add(&snapshot->references, 1);
	kept[0] = snapshot;
	return old;
}

static int take(struct shmfs_fs *fs, shmfs_dir dir, const struct shmfs_caller *caller,
		struct snapshot **out)
{
	SNAPSHOT snapshot = calloc(1, sizeof(*snapshot));
	SNAPSHOT old = NULL;
	struct shmfs_listing *listing;
	int err;

	if (!snapshot)
		return -ENOMEM;
	listing = &snapshot->listing;
	atomic_init(&snapshot->references, 1);
	snapshot->dir = dir;
	snapshot->uid = caller->uid;
	snapshot->gid = caller->gid;
	snapshot->moment = shmfs_now_ns();
	err = shmfs_tree_list(&fs->tree, dir, caller, listing);
	if (err)
		return err;
	for (size_t i = 0; i < listing->count; i++)
		listing->entries[i].hash =
			hash_of(fs->dirs.seed, listing->names + listing->entries[i].name);
	if (listing->count > 0)
		qsort(listing->entries, listing->count, sizeof(*listing->entries), compare);
	old = keep(fs, snapshot, caller);
	*out = shmfs_steal_pointer(&snapshot);
	return 0;
}

/* A kept snapshot that is not older than the stream, or NULL. */
static struct snapshot *find_kept(struct shmfs_fs *fs, shmfs_dir dir, uint64_t moment,
				  const struct shmfs_caller *caller)
{
	SHMFS_LOCKED(&fs->lock);

	for (size_t i = 0; i < SHMFS_DIRS_KEPT; i++) {
		struct snapshot *kept = fs->dirs.kept[i];

		if (!is_of(kept, dir, caller) || kept->moment < moment)
			continue;
		atomic_fetch_add(&kept->references, 1);
		return kept;
	}
	return NULL;
}

/* --- requests --- */

/* The handle of an open directory is the moment at which it was opened. */
void shmfs_fuse_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct shmfs_fs *fs = fs_of(req);

	fi->fh = shmfs_now_ns();
	atomic_fetch_add(&fs->dirs.nopen, 1);
	if (fuse_reply_open(req, fi) != 0)
		atomic_fetch_sub(&fs->dirs.nopen, 1);
}

void dirs_close(struct shmfs_fs *fs)
{
	if (atomic_fetch_sub(&fs->dirs.nopen, 1) == 1)
		dirs_clear(fs);
}

/* A reply as it is written. */
struct reply {
	fuse_req_t req;
	char *buf;
	size_t size;
	size_t used;
};

/* `next` is the offset to read on from.  False: there is no more room. */
static bool add(struct reply *reply, const char *name, ino_t ino, mode_t type, off_t next)
{
	const struct stat st = { .st_ino = ino, .st_mode = type };
	size_t left = reply->size - reply->used;
	size_t need =
		fuse_add_direntry(reply->req, reply->buf + reply->used, left, name, &st, next);

	if (need > left)
		return false;
	reply->used += need;
	return true;
}

static bool add_dots(struct reply *reply, shmfs_dir dir, off_t pos)
{
	for (; pos < FIRST_HASH; pos++) {
		if (!add(reply, dots[pos], pos == 0 ? dir : shmfs_tree_parent(dir), S_IFDIR,
			 pos + 1))
			return false;
	}
	return true;
}

/* The first entry that stands at `pos` or behind it. */
static size_t find_first(const struct shmfs_listing *listing, off_t pos)
{
	size_t first = 0;
	size_t end = listing->count;

	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (listing->entries[middle].hash < pos)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

static void add_entries(struct reply *reply, const struct shmfs_listing *listing, off_t pos)
{
	const size_t begin = reply->used;
	size_t group = begin; /* where the entries of this hash begin */

	for (size_t i = find_first(listing, pos); i < listing->count; i++) {
		const struct shmfs_entry *entry = &listing->entries[i];

		if (i > 0 && entry[-1].hash != entry->hash)
			group = reply->used;
		if (!add(reply, listing->names + entry->name, entry->ino,
			 entry->is_dir ? S_IFDIR : S_IFREG, (off_t)entry->hash + 1)) {
			/* Those of one hash come together, where a reply has room for them. */
			if (group > begin)
				reply->used = group;
			return;
		}
	}
}

static int read_dir(struct shmfs_fs *fs, struct reply *reply, shmfs_dir dir, off_t pos,
		    uint64_t moment, const struct shmfs_caller *caller)
{
	SNAPSHOT snapshot = pos > 0 ? find_kept(fs, dir, moment, caller) : NULL;
	int err = snapshot ? 0 : take(fs, dir, caller, &snapshot);

	if (!err && add_dots(reply, dir, pos))
		add_entries(reply, &snapshot->listing, pos);
	return err;
}

void shmfs_fuse_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t pos,
			struct fuse_file_info *fi)
{
	struct reply reply = { .req = req, .buf = reply_scratch(size), .size = size };
	struct request_caller who = caller_of(req);
	int err = reply.buf ? read_dir(fs_of(req), &reply, dir_of(ino), pos, fi->fh, &who.caller) :
			      -ENOMEM;

	if (err)
		reply_error(req, err);
	else
		fuse_reply_buf(req, reply.buf, reply.used);
}

void shmfs_fuse_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	int err = shmfs_tree_statfs(&fs_of(req)->tree, &st);

	if (err)
		reply_error(req, err);
	else
		fuse_reply_statfs(req, &st);
}
