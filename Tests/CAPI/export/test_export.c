/* SPDX-License-Identifier: Apache-2.0 */
/* Exported directories: every tensor to the last bit, every key of config.json, the other files, shards, prunecore.json. */
#include "exported.h"
#include "fixture.h"
#include "recovery.h"

static const uint8_t block0[4] = { 0, 0, 1, 1 }; /* kept: block 1 */
static const uint8_t both[4] = { 1, 1, 1, 1 };

static prune_status export_as(const prune_model *model, const uint8_t *keep, const prune_adapters *adapters,
                              const char *directory, prune_format format)
{
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    options.format = format;
    remove_tree(directory);
    return prune_model_export(model, keep, keep == NULL ? 0 : 4, adapters, directory, &options);
}

/* A tensor of the export has the bits of one of the model's file. */
static void same_tensor(const tensor_file *ours, const char *name, const tensor_file *theirs, const tiny_tensor *tensor)
{
    char shape[64];
    size_t size = (size_t)(tensor->end - tensor->begin), found = 0;
    const char *bytes;
    if (tensor->n_dimensions == 2) {
        snprintf(shape, sizeof shape, "[%lld, %lld]", (long long)tensor->shape[0], (long long)tensor->shape[1]);
    } else {
        snprintf(shape, sizeof shape, "[%lld]", (long long)tensor->shape[0]);
    }
    bytes = tensor_file_find(ours, name, tensor->type, shape, &found);
    CHECK(bytes != NULL);
    if (bytes != NULL) {
        CHECK(found == size && memcmp(bytes, theirs->bytes + 8 + theirs->header + tensor->begin, size) == 0);
        /* Aligned as its elements are, for readers that map the file. */
        CHECK((size_t)(bytes - ours->bytes) % (strcmp(tensor->type, "F32") == 0 ? 4u : 2u) == 0);
    }
}

/* Whole blocks removed, in every type of storage: block 1 becomes block 0, and nothing else changes. */
static void whole_blocks(const char *type, int tied)
{
    tiny_shape shape = tiny_default_shape();
    tiny_model weights;
    prune_model *model = NULL;
    tensor_file ours, theirs;
    size_t i;
    int expected = 0;
    shape.tied = tied;
    tiny_model_make(&weights, shape, 7);
    tiny_model_store_as(&weights, type);
    tiny_model_write(&weights, "source");
    CHECK_OK(prune_model_open("source", NULL, &model));
    REQUIRE(model != NULL);
    CHECK_OK(export_as(model, block0, NULL, "plain", PRUNE_FORMAT_HF));
    ours = tensor_file_open("plain", "model.safetensors");
    theirs = tensor_file_open("source", "model.safetensors");
    for (i = 0; i < weights.n_tensors; i++) {
        const tiny_tensor *tensor = &weights.tensors[i];
        char name[128];
        if (strncmp(tensor->name, "model.layers.0.", 15) == 0) {
            continue;
        }
        snprintf(name, sizeof name, "%s", tensor->name);
        if (strncmp(name, "model.layers.1.", 15) == 0) {
            name[13] = '0';
        }
        same_tensor(&ours, name, &theirs, tensor);
        expected++;
    }
    CHECK(tensor_file_count(&ours) == expected && expected == (tied ? 11 : 12));
    CHECK(file_says("plain", "config.json", "\n  \"num_hidden_layers\": 1,\n"));
    CHECK(file_says("plain", "prunecore.json", "\"kind\": \"hf_plain\""));
    tensor_file_close(&ours);
    tensor_file_close(&theirs);
    prune_model_release(model);
    tiny_model_free(&weights);
}

