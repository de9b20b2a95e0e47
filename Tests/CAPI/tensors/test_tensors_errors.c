/* SPDX-License-Identifier: Apache-2.0 */
/* What prune_model_from_tensors() refuses: every error of its contract, and sizes and strides that no tensor has. After each
   refusal nothing was taken over, and the same tensors set right give a model. */
#include "lent.h"

static fixture f;
static lent_model lent;
static double good_loss;

static double loss(const prune_model *model)
{
    prune_evaluation evaluation = { 0 };
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &evaluation));
    return evaluation.loss;
}

/* The tensors as they stand are refused; `was` is what the one at `changed` goes back to. */
static void refused(prune_status expected, const char *part, size_t changed, const prune_tensor *was, int line)
{
    prune_model *model = (prune_model *)(uintptr_t)0x10;
    int closed = lent.n_closed;
    prune_status got = lent_open(&lent, PRUNE_COMPUTE_AUTOMATIC, &model);
    check_fails(got, expected, part, __FILE__, line, "a tensor is refused");
    check_count(strstr(prune_last_error(),
                       lent.tensors[changed].name != NULL ? lent.tensors[changed].name : "tensors[") != NULL,
                __FILE__, line, "the tensor is named");
    check_count(model == NULL && lent.n_closed == closed, __FILE__, line, "nothing was taken over");
    if (got == PRUNE_OK) {
        prune_model_release(model);
    }
    lent.tensors[changed] = *was;
    model = NULL;
    CHECK_OK(lent_open(&lent, PRUNE_COMPUTE_AUTOMATIC, &model));
    CHECK(loss(model) == good_loss);
    prune_model_release(model);
    CHECK(lent.n_closed == closed + 1);
}
#define REFUSED(expected, part) refused((expected), (part), i, &was, __LINE__)

static void nulls_and_enumerations(void)
{
    static const int32_t dimensions[] = { 0, 3, 1000, -1, INT32_MAX, INT32_MIN };
    static const prune_element_type types[] = { 3, -1, INT32_MAX };
    size_t i = lent_index(&lent, "model.layers.1.mlp.up_proj.weight"), k;
    prune_tensor was = lent.tensors[i], *own = &lent.tensors[i];
    own->name = NULL;
    REFUSED(PRUNE_ERR_ARGUMENT, "name");
    own->data = NULL;
    REFUSED(PRUNE_ERR_ARGUMENT, "data");
    own->shape = NULL;
    REFUSED(PRUNE_ERR_ARGUMENT, "shape");
    for (k = 0; k < sizeof dimensions / sizeof dimensions[0]; k++) {
        own->n_dimensions = dimensions[k];
        own->strides = NULL;
        REFUSED(PRUNE_ERR_ARGUMENT, "n_dimensions");
    }
    for (k = 0; k < sizeof types / sizeof types[0]; k++) {
        own->element_type = types[k];
        REFUSED(PRUNE_ERR_ARGUMENT, "element_type");
    }
    own->name = lent.tensors[i - 1].name;
    REFUSED(PRUNE_ERR_ARGUMENT, "two tensors");
}

static void shapes_that_do_not_fit(void)
{
    size_t i = lent_index(&lent, "model.layers.0.self_attn.q_proj.weight"), k;
    prune_tensor was = lent.tensors[i], *own = &lent.tensors[i];
    int64_t shape[2] = { 16, 15 };
    static const struct {
        int64_t rows, columns;
        prune_status expected;
    } cases[] = {
        { 15, 16, PRUNE_ERR_FORMAT },
        { 0, 16, PRUNE_ERR_FORMAT },
        { 16, 0, PRUNE_ERR_FORMAT },
        { INT64_MAX, 0, PRUNE_ERR_FORMAT },
        { -16, 16, PRUNE_ERR_ARGUMENT },
        { 16, -16, PRUNE_ERR_ARGUMENT },
        { INT64_MIN, INT64_MIN, PRUNE_ERR_ARGUMENT },
        { INT64_MAX, INT64_MAX, PRUNE_ERR_ARGUMENT }, /* no memory has as many */
        { INT64_MAX, 2, PRUNE_ERR_ARGUMENT },
        { INT64_MAX, 1, PRUNE_ERR_ARGUMENT },
        { INT64_C(1) << 61, 1, PRUNE_ERR_ARGUMENT },
        { 1, INT64_MAX, PRUNE_ERR_ARGUMENT },
        { INT64_C(1) << 32, INT64_C(1) << 32, PRUNE_ERR_ARGUMENT },
        { INT64_C(1) << 31, INT64_C(1) << 31, PRUNE_ERR_ARGUMENT },
    };
    for (k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        shape[0] = cases[k].rows;
        shape[1] = cases[k].columns;
        own->shape = shape;
        REFUSED(cases[k].expected, cases[k].expected == PRUNE_ERR_FORMAT ? "has shape" : "has ");
    }
    own->n_dimensions = 1; /* a vector where a matrix should be */
    REFUSED(PRUNE_ERR_FORMAT, "has shape");
    i = lent_index(&lent, "model.norm.weight");
    was = lent.tensors[i];
    lent.tensors[i].n_dimensions = 2; /* 16 x 1, say, where a vector should be */
    shape[0] = 16;
    shape[1] = 1;
    lent.tensors[i].shape = shape;
    REFUSED(PRUNE_ERR_FORMAT, "has shape");
}

