/* SPDX-License-Identifier: MIT */
/*
 * Segments of huge pages (SHM_HUGETLB).  The kernel binds no file to them
 * (hugetlbfs forbids to be stacked on), so they are served by every engine:
 * read and written, and mapped by shmat(2) alone.
 */
#include "harness.h"

#include "engine.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/xattr.h>

enum { KEY = 3148, POOL = 6, SKIPPED = 77 };

#define SEGMENT MNT "/3148"
#define POOL_FILE "/proc/sys/vm/nr_hugepages"

static size_t huge; /* bytes of a huge page */
static char *bytes; /* of POOL huge pages */

/* --- the pool --- */

/* A line of /proc/meminfo, in its unit. */
static size_t memory_info(const char *field)
{
	char line[128];
	size_t value = 0;
	FILE *info = fopen("/proc/meminfo", "re");
	while (info && fgets(line, sizeof(line), info)) {
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtoul(line + strlen(field), NULL, 10);
	}
	if (info)
		fclose(info);
	return value;
}

static long pool_size(int pool)
{
	char text[32] = "";
	return pread(pool, text, sizeof(text) - 1, 0) > 0 ? strtol(text, NULL, 10) : -1;
}

static bool pool_resize(int pool, long pages)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "%ld\n", pages);
	return pwrite(pool, text, (size_t)length, 0) == length && pool_size(pool) >= pages;
}

/*
 * The pool is the whole machine's: one test at a time has it, from a parent
 * process that gives it back whatever becomes of the test.  Returns in the
 * child.
 */
static void hold_huge_pages(void)
{
	int pool = open(POOL_FILE, O_RDWR | O_CLOEXEC);
	if (pool == -1 || flock(pool, LOCK_EX) == -1) {
		puts("skipped: needs root and huge pages, " POOL_FILE);
		exit(SKIPPED);
	}
	long before = pool_size(pool);
	long free_pages = (long)memory_info("HugePages_Free:");
	huge = memory_info("Hugepagesize:") * 1024;
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (!pool_resize(pool, before - free_pages + POOL)) {
		pool_resize(pool, before);
		printf("skipped: no room for %d huge pages\n", POOL);
		exit(SKIPPED);
	}
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		signal(SIGHUP, SIG_DFL);
		close(pool);
		return;
	}
	int status = 1;
	if (child != -1)
		waitpid(child, &status, 0);
	pool_resize(pool, before);
	_exit(exit_status(status));
}

static size_t pages_free(void)
{
	return memory_info("HugePages_Free:");
}

/* --- segments --- */

static int huge_segment(size_t size)
{
	return segment_create(KEY, size, SHM_HUGETLB | 0666);
}

static bool is_huge(int id)
{
	const void *memory = segment_attach(id);
	bool result = inode_is_huge(memory, segment_stat(id).shm_segsz, huge);
	segment_detach(memory);
	return result;
}

static void it_is_listed_with_its_size(void **state)
{
	int id = huge_segment(2 * huge - 1000);
	assert_true(directory_lists(MNT, "3148"));
	struct stat data = file_stat(SEGMENT);
	assert_int_equal(data.st_size, 2 * huge - 1000);
	assert_int_equal(data.st_mode, S_IFREG | 0666);
	assert_int_equal(data.st_nlink, 1);
	assert_int_equal(data.st_blocks, 0);
	segment_put(id, 0, "x", 1);
	assert_true(eventually(file_stat(SEGMENT).st_blocks > 0));
	/* The kernel's table counts huge pages as many times (Linux 6.18): not more than all. */
	assert_in_range((size_t)file_stat(SEGMENT).st_blocks * 512, huge, 2 * huge);
}

/* Its memory is on a filesystem of its own. */
static void who_has_it_attached_is_named(void **state)
{
	char line[64];
	char value[256];
	const void *memory = segment_attach(huge_segment(huge));
	prctl(PR_SET_NAME, "holder");
	snprintf(line, sizeof(line), "%d holder", getpid());
	ssize_t length = must(getxattr(SEGMENT, "user.shm.attached", value, sizeof(value) - 1));
	segment_detach(memory);
	value[length] = '\0';
	assert_string_equal(value, line);
	assert_true(eventually(getxattr(SEGMENT, "user.shm.attached", value, sizeof(value)) == 0));
}

