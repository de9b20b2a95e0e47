/* SPDX-License-Identifier: Apache-2.0 */
/* One const handle used by several threads at once; the last error of each thread; releasing under a running call. */
#include <pthread.h>

#include "check.h"
#include "fixture.h"

enum {
    THREADS = 4,
    ROUNDS = 25
};

/* Everything that a round computes from const handles. */
typedef struct results {
    prune_evaluation evaluation;
    double scores[40];
    float losses[FIXTURE_TOKENS];
    float logits[FIXTURE_TOKENS * FIXTURE_VOCABULARY];
    uint8_t keep[4];
    double read[24];
} results;

static fixture f;
static prune_statistics *statistics;

/* Returns the number of calls that failed. */
static int compute(results *out)
{
    static const uint8_t keep[4] = { 1, 0, 1, 1 };
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    int failures = 0;
    options.metrics = PRUNE_METRIC_ALL;
    memset(out, 0, sizeof *out);
    failures += prune_model_evaluate(f.model, f.data, keep, 1, 4, NULL, &out->evaluation) != PRUNE_OK;
    failures += prune_model_score(f.model, f.data, &options, out->scores, 40, NULL) != PRUNE_OK;
    failures += prune_model_token_losses(f.model, f.data, NULL, 0, NULL, out->losses, FIXTURE_TOKENS, NULL) != PRUNE_OK;
    failures += prune_model_logits(f.model, f.data, NULL, 0, NULL, out->logits, 512, NULL) != PRUNE_OK;
    failures += prune_model_mask_get(f.model, out->keep, 4, NULL) != PRUNE_OK;
    failures += prune_statistics_scores(statistics, NULL, out->read, 24, NULL) != PRUNE_OK;
    return failures;
}

typedef struct worker {
    pthread_t thread;
    results expected;
    int failures, differences;
} worker;

static void *work(void *argument)
{
    worker *own = argument;
    results got;
    int round;
    for (round = 0; round < ROUNDS; round++) {
        own->failures += compute(&got);
        own->differences += memcmp(&got, &own->expected, sizeof got) != 0;
    }
    return NULL;
}

/* Four threads give what one gives, to the last bit. */
static void equal_results(void)
{
    static worker workers[THREADS];
    results expected;
    int i;
    CHECK(compute(&expected) == 0);
    for (i = 0; i < THREADS; i++) {
        workers[i].expected = expected;
        REQUIRE(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        REQUIRE(pthread_join(workers[i].thread, NULL) == 0);
        CHECK(workers[i].failures == 0);
        CHECK(workers[i].differences == 0);
    }
}

typedef struct failing {
    pthread_t thread;
    char directory[32];
    int fine; /* set by the thread */
} failing;

static void *fail(void *argument)
{
    failing *own = argument;
    prune_model *model = NULL;
    int round;
    own->fine = strcmp(prune_last_error(), "") == 0; /* nothing failed on this thread yet */
    for (round = 0; round < 200; round++) {
        own->fine &= prune_model_open(own->directory, NULL, &model) == PRUNE_ERR_FILE;
        own->fine &= strstr(prune_last_error(), own->directory) != NULL;
    }
    return NULL;
}

static void last_errors(void)
{
    static failing threads[THREADS];
    prune_model *model = NULL;
    int i;
    CHECK_FAILS(prune_model_open("of the main thread", NULL, &model), PRUNE_ERR_FILE, "of the main thread");
    for (i = 0; i < THREADS; i++) {
        snprintf(threads[i].directory, sizeof threads[i].directory, "directory of thread %d", i);
        REQUIRE(pthread_create(&threads[i].thread, NULL, fail, &threads[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        REQUIRE(pthread_join(threads[i].thread, NULL) == 0);
        CHECK(threads[i].fine);
    }
    CHECK(strstr(prune_last_error(), "of the main thread") != NULL);
}

typedef struct rendezvous {
    prune_model *model;
    prune_data *data;
    int released;
} rendezvous;

/* Gives both handles back in the middle of the call that uses them. */
static int32_t release_inside(void *user_data, const prune_progress *progress)
{
    rendezvous *both = user_data;
    (void)progress;
    if (!both->released) {
        both->released = 1;
        prune_model_release(both->model);
        prune_data_release(both->data);
    }
    return 0;
}

/* Releasing waits for nobody: the call under way keeps what it uses, and ends as if nothing had happened. */
static void release_under_way(void)
{
    prune_evaluate_options options = PRUNE_EVALUATE_OPTIONS_INIT;
    prune_evaluation expected, got;
    rendezvous both = { NULL, NULL, 0 };
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    CHECK_OK(prune_model_open("tiny", NULL, &both.model));
    CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &both.data));
    CHECK_OK(prune_model_evaluate(both.model, both.data, NULL, 1, 0, NULL, &expected));
    options.batch_tokens = 1;
    options.progress = release_inside;
    options.user_data = &both;
    CHECK_OK(prune_model_evaluate(both.model, both.data, NULL, 1, 0, &options, &got));
    CHECK(both.released);
    CHECK_NEAR(got.loss, expected.loss, 1e-5);
    CHECK_FAILS(prune_model_info(both.model, &shape), PRUNE_ERR_HANDLE, "model");
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_OK(prune_statistics_collect(statistics, f.model, f.data, NULL));
    equal_results();
    last_errors();
    release_under_way();
    prune_statistics_release(statistics);
    fixture_close(&f);
    return check_report();
}
