/* SPDX-License-Identifier: Apache-2.0 */
/* prune_model_from_dlpack(): results, ownership, and what is refused. The structs below are those of dlpack.h, version 1.0,
   under its own names: they say that the header's forward declaration is of the same struct. */
#include "lent.h"

typedef struct {
    uint32_t major, minor;
} DLPackVersion;

typedef struct {
    int32_t device_type, device_id;
} DLDevice;

typedef struct {
    uint8_t code, bits;
    uint16_t lanes;
} DLDataType;

typedef struct {
    void *data;
    DLDevice device;
    int32_t ndim;
    DLDataType dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} DLTensor;

typedef struct DLManagedTensorVersioned {
    DLPackVersion version;
    void *manager_ctx;
    void (*deleter)(struct DLManagedTensorVersioned *self);
    uint64_t flags;
    DLTensor dl_tensor;
} DLManagedTensorVersioned;

static fixture f;
static lent_model lent;
static DLManagedTensorVersioned managed[LENT_MOST], *pointers[LENT_MOST];
static const char *names[LENT_MOST];
static int n_deleted[LENT_MOST];

static void deleted(DLManagedTensorVersioned *self) { n_deleted[(int *)self->manager_ctx - n_deleted]++; }

/* Whether each tensor's deleter was called so many times. */
static int all_deleted(int times)
{
    size_t i;
    for (i = 0; i < lent.n_tensors; i++) {
        if (n_deleted[i] != times) {
            return 0;
        }
    }
    return 1;
}

static void produce(prune_element_type type, size_t gap)
{
    lent_layout layout = { PRUNE_ELEMENT_FLOAT32, 0, 0 };
    size_t i;
    layout.type = type;
    layout.gap = gap;
    lent_make(&lent, &f.weights, "tiny", layout);
    memset(managed, 0, sizeof managed);
    memset(n_deleted, 0, sizeof n_deleted);
    for (i = 0; i < lent.n_tensors; i++) {
        DLManagedTensorVersioned *own = &managed[i];
        own->version.major = 1;
        own->version.minor = 3;
        own->manager_ctx = &n_deleted[i];
        own->deleter = deleted;
        own->flags = i % 2; /* some are read-only */
        own->dl_tensor.data = lent.memory[i];
        own->dl_tensor.byte_offset = (uint64_t)((const unsigned char *)lent.tensors[i].data - lent.memory[i]);
        own->dl_tensor.device.device_type = i % 3 == 0 ? 3 : 1; /* memory that is pinned is the CPU's, too */
        own->dl_tensor.ndim = lent.tensors[i].n_dimensions;
        own->dl_tensor.dtype.code = type == PRUNE_ELEMENT_BFLOAT16 ? 4 : 2;
        own->dl_tensor.dtype.bits = type == PRUNE_ELEMENT_FLOAT32 ? 32 : 16;
        own->dl_tensor.dtype.lanes = 1;
        own->dl_tensor.shape = lent.shapes[i];
        own->dl_tensor.strides = gap == 0 ? NULL : lent.strides[i];
        pointers[i] = own;
        names[i] = lent.tensors[i].name;
    }
}

static prune_status take(prune_model **out_model)
{
    prune_model_options options = PRUNE_MODEL_OPTIONS_INIT;
    options.on_close = lent_closed;
    options.user_data = &lent;
    return prune_model_from_dlpack(lent.config, names, pointers, lent.n_tensors, &options, out_model);
}

static void logits(const prune_model *model, float *out)
{
    CHECK_OK(prune_model_logits(model, f.data, NULL, 0, NULL, out, FIXTURE_TOKENS * FIXTURE_VOCABULARY, NULL));
}

static void same_logits(const prune_model *model)
{
    static float expected[FIXTURE_TOKENS * FIXTURE_VOCABULARY], got[FIXTURE_TOKENS * FIXTURE_VOCABULARY];
    logits(f.model, expected);
    logits(model, got);
    CHECK(memcmp(got, expected, sizeof got) == 0);
}

/* Every type, contiguous or not; each deleter is called once, when the model and those attached to it are gone. */
static void owned(prune_element_type type, size_t gap)
{
    static const uint8_t keep[4] = { 1, 0, 1, 1 };
    prune_model *model = NULL, *attached = NULL;
    prune_adapters *adapters = NULL;
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    options.kind = PRUNE_ADAPTER_BIAS;
    produce(type, gap);
    managed[1].deleter = NULL; /* a producer may have none */
    n_deleted[1] = 1;
    CHECK_OK(take(&model));
    same_logits(model);
    CHECK_OK(prune_model_recover(model, f.data, keep, 4, &options, &adapters));
    CHECK_OK(prune_model_attach(model, adapters, &attached));
    n_deleted[1] = 0;
    prune_model_release(model);
    CHECK(all_deleted(0) && lent.n_closed == 0);
    prune_model_release(attached);
    n_deleted[1]++;
    CHECK(all_deleted(1) && lent.n_closed == 1);
    prune_adapters_release(adapters);
    lent_free(&lent);
}

