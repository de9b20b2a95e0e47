/* SPDX-License-Identifier: Apache-2.0 */
/* Adapters as values: described, read, changed, saved, loaded, folded, attached; and what is refused. */
#include "recovery.h"

#define H FIXTURE_HIDDEN

static fixture f;

static void adapters_are_described(void)
{
    prune_adapters *adapters = recovery_solved(&f, PRUNE_ADAPTER_LOW_RANK, 3);
    prune_adapters_summary summary = PRUNE_ADAPTERS_SUMMARY_INIT;
    prune_adapter list[3];
    prune_training_record record;
    uint8_t keep[5] = { 7, 7, 7, 7, 7 };
    size_t count = 0, i;
    CHECK_OK(prune_adapters_info(adapters, &summary));
    CHECK(summary.objective == PRUNE_OBJECTIVE_CLOSED_FORM && summary.n_blocks == 2 && summary.hidden_size == H);
    CHECK(summary.n_adapters == 2 && summary.parameters == 2 * (H + 2 * 3 * H) && summary.seconds >= 0.0);
    CHECK(summary.statistics_tokens == FIXTURE_TOKENS && summary.trained_tokens == 0 && summary.steps == 0);
    CHECK(isnan(summary.held_out_before) && isnan(summary.held_out_best));
    CHECK_FAILS(prune_adapters_list(adapters, list, 1, &count), PRUNE_ERR_BUFFER, "2");
    CHECK(count == 2);
    CHECK_OK(prune_adapters_list(adapters, list, 3, &count));
    CHECK(count == 2 && list[0].sublayer == 1 && list[1].sublayer == 2);
    for (i = 0; i < 2; i++) {
        static float bias[H], down[3 * H], up[3 * H];
        double sum = 0.0, product = 0.0;
        int r, c, k;
        CHECK(list[i].kind == PRUNE_ADAPTER_LOW_RANK && list[i].rank == 3 && list[i].input == PRUNE_INPUT_NORMED);
        CHECK(list[i].parameters == H + 2 * 3 * H && list[i].ridge == 0.1 && list[i].explained <= 1.0);
        recovery_part(adapters, list[i].sublayer, PRUNE_PART_BIAS, bias, H);
        recovery_part(adapters, list[i].sublayer, PRUNE_PART_DOWN, down, 3 * H);
        recovery_part(adapters, list[i].sublayer, PRUNE_PART_UP, up, 3 * H);
        for (r = 0; r < H; r++) {
            sum += (double)bias[r] * (double)bias[r];
            for (c = 0; c < H; c++) {
                double entry = 0.0;
                for (k = 0; k < 3; k++) {
                    entry += (double)up[r * 3 + k] * (double)down[k * H + c];
                }
                product += entry * entry;
            }
        }
        CHECK_NEAR(list[i].bias_norm, sqrt(sum), 1e-6 * sqrt(sum));
        CHECK_NEAR(list[i].matrix_norm, sqrt(product), 1e-4 * sqrt(product));
    }
    CHECK_FAILS(prune_adapters_mask(adapters, keep, 3, &count), PRUNE_ERR_BUFFER, "4");
    CHECK(count == 4 && keep[0] == 7);
    CHECK_OK(prune_adapters_mask(adapters, keep, 5, &count));
    CHECK(count == 4 && memcmp(keep, recovery_keep, 4) == 0 && keep[4] == 7);
    count = 9;
    CHECK_OK(prune_adapters_history(adapters, &record, 1, &count));
    CHECK(count == 0);
    CHECK_OK(prune_adapters_history(adapters, NULL, 0, &count));
    prune_adapters_release(adapters);
}

