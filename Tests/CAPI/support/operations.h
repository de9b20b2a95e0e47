/* SPDX-License-Identifier: Apache-2.0 */
/* What a host's model is asked to do in tests, each as a list of numbers. Include after check.h. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "check.h"
#include "fixture.h"

#define OPERATION_VALUES 2048

/* A mask without the feed-forward of block 0 and the attention of block 1. */
static const uint8_t operation_keep[FIXTURE_SUBLAYERS] = { 1, 0, 0, 1 };

/* Does something with a model; the numbers go to values, how many to count. Makes nothing on failure. */
typedef prune_status (*operation_fn)(const prune_model *model, const prune_data *data, double *values, size_t *count);

static inline prune_status operation_statics(const prune_model *model, const prune_data *data, double *values,
                                             size_t *count)
{
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    options.metrics = PRUNE_METRIC_ALL_OF_STATES;
    return prune_model_score(model, data, &options, values, OPERATION_VALUES, count);
}

static inline prune_status operation_statics_masked(const prune_model *model, const prune_data *data, double *values,
                                                    size_t *count)
{
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    options.metrics = PRUNE_METRIC_ALL_OF_STATES;
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    options.keep = operation_keep;
    options.n_keep = FIXTURE_SUBLAYERS;
    options.tokens = PRUNE_TOKENS_LAST;
    return prune_model_score(model, data, &options, values, OPERATION_VALUES, count);
}

static inline prune_status operation_leave_one_out(const prune_model *model, const prune_data *data, double *values,
                                                   size_t *count)
{
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    options.metrics = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS | PRUNE_METRIC_LEAVE_ONE_OUT_LOGIT_L2;
    return prune_model_score(model, data, &options, values, OPERATION_VALUES, count);
}

static inline prune_status operation_evaluate(const prune_model *model, const prune_data *data, double *values,
                                              size_t *count)
{
    prune_evaluation evaluations[2];
    uint8_t masks[2 * FIXTURE_SUBLAYERS] = { 1, 1, 1, 1, 1, 0, 0, 1 };
    prune_status status = prune_model_evaluate(model, data, masks, 2, FIXTURE_SUBLAYERS, NULL, evaluations);
    values[0] = evaluations[0].loss;
    values[1] = evaluations[1].loss;
    values[2] = evaluations[1].sequence_perplexity;
    *count = 3;
    return status;
}

static inline prune_status operation_damages(const prune_model *model, const prune_data *data, double *values,
                                             size_t *count)
{
    prune_coalition_options options = PRUNE_COALITION_OPTIONS_INIT;
    uint8_t masks[2 * FIXTURE_SUBLAYERS] = { 0, 1, 1, 1, 1, 0, 0, 1 };
    prune_status status = PRUNE_OK;
    int32_t measure;
    for (measure = PRUNE_MEASURE_LOSS; status == PRUNE_OK && measure <= PRUNE_MEASURE_JS; measure++) {
        options.measure = measure;
        status = prune_model_damages(model, data, masks, 2, FIXTURE_SUBLAYERS, &options, values + 2 * measure, NULL);
    }
    *count = 8;
    return status;
}

static inline prune_status operation_shapley(const prune_model *model, const prune_data *data, double *values,
                                             size_t *count)
{
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game_run_options played = PRUNE_GAME_RUN_OPTIONS_INIT;
    prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
    prune_game *game = NULL;
    prune_status status;
    /* The tiny model is worse than chance: capped, nothing would be left to compare. */
    coalitions.cap = PRUNE_CAP_NONE;
    played.coalitions = &coalitions;
    options.estimator = PRUNE_ESTIMATOR_PERMUTATION;
    options.seed = 7;
    options.budget = 12;
    status = prune_game_create(FIXTURE_SUBLAYERS, &options, &game);
    if (status == PRUNE_OK) {
        status = prune_model_shapley(model, data, game, &played);
    }
    if (status == PRUNE_OK) {
        status = prune_game_result(game, values, values + FIXTURE_SUBLAYERS, FIXTURE_SUBLAYERS, NULL);
    }
    prune_game_release(game);
    *count = FIXTURE_SUBLAYERS;
    return status;
}

/* Biases of adapters, and the losses of the model with them in place. */
static inline prune_status operation_recover(const prune_model *model, const prune_data *data, double *values,
                                             size_t *count, const prune_recover_options *options)
{
    prune_adapters *adapters = NULL;
    prune_model *recovered = NULL;
    prune_evaluation evaluation = { 0.0, 0.0, 0.0, 0.0, 0, 0 };
    float bias[FIXTURE_HIDDEN];
    size_t u, i;
    prune_status status = prune_model_recover(model, data, operation_keep, FIXTURE_SUBLAYERS, options, &adapters);
    *count = 0;
    for (u = 1; status == PRUNE_OK && u <= 2; u++) {
        status = prune_adapters_get(adapters, (int64_t)u, PRUNE_PART_BIAS, bias, FIXTURE_HIDDEN, NULL);
        for (i = 0; i < FIXTURE_HIDDEN; i++) {
            values[(*count)++] = (double)bias[i];
        }
    }
    if (status == PRUNE_OK) {
        status = prune_model_attach(model, adapters, &recovered);
    }
    if (status == PRUNE_OK) {
        status = prune_model_evaluate(recovered, data, NULL, 1, 0, NULL, &evaluation);
        values[(*count)++] = evaluation.loss;
    }
    prune_adapters_release(adapters);
    prune_model_release(recovered);
    return status;
}

static inline prune_status operation_closed_form(const prune_model *model, const prune_data *data, double *values,
                                                 size_t *count)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.kind = PRUNE_ADAPTER_LINEAR;
    options.ridge = 0.1;
    options.held_out = data;
    return operation_recover(model, data, values, count, &options);
}

