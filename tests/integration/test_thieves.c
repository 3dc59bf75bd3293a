/* SPDX-License-Identifier: MIT */
/*
 * Other users who are in the way on purpose: they take what a resize needs in the
 * middle of it, or a shmid between the check of rights and the attachment.  No
 * byte is lost, and no right is gained.
 */
#include "moment.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096, SIZE = 3 * PAGE, LARGE = 16 << 20 };

#define PATH MNT "/3148"

static char bytes[SIZE];
static volatile bool *stop; /* shared with the thieves */

static pid_t start_thief(const struct user *user, int (*thief)(int number), int number)
{
	stop = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(stop, MAP_FAILED);
	become(user);
	pid_t child = child_start(thief, number);
	become(&ROOT);
	return child;
}

static void end_thief(pid_t child)
{
	*stop = true;
	assert_int_equal(children_join(&child, 1), 0);
}

static int full_segment(void)
{
	pattern_fill(bytes, sizeof(bytes), 1);
	int id = segment_create(KEY, sizeof(bytes), 0640);
	segment_put(id, 0, bytes, sizeof(bytes));
	return id;
}

/* Under its key, or, where that is gone, under an id that the log names. */
static bool is_content_kept(void)
{
	char id[16];
	int found = segment_find(KEY);
	if (found != -1 && segment_has(found, 0, bytes, SIZE))
		return true;
	found = segment_search(found, bytes, SIZE);
	snprintf(id, sizeof(id), "%d", found);
	return found != -1 && daemon_said(id);
}

/* --- slots --- */

static int take_slots(int number)
{
	while (!*stop) {
		int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
		if (id != -1)
			shmctl(id, IPC_RMID, NULL);
	}
	return 0;
}

static void a_thief_of_slots_costs_no_byte(void **state)
{
	/* The segment, a rescue, and the new one: not a slot too many. */
	for (unsigned slots = 2; slots <= 5; slots++) {
		full_segment();
		limit_set("shmmni", slots);
		pid_t thief = start_thief(&BOB, take_slots, 0);
		for (int i = 0; i < 300 && segment_find(KEY) != -1; i++) {
			int result = truncate(PATH, (4L + i % 2) * PAGE);
			assert_true(result == 0 || errno == ENOSPC);
		}
		end_thief(thief);
		limit_set("shmmni", 100);
		assert_true(is_content_kept());
		segments_remove_all();
	}
}

/* All of them are taken at once: the old content is under its key as before. */
static void without_a_slot_nothing_is_begun(void **state)
{
	int id = full_segment();
	for (unsigned slots = 1; slots <= 2; slots++) {
		limit_set("shmmni", slots);
		must_fail(ENOSPC, truncate(PATH, 5L * PAGE));
		int fd = must(open(PATH, O_WRONLY));
		must_fail(ENOSPC, pwrite(fd, "x", 1, 5L * PAGE));
		close(fd);
		assert_int_equal(segment_find(KEY), id);
	}
	limit_set("shmmni", 3);
	must(truncate(PATH, 5L * PAGE));
	assert_true(segment_has(segment_find(KEY), 0, bytes, SIZE));
	assert_int_equal(segments_count(), 1);
}

/* --- keys --- */

static int take_key(int number)
{
	while (!*stop) {
		if (shmget(number, PAGE, IPC_CREAT | IPC_EXCL | 0666) != -1)
			return 0;
	}
	return 0;
}

static void a_thief_of_the_key_gets_no_content(void **state)
{
	for (int round = 0; round < 3; round++) {
		full_segment();
		pid_t thief = start_thief(&BOB, take_key, KEY);
		for (int i = 0; i < 300 && segment_stat(segment_find(KEY)).shm_perm.cuid == 0;
		     i++) {
			int result = truncate(PATH, (4L + i % 2) * PAGE);
			assert_true(result == 0 || errno == EEXIST);
		}
		end_thief(thief);
		assert_true(is_content_kept());
		segments_remove_all();
	}
}

static int enlarge(int number)
{
	return truncate(PATH, 5L * PAGE) == 0;
}

/* What a replacer that is killed has made under the key is removed, and nothing else. */
static void a_thief_keeps_the_key_when_the_replacer_is_killed(void **state)
{
	char pid[32];
	full_segment();
	plan("shmget");
	pid_t child = child_start(enlarge, 0);
	plan_await();
	become(&BOB);
	int thiefs = segment_create(KEY, PAGE, 0666);
	become(&ROOT);
	assert_int_equal(
		shell(pid, sizeof(pid), "grep -lx shmfs-replace /proc/[0-9]*/comm | cut -d/ -f3"),
		0);
	must(kill(atoi(pid), SIGKILL));
	plan_go_on();
	assert_int_equal(children_join(&child, 1), 0);
	assert_int_equal(segment_find(KEY), thiefs);
	assert_true(is_content_kept());
}

