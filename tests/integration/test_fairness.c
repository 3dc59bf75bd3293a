/* SPDX-License-Identifier: MIT */
/*
 * No user stands in another's way: Alice does one thing after the other and then all of
 * them at once, and Bob's stat(2) is answered within some tens of milliseconds.
 *
 * Where she keeps the processors busy as well, any process waits for one.  So Bob asks
 * another filesystem in turn, the least one that there can be, which nobody attacks: its
 * longest answer is the machine's part of his wait.
 */
#include "harness.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <time.h>

#include "hung.h"

enum {
	HELD = 24, /* objects whose inode lock somebody holds for ever */
	KEY = 77,
	LIMIT_US = 50000,
	ONE_MS = 400,  /* of one attack */
	ALL_MS = 3000, /* of all of them */
	BIG = 8 << 20,
	TRIES = 3,
};

static struct timespec attack_end;

static long now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (long)ts.tv_sec * 1000000L + ts.tv_nsec / 1000;
}

static bool is_over(void)
{
	return now_us() > attack_end.tv_sec * 1000000L + attack_end.tv_nsec / 1000;
}

static void held_path(char path[64], const char *dir, int number)
{
	snprintf(path, 64, "%s/held-%d", dir, number);
}

/* --- attacks; each is a process of Alice's, with a number --- */

/* Holds the lock while it reads what never comes. */
static int hold_lock(int number)
{
	char path[64];
	held_path(path, NATIVE, number);
	int source = open(HUNG_FILE, O_RDWR);
	int target = open(path, O_RDWR);
	child_must(source != -1 && target != -1);
	void *bytes = mmap(NULL, 4096, PROT_READ, MAP_SHARED, source, 0);
	child_must(bytes != MAP_FAILED);
	return write(target, bytes, 4096) == 4096;
}

static int wait_for_lock(int number)
{
	char path[64];
	held_path(path, MNT, number);
	switch (number % 5) {
	case 0:
		return chmod(path, 0644);
	case 1:
		return truncate(path, 100);
	case 2:
		return utimensat(AT_FDCWD, path, NULL, 0);
	case 3:
		return setxattr(path, "user.note", "x", 1, 0);
	default:
		return pwrite(open(path, O_WRONLY), "x", 1, 0) == 1;
	}
}

static int allocate_and_punch(int number)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	int fd = open(NATIVE "/big", O_RDWR);
	child_must(fd != -1);
	while (!is_over()) {
		child_must(fallocate(fd, 0, 0, 256 << 20) == 0);
		child_must(fallocate(fd, punch, 0, 256 << 20) == 0);
	}
	return 0;
}

static int change_mode(int number)
{
	while (!is_over())
		child_must(chmod(MNT "/big", 0600) == 0);
	return 0;
}

static int allocate(int number)
{
	int fd = open(MNT "/big", O_RDWR);
	child_must(fd != -1);
	while (!is_over()) {
		child_must(fallocate(fd, 0, 0, 256 << 20) == 0);
		child_must(ftruncate(fd, 0) == 0);
	}
	return 0;
}

static int ask_for_users(int number)
{
	char value[65536];
	while (!is_over())
		getxattr(MNT "/big", "user.shm.attached", value, sizeof(value));
	return 0;
}

static int list(int number)
{
	while (!is_over()) {
		DIR *dir = opendir(MNT);
		child_must(dir != NULL);
		for (struct dirent *entry; (entry = readdir(dir));) {
			struct stat st;
			fstatat(dirfd(dir), entry->d_name, &st, 0);
		}
		closedir(dir);
	}
	return 0;
}

static int open_many(int number)
{
	while (!is_over()) {
		int first = open(MNT "/big", O_RDONLY);
		int fd = first;
		for (int i = 0; i < 900 && fd != -1; i++)
			fd = open(MNT "/big", O_RDONLY);
		for (fd = first; fd > 2 && close(fd) == 0; fd++)
			;
	}
	return 0;
}

static int make_and_remove(int number)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/%d", 1000 + number);
	while (!is_over()) {
		int fd = open(path, O_CREAT | O_RDWR, 0600);
		child_must(fd != -1);
		close(fd);
		unlink(path);
	}
	return 0;
}

static int resize(int number)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/%d", 2000 + number);
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	child_must(fd != -1);
	close(fd);
	for (int i = 0; !is_over(); i++)
		child_must(truncate(path, BIG + (i % 2) * 4096) == 0 || errno == EBUSY);
	unlink(path);
	return 0;
}

static int write_blocks(int number)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/blocks-%d", number);
	char *bytes = calloc(1, 1 << 20);
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	child_must(bytes && fd != -1);
	while (!is_over())
		child_must(pwrite(fd, bytes, 1 << 20, 0) == 1 << 20);
	unlink(path);
	return 0;
}

