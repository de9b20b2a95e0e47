/* NULL for every pointer argument of every function, one by one. */
#include "check.h"
#include "fixture.h"

/* `call` must be refused as NULL for the argument `name`. */
#define CHECK_NULL(call, name) CHECK_FAILS((call), PRUNE_ERR_ARGUMENT, name)

static void library(void)
{
    CHECK_NULL(prune_runtime_info(NULL), "out_runtime");
}

static void models(const fixture *f)
{
    prune_model *model = (prune_model *)(uintptr_t)0x10;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_sublayer sublayers[4];
    size_t count;
    CHECK_NULL(prune_model_open(NULL, NULL, &model), "directory");
    CHECK(model == NULL);
    CHECK_NULL(prune_model_open("tiny", NULL, NULL), "out_model");
    CHECK_NULL(prune_model_info(NULL, &shape), "model");
    CHECK_NULL(prune_model_info(f->model, NULL), "out_shape");
    CHECK_NULL(prune_model_sublayers(NULL, sublayers, 4, &count), "model");
    CHECK_NULL(prune_model_sublayers(f->model, NULL, 4, &count), "out_sublayers");
    CHECK_OK(prune_model_sublayers(f->model, sublayers, 4, NULL));
    prune_model_release(NULL);
}

static void data(const fixture *f)
{
    prune_data *made = (prune_data *)(uintptr_t)0x10;
    int64_t count;
    CHECK_NULL(prune_data_create(NULL, fixture_lengths, 3, NULL, &made), "token_ids");
    CHECK(made == NULL);
    made = (prune_data *)(uintptr_t)0x10;
    CHECK_NULL(prune_data_create(fixture_ids, NULL, 3, NULL, &made), "sequence_lengths");
    CHECK(made == NULL);
    CHECK_NULL(prune_data_create(fixture_ids, fixture_lengths, 3, NULL, NULL), "out_data");
    CHECK_NULL(prune_data_info(NULL, &count, &count), "data");
    CHECK_OK(prune_data_info(f->data, NULL, NULL));
    prune_data_release(NULL);
}

static void masks(const fixture *f)
{
    static const double scores[2] = { 1.0, 2.0 };
    static const uint8_t keep[4] = { 1, 1, 1, 1 };
    static const char json[] =
        "{\"format\": \"prunecore.mask\", \"version\": 1, \"n_blocks\": 2, \"removed\": [], \"provenance\": {}}";
    prune_cost cost = PRUNE_COST_INIT;
    uint8_t out[4];
    char text[256];
    size_t count;
    CHECK_NULL(prune_model_mask_set(NULL, keep, 4), "model");
    CHECK_NULL(prune_model_mask_set(f->model, NULL, 4), "keep");
    CHECK_NULL(prune_model_mask_get(NULL, out, 4, &count), "model");
    CHECK_NULL(prune_model_mask_get(f->model, NULL, 4, &count), "out_keep");
    CHECK_OK(prune_model_mask_get(f->model, out, 4, NULL));
    CHECK_NULL(prune_mask_cost(NULL, keep, 4, &cost), "model");
    CHECK_NULL(prune_mask_cost(f->model, NULL, 4, &cost), "keep");
    CHECK_NULL(prune_mask_cost(f->model, keep, 4, NULL), "out_cost");
    CHECK_NULL(prune_mask_remove_lowest(NULL, 2, PRUNE_GRANULARITY_BLOCK, 1, keep, out, 4), "scores");
    CHECK_NULL(prune_mask_remove_lowest(scores, 2, PRUNE_GRANULARITY_BLOCK, 1, keep, NULL, 4), "out_keep");
    CHECK_OK(prune_mask_remove_lowest(scores, 2, PRUNE_GRANULARITY_BLOCK, 1, NULL, out, 4));
    CHECK_NULL(prune_mask_to_json(NULL, 4, "{}", text, sizeof text, &count), "keep");
    CHECK_NULL(prune_mask_to_json(keep, 4, "{}", NULL, sizeof text, &count), "out_text");
    CHECK_OK(prune_mask_to_json(keep, 4, NULL, text, sizeof text, NULL));
    CHECK_NULL(prune_mask_from_json(NULL, out, 4, &count), "text");
    CHECK_NULL(prune_mask_from_json(json, NULL, 4, &count), "out_keep");
    CHECK_OK(prune_mask_from_json(json, out, 4, NULL));
}

