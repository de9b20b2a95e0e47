/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of every metric and granularity, against computations in double. */
#include "check.h"
#include "fixture.h"
#include "metrics.h"

enum {
    ALL_WITH_DATA = PRUNE_METRIC_ALL_OF_STATES
};

static size_t units_of(prune_granularity granularity)
{
    return granularity == PRUNE_GRANULARITY_SUBLAYER ? FIXTURE_SUBLAYERS : FIXTURE_BLOCKS;
}

static void against_reference(const fixture *f)
{
    static const uint8_t some[4] = { 1, 0, 1, 1 };
    static const uint8_t *const masks[2] = { NULL, some };
    double expected[24], got[24];
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_granularity granularity;
    int32_t relative_to, tokens;
    size_t m, i, count;
    options.metrics = ALL_WITH_DATA;
    for (granularity = 0; granularity < 4; granularity++) {
        for (relative_to = 0; relative_to < 2; relative_to++) {
            for (tokens = 0; tokens < 2; tokens++) {
                for (m = 0; m < 2; m++) {
                    options.granularity = granularity;
                    options.relative_to = relative_to;
                    options.tokens = tokens;
                    options.keep = masks[m];
                    options.n_keep = masks[m] == NULL ? 0 : 4;
                    expected_scores(f, FIXTURE_SEQUENCES, granularity, masks[m], relative_to, tokens, expected);
                    CHECK_OK(prune_model_score(f->model, f->data, &options, got, 24, &count));
                    CHECK(count == 6 * units_of(granularity));
                    for (i = 0; i < count; i++) {
                        CHECK_NEAR(got[i], expected[i], 2e-5 * (1.0 + fabs(expected[i])));
                    }
                }
            }
        }
    }
}

/* Rows come in ascending order of the bits, whatever is asked for together. */
static void rows(const fixture *f)
{
    double all[10 * 4], some[2 * 4];
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    size_t count, i;
    options.metrics = PRUNE_METRIC_ALL;
    CHECK_OK(prune_model_score(f->model, f->data, &options, all, 40, &count));
    CHECK(count == 40);
    options.metrics = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS | PRUNE_METRIC_L1;
    CHECK_OK(prune_model_score(f->model, f->data, &options, some, 8, &count));
    CHECK(count == 8);
    for (i = 0; i < 4; i++) {
        CHECK(some[i] == all[2 * 4 + i]);
        CHECK(some[4 + i] == all[7 * 4 + i]);
    }
    /* The defaults: every static metric, by sublayer. */
    CHECK_OK(prune_model_score(f->model, f->data, NULL, all, 40, &count));
    CHECK(count == 28);
    CHECK(all[2 * 4 + 1] == some[1]);
}

static double sum_of_magnitudes(const fixture *f, int64_t block, int is_feed_forward)
{
    static const char *const parts[7] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                          "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                          "mlp.down_proj" };
    static const int sizes[7] = { 256, 128, 128, 256, 384, 384, 384 };
    double sum = 0.0;
    int part, i;
    for (part = is_feed_forward ? 4 : 0; part < (is_feed_forward ? 7 : 4); part++) {
        const float *weights = tiny_model_weights(&f->weights, block, parts[part]);
        for (i = 0; i < sizes[part]; i++) {
            sum += fabs((double)weights[i]);
        }
    }
    return sum;
}

static void magnitude(const fixture *f)
{
    static const uint8_t none[4] = { 0, 0, 0, 0 };
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    double got[4];
    int64_t i;
    options.metrics = PRUNE_METRIC_MAGNITUDE;
    CHECK_OK(prune_model_score(f->model, NULL, &options, got, 4, NULL)); /* needs no data */
    for (i = 0; i < 4; i++) {
        CHECK_NEAR(got[i], sum_of_magnitudes(f, i / 2, i % 2 == 1), 1e-9 * got[i]);
    }
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    options.keep = none; /* weights that are there count, removed or not */
    options.n_keep = 4;
    CHECK_OK(prune_model_score(f->model, f->data, &options, got, 2, NULL));
    CHECK_NEAR(got[1], sum_of_magnitudes(f, 1, 0) + sum_of_magnitudes(f, 1, 1), 1e-9 * got[1]);
    options.metrics = PRUNE_METRIC_MAGNITUDE | PRUNE_METRIC_COSINE;
    CHECK_FAILS(prune_model_score(f->model, NULL, &options, got, 4, NULL), PRUNE_ERR_ARGUMENT, "data");
}

