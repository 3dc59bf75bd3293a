/* SPDX-License-Identifier: MIT */
/* `-o target=PID`: a container's shared memory on a mount outside of it. */
#include "harness.h"

#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "container.h"
#include "engine.h"

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

enum { KEY = 3148, PAGE = 4096 };

/* Key and name are the same inside and outside; all else differs. */
static int begin_with_container(void **state)
{
	fixture_begin(state);
	container_start(NULL, NULL);
	segment_put(segment_create(KEY, 2 * PAGE, 0600), 0, "outside", 8);
	object_create("frames", 20);
	object_put("frames", 0, "outside", 8);
	inside({
		segment_put(segment_create(KEY, PAGE, 0640), 0, "inside", 7);
		object_create("frames", 10);
		object_put("frames", 0, "inside", 7);
	});
	return 0;
}

static int begin_mounted(void **state)
{
	begin_with_container(state);
	container_mount(*state);
	return 0;
}

static void the_targets_memory_is_shown_and_no_other(void **state)
{
	inside(object_create("only", 0));
	object_create("elsewhere", 0);
	assert_int_equal(directory_count(MNT), 3);
	assert_true(directory_lists(MNT, "3148") && directory_lists(MNT, "frames"));
	assert_true(directory_lists(MNT, "only"));
	assert_int_equal(directory_count(MNT "/.by-id"), 1);
	assert_true(file_has(SEGMENT, 0, "inside", 7));
	assert_int_equal(file_stat(SEGMENT).st_size, PAGE);
	assert_int_equal(file_stat(SEGMENT).st_mode, S_IFREG | 0640);
	assert_true(file_has(OBJECT, 0, "inside", 7));
	assert_int_equal(file_stat(OBJECT).st_size, 10);
}

static void resident_memory_is_the_targets(void **state)
{
	char bytes[16 * PAGE];
	pattern_fill(bytes, sizeof(bytes), 1);
	inside(segment_put(segment_create(7000, sizeof(bytes), 0600), 0, bytes, sizeof(bytes)));
	assert_true(eventually(file_stat(MNT "/7000").st_blocks == sizeof(bytes) / 512));
}

static void what_is_done_there_is_done_to_the_target(void **state)
{
	file_write(SEGMENT, 0, "through", 8);
	file_write(OBJECT, 0, "through", 8);
	file_write(MNT "/7000", O_CREAT | O_EXCL, "new", 4);
	file_write(MNT "/new", O_CREAT | O_EXCL, "new", 4);
	must(chmod(SEGMENT, 0606));
	must(truncate(MNT "/7000", 3 * PAGE));
	container_enter();
	assert_true(segment_has(segment_find(KEY), 0, "through", 8));
	assert_int_equal(segment_stat(segment_find(KEY)).shm_perm.mode, 0606);
	assert_true(object_has("frames", 0, "through", 8));
	assert_true(segment_has(segment_find(7000), 0, "new", 4));
	assert_int_equal(segment_stat(segment_find(7000)).shm_segsz, 3 * PAGE);
	assert_true(object_has("new", 0, "new", 4));
	container_leave();
	must(unlink(SEGMENT));
	must(unlink(OBJECT));
	container_enter();
	assert_int_equal(segment_find(KEY), -1);
	assert_false(object_exists("frames"));
	container_leave();
	assert_true(segment_has(segment_find(KEY), 0, "outside", 8));
	assert_true(object_has("frames", 0, "outside", 8));
	assert_int_equal(segment_find(7000), -1);
	assert_false(object_exists("new"));
}

/* A file of the mount and the same memory as it is inside see each other's stores. */
static void assert_coherent(const char *path, char *within)
{
	int fd = must(open(path, O_RDWR));
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (!engine_is_passthrough()) {
		assert_ptr_equal(map, MAP_FAILED);
		return;
	}
	assert_ptr_not_equal(map, MAP_FAILED);
	strcpy(within, "one way");
	assert_string_equal(map, "one way");
	strcpy(map, "and back");
	assert_string_equal(within, "and back");
	munmap(map, PAGE);
}

static void mappings_are_the_targets_pages(void **state)
{
	container_enter();
	char *segment = segment_attach(segment_find(KEY));
	int fd = must(open(NATIVE "/frames", O_RDWR));
	char *object = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	container_leave();
	close(fd);
	assert_ptr_not_equal(object, MAP_FAILED);
	assert_coherent(SEGMENT, segment);
	assert_coherent(OBJECT, object);
	munmap(object, PAGE);
	segment_detach(segment);
}

