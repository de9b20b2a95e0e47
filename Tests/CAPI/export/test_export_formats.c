/* SPDX-License-Identifier: Apache-2.0 */
/* What each format of exports holds where sublayers are removed: hf_custom, deci, zeroed, mlx. */
#include "exported.h"
#include "fixture.h"
#include "recovery.h"

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
int main(void)
{
    custom(PRUNE_ADAPTER_BIAS, "\"ffn.0\": {\"epsilon\": null, \"input\": \"raw\", \"kind\": \"bias\", \"rank\": 0}",
           2);
    custom(PRUNE_ADAPTER_LOW_RANK, "\"input\": \"normed\", \"kind\": \"low_rank\", \"rank\": 2}", 8);
    custom(PRUNE_ADAPTER_LINEAR, "\"input\": \"normed\", \"kind\": \"linear\", \"rank\": 0}", 6);
    deci_export();
    zeroed_export();
    mlx_export();
    return check_report();
}
