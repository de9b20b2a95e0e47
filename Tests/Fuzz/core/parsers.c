/* SPDX-License-Identifier: Apache-2.0 */
#include "parsers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../CAPI/support/fixture.h"
#include "../../CAPI/support/lent.h"

/* What executions share. */
static fixture bench;
static lent_model lent;

enum {
    FINGERPRINT_END = 20 /* mark, version, and the training that a checkpoint is of */
};

void expect_status(int status, const char *call)
{
    if (status < 0 || status > PRUNE_ERR_HOST || status == PRUNE_ERR_INTERNAL) {
        fprintf(stderr, "%s gave status %d: %s\n", call, status, prune_last_error());
        abort();
    }
    if (status != PRUNE_OK && prune_last_error()[0] == 0) {
        fprintf(stderr, "%s failed with %s and says nothing\n", call, prune_status_name(status));
        abort();
    }
}

#define EXPECT(call) expect_status((call), #call)

void write_input(const input *in, const char *path)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    size_t done = 0;
    while (file >= 0 && done < in->n) {
        ssize_t n = write(file, in->bytes + done, in->n - done);
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
    }
    if (file < 0 || close(file) != 0 || done != in->n) {
        perror(path);
        exit(2);
    }
}

void read_input(input *in, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    in->n = fread(in->bytes, 1, INPUT_MOST, file);
    in->bytes[in->n] = 0;
    fclose(file);
}

/* ---- Changes ---- */

static void mutate_text(input *in, const input *other, random_state *random)
{
    mutate_json(in, 0, in->n, other, random);
}

/* A document that its checksum seals; the mark at its beginning mostly stays. */
static void mutate_sealed(input *in, const input *other, random_state *random)
{
    size_t begin = random_below(random, 50) == 0 ? 0 : 8;
    if (in->n >= 16) {
        mutate_bytes(in, begin, in->n - 8, other, random);
    }
    if (random_below(random, 50) != 0) {
        seal_document(in);
    }
}

static void mutate_checkpoint(input *in, const input *other, random_state *random)
{
    size_t begin = random_below(random, 50) == 0 ? 0 : FINGERPRINT_END;
    if (in->n >= begin + 8) {
        mutate_bytes(in, begin, in->n - 8, other, random);
    }
    seal_document(in);
}

static uint64_t number_at(const unsigned char *bytes)
{
    uint64_t number = 0;
    int i;
    for (i = 0; i < 8; i++) {
        number |= (uint64_t)bytes[i] << (8 * i);
    }
    return number;
}

static void set_number_at(unsigned char *bytes, uint64_t number)
{
    int i;
    for (i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(number >> (8 * i));
    }
}

/* The header's text is changed, and its length fits again, or bytes anywhere are. */
static void mutate_tensors_at(input *in, size_t at, const input *other, random_state *random)
{
    static input text;
    uint64_t length;
    if (in->n < at + 8 || (length = number_at(in->bytes + at)) > in->n - at - 8 || random_below(random, 8) == 0) {
        mutate_bytes(in, at, in->n, other, random);
        return;
    }
    text.n = 0;
    input_replace(&text, 0, 0, in->bytes + at + 8, (size_t)length);
    mutate_json(&text, 0, text.n, other, random);
    if (text.n + in->n - (size_t)length > INPUT_MOST) {
        return;
    }
    input_replace(in, at + 8, at + 8 + (size_t)length, text.bytes, text.n);
    set_number_at(in->bytes + at, text.n);
}

static void mutate_tensors(input *in, const input *other, random_state *random)
{
    mutate_tensors_at(in, 0, other, random);
}

/* Eight bytes with the length of the document, the document, the file of tensors. */
static void mutate_adapters(input *in, const input *other, random_state *random)
{
    static input text;
    size_t length = (size_t)number_at(in->bytes);
    char digest[65];
    unsigned char *place;
    if (random_below(random, 3) == 0) {
        mutate_tensors_at(in, 8 + length, other, random);
    } else {
        text.n = 0;
        input_replace(&text, 0, 0, in->bytes + 8, length);
        mutate_json(&text, 0, text.n, other, random);
        if (text.n + in->n - length <= INPUT_MOST) {
            input_replace(in, 8, 8 + length, text.bytes, text.n);
            length = text.n;
            set_number_at(in->bytes, length);
        }
    }
    sha256_text(in->bytes + 8 + length, in->n - 8 - length, digest);
    for (place = in->bytes + 8; place + 10 + 64 < in->bytes + 8 + length; place++) {
        if (memcmp(place, "\"sha256\": ", 10) == 0) {
            memcpy(place + 11, digest, 64);
            return;
        }
    }
}