/* --- descriptors --- */

static void a_hog_of_descriptors_costs_no_byte(void **state)
{
	enum { MOST = 256 };
	const struct rlimit few = { MOST, MOST };
	static int hog[MOST];
	struct fixture *fixture = *state;
	int count = 0;
	must(prlimit(0, RLIMIT_NOFILE, &few, NULL));
	daemon_start(fixture, NULL);
	object_create("frames", PAGE);
	full_segment();
	int fd = must(open(PATH, O_WRONLY));
	while (count < MOST && (hog[count] = open(MNT "/frames", O_RDWR)) != -1)
		count++;
	/* Half of what the daemon leaves itself is root's, and one of these is `fd`. */
	struct rlimit limit;
	must(prlimit(fixture->daemon, RLIMIT_NOFILE, NULL, &limit));
	assert_true(limit.rlim_cur < MOST);
	assert_int_equal(count, limit.rlim_cur / 2 - 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pwrite(fd, "more", 4, (off_t)SIZE << i), 4);
	assert_true(segment_has(segment_find(KEY), 0, bytes, SIZE));
	while (count > 0)
		close(hog[--count]);
	close(fd);
	assert_true(segment_has(segment_find(KEY), (size_t)SIZE << 3, "more", 4));
	daemon_stop(fixture);
}

/* --- memory --- */

static int take_locked_memory(void *arg)
{
	const struct rlimit limit = { 64 << 10, 64 << 10 };
	child_must(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	int id = shmget(KEY, PAGE, IPC_CREAT | 0600);
	child_must(id != -1 && shmctl(id, SHM_LOCK, NULL) == 0);
	child_must(truncate(PATH, 4 << 20) == -1 && errno == ENOMEM);
	child_must(segment_stat(id).shm_perm.mode & SHM_LOCKED);
	child_must(truncate(PATH, 60 << 10) == 0);
	id = segment_find(KEY);
	child_must(segment_stat(id).shm_perm.mode & SHM_LOCKED);
	/* It is on the same account still. */
	child_must(shmget(KEY + 1, 32 << 10, IPC_CREAT | 0600) != -1);
	child_must(shmctl(segment_find(KEY + 1), SHM_LOCK, NULL) == -1 && errno == ENOMEM);
	child_must(truncate(PATH, PAGE) == 0);
	child_must(shmctl(segment_find(KEY + 1), SHM_LOCK, NULL) == 0);
	return 0;
}

static void a_resize_locks_no_more_than_the_limit(void **state)
{
	struct stat ipc;
	/* Locked memory is counted by user, over all namespaces: one that no other test has. */
	must(stat("/proc/self/ns/ipc", &ipc));
	const uid_t uid = 4000000 + (uid_t)(ipc.st_ino % 1000000);
	const struct user user = { uid, uid, uid };
	assert_int_equal(run_as(&user, take_locked_memory, NULL), 0);
}

static void memory_that_never_comes_back_ends_the_wait(void **state)
{
	struct fixture *fixture = *state;
	static char large[LARGE];
	pattern_fill(large, LARGE, 2);
	int id = segment_create(KEY, LARGE, 0640);
	segment_put(id, 0, large, LARGE);
	plan("drought");
	assert_int_equal(truncate(PATH, LARGE + PAGE), -1);
	must(unlink(PLAN));
	/* What was moved is there, the rest is in the old segment. */
	int first = segment_find(KEY);
	assert_int_not_equal(first, -1);
	assert_true(segment_has(first, 0, large, 8 << 20));
	assert_true(segment_has(id, 8 << 20, large + (8 << 20), LARGE - (8 << 20)));
	assert_true(daemon_said("memory ran out"));
	daemon_stop(fixture); /* which has the old one attached */
	assert_int_equal(segments_count(), 1);
	daemon_start(fixture, NULL);
}

/* --- rights --- */

static int open_to_read(int id)
{
	char path[64], text[8] = "";
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	int fd = open(path, O_RDONLY);
	if (fd == -1)
		return 0;
	child_must(read(fd, text, 6) >= 0);
	child_must(strcmp(text, "secret") != 0);
	return 0;
}

static int open_to_clear(int id)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	close(open(path, O_WRONLY | O_TRUNC));
	return 0;
}

static int clear(int id)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	child_must(truncate(path, 0) == -1);
	return 0;
}

/* The next segment has this id: the same slot, perhaps, with another count of its users. */
static void choose_next_id(int id)
{
	char number[16];
	file_write("/proc/sys/kernel/shm_next_id", 0, number,
		   (size_t)snprintf(number, sizeof(number), "%d", id));
}

/*
 * While the daemon is about to attach what Bob may read and write, it becomes root's, of
 * that mode.
 */