static void arrays_are_changed(void)
{
    prune_adapters *linear = recovery_solved(&f, PRUNE_ADAPTER_LINEAR, 0);
    prune_adapters *bias = recovery_solved(&f, PRUNE_ADAPTER_BIAS, 0);
    static float values[H * H], got[H * H], gain[H];
    size_t count, i;
    for (i = 0; i < H * H; i++) {
        values[i] = (float)i / 64.0f;
    }
    CHECK_OK(prune_adapters_set(linear, 2, PRUNE_PART_MATRIX, values, H * H));
    recovery_part(linear, 2, PRUNE_PART_MATRIX, got, H * H);
    CHECK(memcmp(values, got, sizeof values) == 0);
    recovery_part(linear, 2, PRUNE_PART_NORM, gain, H);
    CHECK(memcmp(gain, tiny_model_weights(&f.weights, 1, "input_layernorm"), sizeof gain) == 0);
    recovery_part(linear, 1, PRUNE_PART_NORM, gain, H);
    CHECK(memcmp(gain, tiny_model_weights(&f.weights, 0, "post_attention_layernorm"), sizeof gain) == 0);
    CHECK_FAILS(prune_adapters_get(linear, 2, PRUNE_PART_MATRIX, got, 3, &count), PRUNE_ERR_BUFFER, "256");
    CHECK(count == H * H);
    CHECK_FAILS(prune_adapters_get(linear, 2, PRUNE_PART_UP, got, H * H, NULL), PRUNE_ERR_ARGUMENT, "up");
    CHECK_FAILS(prune_adapters_get(linear, 0, PRUNE_PART_BIAS, got, H * H, NULL), PRUNE_ERR_ARGUMENT, "attn.0");
    CHECK_FAILS(prune_adapters_get(linear, -1, PRUNE_PART_BIAS, got, H * H, NULL), PRUNE_ERR_ARGUMENT, "-1");
    CHECK_FAILS(prune_adapters_get(linear, INT64_MAX, PRUNE_PART_BIAS, got, H * H, NULL), PRUNE_ERR_ARGUMENT,
                "sublayer");
    CHECK_FAILS(prune_adapters_get(linear, 2, 6, got, H * H, NULL), PRUNE_ERR_ARGUMENT, "part");
    CHECK_FAILS(prune_adapters_get(linear, 2, PRUNE_PART_NORM_BIAS, got, H * H, NULL), PRUNE_ERR_ARGUMENT, "norm_bias");
    CHECK_FAILS(prune_adapters_get(bias, 1, PRUNE_PART_NORM, got, H * H, NULL), PRUNE_ERR_ARGUMENT, "norm");
    CHECK_FAILS(prune_adapters_set(linear, 2, PRUNE_PART_MATRIX, values, H), PRUNE_ERR_ARGUMENT, "256");
    CHECK_FAILS(prune_adapters_set(linear, 2, PRUNE_PART_NORM, values, H), PRUNE_ERR_ARGUMENT, "norm");
    CHECK_FAILS(prune_adapters_set(linear, 3, PRUNE_PART_BIAS, values, H), PRUNE_ERR_ARGUMENT, "ffn.1");
    CHECK_FAILS(prune_adapters_set(linear, 2, -1, values, H), PRUNE_ERR_ARGUMENT, "part");
    CHECK_FAILS(prune_adapters_set(linear, 2, PRUNE_PART_MATRIX, values, SIZE_MAX), PRUNE_ERR_ARGUMENT, "values");
    values[5] = NAN;
    CHECK_FAILS(prune_adapters_set(linear, 2, PRUNE_PART_MATRIX, values, H * H), PRUNE_ERR_NONFINITE, "5");
    recovery_part(linear, 2, PRUNE_PART_MATRIX, values, H * H);
    CHECK(memcmp(values, got, sizeof values) == 0);
    prune_adapters_release(linear);
    prune_adapters_release(bias);
}

/* Damage to a file: `offset` from its end, or from its start where it is not negative. */
static void damage(const char *directory, const char *name, long offset)
{
    size_t size;
    char *bytes = read_file(directory, name, &size);
    bytes[offset < 0 ? size - (size_t)-offset : (size_t)offset] ^= 1;
    write_file(directory, name, bytes, size);
    free(bytes);
}

