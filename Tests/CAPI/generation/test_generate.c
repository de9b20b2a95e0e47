/* SPDX-License-Identifier: Apache-2.0 */
/* Generation: greedy text against recomputed logits, batching, ends, callbacks, buffers, and what is refused. */
#include "check.h"
#include "fixture.h"

#define NEW_TOKENS 12

static fixture f;

static int64_t prompt_start(int64_t prompt) { return prompt == 0 ? 0 : prompt == 1 ? 7 : 12; }

/* The next token by recomputing the whole sequence: the first largest logit of the last row. */
static int32_t recomputed(const int32_t *ids, int64_t length, const uint8_t *keep)
{
    static float logits[64 * FIXTURE_VOCABULARY];
    prune_data *data = NULL;
    const float *last = logits + (length - 1) * FIXTURE_VOCABULARY;
    int32_t best = 0, token;
    CHECK_OK(prune_data_create(ids, &length, 1, NULL, &data));
    CHECK_OK(
        prune_model_logits(f.model, data, keep, keep == NULL ? 0 : 4, NULL, logits, 64 * FIXTURE_VOCABULARY, NULL));
    prune_data_release(data);
    for (token = 1; token < FIXTURE_VOCABULARY; token++) {
        best = last[token] > last[best] ? token : best;
    }
    return best;
}

static void greedy(const uint8_t *keep)
{
    prune_generate_options options = PRUNE_GENERATE_OPTIONS_INIT;
    prune_generation *generation = NULL;
    prune_generation_summary report = PRUNE_GENERATION_SUMMARY_INIT;
    int64_t prompt, i;
    options.max_new_tokens = NEW_TOKENS;
    CHECK_OK(prune_model_generate(f.model, f.data, keep, keep == NULL ? 0 : 4, &options, &generation));
    CHECK_OK(prune_generation_info(generation, &report));
    CHECK(report.n_sequences == 3 && report.prompt_tokens == FIXTURE_TOKENS && report.new_tokens == 3 * NEW_TOKENS);
    CHECK(report.prompt_seconds > 0.0 && report.decode_seconds > 0.0);
    for (prompt = 0; prompt < 3; prompt++) {
        int32_t ids[64], tokens[NEW_TOKENS], end = PRUNE_END_NONE;
        float losses[NEW_TOKENS], expected[64];
        prune_data *data = NULL;
        size_t count = 0;
        int64_t length = fixture_lengths[prompt];
        memcpy(ids, fixture_ids + prompt_start(prompt), (size_t)length * sizeof *ids);
        CHECK_OK(prune_generation_sequence(generation, prompt, tokens, losses, NEW_TOKENS, &count, &end));
        CHECK(count == NEW_TOKENS && end == PRUNE_END_LENGTH);
        for (i = 0; i < NEW_TOKENS; i++) {
            CHECK(tokens[i] == recomputed(ids, length, keep));
            ids[length++] = tokens[i];
        }
        CHECK_OK(prune_data_create(ids, &length, 1, NULL, &data));
        CHECK_OK(prune_model_token_losses(f.model, data, keep, keep == NULL ? 0 : 4, NULL, expected, 64, NULL));
        for (i = 0; i < NEW_TOKENS; i++) {
            CHECK_NEAR(losses[i], expected[length - NEW_TOKENS + i], 1e-5);
        }
        prune_data_release(data);
    }
    prune_generation_release(generation);
}

/* Fewer attention layers, fewer bytes; none, none. */
static void cache_bytes(void)
{
    static const uint8_t one[4] = { 0, 1, 1, 1 }, none[4] = { 0, 1, 0, 1 };
    const uint8_t *masks[3] = { NULL, one, none };
    int64_t bytes[3];
    int i;
    for (i = 0; i < 3; i++) {
        prune_generation *generation = NULL;
        prune_generation_summary report = PRUNE_GENERATION_SUMMARY_INIT;
        CHECK_OK(prune_model_generate(f.model, f.data, masks[i], i == 0 ? 0 : 4, NULL, &generation));
        CHECK_OK(prune_generation_info(generation, &report));
        bytes[i] = report.kv_bytes_peak;
        prune_generation_release(generation);
    }
    CHECK(bytes[0] > 0 && bytes[0] == 2 * bytes[1] && bytes[2] == 0);
}

typedef struct book {
    int calls, faults, end_at, cancel_at;
    int64_t next[3];
    int32_t tokens[3][128];
    int progress_calls;
} book;

