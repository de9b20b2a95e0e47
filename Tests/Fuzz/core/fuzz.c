/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands changed inputs to every parser of the core, and looks for what must not be: a process that ends, two seconds of
 * work on one input, an internal error, memory that grows.
 *
 *     fuzz campaign SEEDS REGRESSIONS FAILED SEED SECONDS EXECUTIONS [PARSER]
 *     fuzz replay FILE...          each named PARSER-...: executes it as it is
 *
 * Each batch runs in a process of its own, with bounds on memory and time. The input that it works on lies in memory that
 * both share, so that one that ends the process is known at once; it is written to the directory FAILED. The same seed
 * makes the same inputs in the same order, whatever the machine.
 */
#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "parsers.h"

enum {
    SEEDS_MOST = 64,
    LIMIT_SECONDS = 2,       /* of the processor, for one input */
    WALL_SECONDS = 120,      /* for one input, however slow the machine is */
    WARM_UP = 300,           /* executions after which memory is looked at */
    GROWTH_FREE = 512 * 1024 /* bytes that a batch may hold more at its end, for what is kept for reuse */
};

static const rlim_t address_space = (rlim_t)3 << 30;

/* What a batch and its watcher share. */
typedef struct shared {
    _Atomic uint64_t execution;
    _Atomic uint64_t finished; /* executions of this batch that ended */
    _Atomic int64_t growth;    /* bytes, over the batch, after its warm-up */
    input in;
} shared;

static shared *common;
static input *seeds[64][SEEDS_MOST];
static size_t n_seeds[64];
static char failed_directory[4096];
static uint64_t campaign_seed;
static unsigned n_failed;

static double now(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) {
        return 0;
    }
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void load_seeds_of(size_t parser, const char *directory, const char *prefix)
{
    struct dirent **entries;
    int n = scandir(directory, &entries, NULL, alphasort), i;
    for (i = 0; i < n; i++) {
        char path[4096];
        if (entries[i]->d_name[0] != '.' && strncmp(entries[i]->d_name, prefix, strlen(prefix)) == 0 &&
            n_seeds[parser] < SEEDS_MOST) {
            snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
            seeds[parser][n_seeds[parser]] = malloc(sizeof(input));
            if (!seeds[parser][n_seeds[parser]]) {
                exit(2);
            }
            read_input(seeds[parser][n_seeds[parser]++], path);
        }
        free(entries[i]);
    }
    if (n >= 0) {
        free(entries);
    }
}

/* The input of an execution: a seed, mostly changed. */
static void make_input(size_t parser, uint64_t execution)
{
    random_state random = { campaign_seed * UINT64_C(0x9E3779B97F4A7C15) + execution * 64 + parser };
    const input *from = seeds[parser][random_below(&random, n_seeds[parser])];
    const input *other = seeds[parser][random_below(&random, n_seeds[parser])];
    common->in.n = from->n;
    memcpy(common->in.bytes, from->bytes, from->n + 1);
    parsers[parser].mutate(&common->in, other, &random);
}

static void bound_process(void)
{
    struct rlimit limit = { address_space, address_space };
    struct rlimit none = { 0, 0 };
    (void)setrlimit(RLIMIT_AS, &limit);
    (void)setrlimit(RLIMIT_CORE, &none);
}

static void run_batch(size_t parser, uint64_t first)
{
    size_t i;
    struct mallinfo2 before = { 0 };
    bound_process();
    prepare_executions();
    for (i = 0; i < parsers[parser].batch; i++) {
        atomic_store(&common->execution, first + i);
        make_input(parser, first + i);
        parsers[parser].execute(&common->in);
        atomic_store(&common->finished, i + 1);
        if (i == WARM_UP) {
            before = mallinfo2();
        }
    }
    if (i > WARM_UP) {
        struct mallinfo2 after = mallinfo2();
        atomic_store(&common->growth,
                     (int64_t)(after.uordblks + after.hblkhd) - (int64_t)(before.uordblks + before.hblkhd));
    }
    _exit(0);
}

static void report(size_t parser, const char *what)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s-%llu-%llu", failed_directory, parsers[parser].name,
             (unsigned long long)campaign_seed, (unsigned long long)atomic_load(&common->execution));
    write_input(&common->in, path);
    printf("%s: %s; the input is %s\n", parsers[parser].name, what, path);
    fflush(stdout);
    n_failed++;
}

