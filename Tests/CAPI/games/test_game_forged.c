/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved games with a good checksum and bad contents: what an attacker, not an accident, would send. Each is refused, or
 * is a game that works; no call traps, hangs, or takes memory that the bytes do not account for.
 */
#include <sys/resource.h>

#include "check.h"
#include "game.h"

enum {
    N = 6
};

static table_game table;
static int n_loaded, n_refused, n_wrong;

/* The checksum that the last eight bytes hold: FNV-1a with 64 bits over all before them, little-endian. */
static void seal(unsigned char *bytes, size_t n_bytes)
{
    uint64_t sum = UINT64_C(0xCBF29CE484222325);
    size_t i;
    for (i = 0; i + 8 < n_bytes; i++) {
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001B3);
    }
    for (i = 0; i < 8; i++) {
        bytes[n_bytes - 8 + i] = (unsigned char)(sum >> (8 * i));
    }
}

/* A game that loaded must take every call: an answer or an error, and a few rounds of play. */
static void use(prune_game *game, const char *what, size_t at)
{
    static double values[8192], errors[8192], square[4096];
    static uint8_t masks[4 * 8192];
    prune_game_state state = state_of(game);
    size_t count = 0, i;
    unsigned char *bytes;
    int round, fine = state.n_players >= 1 && state.n_players <= 8192 && state.told >= 0 && state.outstanding >= 0 &&
                      state.asked >= state.told;
    (void)prune_game_result(game, values, errors, 8192, NULL);
    (void)prune_game_strata(game, square, 4096, &count);
    (void)prune_game_interactions(game, square, 4096, &count);
    (void)prune_game_banzhaf(game, 0.5, values, 8192, NULL);
    for (round = 0; round < 3 && fine; round++) {
        fine = prune_game_ask(game, 4, masks, &count) == PRUNE_OK && count <= 4;
        for (i = 0; i < count && fine; i++) {
            double worth = state.n_players == N ? worth_of(&table, masks + i * N) : (double)i;
            fine = prune_game_tell(game, masks + i * (size_t)state.n_players, &worth, 1) == PRUNE_OK;
        }
        (void)prune_game_result(game, values, errors, 8192, NULL);
        fine = fine && state_of(game).n_players == state.n_players;
    }
    bytes = saved_game(game, &count);
    free(bytes);
    if (!fine && n_wrong++ < 8) {
        printf("    %s, at %d: loads, and does not work: %s\n", what, (int)at, prune_last_error());
    }
}

static void forged(unsigned char *bytes, size_t n_bytes, const char *what, size_t at)
{
    prune_game *game = NULL;
    prune_status status;
    seal(bytes, n_bytes);
    status = prune_game_load(bytes, n_bytes, &game);
    if (status == PRUNE_OK) {
        n_loaded++;
        use(game, what, at);
        prune_game_release(game);
    } else {
        n_refused++;
        if ((status != PRUNE_ERR_FORMAT && status != PRUNE_ERR_UNSUPPORTED) || game != NULL) {
            n_wrong++;
            printf("    %s, at %d: %s\n", what, (int)at, prune_status_name(status));
        }
    }
}

static void of_estimator(prune_estimator estimator)
{
    static const unsigned char values[] = { 0x00, 0x01, 0x02, 0x7F, 0x80, 0xF0, 0xFF };
    static const uint64_t words[] = { 0,
                                      1,
                                      2,
                                      63,
                                      64,
                                      8192,
                                      8193,
                                      1u << 20,
                                      UINT64_C(1) << 32,
                                      UINT64_C(1) << 47,
                                      UINT64_C(1) << 48,
                                      UINT64_C(1) << 60,
                                      UINT64_C(1) << 62,
                                      UINT64_C(1) << 63,
                                      UINT64_MAX,
                                      UINT64_C(0x7FF0000000000000),
                                      UINT64_C(0x7FF8000000000000),
                                      UINT64_C(0xBFF0000000000000),
                                      UINT64_C(0x3FF0000000000000) };
    prune_game *game = new_game(N, estimator, 5, 30);
    unsigned char *bytes, *copy;
    size_t n_bytes, i, k, b;
    CHECK(play_rounds(game, &table, 5, 3) > 0);
    bytes = saved_game(game, &n_bytes);
    copy = malloc(n_bytes);
    REQUIRE(copy != NULL);
    memcpy(copy, bytes, n_bytes);
    seal(copy, n_bytes);
    CHECK(memcmp(copy, bytes, n_bytes) == 0); /* this test knows the checksum; without it, it would test nothing */
    n_loaded = n_refused = n_wrong = 0;
    for (i = 0; i + 8 < n_bytes; i++) {
        for (k = 0; k < sizeof values; k++) {
            memcpy(copy, bytes, n_bytes);
            copy[i] = values[k];
            forged(copy, n_bytes, "one byte", i);
        }
    }
    for (i = 0; i + 16 < n_bytes && i < 200; i++) {
        for (k = 0; k < sizeof words / sizeof words[0]; k++) {
            memcpy(copy, bytes, n_bytes);
            for (b = 0; b < 8; b++) {
                copy[i + b] = (unsigned char)(words[k] >> (8 * b));
            }
            forged(copy, n_bytes, "eight bytes", i);
        }
    }
    for (i = 8; i < n_bytes; i++) {
        memcpy(copy, bytes, n_bytes);
        forged(copy, i, "cut short and sealed", i);
    }
    CHECK(n_wrong == 0);
    CHECK(n_refused > 100);
    if (n_wrong != 0) {
        printf("    estimator %d: %d loaded, %d refused, %d wrong\n", (int)estimator, n_loaded, n_refused, n_wrong);
    }
    free(copy);
    free(bytes);
    prune_game_release(game);
}