/* A matrix is worth what it scores, whoever else is scored with it; nothing without a token to predict. */
static void taylor(const fixture *f)
{
    static const uint8_t some[4] = { 1, 1, 0, 1 };
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_granularity granularity;
    double sublayers[4], got[4];
    int64_t length = 1;
    int32_t token = 3;
    prune_data *lone = NULL;
    size_t u;
    options.metrics = PRUNE_METRIC_TAYLOR;
    options.keep = some;
    options.n_keep = 4;
    CHECK_OK(prune_model_score(f->model, f->data, &options, sublayers, 4, NULL));
    CHECK(sublayers[0] > 0.0 && sublayers[1] > 0.0 && sublayers[2] == 0.0 && sublayers[3] > 0.0);
    for (granularity = PRUNE_GRANULARITY_BLOCK; granularity <= PRUNE_GRANULARITY_FEED_FORWARD; granularity++) {
        options.granularity = granularity;
        CHECK_OK(prune_model_score(f->model, f->data, &options, got, 2, NULL));
        for (u = 0; u < 2; u++) {
            double attention = granularity == PRUNE_GRANULARITY_FEED_FORWARD ? 0.0 : sublayers[2 * u];
            double feed_forward = granularity == PRUNE_GRANULARITY_ATTENTION ? 0.0 : sublayers[2 * u + 1];
            CHECK_NEAR(got[u], attention + feed_forward, 1e-12 * (1.0 + got[u]));
        }
    }
    CHECK_FAILS(prune_model_score(f->model, NULL, &options, got, 2, NULL), PRUNE_ERR_ARGUMENT, "taylor");
    CHECK_OK(prune_data_create(&token, &length, 1, NULL, &lone));
    CHECK_FAILS(prune_model_score(f->model, lone, &options, got, 2, NULL), PRUNE_ERR_DATA, "predict");
    prune_data_release(lone);
}

/* What a unit costs when it is left out, by evaluating without it. */
static void leave_one_out(const fixture *f)
{
    static const uint8_t start[2][4] = { { 1, 1, 1, 1 }, { 1, 1, 0, 1 } };
    static float with[FIXTURE_TOKENS * FIXTURE_VOCABULARY], without[FIXTURE_TOKENS * FIXTURE_VOCABULARY];
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_granularity granularity;
    size_t m, u, k, v;
    double got[2 * 4];
    options.metrics = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS | PRUNE_METRIC_LEAVE_ONE_OUT_LOGIT_L2;
    for (granularity = 0; granularity < 4; granularity++) {
        size_t units = units_of(granularity);
        options.granularity = granularity;
        for (m = 0; m < 2; m++) {
            prune_evaluation whole;
            options.keep = start[m];
            options.n_keep = 4;
            CHECK_OK(prune_model_score(f->model, f->data, &options, got, 8, NULL));
            CHECK_OK(prune_model_evaluate(f->model, f->data, start[m], 1, 4, NULL, &whole));
            CHECK_OK(prune_model_logits(f->model, f->data, start[m], 4, NULL, with, 512, NULL));
            for (u = 0; u < units; u++) {
                uint8_t keep[4];
                prune_evaluation left;
                double sum = 0.0;
                int64_t s, t = 0;
                memcpy(keep, start[m], 4);
                if (granularity == PRUNE_GRANULARITY_SUBLAYER) {
                    keep[u] = 0;
                }
                if (granularity == PRUNE_GRANULARITY_BLOCK || granularity == PRUNE_GRANULARITY_ATTENTION) {
                    keep[2 * u] = 0;
                }
                if (granularity == PRUNE_GRANULARITY_BLOCK || granularity == PRUNE_GRANULARITY_FEED_FORWARD) {
                    keep[2 * u + 1] = 0;
                }
                CHECK_OK(prune_model_evaluate(f->model, f->data, keep, 1, 4, NULL, &left));
                CHECK_NEAR(got[u], left.loss - whole.loss, 1e-6);
                CHECK_OK(prune_model_logits(f->model, f->data, keep, 4, NULL, without, 512, NULL));
                for (s = 0; s < FIXTURE_SEQUENCES; s++) {
                    int64_t end = t + fixture_lengths[s];
                    for (; t < end - 1; t++) { /* the last token of a sequence predicts nothing */
                        double squares = 0.0;
                        for (v = 0; v < FIXTURE_VOCABULARY; v++) {
                            k = (size_t)t * FIXTURE_VOCABULARY + v;
                            squares += ((double)with[k] - (double)without[k]) * ((double)with[k] - (double)without[k]);
                        }
                        sum += sqrt(squares);
                    }
                    t = end;
                }
                CHECK_NEAR(got[units + u], sum / FIXTURE_PREDICTED, 1e-5 * (1.0 + sum));
                if (memcmp(keep, start[m], 4) == 0) { /* wholly removed already */
                    CHECK(got[u] == 0.0 && got[units + u] == 0.0);
                }
            }
        }
    }
}

