/* SPDX-License-Identifier: Apache-2.0 */
/* Games given as a table of worths, their exact values by enumeration, and playing them by ask and tell. */
#ifndef GAME_H
#define GAME_H

#include "prunecore.h"

#define TABLE_PLAYERS 10
#define TABLE_SIZE (1 << TABLE_PLAYERS)

/* worth[S]: bit i of S says that player i is in the coalition. */
typedef struct table_game {
    int64_t n;
    double worth[TABLE_SIZE];
} table_game;

/* Worth = the sum of what each member has. */
void additive_game(table_game *table, int64_t n, const double *of_player);

/* Players 0 and 1 have a left glove, player 2 a right one; a pair is worth 1. Shapley values 1/6, 1/6, 4/6. */
void glove_game(table_game *table);

/* Player i needs a runway of length i + 1; a coalition costs its longest. Player i adds 1/n + .. + 1/(n-i). */
void airport_game(table_game *table, int64_t n);

/* Every worth drawn on its own from [0, 1): no structure at all. */
void random_game(table_game *table, int64_t n, uint64_t seed);

/* Players that matter by different amounts and help or hinder each other; too few are worth nothing. Like layers. */
void layered_game(table_game *table, int64_t n, uint64_t seed);

size_t coalition_of(const uint8_t *mask, int64_t n);
double worth_of(const table_game *table, const uint8_t *mask);

/* From the definitions, over all coalitions. n, n, n * (n - 1) and n * n values. */
void exact_shapley(const table_game *table, double *values);
void exact_banzhaf(const table_game *table, double keep_probability, double *values);
void exact_strata(const table_game *table, double *strata);
void exact_interactions(const table_game *table, double *interactions);

/* A game of these options; NULL if it is refused. */
prune_game *new_game(int64_t n, prune_estimator estimator, uint64_t seed, int64_t budget);

/*
 * Asks for `batch` coalitions at a time and tells their worths, until the game wants nothing more, at most `rounds`
 * times. Returns the number of worths told, or -1 if a call fails.
 */
int64_t play_rounds(prune_game *game, const table_game *table, size_t batch, int64_t rounds);

/* The same until the game is done; -1 too if it wants nothing more although it is not. */
int64_t play(prune_game *game, const table_game *table, size_t batch);

/* Where a game stands; all zero if the call fails. */
prune_game_state state_of(const prune_game *game);

/* The saved game, to be freed; ends the program if it cannot be had. */
unsigned char *saved_game(const prune_game *game, size_t *out_bytes);

/* Whether two games have the same values and standard errors, bit for bit. n at most 64. */
int same_values(const prune_game *a, const prune_game *b, int64_t n);

#endif
