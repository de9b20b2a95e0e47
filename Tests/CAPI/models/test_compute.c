/* SPDX-License-Identifier: Apache-2.0 */
/* What products multiply in: the option, the environment variable, what a model says of itself, and bf16 itself. */
#include "check.h"
#include "fixture.h"

#define VARIABLE "PRUNECORE_COMPUTE"

static int has_bf16(void)
{
    prune_runtime runtime = PRUNE_RUNTIME_INIT;
    CHECK_OK(prune_runtime_info(&runtime));
    return runtime.bf16_kernels[0] != '\0';
}

static prune_status open_as(const char *directory, prune_compute compute, prune_model **model)
{
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    options.compute = compute;
    return prune_model_open(directory, &options, model);
}

/* The type that a model computes in, or -1 if it cannot be opened. */
static prune_compute type_of(const char *directory, const prune_model_options *options)
{
    prune_model *model = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    shape.compute = -1;
    CHECK_OK(prune_model_open(directory, options, &model));
    CHECK_OK(prune_model_info(model, &shape));
    prune_model_release(model);
    return shape.compute;
}

static prune_compute type_asked(const char *directory, prune_compute compute)
{
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    options.compute = compute;
    return type_of(directory, &options);
}

/* Without the variable, the stored type and the CPU decide. */
static void automatic_compute_type(void)
{
    prune_compute bf16 = has_bf16() ? PRUNE_COMPUTE_BFLOAT16 : PRUNE_COMPUTE_FLOAT32;
    unsetenv(VARIABLE);
    CHECK(type_of("tiny", NULL) == PRUNE_COMPUTE_FLOAT32);
    CHECK(type_of("tiny16", NULL) == bf16);
    CHECK(type_asked("tiny16", PRUNE_COMPUTE_AUTOMATIC) == bf16);
    CHECK(type_asked("tiny16", PRUNE_COMPUTE_FLOAT32) == PRUNE_COMPUTE_FLOAT32);
    setenv(VARIABLE, "", 1); /* as if it were unset */
    CHECK(type_of("tiny16", NULL) == bf16);
}

/* The variable decides where the program does not, and is read at every open. */
static void compute_type_of_the_environment(void)
{
    prune_model *model = NULL;
    setenv(VARIABLE, "float32", 1);
    CHECK(type_of("tiny16", NULL) == PRUNE_COMPUTE_FLOAT32);
    setenv(VARIABLE, "bf16", 1);
    CHECK_FAILS(prune_model_open("tiny", NULL, &model), PRUNE_ERR_ARGUMENT, VARIABLE);
    CHECK(model == NULL && strstr(prune_last_error(), "bf16") != NULL);
    CHECK(type_asked("tiny16", PRUNE_COMPUTE_FLOAT32) == PRUNE_COMPUTE_FLOAT32); /* the option comes first */
    setenv(VARIABLE, "bfloat16", 1);
    if (has_bf16()) {
        CHECK(type_of("tiny16", NULL) == PRUNE_COMPUTE_BFLOAT16);
    } else {
        CHECK_FAILS(prune_model_open("tiny", NULL, &model), PRUNE_ERR_UNSUPPORTED, VARIABLE);
    }
    setenv(VARIABLE, "float32", 1);
}

static void compute_type_refusals(void)
{
    static const prune_compute unknown[] = { 3, -1, INT32_MAX, INT32_MIN };
    size_t i;
    for (i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        prune_model *model = (prune_model *)(uintptr_t)0x10;
        CHECK_FAILS(open_as("tiny", unknown[i], &model), PRUNE_ERR_ARGUMENT, "options.compute");
        CHECK(model == NULL);
    }
    if (!has_bf16()) {
        prune_model *model = NULL;
        CHECK_FAILS(open_as("tiny16", PRUNE_COMPUTE_BFLOAT16, &model), PRUNE_ERR_UNSUPPORTED, "bfloat16");
    }
}

/* bf16 products round activations: losses move a little, and by the same amount every time. */
static void results(const prune_data *data)
{
    prune_model *wide = NULL, *narrow = NULL;
    prune_evaluation expected, first, second;
    CHECK_OK(open_as("tiny16", PRUNE_COMPUTE_FLOAT32, &wide));
    CHECK_OK(prune_model_evaluate(wide, data, NULL, 1, 0, NULL, &expected));
    if (has_bf16()) {
        CHECK_OK(open_as("tiny16", PRUNE_COMPUTE_BFLOAT16, &narrow));
        CHECK_OK(prune_model_evaluate(narrow, data, NULL, 1, 0, NULL, &first));
        CHECK_OK(prune_model_evaluate(narrow, data, NULL, 1, 0, NULL, &second));
        CHECK(first.loss == second.loss);
        CHECK_NEAR(first.loss, expected.loss, 1e-2 * expected.loss); /* a width of 16 averages little away */
    } else {
        printf("skipped: products in bf16; this CPU has no instructions for them\n");
    }
    prune_model_release(narrow);
    prune_model_release(wide);
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    tiny_model_store_as(&f.weights, "BF16");
    tiny_model_write(&f.weights, "tiny16");
    automatic_compute_type();
    compute_type_of_the_environment();
    compute_type_refusals();
    results(f.data);
    fixture_close(&f);
    return check_report();
}
