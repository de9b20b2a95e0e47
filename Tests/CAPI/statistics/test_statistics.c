/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics: gathered in parts, merged, read; windows of blocks. */
#include "check.h"
#include "fixture.h"
#include "metrics.h"

static prune_data *part_of(int64_t first, int64_t n)
{
    prune_data *data = NULL;
    int64_t start = 0, i;
    for (i = 0; i < first; i++) {
        start += fixture_lengths[i];
    }
    CHECK_OK(prune_data_create(fixture_ids + start, fixture_lengths + first, (size_t)n, NULL, &data));
    return data;
}

static prune_statistics *gathered(const fixture *f, const prune_data *data, const prune_statistics_options *options)
{
    prune_statistics *statistics = NULL;
    CHECK_OK(prune_statistics_create(FIXTURE_BLOCKS, options, &statistics));
    if (data != NULL) {
        CHECK_OK(prune_statistics_collect(statistics, f->model, data, NULL));
    }
    return statistics;
}

/* The same scores as one call gives, for every granularity, and those of the definition. */
static void equals_score(const fixture *f)
{
    prune_statistics *statistics = gathered(f, f->data, NULL);
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_granularity granularity;
    double direct[24], read[24], expected[24];
    size_t count, i;
    for (granularity = 0; granularity < 4; granularity++) {
        options.granularity = granularity;
        for (options.relative_to = 0; options.relative_to < 2; options.relative_to++) {
            options.metrics = PRUNE_METRIC_ALL_OF_STATES;
            CHECK_OK(prune_model_score(f->model, f->data, &options, direct, 24, NULL));
            options.metrics = 0; /* all six */
            CHECK_OK(prune_statistics_scores(statistics, &options, read, 24, &count));
            CHECK(count == (granularity == PRUNE_GRANULARITY_SUBLAYER ? 24 : 12));
            expected_scores(f, FIXTURE_SEQUENCES, granularity, NULL, options.relative_to, PRUNE_TOKENS_ALL, expected);
            for (i = 0; i < count; i++) {
                CHECK_NEAR(read[i], direct[i], 1e-12 * (1.0 + fabs(direct[i])));
                CHECK_NEAR(read[i], expected[i], 2e-5 * (1.0 + fabs(expected[i])));
            }
        }
    }
    CHECK_OK(prune_statistics_scores(statistics, NULL, read, 24, &count));
    CHECK(count == 24);
    prune_statistics_release(statistics);
}

/*
 * Two parts merged, and two parts gathered one after the other, equal the whole.
 *   batch_tokens   1 makes every sequence a batch of its own, so that whole and parts are computed alike; otherwise
 *                  fp32 rounds differently in batches of different sizes
 */
static void merging(const fixture *f, int64_t batch_tokens, double tolerance)
{
    prune_statistics_options windows = PRUNE_STATISTICS_OPTIONS_INIT;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_data *first = part_of(0, 1), *second = part_of(1, 2);
    prune_statistics *whole, *serial, *a, *b, *empty;
    double expected[24], got[24], expected_windows[4], got_windows[4];
    size_t i;
    options.batch_tokens = batch_tokens;
    windows.windows = 1;
    whole = gathered(f, NULL, &windows);
    serial = gathered(f, NULL, &windows);
    a = gathered(f, NULL, &windows);
    b = gathered(f, NULL, &windows);
    empty = gathered(f, NULL, &windows);
    CHECK_OK(prune_statistics_collect(whole, f->model, f->data, &options));
    CHECK_OK(prune_statistics_scores(whole, NULL, expected, 24, NULL));
    CHECK_OK(prune_statistics_windows(whole, expected_windows, 4, NULL));

    CHECK_OK(prune_statistics_collect(serial, f->model, first, &options));
    CHECK_OK(prune_statistics_collect(serial, f->model, second, &options));
    CHECK_OK(prune_statistics_scores(serial, NULL, got, 24, NULL));
    for (i = 0; i < 24; i++) {
        CHECK_NEAR(got[i], expected[i], tolerance * (1.0 + fabs(expected[i])));
    }

    CHECK_OK(prune_statistics_collect(a, f->model, first, &options));
    CHECK_OK(prune_statistics_collect(b, f->model, second, &options));
    CHECK_OK(prune_statistics_merge(a, empty)); /* nothing to add */
    CHECK_OK(prune_statistics_merge(a, b));
    CHECK_OK(prune_statistics_merge(empty, a)); /* onto nothing */
    CHECK_OK(prune_statistics_scores(empty, NULL, got, 24, NULL));
    CHECK_OK(prune_statistics_windows(empty, got_windows, 4, NULL));
    for (i = 0; i < 24; i++) {
        CHECK_NEAR(got[i], expected[i], tolerance * (1.0 + fabs(expected[i])));
    }
    for (i = 0; i < 3; i++) {
        CHECK_NEAR(got_windows[i], expected_windows[i], tolerance);
    }
    CHECK(isnan(got_windows[3]));
    prune_statistics_release(whole);
    prune_statistics_release(serial);
    prune_statistics_release(a);
    prune_statistics_release(b);
    prune_statistics_release(empty);
    prune_data_release(first);
    prune_data_release(second);
}

