/* SPDX-License-Identifier: MIT */
/*
 * Mounts of shmfs that show the same memory as ours: those with the same source, which names the
 * target.  Only mounts of root and of our own user count, since another user's server can show any
 * numbers.
 */
#include "core/users_internal.h"

#include <sys/sysmacros.h>

struct mount {
	dev_t dev;
	char source[64];
};

/* A line of mountinfo (proc(5)): device, and behind " - " type, source and options. */
static bool parse(const char *line, struct mount *mount)
{
	const char *type = strstr(line, " - fuse.shmfs ");
	const char *user = type ? strstr(type, "user_id=") : NULL;
	unsigned major, minor, uid;

	if (!user || sscanf(line, "%*u %*u %u:%u ", &major, &minor) != 2 ||
	    sscanf(type, " - fuse.shmfs %63s ", mount->source) != 1 ||
	    sscanf(user, "user_id=%u", &uid) != 1)
		return false;
	mount->dev = makedev(major, minor);
	return uid == 0 || uid == getuid();
}

/* The next mount in the table.  False: there is none. */
static bool next(FILE *table, struct mount *mount)
{
	SHMFS_AUTO_FREE char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, table) > 0) {
		if (parse(line, mount))
			return true;
	}
	return false;
}

void users_find_mounts(struct users_scope *scope)
{
	struct mount ours = { 0 };
	struct mount other;
	char path[128];
	FILE *table;

	scope->mounts[0] = scope->mount;
	scope->nmounts = scope->mount ? 1 : 0;
	snprintf(path, sizeof(path), "%s/self/mountinfo", scope->proc_dir);
	table = scope->mount ? fopen(path, "re") : NULL;
	if (!table)
		return;
	while (ours.dev != scope->mount && next(table, &ours))
		;
	rewind(table);
	while (ours.dev == scope->mount && scope->nmounts < USERS_MOUNTS && next(table, &other)) {
		if (other.dev != ours.dev && strcmp(other.source, ours.source) == 0)
			scope->mounts[scope->nmounts++] = other.dev;
	}
	fclose(table);
}
