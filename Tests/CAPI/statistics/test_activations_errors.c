/* SPDX-License-Identifier: Apache-2.0 */
/* What prune_statistics_update() refuses, and what does no harm: nothing is added, nothing overflows, no thread loses rows. */
#include <pthread.h>

#include "activations.h"
#include "check.h"

enum {
    ROWS = 300
};

/* A value that is not finite: its unit, row and side are named, and nothing is added. */
static void rows_that_are_not_finite(void)
{
    static float h[ROWS * 2], g[ROWS * 2];
    prune_rows before = rows_of(h, ROWS, 2), after = rows_of(g, ROWS, 2);
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_statistics *statistics = empty(4);
    double was[24], is[24];
    int64_t unit;
    int i;
    for (i = 0; i < ROWS * 2; i++) {
        h[i] = (float)(i % 5);
        g[i] = (float)(i % 7);
    }
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    for (unit = 0; unit < 4; unit++) {
        CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_BLOCK, unit, &before, &after));
    }
    CHECK_OK(prune_statistics_scores(statistics, &options, was, 24, NULL));
    h[2 * 290] = NAN;
    CHECK_FAILS(prune_statistics_update(statistics, PRUNE_GRANULARITY_BLOCK, 3, &before, &after), PRUNE_ERR_NONFINITE,
                "row 290 of the states before block.3");
    g[2 * 70 + 1] = -INFINITY; /* the first one is named, on any number of threads */
    CHECK_FAILS(prune_statistics_update(statistics, PRUNE_GRANULARITY_BLOCK, 2, &before, &after), PRUNE_ERR_NONFINITE,
                "row 70 of the states after block.2");
    CHECK_FAILS(prune_statistics_update(statistics, PRUNE_GRANULARITY_SUBLAYER, 7, &before, &after),
                PRUNE_ERR_NONFINITE, "after ffn.3");
    CHECK_OK(prune_statistics_scores(statistics, &options, is, 24, NULL));
    CHECK(memcmp(was, is, sizeof was) == 0);
    before.n_rows = after.n_rows = 70;
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_BLOCK, 2, &before, &after));

    /* Far apart, but finite: no overflow on the way. */
    h[0] = 3e38f;
    g[0] = -3e38f;
    h[1] = g[1] = 0.0f;
    before.n_rows = after.n_rows = 1;
    prune_statistics_release(statistics);
    statistics = empty(1);
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_BLOCK, 0, &before, &after));
    CHECK_OK(prune_statistics_scores(statistics, &options, is, 24, NULL));
    CHECK_NEAR(is[0], 2.0, 1e-12);
    CHECK_NEAR(is[1], 1.0, 1e-12);
    CHECK_NEAR(is[5], 2.0, 1e-12);
    prune_statistics_release(statistics);
}

