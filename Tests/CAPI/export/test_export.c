/* SPDX-License-Identifier: Apache-2.0 */
/* Exported directories of whole blocks: every tensor to the last bit, every key of config.json, the other files, shards. */
#include "exported.h"
#include "fixture.h"
#include "recovery.h"

static const uint8_t block0[4] = { 0, 0, 1, 1 }; /* kept: block 1 */
static const uint8_t both[4] = { 1, 1, 1, 1 };

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
    other_files_are_copied();
    weights_in_shards();
    masks_and_replacing();
    return check_report();
}
