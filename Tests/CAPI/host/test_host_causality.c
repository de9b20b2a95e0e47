/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts whose tokens see more than those before them: found out by what they compute, through whatever they offer. Those
   that do not are never refused. */
#include "operations.h"

#include "host.h"
#include "host_states.h"

#include <stddef.h>

static fixture f;
static double values[OPERATION_VALUES];
static prune_host plain; /* the callbacks of a causal host */

/* How a host sees more: what a state gets from others at every sublayer. */
typedef void (*leak_fn)(const host_state *before, double *after, int64_t width);
static leak_fn leak;
static double share; /* of a value that is seen: the rest of the model hides it well */

static void next_token(const host_state *before, double *after, int64_t width)
{
    int64_t first = 0, t, i;
    size_t s;
    for (s = 0; s < before->n_sequences; first += before->lengths[s], s++) {
        for (t = first; t + 1 < first + before->lengths[s]; t++) {
            for (i = 0; i < width; i++) {
                after[t * width + i] += share * before->values[(t + 1) * width + i];
            }
        }
    }
}

/* The mean of a whole sequence, as in attention without a mask. */
static void whole_sequence(const host_state *before, double *after, int64_t width)
{
    int64_t first = 0, t, u, i;
    size_t s;
    for (s = 0; s < before->n_sequences; first += before->lengths[s], s++) {
        for (t = first; t < first + before->lengths[s]; t++) {
            for (u = first; u < first + before->lengths[s]; u++) {
                for (i = 0; i < width; i++) {
                    after[t * width + i] += share * before->values[u * width + i] / (double)before->lengths[s];
                }
            }
        }
    }
}

/* The first four tokens see each other, all others what is before them. */
static void prefix(const host_state *before, double *after, int64_t width)
{
    int64_t first = 0, t, u, i;
    size_t s;
    for (s = 0; s < before->n_sequences; first += before->lengths[s], s++) {
        int64_t end = before->lengths[s] < 4 ? before->lengths[s] : 4;
        for (t = first; t < first + end; t++) {
            for (u = first; u < first + end; u++) {
                for (i = 0; i < width; i++) {
                    after[t * width + i] += share * before->values[u * width + i];
                }
            }
        }
    }
}

/* Later tokens alone see ahead: the first one is as it should be. */
static void from_the_fourth_on(const host_state *before, double *after, int64_t width)
{
    int64_t first = 0, t, i;
    size_t s;
    for (s = 0; s < before->n_sequences; first += before->lengths[s], s++) {
        for (t = first + 3; t + 1 < first + before->lengths[s]; t++) {
            for (i = 0; i < width; i++) {
                after[t * width + i] += share * before->values[(t + 1) * width + i];
            }
        }
    }
}

/* Sequences laid end to end without a mask between them: each sees the one before it. */
static void sequence_before(const host_state *before, double *after, int64_t width)
{
    int64_t t, i;
    for (t = 1; t < (int64_t)before->n_tokens; t++) {
        for (i = 0; i < width; i++) {
            after[t * width + i] += 30.0 * share * before->values[(t - 1) * width + i];
        }
    }
}

/* Numbers that depend on how much is in a batch. */
static void size_of_batch(const host_state *before, double *after, int64_t width)
{
    size_t i;
    for (i = 0; i < before->n_tokens * (size_t)width; i++) {
        after[i] += share * (double)(before->n_sequences * (i % 3));
    }
}

static prune_status leaking_apply(void *user_data, int64_t sublayer, const prune_host_state *states, size_t n,
                                  prune_host_state *out)
{
    prune_status status = plain.apply(user_data, sublayer, states, n, out);
    size_t i;
    for (i = 0; status == PRUNE_OK && leak != NULL && i < n; i++) {
        leak(states[i], ((host_state *)out[i])->values, host_width(user_data));
    }
    return status;
}