/* What no memory and no unit can be, refused before anything is read. */
static void update_refusals(void)
{
    static const float values[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    static const int64_t extremes[5] = { INT64_MAX, INT64_MIN, INT64_MAX / 2, INT64_MIN / 4, INT64_MAX - 1 };
    prune_statistics_options with_windows = PRUNE_STATISTICS_OPTIONS_INIT;
    prune_statistics *statistics = empty(2), *windows = NULL;
    prune_rows good = rows_of(values, 2, 4), bad;
    double out[12];
    size_t i;
    CHECK_FAILS(prune_statistics_update(statistics, 4, 0, &good, &good), PRUNE_ERR_ARGUMENT, "granularity");
    CHECK_FAILS(prune_statistics_update(statistics, 0, 4, &good, &good), PRUNE_ERR_ARGUMENT, "unit is 4");
    CHECK_FAILS(prune_statistics_update(statistics, 1, 2, &good, &good), PRUNE_ERR_ARGUMENT, "unit is 2");
    CHECK_FAILS(prune_statistics_update(statistics, 1, -1, &good, &good), PRUNE_ERR_ARGUMENT, "unit is -1");
    CHECK_FAILS(prune_statistics_update(statistics, 0, INT64_MAX, &good, &good), PRUNE_ERR_ARGUMENT, "unit");
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, NULL, &good), PRUNE_ERR_ARGUMENT, "before");
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &good, NULL), PRUNE_ERR_ARGUMENT, "after");
    bad = good;
    bad.data = NULL;
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &good, &bad), PRUNE_ERR_ARGUMENT, "after.data");
    bad = good;
    bad.element_type = 3;
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &bad, &good), PRUNE_ERR_ARGUMENT, "before.element_type");
    bad = good;
    bad.reserved = 1;
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &bad, &good), PRUNE_ERR_ARGUMENT, "reserved");
    bad = good;
    bad.n_rows = 1;
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &good, &bad), PRUNE_ERR_ARGUMENT, "same tokens");
    bad = good;
    bad.width = 3;
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &good, &bad), PRUNE_ERR_ARGUMENT, "same tokens");
    bad.width = 0;
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &bad, &bad), PRUNE_ERR_ARGUMENT, "before");
    bad = good;
    bad.n_rows = -1;
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &bad, &bad), PRUNE_ERR_ARGUMENT, "before");
    for (i = 0; i < 5; i++) {
        bad = good;
        bad.n_rows = extremes[i];
        CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &bad, &bad), PRUNE_ERR_ARGUMENT, "before");
        bad = good;
        bad.width = extremes[i];
        CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &good, &bad), PRUNE_ERR_ARGUMENT, "after");
        bad = good;
        bad.row_stride = extremes[i];
        CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &good, &bad), PRUNE_ERR_ARGUMENT, "after");
        bad = good;
        bad.column_stride = extremes[i];
        CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &bad, &good), PRUNE_ERR_ARGUMENT, "before");
        bad.row_stride = extremes[i];
        bad.element_type = PRUNE_ELEMENT_BFLOAT16;
        CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &bad, &good), PRUNE_ERR_ARGUMENT, "before");
    }
    with_windows.windows = 1;
    CHECK_OK(prune_statistics_create(2, &with_windows, &windows));
    CHECK_FAILS(prune_statistics_update(windows, 0, 0, &good, &good), PRUNE_ERR_ARGUMENT, "windows");
    CHECK_FAILS(prune_statistics_scores(statistics, NULL, out, 12, NULL), PRUNE_ERR_DATA,
                "attn.0"); /* none was added */
    prune_statistics_release(windows);
    prune_statistics_release(statistics);
    CHECK_FAILS(prune_statistics_update(statistics, 0, 0, &good, &good), PRUNE_ERR_HANDLE, "statistics");
}

/* Doubled again and again by merging with themselves, tokens end being counted, by a refusal. */
static void too_many_tokens(void)
{
    static const float h[2] = { 1, 2 }, g[2] = { 2, 2 };
    prune_rows before = rows_of(h, 1, 2), after = rows_of(g, 1, 2);
    prune_statistics *statistics = empty(1);
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_status status = PRUNE_OK;
    double out[6];
    int doublings = 0;
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    CHECK_OK(prune_statistics_update(statistics, PRUNE_GRANULARITY_BLOCK, 0, &before, &after));
    while (doublings < 100 && (status = prune_statistics_merge(statistics, statistics)) == PRUNE_OK) {
        doublings++;
    }
    CHECK(doublings == 62 && status == PRUNE_ERR_ARGUMENT);
    CHECK(strstr(prune_last_error(), "counted") != NULL);
    CHECK_OK(prune_statistics_scores(statistics, &options, out, 6, NULL));
    CHECK_NEAR(out[2], 1.0, 1e-12);
    prune_statistics_release(statistics);
}

static prune_statistics *shared;

static void *adds(void *failures)
{
    static const float h[8] = { 1, 0, 0, 1, 2, 2, 1, 1 }, g[8] = { 2, 0, 1, 1, 2, 3, 1, 0 };
    prune_rows before = rows_of(h, 4, 2), after = rows_of(g, 4, 2);
    int i;
    for (i = 0; i < 500; i++) {
        *(int *)failures +=
            prune_statistics_update(shared, PRUNE_GRANULARITY_SUBLAYER, i % 2, &before, &after) != PRUNE_OK;
    }
    return NULL;
}

/* Statistics are for one thread at a time; a host that forgets that is not punished by a crash, or by lost rows. */
static void from_two_threads(void)
{
    pthread_t other;
    int failures[2] = { 0, 0 };
    double out[12];
    shared = empty(1);
    REQUIRE(pthread_create(&other, NULL, adds, &failures[0]) == 0);
    adds(&failures[1]);
    pthread_join(other, NULL);
    CHECK(failures[0] == 0 && failures[1] == 0);
    CHECK_OK(prune_statistics_scores(shared, NULL, out, 12, NULL));
    CHECK_NEAR(out[2 * 2], 1.0, 1e-12); /* l1 of u: 1, 1, 1, 1 */
    prune_statistics_release(shared);
}

int main(void)
{
    rows_that_are_not_finite();
    update_refusals();
    too_many_tokens();
    from_two_threads();
    return check_report();
}
