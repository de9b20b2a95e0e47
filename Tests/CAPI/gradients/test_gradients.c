/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients against central differences of the reference model, which computes in double; and what is refused. */
#include "recovery.h"
#include "reference.h"

#define H FIXTURE_HIDDEN
#define V FIXTURE_VOCABULARY
#define N FIXTURE_TOKENS

static fixture f;

/* Adds to an embedding; the step is exact in fp32, since weights are multiples of 1/64. */
static const float step = 1.0f / 1024.0f;

static float *embedding(int32_t token, int place)
{
    return &tiny_model_tensor(&f.weights, "model.embed_tokens.weight")->values[token * H + place];
}

static int64_t start_of(int sequence) { return sequence == 0 ? 0 : sequence == 1 ? 7 : 12; }

/* A scalar of the states after sublayer u alone: sum of c[t] * h[t], all sequences. */
static double weighted_states(int64_t u, const float *c)
{
    static double states[(FIXTURE_SUBLAYERS + 1) * 7 * H];
    uint8_t keep[FIXTURE_SUBLAYERS] = { 0 };
    double sum = 0.0;
    int s;
    int64_t i;
    keep[u] = 1;
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        int64_t n = fixture_lengths[s];
        reference_run(&f.weights, fixture_ids + start_of(s), n, keep, states, NULL);
        for (i = 0; i < n * H; i++) {
            sum += (double)c[start_of(s) * H + i] * states[FIXTURE_SUBLAYERS * n * H + i];
        }
    }
    return sum;
}

/* The objective over all predicting tokens, logits of the whole model with the weights as they were being `teacher`. */
static double objective_of(prune_objective objective, const uint8_t *keep, const double *teacher)
{
    static double logits[7 * V];
    double sum = 0.0;
    int s, k;
    int64_t t;
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        int64_t n = fixture_lengths[s];
        reference_run(&f.weights, fixture_ids + start_of(s), n, keep, NULL, logits);
        for (t = 0; t + 1 < n; t++) {
            const double *own = logits + t * V, *full = teacher + (start_of(s) + t) * V;
            if (objective == PRUNE_OBJECTIVE_CE) {
                sum += reference_loss(own, V, fixture_ids[start_of(s) + t + 1]);
                continue;
            }
            for (k = 0; k < V; k++) {
                double p = exp(-reference_loss(full, V, k)), q = exp(-reference_loss(own, V, k)), m = (p + q) / 2.0;
                sum += objective == PRUNE_OBJECTIVE_KL ? p * log(p / q) : (p * log(p / m) + q * log(q / m)) / 2.0;
            }
        }
    }
    return sum / FIXTURE_PREDICTED;
}

static void random_floats(float *values, size_t n)
{
    static uint32_t state = 7;
    size_t i;
    for (i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / (float)(1u << 24) - 0.5f;
    }
}

/* The gradient of an embedding is the sum of those of its tokens' states. */
static double of_embedding(const float *gradient, int32_t token, int place)
{
    double sum = 0.0;
    int t;
    for (t = 0; t < N; t++) {
        sum += fixture_ids[t] == token ? (double)gradient[t * H + place] : 0.0;
    }
    return sum;
}

static void vjp_of_sublayers(void)
{
    static const int32_t tokens[4] = { 1, 9, 8, 22 };
    static float states[N * H], c[N * H], gradient[N * H], apart[N * H];
    prune_evaluate_options options = PRUNE_EVALUATE_OPTIONS_INIT;
    int64_t u;
    int i, place;
    CHECK_OK(prune_model_hidden_states(f.model, f.data, NULL, 0, 0, NULL, states, N * H, NULL));
    random_floats(c, N * H);
    for (u = 0; u < FIXTURE_SUBLAYERS; u++) {
        CHECK_OK(prune_model_vjp(f.model, f.data, u, states, c, N * H, NULL, gradient));
        for (i = 0; i < 4; i++) {
            for (place = 0; place < H; place += 3) {
                float *weight = embedding(tokens[i], place), was = *weight;
                double up, down;
                *weight = was + step;
                up = weighted_states(u, c);
                *weight = was - step;
                down = weighted_states(u, c);
                *weight = was;
                CHECK_NEAR(of_embedding(gradient, tokens[i], place), (up - down) / (2.0 * (double)step), 2e-3);
            }
        }
        options.batch_tokens = 1;
        CHECK_OK(prune_model_vjp(f.model, f.data, u, states, c, N * H, &options, apart));
        for (i = 0; i < N * H; i++) {
            CHECK_NEAR(apart[i], gradient[i], 1e-4);
        }
    }
}

