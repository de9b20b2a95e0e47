/* SPDX-License-Identifier: Apache-2.0 */
/* Progress callbacks: what they are told, on which thread, and stopping from them. */
#include <pthread.h>

#include "check.h"
#include "fixture.h"

static fixture f;

typedef struct log {
    int calls;
    int stop_at; /* this call asks to stop; 0 = never */
    int32_t answer;
    int faults; /* reports that contradict the header */
    int64_t done, total;
    char stage[64];
    pthread_t thread;
} log_book;

static int32_t note(void *user_data, const prune_progress *progress)
{
    log_book *book = user_data;
    book->calls++;
    book->faults += progress == NULL || progress->struct_size != sizeof *progress || progress->reserved != 0;
    book->faults += progress->stage == NULL || progress->stage[0] == '\0';
    book->faults += progress->done < 0 || progress->done > progress->total || progress->total < 1;
    if (strcmp(progress->stage, book->stage) == 0) { /* a call of several stages counts each on its own */
        book->faults += progress->done < book->done || progress->total != book->total;
    }
    book->faults += !(progress->seconds >= 0.0) || progress->seconds > 600.0;
    book->faults += !pthread_equal(pthread_self(), book->thread);
    book->done = progress->done;
    book->total = progress->total;
    snprintf(book->stage, sizeof book->stage, "%s", progress->stage);
    return book->calls == book->stop_at ? book->answer : 0;
}

static log_book fresh(int stop_at)
{
    log_book book;
    memset(&book, 0, sizeof book);
    book.stop_at = stop_at;
    book.answer = 1;
    book.thread = pthread_self();
    return book;
}

/* Every long call, with outputs that are all zero bytes unless the call writes them. */
enum {
    SCORE,
    LEAVE_ONE_OUT,
    EVALUATE,
    TOKEN_LOSSES,
    LOGITS,
    HIDDEN_STATES,
    N_CALLS
};
static union {
    unsigned char bytes[FIXTURE_TOKENS * FIXTURE_VOCABULARY * sizeof(float)];
    double doubles[40];
    float floats[FIXTURE_TOKENS * FIXTURE_VOCABULARY];
    prune_evaluation evaluation;
} out;

static prune_status call(int which, log_book *book)
{
    prune_score_options score = PRUNE_SCORE_OPTIONS_INIT;
    prune_evaluate_options evaluate = PRUNE_EVALUATE_OPTIONS_INIT;
    memset(&out, 0, sizeof out);
    score.batch_tokens = evaluate.batch_tokens = 1; /* three batches, so that a stop comes in the middle */
    score.progress = evaluate.progress = note;
    score.user_data = evaluate.user_data = book;
    switch (which) {
    case SCORE:
        return prune_model_score(f.model, f.data, &score, out.doubles, 40, NULL);
    case LEAVE_ONE_OUT:
        score.metrics = PRUNE_METRIC_ALL;
        return prune_model_score(f.model, f.data, &score, out.doubles, 40, NULL);
    case EVALUATE:
        return prune_model_evaluate(f.model, f.data, NULL, 1, 0, &evaluate, &out.evaluation);
    case TOKEN_LOSSES:
        return prune_model_token_losses(f.model, f.data, NULL, 0, &evaluate, out.floats, FIXTURE_TOKENS, NULL);
    case LOGITS:
        return prune_model_logits(f.model, f.data, NULL, 0, &evaluate, out.floats, 512, NULL);
    default:
        return prune_model_hidden_states(f.model, f.data, NULL, 0, 4, &evaluate, out.floats, 512, NULL);
    }
}

static int out_is_untouched(void)
{
    size_t i;
    for (i = 0; i < sizeof out.bytes; i++) {
        if (out.bytes[i] != 0) {
            return 0;
        }
    }
    return 1;
}

