/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the C tests. A check that fails prints its place and what it saw, and makes check_report() return 1.
 * The counters belong to one program: include this header in one translation unit of it, and check on one thread.
 */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prunecore.h"

static int check_n_passed;
static int check_n_failed;

static inline void check_count(int passed, const char *file, int line, const char *what)
{
    if (passed) {
        check_n_passed++;
    } else {
        check_n_failed++;
        printf("%s:%d: failed: %s\n", file, line, what);
    }
}

static inline void check_status(prune_status got, prune_status expected, const char *file, int line, const char *what)
{
    check_count(got == expected, file, line, what);
    if (got != expected) {
        printf("    got %s, expected %s; last error: \"%s\"\n", prune_status_name(got), prune_status_name(expected),
               prune_last_error());
    }
}

/* A refusal: the status, and a sentence that has `part` in it. */
static inline void check_fails(prune_status got, prune_status expected, const char *part, const char *file, int line,
                               const char *what)
{
    int named = strstr(prune_last_error(), part) != NULL;
    check_status(got, expected, file, line, what);
    check_count(named, file, line, what);
    if (!named) {
        printf("    \"%s\" is not in the last error: \"%s\"\n", part, prune_last_error());
    }
}

static inline void check_near(double got, double expected, double tolerance, const char *file, int line,
                              const char *what)
{
    /* Written so that NaN fails. */
    int near_enough = fabs(got - expected) <= tolerance;
    check_count(near_enough, file, line, what);
    if (!near_enough) {
        printf("    got %.17g, expected %.17g, tolerance %.3g\n", got, expected, tolerance);
    }
}

#define CHECK(condition) check_count((condition) ? 1 : 0, __FILE__, __LINE__, #condition)
#define CHECK_OK(call) check_status((call), PRUNE_OK, __FILE__, __LINE__, #call)
#define CHECK_FAILS(call, expected, part) check_fails((call), (expected), (part), __FILE__, __LINE__, #call)
#define CHECK_NEAR(got, expected, tolerance) check_near((got), (expected), (tolerance), __FILE__, __LINE__, #got)

/* For what the rest of a test cannot do without. */
#define REQUIRE(condition)                                                    \
    do {                                                                      \
        if (!(condition)) {                                                   \
            check_count(0, __FILE__, __LINE__, #condition);                   \
            printf("    last error: \"%s\"\n", prune_last_error());           \
            printf("%d passed, %d failed\n", check_n_passed, check_n_failed); \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

/* The last line of a test program; its value is the exit status. */
static inline int check_report(void)
{
    printf("%d passed, %d failed\n", check_n_passed, check_n_failed);
    return check_n_failed != 0 || check_n_passed == 0;
}

#endif