static void adapters_are_saved(void)
{
    static const prune_adapter_kind kinds[3] = { PRUNE_ADAPTER_BIAS, PRUNE_ADAPTER_LOW_RANK, PRUNE_ADAPTER_LINEAR };
    prune_adapters *adapters, *loaded = NULL;
    prune_adapters_summary one = PRUNE_ADAPTERS_SUMMARY_INIT, two = PRUNE_ADAPTERS_SUMMARY_INIT;
    char *text;
    int i;
    for (i = 0; i < 3; i++) {
        uint8_t keep[4];
        adapters = recovery_solved(&f, kinds[i], 2);
        CHECK_OK(prune_adapters_save(adapters, "saved/deep", i == 0 ? NULL : "{\"seed\": 3}"));
        CHECK_OK(prune_adapters_load("saved/deep", &loaded));
        REQUIRE(loaded != NULL);
        CHECK(recovery_equal(adapters, loaded));
        CHECK_OK(prune_adapters_info(adapters, &one));
        CHECK_OK(prune_adapters_info(loaded, &two));
        CHECK(one.statistics_tokens == two.statistics_tokens && one.seconds == two.seconds && isnan(two.held_out_best));
        CHECK_OK(prune_adapters_mask(loaded, keep, 4, NULL));
        CHECK(memcmp(keep, recovery_keep, 4) == 0);
        prune_adapters_release(loaded);
        if (i < 2) {
            prune_adapters_release(adapters);
        }
    }
    text = read_file("saved/deep", "adapters.json", NULL);
    CHECK(strstr(text, "\"provenance\": {\"seed\": 3}") != NULL &&
          strstr(text, "\"removed\": [\"ffn.0\", \"attn.1\"]"));
    free(text);
    CHECK_FAILS(prune_adapters_save(adapters, "saved/deep", "[1]"), PRUNE_ERR_FORMAT, "provenance");
    CHECK_FAILS(prune_adapters_save(adapters, "tiny/config.json/below", NULL), PRUNE_ERR_FILE, "tiny/config.json");
    CHECK_FAILS(prune_adapters_save(adapters, "", NULL), PRUNE_ERR_FILE, "empty");
    CHECK_FAILS(prune_adapters_load("nowhere", &loaded), PRUNE_ERR_FILE, "nowhere/adapters.json");
    CHECK(loaded == NULL);
    CHECK_FAILS(prune_adapters_load("", &loaded), PRUNE_ERR_FILE, "empty");
    CHECK_FAILS(prune_adapters_load("tiny", &loaded), PRUNE_ERR_FILE, "adapters.json");
    damage("saved/deep", "adapters.safetensors", -3);
    CHECK_FAILS(prune_adapters_load("saved/deep", &loaded), PRUNE_ERR_FORMAT, "adapters.safetensors");
    CHECK(loaded == NULL);
    damage("saved/deep", "adapters.safetensors", -3);
    damage("saved/deep", "adapters.json", 0);
    CHECK_FAILS(prune_adapters_load("saved/deep", &loaded), PRUNE_ERR_FORMAT, "adapters.json");
    CHECK_OK(prune_adapters_save(adapters, "saved/deep", NULL));
    CHECK_OK(prune_adapters_load("saved/deep", &loaded));
    CHECK(loaded != NULL && recovery_equal(adapters, loaded));
    CHECK_OK(prune_adapters_info(adapters, &one));
    text = read_file("saved/deep", "adapters.json", NULL);
    memcpy(strstr(text, "\"version\": 1"), "\"version\": 9", 12);
    write_text("saved/deep", "adapters.json", text);
    free(text);
    prune_adapters_release(loaded);
    CHECK_FAILS(prune_adapters_load("saved/deep", &loaded), PRUNE_ERR_UNSUPPORTED, "version");
    prune_adapters_release(adapters);
}

