/* SPDX-License-Identifier: MIT */
#include "fuse/follow.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shmfs/cleanup.h"

/* So many requests of one caller pass before the next look at where it is. */
#define LOOK_EVERY 32
/* A caller that was away for longer can have moved. */
#define PAUSE_NS 1000000u
/* Two callers that are closer together call at once. */
#define CROWD_NS 200000u
/* So many requests in a row come from one caller when a crowd has ended. */
#define CROWD_REQUESTS 64
/* What /proc/PID/stat has. */
#define STAT_SIZE 1024
/* Of those that run, when it is looked how many these are. */
#define CALLER_AND_THREAD 2
/* RLIMIT_NICE that lets a thread leave SCHED_IDLE for nice 0 (sched(7), getrlimit(2)). */
#define NICE_0 20

static bool may_leave_idle(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur >= NICE_0;
}

void shmfs_follow_init(struct shmfs_follow *follow)
{
	*follow = (struct shmfs_follow){ .cpu = -1, .beside = may_leave_idle() };
	if (sched_getaffinity(0, sizeof(follow->allowed), &follow->allowed) != 0)
		CPU_ZERO(&follow->allowed);
	follow->load_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	follow->useful = CPU_COUNT(&follow->allowed) > 1 && follow->load_fd >= 0;
}

void shmfs_follow_clear(struct shmfs_follow *follow)
{
	if (follow->load_fd >= 0)
		close(follow->load_fd);
}

/* The fourth number of /proc/loadavg (proc(5)). */
bool shmfs_follow_is_quiet(const struct shmfs_follow *follow)
{
	char text[128];
	const ssize_t len = pread(follow->load_fd, text, sizeof(text) - 1, 0);
	int others;

	text[len > 0 ? len : 0] = '\0';
	if (sscanf(text, "%*s %*s %*s %d", &others) != 1)
		return false;
	others -= CALLER_AND_THREAD;
	return others * 2 < CPU_COUNT(&follow->allowed);
}

enum shmfs_follow_step shmfs_follow_note(struct shmfs_follow *follow, pid_t caller, uint64_t now)
{
	const uint64_t pause = now - follow->at;
	const bool changed = caller != follow->caller;

	if (caller == 0 || !follow->useful)
		return SHMFS_FOLLOW_STAY;
	follow->at = now;
	follow->caller = caller;
	if (changed && pause < CROWD_NS)
		follow->crowd = CROWD_REQUESTS;
	else if (pause > PAUSE_NS)
		follow->crowd = 0;
	if (follow->crowd > 0) {
		follow->crowd--;
		return SHMFS_FOLLOW_NONE;
	}
	if (!changed && pause < PAUSE_NS && ++follow->requests < LOOK_EVERY)
		return SHMFS_FOLLOW_STAY;
	follow->requests = 0;
	return SHMFS_FOLLOW_LOOK;
}

/*
 * The field of /proc/PID/stat (proc(5)) with this number, from 3 on, or NULL.  The
 * second one can hold spaces and brackets.
 */
static const char *stat_field(pid_t pid, int number, char text[static STAT_SIZE])
{
	const char *field;
	ssize_t len;

	snprintf(text, STAT_SIZE, "/proc/%d/stat", (int)pid);
	SHMFS_AUTO_FD int fd = open(text, O_RDONLY | O_CLOEXEC);

	len = fd < 0 ? -1 : read(fd, text, STAT_SIZE - 1);
	if (len < 0)
		return NULL;
	text[len] = '\0';
	field = strrchr(text, ')');
	for (int i = 2; field && i < number; i++)
		field = strchr(field + 1, ' ');
	return field ? field + 1 : NULL;
}

int shmfs_follow_find(pid_t pid)
{
	char text[STAT_SIZE];
	const char *processor = stat_field(pid, 39, text);

	return processor ? atoi(processor) : -1;
}

bool shmfs_follow_is_running(pid_t pid)
{
	char text[STAT_SIZE];
	const char *state = stat_field(pid, 3, text);

	return state && *state == 'R';
}

bool shmfs_follow_join(const struct shmfs_follow *follow, pid_t tid)
{
	const struct sched_param none = { 0 };
	cpu_set_t one;

	if (!follow->beside || follow->cpu < 0 || follow->cpu >= CPU_SETSIZE ||
	    !CPU_ISSET((size_t)follow->cpu, &follow->allowed))
		return false;
	CPU_ZERO(&one);
	CPU_SET((size_t)follow->cpu, &one);
	return sched_setaffinity(tid, sizeof(one), &one) == 0 &&
	       sched_setscheduler(tid, SCHED_IDLE, &none) == 0;
}

void shmfs_follow_leave(const struct shmfs_follow *follow, pid_t tid)
{
	const struct sched_param none = { 0 };

	if (!follow->beside)
		return;
	sched_setscheduler(tid, SCHED_OTHER, &none);
	sched_setaffinity(tid, sizeof(follow->allowed), &follow->allowed);
}