static bool status_tells(void)
{
	char status[64] = "";
	must(getxattr(SEGMENT, "user.shm.status", status, sizeof(status) - 1));
	assert_true(!status[0] || strcmp(status, "hugetlb") == 0);
	return status[0];
}

/* The kernel does not say it: a descriptor does. */
static void its_status_tells_while_it_is_open(void **state)
{
	huge_segment(2 * huge);
	assert_false(status_tells());
	int fd = must(open(SEGMENT, O_RDONLY));
	assert_true(status_tells());
	close(fd);
	must(setxattr(SEGMENT, "user.note", "x", 1, 0));
}

static void it_is_read_to_its_end(void **state)
{
	const size_t size = 2 * huge - 1000;
	static const int modes[] = { O_RDONLY, O_RDWR };
	int id = huge_segment(size);
	segment_put(id, 0, bytes, size);
	for (size_t i = 0; i < array_size(modes); i++) {
		char buffer[2000];
		int fd = must(open(SEGMENT, modes[i]));
		assert_int_equal(pread(fd, buffer, 2000, (off_t)huge - 1000), 2000);
		assert_memory_equal(buffer, bytes + huge - 1000, 2000);
		/* The page goes on; the segment does not. */
		assert_int_equal(pread(fd, buffer, 2000, (off_t)size - 10), 10);
		assert_memory_equal(buffer, bytes + size - 10, 10);
		assert_int_equal(pread(fd, buffer, 2000, (off_t)size), 0);
		close(fd);
	}
	assert_true(file_has(SEGMENT, 0, bytes, size));
	assert_int_equal(segment_stat(id).shm_nattch, 0);
}

static void reading_what_was_never_touched_takes_no_page(void **state)
{
	char buffer[100];
	huge_segment(2 * huge);
	size_t before = pages_free();
	int fd = must(open(SEGMENT, O_RDONLY));
	assert_int_equal(pread(fd, buffer, 100, (off_t)huge), 100);
	assert_true(buffer[0] == 0 && memcmp(buffer, buffer + 1, 99) == 0);
	close(fd);
	assert_int_equal(pages_free(), before);
}

static void it_is_written(void **state)
{
	const size_t size = 2 * huge;
	static const int modes[] = { O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC };
	int id = huge_segment(size);
	const char *memory = segment_attach(id);
	for (size_t i = 0; i < array_size(modes); i++) {
		int fd = must(open(SEGMENT, modes[i]));
		assert_int_equal(pwrite(fd, bytes + i, 2000, (off_t)huge - 1000), 2000);
		assert_memory_equal(memory + huge - 1000, bytes + i, 2000);
		/* In use it does not grow. */
		assert_int_equal(pwrite(fd, bytes, 2000, (off_t)size - 10), 10);
		must_fail(ENOSPC, pwrite(fd, bytes, 1, (off_t)size));
		close(fd);
	}
	assert_int_equal(segment_find(KEY), id);
	assert_int_equal(segment_stat(id).shm_segsz, size);
	segment_detach(memory);
}

static void copies_to_and_from_it_compare_equal(void **state)
{
	char output[256];
	huge_segment(2 * huge);
	file_write(TMP "/movie", O_CREAT, bytes, 2 * huge);
	assert_int_equal(shell(output, sizeof(output),
			       "cp " TMP "/movie " SEGMENT " && cmp " TMP "/movie " SEGMENT
			       " && cp " SEGMENT " " TMP "/copy"
			       " && cmp " TMP "/movie " TMP "/copy"),
			 0);
	assert_string_equal(output, "");
	assert_true(segment_has(segment_find(KEY), 0, bytes, 2 * huge));
	assert_true(is_huge(segment_find(KEY)));
}