static void mutate_plain(input *in, const input *other, random_state *random)
{
    mutate_bytes(in, 0, in->n, other, random);
}

/* ---- Executions ---- */

/* What a model that opened must do: say its shape, and compute. */
static void use_model(const prune_model *model)
{
    static double scores[1 << 14];
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_evaluation evaluation;
    EXPECT(prune_model_info(model, &shape));
    EXPECT(prune_model_evaluate(model, bench.data, NULL, 1, 0, NULL, &evaluation));
    if (shape.n_blocks <= 8) {
        prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
        options.metrics = PRUNE_METRIC_COSINE | PRUNE_METRIC_MAGNITUDE;
        EXPECT(prune_model_score(model, bench.data, &options, scores, 1 << 14, NULL));
    }
}

static void execute_config(const input *in)
{
    prune_model *model = NULL;
    int status = prune_model_from_tensors((const char *)in->bytes, lent.tensors, lent.n_tensors, NULL, &model);
    expect_status(status, "prune_model_from_tensors");
    if (status == PRUNE_OK) {
        use_model(model);
    }
    prune_model_release(model);
}

static void open_directory(const char *directory)
{
    prune_model *model = NULL;
    int status = prune_model_open(directory, NULL, &model);
    expect_status(status, "prune_model_open");
    if (status == PRUNE_OK) {
        use_model(model);
    }
    prune_model_release(model);
}

static void execute_tensors(const input *in)
{
    write_input(in, "one/model.safetensors");
    open_directory("one");
}

static void execute_index(const input *in)
{
    write_input(in, "shards/model.safetensors.index.json");
    open_directory("shards");
}

static void execute_mask(const input *in)
{
    static uint8_t keep[8192];
    size_t count;
    EXPECT(prune_mask_from_json((const char *)in->bytes, keep, sizeof keep, &count));
}

static void execute_provenance(const input *in)
{
    static const uint8_t keep[4] = { 1, 0, 1, 1 };
    static char text[2 * INPUT_MOST];
    uint8_t again[4];
    size_t count;
    int status = prune_mask_to_json(keep, 4, (const char *)in->bytes, text, sizeof text, &count);
    expect_status(status, "prune_mask_to_json");
    if (status == PRUNE_OK && (prune_mask_from_json(text, again, 4, NULL) != PRUNE_OK || memcmp(keep, again, 4) != 0)) {
        fprintf(stderr, "a mask that was written is not read: %s\n", prune_last_error());
        abort();
    }
}

static void execute_game(const input *in)
{
    static double values[8192], errors[8192], square[4096];
    static uint8_t masks[4 * 8192], again[INPUT_MOST];
    prune_game *game = NULL, *loaded = NULL;
    prune_game_state state = PRUNE_GAME_STATE_INIT;
    size_t count = 0, i;
    int status = prune_game_load(in->bytes, in->n, &game);
    expect_status(status, "prune_game_load");
    if (status != PRUNE_OK) {
        return;
    }
    EXPECT(prune_game_info(game, &state));
    if (state.n_players > 0 && state.n_players <= 64) {
        EXPECT(prune_game_result(game, values, errors, 8192, NULL));
        EXPECT(prune_game_strata(game, square, 4096, &count));
        EXPECT(prune_game_interactions(game, square, 4096, &count));
        EXPECT(prune_game_ask(game, 4, masks, &count));
        for (i = 0; i < count; i++) {
            double worth = (double)i;
            EXPECT(prune_game_tell(game, masks + i * (size_t)state.n_players, &worth, 1));
        }
    }
    if (prune_game_save(game, again, sizeof again, &count) == PRUNE_OK) {
        if (prune_game_load(again, count, &loaded) != PRUNE_OK) {
            fprintf(stderr, "a game that was saved is not loaded: %s\n", prune_last_error());
            abort();
        }
        prune_game_release(loaded);
    }
    prune_game_release(game);
}

static void execute_search(const input *in)
{
    static uint8_t masks[8 * 8192], again[INPUT_MOST];
    prune_search *search = NULL, *loaded = NULL;
    size_t count = 0;
    double share;
    int status = prune_search_load(in->bytes, in->n, &search);
    expect_status(status, "prune_search_load");
    if (status != PRUNE_OK) {
        return;
    }
    EXPECT(prune_search_ask(search, 8, masks, &count, &share));
    if (prune_search_save(search, again, sizeof again, &count) == PRUNE_OK) {
        if (prune_search_load(again, count, &loaded) != PRUNE_OK) {
            fprintf(stderr, "a search that was saved is not loaded: %s\n", prune_last_error());
            abort();
        }
        prune_search_release(loaded);
    }
    prune_search_release(search);
}

