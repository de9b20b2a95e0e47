// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // for dl_iterate_phdr
#include "gate.h"
#include "threads.h"

#include <link.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// OpenBLAS's own, where its build exports them.
#define WEAK __attribute__((weak))
extern WEAK int blas_cpu_number;
extern WEAK int blas_server_avail;
extern WEAK int blas_thread_shutdown_(void);
extern WEAK void *blas_memory_alloc(int position);
extern WEAK void blas_memory_free(void *buffer);
extern WEAK void *blas_memory_alloc_nolock(int position);
extern WEAK void blas_memory_free_nolock(void *buffer);
extern char *openblas_get_config(void);
extern int openblas_get_parallel(void);
extern int openblas_get_num_threads(void);
extern void openblas_set_num_threads(int count);

struct gate blas_gate;
static bool is_lost;

// A build with threads of its own, which takes its buffers from a table.
static bool has_own_threads(void)
{
    return openblas_get_parallel() == 1 && &blas_cpu_number != NULL && &blas_server_avail != NULL;
}

static bool has_buffer_table(void)
{
    return blas_memory_alloc != NULL && blas_memory_free != NULL && blas_memory_alloc_nolock != NULL &&
           blas_memory_free_nolock != NULL;
}

int blas_thread_count(void) { return has_own_threads() ? blas_cpu_number : openblas_get_num_threads(); }

void blas_set_thread_count(int count)
{
    // Written as openblas_set_num_threads writes it. That function also starts OpenBLAS's threads if a fork, or this library,
    // ended them; each would take a buffer unchecked.
    if (has_own_threads()) {
        blas_cpu_number = count;
    } else {
        openblas_set_num_threads(count);
    }
}

// How many threads of ours may be inside at once: OpenBLAS has two buffers for each thread that it was built for, and its own
// threads use one of the two.
static long most_at_once(void)
{
    // Threads that find it out at once write the same.
    static _Atomic long known;
    long most = atomic_load_explicit(&known, memory_order_relaxed);
    if (most == 0) {
        const char *text = openblas_get_config();
        const char *place = text == NULL ? NULL : strstr(text, "MAX_THREADS=");
        long found = place == NULL ? 0 : atol(place + strlen("MAX_THREADS="));
        most = found > 0 ? found : 16;
        atomic_store_explicit(&known, most, memory_order_relaxed);
    }
    return most;
}

// Whether there is room for `count` more buffers. Their size is known to OpenBLAS alone.
static bool has_room(int count)
{
    void *first = NULL;
    int found = 0;
    for (; found < count; found++) {
        // The same size as a buffer, from malloc, which fails where there is none.
        void *probe = blas_memory_alloc_nolock(0);
        if (probe == NULL) {
            break;
        }
        *(void **)probe = first;
        first = probe;
    }
    while (first != NULL) {
        void *next = *(void **)first;
        blas_memory_free_nolock(first);
        first = next;
    }
    return found == count;
}

// Has OpenBLAS hold `wanted` buffers at once, so that it has so many ever after; returns how many it could. Of those that it
// has already, `had`, none needs memory.
static long make_buffers(long wanted, long had)
{
    void **held = calloc((size_t)wanted, sizeof *held);
    if (held == NULL) {
        return had;
    }
    long count = 0;
    while (count < wanted && (count < had || has_room(1))) {
        held[count] = blas_memory_alloc(0);
        if (held[count] == NULL) {
            break;
        }
        count++;
    }
    for (long i = 0; i < count; i++) {
        blas_memory_free(held[i]);
    }
    free(held);
    return count > had ? count : had;
}

int blas_reserve(int threads)
{
    if (is_lost) {
        return BLAS_LOST;
    }
    long wanted = threads < most_at_once() ? threads : most_at_once();
    wanted = wanted < 1 ? 1 : wanted;
    long size = atomic_load_explicit(&blas_gate.size, memory_order_acquire);
    if (size >= wanted) {
        return BLAS_READY;
    }
    // Where memory could not be had lately, few buffers must do: looking for it at every product would cost more.
    static _Atomic long long next_look;
    if (size > 0 && gate_clock() < atomic_load_explicit(&next_look, memory_order_relaxed)) {
        return BLAS_READY;
    }
    gate_closers_lock();
    size = atomic_load(&blas_gate.size);
    if (size < wanted) {
        // With nobody inside, so that every buffer is idle, and none is taken for a new one.
        if (gate_close(&blas_gate, gate_clock() + 100000000LL)) {
            gate_grow(&blas_gate, (has_buffer_table() ? make_buffers(wanted, size) : most_at_once()) - size);
        }
        gate_open(&blas_gate);
        size = atomic_load(&blas_gate.size);
        if (size < wanted) {
            atomic_store(&next_look, gate_clock() + 1000000000LL);
        }
    }
    gate_closers_unlock();
    return size > 0 ? BLAS_READY : BLAS_NO_MEMORY;
}

void blas_enter(void)
{
    for (int tries = 0; !gate_try(&blas_gate); tries++) {
        if (!gate_is_closed(&blas_gate)) {
            blas_reserve((int)(2 * atomic_load(&blas_gate.size)));
        }
        gate_pause(tries);
    }
}

void blas_leave(void) { gate_leave(&blas_gate); }

void blas_after_fork(bool is_quiet)
{
    // The buffers are in the child's memory too. One of a thread that is gone stays taken.
    gate_reset(&blas_gate);
    is_lost = is_lost || !is_quiet;
}

struct objects {
    int count;
    int own;
    int blas;
};

static int find_objects(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    struct objects *objects = data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD) {
            continue;
        }
        ElfW(Addr) begin = info->dlpi_addr + part->p_vaddr;
        if ((ElfW(Addr)) & blas_gate - begin < part->p_memsz) {
            objects->own = objects->count;
        }
        if ((ElfW(Addr))blas_thread_shutdown_ - begin < part->p_memsz) {
            objects->blas = objects->count;
        }
    }
    objects->count++;
    return 0;
}

// OpenBLAS starts a thread per processor when it is loaded, and each takes a buffer when it first runs. Where it was loaded for
// us, so that nobody uses it yet, these threads are ended: the host's products start them again, and their buffers are ours
// meanwhile. Otherwise one could be looking for memory, for ever, that a host forbids itself soon after it loaded us.
__attribute__((constructor)) static void take_over_buffers(void)
{
    if (!has_own_threads() || !has_buffer_table() || blas_thread_shutdown_ == NULL || blas_server_avail == 0) {
        return;
    }
    // Objects are listed in the order in which they were loaded: one that came with us stands behind us.
    struct objects objects = { 0, -1, -1 };
    dl_iterate_phdr(find_objects, &objects);
    int threads = blas_cpu_number - 1;
    if (objects.own >= 0 && objects.own < objects.blas && has_room(threads < 1 ? 1 : threads)) {
        blas_thread_shutdown_();
    }
}