/* What the configuration says of each block is cut, and what does not concern us keeps its digits. */
static void configuration_of_the_export(void)
{
    static const char config[] =
        "\"architectures\": [\"Qwen2ForCausalLM\"],\n  \"huge\" : 123456789012345678901234567890,\n"
        "  \"tiny\": 9.999999974752427e-07, \"text\": \"a \\\"b\\\", [c]\\u00e9\", \"nested\": {\"a\": [1.50, {\"b\": "
        "null}]},\n"
        "  \"layer_types\": [\"full_attention\", \"sliding_attention\"],\n  \"use_sliding_window\": true,\n"
        "  \"sliding_window\": 8, \"max_window_layers\": 1, \"auto_map\": {\"AutoConfig\": \"x.Y\"},";
    static const char *const kept[] = { "\"huge\": 123456789012345678901234567890,",
                                        "\"tiny\": 9.999999974752427e-07,",
                                        "\"text\": \"a \\\"b\\\", [c]\\u00e9\",",
                                        "\"nested\": {\"a\": [1.50, {\"b\": null}]},",
                                        "\"layer_types\": [\"sliding_attention\"],",
                                        "\"max_window_layers\": 0,",
                                        "\"rms_norm_eps\": 1e-05,",
                                        "\"sliding_window\": 8,",
                                        "\"num_hidden_layers\": 1,",
                                        "\"rope_theta\": 10000.0," };
    tiny_model weights;
    prune_model *model = NULL;
    char *text;
    size_t i;
    tiny_model_make(&weights, tiny_default_shape(), 7);
    /* Qwen2 has biases of query, key and value: three vectors a block. */
    for (i = 0; i < 2; i++) {
        static const char *const parts[] = { "q", "k", "v" };
        size_t part;
        for (part = 0; part < 3; part++) {
            tiny_tensor *tensor = &weights.tensors[weights.n_tensors++];
            memset(tensor, 0, sizeof *tensor);
            snprintf(tensor->name, sizeof tensor->name, "model.layers.%d.self_attn.%s_proj.bias", (int)i, parts[part]);
            tensor->type = "F32";
            tensor->n_dimensions = 1;
            tensor->shape[0] = part == 0 ? 16 : 8;
            tensor->n_values = (size_t)tensor->shape[0];
            tensor->values = calloc(tensor->n_values, sizeof *tensor->values);
            REQUIRE(tensor->values != NULL);
            tensor->values[0] = (float)(i + part);
        }
    }
    tiny_model_lay_out(&weights);
    tiny_model_write(&weights, "qwen");
    tiny_model_write_config(&weights, "qwen",
                            "\"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",", config);
    CHECK_OK(prune_model_open("qwen", NULL, &model));
    REQUIRE(model != NULL);
    CHECK_OK(export_as(model, block0, NULL, "plain", PRUNE_FORMAT_HF_PLAIN));
    for (i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        CHECK(file_says("plain", "config.json", kept[i]));
    }
    /* Code that is not copied is not named. */
    text = read_file("plain", "config.json", NULL);
    CHECK(strstr(text, "auto_map") == NULL);
    free(text);
    prune_model_release(model);
    tiny_model_free(&weights);
}

/* Sublayers removed, adapters in their places. */
static void custom(prune_adapter_kind kind, const char *described, int n_adapter_tensors)
{
    fixture f;
    prune_adapters *adapters = NULL;
    tensor_file ours, theirs;
    float values[FIXTURE_HIDDEN * FIXTURE_HIDDEN];
    size_t i, found = 0, count = 0;
    int expected = 0;
    const char *bytes;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL);
    adapters = recovery_solved(&f, kind, 2);
    CHECK_OK(export_as(f.model, NULL, adapters, "custom", PRUNE_FORMAT_HF));
    ours = tensor_file_open("custom", "model.safetensors");
    theirs = tensor_file_open("tiny", "model.safetensors");
    for (i = 0; i < f.weights.n_tensors; i++) {
        const tiny_tensor *tensor = &f.weights.tensors[i];
        int lost = strstr(tensor->name, "layers.0.mlp") != NULL || strstr(tensor->name, "layers.0.post") != NULL ||
                   strstr(tensor->name, "layers.1.self_attn") != NULL || strstr(tensor->name, "layers.1.input") != NULL;
        if (!lost) {
            same_tensor(&ours, tensor->name, &theirs, tensor);
            expected++;
        } else {
            CHECK(strstr(ours.bytes + 8, tensor->name) == NULL);
        }
    }
    CHECK(tensor_file_count(&ours) == expected + n_adapter_tensors);
    CHECK_OK(prune_adapters_get(adapters, 2, PRUNE_PART_BIAS, values, FIXTURE_HIDDEN, NULL));
    bytes = tensor_file_find(&ours, "model.layers.1.self_attn.bias", "F32", "[16]", &found);
    CHECK(bytes != NULL && found == 64 && memcmp(bytes, values, 64) == 0);
    if (kind == PRUNE_ADAPTER_LOW_RANK) {
        CHECK_OK(prune_adapters_get(adapters, 1, PRUNE_PART_UP, values, 2 * FIXTURE_HIDDEN, &count));
        bytes = tensor_file_find(&ours, "model.layers.0.mlp.up.weight", "F32", "[16, 2]", &found);
        CHECK(bytes != NULL && found == 128 && memcmp(bytes, values, 128) == 0);
        CHECK(tensor_file_find(&ours, "model.layers.0.mlp.down.weight", "F32", "[2, 16]", &found) != NULL);
        CHECK(tensor_file_find(&ours, "model.layers.0.mlp.norm.weight", "F32", "[16]", &found) != NULL);
    }
    if (kind == PRUNE_ADAPTER_LINEAR) {
        CHECK_OK(prune_adapters_get(adapters, 2, PRUNE_PART_MATRIX, values, FIXTURE_HIDDEN * FIXTURE_HIDDEN, &count));
        bytes = tensor_file_find(&ours, "model.layers.1.self_attn.linear.weight", "F32", "[16, 16]", &found);
        CHECK(bytes != NULL && found == sizeof values && memcmp(bytes, values, sizeof values) == 0);
    }
    CHECK(file_says("custom", "config.json", described));
    CHECK(file_says("custom", "config.json", "\"architectures\": [\"PruneCoreLlamaForCausalLM\"]"));
    CHECK(file_says("custom", "config.json", "\"model_type\": \"prunecore_llama\""));
    CHECK(file_says("custom", "config.json", "\"num_hidden_layers\": 2,"));
    CHECK(file_says("custom", "config.json", "\"removed\": [\"ffn.0\", \"attn.1\"]"));
    CHECK(file_says("custom", "config.json",
                    "\"per_layer_config\": {\"0\": {\"skip\": [\"mlp\"]}, \"1\": {\"skip\": [\"attention\"]}}"));
    CHECK(file_says("custom", "modeling_prunecore.py", "class PruneCoreLlamaForCausalLM"));
    CHECK(file_says("custom", "configuration_prunecore.py", "SPDX-License-Identifier: Apache-2.0"));
    CHECK(file_says("custom", "prunecore_layers.py", "class Adapter"));
    CHECK(file_says("custom", "prunecore.json", "\"kind\": \"hf_custom\""));
    CHECK(file_says("custom", "prunecore.json", "\"objective\": \"closed_form\""));
    tensor_file_close(&ours);
    tensor_file_close(&theirs);
    prune_adapters_release(adapters);
    fixture_close(&f);
}

