/* SPDX-License-Identifier: Apache-2.0 */
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double epsilon = 1e-05;

/* y[n_out] = W x, W row by row */
static void multiply(const float *weights, int64_t n_out, int64_t n_in, const double *x, double *y)
{
    int64_t i, j;
    for (i = 0; i < n_out; i++) {
        y[i] = 0.0;
        for (j = 0; j < n_in; j++) {
            y[i] += (double)weights[i * n_in + j] * x[j];
        }
    }
}

static void rms_norm(const float *weights, int64_t n, const double *x, double *y)
{
    double sum = 0.0;
    int64_t i;
    for (i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    for (i = 0; i < n; i++) {
        y[i] = (double)weights[i] * x[i] / sqrt(sum / (double)n + epsilon);
    }
}

static void rotate(double *head, int64_t size, int64_t position)
{
    int64_t i;
    for (i = 0; i < size / 2; i++) {
        double angle = (double)position * pow(10000.0, -2.0 * (double)i / (double)size);
        double a = head[i];
        double b = head[i + size / 2];
        head[i] = a * cos(angle) - b * sin(angle);
        head[i + size / 2] = b * cos(angle) + a * sin(angle);
    }
}

static double *doubles(int64_t n)
{
    double *memory = calloc((size_t)n, sizeof *memory);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* Adds the attention of one block to h[n_tokens * hidden]. */
static void attention(const tiny_model *model, int64_t block, int64_t n, double *h)
{
    const tiny_shape *s = &model->shape;
    int64_t d = s->head_size, nq = s->heads * d, nk = s->kv_heads * d;
    double *q = doubles(n * nq), *k = doubles(n * nk), *v = doubles(n * nk);
    double *x = doubles(s->hidden), *mixed = doubles(nq), *update = doubles(s->hidden), *p = doubles(n);
    int64_t t, u, a, i;
    for (t = 0; t < n; t++) {
        rms_norm(tiny_model_weights(model, block, "input_layernorm"), s->hidden, h + t * s->hidden, x);
        multiply(tiny_model_weights(model, block, "self_attn.q_proj"), nq, s->hidden, x, q + t * nq);
        multiply(tiny_model_weights(model, block, "self_attn.k_proj"), nk, s->hidden, x, k + t * nk);
        multiply(tiny_model_weights(model, block, "self_attn.v_proj"), nk, s->hidden, x, v + t * nk);
        for (a = 0; a < s->heads; a++) {
            rotate(q + t * nq + a * d, d, t);
        }
        for (a = 0; a < s->kv_heads; a++) {
            rotate(k + t * nk + a * d, d, t);
        }
    }
    for (t = 0; t < n; t++) {
        for (a = 0; a < s->heads; a++) {
            int64_t shared = a / (s->heads / s->kv_heads);
            double largest = -INFINITY, sum = 0.0;
            for (u = 0; u <= t; u++) {
                p[u] = 0.0;
                for (i = 0; i < d; i++) {
                    p[u] += q[t * nq + a * d + i] * k[u * nk + shared * d + i] / sqrt((double)d);
                }
                largest = fmax(largest, p[u]);
            }
            for (u = 0; u <= t; u++) {
                p[u] = exp(p[u] - largest);
                sum += p[u];
            }
            for (i = 0; i < d; i++) {
                mixed[a * d + i] = 0.0;
                for (u = 0; u <= t; u++) {
                    mixed[a * d + i] += p[u] / sum * v[u * nk + shared * d + i];
                }
            }
        }
        multiply(tiny_model_weights(model, block, "self_attn.o_proj"), s->hidden, nq, mixed, update);
        for (i = 0; i < s->hidden; i++) {
            h[t * s->hidden + i] += update[i];
        }
    }
    free(q), free(k), free(v), free(x), free(mixed), free(update), free(p);
}

/* Adds the feed-forward of one block: down(silu(gate x) * up x). */
static void feed_forward(const tiny_model *model, int64_t block, int64_t n, double *h)
{
    const tiny_shape *s = &model->shape;
    double *x = doubles(s->hidden), *gate = doubles(s->feed_forward), *up = doubles(s->feed_forward);
    double *update = doubles(s->hidden);
    int64_t t, i;
    for (t = 0; t < n; t++) {
        rms_norm(tiny_model_weights(model, block, "post_attention_layernorm"), s->hidden, h + t * s->hidden, x);
        multiply(tiny_model_weights(model, block, "mlp.gate_proj"), s->feed_forward, s->hidden, x, gate);
        multiply(tiny_model_weights(model, block, "mlp.up_proj"), s->feed_forward, s->hidden, x, up);
        for (i = 0; i < s->feed_forward; i++) {
            gate[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
        }
        multiply(tiny_model_weights(model, block, "mlp.down_proj"), s->hidden, s->feed_forward, gate, update);
        for (i = 0; i < s->hidden; i++) {
            h[t * s->hidden + i] += update[i];
        }
    }
    free(x), free(gate), free(up), free(update);
}

void reference_sublayer(const tiny_model *model, int64_t sublayer, int64_t n, double *h)
{
    (sublayer % 2 == 0 ? attention : feed_forward)(model, sublayer / 2, n, h);
}

const float *reference_norm(const tiny_model *model, int64_t sublayer)
{
    return tiny_model_weights(model, sublayer / 2, sublayer % 2 == 0 ? "input_layernorm" : "post_attention_layernorm");
}

void reference_head(const tiny_model *model, const double *state, double *logits)
{
    const tiny_shape *s = &model->shape;
    size_t last = model->n_tensors - 1;
    const tiny_tensor *norm = &model->tensors[s->tied ? last : last - 1];
    const tiny_tensor *head = &model->tensors[s->tied ? 0 : last];
    double *x = doubles(s->hidden);
    rms_norm(norm->values, s->hidden, state, x);
    multiply(head->values, s->vocabulary, s->hidden, x, logits);
    free(x);
}

void reference_run(const tiny_model *model, const int32_t *ids, int64_t n, const uint8_t *keep, double *states,
                   double *logits)
{
    const tiny_shape *s = &model->shape;
    size_t bytes = (size_t)(n * s->hidden) * sizeof(double);
    double *h = doubles(n * s->hidden);
    int64_t t, i, u;
    for (t = 0; t < n; t++) {
        for (i = 0; i < s->hidden; i++) {
            h[t * s->hidden + i] = (double)model->tensors[0].values[ids[t] * s->hidden + i];
        }
    }
    for (u = 0; u < 2 * s->n_blocks; u++) {
        if (states != NULL) {
            memcpy(states + u * n * s->hidden, h, bytes);
        }
        if (keep == NULL || keep[u]) {
            reference_sublayer(model, u, n, h);
        }
    }
    if (states != NULL) {
        memcpy(states + u * n * s->hidden, h, bytes);
    }
    for (t = 0; logits != NULL && t < n; t++) {
        reference_head(model, h + t * s->hidden, logits + t * s->vocabulary);
    }
    free(h);
}

double reference_loss(const double *logits, int64_t vocabulary, int32_t target)
{
    double largest = -INFINITY, sum = 0.0;
    int64_t i;
    for (i = 0; i < vocabulary; i++) {
        largest = fmax(largest, logits[i]);
    }
    for (i = 0; i < vocabulary; i++) {
        sum += exp(logits[i] - largest);
    }
    return log(sum) + largest - logits[target];
}
