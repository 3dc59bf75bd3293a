/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the daemon: what can be had no more, when a test says so.
 *
 * The environment variable SHMFS_SHORTAGE names a file with a struct shortage,
 * which the test and this library both have mapped.
 */
#include "shortage.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, for who has put others in front of them. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

typedef int pthread_create_fn(pthread_t *id, const pthread_attr_t *attr, void *(*function)(void *),
			      void *arg);

static struct shortage *shortage;

static void __attribute__((constructor)) begin(void)
{
	const char *path = getenv("SHMFS_SHORTAGE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map;

	if (fd == -1)
		return;
	map = mmap(NULL, sizeof(*shortage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		shortage = map;
}

static bool is_short(size_t size)
{
	if (!shortage)
		return false;
	if (shortage->largest && size > shortage->largest)
		return true;
	/* Counted down to 1: this one.  0 is at rest, and left alone. */
	for (int left = shortage->countdown; left > 0;) {
		if (!atomic_compare_exchange_weak(&shortage->countdown, &left, left - 1))
			continue;
		if (left == 1)
			shortage->failed++;
		return left == 1;
	}
	return false;
}

static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

void *malloc(size_t size)
{
	return is_short(size) ? no_memory() : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return is_short(count * size) ? no_memory() : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return is_short(size) ? no_memory() : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return no_memory();
	return realloc(old, bytes);
}

int pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*function)(void *), void *arg)
{
	pthread_create_fn *real = (pthread_create_fn *)dlsym(RTLD_NEXT, "pthread_create");

	if (!shortage || !shortage->no_threads)
		return real(id, attr, function, arg);
	shortage->failed++;
	return EAGAIN;
}