/* ffn.0 folds into attn.0, which stands before it; so does attn.1, with nothing between but a bias. */
static void biases_are_folded(void)
{
    prune_adapters *bias = recovery_solved(&f, PRUNE_ADAPTER_BIAS, 0);
    prune_adapters *linear = recovery_solved(&f, PRUNE_ADAPTER_LINEAR, 0);
    prune_adapters *rest = NULL;
    prune_adapters_summary summary = PRUNE_ADAPTERS_SUMMARY_INIT;
    static float biases[4 * H], one[H], two[H];
    prune_adapter list[2];
    uint8_t keep[4];
    size_t count = 7, i;
    CHECK_FAILS(prune_adapters_fold(bias, biases, 4 * H - 1, &count, &rest), PRUNE_ERR_BUFFER, "64");
    CHECK(count == 4 * H && rest == NULL);
    CHECK_OK(prune_adapters_fold(bias, biases, 4 * H, &count, &rest));
    CHECK(count == 4 * H);
    REQUIRE(rest != NULL);
    recovery_part(bias, 1, PRUNE_PART_BIAS, one, H);
    recovery_part(bias, 2, PRUNE_PART_BIAS, two, H);
    for (i = 0; i < H; i++) {
        CHECK(biases[i] == one[i] + two[i]);
        CHECK(biases[H + i] == 0.0f && biases[2 * H + i] == 0.0f && biases[3 * H + i] == 0.0f);
    }
    CHECK_OK(prune_adapters_info(rest, &summary));
    CHECK(summary.n_adapters == 0 && summary.parameters == 0 && summary.n_blocks == 2);
    CHECK_OK(prune_adapters_list(rest, NULL, 0, &count));
    CHECK(count == 0);
    CHECK_OK(prune_adapters_mask(rest, keep, 4, NULL));
    CHECK(memcmp(keep, recovery_keep, 4) == 0);
    prune_adapters_release(rest);
    CHECK_OK(prune_adapters_fold(linear, biases, 4 * H, NULL, &rest));
    for (i = 0; i < 4 * H; i++) {
        CHECK(biases[i] == 0.0f);
    }
    CHECK_OK(prune_adapters_list(rest, list, 2, &count));
    CHECK(count == 2 && recovery_equal(rest, linear));
    prune_adapters_release(rest);
    prune_adapters_release(bias);
    prune_adapters_release(linear);
}

/* The state after a removed sublayer with an adapter, from the one before it, by the definition. */
static void expected_after(const prune_adapters *adapters, int64_t sublayer, const float *before, double *after)
{
    static float bias[H], matrix[H * H], gain[H];
    double sum = 0.0;
    int r, c;
    recovery_part(adapters, sublayer, PRUNE_PART_BIAS, bias, H);
    recovery_part(adapters, sublayer, PRUNE_PART_MATRIX, matrix, H * H);
    recovery_part(adapters, sublayer, PRUNE_PART_NORM, gain, H);
    for (c = 0; c < H; c++) {
        sum += (double)before[c] * (double)before[c];
    }
    for (r = 0; r < H; r++) {
        after[r] = (double)before[r] + (double)bias[r];
        for (c = 0; c < H; c++) {
            after[r] += (double)matrix[r * H + c] * (double)gain[c] * (double)before[c] / sqrt(sum / H + 1e-5);
        }
    }
}

