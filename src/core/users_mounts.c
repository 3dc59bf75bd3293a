/* SPDX-License-Identifier: MIT */
/*
 * Mounts of shmfs that show the same memory as ours: those with the same
 * source, which names the target, made by root or by the user that we run as.
 * Another user's could say anything of files that it does not have.
 */
#include "core/users_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shmfs/cleanup.h"

struct mount {
	dev_t dev;
	unsigned uid;
	char source[64];
};

/* A line of mountinfo (proc(5)): device, and behind " - " type, source and options. */
static bool parse(const char *line, struct mount *mount)
{
	const char *type = strstr(line, " - fuse.shmfs ");
	const char *user = type ? strstr(type, "user_id=") : NULL;
	unsigned major;
	unsigned minor;

	if (!user || sscanf(line, "%*u %*u %u:%u ", &major, &minor) != 2 ||
	    sscanf(type, " - fuse.shmfs %63s ", mount->source) != 1 ||
	    sscanf(user, "user_id=%u", &mount->uid) != 1)
		return false;
	mount->dev = makedev(major, minor);
	return true;
}

/* Keep what was read of all that has the source of ours. */
static void choose(struct users_scope *scope, const struct mount *mounts, size_t count)
{
	const struct mount *ours = NULL;

	for (size_t i = 0; i < count; i++) {
		if (mounts[i].dev == scope->mount)
			ours = &mounts[i];
	}
	for (size_t i = 0; ours && i < count; i++) {
		if (mounts[i].dev != scope->mount && strcmp(mounts[i].source, ours->source) == 0)
			scope->mounts[scope->nmounts++] = mounts[i].dev;
	}
}

void users_find_mounts(struct users_scope *scope)
{
	struct mount mounts[USERS_MOUNTS];
	SHMFS_AUTO_FREE char *line = NULL;
	size_t size = 0;
	size_t count = 0;
	char path[128];
	FILE *table;

	scope->mounts[0] = scope->mount;
	scope->nmounts = scope->mount ? 1 : 0;
	snprintf(path, sizeof(path), "%s/self/mountinfo", scope->proc_dir);
	table = scope->mount ? fopen(path, "re") : NULL;
	if (!table)
		return;
	while (count < USERS_MOUNTS && getline(&line, &size, table) > 0) {
		if (parse(line, &mounts[count]) &&
		    (mounts[count].uid == 0 || mounts[count].uid == getuid()))
			count++;
	}
	fclose(table);
	choose(scope, mounts, count);
}
