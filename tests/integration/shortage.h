/* SPDX-License-Identifier: MIT */
/* What a test and the library shortage.c, which is in the daemon, share. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct shortage {
	atomic_int countdown;  /* the how-manieth allocation from now on fails; 0: none */
	atomic_size_t largest; /* of more bytes than this all fail; 0: none */
	atomic_bool no_threads;
	atomic_int failed; /* what has failed so far */
};
