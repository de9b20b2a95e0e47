/* SPDX-License-Identifier: Apache-2.0 */
/* Damages of masks against a plain computation in double; caps, references, and what the walk over masks computes. */
#include "check.h"
#include "fixture.h"
#include "reference.h"

enum {
    V = FIXTURE_VOCABULARY
};

static const uint8_t masks[6][FIXTURE_SUBLAYERS] = { { 1, 1, 1, 1 }, { 0, 1, 1, 1 }, { 1, 0, 0, 1 },
                                                     { 1, 1, 1, 0 }, { 0, 0, 0, 0 }, { 1, 0, 1, 0 } };

/* log softmax, in place */
static void log_softmax(double *logits)
{
    double largest = -INFINITY, sum = 0.0;
    int v;
    for (v = 0; v < V; v++) {
        largest = fmax(largest, logits[v]);
    }
    for (v = 0; v < V; v++) {
        sum += exp(logits[v] - largest);
    }
    for (v = 0; v < V; v++) {
        logits[v] -= largest + log(sum);
    }
}

/* One token's distance between two rows of logits. */
static double distance(prune_measure measure, const double *masked, const double *reference)
{
    double p[V], q[V], sum = 0.0;
    int v;
    memcpy(p, reference, sizeof p);
    memcpy(q, masked, sizeof q);
    if (measure == PRUNE_MEASURE_LOGIT_L2) {
        for (v = 0; v < V; v++) {
            sum += (p[v] - q[v]) * (p[v] - q[v]);
        }
        return sqrt(sum);
    }
    log_softmax(p);
    log_softmax(q);
    for (v = 0; v < V; v++) {
        double mean = log(0.5 * exp(p[v]) + 0.5 * exp(q[v]));
        sum += measure == PRUNE_MEASURE_KL ? exp(p[v]) * (p[v] - q[v])
                                           : 0.5 * exp(p[v]) * (p[v] - mean) + 0.5 * exp(q[v]) * (q[v] - mean);
    }
    return sum;
}

/* The measure of a mask; weights are one per token or NULL. */
static double expected(const fixture *f, prune_measure measure, const uint8_t *keep, const uint8_t *reference,
                       const float *weights)
{
    double logits[7 * V], other[7 * V], sum = 0.0, total = 0.0;
    int64_t start = 0, s, t;
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        reference_run(&f->weights, fixture_ids + start, fixture_lengths[s], keep, NULL, logits);
        reference_run(&f->weights, fixture_ids + start, fixture_lengths[s], reference, NULL, other);
        for (t = 0; t + 1 < fixture_lengths[s]; t++) {
            double weight = weights == NULL ? 1.0 : (double)weights[start + t + 1];
            sum +=
                weight * (measure == PRUNE_MEASURE_LOSS ? reference_loss(logits + t * V, V, fixture_ids[start + t + 1])
                                                        : distance(measure, logits + t * V, other + t * V));
            total += weight;
        }
        start += fixture_lengths[s];
    }
    return sum / total;
}

static void against_reference(const fixture *f)
{
    static const float weights[FIXTURE_TOKENS] = { 3, 0, 2, 0.5f, 0, 0, 1, 9, 0, 0, 0, 0, 9, 1, 0, 0.25f };
    static const uint8_t other[FIXTURE_SUBLAYERS] = { 1, 1, 0, 1 };
    prune_data_options data_options = PRUNE_DATA_OPTIONS_INIT;
    prune_data *weighted = NULL;
    prune_measure measure;
    size_t m;
    data_options.token_weights = weights;
    CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, &data_options, &weighted));
    for (measure = PRUNE_MEASURE_LOSS; measure <= PRUNE_MEASURE_JS; measure++) {
        prune_coalition_options options = PRUNE_COALITION_OPTIONS_INIT;
        double plain[6], against[6], with_weights[6];
        int failures = check_n_failed;
        options.measure = measure;
        CHECK_OK(prune_model_damages(f->model, f->data, masks[0], 6, 4, &options, plain, NULL));
        CHECK_OK(prune_model_damages(f->model, weighted, masks[0], 6, 4, &options, with_weights, NULL));
        options.reference = other;
        options.n_reference = 4;
        CHECK_OK(prune_model_damages(f->model, f->data, masks[0], 6, 4, &options, against, NULL));
        for (m = 0; m < 6; m++) {
            CHECK_NEAR(plain[m], expected(f, measure, masks[m], NULL, NULL), 3e-5);
            CHECK_NEAR(with_weights[m], expected(f, measure, masks[m], NULL, weights), 3e-5);
            CHECK_NEAR(against[m], expected(f, measure, masks[m], other, NULL), 3e-5);
            CHECK(measure != PRUNE_MEASURE_JS || plain[m] <= log(2.0));
        }
        CHECK(measure == PRUNE_MEASURE_LOSS || fabs(plain[0]) <= 1e-6); /* no distance to itself */
        if (check_n_failed != failures) {
            printf("    measure %d\n", (int)measure);
        }
    }
    prune_data_release(weighted);
}

