/* SPDX-License-Identifier: MIT */
#include "stress.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* No call takes that long, on a slow machine with sanitizers either. */
#define PATIENCE 30

#define FIRST_KEY 0x65790000

struct stress stress;

uint32_t random_below(uint32_t limit)
{
	stress.random = stress.random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(stress.random >> 32) % limit;
}

void wrong(const char *format, ...)
{
	int code = errno;
	va_list args;

	fprintf(stderr, "WRONG: process %d, %s: ", stress.number, stress.self->doing);
	errno = code;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void doing(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(stress.self->doing, sizeof(stress.self->doing), format, args);
	va_end(args);
}

bool succeeds(int64_t result, const int *codes)
{
	if (result != -1)
		return true;
	for (; *codes; codes++)
		if (*codes == errno)
			return false;
	wrong("%s", strerror(errno));
}

/* --- stamps --- */

/* Eight bytes, none of them 0. */
static uint64_t stamp_word(uint32_t number, uint64_t index)
{
	uint64_t word = ((uint64_t)number << 32) + index + 1;

	word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
	word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
	return (word ^ (word >> 31)) | 0x0101010101010101u;
}

static char stamp_byte(uint32_t number, uint64_t offset)
{
	return (char)(stamp_word(number, offset / 8) >> (offset % 8 * 8));
}

void stamp(char *bytes, uint32_t number, uint64_t offset, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bytes[i] = stamp_byte(number, offset + i);
}

bool is_stamped(const char *bytes, uint32_t number, uint64_t offset, size_t count, bool or_zero)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i] != stamp_byte(number, offset + i) && !(or_zero && bytes[i] == 0))
			return false;
	return true;
}

/* --- names --- */

const char *object_name(int name)
{
	static char text[32];

	snprintf(text, sizeof(text), "/stress.%d", name);
	return text;
}

key_t key_of(int name)
{
	return FIRST_KEY + name;
}

const char *path_of(int kind, int name)
{
	static char path[256];

	if (kind == SYSV)
		snprintf(path, sizeof(path), "%s/%d", stress.mount, key_of(name));
	else
		snprintf(path, sizeof(path), "%s%s", stress.mount, object_name(name));
	return path;
}

void take_number(uint32_t number)
{
	if (setresgid((gid_t)-1, number, (gid_t)-1) != 0)
		wrong("setresgid: %s", strerror(errno));
}

/* --- memory that goes --- */

static sigjmp_buf gone;

static void on_sigbus(int signal)
{
	siglongjmp(gone, 1);
}

bool survives(void (*touch)(void *), void *arg)
{
	if (sigsetjmp(gone, 1) != 0)
		return false;
	touch(arg);
	return true;
}

/* --- processes --- */

/* Root meets a mode of 0 with CAP_IPC_OWNER alone, and others do not have that. */
static void drop_ipc_owner(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) != 0)
		wrong("capget: %s", strerror(errno));
	for (int i = 0; i < 2; i++) {
		data[i].effective &= ~(i == 0 ? 1u << CAP_IPC_OWNER : 0);
		data[i].permitted = data[i].effective;
	}
	if (syscall(SYS_capset, &header, data) != 0)
		wrong("capset: %s", strerror(errno));
}

static void __attribute__((noreturn)) work(int number, uint64_t seed, time_t end)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGBUS, on_sigbus);
	stress.number = number;
	stress.self = &stress.workers[number];
	stress.random = (seed + (uint64_t)number) * 0x9e3779b97f4a7c15u;
	drop_ipc_owner();
	while (time(NULL) < end) {
		if (random_below(2))
			chaos();
		else
			lasting();
		atomic_fetch_add(&stress.self->done, 1);
	}
	exit(0);
}

/* Wait for all.  False: one failed, or does not come back from a call. */
static bool watch(pid_t *pids)
{
	unsigned long before[WORKERS] = { 0 };
	time_t moved[WORKERS];
	int left = WORKERS;

	for (int i = 0; i < WORKERS; i++)
		moved[i] = time(NULL);
	while (left > 0) {
		usleep(100000);
		for (int i = 0; i < WORKERS; i++) {
			unsigned long done = atomic_load(&stress.workers[i].done);
			int status;

			if (pids[i] == 0)
				continue;
			if (done != before[i])
				moved[i] = time(NULL);
			before[i] = done;
			if (waitpid(pids[i], &status, WNOHANG) == pids[i]) {
				pids[i] = 0;
				left--;
				if (status != 0)
					return false;
			} else if (time(NULL) - moved[i] > PATIENCE) {
				fprintf(stderr, "WRONG: process %d hangs: %s\n", i,
					stress.workers[i].doing);
				return false;
			}
		}
	}
	return true;
}

static bool run(uint64_t seed, unsigned seconds)
{
	time_t end = time(NULL) + (time_t)seconds;
	pid_t pids[WORKERS];
	bool well;

	for (int i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			work(i, seed, end);
	}
	well = watch(pids);
	for (int i = 0; i < WORKERS; i++)
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
	return well;
}

/* --- what is left --- */

/*
 * Segments without a key: the content of those whose key somebody took while
 * they were resized.  It has to be whole, and for its owner to use.
 */
static int check_kept(void)
{
	struct shm_info info;
	struct shmid_ds ds;
	int kept = 0, last = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);

	for (int slot = 0; slot <= last; slot++) {
		int id = shmctl(slot, SHM_STAT_ANY, &ds);

		if (id < 0 || ds.shm_perm.__key != IPC_PRIVATE)
			continue;
		char *memory = shmat(id, NULL, SHM_RDONLY);
		if ((ds.shm_perm.mode & 0777) != 0600 || memory == (char *)-1 ||
		    !is_stamped(memory, ds.shm_perm.gid, 0, ds.shm_segsz, true))
			wrong("segment %d is left, with mode 0%o", id, ds.shm_perm.mode);
		shmdt(memory);
		shmctl(id, IPC_RMID, NULL);
		kept++;
	}
	return kept;
}

static void remove_all(void)
{
	for (int i = 0; i < KEYS + LASTING; i++) {
		int id = shmget(key_of(i), 0, 0);

		shm_unlink(object_name(i));
		if (id >= 0)
			shmctl(id, IPC_RMID, NULL);
	}
}

static int stress_mount(uint64_t seed, unsigned seconds)
{
	unsigned long done = 0;
	int kept;

	stress.workers = mmap(NULL, WORKERS * sizeof(*stress.workers), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stress.workers == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	stress.self = stress.workers;
	printf("stress: --seed %llu --seconds %u\n", (unsigned long long)seed, seconds);
	fflush(stdout);
	remove_all();
	lasting_create();
	if (!run(seed, seconds))
		return 1;
	for (int i = 0; i < WORKERS; i++)
		done += atomic_load(&stress.workers[i].done);
	lasting_check();
	remove_all();
	kept = check_kept();
	printf("nothing wrong in %lu steps; %d times a key was taken in a resize\n", done, kept);
	return 0;
}

static int usage(void)
{
	fputs("usage: stress [--seed N] [--seconds N] MOUNTPOINT\n"
	      "Has processes work on the same names (stress.N, keys from 0x65790000), as root\n"
	      "and in an IPC namespace of its own.  Status 1: something was wrong.\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ 0 },
	};
	uint64_t seed = (uint64_t)time(NULL);
	unsigned seconds = 10;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 't')
			seconds = (unsigned)strtoul(optarg, NULL, 0);
		else
			return usage();
	}
	if (optind != argc - 1)
		return usage();
	stress.mount = argv[optind];
	return stress_mount(seed, seconds);
}
