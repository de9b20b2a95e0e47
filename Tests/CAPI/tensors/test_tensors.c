/* SPDX-License-Identifier: Apache-2.0 */
/* Weights in the host's memory: the results of a model that was opened from files, to the last bit, however the elements
   lie; weights that change are seen; when the memory may go. */
#include "lent.h"

#define N_METRICS 10
#define MOST_LOGITS (FIXTURE_TOKENS * 300)
#define MOST_STATES (FIXTURE_TOKENS * 80)

/* Wider than a vector and than a panel, and a multiple of neither; a head of its own. */
static const tiny_shape wide = { 2, 80, 4, 2, 20, 200, 300, 0 };

/* Everything that reads the weights. */
typedef struct results {
    prune_sublayer sublayers[4];
    prune_evaluation evaluation;
    double scores[N_METRICS * 4];
    float losses[FIXTURE_TOKENS], logits[MOST_LOGITS], states[MOST_STATES], gradient[MOST_STATES], adapter[80 * 80];
    int32_t tokens[8];
} results;

static void compute(const prune_model *model, const prune_data *data, int64_t hidden, int64_t vocabulary, results *out)
{
    static const uint8_t keep[4] = { 1, 0, 0, 1 };
    size_t n_states = FIXTURE_TOKENS * (size_t)hidden;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_generate_options writing = PRUNE_GENERATE_OPTIONS_INIT;
    prune_recover_options recovery = PRUNE_RECOVER_OPTIONS_INIT;
    prune_generation *generation = NULL;
    prune_adapters *adapters = NULL;
    size_t count = 0;
    int32_t end;
    memset(out, 0, sizeof *out);
    CHECK_OK(prune_model_sublayers(model, out->sublayers, 4, NULL));
    CHECK_OK(prune_model_evaluate(model, data, keep, 1, 4, NULL, &out->evaluation));
    options.metrics = PRUNE_METRIC_ALL;
    CHECK_OK(prune_model_score(model, data, &options, out->scores, N_METRICS * 4, NULL));
    CHECK_OK(prune_model_token_losses(model, data, NULL, 0, NULL, out->losses, FIXTURE_TOKENS, NULL));
    CHECK_OK(prune_model_logits(model, data, NULL, 0, NULL, out->logits, FIXTURE_TOKENS * (size_t)vocabulary, NULL));
    CHECK_OK(prune_model_hidden_states(model, data, NULL, 0, 4, NULL, out->states, n_states, NULL));
    CHECK_OK(
        prune_model_gradient(model, data, NULL, 0, PRUNE_OBJECTIVE_CE, 0, NULL, out->gradient, n_states, NULL, NULL));
    writing.max_new_tokens = 8;
    CHECK_OK(prune_model_generate(model, data, NULL, 0, &writing, &generation));
    CHECK_OK(prune_generation_sequence(generation, 1, out->tokens, NULL, 8, &count, &end));
    prune_generation_release(generation);
    recovery.kind = PRUNE_ADAPTER_LINEAR;
    recovery.ridge = 0.1;
    recovery.held_out = data;
    CHECK_OK(prune_model_recover(model, data, keep, 4, &recovery, &adapters));
    CHECK_OK(prune_adapters_get(adapters, 2, PRUNE_PART_MATRIX, out->adapter, 80 * 80, NULL));
    prune_adapters_release(adapters);
}

static void same_shape(const prune_model *a, const prune_model *b)
{
    prune_model_shape x = PRUNE_MODEL_SHAPE_INIT, y = PRUNE_MODEL_SHAPE_INIT;
    CHECK_OK(prune_model_info(a, &x));
    CHECK_OK(prune_model_info(b, &y));
    CHECK(strcmp(x.architecture, y.architecture) == 0 && strcmp(x.element_type, y.element_type) == 0);
    CHECK(x.tied_embeddings == y.tied_embeddings && x.parameters == y.parameters);
    CHECK(x.parameter_bytes == y.parameter_bytes && x.kv_bytes == y.kv_bytes);
    CHECK(x.abilities == y.abilities && x.compute == y.compute && x.n_blocks == y.n_blocks);
}

/* The same but for magnitude of rows that lie apart, which is summed row by row. */
static void same_results(const results *ours, const results *theirs)
{
    results copy = *ours;
    size_t i;
    for (i = 6 * 4; i < 7 * 4; i++) {
        CHECK(ours->scores[i] > 0.0);
        CHECK_NEAR(ours->scores[i], theirs->scores[i], 1e-12 * fabs(theirs->scores[i]));
        copy.scores[i] = theirs->scores[i];
    }
    CHECK(memcmp(copy.sublayers, theirs->sublayers, sizeof copy.sublayers) == 0);
    CHECK(memcmp(&copy.evaluation, &theirs->evaluation, sizeof copy.evaluation) == 0);
    CHECK(memcmp(copy.scores, theirs->scores, sizeof copy.scores) == 0);
    CHECK(memcmp(copy.losses, theirs->losses, sizeof copy.losses) == 0);
    CHECK(memcmp(copy.logits, theirs->logits, sizeof copy.logits) == 0);
    CHECK(memcmp(copy.states, theirs->states, sizeof copy.states) == 0);
    CHECK(memcmp(copy.gradient, theirs->gradient, sizeof copy.gradient) == 0);
    CHECK(memcmp(copy.adapter, theirs->adapter, sizeof copy.adapter) == 0);
    CHECK(memcmp(copy.tokens, theirs->tokens, sizeof copy.tokens) == 0);
}

