/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host_gradients.h"
#include "host_states.h"
#include "reference.h"

static prune_status embed(void *user_data, const prune_host_batch *batch, prune_host_state *out)
{
    host *h = user_data;
    prune_status status = host_enter(h, HOST_EMBED);
    host_state *made;
    size_t t;
    int64_t i;
    if (status != PRUNE_OK) {
        return status;
    }
    if (host_gives_nothing(h, HOST_EMBED)) {
        return PRUNE_OK;
    }
    made = host_new_state(h, batch->sequence_lengths, batch->n_sequences);
    if (batch->struct_size != sizeof *batch || batch->reserved != 0 || made->n_tokens != batch->n_tokens) {
        abort();
    }
    for (t = 0; t < made->n_tokens; t++) {
        for (i = 0; i < host_width(h); i++) {
            made->values[(int64_t)t * host_width(h) + i] =
                (double)h->model->tensors[0].values[batch->token_ids[t] * host_width(h) + i];
        }
    }
    *out = made;
    return PRUNE_OK;
}

static prune_status apply(void *user_data, int64_t sublayer, const prune_host_state *states, size_t n,
                          prune_host_state *out)
{
    host *h = user_data;
    prune_status status = host_enter(h, HOST_APPLY);
    size_t i;
    for (i = 0; status == PRUNE_OK && i < n; i++) {
        host_state *made;
        if (i == n - 1 && host_gives_nothing(h, HOST_APPLY)) {
            break;
        }
        made = host_copy_state(h, states[i]);
        host_run(h, sublayer, made, made->values);
        made->values[0] += h->poison;
        out[i] = made;
    }
    return status;
}

static void release(void *user_data, prune_host_state given)
{
    host *h = user_data;
    host_state *own = given;
    h->calls[HOST_RELEASE]++;
    h->live--;
    free(own->lengths), free(own->values), free(own);
}

static prune_status token_losses(void *user_data, prune_host_state given, const int64_t *rows, const int32_t *tokens,
                                 size_t n, float *out)
{
    host *h = user_data;
    int64_t entries = h->model->shape.vocabulary;
    double *logits = host_memory((size_t)entries, sizeof *logits);
    prune_status status = host_enter(h, HOST_TOKEN_LOSSES);
    size_t i;
    for (i = 0; status == PRUNE_OK && i < n; i++) {
        host_head(h, given, rows[i], logits);
        out[i] = (float)(reference_loss(logits, entries, tokens[i]) + (i == 0 ? h->poison : 0.0));
    }
    free(logits);
    return status;
}

static prune_status logits_of(void *user_data, prune_host_state given, int64_t first, int64_t n, float *out)
{
    host *h = user_data;
    int64_t entries = h->model->shape.vocabulary, row, i;
    double *logits = host_memory((size_t)entries, sizeof *logits);
    prune_status status = host_enter(h, HOST_LOGITS);
    for (row = 0; status == PRUNE_OK && row < n; row++) {
        host_head(h, given, first + row, logits);
        for (i = 0; i < entries; i++) {
            out[row * entries + i] = (float)logits[i];
        }
    }
    free(logits);
    return status;
}

static prune_status distances(void *user_data, prune_host_state given, prune_host_state reference, prune_distance kind,
                              const int64_t *rows, size_t n, float *out)
{
    host *h = user_data;
    int64_t entries = h->model->shape.vocabulary;
    double *a = host_memory((size_t)entries, sizeof *a), *b = host_memory((size_t)entries, sizeof *b);
    prune_status status = host_enter(h, HOST_DISTANCES);
    size_t i;
    for (i = 0; status == PRUNE_OK && i < n; i++) {
        host_head(h, given, rows[i], a);
        host_head(h, reference, rows[i], b);
        out[i] = (float)host_distance(kind, a, b, entries);
    }
    free(a), free(b);
    return status;
}

