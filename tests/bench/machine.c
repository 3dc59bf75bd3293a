/* SPDX-License-Identifier: MIT */
/* What may have spoilt the figures. */
#include "bench.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* From here on it is worth a word. */
#define MUCH_LOAD 0.5
#define MUCH_ELSEWHERE 0.02
#define MUCH_UNREST 0.05

/* The number behind a word at the start of a line, 0 if there is none. */
static uint64_t number_in(const char *file, const char *word)
{
	FILE *stream = fopen(file, "re");
	size_t len = strlen(word);
	uint64_t number = 0;
	char line[256];

	while (stream && fgets(line, sizeof(line), stream))
		if (strncmp(line, word, len) == 0) {
			number = strtoull(line + len, NULL, 10);
			break;
		}
	if (stream)
		fclose(stream);
	return number;
}

uint64_t machine_available(void)
{
	return number_in("/proc/meminfo", "MemAvailable:") << 10;
}

/* man 5 proc, /proc/stat: user nice system idle iowait irq softirq steal ... */
static void read_ticks(struct machine *machine)
{
	FILE *stream = fopen("/proc/stat", "re");
	uint64_t ticks[8] = { 0 };
	char line[256] = "";
	char *at = line;

	if (stream && fgets(line, sizeof(line), stream) && strncmp(line, "cpu ", 4) == 0)
		at += 4;
	machine->all = 0;
	for (unsigned i = 0; i < 8; i++) {
		ticks[i] = strtoull(at, &at, 10);
		machine->all += ticks[i];
	}
	machine->busy = ticks[0] + ticks[1] + ticks[2];
	machine->stolen = ticks[7];
	if (stream)
		fclose(stream);
}

/* What a process used, and its children that have ended: fields 14 to 17. */
static uint64_t process_ticks(const char *pid)
{
	char path[PATH_SIZE], line[1024] = "";
	unsigned long used[4] = { 0 };
	char *at = NULL;
	FILE *stream;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	stream = fopen(path, "re");
	if (stream && fgets(line, sizeof(line), stream))
		at = strrchr(line, ')');
	if (at)
		sscanf(at, ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu %lu %lu",
		       &used[0], &used[1], &used[2], &used[3]);
	if (stream)
		fclose(stream);
	return used[0] + used[1] + used[2] + used[3];
}

/* All that run.sh started, and nothing else, is in our PID namespace. */
static uint64_t own_ticks(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	uint64_t ticks = 0;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			ticks += process_ticks(entry->d_name);
	if (dir)
		closedir(dir);
	return ticks;
}

static uint64_t pages_swapped(void)
{
	return number_in("/proc/vmstat", "pswpin") + number_in("/proc/vmstat", "pswpout");
}

void machine_look(struct machine *machine)
{
	double load;

	machine->load = getloadavg(&load, 1) == 1 ? load : 0;
	machine->swapped = pages_swapped();
	machine->own = own_ticks();
	read_ticks(machine);
}

/* These return how much they wrote. */
static int report_governor(FILE *out)
{
	FILE *stream = fopen("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "re");
	char governor[64] = "performance";
	int wrote = 0;

	if (!stream)
		return 0;
	if (fgets(governor, sizeof(governor), stream))
		governor[strcspn(governor, "\n")] = '\0';
	if (strcmp(governor, "performance") != 0)
		wrote = fprintf(out, "- The CPUs change their speed (governor `%s`).\n", governor);
	fclose(stream);
	return wrote;
}

static int report_others(const struct machine *before, const struct machine *after, FILE *out)
{
	double all = (double)(after->all - before->all);
	double busy = (double)(after->busy - before->busy);
	double own = (double)(after->own - before->own);
	double stolen = (double)(after->stolen - before->stolen);
	int wrote = 0;

	if (before->load > MUCH_LOAD)
		wrote += fprintf(out, "- The load was %.1f before the start.\n", before->load);
	if (all <= 0)
		return wrote;
	if ((busy - own) / all > MUCH_ELSEWHERE)
		wrote += fprintf(out, "- Other processes took %.0f%% of the CPUs meanwhile.\n",
				 (busy - own) / all * 100);
	if (stolen / all > MUCH_ELSEWHERE)
		wrote += fprintf(out, "- The host of this virtual machine took %.0f%%.\n",
				 stolen / all * 100);
	return wrote;
}

void machine_report(const struct machine *before, double unrest, FILE *out)
{
	struct machine after;
	int wrote;

	machine_look(&after);
	fprintf(out, "\nWhat may have spoilt the figures:\n\n");
	wrote = report_others(before, &after, out);
	wrote += report_governor(out);
	if (after.swapped > before->swapped)
		wrote += fprintf(out, "- The machine was swapping.\n");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		wrote += fprintf(out, "- With one CPU, caller and daemon wait for each other.\n");
	if (unrest > MUCH_UNREST)
		wrote += fprintf(out, "- Direct access itself varied by ±%.0f%%.\n", unrest * 100);
	if (wrote == 0)
		fprintf(out,
			"- Nothing that is looked for: load, other processes, CPU speed, swap.\n");
}
