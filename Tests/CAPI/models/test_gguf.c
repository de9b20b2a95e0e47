/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF files: the same model as a directory, in every type, in parts, and damaged. */
#include "check.h"
#include "fixture.h"
#include "tiny_gguf.h"

#include <math.h>

static double loss_of(prune_model *model, const fixture *f)
{
    prune_evaluation evaluation;
    CHECK_OK(prune_model_evaluate(model, f->data, NULL, 1, 0, NULL, &evaluation));
    return evaluation.loss;
}

static double opened(const char *path, const fixture *f, const char *type)
{
    prune_model *model = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    double loss = -1;
    CHECK_OK(prune_model_open(path, NULL, &model));
    if (model != NULL) {
        CHECK_OK(prune_model_info(model, &shape));
        CHECK(strcmp(shape.architecture, "LlamaForCausalLM") == 0 && shape.n_blocks == 2);
        CHECK(strcmp(shape.element_type, type) == 0);
        loss = loss_of(model, f);
    }
    prune_model_release(model);
    return loss;
}

static void same_as_directory(const fixture *f)
{
    double loss = loss_of(f->model, f);
    tiny_gguf_write(&f->weights, "gguf", "whole.gguf", 0, 1);
    /* Heads turn in another order, which rounds otherwise. */
    CHECK(fabs(opened("gguf/whole.gguf", f, "fp32") - loss) < 1e-6 * loss);
    tiny_gguf_write(&f->weights, "gguf", "split-00001-of-00002.gguf", 0, 2);
    CHECK(fabs(opened("gguf/split-00001-of-00002.gguf", f, "fp32") - loss) < 1e-6 * loss);
}

/* The text of config.json that stands for the metadata. */
static void configuration(void)
{
    char text[4096];
    prune_model *model = NULL;
    CHECK_OK(prune_model_open("gguf/whole.gguf", NULL, &model));
    CHECK_OK(prune_model_config(model, text, sizeof text, NULL));
    CHECK(strstr(text, "\"rms_norm_eps\": 1e-05") != NULL);
    CHECK(strstr(text, "\"tie_word_embeddings\": true") != NULL);
    prune_model_release(model);
}

static void every_type(const fixture *f)
{
    const tiny_shape shape = { 2, 256, 2, 1, 128, 256, 32, 1 };
    tiny_model wide;
    size_t i;
    tiny_model_make(&wide, shape, 3);
    for (i = 3; i < n_tiny_gguf_types; i++) {
        prune_model *model = NULL;
        double loss = -1;
        tiny_gguf_write(&wide, "gguf", "typed.gguf", tiny_gguf_types[i].number, 1);
        CHECK_OK(prune_model_open("gguf/typed.gguf", NULL, &model));
        if (model != NULL) {
            loss = loss_of(model, f);
        }
        check_count(isfinite(loss) && loss > 0, __FILE__, __LINE__, "loss");
        prune_model_release(model);
    }
    tiny_model_free(&wide);
}

static void fails(const char *path, int status, const char *text)
{
    prune_model *model = (prune_model *)(uintptr_t)0x10;
    CHECK_FAILS(prune_model_open(path, NULL, &model), status, text);
    CHECK(model == NULL);
}

/* A file with some bytes written over. */
static void damaged(size_t at, const void *bytes, size_t n, int status, const char *text)
{
    size_t size;
    char *content = read_file("gguf", "whole.gguf", &size);
    memcpy(content + at, bytes, n);
    write_file("gguf", "damaged.gguf", content, size);
    fails("gguf/damaged.gguf", status, text);
    free(content);
}

static void errors(void)
{
    static const unsigned char many[8] = { 255, 255, 255, 255, 255, 255, 255, 127 };
    size_t size;
    char *content = read_file("gguf", "whole.gguf", &size);
    fails("gguf/none.gguf", PRUNE_ERR_FILE, "none.gguf");
    fails("gguf/split-00002-of-00002.gguf", PRUNE_ERR_FORMAT, "open the first: gguf/split-00001-of-00002.gguf");
    damaged(0, "GGML", 4, PRUNE_ERR_FORMAT, "no GGUF file");
    damaged(4, "\1\0\0\0", 4, PRUNE_ERR_UNSUPPORTED, "version 1");
    damaged(4, "\0\0\0\3", 4, PRUNE_ERR_UNSUPPORTED, "big-endian");
    damaged(8, many, 8, PRUNE_ERR_FORMAT, "number of tensors");
    damaged(16, many, 8, PRUNE_ERR_FORMAT, "number of metadata values");
    damaged(24, many, 8, PRUNE_ERR_FORMAT, "ends within");
    damaged(24 + 8 + 20 + 4 + 8, "lloma", 5, PRUNE_ERR_UNSUPPORTED, "\"lloma\"");
    write_file("gguf", "cut.gguf", content, size - 64);
    fails("gguf/cut.gguf", PRUNE_ERR_FORMAT, "cut short");
    write_file("gguf", "cut.gguf", content, 100);
    fails("gguf/cut.gguf", PRUNE_ERR_FORMAT, "cut short");
    /* By its first bytes, whatever it is called. */
    write_file("gguf", "model.bin", content, 100);
    fails("gguf/model.bin", PRUNE_ERR_FORMAT, "cut short");
    write_text("gguf", "text.gguf", "no model");
    fails("gguf/text.gguf", PRUNE_ERR_FORMAT, "no GGUF file");
    fails("gguf", PRUNE_ERR_FILE, "config.json");
    free(content);
}

/* What is exported from a file is a checkpoint like any other. */
static void exported(const fixture *f)
{
    static const uint8_t keep[FIXTURE_SUBLAYERS] = { 1, 1, 0, 0 };
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    prune_evaluation masked, smaller;
    prune_model *model = NULL, *again = NULL;
    CHECK_OK(prune_model_open("gguf/whole.gguf", NULL, &model));
    CHECK_OK(prune_model_evaluate(model, f->data, keep, 1, FIXTURE_SUBLAYERS, NULL, &masked));
    options.dequantised = 3;
    CHECK_FAILS(prune_model_export(model, keep, FIXTURE_SUBLAYERS, NULL, "from-gguf", &options), PRUNE_ERR_ARGUMENT,
                "options.dequantised");
    options.dequantised = PRUNE_DEQUANTISED_FLOAT16;
    CHECK_OK(prune_model_export(model, keep, FIXTURE_SUBLAYERS, NULL, "from-gguf", &options));
    CHECK_OK(prune_model_open("from-gguf", NULL, &again));
    CHECK_OK(prune_model_evaluate(again, f->data, NULL, 1, 0, NULL, &smaller));
    CHECK(fabs(masked.loss - smaller.loss) < 1e-6 * masked.loss);
    prune_model_release(model);
    prune_model_release(again);
}

int main(void)
{
    fixture f;
    fixture_open(&f, "model");
    same_as_directory(&f);
    configuration();
    every_type(&f);
    exported(&f);
    errors();
    fixture_close(&f);
    return check_report();
}
