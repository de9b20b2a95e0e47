/* SPDX-License-Identifier: Apache-2.0 */
/* Searches on a model: each strategy in one call and by hand, budgets, cancelling, saving, hosts, times. */
#include "check.h"
#include "fixture.h"
#include "host.h"
#include "search.h"

enum {
    BLOCKS = 4,
    N = 2 * BLOCKS
};

static fixture f;

static prune_search_options for_strategy(prune_strategy strategy, int64_t remove)
{
    prune_search_options options = PRUNE_SEARCH_OPTIONS_INIT;
    options.strategy = strategy;
    options.remove = remove;
    options.seed = 3;
    return options;
}

/* The least loss of all masks that lack `remove` sublayers. */
static double best_by_trying_all(int remove)
{
    static uint8_t masks[(1 << N) * N];
    static double losses[1 << N];
    double best = INFINITY;
    size_t count = 0, i;
    int bits, u, removed;
    for (bits = 0; bits < 1 << N; bits++) {
        for (u = 0, removed = 0; u < N; u++) {
            masks[count * N + (size_t)u] = bits >> u & 1;
            removed += !(bits >> u & 1);
        }
        count += removed == remove;
    }
    CHECK_OK(prune_model_damages(f.model, f.data, masks, count, N, NULL, losses, NULL));
    for (i = 0; i < count; i++) {
        best = losses[i] < best ? losses[i] : best;
    }
    return best;
}

/* One call does what asking and telling do, and says what it computed; both find what trying all masks finds. */
static void in_one_call_and_by_hand(void)
{
    static const prune_strategy strategies[] = { PRUNE_STRATEGY_DEFAULT, PRUNE_STRATEGY_GREEDY,
                                                 PRUNE_STRATEGY_TAIL,    PRUNE_STRATEGY_EVOLUTIONARY,
                                                 PRUNE_STRATEGY_RANDOM,  PRUNE_STRATEGY_WINDOW };
    size_t i, batch;
    for (i = 0; i < sizeof strategies / sizeof strategies[0]; i++) {
        prune_search_options options = for_strategy(strategies[i], 3);
        prune_search *whole = new_search(f.model, &options);
        prune_search_state state;
        CHECK(!search_state(whole).done && search_state(whole).n_blocks == BLOCKS);
        CHECK_OK(prune_model_search(f.model, f.data, whole, NULL));
        state = search_state(whole);
        CHECK(state.done && state.met && state.removed == 3 && state.told == state.asked);
        CHECK(state.sublayers_computed > 0 && state.sublayers_computed <= state.sublayers_naive);
        CHECK(state.strategy == (strategies[i] ? strategies[i] : PRUNE_STRATEGY_GREEDY));
        for (batch = 1; batch <= SEARCH_MOST; batch *= 8) {
            prune_search *hand = new_search(f.model, &options);
            search_by_hand(f.model, f.data, hand, batch);
            CHECK(same_search(whole, hand));
            CHECK(search_state(hand).sublayers_computed == 0);
            prune_search_release(hand);
        }
        if (state.strategy == PRUNE_STRATEGY_GREEDY || state.strategy == PRUNE_STRATEGY_EVOLUTIONARY) {
            CHECK_NEAR(state.damage, best_by_trying_all(3), 0);
        }
        CHECK_OK(prune_model_search(f.model, f.data, whole, NULL)); /* done: nothing more to do */
        CHECK(search_state(whole).told == state.told);
        prune_search_release(whole);
    }
}