static void gradient_of_objectives(void)
{
    static const int32_t tokens[2] = { 9, 8 };
    static float gradient[N * H], states[N * H], after[N * H];
    static double teacher[N * V];
    prune_objective objective;
    int s, i, place;
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        reference_run(&f.weights, fixture_ids + start_of(s), fixture_lengths[s], NULL, NULL, teacher + start_of(s) * V);
    }
    for (objective = PRUNE_OBJECTIVE_CE; objective <= PRUNE_OBJECTIVE_JS; objective++) {
        double loss = 0.0;
        size_t count = 0;
        int64_t u;
        CHECK_OK(prune_model_gradient(f.model, f.data, recovery_keep, 4, objective, 0, NULL, gradient, N * H, &count,
                                      &loss));
        CHECK(count == N * H);
        CHECK_NEAR(loss, objective_of(objective, recovery_keep, teacher), 1e-5);
        for (i = 0; i < 2; i++) {
            for (place = 1; place < H; place += 4) {
                float *weight = embedding(tokens[i], place), was = *weight;
                double up, down;
                *weight = was + step;
                up = objective_of(objective, recovery_keep, teacher);
                *weight = was - step;
                down = objective_of(objective, recovery_keep, teacher);
                *weight = was;
                CHECK_NEAR(of_embedding(gradient, tokens[i], place), (up - down) / (2.0 * (double)step), 1e-4);
            }
        }
        /* The gradient before a kept sublayer is that after it, pulled back; a removed one changes nothing. */
        for (u = 0; u < FIXTURE_SUBLAYERS; u++) {
            CHECK_OK(prune_model_gradient(f.model, f.data, recovery_keep, 4, objective, u, NULL, gradient, N * H, NULL,
                                          NULL));
            CHECK_OK(prune_model_gradient(f.model, f.data, recovery_keep, 4, objective, u + 1, NULL, after, N * H, NULL,
                                          NULL));
            if (recovery_keep[u]) {
                CHECK_OK(prune_model_hidden_states(f.model, f.data, recovery_keep, 4, u, NULL, states, N * H, NULL));
                CHECK_OK(prune_model_vjp(f.model, f.data, u, states, after, N * H, NULL, after));
            }
            for (i = 0; i < N * H; i++) {
                CHECK_NEAR(gradient[i], after[i], 1e-6);
            }
        }
    }
}

/* The objective of a model with adapters, from its logits or states. */
static double recovered_objective(const prune_adapters *adapters, prune_objective objective)
{
    static float own[N * V], full[N * V];
    prune_model *model = NULL;
    double sum = 0.0, square = 0.0;
    int s, i, k;
    int64_t t;
    CHECK_OK(prune_model_attach(f.model, adapters, &model));
    if (objective == PRUNE_OBJECTIVE_MSE) {
        CHECK_OK(prune_model_hidden_states(model, f.data, NULL, 0, 4, NULL, own, N * H, NULL));
        CHECK_OK(prune_model_hidden_states(f.model, f.data, NULL, 0, 4, NULL, full, N * H, NULL));
        prune_model_release(model);
        for (i = 0; i < N * H; i++) {
            sum += ((double)own[i] - (double)full[i]) * ((double)own[i] - (double)full[i]);
            square += (double)full[i] * (double)full[i];
        }
        return sum / square;
    }
    CHECK_OK(prune_model_logits(model, f.data, NULL, 0, NULL, own, N * V, NULL));
    CHECK_OK(prune_model_logits(f.model, f.data, NULL, 0, NULL, full, N * V, NULL));
    prune_model_release(model);
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        for (t = start_of(s); t + 1 < start_of(s) + fixture_lengths[s]; t++) {
            double ours[V], theirs[V];
            for (k = 0; k < V; k++) {
                ours[k] = (double)own[t * V + k];
                theirs[k] = (double)full[t * V + k];
            }
            if (objective == PRUNE_OBJECTIVE_CE) {
                sum += reference_loss(ours, V, fixture_ids[t + 1]);
                continue;
            }
            for (k = 0; k < V; k++) {
                double p = exp(-reference_loss(theirs, V, k)), q = exp(-reference_loss(ours, V, k)), m = (p + q) / 2.0;
                sum += objective == PRUNE_OBJECTIVE_KL ? p * log(p / q) : (p * log(p / m) + q * log(q / m)) / 2.0;
            }
        }
    }
    return sum / FIXTURE_PREDICTED;
}

