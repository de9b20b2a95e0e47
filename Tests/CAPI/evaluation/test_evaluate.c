/* SPDX-License-Identifier: Apache-2.0 */
/* Losses, perplexities, logits and hidden states, against a plain computation in double. */
#include "check.h"
#include "fixture.h"
#include "reference.h"

static const uint8_t masks[5][FIXTURE_SUBLAYERS] = {
    { 1, 1, 1, 1 }, { 0, 1, 1, 1 }, { 1, 0, 0, 1 }, { 1, 1, 1, 0 }, { 0, 0, 0, 0 }
};

/* Loss per token of the fixture's data; 0 for the first of each sequence. */
static void expected_losses(const fixture *f, const uint8_t *keep, double *losses)
{
    double logits[FIXTURE_TOKENS * FIXTURE_VOCABULARY];
    int64_t start = 0, s, t;
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        reference_run(&f->weights, fixture_ids + start, fixture_lengths[s], keep, NULL, logits);
        losses[start] = 0.0;
        for (t = 1; t < fixture_lengths[s]; t++) {
            losses[start + t] =
                reference_loss(logits + (t - 1) * FIXTURE_VOCABULARY, FIXTURE_VOCABULARY, fixture_ids[start + t]);
        }
        start += fixture_lengths[s];
    }
}

static void against_reference(const fixture *f)
{
    double losses[FIXTURE_TOKENS];
    float got[FIXTURE_TOKENS];
    size_t m, count;
    int64_t s, t;
    for (m = 0; m < 5; m++) {
        double sum = 0.0, perplexities = 0.0;
        int64_t start = 0;
        prune_evaluation e;
        expected_losses(f, masks[m], losses);
        CHECK_OK(prune_model_token_losses(f->model, f->data, masks[m], 4, NULL, got, FIXTURE_TOKENS, &count));
        CHECK(count == FIXTURE_TOKENS);
        for (s = 0; s < FIXTURE_SEQUENCES; s++) {
            double in_sequence = 0.0;
            CHECK(got[start] == 0.0f);
            for (t = 1; t < fixture_lengths[s]; t++) {
                CHECK_NEAR((double)got[start + t], losses[start + t], 2e-5);
                in_sequence += losses[start + t];
            }
            sum += in_sequence;
            perplexities += exp(in_sequence / (double)(fixture_lengths[s] - 1));
            start += fixture_lengths[s];
        }
        CHECK_OK(prune_model_evaluate(f->model, f->data, masks[m], 1, 4, NULL, &e));
        CHECK_NEAR(e.loss, sum / FIXTURE_PREDICTED, 1e-5);
        CHECK_NEAR(e.perplexity, exp(e.loss), 1e-12 * exp(e.loss));
        CHECK_NEAR(e.sequence_perplexity, perplexities / FIXTURE_SEQUENCES, 1e-4 * perplexities);
        CHECK(e.weight == FIXTURE_PREDICTED && e.tokens == FIXTURE_PREDICTED && e.sequences == FIXTURE_SEQUENCES);
    }
}

/* With every sublayer removed, what is left is embedding, final norm and (tied) head: computed here by hand. */
static void all_removed(const fixture *f)
{
    const float *embedding = f->weights.tensors[0].values;
    const float *norm = f->weights.tensors[f->weights.n_tensors - 1].values;
    double sum = 0.0;
    int64_t start = 0, s, t, v, i;
    prune_evaluation e;
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        for (t = 0; t + 1 < fixture_lengths[s]; t++) {
            const float *h = embedding + fixture_ids[start + t] * FIXTURE_HIDDEN;
            double squares = 0.0, total = 0.0, of_target = 0.0;
            for (i = 0; i < FIXTURE_HIDDEN; i++) {
                squares += (double)h[i] * (double)h[i];
            }
            for (v = 0; v < FIXTURE_VOCABULARY; v++) {
                double logit = 0.0;
                for (i = 0; i < FIXTURE_HIDDEN; i++) {
                    logit += (double)h[i] / sqrt(squares / FIXTURE_HIDDEN + 1e-5) * (double)norm[i] *
                             (double)embedding[v * FIXTURE_HIDDEN + i];
                }
                total += exp(logit);
                if (v == fixture_ids[start + t + 1]) {
                    of_target = logit;
                }
            }
            sum += log(total) - of_target;
        }
        start += fixture_lengths[s];
    }
    CHECK_OK(prune_model_evaluate(f->model, f->data, masks[4], 1, 4, NULL, &e));
    CHECK_NEAR(e.loss, sum / FIXTURE_PREDICTED, 1e-5);
}

