/* SPDX-License-Identifier: Apache-2.0 */
/* Searches that are made, asked, told, read and run wrongly: each is refused by name, and nothing changes. */
#include "check.h"
#include "fixture.h"
#include "search.h"

enum {
    N = FIXTURE_SUBLAYERS
};

static fixture f;

static prune_search_options removing(int64_t remove)
{
    prune_search_options options = PRUNE_SEARCH_OPTIONS_INIT;
    options.remove = remove;
    return options;
}

static void refused(const prune_search_options *options, prune_status expected, const char *part, int line)
{
    prune_search *search = (prune_search *)(uintptr_t)0x10;
    check_fails(prune_search_create(f.model, options, &search), expected, part, __FILE__, line, part);
    check_count(search == NULL, __FILE__, line, "the handle becomes NULL");
}
/* Sets one field of good options so that they are refused. */
#define REFUSED(set, expected, part)                     \
    do {                                                 \
        prune_search_options options = removing(1);      \
        set;                                             \
        refused(&options, (expected), (part), __LINE__); \
    } while (0)

static const uint8_t keep[N] = { 1, 1, 1, 1 }, odd[N] = { 1, 2, 1, 1 };
static const double scores[N] = { 1, 2, 3, 4 }, bad[N] = { 1, 2, NAN, 4 };
static const prune_token_time times[N + 1] = { { 1, 1 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 1, 1 } };

static void options_are_checked(void)
{
    refused(NULL, PRUNE_ERR_ARGUMENT, "options", __LINE__);
    REFUSED(options.struct_size = 8, PRUNE_ERR_ARGUMENT, "struct_size");
    REFUSED(options.reserved = 1, PRUNE_ERR_ARGUMENT, "reserved");
    REFUSED(options.strategy = 7, PRUNE_ERR_ARGUMENT, "strategy");
    REFUSED(options.granularity = 4, PRUNE_ERR_ARGUMENT, "granularity");
    REFUSED(options.remove = 0, PRUNE_ERR_ARGUMENT, "no budget");
    REFUSED(options.remove = -1, PRUNE_ERR_ARGUMENT, "remove");
    REFUSED(options.remove = INT64_MAX, PRUNE_ERR_ARGUMENT, "only 4");
    REFUSED(options.remove_attention = 1, PRUNE_ERR_ARGUMENT, "beside");
    REFUSED(options.remove_parameters = 1, PRUNE_ERR_ARGUMENT, "remove_parameters");
    REFUSED(options.remove_parameters = NAN, PRUNE_ERR_ARGUMENT, "remove_parameters");
    REFUSED(options.parameter_bytes = 1, PRUNE_ERR_ARGUMENT, "are left");
    REFUSED(options.kv_bytes = -1, PRUNE_ERR_ARGUMENT, "kv_bytes");
    REFUSED(options.prefill_ms = 1, PRUNE_ERR_ARGUMENT, "times");
    REFUSED((options.decode_ms = 0.5, options.times = times, options.n_times = N + 1), PRUNE_ERR_ARGUMENT, "decode_ms");
    REFUSED((options.times = times, options.n_times = N), PRUNE_ERR_ARGUMENT, "times");
    REFUSED(options.n_times = 1, PRUNE_ERR_ARGUMENT, "times");
    REFUSED(options.max_damage = -1, PRUNE_ERR_ARGUMENT, "max_damage");
    REFUSED(options.max_loss_increase = INFINITY, PRUNE_ERR_ARGUMENT, "max_loss_increase");
    REFUSED((options.start = keep, options.n_start = 3), PRUNE_ERR_ARGUMENT, "start");
    REFUSED((options.start = odd, options.n_start = N), PRUNE_ERR_ARGUMENT, "ffn.0");
    REFUSED(options.n_start = 2, PRUNE_ERR_ARGUMENT, "start");
    REFUSED((options.protect = keep, options.n_protect = 5), PRUNE_ERR_ARGUMENT, "protect");
    REFUSED((options.protect = keep, options.n_protect = N), PRUNE_ERR_ARGUMENT, "only 0");
    REFUSED(options.n_scores = 1, PRUNE_ERR_ARGUMENT, "scores");
    REFUSED((options.scores = scores, options.n_scores = N), PRUNE_ERR_ARGUMENT, "scores");
    REFUSED((options.strategy = PRUNE_STRATEGY_ONE_SHOT, options.scores = scores, options.n_scores = 3),
            PRUNE_ERR_ARGUMENT, "3 entries");
    REFUSED((options.strategy = PRUNE_STRATEGY_ONE_SHOT, options.scores = bad, options.n_scores = N),
            PRUNE_ERR_NONFINITE, "attn.1");
    REFUSED((options.strategy = PRUNE_STRATEGY_WINDOW, options.scores = scores, options.n_scores = N),
            PRUNE_ERR_ARGUMENT, "blocks");
    REFUSED((options.strategy = PRUNE_STRATEGY_TAIL, options.candidates = 1), PRUNE_ERR_ARGUMENT, "candidates");
    REFUSED((options.strategy = PRUNE_STRATEGY_TAIL, options.exchanges = -1), PRUNE_ERR_ARGUMENT, "exchanges");
    REFUSED(options.candidates = -1, PRUNE_ERR_ARGUMENT, "candidates");
    REFUSED(options.exchanges = -2, PRUNE_ERR_ARGUMENT, "exchanges");
    REFUSED(options.offspring = 4, PRUNE_ERR_ARGUMENT, "offspring");
    REFUSED(options.generations = 4, PRUNE_ERR_ARGUMENT, "generations");
    REFUSED(options.patience = INT64_MIN, PRUNE_ERR_ARGUMENT, "patience");
    REFUSED((options.strategy = PRUNE_STRATEGY_EVOLUTIONARY, options.remove = 0, options.max_damage = 1),
            PRUNE_ERR_ARGUMENT, "evolutionary");
}

