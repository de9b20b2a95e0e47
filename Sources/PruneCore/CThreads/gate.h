/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GATE_H
#define GATE_H

#include <stdatomic.h>
#include <stdbool.h>

/* A door with room for `size` threads at once, which can be closed to have none inside. */
struct gate {
    _Alignas(64) _Atomic long room; /* how many more may enter; far below 0 while closed */
    _Atomic long size;
};

/* Enters if there is room. */
bool gate_try(struct gate *gate);
void gate_leave(struct gate *gate);

/* Lets nobody in, and waits until nobody is inside; false if somebody still is at `deadline`, in nanoseconds. */
bool gate_close(struct gate *gate, long long deadline);
void gate_open(struct gate *gate);
bool gate_is_closed(const struct gate *gate);

/* Makes room for `more` threads, in a gate that is closed. */
void gate_grow(struct gate *gate, long more);

/* Open, with nobody inside: in a process with one thread. */
void gate_reset(struct gate *gate);

/* Nanoseconds of a clock that only moves forward. */
long long gate_clock(void);
/* Sleeps as long as suits the number of tries before: 20 microseconds to 1 millisecond. */
void gate_pause(int tries);

extern struct gate sections;
extern struct gate blas_gate;

/* Holds back forks and whoever else closes a gate. */
void gate_closers_lock(void);
void gate_closers_unlock(void);

/* In a child: marks the locks that other threads held; notes whether others may have been inside OpenBLAS. */
void lock_mark_lost(void);
void blas_after_fork(bool is_quiet);

#endif
