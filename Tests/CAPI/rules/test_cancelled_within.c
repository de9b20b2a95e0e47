/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancelling within what numbers of a caller make long: a step of training, the attention of a prompt that is timed, the plan of
 * a game under a budget. What was cancelled can be done again, or continued, with the same results.
 */
#include <unistd.h>

#include "recovery.h"

static fixture f;

/* What a callback was told, and where it stops: at call `at` of the stage that begins with `stage`. */
typedef struct listening {
    const char *stage;
    int at, calls;
    int64_t done, total;
    int steps;
} listening;

static int32_t listen(void *user_data, const prune_progress *progress)
{
    listening *own = user_data;
    if (strncmp(progress->stage, own->stage, strlen(own->stage)) != 0) {
        return 0;
    }
    own->done = progress->done;
    own->total = progress->total;
    return ++own->calls >= own->at;
}

static int32_t count_step(void *user_data, const prune_training_progress *progress)
{
    ((listening *)user_data)->steps = (int)progress->step;
    return 0;
}

/* Many sequences, all of which a step takes. */
static prune_data *long_data(void)
{
    enum {
        SEQUENCES = 200,
        LENGTH = 8
    };
    static int32_t ids[SEQUENCES * LENGTH];
    static int64_t lengths[SEQUENCES];
    prune_data *data = NULL;
    int i;
    for (i = 0; i < SEQUENCES * LENGTH; i++) {
        ids[i] = (i * 7 + i / LENGTH) % FIXTURE_VOCABULARY;
    }
    for (i = 0; i < SEQUENCES; i++) {
        lengths[i] = LENGTH;
    }
    REQUIRE(prune_data_create(ids, lengths, SEQUENCES, NULL, &data) == PRUNE_OK);
    return data;
}

static void within_a_step_of_training(void)
{
    static const char *const stages[] = { "held-out data",   "held-out data after step 0", "training step 1",
                                          "training step 2", "held-out data after step 2", "training step 3" };
    static const int steps[] = { 0, 0, 0, 1, 1, 2 };
    prune_data *data = long_data();
    prune_objective objective;
    size_t i;
    for (objective = PRUNE_OBJECTIVE_MSE; objective <= PRUNE_OBJECTIVE_JS; objective++) {
        prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
        prune_adapters *whole = NULL, *again = NULL;
        options.kind = PRUNE_ADAPTER_LOW_RANK;
        options.rank = 2;
        options.objective = objective;
        options.steps = 3;
        options.step_tokens = INT64_MAX;
        options.batch_tokens = 64;
        options.evaluate_every = 2;
        CHECK_OK(prune_model_recover(f.model, data, recovery_keep, FIXTURE_SUBLAYERS, &options, &whole));
        options.progress = listen;
        options.on_step = count_step;
        options.checkpoint = "training";
        for (i = 0; i < sizeof stages / sizeof stages[0]; i++) {
            listening own = { NULL, 1, 0, 0, 0, 0 };
            own.stage = stages[i];
            options.user_data = &own;
            (void)unlink("training");
            CHECK_FAILS(prune_model_recover(f.model, data, recovery_keep, FIXTURE_SUBLAYERS, &options, &again),
                        PRUNE_ERR_CANCELLED, stages[i]);
            CHECK(again == NULL && own.calls == 1 && own.done < own.total && own.steps == steps[i]);
            if (own.steps != steps[i]) {
                printf("    %s: told of step %d\n", stages[i], own.steps);
            }
            own.stage = "none";
            CHECK_OK(prune_model_recover(f.model, data, recovery_keep, FIXTURE_SUBLAYERS, &options, &again));
            CHECK(recovery_equal(whole, again));
            prune_adapters_release(again);
            again = NULL;
        }
        prune_adapters_release(whole);
    }
    (void)unlink("training");
    prune_data_release(data);
}

static void within_the_attention_of_a_prompt(void)
{
    prune_time_options options = PRUNE_TIME_OPTIONS_INIT;
    prune_token_time times[FIXTURE_SUBLAYERS + 1];
    listening own = { "time", 2, 0, 0, 0, 0 };
    options.prompt_tokens = 1 << 15;
    options.progress = listen;
    options.user_data = &own;
    CHECK_FAILS(prune_model_times(f.model, &options, times, FIXTURE_SUBLAYERS + 1, NULL), PRUNE_ERR_CANCELLED, "time");
    /* Asked a second time before the first attention was done. */
    CHECK(own.calls == 2 && own.done == 1);
}

static void within_the_plan_of_a_game(void)
{
    prune_coalition_options coalitions = PRUNE_COALITION_OPTIONS_INIT;
    prune_game_run_options run = PRUNE_GAME_RUN_OPTIONS_INIT;
    double values[2][FIXTURE_SUBLAYERS];
    prune_game *games[2] = { NULL, NULL };
    listening own = { "plan", 1, 0, 0, 0, 0 };
    int i;
    run.sublayer_budget = INT64_MAX;
    for (i = 0; i < 2; i++) {
        CHECK_OK(prune_game_create(FIXTURE_SUBLAYERS, NULL, &games[i]));
    }
    coalitions.progress = listen;
    coalitions.user_data = &own;
    run.coalitions = &coalitions;
    CHECK_FAILS(prune_model_shapley(f.model, f.data, games[0], &run), PRUNE_ERR_CANCELLED, "plan");
    CHECK(own.calls == 1);
    run.coalitions = NULL;
    for (i = 0; i < 2; i++) {
        CHECK_OK(prune_model_shapley(f.model, f.data, games[i], &run));
        CHECK_OK(prune_game_result(games[i], values[i], NULL, FIXTURE_SUBLAYERS, NULL));
        prune_game_release(games[i]);
    }
    CHECK(memcmp(values[0], values[1], sizeof values[0]) == 0);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    within_a_step_of_training();
    within_the_attention_of_a_prompt();
    within_the_plan_of_a_game();
    fixture_close(&f);
    return check_report();
}