static void search_handles_and_pointers(void)
{
    prune_search_options options = removing(1);
    prune_search *search = new_search(f.model, &options), *none = NULL;
    prune_search_state state = PRUNE_SEARCH_STATE_INIT;
    prune_token_time measured[N + 1];
    uint8_t masks[4 * N];
    double share, damages[4] = { 1, 2, 3, 4 };
    size_t count = 7;
    CHECK_FAILS(prune_search_create(NULL, &options, &none), PRUNE_ERR_ARGUMENT, "model");
    CHECK_FAILS(prune_search_create((prune_model *)search, &options, &none), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_search_create(f.model, &options, NULL), PRUNE_ERR_ARGUMENT, "out_search");
    CHECK_FAILS(prune_search_ask(NULL, 1, masks, &count, &share), PRUNE_ERR_ARGUMENT, "search");
    CHECK_FAILS(prune_search_ask(search, 1, NULL, &count, &share), PRUNE_ERR_ARGUMENT, "out_masks");
    CHECK_FAILS(prune_search_ask(search, 1, masks, NULL, &share), PRUNE_ERR_ARGUMENT, "out_count");
    CHECK_FAILS(prune_search_ask(search, SIZE_MAX, masks, &count, &share), PRUNE_ERR_ARGUMENT, "most");
    CHECK_FAILS(prune_search_tell(NULL, masks, damages, 0), PRUNE_ERR_ARGUMENT, "search");
    CHECK_FAILS(prune_search_tell(search, NULL, damages, 1), PRUNE_ERR_ARGUMENT, "masks");
    CHECK_FAILS(prune_search_tell(search, masks, NULL, 1), PRUNE_ERR_ARGUMENT, "damages");
    CHECK_FAILS(prune_search_tell(search, masks, damages, SIZE_MAX / 2), PRUNE_ERR_ARGUMENT, "");
    CHECK_FAILS(prune_search_info(search, NULL), PRUNE_ERR_ARGUMENT, "out_state");
    state.struct_size = 4;
    CHECK_FAILS(prune_search_info(search, &state), PRUNE_ERR_ARGUMENT, "struct_size");
    CHECK_FAILS(prune_search_mask(search, masks, N - 1, &count), PRUNE_ERR_BUFFER, "out_keep");
    CHECK(count == N);
    CHECK_FAILS(prune_search_mask(NULL, masks, N, &count), PRUNE_ERR_ARGUMENT, "search");
    CHECK_FAILS(prune_search_path(search, NULL, NULL, 0, &count), PRUNE_ERR_BUFFER, "1");
    CHECK_FAILS(prune_search_save(NULL, masks, 1, &count), PRUNE_ERR_ARGUMENT, "search");
    CHECK_FAILS(prune_search_load(NULL, 8, &none), PRUNE_ERR_ARGUMENT, "bytes");
    CHECK_FAILS(prune_search_load(masks, 8, NULL), PRUNE_ERR_ARGUMENT, "out_search");
    CHECK_FAILS(prune_search_load(masks, 0, &none), PRUNE_ERR_FORMAT, "saved search");
    CHECK_FAILS(prune_model_times(f.model, NULL, NULL, N + 1, NULL), PRUNE_ERR_ARGUMENT, "out_times");
    CHECK_FAILS(prune_model_times((prune_model *)search, NULL, measured, N + 1, NULL), PRUNE_ERR_HANDLE, "model");
    prune_search_release(NULL);
    prune_search_release((prune_search *)f.model); /* of another kind: nothing happens */
    CHECK_OK(prune_search_info(search, (state.struct_size = sizeof state, &state)));
    prune_search_release(search);
    prune_search_release(search);
    CHECK_FAILS(prune_search_info(search, &state), PRUNE_ERR_HANDLE, "released");
}