enum {
    MANY = 64
};

/* A game of many players, with its first `worths` told. */
static prune_game *long_game(int64_t n, prune_estimator estimator, double keep_probability, int64_t worths)
{
    static uint8_t masks[1024 * MANY];
    static double values[1024];
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game *game = NULL;
    size_t count = 1, i;
    options.estimator = estimator;
    options.budget = worths;
    options.keep_probability = keep_probability;
    REQUIRE(prune_game_create(n, &options, &game) == PRUNE_OK);
    while (count > 0) {
        REQUIRE(prune_game_ask(game, 1024, masks, &count) == PRUNE_OK);
        for (i = 0; i < count; i++) {
            values[i] = (double)(i % 17) / 3.0;
        }
        CHECK_OK(prune_game_tell(game, masks, values, count));
    }
    return game;
}

/* More draws than the coalitions come from, each of which every later call would go through. */
static void claimed_draws(prune_estimator estimator)
{
    prune_game *game = long_game(MANY, estimator, 0.0, 500), *again = NULL;
    prune_game_state state = state_of(game);
    size_t n_bytes, b;
    /* Before the records: draws, two counts of sublayers, and the number of records. */
    unsigned char *bytes = saved_game(game, &n_bytes), *draws;
    size_t records = (size_t)state.asked * (9 + MANY / 8);
    uint64_t claimed = ((uint64_t)state.asked + 1) * 1001, own = 0;
    REQUIRE(n_bytes > records + 40);
    draws = bytes + n_bytes - 8 - records - 32;
    for (b = 8; b-- > 0;) {
        own = own << 8 | draws[b];
    }
    CHECK(own > 0 && own < claimed);
    for (b = 0; b < 8; b++) {
        draws[b] = (unsigned char)(claimed >> (8 * b));
    }
    seal(bytes, n_bytes);
    CHECK_FAILS(prune_game_load(bytes, n_bytes, &again), PRUNE_ERR_FORMAT, "draws");
    CHECK(again == NULL);
    free(bytes);
    prune_game_release(game);
}

/* Draws that mostly bring nothing new are as many as they are: such games load, and are the same. */
static void honest_draws(prune_estimator estimator, double keep_probability, int64_t n)
{
    prune_game *game = long_game(n, estimator, keep_probability, 4000), *again = NULL;
    size_t n_bytes;
    unsigned char *bytes = saved_game(game, &n_bytes);
    CHECK_OK(prune_game_load(bytes, n_bytes, &again));
    CHECK(again != NULL && same_values(game, again, n));
    CHECK(state_of(again).done == state_of(game).done);
    free(bytes);
    prune_game_release(game);
    prune_game_release(again);
}

int main(void)
{
    struct rlimit memory = { (rlim_t)4 << 30, (rlim_t)4 << 30 };
    prune_estimator e;
    (void)setrlimit(RLIMIT_AS, &memory);
    layered_game(&table, N, 9);
    for (e = PRUNE_ESTIMATOR_EXACT; e <= PRUNE_ESTIMATOR_PAIR_DIFFERENCES; e++) {
        of_estimator(e);
    }
    for (e = PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS; e <= PRUNE_ESTIMATOR_BANZHAF; e++) {
        claimed_draws(e);
    }
    for (e = PRUNE_ESTIMATOR_PERMUTATION; e <= PRUNE_ESTIMATOR_BANZHAF; e++) {
        honest_draws(e, 0.0, 4);
    }
    honest_draws(PRUNE_ESTIMATOR_BANZHAF, 0.999, 20);
    honest_draws(PRUNE_ESTIMATOR_BANZHAF, 0.97, 24);
    honest_draws(PRUNE_ESTIMATOR_BANZHAF, 0.5, 9);
    return check_report();
}