static inline prune_status operation_low_rank(const prune_model *model, const prune_data *data, double *values,
                                              size_t *count)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.kind = PRUNE_ADAPTER_LOW_RANK;
    options.rank = 2;
    options.ridge = 0.1;
    options.input = PRUNE_INPUT_RAW;
    options.held_out = data;
    return operation_recover(model, data, values, count, &options);
}

static inline prune_status operation_train(const prune_model *model, const prune_data *data, double *values,
                                           size_t *count, prune_objective objective)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.kind = PRUNE_ADAPTER_LOW_RANK;
    options.rank = 2;
    options.ridge = 0.1;
    options.objective = objective;
    options.steps = 3;
    options.step_tokens = 8;
    options.held_out = data;
    return operation_recover(model, data, values, count, &options);
}

static inline prune_status operation_train_kl(const prune_model *model, const prune_data *data, double *values,
                                              size_t *count)
{
    return operation_train(model, data, values, count, PRUNE_OBJECTIVE_KL);
}

static inline prune_status operation_train_ce(const prune_model *model, const prune_data *data, double *values,
                                              size_t *count)
{
    return operation_train(model, data, values, count, PRUNE_OBJECTIVE_CE);
}

static inline prune_status operation_train_mse(const prune_model *model, const prune_data *data, double *values,
                                               size_t *count)
{
    return operation_train(model, data, values, count, PRUNE_OBJECTIVE_MSE);
}

static inline prune_status operation_gradient(const prune_model *model, const prune_data *data, double *values,
                                              size_t *count)
{
    static float gradient[FIXTURE_TOKENS * FIXTURE_HIDDEN];
    size_t i;
    prune_status status = prune_model_gradient(model, data, operation_keep, FIXTURE_SUBLAYERS, PRUNE_OBJECTIVE_JS, 0,
                                               NULL, gradient, FIXTURE_TOKENS * FIXTURE_HIDDEN, count, NULL);
    for (i = 0; status == PRUNE_OK && i < *count; i++) {
        values[i] = (double)gradient[i];
    }
    return status;
}

static inline prune_status operation_vjp(const prune_model *model, const prune_data *data, double *values,
                                         size_t *count)
{
    static float states[FIXTURE_TOKENS * FIXTURE_HIDDEN], slopes[FIXTURE_TOKENS * FIXTURE_HIDDEN],
        out[FIXTURE_TOKENS * FIXTURE_HIDDEN];
    size_t i;
    prune_status status;
    *count = FIXTURE_TOKENS * FIXTURE_HIDDEN;
    for (i = 0; i < *count; i++) {
        states[i] = (float)(i * 37 % 101) / 50.0f - 1.0f;
        slopes[i] = (float)(i * 53 % 97) / 48.0f - 1.0f;
    }
    status = prune_model_vjp(model, data, 2, states, slopes, *count, NULL, out);
    for (i = 0; i < *count; i++) {
        values[i] = (double)out[i];
    }
    return status;
}

static inline prune_status operation_outputs(const prune_model *model, const prune_data *data, double *values,
                                             size_t *count)
{
    static float losses[FIXTURE_TOKENS], logits[FIXTURE_TOKENS * FIXTURE_VOCABULARY],
        states[FIXTURE_TOKENS * FIXTURE_HIDDEN];
    size_t i;
    prune_status status =
        prune_model_token_losses(model, data, operation_keep, FIXTURE_SUBLAYERS, NULL, losses, FIXTURE_TOKENS, NULL);
    if (status == PRUNE_OK) {
        status = prune_model_logits(model, data, operation_keep, FIXTURE_SUBLAYERS, NULL, logits,
                                    FIXTURE_TOKENS * FIXTURE_VOCABULARY, NULL);
    }
    if (status == PRUNE_OK) {
        status = prune_model_hidden_states(model, data, operation_keep, FIXTURE_SUBLAYERS, 4, NULL, states,
                                           FIXTURE_TOKENS * FIXTURE_HIDDEN, NULL);
    }
    *count = 0;
    for (i = 0; status == PRUNE_OK && i < FIXTURE_TOKENS; i++) {
        values[(*count)++] = (double)losses[i];
    }
    for (i = 0; status == PRUNE_OK && i < FIXTURE_TOKENS * FIXTURE_VOCABULARY; i++) {
        values[(*count)++] = (double)logits[i];
    }
    for (i = 0; status == PRUNE_OK && i < FIXTURE_TOKENS * FIXTURE_HIDDEN; i++) {
        values[(*count)++] = (double)states[i];
    }
    return status;
}

static const struct {
    const char *name;
    operation_fn run;
    double tolerance; /* between a host in double and the engine in fp32, relative to the largest value */
} operations[] = {
    { "static metrics", operation_statics, 1e-5 },
    { "static metrics of blocks, masked, last tokens", operation_statics_masked, 1e-5 },
    { "leave one out", operation_leave_one_out, 1e-5 },
    { "evaluate", operation_evaluate, 1e-6 },
    { "damages", operation_damages, 1e-5 },
    { "Shapley values", operation_shapley, 1e-5 },
    { "outputs", operation_outputs, 1e-5 },
    { "closed form, linear", operation_closed_form, 1e-4 },
    { "closed form, low rank", operation_low_rank, 1e-4 },
    { "training, kl", operation_train_kl, 1e-3 },
    { "training, ce", operation_train_ce, 1e-3 },
    { "training, mse", operation_train_mse, 1e-3 },
    { "gradient", operation_gradient, 1e-3 },
    { "vjp", operation_vjp, 1e-3 },
};

enum {
    OPERATIONS = sizeof operations / sizeof operations[0]
};

#endif