static void progress_is_told(void)
{
    int which;
    for (which = 0; which < N_CALLS; which++) {
        log_book book = fresh(0);
        CHECK_OK(call(which, &book));
        CHECK(!out_is_untouched());
        CHECK(book.calls >= 1 && book.faults == 0);
        CHECK(book.done == book.total); /* the last report says that all is done */
        if (book.faults != 0 || book.done != book.total) {
            printf("    call %d, stage %s: %d reports, done %d of %d\n", which, book.stage, book.calls, (int)book.done,
                   (int)book.total);
        }
    }
}

/* Stopping at the first report, and at the last: cancelled, and the outputs are left as they were. */
static void cancelled_at_each_step(void)
{
    static const int32_t answers[3] = { 1, -1, INT32_MIN }; /* anything but 0 stops */
    int which, i;
    for (which = 0; which < N_CALLS; which++) {
        log_book whole = fresh(0), book;
        CHECK_OK(call(which, &whole));
        for (i = 0; i < 3; i++) {
            book = fresh(i == 0 ? whole.calls : 1);
            book.answer = answers[i];
            CHECK_FAILS(call(which, &book), PRUNE_ERR_CANCELLED, "cancelled");
            CHECK(book.calls == book.stop_at); /* not asked again */
            CHECK(out_is_untouched());
            if (!out_is_untouched()) {
                printf("    call %d, stage %s, stopped at report %d\n", which, book.stage, book.stop_at);
            }
        }
    }
}

/* A collect that was stopped adds nothing. */
static void cancelled_collecting_adds_nothing(void)
{
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_statistics *statistics = NULL;
    log_book book = fresh(0);
    double before[24], after[24];
    options.batch_tokens = 1;
    options.progress = note;
    options.user_data = &book;
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_OK(prune_statistics_collect(statistics, f.model, f.data, &options));
    CHECK(book.calls >= 1 && book.faults == 0 && book.done == book.total);
    CHECK_OK(prune_statistics_scores(statistics, NULL, before, 24, NULL));
    book = fresh(1);
    CHECK_FAILS(prune_statistics_collect(statistics, f.model, f.data, &options), PRUNE_ERR_CANCELLED, "cancelled");
    CHECK_OK(prune_statistics_scores(statistics, NULL, after, 24, NULL));
    CHECK(memcmp(before, after, sizeof before) == 0);
    prune_statistics_release(statistics);
}

/* A buffer that is too small is refused before any work: nobody is told of progress. */
static void small_buffers_are_refused_before_any_work(void)
{
    prune_score_options score = PRUNE_SCORE_OPTIONS_INIT;
    prune_evaluate_options evaluate = PRUNE_EVALUATE_OPTIONS_INIT;
    log_book book = fresh(0);
    score.progress = evaluate.progress = note;
    score.user_data = evaluate.user_data = &book;
    CHECK_FAILS(prune_model_score(f.model, f.data, &score, out.doubles, 1, NULL), PRUNE_ERR_BUFFER, "28");
    CHECK_FAILS(prune_model_logits(f.model, f.data, NULL, 0, &evaluate, out.floats, 1, NULL), PRUNE_ERR_BUFFER, "512");
    CHECK(book.calls == 0);
}

/* The callback may call the library itself. */
static int32_t reenter(void *user_data, const prune_progress *progress)
{
    prune_evaluation evaluation;
    int *fine = user_data;
    (void)progress;
    *fine &= prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &evaluation) == PRUNE_OK;
    return 0;
}

static void callbacks_call_the_library(void)
{
    prune_evaluate_options options = PRUNE_EVALUATE_OPTIONS_INIT;
    prune_evaluation evaluation;
    int fine = 1;
    options.progress = reenter;
    options.user_data = &fine;
    CHECK_OK(prune_model_evaluate(f.model, f.data, NULL, 1, 0, &options, &evaluation));
    CHECK(fine);
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    progress_is_told();
    cancelled_at_each_step();
    cancelled_collecting_adds_nothing();
    small_buffers_are_refused_before_any_work();
    callbacks_call_the_library();
    fixture_close(&f);
    return check_report();
}
