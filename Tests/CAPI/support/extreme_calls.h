/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call for every option struct, with options that work: for tests that put one field out of the ordinary. Callbacks stop the
 * call after a few reports, so what a number makes longer ends if it looks at cancelling at all. Include after check.h.
 */
#ifndef EXTREME_CALLS_H
#define EXTREME_CALLS_H

#include "exported.h"
#include "fixture.h"

/* Open before the first call; children of the process use it. */
static fixture extreme;
static prune_data *extreme_choices;
static int extreme_reports;

enum {
    EXTREME_PLAYERS = 10, /* of games that are played by hand */
    EXTREME_VALUES = FIXTURE_TOKENS * FIXTURE_VOCABULARY
};
static double extreme_doubles[EXTREME_VALUES];
static float extreme_floats[EXTREME_VALUES];
static const uint8_t extreme_keep[FIXTURE_SUBLAYERS] = { 1, 0, 0, 1 };

static inline void extreme_begin(void)
{
    static const int64_t lengths[] = { 3 }, candidates[] = { 2 }, sizes[] = { 1, 2 }, answers[] = { 1 };
    prune_choices choices = PRUNE_CHOICES_INIT;
    fixture_open(&extreme, "tiny");
    REQUIRE(extreme.model != NULL && extreme.data != NULL);
    choices.n_items = 1;
    choices.context_ids = choices.candidate_ids = fixture_ids;
    choices.context_lengths = lengths;
    choices.n_candidates = candidates;
    choices.candidate_lengths = sizes;
    choices.answers = answers;
    REQUIRE(prune_data_create_choices(&choices, &extreme_choices) == PRUNE_OK);
}

static inline void extreme_end(void)
{
    prune_data_release(extreme_choices);
    fixture_close(&extreme);
}

static inline int32_t extreme_enough(void) { return ++extreme_reports >= 4; }

static inline int32_t extreme_progress(void *user_data, const prune_progress *progress)
{
    (void)user_data;
    (void)progress;
    return extreme_enough();
}

static inline int32_t extreme_step(void *user_data, const prune_training_progress *progress)
{
    (void)user_data;
    (void)progress;
    return extreme_enough();
}

static inline int32_t extreme_masks(void *user_data, const prune_search *search)
{
    (void)user_data;
    (void)search;
    return extreme_enough();
}

static inline int32_t extreme_batch(void *user_data, const prune_game_progress *progress)
{
    (void)user_data;
    (void)progress;
    return extreme_enough();
}

static inline prune_token_answer extreme_token(void *user_data, const prune_token *token)
{
    (void)user_data;
    (void)token;
    return extreme_enough() ? 2 : PRUNE_TOKEN_CONTINUE;
}

/* Fills in a struct of its type, as `variant` says. */
#define EXTREME_FILL(type, init, ...)                          \
    static inline void fill_##type(void *options, int variant) \
    {                                                          \
        type made = init;                                      \
        (void)variant;                                         \
        __VA_ARGS__;                                           \
        memcpy(options, &made, sizeof made);                   \
    }

EXTREME_FILL(prune_model_options, PRUNE_MODEL_OPTIONS_INIT, (void)0)
EXTREME_FILL(prune_data_options, PRUNE_DATA_OPTIONS_INIT, (void)0)
EXTREME_FILL(prune_score_options, PRUNE_SCORE_OPTIONS_INIT, made.progress = extreme_progress,
             made.metrics = variant == 0 ? PRUNE_METRIC_ALL : PRUNE_METRIC_ALL_OF_STATES)
EXTREME_FILL(prune_evaluate_options, PRUNE_EVALUATE_OPTIONS_INIT, made.progress = extreme_progress)
EXTREME_FILL(prune_coalition_options, PRUNE_COALITION_OPTIONS_INIT, made.progress = extreme_progress,
             made.measure = PRUNE_MEASURE_KL)
EXTREME_FILL(prune_neuron_options, PRUNE_NEURON_OPTIONS_INIT, made.progress = extreme_progress)
EXTREME_FILL(prune_time_options, PRUNE_TIME_OPTIONS_INIT, made.progress = extreme_progress, made.repetitions = 1,
             made.prompt_tokens = made.context = 4)
