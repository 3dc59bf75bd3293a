/* SPDX-License-Identifier: MIT */
/*
 * The text view shows the C string at the start of each object as a text file, up to the first NUL
 * or the whole object.  The daemon serves all its files.
 *
 *   length     Measuring opens and reads the object.  A caller without read permission sees the
 *              size of the object, as does every caller during a resize or a long write.
 *   write      requires read permission, and keeps a NUL behind the text at every moment.  If the
 *              object cannot grow, a write stops before the object's last byte, which the NUL
 *              takes, and the next write fails with -ENOSPC.  -EINVAL: the write begins behind
 *              the end of the text.  -EILSEQ: it has a NUL with text behind it.
 *   truncate   to less zeroes the rest and keeps the size of the object; to more is -EINVAL.
 *   rename     onto a key copies the text of the source into its segment.
 */
#pragma once

#include "shmfs/backend.h"

/*
 * Fill in *out, the slots of the text view of a backend whose own slots are `inner`.
 * `takes_content`: names of other backends can be renamed onto its names.
 */
void shmfs_text_ops(const struct shmfs_backend_ops *inner, bool takes_content,
		    struct shmfs_backend_ops *out);
