/* SPDX-License-Identifier: Apache-2.0 */
/* Token sequences: what is taken in, what is refused, and what is checked when they meet a model. */
#include "check.h"
#include "fixture.h"

static prune_data *const untouched = (prune_data *)(uintptr_t)0x10;

static void refused(const int32_t *ids, const int64_t *lengths, size_t n, const float *weights, prune_status expected,
                    const char *part)
{
    prune_data_options options = PRUNE_DATA_OPTIONS_INIT;
    prune_data *data = untouched;
    options.token_weights = weights;
    CHECK_FAILS(prune_data_create(ids, lengths, n, &options, &data), expected, part);
    CHECK(data == NULL);
}

static void data_is_copied_and_counted(void)
{
    int32_t ids[5] = { 1, 2, 3, 4, 5 };
    int64_t lengths[2] = { 2, 3 };
    int64_t sequences = 0, tokens = 0;
    prune_data *data = NULL;
    CHECK_OK(prune_data_create(ids, lengths, 2, NULL, &data));
    CHECK_OK(prune_data_info(data, &sequences, &tokens));
    CHECK(sequences == 2 && tokens == 5);
    CHECK_OK(prune_data_info(data, NULL, &tokens));
    CHECK_OK(prune_data_info(data, &sequences, NULL));
    CHECK_OK(prune_data_info(data, NULL, NULL));
    prune_data_release(data);
}

static void data_refusals(void)
{
    static const int32_t ids[4] = { 1, 2, 3, 4 };
    static const int32_t negative[4] = { 1, 2, -3, 4 };
    static const int64_t lengths[2] = { 2, 2 };
    static const int64_t zero[2] = { 4, 0 };
    static const int64_t minus[2] = { 4, -1 };
    static const int64_t huge[2] = { INT64_MAX, INT64_MAX };
    float weights[4] = { 1.0f, 1.0f, 1.0f, 1.0f };
    refused(ids, lengths, 0, NULL, PRUNE_ERR_DATA, "sequence");
    refused(ids, zero, 2, NULL, PRUNE_ERR_DATA, "sequence 1");
    refused(ids, minus, 2, NULL, PRUNE_ERR_DATA, "sequence 1");
    refused(negative, lengths, 2, NULL, PRUNE_ERR_DATA, "-3");
    refused(ids, huge, 2, NULL, PRUNE_ERR_DATA, "sequence");
    weights[2] = NAN;
    refused(ids, lengths, 2, weights, PRUNE_ERR_DATA, "weight");
    weights[2] = INFINITY;
    refused(ids, lengths, 2, weights, PRUNE_ERR_DATA, "weight");
    weights[2] = -0.5f;
    refused(ids, lengths, 2, weights, PRUNE_ERR_DATA, "weight");
}

/* The arrays are copied: changing them afterwards changes nothing. */
static void copied(const fixture *f)
{
    int32_t ids[FIXTURE_TOKENS];
    int64_t lengths[FIXTURE_SEQUENCES];
    float weights[FIXTURE_TOKENS];
    prune_data_options options = PRUNE_DATA_OPTIONS_INIT;
    prune_data *data = NULL;
    prune_evaluation a, b;
    size_t i;
    memcpy(ids, fixture_ids, sizeof ids);
    memcpy(lengths, fixture_lengths, sizeof lengths);
    for (i = 0; i < FIXTURE_TOKENS; i++) {
        weights[i] = 1.0f;
    }
    options.token_weights = weights;
    CHECK_OK(prune_data_create(ids, lengths, FIXTURE_SEQUENCES, &options, &data));
    memset(ids, 0xFF, sizeof ids);
    memset(lengths, 0xFF, sizeof lengths);
    memset(weights, 0xFF, sizeof weights);
    CHECK_OK(prune_model_evaluate(f->model, data, NULL, 1, 0, NULL, &a));
    CHECK_OK(prune_model_evaluate(f->model, f->data, NULL, 1, 0, NULL, &b));
    CHECK(a.loss == b.loss && a.weight == b.weight && a.tokens == b.tokens);
    prune_data_release(data);
}

/* An id outside the vocabulary is found when data and model meet, in every call that takes both. */
static void outside_vocabulary(const fixture *f)
{
    static const int32_t ids[3] = { 1, FIXTURE_VOCABULARY, 2 };
    static const int64_t length = 3;
    static float floats[3 * FIXTURE_VOCABULARY];
    double scores[64];
    prune_data *data = NULL;
    prune_statistics *statistics = NULL;
    prune_evaluation evaluation;
    CHECK_OK(prune_data_create(ids, &length, 1, NULL, &data));
    CHECK_OK(prune_statistics_create(FIXTURE_BLOCKS, NULL, &statistics));
    CHECK_FAILS(prune_model_evaluate(f->model, data, NULL, 1, 0, NULL, &evaluation), PRUNE_ERR_DATA, "32");
    CHECK_FAILS(prune_model_score(f->model, data, NULL, scores, 64, NULL), PRUNE_ERR_DATA, "32");
    CHECK_FAILS(prune_statistics_collect(statistics, f->model, data, NULL), PRUNE_ERR_DATA, "32");
    CHECK_FAILS(prune_model_token_losses(f->model, data, NULL, 0, NULL, floats, 3, NULL), PRUNE_ERR_DATA, "32");
    CHECK_FAILS(prune_model_logits(f->model, data, NULL, 0, NULL, floats, 96, NULL), PRUNE_ERR_DATA, "32");
    CHECK_FAILS(prune_model_hidden_states(f->model, data, NULL, 0, 0, NULL, floats, 96, NULL), PRUNE_ERR_DATA, "32");
    CHECK_OK(prune_model_evaluate(f->model, f->data, NULL, 1, 0, NULL, &evaluation));
    prune_statistics_release(statistics);
    prune_data_release(data);
}

/* Nothing to predict: sequences of one token, or weights that are all zero. Static metrics work all the same. */
static void nothing_to_predict(const fixture *f)
{
    static const int32_t ids[3] = { 1, 2, 3 };
    static const int64_t ones[3] = { 1, 1, 1 };
    static const int64_t whole[1] = { 3 };
    static const float zeros[3] = { 5.0f, 0.0f, 0.0f }; /* the first token's weight is unused */
    prune_data_options options = PRUNE_DATA_OPTIONS_INIT;
    prune_data *single = NULL, *unweighted = NULL;
    prune_evaluation evaluation = { 7.0, 7.0, 7.0, 7.0, 7, 7 };
    double scores[64];
    options.token_weights = zeros;
    CHECK_OK(prune_data_create(ids, ones, 3, NULL, &single));
    CHECK_OK(prune_data_create(ids, whole, 1, &options, &unweighted));
    CHECK_FAILS(prune_model_evaluate(f->model, single, NULL, 1, 0, NULL, &evaluation), PRUNE_ERR_DATA, "predict");
    CHECK_FAILS(prune_model_evaluate(f->model, unweighted, NULL, 1, 0, NULL, &evaluation), PRUNE_ERR_DATA, "predict");
    CHECK(evaluation.loss == 7.0 && evaluation.tokens == 7); /* outputs are left as they were */
    CHECK_OK(prune_model_score(f->model, single, NULL, scores, 64, NULL));
    CHECK_OK(prune_model_score(f->model, unweighted, NULL, scores, 64, NULL));
    prune_data_release(single);
    prune_data_release(unweighted);
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    data_is_copied_and_counted();
    data_refusals();
    copied(&f);
    outside_vocabulary(&f);
    nothing_to_predict(&f);
    fixture_close(&f);
    return check_report();
}