static void gradient_of_adapters(prune_adapter_kind kind)
{
    static const int32_t parts[3][3] = {
        { PRUNE_PART_BIAS, -1, -1 },
        { PRUNE_PART_BIAS, PRUNE_PART_DOWN, PRUNE_PART_UP },
        { PRUNE_PART_BIAS, PRUNE_PART_MATRIX, -1 },
    };
    static float gradient[H + H * H], values[H * H];
    prune_adapters *adapters = recovery_solved(&f, kind, 3);
    prune_objective objective;
    int64_t u;
    int p;
    for (objective = PRUNE_OBJECTIVE_MSE; objective <= PRUNE_OBJECTIVE_JS; objective++) {
        for (u = 1; u <= 2; u++) {
            size_t count = 0, first = 0, n = 0, i;
            double loss = 0.0;
            CHECK_OK(prune_adapters_gradient(adapters, f.model, f.data, objective, u, NULL, gradient, H + H * H, &count,
                                             &loss));
            CHECK_NEAR(loss, recovered_objective(adapters, objective), 1e-5);
            for (p = 0; p < 3 && parts[kind - 1][p] >= 0; p++) {
                CHECK_OK(prune_adapters_get(adapters, u, parts[kind - 1][p], values, H * H, &n));
                for (i = 2; i < n; i += n / 3) {
                    const float was = values[i], change = 1.0f / 64.0f;
                    double up, down;
                    values[i] = was + change;
                    CHECK_OK(prune_adapters_set(adapters, u, parts[kind - 1][p], values, n));
                    up = recovered_objective(adapters, objective);
                    values[i] = was - change;
                    CHECK_OK(prune_adapters_set(adapters, u, parts[kind - 1][p], values, n));
                    down = recovered_objective(adapters, objective);
                    values[i] = was;
                    CHECK_OK(prune_adapters_set(adapters, u, parts[kind - 1][p], values, n));
                    CHECK_NEAR(gradient[first + i], (up - down) / (2.0 * (double)change),
                               1e-3 * (0.1 + fabs((double)gradient[first + i])));
                }
                first += n;
            }
            CHECK(first == count);
        }
    }
    prune_adapters_release(adapters);
}

static int32_t stop_at_once(void *user_data, const prune_progress *progress)
{
    (void)user_data;
    (void)progress;
    return 1;
}

