/* SPDX-License-Identifier: MIT */
/* The views by use, made of those of .by-id and .by-name. */
#include "users/internal.h"

#include <errno.h>
#include <stdlib.h>

struct shmfs_user_views {
	struct user_view orphans[2]; /* of segments, of objects */
	struct user_view by_pid[2];
};

static void init(struct user_view *view, struct shmfs_view *out, const struct shmfs_view *files,
		 struct shmfs_users *users, bool segments)
{
	*view = (struct user_view){
		.ops = *files->ops,
		.users = users,
		.files = files,
		.dev = segments ? SHMFS_SEGMENTS : SHMFS_OBJECTS,
		.file_dev = segments ? SHMFS_SEGMENT_FILES : SHMFS_OBJECT_FILES,
	};
	view->ops.create = uses_create;
	*out = (struct shmfs_view){
		.ops = &view->ops, .backend = files->backend, .context = view, .files = files
	};
}

static void make_orphans(struct user_view *view)
{
	view->ops.lookup = orphans_lookup;
	view->ops.list = orphans_list;
	view->ops.remove = orphans_remove;
}

static void make_by_pid(struct user_view *view)
{
	view->ops.lookup = by_pid_lookup;
	view->ops.list = by_pid_list;
	view->ops.remove = by_pid_remove;
}

int shmfs_user_views_new(struct shmfs_tree *tree, struct shmfs_users *users,
			 struct shmfs_user_views **out)
{
	const struct shmfs_view *by_id = &tree->views[SHMFS_VIEW_BY_ID];
	const struct shmfs_view *by_name = &tree->views[SHMFS_VIEW_POSIX];
	struct shmfs_user_views *views = calloc(1, sizeof(*views));

	if (!views)
		return -ENOMEM;
	init(&views->orphans[0], &tree->views[SHMFS_VIEW_SYSV_ORPHANS], by_id, users, true);
	init(&views->orphans[1], &tree->views[SHMFS_VIEW_POSIX_ORPHANS], by_name, users, false);
	init(&views->by_pid[0], &tree->views[SHMFS_VIEW_SYSV_BY_PID], by_id, users, true);
	init(&views->by_pid[1], &tree->views[SHMFS_VIEW_POSIX_BY_PID], by_name, users, false);
	for (int i = 0; i < 2; i++) {
		make_orphans(&views->orphans[i]);
		make_by_pid(&views->by_pid[i]);
	}
	tree->numbers = (struct shmfs_numbers){ .find = by_pid_find,
						.list = by_pid_list_processes,
						.context = users };
	*out = views;
	return 0;
}

void shmfs_user_views_free(struct shmfs_user_views *views)
{
	free(views);
}
