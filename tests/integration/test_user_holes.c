/* SPDX-License-Identifier: MIT */
/* An ordinary user's daemon attaches segments: what it does not touch stays a hole. */
#include "harness.h"

#include <sys/mman.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 3 * PAGE, BIG = 4 << 20 };

#define SEGMENT MNT "/3148"

static unsigned long resident_pages(void)
{
	struct shm_info info = { 0 };
	shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
	return info.shm_rss;
}

static int read_holes(void *arg)
{
	static char found[BIG];
	static const char zeros[BIG];
	int id = shmget(KEY, BIG, IPC_CREAT | IPC_EXCL | 0600);
	char *memory = shmat(id, NULL, 0);
	child_must(memory != (void *)-1);
	memcpy(memory + BIG / 2 + 100, "middle", 6);
	child_must(shmdt(memory) == 0);
	unsigned long pages = resident_pages();
	int fd = open(SEGMENT, O_RDWR);
	child_must(read(fd, found, BIG) == BIG);
	child_must(memcmp(found, zeros, BIG / 2 + 100) == 0);
	child_must(memcmp(found + BIG / 2 + 100, "middle", 7) == 0);
	child_must(pread(fd, found, 6, BIG / 2 + 102) == 6 && memcmp(found, "ddle", 5) == 0);
	child_must(pread(fd, found, BIG, BIG - PAGE - 1) == PAGE + 1);
	child_must(resident_pages() == pages);
	/* What becomes data is read as data. */
	child_must(pwrite(fd, "data", 4, 3 * PAGE - 2) == 4);
	child_must(pread(fd, found, 5 * PAGE, 0) == 5 * PAGE);
	child_must(memcmp(found + 3 * PAGE - 2, "data", 5) == 0);
	child_must(resident_pages() == pages + 2);
	return close(fd);
}

static void reading_holes_allocates_nothing(void **state)
{
	assert_int_equal(run_as(&NOBODY, read_holes, NULL), 0);
}

/* The page that the end is in goes as well. */
static int clear_to_the_last_page(void *arg)
{
	char bytes[SIZE];
	unsigned long pages = resident_pages();
	int fd = open(SEGMENT, O_CREAT | O_RDWR, 0600);
	pattern_fill(bytes, SIZE, 9);
	child_must(write(fd, bytes, SIZE - 100) == SIZE - 100 && close(fd) == 0);
	child_must(resident_pages() == pages + 3);
	child_must(truncate(SEGMENT, 0) == 0);
	child_must(resident_pages() == pages);
	return 0;
}

static void clearing_gives_all_pages_back(void **state)
{
	assert_int_equal(run_as(&NOBODY, clear_to_the_last_page, NULL), 0);
}

static int copy_much(void *arg)
{
	enum { MUCH = 2 * BIG + PAGE };
	static char found[MUCH];
	int id = shmget(KEY, MUCH, IPC_CREAT | IPC_EXCL | 0600);
	char *memory = shmat(id, NULL, 0);
	child_must(memory != (void *)-1);
	memcpy(memory, "head", 4);
	memcpy(memory + MUCH - 4, "tail", 4);
	int from = open(SEGMENT, O_RDONLY);
	int to = open(MNT "/3149", O_CREAT | O_RDWR, 0600);
	for (ssize_t n = 1; n > 0;) {
		n = copy_file_range(from, NULL, to, NULL, MUCH, 0);
		child_must(n >= 0);
	}
	child_must(lseek(to, 0, SEEK_END) == MUCH);
	for (off_t pos = 0; pos < MUCH; pos += BIG)
		child_must(pread(to, found + pos, (size_t)(MUCH - pos < BIG ? MUCH - pos : BIG),
				 pos) > 0);
	child_must(memcmp(found, memory, MUCH) == 0);
	child_must(shmdt(memory) == 0);
	return close(from) | close(to);
}

static void more_is_copied_than_is_read_at_once(void **state)
{
	assert_int_equal(run_as(&NOBODY, copy_much, NULL), 0);
}

static bool is_written(int fd, char *bytes, unsigned seed, const char *memory)
{
	pattern_fill(bytes, BIG, seed);
	return pwrite(fd, bytes, BIG, 0) == BIG && memcmp(memory, bytes, BIG) == 0;
}

static int write_again(void *arg)
{
	static char bytes[BIG];
	int id = shmget(KEY, BIG, IPC_CREAT | IPC_EXCL | 0600);
	char *memory = shmat(id, NULL, 0);
	child_must(memory != (void *)-1);
	unsigned long pages = resident_pages();
	int fd = open(SEGMENT, O_WRONLY);
	child_must(is_written(fd, bytes, 1, memory));
	/* Another process gives the pages back, then a file does. */
	child_must(madvise(memory, BIG, MADV_REMOVE) == 0 && memory[BIG / 2] == 0);
	child_must(is_written(fd, bytes, 2, memory));
	child_must(truncate(SEGMENT, 0) == 0 && resident_pages() == pages);
	child_must(memory[BIG / 2] == 0);
	child_must(is_written(fd, bytes, 3, memory));
	child_must(resident_pages() == pages + BIG / PAGE);
	return close(fd) | shmdt(memory);
}

static void pages_that_were_given_back_are_written_again(void **state)
{
	assert_int_equal(run_as(&NOBODY, write_again, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted_by_user(reading_holes_allocates_nothing),
		mounted_by_user(clearing_gives_all_pages_back),
		mounted_by_user(more_is_copied_than_is_read_at_once),
		mounted_by_user(pages_that_were_given_back_are_written_again),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