static void swap_id(int (*attack)(int id), const struct user *first, unsigned mode)
{
	become(first);
	int id = segment_create(5000, PAGE, 0666);
	become(&ROOT);
	plan("attach");
	become(&BOB);
	pid_t child = child_start(attack, id);
	become(&ROOT);
	plan_await();
	segment_remove(id);
	choose_next_id(id);
	assert_int_equal(segment_create(6000, PAGE, mode), id);
	char *memory = segment_attach(id);
	strcpy(memory, "secret");
	segment_detach(memory);
	plan_go_on();
	assert_int_equal(children_join(&child, 1), 0);
	assert_true(segment_has(id, 0, "secret", 6));
	segment_remove(id);
}

static void a_right_is_of_the_segment_that_is_attached(void **state)
{
	static int (*const attacks[])(int) = { open_to_read, open_to_clear, clear };
	if (!file_exists("/proc/sys/kernel/shm_next_id"))
		skip();
	for (size_t i = 0; i < array_size(attacks); i++) {
		swap_id(attacks[i], &BOB, 0600);
		swap_id(attacks[i], &ROOT, 0600); /* nothing but the mode tells the two apart */
		if (i > 0)
			swap_id(attacks[i], &ROOT, 0644);
	}
}

static int open_and_measure(int id)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	int fd = open(path, O_RDONLY);
	child_must(fd != -1 && fstat(fd, &st) == 0);
	return st.st_size != PAGE;
}

static void a_size_is_of_the_segment_that_is_attached(void **state)
{
	if (!file_exists("/proc/sys/kernel/shm_next_id"))
		skip();
	int id = segment_create(5000, SIZE, 0666);
	plan("attach");
	pid_t child = child_start(open_and_measure, id);
	plan_await();
	segment_remove(id);
	choose_next_id(id);
	assert_int_equal(segment_create(6000, PAGE, 0666), id);
	plan_go_on();
	assert_int_equal(children_join(&child, 1), 0);
}

/* The kernel answers for whatever segment is in the slot of an id (SHM_STAT_ANY). */
static void the_id_of_a_removed_segment_leads_to_no_other(void **state)
{
	enum { SLOTS = 1 << 15 }; /* ipc/util.h, IPCMNI_SHIFT */
	char path[64];
	if (!file_exists("/proc/sys/kernel/shm_next_id"))
		skip();
	int id = segment_create(5000, PAGE, 0666);
	segment_remove(id);
	choose_next_id(id + SLOTS);
	assert_int_equal(segment_create(6000, PAGE, 0666), id + SLOTS);
	snprintf(path, sizeof(path), MNT "/.by-id/%d", id);
	assert_false(file_exists(path));
	must_fail(ENOENT, unlink(path));
	assert_int_equal(segment_find(6000), id + SLOTS);
}

static int resize_as_creator(void *arg)
{
	child_must(truncate(PATH, SIZE) == 0);
	return segment_stat(segment_find(KEY)).shm_perm.uid != ALICE.uid;
}

/* He may write: that makes nobody an owner. */
static int resize_as_stranger(void *arg)
{
	int fd = open(PATH, O_WRONLY);
	child_must(fd != -1);
	child_must(truncate(PATH, SIZE) == -1 && errno == EPERM);
	child_must(ftruncate(fd, SIZE) == -1 && errno == EPERM);
	child_must(pwrite(fd, "x", 1, SIZE) == -1 && errno == ENOSPC);
	return segment_stat(segment_find(KEY)).shm_segsz != PAGE;
}

/* As the kernel has it (ipc/util.c, ipcctl_obtain_check()). */
static void a_creator_keeps_the_rights_of_an_owner(void **state)
{
	become(&BOB);
	int id = segment_create(KEY, PAGE, 0666);
	become(&ROOT);
	segment_chown(id, ALICE.uid, ALICE.gid);
	assert_int_equal(run_as(&NOBODY, resize_as_stranger, NULL), 0);
	assert_int_equal(run_as(&BOB, resize_as_creator, NULL), 0);
	must(unlink(PATH));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted(a_thief_of_slots_costs_no_byte),
		mounted(without_a_slot_nothing_is_begun),
		mounted(a_thief_of_the_key_gets_no_content),
		mounted(a_resize_locks_no_more_than_the_limit),
		racing(memory_that_never_comes_back_ends_the_wait),
		racing(a_thief_keeps_the_key_when_the_replacer_is_killed),
		racing(a_right_is_of_the_segment_that_is_attached),
		racing(a_size_is_of_the_segment_that_is_attached),
		mounted(the_id_of_a_removed_segment_leads_to_no_other),
		mounted(a_creator_keeps_the_rights_of_an_owner),
		/* The last, for it lowers a limit for good. */
		bare(a_hog_of_descriptors_costs_no_byte),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
