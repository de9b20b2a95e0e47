/* SPDX-License-Identifier: Apache-2.0 */
/* Masks as memory: the model's own, what they cost, removing the lowest. JSON is in test_mask_json.c. */
#include "check.h"
#include "fixture.h"

static void model_mask(const fixture *f)
{
    static const uint8_t some[4] = { 1, 0, 1, 1 };
    static const uint8_t two[4] = { 1, 2, 1, 1 };
    uint8_t keep[6] = { 9, 9, 9, 9, 9, 9 };
    size_t count = 0;
    prune_evaluation set, given, whole;

    CHECK_OK(prune_model_mask_get(f->model, keep, 6, &count));
    CHECK(count == 4 && keep[0] == 1 && keep[1] == 1 && keep[2] == 1 && keep[3] == 1 && keep[4] == 9);
    CHECK_OK(prune_model_evaluate(f->model, f->data, NULL, 1, 0, NULL, &whole));

    CHECK_OK(prune_model_mask_set(f->model, some, 4));
    CHECK_OK(prune_model_mask_get(f->model, keep, 4, NULL));
    CHECK(memcmp(keep, some, 4) == 0);
    CHECK_OK(prune_model_evaluate(f->model, f->data, NULL, 1, 0, NULL, &set));
    CHECK_OK(prune_model_evaluate(f->model, f->data, some, 1, 4, NULL, &given));
    CHECK(set.loss == given.loss);
    CHECK(set.loss != whole.loss);

    /* Refusals leave the mask as it was. */
    CHECK_FAILS(prune_model_mask_set(f->model, two, 4), PRUNE_ERR_ARGUMENT, "2");
    CHECK_FAILS(prune_model_mask_set(f->model, some, 3), PRUNE_ERR_ARGUMENT, "4");
    CHECK_FAILS(prune_model_mask_set(f->model, some, 5), PRUNE_ERR_ARGUMENT, "4");
    CHECK_FAILS(prune_model_mask_set(f->model, some, 0), PRUNE_ERR_ARGUMENT, "keep");
    CHECK_FAILS(prune_model_mask_set(f->model, NULL, 4), PRUNE_ERR_ARGUMENT, "keep");
    memset(keep, 9, sizeof keep);
    CHECK_FAILS(prune_model_mask_get(f->model, keep, 3, &count), PRUNE_ERR_BUFFER, "4");
    CHECK(count == 4 && keep[0] == 9);
    CHECK_OK(prune_model_mask_get(f->model, keep, 4, NULL));
    CHECK(memcmp(keep, some, 4) == 0);

    CHECK_OK(prune_model_mask_set(f->model, NULL, 0));
    CHECK_OK(prune_model_evaluate(f->model, f->data, NULL, 1, 0, NULL, &set));
    CHECK(set.loss == whole.loss);
}

static void cost(const fixture *f)
{
    static const uint8_t none[4] = { 0, 0, 0, 0 };
    static const uint8_t some[4] = { 0, 1, 1, 0 };
    static const uint8_t bad[4] = { 1, 1, 255, 1 };
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_sublayer sublayers[4];
    prune_cost cost = PRUNE_COST_INIT;
    CHECK_OK(prune_model_info(f->model, &shape));
    CHECK_OK(prune_model_sublayers(f->model, sublayers, 4, NULL));

    CHECK_OK(prune_model_cost(f->model, NULL, 0, &cost));
    CHECK(cost.sublayers_removed == 0);
    CHECK(cost.parameters == shape.parameters && cost.parameter_bytes == shape.parameter_bytes);
    CHECK(cost.kv_bytes == shape.kv_bytes);

    CHECK_OK(prune_model_cost(f->model, some, 4, &cost));
    CHECK(cost.sublayers_removed == 2);
    CHECK(cost.parameters == shape.parameters - sublayers[0].parameters - sublayers[3].parameters);
    CHECK(cost.active_parameters == cost.parameters);
    CHECK(cost.parameter_bytes == 4 * cost.parameters);
    CHECK(cost.kv_bytes == shape.kv_bytes / 2);

    CHECK_OK(prune_model_cost(f->model, none, 4, &cost));
    CHECK(cost.sublayers_removed == 4);
    CHECK(cost.parameters == 32 * 16 + 16); /* embeddings and final norm are left */
    CHECK(cost.kv_bytes == 0);

    CHECK_OK(prune_model_mask_set(f->model, some, 4));
    CHECK_OK(prune_model_cost(f->model, NULL, 0, &cost));
    CHECK(cost.sublayers_removed == 2);
    CHECK_OK(prune_model_mask_set(f->model, NULL, 0));

    CHECK_FAILS(prune_model_cost(f->model, bad, 4, &cost), PRUNE_ERR_ARGUMENT, "255");
    CHECK_FAILS(prune_model_cost(f->model, some, 2, &cost), PRUNE_ERR_ARGUMENT, "4");
    CHECK(cost.sublayers_removed == 2);
}