/* A tell that is refused leaves the search as it was, byte for byte. */
static void tell_refusals(void)
{
    prune_search_options options = removing(2);
    prune_search *search = new_search(f.model, &options);
    uint8_t masks[3 * N], never[N] = { 0, 0, 0, 1 }, rows[2 * N];
    double damages[3] = { 1, 2, 3 };
    size_t count = 0, before, after;
    uint8_t *was, *is;
    CHECK_OK(prune_search_ask(search, 3, masks, &count, NULL));
    REQUIRE(count == 3);
    CHECK_OK(prune_search_tell(search, masks, damages, 1));
    was = saved_search(search, &before);
    CHECK_FAILS(prune_search_tell(search, masks, damages, 1), PRUNE_ERR_ARGUMENT, "told before");
    CHECK_FAILS(prune_search_tell(search, never, damages, 1), PRUNE_ERR_ARGUMENT, "never asked for");
    memcpy(rows, masks + N, N);
    memcpy(rows + N, never, N);
    CHECK_FAILS(prune_search_tell(search, rows, damages, 2), PRUNE_ERR_ARGUMENT, "mask 1");
    rows[N] = 2;
    CHECK_FAILS(prune_search_tell(search, rows, damages, 2), PRUNE_ERR_ARGUMENT, "is 2");
    damages[1] = NAN;
    CHECK_FAILS(prune_search_tell(search, masks + N, damages, 2), PRUNE_ERR_NONFINITE, "mask 1");
    is = saved_search(search, &after);
    CHECK(before == after && memcmp(was, is, before) == 0);
    CHECK(search_state(search).told == 1 && search_state(search).asked == 3);
    free(was);
    free(is);
    prune_search_release(search);
}

static int32_t stop_at_once(void *data, const prune_progress *progress)
{
    (void)data;
    (void)progress;
    return 1;
}