static void execute_adapters(const input *in)
{
    static input part;
    prune_adapters *adapters = NULL, *again = NULL;
    prune_model *attached = NULL;
    size_t length = in->n >= 8 ? (size_t)number_at(in->bytes) : 0;
    int status;
    if (in->n < 8 || length > in->n - 8) {
        return;
    }
    part.n = 0;
    input_replace(&part, 0, 0, in->bytes + 8, length);
    write_input(&part, "adapters/adapters.json");
    part.n = 0;
    input_replace(&part, 0, 0, in->bytes + 8 + length, in->n - 8 - length);
    write_input(&part, "adapters/adapters.safetensors");
    status = prune_adapters_load("adapters", &adapters);
    expect_status(status, "prune_adapters_load");
    if (status == PRUNE_OK) {
        if (prune_adapters_save(adapters, "saved", NULL) != PRUNE_OK ||
            prune_adapters_load("saved", &again) != PRUNE_OK) {
            fprintf(stderr, "adapters that loaded are not saved and loaded again: %s\n", prune_last_error());
            abort();
        }
        EXPECT(prune_model_attach(bench.model, adapters, &attached));
    }
    prune_model_release(attached);
    prune_adapters_release(adapters);
    prune_adapters_release(again);
}

static prune_recover_options training_options(void)
{
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.kind = PRUNE_ADAPTER_BIAS;
    options.objective = PRUNE_OBJECTIVE_KL;
    options.start = PRUNE_START_ZERO;
    options.steps = 1;
    options.step_tokens = 8;
    options.held_out = bench.data;
    options.checkpoint = "training";
    return options;
}

static const uint8_t training_keep[FIXTURE_SUBLAYERS] = { 1, 0, 0, 1 };

static void execute_training(const input *in)
{
    prune_recover_options options = training_options();
    prune_adapters *adapters = NULL;
    write_input(in, "training");
    EXPECT(prune_model_recover(bench.model, bench.data, training_keep, FIXTURE_SUBLAYERS, &options, &adapters));
    prune_adapters_release(adapters);
}

/* Numbers of a list of tensors are replaced by what the bytes say. No stride leads beyond the memory that there is. */
static void execute_arguments(const input *in)
{
    static const int64_t numbers[] = {
        0, -1, 1, 2, 3, 16, 24, 32, INT64_MAX, INT64_MIN, INT64_MAX / 2, INT32_MAX, -16
    };
    static lent_model own;
    prune_model *model = NULL;
    size_t at, n_numbers = sizeof numbers / sizeof *numbers, n;
    int status;
    memcpy(&own, &lent, sizeof own);
    for (at = 0; at < own.n_tensors; at++) {
        own.tensors[at].shape = own.shapes[at];
    }
    n = own.n_tensors;
    for (at = 0; at + 3 < in->n && at < 16; at += 4) {
        size_t index = in->bytes[at] % own.n_tensors;
        int64_t number = numbers[in->bytes[at + 2] % n_numbers];
        prune_tensor *tensor = &own.tensors[index];
        switch (in->bytes[at + 1] % 9) {
        case 0:
            own.shapes[index][in->bytes[at + 3] % 2] = number;
            break;
        case 1: /* a stride that goes beyond any memory, or not beyond a row */
            own.strides[index][in->bytes[at + 3] % 2] = number == INT32_MAX ? INT64_MAX : number;
            tensor->strides = own.strides[index];
            break;
        case 2:
            tensor->n_dimensions = (int32_t)number;
            if (tensor->n_dimensions > 2) {
                tensor->n_dimensions = 0;
            }
            break;
        case 3:
            tensor->element_type = in->bytes[at + 2] % 2 ? 7 : -1;
            break;
        case 4:
            tensor->data = NULL;
            break;
        case 5:
            tensor->name = in->bytes[at + 2] % 2 ? NULL : "";
            break;
        case 6:
            tensor->name = own.tensors[in->bytes[at + 2] % own.n_tensors].name;
            break;
        case 7:
            tensor->shape = NULL;
            break;
        default:
            n = in->bytes[at + 2] % (own.n_tensors + 1);
        }
    }
    status = prune_model_from_tensors(own.config, own.tensors, n, NULL, &model);
    expect_status(status, "prune_model_from_tensors");
    if (status == PRUNE_OK) {
        use_model(model);
    }
    prune_model_release(model);
}

