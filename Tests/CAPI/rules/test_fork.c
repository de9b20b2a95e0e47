/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children forked while other threads are inside the library: each gets the right results, or the error of an object that
 * was being changed when it was made. A child that dies of a signal, or hangs, fails.
 *
 * PRUNE_TEST_FORKS: how many children for each pattern and number of threads, 12 unless set.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "fixture.h"
#include "operations.h"

enum {
    THREADS = 4,
    HANG = 120 /* seconds; a child takes milliseconds */
};

static fixture f;
static prune_statistics *statistics;
static prune_game *game;
static double expected_loss;
static volatile int goes_on;

/* What the threads of the parent do, by their number: everything that takes a lock or a buffer of the library. */
static void *work(void *argument)
{
    int kind = *(const int *)argument;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    options.metrics = PRUNE_METRIC_ALL_OF_STATES;
    while (goes_on) {
        static const uint8_t all[FIXTURE_SUBLAYERS] = { 1, 1, 1, 1 };
        static const uint8_t keep[FIXTURE_SUBLAYERS] = { 1, 1, 0, 1 };
        prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
        prune_model *own = NULL;
        double scores[64], values[2] = { 1.0, 2.0 };
        uint8_t masks[2 * FIXTURE_SUBLAYERS];
        size_t n = 0;
        switch (kind) {
        case 0:
            prune_model_score(f.model, f.data, &options, scores, 64, NULL);
            break;
        case 1:
            prune_model_info(f.model, &shape);
            break;
        case 2:
            prune_model_open("tiny", NULL, &own);
            prune_model_mask_set(f.model, keep, FIXTURE_SUBLAYERS);
            prune_model_mask_set(f.model, all, FIXTURE_SUBLAYERS);
            prune_model_release(own);
            break;
        default:
            prune_statistics_merge(statistics, statistics);
            if (prune_game_ask(game, 2, masks, &n) == PRUNE_OK && n > 0) {
                prune_game_tell(game, masks, values, n);
            }
            break;
        }
    }
    return NULL;
}

/* The loss of a model with everything kept, as the parent measures it. */
static int has_expected_loss(prune_model *model)
{
    static const uint8_t all[FIXTURE_SUBLAYERS] = { 1, 1, 1, 1 };
    prune_evaluation evaluation = { 0.0, 0.0, 0.0, 0.0, 0, 0 };
    return prune_model_evaluate(model, f.data, all, 1, FIXTURE_SUBLAYERS, NULL, &evaluation) == PRUNE_OK &&
           evaluation.loss == expected_loss;
}

static int child_asks(void)
{
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    return prune_model_info(f.model, &shape) == PRUNE_OK && shape.n_blocks == FIXTURE_BLOCKS;
}

static int child_opens(void)
{
    prune_model *model = NULL;
    int right = prune_model_open("tiny", NULL, &model) == PRUNE_OK;
    prune_model_release(model);
    return right;
}

static int child_opens_and_measures(void)
{
    prune_model *model = NULL;
    double values[OPERATION_VALUES];
    size_t count;
    int right = prune_model_open("tiny", NULL, &model) == PRUNE_OK && has_expected_loss(model) &&
                operation_closed_form(model, f.data, values, &count) == PRUNE_OK;
    prune_model_release(model);
    return right;
}

static int child_measures_with_inherited(void)
{
    double values[OPERATION_VALUES];
    size_t count;
    return has_expected_loss(f.model) && operation_statics(f.model, f.data, values, &count) == PRUNE_OK &&
           operation_train_kl(f.model, f.data, values, &count) == PRUNE_OK;
}

/* Done, or refused because a thread that is gone was in the midst of it. */
static int done_or_lost(prune_status status)
{
    return status == PRUNE_OK || (status == PRUNE_ERR_HANDLE && strstr(prune_last_error(), "forked") != NULL);
}

static int child_changes_inherited(void)
{
    static const uint8_t keep[FIXTURE_SUBLAYERS] = { 0, 1, 1, 1 };
    uint8_t masks[2 * FIXTURE_SUBLAYERS], read[FIXTURE_SUBLAYERS];
    size_t n = 0;
    /* A mask is changed within moments, which the fork waits for. */
    return prune_model_mask_set(f.model, keep, FIXTURE_SUBLAYERS) == PRUNE_OK &&
           prune_model_mask_get(f.model, read, FIXTURE_SUBLAYERS, NULL) == PRUNE_OK &&
           memcmp(read, keep, sizeof keep) == 0 && done_or_lost(prune_statistics_merge(statistics, statistics)) &&
           done_or_lost(prune_game_ask(game, 2, masks, &n));
}

static const struct {
    const char *name;
    int (*does)(void);
} patterns[] = {
    { "asks", child_asks },
    { "opens", child_opens },
    { "opens and measures", child_opens_and_measures },
    { "measures with the inherited model", child_measures_with_inherited },
    { "changes what it inherited", child_changes_inherited },
};

/* 0 if the child was right. */
static int fork_once(int (*does)(void), int round)
{
    const struct timespec pause = { 0, 300000L * (round % 7) };
    int status = -1;
    pid_t child;
    nanosleep(&pause, NULL);
    child = fork();
    if (child == 0) {
        alarm(HANG);
        _exit(does() ? 0 : 1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return -1;
    }
    if (WIFSIGNALED(status)) {
        printf("    a child ended by signal %d\n", WTERMSIG(status));
    }
    return status;
}

static void forks_while(int n_threads, int n_forks)
{
    static const int kinds[THREADS] = { 0, 1, 2, 3 };
    pthread_t threads[THREADS];
    size_t p;
    int i;
    goes_on = 1;
    for (i = 0; i < n_threads; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, work, (void *)&kinds[i]) == 0);
    }
    for (p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        int wrong = 0;
        for (i = 0; i < n_forks; i++) {
            wrong += fork_once(patterns[p].does, i) != 0;
        }
        printf("%d threads, the child %s: %d forks, %d wrong\n", n_threads, patterns[p].name, n_forks, wrong);
        CHECK(wrong == 0);
    }
    goes_on = 0;
    for (i = 0; i < n_threads; i++) {
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    }
    /* The parent is as it was. */
    CHECK(has_expected_loss(f.model));
}

int main(void)
{
    const char *asked = getenv("PRUNE_TEST_FORKS");
    int n_forks = asked ? atoi(asked) : 12;
    prune_evaluation evaluation = { 0.0, 0.0, 0.0, 0.0, 0, 0 };
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    setvbuf(stdout, NULL, _IONBF, 0);
    REQUIRE(n_forks > 0);
    fixture_open(&f, "tiny");
    REQUIRE(f.model && f.data);
    CHECK_OK(prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &evaluation));
    expected_loss = evaluation.loss;
    REQUIRE(prune_statistics_create(FIXTURE_BLOCKS, NULL, &statistics) == PRUNE_OK);
    options.estimator = PRUNE_ESTIMATOR_PERMUTATION;
    options.budget = 1000000000;
    REQUIRE(prune_game_create(FIXTURE_SUBLAYERS, &options, &game) == PRUNE_OK);
    forks_while(1, n_forks);
    forks_while(THREADS, n_forks);
    prune_game_release(game);
    prune_statistics_release(statistics);
    fixture_close(&f);
    return check_report();
}
