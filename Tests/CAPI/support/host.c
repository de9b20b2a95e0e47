/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

/* A hidden state: its sequences, and a row of doubles per token. */
typedef struct state {
    int64_t *lengths;
    size_t n_sequences, n_tokens;
    double *values;
} state;

static const double step = 1e-5; /* of central differences */

static void *memory(size_t count, size_t size)
{
    void *found = calloc(count == 0 ? 1 : count, size);
    if (found == NULL) {
        abort();
    }
    return found;
}

/* Counts a call; non-zero if it is the one that is to fail. */
static prune_status enter(host *h, int callback)
{
    long number = h->calls[callback]++;
    if (h->inside != NULL) {
        h->inside(h->inside_data);
    }
    if (h->fails != callback || h->fails_at != number || h->gives_null) {
        return PRUNE_OK;
    }
    if (h->sentence != NULL) {
        prune_host_error_set(h->sentence);
    }
    return h->fails_with;
}

/* Whether a call gives NULL for its state. */
static int gives_nothing(const host *h, int callback)
{
    return h->gives_null && h->fails == callback && h->fails_at == h->calls[callback] - 1;
}

static int64_t width(const host *h) { return h->model->shape.hidden; }

static state *new_state(host *h, const int64_t *lengths, size_t n_sequences)
{
    state *made = memory(1, sizeof *made);
    size_t i;
    made->lengths = memory(n_sequences, sizeof *made->lengths);
    made->n_sequences = n_sequences;
    for (i = 0; i < n_sequences; i++) {
        made->lengths[i] = lengths[i];
        made->n_tokens += (size_t)lengths[i];
    }
    made->values = memory(made->n_tokens * (size_t)width(h), sizeof *made->values);
    h->live++;
    return made;
}

static state *copy(host *h, const state *from)
{
    state *made = new_state(h, from->lengths, from->n_sequences);
    memcpy(made->values, from->values, from->n_tokens * (size_t)width(h) * sizeof *made->values);
    return made;
}

static prune_status embed(void *user_data, const prune_host_batch *batch, prune_host_state *out)
{
    host *h = user_data;
    prune_status status = enter(h, HOST_EMBED);
    state *made;
    size_t t;
    int64_t i;
    if (status != PRUNE_OK) {
        return status;
    }
    if (gives_nothing(h, HOST_EMBED)) {
        return PRUNE_OK;
    }
    made = new_state(h, batch->sequence_lengths, batch->n_sequences);
    if (batch->struct_size != sizeof *batch || batch->reserved != 0 || made->n_tokens != batch->n_tokens) {
        abort();
    }
    for (t = 0; t < made->n_tokens; t++) {
        for (i = 0; i < width(h); i++) {
            made->values[(int64_t)t * width(h) + i] =
                (double)h->model->tensors[0].values[batch->token_ids[t] * width(h) + i];
        }
    }
    *out = made;
    return PRUNE_OK;
}

static void run(const host *h, int64_t sublayer, const state *at, double *values)
{
    size_t s;
    for (s = 0; s < at->n_sequences; s++) {
        reference_sublayer(h->model, sublayer, at->lengths[s], values);
        values += at->lengths[s] * width(h);
    }
}

static prune_status apply(void *user_data, int64_t sublayer, const prune_host_state *states, size_t n,
                          prune_host_state *out)
{
    host *h = user_data;
    prune_status status = enter(h, HOST_APPLY);
    size_t i;
    for (i = 0; status == PRUNE_OK && i < n; i++) {
        state *made;
        if (i == n - 1 && gives_nothing(h, HOST_APPLY)) {
            break;
        }
        made = copy(h, states[i]);
        run(h, sublayer, made, made->values);
        made->values[0] += h->poison;
        out[i] = made;
    }
    return status;
}

static void release(void *user_data, prune_host_state given)
{
    host *h = user_data;
    state *own = given;
    h->calls[HOST_RELEASE]++;
    h->live--;
    free(own->lengths), free(own->values), free(own);
}

static void head(const host *h, const state *from, int64_t row, double *logits)
{
    reference_head(h->model, from->values + row * width(h), logits);
}

static prune_status token_losses(void *user_data, prune_host_state given, const int64_t *rows, const int32_t *tokens,
                                 size_t n, float *out)
{
    host *h = user_data;
    int64_t entries = h->model->shape.vocabulary;
    double *logits = memory((size_t)entries, sizeof *logits);
    prune_status status = enter(h, HOST_TOKEN_LOSSES);
    size_t i;
    for (i = 0; status == PRUNE_OK && i < n; i++) {
        head(h, given, rows[i], logits);
        out[i] = (float)(reference_loss(logits, entries, tokens[i]) + (i == 0 ? h->poison : 0.0));
    }
    free(logits);
    return status;
}

