/* Handles that were released, released twice, of another kind, or never made. */
#include "check.h"
#include "fixture.h"

/* Every function that takes a model, given one that is none. */
static void bad_model(const fixture *f, prune_model *bad)
{
    static float floats[512];
    double scores[28];
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_cost cost = PRUNE_COST_INIT;
    prune_sublayer sublayers[4];
    prune_evaluation evaluation;
    prune_statistics *statistics = NULL;
    uint8_t keep[4] = { 1, 1, 1, 1 };
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_FAILS(prune_model_info(bad, &shape), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_sublayers(bad, sublayers, 4, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_mask_set(bad, keep, 4), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_mask_get(bad, keep, 4, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_mask_cost(bad, keep, 4, &cost), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_score(bad, f->data, NULL, scores, 28, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_statistics_collect(statistics, bad, f->data, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_evaluate(bad, f->data, keep, 1, 4, NULL, &evaluation), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_token_losses(bad, f->data, keep, 4, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_logits(bad, f->data, keep, 4, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE, "model");
    CHECK_FAILS(prune_model_hidden_states(bad, f->data, keep, 4, 0, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE,
                "model");
    prune_model_release(bad);
    prune_statistics_release(statistics);
}

static void bad_data(const fixture *f, prune_data *bad)
{
    static float floats[512];
    double scores[28];
    int64_t n;
    prune_evaluation evaluation;
    prune_statistics *statistics = NULL;
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_FAILS(prune_data_info(bad, &n, &n), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_score(f->model, bad, NULL, scores, 28, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_statistics_collect(statistics, f->model, bad, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_evaluate(f->model, bad, NULL, 1, 0, NULL, &evaluation), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_token_losses(f->model, bad, NULL, 0, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_logits(f->model, bad, NULL, 0, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE, "data");
    CHECK_FAILS(prune_model_hidden_states(f->model, bad, NULL, 0, 0, NULL, floats, 512, NULL), PRUNE_ERR_HANDLE,
                "data");
    prune_data_release(bad);
    prune_statistics_release(statistics);
}

static void bad_statistics(const fixture *f, prune_statistics *bad)
{
    double out[28];
    prune_statistics *good = NULL;
    CHECK_OK(prune_statistics_create(2, NULL, &good));
    CHECK_FAILS(prune_statistics_collect(bad, f->model, f->data, NULL), PRUNE_ERR_HANDLE, "statistics");
    CHECK_FAILS(prune_statistics_merge(bad, good), PRUNE_ERR_HANDLE, "statistics");
    CHECK_FAILS(prune_statistics_merge(good, bad), PRUNE_ERR_HANDLE, "other");
    CHECK_FAILS(prune_statistics_scores(bad, NULL, out, 28, NULL), PRUNE_ERR_HANDLE, "statistics");
    CHECK_FAILS(prune_statistics_windows(bad, out, 28, NULL), PRUNE_ERR_HANDLE, "statistics");
    prune_statistics_release(bad);
    prune_statistics_release(good);
}

/* A handle value never comes back: an old one stays recognisable however many are made after it. */
static void released(const fixture *f)
{
    prune_model *model = NULL, *later[8] = { NULL };
    prune_data *data = NULL, *other[64] = { NULL };
    prune_statistics *statistics = NULL;
    int i;
    CHECK_OK(prune_model_open("tiny", NULL, &model));
    CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &data));
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    prune_model_release(model);
    prune_data_release(data);
    prune_statistics_release(statistics);
    for (i = 0; i < 8; i++) {
        CHECK_OK(prune_model_open("tiny", NULL, &later[i]));
        CHECK(later[i] != model);
    }
    for (i = 0; i < 64; i++) {
        CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &other[i]));
        CHECK(other[i] != data);
    }
    bad_model(f, model); /* and a second release in it */
    bad_data(f, data);
    bad_statistics(f, statistics);
    for (i = 0; i < 8; i++) {
        prune_model_release(later[i]);
    }
    for (i = 0; i < 64; i++) {
        prune_data_release(other[i]);
    }
}

/* A handle given as another kind is refused by every call, and giving it back as another kind does nothing. */
static void other_kinds(const fixture *f)
{
    prune_statistics *statistics = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    int64_t n;
    double out[28];
    CHECK_OK(prune_statistics_create(2, NULL, &statistics));
    CHECK_FAILS(prune_model_info((prune_model *)(void *)f->data, &shape), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_model_info((prune_model *)(void *)statistics, &shape), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_data_info((prune_data *)(void *)f->model, &n, &n), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_data_info((prune_data *)(void *)statistics, &n, &n), PRUNE_ERR_HANDLE, "kind");
    CHECK_FAILS(prune_statistics_scores((prune_statistics *)(void *)f->model, NULL, out, 28, NULL), PRUNE_ERR_HANDLE,
                "kind");
    CHECK_FAILS(prune_statistics_merge(statistics, (prune_statistics *)(void *)f->data), PRUNE_ERR_HANDLE, "kind");
    prune_data_release((prune_data *)(void *)statistics);
    prune_model_release((prune_model *)(void *)statistics);
    CHECK_OK(prune_statistics_collect(statistics, f->model, f->data, NULL));
    prune_statistics_release((prune_statistics *)(void *)f->model);
    prune_statistics_release((prune_statistics *)(void *)f->data);
    CHECK_OK(prune_model_info(f->model, &shape));
    CHECK_OK(prune_data_info(f->data, &n, &n));
    prune_statistics_release(statistics);
}

/* Values that no function ever gave out are not followed as pointers. */
static void garbage(const fixture *f)
{
    static uint64_t memory[64];
    const uintptr_t values[] = { 1, 8, 0x10, 0xDEADBEEF, UINTPTR_MAX, UINTPTR_MAX / 2 + 1, (uintptr_t)memory,
                                 (uintptr_t)memory + 3, (uintptr_t)f->model + 8, (uintptr_t)f->model ^ 1 };
    size_t i;
    for (i = 0; i < sizeof values / sizeof values[0]; i++) {
        bad_model(f, (prune_model *)values[i]);
        bad_data(f, (prune_data *)values[i]);
        bad_statistics(f, (prune_statistics *)values[i]);
    }
}

int main(void)
{
    fixture f;
    prune_evaluation before, after;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    CHECK_OK(prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &before));
    released(&f);
    garbage(&f);
    CHECK_OK(prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &after));
    CHECK(before.loss == after.loss);
    other_kinds(&f);
    fixture_close(&f);
    return check_report();
}