static void clearing_zeroes_it_and_keeps_it(void **state)
{
	int id = huge_segment(2 * huge);
	segment_put(id, 0, bytes, 2 * huge);
	must(truncate(SEGMENT, 0));
	assert_int_equal(segment_find(KEY), id);
	assert_true(segment_is_zero(id, 0, 2 * huge));
	segment_put(id, huge, bytes, huge);
	int fd = must(open(SEGMENT, O_WRONLY | O_TRUNC));
	close(fd);
	assert_true(segment_is_zero(id, 0, 2 * huge));
}

static void resized_it_is_of_huge_pages_still(void **state)
{
	size_t before = pages_free();
	int id = huge_segment(huge);
	segment_chown(id, BOB.uid, BOB.gid);
	segment_put(id, 0, bytes, huge);
	must(truncate(SEGMENT, (off_t)(2 * huge)));
	id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, 2 * huge);
	assert_true(is_huge(id));
	assert_true(segment_has(id, 0, bytes, huge));
	assert_true(segment_is_zero(id, huge, huge));
	assert_int_equal(segment_stat(id).shm_perm.uid, BOB.uid);
	must(truncate(SEGMENT, 5000));
	id = segment_find(KEY);
	assert_int_equal(segment_stat(id).shm_segsz, 5000);
	assert_true(is_huge(id));
	assert_true(segment_has(id, 0, bytes, 5000));
	assert_int_equal(segments_count(), 1);
	must(unlink(SEGMENT));
	assert_int_equal(pages_free(), before);
}

static void a_resize_for_which_there_are_no_pages_changes_nothing(void **state)
{
	int id = huge_segment(2 * huge);
	segment_put(id, 0, bytes, 2 * huge);
	assert_int_equal(truncate(SEGMENT, (off_t)(100 * huge)), -1);
	assert_true(errno == ENOMEM || errno == ENOSPC);
	assert_int_equal(segment_stat(segment_find(KEY)).shm_segsz, 2 * huge);
	assert_true(is_huge(segment_find(KEY)));
	assert_true(segment_has(segment_find(KEY), 0, bytes, 2 * huge));
	assert_int_equal(segments_count(), 1);
}

static void it_is_mapped_by_shmat_alone(void **state)
{
	static const int modes[] = { O_RDONLY, O_RDWR };
	int id = huge_segment(2 * huge);
	char *memory = segment_attach(id), byte;
	for (size_t i = 0; i < array_size(modes); i++) {
		int fd = must(open(SEGMENT, modes[i]));
		assert_ptr_equal(mmap(NULL, 2 * huge, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
		assert_int_equal(errno, ENODEV);
		memory[huge] = (char)('a' + i);
		assert_int_equal(pread(fd, &byte, 1, (off_t)huge), 1);
		assert_int_equal(byte, 'a' + i);
		close(fd);
	}
	segment_detach(memory);
}

static void removed_it_gives_its_pages_back(void **state)
{
	char byte;
	size_t before = pages_free();
	segment_put(huge_segment(2 * huge), 0, bytes, 2 * huge);
	int fd = must(open(SEGMENT, O_RDWR));
	must(unlink(SEGMENT));
	assert_int_equal(segments_count(), 0);
	assert_int_equal(pread(fd, &byte, 1, 1000), 1);
	assert_int_equal(byte, bytes[1000]);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)huge), 1);
	close(fd);
	assert_true(eventually(pages_free() == before));
}

/* --- pages that are not to be had --- */

/* Promised without being reserved: who touches the last meets SIGBUS. */
static int overcommitted_segment(void)
{
	return segment_create(KEY, (POOL + 2) * huge, SHM_HUGETLB | SHM_NORESERVE | 0666);
}