/* What a checkpoint lacks is part of the model: no mask brings it back, and it costs nothing. */
static void own_mask(const fixture *f)
{
    static const uint8_t lean[4] = { 1, 0, 1, 1 };
    static const uint8_t all[4] = { 1, 1, 1, 1 };
    static const uint8_t both[4] = { 0, 1, 1, 1 };
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    prune_model *model = NULL;
    prune_adapters *adapters = NULL;
    prune_adapters_summary summary = PRUNE_ADAPTERS_SUMMARY_INIT;
    prune_cost cost = PRUNE_COST_INIT;
    prune_evaluation pruned, own, whole, more, less;
    uint8_t keep[4];
    size_t count = 0;
    CHECK_OK(prune_model_mask_own(f->model, keep, 4, &count));
    CHECK(count == 4 && memcmp(keep, all, 4) == 0);
    options.format = PRUNE_FORMAT_HF_CUSTOM;
    options.replace = 1;
    CHECK_OK(prune_model_export(f->model, lean, 4, NULL, "lean", &options));
    CHECK_OK(prune_model_open("lean", NULL, &model));
    REQUIRE(model != NULL);
    CHECK_FAILS(prune_model_mask_own(model, keep, 3, &count), PRUNE_ERR_BUFFER, "4");
    CHECK_OK(prune_model_mask_own(model, keep, 4, NULL));
    CHECK(memcmp(keep, lean, 4) == 0);
    CHECK_OK(prune_model_evaluate(f->model, f->data, lean, 1, 4, NULL, &pruned));
    CHECK_OK(prune_model_evaluate(model, f->data, NULL, 1, 0, NULL, &own));
    CHECK_OK(prune_model_evaluate(model, f->data, all, 1, 4, NULL, &whole));
    CHECK(own.loss == pruned.loss && whole.loss == pruned.loss);
    CHECK_OK(prune_model_mask_set(model, both, 4));
    CHECK_OK(prune_model_mask_get(model, keep, 4, NULL));
    CHECK(memcmp(keep, "\0\0\1\1", 4) == 0);
    CHECK_OK(prune_model_cost(model, NULL, 0, &cost));
    CHECK(cost.sublayers_removed == 2);
    CHECK_OK(prune_model_evaluate(f->model, f->data, keep, 1, 4, NULL, &more));
    CHECK_OK(prune_model_evaluate(model, f->data, NULL, 1, 0, NULL, &less));
    CHECK(more.loss == less.loss);
    CHECK_OK(prune_model_mask_set(model, NULL, 0));
    CHECK_OK(prune_model_mask_get(model, keep, 4, NULL));
    CHECK(memcmp(keep, lean, 4) == 0);
    CHECK_OK(prune_model_adapters(model, NULL, 0, &adapters));
    CHECK_OK(prune_adapters_info(adapters, &summary));
    CHECK_OK(prune_adapters_mask(adapters, keep, 4, NULL));
    CHECK(summary.n_adapters == 0 && memcmp(keep, lean, 4) == 0);
    prune_adapters_release(adapters);
    prune_model_release(model);
}