/* nemotron-nas: the JSON to the letter, for a width that a multiple says and for one that none does. */
static void deci_export(void)
{
    static const uint8_t keep[4] = { 1, 0, 0, 1 };
    static const char attention[] =
        "{\"attention\": {\"n_heads_in_group\": 2, \"no_op\": false, \"num_sink_tokens\": null, "
        "\"replace_with_linear\": false, \"sparsify\": null, \"unshifted_sink\": false, "
        "\"use_prefill_window_in_sink_attention\": false, \"window_length\": null}, "
        "\"ffn\": {\"ffn_mult\": null, \"no_op\": true, \"replace_with_linear\": false, \"sparsify\": null}}";
    static const char no_attention[] = "{\"attention\": {\"n_heads_in_group\": null, \"no_op\": true, ";
    tiny_shape shape = tiny_default_shape();
    int wide;
    for (wide = 0; wide < 2; wide++) {
        fixture f;
        tensor_file ours;
        /* 2 * 1.5 * ff / 2 = ff: 512 is a multiple of 256, 24 is not. 3 * 512 / (2 * 16) = 48. */
        shape.feed_forward = wide ? 512 : 24;
        fixture_open_shape(&f, "tiny", shape);
        REQUIRE(f.model != NULL);
        CHECK_OK(export_as(f.model, keep, NULL, "deci", PRUNE_FORMAT_DECI));
        CHECK(file_says("deci", "config.json", attention));
        CHECK(file_says("deci", "config.json", no_attention));
        CHECK(file_says(
            "deci", "config.json",
            wide ? "\"ffn\": {\"ffn_mult\": 48.0, \"no_op\": false, \"replace_with_linear\": false, \"sparsify\": null}"
                 : "\"ffn\": {\"intermediate_size\": 24, \"no_op\": false, \"replace_with_linear\": false, "
                   "\"sparsify\": null}"));
        CHECK(file_says("deci", "prunecore.json",
                        wide ? "{\"feed_forward_width\": \"ffn_mult\", \"runtimes\": [\"transformers\", \"vLLM\", "
                               "\"SGLang\", \"mlx-lm\"]}"
                             : "{\"feed_forward_width\": \"intermediate_size\", \"runtimes\": [\"transformers\", "
                               "\"vLLM\"]}"));
        CHECK(file_says("deci", "config.json", "\"architectures\": [\"DeciLMForCausalLM\"]"));
        CHECK(file_says("deci", "config.json", "\"model_type\": \"nemotron-nas\""));
        CHECK(file_says("deci", "configuration_decilm.py", "class DeciLMConfig"));
        ours = tensor_file_open("deci", "model.safetensors");
        CHECK(tensor_file_count(&ours) == 2 + 5 + 4);
        CHECK(strstr(ours.bytes + 8, "layers.1.input_layernorm") == NULL);
        CHECK(strstr(ours.bytes + 8, "layers.0.post_attention") == NULL);
        tensor_file_close(&ours);
        fixture_close(&f);
    }
}

