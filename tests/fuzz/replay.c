/* SPDX-License-Identifier: MIT */
/* Hands every file of the directories that are named to the target. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static bool replay(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *data;
	size_t size;

	if (fd < 0 || fstat(fd, &st) != 0)
		die(name);
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return false;
	}
	/* No more memory than there are bytes: reading on is seen. */
	size = (size_t)st.st_size;
	data = malloc(size ? size : 1);
	if (!data || read(fd, data, size) != st.st_size)
		die(name);
	close(fd);
	printf("%s\n", name);
	fflush(stdout);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return true;
}

int main(int argc, char **argv)
{
	size_t count = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);

		if (!dir)
			die(argv[i]);
		for (const struct dirent *entry; (entry = readdir(dir));)
			count += replay(dirfd(dir), entry->d_name);
		closedir(dir);
	}
	printf("%zu inputs\n", count);
	return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
