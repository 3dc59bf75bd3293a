/* SPDX-License-Identifier: MIT */
/* The caller of a request, with the groups that FUSE does not send. */
#include "fuse/internal.h"

/*
 * Get up to `size` groups of the caller, and return how many there are.  libfuse reads /proc and
 * says EIO for every error of open(2): a want of memory or descriptors is an error, and a caller
 * that /proc does not show (another PID namespace) has no groups.
 */
static int read_groups(fuse_req_t req, int size, gid_t *list)
{
	int count;

	errno = 0;
	count = fuse_req_getgroups(req, size, list);
	if (count >= 0 || count == -ENOMEM)
		return count;
	return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
}

/*
 * The groups as they are now: FUSE sends one only.  They can change between being counted and being
 * read, and there are at most NGROUPS_MAX.
 */
static int load_groups(const struct shmfs_caller *caller, const gid_t **list)
{
	struct request_caller *who = (struct request_caller *)caller;
	int count = who->groups ? who->ngroups : read_groups(who->req, 0, NULL);

	while (!who->groups && count > 0) {
		int room = count;
		gid_t *groups = calloc((size_t)room, sizeof(*groups));

		count = groups ? read_groups(who->req, room, groups) : -ENOMEM;
		if (count <= 0 || count > room) {
			free(groups);
			continue;
		}
		who->groups = groups;
		who->ngroups = count;
	}
	*list = who->groups;
	return count;
}

struct request_caller caller_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct request_caller){
		.caller = { .uid = ctx->uid,
			    .gid = ctx->gid,
			    .pid = ctx->pid,
			    .umask = ctx->umask,
			    .groups = load_groups },
		.req = req,
	};
}

void caller_clear(struct request_caller *who)
{
	free(who->groups);
}