/* A model of one shape, stored and computed in one way each, against the same in memory. */
static void as_opened(tiny_shape shape, prune_element_type type, prune_compute compute_type)
{
    static const char *const names[] = { "F32", "F16", "BF16" };
    static const lent_layout layouts[] = { { 0, 0, 0 }, { 0, 5, 0 }, { 0, 0, 1 }, { 0, 3, 2 } };
    static results expected, got;
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    prune_model *opened = NULL;
    tiny_model weights;
    prune_data *data = NULL;
    size_t i;
    options.compute = compute_type;
    tiny_model_make(&weights, shape, 2407);
    tiny_model_store_as(&weights, names[type]);
    tiny_model_write(&weights, "stored");
    CHECK_OK(prune_data_create(fixture_ids, fixture_lengths, FIXTURE_SEQUENCES, NULL, &data));
    CHECK_OK(prune_model_open("stored", &options, &opened));
    compute(opened, data, shape.hidden, shape.vocabulary, &expected);
    for (i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        lent_layout layout = layouts[i];
        lent_model lent;
        prune_model *model = NULL;
        int failures = check_n_failed;
        layout.type = type;
        lent_make(&lent, &weights, "stored", layout);
        CHECK_OK(lent_open(&lent, compute_type, &model));
        same_shape(model, opened);
        compute(model, data, shape.hidden, shape.vocabulary, &got);
        same_results(&got, &expected);
        prune_model_release(model);
        CHECK(lent.n_closed == 1);
        lent_free(&lent);
        if (check_n_failed != failures) {
            printf("    width %d, %s, compute %d, gap %zu, offset %zu\n", (int)shape.hidden, names[type], compute_type,
                   layout.gap, layout.offset);
        }
    }
    prune_model_release(opened);
    prune_data_release(data);
    tiny_model_free(&weights);
}

static fixture f;

static double loss(const prune_model *model)
{
    prune_evaluation evaluation = { 0 };
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, NULL, &evaluation));
    return evaluation.loss;
}

static double fresh_loss(const lent_model *lent)
{
    prune_model *model = NULL;
    double value;
    CHECK_OK(prune_model_from_tensors(lent->config, lent->tensors, lent->n_tensors, NULL, &model));
    value = loss(model);
    prune_model_release(model);
    return value;
}

/* Whatever the host changes, a matrix or a vector, is seen by the next call as by a model that is made then. */
static void changes_are_seen(void)
{
    lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    lent_model lent;
    prune_model *model = NULL;
    double before;
    size_t i;
    lent_make(&lent, &f.weights, "tiny", layout);
    CHECK_OK(lent_open(&lent, PRUNE_COMPUTE_FLOAT32, &model));
    before = loss(model);
    CHECK(before == loss(f.model));
    for (i = 0; i < lent.n_tensors; i++) {
        float value = 0.8125f;
        /* A token that occurs, in case it is the embedding's row. */
        unsigned char *element = lent_element(&lent, i, lent.tensors[i].n_dimensions == 2 ? 1 : 0, 3);
        memcpy(element, &value, sizeof value);
        CHECK(loss(model) != before);
        before = loss(model);
        CHECK(before == fresh_loss(&lent));
    }
    prune_model_release(model);
    lent_free(&lent);
}

/* Head and embedding in memory of their own are tied while they are equal; each is read where it lies. */
static void tied_twice(void)
{
    lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    lent_model lent;
    prune_model *model = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT, opened = PRUNE_MODEL_SHAPE_INIT;
    size_t embedding, head;
    float *copy, value = 2.0f;
    lent_make(&lent, &f.weights, "tiny", layout);
    embedding = lent_index(&lent, "model.embed_tokens.weight");
    head = lent.n_tensors;
    copy = malloc(sizeof(float) * FIXTURE_VOCABULARY * FIXTURE_HIDDEN);
    REQUIRE(copy != NULL);
    memcpy(copy, lent.tensors[embedding].data, sizeof(float) * FIXTURE_VOCABULARY * FIXTURE_HIDDEN);
    lent.tensors[head] = lent.tensors[embedding];
    lent.tensors[head].name = "lm_head.weight";
    lent.tensors[head].data = copy;
    CHECK_OK(prune_model_from_tensors(lent.config, lent.tensors, head + 1, NULL, &model));
    CHECK_OK(prune_model_info(model, &shape));
    CHECK_OK(prune_model_info(f.model, &opened));
    CHECK(shape.tied_embeddings == 1 && shape.parameters == opened.parameters);
    CHECK(loss(model) == loss(f.model));
    copy[5] = value;
    CHECK(loss(model) != loss(f.model));
    prune_model_release(model);
    CHECK_OK(prune_model_from_tensors(lent.config, lent.tensors, head + 1, NULL, &model));
    CHECK_OK(prune_model_info(model, &shape));
    CHECK(shape.tied_embeddings == 0); /* as transformers has it, and prune_model_open() */
    prune_model_release(model);
    free(copy);
    lent_free(&lent);
}