/* All tensors are there with the model's bits, but for the last matrices of what is removed: those are zeros of their type. */
static void zeroed_export(void)
{
    static const uint8_t keep[4] = { 0, 1, 1, 0 };
    static const char *const zeros[] = { "model.layers.0.self_attn.o_proj.weight",
                                         "model.layers.1.mlp.down_proj.weight" };
    static const char *const shapes[] = { "[16, 16]", "[16, 24]" };
    tiny_model weights;
    prune_model *model = NULL;
    tensor_file ours, theirs;
    size_t i, z;
    tiny_model_make(&weights, tiny_default_shape(), 7);
    tiny_model_store_as(&weights, "BF16");
    tiny_model_write(&weights, "source");
    CHECK_OK(prune_model_open("source", NULL, &model));
    REQUIRE(model != NULL);
    CHECK_OK(export_as(model, keep, NULL, "zeroed", PRUNE_FORMAT_ZEROED));
    ours = tensor_file_open("zeroed", "model.safetensors");
    theirs = tensor_file_open("source", "model.safetensors");
    CHECK((size_t)tensor_file_count(&ours) == weights.n_tensors);
    for (i = 0; i < weights.n_tensors; i++) {
        if (strcmp(weights.tensors[i].name, zeros[0]) != 0 && strcmp(weights.tensors[i].name, zeros[1]) != 0) {
            same_tensor(&ours, weights.tensors[i].name, &theirs, &weights.tensors[i]);
        }
    }
    for (z = 0; z < 2; z++) {
        size_t size = 0, j;
        int filled = 0;
        const char *bytes = tensor_file_find(&ours, zeros[z], "BF16", shapes[z], &size);
        REQUIRE(bytes != NULL);
        for (j = 0; j < size; j++) {
            filled |= bytes[j];
        }
        CHECK(filled == 0);
    }
    CHECK(file_says("zeroed", "config.json", "\"num_hidden_layers\": 2,"));
    CHECK(file_says("zeroed", "prunecore.json", "\"kind\": \"zeroed\""));
    CHECK(file_says("zeroed", "prunecore.json", "\"zeroed\": [\"attn.0\", \"ffn.1\"]"));
    tensor_file_close(&ours);
    tensor_file_close(&theirs);
    prune_model_release(model);
    tiny_model_free(&weights);
}

