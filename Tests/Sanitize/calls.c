/* SPDX-License-Identifier: Apache-2.0 */
#include "calls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    U = FIXTURE_SUBLAYERS
};

static const uint8_t mask[U] = { 1, 0, 0, 1 };

uint64_t draw(caller *c, uint64_t below)
{
    c->state = c->state * 6364136223846793005u + 1442695040888963407u;
    return (c->state >> 33) % below;
}

void fault(caller *c, const char *what)
{
    if (c->faults++ < 5) {
        printf("thread %d: %s; last error: \"%s\"\n", c->index, what, prune_last_error());
    }
}

static void must(caller *c, prune_status status, const char *what)
{
    if (status != PRUNE_OK) {
        fault(c, what);
    }
}

static void same(caller *c, const void *got, const void *right, size_t size, const char *what)
{
    if (memcmp(got, right, size) != 0) {
        fault(c, what);
    }
}

/* The calls on shared handles, as they also fill what is expected. */

static prune_status score(const shared *all, double *scores)
{
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    options.metrics = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
    return prune_model_score(all->f.model, all->f.data, &options, scores, U, NULL);
}

static prune_status read_statistics(const shared *all, double *scores)
{
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    options.metrics = PRUNE_METRIC_COSINE;
    return prune_statistics_scores(all->statistics, &options, scores, U, NULL);
}

static prune_status generate(const shared *all, int32_t *text, size_t *count)
{
    prune_generate_options options = PRUNE_GENERATE_OPTIONS_INIT;
    prune_generation *generation = NULL;
    prune_status status;
    options.max_new_tokens = 6;
    options.temperature = 1.0;
    options.seed = 3;
    status = prune_model_generate(all->f.model, all->f.data, mask, U, &options, &generation);
    if (status == PRUNE_OK) {
        status = prune_generation_sequence(generation, 1, text, NULL, 8, count, NULL);
    }
    prune_generation_release(generation);
    return status;
}

/* A game that is saved half way, and goes on from what was saved. */
static prune_status shapley(const shared *all, double *values)
{
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game_run_options run = PRUNE_GAME_RUN_OPTIONS_INIT;
    prune_game *game = NULL, *loaded = NULL;
    uint8_t *bytes = NULL;
    size_t count = 0;
    prune_status status;
    options.estimator = PRUNE_ESTIMATOR_PERMUTATION;
    options.seed = 5;
    options.budget = 9;
    run.batch_coalitions = 2;
    status = prune_game_create(U, &options, &game);
    if (status == PRUNE_OK && prune_game_save(game, NULL, 0, &count) == PRUNE_ERR_BUFFER) {
        bytes = malloc(count);
        status = prune_game_save(game, bytes, count, &count);
    }
    if (status == PRUNE_OK) {
        status = prune_game_load(bytes, count, &loaded);
    }
    if (status == PRUNE_OK) {
        status = prune_model_shapley(all->f.model, all->f.data, loaded, &run);
    }
    if (status == PRUNE_OK) {
        status = prune_game_result(loaded, values, NULL, U, NULL);
    }
    free(bytes);
    prune_game_release(game);
    prune_game_release(loaded);
    return status;
}

static prune_status search(const shared *all, uint8_t *found)
{
    prune_search_options options = PRUNE_SEARCH_OPTIONS_INIT;
    prune_search *search = NULL;
    prune_status status;
    options.remove = 2;
    status = prune_search_create(all->f.model, &options, &search);
    if (status == PRUNE_OK) {
        status = prune_model_search(all->f.model, all->f.data, search, NULL);
    }
    if (status == PRUNE_OK) {
        status = prune_search_mask(search, found, U, NULL);
    }
    prune_search_release(search);
    return status;
}

long calls_prepare(shared *all, expected *right)
{
    caller c = { NULL, NULL, -1, 1, 0 };
    prune_recover_options recover = PRUNE_RECOVER_OPTIONS_INIT;
    prune_search_options searched = PRUNE_SEARCH_OPTIONS_INIT;
    recover.kind = PRUNE_ADAPTER_LINEAR;
    recover.ridge = 0.1;
    recover.held_out = all->f.data;
    searched.remove = 1;
    must(&c, prune_statistics_create(FIXTURE_BLOCKS, NULL, &all->statistics), "statistics");
    must(&c, prune_statistics_collect(all->statistics, all->f.model, all->f.data, NULL), "collect");
    must(&c, prune_statistics_create(FIXTURE_BLOCKS, NULL, &all->sums), "sums");
    must(&c, prune_model_recover(all->f.model, all->f.data, mask, U, &recover, &all->adapters), "recover");
    must(&c, prune_model_attach(all->f.model, all->adapters, &all->recovered), "attach");
    must(&c, prune_model_open("tiny", NULL, &all->masked), "open");
    must(&c, prune_game_create(U, NULL, &all->game), "game");
    must(&c, prune_search_create(all->f.model, &searched, &all->search), "search");
    memset(right, 0, sizeof *right);
    must(&c, prune_model_evaluate(all->f.model, all->f.data, mask, 1, U, NULL, &right->evaluation), "evaluate");
    must(&c, prune_model_evaluate(all->recovered, all->f.data, NULL, 1, 0, NULL, &right->recovered), "recovered");
    must(&c, score(all, right->scores), "score");
    must(&c, read_statistics(all, right->statistics), "scores of statistics");
    must(&c, shapley(all, right->shapley), "shapley");
    must(&c, search(all, right->found), "search");
    must(&c, generate(all, right->text, &right->n_text), "generate");
    return c.faults;
}