/* Scores that a search lacks are made: those that prune_model_score() and prune_statistics_windows() give. */
static void scores_where_they_are_lacking(void)
{
    double scores[N], windows[BLOCKS * BLOCKS];
    prune_score_options scoring = PRUNE_SCORE_OPTIONS_INIT;
    prune_statistics_options gathering = PRUNE_STATISTICS_OPTIONS_INIT;
    prune_search_run_options run = PRUNE_SEARCH_RUN_OPTIONS_INIT;
    prune_search_options options = for_strategy(PRUNE_STRATEGY_ONE_SHOT, 3);
    prune_statistics *statistics = NULL;
    prune_search *given, *made = new_search(f.model, &options);
    uint8_t masks[N], keep[N];
    size_t count;
    CHECK_FAILS(prune_search_ask(made, 1, masks, &count, NULL), PRUNE_ERR_ARGUMENT, "scores");
    scoring.metrics = PRUNE_METRIC_RELATIVE_L2;
    run.metric = PRUNE_METRIC_RELATIVE_L2;
    CHECK_OK(prune_model_score(f.model, f.data, &scoring, scores, N, NULL));
    options.scores = scores, options.n_scores = N;
    given = new_search(f.model, &options);
    CHECK_OK(prune_model_search(f.model, f.data, made, &run));
    search_by_hand(f.model, f.data, given, 4);
    CHECK(same_search(made, given));
    CHECK_OK(prune_mask_remove_lowest(scores, N, PRUNE_GRANULARITY_SUBLAYER, 3, NULL, keep, N));
    CHECK_OK(prune_search_mask(made, masks, N, &count));
    CHECK(count == N && memcmp(masks, keep, N) == 0);
    prune_search_release(made);
    prune_search_release(given);

    options = for_strategy(PRUNE_STRATEGY_WINDOW, 2);
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    gathering.windows = 1;
    CHECK_OK(prune_statistics_create(BLOCKS, &gathering, &statistics));
    CHECK_OK(prune_statistics_collect(statistics, f.model, f.data, NULL));
    CHECK_OK(prune_statistics_windows(statistics, windows, BLOCKS * BLOCKS, NULL));
    made = new_search(f.model, &options);
    CHECK_OK(prune_model_search(f.model, f.data, made, NULL));
    options.scores = windows, options.n_scores = BLOCKS * BLOCKS;
    given = new_search(f.model, &options);
    search_by_hand(f.model, f.data, given, 4);
    CHECK(same_search(made, given) && search_state(made).told == 2);
    prune_search_release(made);
    prune_search_release(given);
    /* By the damage of each run instead. */
    options.scores = NULL, options.n_scores = 0;
    run.metric = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
    made = new_search(f.model, &options);
    given = new_search(f.model, &options);
    CHECK_OK(prune_model_search(f.model, f.data, made, &run));
    search_by_hand(f.model, f.data, given, 4);
    CHECK(same_search(made, given) && search_state(made).told == BLOCKS);
    run.metric = PRUNE_METRIC_COSINE;
    prune_search_release(given);
    given = new_search(f.model, &options);
    CHECK_FAILS(prune_model_search(f.model, f.data, given, &run), PRUNE_ERR_ARGUMENT, "metric");
    prune_search_release(made);
    prune_search_release(given);
    prune_statistics_release(statistics);
}

