/* SPDX-License-Identifier: MIT */
/*
 * Each system call that an operation takes fails once, with each error that it
 * may have.  Then the memory is as it was or as it was to be, the caller has an
 * error that means something to it, and nothing is left behind.
 */
#include "harness.h"

#include "fault.h"

#include <sys/mman.h>
#include <sys/xattr.h>

enum { KEY = 3148, PAGE = 4096, PAGES = 3, SIZE = PAGES * PAGE };

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"
#define PLAN TMP "/fault"
#define MOST_CALLS 400

static struct fault *fault;
static char bytes[2 * SIZE];

static void map_plan(void)
{
	int fd = must(open(PLAN, O_CREAT | O_RDWR | O_CLOEXEC, 0600));

	must(ftruncate(fd, sizeof(*fault)));
	fault = mmap(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(fault, MAP_FAILED);
	close(fd);
	pattern_fill(bytes, sizeof(bytes), 1);
}

static void preload(void)
{
	setenv("LD_PRELOAD", BIN "/fault.so", 1);
	setenv("SHMFS_FAULT", PLAN, 1);
}

static void preload_no_more(void)
{
	unsetenv("LD_PRELOAD");
	unsetenv("SHMFS_FAULT");
}

static int mount_with_faults(void **state)
{
	map_plan();
	preload();
	int result = fixture_mount(state);
	preload_no_more();
	return result;
}

static int end_with_faults(void **state)
{
	int result = fixture_end(state);

	munmap(fault, sizeof(*fault));
	return result;
}

#define faulty(test) cmocka_unit_test_setup_teardown(test, mount_with_faults, end_with_faults)

/* --- operations: each returns 0, or -1 and errno --- */

static int close_after(int fd, ssize_t result)
{
	int error = errno;
	int closed = fd == -1 ? -1 : close(fd);

	errno = result == -1 ? error : errno;
	return result == -1 ? -1 : closed;
}

static int create(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);

	return close_after(fd, fd);
}

static int create_segment(void)
{
	return create(MNT "/4000");
}

static int create_object(void)
{
	return create(MNT "/new");
}

static int read_file(const char *path)
{
	char read_bytes[SIZE];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd == -1 ? -1 : pread(fd, read_bytes, SIZE, 0);

	if (n >= 0)
		assert_memory_equal(read_bytes, bytes, (size_t)n);
	return close_after(fd, n);
}

static int read_segment(void)
{
	return read_file(SEGMENT);
}

/* The kernel knows the file meanwhile. */
static int read_segment_again(void)
{
	int known = open(SEGMENT, O_PATH);
	int err = read_segment() || read_segment();

	if (known != -1)
		close(known);
	return err;
}

static int read_object(void)
{
	return read_file(OBJECT);
}

static int write_behind(const char *path)
{
	int fd = open(path, O_WRONLY);
	ssize_t n = fd == -1 ? -1 : pwrite(fd, bytes + SIZE, SIZE, SIZE);

	return close_after(fd, n);
}

static int grow_segment(void)
{
	return write_behind(SEGMENT);
}

static int grow_object(void)
{
	return write_behind(OBJECT);
}

static int overwrite_segment(void)
{
	int fd = open(SEGMENT, O_RDWR);
	ssize_t n = fd == -1 ? -1 : pwrite(fd, bytes, SIZE, 0);

	return close_after(fd, n);
}

static int enlarge_segment(void)
{
	return truncate(SEGMENT, 2L * SIZE);
}

static int shorten_segment(void)
{
	return truncate(SEGMENT, PAGE);
}

static int shorten_object(void)
{
	return truncate(OBJECT, PAGE);
}

static int allocate_segment(void)
{
	int fd = open(SEGMENT, O_RDWR);

	return close_after(fd, fd == -1 ? -1 : fallocate(fd, 0, 0, SIZE));
}

/* A key that is made larger and larger, and cut to its content when it is closed. */
static int stream_to_new_key(void)
{
	int fd = open(MNT "/4000", O_CREAT | O_EXCL | O_WRONLY, 0600);
	ssize_t n = fd;

	for (int i = 0; n >= 0 && i < 2 * PAGES; i++)
		n = write(fd, bytes + i * PAGE, PAGE);
	return close_after(fd, n);
}

static int rename_object(void)
{
	return rename(OBJECT, MNT "/renamed");
}