EXTREME_FILL(prune_search_options, PRUNE_SEARCH_OPTIONS_INIT, made.strategy = variant, made.remove = 1)
EXTREME_FILL(prune_search_run_options, PRUNE_SEARCH_RUN_OPTIONS_INIT, made.on_batch = extreme_masks)
EXTREME_FILL(prune_merge_options, PRUNE_MERGE_OPTIONS_INIT, made.progress = extreme_progress)
EXTREME_FILL(prune_recover_options, PRUNE_RECOVER_OPTIONS_INIT, made.progress = extreme_progress,
             made.on_step = extreme_step, made.rank = 2, made.held_out = extreme.data, made.steps = 3,
             made.step_tokens = 8, made.objective = variant)
EXTREME_FILL(prune_healing_options, PRUNE_HEALING_OPTIONS_INIT, made.progress = extreme_progress,
             made.on_step = extreme_step, made.held_out = extreme.data, made.steps = 2, made.batch_sequences = 1,
             made.train = "final_norm,last:1", made.objective = variant)
EXTREME_FILL(prune_share_options, PRUNE_SHARE_OPTIONS_INIT, made.progress = extreme_progress,
             made.on_step = extreme_step, made.rank = 2, made.held_out = extreme.data, made.steps = 3,
             made.step_tokens = 8, made.objective = variant)
EXTREME_FILL(prune_sharing_options, PRUNE_SHARING_OPTIONS_INIT, made.progress = extreme_progress)
EXTREME_FILL(prune_export_options, PRUNE_EXPORT_OPTIONS_INIT, made.progress = extreme_progress)
EXTREME_FILL(prune_generate_options, PRUNE_GENERATE_OPTIONS_INIT, made.progress = extreme_progress,
             made.on_token = extreme_token, made.max_new_tokens = 4, made.temperature = variant)
EXTREME_FILL(prune_statistics_options, PRUNE_STATISTICS_OPTIONS_INIT, (void)0)
EXTREME_FILL(prune_game_options, PRUNE_GAME_OPTIONS_INIT, made.estimator = variant)
EXTREME_FILL(prune_game_run_options, PRUNE_GAME_RUN_OPTIONS_INIT, made.on_batch = extreme_batch)

static inline prune_status run_open(const void *options)
{
    prune_model *model = NULL;
    prune_status status = prune_model_open("tiny", options, &model);
    prune_model_release(model);
    return status;
}

static inline prune_status run_data(const void *options)
{
    prune_data *data = NULL;
    prune_status status = prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, options, &data);
    prune_data_release(data);
    return status;
}

static inline prune_status run_score(const void *options)
{
    return prune_model_score(extreme.model, extreme.data, options, extreme_doubles, EXTREME_VALUES, NULL);
}

static inline prune_status run_statistics(const void *options)
{
    prune_statistics *own = NULL;
    prune_status status = prune_statistics_create(FIXTURE_BLOCKS, NULL, &own);
    if (status == PRUNE_OK) {
        status = prune_statistics_collect(own, extreme.model, extreme.data, options);
    }
    if (status == PRUNE_OK) {
        status = prune_statistics_scores(own, options, extreme_doubles, EXTREME_VALUES, NULL);
    }
    prune_statistics_release(own);
    return status;
}

static inline prune_status run_evaluate(const void *options)
{
    prune_evaluation evaluation;
    return prune_model_evaluate(extreme.model, extreme.data, NULL, 1, 0, options, &evaluation);
}

static inline prune_status run_logits(const void *options)
{
    return prune_model_logits(extreme.model, extreme.data, NULL, 0, options, extreme_floats, EXTREME_VALUES, NULL);
}

static inline prune_status run_choices(const void *options)
{
    return prune_model_evaluate_choices(extreme.model, extreme_choices, NULL, 0, options, extreme_doubles,
                                        EXTREME_VALUES, NULL);
}

static inline prune_status run_gradient(const void *options)
{
    return prune_model_gradient(extreme.model, extreme.data, extreme_keep, FIXTURE_SUBLAYERS, PRUNE_OBJECTIVE_KL, 0,
                                options, extreme_floats, EXTREME_VALUES, NULL, NULL);
}