static int append(int number)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/%d", 3000 + number);
	char *bytes = calloc(1, 1 << 20);
	child_must(bytes != NULL);
	while (!is_over()) {
		int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
		child_must(fd != -1);
		for (int i = 0; i < 8; i++)
			child_must(write(fd, bytes, 1 << 20) > 0);
		close(fd);
		unlink(path);
	}
	return 0;
}

static int ask(int number)
{
	struct stat st;
	while (!is_over())
		child_must(stat(MNT "/big", &st) == 0);
	return 0;
}

static const struct attack {
	const char *name;
	int (*run)(int number);
	int copies;
} attacks[] = {
	{ "calls that wait for a lock that is held for ever", wait_for_lock, HELD },
	{ "fallocate and punch natively", allocate_and_punch, 1 },
	{ "chmod of that", change_mode, 4 },
	{ "fallocate through the mount", allocate, 2 },
	{ "user.shm.attached", ask_for_users, 4 },
	{ "a thousand names listed", list, 3 },
	{ "many files opened", open_many, 2 },
	{ "keys made and removed", make_and_remove, 3 },
	{ "keys resized", resize, 3 },
	{ "blocks written", write_blocks, 4 },
	{ "keys that grow", append, 3 },
	{ "stat", ask, 8 },
};
enum { ATTACKS = sizeof(attacks) / sizeof(attacks[0]), MOST = 128 };

/* --- Bob --- */

static long max(long a, long b)
{
	return a > b ? a : b;
}

struct waits {
	long mount; /* the longest, of shmfs */
	long other; /* of the other filesystem */
};

static long time_stat(const char *path)
{
	const long began = now_us();
	struct stat st;
	must(stat(path, &st));
	return now_us() - began;
}

/* How long Bob waits, until the attack ends. */
static struct waits watch(void)
{
	struct waits worst = { 0, 0 };
	become(&BOB);
	for (int i = 0; !is_over(); i++) {
		worst.mount = max(worst.mount, time_stat(i % 2 ? MNT "/77" : MNT "/bob"));
		usleep(1000);
		worst.other = max(worst.other, time_stat(HUNG_FILE));
		usleep(1000);
	}
	become(&ROOT);
	return worst;
}

static void set_end(int ms)
{
	const long end = now_us() + ms * 1000L;
	attack_end = (struct timespec){ .tv_sec = end / 1000000, .tv_nsec = end % 1000000 * 1000 };
}

static int begin_attack(const struct attack *attack, int copies, pid_t *children)
{
	become(&ALICE);
	for (int i = 0; i < copies; i++)
		children[i] = child_start(attack->run, i);
	become(&ROOT);
	return copies;
}

/* Those that wait for ever are ended by force, when their lock is free. */
static void end_attacks(const pid_t *children, int count)
{
	for (int i = 0; i < count; i++)
		waitpid(children[i], NULL, 0);
}

static void note(const char *name, struct waits worst, struct waits *total)
{
	print_message("%-50s worst %6.1f ms, of the other filesystem %6.1f ms\n", name,
		      (double)worst.mount / 1000, (double)worst.other / 1000);
	total->mount = max(total->mount, worst.mount);
	total->other = max(total->other, worst.other);
}

static void prepare(void)
{
	native_resize("2G");
	become(&ALICE);
	for (int i = 0; i < HELD; i++) {
		char path[64];
		held_path(path, NATIVE, i);
		close(must(open(path, O_CREAT | O_RDWR, 0666)));
	}
	close(must(open(NATIVE "/big", O_CREAT | O_RDWR, 0600)));
	for (int i = 0; i < 1000; i++) {
		char path[64];
		snprintf(path, sizeof(path), NATIVE "/one-of-many-%d", i);
		close(must(open(path, O_CREAT | O_RDWR, 0600)));
	}
	become(&BOB);
	close(must(open(NATIVE "/bob", O_CREAT | O_RDWR, 0600)));
	segment_create(KEY, 4096, 0600);
	become(&ROOT);
}

/* All attacks, each for itself and then at once.  The first goes on all the time. */
static struct waits attack_all(void)
{
	struct waits total = { 0, 0 };
	pid_t children[MOST];
	int count = 0;
	set_end(ONE_MS);
	note(attacks[0].name, watch(), &total);
	for (int i = 1; i < ATTACKS; i++) {
		set_end(ONE_MS);
		count = begin_attack(&attacks[i], attacks[i].copies, children);
		note(attacks[i].name, watch(), &total);
		end_attacks(children, count);
	}
	set_end(ALL_MS);
	count = 0;
	for (int i = 1; i < ATTACKS; i++)
		count += begin_attack(&attacks[i], 1, children + count);
	note("all at once", watch(), &total);
	end_attacks(children, count);
	return total;
}

static bool is_short(struct waits total)
{
	return total.mount < patience(LIMIT_US) + total.other;
}

