/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of prune_model_shapley(): progress, cancelling and going on, saving on the way, several at once. */
#include <pthread.h>

#include "check.h"
#include "fixture.h"
#include "game.h"
#include "game_run.h"

enum {
    U = FIXTURE_SUBLAYERS
};

static fixture f;

typedef struct witness {
    prune_game *game;
    int calls, stop_at, faults, with_estimate;
    unsigned char *saved; /* the game as it was at call `save_at` */
    size_t n_saved;
    int save_at, release_at;
    prune_game_state last;
    double values[U];
    pthread_t thread;
} witness;

static int32_t watch(void *user_data, const prune_game_progress *progress)
{
    witness *w = user_data;
    w->calls++;
    w->faults += progress->struct_size != sizeof *progress || progress->state == NULL || !(progress->seconds >= 0.0);
    w->faults += progress->state->struct_size != sizeof *progress->state || progress->state->n_players != U;
    w->faults += progress->state->told <= w->last.told || progress->state->outstanding != 0;
    w->faults += progress->state->sublayers_computed < w->last.sublayers_computed;
    w->faults += (progress->has_estimate != 0) != (progress->values != NULL && progress->standard_errors != NULL);
    w->faults += (progress->has_estimate == 0) != (isnan(progress->state->largest_error) != 0);
    w->faults += !pthread_equal(pthread_self(), w->thread);
    w->last = *progress->state;
    if (progress->has_estimate) {
        w->with_estimate++;
        memcpy(w->values, progress->values, sizeof w->values);
    }
    if (w->calls == w->save_at) {
        w->saved = saved_game(w->game, &w->n_saved);
    }
    if (w->calls == w->release_at) {
        prune_game_release(w->game);
    }
    return w->calls == w->stop_at ? -7 : 0;
}

/* Plays once more with a witness; the status of the call. */
static prune_status watched(prune_game *game, witness *w)
{
    prune_game_run_options options = in_batches(3);
    w->game = game;
    w->thread = pthread_self();
    w->last.told = state_of(game).told;
    options.on_batch = watch;
    options.user_data = w;
    return prune_model_shapley(f.model, f.data, game, &options);
}

static void batch_callbacks(void)
{
    prune_game *whole = played_game(&f, PRUNE_ESTIMATOR_EXACT), *game = fresh_game(PRUNE_ESTIMATOR_EXACT);
    witness w = { 0 };
    double values[U];
    CHECK_OK(watched(game, &w));
    CHECK(w.faults == 0);
    CHECK(w.calls == 6 && w.last.told == 16 && w.last.done); /* 3 + 3 + 3 + 3 + 3 + 1 */
    CHECK(w.with_estimate == 1);                             /* exact: only when all is told */
    CHECK_OK(prune_game_result(game, values, NULL, U, NULL));
    CHECK(memcmp(values, w.values, sizeof values) == 0);
    CHECK(same_values(whole, game, U));
    CHECK_OK(watched(game, &w)); /* a game that is done is not played on */
    CHECK(w.calls == 6);
    prune_game_release(whole);
    prune_game_release(game);
}

/* Stopped at every batch, gone on with, and loaded from what was saved there: the same end, bit for bit. */
static void stopped_anywhere(void)
{
    static const prune_estimator estimators[] = { PRUNE_ESTIMATOR_EXACT, PRUNE_ESTIMATOR_SURROGATE,
                                                  PRUNE_ESTIMATOR_TRUNCATED, PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS };
    size_t e;
    for (e = 0; e < sizeof estimators / sizeof estimators[0]; e++) {
        prune_game *whole = played_game(&f, estimators[e]);
        int at, calls = 2, failures = check_n_failed;
        for (at = 1; at < calls; at++) {
            prune_game *game = fresh_game(estimators[e]), *loaded = NULL;
            witness w = { 0 }, on = { 0 }, count = { 0 };
            unsigned char *after;
            size_t n_after;
            w.stop_at = w.save_at = at;
            CHECK_FAILS(watched(game, &w), PRUNE_ERR_CANCELLED, "cancelled");
            CHECK(w.calls == at && w.faults == 0 && state_of(game).told == w.last.told);
            after = saved_game(game, &n_after);
            CHECK(n_after == w.n_saved && memcmp(after, w.saved, n_after) == 0); /* nothing was lost by stopping */
            CHECK_OK(prune_game_load(w.saved, w.n_saved, &loaded));
            CHECK_OK(watched(game, &on));
            CHECK_OK(watched(loaded, &count));
            CHECK(same_values(whole, game, U) && same_values(whole, loaded, U));
            CHECK(state_of(game).told == state_of(whole).told && state_of(loaded).told == state_of(whole).told);
            CHECK(state_of(game).sublayers_computed == state_of(whole).sublayers_computed);
            CHECK(state_of(loaded).sublayers_computed == state_of(whole).sublayers_computed);
            CHECK(on.calls >= 1 && on.calls == count.calls);
            calls = at + on.calls;
            free(w.saved);
            free(after);
            prune_game_release(game);
            prune_game_release(loaded);
        }
        CHECK(calls >= 3);
        if (check_n_failed != failures) {
            printf("    estimator %d\n", (int)estimators[e]);
        }
        prune_game_release(whole);
    }
}

