/* SPDX-License-Identifier: MIT */
/* What the daemon is started with must not matter: descriptors, signals. */
#include "harness.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096 };

#define SEGMENT MNT "/3148"

static void start(const char *before, const char *after)
{
	char output[256];
	int status = shell(output, sizeof(output), "%s " BIN "/shmfs " MNT " %s", before, after);
	if (status != 0)
		fail_msg("%s shmfs %s: status %d, %s", before, after, status, output);
}

static void assert_serves(void)
{
	int id = segment_create(KEY, PAGE, 0600);
	file_write(SEGMENT, 0, "hi", 2);
	assert_true(segment_has(id, 0, "hi", 2));
}

static int end(void **state)
{
	umount2(MNT, MNT_DETACH);
	return fixture_end(state);
}

static void standard_descriptors_may_be_closed(void **state)
{
	static const char *const closed[] = { "<&-", ">&-", "2>&-", "<&- >&- 2>&-" };
	for (size_t i = 0; i < array_size(closed); i++) {
		start("", closed[i]);
		assert_serves();
		must(umount2(MNT, MNT_DETACH));
		segments_remove_all();
	}
}

static int lock_own_segment(void *arg)
{
	alarm((unsigned)patience(10));
	child_must(setxattr(SEGMENT, "user.shm.locked", "1", 1, 0) == 0);
	return 0;
}

/* It is the end of a child that tells how locking for a user went. */
static void the_end_of_children_may_be_ignored(void **state)
{
	start("env --ignore-signal=CHLD", "");
	assert_serves();
	segment_chown(segment_find(KEY), ALICE.uid, ALICE.gid);
	assert_int_equal(run_as(&ALICE, lock_own_segment, NULL), 0);
}

/* An object that is made shorter under the daemon is a signal to it. */
static void a_signal_that_is_needed_may_be_blocked(void **state)
{
	char output[64];
	unsigned long long blocked;
	start("env --block-signal=BUS", "");
	assert_serves();
	assert_int_equal(shell(output, sizeof(output),
			       "sed -n 's/^SigBlk://p' $(dirname $(grep -lx shmfs "
			       "/proc/[0-9]*/comm))/task/*/status | sort -u"),
			 0);
	assert_int_not_equal(output[0], '\0');
	for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n")) {
		blocked = strtoull(line, NULL, 16);
		assert_false(blocked & 1ull << (SIGBUS - 1));
	}
}

static void expect_greeting(const char *options, const char *word)
{
	char output[512];
	assert_int_equal(shell(output, sizeof(output),
			       "script -qec '" BIN "/shmfs %s " MNT "' /dev/null", options),
			 0);
	if (!is_one_line_with(output, word))
		fail_msg("\"%s\" is not one line with \"%s\"", output, word);
	must(umount2(MNT, MNT_DETACH));
}

static void a_person_at_a_terminal_is_told_the_engine(void **state)
{
	char engine[64] = "", output[512];
	start("", "");
	must(getxattr(MNT, "user.shmfs.engine", engine, sizeof(engine) - 1));
	must(umount2(MNT, MNT_DETACH));
	expect_greeting("", strcmp(engine, "passthrough") == 0 ? MNT ": kernel passthrough" :
								 "served by the daemon: ");
	expect_greeting("-o nopassthrough", "served by the daemon: nopassthrough was asked for");
	assert_int_equal(shell(output, sizeof(output), BIN "/shmfs " MNT " 2>&1"), 0);
	assert_string_equal(output, "");
}

#define started(test) cmocka_unit_test_setup_teardown(test, fixture_begin, end)

/* A /dev of which the test may change what it likes: a few devices are enough. */
static void enter_own_dev(void)
{
	static const char *const kept[] = { "fuse", "null", "shm" };
	char from[64], to[64];
	must(mkdir(TMP "/dev", 0755));
	must(mount("tmpfs", TMP "/dev", "tmpfs", 0, "mode=0755"));
	for (size_t i = 0; i < array_size(kept); i++) {
		snprintf(from, sizeof(from), "/dev/%s", kept[i]);
		snprintf(to, sizeof(to), TMP "/dev/%s", kept[i]);
		if (strcmp(kept[i], "shm") == 0)
			must(mkdir(to, 0755));
		else
			close(must(open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
		must(mount(from, to, NULL, MS_BIND, NULL));
	}
	must(mount(TMP "/dev", "/dev", NULL, MS_BIND | MS_REC, NULL));
}

static int leave_own_dev(void **state)
{
	umount2(MNT, MNT_DETACH);
	umount2("/dev", MNT_DETACH);
	umount2(TMP "/dev", MNT_DETACH);
	return fixture_end(state);
}

static int listen_to_syslog(void)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	const struct timeval patience = { .tv_sec = 10 };
	int fd = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	unlink("/dev/log");
	must(bind(fd, (const struct sockaddr *)&address, sizeof(address)));
	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
	return fd;
}

/* In the background syslog is all that it has, also after syslog was restarted. */
static void syslog_is_reached_from_behind_the_filter(void **state)
{
	char line[1024] = "";
	enter_own_dev();
	for (int restarted = 0; restarted < 2; restarted++) {
		int syslog = listen_to_syslog();
		start("", "");
		if (restarted) {
			close(syslog);
			syslog = listen_to_syslog();
		}
		must(mount("tmpfs", MNT, "tmpfs", 0, NULL));
		assert_int_equal(shell(NULL, 0,
				       "kill $(cat $(grep -lx shmfs /proc/[0-9]*/comm | "
				       "sed 's/comm$/stat/') | cut -d ' ' -f 1)"),
				 0);
		must(recv(syslog, line, sizeof(line) - 1, 0));
		assert_non_null(strstr(line, "something else is on " MNT));
		close(syslog);
		while (umount2(MNT, MNT_DETACH) == 0)
			;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		started(standard_descriptors_may_be_closed),
		started(the_end_of_children_may_be_ignored),
		started(a_signal_that_is_needed_may_be_blocked),
		started(a_person_at_a_terminal_is_told_the_engine),
		cmocka_unit_test_setup_teardown(syslog_is_reached_from_behind_the_filter,
						fixture_begin, leave_own_dev),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