static int remove_segment(void)
{
	return unlink(SEGMENT);
}

static int remove_object(void)
{
	return unlink(OBJECT);
}

static int change_mode_of_segment(void)
{
	return chmod(SEGMENT, 0600);
}

static int change_mode_of_object(void)
{
	return chmod(OBJECT, 0600);
}

static int note_on_segment(void)
{
	return setxattr(SEGMENT, "user.note", "x", 1, 0);
}

static int note_on_object(void)
{
	return setxattr(OBJECT, "user.note", "x", 1, 0);
}

static int see_users(void)
{
	char text[4096];

	return getxattr(SEGMENT, "user.shm.attached", text, sizeof(text)) < 0 ? -1 : 0;
}

static int see_segment(void)
{
	struct stat st;

	return stat(SEGMENT, &st);
}

static int see_all(void)
{
	return directory_count(MNT) < 0 ? -1 : 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} operations[] = {
	{ "create a segment", create_segment },
	{ "create an object", create_object },
	{ "read a segment", read_segment },
	{ "read a segment again", read_segment_again },
	{ "read an object", read_object },
	{ "grow a segment", grow_segment },
	{ "grow an object", grow_object },
	{ "overwrite a segment", overwrite_segment },
	{ "enlarge a segment", enlarge_segment },
	{ "shorten a segment", shorten_segment },
	{ "shorten an object", shorten_object },
	{ "allocate a segment", allocate_segment },
	{ "stream to a new key", stream_to_new_key },
	{ "rename an object", rename_object },
	{ "remove a segment", remove_segment },
	{ "remove an object", remove_object },
	{ "change the mode of a segment", change_mode_of_segment },
	{ "change the mode of an object", change_mode_of_object },
	{ "set an attribute of a segment", note_on_segment },
	{ "set an attribute of an object", note_on_object },
	{ "see who uses a segment", see_users },
	{ "see a segment", see_segment },
	{ "list", see_all },
};

/* --- one run --- */

static const char *operation;
static int complaints;