/* The path says what each step removed, what it did and what it left; the same as prune_model_cost() and the damages. */
static void path_and_costs(void)
{
    prune_search_options options = for_strategy(PRUNE_STRATEGY_GREEDY, 3);
    prune_search *search;
    prune_search_step steps[32];
    uint8_t masks[32 * N], keep[N];
    double losses[32];
    size_t count = 0, i;
    options.exchanges = -1;
    search = new_search(f.model, &options);
    CHECK_OK(prune_model_search(f.model, f.data, search, NULL));
    CHECK_FAILS(prune_search_path(search, steps, masks, 3, &count), PRUNE_ERR_BUFFER, "4");
    CHECK(count == 4);
    CHECK_OK(prune_search_path(search, NULL, masks, 32, &count));
    CHECK_OK(prune_search_path(search, steps, NULL, 32, &count));
    CHECK_FAILS(prune_search_path(search, NULL, NULL, 32, &count), PRUNE_ERR_ARGUMENT, "out_steps");
    REQUIRE(count == 4);
    CHECK_OK(prune_model_damages(f.model, f.data, masks, count, N, NULL, losses, NULL));
    for (i = 0; i < count; i++) {
        prune_cost cost = PRUNE_COST_INIT;
        CHECK_OK(prune_model_cost(f.model, masks + i * N, N, &cost));
        CHECK(steps[i].parameters == cost.parameters && steps[i].parameter_bytes == cost.parameter_bytes);
        CHECK(steps[i].kv_bytes == cost.kv_bytes && steps[i].removed == cost.sublayers_removed);
        CHECK_NEAR(steps[i].damage, losses[i], 0);
        CHECK(i == 0 ? steps[i].unit == -1 : masks[i * N + (size_t)steps[i].unit] == 0);
    }
    CHECK(steps[0].told == 0 && steps[1].told == 1 + N && steps[3].told == 1 + N + (N - 1) + (N - 2));
    CHECK_OK(prune_search_mask(search, keep, N, NULL));
    CHECK(memcmp(keep, masks + 3 * N, N) == 0);
    prune_search_release(search);

    /* Half of the cache, no more, and no feed-forward for it. */
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.kv_bytes = steps[0].kv_bytes / 2;
    search = new_search(f.model, &options);
    CHECK_OK(prune_model_search(f.model, f.data, search, NULL));
    CHECK_OK(prune_search_mask(search, keep, N, NULL));
    for (i = 0, count = 0; i < N; i++) {
        count += !keep[i];
        CHECK(keep[i] || i % 2 == 0);
    }
    CHECK(count == BLOCKS / 2 && search_state(search).met);
    prune_search_release(search);
}

typedef struct watcher {
    long batches;
    long stops_at;
    uint8_t *bytes;
    size_t count;
} watcher;

static int32_t watch(void *data, const prune_search *search)
{
    watcher *w = data;
    free(w->bytes);
    w->bytes = saved_search(search, &w->count);
    return ++w->batches == w->stops_at;
}

/* Stopped after every batch in turn, and saved there: what is read goes on and ends as if nothing had happened. */
static void cancelled_saved_and_resumed(void)
{
    static const prune_strategy strategies[] = { PRUNE_STRATEGY_GREEDY, PRUNE_STRATEGY_EVOLUTIONARY };
    size_t i;
    for (i = 0; i < 2; i++) {
        prune_search_options options = for_strategy(strategies[i], 3);
        prune_search_run_options run = PRUNE_SEARCH_RUN_OPTIONS_INIT;
        prune_search *whole = new_search(f.model, &options);
        watcher w = { 0, 0, NULL, 0 };
        long batches, stop;
        run.on_batch = watch, run.user_data = &w, run.batch_masks = 5;
        CHECK_OK(prune_model_search(f.model, f.data, whole, &run));
        batches = w.batches;
        CHECK(batches > 4);
        for (stop = 1; stop < batches; stop++) {
            prune_search *stopped = new_search(f.model, &options), *loaded = NULL;
            w.batches = 0, w.stops_at = stop;
            CHECK_FAILS(prune_model_search(f.model, f.data, stopped, &run), PRUNE_ERR_CANCELLED, "cancelled");
            CHECK_OK(prune_search_load(w.bytes, w.count, &loaded));
            CHECK(same_search(stopped, loaded));
            w.stops_at = 0;
            CHECK_OK(prune_model_search(f.model, f.data, stopped, &run));
            CHECK_OK(prune_model_search(f.model, f.data, loaded, NULL));
            CHECK(same_search(stopped, whole) && same_search(loaded, whole));
            CHECK(search_state(stopped).sublayers_computed > 0);
            prune_search_release(stopped);
            prune_search_release(loaded);
        }
        free(w.bytes);
        prune_search_release(whole);
    }
}

