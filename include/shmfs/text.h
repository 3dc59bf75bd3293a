/* SPDX-License-Identifier: MIT */
/*
 * The text view: a backend that stands before another and shows of each object
 * the C string at its beginning, as a text file (`-o text`).
 *
 * What is in memory is always that string, its NUL, and whatever is behind:
 *
 *   length     up to the first NUL, or the whole object where there is none.
 *              Only who may read the object learns it; others see the object's
 *              size.  Measuring it reads the object, hence opens it for a
 *              moment.
 *   write      keeps a NUL behind the text at every moment.  What goes past the
 *              end is laid behind the old NUL first, with a new one, and seen
 *              at once when its first byte takes the old NUL's place.  Where
 *              the object cannot grow, as much is written as has room for its
 *              NUL, and then -ENOSPC.
 *              A text has no gap and no NUL: -EINVAL for a write that begins
 *              behind its end, -EILSEQ for a NUL with text behind it.  NULs at
 *              the end of a write are the end of the text.
 *   append     takes turns within one mount.
 *   truncate   to less: all behind is zeroed and the object keeps its size.
 *              -EINVAL to more.
 *   rename     onto a name that cannot be moved (a key): its object takes the
 *              text of the source.
 *
 * What others do to the memory is seen by the next request, with one
 * exception: that a text of more than a megabyte still has no NUL in its first
 * part is believed for ten times as long as it took to find out.  Otherwise
 * reading one in pieces would cost the square of its length.
 *
 * The kernel serves nothing of it: it knows no text.
 */
#ifndef SHMFS_TEXT_H
#define SHMFS_TEXT_H

#include "shmfs/backend.h"

/*
 * Put a text view before `inner`, which is borrowed.  `takes_content`: names of
 * other backends can be renamed onto its names, which cannot be moved.
 * `release_lead` is called before anything that may take long; NULL: nothing.
 * Returns 0 and *out (free with shmfs_text_free()), or -ENOMEM.
 */
int shmfs_text_new(struct shmfs_backend *inner, bool takes_content, void (*release_lead)(void),
		   struct shmfs_backend **out);
void shmfs_text_free(struct shmfs_backend *);

#endif
