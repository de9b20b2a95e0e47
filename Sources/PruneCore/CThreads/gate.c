// SPDX-License-Identifier: Apache-2.0
#include "gate.h"

#include <time.h>

// Far more than threads can be.
static const long closed = 1L << 40;

bool gate_try(struct gate *gate)
{
    if (atomic_fetch_sub_explicit(&gate->room, 1, memory_order_acquire) > 0) {
        return true;
    }
    atomic_fetch_add_explicit(&gate->room, 1, memory_order_relaxed);
    return false;
}

void gate_leave(struct gate *gate) { atomic_fetch_add_explicit(&gate->room, 1, memory_order_release); }

bool gate_is_closed(const struct gate *gate)
{
    return atomic_load_explicit(&gate->room, memory_order_relaxed) < -(closed / 2);
}

bool gate_close(struct gate *gate, long long deadline)
{
    atomic_fetch_sub_explicit(&gate->room, closed, memory_order_acquire);
    for (int tries = 0; atomic_load_explicit(&gate->room, memory_order_acquire) != atomic_load(&gate->size) - closed;
         tries++) {
        if (gate_clock() > deadline) {
            return false;
        }
        gate_pause(tries);
    }
    return true;
}

void gate_open(struct gate *gate) { atomic_fetch_add_explicit(&gate->room, closed, memory_order_release); }

void gate_grow(struct gate *gate, long more)
{
    atomic_fetch_add(&gate->size, more);
    atomic_fetch_add(&gate->room, more);
}

void gate_reset(struct gate *gate) { atomic_store(&gate->room, atomic_load(&gate->size)); }

long long gate_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void gate_pause(int tries)
{
    struct timespec time = { 0, tries < 50 ? 20000 : 1000000 };
    nanosleep(&time, NULL);
}