static void gradient_refusals(void)
{
    static float states[N * H], out[N * H];
    prune_adapters *adapters = recovery_solved(&f, PRUNE_ADAPTER_BIAS, 0);
    prune_model *recovered = NULL, *bad = (prune_model *)(void *)f.data;
    prune_evaluate_options options = PRUNE_EVALUATE_OPTIONS_INIT;
    prune_objective ce = PRUNE_OBJECTIVE_CE;
    size_t count = 0;
    int64_t one = 1;
    prune_data *single = NULL;
    options.progress = stop_at_once;
    CHECK_FAILS(prune_model_vjp(NULL, f.data, 0, states, states, N * H, NULL, out), PRUNE_ERR_ARGUMENT, "model");
    CHECK_FAILS(prune_model_vjp(bad, f.data, 0, states, states, N * H, NULL, out), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_vjp(f.model, NULL, 0, states, states, N * H, NULL, out), PRUNE_ERR_ARGUMENT, "data");
    CHECK_FAILS(prune_model_vjp(f.model, f.data, 0, NULL, states, N * H, NULL, out), PRUNE_ERR_ARGUMENT, "states");
    CHECK_FAILS(prune_model_vjp(f.model, f.data, 0, states, NULL, N * H, NULL, out), PRUNE_ERR_ARGUMENT, "gradients");
    CHECK_FAILS(prune_model_vjp(f.model, f.data, 0, states, states, N * H, NULL, NULL), PRUNE_ERR_ARGUMENT, "out");
    CHECK_FAILS(prune_model_vjp(f.model, f.data, 0, states, states, N * H - 1, NULL, out), PRUNE_ERR_ARGUMENT, "255");
    CHECK_FAILS(prune_model_vjp(f.model, f.data, 0, states, states, SIZE_MAX, NULL, out), PRUNE_ERR_ARGUMENT, "states");
    CHECK_FAILS(prune_model_vjp(f.model, f.data, 4, states, states, N * H, NULL, out), PRUNE_ERR_ARGUMENT, "sublayer");
    CHECK_FAILS(prune_model_vjp(f.model, f.data, -1, states, states, N * H, NULL, out), PRUNE_ERR_ARGUMENT, "-1");
    CHECK_FAILS(prune_model_vjp(f.model, f.data, INT64_MIN, states, states, N * H, NULL, out), PRUNE_ERR_ARGUMENT,
                "sublayer");
    CHECK_FAILS(prune_model_vjp(f.model, f.data, 0, states, states, N * H, &options, out), PRUNE_ERR_CANCELLED,
                "cancelled");

    CHECK_FAILS(prune_model_gradient(NULL, f.data, NULL, 0, ce, 0, NULL, out, N * H, &count, NULL), PRUNE_ERR_ARGUMENT,
                "model");
    CHECK_FAILS(prune_model_gradient(bad, f.data, NULL, 0, ce, 0, NULL, out, N * H, &count, NULL), PRUNE_ERR_HANDLE,
                "model");
    CHECK_FAILS(prune_model_gradient(f.model, NULL, NULL, 0, ce, 0, NULL, out, N * H, &count, NULL), PRUNE_ERR_ARGUMENT,
                "data");
    CHECK_FAILS(prune_model_gradient(f.model, f.data, NULL, 4, ce, 0, NULL, out, N * H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "keep");
    CHECK_FAILS(prune_model_gradient(f.model, f.data, NULL, 0, ce, 0, NULL, NULL, N * H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "out_gradient");
    CHECK_FAILS(prune_model_gradient(f.model, f.data, NULL, 0, ce, 0, NULL, out, 9, &count, NULL), PRUNE_ERR_BUFFER,
                "256");
    CHECK(count == N * H);
    CHECK_FAILS(prune_model_gradient(f.model, f.data, NULL, 0, 0, 0, NULL, out, N * H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "objective");
    CHECK_FAILS(prune_model_gradient(f.model, f.data, NULL, 0, PRUNE_OBJECTIVE_MSE, 0, NULL, out, N * H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "objective");
    CHECK_FAILS(prune_model_gradient(f.model, f.data, NULL, 0, 9, 0, NULL, out, N * H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "objective");
    CHECK_FAILS(prune_model_gradient(f.model, f.data, NULL, 0, ce, 5, NULL, out, N * H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "sublayer");
    CHECK_FAILS(prune_model_gradient(f.model, f.data, NULL, 0, ce, -1, NULL, out, N * H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "sublayer");
    CHECK_FAILS(prune_model_gradient(f.model, f.data, NULL, 0, ce, 0, &options, out, N * H, &count, NULL),
                PRUNE_ERR_CANCELLED, "cancelled");
    CHECK_OK(prune_data_create(fixture_ids, &one, 1, NULL, &single));
    CHECK_FAILS(prune_model_gradient(f.model, single, NULL, 0, ce, 0, NULL, out, N * H, &count, NULL), PRUNE_ERR_DATA,
                "predict");

    CHECK_FAILS(prune_adapters_gradient(NULL, f.model, f.data, ce, 1, NULL, out, H, &count, NULL), PRUNE_ERR_ARGUMENT,
                "adapters");
    CHECK_FAILS(prune_adapters_gradient(adapters, NULL, f.data, ce, 1, NULL, out, H, &count, NULL), PRUNE_ERR_ARGUMENT,
                "model");
    CHECK_FAILS(prune_adapters_gradient(adapters, f.model, NULL, ce, 1, NULL, out, H, &count, NULL), PRUNE_ERR_ARGUMENT,
                "data");
    CHECK_FAILS(prune_adapters_gradient(adapters, f.model, f.data, ce, 1, NULL, NULL, H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "out_gradient");
    CHECK_FAILS(prune_adapters_gradient(adapters, f.model, f.data, ce, 1, NULL, out, H - 1, &count, NULL),
                PRUNE_ERR_BUFFER, "16");
    CHECK_FAILS(prune_adapters_gradient(adapters, f.model, f.data, ce, 0, NULL, out, H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "attn.0");
    CHECK_FAILS(prune_adapters_gradient(adapters, f.model, f.data, ce, 77, NULL, out, H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "77");
    CHECK_FAILS(prune_adapters_gradient(adapters, f.model, f.data, 0, 1, NULL, out, H, &count, NULL),
                PRUNE_ERR_ARGUMENT, "objective");
    CHECK_FAILS(prune_adapters_gradient(adapters, f.model, single, ce, 1, NULL, out, H, &count, NULL), PRUNE_ERR_DATA,
                "predict");
    CHECK_OK(prune_model_attach(f.model, adapters, &recovered));
    /* A model with adapters has gradients as any other. */
    CHECK_OK(prune_model_gradient(recovered, f.data, NULL, 0, ce, 0, NULL, out, N * H, &count, NULL));
    CHECK_OK(prune_model_vjp(recovered, f.data, 1, states, states, N * H, NULL, out));
    prune_model_release(recovered);
    prune_data_release(single);
    prune_adapters_release(adapters);
}

int main(void)
{
    tiny_shape shape = tiny_default_shape();
    prune_adapter_kind kind;
    shape.tied = 0; /* so that the head stays as it is when an embedding moves */
    fixture_open_shape(&f, "tiny", shape);
    REQUIRE(f.model != NULL && f.data != NULL);
    vjp_of_sublayers();
    gradient_of_objectives();
    for (kind = PRUNE_ADAPTER_BIAS; kind <= PRUNE_ADAPTER_LINEAR; kind++) {
        gradient_of_adapters(kind);
    }
    gradient_refusals();
    fixture_close(&f);
    return check_report();
}