/* With enough sequences an evolution is told on shares of them; by hand the first sequences, rounded up, are the share. */
static void evolutionary_shares_of_the_data(void)
{
    enum {
        SEQUENCES = 18,
        LENGTH = 6
    };
    int32_t ids[SEQUENCES * LENGTH];
    int64_t lengths[SEQUENCES];
    uint8_t masks[SEARCH_MOST * N];
    double damages[SEARCH_MOST], share = 0, least = 1;
    prune_search_options options = for_strategy(PRUNE_STRATEGY_EVOLUTIONARY, 3);
    prune_search *whole, *hand;
    prune_data *data = NULL;
    size_t count, i;
    options.offspring = 8, options.generations = 4;
    for (i = 0; i < SEQUENCES * LENGTH; i++) {
        ids[i] = (int32_t)(i * i % 31);
    }
    for (i = 0; i < SEQUENCES; i++) {
        lengths[i] = LENGTH;
    }
    CHECK_OK(prune_data_create(ids, lengths, SEQUENCES, NULL, &data));
    whole = new_search(f.model, &options);
    hand = new_search(f.model, &options);
    CHECK_OK(prune_model_search(f.model, data, whole, NULL));
    for (;;) {
        prune_data *part = NULL;
        CHECK_OK(prune_search_ask(hand, SEARCH_MOST, masks, &count, &share));
        if (count == 0) {
            break;
        }
        least = share < least ? share : least;
        CHECK_OK(prune_data_create(ids, lengths, (size_t)ceil(share * SEQUENCES), NULL, &part));
        CHECK_OK(prune_model_damages(f.model, part, masks, count, N, NULL, damages, NULL));
        CHECK_OK(prune_search_tell(hand, masks, damages, count));
        prune_data_release(part);
    }
    CHECK(least == 1.0 / 16 && same_search(whole, hand) && search_state(whole).met);
    CHECK_OK(prune_model_damages(f.model, data, (prune_search_mask(whole, masks, N, NULL), masks), 1, N, NULL, damages,
                                 NULL));
    CHECK_NEAR(search_state(whole).damage, damages[0], 0);
    prune_search_release(whole);
    prune_search_release(hand);
    prune_data_release(data);
}

/* A host that evaluates whole masks and no more; and one that has whole blocks alone. */
static void searches_on_hosts(void)
{
    host h;
    prune_host all, calls;
    prune_model *model = NULL;
    prune_search_options options = for_strategy(PRUNE_STRATEGY_GREEDY, 3);
    prune_search *ours = new_search(f.model, &options), *theirs;
    uint8_t left[N], right[N];
    host_init(&h, &f.weights, &all);
    memset(&calls, 0, sizeof calls);
    calls.struct_size = sizeof calls;
    calls.user_data = &h;
    calls.n_blocks = BLOCKS;
    calls.evaluate = all.evaluate;
    CHECK_OK(prune_model_from_host(&calls, &model));
    REQUIRE(model != NULL);
    theirs = new_search(model, &options);
    CHECK_OK(prune_model_search(f.model, f.data, ours, NULL));
    CHECK_OK(prune_model_search(model, f.data, theirs, NULL));
    CHECK_OK(prune_search_mask(ours, left, N, NULL));
    CHECK_OK(prune_search_mask(theirs, right, N, NULL));
    CHECK(memcmp(left, right, N) == 0);
    CHECK_NEAR(search_state(theirs).damage, search_state(ours).damage, 1e-5);
    prune_search_release(ours);
    prune_search_release(theirs);
    options.parameter_bytes = 1;
    options.remove = 0;
    CHECK_FAILS(prune_search_create(model, &options, &theirs), PRUNE_ERR_ARGUMENT, "not known");
    prune_model_release(model);

    calls.whole_blocks = 1;
    model = NULL;
    CHECK_OK(prune_model_from_host(&calls, &model));
    REQUIRE(model != NULL);
    options = for_strategy(PRUNE_STRATEGY_GREEDY, 2);
    CHECK_FAILS(prune_search_create(model, &options, &theirs), PRUNE_ERR_UNSUPPORTED, "blocks");
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    theirs = new_search(model, &options);
    ours = new_search(f.model, &options);
    CHECK_OK(prune_model_search(f.model, f.data, ours, NULL));
    CHECK_OK(prune_model_search(model, f.data, theirs, NULL));
    CHECK_OK(prune_search_mask(ours, left, N, NULL));
    CHECK_OK(prune_search_mask(theirs, right, N, NULL));
    CHECK(memcmp(left, right, N) == 0 && search_state(theirs).removed == 2);
    prune_search_release(theirs);
    /* A window over blocks goes by damages where no hidden states are to be had. */
    options.strategy = PRUNE_STRATEGY_WINDOW;
    theirs = new_search(model, &options);
    CHECK_OK(prune_model_search(model, f.data, theirs, NULL));
    CHECK(search_state(theirs).told == BLOCKS && search_state(theirs).met);
    /* A failure of the host leaves the search whole. */
    prune_search_release(theirs);
    options.strategy = PRUNE_STRATEGY_GREEDY;
    theirs = new_search(model, &options);
    h.fails = HOST_EVALUATE, h.fails_at = 0, h.fails_with = PRUNE_ERR_HOST, h.calls[HOST_EVALUATE] = 0;
    CHECK(prune_model_search(model, f.data, theirs, NULL) == PRUNE_ERR_HOST);
    h.fails = -1;
    CHECK(search_state(theirs).told == 0 && !search_state(theirs).done);
    CHECK_OK(prune_model_search(model, f.data, theirs, NULL));
    CHECK(same_search(ours, theirs) || search_state(theirs).removed == 2);
    prune_search_release(ours);
    prune_search_release(theirs);
    prune_model_release(model);
}