/* For mlx-lm: matrices in the places of what is removed, biases of all projections or of none, widths filled with zeros. */
static void mlx_export(void)
{
    static float down[2 * FIXTURE_HIDDEN], up[2 * FIXTURE_HIDDEN];
    static const char *const empty[] = { "self_attn.q_proj.bias", "self_attn.o_proj.bias", "mlp.linear.bias" };
    fixture f;
    prune_adapters *adapters;
    tensor_file ours;
    const char *bytes;
    size_t found = 0, count = 0, i, column;
    int filled;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL);
    adapters = recovery_solved(&f, PRUNE_ADAPTER_LOW_RANK, 2);
    CHECK_OK(export_as(f.model, NULL, adapters, "mlx", PRUNE_FORMAT_MLX));
    ours = tensor_file_open("mlx", "model.safetensors");
    CHECK_OK(prune_adapters_get(adapters, 1, PRUNE_PART_DOWN, down, 2 * FIXTURE_HIDDEN, &count));
    CHECK_OK(prune_adapters_get(adapters, 1, PRUNE_PART_UP, up, 2 * FIXTURE_HIDDEN, &count));
    bytes = tensor_file_find(&ours, "model.layers.0.mlp.linear.weight", "F32", "[16, 16]", &found);
    REQUIRE(bytes != NULL && found == sizeof(float) * FIXTURE_HIDDEN * FIXTURE_HIDDEN);
    for (i = 0; i < FIXTURE_HIDDEN; i++) {
        for (column = 0; column < FIXTURE_HIDDEN; column++) {
            double product = (double)up[2 * i] * (double)down[column] +
                             (double)up[2 * i + 1] * (double)down[FIXTURE_HIDDEN + column];
            float value;
            memcpy(&value, bytes + sizeof value * (i * FIXTURE_HIDDEN + column), sizeof value);
            CHECK((double)value - product < 1e-5 && product - (double)value < 1e-5);
        }
    }
    CHECK(tensor_file_find(&ours, "model.layers.1.self_attn.linear.weight", "F32", "[16, 16]", &found) != NULL);
    for (i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "model.layers.0.%s", empty[i]);
        CHECK(tensor_file_find(&ours, name, "F32", "[16]", &found) != NULL);
    }
    CHECK(tensor_file_find(&ours, "model.layers.1.mlp.down_proj.weight", "F32", "[16, 256]", &found) != NULL);
    bytes = tensor_file_find(&ours, "model.layers.1.mlp.up_proj.weight", "F32", "[256, 16]", &found);
    REQUIRE(bytes != NULL);
    for (i = 24 * 16 * sizeof(float), filled = 0; i < found; i++) {
        filled |= bytes[i];
    }
    CHECK(filled == 0);
    CHECK(file_says("mlx", "config.json",
                    "\"ffn\": {\"ffn_mult\": null, \"no_op\": false, \"replace_with_linear\": true"));
    CHECK(file_says("mlx", "config.json", "\"intermediate_size\": 256,"));
    CHECK(file_says("mlx", "config.json", "\"attention_bias\": true,"));
    CHECK(!there("mlx/modeling_decilm.py"));
    tensor_file_close(&ours);
    prune_adapters_release(adapters);
    fixture_close(&f);
}

/* The files of the directory that go along, and those that do not. */
static void other_files_are_copied(void)
{
    static const char *const taken[] = { "tokenizer.json", "tokenizer_config.json", "generation_config.json",
                                         "merges.txt", "LICENSE" };
    static const char *const left[] = { "README.md", "tokenizer.py", "pytorch_model.bin", "notes.txt", "original" };
    fixture f;
    size_t i;
    char path[256];
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL);
    for (i = 0; i < 5; i++) {
        write_text("tiny", taken[i], i == 3 ? "" : taken[i]);
    }
    write_text("tiny/additional_chat_templates", "tool.jinja", "{{ x }}");
    write_text("elsewhere", "tokenizer.model", "linked");
    CHECK(there("tiny/tokenizer.model") || symlink("../elsewhere/tokenizer.model", "tiny/tokenizer.model") == 0);
    for (i = 0; i < 4; i++) {
        write_text("tiny", left[i], "stays");
    }
    write_text("tiny/original", "tokenizer.model", "stays");
    CHECK_OK(export_as(f.model, both, NULL, "plain", PRUNE_FORMAT_HF));
    for (i = 0; i < 5; i++) {
        CHECK(same_file("tiny", "plain", taken[i]));
    }
    CHECK(file_says("plain/additional_chat_templates", "tool.jinja", "{{ x }}"));
    CHECK(file_says("plain", "tokenizer.model", "linked"));
    for (i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "plain/%s", left[i]);
        CHECK(!there(path));
    }
    CHECK(file_says("plain", "prunecore.json", "\"name\": \"additional_chat_templates/tool.jinja\""));
    CHECK(entries("plain") == 10);
    fixture_close(&f);
}