static prune_status compare(void *user_data, prune_host_state before, prune_host_state after, const int64_t *rows,
                            size_t n, prune_comparison *out)
{
    host *h = user_data;
    const host_state *one = before, *two = after;
    prune_status status = host_enter(h, HOST_COMPARE);
    size_t r;
    int64_t i;
    for (r = 0; status == PRUNE_OK && r < n; r++) {
        prune_comparison sum = { 0.0, 0.0, 0.0, 0.0, 0.0, 0.0 };
        for (i = rows[r] * host_width(h); i < (rows[r] + 1) * host_width(h); i++) {
            double x = one->values[i], y = two->values[i];
            sum.before_l1 += fabs(x), sum.before_squares += x * x;
            sum.after_l1 += fabs(y), sum.after_squares += y * y;
            sum.update_l1 += fabs(y - x), sum.update_squares += (y - x) * (y - x);
        }
        out[r] = sum;
    }
    return status;
}

static prune_status read_state(void *user_data, prune_host_state given, float *out)
{
    host *h = user_data;
    const host_state *own = given;
    prune_status status = host_enter(h, HOST_READ);
    size_t i;
    for (i = 0; status == PRUNE_OK && i < own->n_tokens * (size_t)host_width(h); i++) {
        out[i] = (float)own->values[i];
    }
    return status;
}

static prune_status write_state(void *user_data, prune_host_state like, const float *values, prune_host_state *out)
{
    host *h = user_data;
    const host_state *own = like;
    prune_status status = host_enter(h, HOST_WRITE);
    host_state *made;
    size_t i;
    if (status != PRUNE_OK || host_gives_nothing(h, HOST_WRITE)) {
        return status;
    }
    made = host_new_state(h, own->lengths, own->n_sequences);
    for (i = 0; i < own->n_tokens * (size_t)host_width(h); i++) {
        made->values[i] = (double)values[i];
    }
    *out = made;
    return PRUNE_OK;
}

static prune_status norm(void *user_data, int64_t sublayer, float *out_gain, float *out_epsilon)
{
    host *h = user_data;
    prune_status status = host_enter(h, HOST_NORM);
    if (status == PRUNE_OK) {
        memcpy(out_gain, reference_norm(h->model, sublayer), (size_t)host_width(h) * sizeof *out_gain);
        *out_epsilon = 1e-5f;
    }
    return status;
}

prune_status host_layer_norm(void *user_data, int64_t sublayer, float *out_gain, float *out_bias, float *out_epsilon)
{
    host *h = user_data;
    prune_status status = host_enter(h, HOST_LAYER_NORM);
    int64_t i;
    if (status == PRUNE_OK) {
        memcpy(out_gain, reference_norm(h->model, sublayer), (size_t)host_width(h) * sizeof *out_gain);
        for (i = 0; i < host_width(h); i++) {
            out_bias[i] = (float)i / 32.0f - 0.25f;
        }
        *out_epsilon = 1e-3f;
    }
    return status;
}

/* x = norm(row) with the norm of an adapter, or the row itself. */
static void adapter_input(const prune_host_adapter *adapter, const double *row, double *x)
{
    int64_t d = adapter->hidden_size, i;
    double mean = 0.0, squares = 0.0;
    for (i = 0; adapter->norm_kind == PRUNE_NORM_LAYER && i < d; i++) {
        mean += row[i] / (double)d;
    }
    for (i = 0; i < d; i++) {
        squares += (row[i] - mean) * (row[i] - mean);
    }
    for (i = 0; i < d; i++) {
        x[i] = adapter->norm_gain == NULL ? row[i]
                                          : (double)adapter->norm_gain[i] * (row[i] - mean) /
                                                sqrt(squares / (double)d + (double)adapter->norm_epsilon);
        x[i] += adapter->norm_bias == NULL ? 0.0 : (double)adapter->norm_bias[i];
    }
}