/* Every place takes some time, and a search keeps what is left of it below a bound. */
static void measured_times(void)
{
    prune_time_options timing = PRUNE_TIME_OPTIONS_INIT;
    prune_search_options options = PRUNE_SEARCH_OPTIONS_INIT;
    prune_token_time measured[N + 1];
    prune_search *search;
    uint8_t keep[N];
    double all = 0, left;
    size_t count = 0, i;
    timing.repetitions = 3, timing.prompt_tokens = 16, timing.context = 5;
    CHECK_FAILS(prune_model_times(f.model, &timing, measured, N, &count), PRUNE_ERR_BUFFER, "out_times");
    CHECK(count == N + 1);
    CHECK_OK(prune_model_times(f.model, &timing, measured, N + 1, &count));
    for (i = 0; i <= N; i++) {
        CHECK(measured[i].prefill_ms > 0 && measured[i].decode_ms > 0);
        all += measured[i].decode_ms;
    }
    options.times = measured, options.n_times = N + 1;
    options.decode_ms = measured[N].decode_ms + (all - measured[N].decode_ms) * 0.7;
    search = new_search(f.model, &options);
    CHECK_OK(prune_model_search(f.model, f.data, search, NULL));
    CHECK_OK(prune_search_mask(search, keep, N, NULL));
    left = measured[N].decode_ms;
    for (i = 0; i < N; i++) {
        left += keep[i] * measured[i].decode_ms;
    }
    CHECK(search_state(search).met && search_state(search).removed >= 1 && search_state(search).removed < N);
    CHECK(left <= options.decode_ms + 1e-9);
    prune_search_release(search);
}

int main(void)
{
    tiny_shape shape = tiny_default_shape();
    shape.n_blocks = BLOCKS;
    fixture_open_shape(&f, "model", shape);
    REQUIRE(f.model != NULL && f.data != NULL);
    in_one_call_and_by_hand();
    scores_where_they_are_lacking();
    path_and_costs();
    cancelled_saved_and_resumed();
    evolutionary_shares_of_the_data();
    searches_on_hosts();
    measured_times();
    fixture_close(&f);
    return check_report();
}
