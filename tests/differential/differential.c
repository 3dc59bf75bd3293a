/* SPDX-License-Identifier: MIT */
#include "differential.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is printed of the steps before a difference. */
#define HISTORY 40

static const char *const posix_names[NAMES] = { "first", "second", "third", "fourth" };
static const char *const key_names[NAMES] = { "7001", "0x1b5a", "-7003", "7004" };
/* As the mount lists them. */
static const char *const listed_keys[NAMES] = { "7001", "7002", "4294960293", "7004" };

/* An option of a flag word, and how often it is chosen: once in `often`. */
struct choice {
	int flag;
	unsigned often;
};

static const struct choice open_flags[] = {
	{ O_CREAT, 2 },
	{ O_EXCL, 8 },
	{ O_TRUNC, 6 },
	{ O_APPEND, 4 },
};

static uint64_t random_state;

static unsigned choose(unsigned below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 20) % below;
}

static int choose_flags(void)
{
	int flags = (int[]){ O_RDONLY, O_WRONLY, O_RDWR, O_RDWR }[choose(4)];

	for (size_t i = 0; i < sizeof(open_flags) / sizeof(*open_flags); i++) {
		if (choose(open_flags[i].often) == 0)
			flags |= open_flags[i].flag;
	}
	return flags;
}

/* Positions and lengths: near the beginning, near the ends of pages, anywhere. */
static unsigned choose_position(void)
{
	switch (choose(4)) {
	case 0:
		return choose(64);
	case 1:
		return 4096 * choose(16);
	case 2:
		return 4096 * choose(16) + choose(5);
	default:
		return choose(LONGEST);
	}
}

static int flags_of(enum kind kind)
{
	static const int whences[] = { SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE };
	/* Not ZERO_RANGE: the kernel drops set-user-ID before it asks (fuse_file_fallocate()). */
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_COLLAPSE_RANGE };
	static const int renames[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	static const int locks[] = { LOCK_SH, LOCK_EX, LOCK_UN };

	switch (kind) {
	case OPEN:
		return choose_flags();
	case REOPEN:
		return choose_flags() & ~(O_CREAT | O_EXCL);
	case SEEK:
		return whences[choose(5)];
	case FALLOCATE:
		return modes[choose(4)];
	case RENAME:
		return renames[choose(4)];
	case LOCK:
		return locks[choose(3)];
	case SETXATTR:
		return (int)choose(3);
	default:
		return 0;
	}
}

static enum kind choose_kind(void)
{
	/* Half of the steps move bytes or open and close. */
	static const enum kind often[] = { OPEN, OPEN, CLOSE, READ, PREAD, WRITE, PWRITE, FSTAT };

	return choose(2) ? often[choose(8)] : (enum kind)choose(KINDS);
}

static struct step choose_step(void)
{
	struct step step = {
		.kind = choose_kind(),
		.worker = choose(WORKERS),
		.slot = choose(SLOTS),
		.other = choose(SLOTS),
		.name = choose(NAMES),
		.to = choose(NAMES),
		.mode = (mode_t)(0600 | choose(0200) | (choose(8) ? 0 : choose(8) << 9)),
		.off = choose_position(),
		.len = 1 + choose(choose(4) ? 5000 : LONGEST - 1),
		.fill = (unsigned char)(1 + choose(255)),
	};

	step.flags = flags_of(step.kind);
	if (step.kind == UTIMENS || step.kind == FUTIMENS)
		step.off = 1 + choose(900000);
	return step;
}

/* --- a process --- */

struct answer {
	bool done; /* false: the step makes no sense now */
	struct outcome outcome[2];
};

struct program {
	struct side sides[2];
	const char *const *names;
	const char *const *listed; /* as the mount lists them */
	struct keys *keys;	   /* NULL: the names are not keys */
	bool thorough;
};

/* Does the step find the slots that it needs, open or free? */
static bool fits(const struct side *side, const struct step *step)
{
	bool is_open = side->fd[step->slot] >= 0;

	switch (step->kind) {
	case OPEN:
		return !is_open;
	case REOPEN:
		return is_open && side->fd[step->other] < 0;
	case COPY_RANGE:
		return is_open && side->fd[step->other] >= 0 && step->slot != step->other;
	case TRUNCATE:
	case RENAME:
	case UNLINK:
	case STAT:
	case CHMOD:
	case GETXATTR:
	case UTIMENS:
	case LIST:
		return true;
	default:
		return is_open;
	}
}

static bool is_same(const struct answer *answer)
{
	return memcmp(&answer->outcome[0], &answer->outcome[1], sizeof(struct outcome)) == 0;
}

static void run_both(struct program *program, const struct step *step, struct outcome outcome[2])
{
	struct side *tmpfs = &program->sides[0];

	outcome[0] = program->keys ? keys_run(program->keys, tmpfs, step, program->names) :
				     step_run(tmpfs, step, program->names);
	outcome[1] = step_run(&program->sides[1], step,
			      step->kind == LIST ? program->listed : program->names);
}

/* Are all names and the open files of this process the same on both sides? */
static void look_around(struct program *program, struct answer *answer)
{
	for (unsigned i = 0; i < NAMES + SLOTS && is_same(answer); i++) {
		const struct step look = { .kind = i < NAMES ? STAT : FSTAT,
					   .name = i % NAMES,
					   .slot = i % SLOTS };

		if (fits(&program->sides[0], &look))
			run_both(program, &look, answer->outcome);
	}
}

