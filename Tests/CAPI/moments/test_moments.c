/* SPDX-License-Identifier: Apache-2.0 */
/* Moments: gathered in parts, merged, solved; and what is refused. */
#include "recovery.h"

#define H FIXTURE_HIDDEN

static fixture f;

static prune_data *part_of(size_t first, size_t n)
{
    prune_data *data = NULL;
    int64_t start = 0;
    size_t i;
    for (i = 0; i < first; i++) {
        start += fixture_lengths[i];
    }
    CHECK_OK(prune_data_create(fixture_ids + start, fixture_lengths + first, n, NULL, &data));
    return data;
}

static prune_recover_options linear(void)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.kind = PRUNE_ADAPTER_LINEAR;
    options.stream = PRUNE_STREAM_FULL_MODEL;
    options.ridge = 0.1;
    return options;
}

static prune_moments *made(const prune_recover_options *options)
{
    prune_moments *moments = NULL;
    CHECK_OK(prune_moments_create(f.model, recovery_keep, 4, options, &moments));
    REQUIRE(moments != NULL);
    return moments;
}

/* Largest difference between the matrices and biases of two sets of linear adapters. */
static double difference(const prune_adapters *a, const prune_adapters *b)
{
    static float x[H * H], y[H * H];
    double largest = 0.0;
    int64_t sublayer;
    int i;
    for (sublayer = 1; sublayer <= 2; sublayer++) {
        recovery_part(a, sublayer, PRUNE_PART_MATRIX, x, H * H);
        recovery_part(b, sublayer, PRUNE_PART_MATRIX, y, H * H);
        for (i = 0; i < H * H; i++) {
            largest = fmax(largest, fabs((double)x[i] - (double)y[i]));
        }
        recovery_part(a, sublayer, PRUNE_PART_BIAS, x, H);
        recovery_part(b, sublayer, PRUNE_PART_BIAS, y, H);
        for (i = 0; i < H; i++) {
            largest = fmax(largest, fabs((double)x[i] - (double)y[i]));
        }
    }
    return largest;
}

/* Parts merged equal parts gathered one after the other, the whole, and what prune_model_recover() gives. */
static void merged_moments_equal_the_whole(void)
{
    prune_recover_options options = linear();
    prune_moments *whole = made(&options), *serial = made(&options), *a = made(&options), *b = made(&options);
    prune_data *first = part_of(0, 1), *second = part_of(1, 2);
    prune_adapters *from_whole = NULL, *other = NULL;
    CHECK_OK(prune_moments_collect(whole, f.model, f.data, NULL));
    CHECK_OK(prune_moments_collect(serial, f.model, first, NULL));
    CHECK_OK(prune_moments_collect(serial, f.model, second, NULL));
    CHECK_OK(prune_moments_collect(a, f.model, first, NULL));
    CHECK_OK(prune_moments_collect(b, f.model, second, NULL));
    CHECK_OK(prune_moments_merge(a, b));
    CHECK_OK(prune_moments_solve(whole, NULL, &options, &from_whole));
    CHECK_OK(prune_moments_solve(serial, NULL, &options, &other));
    CHECK(difference(from_whole, other) < 1e-5);
    prune_adapters_release(other);
    CHECK_OK(prune_moments_solve(a, NULL, &options, &other));
    CHECK(difference(from_whole, other) < 1e-5);
    prune_adapters_release(other);
    options.held_out = f.data;
    CHECK_OK(prune_model_recover(f.model, f.data, recovery_keep, 4, &options, &other));
    CHECK(difference(from_whole, other) < 1e-6);
    prune_adapters_release(other);
    prune_adapters_release(from_whole);
    prune_moments_release(whole);
    prune_moments_release(serial);
    prune_moments_release(a);
    prune_moments_release(b);
    prune_data_release(first);
    prune_data_release(second);
}

