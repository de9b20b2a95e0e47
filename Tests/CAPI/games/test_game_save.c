/* SPDX-License-Identifier: Apache-2.0 */
/* Saved games: they go on as if they had never stopped, and damaged ones are refused. */
#include "check.h"
#include "game.h"

enum {
    N = 6,
    BATCH = 5,
    BUDGET = 40
};

static table_game table;

static prune_game *loaded(const unsigned char *bytes, size_t n_bytes)
{
    prune_game *game = NULL;
    CHECK_OK(prune_game_load(bytes, n_bytes, &game));
    REQUIRE(game != NULL);
    return game;
}

static void tell_rows(prune_game *game, const uint8_t *masks, size_t first, size_t last)
{
    for (; first < last; first++) {
        double worth = worth_of(&table, masks + first * N);
        CHECK_OK(prune_game_tell(game, masks + first * N, &worth, 1));
    }
}

static int same_state(const prune_game *a, const prune_game *b)
{
    prune_game_state x = state_of(a), y = state_of(b);
    int same_gap = x.efficiency_gap == y.efficiency_gap || (isnan(x.efficiency_gap) && isnan(y.efficiency_gap));
    int same_error = x.largest_error == y.largest_error || (isnan(x.largest_error) && isnan(y.largest_error));
    return x.done == y.done && x.n_players == y.n_players && x.asked == y.asked && x.told == y.told &&
           x.outstanding == y.outstanding && x.estimator == y.estimator && same_gap && same_error &&
           x.sublayers_computed == y.sublayers_computed && x.sublayers_naive == y.sublayers_naive;
}

/*
 * Saves after `rounds` batches, of the next one `n_told` told and the rest outstanding. The loaded game asks for those
 * again, and then both go on and end alike. Returns 0 if the game was done before.
 */
static int stage(prune_estimator estimator, uint64_t seed, int64_t rounds, size_t n_told)
{
    prune_game *game = new_game(N, estimator, seed, estimator == PRUNE_ESTIMATOR_EXACT ? 0 : BUDGET), *other;
    uint8_t asked[BATCH * N], again[BATCH * N];
    unsigned char *bytes, *end, *other_end;
    size_t n_bytes, n_end, n_other_end, count = 0, count_again = 0;
    int was_done;
    CHECK(play_rounds(game, &table, BATCH, rounds) >= 0);
    was_done = state_of(game).done;
    CHECK_OK(prune_game_ask(game, BATCH, asked, &count));
    n_told = n_told < count ? n_told : count;
    tell_rows(game, asked, 0, n_told);
    bytes = saved_game(game, &n_bytes);
    other = loaded(bytes, n_bytes);
    if (n_told == count) {
        CHECK(same_state(game, other));
        other_end = saved_game(other, &n_other_end);
        CHECK(n_other_end == n_bytes && memcmp(bytes, other_end, n_bytes) == 0);
        free(other_end);
    } else {
        CHECK(state_of(other).told == state_of(game).told && state_of(other).outstanding == 0);
        CHECK_OK(prune_game_ask(other, count - n_told, again, &count_again));
        CHECK(count_again == count - n_told);
        CHECK(memcmp(again, asked + n_told * N, count_again * N) == 0);
        tell_rows(other, again, 0, count_again);
        tell_rows(game, asked, n_told, count);
    }
    CHECK(play(game, &table, BATCH) >= 0 && play(other, &table, BATCH) >= 0);
    CHECK(same_state(game, other));
    CHECK(same_values(game, other, N));
    end = saved_game(game, &n_end);
    other_end = saved_game(other, &n_other_end);
    CHECK(n_end == n_other_end && memcmp(end, other_end, n_end) == 0);
    free(bytes);
    free(end);
    free(other_end);
    prune_game_release(game);
    prune_game_release(other);
    return !was_done;
}

static void saved_at_each_stage(void)
{
    prune_estimator e;
    uint64_t seed;
    for (e = PRUNE_ESTIMATOR_EXACT; e <= PRUNE_ESTIMATOR_PAIR_DIFFERENCES; e++) {
        int failures = check_n_failed;
        for (seed = 20; seed < 24; seed++) {
            int64_t rounds = 0;
            int more = 1;
            for (; more && rounds < 100; rounds++) {
                more = stage(e, seed, rounds, 0);
                more = stage(e, seed, rounds, 2) && more;
                more = stage(e, seed, rounds, BATCH) && more;
            }
            CHECK(rounds >= 2 && rounds < 100);
        }
        if (check_n_failed != failures) {
            printf("    estimator %d\n", (int)e);
        }
    }
}