/* One tensor under two names goes once. */
static void memory_is_shared(void)
{
    prune_model *model = NULL;
    size_t n;
    produce(PRUNE_ELEMENT_FLOAT32, 0);
    n = lent.n_tensors;
    names[n] = "lm_head.weight";
    pointers[n] = pointers[lent_index(&lent, "model.embed_tokens.weight")];
    CHECK_OK(prune_model_from_dlpack(lent.config, names, pointers, n + 1, NULL, &model));
    same_logits(model);
    prune_model_release(model);
    CHECK(all_deleted(1));
    lent_free(&lent);
}

/* The tensors as they stand are refused, and stay the caller's. */
static void refused(prune_status expected, const char *part, const char *name, int line)
{
    prune_model *model = (prune_model *)(uintptr_t)0x10;
    check_fails(take(&model), expected, part, __FILE__, line, part);
    check_count(strstr(prune_last_error(), name) != NULL, __FILE__, line, "the tensor is named");
    check_count(model == NULL && all_deleted(0) && lent.n_closed == 0, __FILE__, line, "nothing was taken over");
}

static void tensor_refusals(void)
{
    static const char name[] = "model.layers.1.self_attn.k_proj.weight";
    static const struct {
        uint8_t code, bits;
        uint16_t lanes;
    } types[] = { { 0, 32, 1 }, { 1, 16, 1 }, { 2, 64, 1 }, { 2, 8, 1 },
                  { 4, 32, 1 }, { 2, 32, 2 }, { 2, 32, 0 }, { 255, 255, 65535 } };
    static const int32_t devices[] = { 0, 2, 4, 8, 14, -1, INT32_MAX };
    static const int32_t dimensions[] = { 0, 3, 1000, INT32_MAX };
    DLManagedTensorVersioned *own, was;
    int64_t shape[2] = { 8, -16 };
    size_t i, k;
    produce(PRUNE_ELEMENT_FLOAT32, 0);
    i = lent_index(&lent, name);
    own = &managed[i];
    was = *own;
    for (k = 0; k < 3; k++) {
        own->version.major = k == 0 ? 0 : k == 1 ? 2 : UINT32_MAX;
        refused(PRUNE_ERR_UNSUPPORTED, "version", name, __LINE__);
    }
    *own = was;
    for (k = 0; k < sizeof types / sizeof types[0]; k++) {
        own->dl_tensor.dtype.code = types[k].code;
        own->dl_tensor.dtype.bits = types[k].bits;
        own->dl_tensor.dtype.lanes = types[k].lanes;
        refused(PRUNE_ERR_UNSUPPORTED, "float32, float16 or bfloat16", name, __LINE__);
    }
    *own = was;
    for (k = 0; k < sizeof devices / sizeof devices[0]; k++) {
        own->dl_tensor.device.device_type = devices[k];
        refused(PRUNE_ERR_UNSUPPORTED, "CPU", name, __LINE__);
    }
    *own = was;
    for (k = 0; k < sizeof dimensions / sizeof dimensions[0]; k++) {
        own->dl_tensor.ndim = dimensions[k];
        refused(PRUNE_ERR_FORMAT, "dimensions", name, __LINE__);
    }
    own->dl_tensor.ndim = -1;
    refused(PRUNE_ERR_ARGUMENT, "dimensions", name, __LINE__);
    *own = was;
    own->dl_tensor.shape = NULL;
    refused(PRUNE_ERR_ARGUMENT, "NULL", name, __LINE__);
    own->dl_tensor.shape = shape;
    refused(PRUNE_ERR_ARGUMENT, "-16", name, __LINE__);
    *own = was;
    own->dl_tensor.data = NULL;
    refused(PRUNE_ERR_ARGUMENT, "NULL", name, __LINE__);
    own->dl_tensor.data = was.dl_tensor.data;
    own->dl_tensor.byte_offset = UINT64_MAX;
    refused(PRUNE_ERR_ARGUMENT, "byte_offset", name, __LINE__);
    *own = was;
    pointers[i] = NULL;
    refused(PRUNE_ERR_ARGUMENT, "NULL", "tensors[", __LINE__);
    pointers[i] = own;
    names[i] = NULL;
    refused(PRUNE_ERR_ARGUMENT, "NULL", "names[", __LINE__);
    names[i] = names[i - 1];
    refused(PRUNE_ERR_ARGUMENT, "two tensors", names[i], __LINE__);
    names[i] = "another";
    refused(PRUNE_ERR_FORMAT, "missing", name, __LINE__);
    names[i] = name;
    lent_free(&lent);
}