static struct answer run(struct program *program, const struct step *step)
{
	struct side *tmpfs = &program->sides[0];
	struct answer answer = { 0 };

	if (!fits(tmpfs, step) ||
	    (program->keys && !keys_allow(program->keys, tmpfs, step, program->names)))
		return answer;
	answer.done = true;
	run_both(program, step, answer.outcome);
	if (program->thorough)
		look_around(program, &answer);
	return answer;
}

static void serve(struct program *program, int channel)
{
	struct step step;

	while (read(channel, &step, sizeof(step)) == sizeof(step)) {
		struct answer answer = run(program, &step);

		if (write(channel, &answer, sizeof(answer)) != sizeof(answer))
			break;
	}
}

static int start(struct program *program, pid_t *pid)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	*pid = fork();
	if (*pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		serve(program, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	return pair[0];
}

/* --- the whole --- */

static void print_outcome(const char *dir, const struct outcome *outcome)
{
	printf("  %s: ", dir);
	if (outcome->ret < 0)
		printf("%s", strerror((int)-outcome->ret));
	else
		printf("%lld", (long long)outcome->ret);
	for (int i = 0; i < DETAILS; i++)
		printf(" %lld", (long long)outcome->detail[i]);
	printf("\n");
}

static void print_difference(const struct program *program, const struct step history[HISTORY],
			     unsigned long count, const struct answer *answer)
{
	for (unsigned long i = count < HISTORY ? 0 : count - HISTORY + 1; i <= count; i++)
		step_print(&history[i % HISTORY], program->names);
	for (int i = 0; i < 2; i++)
		print_outcome(program->sides[i].dir, &answer->outcome[i]);
}

/* Returns how many steps were the same, or -1 after a difference. */
static long compare(struct program *program, unsigned long steps)
{
	static struct step history[HISTORY];
	int channels[WORKERS];
	pid_t pids[WORKERS];
	struct answer answer;
	unsigned long done = 0;

	for (int i = 0; i < WORKERS; i++) {
		channels[i] = start(program, &pids[i]);
		if (channels[i] < 0 || pids[i] < 0)
			return -1;
	}
	while (done < steps) {
		struct step step = choose_step();
		int channel = channels[step.worker];

		if (write(channel, &step, sizeof(step)) != sizeof(step) ||
		    read(channel, &answer, sizeof(answer)) != sizeof(answer))
			return -1;
		if (!answer.done)
			continue;
		history[done % HISTORY] = step;
		if (!is_same(&answer)) {
			print_difference(program, history, done, &answer);
			return -1;
		}
		done++;
	}
	for (int i = 0; i < WORKERS; i++) {
		/* The other workers have a duplicate of it. */
		shutdown(channels[i], SHUT_WR);
		close(channels[i]);
		waitpid(pids[i], NULL, 0);
	}
	return (long)done;
}

static void remove_names(const struct program *program)
{
	char path[256];

	for (int i = 0; i < 2; i++) {
		for (int name = 0; name < NAMES; name++) {
			snprintf(path, sizeof(path), "%s/%s", program->sides[i].dir,
				 program->names[name]);
			unlink(path);
		}
	}
}

static int usage(const char *self)
{
	fprintf(stderr,
		"usage: %s [--keys] [--passthrough|--attached] [--thorough] [--seed N] [--steps N] "
		"TMPFS MOUNT\n"
		"Runs the same random calls in both directories and compares what they do.\n"
		"--passthrough, --attached: how the daemon gets at the segments of keys.\n"
		"--thorough: also all attributes, after each call.\n",
		self);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "keys", no_argument, NULL, 'k' },
		{ "passthrough", no_argument, NULL, 'p' },
		{ "attached", no_argument, NULL, 'a' },
		{ "thorough", no_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 's' },
		{ "steps", required_argument, NULL, 'n' },
		{ 0 },
	};
	struct program program = { .names = posix_names, .listed = posix_names };
	unsigned long steps = 10000;
	unsigned long seed = 1;
	enum engine engine = DESCRIPTORS;
	bool keys = false;
	long same;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'k')
			keys = true;
		else if (option == 'p')
			engine = PASSTHROUGH;
		else if (option == 'a')
			engine = ATTACHED;
		else if (option == 't')
			program.thorough = true;
		else if (option == 's')
			seed = strtoul(optarg, NULL, 0);
		else if (option == 'n')
			steps = strtoul(optarg, NULL, 0);
		else
			return usage(argv[0]);
	}
	if (argc - optind != 2)
		return usage(argv[0]);
	for (int i = 0; i < 2; i++)
		side_init(&program.sides[i], argv[optind + i]);
	if (keys) {
		program.names = key_names;
		program.listed = listed_keys;
		program.keys = keys_new(engine, has_xattrs(argv[optind]));
		if (!program.keys)
			return 1;
	}
	umask(0);
	random_state = (seed + 1) * 0x9e3779b97f4a7c15u;
	same = compare(&program, steps);
	printf("seed %lu: %s\n", seed, same < 0 ? "a DIFFERENCE" : "no difference");
	remove_names(&program);
	return same < 0 ? 1 : 0;
}
