/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "changes.h"
#include "executions.h"
#include "parsers.h"

#include "../../CAPI/support/tiny_gguf.h"

static void seed(const char *name, int number, const void *bytes, size_t n)
{
    static input in;
    char path[128];
    in.n = 0;
    input_replace(&in, 0, 0, bytes, n);
    snprintf(path, sizeof path, "seeds/%s/%d", name, number);
    write_input(&in, path);
}

static void seed_games(void)
{
    static uint8_t masks[64 * 8], bytes[INPUT_MOST];
    int estimator;
    for (estimator = PRUNE_ESTIMATOR_DEFAULT; estimator <= PRUNE_ESTIMATOR_PAIR_DIFFERENCES; estimator++) {
        prune_game_options options = PRUNE_GAME_OPTIONS_INIT;
        prune_game *game = NULL;
        size_t count = 0, i;
        options.estimator = estimator;
        options.seed = 3;
        if (prune_game_create(6, &options, &game) != PRUNE_OK) {
            continue;
        }
        if (prune_game_ask(game, 20, masks, &count) == PRUNE_OK) {
            for (i = 0; i + 2 < count; i++) {
                double worth = (double)(i * i % 7);
                (void)prune_game_tell(game, masks + 6 * i, &worth, 1);
            }
        }
        if (prune_game_save(game, bytes, sizeof bytes, &count) == PRUNE_OK) {
            seed("game", estimator, bytes, count);
        }
        prune_game_release(game);
    }
}

static void seed_searches(void)
{
    static uint8_t masks[64 * 8], bytes[INPUT_MOST];
    static const double scores[4] = { 0.3, 0.1, 0.4, 0.2 };
    int strategy;
    for (strategy = PRUNE_STRATEGY_DEFAULT; strategy <= PRUNE_STRATEGY_RANDOM; strategy++) {
        prune_search_options options = PRUNE_SEARCH_OPTIONS_INIT;
        prune_search *search = NULL;
        size_t count = 0, i;
        double share;
        options.strategy = strategy;
        options.remove = 2;
        if (strategy == PRUNE_STRATEGY_ONE_SHOT) {
            options.scores = scores;
            options.n_scores = 4;
        }
        if (prune_search_create(bench.model, &options, &search) != PRUNE_OK) {
            continue;
        }
        if (prune_search_ask(search, 8, masks, &count, &share) == PRUNE_OK) {
            for (i = 0; i < count; i++) {
                double damage = 1.0 + (double)(i % 5);
                (void)prune_search_tell(search, masks + FIXTURE_SUBLAYERS * i, &damage, 1);
            }
        }
        if (prune_search_save(search, bytes, sizeof bytes, &count) == PRUNE_OK) {
            seed("search", strategy, bytes, count);
        }
        prune_search_release(search);
    }
}

static void seed_adapters(int number, prune_adapter_kind kind)
{
    static input all, part;
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    prune_adapters *adapters = NULL;
    unsigned char length[8];
    options.kind = kind;
    options.rank = kind == PRUNE_ADAPTER_LOW_RANK ? 2 : 0;
    options.ridge = 0.1;
    options.held_out = bench.data;
    if (prune_model_recover(bench.model, bench.data, training_keep, FIXTURE_SUBLAYERS, &options, &adapters) !=
            PRUNE_OK ||
        prune_adapters_save(adapters, "saved", "{\"by\": \"a seed\"}") != PRUNE_OK) {
        fprintf(stderr, "no adapters: %s\n", prune_last_error());
        exit(2);
    }
    prune_adapters_release(adapters);
    read_input(&all, "saved/adapters.json");
    set_number_at(length, all.n);
    input_replace(&all, 0, 0, length, 8);
    read_input(&part, "saved/adapters.safetensors");
    input_replace(&all, all.n, all.n, part.bytes, part.n);
    seed("adapters", number, all.bytes, all.n);
}

/* A file of every type, as small as its blocks let it be. */
static void seed_gguf(void)
{
    static const tiny_shape small = { 1, 32, 2, 1, 16, 32, 16, 0 }, wide = { 1, 256, 2, 1, 128, 256, 8, 1 };
    static input in;
    tiny_model model;
    size_t i;
    for (i = 0; i < n_tiny_gguf_types; i++) {
        tiny_model_make(&model, tiny_gguf_types[i].elements > 32 ? wide : small, 5);
        tiny_gguf_write(&model, ".", "seed.gguf", tiny_gguf_types[i].number, 1);
        tiny_model_free(&model);
        read_input(&in, "seed.gguf");
        seed("gguf", (int)i, in.bytes, in.n);
    }
}

void write_seeds(void)
{
    static input in;
    static const uint8_t keep[8] = { 1, 0, 1, 1, 0, 1, 1, 1 };
    static const char *const numbers[] = { "0123456789abcdef", "The quick brown fox",
                                           "\1\0\2\3\5\1\7\1\11\2\10\1\4\0\0\0" };
    char text[4096];
    prune_recover_options options;
    prune_adapters *adapters = NULL;
    size_t i, count;
    make_directory("seeds");
    for (i = 0; i < n_parsers; i++) {
        snprintf(text, sizeof text, "seeds/%s", parsers[i].name);
        make_directory(text);
    }
    prepare_executions();
    read_input(&in, "one/config.json");
    seed("config", 0, in.bytes, in.n);
    seed("export", 0, in.bytes, in.n);
    read_input(&in, "one/model.safetensors");
    seed("safetensors", 0, in.bytes, in.n);
    seed_gguf();
    read_input(&in, "shards/model.safetensors.index.json");
    seed("index", 0, in.bytes, in.n);
    if (prune_mask_to_json(keep, 8, "{\"metric\": \"cosine\", \"scores\": [0.5, 1e-3], \"nested\": {\"a\": null}}",
                           text, sizeof text, &count) == PRUNE_OK) {
        seed("mask", 0, text, strlen(text));
        seed("provenance", 0, text, strlen(text));
    }
    if (prune_edited_mask_to_json(keep, 8, "[{\"kind\": \"merge\", \"into\": 0, \"from\": [1, 2], \"weight\": 0.5}]",
                                  NULL, text, sizeof text, &count) == PRUNE_OK) {
        seed("mask", 1, text, strlen(text));
    }
    seed_games();
    seed_searches();
    seed_adapters(0, PRUNE_ADAPTER_BIAS);
    seed_adapters(1, PRUNE_ADAPTER_LOW_RANK);
    seed_adapters(2, PRUNE_ADAPTER_LINEAR);
    options = training_options();
    unlink("training");
    if (prune_model_recover(bench.model, bench.data, training_keep, FIXTURE_SUBLAYERS, &options, &adapters) ==
        PRUNE_OK) {
        read_input(&in, "training");
        seed("training", 0, in.bytes, in.n);
    }
    prune_adapters_release(adapters);
    for (i = 0; i < 3; i++) {
        seed("arguments", (int)i, numbers[i], 16);
        seed("rows", (int)i, numbers[i], 16);
    }
}