/* The loss is that of prune_model_evaluate(); the model's mask stands in for none. */
static void other_doors(fixture *f)
{
    prune_evaluation evaluations[6];
    double values[6], of_model;
    size_t m;
    CHECK_OK(prune_model_evaluate(f->model, f->data, masks[0], 6, 4, NULL, evaluations));
    CHECK_OK(prune_model_damages(f->model, f->data, masks[0], 6, 4, NULL, values, NULL));
    for (m = 0; m < 6; m++) {
        CHECK_NEAR(values[m], evaluations[m].loss, 1e-12);
    }
    CHECK_OK(prune_model_mask_set(f->model, masks[2], 4));
    CHECK_OK(prune_model_damages(f->model, f->data, NULL, 1, 0, NULL, &of_model, NULL));
    CHECK(of_model == values[2]);
    /* The reference is everything kept, whatever the model's mask is. */
    {
        prune_coalition_options options = PRUNE_COALITION_OPTIONS_INIT;
        options.measure = PRUNE_MEASURE_KL;
        CHECK_OK(prune_model_damages(f->model, f->data, NULL, 1, 0, &options, &of_model, NULL));
        CHECK_NEAR(of_model, expected(f, PRUNE_MEASURE_KL, masks[2], NULL, NULL), 3e-5);
    }
    CHECK_OK(prune_model_mask_set(f->model, NULL, 0));
}

static void caps(const fixture *f)
{
    prune_coalition_options options = PRUNE_COALITION_OPTIONS_INIT;
    double plain[6], values[6], middle;
    size_t m, above = 0;
    CHECK_OK(prune_model_damages(f->model, f->data, masks[0], 6, 4, NULL, plain, NULL));
    middle = 0.5 * (plain[0] + plain[4]);
    options.cap = PRUNE_CAP_NONE;
    CHECK_OK(prune_model_damages(f->model, f->data, masks[0], 6, 4, &options, values, NULL));
    CHECK(memcmp(values, plain, sizeof plain) == 0); /* here the default is no cap, unlike in Shapley calls */
    options.cap = middle;
    CHECK_OK(prune_model_damages(f->model, f->data, masks[0], 6, 4, &options, values, NULL));
    for (m = 0; m < 6; m++) {
        CHECK(values[m] == (plain[m] > middle ? middle : plain[m]));
        above += plain[m] > middle;
    }
    CHECK(above >= 1 && above <= 5); /* the cap cuts some, and leaves some */
    options.cap = 1e300;
    CHECK_OK(prune_model_damages(f->model, f->data, masks[0], 6, 4, &options, values, NULL));
    CHECK(memcmp(values, plain, sizeof plain) == 0);
}

/*
 * What the walk computes, on data of one batch. Leave-one-out over n sublayers shares what comes before the one left
 * out: n + n (n - 1) / 2 sublayers instead of n + n (n - 1). All 2^B masks of B blocks: 2 (2^B - 1) instead of B 2^B.
 */
static void counters(const fixture *f)
{
    static const int64_t one_sequence[1] = { FIXTURE_TOKENS };
    enum {
        B = 4,
        N = 2 * B
    };
    fixture deep;
    tiny_shape shape = tiny_default_shape();
    prune_data *data = NULL;
    uint8_t left_out[(N + 1) * N], blocks[(1 << B) * N];
    double values[1 << B], again[1 << B];
    prune_walk_report report = PRUNE_WALK_REPORT_INIT, tight = PRUNE_WALK_REPORT_INIT;
    prune_coalition_options options = PRUNE_COALITION_OPTIONS_INIT;
    size_t m, u;
    shape.n_blocks = B;
    fixture_open_shape(&deep, "deep", shape);
    REQUIRE(deep.model != NULL);
    CHECK_OK(prune_data_create(fixture_ids, one_sequence, 1, NULL, &data));
    memset(left_out, 1, sizeof left_out);
    for (u = 0; u < N; u++) {
        left_out[(u + 1) * N + u] = 0;
    }
    for (m = 0; m < 1 << B; m++) {
        for (u = 0; u < N; u++) {
            blocks[m * N + u] = (uint8_t)(m >> (u / 2) & 1);
        }
    }
    CHECK_OK(prune_model_damages(deep.model, data, left_out, N + 1, N, NULL, values, &report));
    CHECK(report.sublayers_computed == N + N * (N - 1) / 2);
    CHECK(report.sublayers_naive == N + N * (N - 1));
    CHECK(report.tokens == FIXTURE_TOKENS && report.seconds >= 0.0 && report.seconds < 600.0);
    CHECK(report.struct_size == sizeof report);
    CHECK_OK(prune_model_damages(deep.model, data, blocks, 1 << B, N, NULL, values, &report));
    CHECK(report.sublayers_computed == 2 * ((1 << B) - 1));
    CHECK(report.sublayers_naive == B * (1 << B));

    /* With no memory for held states they are computed again: the same values, for more work. */
    options.memory_budget = 1;
    CHECK_OK(prune_model_damages(deep.model, data, blocks, 1 << B, N, &options, again, &tight));
    CHECK(memcmp(values, again, sizeof values) == 0);
    CHECK(tight.sublayers_computed > report.sublayers_computed);
    CHECK(tight.sublayers_computed <= tight.sublayers_naive && tight.sublayers_naive == report.sublayers_naive);

    /* One batch more, the same again. The same mask twice is computed once. */
    options.memory_budget = 0;
    options.batch_tokens = 1;
    CHECK_OK(prune_model_damages(deep.model, deep.data, left_out, N + 1, N, &options, values, &report));
    CHECK(report.sublayers_computed == FIXTURE_SEQUENCES * (N + N * (N - 1) / 2));
    memset(left_out, 1, sizeof left_out);
    CHECK_OK(prune_model_damages(deep.model, data, left_out, N + 1, N, NULL, values, &report));
    CHECK(report.sublayers_computed == N && report.sublayers_naive == (N + 1) * N);
    CHECK(values[0] == values[N]);
    CHECK_OK(prune_model_damages(f->model, data, masks[4], 1, 4, NULL, values, &report));
    CHECK(report.sublayers_computed == 0 && report.sublayers_naive == 0);
    prune_data_release(data);
    fixture_close(&deep);
}

