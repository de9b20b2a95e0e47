/* SPDX-License-Identifier: Apache-2.0 */
/* renameat2 of Linux 3.15 and glibc 2.28, which <stdio.h> shows to programs with _GNU_SOURCE alone. */
#ifndef PRUNECORE_RENAME_H
#define PRUNECORE_RENAME_H

#ifdef __linux__
/* RENAME_NOREPLACE and RENAME_EXCHANGE of <linux/fs.h>. */
enum {
    PRUNE_RENAME_NOREPLACE = 1,
    PRUNE_RENAME_EXCHANGE = 2
};

int renameat2(int old_directory, const char *old_path, int new_directory, const char *new_path, unsigned int flags);
#endif

#endif
