/* SPDX-License-Identifier: MIT */
/*
 * The text view: it shows of each object of a backend the C string at its
 * beginning, as a text file.
 *
 * The memory always holds that string, its NUL, and anything behind:
 *
 *   length     up to the first NUL, or the whole object if it has none.  Measuring
 *              opens and reads the object.  A caller without read permission sees
 *              the size of the object.
 *   write      keeps a NUL behind the text at every moment, and requires read
 *              permission.  Where the object cannot grow, as much is written as
 *              leaves room for the NUL, and then -ENOSPC.  A text has no gap and
 *              no NUL: -EINVAL for a write that begins behind its end, -EILSEQ
 *              for a NUL with text behind it.  NULs at the end of a write are the
 *              end of the text.
 *   append     takes turns with other writers of texts in one mount.
 *   truncate   to less: zeroes all that is behind and keeps the object's size.
 *              -EINVAL to more.
 *   rename     onto a name that cannot be moved (a key): its object takes the
 *              text of the source.
 *
 * The next request sees what another program does to the memory, with one
 * exception.  A look through more than a megabyte that finds no NUL counts for
 * ten times as long as it took, for otherwise reading a text in pieces would cost
 * the square of its length.
 *
 * The kernel serves nothing of a text by itself.
 */
#ifndef SHMFS_TEXT_H
#define SHMFS_TEXT_H

#include "shmfs/backend.h"

/*
 * The slots of a text view of the objects of a backend, `inner` being the
 * backend's own slots.  Those that do not differ are the same.
 * `takes_content`: names of other backends can be renamed onto its names, which
 * cannot be moved.
 */
void shmfs_text_ops(const struct shmfs_backend_ops *inner, bool takes_content,
		    struct shmfs_backend_ops *out);

#endif