static int32_t note(void *user_data, const prune_token *token)
{
    book *b = user_data;
    b->calls++;
    b->faults += token->struct_size != sizeof *token || token->prompt < 0 || token->prompt > 2;
    b->faults += token->index != b->next[token->prompt]++ || !(token->loss >= 0.0f);
    b->tokens[token->prompt][token->index] = token->token_id;
    if (b->calls == b->cancel_at) {
        return 7;
    }
    return token->prompt == 1 && token->index == b->end_at ? PRUNE_TOKEN_END_SEQUENCE : PRUNE_TOKEN_CONTINUE;
}

static int32_t count_progress(void *user_data, const prune_progress *progress)
{
    book *b = user_data;
    b->progress_calls++;
    b->faults += progress->done < 0 || progress->done > progress->total || strcmp(progress->stage, "generate") != 0;
    return 0;
}

static int32_t stop_at_once(void *user_data, const prune_progress *progress)
{
    (void)user_data;
    (void)progress;
    return 1;
}

static void token_callbacks(void)
{
    prune_generate_options options = PRUNE_GENERATE_OPTIONS_INIT;
    prune_generation *generation = NULL;
    int32_t tokens[NEW_TOKENS], end;
    size_t count, i;
    book b;
    memset(&b, 0, sizeof b);
    b.end_at = 3;
    options.max_new_tokens = NEW_TOKENS;
    options.on_token = note;
    options.progress = count_progress;
    options.user_data = &b;
    CHECK_OK(prune_model_generate(f.model, f.data, NULL, 0, &options, &generation));
    CHECK(b.calls == 2 * NEW_TOKENS + 4 && b.faults == 0 && b.progress_calls >= 1);
    CHECK_OK(prune_generation_sequence(generation, 1, tokens, NULL, NEW_TOKENS, &count, &end));
    CHECK(count == 4 && end == PRUNE_END_CALLBACK);
    CHECK_OK(prune_generation_sequence(generation, 2, tokens, NULL, NEW_TOKENS, &count, &end));
    CHECK(count == NEW_TOKENS && end == PRUNE_END_LENGTH);
    for (i = 0; i < count; i++) {
        CHECK(tokens[i] == b.tokens[2][i]);
    }
    prune_generation_release(generation);
    memset(&b, 0, sizeof b);
    b.end_at = -1;
    b.cancel_at = 5;
    generation = (prune_generation *)(uintptr_t)0x10;
    CHECK_FAILS(prune_model_generate(f.model, f.data, NULL, 0, &options, &generation), PRUNE_ERR_CANCELLED, "callback");
    CHECK(generation == NULL && b.calls == 5);
    options.on_token = NULL;
    options.progress = stop_at_once;
    CHECK_FAILS(prune_model_generate(f.model, f.data, NULL, 0, &options, &generation), PRUNE_ERR_CANCELLED, "generate");
}

/* Stop tokens, a full context, and prompts that take the places of others. */
static void reasons_why_sequences_end(void)
{
    prune_generate_options options = PRUNE_GENERATE_OPTIONS_INIT;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_generation *whole = NULL, *generation = NULL;
    prune_data *data = NULL;
    int32_t expected[NEW_TOKENS], tokens[4096], ids[4096], end;
    int64_t lengths[2];
    size_t count, place, i;
    options.max_new_tokens = NEW_TOKENS;
    CHECK_OK(prune_model_generate(f.model, f.data, NULL, 0, &options, &whole));
    CHECK_OK(prune_generation_sequence(whole, 0, expected, NULL, NEW_TOKENS, &count, NULL));
    options.stop_tokens = &expected[5];
    options.n_stop_tokens = 1;
    options.batch_sequences = 1;
    options.batch_tokens = 1;
    CHECK_OK(prune_model_generate(f.model, f.data, NULL, 0, &options, &generation));
    CHECK_OK(prune_generation_sequence(generation, 0, tokens, NULL, NEW_TOKENS, &count, &end));
    for (place = 0; expected[place] != expected[5]; place++) {}
    CHECK(count == place + 1 && end == PRUNE_END_STOP && memcmp(tokens, expected, count * sizeof *tokens) == 0);
    prune_generation_release(generation);
    prune_generation_release(whole);

    CHECK_OK(prune_model_info(f.model, &shape));
    REQUIRE(shape.context_length >= 8 && shape.context_length <= 2048);
    options = (prune_generate_options)PRUNE_GENERATE_OPTIONS_INIT;
    options.max_new_tokens = 4096;
    lengths[0] = shape.context_length; /* no room */
    lengths[1] = shape.context_length - 3;
    for (i = 0; i < 4096; i++) {
        ids[i] = (int32_t)(i * 7 % FIXTURE_VOCABULARY);
    }
    CHECK_OK(prune_data_create(ids, lengths, 2, NULL, &data));
    CHECK_OK(prune_model_generate(f.model, data, NULL, 0, &options, &generation));
    CHECK_OK(prune_generation_sequence(generation, 0, NULL, NULL, 0, &count, &end));
    CHECK(count == 0 && end == PRUNE_END_CONTEXT);
    CHECK_OK(prune_generation_sequence(generation, 1, tokens, NULL, 4096, &count, &end));
    CHECK(count == 3 && end == PRUNE_END_CONTEXT);
    prune_generation_release(generation);
    prune_data_release(data);
}