/* Shards are no larger than asked, but for a tensor that is; the index names the file of every tensor. */
static void weights_in_shards(void)
{
    fixture f;
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    int64_t limit;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL);
    for (limit = 1; limit <= 12000; limit += 3700) {
        char *index;
        int number, files = 0, found = 0;
        size_t i;
        options.shard_bytes = limit;
        remove_tree("sharded");
        CHECK_OK(prune_model_export(f.model, both, 4, NULL, "sharded", &options));
        index = read_file("sharded", "model.safetensors.index.json", NULL);
        for (number = 1; number <= (int)f.weights.n_tensors; number++) {
            char name[64];
            int total;
            for (total = 1; total <= (int)f.weights.n_tensors; total++) {
                tensor_file file;
                snprintf(name, sizeof name, "sharded/model-%05d-of-%05d.safetensors", number, total);
                if (!there(name)) {
                    continue;
                }
                file = tensor_file_open("sharded", name + 8);
                CHECK((int64_t)file.size <= limit || tensor_file_count(&file) == 1);
                found += tensor_file_count(&file);
                tensor_file_close(&file);
                files++;
            }
        }
        CHECK(found == (int)f.weights.n_tensors);
        CHECK(limit > 1 || files == found);
        CHECK(limit == 1 || (files > 1 && files < found));
        for (i = 0; i < f.weights.n_tensors; i++) {
            CHECK(strstr(index, f.weights.tensors[i].name) != NULL);
        }
        CHECK(strstr(index, "\"total_size\": ") != NULL);
        free(index);
        {
            /* It opens, and computes the same. */
            prune_model *again = NULL;
            prune_evaluation one, two;
            CHECK_OK(prune_model_open("sharded", NULL, &again));
            CHECK_OK(prune_model_evaluate(f.model, f.data, both, 1, 4, NULL, &one));
            CHECK_OK(prune_model_evaluate(again, f.data, both, 1, 4, NULL, &two));
            CHECK(one.loss == two.loss);
            prune_model_release(again);
        }
    }
    fixture_close(&f);
}

/* Masks: the model's where none is given; provenance is kept; the whole is replaced when asked. */
static void masks_and_replacing(void)
{
    fixture f;
    prune_export_options options = PRUNE_EXPORT_OPTIONS_INIT;
    fixture_open(&f, "tiny");
    REQUIRE(f.model != NULL);
    CHECK_OK(prune_model_mask_set(f.model, block0, 4));
    remove_tree("masked");
    CHECK_OK(prune_model_export(f.model, NULL, 0, NULL, "masked", NULL));
    CHECK(file_says("masked", "prunecore.json", "\"removed\": [\"attn.0\", \"ffn.0\"]"));
    CHECK(file_says("masked", "prunecore.json", "\"provenance\": {}"));
    options.provenance_json = "{\"by\": [\"hand\", 1.50]}";
    options.replace = 1;
    CHECK_OK(prune_model_export(f.model, both, 4, NULL, "masked/", &options));
    CHECK(file_says("masked", "prunecore.json", "\"removed\": []"));
    CHECK(file_says("masked", "prunecore.json", "\"provenance\": {\"by\": [\"hand\", 1.50]}"));
    /* Also where nothing is there, and through a link. */
    remove_tree("masked");
    CHECK_OK(prune_model_export(f.model, both, 4, NULL, "masked", &options));
    unlink("link");
    CHECK(symlink("masked", "link") == 0);
    CHECK_OK(prune_model_export(f.model, block0, 4, NULL, "link", &options));
    CHECK(file_says("masked", "prunecore.json", "\"removed\": [\"attn.0\", \"ffn.0\"]"));
    /* An export of an export, onto itself, while it is open. */
    {
        prune_model *again = NULL;
        prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
        CHECK_OK(prune_model_open("masked", NULL, &again));
        CHECK_OK(prune_model_export(again, NULL, 0, NULL, "masked", &options));
        CHECK_OK(prune_model_info(again, &shape));
        CHECK(shape.n_blocks == 1);
        prune_model_release(again);
    }
    fixture_close(&f);
}

int main(void)
{
    whole_blocks("F32", 1);
    whole_blocks("BF16", 0);
    whole_blocks("F16", 0);
    configuration_of_the_export();
    custom(PRUNE_ADAPTER_BIAS, "\"ffn.0\": {\"epsilon\": null, \"input\": \"raw\", \"kind\": \"bias\", \"rank\": 0}",
           2);
    custom(PRUNE_ADAPTER_LOW_RANK, "\"input\": \"normed\", \"kind\": \"low_rank\", \"rank\": 2}", 8);
    custom(PRUNE_ADAPTER_LINEAR, "\"input\": \"normed\", \"kind\": \"linear\", \"rank\": 0}", 6);
    deci_export();
    zeroed_export();
    mlx_export();
    other_files_are_copied();
    weights_in_shards();
    masks_and_replacing();
    return check_report();
}