void calls_release(const shared *all)
{
    prune_statistics_release(all->statistics);
    prune_statistics_release(all->sums);
    prune_adapters_release(all->adapters);
    prune_model_release(all->recovered);
    prune_model_release(all->masked);
    prune_game_release(all->game);
    prune_search_release(all->search);
}

void call_evaluate(caller *c)
{
    prune_evaluation got;
    must(c, prune_model_evaluate(c->all->f.model, c->all->f.data, mask, 1, U, NULL, &got), "evaluate");
    same(c, &got, &c->right->evaluation, sizeof got, "evaluate gave another result");
}

void call_score(caller *c)
{
    double got[U];
    must(c, score(c->all, got), "score");
    same(c, got, c->right->scores, sizeof got, "score gave another result");
}

void call_generate(caller *c)
{
    int32_t got[8] = { 0 };
    size_t count = 0;
    must(c, generate(c->all, got, &count), "generate");
    same(c, got, c->right->text, sizeof got, "generate gave another text");
}

void call_shapley(caller *c)
{
    double got[U];
    must(c, shapley(c->all, got), "shapley");
    same(c, got, c->right->shapley, sizeof got, "shapley gave another result");
}

void call_search(caller *c)
{
    uint8_t got[U];
    must(c, search(c->all, got), "search");
    same(c, got, c->right->found, sizeof got, "search found another mask");
}

void call_recovered(caller *c)
{
    prune_evaluation got;
    must(c, prune_model_evaluate(c->all->recovered, c->all->f.data, NULL, 1, 0, NULL, &got), "recovered");
    same(c, &got, &c->right->recovered, sizeof got, "the recovered model gave another result");
}

void call_read_statistics(caller *c)
{
    double got[U];
    must(c, read_statistics(c->all, got), "scores of statistics");
    same(c, got, c->right->statistics, sizeof got, "statistics gave another result");
}

void call_open(caller *c)
{
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    prune_model *model = NULL;
    prune_data *data = NULL;
    prune_evaluation got;
    options.weights = draw(c, 2) == 0 ? PRUNE_WEIGHTS_MAPPED : PRUNE_WEIGHTS_MEMORY;
    must(c, prune_model_open("tiny", &options, &model), "open");
    must(c, prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &data), "data");
    must(c, prune_model_mask_set(model, mask, U), "mask");
    must(c, prune_model_evaluate(model, data, NULL, 1, 0, NULL, &got), "evaluate what was opened");
    same(c, &got, &c->right->evaluation, sizeof got, "a model of its own gave another result");
    prune_model_release(model);
    prune_data_release(data);
}

void call_merge(caller *c)
{
    prune_statistics *own = NULL;
    double got[U];
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    options.metrics = PRUNE_METRIC_COSINE;
    must(c, prune_statistics_create(FIXTURE_BLOCKS, NULL, &own), "statistics");
    must(c, prune_statistics_merge(own, c->all->statistics), "merge");
    must(c, prune_statistics_collect(own, c->all->f.model, c->all->f.data, NULL), "collect");
    must(c, prune_statistics_merge(own, own), "merge with itself");
    must(c, prune_statistics_scores(own, &options, got, U, NULL), "scores of statistics");
    prune_statistics_release(own);
}

void call_adapters(caller *c)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    prune_adapters *adapters = NULL;
    prune_model *recovered = NULL;
    prune_evaluation got;
    float bias[FIXTURE_HIDDEN] = { 0 };
    options.kind = PRUNE_ADAPTER_LOW_RANK;
    options.rank = 2;
    options.ridge = 0.1;
    options.held_out = c->all->f.data;
    options.objective = draw(c, 2) == 0 ? PRUNE_OBJECTIVE_CLOSED_FORM : PRUNE_OBJECTIVE_KL;
    options.steps = 2;
    must(c, prune_model_recover(c->all->f.model, c->all->f.data, mask, U, &options, &adapters), "recover");
    must(c, prune_adapters_set(adapters, 1, PRUNE_PART_BIAS, bias, FIXTURE_HIDDEN), "set");
    must(c, prune_model_attach(c->all->f.model, adapters, &recovered), "attach");
    prune_adapters_release(adapters);
    must(c, prune_model_evaluate(recovered, c->all->f.data, NULL, 1, 0, NULL, &got), "evaluate adapters");
    prune_model_release(recovered);
}