static void run_refusals(void)
{
    prune_search_options options = removing(2);
    prune_search_run_options run = PRUNE_SEARCH_RUN_OPTIONS_INIT;
    prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
    prune_time_options timing = PRUNE_TIME_OPTIONS_INIT;
    prune_token_time measured[N + 1];
    tiny_shape larger = tiny_default_shape();
    prune_search *search = new_search(f.model, &options);
    fixture other;
    CHECK_FAILS(prune_model_search(NULL, f.data, search, NULL), PRUNE_ERR_ARGUMENT, "model");
    CHECK_FAILS(prune_model_search(f.model, NULL, search, NULL), PRUNE_ERR_ARGUMENT, "data");
    CHECK_FAILS(prune_model_search(f.model, f.data, NULL, NULL), PRUNE_ERR_ARGUMENT, "search");
    run.reserved = 1;
    CHECK_FAILS(prune_model_search(f.model, f.data, search, &run), PRUNE_ERR_ARGUMENT, "reserved");
    run.reserved = 0, run.batch_masks = -1;
    CHECK_FAILS(prune_model_search(f.model, f.data, search, &run), PRUNE_ERR_ARGUMENT, "batch_masks");
    run.batch_masks = 0, run.metric = PRUNE_METRIC_COSINE | PRUNE_METRIC_L2;
    CHECK_FAILS(prune_model_search(f.model, f.data, search, &run), PRUNE_ERR_ARGUMENT, "metric");
    run.metric = 0, run.coalitions = &coalitions, coalitions.struct_size = 3;
    CHECK_FAILS(prune_model_search(f.model, f.data, search, &run), PRUNE_ERR_ARGUMENT, "coalitions");
    coalitions.struct_size = sizeof coalitions, coalitions.progress = stop_at_once;
    CHECK_FAILS(prune_model_search(f.model, f.data, search, &run), PRUNE_ERR_CANCELLED, "cancelled");
    CHECK(search_state(search).told == 0 && search_state(search).asked == 0);
    larger.n_blocks = 3;
    fixture_open_shape(&other, "larger", larger);
    CHECK_FAILS(prune_model_search(other.model, other.data, search, NULL), PRUNE_ERR_ARGUMENT, "blocks");
    fixture_close(&other);
    CHECK_OK(prune_model_search(f.model, f.data, search, NULL));
    prune_search_release(search);

    timing.repetitions = -1;
    CHECK_FAILS(prune_model_times(f.model, &timing, measured, N + 1, NULL), PRUNE_ERR_ARGUMENT, "repetitions");
    timing.repetitions = 1, timing.prompt_tokens = INT64_MAX;
    CHECK_FAILS(prune_model_times(f.model, &timing, measured, N + 1, NULL), PRUNE_ERR_ARGUMENT, "prompt_tokens");
    timing.prompt_tokens = 4, timing.context = -2;
    CHECK_FAILS(prune_model_times(f.model, &timing, measured, N + 1, NULL), PRUNE_ERR_ARGUMENT, "context");
    timing.context = 4, timing.progress = stop_at_once;
    CHECK_FAILS(prune_model_times(f.model, &timing, measured, N + 1, NULL), PRUNE_ERR_CANCELLED, "time");
}

/* Bytes cut off or changed anywhere are recognised. */
static void damaged_bytes(void)
{
    prune_search_options options = removing(2);
    prune_search *search = new_search(f.model, &options), *loaded = NULL;
    size_t count, place;
    uint8_t *bytes;
    CHECK_OK(prune_model_search(f.model, f.data, search, NULL));
    bytes = saved_search(search, &count);
    CHECK_OK(prune_search_load(bytes, count, &loaded));
    CHECK(same_search(search, loaded));
    prune_search_release(loaded);
    for (place = 0; place < count; place++) {
        bytes[place] ^= 0x20;
        CHECK(prune_search_load(bytes, count, &loaded) == PRUNE_ERR_FORMAT && loaded == NULL);
        bytes[place] ^= 0x20;
        CHECK(prune_search_load(bytes, place, &loaded) == PRUNE_ERR_FORMAT);
    }
    free(bytes);
    prune_search_release(search);
}

int main(void)
{
    fixture_open(&f, "model");
    REQUIRE(f.model != NULL && f.data != NULL);
    options_are_checked();
    search_handles_and_pointers();
    tell_refusals();
    run_refusals();
    damaged_bytes();
    fixture_close(&f);
    return check_report();
}