static void curve(const fixture *f)
{
    prune_evaluation together[5], alone;
    prune_evaluate_options options = PRUNE_EVALUATE_OPTIONS_INIT;
    size_t m;
    CHECK_OK(prune_model_evaluate(f->model, f->data, masks[0], 5, 4, NULL, together));
    for (m = 0; m < 5; m++) {
        CHECK_OK(prune_model_evaluate(f->model, f->data, masks[m], 1, 4, NULL, &alone));
        CHECK(alone.loss == together[m].loss && alone.sequence_perplexity == together[m].sequence_perplexity);
    }
    /* The size of a batch changes rounding at most; a sequence longer than it is a batch of its own. */
    for (options.batch_tokens = 1; options.batch_tokens < 20; options.batch_tokens += 6) {
        CHECK_OK(prune_model_evaluate(f->model, f->data, masks[0], 1, 4, &options, &alone));
        CHECK_NEAR(alone.loss, together[0].loss, 1e-5);
    }
    options.batch_tokens = -1;
    CHECK_FAILS(prune_model_evaluate(f->model, f->data, masks[0], 1, 4, &options, &alone), PRUNE_ERR_ARGUMENT,
                "batch_tokens");
}

static void weights(const fixture *f)
{
    float w[FIXTURE_TOKENS] = { 3, 0, 2, 0.5f, 0, 0, 1, 9, 0, 0, 0, 0, 9, 1, 0, 0.25f };
    double losses[FIXTURE_TOKENS], sum, first, last;
    prune_data_options options = PRUNE_DATA_OPTIONS_INIT;
    prune_data *data = NULL;
    prune_evaluation e;
    options.token_weights = w;
    CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, &options, &data));
    expected_losses(f, masks[0], losses);
    first = 2.0 * losses[2] + 0.5 * losses[3] + losses[6];
    last = losses[13] + 0.25 * losses[15]; /* the second sequence has no weight but that of its first token */
    sum = first + last;
    CHECK_OK(prune_model_evaluate(f->model, data, NULL, 1, 0, NULL, &e));
    CHECK_NEAR(e.weight, 4.75, 1e-12);
    CHECK(e.tokens == 5 && e.sequences == 2);
    CHECK_NEAR(e.loss, sum / 4.75, 1e-5);
    CHECK_NEAR(e.sequence_perplexity, (exp(first / 3.5) + exp(last / 1.25)) / 2.0, 1e-4 * e.sequence_perplexity);
    prune_data_release(data);
}

static void logits_and_states(const fixture *f)
{
    static double states[(FIXTURE_SUBLAYERS + 1) * 7 * FIXTURE_HIDDEN], logits[7 * FIXTURE_VOCABULARY];
    float got_logits[FIXTURE_TOKENS * FIXTURE_VOCABULARY], got_states[FIXTURE_TOKENS * FIXTURE_HIDDEN];
    size_t m, count, i;
    for (m = 0; m < 5; m++) {
        int64_t start = 0, s, u;
        CHECK_OK(prune_model_logits(f->model, f->data, masks[m], 4, NULL, got_logits,
                                    FIXTURE_TOKENS * FIXTURE_VOCABULARY, &count));
        CHECK(count == FIXTURE_TOKENS * FIXTURE_VOCABULARY);
        for (s = 0; s < FIXTURE_SEQUENCES; s++) {
            int64_t n = fixture_lengths[s];
            double worst = 0.0;
            reference_run(&f->weights, fixture_ids + start, n, masks[m], states, logits);
            for (i = 0; i < (size_t)(n * FIXTURE_VOCABULARY); i++) {
                worst = fmax(worst, fabs((double)got_logits[(size_t)start * FIXTURE_VOCABULARY + i] - logits[i]));
            }
            CHECK_NEAR(worst, 0.0, 5e-5);
            for (u = 0; u <= FIXTURE_SUBLAYERS; u++) {
                CHECK_OK(prune_model_hidden_states(f->model, f->data, masks[m], 4, u, NULL, got_states,
                                                   FIXTURE_TOKENS * FIXTURE_HIDDEN, &count));
                CHECK(count == FIXTURE_TOKENS * FIXTURE_HIDDEN);
                worst = 0.0;
                for (i = 0; i < (size_t)(n * FIXTURE_HIDDEN); i++) {
                    double expected = states[(size_t)(u * n) * FIXTURE_HIDDEN + i];
                    worst = fmax(worst, fabs((double)got_states[(size_t)start * FIXTURE_HIDDEN + i] - expected));
                }
                CHECK_NEAR(worst, 0.0, 5e-5);
            }
            start += n;
        }
    }
}