/* Ridge and rank by held-out tokens. */
static void ridge_and_rank_are_chosen(void)
{
    prune_recover_options options = linear();
    prune_moments *train, *held_out;
    prune_data *first = part_of(0, 2), *second = part_of(2, 1);
    prune_adapters *adapters = NULL;
    prune_adapter list[2];
    options.kind = PRUNE_ADAPTER_LOW_RANK;
    train = made(&options);
    held_out = made(&options);
    CHECK_OK(prune_moments_collect(train, f.model, first, NULL));
    CHECK_OK(prune_moments_collect(held_out, f.model, second, NULL));
    options.ridge = 0.0;
    options.rank = -1;
    CHECK_OK(prune_moments_solve(train, held_out, &options, &adapters));
    CHECK_OK(prune_adapters_list(adapters, list, 2, NULL));
    CHECK(list[0].ridge > 0.0 && (list[0].rank & (list[0].rank - 1)) == 0 && list[0].rank >= 1 && list[0].rank <= H);
    CHECK(isfinite(list[0].explained) && list[0].explained <= 1.0);
    prune_adapters_release(adapters);
    adapters = NULL;
    CHECK_FAILS(prune_moments_solve(train, NULL, &options, &adapters), PRUNE_ERR_ARGUMENT, "rank");
    CHECK(adapters == NULL);
    options.rank = 2;
    CHECK_OK(prune_moments_solve(train, NULL, &options, &adapters));
    CHECK_OK(prune_adapters_list(adapters, list, 2, NULL));
    CHECK(list[0].ridge == 1e-3 && list[0].rank == 2 && isnan(list[0].explained));
    prune_adapters_release(adapters);
    prune_moments_release(train);
    prune_moments_release(held_out);
    prune_data_release(first);
    prune_data_release(second);
}

static int32_t stop(void *user_data, const prune_progress *progress)
{
    (void)progress;
    ++*(int *)user_data;
    return 1;
}

/* A pass that is stopped adds nothing. */
static void cancelled_collecting_adds_nothing(void)
{
    prune_recover_options options = linear();
    prune_evaluate_options evaluate = PRUNE_EVALUATE_OPTIONS_INIT;
    prune_moments *moments = made(&options), *untouched = made(&options);
    prune_adapters *one = NULL, *two = NULL;
    int calls = 0;
    evaluate.progress = stop;
    evaluate.user_data = &calls;
    CHECK_OK(prune_moments_collect(moments, f.model, f.data, NULL));
    CHECK_OK(prune_moments_collect(untouched, f.model, f.data, NULL));
    CHECK_FAILS(prune_moments_collect(moments, f.model, f.data, &evaluate), PRUNE_ERR_CANCELLED, "cancelled");
    CHECK(calls == 1);
    CHECK_OK(prune_moments_solve(moments, NULL, &options, &one));
    CHECK_OK(prune_moments_solve(untouched, NULL, &options, &two));
    CHECK(recovery_equal(one, two));
    prune_adapters_release(one);
    prune_adapters_release(two);
    prune_moments_release(moments);
    prune_moments_release(untouched);
}

