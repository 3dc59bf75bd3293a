/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <dirent.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/xattr.h>

int segment_create(key_t key, size_t size, unsigned mode)
{
	return must(shmget(key, size, IPC_CREAT | IPC_EXCL | (int)mode));
}

int segment_find(key_t key)
{
	return shmget(key, 0, 0);
}

bool segment_is_complete(key_t key, size_t size)
{
	int id = segment_find(key);
	struct shmid_ds ds;

	return id != -1 && shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_segsz == size &&
	       (ds.shm_perm.mode & 0777) != 0111;
}

struct shmid_ds segment_stat(int id)
{
	struct shmid_ds data = { 0 }; /* 32 bits: libc leaves what is reserved alone */
	if (shmctl(id, IPC_STAT, &data) == -1)
		fail_msg("segment %d: %s", id, strerror(errno));
	return data;
}

void *segment_attach(int id)
{
	void *memory = shmat(id, NULL, 0);
	if (memory == (void *)-1)
		fail_msg("shmat(%d): %s", id, strerror(errno));
	return memory;
}

void segment_detach(const void *memory)
{
	must(shmdt(memory));
}

void segment_put(int id, size_t offset, const void *bytes, size_t count)
{
	char *memory = segment_attach(id);
	memcpy(memory + offset, bytes, count);
	segment_detach(memory);
}

bool segment_has(int id, size_t offset, const void *bytes, size_t count)
{
	if (segment_stat(id).shm_segsz < offset + count)
		return false;
	const char *memory = segment_attach(id);
	bool same = memcmp(memory + offset, bytes, count) == 0;
	segment_detach(memory);
	return same;
}

bool segment_is_zero(int id, size_t offset, size_t count)
{
	void *zeros = calloc(1, count);
	assert_non_null(zeros);
	bool same = segment_has(id, offset, zeros, count);
	free(zeros);
	return same;
}

void segment_chown(int id, uid_t uid, gid_t gid)
{
	struct shmid_ds data = segment_stat(id);
	data.shm_perm.uid = uid;
	data.shm_perm.gid = gid;
	must(shmctl(id, IPC_SET, &data));
}

void segment_chmod(int id, unsigned mode)
{
	struct shmid_ds data = segment_stat(id);
	data.shm_perm.mode = (unsigned short)mode;
	must(shmctl(id, IPC_SET, &data));
}

void segment_remove(int id)
{
	must(shmctl(id, IPC_RMID, NULL));
}

static int highest_index(struct shm_info *info)
{
	return shmctl(0, SHM_INFO, (struct shmid_ds *)info);
}

int segment_search(int except, const void *bytes, size_t count)
{
	struct shm_info info;
	struct shmid_ds data;

	for (int i = highest_index(&info); i >= 0; i--) {
		int id = shmctl(i, SHM_STAT, &data);
		if (id != -1 && id != except && segment_has(id, 0, bytes, count))
			return id;
	}
	return -1;
}

unsigned segments_count(void)
{
	struct shm_info info = { 0 };
	highest_index(&info);
	return (unsigned)info.used_ids;
}

unsigned long segments_pages(void)
{
	struct shm_info info = { 0 };
	highest_index(&info);
	return info.shm_tot;
}

/* Attachments that a failed case left in this process. */
static void detach_all(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");
	if (!maps)
		return;
	while (fgets(line, sizeof(line), maps)) {
		if (strstr(line, "/SYSV"))
			shmdt((void *)strtoul(line, NULL, 16)); /* NOLINT: an address */
	}
	fclose(maps);
}

void segments_remove_all(void)
{
	struct shm_info info;
	struct shmid_ds data;

	detach_all();
	for (int i = highest_index(&info); i >= 0; i--) {
		int id = shmctl(i, SHM_STAT, &data);
		if (id != -1)
			shmctl(id, IPC_RMID, NULL);
	}
}

static int try_object(const char *name, int flags)
{
	char path[NAME_MAX + 2];
	snprintf(path, sizeof(path), "/%s", name);
	return shm_open(path, flags, 0666);
}

