/* SPDX-License-Identifier: MIT */
/*
 * The slots of .orphans and .by-pid, which stand before those of .by-id and .by-name.
 *
 * .by-pid shows what each process uses, of the processes that the caller may look into.  A segment
 * that is marked for destruction, and an object without a name, have the mark that /proc gives
 * them.
 *
 * .orphans shows what no process uses.  A snapshot rules out objects that a process was seen to
 * use.  The kernel is asked about the rest, because it knows of hidden processes, and of uses that
 * began after the snapshot.
 */
#include "shmfs/cleanup.h"
#include "shmfs/user_views.h"

/* What a directory of a view shows to a caller. */
struct uses {
	const struct shmfs_view *files; /* .by-id or .by-name */
	bool segments;
	const struct shmfs_users_snapshot *snapshot;
	pid_t pid; /* what this process uses; 0: what none does */
	const struct shmfs_caller *caller;
};

/* --- processes --- */

/* May the caller look into it? */
static int check_process(const struct shmfs_users_snapshot *snapshot, pid_t pid,
			 const struct shmfs_caller *caller)
{
	SHMFS_AS_CALLER(err, caller);

	if (err)
		return err;
	return shmfs_users_may_see(snapshot, pid) ? 0 : -ENOENT;
}

static int find_process(void *context, uint32_t pid, const struct shmfs_caller *caller)
{
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	int err = shmfs_users_get(context, &snapshot);

	if (!err && !shmfs_users_process(snapshot, (pid_t)pid))
		err = -ENOENT;
	return err ? err : check_process(snapshot, (pid_t)pid, caller);
}

static int list_processes(void *context, const struct shmfs_caller *caller,
			  int (*fn)(uint32_t, void *), void *arg)
{
	SHMFS_USERS_SNAPSHOT *snapshot = NULL;
	int stopped = shmfs_users_get(context, &snapshot);

	if (stopped)
		return stopped;
	SHMFS_AS_CALLER(err, caller);
	if (err)
		return err;
	for (size_t i = 0; i < snapshot->nprocesses && !stopped; i++) {
		pid_t pid = snapshot->processes[i].pid;

		if (shmfs_users_may_see(snapshot, pid))
			stopped = fn((uint32_t)pid, arg);
	}
	return stopped;
}

/* --- what a directory shows --- */

static int begin(struct uses *uses, const struct shmfs_view *view, uint32_t pid,
		 const struct shmfs_caller *caller)
{
	const struct shmfs_user_view *known = view->context;
	int err;

	*uses = (struct uses){ view->files, known->segments, NULL, (pid_t)pid, caller };
	err = shmfs_users_get(known->users, &uses->snapshot);
	return err || !pid ? err : check_process(uses->snapshot, uses->pid, caller);
}

static void end(const struct uses *uses)
{
	shmfs_users_put(&uses->snapshot);
}

#define AUTO_USES __attribute__((cleanup(end))) struct uses

static bool is_used(const struct uses *uses, dev_t dev, ino_t ino)
{
	const struct shmfs_file_id file = { dev, ino };
	size_t count;
	const struct shmfs_use *use = shmfs_users_of(uses->snapshot, &file, &count);

	while (count > 0 && uses->pid && use->pid != uses->pid)
		count--, use++;
	return count > 0;
}

/*
 * The identity of a segment has the shmid in its low half; that of an object is the inode number in
 * /dev/shm.  Its low bits are the number of a file, unless the file got that with another identity.
 */
static bool is_shown(const struct uses *uses, uint64_t identity)
{
	const dev_t dev = uses->segments ? SHMFS_SEGMENTS : SHMFS_OBJECTS;
	const dev_t file_dev = uses->segments ? SHMFS_SEGMENT_FILES : SHMFS_OBJECT_FILES;
	uint64_t id = uses->segments ? (uint32_t)identity : identity;
	ino_t usual = id & (SHMFS_INO_VARIANT / 2 - 1);
	ino_t given = SHMFS_FILE_NUMBER(shmfs_identity_ino(uses->files->backend, id, 0));
	bool used = is_used(uses, dev, id) || is_used(uses, file_dev, usual) ||
		    (given != usual && is_used(uses, file_dev, given));

	return used == (uses->pid != 0);
}

/* --- objects without a name --- */

/*
 * Objects in .by-pid that have lost their name are shown by the last part of the path in /proc, with
 * a mark, and are reached through the process's descriptor or mapping.  That takes the caller's
 * right to look into the process, and for a mapping CAP_SYS_ADMIN as well (fs/proc/base.c,
 * proc_map_files_get_link()).
 */
#define DELETED " (deleted)"

/* The text without the mark; false: it has none, or is too long for a name. */
static bool strip_mark(const char *text, char bare[static NAME_MAX + 1])
{
	size_t len = strlen(text);
	size_t mark = strlen(DELETED);

	if (len <= mark || len > NAME_MAX || strcmp(text + len - mark, DELETED) != 0)
		return false;
	memcpy(bare, text, len - mark);
	bare[len - mark] = '\0';
	return true;
}