static prune_status apply_adapter(void *user_data, const prune_host_adapter *adapter, prune_host_state given,
                                  prune_host_state *out)
{
    host *h = user_data;
    int64_t d = host_width(h), i, j, k;
    double *x = host_memory((size_t)d, sizeof *x);
    prune_status status = host_enter(h, HOST_APPLY_ADAPTER);
    host_state *made;
    size_t t;
    if (status != PRUNE_OK || host_gives_nothing(h, HOST_APPLY_ADAPTER)) {
        free(x);
        return status;
    }
    if (adapter->struct_size != sizeof *adapter || adapter->hidden_size != d || adapter->norm_kind < PRUNE_NORM_RMS ||
        adapter->norm_kind > PRUNE_NORM_LAYER ||
        (adapter->norm_kind == PRUNE_NORM_LAYER) != (adapter->norm_bias != NULL) ||
        (adapter->kind == PRUNE_ADAPTER_LOW_RANK) !=
            (adapter->down != NULL && adapter->up != NULL && adapter->rank > 0) ||
        (adapter->kind == PRUNE_ADAPTER_LINEAR) != (adapter->matrix != NULL)) {
        abort();
    }
    made = host_copy_state(h, given);
    for (t = 0; t < made->n_tokens; t++) {
        double *row = made->values + (int64_t)t * d;
        adapter_input(adapter, row, x);
        for (i = 0; i < d; i++) {
            row[i] += (double)adapter->bias[i];
            for (j = 0; adapter->matrix != NULL && j < d; j++) {
                row[i] += (double)adapter->matrix[i * d + j] * x[j];
            }
            for (k = 0; k < adapter->rank; k++) {
                double inner = 0.0;
                for (j = 0; j < d; j++) {
                    inner += (double)adapter->down[k * d + j] * x[j];
                }
                row[i] += (double)adapter->up[i * adapter->rank + k] * inner;
            }
        }
    }
    free(x);
    *out = made;
    return PRUNE_OK;
}

static prune_status evaluate(void *user_data, const prune_host_batch *batch, const float *token_weights,
                             const uint8_t *keep_masks, size_t n_masks, double *out_losses)
{
    host *h = user_data;
    int64_t entries = h->model->shape.vocabulary, n = 2 * h->model->shape.n_blocks;
    prune_status status = host_enter(h, HOST_EVALUATE);
    size_t m, s;
    for (m = 0; status == PRUNE_OK && m < n_masks; m++) {
        double sum = 0.0, weight = 0.0;
        int64_t first = 0, t;
        for (s = 0; s < batch->n_sequences; s++) {
            int64_t length = batch->sequence_lengths[s];
            double *logits = host_memory((size_t)(length * entries), sizeof *logits);
            reference_run(h->model, batch->token_ids + first, length, keep_masks + m * (size_t)n, NULL, logits);
            for (t = 1; t < length; t++) {
                double own = token_weights == NULL ? 1.0 : (double)token_weights[first + t];
                sum += own * reference_loss(logits + (t - 1) * entries, entries, batch->token_ids[first + t]);
                weight += own;
            }
            first += length;
            free(logits);
        }
        out_losses[m] = sum / weight + h->poison;
    }
    return status;
}

static void on_close(void *user_data) { ((host *)user_data)->closed++; }

void host_init(host *h, const tiny_model *model, prune_host *out)
{
    prune_host made = PRUNE_HOST_INIT;
    memset(h, 0, sizeof *h);
    h->model = model;
    h->fails = -1;
    made.user_data = h;
    made.architecture = "Reference";
    made.n_blocks = model->shape.n_blocks;
    made.hidden_size = model->shape.hidden;
    made.vocabulary_size = model->shape.vocabulary;
    made.embed = embed;
    made.apply = apply;
    made.release = release;
    made.token_losses = token_losses;
    made.logits = logits_of;
    made.distances = distances;
    made.compare = compare;
    made.read = read_state;
    made.write = write_state;
    made.norm = norm;
    made.apply_adapter = apply_adapter;
    made.vjp = host_vjp;
    made.head_vjp = host_head_vjp;
    made.evaluate = evaluate;
    made.on_close = on_close;
    *out = made;
}