static inline prune_status run_vjp(const void *options)
{
    static float out[FIXTURE_TOKENS * FIXTURE_HIDDEN];
    return prune_model_vjp(extreme.model, extreme.data, 1, extreme_floats, extreme_floats,
                           FIXTURE_TOKENS * FIXTURE_HIDDEN, options, out);
}

static inline prune_status run_collect(const void *options)
{
    prune_moments *own = NULL;
    prune_status status = prune_moments_create(extreme.model, extreme_keep, FIXTURE_SUBLAYERS, NULL, &own);
    if (status == PRUNE_OK) {
        status = prune_moments_collect(own, extreme.model, extreme.data, options);
    }
    prune_moments_release(own);
    return status;
}

static inline prune_status run_damages(const void *options)
{
    static const uint8_t masks[2 * FIXTURE_SUBLAYERS] = { 0, 1, 1, 1, 1, 0, 0, 1 };
    return prune_model_damages(extreme.model, extreme.data, masks, 2, FIXTURE_SUBLAYERS, options, extreme_doubles,
                               NULL);
}

static inline prune_status run_times(const void *options)
{
    prune_token_time times[FIXTURE_SUBLAYERS + 1];
    return prune_model_times(extreme.model, options, times, FIXTURE_SUBLAYERS + 1, NULL);
}

static inline prune_status run_neurons(const void *options)
{
    static double norms[48], contributions[48];
    return prune_model_neuron_scores(extreme.model, extreme.data, options, norms, contributions,
                                     sizeof norms / sizeof norms[0], NULL);
}

static inline prune_status run_merge(const void *options)
{
    prune_merging *found = NULL;
    prune_status status = prune_model_merge(extreme.model, extreme.data, options, &found);
    prune_merging_release(found);
    return status;
}

static inline prune_status searched(const prune_search_options *given, const prune_search_run_options *played)
{
    prune_search_run_options usual;
    prune_search_options options = *given;
    prune_search *search = NULL;
    prune_search_state state = PRUNE_SEARCH_STATE_INIT;
    uint8_t mask[FIXTURE_SUBLAYERS];
    prune_status status;
    prune_token_time times[FIXTURE_SUBLAYERS + 1] = { { 1.0, 1.0 } };
    fill_prune_search_run_options(&usual, 0);
    if (options.prefill_ms != 0.0 || options.decode_ms != 0.0) {
        options.times = times;
        options.n_times = FIXTURE_SUBLAYERS + 1;
    }
    status = prune_search_create(extreme.model, &options, &search);
    if (status == PRUNE_OK) {
        status = prune_model_search(extreme.model, extreme.data, search, played ? played : &usual);
    }
    if (search != NULL) {
        CHECK_OK(prune_search_mask(search, mask, FIXTURE_SUBLAYERS, NULL));
        CHECK_OK(prune_search_info(search, &state));
        (void)prune_search_path(search, NULL, NULL, 0, NULL);
    }
    prune_search_release(search);
    return status;
}

static inline prune_status run_search(const void *options) { return searched(options, NULL); }

/* By hand: nobody is there who could cancel. */
static inline prune_status run_asked_search(const void *options)
{
    static uint8_t masks[64 * FIXTURE_SUBLAYERS];
    prune_search *search = NULL;
    size_t n = 1, i;
    int round;
    double share;
    prune_status status = prune_search_create(extreme.model, options, &search);
    for (round = 0; status == PRUNE_OK && n > 0 && round < 4; round++) {
        status = prune_search_ask(search, 64, masks, &n, &share);
        for (i = 0; i < n; i++) {
            extreme_doubles[i] = (double)((i * 37 + (size_t)round) % 11);
        }
        if (status == PRUNE_OK) {
            status = prune_search_tell(search, masks, extreme_doubles, n);
        }
    }
    prune_search_release(search);
    return status;
}

static inline prune_status run_search_run(const void *options)
{
    prune_search_options search;
    fill_prune_search_options(&search, PRUNE_STRATEGY_GREEDY);
    return searched(&search, options);
}