/* What the architecture does not need may be anything that a tensor can be. */
static void others_are_ignored(void)
{
    static const int64_t shape[2] = { 3, 5 }, reversed[2] = { -5, -1 };
    static const float numbers[15] = { 0 };
    lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    lent_model lent;
    prune_model *model = NULL;
    prune_tensor *more;
    lent_make(&lent, &f.weights, "tiny", layout);
    more = &lent.tensors[lent.n_tensors];
    more->name = "model.rotary_emb.inv_freq";
    more->data = numbers;
    more->n_dimensions = 2;
    more->shape = shape;
    more->strides = reversed;
    CHECK_OK(prune_model_from_tensors(lent.config, lent.tensors, lent.n_tensors + 1, NULL, &model));
    CHECK(loss(model) == loss(f.model));
    prune_model_release(model);
    lent_free(&lent);
}

/* The memory is in use until the last model over it is gone, and told of once. */
static void closed_once(void)
{
    static const uint8_t keep[4] = { 1, 0, 0, 1 };
    lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    lent_model lent;
    prune_model *model = NULL, *first = NULL, *second = NULL;
    prune_adapters *adapters = NULL;
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    double recovered;
    options.kind = PRUNE_ADAPTER_BIAS;
    lent_make(&lent, &f.weights, "tiny", layout);
    CHECK_OK(lent_open(&lent, PRUNE_COMPUTE_AUTOMATIC, &model));
    CHECK_OK(prune_model_recover(model, f.data, keep, 4, &options, &adapters));
    CHECK_OK(prune_model_attach(model, adapters, &first));
    CHECK_OK(prune_model_attach(model, adapters, &second));
    recovered = loss(first);
    prune_model_release(model);
    CHECK(lent.n_closed == 0 && loss(first) == recovered);
    prune_model_release(first);
    CHECK(lent.n_closed == 0 && loss(second) == recovered);
    prune_model_release(second);
    CHECK(lent.n_closed == 1);
    prune_model_release(second);
    prune_model_release(model);
    CHECK(lent.n_closed == 1);
    prune_adapters_release(adapters);
    lent_free(&lent);
}

typedef struct under_way {
    lent_model lent;
    prune_model *model;
    int n_steps, closed_during;
} under_way;

/* Gives the model back in the midst of a call that uses it. */
static int32_t let_go(void *user_data, const prune_progress *progress)
{
    under_way *call = user_data;
    if (progress->done > 0 && call->model != NULL) {
        prune_model_release(call->model);
        call->model = NULL;
    }
    call->n_steps++;
    call->closed_during += call->lent.n_closed;
    return 0;
}

static void calls_under_way(void)
{
    lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    under_way call;
    prune_model *model = NULL;
    prune_evaluate_options options = PRUNE_EVALUATE_OPTIONS_INIT;
    prune_evaluation evaluation = { 0 };
    memset(&call, 0, sizeof call);
    lent_make(&call.lent, &f.weights, "tiny", layout);
    CHECK_OK(lent_open(&call.lent, PRUNE_COMPUTE_AUTOMATIC, &model));
    call.model = model;
    options.progress = let_go;
    options.user_data = &call;
    options.batch_tokens = 7;
    CHECK_OK(prune_model_evaluate(model, f.data, NULL, 1, 0, &options, &evaluation));
    CHECK(call.model == NULL && call.n_steps > 1 && call.closed_during == 0);
    CHECK(call.lent.n_closed == 1);
    /* Batches of other sizes: kernels add in another order. The largest difference of any kernels is 5e-8. */
    CHECK(fabs(evaluation.loss - loss(f.model)) < 2e-7 * loss(f.model));
    lent_free(&call.lent);
}

int main(void)
{
    prune_runtime runtime = PRUNE_RUNTIME_INIT;
    prune_element_type type;
    CHECK_OK(prune_runtime_info(&runtime));
    for (type = PRUNE_ELEMENT_FLOAT32; type <= PRUNE_ELEMENT_BFLOAT16; type++) {
        as_opened(tiny_default_shape(), type, PRUNE_COMPUTE_FLOAT32);
        as_opened(wide, type, PRUNE_COMPUTE_FLOAT32);
        if (runtime.bf16_kernels[0] != '\0') {
            as_opened(tiny_default_shape(), type, PRUNE_COMPUTE_BFLOAT16);
            as_opened(wide, type, PRUNE_COMPUTE_BFLOAT16);
        }
    }
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    changes_are_seen();
    tied_twice();
    others_are_ignored();
    closed_once();
    calls_under_way();
    fixture_close(&f);
    return check_report();
}