static void check_exhausted(const struct fixture *fixture, int fd)
{
	size_t done = 0;
	ssize_t count;
	char byte;
	while ((count = pwrite(fd, bytes, huge, (off_t)done)) > 0)
		done += (size_t)count;
	assert_int_equal(count, -1);
	assert_true(errno == ENOMEM || errno == ENOSPC);
	assert_int_equal(done, POOL * huge);
	count = pread(fd, &byte, 1, (off_t)done);
	assert_true(count == -1 || (count == 1 && byte == 0));
	assert_int_equal(pread(fd, &byte, 1, 1000), 1);
	assert_int_equal(byte, bytes[1000]);
	assert_int_equal(waitpid(fixture->daemon, NULL, WNOHANG), 0);
}

static void where_pages_run_out_a_write_ends(void **state)
{
	overcommitted_segment();
	int fd = must(open(SEGMENT, O_RDWR));
	check_exhausted(*state, fd);
	close(fd);
	file_write(MNT "/3149", O_CREAT, "still serving", 13);
	assert_true(segment_has(segment_find(3149), 0, "still serving", 13));
}

/* Attached by the daemon, which touches the pages itself. */
static int write_until_the_end(void *arg)
{
	char byte;
	size_t done = 0;
	ssize_t count;
	int fd = open(SEGMENT, O_RDWR);
	child_must(fd != -1);
	while ((count = pwrite(fd, bytes, huge, (off_t)done)) > 0)
		done += (size_t)count;
	child_must(count == -1 && (errno == ENOMEM || errno == ENOSPC));
	child_must(done == POOL * huge);
	child_must(pread(fd, &byte, 1, (off_t)done) == -1);
	child_must(pread(fd, &byte, 1, 1000) == 1 && byte == bytes[1000]);
	child_must(close(fd) == 0);
	fd = open(MNT "/3149", O_CREAT | O_RDWR, 0600);
	child_must(fd != -1 && write(fd, "still serving", 13) == 13);
	return 0;
}

static void where_pages_run_out_a_users_daemon_serves_on(void **state)
{
	overcommitted_segment();
	assert_int_equal(run_as(&NOBODY, write_until_the_end, NULL), 0);
}

static int read_and_write(void *arg)
{
	char buffer[2000];
	int fd = open(SEGMENT, O_RDWR);
	child_must(fd != -1);
	child_must(pread(fd, buffer, 2000, (off_t)huge - 1000) == 2000);
	child_must(memcmp(buffer, bytes + huge - 1000, 2000) == 0);
	child_must(pwrite(fd, "user", 4, (off_t)huge) == 4);
	child_must(pread(fd, buffer, 10, (off_t)(2 * huge)) == 0);
	child_must(close(fd) == 0);
	child_must(truncate(SEGMENT, 0) == 0);
	return 0;
}

static void a_users_daemon_reads_and_writes_it(void **state)
{
	int id = huge_segment(2 * huge);
	segment_put(id, 0, bytes, 2 * huge);
	assert_int_equal(run_as(&NOBODY, read_and_write, NULL), 0);
	assert_int_equal(segment_find(KEY), id);
	assert_true(segment_is_zero(id, 0, 2 * huge));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(it_is_listed_with_its_size),
		mounted(who_has_it_attached_is_named),
		mounted(its_status_tells_while_it_is_open),
		mounted(it_is_read_to_its_end),
		mounted(reading_what_was_never_touched_takes_no_page),
		mounted(it_is_written),
		mounted(copies_to_and_from_it_compare_equal),
		mounted(clearing_zeroes_it_and_keeps_it),
		mounted(resized_it_is_of_huge_pages_still),
		mounted(a_resize_for_which_there_are_no_pages_changes_nothing),
		mounted(it_is_mapped_by_shmat_alone),
		mounted(removed_it_gives_its_pages_back),
		mounted(where_pages_run_out_a_write_ends),
		mounted_by_user(where_pages_run_out_a_users_daemon_serves_on),
		mounted_by_user(a_users_daemon_reads_and_writes_it),
	};

	hold_huge_pages();
	harness_enter(SHMFS_BINARY);
	bytes = malloc(POOL * huge);
	if (!bytes)
		return 1;
	pattern_fill(bytes, POOL * huge, 11);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