static prune_status logits_of(void *user_data, prune_host_state given, int64_t first, int64_t n, float *out)
{
    host *h = user_data;
    int64_t entries = h->model->shape.vocabulary, row, i;
    double *logits = memory((size_t)entries, sizeof *logits);
    prune_status status = enter(h, HOST_LOGITS);
    for (row = 0; status == PRUNE_OK && row < n; row++) {
        head(h, given, first + row, logits);
        for (i = 0; i < entries; i++) {
            out[row * entries + i] = (float)logits[i];
        }
    }
    free(logits);
    return status;
}

/* The distance of two rows of logits, a of the state and b of the reference. */
static double distance(prune_distance kind, const double *a, const double *b, int64_t n)
{
    double sum = 0.0;
    int64_t i;
    for (i = 0; i < n; i++) {
        double q, p, m;
        if (kind == PRUNE_DISTANCE_L2) {
            sum += (a[i] - b[i]) * (a[i] - b[i]);
            continue;
        }
        q = exp(-reference_loss(a, n, (int32_t)i));
        p = exp(-reference_loss(b, n, (int32_t)i));
        m = (p + q) / 2.0;
        sum += kind == PRUNE_DISTANCE_KL ? p * log(p / q) : (p * log(p / m) + q * log(q / m)) / 2.0;
    }
    return kind == PRUNE_DISTANCE_L2 ? sqrt(sum) : sum;
}

static prune_status distances(void *user_data, prune_host_state given, prune_host_state reference, prune_distance kind,
                              const int64_t *rows, size_t n, float *out)
{
    host *h = user_data;
    int64_t entries = h->model->shape.vocabulary;
    double *a = memory((size_t)entries, sizeof *a), *b = memory((size_t)entries, sizeof *b);
    prune_status status = enter(h, HOST_DISTANCES);
    size_t i;
    for (i = 0; status == PRUNE_OK && i < n; i++) {
        head(h, given, rows[i], a);
        head(h, reference, rows[i], b);
        out[i] = (float)distance(kind, a, b, entries);
    }
    free(a), free(b);
    return status;
}