static void room_is_the_targets(void **state)
{
	struct statvfs fs;
	inside(limit_set("shmmni", 17));
	must(statvfs(MNT, &fs));
	assert_int_equal(fs.f_blocks * fs.f_frsize, CONTAINER_SHM);
	assert_int_equal(fs.f_files, 17);
	assert_int_equal(fs.f_ffree, 16);
}

static void the_mount_tells_its_target(void **state)
{
	char target[16];
	char value[16];
	ssize_t length;
	assert_int_equal(shell(NULL, 0,
			       "grep -q ' - fuse.shmfs shmfs:target=%d ' /proc/self/mountinfo",
			       container_pid()),
			 0);
	snprintf(target, sizeof(target), "%d", container_pid());
	length = must(getxattr(MNT, "user.shmfs.target", value, sizeof(value) - 1));
	value[length] = '\0';
	assert_string_equal(value, target);
}

static void without_a_target_there_is_none_to_tell(void **state)
{
	assert_int_equal(getxattr(MNT, "user.shmfs.target", NULL, 0), 0);
}

static void the_mount_outlives_the_target(void **state)
{
	int segment = must(open(SEGMENT, O_RDWR));
	container_stop();
	assert_int_equal(pwrite(segment, "still", 6, 0), 6);
	close(segment);
	assert_true(file_has(SEGMENT, 0, "still", 6));
	assert_true(file_has(OBJECT, 0, "inside", 7));
	file_write(MNT "/7000", O_CREAT | O_EXCL, "new", 4);
	file_write(MNT "/new", O_CREAT | O_EXCL, "new", 4);
	must(rename(MNT "/new", MNT "/newer"));
	assert_int_equal(directory_count(MNT), 4);
	must(unlink(SEGMENT));
	must(unlink(OBJECT));
	assert_int_equal(directory_count(MNT), 2);
}

/*
 * Watch the file behind a segment and the filesystem of an object: the kernel
 * tells when they are gone, and the watch keeps neither.
 */
static int watch_memory(void)
{
	int watch = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
	char path[64];
	container_enter();
	char *memory = segment_attach(segment_find(KEY));
	snprintf(path, sizeof(path), "/proc/self/map_files/%zx-%zx", (size_t)memory,
		 (size_t)memory + PAGE);
	must(inotify_add_watch(watch, path, IN_DELETE_SELF));
	segment_detach(memory);
	must(inotify_add_watch(watch, NATIVE "/frames", IN_DELETE_SELF));
	container_leave();
	return watch;
}

/* Adds what has gone since: bit 0 a file, bit 1 a filesystem. */
static unsigned has_gone(int watch, unsigned *gone)
{
	struct inotify_event event;
	while (read(watch, &event, sizeof(event)) == sizeof(event))
		*gone |=
			(event.mask & IN_DELETE_SELF ? 1U : 0) | (event.mask & IN_UNMOUNT ? 2U : 0);
	return *gone;
}

static void an_unmount_leaves_nothing_of_an_ended_target(void **state)
{
	unsigned gone = 0;
	int watch = watch_memory();
	container_stop();
	file_write(SEGMENT, 0, "still", 6);
	assert_int_equal(has_gone(watch, &gone), 0);
	daemon_stop(*state);
	assert_true(eventually(has_gone(watch, &gone) == 3));
	close(watch);
}

static void in_the_background_as_well(void **state)
{
	char output[64];
	assert_int_equal(shell(output, sizeof(output),
			       BIN "/shmfs -o target=%d " MNT " && head -c 6 " SEGMENT
				   " && umount " MNT,
			       container_pid()),
			 0);
	assert_string_equal(output, "inside");
}

#define contained(test) cmocka_unit_test_setup_teardown(test, begin_with_container, container_end)
#define mounted_target(test) cmocka_unit_test_setup_teardown(test, begin_mounted, container_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		mounted_target(the_targets_memory_is_shown_and_no_other),
		mounted_target(resident_memory_is_the_targets),
		mounted_target(what_is_done_there_is_done_to_the_target),
		mounted_target(mappings_are_the_targets_pages),
		mounted_target(room_is_the_targets),
		mounted_target(the_mount_tells_its_target),
		mounted_target(the_mount_outlives_the_target),
		mounted_target(an_unmount_leaves_nothing_of_an_ended_target),
		mounted(without_a_target_there_is_none_to_tell),
		contained(in_the_background_as_well),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
