/* SPDX-License-Identifier: Apache-2.0 */
/* Opening models, what they say of themselves, storage types, shards. */
#include "check.h"
#include "fixture.h"

/* Parameters by hand. The default shape: width 16, queries 16, keys and values 8, feed-forward 24, vocabulary 32. */
enum {
    ATTENTION_PARAMETERS = 16 + 16 * 16 + 8 * 16 + 8 * 16 + 16 * 16,
    FEED_FORWARD_PARAMETERS = 16 + 3 * 24 * 16,
    ALL_PARAMETERS = 32 * 16 + 2 * (ATTENTION_PARAMETERS + FEED_FORWARD_PARAMETERS) + 16
};

static void shape(const fixture *f)
{
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    prune_model *refused = f->model;
    options.on_close = free;
    CHECK_FAILS(prune_model_open("tiny", &options, &refused), PRUNE_ERR_ARGUMENT, "on_close");
    CHECK(refused == NULL);
    CHECK_OK(prune_model_info(f->model, &shape));
    CHECK(shape.struct_size == sizeof shape);
    CHECK(shape.abilities == (PRUNE_ABILITY_READ_STATES | PRUNE_ABILITY_MAGNITUDE | PRUNE_ABILITY_GENERATE |
                              PRUNE_ABILITY_GRADIENTS | PRUNE_ABILITY_SUBLAYERS | PRUNE_ABILITY_STATES));
    CHECK(shape.architecture != NULL && strcmp(shape.architecture, "LlamaForCausalLM") == 0);
    CHECK(shape.element_type != NULL && strcmp(shape.element_type, "fp32") == 0);
    CHECK(shape.n_blocks == 2);
    CHECK(shape.hidden_size == 16);
    CHECK(shape.feed_forward_size == 24);
    CHECK(shape.n_heads == 2);
    CHECK(shape.n_kv_heads == 1);
    CHECK(shape.head_size == 8);
    CHECK(shape.vocabulary_size == 32);
    CHECK(shape.context_length == 64);
    CHECK(shape.tied_embeddings == 1);
    CHECK(shape.parameters == ALL_PARAMETERS);
    CHECK(shape.parameter_bytes == 4 * ALL_PARAMETERS);
    CHECK(shape.kv_bytes == 2 * 2 * 8 * 4); /* blocks, keys and values, elements, bytes */
}

static void sublayers(const fixture *f)
{
    prune_sublayer list[5];
    size_t count = 99;
    int64_t u;
    memset(list, 0x5A, sizeof list);
    CHECK_FAILS(prune_model_sublayers(f->model, list, 3, &count), PRUNE_ERR_BUFFER, "4");
    CHECK(count == 4);
    CHECK(list[0].block == INT64_C(0x5A5A5A5A5A5A5A5A)); /* nothing written */
    CHECK_OK(prune_model_sublayers(f->model, list, 5, &count));
    CHECK(count == 4);
    CHECK(list[4].block == INT64_C(0x5A5A5A5A5A5A5A5A));
    for (u = 0; u < 4; u++) {
        CHECK(list[u].block == u / 2);
        CHECK(list[u].is_feed_forward == u % 2);
        CHECK(list[u].parameters == (u % 2 == 0 ? ATTENTION_PARAMETERS : FEED_FORWARD_PARAMETERS));
        CHECK(list[u].parameter_bytes == 4 * list[u].parameters);
        CHECK(list[u].kv_bytes == (u % 2 == 0 ? 2 * 8 * 4 : 0));
        CHECK(list[u].window == 0);
    }
    CHECK_OK(prune_model_sublayers(f->model, list, 4, NULL)); /* out_count may be NULL */
}

static void untied_head(void)
{
    fixture f;
    tiny_shape s = tiny_default_shape();
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    s.tied = 0;
    fixture_open_shape(&f, "untied", s);
    REQUIRE(f.model != NULL && f.data != NULL);
    CHECK_OK(prune_model_info(f.model, &shape));
    CHECK(shape.tied_embeddings == 0);
    CHECK(shape.parameters == ALL_PARAMETERS + 32 * 16);
    fixture_close(&f);
}

static void logits_of(const char *directory, const prune_data *data, const char *type, float *logits)
{
    prune_model *model = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    CHECK_OK(prune_model_open(directory, NULL, &model));
    REQUIRE(model != NULL);
    CHECK_OK(prune_model_info(model, &shape));
    CHECK(strcmp(shape.element_type, type) == 0);
    CHECK(shape.parameter_bytes == shape.parameters * (strcmp(type, "fp32") == 0 ? 4 : 2));
    CHECK_OK(prune_model_logits(model, data, NULL, 0, NULL, logits, FIXTURE_TOKENS * FIXTURE_VOCABULARY, NULL));
    prune_model_release(model);
}

/* The same weights give the same logits, however they are stored. */
static void storage(fixture *f)
{
    static float plain[FIXTURE_TOKENS * FIXTURE_VOCABULARY];
    static float other[FIXTURE_TOKENS * FIXTURE_VOCABULARY];
    static const struct {
        const char *file_type, *type, *directory;
    } cases[] = { { "BF16", "bf16", "as_bf16" }, { "F16", "fp16", "as_fp16" } };
    size_t i, k;
    logits_of("tiny", f->data, "fp32", plain);
    tiny_model_write_shards(&f->weights, "shards");
    logits_of("shards", f->data, "fp32", other);
    CHECK(memcmp(plain, other, sizeof plain) == 0);
    for (i = 0; i < 2; i++) {
        double largest = 0.0;
        tiny_model_store_as(&f->weights, cases[i].file_type);
        tiny_model_write(&f->weights, cases[i].directory);
        logits_of(cases[i].directory, f->data, cases[i].type, other);
        for (k = 0; k < FIXTURE_TOKENS * FIXTURE_VOCABULARY; k++) {
            largest = fmax(largest, fabs((double)other[k] - (double)plain[k]));
        }
        CHECK_NEAR(largest, 0.0, 1e-5);
    }
    tiny_model_store_as(&f->weights, "F32");
}

/* Two models of one directory live side by side, and data outlives models. */
static void lives(const fixture *f)
{
    prune_model *a = NULL, *b = NULL;
    prune_evaluation first, second;
    CHECK_OK(prune_model_open("tiny", NULL, &a));
    CHECK_OK(prune_model_open("tiny/", NULL, &b));
    CHECK(a != NULL && b != NULL && a != b);
    CHECK_OK(prune_model_evaluate(a, f->data, NULL, 1, 0, NULL, &first));
    prune_model_release(a);
    CHECK_OK(prune_model_evaluate(b, f->data, NULL, 1, 0, NULL, &second));
    CHECK(first.loss == second.loss);
    prune_model_release(b);
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    shape(&f);
    sublayers(&f);
    untied_head();
    storage(&f);
    lives(&f);
    fixture_close(&f);
    return check_report();
}