/* Same seed, same text, whatever the batches; another seed, another text. */
static void sampled_tokens(void)
{
    prune_generate_options options = PRUNE_GENERATE_OPTIONS_INIT;
    int32_t first[3][NEW_TOKENS], tokens[NEW_TOKENS];
    int run, differences = 0;
    options.max_new_tokens = NEW_TOKENS;
    options.temperature = 1.0;
    options.top_k = 20;
    options.top_p = 0.98;
    options.seed = 2407;
    for (run = 0; run < 3; run++) {
        prune_generation *generation = NULL;
        int64_t prompt;
        options.batch_sequences = run == 1 ? 1 : run == 2 ? 2 : 0;
        CHECK_OK(prune_model_generate(f.model, f.data, NULL, 0, &options, &generation));
        for (prompt = 0; prompt < 3; prompt++) {
            CHECK_OK(prune_generation_sequence(generation, prompt, run == 0 ? first[prompt] : tokens, NULL, NEW_TOKENS,
                                               NULL, NULL));
            CHECK(run == 0 || memcmp(first[prompt], tokens, sizeof tokens) == 0);
        }
        prune_generation_release(generation);
    }
    options.seed = 2408;
    {
        prune_generation *generation = NULL;
        CHECK_OK(prune_model_generate(f.model, f.data, NULL, 0, &options, &generation));
        for (run = 0; run < 3; run++) {
            CHECK_OK(prune_generation_sequence(generation, run, tokens, NULL, NEW_TOKENS, NULL, NULL));
            differences += memcmp(first[run], tokens, sizeof tokens) != 0;
        }
        prune_generation_release(generation);
    }
    CHECK(differences == 3);
}