/* A refusal for whatever reason: a status, nothing taken over, and no deleter called. */
static void refused_somehow(const char *name, int line)
{
    prune_model *model = (prune_model *)(uintptr_t)0x10;
    prune_status got = take(&model);
    check_count(got == PRUNE_ERR_ARGUMENT || got == PRUNE_ERR_UNSUPPORTED || got == PRUNE_ERR_FORMAT, __FILE__, line,
                prune_last_error());
    check_count(strstr(prune_last_error(), name) != NULL, __FILE__, line, prune_last_error());
    check_count(model == NULL && all_deleted(0) && lent.n_closed == 0, __FILE__, line, "nothing was taken over");
}

/* Sizes and strides that no tensor of a model has: none, negative, overlapping, and products beyond all memory. */
static void shapes_and_strides(void)
{
    static const char name[] = "model.layers.0.mlp.down_proj.weight", vector[] = "model.norm.weight";
    static const int64_t odd[] = { 0, 1, -1, 2, 3, 23, 25, INT64_MAX, INT64_MIN, INT64_MAX / 15, INT64_C(1) << 32 };
    static const int64_t sizes[] = { 0, 1, 15, 17, -1, INT64_MAX, INT64_MIN, INT64_C(1) << 31, INT64_C(1) << 61 };
    int64_t shape[2], strides[2];
    size_t i, k, j, n = sizeof odd / sizeof odd[0], m = sizeof sizes / sizeof sizes[0];
    prune_model *model = NULL;
    DLManagedTensorVersioned was;
    produce(PRUNE_ELEMENT_FLOAT32, 0);
    i = lent_index(&lent, name);
    was = managed[i];
    managed[i].dl_tensor.strides = strides;
    for (k = 0; k < n; k++) {
        for (j = 0; j < n; j++) {
            strides[0] = odd[k], strides[1] = odd[j];
            /* Rows of a wider matrix may be, though here they are not. */
            if (odd[j] != 1 || (odd[k] != 25 && odd[k] != INT64_C(1) << 32)) {
                refused_somehow(name, __LINE__);
            }
        }
    }
    managed[i].dl_tensor.shape = shape;
    for (k = 0; k < 2 * m * m; k++) {
        shape[0] = sizes[k / 2 / m], shape[1] = sizes[k / 2 % m];
        strides[0] = shape[1], strides[1] = 1;
        managed[i].dl_tensor.strides = k % 2 == 0 ? NULL : strides;
        refused_somehow(name, __LINE__);
    }
    managed[i] = was;
    i = lent_index(&lent, vector);
    was = managed[i];
    managed[i].dl_tensor.strides = strides;
    for (k = 0; k < n; k++) {
        strides[0] = odd[k];
        if (odd[k] != 1) {
            refused_somehow(vector, __LINE__);
        }
    }
    managed[i].dl_tensor.strides = NULL;
    managed[i].dl_tensor.shape = shape;
    for (k = 0; k < m; k++) {
        shape[0] = sizes[k];
        refused_somehow(vector, __LINE__);
    }
    managed[i] = was;
    CHECK_OK(take(&model));
    same_logits(model);
    prune_model_release(model);
    CHECK(all_deleted(1) && lent.n_closed == 1);
    lent_free(&lent);
}

/* Offsets beyond memory; every code of a type, with every usual width; flags that this version does not know. */
static void offsets_types_and_flags(void)
{
    static const char name[] = "model.layers.1.self_attn.o_proj.weight";
    static const uint8_t bits[] = { 0, 1, 4, 6, 8, 16, 32, 64, 128, 255 };
    static const uint64_t offsets[] = { UINT64_MAX, UINT64_MAX - 64, UINT64_MAX / 2 + 1 };
    prune_model *model = NULL;
    DLManagedTensorVersioned was;
    size_t i, k;
    int code;
    produce(PRUNE_ELEMENT_FLOAT32, 0);
    i = lent_index(&lent, name);
    was = managed[i];
    for (code = 0; code < 256; code++) {
        for (k = 0; k < sizeof bits / sizeof bits[0]; k++) {
            managed[i].dl_tensor.dtype.code = (uint8_t)code;
            managed[i].dl_tensor.dtype.bits = bits[k];
            if (!(code == 2 && (bits[k] == 32 || bits[k] == 16)) && !(code == 4 && bits[k] == 16)) {
                refused_somehow(name, __LINE__);
            }
        }
    }
    managed[i] = was;
    for (k = 0; k < sizeof offsets / sizeof offsets[0]; k++) {
        managed[i].dl_tensor.byte_offset = offsets[k];
        if ((uintptr_t)was.dl_tensor.data > UINT64_MAX - offsets[k]) {
            refused_somehow(name, __LINE__);
        }
    }
    managed[i] = was;
    managed[i].flags = UINT64_MAX;
    managed[i].version.minor = UINT32_MAX;
    CHECK_OK(take(&model));
    same_logits(model);
    prune_model_release(model);
    CHECK(all_deleted(1));
    lent_free(&lent);
}