static inline prune_status run_search_coalitions(const void *options)
{
    prune_search_run_options played;
    fill_prune_search_run_options(&played, 0);
    played.coalitions = options;
    return run_search_run(&played);
}

static inline prune_status run_recover(const void *options)
{
    prune_adapters *adapters = NULL;
    prune_status status =
        prune_model_recover(extreme.model, extreme.data, extreme_keep, FIXTURE_SUBLAYERS, options, &adapters);
    prune_adapters_release(adapters);
    return status;
}

static inline prune_status run_heal(const void *options)
{
    static const uint8_t keep[FIXTURE_SUBLAYERS] = { 1, 1, 1, 0 };
    prune_model *healed = NULL;
    prune_status status =
        prune_model_heal(extreme.model, extreme.data, keep, FIXTURE_SUBLAYERS, options, &healed, NULL);
    prune_model_release(healed);
    return status;
}

static inline prune_status run_share(const void *options)
{
    static const uint8_t keep[FIXTURE_SUBLAYERS] = { 1, 1, 1, 0 };
    prune_model *shared = NULL;
    prune_status status =
        prune_model_share(extreme.model, extreme.data, keep, FIXTURE_SUBLAYERS, options, NULL, &shared);
    prune_model_release(shared);
    return status;
}

static inline prune_status run_sharing(const void *options)
{
    static prune_sharing_pair pairs[8];
    size_t count = 0;
    return prune_model_sharing(extreme.model, extreme.data, options, pairs, 8, &count);
}

static inline prune_status run_moments(const void *options)
{
    prune_moments *own = NULL;
    prune_adapters *adapters = NULL;
    prune_status status = prune_moments_create(extreme.model, extreme_keep, FIXTURE_SUBLAYERS, options, &own);
    if (status == PRUNE_OK) {
        status = prune_moments_collect(own, extreme.model, extreme.data, NULL);
    }
    if (status == PRUNE_OK) {
        status = prune_moments_solve(own, NULL, options, &adapters);
    }
    prune_moments_release(own);
    prune_adapters_release(adapters);
    return status;
}

static inline prune_status run_export(const void *options)
{
    prune_status status = prune_model_export(extreme.model, extreme_keep, FIXTURE_SUBLAYERS, NULL, "exported", options);
    remove_tree("exported");
    return status;
}

static inline prune_status run_generate(const void *options)
{
    prune_generation *made = NULL;
    prune_status status = prune_model_generate(extreme.model, extreme.data, NULL, 0, options, &made);
    prune_generation_release(made);
    return status;
}

static inline prune_status run_statistics_create(const void *options)
{
    prune_statistics *own = NULL;
    prune_status status = prune_statistics_create(FIXTURE_BLOCKS, options, &own);
    prune_statistics_release(own);
    return status;
}

/* By hand: nobody is there who could cancel. */
static inline prune_status run_asked_game(const void *options)
{
    static uint8_t masks[64 * EXTREME_PLAYERS];
    prune_game *game = NULL;
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    size_t n = 1, i;
    int round;
    prune_status status = prune_game_create(EXTREME_PLAYERS, options, &game);
    for (round = 0; status == PRUNE_OK && n > 0 && round < 4; round++) {
        status = prune_game_ask(game, 64, masks, &n);
        for (i = 0; i < n; i++) {
            extreme_doubles[i] = (double)((i * 37 + (size_t)round) % 11);
        }
        if (status == PRUNE_OK) {
            status = prune_game_tell(game, masks, extreme_doubles, n);
        }
    }
    if (status == PRUNE_OK) {
        CHECK_OK(prune_game_info(game, &state));
        (void)prune_game_result(game, extreme_doubles, NULL, EXTREME_VALUES, NULL);
    }
    prune_game_release(game);
    return status;
}

static inline prune_status played(const prune_game_options *options, const prune_game_run_options *run)
{
    prune_game_run_options usual;
    prune_game *game = NULL;
    prune_status status = prune_game_create(FIXTURE_SUBLAYERS, options, &game);
    fill_prune_game_run_options(&usual, 0);
    if (status == PRUNE_OK) {
        status = prune_model_shapley(extreme.model, extreme.data, game, run ? run : &usual);
    }
    prune_game_release(game);
    return status;
}