/* Waits for a batch, and ends it if one input takes too long. Returns how many executions ended. */
static uint64_t watch(size_t parser, pid_t child)
{
    uint64_t execution = UINT64_MAX;
    double cpu_begin = 0, wall_begin = 0;
    clockid_t clock = CLOCK_MONOTONIC;
    int status = 0, is_hanging = 0;
    char what[128];
    const struct timespec pause = { 0, 5 * 1000 * 1000 };
    while (waitpid(child, &status, WNOHANG) == 0) {
        uint64_t current = atomic_load(&common->finished);
        int has_clock = clock_getcpuclockid(child, &clock) == 0;
        double cpu = has_clock ? now(clock) : 0, wall = now(CLOCK_MONOTONIC);
        if (current != execution) {
            execution = current;
            cpu_begin = cpu;
            wall_begin = wall;
            /* The first input waits for the preparation. */
        } else if (!is_hanging &&
                   (cpu - cpu_begin > LIMIT_SECONDS + (current == 0 ? 8 : 0) || wall - wall_begin > WALL_SECONDS)) {
            is_hanging = 1;
            report(parser, "takes longer than two seconds");
            kill(child, SIGKILL);
        }
        nanosleep(&pause, NULL);
    }
    if (!is_hanging && WIFSIGNALED(status)) {
        snprintf(what, sizeof what, "ends the process by signal %d", WTERMSIG(status));
        report(parser, what);
    } else if (!is_hanging && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        snprintf(what, sizeof what, "ends the process with status %d", WEXITSTATUS(status));
        report(parser, what);
    } else if (!is_hanging && atomic_load(&common->growth) > GROWTH_FREE) {
        snprintf(what, sizeof what, "a batch of %d held %lld bytes more at its end", (int)parsers[parser].batch,
                 (long long)atomic_load(&common->growth));
        report(parser, what);
    }
    return atomic_load(&common->finished);
}

static pid_t begin(void)
{
    pid_t child;
    fflush(stdout);
    fflush(stderr);
    child = fork();
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    return child;
}

static int campaign(double seconds, uint64_t most, const char *only)
{
    uint64_t executions[64] = { 0 }, next[64] = { 0 }, total = 0;
    double spent[64] = { 0 }, start = now(CLOCK_MONOTONIC);
    size_t i;
    while (now(CLOCK_MONOTONIC) - start < seconds && total < most && n_failed < 20) {
        for (i = 0; i < n_parsers; i++) {
            double begun = now(CLOCK_MONOTONIC);
            uint64_t done;
            pid_t child;
            if (only && strcmp(only, parsers[i].name) != 0) {
                continue;
            }
            atomic_store(&common->finished, 0);
            atomic_store(&common->growth, 0);
            child = begin();
            if (child == 0) {
                run_batch(i, next[i]);
            }
            done = watch(i, child);
            /* An input that ended the process is not tried again. */
            next[i] += done < parsers[i].batch ? done + 1 : done;
            executions[i] += done;
            total += done;
            spent[i] += now(CLOCK_MONOTONIC) - begun;
        }
    }
    printf("%-12s %12s %10s\n", "parser", "executions", "a second");
    for (i = 0; i < n_parsers; i++) {
        if (spent[i] > 0) {
            printf("%-12s %12llu %10.0f\n", parsers[i].name, (unsigned long long)executions[i],
                   (double)executions[i] / spent[i]);
        }
    }
    printf("%-12s %12llu in %.0f seconds, seed %llu: %u failed\n", "all", (unsigned long long)total,
           now(CLOCK_MONOTONIC) - start, (unsigned long long)campaign_seed, n_failed);
    return n_failed != 0;
}

static int replay(int count, char **paths)
{
    int i;
    for (i = 0; i < count; i++) {
        const char *name = strrchr(paths[i], '/') ? strrchr(paths[i], '/') + 1 : paths[i];
        size_t parser = 0;
        pid_t child;
        while (parser < n_parsers && (strncmp(name, parsers[parser].name, strlen(parsers[parser].name)) != 0 ||
                                      name[strlen(parsers[parser].name)] != '-')) {
            parser++;
        }
        if (parser == n_parsers) {
            fprintf(stderr, "%s: no parser has this name\n", paths[i]);
            return 2;
        }
        read_input(&common->in, paths[i]);
        atomic_store(&common->finished, 0);
        atomic_store(&common->growth, 0);
        child = begin();
        if (child == 0) {
            bound_process();
            prepare_executions();
            parsers[parser].execute(&common->in);
            _exit(0);
        }
        (void)watch(parser, child);
    }
    printf("%d inputs, %u failed\n", count, n_failed);
    return n_failed != 0;
}

int main(int argc, char **argv)
{
    size_t i;
    common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (common == MAP_FAILED || argc < 3) {
        fprintf(stderr, "usage: see the beginning of fuzz.c\n");
        return 2;
    }
    snprintf(failed_directory, sizeof failed_directory, "%s", ".");
    if (strcmp(argv[1], "replay") == 0) {
        return replay(argc - 2, argv + 2);
    }
    if (strcmp(argv[1], "campaign") != 0 || argc < 8) {
        return 2;
    }
    /* The library has threads and locks once it was used: it is used in processes of its own alone. */
    pid_t child = begin();
    int status;
    if (child == 0) {
        write_seeds();
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "the seeds could not be made\n");
        return 2;
    }
    for (i = 0; i < n_parsers; i++) {
        char path[4096], prefix[64];
        snprintf(path, sizeof path, "seeds/%s", parsers[i].name);
        load_seeds_of(i, path, "");
        snprintf(prefix, sizeof prefix, "%s-", parsers[i].name);
        load_seeds_of(i, argv[2], prefix);
        load_seeds_of(i, argv[3], prefix);
        if (n_seeds[i] == 0) {
            fprintf(stderr, "%s has no seeds\n", parsers[i].name);
            return 2;
        }
    }
    snprintf(failed_directory, sizeof failed_directory, "%s", argv[4]);
    campaign_seed = strtoull(argv[5], NULL, 10);
    return campaign(strtod(argv[6], NULL), strtoull(argv[7], NULL, 10), argc > 8 ? argv[8] : NULL);
}
