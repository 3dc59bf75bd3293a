/* SPDX-License-Identifier: MIT */
/* The caller of a request, with the groups that FUSE does not send. */
#include "fuse/internal.h"

#include <linux/limits.h>

/* Of each thread, owned: room for the groups of any process, which takes memory as it is used. */
static _Thread_local gid_t *room;

/*
 * Read the groups of the caller, and return how many there are.  libfuse reads /proc and says EIO
 * for every error of open(2): a want of memory or descriptors is an error, and a caller that /proc
 * does not show (another PID namespace) has no groups.
 */
static int read_groups(fuse_req_t req)
{
	int count;

	if (!room)
		room = malloc(NGROUPS_MAX * sizeof(*room));
	if (!room)
		return -ENOMEM;
	errno = 0;
	count = fuse_req_getgroups(req, NGROUPS_MAX, room);
	if (count >= 0 || count == -ENOMEM)
		return count;
	return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
}

/* The groups as they are now: FUSE sends one only. */
static int get_groups(const struct shmfs_caller *caller, const gid_t **list)
{
	struct request_caller *who = (struct request_caller *)caller;

	if (!who->has_groups)
		who->ngroups = read_groups(who->req);
	who->has_groups = true;
	*list = room;
	return who->ngroups;
}

struct request_caller caller_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct request_caller){
		.caller = { .uid = ctx->uid,
			    .gid = ctx->gid,
			    .pid = ctx->pid,
			    .umask = ctx->umask,
			    .groups = get_groups },
		.req = req,
	};
}

void caller_groups_free(void)
{
	free(room);
}

/* The ids that a user has besides the own one, by newuidmap(1), as useradd(8) gives them. */
#define FIRST_SUBORDINATE 100000
#define SUBORDINATES 65536

bool are_kin(uid_t a, uid_t b)
{
	return a == b ||
	       (a >= FIRST_SUBORDINATE && b >= FIRST_SUBORDINATE &&
		(a - FIRST_SUBORDINATE) / SUBORDINATES == (b - FIRST_SUBORDINATE) / SUBORDINATES);
}

bool is_within_share(uint64_t own, uint64_t kin, uint64_t left, uint64_t small)
{
	return kin < small ||
	       (kin < left * 3 / 4 && (own < small || own < (left - (kin - own)) / 2));
}
