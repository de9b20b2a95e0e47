/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <math.h>
#include <string.h>

#include "reference.h"

enum {
    HIDDEN = FIXTURE_HIDDEN,
    LONGEST = 7,
    STATES = FIXTURE_SUBLAYERS + 1
};

static double cosine(const double *h, const double *g)
{
    double hh = 0.0, gg = 0.0, hg = 0.0;
    int i;
    for (i = 0; i < HIDDEN; i++) {
        hh += h[i] * h[i];
        gg += g[i] * g[i];
        hg += h[i] * g[i];
    }
    return fmin(1.0, fmax(-1.0, hg / sqrt(hh * gg)));
}

/* Adds the metrics of one token to sums[6]. */
static void add_token(const double *h, const double *g, int32_t relative_to, double *sums)
{
    const double *base = relative_to == PRUNE_RELATIVE_TO_OUTPUT ? g : h;
    double l1 = 0.0, l2 = 0.0, base_l1 = 0.0, base_l2 = 0.0;
    int i;
    for (i = 0; i < HIDDEN; i++) {
        l1 += fabs(g[i] - h[i]);
        l2 += (g[i] - h[i]) * (g[i] - h[i]);
        base_l1 += fabs(base[i]);
        base_l2 += base[i] * base[i];
    }
    sums[0] += 1.0 - cosine(h, g);
    sums[1] += acos(cosine(h, g)) / acos(-1.0);
    sums[2] += l1;
    sums[3] += sqrt(l2);
    sums[4] += l1 / base_l1;
    sums[5] += sqrt(l2) / sqrt(base_l2);
}

void expected_scores(const fixture *f, int64_t n_sequences, prune_granularity granularity, const uint8_t *keep,
                     int32_t relative_to, int32_t tokens, double *out)
{
    static double states[STATES * LONGEST * HIDDEN];
    int64_t units = granularity == PRUNE_GRANULARITY_SUBLAYER ? FIXTURE_SUBLAYERS : FIXTURE_BLOCKS;
    int64_t start = 0, counted = 0, s, t, unit, m;
    memset(out, 0, (size_t)(6 * units) * sizeof *out);
    for (s = 0; s < n_sequences; s++) {
        int64_t n = fixture_lengths[s];
        reference_run(&f->weights, fixture_ids + start, n, keep, states, NULL);
        for (t = tokens == PRUNE_TOKENS_LAST ? n - 1 : 0; t < n; t++) {
            counted++;
            for (unit = 0; unit < units; unit++) {
                int64_t first = granularity == PRUNE_GRANULARITY_SUBLAYER       ? unit
                                : granularity == PRUNE_GRANULARITY_FEED_FORWARD ? 2 * unit + 1
                                                                                : 2 * unit;
                int64_t after = granularity == PRUNE_GRANULARITY_BLOCK ? first + 2 : first + 1;
                double sums[6] = { 0, 0, 0, 0, 0, 0 };
                add_token(states + (first * n + t) * HIDDEN, states + (after * n + t) * HIDDEN, relative_to, sums);
                for (m = 0; m < 6; m++) {
                    out[m * units + unit] += sums[m];
                }
            }
        }
        start += n;
    }
    for (m = 0; m < 6 * units; m++) {
        out[m] /= (double)counted;
    }
}

double expected_angular(const fixture *f, int64_t a, int64_t b)
{
    static double states[STATES * LONGEST * HIDDEN];
    double sum = 0.0;
    int64_t start = 0, s, t;
    for (s = 0; s < FIXTURE_SEQUENCES; s++) {
        int64_t n = fixture_lengths[s];
        reference_run(&f->weights, fixture_ids + start, n, NULL, states, NULL);
        for (t = 0; t < n; t++) {
            sum += acos(cosine(states + (a * n + t) * HIDDEN, states + (b * n + t) * HIDDEN)) / acos(-1.0);
        }
        start += n;
    }
    return sum / FIXTURE_TOKENS;
}
