/* SPDX-License-Identifier: Apache-2.0 */
/* Multiple-choice items: log-likelihoods against a plain computation in double, choices, damages, refusals. */
#include "check.h"
#include "fixture.h"
#include "reference.h"

enum {
    V = FIXTURE_VOCABULARY,
    ITEMS = 4,
    CANDIDATES = 11
};

/* Items 0 and 3 have candidates of one token, the others longer ones too. */
static const int32_t context_ids[] = { 1, 5, 9, /**/ 30, 2, /**/ 8, /**/ 1, 22, 13, 4, 17 };
static const int64_t context_lengths[ITEMS] = { 3, 2, 1, 5 };
static const int64_t n_candidates[ITEMS] = { 4, 2, 3, 2 };
static const int32_t candidate_ids[] = { 3, 9, 31, 0, /**/ 7, 7, 1, 12, /**/ 5, 6, 20, 21, 2, 19, /**/ 14, 11 };
static const int64_t candidate_lengths[CANDIDATES] = { 1, 1, 1, 1, /**/ 3, 1, /**/ 1, 2, 3, /**/ 1, 1 };
static const int64_t answers[ITEMS] = { 1, 0, 2, 1 };
enum {
    ANSWER_TOKENS = 1 + 3 + 3 + 1
};

static prune_choices items(int32_t score)
{
    prune_choices choices = PRUNE_CHOICES_INIT;
    choices.score = score;
    choices.n_items = ITEMS;
    choices.context_ids = context_ids;
    choices.context_lengths = context_lengths;
    choices.n_candidates = n_candidates;
    choices.candidate_ids = candidate_ids;
    choices.candidate_lengths = candidate_lengths;
    choices.answers = answers;
    return choices;
}

/* Log-likelihood of every candidate after its context: each computed as a sequence of its own. */
static void expected_log_likelihoods(const fixture *f, const uint8_t *keep, double *out)
{
    const int32_t *context = context_ids, *candidate = candidate_ids;
    int64_t i, c, k, at = 0;
    for (i = 0; i < ITEMS; i++) {
        for (c = 0; c < n_candidates[i]; c++, at++) {
            double logits[8 * V];
            int32_t sequence[8];
            int64_t length = context_lengths[i] + candidate_lengths[at];
            memcpy(sequence, context, (size_t)context_lengths[i] * sizeof *context);
            memcpy(sequence + context_lengths[i], candidate, (size_t)candidate_lengths[at] * sizeof *candidate);
            reference_run(&f->weights, sequence, length, keep, NULL, logits);
            out[at] = 0.0;
            for (k = context_lengths[i]; k < length; k++) {
                out[at] -= reference_loss(logits + (k - 1) * V, V, sequence[k]);
            }
            candidate += candidate_lengths[at];
        }
        context += context_lengths[i];
    }
}

/* Share of wrong choices, and the mean of -log softmax over the scores at the answer. */
static void expected_damages(const double *log_likelihoods, int32_t score, double *error, double *loss)
{
    int64_t i, c, at = 0;
    *error = *loss = 0.0;
    for (i = 0; i < ITEMS; i++) {
        double scores[4], sum = 0.0;
        int64_t best = 0;
        for (c = 0; c < n_candidates[i]; c++, at++) {
            scores[c] = log_likelihoods[at] / (score == PRUNE_CHOICE_SCORE_MEAN ? (double)candidate_lengths[at] : 1.0);
            sum += exp(scores[c]);
            best = scores[c] > scores[best] ? c : best;
        }
        *error += best != answers[i] ? 1.0 / ITEMS : 0.0;
        *loss += (log(sum) - scores[answers[i]]) / ITEMS;
    }
}

static const uint8_t masks[4][4] = { { 1, 1, 1, 1 }, { 0, 1, 1, 1 }, { 1, 0, 0, 1 }, { 0, 0, 0, 0 } };

