// SPDX-License-Identifier: Apache-2.0
#include "gate.h"
#include "threads.h"

#include <pthread.h>
#include <stdlib.h>

struct lock {
    pthread_mutex_t mutex;
    // Meaningful while the mutex is held.
    bool has_holder;
    pthread_t holder;
    // Written in a child before it has a second thread.
    bool is_lost;
    struct lock *next;
    struct lock *previous;
};

// Every lock there is, so that a child can look at each. Changed inside sections only, under `registry`.
static struct lock *first;
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;

struct lock *lock_create(void)
{
    struct lock *lock = calloc(1, sizeof *lock);
    if (lock == NULL || pthread_mutex_init(&lock->mutex, NULL) != 0) {
        free(lock);
        return NULL;
    }
    section_enter();
    pthread_mutex_lock(&registry);
    lock->next = first;
    if (first != NULL) {
        first->previous = lock;
    }
    first = lock;
    pthread_mutex_unlock(&registry);
    section_leave();
    return lock;
}

void lock_destroy(struct lock *lock)
{
    if (lock == NULL) {
        return;
    }
    section_enter();
    pthread_mutex_lock(&registry);
    if (lock->previous != NULL) {
        lock->previous->next = lock->next;
    } else {
        first = lock->next;
    }
    if (lock->next != NULL) {
        lock->next->previous = lock->previous;
    }
    pthread_mutex_unlock(&registry);
    section_leave();
    // A mutex that is held for ever must not be destroyed; it holds nothing but its memory.
    if (!lock->is_lost) {
        pthread_mutex_destroy(&lock->mutex);
    }
    free(lock);
}

bool lock_take(struct lock *lock)
{
    if (lock == NULL || lock->is_lost || pthread_mutex_lock(&lock->mutex) != 0) {
        return false;
    }
    lock->holder = pthread_self();
    lock->has_holder = true;
    return true;
}

void lock_release(struct lock *lock)
{
    lock->has_holder = false;
    pthread_mutex_unlock(&lock->mutex);
}

bool lock_is_lost(const struct lock *lock) { return lock == NULL || lock->is_lost; }

void lock_mark_lost(void)
{
    // Nobody else is here; a thread that was changing the list is not either.
    pthread_mutex_init(&registry, NULL);
    for (struct lock *lock = first; lock != NULL; lock = lock->next) {
        if (lock->is_lost) {
            continue;
        }
        if (pthread_mutex_trylock(&lock->mutex) == 0) {
            pthread_mutex_unlock(&lock->mutex);
        } else {
            // One that this thread holds, because it forks from inside a call, is still its own.
            lock->is_lost = !(lock->has_holder && pthread_equal(lock->holder, pthread_self()));
        }
    }
}
