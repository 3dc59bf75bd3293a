/* SPDX-License-Identifier: MIT */
/* A filesystem that somebody mounts to let others wait. */
#pragma once

#include <sys/types.h>

#define HUNG_DIR TMP "/hung"
#define HUNG_FILE HUNG_DIR "/file"

/*
 * Mount it on HUNG_DIR.  It has one file, of a megabyte, and answers neither
 * READ, nor POLL, nor FLUSH.
 */
void hung_start(void);
/* End it, and with it every wait for it. */
void hung_stop(void);