static void moments_refusals(void)
{
    static const uint8_t all[4] = { 1, 1, 1, 1 }, other[4] = { 0, 1, 1, 1 };
    prune_recover_options options = linear();
    prune_evaluate_options evaluate = PRUNE_EVALUATE_OPTIONS_INIT;
    prune_moments *moments = made(&options), *elsewhere = NULL, *bias = NULL;
    prune_moments *bad = (prune_moments *)(uintptr_t)0x10;
    prune_adapters *adapters = (prune_adapters *)(uintptr_t)0x10;
    prune_model *changed = NULL;
    tiny_model weights;
    CHECK_FAILS(prune_moments_solve(moments, NULL, &options, &adapters), PRUNE_ERR_DATA, "tokens");
    CHECK(adapters == NULL);
    CHECK_FAILS(prune_moments_create(f.model, all, 4, &options, &elsewhere), PRUNE_ERR_ARGUMENT, "removes nothing");
    CHECK_FAILS(prune_moments_create(f.model, other, 2, &options, &elsewhere), PRUNE_ERR_ARGUMENT, "2");
    options.kind = 7;
    CHECK_FAILS(prune_moments_create(f.model, other, 4, &options, &elsewhere), PRUNE_ERR_ARGUMENT, "kind");
    options.kind = PRUNE_ADAPTER_LINEAR;
    CHECK_OK(prune_moments_create(f.model, other, 4, &options, &elsewhere));
    CHECK_FAILS(prune_moments_merge(moments, elsewhere), PRUNE_ERR_ARGUMENT, "mask");
    options.kind = PRUNE_ADAPTER_BIAS;
    CHECK_OK(prune_moments_create(f.model, recovery_keep, 4, &options, &bias));
    CHECK_FAILS(prune_moments_merge(moments, bias), PRUNE_ERR_ARGUMENT, "options");
    options.kind = PRUNE_ADAPTER_LINEAR;
    CHECK_OK(prune_moments_collect(bias, f.model, f.data, NULL));
    CHECK_FAILS(prune_moments_solve(bias, NULL, &options, &adapters), PRUNE_ERR_ARGUMENT, "bias");
    tiny_model_make(&weights, tiny_default_shape(), 5);
    tiny_model_write(&weights, "changed");
    CHECK_OK(prune_model_open("changed", NULL, &changed));
    CHECK_FAILS(prune_moments_collect(moments, changed, f.data, NULL), PRUNE_ERR_ARGUMENT, "different models");
    prune_model_release(changed);
    tiny_model_free(&weights);
    evaluate.batch_tokens = -1;
    CHECK_FAILS(prune_moments_collect(moments, f.model, f.data, &evaluate), PRUNE_ERR_ARGUMENT, "batch_tokens");
    CHECK_FAILS(prune_moments_create(NULL, other, 4, &options, &elsewhere), PRUNE_ERR_ARGUMENT, "model");
    CHECK_FAILS(prune_moments_create(f.model, NULL, 4, &options, &elsewhere), PRUNE_ERR_ARGUMENT, "keep");
    CHECK_FAILS(prune_moments_create(f.model, other, 4, &options, NULL), PRUNE_ERR_ARGUMENT, "out_moments");
    CHECK_FAILS(prune_moments_collect(NULL, f.model, f.data, NULL), PRUNE_ERR_ARGUMENT, "moments");
    CHECK_FAILS(prune_moments_collect(moments, NULL, f.data, NULL), PRUNE_ERR_ARGUMENT, "model");
    CHECK_FAILS(prune_moments_collect(moments, f.model, NULL, NULL), PRUNE_ERR_ARGUMENT, "data");
    CHECK_FAILS(prune_moments_collect(bad, f.model, f.data, NULL), PRUNE_ERR_HANDLE, "moments");
    CHECK_FAILS(prune_moments_merge(NULL, moments), PRUNE_ERR_ARGUMENT, "moments");
    CHECK_FAILS(prune_moments_merge(moments, NULL), PRUNE_ERR_ARGUMENT, "other");
    CHECK_FAILS(prune_moments_merge(moments, bad), PRUNE_ERR_HANDLE, "other");
    CHECK_FAILS(prune_moments_solve(NULL, NULL, &options, &adapters), PRUNE_ERR_ARGUMENT, "moments");
    CHECK_FAILS(prune_moments_solve(moments, bad, &options, &adapters), PRUNE_ERR_HANDLE, "held_out");
    CHECK_FAILS(prune_moments_solve(moments, NULL, &options, NULL), PRUNE_ERR_ARGUMENT, "out_adapters");
    prune_moments_release(bad);
    prune_moments_release(NULL);
    prune_moments_release(bias);
    prune_moments_release(moments);
    prune_moments_release(moments);
    CHECK_FAILS(prune_moments_merge(moments, moments), PRUNE_ERR_HANDLE, "moments");
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    merged_moments_equal_the_whole();
    ridge_and_rank_are_chosen();
    cancelled_collecting_adds_nothing();
    moments_refusals();
    fixture_close(&f);
    return check_report();
}