static int object_open(const char *name, int flags)
{
	int fd = try_object(name, flags);
	if (fd == -1)
		fail_msg("object %s: %s", name, strerror(errno));
	return fd;
}

static int file_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0666);
	if (fd == -1)
		fail_msg("%s: %s", path, strerror(errno));
	return fd;
}

void object_create(const char *name, off_t size)
{
	int fd = object_open(name, O_CREAT | O_EXCL | O_RDWR);
	must(ftruncate(fd, size));
	close(fd);
}

void object_put(const char *name, off_t offset, const void *bytes, size_t count)
{
	int fd = object_open(name, O_RDWR);
	assert_int_equal(pwrite(fd, bytes, count, offset), count);
	close(fd);
}

static bool descriptor_has(int fd, off_t offset, const void *bytes, size_t count)
{
	char *found = malloc(count + 1);
	assert_non_null(found);
	size_t used = 0;
	ssize_t step;
	while (used < count &&
	       (step = pread(fd, found + used, count - used, offset + (off_t)used)) > 0)
		used += (size_t)step;
	bool same = used == count && memcmp(found, bytes, count) == 0;
	free(found);
	return same;
}

bool object_has(const char *name, off_t offset, const void *bytes, size_t count)
{
	int fd = object_open(name, O_RDONLY);
	bool same = descriptor_has(fd, offset, bytes, count);
	close(fd);
	return same;
}

bool object_exists(const char *name)
{
	int fd = try_object(name, O_RDONLY);
	if (fd != -1)
		close(fd);
	return fd != -1;
}

struct stat object_stat(const char *name)
{
	struct stat data;
	int fd = object_open(name, O_RDONLY);
	must(fstat(fd, &data));
	close(fd);
	return data;
}

static int remove_entry(const char *path, const struct stat *data, int type, struct FTW *where)
{
	if (where->level > 0)
		remove(path);
	return 0;
}

void objects_remove_all(void)
{
	nftw(NATIVE, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void file_write(const char *path, int flags, const void *bytes, size_t count)
{
	int fd = file_open(path, flags | O_WRONLY);
	const char *next = bytes;
	while (count > 0) {
		ssize_t step = must(write(fd, next, count));
		next += step;
		count -= (size_t)step;
	}
	must(close(fd));
}

bool file_has(const char *path, off_t offset, const void *bytes, size_t count)
{
	int fd = file_open(path, O_RDONLY);
	bool same = descriptor_has(fd, offset, bytes, count);
	close(fd);
	return same;
}

struct stat file_stat(const char *path)
{
	struct stat data;
	if (lstat(path, &data) == -1)
		fail_msg("%s: %s", path, strerror(errno));
	return data;
}

bool file_exists(const char *path)
{
	struct stat data;
	return lstat(path, &data) == 0;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int directory_count(const char *path)
{
	DIR *directory = opendir(path);
	if (!directory)
		return -1;
	int count = 0;
	for (struct dirent *entry; (entry = readdir(directory));)
		count += !is_dots(entry->d_name);
	closedir(directory);
	return count;
}

bool directory_lists(const char *path, const char *name)
{
	DIR *directory = opendir(path);
	assert_non_null(directory);
	bool listed = false;
	for (struct dirent *entry; (entry = readdir(directory));)
		listed |= strcmp(entry->d_name, name) == 0;
	closedir(directory);
	return listed;
}

bool objects_take_user_xattrs(void)
{
	return getxattr(NATIVE, "user.none", NULL, 0) != -1 || errno == ENODATA;
}

int both_create(key_t key, const char *name, size_t size)
{
	object_create(name, (off_t)size);
	return segment_create(key, size, 0666);
}

void pattern_fill(void *bytes, size_t count, unsigned seed)
{
	unsigned char *out = bytes;
	uint32_t state = seed * 2654435761U + 1;

	for (size_t i = 0; i < count; i++) {
		state = state * 1664525U + 1013904223U;
		out[i] = (unsigned char)(state >> 24);
	}
}