static void attached_models(void)
{
    static float before[FIXTURE_TOKENS * H], after[FIXTURE_TOKENS * H], other[FIXTURE_TOKENS * H];
    static const uint8_t without[4] = { 1, 1, 0, 1 };
    prune_adapters *adapters = recovery_solved(&f, PRUNE_ADAPTER_LINEAR, 0);
    prune_model *model = NULL, *twice = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT, full = PRUNE_MODEL_SHAPE_INIT;
    prune_sublayer sublayers[4], own[4];
    prune_evaluation pruned, recovered, removed, again;
    prune_evaluation masks[2];
    uint8_t keep[8];
    int64_t sublayer, t;
    int i;
    CHECK_OK(prune_model_attach(f.model, adapters, &model));
    REQUIRE(model != NULL);
    CHECK_OK(prune_model_info(f.model, &full));
    CHECK_OK(prune_model_info(model, &shape));
    CHECK(shape.abilities == full.abilities && shape.n_blocks == 2 &&
          strcmp(shape.architecture, full.architecture) == 0);
    CHECK_OK(prune_model_sublayers(f.model, own, 4, NULL));
    CHECK_OK(prune_model_sublayers(model, sublayers, 4, NULL));
    CHECK(sublayers[1].parameters == H + H * H + H && sublayers[1].parameter_bytes == 4 * sublayers[1].parameters);
    CHECK(sublayers[2].kv_bytes == 0 && sublayers[0].parameters == own[0].parameters);
    CHECK(shape.kv_bytes == full.kv_bytes / 2);
    for (sublayer = 1; sublayer <= 2; sublayer++) {
        CHECK_OK(prune_model_hidden_states(model, f.data, NULL, 0, sublayer, NULL, before, FIXTURE_TOKENS * H, NULL));
        CHECK_OK(
            prune_model_hidden_states(model, f.data, NULL, 0, sublayer + 1, NULL, after, FIXTURE_TOKENS * H, NULL));
        for (t = 0; t < FIXTURE_TOKENS; t++) {
            double expected[H];
            expected_after(adapters, sublayer, before + t * H, expected);
            for (i = 0; i < H; i++) {
                CHECK_NEAR(after[t * H + i], expected[i], 1e-4 * (1.0 + fabs(expected[i])));
            }
        }
    }
    /* Without one of its adapters it is pruned there; without both it is the pruned model. */
    CHECK_OK(prune_model_hidden_states(model, f.data, without, 4, 2, NULL, before, FIXTURE_TOKENS * H, NULL));
    CHECK_OK(prune_model_hidden_states(model, f.data, without, 4, 3, NULL, other, FIXTURE_TOKENS * H, NULL));
    CHECK(memcmp(before, other, sizeof before) == 0);
    CHECK_OK(prune_model_evaluate(f.model, f.data, recovery_keep, 1, 4, NULL, &pruned));
    CHECK_OK(prune_model_evaluate(model, f.data, recovery_keep, 1, 4, NULL, &removed));
    CHECK(pruned.loss == removed.loss);
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &recovered));
    memcpy(keep, without, 4);
    memset(keep + 4, 1, 4);
    CHECK_OK(prune_model_evaluate(model, f.data, keep, 2, 4, NULL, masks));
    CHECK_NEAR(masks[1].loss, recovered.loss, 1e-12);
    CHECK(masks[0].loss != recovered.loss && recovered.loss != pruned.loss);
    /* Later changes do not reach it, and it lives on without what it was made from. */
    for (i = 0; i < H * H; i++) {
        before[i % (FIXTURE_TOKENS * H)] = 1.0f;
    }
    CHECK_OK(prune_adapters_set(adapters, 1, PRUNE_PART_MATRIX, before, H * H));
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &again));
    CHECK(again.loss == recovered.loss);
    /* Others take their places; what they were attached to does not matter. */
    CHECK_OK(prune_model_attach(model, adapters, &twice));
    CHECK_OK(prune_model_evaluate(twice, f.data, NULL, 1, 0, NULL, &again));
    prune_model_release(twice);
    CHECK_OK(prune_model_attach(f.model, adapters, &twice));
    CHECK_OK(prune_model_evaluate(twice, f.data, NULL, 1, 0, NULL, &removed));
    CHECK(again.loss == removed.loss && again.loss != recovered.loss);
    prune_model_release(twice);
    prune_adapters_release(adapters);
    CHECK_FAILS(prune_model_attach(f.model, adapters, &twice), PRUNE_ERR_HANDLE, "adapters");
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &again));
    CHECK(again.loss == recovered.loss);
    prune_model_release(model);
}

