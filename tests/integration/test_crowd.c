/* SPDX-License-Identifier: MIT */
/* One user has more processes and mappings than anybody has time to read. */
#include "harness.h"

#include <sys/mman.h>
#include <sys/xattr.h>
#include <time.h>

#include "holders.h"

enum { CROWD = 20, MAPPINGS = 64000, LOOK_MS = 700, STAT_MS = 300 };

static pid_t crowd; /* a process group */

/* Every second page can be written, so each is a mapping of its own. */
static int map_pages(int number)
{
	char path[64];
	int fd = open(NATIVE "/big", O_RDWR);
	char *memory = mmap(NULL, (size_t)MAPPINGS * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	child_must(memory != MAP_FAILED && setpgid(0, 0) == 0);
	for (size_t i = 0; i < MAPPINGS; i += 2)
		child_must(mprotect(memory + i * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
	while (++number < CROWD && fork() == 0)
		;
	snprintf(path, sizeof(path), NATIVE "/ready-%d", number);
	child_must(open(path, O_CREAT | O_RDWR, 0600) != -1);
	pause();
	return 0;
}

static void start_crowd(void)
{
	object_create("big", (off_t)MAPPINGS * PAGE);
	must(chmod(NATIVE "/big", 0666));
	become(&ALICE);
	crowd = child_start(map_pages, 0);
	become(&ROOT);
	for (int i = 1; i <= CROWD; i++) {
		char path[64];
		snprintf(path, sizeof(path), NATIVE "/ready-%d", i);
		assert_true(eventually(file_exists(path)));
	}
}

static int end_case(void **state)
{
	become(&ROOT);
	let_go();
	if (crowd > 0) {
		kill(-crowd, SIGKILL);
		waitpid(crowd, NULL, 0);
	}
	crowd = 0;
	return fixture_end(state);
}

/* Processor time of the children that the daemon has waited for. */
static long looking_ms(const struct fixture *fixture)
{
	char path[64], text[1024];
	long user, system;
	snprintf(path, sizeof(path), "/proc/%d/stat", fixture->daemon);
	int fd = must(open(path, O_RDONLY | O_CLOEXEC));
	ssize_t len = must(read(fd, text, sizeof(text) - 1));
	close(fd);
	text[len] = '\0';
	assert_int_equal(sscanf(strrchr(text, ')'),
				") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %ld %ld",
				&user, &system),
			 2);
	return (user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

static void look_takes_no_longer(const struct fixture *fixture)
{
	char value[1024] = "", line[64];
	object_create("frames", PAGE);
	must(chmod(NATIVE "/frames", 0666));
	snprintf(line, sizeof(line), "%d holder", hold(map_object, &BOB));
	become(&BOB);
	ssize_t len = getxattr(OBJECT, "user.shm.attached", value, sizeof(value) - 1);
	become(&ROOT);
	must((int)len);
	assert_string_equal(value, line);
	assert_in_range(looking_ms(fixture), 0, patience(LOOK_MS));
}

static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int ask(int number)
{
	char value[65536];
	for (;;)
		getxattr(MNT "/big", "user.shm.attached", value, sizeof(value));
	return 0;
}

static void others_are_served_meanwhile(void)
{
	pid_t child;
	long worst = 0;
	object_create("bobs", PAGE);
	become(&ALICE);
	child = child_start(ask, 0);
	become(&BOB);
	for (long end = now_ms() + 1500; now_ms() < end; usleep(1000)) {
		long began = now_ms();
		assert_int_equal(file_stat(MNT "/bobs").st_size, PAGE);
		if (now_ms() - began > worst)
			worst = now_ms() - began;
	}
	become(&ROOT);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	print_message("worst: %ld ms\n", worst);
	assert_in_range(worst, 0, patience(STAT_MS));
}

static void a_crowd_costs_others_little(void **state)
{
	start_crowd();
	look_takes_no_longer(*state);
	others_are_served_meanwhile();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_crowd_costs_others_little, fixture_mount,
						end_case),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