/* Look up a name in .by-name.  -ENOENT if it leads to another object than that of the use. */
static int look_up_object(const struct uses *uses, const char *text, const struct shmfs_use *use,
			  struct shmfs_object **out, struct stat *st)
{
	const struct shmfs_name name = { .space = SHMFS_SPACE_POSIX, .text = text };
	const struct shmfs_view *files = uses->files;
	int err = files->ops->lookup(files, &name, uses->caller, out, st);

	if (err || (*out)->identity == use->file.ino)
		return err;
	shmfs_object_put(*out);
	return -ENOENT;
}

/* Does the name that /proc shows still lead to the object? */
static bool has_name(const struct uses *uses, const struct shmfs_use *use)
{
	struct shmfs_object *object;
	struct stat st;

	if (look_up_object(uses, shmfs_use_name(uses->snapshot, use), use, &object, &st) != 0)
		return false;
	shmfs_object_put(object);
	return true;
}

/* Objects that had the same name have their numbers behind it, all but the first. */
static int spell(char *text, size_t size, const char *name, ino_t number, const char *mark)
{
	return number ? snprintf(text, size, "%s.%llu%s", name, (unsigned long long)number, mark) :
			snprintf(text, size, "%s%s", name, mark);
}

/*
 * The next use of an object without a name; `bare` NULL: of any.  The uses of a snapshot come by
 * inode number, so the first is the same each time.
 */
static const struct shmfs_use *next_deleted(const struct uses *uses, const char *bare, size_t *next)
{
	while (*next < uses->snapshot->nuses) {
		const struct shmfs_use *use = &uses->snapshot->uses[(*next)++];
		const char *name = shmfs_use_name(uses->snapshot, use);
		char second[2 * NAME_MAX];

		if (use->pid != uses->pid || use->file.dev != SHMFS_OBJECTS)
			continue;
		spell(second, sizeof(second), name, use->file.ino, "");
		if (bare && strcmp(name, bare) != 0 && strcmp(second, bare) != 0)
			continue;
		if (*name && !has_name(uses, use))
			return use;
	}
	return NULL;
}

static int look_up_deleted(const struct uses *uses, const char *bare, struct shmfs_object **out,
			   struct stat *st)
{
	const struct shmfs_use *use;
	char path[SHMFS_USE_PATH];
	int err = -ENOENT;
	size_t next = 0;

	while (err && (use = next_deleted(uses, bare, &next)) != NULL) {
		shmfs_use_path(uses->snapshot, use, path);
		err = look_up_object(uses, path, use, out, st);
	}
	return err;
}

static int compare_names(const void *a, const void *b, void *arg)
{
	const struct shmfs_use *const *x = a;
	const struct shmfs_use *const *y = b;
	int order = strcmp(shmfs_use_name(arg, *x), shmfs_use_name(arg, *y));

	return order ? order :
		       ((*x)->file.ino > (*y)->file.ino) - ((*x)->file.ino < (*y)->file.ino);
}

/* Find the uses of objects without a name, one of each object.  Returns how many. */
static size_t collect(const struct uses *uses, const struct shmfs_use **deleted)
{
	const struct shmfs_use *use;
	size_t found = 0;
	size_t next = 0;

	while ((use = next_deleted(uses, NULL, &next)) != NULL) {
		if (found == 0 || deleted[found - 1]->file.ino != use->file.ino)
			deleted[found++] = use;
	}
	qsort_r(deleted, found, sizeof(*deleted), compare_names, (void *)uses->snapshot);
	return found;
}

static int list_deleted(const struct uses *uses, shmfs_list_fn *fn, void *arg)
{
	const struct shmfs_users_snapshot *snapshot = uses->snapshot;
	SHMFS_AUTO_FREE const struct shmfs_use **deleted =
		calloc(snapshot->nuses + 1, sizeof(void *));
	const char *last = "";
	int stopped = deleted ? 0 : -ENOMEM;
	size_t count = deleted ? collect(uses, deleted) : 0;

	for (size_t i = 0; i < count && !stopped; i++) {
		const char *text = shmfs_use_name(snapshot, deleted[i]);
		char shown[NAME_MAX + 1];
		const struct shmfs_name name = { .space = SHMFS_SPACE_POSIX, .text = shown };
		ino_t number = strcmp(text, last) == 0 ? deleted[i]->file.ino : 0;

		last = text;
		if (spell(shown, sizeof(shown), text, number, DELETED) <= NAME_MAX)
			stopped = fn(&name, deleted[i]->file.ino, arg);
	}
	return stopped;
}

/* --- names --- */

/* The name in .by-id or .by-name. */
static int translate(bool segment, const char *text, struct shmfs_name *name)
{
	if (segment)
		return shmfs_name_parse_shmid(text, name);
	*name = (struct shmfs_name){ .space = SHMFS_SPACE_POSIX, .text = text };
	return 0;
}

/* An object that still has its name. */
static int look_up_named(const struct uses *uses, const char *text, struct shmfs_object **out,
			 struct stat *st)
{
	const struct shmfs_view *files = uses->files;
	struct shmfs_name name;
	int err = translate(uses->segments, text, &name);

