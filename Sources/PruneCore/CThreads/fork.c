// SPDX-License-Identifier: Apache-2.0
#include "gate.h"
#include "threads.h"

#include <pthread.h>
#include <stddef.h>

// How long a fork waits for threads inside sections or OpenBLAS. Sections take microseconds, products milliseconds; an
// eigenvalue problem of thousands of rows may take longer.
static const long long patience = 2000000000LL;
static const long many = 1L << 30;

struct gate sections = { many, many };

static pthread_mutex_t closers = PTHREAD_MUTEX_INITIALIZER;
static bool blas_is_quiet;
static int forks;
static void (*_Atomic hooks[8])(void);

void gate_closers_lock(void) { pthread_mutex_lock(&closers); }

void gate_closers_unlock(void) { pthread_mutex_unlock(&closers); }

void section_enter(void)
{
    for (int tries = 0; !gate_try(&sections); tries++) {
        gate_pause(tries);
    }
}

void section_leave(void) { gate_leave(&sections); }

int fork_count(void) { return forks; }

void fork_call_in_child(void (*hook)(void))
{
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
        void (*none)(void) = NULL;
        if (atomic_compare_exchange_strong(&hooks[i], &none, hook)) {
            return;
        }
    }
}

static void before_fork(void)
{
    gate_closers_lock();
    long long deadline = gate_clock() + patience;
    // OpenBLAS first: whoever is inside it does not need sections to leave.
    blas_is_quiet = gate_close(&blas_gate, deadline);
    gate_close(&sections, deadline);
}

static void after_fork_in_parent(void)
{
    gate_open(&sections);
    gate_open(&blas_gate);
    gate_closers_unlock();
}

static void after_fork_in_child(void)
{
    forks++;
    gate_reset(&sections);
    lock_mark_lost();
    blas_after_fork(blas_is_quiet);
    gate_closers_unlock();
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
        void (*hook)(void) = atomic_load(&hooks[i]);
        if (hook != NULL) {
            hook();
        }
    }
}

// OpenBLAS has registered its own handlers by now, since it is loaded before what needs it. So ours run before them when a
// process forks: OpenBLAS ends its threads when none of ours is inside.
__attribute__((constructor)) static void register_fork_handlers(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}
