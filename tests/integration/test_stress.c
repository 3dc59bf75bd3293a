/* SPDX-License-Identifier: MIT */
/*
 * Many processes at the same few names, and many objects under one name: no
 * wrong byte, no call that does not return, nothing remembered for ever.
 */
#include "harness.h"

#include <sys/mman.h>

enum { KEY = 3148, PAGE = 4096 };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

/* For longer runs by hand. */
static const char *setting(const char *name, const char *otherwise)
{
	const char *value = getenv(name);
	return value ? value : otherwise;
}

static void no_byte_is_wrong_whatever_others_do(void **state)
{
	const char *seconds = setting("SHMFS_STRESS_SECONDS", "8");

	assert_int_equal(shell(NULL, 0, STRESS_PROGRAM " --seconds %s " MNT, seconds), 0);
	assert_int_equal(segments_count(), 0);
	assert_int_equal(directory_count(NATIVE), 0);
}

static void look_up_new_segments(int count)
{
	for (int i = 0; i < count; i++) {
		int id = segment_create(KEY, PAGE, 0600);
		assert_int_equal(file_stat(SEGMENT).st_size, PAGE);
		segment_remove(id);
	}
}

static void look_up_new_objects(int count)
{
	for (int i = 0; i < count; i++) {
		close(must(shm_open("/frames", O_CREAT | O_EXCL | O_RDWR, 0600)));
		assert_int_equal(file_stat(OBJECT).st_size, 0);
		must(shm_unlink("/frames"));
	}
}

/* One object after the other, each an inode that the kernel forgets in the end. */
static void what_is_gone_is_forgotten(void **state)
{
	void (*const look_up[])(int) = { look_up_new_segments, look_up_new_objects };
	const int lookups = atoi(setting("SHMFS_STRESS_LOOKUPS", "50000"));
	for (size_t i = 0; i < array_size(look_up); i++) {
		look_up[i](2000);
		long before = daemon_status(*state, "RssAnon:");
		look_up[i](lookups);
		long grown = daemon_status(*state, "RssAnon:") - before;
		/* The least that is kept of an inode is some 100 bytes: 5 MiB of them. */
		if (!SANITIZED && grown > 1024)
			fail_msg("after %d lookups it has %ld KiB more", lookups, grown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(no_byte_is_wrong_whatever_others_do),
		mounted(what_is_gone_is_forgotten),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
