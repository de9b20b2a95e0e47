/* SPDX-License-Identifier: Apache-2.0 */
#include "host_states.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

void *host_memory(size_t count, size_t size)
{
    void *found = calloc(count == 0 ? 1 : count, size);
    if (found == NULL) {
        abort();
    }
    return found;
}

prune_status host_enter(host *h, int callback)
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

int host_gives_nothing(const host *h, int callback)
{
    return h->gives_null && h->fails == callback && h->fails_at == h->calls[callback] - 1;
}

int64_t host_width(const host *h) { return h->model->shape.hidden; }

host_state *host_new_state(host *h, const int64_t *lengths, size_t n_sequences)
{
    host_state *made = host_memory(1, sizeof *made);
    size_t i;
    made->lengths = host_memory(n_sequences, sizeof *made->lengths);
    made->n_sequences = n_sequences;
    for (i = 0; i < n_sequences; i++) {
        made->lengths[i] = lengths[i];
        made->n_tokens += (size_t)lengths[i];
    }
    made->values = host_memory(made->n_tokens * (size_t)host_width(h), sizeof *made->values);
    h->live++;
    return made;
}

host_state *host_copy_state(host *h, const host_state *from)
{
    host_state *made = host_new_state(h, from->lengths, from->n_sequences);
    memcpy(made->values, from->values, from->n_tokens * (size_t)host_width(h) * sizeof *made->values);
    return made;
}

void host_run(const host *h, int64_t sublayer, const host_state *at, double *values)
{
    size_t s;
    for (s = 0; s < at->n_sequences; s++) {
        reference_sublayer(h->model, sublayer, at->lengths[s], values);
        values += at->lengths[s] * host_width(h);
    }
}

void host_head(const host *h, const host_state *from, int64_t row, double *logits)
{
    reference_head(h->model, from->values + row * host_width(h), logits);
}

double host_distance(prune_distance kind, const double *a, const double *b, int64_t n)
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