	if (!err)
		err = files->ops->lookup(files, &name, uses->caller, out, st);
	if (err || is_shown(uses, (*out)->identity))
		return err;
	shmfs_object_put(*out);
	return -ENOENT;
}

/*
 * A name leads to what its listing showed: the kernel is not asked again for each name of a walk.
 * Removing an orphan asks it.
 */
static int look_up(const struct shmfs_view *view, const struct shmfs_name *name,
		   const struct shmfs_caller *caller, struct shmfs_object **out, struct stat *st)
{
	AUTO_USES uses;
	char bare[NAME_MAX + 1];
	int err = begin(&uses, view, name->dir, caller);

	if (!err)
		err = look_up_named(&uses, name->text, out, st);
	if (err != -ENOENT || !strip_mark(name->text, bare))
		return err;
	/* A segment keeps its number. */
	return uses.segments ? look_up_named(&uses, bare, out, st) :
			       look_up_deleted(&uses, bare, out, st);
}

struct lister {
	const struct uses *uses;
	shmfs_list_fn *fn;
	void *arg;
};

static int list_shown(const struct shmfs_name *name, uint64_t identity, void *arg)
{
	const struct lister *lister = arg;
	const struct uses *uses = lister->uses;
	const struct shmfs_view *files = uses->files;
	char text[NAME_MAX + 1];
	const struct shmfs_name segment = { .space = SHMFS_SPACE_POSIX, .text = text };

	if (!is_shown(uses, identity) ||
	    (!uses->pid && files->ops->remove_unused(files, name, NULL) != 0))
		return 0;
	/* A segment in .by-pid: its shmid, and the mark that /proc gives it. */
	snprintf(text, sizeof(text), "%u%s", name->number, name->deleted ? DELETED : "");
	return lister->fn(uses->pid && uses->segments ? &segment : name, identity, lister->arg);
}

static int list(const struct shmfs_view *view, enum shmfs_space space, uint32_t dir,
		const struct shmfs_caller *caller, shmfs_list_fn *fn, void *arg)
{
	AUTO_USES uses;
	struct lister lister = { &uses, fn, arg };
	int err = begin(&uses, view, dir, caller);

	if (!err)
		err = view->files->ops->list(view->files,
					     uses.segments ? SHMFS_SPACE_SHMID : SHMFS_SPACE_POSIX,
					     0, caller, list_shown, &lister);
	return err || !uses.pid || uses.segments ? err : list_deleted(&uses, fn, arg);
}

static int create_nothing(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
			  mode_t mode, const struct shmfs_caller *caller,
			  struct shmfs_object **object, struct shmfs_handle **handle,
			  struct stat *st)
{
	return -EPERM;
}

static int remove_orphan(const struct shmfs_view *view, const struct shmfs_name *name,
			 const struct shmfs_caller *caller)
{
	return view->files->ops->remove_unused(view->files, name, caller);
}

/* A marked name cannot be removed. */
static int remove_used(const struct shmfs_view *view, const struct shmfs_name *name,
		       const struct shmfs_caller *caller)
{
	struct shmfs_object *object;
	struct shmfs_name inner;
	struct stat st;
	int err = look_up(view, name, caller, &object, &st);

	if (err)
		return err;
	shmfs_object_put(object);
	err = translate(((struct shmfs_user_view *)view->context)->segments, name->text, &inner);
	if (!err)
		err = view->files->ops->remove(view->files, &inner, caller);
	return err == -ENOENT ? -EPERM : err;
}

/* --- the views --- */

static const struct {
	enum shmfs_view_index view;
	enum shmfs_view_index files;
	bool segments;
	SHMFS_SLOT(remove) * remove;
} rows[SHMFS_USER_VIEWS] = {
	{ SHMFS_VIEW_SYSV_ORPHANS, SHMFS_VIEW_BY_ID, true, remove_orphan },
	{ SHMFS_VIEW_POSIX_ORPHANS, SHMFS_VIEW_POSIX, false, remove_orphan },
	{ SHMFS_VIEW_SYSV_BY_PID, SHMFS_VIEW_BY_ID, true, remove_used },
	{ SHMFS_VIEW_POSIX_BY_PID, SHMFS_VIEW_POSIX, false, remove_used },
};

void shmfs_user_views_init(struct shmfs_tree *tree, struct shmfs_users *users,
			   struct shmfs_user_view views[static SHMFS_USER_VIEWS])
{
	for (size_t i = 0; i < SHMFS_USER_VIEWS; i++) {
		const struct shmfs_view *files = &tree->views[rows[i].files];
		struct shmfs_user_view *view = &views[i];

		*view = (struct shmfs_user_view){ *files->ops, users, rows[i].segments };
		view->ops.lookup = look_up;
		view->ops.list = list;
		view->ops.create = create_nothing;
		view->ops.remove = rows[i].remove;
		tree->views[rows[i].view] = (struct shmfs_view){
			.ops = &view->ops,
			.backend = files->backend,
			.context = view,
			.files = files,
		};
	}
	tree->numbers = (struct shmfs_numbers){ find_process, list_processes, users };
}