static inline prune_status run_game(const void *options) { return played(options, NULL); }
static inline prune_status run_game_run(const void *options) { return played(NULL, options); }

static inline prune_status run_game_coalitions(const void *options)
{
    prune_game_run_options run;
    fill_prune_game_run_options(&run, 0);
    run.coalitions = options;
    return played(NULL, &run);
}

typedef struct extreme_call {
    const char *options; /* the type of the struct that it takes */
    const char *name;
    size_t size;
    void (*fill)(void *options, int variant);
    prune_status (*run)(const void *options);
    int first, last; /* its variants */
} extreme_call;

#define EXTREME_CALL(type, run, first, last) { #type, #run, sizeof(type), fill_##type, run, first, last }

static const extreme_call extreme_calls[] = {
    EXTREME_CALL(prune_model_options, run_open, 0, 0),
    EXTREME_CALL(prune_data_options, run_data, 0, 0),
    EXTREME_CALL(prune_score_options, run_score, 0, 0),
    EXTREME_CALL(prune_score_options, run_statistics, 1, 1),
    EXTREME_CALL(prune_evaluate_options, run_evaluate, 0, 0),
    EXTREME_CALL(prune_evaluate_options, run_logits, 0, 0),
    EXTREME_CALL(prune_evaluate_options, run_choices, 0, 0),
    EXTREME_CALL(prune_evaluate_options, run_gradient, 0, 0),
    EXTREME_CALL(prune_evaluate_options, run_vjp, 0, 0),
    EXTREME_CALL(prune_evaluate_options, run_collect, 0, 0),
    EXTREME_CALL(prune_coalition_options, run_damages, 0, 0),
    EXTREME_CALL(prune_coalition_options, run_search_coalitions, 0, 0),
    EXTREME_CALL(prune_coalition_options, run_game_coalitions, 0, 0),
    EXTREME_CALL(prune_time_options, run_times, 0, 0),
    EXTREME_CALL(prune_neuron_options, run_neurons, 0, 0),
    EXTREME_CALL(prune_search_options, run_search, PRUNE_STRATEGY_ONE_SHOT, PRUNE_STRATEGY_RANDOM),
    EXTREME_CALL(prune_search_options, run_asked_search, PRUNE_STRATEGY_GREEDY, PRUNE_STRATEGY_EVOLUTIONARY),
    EXTREME_CALL(prune_search_run_options, run_search_run, 0, 0),
    EXTREME_CALL(prune_merge_options, run_merge, 0, 0),
    EXTREME_CALL(prune_recover_options, run_recover, PRUNE_OBJECTIVE_CLOSED_FORM, PRUNE_OBJECTIVE_KL),
    EXTREME_CALL(prune_recover_options, run_moments, 0, 0),
    EXTREME_CALL(prune_healing_options, run_heal, PRUNE_OBJECTIVE_CE, PRUNE_OBJECTIVE_JS),
    EXTREME_CALL(prune_share_options, run_share, PRUNE_OBJECTIVE_CLOSED_FORM, PRUNE_OBJECTIVE_KL),
    EXTREME_CALL(prune_sharing_options, run_sharing, 0, 0),
    EXTREME_CALL(prune_export_options, run_export, 0, 0),
    EXTREME_CALL(prune_generate_options, run_generate, 0, 1),
    EXTREME_CALL(prune_statistics_options, run_statistics_create, 0, 0),
    EXTREME_CALL(prune_game_options, run_game, PRUNE_ESTIMATOR_EXACT, PRUNE_ESTIMATOR_PAIR_DIFFERENCES),
    EXTREME_CALL(prune_game_options, run_asked_game, PRUNE_ESTIMATOR_EXACT, PRUNE_ESTIMATOR_PAIR_DIFFERENCES),
    EXTREME_CALL(prune_game_run_options, run_game_run, 0, 0),
};

enum {
    EXTREME_CALLS = sizeof extreme_calls / sizeof extreme_calls[0]
};

#endif