static void mismatches(const fixture *f)
{
    prune_statistics_options last = PRUNE_STATISTICS_OPTIONS_INIT, windows = PRUNE_STATISTICS_OPTIONS_INIT;
    prune_statistics *plain = gathered(f, f->data, NULL), *other = NULL;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    double before[24], after[24];
    last.tokens = PRUNE_TOKENS_LAST;
    windows.windows = 1;
    CHECK_OK(prune_statistics_scores(plain, NULL, before, 24, NULL));

    CHECK_OK(prune_statistics_create(3, NULL, &other));
    CHECK_FAILS(prune_statistics_merge(plain, other), PRUNE_ERR_ARGUMENT, "blocks");
    CHECK_FAILS(prune_statistics_collect(other, f->model, f->data, NULL), PRUNE_ERR_ARGUMENT, "blocks");
    prune_statistics_release(other);
    other = gathered(f, f->data, &last);
    CHECK_FAILS(prune_statistics_merge(plain, other), PRUNE_ERR_ARGUMENT, "tokens");
    CHECK_FAILS(prune_statistics_windows(other, after, 24, NULL), PRUNE_ERR_ARGUMENT, "windows");
    prune_statistics_release(other);
    other = gathered(f, f->data, &windows);
    CHECK_FAILS(prune_statistics_merge(plain, other), PRUNE_ERR_ARGUMENT, "windows");
    prune_statistics_release(other);
    other = gathered(f, NULL, &windows);
    CHECK_FAILS(prune_statistics_scores(other, NULL, after, 24, NULL), PRUNE_ERR_DATA, "gathered");
    CHECK_FAILS(prune_statistics_windows(other, after, 24, NULL), PRUNE_ERR_DATA, "gathered");
    prune_statistics_release(other);

    options.metrics = PRUNE_METRIC_MAGNITUDE;
    CHECK_FAILS(prune_statistics_scores(plain, &options, after, 24, NULL), PRUNE_ERR_ARGUMENT, "64");
    options.metrics = PRUNE_METRIC_COSINE | PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
    CHECK_FAILS(prune_statistics_scores(plain, &options, after, 24, NULL), PRUNE_ERR_ARGUMENT, "128");

    CHECK_OK(prune_statistics_scores(plain, NULL, after, 24, NULL));
    CHECK(memcmp(before, after, sizeof before) == 0);
    prune_statistics_release(plain);
}