static void remove_lowest(void)
{
    static const double scores[3] = { 0.5, 0.1, 0.5 };
    static const double by_sublayer[6] = { 3.0, 1.0, 2.0, 1.0, 0.0, 1.0 };
    static const uint8_t start[6] = { 1, 1, 0, 1, 1, 1 };
    uint8_t keep[6];
    memset(keep, 9, sizeof keep);

    CHECK_OK(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_ATTENTION, 1, NULL, keep, 6));
    CHECK(memcmp(keep, "\1\1\0\1\1\1", 6) == 0);
    CHECK_OK(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_ATTENTION, 2, NULL, keep, 6));
    CHECK(memcmp(keep, "\0\1\0\1\1\1", 6) == 0); /* the tie between 0 and 2 goes to 0 */
    CHECK_OK(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_FEED_FORWARD, 1, NULL, keep, 6));
    CHECK(memcmp(keep, "\1\1\1\0\1\1", 6) == 0);
    CHECK_OK(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 2, NULL, keep, 6));
    CHECK(memcmp(keep, "\0\0\0\0\1\1", 6) == 0);
    CHECK_OK(prune_mask_remove_lowest(by_sublayer, 6, PRUNE_GRANULARITY_SUBLAYER, 3, NULL, keep, 6));
    CHECK(memcmp(keep, "\1\0\1\0\0\1", 6) == 0);
    CHECK_OK(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 0, NULL, keep, 6));
    CHECK(memcmp(keep, "\1\1\1\1\1\1", 6) == 0);
    CHECK_OK(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 3, NULL, keep, 6));
    CHECK(memcmp(keep, "\0\0\0\0\0\0", 6) == 0); /* all removed is allowed */

    /* Beyond what is removed already; a block that lacks a sublayer is left alone. out_keep may be keep_in. */
    CHECK_OK(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_ATTENTION, 1, start, keep, 6));
    CHECK(memcmp(keep, "\0\1\0\1\1\1", 6) == 0);
    CHECK_OK(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 1, start, keep, 6));
    CHECK(memcmp(keep, "\0\0\0\1\1\1", 6) == 0);
    memcpy(keep, start, 6);
    CHECK_OK(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 2, keep, keep, 6));
    CHECK(memcmp(keep, "\0\0\0\1\0\0", 6) == 0);
}

static void remove_lowest_refusals(void)
{
    double scores[3] = { 0.5, 0.1, 0.5 };
    uint8_t start[6] = { 1, 1, 0, 1, 1, 1 };
    uint8_t keep[6];
    memset(keep, 9, sizeof keep);
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 4, NULL, keep, 6), PRUNE_ERR_ARGUMENT,
                "4 units");
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 3, start, keep, 6), PRUNE_ERR_ARGUMENT,
                "3 units");
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, SIZE_MAX, NULL, keep, 6),
                PRUNE_ERR_ARGUMENT, "n_remove");
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_SUBLAYER, 1, NULL, keep, 6), PRUNE_ERR_ARGUMENT,
                "3 scores for 6 units");
    CHECK_FAILS(prune_mask_remove_lowest(scores, 2, PRUNE_GRANULARITY_BLOCK, 1, NULL, keep, 6), PRUNE_ERR_ARGUMENT,
                "2 scores for 3 units");
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 1, NULL, keep, 5), PRUNE_ERR_ARGUMENT,
                "n_keep");
    CHECK_FAILS(prune_mask_remove_lowest(scores, 0, PRUNE_GRANULARITY_BLOCK, 0, NULL, keep, 0), PRUNE_ERR_ARGUMENT,
                "n_keep");
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, 4, 1, NULL, keep, 6), PRUNE_ERR_ARGUMENT, "granularity");
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, -1, 1, NULL, keep, 6), PRUNE_ERR_ARGUMENT, "granularity");
    start[4] = 2;
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 1, start, keep, 6), PRUNE_ERR_ARGUMENT,
                "attn.2");
    scores[1] = NAN;
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_ATTENTION, 1, NULL, keep, 6), PRUNE_ERR_NONFINITE,
                "attn.1");
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_BLOCK, 1, NULL, keep, 6), PRUNE_ERR_NONFINITE,
                "block.1");
    scores[1] = 0.0;
    scores[2] = INFINITY;
    CHECK_FAILS(prune_mask_remove_lowest(scores, 3, PRUNE_GRANULARITY_FEED_FORWARD, 1, NULL, keep, 6),
                PRUNE_ERR_NONFINITE, "ffn.2");
    CHECK(keep[0] == 9 && keep[5] == 9);
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    model_mask(&f);
    own_mask(&f);
    cost(&f);
    remove_lowest();
    remove_lowest_refusals();
    fixture_close(&f);
    return check_report();
}
