/* SPDX-License-Identifier: MIT */
/*
 * Shared memory without the filesystem: the calls that every other program
 * uses, as witnesses of what the filesystem did.  They fail the test when the
 * call fails.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/types.h>

/* System V segments. */
int segment_create(key_t key, size_t size, unsigned mode);
int segment_find(key_t key); /* the shmid, -1 without one */
/* Has the key a segment of that size?  Until a segment is complete its mode is 0111. */
bool segment_is_complete(key_t key, size_t size);
struct shmid_ds segment_stat(int id);
void *segment_attach(int id);
void segment_detach(const void *memory);
void segment_put(int id, size_t offset, const void *bytes, size_t count);
bool segment_has(int id, size_t offset, const void *bytes, size_t count);
bool segment_is_zero(int id, size_t offset, size_t count);
void segment_chown(int id, uid_t uid, gid_t gid);
void segment_chmod(int id, unsigned mode);
void segment_remove(int id);
/* The first segment other than `except` that begins with `bytes`, or -1. */
int segment_search(int except, const void *bytes, size_t count);
unsigned segments_count(void);
unsigned long segments_pages(void); /* of memory, those of removed ones included */
void segments_remove_all(void);

/* POSIX objects; `name` without the slash. */
void object_create(const char *name, off_t size);
void object_put(const char *name, off_t offset, const void *bytes, size_t count);
bool object_has(const char *name, off_t offset, const void *bytes, size_t count);
bool object_exists(const char *name);
struct stat object_stat(const char *name);
void objects_remove_all(void);
/* Does the tmpfs there take user.* (Linux 6.6)? */
bool objects_take_user_xattrs(void);

/* Make one of each.  Returns the shmid. */
int both_create(key_t key, const char *name, size_t size);

/* Files, those of the mount among them. */
void file_write(const char *path, int flags, const void *bytes, size_t count);
bool file_has(const char *path, off_t offset, const void *bytes, size_t count);
struct stat file_stat(const char *path);
bool file_exists(const char *path);

/* A directory's entries without "." and ".."; -1 when it cannot be read. */
int directory_count(const char *path);
bool directory_lists(const char *path, const char *name);

/* Fill with bytes that differ from page to page and from seed to seed. */
void pattern_fill(void *bytes, size_t count, unsigned seed);
