/* SPDX-License-Identifier: MIT */
/* `user.shm.attached`: who has a segment mapped, an object mapped or open. */
#include "harness.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/xattr.h>

#include "container.h"
#include "engine.h"
#include "holders.h"
#include "hung.h"

#define NEXT_ID "shm_next_id" /* in kernels for checkpoint and restore */
#define ATTACHED "user.shm.attached"

static void create_object_for_all(void)
{
	object_create("frames", PAGE);
	must(chmod(NATIVE "/frames", 0666));
}

/* --- other ways to have it --- */

static bool attach_and_remove(void)
{
	return attach() && shmctl(segment_find(KEY), IPC_RMID, NULL) == 0;
}

static void *stay(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static bool attach_and_open_in_a_thread(void)
{
	pthread_t thread;
	holder_thread_ends = true;
	return attach() && open_object() && pthread_create(&thread, NULL, stay, NULL) == 0;
}

/* --- what the mount says of them --- */

/* "PID holder" a line, in the order of the numbers, which is that of starting them. */
static const char *lines_of(const pid_t *pids, int count)
{
	static char text[HOLDERS * 32];
	size_t used = 0;
	text[0] = '\0';
	for (int i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%d holder\n", pids[i]);
	if (used > 0)
		text[used - 1] = '\0'; /* no newline at the end of a value */
	return text;
}

/* One look at /proc serves a moment, so what has just changed is told a moment later. */
static char *value_of(const char *path, const char *name, const char *expected)
{
	static char value[1024];
	bool is_equal = eventually(({
		ssize_t length = must(getxattr(path, name, value, sizeof(value) - 1));
		value[length] = '\0';
		strcmp(value, expected) == 0;
	}));
	(void)is_equal; /* the difference is for the assertion to show */
	return value;
}

static void assert_value(const char *path, const char *name, const char *expected)
{
	assert_string_equal(value_of(path, name, expected), expected);
}

static void assert_attached(const char *path, const pid_t *pids, int count)
{
	assert_value(path, ATTACHED, lines_of(pids, count));
}

static int end_case(void **state)
{
	become(&ROOT);
	hung_stop();
	let_go();
	return container_end(state);
}

static void mount_with(struct fixture *fixture, const char *options)
{
	daemon_start(fixture, options);
	daemon_is_idle(fixture);
}

/* --- segments --- */

static void those_attached_before_the_mount_are_named(void **state)
{
	segment_create(KEY, PAGE, 0600);
	hold(attach, &ROOT);
	hold(attach, &ROOT);
	mount_with(*state, NULL);
	hold(attach, &ROOT);
	assert_attached(SEGMENT, holders, 3);
	let_go();
	assert_attached(SEGMENT, NULL, 0);
}

/* As this process has it, every holder has inherited it. */
static void those_who_inherited_it_are_named(void **state)
{
	char line[64];
	prctl(PR_SET_NAME, "parent");
	void *memory = segment_attach(segment_create(KEY, PAGE, 0600));
	pid_t child = hold(attach, &ROOT);
	snprintf(line, sizeof(line), "%d parent\n%d holder", getpid(), child);
	assert_value(SEGMENT, ATTACHED, line);
	segment_detach(memory);
	assert_attached(SEGMENT, holders, 1);
}

static void a_removed_segment_tells_who_keeps_it(void **state)
{
	char path[64];
	snprintf(path, sizeof(path), MNT "/.by-id/%d", segment_create(KEY, PAGE, 0600));
	hold(attach_and_remove, &ROOT);
	assert_attached(path, holders, 1);
}

static void other_segments_are_told_apart(void **state)
{
	segment_create(KEY, PAGE, 0600);
	segment_create(KEY + 1, PAGE, 0600);
	hold(attach, &ROOT);
	assert_attached(SEGMENT, holders, 1);
	assert_attached(MNT "/3149", NULL, 0);
}

static void a_mapping_of_the_mount_counts(void **state)
{
	segment_create(KEY, PAGE, 0600);
	if (engine_is_passthrough())
		hold(map_segment_through_mount, &ROOT);
	assert_attached(SEGMENT, holders, nholders);
	/* Who has it open could read it, as everybody could, and is not in its memory. */
	int before = nholders;
	hold(open_segment_through_mount, &ROOT);
	assert_attached(SEGMENT, holders, before);
}

/* --- objects --- */

static void who_has_an_object_open_or_mapped_is_named(void **state)
{
	object_create("frames", PAGE);
	object_create("other", PAGE);
	hold(open_object, &ROOT);
	mount_with(*state, NULL);
	hold(map_object, &ROOT);
	assert_attached(OBJECT, holders, 2);
	assert_attached(MNT "/other", NULL, 0);
	let_go();
	assert_attached(OBJECT, NULL, 0);
}

static void so_is_who_has_it_through_the_mount(void **state)
{
	object_create("frames", PAGE);
	hold(open_through_mount, &ROOT);
	if (engine_is_passthrough())
		hold(map_through_mount, &ROOT);
	assert_attached(OBJECT, holders, nholders);
}

static void an_unlinked_object_tells_who_keeps_it(void **state)
{
	char line[64];
	char path[64];
	prctl(PR_SET_NAME, "parent");
	object_create("frames", PAGE);
	int fd = must(open(OBJECT, O_RDONLY | O_CLOEXEC));
	must(unlink(OBJECT));
	object_create("frames", PAGE);
	/* This one has it from us, and the new object, which is not asked about. */
	pid_t child = hold(map_object, &ROOT);
	snprintf(line, sizeof(line), "%d parent\n%d holder", getpid(), child);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_value(path, ATTACHED, line);
	close(fd);
}

/* --- what each does with it --- */

static bool attach_twice_to_read(void)
{
	return shmat(segment_find(KEY), NULL, SHM_RDONLY) != (void *)-1 &&
	       shmat(segment_find(KEY), NULL, SHM_RDONLY) != (void *)-1;
}

static bool open_to_read(void)
{
	return open(NATIVE "/frames", O_RDONLY) != -1 && open(NATIVE "/frames", O_PATH) != -1;
}

static bool open_and_map_object(void)
{
	return open_and_map(NATIVE "/frames", true, true);
}

static void how_and_how_often_is_told(void **state)
{
	char lines[256];
	segment_create(KEY, PAGE, 0666);
	create_object_for_all();
	pid_t reader = hold(attach_twice_to_read, &ALICE);
	pid_t writer = hold(attach, &ROOT);
	snprintf(lines, sizeof(lines), "%d %u attached r 2 holder\n%d 0 attached rw 1 holder",
		 reader, ALICE.uid, writer);
	assert_value(SEGMENT, "user.shm.users", lines);
	reader = hold(open_to_read, &ALICE);
	writer = hold(open_and_map_object, &ROOT);
	snprintf(lines, sizeof(lines),
		 "%d %u open r 1 holder\n%d 0 mapped r 1 holder\n%d 0 open rw 1 holder", reader,
		 ALICE.uid, writer, writer);
	assert_value(OBJECT, "user.shm.users", lines);
}

/* --- who asks --- */

static void only_what_the_asker_may_see_is_told(void **state)
{
	segment_create(KEY, PAGE, 0666);
	create_object_for_all();
	hold(attach, &ROOT);
	hold(attach, &ALICE);
	hold(open_object, &ROOT);
	hold(open_object, &ALICE);
	assert_attached(SEGMENT, holders, 2);
	assert_attached(OBJECT, holders + 2, 2);
	become(&ALICE);
	assert_attached(SEGMENT, holders + 1, 1);
	assert_attached(OBJECT, holders + 3, 1);
	become(&BOB);
	assert_attached(SEGMENT, NULL, 0);
	assert_attached(OBJECT, NULL, 0);
}

static int ask_as_user(void *arg)
{
	const char *line = lines_of(holders, 1);
	child_must(strcmp(value_of(SEGMENT, ATTACHED, line), line) == 0);
	line = lines_of(holders + 1, 1);
	child_must(strcmp(value_of(OBJECT, ATTACHED, line), line) == 0);
	return 0;
}

static void a_users_own_mount_tells_of_his_processes(void **state)
{
	segment_create(KEY, PAGE, 0666);
	create_object_for_all();
	hold(attach, &NOBODY);
	hold(open_object, &NOBODY);
	hold(attach, &ROOT);
	assert_int_equal(run_as(&NOBODY, ask_as_user, NULL), 0);
}

/* --- who lets others wait --- */

/* The mutex of the epoll instance is held as long as POLL has no answer. */
static bool hold_an_epoll_mutex(void)
{
	int epoll = epoll_create1(0);
	int fd = open(HUNG_FILE, O_RDWR);
	if (fork() == 0) {
		struct epoll_event event = { .events = EPOLLIN };
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
		_exit(0);
	}
	return open_object();
}

static bool make_a_key_with_it_held(void)
{
	return hold_an_epoll_mutex() && close(open(SEGMENT, O_CREAT | O_WRONLY, 0600)) == 0;
}

/* What exec(2) closes it closes with exec_update_lock held, and FLUSH has no answer. */
static bool hold_what_maps_waits_for(void)
{
	if (fork() == 0) {
		open(HUNG_FILE, O_RDWR | O_CLOEXEC);
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	return attach();
}

static void a_held_epoll_mutex_holds_nobody_up(void **state)
{
	create_object_for_all();
	hung_start();
	hold(hold_an_epoll_mutex, &ALICE);
	hold(open_object, &ALICE);
	usleep(100000);
	assert_attached(OBJECT, holders, 2);
}

static void a_held_epoll_mutex_holds_no_close_up(void **state)
{
	create_object_for_all();
	hung_start();
	hold(make_a_key_with_it_held, &ALICE);
	assert_int_equal(file_stat(SEGMENT).st_uid, ALICE.uid);
}

static void a_program_that_never_starts_holds_nobody_up(void **state)
{
	segment_create(KEY, PAGE, 0666);
	hung_start();
	hold(hold_what_maps_waits_for, &ALICE);
	usleep(100000);
	hold(attach, &ALICE);
	assert_attached(SEGMENT, holders, 2);
}

/* --- where --- */

static void a_targets_processes_have_their_numbers_here(void **state)
{
	container_start(NULL, NULL);
	int id = segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	inside({
		/* Key, id and name are the same then, and the memory is not. */
		if (access("/proc/sys/kernel/" NEXT_ID, W_OK) == 0)
			limit_set(NEXT_ID, (unsigned long long)id);
		segment_create(KEY, PAGE, 0600);
		object_create("frames", PAGE);
	});
	hold(attach, &ROOT);
	hold(open_object, &ROOT);
	inside({
		hold(attach, &ROOT);
		hold(open_object, &ROOT);
	});
	char options[64];
	snprintf(options, sizeof(options), "target=%d", container_pid());
	mount_with(*state, options);
	assert_attached(SEGMENT, holders + 2, 1);
	assert_attached(OBJECT, holders + 3, 1);
	daemon_stop(*state);
	mount_with(*state, NULL);
	assert_attached(SEGMENT, holders, 1);
	assert_attached(OBJECT, holders + 1, 1);
}

static bool is_zombie(pid_t pid)
{
	char path[64];
	char text[256];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	int fd = must(open(path, O_RDONLY | O_CLOEXEC));
	ssize_t len = must(read(fd, text, sizeof(text) - 1));
	close(fd);
	text[len] = '\0';
	return strstr(text, "(holder) Z") != NULL;
}

/* Its own files in /proc show nothing then. */
static void a_first_thread_that_ended_hides_nothing(void **state)
{
	segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	pid_t child = hold(attach_and_open_in_a_thread, &ROOT);
	assert_true(eventually(is_zombie(child)));
	assert_attached(SEGMENT, holders, 1);
	assert_attached(OBJECT, holders, 1);
}

/* The one thread that could answer is the one that looks. */
static void one_thread_is_enough(void **state)
{
	char output[256];
	char line[64];
	object_create("frames", PAGE);
	assert_int_equal(shell(NULL, 0, BIN "/shmfs -s " MNT), 0);
	pid_t child = hold(open_through_mount, &ROOT);
	int status =
		shell(output, sizeof(output),
		      "timeout 10 getfattr --absolute-names --only-values -n " ATTACHED " " OBJECT);
	let_go();
	must(umount2(MNT, MNT_DETACH));
	snprintf(line, sizeof(line), "%d holder", child);
	assert_string_equal(output, line);
	assert_int_equal(status, 0);
}

static void nobody_can_set_it(void **state)
{
	segment_create(KEY, PAGE, 0600);
	object_create("frames", PAGE);
	must_fail(EPERM, setxattr(SEGMENT, ATTACHED, "1 init\n", 7, 0));
	must_fail(EPERM, setxattr(OBJECT, ATTACHED, "1 init\n", 7, 0));
	must_fail(EPERM, removexattr(SEGMENT, ATTACHED));
	must_fail(EPERM, removexattr(OBJECT, ATTACHED));
}

#define held(test) cmocka_unit_test_setup_teardown(test, fixture_mount, end_case)
#define unmounted(test) cmocka_unit_test_setup_teardown(test, fixture_begin, end_case)
#define held_by_user(test) cmocka_unit_test_setup_teardown(test, fixture_mount_as_nobody, end_case)

int main(void)
{
	const struct CMUnitTest tests[] = {
		unmounted(those_attached_before_the_mount_are_named),
		held(those_who_inherited_it_are_named),
		held(a_removed_segment_tells_who_keeps_it),
		held(other_segments_are_told_apart),
		held(a_mapping_of_the_mount_counts),
		unmounted(who_has_an_object_open_or_mapped_is_named),
		held(so_is_who_has_it_through_the_mount),
		held(an_unlinked_object_tells_who_keeps_it),
		held(how_and_how_often_is_told),
		held(only_what_the_asker_may_see_is_told),
		held_by_user(a_users_own_mount_tells_of_his_processes),
		held(a_held_epoll_mutex_holds_nobody_up),
		held(a_held_epoll_mutex_holds_no_close_up),
		held(a_program_that_never_starts_holds_nobody_up),
		unmounted(a_targets_processes_have_their_numbers_here),
		held(a_first_thread_that_ended_hides_nothing),
		unmounted(one_thread_is_enough),
		held(nobody_can_set_it),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