void call_moments(caller *c)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    prune_moments *moments = NULL, *more = NULL;
    prune_adapters *adapters = NULL;
    options.rank = 2;
    options.ridge = 0.1;
    must(c, prune_moments_create(c->all->f.model, mask, U, &options, &moments), "moments");
    must(c, prune_moments_create(c->all->f.model, mask, U, &options, &more), "moments");
    must(c, prune_moments_collect(moments, c->all->f.model, c->all->f.data, NULL), "collect moments");
    must(c, prune_moments_merge(more, moments), "merge moments");
    must(c, prune_moments_solve(more, moments, &options, &adapters), "solve");
    prune_moments_release(moments);
    prune_moments_release(more);
    prune_adapters_release(adapters);
}

static int32_t stop(void *user_data, const prune_progress *progress)
{
    (void)user_data;
    (void)progress;
    return 1;
}

void call_cancel(caller *c)
{
    prune_evaluate_options options = PRUNE_EVALUATE_OPTIONS_INIT;
    prune_evaluation got;
    options.batch_tokens = 1;
    options.progress = stop;
    if (prune_model_evaluate(c->all->f.model, c->all->f.data, mask, 1, U, &options, &got) != PRUNE_ERR_CANCELLED) {
        fault(c, "a call was not cancelled");
    }
}

void call_threads(caller *c) { must(c, prune_threads_set((int32_t)draw(c, 5)), "threads"); }

void call_error(caller *c)
{
    char name[32];
    prune_model *model = NULL;
    snprintf(name, sizeof name, "no model of thread %d", c->index);
    if (prune_model_open(name, NULL, &model) != PRUNE_ERR_FILE || strstr(prune_last_error(), name) == NULL) {
        fault(c, "another thread's error");
    }
}

void call_change_shared(caller *c)
{
    float bias[FIXTURE_HIDDEN] = { 0 };
    uint8_t masks[4 * U], keep[U];
    double damages[4] = { 0.5, 0.25, 0.125, 1.0 }, values[U];
    prune_evaluation got;
    size_t count = 0;
    switch (draw(c, 6)) {
    case 0:
        must(c, prune_model_mask_set(c->all->masked, mask, U), "mask");
        break;
    case 1:
        must(c, prune_model_evaluate(c->all->masked, c->all->f.data, NULL, 1, 0, NULL, &got), "masked");
        break;
    case 2:
        must(c, prune_statistics_merge(c->all->sums, c->all->statistics), "merge into shared");
        break;
    case 3:
        must(c, prune_adapters_set(c->all->adapters, 1, PRUNE_PART_BIAS, bias, FIXTURE_HIDDEN), "set");
        break;
    case 4:
        if (prune_game_ask(c->all->game, 4, masks, &count) == PRUNE_OK) {
            prune_game_tell(c->all->game, masks, damages, count);
        }
        prune_game_result(c->all->game, values, NULL, U, NULL);
        break;
    default:
        if (prune_search_ask(c->all->search, 4, masks, &count, NULL) == PRUNE_OK) {
            prune_search_tell(c->all->search, masks, damages, count);
        }
        prune_search_mask(c->all->search, keep, U, NULL);
        break;
    }
}

/* A model that is taken by all and released by whoever comes. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static prune_model *last;

void call_release_shared(caller *c)
{
    prune_model *model, *made = NULL;
    prune_evaluation got;
    prune_status status;
    pthread_mutex_lock(&guard);
    model = last;
    pthread_mutex_unlock(&guard);
    if (model == NULL || draw(c, 3) == 0) {
        must(c, prune_model_open("tiny", NULL, &made), "open");
        pthread_mutex_lock(&guard);
        model = last;
        last = made;
        pthread_mutex_unlock(&guard);
        /* Others may be inside a call with it, or about to begin one. */
        prune_model_release(model);
        return;
    }
    status = prune_model_evaluate(model, c->all->f.data, mask, 1, U, NULL, &got);
    if (status == PRUNE_OK) {
        same(c, &got, &c->right->evaluation, sizeof got, "a model that was released gave another result");
    } else if (status != PRUNE_ERR_HANDLE) {
        fault(c, "a model that was released");
    }
}

void calls_release_last(void) { prune_model_release(last); }