/* The options are saved as well: bounds and what the estimators are told. */
static void options_are_saved(void)
{
    prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
    prune_game *game = NULL, *other;
    unsigned char *bytes;
    size_t n_bytes;
    int i;
    for (i = 0; i < 4; i++) {
        options.estimator = i == 0   ? PRUNE_ESTIMATOR_TRUNCATED
                            : i == 1 ? PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS
                            : i == 2 ? PRUNE_ESTIMATOR_BANZHAF
                                     : PRUNE_ESTIMATOR_ANTITHETIC;
        options.seed = UINT64_MAX - 5;
        options.budget = 55;
        options.target_error = i == 3 ? 0.15 : 0.0;
        options.least = i == 3 ? 2 : 0;
        options.certainty = 0.75;
        options.keep_probability = 0.8;
        options.subnetwork_size = 2;
        options.subnetworks_per_round = 3;
        options.truncation = 0.2;
        CHECK_OK(prune_game_create(N, &options, &game));
        bytes = saved_game(game, &n_bytes);
        other = loaded(bytes, n_bytes);
        CHECK(play(game, &table, 3) > 0 && play(other, &table, 3) > 0);
        CHECK(same_state(game, other) && same_values(game, other, N));
        free(bytes);
        prune_game_release(game);
        prune_game_release(other);
    }
}

static int n_accepted;

/* Bytes that are not a game. A handful of failures is printed, not thousands. */
static void refuse(const unsigned char *bytes, size_t n_bytes, const char *what, size_t at)
{
    prune_game *game = (prune_game *)(uintptr_t)0x10;
    prune_status status = prune_game_load(bytes, n_bytes, &game);
    int fine = (status == PRUNE_ERR_FORMAT || status == PRUNE_ERR_UNSUPPORTED) && game == NULL &&
               prune_last_error()[0] != '\0';
    if (!fine && n_accepted++ < 8) {
        printf("    %s, at %d: %s\n", what, (int)at, prune_status_name(status));
    }
    if (status == PRUNE_OK) {
        prune_game_release(game);
    }
}

static void damaged(prune_estimator estimator)
{
    static const unsigned char flips[4] = { 0x01, 0x80, 0xFF, 0x24 };
    prune_game *game = new_game(N, estimator, 5, BUDGET);
    unsigned char *bytes, *longer;
    size_t n_bytes, i, k;
    CHECK(play_rounds(game, &table, BATCH, 3) > 0);
    bytes = saved_game(game, &n_bytes);
    n_accepted = 0;
    for (i = 0; i < n_bytes; i++) {
        refuse(bytes, i, "cut short", i);
    }
    CHECK(n_accepted == 0);
    n_accepted = 0;
    for (i = 0; i < n_bytes; i++) {
        for (k = 0; k < 4; k++) {
            bytes[i] ^= flips[k];
            refuse(bytes, n_bytes, "one byte changed", i);
            bytes[i] ^= flips[k];
        }
    }
    for (i = 0; i < 16; i++) { /* mark and version: every value */
        unsigned char was = bytes[i];
        for (k = 1; k < 256; k++) {
            bytes[i] = (unsigned char)(was + k);
            refuse(bytes, n_bytes, "one byte of the start changed", i);
        }
        bytes[i] = was;
    }
    CHECK(n_accepted == 0);
    n_accepted = 0;
    longer = calloc(1, 2 * n_bytes);
    REQUIRE(longer != NULL);
    memcpy(longer, bytes, n_bytes);
    for (i = 1; i < n_bytes; i++) {
        refuse(longer, n_bytes + i, "zeros behind it", i);
    }
    memcpy(longer + n_bytes, bytes, n_bytes);
    refuse(longer, 2 * n_bytes, "twice", 0);
    refuse(longer + 1, n_bytes, "shifted", 1);
    CHECK(n_accepted == 0);
    prune_game_release(loaded(bytes, n_bytes)); /* it was whole all the time */
    free(longer);
    free(bytes);
    prune_game_release(game);
}

static void bytes_of_something_else(void)
{
    static unsigned char bytes[5000];
    static const char *const texts[] = { "", "{}", "{\"format\": \"prunecore.mask\"}", "\x89PNG\r\n\x1a\n",
                                         "PK\x03\x04" };
    size_t i, k;
    prune_game *game = (prune_game *)(uintptr_t)0x10;
    n_accepted = 0;
    for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, texts[i], strlen(texts[i]));
        refuse(bytes, strlen(texts[i]), "another format", i);
        refuse(bytes, sizeof bytes, "another format, and zeros", i);
    }
    for (k = 0; k < 256; k += 51) {
        memset(bytes, (int)k, sizeof bytes);
        for (i = 0; i <= sizeof bytes; i += 1 + i / 8) {
            refuse(bytes, i, "one byte over and over", i);
        }
    }
    CHECK(n_accepted == 0);
    CHECK_FAILS(prune_game_load(bytes, 0, &game), PRUNE_ERR_FORMAT, "game"); /* no bytes at all */
    CHECK(prune_game_load(bytes, SIZE_MAX, &game) != PRUNE_OK);
    CHECK(game == NULL);
}

int main(void)
{
    layered_game(&table, N, 77);
    saved_at_each_stage();
    options_are_saved();
    damaged(PRUNE_ESTIMATOR_EXACT);
    damaged(PRUNE_ESTIMATOR_SURROGATE);
    bytes_of_something_else();
    return check_report();
}