/* A unit that is wholly removed scores 0 in every metric that needs data; so does the model's own mask. */
static void removed_units(fixture *f)
{
    static const uint8_t some[4] = { 1, 1, 0, 0 };
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    double got[10 * 2];
    size_t m;
    options.metrics = PRUNE_METRIC_ALL;
    options.granularity = PRUNE_GRANULARITY_BLOCK;
    CHECK_OK(prune_model_mask_set(f->model, some, 4));
    CHECK_OK(prune_model_score(f->model, f->data, &options, got, 20, NULL));
    CHECK_OK(prune_model_mask_set(f->model, NULL, 0));
    for (m = 0; m < 10; m++) {
        CHECK(got[m * 2] > 0.0 || m == 7); /* leaving one out may lower the loss */
        CHECK(m == 6 ? got[m * 2 + 1] > 0.0 : got[m * 2 + 1] == 0.0);
    }
}

static void refusals(const fixture *f)
{
    static const uint8_t two[4] = { 1, 1, 1, 2 };
    double got[28] = { 7.0 };
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    size_t count = 0;
#define REFUSED(field, value, part)                                                                     \
    do {                                                                                                \
        prune_score_options o = options;                                                                \
        o.field = value;                                                                                \
        CHECK_FAILS(prune_model_score(f->model, f->data, &o, got, 28, NULL), PRUNE_ERR_ARGUMENT, part); \
    } while (0)
    REFUSED(granularity, 4, "granularity");
    REFUSED(granularity, -1, "granularity");
    REFUSED(metrics, 1024, "metrics");
    REFUSED(metrics, UINT64_MAX, "metrics");
    REFUSED(relative_to, 2, "relative_to");
    REFUSED(relative_to, -1, "relative_to");
    REFUSED(tokens, 2, "tokens");
    REFUSED(batch_tokens, -1, "batch_tokens");
    REFUSED(n_keep, 4, "keep"); /* keep is NULL */
    options.keep = two;
    REFUSED(n_keep, 4, "2");
    REFUSED(n_keep, 3, "4");
    REFUSED(n_keep, 0, "keep");
    options.keep = NULL;
    CHECK_FAILS(prune_model_score(f->model, f->data, NULL, got, 27, &count), PRUNE_ERR_BUFFER, "28");
    CHECK(count == 28 && got[0] == 7.0);
}

static void batches(const fixture *f)
{
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    double whole[40], parts[40];
    size_t i;
    options.metrics = PRUNE_METRIC_ALL;
    CHECK_OK(prune_model_score(f->model, f->data, &options, whole, 40, NULL));
    for (options.batch_tokens = 1; options.batch_tokens < 14; options.batch_tokens += 4) {
        CHECK_OK(prune_model_score(f->model, f->data, &options, parts, 40, NULL));
        for (i = 0; i < 40; i++) {
            CHECK_NEAR(parts[i], whole[i], 1e-5 * (1.0 + fabs(whole[i])));
        }
    }
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    against_reference(&f);
    rows(&f);
    magnitude(&f);
    taylor(&f);
    leave_one_out(&f);
    removed_units(&f);
    refusals(&f);
    batches(&f);
    fixture_close(&f);
    return check_report();
}