static void generate_refusals(void)
{
    prune_generation *generation = (prune_generation *)(uintptr_t)0x10;
    prune_generation_summary report = PRUNE_GENERATION_SUMMARY_INIT;
    prune_generate_options options;
    static const int32_t outside = FIXTURE_VOCABULARY, negative = -1;
    static const int64_t one = 1;
    static const uint8_t keep[4] = { 1, 1, 1, 2 };
    int32_t tokens[128], end = PRUNE_END_NONE;
    prune_data *data = NULL;
    size_t count = 0;
    CHECK_FAILS(prune_model_generate(NULL, f.data, NULL, 0, NULL, &generation), PRUNE_ERR_ARGUMENT, "model");
    CHECK(generation == NULL);
    CHECK_FAILS(prune_model_generate(f.model, NULL, NULL, 0, NULL, &generation), PRUNE_ERR_ARGUMENT, "prompts");
    CHECK_FAILS(prune_model_generate(f.model, f.data, NULL, 0, NULL, NULL), PRUNE_ERR_ARGUMENT, "out_generation");
    CHECK_FAILS(prune_model_generate(f.model, f.data, NULL, 4, NULL, &generation), PRUNE_ERR_ARGUMENT, "keep");
    CHECK_FAILS(prune_model_generate(f.model, f.data, keep, 4, NULL, &generation), PRUNE_ERR_ARGUMENT, "ffn.1");
    CHECK_FAILS(prune_model_generate(f.model, f.data, keep, 3, NULL, &generation), PRUNE_ERR_ARGUMENT, "keep");
#define WITH(field, value, part)                                                                                      \
    do {                                                                                                              \
        options = (prune_generate_options)PRUNE_GENERATE_OPTIONS_INIT;                                                \
        options.field = (value);                                                                                      \
        CHECK_FAILS(prune_model_generate(f.model, f.data, NULL, 0, &options, &generation), PRUNE_ERR_ARGUMENT, part); \
    } while (0)
    WITH(reserved, 1, "reserved");
    WITH(max_new_tokens, -1, "max_new_tokens");
    WITH(max_new_tokens, INT64_MAX, "max_new_tokens");
    WITH(temperature, -0.5, "temperature");
    WITH(temperature, NAN, "temperature");
    WITH(temperature, INFINITY, "temperature");
    WITH(top_k, -1, "top_k");
    WITH(top_p, -0.1, "top_p");
    WITH(top_p, 1.1, "top_p");
    WITH(top_p, NAN, "top_p");
    WITH(n_stop_tokens, 1, "stop_tokens");
    WITH(n_stop_tokens, SIZE_MAX, "stop_tokens");
    WITH(batch_sequences, -1, "batch_sequences");
    WITH(batch_tokens, -1, "batch_tokens");
    options = (prune_generate_options)PRUNE_GENERATE_OPTIONS_INIT;
    options.n_stop_tokens = 1;
    options.stop_tokens = &outside;
    CHECK_FAILS(prune_model_generate(f.model, f.data, NULL, 0, &options, &generation), PRUNE_ERR_ARGUMENT, "32");
    options.stop_tokens = &negative;
    CHECK_FAILS(prune_model_generate(f.model, f.data, NULL, 0, &options, &generation), PRUNE_ERR_ARGUMENT, "-1");
    CHECK_OK(prune_data_create(&outside, &one, 1, NULL, &data));
    CHECK_FAILS(prune_model_generate(f.model, data, NULL, 0, NULL, &generation), PRUNE_ERR_DATA, "vocabulary");
    prune_data_release(data);

    CHECK_OK(prune_model_generate(f.model, f.data, NULL, 0, NULL, &generation));
    CHECK_FAILS(prune_generation_info(NULL, &report), PRUNE_ERR_ARGUMENT, "generation");
    CHECK_FAILS(prune_generation_info(generation, NULL), PRUNE_ERR_ARGUMENT, "out_summary");
    CHECK_FAILS(prune_generation_sequence(NULL, 0, tokens, NULL, 128, &count, &end), PRUNE_ERR_ARGUMENT, "generation");
    CHECK_FAILS(prune_generation_sequence(generation, 3, tokens, NULL, 128, &count, &end), PRUNE_ERR_ARGUMENT, "3");
    CHECK_FAILS(prune_generation_sequence(generation, -1, tokens, NULL, 128, &count, &end), PRUNE_ERR_ARGUMENT, "-1");
    CHECK_FAILS(prune_generation_sequence(generation, INT64_MIN, tokens, NULL, 128, &count, &end), PRUNE_ERR_ARGUMENT,
                "prompt");
    CHECK_FAILS(prune_generation_sequence(generation, 0, NULL, NULL, 128, &count, &end), PRUNE_ERR_ARGUMENT,
                "out_tokens");
    CHECK_FAILS(prune_generation_sequence(generation, 0, tokens, NULL, 56, &count, &end), PRUNE_ERR_BUFFER, "57");
    CHECK(count == 57 && end == PRUNE_END_CONTEXT); /* the default length, 128, is beyond the context of 64 */
    CHECK_OK(prune_generation_sequence(generation, 0, tokens, NULL, 128, NULL, NULL));
    CHECK_FAILS(prune_generation_info((prune_generation *)(void *)f.model, &report), PRUNE_ERR_HANDLE, "kind");
    prune_generation_release((prune_generation *)(void *)f.model);
    prune_data_release((prune_data *)(void *)generation);
    CHECK_OK(prune_generation_info(generation, &report));
    prune_generation_release(generation);
    prune_generation_release(generation);
    prune_generation_release(NULL);
    CHECK_FAILS(prune_generation_info(generation, &report), PRUNE_ERR_HANDLE, "generation");
    CHECK_FAILS(prune_generation_sequence(generation, 0, tokens, NULL, 128, NULL, NULL), PRUNE_ERR_HANDLE,
                "generation");
}

int main(void)
{
    static const uint8_t some[4] = { 1, 0, 0, 1 }, nothing[4] = { 0, 0, 0, 0 };
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    greedy(NULL);
    greedy(some);
    greedy(nothing);
    cache_bytes();
    token_callbacks();
    reasons_why_sequences_end();
    sampled_tokens();
    generate_refusals();
    fixture_close(&f);
    return check_report();
}