static int32_t stop_after(void *user_data, const prune_progress *progress)
{
    int *left = user_data;
    (void)progress;
    return --*left < 0;
}

/* Stopped while a batch is evaluated: its coalitions are evaluated again, and all ends alike. */
static void stopped_within(void)
{
    prune_game *whole = played_game(&f, PRUNE_ESTIMATOR_SURROGATE);
    int stops = 0, at;
    for (at = 0; at < 60; at++) {
        prune_game_run_options options = in_batches(3);
        prune_game *game = fresh_game(PRUNE_ESTIMATOR_SURROGATE);
        int left = at;
        prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
        prune_status status;
        coalitions.progress = stop_after;
        coalitions.user_data = &left;
        coalitions.batch_tokens = 1;
        options.coalitions = &coalitions;
        status = prune_model_shapley(f.model, f.data, game, &options);
        CHECK(status == PRUNE_OK || status == PRUNE_ERR_CANCELLED);
        stops += status == PRUNE_ERR_CANCELLED;
        coalitions.batch_tokens = 0;
        coalitions.progress = NULL;
        CHECK_OK(prune_model_shapley(f.model, f.data, game, &options));
        CHECK(state_of(game).done && state_of(game).told == state_of(whole).told);
        if (at == 0) {
            CHECK(same_values(whole, game, U)); /* nothing was evaluated in the smaller batches yet */
        }
        prune_game_release(game);
    }
    CHECK(stops >= 5);
    prune_game_release(whole);
}

/* The game given back while it is played: the call keeps it alive. */
static void released_within(void)
{
    prune_game *game = fresh_game(PRUNE_ESTIMATOR_EXACT);
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    witness w = { 0 };
    w.release_at = 2;
    CHECK_OK(watched(game, &w));
    CHECK(w.calls == 6 && w.last.done);
    CHECK(prune_game_info(game, &state) == PRUNE_ERR_HANDLE);
}

/* Coalitions that the host asked for and never told are no reason to wait for ever. */
static void asked_before(void)
{
    prune_game *whole = played_game(&f, PRUNE_ESTIMATOR_EXACT), *game = fresh_game(PRUNE_ESTIMATOR_EXACT);
    uint8_t masks[5 * U];
    size_t count = 0;
    CHECK_OK(prune_game_ask(game, 5, masks, &count));
    CHECK_OK(prune_model_shapley(f.model, f.data, game, NULL));
    CHECK(state_of(game).done && state_of(game).told == 16 && same_values(whole, game, U));
    prune_game_release(whole);
    prune_game_release(game);
}

static void *play_alone(void *unused)
{
    prune_game *game = new_game(U, PRUNE_ESTIMATOR_SURROGATE, 6, 0);
    prune_game_run_options options = in_batches(3);
    (void)unused;
    if (prune_model_shapley(f.model, f.data, game, &options) != PRUNE_OK) {
        prune_game_release(game);
        return NULL;
    }
    return game;
}

/* One model, several games at once. */
static void games_in_several_threads(void)
{
    prune_game *whole = played_game(&f, PRUNE_ESTIMATOR_SURROGATE);
    pthread_t thread[4];
    int i;
    for (i = 0; i < 4; i++) {
        REQUIRE(pthread_create(&thread[i], NULL, play_alone, NULL) == 0);
    }
    for (i = 0; i < 4; i++) {
        void *game = NULL;
        CHECK(pthread_join(thread[i], &game) == 0 && game != NULL);
        CHECK(same_values(whole, game, U));
        prune_game_release(game);
    }
    prune_game_release(whole);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    batch_callbacks();
    stopped_anywhere();
    stopped_within();
    released_within();
    asked_before();
    games_in_several_threads();
    fixture_close(&f);
    return check_report();
}
