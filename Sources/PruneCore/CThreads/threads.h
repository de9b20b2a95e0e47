/* SPDX-License-Identifier: Apache-2.0 */
#ifndef THREADS_H
#define THREADS_H

#include <stdbool.h>

/*
 * Locks that a forked child can use, and OpenBLAS's threads and buffers: what takes functions that run when the library is
 * loaded and when the process forks.
 *
 * A child made by fork has one thread, and the memory of its parent as it was at that moment. So a fork waits until no
 * thread is inside a section (see gate.h), for two seconds at most; locks that a thread held all the same are marked in the
 * child as lost, and answer that instead of waiting for a thread that does not exist.
 */

/* A lock. NULL if there is no memory for it, which every function below takes for a lock that is lost. */
struct lock;
struct lock *lock_create(void);
void lock_destroy(struct lock *lock);

/* Waits for the lock. False if it is lost: a thread that does not exist in this process held it when the process forked. */
bool lock_take(struct lock *lock);
void lock_release(struct lock *lock);
bool lock_is_lost(const struct lock *lock);

/* What a fork waits for: a short piece of work that never waits for anything longer than another section. */
void section_enter(void);
void section_leave(void);

/* How many forks lie between the process in which the library was loaded and this one. */
int fork_count(void);

/* Has `hook` called in every child, on its only thread, before fork returns there. For eight hooks at most. */
void fork_call_in_child(void (*hook)(void));

enum {
    BLAS_READY = 0,
    BLAS_NO_MEMORY = 1,
    BLAS_LOST = 2
};

/*
 * Sees to it that OpenBLAS has a buffer for one thread of ours at least, and tries to get one for each of `threads`: it looks
 * for memory for ever where there is none. BLAS_LOST: in a child, if a thread was inside OpenBLAS when the process forked.
 */
int blas_reserve(int threads);

/* Around every call into OpenBLAS, after blas_reserve said BLAS_READY. Waits while every reserved buffer is in use. */
void blas_enter(void);
void blas_leave(void);

/* OpenBLAS's number of threads, for all of the process. Setting it starts none where this build of OpenBLAS allows that. */
int blas_thread_count(void);
void blas_set_thread_count(int count);

#endif