/* Every call on a recovered model that is not of its hidden states: it works, and text is that of the logits. */
static void attached_models_are_used(void)
{
    prune_adapters *adapters = recovery_solved(&f, PRUNE_ADAPTER_LOW_RANK, 4);
    prune_model *model = NULL;
    prune_generation *generation = NULL;
    prune_generate_options options = PRUNE_GENERATE_OPTIONS_INIT;
    double scores[40], values[1];
    size_t count;
    int64_t prompt, step, start = 0;
    CHECK_OK(prune_model_attach(f.model, adapters, &model));
    REQUIRE(model != NULL);
    CHECK_OK(prune_model_score(model, f.data, NULL, scores, 40, &count));
    CHECK(count == 28 && scores[25] > 0.0);
    CHECK_OK(prune_model_damages(model, f.data, recovery_keep, 1, 4, NULL, values, NULL));
    options.max_new_tokens = 8;
    CHECK_OK(prune_model_generate(model, f.data, NULL, 0, &options, &generation));
    for (prompt = 0; prompt < FIXTURE_SEQUENCES; prompt++) {
        int32_t ids[64], tokens[8];
        int64_t length = fixture_lengths[prompt];
        memcpy(ids, fixture_ids + start, (size_t)length * sizeof *ids);
        start += length;
        CHECK_OK(prune_generation_sequence(generation, prompt, tokens, NULL, 8, &count, NULL));
        CHECK(count == 8);
        for (step = 0; step < 8; step++) {
            static float logits[64 * FIXTURE_VOCABULARY];
            const float *last = logits + (length - 1) * FIXTURE_VOCABULARY;
            prune_data *data = NULL;
            int32_t best = 0, token;
            CHECK_OK(prune_data_create(ids, &length, 1, NULL, &data));
            CHECK_OK(prune_model_logits(model, data, NULL, 0, NULL, logits, 64 * FIXTURE_VOCABULARY, NULL));
            prune_data_release(data);
            for (token = 1; token < FIXTURE_VOCABULARY; token++) {
                best = last[token] > last[best] ? token : best;
            }
            CHECK(tokens[step] == best);
            ids[length++] = tokens[step];
        }
    }
    prune_generation_release(generation);
    prune_model_release(model);
    prune_adapters_release(adapters);
}

/* Models of another shape, or with other weights. */
static void adapters_of_other_models(void)
{
    prune_adapters *adapters = recovery_solved(&f, PRUNE_ADAPTER_BIAS, 0);
    prune_model *model = NULL, *other = NULL;
    tiny_shape shape = tiny_default_shape();
    fixture wide;
    tiny_model changed;
    shape.hidden = 32;
    fixture_open_shape(&wide, "wide", shape);
    REQUIRE(wide.model != NULL);
    CHECK_FAILS(prune_model_attach(wide.model, adapters, &model), PRUNE_ERR_ARGUMENT, "hidden size 16");
    CHECK(model == NULL);
    fixture_close(&wide);
    tiny_model_make(&changed, tiny_default_shape(), 99);
    tiny_model_write(&changed, "changed");
    CHECK_OK(prune_model_open("changed", NULL, &other));
    CHECK_FAILS(prune_model_attach(other, adapters, &model), PRUNE_ERR_ARGUMENT, "other weights");
    prune_model_release(other);
    tiny_model_free(&changed);
    prune_adapters_release(adapters);
}

