/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories that must be refused. Include after check.h.
 *
 * Every refusal is followed by a call on a good model, whose result must be what it was: the process lives on, and
 * nothing of the bad model is left behind.
 */
#ifndef REFUSAL_H
#define REFUSAL_H

#include "check.h"
#include "fixture.h"

typedef struct refusal_bench {
    fixture good;
    prune_evaluation before;
} refusal_bench;

static inline void refusal_begin(refusal_bench *bench)
{
    fixture_open(&bench->good, "good");
    REQUIRE(bench->good.model != NULL && bench->good.data != NULL);
    CHECK_OK(prune_model_evaluate(bench->good.model, bench->good.data, NULL, 1, 0, NULL, &bench->before));
}

/* The message must have both parts: the file, and what in it is at fault. */
static inline void refused(const refusal_bench *bench, const char *directory, prune_status expected, const char *file,
                           const char *part, const char *source, int line)
{
    prune_model *model = (prune_model *)(uintptr_t)0x10;
    prune_evaluation after;
    prune_status got = prune_model_open(directory, NULL, &model);
    int failures = check_n_failed;
    check_fails(got, expected, file, source, line, directory);
    check_fails(got, expected, part, source, line, directory);
    check_count(model == NULL, source, line, "the handle becomes NULL");
    if (check_n_failed != failures) {
        printf("    wanted: %s\n", part);
    }
    if (got == PRUNE_OK) {
        prune_model_release(model);
    }
    CHECK_OK(prune_model_evaluate(bench->good.model, bench->good.data, NULL, 1, 0, NULL, &after));
    CHECK(after.loss == bench->before.loss);
}

#define REFUSED(bench, directory, expected, file, part) \
    refused((bench), (directory), (expected), (file), (part), __FILE__, __LINE__)

#endif