static void refusals(const fixture *f)
{
    static const uint8_t two[8] = { 1, 1, 1, 1, 1, 1, 2, 1 };
    float floats[600];
    prune_evaluation e[2];
    size_t count = 0;
    memset(floats, 0, sizeof floats);
    CHECK_FAILS(prune_model_evaluate(f->model, f->data, two, 2, 4, NULL, e), PRUNE_ERR_ARGUMENT, "2");
    CHECK_FAILS(prune_model_evaluate(f->model, f->data, two, 1, 3, NULL, e), PRUNE_ERR_ARGUMENT, "4");
    CHECK_FAILS(prune_model_evaluate(f->model, f->data, two, SIZE_MAX / 2, 4, NULL, e), PRUNE_ERR_ARGUMENT, "n_masks");
    CHECK_FAILS(prune_model_evaluate(f->model, f->data, two, 0, 4, NULL, e), PRUNE_ERR_ARGUMENT, "n_masks");
    CHECK_FAILS(prune_model_token_losses(f->model, f->data, two + 4, 4, NULL, floats, 600, NULL), PRUNE_ERR_ARGUMENT,
                "2");
    CHECK_FAILS(prune_model_token_losses(f->model, f->data, NULL, 0, NULL, floats, 15, &count), PRUNE_ERR_BUFFER, "16");
    CHECK(count == 16 && floats[1] == 0.0f);
    CHECK_FAILS(prune_model_logits(f->model, f->data, NULL, 0, NULL, floats, 511, &count), PRUNE_ERR_BUFFER, "512");
    CHECK(count == 512 && floats[0] == 0.0f);
    CHECK_FAILS(prune_model_hidden_states(f->model, f->data, NULL, 0, 1, NULL, floats, 255, &count), PRUNE_ERR_BUFFER,
                "256");
    CHECK(count == 256 && floats[0] == 0.0f);
    CHECK_FAILS(prune_model_hidden_states(f->model, f->data, NULL, 0, 5, NULL, floats, 256, NULL), PRUNE_ERR_ARGUMENT,
                "sublayer");
    CHECK_FAILS(prune_model_hidden_states(f->model, f->data, NULL, 0, -1, NULL, floats, 256, NULL), PRUNE_ERR_ARGUMENT,
                "sublayer");
    CHECK_FAILS(prune_model_hidden_states(f->model, f->data, NULL, 0, INT64_MAX, NULL, floats, 256, NULL),
                PRUNE_ERR_ARGUMENT, "sublayer");
}

int main(void)
{
    fixture f, untied;
    tiny_shape shape = { 2, 16, 4, 2, 6, 24, 32, 0 }; /* queries wider than the hidden state, a head of its own */
    fixture_open(&f, "tiny");
    fixture_open_shape(&untied, "untied", shape);
    REQUIRE(f.model != NULL && f.data != NULL && untied.model != NULL && untied.data != NULL);
    against_reference(&f);
    against_reference(&untied);
    all_removed(&f);
    curve(&f);
    weights(&f);
    logits_and_states(&f);
    logits_and_states(&untied);
    refusals(&f);
    fixture_close(&f);
    fixture_close(&untied);
    return check_report();
}