static void scores(const fixture *f)
{
    prune_statistics *statistics = NULL;
    prune_statistics_options options = PRUNE_STATISTICS_OPTIONS_INIT;
    double out[28];
    size_t count;
    options.windows = 1;
    CHECK_NULL(prune_model_score(NULL, f->data, NULL, out, 28, &count), "model");
    CHECK_NULL(prune_model_score(f->model, NULL, NULL, out, 28, &count), "data");
    CHECK_NULL(prune_model_score(f->model, f->data, NULL, NULL, 28, &count), "out_scores");
    CHECK_OK(prune_model_score(f->model, f->data, NULL, out, 28, NULL));
    CHECK_NULL(prune_statistics_create(2, NULL, NULL), "out_statistics");
    CHECK_OK(prune_statistics_create(2, &options, &statistics));
    CHECK_NULL(prune_statistics_collect(NULL, f->model, f->data, NULL), "statistics");
    CHECK_NULL(prune_statistics_collect(statistics, NULL, f->data, NULL), "model");
    CHECK_NULL(prune_statistics_collect(statistics, f->model, NULL, NULL), "data");
    CHECK_OK(prune_statistics_collect(statistics, f->model, f->data, NULL));
    CHECK_NULL(prune_statistics_merge(NULL, statistics), "statistics");
    CHECK_NULL(prune_statistics_merge(statistics, NULL), "other");
    CHECK_NULL(prune_statistics_scores(NULL, NULL, out, 28, &count), "statistics");
    CHECK_NULL(prune_statistics_scores(statistics, NULL, NULL, 28, &count), "out_scores");
    CHECK_OK(prune_statistics_scores(statistics, NULL, out, 28, NULL));
    CHECK_NULL(prune_statistics_windows(NULL, out, 28, &count), "statistics");
    CHECK_NULL(prune_statistics_windows(statistics, NULL, 28, &count), "out_distances");
    CHECK_OK(prune_statistics_windows(statistics, out, 28, NULL));
    prune_statistics_release(statistics);
    prune_statistics_release(NULL);
}

static void evaluation(const fixture *f)
{
    static const uint8_t keep[4] = { 1, 1, 1, 1 };
    prune_evaluation out[2];
    float floats[512];
    size_t count;
    CHECK_NULL(prune_model_evaluate(NULL, f->data, keep, 1, 4, NULL, out), "model");
    CHECK_NULL(prune_model_evaluate(f->model, NULL, keep, 1, 4, NULL, out), "data");
    CHECK_NULL(prune_model_evaluate(f->model, f->data, NULL, 2, 4, NULL, out), "keep_masks");
    CHECK_NULL(prune_model_evaluate(f->model, f->data, NULL, 1, 4, NULL, out), "keep_masks");
    CHECK_NULL(prune_model_evaluate(f->model, f->data, NULL, 2, 0, NULL, out), "keep_masks");
    CHECK_NULL(prune_model_evaluate(f->model, f->data, keep, 1, 4, NULL, NULL), "out_evaluations");
    CHECK_NULL(prune_model_token_losses(NULL, f->data, NULL, 0, NULL, floats, 512, &count), "model");
    CHECK_NULL(prune_model_token_losses(f->model, NULL, NULL, 0, NULL, floats, 512, &count), "data");
    CHECK_NULL(prune_model_token_losses(f->model, f->data, NULL, 4, NULL, floats, 512, &count), "keep");
    CHECK_NULL(prune_model_token_losses(f->model, f->data, NULL, 0, NULL, NULL, 512, &count), "out_losses");
    CHECK_OK(prune_model_token_losses(f->model, f->data, NULL, 0, NULL, floats, 512, NULL));
    CHECK_NULL(prune_model_logits(NULL, f->data, NULL, 0, NULL, floats, 512, &count), "model");
    CHECK_NULL(prune_model_logits(f->model, NULL, NULL, 0, NULL, floats, 512, &count), "data");
    CHECK_NULL(prune_model_logits(f->model, f->data, NULL, 4, NULL, floats, 512, &count), "keep");
    CHECK_NULL(prune_model_logits(f->model, f->data, NULL, 0, NULL, NULL, 512, &count), "out_logits");
    CHECK_OK(prune_model_logits(f->model, f->data, NULL, 0, NULL, floats, 512, NULL));
    CHECK_NULL(prune_model_hidden_states(NULL, f->data, NULL, 0, 0, NULL, floats, 512, &count), "model");
    CHECK_NULL(prune_model_hidden_states(f->model, NULL, NULL, 0, 0, NULL, floats, 512, &count), "data");
    CHECK_NULL(prune_model_hidden_states(f->model, f->data, NULL, 4, 0, NULL, floats, 512, &count), "keep");
    CHECK_NULL(prune_model_hidden_states(f->model, f->data, NULL, 0, 0, NULL, NULL, 512, &count), "out_states");
    CHECK_OK(prune_model_hidden_states(f->model, f->data, NULL, 0, 0, NULL, floats, 512, NULL));
}

int main(void)
{
    fixture f;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    library();
    models(&f);
    data(&f);
    masks(&f);
    scores(&f);
    evaluation(&f);
    fixture_close(&f);
    return check_report();
}