static void against_reference(const fixture *f)
{
    int32_t score;
    for (score = PRUNE_CHOICE_SCORE_SUM; score <= PRUNE_CHOICE_SCORE_MEAN; score++) {
        prune_choices choices = items(score);
        prune_coalition_options errors = PRUNE_COALITION_OPTIONS_INIT, losses = PRUNE_COALITION_OPTIONS_INIT;
        prune_data *data = NULL;
        double got[CANDIDATES], expected[CANDIDATES], error[4], loss[4], of_model[CANDIDATES];
        size_t count = 0, m, c;
        errors.measure = PRUNE_MEASURE_CHOICE_ERROR;
        losses.measure = PRUNE_MEASURE_CHOICE_LOSS;
        CHECK_OK(prune_data_create_choices(&choices, &data));
        CHECK_OK(prune_model_damages(f->model, data, masks[0], 4, 4, &errors, error, NULL));
        CHECK_OK(prune_model_damages(f->model, data, masks[0], 4, 4, &losses, loss, NULL));
        for (m = 0; m < 4; m++) {
            double expected_error, expected_loss;
            expected_log_likelihoods(f, masks[m], expected);
            expected_damages(expected, score, &expected_error, &expected_loss);
            CHECK_OK(prune_model_evaluate_choices(f->model, data, masks[m], 4, NULL, got, CANDIDATES, &count));
            CHECK(count == CANDIDATES);
            for (c = 0; c < CANDIDATES; c++) {
                CHECK_NEAR(got[c], expected[c], 6e-5); /* sums, under either score */
            }
            CHECK(error[m] == expected_error);
            CHECK_NEAR(loss[m], expected_loss, 6e-5);
        }
        CHECK_OK(prune_model_mask_set(f->model, masks[2], 4));
        CHECK_OK(prune_model_evaluate_choices(f->model, data, NULL, 0, NULL, of_model, CANDIDATES, NULL));
        CHECK_OK(prune_model_evaluate_choices(f->model, data, masks[2], 4, NULL, got, CANDIDATES, NULL));
        CHECK(memcmp(of_model, got, sizeof got) == 0);
        CHECK_OK(prune_model_mask_set(f->model, NULL, 0));
        prune_data_release(data);
    }
}

/* Calls that do not know of choices: the tokens of the right candidates count, and no others. */
static void as_plain_data(const fixture *f)
{
    prune_choices choices = items(PRUNE_CHOICE_SCORE_MEAN);
    prune_data *data = NULL;
    prune_evaluation e;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    double expected[CANDIDATES], right = 0.0, loss, scores[4];
    int64_t i, first = 0;
    CHECK_OK(prune_data_create_choices(&choices, &data));
    expected_log_likelihoods(f, NULL, expected);
    for (i = 0; i < ITEMS; i++) {
        right -= expected[first + answers[i]];
        first += n_candidates[i];
    }
    CHECK_OK(prune_model_evaluate(f->model, data, NULL, 1, 0, NULL, &e));
    CHECK(e.tokens == ANSWER_TOKENS && e.weight == ANSWER_TOKENS && e.sequences == ITEMS);
    CHECK_NEAR(e.loss, right / ANSWER_TOKENS, 2e-5);
    CHECK_OK(prune_model_damages(f->model, data, NULL, 1, 0, NULL, &loss, NULL));
    CHECK_NEAR(loss, e.loss, 1e-12);
    options.metrics = PRUNE_METRIC_COSINE;
    CHECK_OK(prune_model_score(f->model, data, &options, scores, 4, NULL));
    prune_data_release(data);
}

/* Equal scores: the first is chosen. */
static void ties(const fixture *f)
{
    static const int32_t context[] = { 4, 4 }, candidates[] = { 6, 6, 6, 6 };
    static const int64_t lengths[] = { 1, 1 }, n[] = { 2, 2 }, ones[] = { 1, 1, 1, 1 }, first_second[] = { 0, 1 };
    prune_choices choices = PRUNE_CHOICES_INIT;
    prune_coalition_options options = PRUNE_COALITION_OPTIONS_INIT;
    prune_data *data = NULL;
    double error;
    choices.n_items = 2;
    choices.context_ids = context;
    choices.context_lengths = lengths;
    choices.n_candidates = n;
    choices.candidate_ids = candidates;
    choices.candidate_lengths = ones;
    choices.answers = first_second;
    options.measure = PRUNE_MEASURE_CHOICE_ERROR;
    CHECK_OK(prune_data_create_choices(&choices, &data));
    CHECK_OK(prune_model_damages(f->model, data, NULL, 1, 0, &options, &error, NULL));
    CHECK(error == 0.5);
    options.measure = PRUNE_MEASURE_CHOICE_LOSS;
    CHECK_OK(prune_model_damages(f->model, data, NULL, 1, 0, &options, &error, NULL));
    CHECK_NEAR(error, log(2.0), 1e-9);
    prune_data_release(data);
}

static void refused(prune_choices choices, prune_status expected, const char *part, int line)
{
    prune_data *data = (prune_data *)(uintptr_t)0x10;
    check_fails(prune_data_create_choices(&choices, &data), expected, part, __FILE__, line, part);
    check_count(data == NULL, __FILE__, line, "the handle becomes NULL");
    prune_data_release(data);
}

#define REFUSED(field, value, expected, part)     \
    do {                                          \
        prune_choices c = items(0);               \
        c.field = value;                          \
        refused(c, (expected), (part), __LINE__); \
    } while (0)

