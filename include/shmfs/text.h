/* SPDX-License-Identifier: MIT */
/*
 * The text view shows the C string at the start of each object as a text file.
 *
 *   length     up to the first NUL, or the whole object.  Measuring opens and reads the object.  A
 *              caller without read permission sees the size of the object.
 *   write      keeps a NUL behind the text at every moment, and requires read permission.  If the
 *              object cannot grow, the part that leaves room for the NUL is written, then -ENOSPC.
 *              -EINVAL: the write begins behind the end of the text.  -EILSEQ: it has a NUL with
 *              text behind it.  NULs at its end are the end of the text.
 *   append     takes turns with other writers of texts in one mount.
 *   truncate   to less zeroes the rest and keeps the size of the object; to more is -EINVAL.
 *   rename     onto a key copies the text of the source into its segment.
 *
 * A request sees every change by another program, with one exception.  If no NUL is found in more
 * than a megabyte, the result is kept for ten times as long as the search took: otherwise reading
 * a text in pieces would cost the square of its length.
 *
 * The daemon serves all files of this view.
 */
#ifndef SHMFS_TEXT_H
#define SHMFS_TEXT_H

#include "shmfs/backend.h"

/*
 * Fill in *out, the slots of the text view of a backend whose own slots are `inner`.
 * `takes_content`: its names cannot be moved, and names of other backends can be renamed onto them.
 */
void shmfs_text_ops(const struct shmfs_backend_ops *inner, bool takes_content,
		    struct shmfs_backend_ops *out);

#endif
