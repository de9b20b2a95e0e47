/* SPDX-License-Identifier: Apache-2.0 */
#include "game.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t size_of(size_t coalition)
{
    size_t size = 0;
    for (; coalition != 0; coalition &= coalition - 1) {
        size++;
    }
    return size;
}

static int has(size_t coalition, int64_t player) { return (int)(coalition >> player & 1); }

static double factorial(double n) { return tgamma(n + 1.0); }

/* splitmix64, as a number in [0, 1) */
static double next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

void additive_game(table_game *table, int64_t n, const double *of_player)
{
    size_t s;
    int64_t i;
    table->n = n;
    for (s = 0; s < (size_t)1 << n; s++) {
        table->worth[s] = 0.0;
        for (i = 0; i < n; i++) {
            table->worth[s] += has(s, i) ? of_player[i] : 0.0;
        }
    }
}

void glove_game(table_game *table)
{
    size_t s;
    table->n = 3;
    for (s = 0; s < 8; s++) {
        table->worth[s] = has(s, 2) && (has(s, 0) || has(s, 1)) ? 1.0 : 0.0;
    }
}

void airport_game(table_game *table, int64_t n)
{
    size_t s;
    int64_t i;
    table->n = n;
    for (s = 0; s < (size_t)1 << n; s++) {
        table->worth[s] = 0.0;
        for (i = 0; i < n; i++) {
            table->worth[s] = has(s, i) ? (double)(i + 1) : table->worth[s];
        }
    }
}

void random_game(table_game *table, int64_t n, uint64_t seed)
{
    size_t s;
    table->n = n;
    for (s = 0; s < (size_t)1 << n; s++) {
        table->worth[s] = next_random(&seed);
    }
}

void layered_game(table_game *table, int64_t n, uint64_t seed)
{
    double alone[TABLE_PLAYERS], together[TABLE_PLAYERS][TABLE_PLAYERS];
    size_t s;
    int64_t i, j;
    table->n = n;
    for (i = 0; i < n; i++) {
        alone[i] = 0.2 + next_random(&seed);
        for (j = 0; j < i; j++) {
            together[i][j] = 0.3 * (next_random(&seed) - 0.5);
        }
    }
    for (s = 0; s < (size_t)1 << n; s++) {
        double sum = -0.35 * (double)n;
        for (i = 0; i < n; i++) {
            sum += has(s, i) ? alone[i] : 0.0;
            for (j = 0; j < i; j++) {
                sum += has(s, i) && has(s, j) ? together[i][j] : 0.0;
            }
        }
        table->worth[s] = sum > 0.0 ? sum : 0.0;
    }
}

size_t coalition_of(const uint8_t *mask, int64_t n)
{
    size_t s = 0;
    int64_t i;
    for (i = 0; i < n; i++) {
        s |= (size_t)(mask[i] & 1) << i;
    }
    return s;
}

double worth_of(const table_game *table, const uint8_t *mask) { return table->worth[coalition_of(mask, table->n)]; }

void exact_shapley(const table_game *table, double *values)
{
    double n = (double)table->n;
    size_t s;
    int64_t i;
    for (i = 0; i < table->n; i++) {
        values[i] = 0.0;
        for (s = 0; s < (size_t)1 << table->n; s++) {
            if (!has(s, i)) {
                double size = (double)size_of(s);
                double weight = factorial(size) * factorial(n - size - 1.0) / factorial(n);
                values[i] += weight * (table->worth[s | (size_t)1 << i] - table->worth[s]);
            }
        }
    }
}

void exact_banzhaf(const table_game *table, double keep_probability, double *values)
{
    size_t s;
    int64_t i;
    for (i = 0; i < table->n; i++) {
        values[i] = 0.0;
        for (s = 0; s < (size_t)1 << table->n; s++) {
            if (!has(s, i)) {
                double kept = (double)size_of(s), left = (double)(table->n - 1) - kept;
                double weight = pow(keep_probability, kept) * pow(1.0 - keep_probability, left);
                values[i] += weight * (table->worth[s | (size_t)1 << i] - table->worth[s]);
            }
        }
    }
}

