/* SPDX-License-Identifier: MIT */
/* The views by use, made of those of .by-id and .by-name. */
#include "users/internal.h"

static const struct {
	enum shmfs_view_index view;
	enum shmfs_view_index files;
	bool segments;
	void (*init)(struct shmfs_backend_ops *);
} rows[] = {
	{ SHMFS_VIEW_SYSV_ORPHANS, SHMFS_VIEW_BY_ID, true, orphans_init },
	{ SHMFS_VIEW_POSIX_ORPHANS, SHMFS_VIEW_POSIX, false, orphans_init },
	{ SHMFS_VIEW_SYSV_BY_PID, SHMFS_VIEW_BY_ID, true, by_pid_init },
	{ SHMFS_VIEW_POSIX_BY_PID, SHMFS_VIEW_POSIX, false, by_pid_init },
};
#define ROWS (sizeof(rows) / sizeof(*rows))

struct shmfs_user_views {
	struct user_view views[ROWS];
};

static int create_nothing(const struct shmfs_view *view, const struct shmfs_name *name, int flags,
			  mode_t mode, const struct shmfs_caller *caller,
			  struct shmfs_object **object, struct shmfs_handle **handle,
			  struct stat *st)
{
	return -EPERM;
}

int shmfs_user_views_new(struct shmfs_tree *tree, struct shmfs_users *users,
			 struct shmfs_user_views **out)
{
	struct shmfs_user_views *views = calloc(1, sizeof(*views));

	if (!views)
		return -ENOMEM;
	for (size_t i = 0; i < ROWS; i++) {
		const struct shmfs_view *files = &tree->views[rows[i].files];
		struct user_view *view = &views->views[i];

		*view = (struct user_view){
			.ops = *files->ops,
			.users = users,
			.files = files,
			.segments = rows[i].segments,
		};
		view->ops.create = create_nothing;
		rows[i].init(&view->ops);
		tree->views[rows[i].view] = (struct shmfs_view){
			.ops = &view->ops,
			.backend = files->backend,
			.context = view,
			.files = files,
		};
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