#define complain_unless(condition) \
	do { \
		if (!(condition)) { \
			printf("%s, where %s() fails (%s): not so: %s\n", operation, \
			       fault->function, strerror(fault->error), #condition); \
			complaints++; \
		} \
	} while (0)

static void prepare(void)
{
	segments_remove_all();
	objects_remove_all();
	segment_put(segment_create(KEY, SIZE, 0644), 0, bytes, SIZE);
	object_create("frames", SIZE);
	object_put("frames", 0, bytes, SIZE);
}

/* Errors that a caller of a file can make sense of. */
/* EOPNOTSUPP is for an attribute of an object: tmpfs has those of users from Linux 6.6 on. */
static bool is_understandable(int error)
{
	static const int errors[] = { ENOMEM, ENOSPC, EMFILE, ENFILE, EAGAIN, EBUSY,  EACCES,
				      EPERM,  EIO,    EFBIG,  EINTR,  EEXIST, ENOENT, EOPNOTSUPP };

	for (size_t i = 0; i < array_size(errors); i++) {
		if (errors[i] == error)
			return true;
	}
	return false;
}

/* 0 while the segment is being replaced: until it is complete it has mode 0111. */
static size_t size_of_key(key_t key)
{
	int id = segment_find(key);
	struct shmid_ds ds;

	if (id == -1 || shmctl(id, IPC_STAT, &ds) != 0 || (ds.shm_perm.mode & 0777) == 0111)
		return 0;
	return ds.shm_segsz;
}

/* All bytes that the segment had are under its key, up to where it may have been cut. */
static void check_segment(int (*run)(void), bool succeeded)
{
	int id;
	size_t size;

	complain_unless(run == remove_segment || eventually(size_of_key(KEY) != 0));
	id = segment_find(KEY);
	if (run == remove_segment) {
		complain_unless((id == -1) == succeeded);
		return;
	}
	complain_unless(id != -1);
	if (id == -1)
		return;
	size = segment_stat(id).shm_segsz;
	complain_unless(size >= (run == shorten_segment ? (size_t)PAGE : (size_t)SIZE));
	complain_unless(segment_has(id, 0, bytes, size < SIZE ? size : SIZE));
	if (run == shorten_segment && succeeded)
		complain_unless(size == PAGE);
	/* Where it could not be cut at the close, it is later. */
	if (run == grow_segment && succeeded) {
		complain_unless(eventually(size_of_key(KEY) == 2L * SIZE));
		id = segment_find(KEY);
		complain_unless(segment_has(id, 0, bytes, 2L * SIZE));
	}
	complain_unless((segment_stat(id).shm_perm.mode & 0777) ==
			(run == change_mode_of_segment && succeeded ? 0600 : 0644));
}

static void check_object(int (*run)(void), bool succeeded)
{
	const char *name = run == rename_object && succeeded ? "renamed" : "frames";

	complain_unless(object_exists(name) == !(run == remove_object && succeeded));
	if (object_exists(name))
		complain_unless(object_has(name, 0, bytes, run == shorten_object ? PAGE : SIZE));
}

static void check_new_key(int (*run)(void), bool succeeded)
{
	if (run != stream_to_new_key || !succeeded)
		return;
	complain_unless(eventually(size_of_key(4000) == 2L * SIZE));
	complain_unless(segment_has(segment_find(4000), 0, bytes, 2L * SIZE));
}

/* No segment but those that have a name: none was made and forgotten. */
static void check_leftovers(const struct fixture *fixture)
{
	int known = (segment_find(KEY) != -1) + (segment_find(4000) != -1);

	complain_unless(eventually(daemon_holds_objects(fixture) == 0));
	complain_unless(eventually(segments_count() == (unsigned)known));
}

/*
 * Let call `number` of the operation fail with its error number `choice`.
 * Returns false when it does not come to that call.
 */
static bool fail_once(const struct fixture *fixture, int (*run)(void), int number, int choice)
{
	bool succeeded;
	bool came;
	int error;

	prepare();
	fault->choice = choice;
	fault->error = 0;
	fault->countdown = number;
	succeeded = run() == 0;
	error = errno;
	came = fault->countdown == 0;
	fault->countdown = 0;
	if (came && fault->error) {
		complain_unless(succeeded || is_understandable(error));
		check_segment(run, succeeded);
		check_object(run, succeeded);
		check_new_key(run, succeeded);
		check_leftovers(fixture);
	}
	return came;
}

static void each_call_may_fail(void **state)
{
	const struct fixture *fixture = *state;

	for (size_t i = 0; i < array_size(operations); i++) {
		int number = 1;
		int choice = 0;

		operation = operations[i].name;
		while (number < MOST_CALLS &&
		       fail_once(fixture, operations[i].run, number, choice)) {
			/* Past the last error of this call: on to the next call. */
			number += fault->error == 0;
			choice = fault->error == 0 ? 0 : choice + 1;
		}
		printf("%-32s %d calls\n", operation, number - 1);
		assert_in_range(number, 1, MOST_CALLS - 1);
	}
	segments_remove_all();
	objects_remove_all();
	assert_int_equal(complaints, 0);
}

/* A process outgrows a segment that it reads through the kernel. */
static void grow_what_is_read(void)
{
	static char seen[2 * SIZE];
	int reader = must(open(SEGMENT, O_RDONLY));
	int fd = must(open(SEGMENT, O_WRONLY));

	(void)!pwrite(fd, bytes + SIZE, PAGE, SIZE);
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE) == 0)
		memset(bytes + PAGE, 0, PAGE);
	(void)!pwrite(fd, bytes + SIZE + PAGE, PAGE, SIZE + PAGE);
	assert_memory_equal(seen, bytes, (size_t)must(pread(reader, seen, sizeof(seen), 0)));
	close(fd);
	close(reader);
	pattern_fill(bytes, sizeof(bytes), 1);
}

static void a_reader_sees_no_other_bytes(void **state)
{
	static const char *const functions[] = { "copy_file_range", "fallocate64", "ftruncate64" };

	for (size_t i = 0; i < array_size(functions); i++) {
		int number = 0;

		strcpy(fault->only, functions[i]);
		do {
			prepare();
			fault->countdown = ++number;
			grow_what_is_read();
		} while (fault->countdown == 0);
		fault->countdown = 0;
		printf("%-32s %d calls\n", functions[i], number - 1);
	}
	segments_remove_all();
	objects_remove_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		faulty(each_call_may_fail),
		faulty(a_reader_sees_no_other_bytes),
	};

	harness_enter(SHMFS_BINARY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