static void strides_that_do_not_fit(void)
{
    size_t i = lent_index(&lent, "model.layers.0.mlp.down_proj.weight"), k;
    prune_tensor was = lent.tensors[i], *own = &lent.tensors[i];
    static const int64_t cases[][2] = { { 24, 2 },
                                        { 1, 16 },
                                        { 23, 1 },
                                        { 0, 1 },
                                        { 0, 0 },
                                        { -24, 1 },
                                        { 24, -1 },
                                        { 24, 0 },
                                        { INT64_MIN, 1 },
                                        { INT64_MAX, INT64_MAX },
                                        { INT64_MIN, INT64_MIN } };
    static const int64_t beyond[][2] = { { INT64_MAX, 1 }, { INT64_MAX / 15, 1 }, { INT64_MAX / 60, 1 } };
    int64_t vector[1];
    prune_model *model = NULL;
    CHECK(was.shape[0] == 16 && was.shape[1] == 24);
    for (k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        own->strides = cases[k];
        REFUSED(PRUNE_ERR_UNSUPPORTED, "contiguous");
    }
    for (k = 0; k < sizeof beyond / sizeof beyond[0]; k++) {
        own->strides = beyond[k];
        REFUSED(PRUNE_ERR_ARGUMENT, "no memory");
    }
    i = lent_index(&lent, "model.layers.0.input_layernorm.weight");
    was = lent.tensors[i];
    for (vector[0] = -1; vector[0] <= 2; vector[0] += vector[0] == 0 ? 2 : 1) {
        lent.tensors[i].strides = vector;
        REFUSED(PRUNE_ERR_UNSUPPORTED, "contiguous");
    }
    vector[0] = 1;
    lent.tensors[i].strides = vector;
    CHECK_OK(lent_open(&lent, PRUNE_COMPUTE_AUTOMATIC, &model));
    CHECK(loss(model) == good_loss);
    prune_model_release(model);
    lent.tensors[i] = was;
}

static void argument_refusals(void)
{
    prune_model *model = (prune_model *)(uintptr_t)0x10;
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    size_t n = lent.n_tensors;
    CHECK_FAILS(prune_model_from_tensors(NULL, lent.tensors, n, NULL, &model), PRUNE_ERR_ARGUMENT, "config_json");
    CHECK(model == NULL);
    CHECK_FAILS(prune_model_from_tensors(lent.config, NULL, n, NULL, &model), PRUNE_ERR_ARGUMENT, "tensors is NULL");
    CHECK_FAILS(prune_model_from_tensors(lent.config, NULL, SIZE_MAX / 128, NULL, &model), PRUNE_ERR_ARGUMENT,
                "tensors is NULL");
    CHECK_FAILS(prune_model_from_tensors(lent.config, NULL, SIZE_MAX, NULL, &model), PRUNE_ERR_ARGUMENT,
                "tensors cannot");
    CHECK_FAILS(prune_model_from_tensors(lent.config, lent.tensors, SIZE_MAX / 2, NULL, &model), PRUNE_ERR_ARGUMENT,
                "cannot");
    CHECK_FAILS(prune_model_from_tensors(lent.config, lent.tensors, n, NULL, NULL), PRUNE_ERR_ARGUMENT, "out_model");
    CHECK_FAILS(prune_model_from_tensors(lent.config, NULL, 0, NULL, &model), PRUNE_ERR_FORMAT, "embed_tokens");
    CHECK_FAILS(prune_model_from_tensors(lent.config, lent.tensors, n - 1, NULL, &model), PRUNE_ERR_FORMAT,
                "\"model.norm.weight\" is missing");
    CHECK(lent_open(&lent, 17, &model) == PRUNE_ERR_ARGUMENT && strstr(prune_last_error(), "compute") != NULL);
    options.struct_size = 4;
    CHECK_FAILS(prune_model_from_tensors(lent.config, lent.tensors, n, &options, &model), PRUNE_ERR_ARGUMENT,
                "struct_size");
    /* As the first version had them: without on_close. */
    options.struct_size = 8;
    options.on_close = lent_closed;
    options.user_data = &lent;
    CHECK_OK(prune_model_from_tensors(lent.config, lent.tensors, n, &options, &model));
    prune_model_release(model);
    CHECK(lent.n_closed == 0);
}

static void configurations_that_are_refused(void)
{
    static const struct {
        const char *text, *part;
        prune_status expected;
    } cases[] = {
        { "", "config_json", PRUNE_ERR_FORMAT },
        { "[]", "config_json", PRUNE_ERR_FORMAT },
        { "{}", "config_json: architectures", PRUNE_ERR_FORMAT },
        { "{\"architectures\": [\"\xff\"]}", "config_json", PRUNE_ERR_UNSUPPORTED },
        { "{\"architectures\": [\"BloomForCausalLM\"]}", "BloomForCausalLM", PRUNE_ERR_UNSUPPORTED },
        { "{\"architectures\": [\"GPT2LMHeadModel\"]}", "config_json: n_embd", PRUNE_ERR_FORMAT },
        { "{\"architectures\": [\"LlamaForCausalLM\"]}", "config_json: ", PRUNE_ERR_FORMAT },
    };
    prune_model *model = NULL;
    size_t i, bytes = (size_t)17 << 20;
    char *large;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_FAILS(prune_model_from_tensors(cases[i].text, lent.tensors, lent.n_tensors, NULL, &model),
                    cases[i].expected, cases[i].part);
    }
    large = malloc(bytes + 1);
    REQUIRE(large != NULL);
    memset(large, ' ', bytes);
    large[bytes] = '\0';
    CHECK_FAILS(prune_model_from_tensors(large, lent.tensors, lent.n_tensors, NULL, &model), PRUNE_ERR_FORMAT,
                "at most");
    free(large);
}

int main(void)
{
    lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    good_loss = loss(f.model);
    lent_make(&lent, &f.weights, "tiny", layout);
    argument_refusals();
    configurations_that_are_refused();
    nulls_and_enumerations();
    shapes_that_do_not_fit();
    strides_that_do_not_fit();
    lent_free(&lent);
    fixture_close(&f);
    return check_report();
}