/* The loss of whole masks by the callbacks of a walk. */
static prune_status leaking_evaluate(void *user_data, const prune_host_batch *batch, const float *weights,
                                     const uint8_t *masks, size_t n_masks, double *out)
{
    size_t m, s;
    for (m = 0; m < n_masks; m++) {
        prune_host_state state = NULL, next = NULL;
        double sum = 0.0, mass = 0.0;
        int64_t first = 0, row, sublayer;
        if (plain.embed(user_data, batch, &state) != PRUNE_OK) {
            return PRUNE_ERR_HOST;
        }
        for (sublayer = 0; sublayer < FIXTURE_SUBLAYERS; sublayer++) {
            if (masks[m * FIXTURE_SUBLAYERS + (size_t)sublayer] == 1) {
                if (leaking_apply(user_data, sublayer, &state, 1, &next) != PRUNE_OK) {
                    return PRUNE_ERR_HOST;
                }
                plain.release(user_data, state);
                state = next;
            }
        }
        for (s = 0; s < batch->n_sequences; first += batch->sequence_lengths[s], s++) {
            for (row = first; row + 1 < first + batch->sequence_lengths[s]; row++) {
                float loss = NAN, weight = weights == NULL ? 1.0f : weights[row + 1];
                plain.token_losses(user_data, state, &row, &batch->token_ids[row + 1], 1, &loss);
                sum += (double)loss * (double)weight, mass += (double)weight;
            }
        }
        plain.release(user_data, state);
        out[m] = sum / mass;
    }
    return PRUNE_OK;
}

enum offer {
    OFFER_ALL,
    OFFER_LOGITS,
    OFFER_READ,
    OFFER_COMPARE,
    OFFER_EVALUATE,
    OFFERS
};

/* A host, and which operation works with what it offers. */
static prune_model *opened(host *h, enum offer offer, int32_t known_causal, size_t *operation)
{
    prune_host calls;
    prune_model *model = NULL;
    host_init(h, &f.weights, &calls);
    plain = calls;
    calls.apply = leaking_apply;
    calls.evaluate = leaking_evaluate;
    calls.known_causal = known_causal;
    *operation = 3;
    /* A mean loss shows less: the next token is what is predicted, so that the one after it must be seen. */
    share = offer == OFFER_EVALUATE ? 5e-2 : 1e-3;
    if (offer != OFFER_ALL) {
        calls.token_losses = NULL;
    }
    if (offer == OFFER_EVALUATE) {
        calls.embed = NULL, calls.apply = NULL, calls.release = NULL;
        calls.hidden_size = 0, calls.vocabulary_size = 0;
    } else if (offer != OFFER_ALL) {
        calls.evaluate = NULL;
    }
    if (offer == OFFER_READ || offer == OFFER_COMPARE) {
        calls.logits = NULL, calls.distances = NULL;
        *operation = 0;
    }
    if (offer == OFFER_READ) {
        calls.compare = NULL;
    } else if (offer == OFFER_COMPARE) {
        calls.read = NULL;
    }
    CHECK_OK(prune_model_from_host(&calls, &model));
    REQUIRE(model != NULL);
    return model;
}

static void who_sees_more_is_refused(void)
{
    static const struct {
        leak_fn leak;
        const char *says;
    } cases[] = { { next_token, "sees the future" },
                  { whole_sequence, "sees the future" },
                  { prefix, "sees the future" },
                  { from_the_fourth_on, "sees the future" },
                  { sequence_before, "others in its batch" },
                  { size_of_batch, "others in its batch" } };
    size_t i, operation, n;
    int offer;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (offer = 0; offer < OFFERS; offer++) {
            host h;
            prune_model *model = opened(&h, (enum offer)offer, 0, &operation);
            leak = cases[i].leak;
            CHECK_FAILS(operations[operation].run(model, f.data, values, &n), PRUNE_ERR_UNSUPPORTED, cases[i].says);
            CHECK(strstr(prune_last_error(), "known_causal") != NULL);
            /* Again: a refusal is not forgotten. */
            CHECK_FAILS(operations[operation].run(model, f.data, values, &n), PRUNE_ERR_UNSUPPORTED, cases[i].says);
            CHECK(h.live == 0);
            leak = NULL; /* what was at fault is mended */
            CHECK_OK(operations[operation].run(model, f.data, values, &n));
            prune_model_release(model);
            CHECK(h.live == 0 && h.closed == 1);

            model = opened(&h, (enum offer)offer, 1, &operation);
            leak = cases[i].leak;
            CHECK_OK(operations[operation].run(model, f.data, values, &n));
            prune_model_release(model);
            CHECK(h.live == 0);
            leak = NULL;
        }
    }
}