/* Rows of activations whose layout the bytes say, inside memory that is large enough for it. */
static void execute_rows(const input *in)
{
    static float memory[3][4096];
    static const int64_t strides[] = { 0, 1, 2, 16, 17, 32, -1, -16, INT64_MAX, INT64_MIN, INT64_MAX / 8 };
    static double scores[4096];
    prune_statistics *statistics = NULL;
    prune_rows rows[2];
    size_t i;
    if (in->n < 16 || prune_statistics_create(2, NULL, &statistics) != PRUNE_OK) {
        return;
    }
    for (i = 0; i < 2; i++) {
        const unsigned char *own = in->bytes + 8 * i;
        memset(&rows[i], 0, sizeof rows[i]);
        rows[i].data = own[0] % 16 == 0 ? NULL : (const char *)memory[1] + own[0] % 4;
        rows[i].element_type = own[1] % 8 < 3 ? own[1] % 8 : own[1] % 16 == 15 ? 9 : 0;
        rows[i].n_rows = own[2] % 32 == 31 ? INT64_MAX : own[2] % 32 == 30 ? -1 : own[2] % 9;
        rows[i].width = own[3] % 32 == 31 ? INT64_MAX : own[3] % 32 == 30 ? -1 : 16;
        rows[i].row_stride = strides[own[4] % (sizeof strides / sizeof *strides)];
        rows[i].column_stride = strides[own[5] % (sizeof strides / sizeof *strides)];
        rows[i].reserved = own[6] % 32 == 0;
    }
    EXPECT(prune_statistics_update(statistics, (prune_granularity)(in->bytes[7] % 5), in->bytes[15] % 5, &rows[0],
                                   &rows[1]));
    EXPECT(prune_statistics_scores(statistics, NULL, scores, 4096, NULL));
    prune_statistics_release(statistics);
}

/* A directory whose configuration is odd, exported if it opens, in the format that its length gives. */
static void execute_export(const input *in)
{
    prune_model *model = NULL;
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    int status;
    write_input(in, "export/config.json");
    status = prune_model_open("export", NULL, &model);
    expect_status(status, "prune_model_open");
    if (status == PRUNE_OK) {
        options.replace = 1;
        options.format = (prune_format)(in->n % 4);
        EXPECT(prune_model_export(model, training_keep, FIXTURE_SUBLAYERS, NULL, "exported", &options));
    }
    prune_model_release(model);
}

void prepare_executions(void)
{
    const lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    if (prune_threads_set(1) != PRUNE_OK) {
        exit(2);
    }
    fixture_open(&bench, "bench");
    if (!bench.model || !bench.data) {
        fprintf(stderr, "no model to execute with: %s\n", prune_last_error());
        exit(2);
    }
    lent_make(&lent, &bench.weights, "bench", layout);
    tiny_model_write(&bench.weights, "one");
    tiny_model_write(&bench.weights, "export");
    tiny_model_write_shards(&bench.weights, "shards");
    make_directory("adapters");
}

const parser parsers[] = {
    { "config", mutate_text, execute_config, 4000 },
    { "safetensors", mutate_tensors, execute_tensors, 2000 },
    { "index", mutate_text, execute_index, 2000 },
    { "mask", mutate_text, execute_mask, 8000 },
    { "provenance", mutate_text, execute_provenance, 8000 },
    { "adapters", mutate_adapters, execute_adapters, 1000 },
    { "training", mutate_checkpoint, execute_training, 500 },
    { "game", mutate_sealed, execute_game, 2000 },
    { "search", mutate_sealed, execute_search, 2000 },
    { "arguments", mutate_plain, execute_arguments, 4000 },
    { "rows", mutate_plain, execute_rows, 8000 },
    { "export", mutate_text, execute_export, 500 },
};

const size_t n_parsers = sizeof parsers / sizeof *parsers;

/* ---- Seeds ---- */

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
    read_input(&in, "shards/model.safetensors.index.json");
    seed("index", 0, in.bytes, in.n);
    if (prune_mask_to_json(keep, 8, "{\"metric\": \"cosine\", \"scores\": [0.5, 1e-3], \"nested\": {\"a\": null}}",
                           text, sizeof text, &count) == PRUNE_OK) {
        seed("mask", 0, text, strlen(text));
        seed("provenance", 0, text, strlen(text));
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