static void refusals(const fixture *f)
{
    static const uint8_t two[4] = { 1, 1, 2, 1 };
    prune_coalition_options options = PRUNE_COALITION_OPTIONS_INIT;
    double values[6] = { 7.0, 7.0, 7.0, 7.0, 7.0, 7.0 };
    int32_t bad;
#define WITH(field, value, part)                                                                                  \
    do {                                                                                                          \
        prune_coalition_options o = PRUNE_COALITION_OPTIONS_INIT;                                                 \
        o.field = value;                                                                                          \
        CHECK_FAILS(prune_model_damages(f->model, f->data, masks[0], 6, 4, &o, values, NULL), PRUNE_ERR_ARGUMENT, \
                    part);                                                                                        \
    } while (0)
    for (bad = -1; bad <= 6; bad += 7) {
        WITH(measure, bad, "measure");
    }
    WITH(cap, -2.0, "cap");
    WITH(cap, NAN, "cap");
    WITH(batch_tokens, -1, "batch_tokens");
    WITH(memory_budget, -1, "memory_budget");
    WITH(memory_budget, INT64_MIN, "memory_budget");
    WITH(n_reference, 4, "reference");
    options.reference = two;
    options.n_reference = 4;
    CHECK_FAILS(prune_model_damages(f->model, f->data, masks[0], 6, 4, &options, values, NULL), PRUNE_ERR_ARGUMENT,
                "2");
    options.n_reference = 3;
    CHECK_FAILS(prune_model_damages(f->model, f->data, masks[0], 6, 4, &options, values, NULL), PRUNE_ERR_ARGUMENT,
                "reference");
    CHECK_FAILS(prune_model_damages(f->model, f->data, two, 1, 4, NULL, values, NULL), PRUNE_ERR_ARGUMENT, "2");
    CHECK_FAILS(prune_model_damages(f->model, f->data, two, 1, 3, NULL, values, NULL), PRUNE_ERR_ARGUMENT, "4");
    CHECK_FAILS(prune_model_damages(f->model, f->data, two, 0, 4, NULL, values, NULL), PRUNE_ERR_ARGUMENT, "n_masks");
    CHECK_FAILS(prune_model_damages(f->model, f->data, two, SIZE_MAX / 2, 4, NULL, values, NULL), PRUNE_ERR_ARGUMENT,
                "n_masks");
    options = (prune_coalition_options)PRUNE_COALITION_OPTIONS_INIT;
    for (bad = PRUNE_MEASURE_CHOICE_ERROR; bad <= PRUNE_MEASURE_CHOICE_LOSS; bad++) {
        options.measure = bad;
        CHECK_FAILS(prune_model_damages(f->model, f->data, masks[0], 6, 4, &options, values, NULL), PRUNE_ERR_DATA,
                    "choice");
    }
    CHECK(values[0] == 7.0 && values[5] == 7.0);
}

int main(void)
{
    fixture f, untied;
    tiny_shape shape = { 2, 16, 4, 2, 6, 24, 32, 0 };
    fixture_open(&f, "tiny");
    fixture_open_shape(&untied, "untied", shape);
    REQUIRE(f.model != NULL && f.data != NULL && untied.model != NULL && untied.data != NULL);
    against_reference(&f);
    against_reference(&untied);
    other_doors(&f);
    caps(&f);
    counters(&f);
    refusals(&f);
    fixture_close(&f);
    fixture_close(&untied);
    return check_report();
}
