/* SPDX-License-Identifier: MIT */
/* What a test and the library fault.c, which is in the daemon, share. */
#pragma once

#include <stdatomic.h>

struct fault {
	atomic_int countdown; /* the call that fails, counted from now on; 0: none */
	char only[32];	      /* the function whose calls count; "": all of them */
	int choice;	      /* which of the errors that the call may have */
	int error;	      /* the error that it had; 0: `choice` is past its last one */
	char function[32];    /* the call that failed */
};