static prune_status compare(void *user_data, prune_host_state before, prune_host_state after, const int64_t *rows,
                            size_t n, prune_comparison *out)
{
    host *h = user_data;
    const state *one = before, *two = after;
    prune_status status = enter(h, HOST_COMPARE);
    size_t r;
    int64_t i;
    for (r = 0; status == PRUNE_OK && r < n; r++) {
        prune_comparison sum = { 0.0, 0.0, 0.0, 0.0, 0.0, 0.0 };
        for (i = rows[r] * width(h); i < (rows[r] + 1) * width(h); i++) {
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
    const state *own = given;
    prune_status status = enter(h, HOST_READ);
    size_t i;
    for (i = 0; status == PRUNE_OK && i < own->n_tokens * (size_t)width(h); i++) {
        out[i] = (float)own->values[i];
    }
    return status;
}

static prune_status write_state(void *user_data, prune_host_state like, const float *values, prune_host_state *out)
{
    host *h = user_data;
    const state *own = like;
    prune_status status = enter(h, HOST_WRITE);
    state *made;
    size_t i;
    if (status != PRUNE_OK || gives_nothing(h, HOST_WRITE)) {
        return status;
    }
    made = new_state(h, own->lengths, own->n_sequences);
    for (i = 0; i < own->n_tokens * (size_t)width(h); i++) {
        made->values[i] = (double)values[i];
    }
    *out = made;
    return PRUNE_OK;
}

static prune_status norm(void *user_data, int64_t sublayer, float *out_gain, float *out_epsilon)
{
    host *h = user_data;
    prune_status status = enter(h, HOST_NORM);
    if (status == PRUNE_OK) {
        memcpy(out_gain, reference_norm(h->model, sublayer), (size_t)width(h) * sizeof *out_gain);
        *out_epsilon = 1e-5f;
    }
    return status;
}

static prune_status apply_adapter(void *user_data, const prune_host_adapter *adapter, prune_host_state given,
                                  prune_host_state *out)
{
    host *h = user_data;
    int64_t d = width(h), i, j, k;
    double *x = memory((size_t)d, sizeof *x);
    prune_status status = enter(h, HOST_APPLY_ADAPTER);
    state *made;
    size_t t;
    if (status != PRUNE_OK || gives_nothing(h, HOST_APPLY_ADAPTER)) {
        free(x);
        return status;
    }
    if (adapter->struct_size != sizeof *adapter || adapter->hidden_size != d || adapter->reserved != 0 ||
        (adapter->kind == PRUNE_ADAPTER_LOW_RANK) !=
            (adapter->down != NULL && adapter->up != NULL && adapter->rank > 0) ||
        (adapter->kind == PRUNE_ADAPTER_LINEAR) != (adapter->matrix != NULL)) {
        abort();
    }
    made = copy(h, given);
    for (t = 0; t < made->n_tokens; t++) {
        double *row = made->values + (int64_t)t * d, squares = 0.0;
        for (i = 0; i < d; i++) {
            squares += row[i] * row[i];
        }
        for (i = 0; i < d; i++) {
            x[i] = adapter->norm_gain == NULL ? row[i]
                                              : (double)adapter->norm_gain[i] * row[i] /
                                                    sqrt(squares / (double)d + (double)adapter->norm_epsilon);
        }
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

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0.0;
    size_t i;
    for (i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static prune_status vjp(void *user_data, int64_t sublayer, const prune_host_state *states,
                        const prune_host_state *gradients, size_t n, prune_host_state *out)
{
    host *h = user_data;
    prune_status status = enter(h, HOST_VJP);
    size_t s, i;
    for (s = 0; status == PRUNE_OK && s < n; s++) {
        const state *at = states[s], *of = gradients[s];
        size_t count = at->n_tokens * (size_t)width(h);
        double *moved = memory(count, sizeof *moved);
        state *made;
        if (gives_nothing(h, HOST_VJP)) {
            free(moved);
            break;
        }
        made = new_state(h, at->lengths, at->n_sequences);
        for (i = 0; i < count; i++) {
            int sign;
            for (sign = -1; sign <= 1; sign += 2) {
                memcpy(moved, at->values, count * sizeof *moved);
                moved[i] += sign * step;
                run(h, sublayer, at, moved);
                made->values[i] += sign * dot(moved, of->values, count) / (2.0 * step);
            }
        }
        free(moved);
        out[s] = made;
    }
    return status;
}

static prune_status head_vjp(void *user_data, prune_host_state given, prune_objective objective,
                             prune_host_state reference, const int64_t *rows, const int32_t *tokens,
                             const float *weights, size_t n, float *out_losses, prune_host_state *out)
{
    host *h = user_data;
    const state *own = given;
    int64_t entries = h->model->shape.vocabulary, i;
    double *a = memory((size_t)entries, sizeof *a), *b = memory((size_t)entries, sizeof *b);
    double *moved = memory((size_t)width(h), sizeof *moved);
    prune_status status = enter(h, HOST_HEAD_VJP);
    state *made = NULL;
    size_t r;
    if ((objective == PRUNE_OBJECTIVE_CE) != (tokens != NULL) ||
        (objective == PRUNE_OBJECTIVE_CE) != (reference == NULL)) {
        abort();
    }
    if (status == PRUNE_OK && !gives_nothing(h, HOST_HEAD_VJP)) {
        made = new_state(h, own->lengths, own->n_sequences);
    }
    for (r = 0; made != NULL && r < n; r++) {
        prune_distance kind = objective == PRUNE_OBJECTIVE_KL ? PRUNE_DISTANCE_KL : PRUNE_DISTANCE_JS;
        if (reference != NULL) {
            head(h, reference, rows[r], b);
        }
        head(h, own, rows[r], a);
        out_losses[r] = (float)(tokens != NULL ? reference_loss(a, entries, tokens[r]) : distance(kind, a, b, entries));
        for (i = 0; i < width(h); i++) {
            int sign;
            for (sign = -1; sign <= 1; sign += 2) {
                double loss;
                memcpy(moved, own->values + rows[r] * width(h), (size_t)width(h) * sizeof *moved);
                moved[i] += sign * step;
                reference_head(h->model, moved, a);
                loss = tokens != NULL ? reference_loss(a, entries, tokens[r]) : distance(kind, a, b, entries);
                made->values[rows[r] * width(h) + i] += sign * loss * (double)weights[r] / (2.0 * step);
            }
        }
    }
    free(a), free(b), free(moved);
    if (made != NULL) {
        *out = made;
    }
    return status;
}

static prune_status evaluate(void *user_data, const prune_host_batch *batch, const float *token_weights,
                             const uint8_t *keep_masks, size_t n_masks, double *out_losses)
{
    host *h = user_data;
    int64_t entries = h->model->shape.vocabulary, n = 2 * h->model->shape.n_blocks;
    prune_status status = enter(h, HOST_EVALUATE);
    size_t m, s;
    for (m = 0; status == PRUNE_OK && m < n_masks; m++) {
        double sum = 0.0, weight = 0.0;
        int64_t first = 0, t;
        for (s = 0; s < batch->n_sequences; s++) {
            int64_t length = batch->sequence_lengths[s];
            double *logits = memory((size_t)(length * entries), sizeof *logits);
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
    made.vjp = vjp;
    made.head_vjp = head_vjp;
    made.evaluate = evaluate;
    made.on_close = on_close;
    *out = made;
}