void exact_strata(const table_game *table, double *strata)
{
    int64_t i, k;
    size_t s;
    for (i = 0; i < table->n; i++) {
        for (k = 1; k < table->n; k++) {
            double sum[2] = { 0.0, 0.0 };
            int64_t count[2] = { 0, 0 };
            for (s = 0; s < (size_t)1 << table->n; s++) {
                if ((int64_t)size_of(s) == k) {
                    sum[has(s, i)] += table->worth[s];
                    count[has(s, i)]++;
                }
            }
            strata[i * (table->n - 1) + k - 1] = sum[1] / (double)count[1] - sum[0] / (double)count[0];
        }
    }
}

void exact_interactions(const table_game *table, double *interactions)
{
    double n = (double)table->n;
    int64_t i, j;
    size_t s;
    for (i = 0; i < table->n; i++) {
        for (j = 0; j < table->n; j++) {
            double *out = &interactions[i * table->n + j];
            *out = 0.0;
            for (s = 0; i != j && s < (size_t)1 << table->n; s++) {
                if (!has(s, i) && !has(s, j)) {
                    size_t with_i = s | (size_t)1 << i, with_j = s | (size_t)1 << j;
                    double size = (double)size_of(s);
                    *out +=
                        factorial(size) * factorial(n - size - 2.0) / factorial(n - 1.0) *
                        (table->worth[with_i | with_j] - table->worth[with_i] - table->worth[with_j] + table->worth[s]);
                }
            }
        }
    }
}

prune_game *new_game(int64_t n, prune_estimator estimator, uint64_t seed, int64_t budget)
{
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game *game = NULL;
    options.estimator = estimator;
    options.seed = seed;
    options.budget = budget;
    (void)prune_game_create(n, &options, &game);
    return game;
}

prune_game_state state_of(const prune_game *game)
{
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    if (prune_game_info(game, &state) != PRUNE_OK) {
        memset(&state, 0, sizeof state);
    }
    return state;
}

int64_t play_rounds(prune_game *game, const table_game *table, size_t batch, int64_t rounds)
{
    uint8_t *masks = malloc(batch * (size_t)table->n);
    double *values = malloc(batch * sizeof *values);
    int64_t told = 0;
    size_t count = 1, i;
    /* Whatever is asked for is told before more is asked for: so nothing more means that the game is done. */
    for (; count > 0 && rounds > 0; rounds--) {
        if (prune_game_ask(game, batch, masks, &count) != PRUNE_OK || count > batch) {
            told = -1;
            break;
        }
        for (i = 0; i < count; i++) {
            values[i] = worth_of(table, masks + i * (size_t)table->n);
        }
        if (count > 0 && prune_game_tell(game, masks, values, count) != PRUNE_OK) {
            told = -1;
            break;
        }
        told += (int64_t)count;
    }
    free(masks);
    free(values);
    return told;
}

int64_t play(prune_game *game, const table_game *table, size_t batch)
{
    int64_t told = play_rounds(game, table, batch, 1000000);
    return state_of(game).done ? told : -1;
}

unsigned char *saved_game(const prune_game *game, size_t *out_bytes)
{
    unsigned char none, *bytes = NULL;
    size_t count = 0;
    if (prune_game_save(game, &none, 0, &count) == PRUNE_ERR_BUFFER) {
        bytes = malloc(count);
    }
    if (bytes == NULL || prune_game_save(game, bytes, count, out_bytes) != PRUNE_OK || *out_bytes != count) {
        fprintf(stderr, "game: cannot be saved: %s\n", prune_last_error());
        exit(2);
    }
    return bytes;
}

int same_values(const prune_game *a, const prune_game *b, int64_t n)
{
    double values[2][64], errors[2][64];
    size_t bytes = (size_t)n * sizeof(double);
    return n <= 64 && prune_game_result(a, values[0], errors[0], (size_t)n, NULL) == PRUNE_OK &&
           prune_game_result(b, values[1], errors[1], (size_t)n, NULL) == PRUNE_OK &&
           memcmp(values[0], values[1], bytes) == 0 && memcmp(errors[0], errors[1], bytes) == 0;
}
