/* SPDX-License-Identifier: MIT */
/* Two mounts of one namespace: what one does to a key is no fault of the other's users. */
#include "harness.h"

enum { KEY = 3148, ROUNDS = 150, SIZE = 4 << 20, READING_MS = 300 };

#define SEGMENT MNT "/3148"
#define OTHER STAGE "/other"

static void mount_other(void **state)
{
	(void)state;
	must(mkdir(OTHER, 0755));
	assert_int_equal(shell(NULL, 0, BIN "/shmfs " OTHER), 0);
}

static void unmount_other(void)
{
	assert_true(eventually(umount2(OTHER, 0) == 0));
	must(rmdir(OTHER));
}

static int make_segment(void *arg)
{
	(void)arg;
	char *memory = shmat(shmget(KEY, SIZE, IPC_CREAT | 0600), NULL, 0);
	child_must(memory != (void *)-1);
	memset(memory, 'x', SIZE);
	return shmdt(memory);
}

static int resize_again_and_again(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++)
		(void)!truncate(SEGMENT, SIZE + i);
	return 0;
}

/* How many opens of the owner were refused while the other mount resized. */
static int open_meanwhile(void *arg)
{
	pid_t resizer = *(const pid_t *)arg;
	int refused = 0;
	while (kill(resizer, 0) == 0 || errno == EPERM) {
		int fd = open(OTHER "/3148", O_RDONLY);
		if (fd == -1 && errno == EACCES)
			refused++;
		else
			close(fd);
	}
	return refused > 100 ? 100 : refused;
}

static void an_owners_opens_are_not_refused_while_another_mount_resizes(void **state)
{
	mount_other(state);
	assert_int_equal(run_as(&NOBODY, make_segment, NULL), 0);
	pid_t resizer = must(fork());
	if (resizer == 0)
		_exit(run_as(&NOBODY, resize_again_and_again, NULL));
	pid_t opener = must(fork());
	if (opener == 0)
		_exit(run_as(&NOBODY, open_meanwhile, &resizer));
	int status;
	must(waitpid(resizer, &status, 0));
	must(waitpid(opener, &status, 0));
	unmount_other();
	assert_int_equal(status, 0);
}

static void a_resize_waits_for_a_reader_of_another_mount(void **state)
{
	static const int modes[] = { O_RDONLY, O_RDWR };
	mount_other(state);
	segment_create(KEY, SIZE, 0600);
	for (int i = 0; i < 2; i++) {
		pid_t reader = must(fork());
		if (reader == 0) {
			int fd = open(SEGMENT, modes[i]);
			usleep(READING_MS * 1000);
			_exit(fd == -1);
		}
		usleep(READING_MS / 3 * 1000);
		must(truncate(OTHER "/3148", SIZE + 1 + i));
		int status;
		must(waitpid(reader, &status, 0));
		assert_int_equal(status, 0);
	}
	unmount_other();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(an_owners_opens_are_not_refused_while_another_mount_resizes),
		mounted_with(an_owners_opens_are_not_refused_while_another_mount_resizes,
			     "nopassthrough"),
		mounted(a_resize_waits_for_a_reader_of_another_mount),
		mounted_with(a_resize_waits_for_a_reader_of_another_mount, "nopassthrough"),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