/* Tensors that the model does not need go the same way as the others, whatever they are. */
static void tensors_that_are_not_needed(void)
{
    prune_model *model = NULL;
    DLManagedTensorVersioned other;
    size_t n;
    produce(PRUNE_ELEMENT_FLOAT32, 0);
    n = lent.n_tensors;
    other = managed[0];
    other.manager_ctx = &n_deleted[n];
    other.dl_tensor.device.device_type = 2;
    other.dl_tensor.dtype.code = 6;
    other.dl_tensor.ndim = 5;
    names[n] = "something.else";
    pointers[n] = &other;
    n_deleted[n] = 0;
    CHECK_OK(prune_model_from_dlpack(lent.config, names, pointers, n + 1, NULL, &model));
    same_logits(model);
    CHECK(n_deleted[n] == 0);
    prune_model_release(model);
    CHECK(all_deleted(1) && n_deleted[n] == 1);
    lent_free(&lent);
}

/* Deleters that call the library, and release what is being released: each is called once all the same. */
static prune_model *in_release;
static int n_inside;

static void deleted_inside(DLManagedTensorVersioned *self)
{
    prune_evaluation evaluation;
    deleted(self);
    n_inside += prune_model_evaluate(f.model, f.data, NULL, 1, 0, NULL, &evaluation) == PRUNE_OK;
    n_inside += prune_model_evaluate(in_release, f.data, NULL, 1, 0, NULL, &evaluation) == PRUNE_ERR_HANDLE;
    prune_model_release(in_release);
}

static void deleters_that_call_the_library(void)
{
    size_t i;
    produce(PRUNE_ELEMENT_FLOAT32, 0);
    for (i = 0; i < lent.n_tensors; i++) {
        managed[i].deleter = deleted_inside;
    }
    CHECK_OK(take(&in_release));
    n_inside = 0;
    prune_model_release(in_release);
    CHECK(all_deleted(1) && lent.n_closed == 1 && n_inside == 2 * (int)lent.n_tensors);
    lent_free(&lent);
}

static void argument_refusals(void)
{
    prune_model *model = (prune_model *)(uintptr_t)0x10;
    size_t n;
    produce(PRUNE_ELEMENT_FLOAT32, 0);
    n = lent.n_tensors;
    CHECK_FAILS(prune_model_from_dlpack(NULL, names, pointers, n, NULL, &model), PRUNE_ERR_ARGUMENT, "config_json");
    CHECK(model == NULL);
    CHECK_FAILS(prune_model_from_dlpack(lent.config, NULL, pointers, n, NULL, &model), PRUNE_ERR_ARGUMENT, "names");
    CHECK_FAILS(prune_model_from_dlpack(lent.config, names, NULL, n, NULL, &model), PRUNE_ERR_ARGUMENT, "tensors");
    CHECK_FAILS(prune_model_from_dlpack(lent.config, names, pointers, SIZE_MAX, NULL, &model), PRUNE_ERR_ARGUMENT,
                "names");
    CHECK_FAILS(prune_model_from_dlpack(lent.config, names, pointers, n, NULL, NULL), PRUNE_ERR_ARGUMENT, "out_model");
    CHECK_FAILS(prune_model_from_dlpack(lent.config, NULL, NULL, 0, NULL, &model), PRUNE_ERR_FORMAT, "missing");
    CHECK(all_deleted(0));
    lent_free(&lent);
}

int main(void)
{
    prune_element_type type;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL && f.data != NULL);
    for (type = PRUNE_ELEMENT_FLOAT32; type <= PRUNE_ELEMENT_BFLOAT16; type++) {
        owned(type, 0);
        owned(type, 5);
    }
    memory_is_shared();
    tensor_refusals();
    shapes_and_strides();
    offsets_types_and_flags();
    tensors_that_are_not_needed();
    deleters_that_call_the_library();
    argument_refusals();
    fixture_close(&f);
    return check_report();
}
