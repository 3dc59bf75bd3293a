/* SPDX-License-Identifier: MIT */
#include "daemon/internal.h"

#include "shmfs/posix.h"
#include "shmfs/sysv.h"
#include "shmfs/text.h"

#define SHM_DIR "/dev/shm"
#define PROC_DIR "/proc"
#define USER_XATTR_DIR "/run/shmfs"

/* Joining the namespace of a target comes first: the backends open files in it. */
static int open_shm_dir(pid_t target)
{
	int fd;

	if (target)
		return shmfs_target_enter(PROC_DIR, target);
	fd = open(SHM_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	fd = -errno;
	shmfs_log(LOG_ERR, "cannot open %s: %s; try: mount -t tmpfs -o mode=1777 shm %s", SHM_DIR,
		  strerror(-fd), SHM_DIR);
	return fd;
}

static int posix_init(struct shmfs_backends *backends, int dir)
{
	struct stat st;
	int err = fstat(dir, &st) == 0 ? 0 : -errno;

	if (!err)
		err = shmfs_users_new(PROC_DIR, st.st_dev, &backends->users);
	return err ? err : shmfs_posix_new(dir, PROC_DIR, backends->users, &backends->posix);
}

static int sysv_init(struct shmfs_backends *backends, uint64_t min_size)
{
	const struct shmfs_sysv_config config = {
		.min_size = min_size,
		.proc_dir = PROC_DIR,
		.users = backends->users,
		.user_xattr_dir = USER_XATTR_DIR,
	};
	int err = shmfs_sysv_new(&config, &backends->sysv);

	if (err)
		shmfs_log(LOG_ERR, "cannot read %s/sysvipc/shm: %s%s", PROC_DIR, strerror(-err),
			  err == -ENOENT ? "; this kernel was built without CONFIG_SYSVIPC" : "");
	return err;
}

static void views_init(struct shmfs_backends *backends, struct shmfs_view *views)
{
	const struct shmfs_view sysv = { .ops = backends->sysv->ops, .backend = backends->sysv };
	const struct shmfs_view posix = { .ops = backends->posix->ops, .backend = backends->posix };

	shmfs_sysv_by_id_ops(&backends->sysv_by_id);
	shmfs_text_ops(sysv.ops, true, &backends->sysv_text);
	shmfs_text_ops(posix.ops, false, &backends->posix_text);
	views[SHMFS_VIEW_SYSV] = views[SHMFS_VIEW_BY_ID] = views[SHMFS_VIEW_SYSV_TEXT] = sysv;
	views[SHMFS_VIEW_POSIX] = views[SHMFS_VIEW_POSIX_TEXT] = posix;
	views[SHMFS_VIEW_BY_ID].ops = &backends->sysv_by_id;
	views[SHMFS_VIEW_SYSV_TEXT].ops = &backends->sysv_text;
	views[SHMFS_VIEW_SYSV_TEXT].variant = 1;
	views[SHMFS_VIEW_POSIX_TEXT].ops = &backends->posix_text;
	views[SHMFS_VIEW_POSIX_TEXT].variant = 1;
}

int shmfs_backends_init(struct shmfs_backends *backends, const struct shmfs_options *options,
			struct shmfs_tree *tree)
{
	SHMFS_AUTO_FD int dir = open_shm_dir(options->target);
	int err;

	if (dir < 0)
		return dir;
	err = posix_init(backends, dir);
	if (err) {
		shmfs_log(LOG_ERR, "cannot read %s: %s; is it mounted?", PROC_DIR, strerror(-err));
		return err;
	}
	shmfs_steal_fd(&dir); /* it belongs to the backend now */
	err = sysv_init(backends, options->min_size);
	if (err)
		return err;
	views_init(backends, tree->views);
	tree->keys = options->keys;
	tree->uid = getuid();
	tree->gid = getgid();
	shmfs_user_views_init(tree, backends->users, backends->user_views);
	return 0;
}

void shmfs_backends_clear(struct shmfs_backends *backends)
{
	if (backends->sysv)
		shmfs_sysv_free(backends->sysv);
	if (backends->posix)
		shmfs_posix_free(backends->posix);
	if (backends->users)
		shmfs_users_free(backends->users);
}