static void handles_and_nulls(void)
{
    prune_adapters *adapters = recovery_solved(&f, PRUNE_ADAPTER_BIAS, 0), *made = NULL;
    prune_adapters *bad = (prune_adapters *)(uintptr_t)0x10, *wrong = (prune_adapters *)(void *)f.data;
    prune_adapters *const refused[2] = { bad, wrong };
    prune_adapters_summary summary = PRUNE_ADAPTERS_SUMMARY_INIT;
    prune_model *model = NULL;
    prune_adapter list[4];
    prune_training_record records[4];
    uint8_t keep[4];
    static float floats[4 * H];
    size_t count;
    int i;
    for (i = 0; i < 2; i++) {
        CHECK_FAILS(prune_adapters_info(refused[i], &summary), PRUNE_ERR_HANDLE, "adapters");
        CHECK_FAILS(prune_adapters_list(refused[i], list, 4, &count), PRUNE_ERR_HANDLE, "adapters");
        CHECK_FAILS(prune_adapters_mask(refused[i], keep, 4, &count), PRUNE_ERR_HANDLE, "adapters");
        CHECK_FAILS(prune_adapters_history(refused[i], records, 4, &count), PRUNE_ERR_HANDLE, "adapters");
        CHECK_FAILS(prune_adapters_get(refused[i], 1, 0, floats, H, &count), PRUNE_ERR_HANDLE, "adapters");
        CHECK_FAILS(prune_adapters_set(refused[i], 1, 0, floats, H), PRUNE_ERR_HANDLE, "adapters");
        CHECK_FAILS(prune_adapters_save(refused[i], "x", NULL), PRUNE_ERR_HANDLE, "adapters");
        CHECK_FAILS(prune_adapters_fold(refused[i], floats, 4 * H, &count, &made), PRUNE_ERR_HANDLE, "adapters");
        CHECK_FAILS(prune_model_attach(f.model, refused[i], &model), PRUNE_ERR_HANDLE, "adapters");
        prune_adapters_release(refused[i]);
    }
    CHECK_FAILS(prune_model_attach(NULL, adapters, &model), PRUNE_ERR_ARGUMENT, "model");
    CHECK_FAILS(prune_model_attach((prune_model *)adapters, adapters, &model), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_attach(f.model, NULL, &model), PRUNE_ERR_ARGUMENT, "adapters");
    CHECK_FAILS(prune_model_attach(f.model, adapters, NULL), PRUNE_ERR_ARGUMENT, "out_model");
    CHECK_FAILS(prune_adapters_info(NULL, &summary), PRUNE_ERR_ARGUMENT, "adapters");
    CHECK_FAILS(prune_adapters_info(adapters, NULL), PRUNE_ERR_ARGUMENT, "out_summary");
    CHECK_FAILS(prune_adapters_list(NULL, list, 4, &count), PRUNE_ERR_ARGUMENT, "adapters");
    CHECK_FAILS(prune_adapters_list(adapters, NULL, 4, &count), PRUNE_ERR_ARGUMENT, "out_adapters");
    CHECK_OK(prune_adapters_list(adapters, list, 4, NULL));
    CHECK_FAILS(prune_adapters_mask(NULL, keep, 4, &count), PRUNE_ERR_ARGUMENT, "adapters");
    CHECK_FAILS(prune_adapters_mask(adapters, NULL, 4, &count), PRUNE_ERR_ARGUMENT, "out_keep");
    CHECK_FAILS(prune_adapters_history(NULL, records, 4, &count), PRUNE_ERR_ARGUMENT, "adapters");
    CHECK_FAILS(prune_adapters_get(NULL, 1, 0, floats, H, &count), PRUNE_ERR_ARGUMENT, "adapters");
    CHECK_FAILS(prune_adapters_get(adapters, 1, 0, NULL, H, &count), PRUNE_ERR_ARGUMENT, "out_values");
    CHECK_FAILS(prune_adapters_set(NULL, 1, 0, floats, H), PRUNE_ERR_ARGUMENT, "adapters");
    CHECK_FAILS(prune_adapters_set(adapters, 1, 0, NULL, H), PRUNE_ERR_ARGUMENT, "values");
    CHECK_FAILS(prune_adapters_save(NULL, "x", NULL), PRUNE_ERR_ARGUMENT, "adapters");
    CHECK_FAILS(prune_adapters_save(adapters, NULL, NULL), PRUNE_ERR_ARGUMENT, "directory");
    made = bad;
    CHECK_FAILS(prune_adapters_load(NULL, &made), PRUNE_ERR_ARGUMENT, "directory");
    CHECK(made == NULL);
    CHECK_FAILS(prune_adapters_load("x", NULL), PRUNE_ERR_ARGUMENT, "out_adapters");
    CHECK_FAILS(prune_adapters_fold(NULL, floats, 4 * H, &count, &made), PRUNE_ERR_ARGUMENT, "adapters");
    CHECK_FAILS(prune_adapters_fold(adapters, NULL, 4 * H, &count, &made), PRUNE_ERR_ARGUMENT, "out_biases");
    CHECK_FAILS(prune_adapters_fold(adapters, floats, 4 * H, &count, NULL), PRUNE_ERR_ARGUMENT, "out_rest");
    prune_adapters_release(NULL);
    prune_adapters_release(adapters);
    prune_adapters_release(adapters);
    CHECK_FAILS(prune_adapters_info(adapters, &summary), PRUNE_ERR_HANDLE, "adapters");
}

int main(void)
{
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    adapters_are_described();
    arrays_are_changed();
    adapters_are_saved();
    biases_are_folded();
    attached_models();
    attached_models_are_used();
    adapters_of_other_models();
    handles_and_nulls();
    fixture_close(&f);
    return check_report();
}
