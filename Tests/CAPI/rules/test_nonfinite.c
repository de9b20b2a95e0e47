/* SPDX-License-Identifier: Apache-2.0 */
/* Weights that are NaN or infinite, or so large that the hidden state overflows: the layer is named. */
#include "check.h"
#include "fixture.h"

/* Every call that computes with a model must refuse, naming the place. */
static void all_refuse(const prune_model *model, const prune_data *data, const uint8_t *keep, const char *place)
{
    static float floats[512];
    size_t n_keep = keep == NULL ? 0 : 4;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_statistics *statistics = NULL;
    prune_generation *generation = NULL;
    prune_evaluation evaluation;
    double scores[36];
    options.keep = keep;
    options.n_keep = n_keep;
    options.metrics = PRUNE_METRIC_ALL_OF_STATES;
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_FAILS(prune_model_evaluate(model, data, keep, 1, n_keep, NULL, &evaluation), PRUNE_ERR_NONFINITE, place);
    CHECK_FAILS(prune_model_token_losses(model, data, keep, n_keep, NULL, floats, 512, NULL), PRUNE_ERR_NONFINITE,
                place);
    CHECK_FAILS(prune_model_score(model, data, &options, scores, 36, NULL), PRUNE_ERR_NONFINITE, place);
    options.metrics = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
    CHECK_FAILS(prune_model_score(model, data, &options, scores, 36, NULL), PRUNE_ERR_NONFINITE, place);
    options.metrics = PRUNE_METRIC_LEAVE_ONE_OUT_LOGIT_L2;
    CHECK_FAILS(prune_model_score(model, data, &options, scores, 36, NULL), PRUNE_ERR_NONFINITE, place);
    options.metrics = PRUNE_METRIC_TAYLOR;
    CHECK_FAILS(prune_model_score(model, data, &options, scores, 36, NULL), PRUNE_ERR_NONFINITE, place);
    CHECK_FAILS(prune_statistics_collect(statistics, model, data, &options), PRUNE_ERR_NONFINITE, place);
    CHECK_FAILS(prune_statistics_scores(statistics, NULL, scores, 36, NULL), PRUNE_ERR_DATA, "gathered");
    CHECK_FAILS(prune_model_generate(model, data, keep, n_keep, NULL, &generation), PRUNE_ERR_NONFINITE, place);
    CHECK(generation == NULL);
    CHECK_FAILS(prune_model_logits(model, data, keep, n_keep, NULL, floats, 512, NULL), PRUNE_ERR_NONFINITE, place);
    CHECK_FAILS(prune_model_hidden_states(model, data, keep, n_keep, 4, NULL, floats, 512, NULL), PRUNE_ERR_NONFINITE,
                place);
    prune_statistics_release(statistics);
}

/* One matrix gets a bad value. With the layer removed, the model computes. */
static void bad_layer(const char *tensor, float value, const char *place, int sublayer)
{
    fixture f;
    tiny_model weights;
    prune_model *model = NULL;
    prune_evaluation evaluation;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    double scores[4];
    uint8_t keep[4] = { 1, 1, 1, 1 };
    tiny_model_make(&weights, tiny_default_shape(), 2407);
    tiny_model_tensor(&weights, tensor)->values[0] = value;
    tiny_model_write(&weights, "bad");
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    CHECK_OK(prune_model_open("bad", NULL, &model)); /* opening reads no weights */
    all_refuse(model, f.data, NULL, place);
    keep[sublayer] = 0;
    CHECK_OK(prune_model_evaluate(model, f.data, keep, 1, 4, NULL, &evaluation));
    CHECK(isfinite(evaluation.loss));
    if (!isfinite((double)value) && strstr(tensor, "_proj") != NULL) { /* magnitude is the sum over the matrices */
        options.metrics = PRUNE_METRIC_MAGNITUDE;
        CHECK_FAILS(prune_model_score(model, NULL, &options, scores, 4, NULL), PRUNE_ERR_NONFINITE, place);
    }
    CHECK_OK(prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &evaluation)); /* other models are not touched */
    prune_model_release(model);
    tiny_model_free(&weights);
    fixture_close(&f);
}

/* Places outside the layers: embedding, final norm. */
static void bad_end(const char *tensor, const char *place)
{
    fixture f;
    tiny_model weights;
    tiny_tensor *bad;
    prune_model *model = NULL;
    prune_evaluation evaluation;
    size_t i;
    tiny_model_make(&weights, tiny_default_shape(), 2407);
    bad = tiny_model_tensor(&weights, tensor);
    for (i = 0; i < bad->n_values; i++) {
        bad->values[i] = NAN;
    }
    tiny_model_write(&weights, "bad");
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    CHECK_OK(prune_model_open("bad", NULL, &model));
    CHECK_FAILS(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &evaluation), PRUNE_ERR_NONFINITE, place);
    prune_model_release(model);
    tiny_model_free(&weights);
    fixture_close(&f);
}

int main(void)
{
    bad_layer("model.layers.1.self_attn.o_proj.weight", NAN, "attn.1", 2);
    bad_layer("model.layers.0.mlp.down_proj.weight", INFINITY, "ffn.0", 1);
    bad_layer("model.layers.0.self_attn.v_proj.weight", -INFINITY, "attn.0", 0);
    bad_layer("model.layers.1.post_attention_layernorm.weight", NAN, "ffn.1", 3);
    bad_layer("model.layers.1.mlp.up_proj.weight", 3e38f, "ffn.1", 3); /* finite, but what it makes is not */
    bad_end("model.embed_tokens.weight", "embed");
    bad_end("model.norm.weight", "norm");
    return check_report();
}
