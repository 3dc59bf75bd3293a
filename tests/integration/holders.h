/* SPDX-License-Identifier: MIT */
/* Processes that have the segment of KEY or the object "frames" in use. */
#pragma once

#include "harness.h"

#define SEGMENT MNT "/3148"
#define OBJECT MNT "/frames"

enum { KEY = 3148, PAGE = 4096, HOLDERS = 8 };

extern pid_t holders[HOLDERS]; /* in the order in which they were started */
extern int nholders;

/* Set in a holder: what it has is to be kept by another thread than its first. */
extern bool holder_thread_ends;

/* A process named "holder" that does `take`, as `user`, and waits for its end. */
pid_t hold(bool (*take)(void), const struct user *user);
/* End them all. */
void let_go(void);

/* What it may take. */
bool attach(void);
bool open_and_map(const char *path, bool keep_open, bool keep_mapped);
bool open_object(void);
bool map_object(void);
bool open_through_mount(void);
bool map_through_mount(void);
bool open_segment_through_mount(void);
bool map_segment_through_mount(void);