static void nobody_is_held_up(void **state)
{
	pid_t holders[HELD], waiters[MOST];
	struct waits total;
	prepare();
	hung_start();
	become(&ALICE);
	for (int i = 0; i < HELD; i++)
		holders[i] = child_start(hold_lock, i);
	become(&ROOT);
	usleep(200000);
	int count = begin_attack(&attacks[0], HELD, waiters);

	/* What else the machine does only makes it longer. */
	for (int i = 0; i == 0 || (i < TRIES && !is_short(total)); i++)
		total = attack_all();
	hung_stop();
	end_attacks(holders, HELD);
	end_attacks(waiters, count);
	assert_in_range(total.mount, 0, patience(LIMIT_US) + total.other);
}

static int write_held_text(int number)
{
	return write(open(MNT "/.text/held-0", O_WRONLY), "x", 1) == 1;
}

static int look_at_held_text(int number)
{
	struct stat st;
	return stat(MNT "/.text/held-0", &st) != 0;
}

/* Whoever lists texts meets that of a user whose write never ends. */
static void a_text_that_is_being_written_is_looked_at(void **state)
{
	char path[64];
	int status = -1;
	hung_start();
	become(&ALICE);
	held_path(path, NATIVE, 0);
	close(must(open(path, O_CREAT | O_RDWR, 0666)));
	pid_t holder = child_start(hold_lock, 0);
	usleep(100000);
	pid_t writer = child_start(write_held_text, 0);
	usleep(100000);
	become(&BOB);
	pid_t looker = child_start(look_at_held_text, 0);
	bool looked = eventually(waitpid(looker, &status, WNOHANG) == looker);
	become(&ROOT);
	hung_stop();
	end_attacks((pid_t[]){ holder, writer, looker }, 3);
	assert_true(looked);
	assert_int_equal(status, 0);
}

enum { DESCRIPTORS = 200, FILES = 300 };

/* Opens what can be opened, and keeps it.  Returns how many that were. */
static int open_all(const char *path, int *files)
{
	int count = 0;
	while (count < FILES && (files[count] = open(path, O_RDONLY | O_CLOEXEC)) != -1)
		count++;
	return count;
}

static void one_user_leaves_descriptors_to_others(void **state)
{
	const struct fixture *fixture = *state;
	const struct rlimit few = { DESCRIPTORS, DESCRIPTORS };
	int alices[FILES], bobs[FILES];
	close(must(open(NATIVE "/object", O_CREAT | O_RDWR, 0644)));
	must(prlimit(fixture->daemon, RLIMIT_NOFILE, &few, NULL));
	become(&ALICE);
	int count = open_all(MNT "/object", alices);
	assert_int_equal(errno, EMFILE);
	assert_in_range(count, DESCRIPTORS / 4, DESCRIPTORS / 2);
	become(&BOB);
	int others = open_all(MNT "/object", bobs);
	become(&ROOT);
	assert_in_range(others, DESCRIPTORS / 8, DESCRIPTORS / 2);
	/* And there are some for the daemon's own needs. */
	struct stat st;
	must(stat(MNT "/object", &st));
	for (int i = 0; i < count; i++)
		close(alices[i]);
	for (int i = 0; i < others; i++)
		close(bobs[i]);
}

/* A user can have thousands of ids by newuidmap(1). */
static void many_ids_of_one_user_leave_descriptors_to_others(void **state)
{
	const struct fixture *fixture = *state;
	const struct rlimit few = { DESCRIPTORS, DESCRIPTORS };
	int files[FILES], bobs[FILES];
	int count = 0;
	close(must(open(NATIVE "/object", O_CREAT | O_RDWR, 0644)));
	must(prlimit(fixture->daemon, RLIMIT_NOFILE, &few, NULL));
	for (uid_t uid = 100000; uid < 100100; uid++) {
		must(seteuid(uid));
		for (int fd; (fd = open(MNT "/object", O_RDONLY | O_CLOEXEC)) != -1;)
			files[count++] = fd;
		must(seteuid(0));
	}
	assert_in_range(count, DESCRIPTORS / 2, DESCRIPTORS * 3 / 4);
	become(&BOB);
	int others = open_all(MNT "/object", bobs);
	become(&ROOT);
	assert_in_range(others, DESCRIPTORS / 16, DESCRIPTORS / 4);
	for (int i = 0; i < count; i++)
		close(files[i]);
	for (int i = 0; i < others; i++)
		close(bobs[i]);
}

/* A session is scheduled as one (sched(7), autogroup): of this one is all that is measured. */
static void leave_little_to_others(void)
{
	int fd = setsid() == -1 ? -1 : open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
	if (fd == -1)
		return;
	(void)!write(fd, "-20", 3);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(nobody_is_held_up),
		mounted(a_text_that_is_being_written_is_looked_at),
		mounted(one_user_leaves_descriptors_to_others),
		mounted(many_ids_of_one_user_leave_descriptors_to_others),
	};

	leave_little_to_others();
	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
