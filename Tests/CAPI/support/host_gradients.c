/* SPDX-License-Identifier: Apache-2.0 */
#include "host_gradients.h"

#include <stdlib.h>
#include <string.h>

#include "host_states.h"
#include "reference.h"

static const double step = 1e-5; /* of central differences */

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0.0;
    size_t i;
    for (i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

prune_status host_vjp(void *user_data, int64_t sublayer, const prune_host_state *states,
                      const prune_host_state *gradients, size_t n, prune_host_state *out)
{
    host *h = user_data;
    prune_status status = host_enter(h, HOST_VJP);
    size_t s, i;
    for (s = 0; status == PRUNE_OK && s < n; s++) {
        const host_state *at = states[s], *of = gradients[s];
        size_t count = at->n_tokens * (size_t)host_width(h);
        double *moved = host_memory(count, sizeof *moved);
        host_state *made;
        if (host_gives_nothing(h, HOST_VJP)) {
            free(moved);
            break;
        }
        made = host_new_state(h, at->lengths, at->n_sequences);
        for (i = 0; i < count; i++) {
            int sign;
            for (sign = -1; sign <= 1; sign += 2) {
                memcpy(moved, at->values, count * sizeof *moved);
                moved[i] += sign * step;
                host_run(h, sublayer, at, moved);
                made->values[i] += sign * dot(moved, of->values, count) / (2.0 * step);
            }
        }
        free(moved);
        out[s] = made;
    }
    return status;
}

prune_status host_head_vjp(void *user_data, prune_host_state given, prune_objective objective,
                           prune_host_state reference, const int64_t *rows, const int32_t *tokens, const float *weights,
                           size_t n, float *out_losses, prune_host_state *out)
{
    host *h = user_data;
    const host_state *own = given;
    int64_t entries = h->model->shape.vocabulary, i;
    double *a = host_memory((size_t)entries, sizeof *a), *b = host_memory((size_t)entries, sizeof *b);
    double *moved = host_memory((size_t)host_width(h), sizeof *moved);
    prune_status status = host_enter(h, HOST_HEAD_VJP);
    host_state *made = NULL;
    size_t r;
    if ((objective == PRUNE_OBJECTIVE_CE) != (tokens != NULL) ||
        (objective == PRUNE_OBJECTIVE_CE) != (reference == NULL)) {
        abort();
    }
    if (status == PRUNE_OK && !host_gives_nothing(h, HOST_HEAD_VJP)) {
        made = host_new_state(h, own->lengths, own->n_sequences);
    }
    for (r = 0; made != NULL && r < n; r++) {
        prune_distance kind = objective == PRUNE_OBJECTIVE_KL ? PRUNE_DISTANCE_KL : PRUNE_DISTANCE_JS;
        if (reference != NULL) {
            host_head(h, reference, rows[r], b);
        }
        host_head(h, own, rows[r], a);
        out_losses[r] =
            (float)(tokens != NULL ? reference_loss(a, entries, tokens[r]) : host_distance(kind, a, b, entries));
        for (i = 0; i < host_width(h); i++) {
            int sign;
            for (sign = -1; sign <= 1; sign += 2) {
                double loss;
                memcpy(moved, own->values + rows[r] * host_width(h), (size_t)host_width(h) * sizeof *moved);
                moved[i] += sign * step;
                reference_head(h->model, moved, a);
                loss = tokens != NULL ? reference_loss(a, entries, tokens[r]) : host_distance(kind, a, b, entries);
                made->values[rows[r] * host_width(h) + i] += sign * loss * (double)weights[r] / (2.0 * step);
            }
        }
    }
    free(a), free(b), free(moved);
    if (made != NULL) {
        *out = made;
    }
    return status;
}