/* One entry of an array replaced: the text names the item. */
#define REFUSED_ENTRY(type, field, at, value, part)    \
    do {                                               \
        type changed[sizeof field / sizeof field[0]];  \
        memcpy(changed, field, sizeof field);          \
        changed[at] = value;                           \
        REFUSED(field, changed, PRUNE_ERR_DATA, part); \
    } while (0)

static void refusals(const fixture *f)
{
    prune_choices choices = items(0);
    prune_data *data = NULL;
    double got[CANDIDATES];
    size_t count = 0, i;
    for (i = 0; i < CANDIDATES; i++) {
        got[i] = 7.0;
    }
    REFUSED(n_items, 0, PRUNE_ERR_DATA, "item");
    REFUSED(n_items, SIZE_MAX, PRUNE_ERR_ARGUMENT, "");
    REFUSED(score, 2, PRUNE_ERR_ARGUMENT, "score");
    REFUSED(score, -1, PRUNE_ERR_ARGUMENT, "score");
    REFUSED_ENTRY(int64_t, context_lengths, 2, 0, "item 2");
    REFUSED_ENTRY(int64_t, context_lengths, 1, -1, "item 1");
    REFUSED_ENTRY(int64_t, context_lengths, 3, INT64_MAX, "item 3");
    REFUSED_ENTRY(int64_t, n_candidates, 1, 1, "item 1");
    REFUSED_ENTRY(int64_t, n_candidates, 1, 0, "item 1");
    REFUSED_ENTRY(int64_t, n_candidates, 0, -4, "item 0");
    REFUSED_ENTRY(int64_t, n_candidates, 3, INT64_MAX, "item 3");
    REFUSED_ENTRY(int64_t, candidate_lengths, 5, 0, "item 1");
    REFUSED_ENTRY(int64_t, candidate_lengths, 8, -3, "item 2");
    REFUSED_ENTRY(int64_t, candidate_lengths, 10, INT64_MAX, "item 3");
    REFUSED_ENTRY(int64_t, answers, 0, 4, "item 0");
    REFUSED_ENTRY(int64_t, answers, 3, -1, "item 3");
    REFUSED_ENTRY(int64_t, answers, 2, INT64_MIN, "item 2");
    REFUSED_ENTRY(int32_t, context_ids, 4, -2, "item 1");
    REFUSED_ENTRY(int32_t, candidate_ids, 9, -7, "item 2");

    CHECK_OK(prune_data_create_choices(&choices, &data));
    CHECK_FAILS(prune_model_evaluate_choices(f->model, data, NULL, 0, NULL, got, CANDIDATES - 1, &count),
                PRUNE_ERR_BUFFER, "11");
    CHECK(count == CANDIDATES && got[0] == 7.0);
    CHECK_FAILS(prune_model_evaluate_choices(f->model, data, masks[0], 3, NULL, got, CANDIDATES, &count),
                PRUNE_ERR_ARGUMENT, "4");
    CHECK_FAILS(prune_model_evaluate_choices(f->model, f->data, NULL, 0, NULL, got, CANDIDATES, &count), PRUNE_ERR_DATA,
                "choice");
    CHECK(got[0] == 7.0);
    prune_data_release(data);
    { /* an id outside the vocabulary is found when data and model meet */
        int32_t changed[sizeof candidate_ids / sizeof candidate_ids[0]];
        memcpy(changed, candidate_ids, sizeof candidate_ids);
        changed[3] = V;
        choices.candidate_ids = changed;
        CHECK_OK(prune_data_create_choices(&choices, &data));
        CHECK_FAILS(prune_model_evaluate_choices(f->model, data, NULL, 0, NULL, got, CANDIDATES, &count),
                    PRUNE_ERR_DATA, "32");
        prune_data_release(data);
    }
}

/* The arrays are copied: changing them afterwards changes nothing. */
static void copied(const fixture *f)
{
    int32_t ids[sizeof candidate_ids / sizeof candidate_ids[0]];
    prune_choices choices = items(0);
    prune_data *data = NULL;
    double before[CANDIDATES], after[CANDIDATES];
    memcpy(ids, candidate_ids, sizeof ids);
    choices.candidate_ids = ids;
    CHECK_OK(prune_data_create_choices(&choices, &data));
    CHECK_OK(prune_model_evaluate_choices(f->model, data, NULL, 0, NULL, before, CANDIDATES, NULL));
    memset(ids, 0x7F, sizeof ids);
    CHECK_OK(prune_model_evaluate_choices(f->model, data, NULL, 0, NULL, after, CANDIDATES, NULL));
    CHECK(memcmp(before, after, sizeof before) == 0);
    prune_data_release(data);
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    against_reference(&f);
    as_plain_data(&f);
    ties(&f);
    refusals(&f);
    copied(&f);
    fixture_close(&f);
    return check_report();
}