static void statistics_creation(void)
{
    static const int64_t counts[4] = { 0, -1, INT64_MIN, INT64_MAX };
    prune_statistics_options options = PRUNE_STATISTICS_OPTIONS_INIT;
    prune_statistics *statistics;
    size_t i;
    for (i = 0; i < 4; i++) {
        statistics = (prune_statistics *)(uintptr_t)0x10;
        CHECK_FAILS(prune_statistics_create(counts[i], NULL, &statistics), PRUNE_ERR_ARGUMENT, "n_blocks");
        CHECK(statistics == NULL);
    }
    options.tokens = 2;
    CHECK_FAILS(prune_statistics_create(2, &options, &statistics), PRUNE_ERR_ARGUMENT, "tokens");
    options.tokens = 0;
    options.windows = 2;
    CHECK_FAILS(prune_statistics_create(2, &options, &statistics), PRUNE_ERR_ARGUMENT, "windows");
}

/* Tokens: the last ones alone, and a mask while gathering. */
static void options_used(const fixture *f)
{
    static const uint8_t keep[4] = { 1, 1, 1, 0 };
    prune_statistics_options last = PRUNE_STATISTICS_OPTIONS_INIT;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_statistics *statistics;
    double expected[24], got[24];
    size_t i;
    last.tokens = PRUNE_TOKENS_LAST;
    options.keep = keep;
    options.n_keep = 4;
    statistics = gathered(f, NULL, &last);
    CHECK_OK(prune_statistics_collect(statistics, f->model, f->data, &options));
    CHECK_OK(prune_statistics_scores(statistics, NULL, got, 24, NULL));
    expected_scores(f, FIXTURE_SEQUENCES, 0, keep, PRUNE_RELATIVE_TO_INPUT, PRUNE_TOKENS_LAST, expected);
    for (i = 0; i < 24; i++) {
        CHECK_NEAR(got[i], expected[i], 2e-5 * (1.0 + fabs(expected[i])));
    }
    prune_statistics_release(statistics);
}

static void windows(const fixture *f)
{
    prune_statistics_options options = PRUNE_STATISTICS_OPTIONS_INIT;
    prune_statistics *statistics;
    double got[5] = { 7, 7, 7, 7, 7 };
    size_t count = 0;
    options.windows = 1;
    statistics = gathered(f, f->data, &options);
    CHECK_FAILS(prune_statistics_windows(statistics, got, 3, &count), PRUNE_ERR_BUFFER, "4");
    CHECK(count == 4 && got[0] == 7.0);
    CHECK_OK(prune_statistics_windows(statistics, got, 5, &count));
    CHECK(count == 4 && got[4] == 7.0);
    CHECK_NEAR(got[0], expected_angular(f, 0, 2), 1e-5);
    CHECK_NEAR(got[1], expected_angular(f, 2, 4), 1e-5);
    CHECK_NEAR(got[2], expected_angular(f, 0, 4), 1e-5);
    CHECK(isnan(got[3]));
    CHECK_FAILS(prune_statistics_scores(statistics, NULL, got, 5, &count), PRUNE_ERR_BUFFER, "24");
    CHECK(count == 24);
    prune_statistics_release(statistics);
}

/* Adding statistics to themselves doubles every sum, so the means stay; a library that cannot may refuse. */
static void merged_with_itself(const fixture *f)
{
    prune_statistics *statistics = gathered(f, f->data, NULL);
    double before[24], after[24];
    prune_status status;
    size_t i;
    CHECK_OK(prune_statistics_scores(statistics, NULL, before, 24, NULL));
    status = prune_statistics_merge(statistics, statistics);
    CHECK(status == PRUNE_OK || status == PRUNE_ERR_ARGUMENT);
    CHECK_OK(prune_statistics_scores(statistics, NULL, after, 24, NULL));
    for (i = 0; i < 24; i++) {
        CHECK_NEAR(after[i], before[i], 1e-12 * (1.0 + fabs(before[i])));
    }
    prune_statistics_release(statistics);
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    equals_score(&f);
    merging(&f, 1, 1e-12);
    merging(&f, 0, 1e-6);
    mismatches(&f);
    statistics_creation();
    options_used(&f);
    windows(&f);
    merged_with_itself(&f);
    fixture_close(&f);
    return check_report();
}