static void a_host_is_tested_once(void)
{
    host h;
    size_t operation, n;
    long first, embedded;
    prune_model *model = opened(&h, OFFER_ALL, 0, &operation);
    CHECK_OK(operations[operation].run(model, f.data, values, &n));
    first = h.calls[HOST_EMBED];
    CHECK_OK(operations[operation].run(model, f.data, values, &n));
    embedded = h.calls[HOST_EMBED] - first;
    CHECK(first == embedded + 4);
    CHECK_OK(operations[0].run(model, f.data, values, &n));
    prune_model_release(model);

    model = opened(&h, OFFER_ALL, 1, &operation);
    CHECK_OK(operations[operation].run(model, f.data, values, &n));
    CHECK(h.calls[HOST_EMBED] == embedded);
    prune_model_release(model);
}

/* NaN proves nothing about causality, and is told as what it is. */
static void numbers_that_prove_nothing(void)
{
    int offer;
    for (offer = 0; offer < OFFERS; offer++) {
        host h;
        size_t operation, n;
        prune_model *model = opened(&h, (enum offer)offer, 0, &operation);
        h.poison = NAN;
        CHECK_FAILS(operations[operation].run(model, f.data, values, &n), PRUNE_ERR_NONFINITE,
                    offer == OFFER_EVALUATE ? "nan" : "finite");
        CHECK(h.live == 0);
        h.poison = 0.0;
        leak = next_token; /* so that it is still tested afterwards */
        CHECK_FAILS(operations[operation].run(model, f.data, values, &n), PRUNE_ERR_UNSUPPORTED, "future");
        leak = NULL;
        prune_model_release(model);
    }
}

/* Contexts and vocabularies that are too small to be tested, and those that are just large enough. */
static void short_contexts(void)
{
    static const int32_t ids[3] = { 1, 0, 1 };
    static const int64_t lengths[1] = { 3 };
    int64_t context;
    prune_data *data = NULL;
    CHECK_OK(prune_data_create(ids, lengths, 1, NULL, &data));
    for (context = 1; context <= 5; context++) {
        host h;
        prune_host calls;
        prune_model *model = NULL;
        prune_evaluation evaluation;
        host_init(&h, &f.weights, &calls);
        plain = calls;
        calls.apply = leaking_apply;
        calls.context_length = context;
        CHECK_OK(prune_model_from_host(&calls, &model));
        leak = next_token;
        CHECK(prune_model_evaluate(model, data, NULL, 1, 0, NULL, &evaluation) ==
              (context < 4 ? PRUNE_OK : PRUNE_ERR_UNSUPPORTED));
        leak = NULL;
        CHECK_OK(prune_model_evaluate(model, data, NULL, 1, 0, NULL, &evaluation));
        CHECK(h.live == 0);
        prune_model_release(model);
    }
    prune_data_release(data);
}

static void hosts_of_the_first_version(void)
{
    host h;
    prune_host calls;
    prune_model *model = NULL;
    size_t n;
    host_init(&h, &f.weights, &calls);
    calls.known_causal = 2;
    CHECK_FAILS(prune_model_from_host(&calls, &model), PRUNE_ERR_ARGUMENT, "known_causal");
    CHECK(model == NULL && h.closed == 0);
    calls.struct_size = (uint32_t)offsetof(prune_host, known_causal);
    CHECK_OK(prune_model_from_host(&calls, &model));
    CHECK_OK(operation_evaluate(model, f.data, values, &n));
    prune_model_release(model);
    CHECK(h.closed == 1);
    model = NULL;
    calls.struct_size -= (uint32_t)sizeof(prune_close_fn);
    CHECK_FAILS(prune_model_from_host(&calls, &model), PRUNE_ERR_ARGUMENT, "struct_size");
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    who_sees_more_is_refused();
    a_host_is_tested_once();
    numbers_that_prove_nothing();
    short_contexts();
    hosts_of_the_first_version();
    fixture_close(&f);
    return check_report();
}
