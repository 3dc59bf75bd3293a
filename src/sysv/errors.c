/* SPDX-License-Identifier: MIT */
/* Errors of the kernel's shared-memory calls as errors of a file. */
#include "sysv/internal.h"

static const struct {
	enum sysv_call call;
	int kernel;
	int file;
} errors[] = {
	/* The id is nobody's, or its segment was removed a moment ago. */
	{ SYSV_BY_ID, EINVAL, ESTALE },
	{ SYSV_BY_ID, EIDRM, ESTALE },
	{ SYSV_REMOVE, EINVAL, ENOENT },
	{ SYSV_REMOVE, EIDRM, ENOENT },
	/* More than SHMMAX, or than the address space. */
	{ SYSV_MAKE, EINVAL, EFBIG },
	/* Somebody has the file open, or it waited for itself. */
	{ SYSV_RESIZE, EAGAIN, EBUSY },
	{ SYSV_RESIZE, EDEADLK, EBUSY },
};

int sysv_error(enum sysv_call call, int err)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		if (errors[i].call == call && errors[i].kernel == -err)
			return -errors[i].file;
	}
	return err;
}
