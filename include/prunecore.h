/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * prunecore.h: depth pruning of decoder-only language models, in process.
 *
 * PruneCore opens a language model, scores how important each block, attention layer and
 * feed-forward layer is, removes the least important ones with a mask, and measures what the
 * removal costs. The method and its words follow "A deeper look at depth pruning of LLMs"
 * (arXiv 2407.16286).
 *
 * Contents. The functions marked with a star are all that most programs need.
 *
 *   First part: to prune a model
 *     Library      (*) prune_last_error; status codes, version, threads, progress
 *     Models       (*) prune_model_open, prune_model_release; shape, sublayers and plan of a model;
 *                      prune_architectures: the families that are known
 *     Data         (*) prune_data_create, prune_data_release: token sequences
 *     Masks        (*) prune_mask_remove_lowest, prune_model_cost; masks as JSON; edits of weights
 *     Scores       (*) prune_model_score: metrics of importance; scores of neurons
 *     Evaluation   (*) prune_model_evaluate: loss and perplexity; losses and logits of each token
 *     Measures     what damage is measured by: an option of searches and games
 *     Search       (*) prune_search_create, prune_model_search, prune_search_mask,
 *                      prune_search_release; measured times, ask and tell, save and resume;
 *                      prune_model_merge: blocks merged into others
 *     Recovery     prune_model_recover, prune_model_attach: adapters that heal a pruned model
 *     Healing      prune_model_heal: training of the weights that a mask keeps
 *     Sharing      prune_model_share: weights of later sublayers as low-rank deltas of earlier ones
 *     Export       (*) prune_model_export: a directory that runtimes serve
 *     Generation   prune_model_generate: text that a model writes
 *
 *   Second part: for special needs
 *     Statistics   scores from data that arrives in parts, or from activations alone
 *     Coalitions   prune_model_damages: a measure under many masks at once
 *     Choices      multiple-choice items
 *     Games        prune_model_shapley: Shapley values; ask and tell, save and resume
 *     Moments      closed-form adapters from data that arrives in parts
 *     Gradients    of an objective, and through one sublayer
 *     Tensors      models whose weights are already in memory; DLPack
 *     Hosts        models whose layers your program runs, on a GPU for instance
 *
 * A first program. It removes the 4 least important of the 2 * n_blocks sublayers.
 *
 *     #include <prunecore.h>
 *     #include <stdio.h>
 *     #include <stdlib.h>
 *
 *     static void check(prune_status status)
 *     {
 *         if (status == PRUNE_OK) return;
 *         fprintf(stderr, "%s: %s\n", prune_status_name(status), prune_last_error());
 *         exit(1);
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *         int32_t tokens[] = { 1, 702, 689, 261, 502, 14, 445, 324, 261, 610, 266, 771, 834, 16 };
 *         int64_t length = sizeof tokens / sizeof *tokens;
 *         prune_model *model;
 *         prune_data *data;
 *         prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
 *         double scores[512];
 *         uint8_t keep[512];
 *         size_t n;
 *         prune_evaluation before, after;
 *         if (argc != 2) return 2;
 *         options.metrics = PRUNE_METRIC_COSINE;
 *         check(prune_model_open(argv[1], NULL, &model));
 *         check(prune_data_create(tokens, &length, 1, NULL, &data));
 *         check(prune_model_score(model, data, &options, scores, 512, &n));
 *         check(prune_mask_remove_lowest(scores, n, PRUNE_GRANULARITY_SUBLAYER, 4, NULL, keep, n));
 *         check(prune_model_evaluate(model, data, NULL, 1, 0, NULL, &before));
 *         check(prune_model_evaluate(model, data, keep, 1, n, NULL, &after));
 *         printf("loss: %.3f before, %.3f after\n", before.loss, after.loss);
 *         prune_data_release(data);
 *         prune_model_release(model);
 *         return 0;
 *     }
 *
 * Words
 *   block i       A decoder layer, i = 0 .. n_blocks - 1.
 *   sublayer u    u = 0 .. 2 * n_blocks - 1. Sublayer 2i is the attention of block i, sublayer
 *                 2i + 1 is its feed-forward.
 *   unit          What a granularity counts: sublayers, blocks, attentions or feed-forwards.
 *   keep mask     One byte per sublayer: 1 = kept, 0 = removed. A removed sublayer leaves the
 *                 residual stream unchanged. Its norm is not computed, its keys and values are not
 *                 stored, and the positions of the other sublayers do not change. A mask may remove
 *                 everything: the embeddings then go straight to the head.
 *   influence     A score of importance: higher = more important. Pruning removes units in
 *                 ascending order; of equal ones, the lower index goes first.
 *   loss          Mean negative log-likelihood per predicted token, in nats.
 *   measure       A quantity of a masked model, lower = better: loss, kl, ...
 *   damage        The value of a measure under a mask.
 *
 * Rules that hold for every function
 *   Errors        A call that can fail returns a prune_status. Anything but PRUNE_OK means that it
 *                 failed, unknown values included. prune_last_error() then returns a sentence that
 *                 names what is at fault. Outputs stay as they were, except that handles become
 *                 NULL and `out_count` may say how much room is needed.
 *   Pointers      Every pointer is checked for NULL. Where NULL is allowed, the comment says so.
 *   Handles       Opaque. A call with an output such as `prune_model **out_model` makes a handle;
 *                 _release gives it back and accepts NULL. A handle that was released, or is of
 *                 another kind, is recognised and gives PRUNE_ERR_HANDLE.
 *   Threads       Several threads may use a const handle at once. A handle that is passed without
 *                 const must be used by one thread at a time. Releasing never waits: calls under
 *                 way keep what they use alive.
 *   Strings       UTF-8 and NUL-terminated. The library copies strings that it is given. Strings
 *                 that it returns are borrowed; the comment says how long they live.
 *   Structs       `struct_size` comes first and the caller sets it, which PRUNE_*_INIT does. Later
 *                 versions append fields and change nothing else. Zero is the default of every
 *                 field. A size smaller than that of the first version gives PRUNE_ERR_ARGUMENT,
 *                 and so does a larger one whose unknown tail is not zero. Reserved fields must be
 *                 0. The layout of a struct without `struct_size` is fixed within an ABI version,
 *                 except prune_comparison, whose size a prune_host says.
 *   Buffers       The caller owns the memory. `capacity` is its size in elements, `out_count`
 *                 receives how many were written. If it is too small, the call gives
 *                 PRUNE_ERR_BUFFER, writes nothing, and sets `out_count` to the number of elements
 *                 that is needed. `out_count` may be NULL. An output whose length follows from
 *                 other arguments, such as n_masks, has no `capacity`.
 *   Names         The length of an array x is n_x, a size_t; the buffer of an output x is out_x.
 *                 Options of a handle are prune_<handle>_options, of prune_model_<verb>()
 *                 prune_<verb>_options, of a handle that runs on a model
 *                 prune_<handle>_run_options. _info fills a prune_<handle>_state for what runs, a
 *                 _summary for what is finished, a _shape for a model, prune_metric_facts for a
 *                 metric, and prune_runtime for the library. `progress` is always a
 *                 prune_progress_fn; a callback for an event of its own is on_<event>.
 *   Callbacks     The library calls them on the thread that made the call, and does not keep them
 *                 after it returns. Those of a prune_host are kept until its model is closed, and
 *                 are still called on the thread of the call that needs them.
 *   Process       The library never prints, exits, traps, or changes signal handlers or the
 *                 environment. It changes the thread count of BLAS, which is process-wide, only
 *                 inside calls and restores it.
 *   Environment   The library reads two variables. PRUNECORE_COMPUTE is the default of
 *                 prune_compute. PRUNECORE_LOOPS (baseline, avx2 or avx512; read once) holds the
 *                 library's own loops, and bf16 products, below what the CPU has. A value that is
 *                 unknown, or that the CPU lacks, is refused when a model is opened or made.
 *                 OpenBLAS reads a variable of its own, OPENBLAS_CORETYPE: see prune_runtime.
 */
#ifndef PRUNECORE_H
#define PRUNECORE_H

#include <stddef.h>
#include <stdint.h>

#define PRUNE_VERSION_MAJOR 0
#define PRUNE_VERSION_MINOR 1
#define PRUNE_VERSION_PATCH 0

/* Grows when a change breaks programs built against an older header. prune_abi_version() returns
   the library's. */
#define PRUNE_ABI_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

/* ================================================================================================
 * FIRST PART
 *
 * Library
 * ============================================================================================== */

/* Result of a call. Values are never reused. */
typedef int32_t prune_status;
enum {
    PRUNE_OK = 0,
    /* An argument is NULL, out of range or of the wrong length, or a struct_size is wrong. */
    PRUNE_ERR_ARGUMENT = 1,
    /* The handle was released, or is of another kind. */
    PRUNE_ERR_HANDLE = 2,
    /* There was not enough memory. */
    PRUNE_ERR_MEMORY = 3,
    /* A file is missing or cannot be read or written. */
    PRUNE_ERR_FILE = 4,
    /* A file is damaged, or contradicts itself. */
    PRUNE_ERR_FORMAT = 5,
    /* The input is well-formed, but this version cannot compute it. */
    PRUNE_ERR_UNSUPPORTED = 6,
    /* The token ids do not fit the model, or there are too few of them. */
    PRUNE_ERR_DATA = 7,
    /* NaN or infinity occurred. The text names the layer. */
    PRUNE_ERR_NONFINITE = 8,
    /* A callback asked to stop. */
    PRUNE_ERR_CANCELLED = 9,
    /* The caller's buffer is too small. `out_count` says how many elements are needed. */
    PRUNE_ERR_BUFFER = 10,
    /* The library itself is at fault. Please report it. */
    PRUNE_ERR_INTERNAL = 11,
    /* A callback of the host failed. The text names it and has the host's own sentence. */
    PRUNE_ERR_HOST = 12
};

/* Returns the version as "major.minor.patch". Static; never NULL. */
const char *prune_version(void);

/* Returns PRUNE_ABI_VERSION of the library. Compare it with the header's before any other call. */
int32_t prune_abi_version(void);

/* Returns the name of a status: "PRUNE_ERR_FILE" for PRUNE_ERR_FILE, "PRUNE_ERR_UNKNOWN" for a
   value that is not known. Static; never NULL. */
const char *prune_status_name(prune_status status);

/*
 * Returns what went wrong in the last failed call of this thread: one sentence that names the file,
 * tensor, layer or argument. Never NULL; "" if nothing has failed yet. Valid until the next call of
 * this thread. The text is for people: programs branch on the status.
 */
const char *prune_last_error(void);

/* What the library runs on. Strings are static. */
typedef struct prune_runtime {
    uint32_t struct_size;
    /* Largest number of threads that a call uses. */
    int32_t threads;
    /* Processors that this process may run on. */
    int32_t processors;
    int32_t reserved; /* 0 */
    /* Name and configuration of the BLAS in use. */
    const char *blas;
    /* Kernels that BLAS chose when it was loaded, such as "SkylakeX". */
    const char *blas_kernels;
    /* Value of the environment variable OPENBLAS_CORETYPE at load; "" if it was unset. */
    const char *blas_forced;
    /* CPU features that matter for speed, such as "avx2 fma avx512f avx512_bf16". */
    const char *cpu_features;
    /* A sentence if the kernels in use are slower than the CPU allows; "" if all is well. */
    const char *advice;
    /* Instructions of PRUNE_COMPUTE_BFLOAT16: "avx512_bf16"; "" if the CPU has none. */
    const char *bf16_kernels;
    /* What the library's own loops are compiled for: "avx512", "avx2" or "baseline". */
    const char *loop_kernels;
} prune_runtime;
#define PRUNE_RUNTIME_INIT \
    { sizeof(prune_runtime), 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/* Describes kernels, CPU and threads. Errors: PRUNE_ERR_ARGUMENT. */
prune_status prune_runtime_info(prune_runtime *out_runtime);

/*
 * Sets the largest number of threads that a call uses, for the whole library. 0 = one per
 * processor, which is the default. It takes effect with the next call.
 * Errors: PRUNE_ERR_ARGUMENT (`threads` is negative or above 1024).
 */
prune_status prune_threads_set(int32_t threads);

/* How far a long call has come. A call of several stages counts each from 0. Strings are valid
   during the callback. */
typedef struct prune_progress {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* What is being done, such as "score" or "leave one out". */
    const char *stage;
    /* Steps done, 0 .. total. */
    int64_t done;
    /* Steps in all. A step is one sublayer applied to one batch of tokens. */
    int64_t total;
    /* Seconds since the call began. */
    double seconds;
} prune_progress;

/* Receives progress, at most a few dozen times a second. Return 0 to continue; any other value
   stops the call with PRUNE_ERR_CANCELLED. */
typedef int32_t (*prune_progress_fn)(void *user_data, const prune_progress *progress);

/* ================================================================================================
 * Models
 * ============================================================================================== */

/* A decoder-only language model. */
typedef struct prune_model prune_model;

/*
 * The type that matrix products multiply in. Sums, the residual stream, norms and softmax are fp32
 * in either case. The same type and the same inputs give the same results.
 */
typedef int32_t prune_compute;
enum {
    /* What the environment variable PRUNECORE_COMPUTE (float32, bfloat16) says. Where it is unset
       or empty: BFLOAT16 for weights stored in bf16 on a CPU with AVX512-BF16, otherwise
       FLOAT32. */
    PRUNE_COMPUTE_AUTOMATIC = 0,
    /* Weights are widened exactly. Results agree with an fp32 reference to its rounding. */
    PRUNE_COMPUTE_FLOAT32 = 1,
    /* Activations are rounded to bf16 before each product, as PyTorch does in a bf16 model. This is
       up to twice as fast. Losses move by about 1e-4 of their value. */
    PRUNE_COMPUTE_BFLOAT16 = 2
};

/* Called exactly once, when the library no longer uses what the host lent it; on any thread. It
   must not call the library. */
typedef void (*prune_close_fn)(void *user_data);

/*
 * Where the weights of a model that is opened from a directory are.
 *
 * MAPPED suits files that stay as they are while the model is open. A file that another takes the
 * place of (by rename), or that is deleted, does no harm: the model keeps the old one. If a file
 * is written over or cut short in place, the calls that read its weights fail with PRUNE_ERR_FILE,
 * which names it; open the model again. They look at size and time of each file before and after
 * every sublayer. Two things go unseen. A file that is cut short while a sublayer is computed,
 * between two looks, still ends the process (SIGBUS), as the library leaves signal handlers
 * alone. And a file that is written over within the clock tick in which it was last written, a few
 * milliseconds, has the time that it had.
 *
 * MEMORY closes both gaps: choose it for network file systems, and for files that programs write
 * over in place. It takes as much memory as the files are large.
 */
typedef int32_t prune_weights;
enum {
    /* Mapped: read when they are needed, and not copied. */
    PRUNE_WEIGHTS_MAPPED = 0,
    /* Read into memory when the model is opened; the files may then change, or go. */
    PRUNE_WEIGHTS_MEMORY = 1
};

/* How a model is opened. */
typedef struct prune_model_options {
    uint32_t struct_size;
    /* Type that matrix products multiply in. 0 = what the environment variable PRUNECORE_COMPUTE
       says; where it is unset, bfloat16 for weights stored in bf16 on a CPU with AVX512-BF16,
       otherwise float32. */
    prune_compute compute;
    /* Called when the library no longer uses the tensors' memory. NULL = none. Only for
       prune_model_from_tensors() and prune_model_from_dlpack(). Calls under way, and models
       attached to this one, use the memory beyond prune_model_release(). Not called if no model was
       made. */
    prune_close_fn on_close;
    /* Argument of `on_close`. */
    void *user_data;
    /* Where the weights are. 0 = in mapped files; memory is for files that change or go. Only for
       prune_model_open(). */
    prune_weights weights;
    int32_t reserved; /* 0 */
} prune_model_options;
#define PRUNE_MODEL_OPTIONS_INIT { sizeof(prune_model_options), 0, NULL, NULL, 0, 0 }

/*
 * Opens a Hugging Face model directory: `config.json` and `model.safetensors`, or the shards that
 * `model.safetensors.index.json` names; or a GGUF file, or the first of those that a model is split
 * into. Weights stay memory-mapped in their stored type (bf16, fp16, fp32, or a quantised type of
 * GGUF), unless the options have them read into memory; see prune_weights for what files may do
 * while the model is open. prune_architectures() lists the families; docs/models.md says what each
 * can do, and docs/gguf.md what is read of GGUF files.
 *
 * Models that were pruned open, too, and their own mask says what they lack: what
 * prune_model_export() writes in any layout, adapters included; nemotron-nas with `block_configs`,
 * of others as well, with linear layers in the places of sublayers as adapters; `drop_attn_list`
 * and `drop_mlp_list` of LLM-Drop; and `skip` in `per_layer_config`, in any family. Adapters are
 * copied into memory as fp32; prune_model_adapters() gives them.
 *   directory   path of the directory or file
 *   options     NULL = defaults
 *   out_model   receives the handle; give it to prune_model_release()
 * Errors: PRUNE_ERR_ARGUMENT (also an unknown compute type in the options or in PRUNECORE_COMPUTE),
 * PRUNE_ERR_FILE, PRUNE_ERR_FORMAT (damaged files; missing tensors; wrong shapes),
 * PRUNE_ERR_UNSUPPORTED (architecture, element type, activation or rotary type; BFLOAT16 on a CPU
 * without instructions for it), PRUNE_ERR_MEMORY.
 */
prune_status prune_model_open(
    const char *directory, const prune_model_options *options, prune_model **out_model);

/* Gives a model back. NULL and a handle that was already released are allowed. */
void prune_model_release(prune_model *model);

/*
 * Gives a model as one that multiplies in another type, over the same weights; its mask and
 * adapters are those of `model`, which does not change and may be released before it.
 *   compute     PRUNE_COMPUTE_*
 *   out_model   receives the handle; give it to prune_model_release()
 * Errors: PRUNE_ERR_ARGUMENT (an unknown type), PRUNE_ERR_HANDLE, PRUNE_ERR_UNSUPPORTED (BFLOAT16
 * on a CPU without instructions for it; a host runs the model), PRUNE_ERR_MEMORY.
 */
prune_status prune_model_with_compute(
    const prune_model *model, prune_compute compute, prune_model **out_model);

/* What a model can do: bits of `abilities` in prune_model_shape. */
typedef uint32_t prune_abilities;
enum {
    /* Hidden states can be read or compared: static metrics work. */
    PRUNE_ABILITY_READ_STATES = 1,
    /* Weights can be read: the magnitude metric works. */
    PRUNE_ABILITY_MAGNITUDE = 2,
    /* prune_model_generate() works. */
    PRUNE_ABILITY_GENERATE = 4,
    /* Gradients can be computed: training and vjp work, and so does the taylor metric of native
       models. */
    PRUNE_ABILITY_GRADIENTS = 8,
    /* Sublayers can be removed one by one. Without it, a mask removes both of a block or
       neither. */
    PRUNE_ABILITY_SUBLAYERS = 16,
    /* The model runs sublayer by sublayer. Without it, only losses of whole masks can be
       computed. */
    PRUNE_ABILITY_STATES = 32
};

/* Shape of a model. Strings live as long as the handle. */
typedef struct prune_model_shape {
    uint32_t struct_size;
    prune_abilities abilities;
    /* Such as "LlamaForCausalLM". */
    const char *architecture;
    /* The type that most weights are stored in: "bf16", "fp16", "fp32", or a quantised one by its
       name in GGUF files in small letters, such as "q4_k". */
    const char *element_type;
    int64_t n_blocks;
    int64_t hidden_size;
    int64_t feed_forward_size;
    int64_t n_heads;
    int64_t n_kv_heads;
    int64_t head_size;
    int64_t vocabulary_size;
    /* Positions that the model was made for. Longer sequences are computed all the same. */
    int64_t context_length;
    /* 1 if the head uses the embedding matrix. */
    int64_t tied_embeddings;
    /* Parameters of the whole model, a tied matrix counted once. */
    int64_t parameters;
    /* Their bytes, as stored. */
    int64_t parameter_bytes;
    /* Bytes of keys and values per token, of all attention layers, in the type that the weights of
       keys and values are stored in. */
    int64_t kv_bytes;
    /* The type in use, never AUTOMATIC. */
    prune_compute compute;
    int32_t reserved; /* 0 */
} prune_model_shape;
#define PRUNE_MODEL_SHAPE_INIT \
    { sizeof(prune_model_shape), 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Describes a model. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_model_info(const prune_model *model, prune_model_shape *out_shape);

/* A sublayer, and what removing it saves. */
typedef struct prune_sublayer {
    /* 0 .. n_blocks - 1. */
    int64_t block;
    /* 0 = attention, 1 = feed-forward. */
    int64_t is_feed_forward;
    /* Parameters of its matrices, biases and norms, its pre-norm included. */
    int64_t parameters;
    /* Their bytes, as stored. */
    int64_t parameter_bytes;
    /* Bytes of keys and values per token; 0 for feed-forward. */
    int64_t kv_bytes;
    /* Attention: largest number of tokens that a query sees, itself included; 0 = all before it. */
    int64_t window;
} prune_sublayer;

/* Lists the 2 * n_blocks sublayers in order. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE,
   PRUNE_ERR_BUFFER. */
prune_status prune_model_sublayers(
    const prune_model *model, prune_sublayer *out_sublayers, size_t capacity, size_t *out_count);

/*
 * Describes what each sublayer of a model computes and where its weights are stored, as JSON:
 * {"format": "prunecore.plan", "version": 1, "architecture", "embedding", "sublayers": [{"name":
 * "attn.0", "before": {...}, "after", "last", "scale", "update": {"kind": "attention", ...}}],
 * "head"}. A later version may add members.
 *   out_text   receives UTF-8 with a NUL at the end; `capacity` and `out_count` count bytes, the
 *              NUL included
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_UNSUPPORTED (a host
 * runs the model).
 */
prune_status prune_model_plan(
    const prune_model *model, char *out_text, size_t capacity, size_t *out_count);

/*
 * Gives the text of config.json as it was read when the model was opened; of a GGUF file what
 * transformers would have in its place, made of the file's metadata.
 *   out_text   as in prune_model_plan()
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_UNSUPPORTED (the model
 * was not opened from a path).
 */
prune_status prune_model_config(
    const prune_model *model, char *out_text, size_t capacity, size_t *out_count);

/*
 * Lists the families of models that the library knows, as a JSON array with an object for each:
 * "name" (of `architectures` in config.json), "model_type", "is_computed" (whether
 * prune_model_open() takes it), "block_class" and "config_class" (of a block and of the
 * configuration in transformers), "attention" and "feed_forward" (the modules of a sublayer in a
 * block), and how they are put together. A later version may add members.
 *   out_text   as in prune_model_plan()
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_BUFFER.
 */
prune_status prune_architectures(char *out_text, size_t capacity, size_t *out_count);

/* How an element of a tensor is stored. */
typedef int32_t prune_element_type;
enum {
    PRUNE_ELEMENT_FLOAT32 = 0,
    PRUNE_ELEMENT_FLOAT16 = 1,
    PRUNE_ELEMENT_BFLOAT16 = 2
};

/* ================================================================================================
 * Data
 * ============================================================================================== */

/* Token sequences, immutable once created and not tied to a model. */
typedef struct prune_data prune_data;

/* How token sequences are read. */
typedef struct prune_data_options {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* Weight of each token: how much the loss of predicting it counts. Weights are finite and not
       negative. Nothing predicts the first token of a sequence, so its weight is unused. Static
       metrics score a sequence without weight, but it has no perplexity. NULL = all 1. */
    const float *token_weights;
} prune_data_options;
#define PRUNE_DATA_OPTIONS_INIT { sizeof(prune_data_options), 0, NULL }

/*
 * Copies token sequences.
 *   token_ids          all sequences one after the other; ids >= 0
 *   sequence_lengths   n_sequences lengths, each >= 1
 *   options            NULL = defaults
 * Whether the ids fit a model's vocabulary is checked when data and model meet.
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_DATA (no sequence, length < 1, negative id, bad weight),
 * PRUNE_ERR_MEMORY.
 */
prune_status prune_data_create(const int32_t *token_ids, const int64_t *sequence_lengths,
    size_t n_sequences, const prune_data_options *options, prune_data **out_data);

/* Gives data back. NULL and a handle that was already released are allowed. */
void prune_data_release(prune_data *data);

/* Counts the sequences and the tokens of a data set. Either output may be NULL. Errors:
   PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_data_info(const prune_data *data, int64_t *out_sequences, int64_t *out_tokens);

/* ================================================================================================
 * Masks: plain memory, uint8_t keep[2 * n_blocks]
 * ============================================================================================== */

/* What counts as one unit. */
typedef int32_t prune_granularity;
enum {
    PRUNE_GRANULARITY_SUBLAYER = 0,    /* 2 * n_blocks units; unit u is sublayer u */
    PRUNE_GRANULARITY_BLOCK = 1,       /* n_blocks units; unit i is sublayers 2i and 2i + 1 */
    PRUNE_GRANULARITY_ATTENTION = 2,   /* n_blocks units; unit i is sublayer 2i */
    PRUNE_GRANULARITY_FEED_FORWARD = 3 /* n_blocks units; unit i is sublayer 2i + 1 */
};

/*
 * Removes the units with the lowest scores.
 *   scores, n_scores   one influence per unit of the granularity, finite; higher = more important
 *   granularity        what the scores are about; n_scores is n_blocks, or 2 * n_blocks for
 *                      sublayers
 *   n_remove           units to remove, beyond those that keep_in already lacks
 *   keep_in            the mask to start from, n_keep bytes; NULL = everything kept. A unit of
 *                      which a sublayer is already removed stays as it is
 *   out_keep           receives n_keep bytes; may be keep_in
 *   n_keep             2 * n_blocks
 * Of equal scores, the lower index is removed first.
 * Errors: PRUNE_ERR_ARGUMENT (also if fewer than n_remove units are left), PRUNE_ERR_NONFINITE (the
 * text names the unit).
 */
prune_status prune_mask_remove_lowest(const double *scores, size_t n_scores,
    prune_granularity granularity, size_t n_remove, const uint8_t *keep_in, uint8_t *out_keep,
    size_t n_keep);

/* What a mask leaves of a model. */
typedef struct prune_cost {
    uint32_t struct_size;
    int32_t sublayers_removed;
    /* Parameters that are kept, embeddings and head included. */
    int64_t parameters;
    /* Their bytes, as stored. */
    int64_t parameter_bytes;
    /* Bytes of keys and values per token. */
    int64_t kv_bytes;
    /* Those of the parameters that one token meets: of a mixture of experts, the experts that are
       not chosen for it left out. */
    int64_t active_parameters;
} prune_cost;
#define PRUNE_COST_INIT { sizeof(prune_cost), 0, 0, 0, 0, 0 }

/*
 * Computes what a mask leaves of a model.
 *   keep, n_keep   NULL with 0 = the model's mask
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE.
 */
prune_status prune_model_cost(
    const prune_model *model, const uint8_t *keep, size_t n_keep, prune_cost *out_cost);

/*
 * Reads the model's own mask: 0 for sublayers that are no part of it, since it was pruned before it
 * was opened (see prune_model_open()) or given its adapters (see prune_model_attach()), else 1.
 * A sublayer in whose place an adapter stands is there: it is the adapter.
 *
 * What is not there costs nothing and leaves hidden states as they are. A mask that keeps it means
 * the same as one that removes it, and masks that come back from this library remove it.
 *   out_keep   receives 2 * n_blocks bytes
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_model_mask_own(
    const prune_model *model, uint8_t *out_keep, size_t capacity, size_t *out_count);

/*
 * Sets the mask that later calls on this model use when they are given none. A new model has its
 * own, which keeps all that is there.
 *   keep, n_keep   one byte per sublayer, 0 or 1; NULL with 0 = the model's own again
 * Errors: PRUNE_ERR_ARGUMENT (wrong length; a byte other than 0 and 1), PRUNE_ERR_HANDLE.
 */
prune_status prune_model_mask_set(prune_model *model, const uint8_t *keep, size_t n_keep);

/* Reads the model's mask. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER. */
prune_status prune_model_mask_get(
    const prune_model *model, uint8_t *out_keep, size_t capacity, size_t *out_count);

/*
 * Writes a mask as JSON: {"format": "prunecore.mask", "version": 1, "n_blocks", "removed":
 * ["attn.3", "ffn.7"], "provenance": {...}}.
 *   provenance_json   a JSON object that says where the mask comes from (method, metric, seed, data
 *                     hash); NULL = {}
 *   out_text          receives UTF-8 with a NUL at the end; `capacity` and `out_count` count bytes,
 *                     the NUL included
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_FORMAT (provenance is not a JSON object), PRUNE_ERR_BUFFER.
 */
prune_status prune_mask_to_json(const uint8_t *keep, size_t n_keep, const char *provenance_json,
    char *out_text, size_t capacity, size_t *out_count);

/*
 * Reads a mask from JSON as written by prune_mask_to_json().
 *   out_keep   receives 2 * n_blocks bytes
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_FORMAT (the text says what is wrong), PRUNE_ERR_UNSUPPORTED
 * (written by a later version; has edits: see below), PRUNE_ERR_BUFFER.
 */
prune_status prune_mask_from_json(
    const char *text, uint8_t *out_keep, size_t capacity, size_t *out_count);

/*
 * Edits: changes of the weights of sublayers that stay, as a mask removes others. A JSON array of
 * objects, each applied to what those before it made, and all before a mask removes anything.
 *
 *   {"kind": "merge", "into": 3, "from": [4, 5], "weight": 0.5}
 *       merges blocks into one: with f = weight, the matrices of block 3 and the biases of their
 *       products become W_3 + f (W_4 - W_3) + f (W_5 - W_3). With "rule": "running" they become
 *       W <- W + f (W_k - W) for k = 4, then 5. Its norms, window and positions stay. The mask
 *       removes blocks 4 and 5.
 *
 *   {"kind": "narrow", "feed_forward": {"0": [0, 1, 5], "7": [2, 3]}}
 *       leaves these neurons, ascending, of the feed-forwards of blocks 0 and 7: rows of gate and
 *       up with their biases, and columns of down. A quantised down keeps its type if whole blocks
 *       of its columns stay or go, and becomes bf16 else; all others keep theirs.
 */

/*
 * Gives the model after some edits as a model of its own, on which every other function works. What
 * edits change takes memory of its own, in the type in which it is stored; quantised weights become
 * bf16. All else is shared with `model`, which does not change, and may be released before it. The
 * new model is exported wherever `model` can be; prunecore.json then has the edits.
 * Errors: PRUNE_ERR_ARGUMENT (a block that the model does not have), PRUNE_ERR_HANDLE,
 * PRUNE_ERR_FORMAT (the text says which edit, which member), PRUNE_ERR_UNSUPPORTED (a kind of a
 * later version; blocks whose weights differ in shape; a model of a host, or with adapters),
 * PRUNE_ERR_NONFINITE (fp16 cannot hold a result), PRUNE_ERR_FILE, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_edit(
    const prune_model *model, const char *edits_json, prune_model **out_model);

/*
 * Lists the weights that the library holds itself in the places of those of the checkpoint: what
 * edits changed. A JSON array with an object for each: "name", "element_type" ("fp32", "fp16",
 * "bf16", or that of a quantised tensor, of which rows or whole blocks are left) and "shape". A
 * later version may add members.
 *   out_text   as in prune_model_plan()
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_model_own_weights(
    const prune_model *model, char *out_text, size_t capacity, size_t *out_count);

/*
 * Copies one of those weights, row-major and without gaps.
 *   out_bytes   `capacity` and `out_count` count bytes
 * Errors: PRUNE_ERR_ARGUMENT (there is none of that name), PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_model_own_weight(const prune_model *model, const char *name, void *out_bytes,
    size_t capacity, size_t *out_count);

/*
 * Writes a mask with the edits that go with it: as prune_mask_to_json(), with "edits" and a
 * "version" of 2 where there are any. prune_mask_from_json() refuses such a text: the mask alone
 * would be that of another model.
 *   edits_json   NULL or [] = none
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_FORMAT, PRUNE_ERR_UNSUPPORTED, PRUNE_ERR_BUFFER.
 */
prune_status prune_edited_mask_to_json(const uint8_t *keep, size_t n_keep, const char *edits_json,
    const char *provenance_json, char *out_text, size_t capacity, size_t *out_count);

/*
 * Reads a mask, and the edits that go with it: of any text that prune_mask_to_json() or
 * prune_edited_mask_to_json() wrote. Give the edits to prune_model_edit(); the mask is for the
 * model that it makes.
 *   out_keep    receives 2 * n_blocks bytes
 *   out_edits   receives a JSON array, [] for none, with a NUL at the end; `edits_capacity` and
 *               `out_edits_count` count bytes, the NUL included
 * Errors: as prune_mask_from_json(). PRUNE_ERR_BUFFER sets both counts.
 */
prune_status prune_edited_mask_from_json(const char *text, uint8_t *out_keep, size_t capacity,
    size_t *out_count, char *out_edits, size_t edits_capacity, size_t *out_edits_count);

/* ================================================================================================
 * Scores
 * ============================================================================================== */

/*
 * Metrics, as bits; higher = more important for every one. The first six are computed per token and
 * averaged over all tokens of all sequences: h is the hidden state before a unit, g the one after
 * it, and u = g - h. Definitions and sources: docs/metrics.md.
 */
typedef uint64_t prune_metrics;
enum {
    /* 1 - cos(h, g): block influence. */
    PRUNE_METRIC_COSINE = 1,
    /* arccos(cos(h, g)) / pi. */
    PRUNE_METRIC_ANGULAR = 2,
    /* ||u||_1. */
    PRUNE_METRIC_L1 = 4,
    /* ||u||_2. */
    PRUNE_METRIC_L2 = 8,
    /* ||u||_1 / ||h||_1, or / ||g||_1: see `relative_to`. */
    PRUNE_METRIC_RELATIVE_L1 = 16,
    /* ||u||_2 / ||h||_2, or / ||g||_2. */
    PRUNE_METRIC_RELATIVE_L2 = 32,
    /* Sum of |w| over the unit's matrices. It needs no data. */
    PRUNE_METRIC_MAGNITUDE = 64,
    /* Loss without the unit - loss with it. */
    PRUNE_METRIC_LEAVE_ONE_OUT_LOSS = 128,
    /* Mean over predicting tokens of ||logits with the unit - logits without it||_2. */
    PRUNE_METRIC_LEAVE_ONE_OUT_LOGIT_L2 = 256,
    /* Sum over the unit's matrices of |w * d(loss)/dw|: a forward and a backward pass. */
    PRUNE_METRIC_TAYLOR = 512,
    /* The bits below stand for several metrics, those included that the library has and this header
       does not know. prune_metric_info() names them. */
    /* All that come from hidden states: cosine to relative_l2. One forward pass computes them. */
    PRUNE_METRIC_ALL_OF_STATES = 1 << 28,
    /* The same and magnitude. */
    PRUNE_METRIC_ALL_STATIC = 1 << 29,
    /* All of them. Taylor needs PRUNE_ABILITY_GRADIENTS. */
    PRUNE_METRIC_ALL = 1 << 30
};

/* What is true of a metric: bits of `facts` in prune_metric_facts. */
typedef uint32_t prune_facts;
enum {
    PRUNE_FACT_STATIC = 1,          /* PRUNE_METRIC_ALL_STATIC includes it */
    PRUNE_FACT_OF_STATES = 2,       /* PRUNE_METRIC_ALL_OF_STATES includes it; statistics have it */
    PRUNE_FACT_NEEDS_DATA = 4,      /* prune_model_score() needs data for it */
    PRUNE_FACT_NEEDS_WEIGHTS = 8,   /* the model needs PRUNE_ABILITY_MAGNITUDE */
    PRUNE_FACT_NEEDS_GRADIENTS = 16 /* the model needs PRUNE_ABILITY_GRADIENTS */
};

/* What a metric is. Strings are static. */
typedef struct prune_metric_facts {
    uint32_t struct_size;
    prune_facts facts;
    /* Its PRUNE_METRIC_* bit. */
    prune_metrics bit;
    /* Its name in Python and on the command line, such as "relative_l2". */
    const char *name;
    /* Its formula, such as "||u||_2". */
    const char *formula;
} prune_metric_facts;
#define PRUNE_METRIC_FACTS_INIT { sizeof(prune_metric_facts), 0, 0, NULL, NULL }

/* Number of metrics that the library has. */
size_t prune_metric_count(void);

/*
 * Describes a metric of the library.
 *   index   0 .. prune_metric_count() - 1. Metrics are in ascending order of their bits, which is
 *           the order of the rows of scores
 * Errors: PRUNE_ERR_ARGUMENT.
 */
prune_status prune_metric_info(size_t index, prune_metric_facts *out_facts);

/* The denominator of the relative metrics. */
typedef int32_t prune_relative_to;
enum {
    PRUNE_RELATIVE_TO_INPUT = 0, /* the hidden state before the unit */
    PRUNE_RELATIVE_TO_OUTPUT = 1 /* the hidden state after it */
};

/* The tokens that static metrics look at. */
typedef int32_t prune_tokens;
enum {
    PRUNE_TOKENS_ALL = 0,
    PRUNE_TOKENS_LAST = 1 /* the last one of each sequence (arXiv 2403.17887) */
};

/* How scores are computed. */
typedef struct prune_score_options {
    uint32_t struct_size;
    /* What counts as one unit. 0 = sublayers. */
    prune_granularity granularity;
    /* Metrics to compute. 0 = all static metrics, without magnitude if the model's weights cannot
       be read. */
    prune_metrics metrics;
    /* Denominator of the relative metrics: the hidden state before a unit (input) or after it
       (output). 0 = input. */
    prune_relative_to relative_to;
    /* Tokens that static metrics look at: all, or the last of each sequence. 0 = all. */
    prune_tokens tokens;
    /* Mask under which the model is scored. A unit that the mask removes entirely scores 0 in every
       metric that needs data. NULL = the model's mask. */
    const uint8_t *keep;
    /* Length of `keep`: 2 * n_blocks, or 0 with NULL. */
    size_t n_keep;
    /* Largest number of tokens computed together. A longer sequence is a batch of its own.
       0 = chosen by the library. */
    int64_t batch_tokens;
    /* Called as the work advances. NULL = none. */
    prune_progress_fn progress;
    /* First argument of `progress`. */
    void *user_data;
} prune_score_options;
#define PRUNE_SCORE_OPTIONS_INIT { sizeof(prune_score_options), 0, 0, 0, 0, NULL, 0, 0, NULL, NULL }

/*
 * Scores every unit of a model: static metrics in one forward pass, leave-one-out in one more pass
 * per unit, taylor in one pass forward and backward, or in several if memory holds the gradients of
 * only some layers at a time.
 *   data         NULL is allowed if magnitude is the only metric
 *   options      NULL = defaults
 *   out_scores   one row per requested metric, in ascending order of its bit; one column per unit
 *   capacity     doubles that fit in out_scores; out_count = metrics * units
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_DATA,
 * PRUNE_ERR_NONFINITE, PRUNE_ERR_UNSUPPORTED (magnitude or taylor of a model without that ability),
 * PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_score(const prune_model *model, const prune_data *data,
    const prune_score_options *options, double *out_scores, size_t capacity, size_t *out_count);

/*
 * Neurons of the feed-forward of each block: the values inside it, which its last projection reads.
 *   keep         NULL = the model's mask; n_keep is 2 * n_blocks, or 0 with NULL
 *   out_counts   n_blocks values; 0 where the mask removes the feed-forward, or an adapter or
 *                nothing stands there
 *   capacity     values that fit in out_counts; out_count = n_blocks
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_UNSUPPORTED (a mixture
 * of experts; a model that a host runs).
 */
prune_status prune_model_neuron_counts(const prune_model *model, const uint8_t *keep, size_t n_keep,
    int64_t *out_counts, size_t capacity, size_t *out_count);

/* How neurons are scored. */
typedef struct prune_neuron_options {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* Mask under which the model is run. NULL = the model's mask. */
    const uint8_t *keep;
    /* Length of `keep`: 2 * n_blocks, or 0 with NULL. */
    size_t n_keep;
    /* Largest number of tokens computed together. A longer sequence is a batch of its own.
       0 = chosen by the library. */
    int64_t batch_tokens;
    /* Called as the work advances. NULL = none. */
    prune_progress_fn progress;
    /* First argument of `progress`. */
    void *user_data;
} prune_neuron_options;
#define PRUNE_NEURON_OPTIONS_INIT { sizeof(prune_neuron_options), 0, NULL, 0, 0, NULL, NULL }

/*
 * Scores every neuron of every feed-forward, in one forward pass; higher = more important. With h_j
 * what neuron j gives:
 *   out_norms           mean over sequences of the L2 norm of h_j over the tokens of a sequence
 *                       (2SSP, arXiv 2501.17771)
 *   out_contributions   root mean square of h_j over all tokens, times the L2 norm of the column of
 *                       the last projection that it meets
 *   options             NULL = defaults
 *   capacity            doubles that fit in each of the two; out_count = the sum of
 *                       prune_model_neuron_counts() of the mask, block by block
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_DATA,
 * PRUNE_ERR_NONFINITE, PRUNE_ERR_UNSUPPORTED (a mixture of experts; a model that a host runs),
 * PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_neuron_scores(const prune_model *model, const prune_data *data,
    const prune_neuron_options *options, double *out_norms, double *out_contributions,
    size_t capacity, size_t *out_count);

/* ================================================================================================
 * Evaluation
 * ============================================================================================== */

/* How masks are evaluated. */
typedef struct prune_evaluate_options {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* Largest number of tokens computed together. A longer sequence is a batch of its own.
       0 = chosen by the library. */
    int64_t batch_tokens;
    /* Called as the work advances. NULL = none. */
    prune_progress_fn progress;
    /* First argument of `progress`. */
    void *user_data;
} prune_evaluate_options;
#define PRUNE_EVALUATE_OPTIONS_INIT { sizeof(prune_evaluate_options), 0, 0, NULL, NULL }

/* How well a model predicts a data set under one mask. */
typedef struct prune_evaluation {
    /* Weighted mean over all predicted tokens, in nats. */
    double loss;
    /* exp(loss): pooled over tokens. */
    double perplexity;
    /* Mean over sequences of exp(mean loss of the sequence), as the paper computes it. */
    double sequence_perplexity;
    /* Sum of the weights of the predicted tokens. */
    double weight;
    /* Predicted tokens with a weight above 0. */
    int64_t tokens;
    /* Sequences that have such a token. */
    int64_t sequences;
} prune_evaluation;

/*
 * Evaluates a model under each of n_masks masks. A pruning curve is one call with nested masks.
 *   keep_masks, n_masks, n_keep   n_masks masks one after the other. n_keep is the length of one
 *                                 mask, 2 * n_blocks bytes; the array has n_masks * n_keep. NULL
 *                                 with n_masks = 1 and n_keep = 0: the model's mask
 *   options                       NULL = defaults
 *   out_evaluations               n_masks of them
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_DATA (an id outside the vocabulary;
 * nothing to predict), PRUNE_ERR_NONFINITE, PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_evaluate(const prune_model *model, const prune_data *data,
    const uint8_t *keep_masks, size_t n_masks, size_t n_keep, const prune_evaluate_options *options,
    prune_evaluation *out_evaluations);

/*
 * Computes the loss of every token under a mask: out_losses[t] = -log p(token t | those before it
 * in its sequence), in nats, not weighted; 0 for the first token of each sequence.
 *   keep, n_keep   NULL with 0 = the model's mask
 *   capacity       number of tokens of the data
 * Errors: as prune_model_evaluate(), and PRUNE_ERR_BUFFER.
 */
prune_status prune_model_token_losses(const prune_model *model, const prune_data *data,
    const uint8_t *keep, size_t n_keep, const prune_evaluate_options *options, float *out_losses,
    size_t capacity, size_t *out_count);

/*
 * Computes the logits of every token under a mask: row t holds the vocabulary_size logits that
 * predict the token after t. It is meant for checks and small data: tokens * vocabulary_size
 * floats. Arguments and errors: as prune_model_token_losses().
 */
prune_status prune_model_logits(const prune_model *model, const prune_data *data,
    const uint8_t *keep, size_t n_keep, const prune_evaluate_options *options, float *out_logits,
    size_t capacity, size_t *out_count);

/*
 * Reads hidden states on the residual stream under a mask: row t holds the hidden_size values of
 * token t before sublayer `sublayer`; 2 * n_blocks = after the last one, before the final norm.
 * Other arguments and errors: as prune_model_token_losses().
 */
prune_status prune_model_hidden_states(const prune_model *model, const prune_data *data,
    const uint8_t *keep, size_t n_keep, int64_t sublayer, const prune_evaluate_options *options,
    float *out_states, size_t capacity, size_t *out_count);

/* ================================================================================================
 * Measures: what damage is measured by
 * ============================================================================================== */

/* Quantities of a masked model, lower = better. The value of a measure under a mask is the damage
   that the mask does. Definitions: docs/shapley.md. */
typedef int32_t prune_measure;
enum {
    /* Mean negative log-likelihood per predicted token, in nats. */
    PRUNE_MEASURE_LOSS = 0,
    /* Mean over predicting tokens of ||logits - reference logits||_2. */
    PRUNE_MEASURE_LOGIT_L2 = 1,
    /* Mean KL divergence of the next-token distribution from the reference's, in nats. */
    PRUNE_MEASURE_KL = 2,
    /* Mean Jensen-Shannon divergence between the two, in nats; at most ln 2. */
    PRUNE_MEASURE_JS = 3,
    /* Share of multiple-choice items answered wrongly. */
    PRUNE_MEASURE_CHOICE_ERROR = 4,
    /* Mean over items of -log softmax over the candidates' scores, at the answer. */
    PRUNE_MEASURE_CHOICE_LOSS = 5
};

/* Special values of the option `cap`. */
#define PRUNE_CAP_DEFAULT 0.0 /* ln(vocabulary_size) for the loss in games; otherwise none */
#define PRUNE_CAP_NONE (-1.0) /* values as they are */

/* How damage is measured: by prune_model_damages(), in games and in searches. */
typedef struct prune_coalition_options {
    uint32_t struct_size;
    /* Quantity that damage is measured by; lower = better. 0 = loss. */
    prune_measure measure;
    /* Largest value that counts: a damage above the cap counts as the cap. 0 = ln(vocabulary_size)
       for the loss in games, otherwise no cap. -1 = no cap. */
    double cap;
    /* Mask of the reference, whose logits the distances are taken to. NULL = the model's own
       (prune_model_mask_own()). */
    const uint8_t *reference;
    /* Length of `reference`: 2 * n_blocks, or 0 with NULL. */
    size_t n_reference;
    /* Largest number of tokens computed together. A longer sequence is a batch of its own.
       0 = chosen by the library. */
    int64_t batch_tokens;
    /* Largest number of bytes for hidden states, those in use included. Masks that do not fit
       together are evaluated one after the other, and states that do not fit even then are computed
       again. The states of one batch before and after a sublayer, and of the reference, are held in
       any case. 0 = a quarter of the free memory. */
    int64_t memory_budget;
    /* Called as the work advances. NULL = none. */
    prune_progress_fn progress;
    /* First argument of `progress`. */
    void *user_data;
} prune_coalition_options;
#define PRUNE_COALITION_OPTIONS_INIT \
    { sizeof(prune_coalition_options), 0, 0.0, NULL, 0, 0, 0, NULL, NULL }

/* ================================================================================================
 * Search: what to remove under a budget
 *
 * A search hands out masks, receives the damage that each does, and ends with the mask that it
 * chooses and the path that led to it. Masks may be evaluated anywhere and in any order: ask and
 * tell. prune_model_search() does all of it on one model. The same seed and the same damages give
 * the same masks. docs/search.md compares the strategies.
 * ============================================================================================== */

/* A search under way. Not const: one thread at a time. */
typedef struct prune_search prune_search;

/* How a search chooses. A unit is what the granularity counts. */
typedef int32_t prune_strategy;
enum {
    /* PRUNE_STRATEGY_GREEDY. */
    PRUNE_STRATEGY_DEFAULT = 0,
    /* Removes units by ascending score, computed once. */
    PRUNE_STRATEGY_ONE_SHOT = 1,
    /* Removes the unit that does the least damage, then the next one: SLEB (arXiv 2402.09025) for
       blocks, BlockPruner (2406.10594) and FinerCut (2405.18218) for sublayers. It then exchanges
       removed units for kept ones as long as that lowers the damage. */
    PRUNE_STRATEGY_GREEDY = 2,
    /* Removes the run of contiguous units that does the least damage, or has the lowest score
       (2403.17887: angular distance). */
    PRUNE_STRATEGY_WINDOW = 3,
    /* Removes units from the last one on. */
    PRUNE_STRATEGY_TAIL = 4,
    /* (1 + offspring) evolution by exchanging units; offspring are selected on growing parts of the
       data: EvoPress (2410.14649). */
    PRUNE_STRATEGY_EVOLUTIONARY = 5,
    /* Removes random units, as a control. */
    PRUNE_STRATEGY_RANDOM = 6
};

/* Time that one token takes in one place of the model. */
typedef struct prune_token_time {
    double prefill_ms; /* as one of many tokens of a prompt */
    double decode_ms;  /* as the next one, after `context` tokens */
} prune_token_time;

/* How times are measured. */
typedef struct prune_time_options {
    uint32_t struct_size;
    /* Number of repetitions, of which the median counts. 0 = 5. */
    int32_t repetitions;
    /* Number of tokens of the measured prompt. 0 = 512. */
    int64_t prompt_tokens;
    /* Number of tokens before the one that is decoded. 0 = 512. */
    int64_t context;
    /* Called as the work advances. NULL = none. */
    prune_progress_fn progress;
    /* First argument of `progress`. */
    void *user_data;
} prune_time_options;
#define PRUNE_TIME_OPTIONS_INIT { sizeof(prune_time_options), 0, 0, 0, NULL, NULL }

/*
 * Measures, on this machine and with the threads of prune_threads_set(), the time that a token
 * takes in every sublayer.
 *   out_times   2 * n_blocks + 1 entries: the sublayers in order, then embeddings, final norm and
 *               head together
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_CANCELLED,
 * PRUNE_ERR_MEMORY, PRUNE_ERR_UNSUPPORTED (the model lacks PRUNE_ABILITY_GENERATE).
 */
prune_status prune_model_times(const prune_model *model, const prune_time_options *options,
    prune_token_time *out_times, size_t capacity, size_t *out_count);

/*
 * What a search may remove, and where it ends. All bounds that are set must hold. A search without
 * any bound but max_loss_increase or max_damage removes as much as these allow.
 */
typedef struct prune_search_options {
    uint32_t struct_size;
    /* How the search chooses what to remove. 0 = greedy. */
    prune_strategy strategy;
    /* What counts as one unit. 0 = sublayers. */
    prune_granularity granularity;
    int32_t reserved; /* 0 */
    /* Evolutionary, random: seed of the random draws. */
    uint64_t seed;

    /* Number of units to remove, exactly. Units that the starting mask lacks do not count. 0 = no
       such bound. */
    int64_t remove;
    /* Number of attention sublayers to remove, exactly. It needs units of sublayers, and cannot be
       combined with `remove`. Without `remove_feed_forward`, no feed-forward is removed. 0 = no
       such bound. */
    int64_t remove_attention;
    /* Number of feed-forward sublayers to remove, exactly. It needs units of sublayers, and cannot
       be combined with `remove`. Without `remove_attention`, no attention is removed. 0 = no such
       bound. */
    int64_t remove_feed_forward;
    /* Smallest share of the model's parameters to remove, below 1. 0 = no such bound. */
    double remove_parameters;
    /* Largest number of bytes of parameters that may remain. 0 = no such bound. */
    int64_t parameter_bytes;
    /* Largest number of bytes of keys and values per token that may remain. 0 = no such bound. */
    int64_t kv_bytes;
    /* Upper bound on milliseconds per prompt token. It holds for the sum of `times` over what
       remains. 0 = no such bound. */
    double prefill_ms;
    /* Upper bound on milliseconds per generated token. It holds for the sum of `times` over what
       remains. 0 = no such bound. */
    double decode_ms;
    /* Measured time per token of each sublayer, and of embeddings and head together. `prefill_ms`
       and `decode_ms` need it. NULL = none. The array is laid out as prune_model_times() writes
       it. */
    const prune_token_time *times;
    /* Length of `times`: 2 * n_blocks + 1, or 0 with NULL. */
    size_t n_times;
    /* Largest increase of the damage, as a share of the damage under the starting mask: 0.02 allows
       2 % more. It suits losses. 0 = no such bound. */
    double max_loss_increase;
    /* Upper bound on the damage. 0 = no such bound. */
    double max_damage;

    /* Mask that the search starts from. NULL = the model's own (prune_model_mask_own()). */
    const uint8_t *start;
    /* Length of `start`: 2 * n_blocks, or 0 with NULL. */
    size_t n_start;
    /* Sublayers that are never removed. NULL = none. One byte per sublayer, 1 = protected. */
    const uint8_t *protect;
    /* Length of `protect`: 2 * n_blocks, or 0 with NULL. */
    size_t n_protect;
    /* One shot, greedy, window: influence of each unit. Greedy uses them only with `candidates`.
       Window takes a table of angular distances, n_blocks rows of n_blocks. NULL = none. Where a
       strategy needs scores and has none, prune_model_search() computes them. The table is the
       array that prune_statistics_windows() writes. */
    const double *scores;
    /* Length of `scores`. */
    size_t n_scores;
    /* Greedy: number of units with the lowest scores that are tried at each step. 0 = all. */
    int64_t candidates;
    /* Greedy: number of rounds in a row without a better mask after which exchanges end. 0 = 3.
       -1 = no exchanges, as published. */
    int64_t exchanges;

    /* Evolutionary: number of offspring per generation. 0 = 32. */
    int64_t offspring;
    /* Evolutionary: number of generations. 0 = removed * kept / 1.5, as in EvoPress. */
    int64_t generations;
    /* Evolutionary: number of generations without a better parent after which the search ends.
       0 = no such end. */
    int64_t patience;
} prune_search_options;
#define PRUNE_SEARCH_OPTIONS_INIT                                                                \
    { sizeof(prune_search_options), 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0.0, 0.0, NULL, 0, 0.0, 0.0, \
        NULL, 0, NULL, 0, NULL, 0, 0, 0, 0, 0, 0 }

/*
 * Makes a search.
 *   model     the model whose sublayers have the costs; it is not kept
 *   options   copied, arrays included; NULL gives PRUNE_ERR_ARGUMENT, since a search needs a budget
 * Errors: PRUNE_ERR_ARGUMENT (an option out of range, or of another strategy; a budget that cannot
 * be met: the text says what is left when everything that may be removed is removed),
 * PRUNE_ERR_HANDLE, PRUNE_ERR_NONFINITE (a score), PRUNE_ERR_UNSUPPORTED (the model lacks
 * PRUNE_ABILITY_SUBLAYERS, and the units are not blocks).
 */
prune_status prune_search_create(
    const prune_model *model, const prune_search_options *options, prune_search **out_search);

/* Gives a search back. NULL and a handle that was already released are allowed. */
void prune_search_release(prune_search *search);

/* Called after every batch of masks. The search is consistent: it may be read and saved. Return 0
   to continue; any other value stops the call with PRUNE_ERR_CANCELLED. */
typedef int32_t (*prune_search_progress_fn)(void *user_data, const prune_search *search);

/* How a model runs a search. */
typedef struct prune_search_run_options {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* How damage is measured. There is no cap unless one is given. NULL = defaults. Its `progress`
       is called while a batch is evaluated. */
    const prune_coalition_options *coalitions;
    /* Metric of the scores that the strategy needs and that were not given. With
       leave_one_out_loss, windows are ranked by the damage of each run, which is also done where
       scores cannot be computed, and where the measure is not the loss. 0 = cosine, and angular for
       windows of blocks. One PRUNE_METRIC_* bit. */
    prune_metrics metric;
    /* Largest number of masks evaluated together. 0 = 64. */
    int64_t batch_masks;
    /* Called after every batch of masks. NULL = none. */
    prune_search_progress_fn on_batch;
    /* First argument of `on_batch`. */
    void *user_data;
} prune_search_run_options;
#define PRUNE_SEARCH_RUN_OPTIONS_INIT \
    { sizeof(prune_search_run_options), 0, NULL, 0, 0, NULL, NULL }

/*
 * Runs a search on a model until it is done: computes scores where they are missing, asks,
 * evaluates, tells. It resumes where the search stands.
 *   data      EVOLUTIONARY evaluates on parts of it if it has 16 sequences or more
 *   search    made for a model with as many blocks
 *   options   NULL = defaults
 * Errors: those of prune_model_damages() and prune_model_score(); PRUNE_ERR_CANCELLED. After every
 * error the search is consistent and can be resumed or saved.
 */
prune_status prune_model_search(const prune_model *model, const prune_data *data,
    prune_search *search, const prune_search_run_options *options);

/* Reads the mask that the search would choose now: 2 * n_blocks bytes. Errors: PRUNE_ERR_ARGUMENT,
   PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER. */
prune_status prune_search_mask(
    const prune_search *search, uint8_t *out_keep, size_t capacity, size_t *out_count);

/* Where a search stands. */
typedef struct prune_search_state {
    uint32_t struct_size;
    /* The strategy in use, never DEFAULT. */
    prune_strategy strategy;
    /* 1 if the search will not ask for anything more. */
    int32_t done;
    /* 1 if the mask meets the budget. */
    int32_t met;
    int64_t n_blocks;
    /* Masks that the search asked for. */
    int64_t asked;
    /* Damages that it was told. */
    int64_t told;
    /* Units that the mask removes beyond `start`. */
    int64_t removed;
    /* Entries of the path. */
    int64_t steps;
    /* Damage of `start`; NaN until told. ONE_SHOT, TAIL and RANDOM ask for it only if a bound needs
       it. */
    double start_damage;
    /* Damage of the mask, on all data; NaN until told. */
    double damage;
    /* In searches that prune_model_search() ran: as in prune_walk_report. */
    int64_t sublayers_computed;
    /* The same if each mask were evaluated by itself. */
    int64_t sublayers_naive;
} prune_search_state;
#define PRUNE_SEARCH_STATE_INIT \
    { sizeof(prune_search_state), 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0 }

/* Reads where a search stands. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_search_info(const prune_search *search, prune_search_state *out_state);

/* A step of the path. */
typedef struct prune_search_step {
    /* The unit that this step removed; -1 if several changed, as with EVOLUTIONARY and WINDOW. */
    int64_t unit;
    /* Units that are removed after it. */
    int64_t removed;
    /* Damage after it; NaN if it was not told. */
    double damage;
    /* Parameters that remain. */
    int64_t parameters;
    int64_t parameter_bytes;
    /* Bytes of keys and values per token that remain. */
    int64_t kv_bytes;
    /* Damages told up to this step. */
    int64_t told;
} prune_search_step;

/*
 * Reads the path: the start, then each removal, or the parent of each generation.
 *   out_steps   the steps; NULL with capacity 0 = not wanted
 *   out_masks   the masks after them: 2 * n_blocks bytes each; NULL = not wanted
 *   capacity    steps that fit in either
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_search_path(const prune_search *search, prune_search_step *out_steps,
    uint8_t *out_masks, size_t capacity, size_t *out_count);

/*
 * Asks for masks whose damage is needed next. Masks that were asked for and not told are not handed
 * out again, except after prune_search_load().
 *   most        masks that fit in out_masks: most * 2 * n_blocks bytes
 *   out_count   how many were handed out: 0 if the search is done, or waits for earlier answers
 *   out_share   share of the data to evaluate these masks on: its first sequences. It is below 1
 *               only for EVOLUTIONARY. NULL = not wanted: the search then asks only for shares of
 *               1. The first call decides this
 * Errors: PRUNE_ERR_ARGUMENT (also a search that needs scores and has none; out_share is NULL
 * although the first call had it, and such a share is due), PRUNE_ERR_HANDLE.
 */
prune_status prune_search_ask(
    prune_search *search, size_t most, uint8_t *out_masks, size_t *out_count, double *out_share);

/*
 * Tells the damages of n_masks masks that were asked for: all of them or, on failure, none.
 * Errors: PRUNE_ERR_ARGUMENT (a mask that was not asked for, or was told before), PRUNE_ERR_HANDLE,
 * PRUNE_ERR_NONFINITE.
 */
prune_status prune_search_tell(
    prune_search *search, const uint8_t *masks, const double *damages, size_t n_masks);

/*
 * Saves a search as bytes, with a version and a checksum. After loading, the search asks again for
 * what was asked for and not told. `capacity` and `out_count` count bytes.
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_search_save(
    const prune_search *search, uint8_t *out_bytes, size_t capacity, size_t *out_count);

/* Loads a saved search, which continues as if it had never stopped. Errors: PRUNE_ERR_ARGUMENT,
   PRUNE_ERR_FORMAT (damaged), PRUNE_ERR_UNSUPPORTED (written by a later version). */
prune_status prune_search_load(const uint8_t *bytes, size_t n_bytes, prune_search **out_search);

/* How the weights of blocks are merged into the lowest of them, with f the weight of the merge. */
typedef int32_t prune_merge_rule;
enum {
    PRUNE_MERGE_RUNNING = 0, /* W <- W + f (W_k - W), from the lowest block up */
    PRUNE_MERGE_SUM = 1      /* W_low + sum of f (W_k - W_low) */
};

/* What sliding layer merging is asked for. */
typedef struct prune_merge_options {
    uint32_t struct_size;
    /* How weights are merged. With RUNNING and a weight of 1 those of the topmost block remain. */
    prune_merge_rule rule;
    /* Similarity that the model must exceed after each merge, a cosine. Unused with `remove`. 0 =
       0.7. */
    double threshold;
    /* Weight f of the blocks that are merged. 0 = 1. */
    double weight;
    /* Number of blocks to remove: the threshold is then the highest that removes as many. 0 = as
       many as the threshold lets. */
    int64_t remove;
    /* Blocks that are in no merge. NULL = the last one alone. One byte per block, 1 = protected. */
    const uint8_t *protect;
    /* Length of `protect`: n_blocks, or 0 with NULL. */
    size_t n_protect;
    /* Largest number of tokens computed together. 0 = 2048. */
    int64_t batch_tokens;
    /* Largest number of bytes of hidden states that are kept; others are computed again. 0 = a
       quarter of the free memory. */
    int64_t memory_budget;
    /* Called as the work advances. NULL = none. */
    prune_progress_fn progress;
    /* First argument of `progress`. */
    void *user_data;
} prune_merge_options;
#define PRUNE_MERGE_OPTIONS_INIT \
    { sizeof(prune_merge_options), 0, 0.0, 0.0, 0, NULL, 0, 0, 0, NULL, NULL }

/* What sliding layer merging found. */
typedef struct prune_merging prune_merging;

/*
 * Merges blocks from the top down while the model stays similar to itself (sliding layer merging,
 * arXiv 2502.19159): a window of blocks becomes one and grows downwards, until the similarity falls
 * to the threshold; the block that did not fit is the top of the next window. Similarity is the
 * cosine of the hidden states after the final norm, those of a sequence as one vector, averaged
 * over sequences. The model stays as it is, and its mask plays no part.
 *   out_merging   receives the handle; give it to prune_merging_release()
 * Errors: PRUNE_ERR_ARGUMENT (also if fewer than `remove` blocks can be merged), PRUNE_ERR_HANDLE,
 * PRUNE_ERR_DATA, PRUNE_ERR_UNSUPPORTED (a model of a host, or with adapters),
 * PRUNE_ERR_NONFINITE, PRUNE_ERR_CANCELLED, PRUNE_ERR_FILE, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_merge(const prune_model *model, const prune_data *data,
    const prune_merge_options *options, prune_merging **out_merging);

/*
 * Gives what was found as JSON: {"mask": {...}, "similarity", "threshold", "evaluated", "steps":
 * [{"low", "high", "similarity", "accepted"}]}. "mask" is what prune_edited_mask_from_json() reads;
 * "similarity" that of the model it makes; "evaluated" counts merged models that were run; "steps"
 * are those of the threshold. A later version may add members.
 *   out_text   as in prune_model_plan()
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_merging_to_json(
    const prune_merging *merging, char *out_text, size_t capacity, size_t *out_count);

/* Gives it back. NULL and a handle that was already released are allowed. */
void prune_merging_release(prune_merging *merging);

/* ================================================================================================
 * Recovery: adapters that emulate what was removed
 *
 * An adapter stands in the place of a removed sublayer and adds to the hidden state h of every
 * token
 *
 *     bias + matrix * x,    x = norm(h), or h itself
 *
 * with the norm of the sublayer that it emulates. It is solved in closed form, by ridge regression
 * on x of the update that the sublayer made, or it is trained. docs/recovery.md has the formulas
 * and compares the kinds.
 * ============================================================================================== */

/* Adapters for the removed sublayers of one model, and the mask that removes them. */
typedef struct prune_adapters prune_adapters;

/* What an adapter consists of. */
typedef int32_t prune_adapter_kind;
enum {
    /* PRUNE_ADAPTER_LOW_RANK. */
    PRUNE_ADAPTER_DEFAULT = 0,
    /* The bias alone: it emulates the mean update (arXiv 2407.16286). */
    PRUNE_ADAPTER_BIAS = 1,
    /* matrix = up * down, of rank `rank`. */
    PRUNE_ADAPTER_LOW_RANK = 2,
    /* A full matrix, hidden_size x hidden_size. */
    PRUNE_ADAPTER_LINEAR = 3
};

/* What adapters are fitted to. */
typedef int32_t prune_objective;
enum {
    /* Least squares of each update by itself; solved, not trained. */
    PRUNE_OBJECTIVE_CLOSED_FORM = 0,
    /* Mean squared difference between the hidden state after the last sublayer and the full
       model's, divided by the mean square of the full model's. */
    PRUNE_OBJECTIVE_MSE = 1,
    /* Loss of the next tokens. */
    PRUNE_OBJECTIVE_CE = 2,
    /* KL(full model || recovered model) of the next-token distributions. */
    PRUNE_OBJECTIVE_KL = 3,
    /* Jensen-Shannon divergence of the two. */
    PRUNE_OBJECTIVE_JS = 4
};

/* What the matrix of an adapter is applied to. */
typedef int32_t prune_input;
enum {
    PRUNE_INPUT_NORMED = 0, /* norm(h), with the norm of the emulated sublayer */
    PRUNE_INPUT_RAW = 1     /* h */
};

/* The hidden states that the closed form learns from. */
typedef int32_t prune_stream;
enum {
    /* Those of the model pruned and recovered so far, one sublayer after the other: an adapter
       learns to bring the state that reaches it back to the full model's. */
    PRUNE_STREAM_RECOVERED = 0,
    /* The full model's: one pass for all sublayers. */
    PRUNE_STREAM_FULL_MODEL = 1
};

/* Which sublayers get an adapter when a whole block is removed. */
typedef int32_t prune_slot;
enum {
    PRUNE_SLOT_ATTENTION = 0,    /* one that emulates the block, in the place of its attention */
    PRUNE_SLOT_FEED_FORWARD = 1, /* one that emulates the block, in the place of its feed-forward */
    PRUNE_SLOT_BOTH = 2          /* one for each of the two */
};

/* Where training starts. */
typedef int32_t prune_start;
enum {
    PRUNE_START_CLOSED_FORM = 0, /* with adapters solved in closed form */
    PRUNE_START_ZERO = 1         /* with adapters that add nothing */
};

/* How a training stands. */
typedef struct prune_training_progress {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* Steps done. */
    int64_t step;
    /* Steps in all. */
    int64_t steps;
    /* Objective of the last step. */
    double loss;
    /* Objective on the held-out tokens at the last evaluation. */
    double held_out_loss;
    /* The lowest held-out objective so far. */
    double best_loss;
    /* Learning rate of the last step. */
    double learning_rate;
    /* Trained tokens per second since the call began. */
    double tokens_per_second;
    /* Seconds since the call began. */
    double seconds;
} prune_training_progress;

/* Called after every step of training. Return 0 to continue; any other value stops the call with
   PRUNE_ERR_CANCELLED. */
typedef int32_t (*prune_training_progress_fn)(
    void *user_data, const prune_training_progress *progress);

/* How adapters are made. */
typedef struct prune_recover_options {
    uint32_t struct_size;
    /* Kind of adapter. 0 = low rank. */
    prune_adapter_kind kind;
    /* What adapters are fitted to: least squares in closed form, or an objective of training.
       0 = closed form. */
    prune_objective objective;
    /* Input of an adapter's matrix: the normed hidden state, or the raw one. 0 = normed. */
    prune_input input;
    /* Hidden states that the closed form learns from: those of the model recovered so far, or the
       full model's. 0 = recovered. */
    prune_stream stream;
    /* Where the adapter of a block that is removed entirely stands: in the place of its attention,
       of its feed-forward, or one in each. 0 = attention. */
    prune_slot block_slot;
    /* Training: adapters to start from, solved in closed form or zero. 0 = closed form. */
    prune_start start;
    int32_t reserved; /* 0 */
    /* Low rank: rank of the adapter's matrix. 0 = 16. -1 = chosen among powers of two by the loss
       on held-out tokens. */
    int64_t rank;
    /* Closed form: ridge added to the diagonal of the input's covariance, as a share of the
       diagonal's mean. 0 = chosen on held-out tokens. */
    double ridge;
    /* Held-out data, on which ridge, rank and the best step are chosen. NULL = a share of the
       data. */
    const prune_data *held_out;
    /* Share of the data's sequences to hold out, drawn by `seed`. It counts only without
       `held_out`. 0 = 0.1. */
    double held_out_share;
    /* Seed of the held-out share, the first weights and the batches. */
    uint64_t seed;
    /* Largest number of tokens computed together. A longer sequence is a batch of its own.
       0 = chosen by the library. */
    int64_t batch_tokens;
    /* Closed form: largest number of bytes of statistics. Sublayers that do not fit wait for
       another pass. 0 = a quarter of the free memory. */
    int64_t memory_budget;
    /* Training: adapters of the same mask to continue from. NULL = as `start` says. */
    const prune_adapters *initial;
    /* Training: number of steps. 0 = 300. */
    int64_t steps;
    /* Training: tokens per step, in whole sequences. 0 = 2048. */
    int64_t step_tokens;
    /* Training: highest learning rate. 0 = chosen by kind and hidden size. */
    double learning_rate;
    /* Training: weight decay of AdamW, on the adapters' matrices. 0 = none. */
    double weight_decay;
    /* Training: number of steps over which the learning rate rises. It then falls as a cosine.
       0 = a tenth of all steps. */
    int64_t warmup_steps;
    /* Training: largest norm of all gradients together. 0 = 1. -1 = no bound. */
    double clip_norm;
    /* Training: number of steps between evaluations of the held-out loss. 0 = a twentieth of all
       steps. */
    int64_t evaluate_every;
    /* Training: number of evaluations without a lower held-out loss after which training ends. The
       adapters of the best evaluation are kept in either case. 0 = no such end. */
    int64_t patience;
    /* Training: file that keeps its state, for save and resume. The file is written whole or not at
       all. If it exists, training resumes from it and ends with the same bits. NULL = none. */
    const char *checkpoint;
    /* Training: number of steps between checkpoints. 0 = at each evaluation of the held-out
       loss. */
    int64_t checkpoint_every;
    /* Training: called after every step. NULL = none. */
    prune_training_progress_fn on_step;
    /* Called as the work advances, also within the steps of training. NULL = none. */
    prune_progress_fn progress;
    /* First argument of both callbacks. */
    void *user_data;
} prune_recover_options;
#define PRUNE_RECOVER_OPTIONS_INIT                                                                \
    { sizeof(prune_recover_options), 0, 0, 0, 0, 0, 0, 0, 0, 0.0, NULL, 0.0, 0, 0, 0, NULL, 0, 0, \
        0.0, 0.0, 0, 0.0, 0, 0, NULL, 0, NULL, NULL, NULL }

/*
 * Makes adapters for every sublayer that a mask removes beyond those that the model lacks already.
 * Adapters that the model has are sublayers as any other: they stay where the mask keeps them, and
 * are emulated where it does not.
 *   data           what they learn from. Its token weights count in the objectives CE, KL and JS
 *   keep, n_keep   NULL with 0 = the model's mask
 *   options        NULL = defaults
 *   out_adapters   receives the handle; give it to prune_adapters_release()
 * Errors: PRUNE_ERR_ARGUMENT (the mask removes nothing; an option out of range; `initial` of
 * another mask or model), PRUNE_ERR_HANDLE, PRUNE_ERR_DATA (nothing to predict; too few sequences
 * to hold some out), PRUNE_ERR_NONFINITE (a loss or a gradient; the text names step and layer),
 * PRUNE_ERR_FILE, PRUNE_ERR_FORMAT (the checkpoint is damaged, or of another training),
 * PRUNE_ERR_CANCELLED (the checkpoint then holds the last step that was due), PRUNE_ERR_MEMORY,
 * PRUNE_ERR_UNSUPPORTED (training, and the model lacks PRUNE_ABILITY_GRADIENTS).
 */
prune_status prune_model_recover(const prune_model *model, const prune_data *data,
    const uint8_t *keep, size_t n_keep, const prune_recover_options *options,
    prune_adapters **out_adapters);

/*
 * Gives the adapters of a model that a mask keeps: of one that was opened with adapters, or that
 * they were attached to. A copy. Their mask is that of the sublayers that are run besides them.
 *   keep, n_keep   NULL with 0 = the model's mask
 *   out_adapters   receives the handle, which may hold none; give it to prune_adapters_release()
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_FILE (a file of the weights changed),
 * PRUNE_ERR_MEMORY.
 */
prune_status prune_model_adapters(
    const prune_model *model, const uint8_t *keep, size_t n_keep, prune_adapters **out_adapters);

/* Gives adapters back. NULL and a handle that was already released are allowed. Models that they
   are attached to keep them. */
void prune_adapters_release(prune_adapters *adapters);

/*
 * Attaches adapters: gives the recovered model as a model of its own, on which every other function
 * works. Its sublayer u is the adapter that stands there; nothing, if the adapters' mask removes u
 * and no adapter stands there; otherwise the sublayer of `model`, whose weights it shares. Keep
 * masks for it refer to its own sublayers: removing one that is an adapter removes the adapter.
 * Later changes of `adapters` do not reach it. Release it to detach. `model` itself does not
 * change, and may be released before it. It may have adapters: where the mask of the new ones keeps
 * such a sublayer, the earlier adapter stays.
 * Errors: PRUNE_ERR_ARGUMENT (the adapters are of another model), PRUNE_ERR_HANDLE,
 * PRUNE_ERR_MEMORY.
 */
prune_status prune_model_attach(
    const prune_model *model, const prune_adapters *adapters, prune_model **out_model);

/* A set of adapters, and how it was made. */
typedef struct prune_adapters_summary {
    uint32_t struct_size;
    /* The last objective that they were fitted to. */
    prune_objective objective;
    int64_t n_blocks;
    int64_t hidden_size;
    int64_t n_adapters;
    /* Parameters of all adapters, each fp32. */
    int64_t parameters;
    /* Tokens that the closed form learnt from. */
    int64_t statistics_tokens;
    /* Tokens trained on, repetitions counted. */
    int64_t trained_tokens;
    /* Steps of training that were done. */
    int64_t steps;
    /* The step whose adapters these are. */
    int64_t best_step;
    /* Objective on held-out tokens before training; NaN without training. */
    double held_out_before;
    /* Objective on held-out tokens of these adapters; NaN without training. */
    double held_out_best;
    /* Seconds that it took to make them. */
    double seconds;
} prune_adapters_summary;
#define PRUNE_ADAPTERS_SUMMARY_INIT \
    { sizeof(prune_adapters_summary), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0 }

/* Describes adapters. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_adapters_info(
    const prune_adapters *adapters, prune_adapters_summary *out_summary);

/* One adapter. */
typedef struct prune_adapter {
    /* The sublayer in whose place it stands. */
    int64_t sublayer;
    prune_adapter_kind kind;
    /* RAW for BIAS. */
    prune_input input;
    /* Rank of LOW_RANK; otherwise 0. */
    int64_t rank;
    int64_t parameters;
    /* Euclidean norm of the bias. */
    double bias_norm;
    /* Frobenius norm of the matrix; 0 for BIAS. */
    double matrix_norm;
    /* Ridge that the closed form used, as in prune_recover_options; NaN if there was none. */
    double ridge;
    /* Share of the update's variance on held-out tokens that the closed form explains; NaN if there
       was none. */
    double explained;
} prune_adapter;

/* Lists adapters by ascending sublayer. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE,
   PRUNE_ERR_BUFFER. */
prune_status prune_adapters_list(const prune_adapters *adapters, prune_adapter *out_adapters,
    size_t capacity, size_t *out_count);

/* Reads the mask that adapters were made for: 2 * n_blocks bytes. Errors: as
   prune_adapters_list(). */
prune_status prune_adapters_mask(
    const prune_adapters *adapters, uint8_t *out_keep, size_t capacity, size_t *out_count);

/* One evaluation of the losses during training. */
typedef struct prune_training_record {
    /* Steps done before it. */
    int64_t step;
    /* Mean objective of the steps since the previous evaluation; NaN at step 0. */
    double loss;
    /* Objective on the held-out tokens. */
    double held_out_loss;
} prune_training_record;

/* Lists the evaluations in order; none for adapters that were not trained. Errors: as
   prune_adapters_list(). */
prune_status prune_adapters_history(const prune_adapters *adapters,
    prune_training_record *out_records, size_t capacity, size_t *out_count);

/* The arrays of an adapter. */
typedef int32_t prune_part;
enum {
    PRUNE_PART_BIAS = 0,   /* hidden_size */
    PRUNE_PART_DOWN = 1,   /* LOW_RANK: rank x hidden_size */
    PRUNE_PART_UP = 2,     /* LOW_RANK: hidden_size x rank */
    PRUNE_PART_MATRIX = 3, /* LINEAR: hidden_size x hidden_size */
    PRUNE_PART_NORM =
        4, /* gain of its input's norm, hidden_size; none for BIAS and PRUNE_INPUT_RAW */
    PRUNE_PART_NORM_BIAS =
        5 /* bias of its input's norm, hidden_size; only of layer norms that have one */
};

/*
 * Reads an array of an adapter.
 * Errors: PRUNE_ERR_ARGUMENT (no adapter at the sublayer; its kind has no such part),
 * PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_adapters_get(const prune_adapters *adapters, int64_t sublayer, prune_part part,
    float *out_values, size_t capacity, size_t *out_count);

/*
 * Replaces an array of an adapter. The norm cannot be replaced.
 * Errors: PRUNE_ERR_ARGUMENT (also a wrong length), PRUNE_ERR_HANDLE, PRUNE_ERR_NONFINITE.
 */
prune_status prune_adapters_set(prune_adapters *adapters, int64_t sublayer, prune_part part,
    const float *values, size_t n_values);

/*
 * Saves adapters as a directory of two files: adapters.safetensors (fp32; "attn.3.bias",
 * "attn.3.down.weight", "attn.3.up.weight", "attn.3.linear.weight", "attn.3.norm.weight") and
 * adapters.json (mask, kinds, summary, provenance, and the first file's checksum). The directory is
 * made if it does not exist. Adapters that were there are replaced: whenever the process stops, the
 * older or the newer ones can be loaded.
 *   provenance_json   a JSON object kept with them; NULL = {}
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_FILE, PRUNE_ERR_FORMAT (provenance is not
 * a JSON object).
 */
prune_status prune_adapters_save(
    const prune_adapters *adapters, const char *directory, const char *provenance_json);

/* Loads saved adapters. Errors: PRUNE_ERR_FILE, PRUNE_ERR_FORMAT (names file and tensor),
   PRUNE_ERR_UNSUPPORTED (written by a later version). */
prune_status prune_adapters_load(const char *directory, prune_adapters **out_adapters);

/*
 * Folds adapters that are biases into the biases of sublayers before them. The result is exact if
 * no sublayer, and no adapter with an input, lies between the two.
 *   out_biases   2 * n_blocks rows of hidden_size values: what to add to the output bias of each
 *                kept sublayer; zeros elsewhere
 *   out_rest     receives the adapters that could not be folded, of the same mask; it may have none
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_adapters_fold(const prune_adapters *adapters, float *out_biases, size_t capacity,
    size_t *out_count, prune_adapters **out_rest);

/* ================================================================================================
 * Healing: training of weights that a mask keeps
 *
 * Head, final norm, norms, blocks, embedding, or all are trained. AdamW (betas 0.9 and 0.999) moves
 * them in fp32; the model computes with them in its own type. docs/healing.md has the formulas.
 * ============================================================================================== */

/* How a healing went. */
typedef struct prune_healing prune_healing;

/* How the learning rate falls after it has risen. */
typedef int32_t prune_schedule;
enum {
    PRUNE_SCHEDULE_LINEAR = 0,  /* a line down, that would end at 0 one step after the last */
    PRUNE_SCHEDULE_COSINE = 1,  /* half a cosine down, likewise */
    PRUNE_SCHEDULE_CONSTANT = 2 /* not at all */
};

/* How kept weights are trained. */
typedef struct prune_healing_options {
    uint32_t struct_size;
    /* PRUNE_OBJECTIVE_CE, _KL (KL(teacher || model)) or _JS. 0 = CE. */
    prune_objective objective;
    /* How the learning rate falls after it has risen. 0 = linear. */
    prune_schedule schedule;
    /* Whether a head that is one matrix with the embedding becomes a matrix of its own. 0 = no. */
    int32_t untie_head;
    /* Names of what is trained, with commas between: "head" (the matrix that makes the logits, and
       its bias), "final_norm", "norms" (those of all kept sublayers and the final one),
       "embedding", "last:K" (the last K blocks of which something is kept), "block.I", "attn.I",
       "ffn.I", "all". NULL = "head,final_norm,last:3". */
    const char *train;
    /* What KL and JS compare with, under its own mask: a model of the same vocabulary. NULL = the
       model itself as it is, with all its sublayers. */
    const prune_model *teacher;
    /* Number of steps. 0 = 100. */
    int64_t steps;
    /* Sequences of a step. 0 = 8. */
    int64_t batch_sequences;
    /* Highest learning rate. 0 = 1e-5. */
    double learning_rate;
    /* Weight decay of AdamW, on matrices. 0 = none. */
    double weight_decay;
    /* Number of steps over which the learning rate rises. 0 = a tenth of all steps. -1 = none. */
    int64_t warmup_steps;
    /* Largest norm of all gradients together. 0 = 1. -1 = no bound. */
    double clip_norm;
    /* Number of steps between evaluations of the held-out loss. 0 = a twentieth of all steps. */
    int64_t evaluate_every;
    /* Number of evaluations without a lower held-out loss after which training ends. The weights of
       the best evaluation are kept in either case. 0 = no such end. */
    int64_t patience;
    /* Held-out data, by which the best step is chosen. NULL = a share of the data. */
    const prune_data *held_out;
    /* Share of the data's sequences to hold out, drawn by `seed`. It counts only without
       `held_out`. 0 = 0.1. */
    double held_out_share;
    /* Seed of the held-out share and the batches. */
    uint64_t seed;
    /* Largest number of tokens computed together. A longer sequence is a batch of its own.
       0 = chosen by the library. */
    int64_t batch_tokens;
    /* File that keeps the state of training, for save and resume. The file is written whole or not
       at all. If it exists, training resumes from it and ends with the same bits. NULL = none. */
    const char *checkpoint;
    /* Number of steps between checkpoints. 0 = at each evaluation of the held-out loss. */
    int64_t checkpoint_every;
    /* Called after every step. NULL = none. */
    prune_training_progress_fn on_step;
    /* Called as the work advances, also within steps. NULL = none. */
    prune_progress_fn progress;
    /* First argument of both callbacks. */
    void *user_data;
} prune_healing_options;
#define PRUNE_HEALING_OPTIONS_INIT                                                                 \
    { sizeof(prune_healing_options), 0, 0, 0, NULL, NULL, 0, 0, 0.0, 0.0, 0, 0.0, 0, 0, NULL, 0.0, \
        0, 0, NULL, 0, NULL, NULL, NULL }

/*
 * Trains weights of what a mask keeps, and gives the model with them as a model of its own, on
 * which every other function works. It has all sublayers of `model`, whose other weights it shares
 * and which does not change; its mask is the one given. Adapters that the model has stay as they
 * are. Tensors that are trained are fp32 where the model multiplies in fp32; else they keep the
 * type that they are stored in, and quantised ones become bf16. Takes about 24 bytes of memory for
 * each number that is trained. The result does not depend on the number of threads.
 *   data           what is learnt from; its token weights count
 *   keep, n_keep   NULL with 0 = the model's mask. It may keep all.
 *   options        NULL = defaults
 *   out_model      receives the handle; give it to prune_model_release()
 *   out_healing    receives how it went; give it to prune_healing_release(). NULL = not wanted
 * Errors: PRUNE_ERR_ARGUMENT (an option out of range; a name of what the mask removes; a head that
 * is the embedding, without untie_head; a teacher of another vocabulary), PRUNE_ERR_HANDLE,
 * PRUNE_ERR_DATA (nothing to predict; too few sequences to hold some out), PRUNE_ERR_NONFINITE (a
 * loss or a gradient; the text names step and layer), PRUNE_ERR_FILE, PRUNE_ERR_FORMAT (the
 * checkpoint is damaged, or of another training), PRUNE_ERR_CANCELLED (the checkpoint then holds
 * the last whole step), PRUNE_ERR_MEMORY, PRUNE_ERR_UNSUPPORTED (a host runs model or teacher).
 */
prune_status prune_model_heal(const prune_model *model, const prune_data *data, const uint8_t *keep,
    size_t n_keep, const prune_healing_options *options, prune_model **out_model,
    prune_healing **out_healing);

/* Gives it back. NULL and a handle that was already released are allowed. */
void prune_healing_release(prune_healing *healing);

/* A healing as a whole. */
typedef struct prune_healing_summary {
    uint32_t struct_size;
    prune_objective objective;
    /* Numbers that were trained. */
    int64_t trained_parameters;
    /* Tokens of the sequences trained on, repetitions counted. */
    int64_t trained_tokens;
    /* Steps that were done. */
    int64_t steps;
    /* The step whose weights were kept; 0 = none was better than the start. */
    int64_t best_step;
    /* Objective on held-out tokens before the first step. */
    double loss_before;
    /* Objective on held-out tokens of the weights that were kept. */
    double loss_after;
    /* Seconds that it took, those before a checkpoint included. */
    double seconds;
} prune_healing_summary;
#define PRUNE_HEALING_SUMMARY_INIT { sizeof(prune_healing_summary), 0, 0, 0, 0, 0, 0.0, 0.0, 0.0 }

/* Describes a healing. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_healing_info(const prune_healing *healing, prune_healing_summary *out_summary);

/* One evaluation of the losses during a healing. */
typedef struct prune_healing_record {
    /* Steps done before it. */
    int64_t step;
    /* Learning rate of the last of them; NaN at step 0. */
    double learning_rate;
    /* Mean objective of the steps since the previous evaluation; NaN at step 0. */
    double loss;
    /* Objective on the held-out tokens. */
    double held_out_loss;
} prune_healing_record;

/* Lists the evaluations in order. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE,
   PRUNE_ERR_BUFFER. */
prune_status prune_healing_history(const prune_healing *healing, prune_healing_record *out_records,
    size_t capacity, size_t *out_count);

/* ================================================================================================
 * Sharing: weights of later sublayers as those of earlier ones and low-rank deltas
 * ============================================================================================== */

/* Which earlier sublayer a sublayer shares weights with. */
typedef int32_t prune_base;
enum {
    /* The nearest one of its kind that the mask keeps. */
    PRUNE_BASE_NEAREST = 0,
    /* The one of its kind that the mask keeps whose weights are nearest once the delta is added. */
    PRUNE_BASE_BEST = 1
};

/* How weights are shared. */
typedef struct prune_share_options {
    uint32_t struct_size;
    /* Which earlier sublayer a sublayer shares weights with. 0 = nearest. */
    prune_base base;
    /* What deltas are made for: least squares of each projection's output in closed form, or an
       objective of training. 0 = closed form. */
    prune_objective objective;
    /* Whether the base of each weight gets a factor, fitted by least squares: W = s base + U V.
       0 = no. */
    int32_t scaled;
    /* Rank of every delta. It counts only without `bytes`. 0 = 16. */
    int64_t rank;
    /* Bytes of all deltas together, which are spent where they lower the error of a projection's
       output most. 0 = as `rank` says. */
    int64_t bytes;
    /* Ridge added to the diagonal of the inputs' second moments, as a share of the diagonal's
       mean. 0 = 1e-3. */
    double ridge;
    /* Training: held-out data, on which the best step is chosen. NULL = a share of the data. */
    const prune_data *held_out;
    /* Training: share of the data's sequences to hold out, drawn by `seed`. It counts only without
       `held_out`. 0 = 0.1. */
    double held_out_share;
    /* Training: probability with which a shared sublayer computes with its delta in the first
       step, else as the full model does. It rises to 1. With 1, every sublayer computes with its
       delta in every step. 0 = 0.5. */
    double first_share;
    /* Training: share of all steps over which that probability rises. 0 = 0.5. */
    double ramp;
    /* Seed of the held-out share, the batches and what computes with its delta. */
    uint64_t seed;
    /* Largest number of tokens computed together. A longer sequence is a batch of its own.
       0 = chosen by the library. */
    int64_t batch_tokens;
    /* Largest number of bytes of statistics. Sublayers that do not fit wait for another pass.
       0 = a quarter of the free memory. */
    int64_t memory_budget;
    /* Training: number of steps. 0 = 300. */
    int64_t steps;
    /* Training: tokens per step, in whole sequences. 0 = 2048. */
    int64_t step_tokens;
    /* Training: highest learning rate. 0 = chosen by hidden size. */
    double learning_rate;
    /* Training: weight decay of AdamW, on the deltas. 0 = none. */
    double weight_decay;
    /* Training: number of steps over which the learning rate rises. It then falls as a cosine.
       0 = a tenth of all steps. */
    int64_t warmup_steps;
    /* Training: largest norm of all gradients together. 0 = 1. -1 = no bound. */
    double clip_norm;
    /* Training: number of steps between evaluations of the held-out loss. 0 = a twentieth of all
       steps. */
    int64_t evaluate_every;
    /* Training: number of evaluations without a lower held-out loss after which training ends. The
       deltas of the best evaluation are kept in either case. 0 = no such end. */
    int64_t patience;
    /* Training: file that keeps its state, as in prune_recover_options. NULL = none. */
    const char *checkpoint;
    /* Training: number of steps between checkpoints. 0 = at each evaluation of the held-out
       loss. */
    int64_t checkpoint_every;
    /* Training: called after every step. NULL = none. */
    prune_training_progress_fn on_step;
    /* Called as the work advances, also within the steps of training. NULL = none. */
    prune_progress_fn progress;
    /* First argument of both callbacks. */
    void *user_data;
} prune_share_options;
#define PRUNE_SHARE_OPTIONS_INIT                                                                \
    { sizeof(prune_share_options), 0, 0, 0, 0, 0, 0.0, NULL, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0.0, \
        0.0, 0, 0.0, 0, 0, NULL, 0, NULL, NULL, NULL }

/* What sharing made, beside the model. */
typedef struct prune_share_summary {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* Bytes of the weights that became deltas, as stored, and of the deltas. */
    int64_t bytes_whole;
    int64_t bytes_shared;
    /* Tokens that the closed form learnt from. */
    int64_t statistics_tokens;
    /* Tokens trained on, repetitions counted. */
    int64_t trained_tokens;
    /* Steps of training that were done. */
    int64_t steps;
    /* The step whose deltas these are. */
    int64_t best_step;
    /* Objective on held-out tokens before training; NaN without training. */
    double held_out_before;
    /* Objective on held-out tokens of these deltas; NaN without training. */
    double held_out_best;
    /* Seconds that it took. */
    double seconds;
} prune_share_summary;
#define PRUNE_SHARE_SUMMARY_INIT { sizeof(prune_share_summary), 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0 }

/*
 * Has the sublayers that a mask removes use the weights of earlier ones instead: each of their
 * projections becomes W = base + U V, with U V of low rank. Norms and biases stay their own. In
 * closed form, U V minimises E |(W' - base - U V) x|^2, with W' the weight that was there and x its
 * inputs in the data; see docs/sharing.md. The result stores less and computes as much: in memory
 * its weights are whole, in fp32. PRUNE_FORMAT_HF_CUSTOM stores bases once and the deltas; other
 * formats store the weights whole. Sublayers that are no part of the model stay so.
 *   data           what deltas are solved and trained on. NULL = the difference of the matrices
 *                  alone is approximated
 *   keep, n_keep   NULL with 0 = the model's mask
 *   options        NULL = defaults
 *   out_summary    NULL = not wanted
 *   out_model      receives a model of its own, which keeps everything that is there; give it to
 *                  prune_model_release(). It shares all other weights with `model`, which may be
 *                  released before it
 * Errors: PRUNE_ERR_ARGUMENT (the mask removes nothing; a sublayer has none before it to share
 * with; an option out of range), PRUNE_ERR_HANDLE, PRUNE_ERR_UNSUPPORTED (a host runs the model; it
 * has adapters; a mixture of experts is to share), PRUNE_ERR_DATA, PRUNE_ERR_NONFINITE,
 * PRUNE_ERR_FILE, PRUNE_ERR_FORMAT (the checkpoint is damaged, or of another training),
 * PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_share(const prune_model *model, const prune_data *data,
    const uint8_t *keep, size_t n_keep, const prune_share_options *options,
    prune_share_summary *out_summary, prune_model **out_model);

/*
 * Lists the weights of a model that are stored as deltas, as JSON: {"format": "prunecore.sharing",
 * "version": 1, "weights": [{"name": "model.layers.5.mlp.up_proj.weight", "base": "...",
 * "sublayer": "ffn.5", "base_sublayer": "ffn.3", "projection": "up", "outputs", "inputs", "rank",
 * "scale", "bytes", "bytes_whole", "error"}]}. "scale" is the factor on the base. "error" is
 * sqrt(E |(W' - W) x|^2 / E |W' x|^2) of the closed form; null where it is not known, as after
 * training. A later version may add members.
 *   out_text   as in prune_model_plan()
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_model_shared(
    const prune_model *model, char *out_text, size_t capacity, size_t *out_count);

/* How well one weight could be stored as another and a delta. */
typedef struct prune_sharing_pair {
    /* The later sublayer, and the earlier one whose weights it would share. */
    int64_t sublayer;
    int64_t base;
    /* Which of the sublayer's stored weights, in the order of prune_model_plan(); a tensor that
       several projections lie in is one. */
    int64_t weight;
    int64_t outputs;
    int64_t inputs;
    /* The error that was asked for. */
    double error;
    /* |W - base| / |W|, and the least rank of a delta with |W - base - delta| / |W| <= error. */
    double difference;
    int64_t rank;
    /* The same of outputs: sqrt(E |(W - base - delta) x|^2 / E |W x|^2) over the tokens of the
       data. NaN and -1 without data. */
    double weighted_difference;
    int64_t weighted_rank;
    /* Bytes of a delta of rank 1, and of the weight. */
    int64_t bytes_per_rank;
    int64_t bytes_whole;
} prune_sharing_pair;

/* How sharing is analysed. */
typedef struct prune_sharing_options {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* Errors that ranks are wanted for. NULL with 0 = 0.1 alone. */
    const double *errors;
    size_t n_errors;
    /* Largest number of blocks between the two sublayers of a pair. 0 = no bound. */
    int64_t reach;
    /* Ridge added to the diagonal of the inputs' second moments, as a share of the diagonal's
       mean. 0 = 1e-3. */
    double ridge;
    /* Largest number of tokens computed together. A longer sequence is a batch of its own.
       0 = chosen by the library. */
    int64_t batch_tokens;
    /* Largest number of bytes of statistics. Sublayers that do not fit wait for another pass.
       0 = a quarter of the free memory. */
    int64_t memory_budget;
    /* Called as the work advances. NULL = none. */
    prune_progress_fn progress;
    /* First argument of the callback. */
    void *user_data;
} prune_sharing_options;
#define PRUNE_SHARING_OPTIONS_INIT \
    { sizeof(prune_sharing_options), 0, NULL, 0, 0, 0.0, 0, 0, NULL, NULL }

/*
 * Tells for every pair of sublayers of a kind and every projection which rank a delta would need:
 * in the order of the later sublayers, then of the earlier ones, weights and errors. Mixtures of
 * experts are left out.
 *   data        what the inputs' second moments are taken from; NULL = matrices alone
 *   options     NULL = defaults
 *   out_pairs   NULL with capacity 0: only counts, at no cost
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_UNSUPPORTED (as
 * prune_model_share()), PRUNE_ERR_NONFINITE, PRUNE_ERR_FILE, PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_sharing(const prune_model *model, const prune_data *data,
    const prune_sharing_options *options, prune_sharing_pair *out_pairs, size_t capacity,
    size_t *out_count);

/* ================================================================================================
 * Export: directories that runtimes serve
 * ============================================================================================== */

/* The layout of an exported directory. */
typedef int32_t prune_format;
enum {
    /* PRUNE_FORMAT_HF_PLAIN if that can express the model, otherwise PRUNE_FORMAT_HF_CUSTOM, as for
       a model with shared weights. */
    PRUNE_FORMAT_HF = 0,
    /* Whole blocks removed: an ordinary checkpoint, blocks renumbered. It cannot hold adapters,
       except biases that prune_adapters_fold() moves into output biases that the model has. */
    PRUNE_FORMAT_HF_PLAIN = 1,
    /* Sublayers removed, adapters in their places. It has a modelling file of its own, which
       transformers runs with trust_remote_code, and declares `per_layer_config`. Shared weights
       (see prune_model_share()) are stored once, beside the deltas. */
    PRUNE_FORMAT_HF_CUSTOM = 2,
    /* nemotron-nas with block_configs, for vLLM, SGLang and mlx-lm: sublayers removed, no adapters.
       Feed-forward widths that are not multiples of 256 are read by vLLM and transformers alone. */
    PRUNE_FORMAT_DECI = 3,
    /* Sublayers removed, in an ordinary checkpoint of all blocks: what a removed sublayer adds is
       zero, because its output matrices and biases are. The logits are the same in every program
       that runs the model; nothing is saved. Of adapters it holds biases for which the model has
       an output bias: that of the sublayer itself, or of the last one before it with no kept
       sublayer between. */
    PRUNE_FORMAT_ZEROED = 4,
    /* nemotron-nas as mlx-lm alone runs it: PRUNE_FORMAT_DECI with linear layers in the places of
       adapters. Those with a matrix must read the normed input; low ranks are multiplied out.
       Biases move to what is left before them. Feed-forwards are filled up with zeros to a multiple
       of 256. No Python files: transformers does not load it. */
    PRUNE_FORMAT_MLX = 5
};

/* What quantised weights become in a checkpoint, which has no blocks of them. */
typedef int32_t prune_dequantised;
enum {
    PRUNE_DEQUANTISED_BFLOAT16 = 0,
    /* More digits; a number beyond 65504 is an error. */
    PRUNE_DEQUANTISED_FLOAT16 = 1,
    /* All digits, in twice the bytes. */
    PRUNE_DEQUANTISED_FLOAT32 = 2
};

/* How a model is exported. */
typedef struct prune_export_options {
    uint32_t struct_size;
    /* Layout of the exported directory. 0 = a Hugging Face checkpoint: plain if that can express
       the model, otherwise with a modelling file of its own. */
    prune_format format;
    /* Largest number of bytes of one file of weights. A larger tensor is a file of its own.
       0 = 5 * 10^9. */
    int64_t shard_bytes;
    /* JSON object that is kept in prunecore.json as the provenance. NULL = {}. */
    const char *provenance_json;
    /* Whether a directory that PruneCore exported before is replaced, provided that nothing was
       added to it. 0 = no. 1 means yes. */
    int32_t replace;
    /* What the quantised weights of a GGUF file become. 0 = bfloat16. */
    prune_dequantised dequantised;
    /* Called as the work advances. NULL = none. A step is a tensor. */
    prune_progress_fn progress;
    /* First argument of `progress`. */
    void *user_data;
    /* Directory whose files of a tokenizer are taken along. NULL = the model's own; a GGUF file has
       none. */
    const char *tokenizer_directory;
} prune_export_options;
#define PRUNE_EXPORT_OPTIONS_INIT \
    { sizeof(prune_export_options), 0, 0, NULL, 0, 0, NULL, NULL, NULL }

/*
 * Exports a model without what a mask removes: config.json, weights in their stored type, copied
 * tensor by tensor, the other files of the model's directory (tokenizer, generation_config.json),
 * and prunecore.json with mask, provenance and checksums. Exports are atomic: the directory is
 * written beside its final place, synced and renamed. Whatever stops the export, a kill included,
 * what was there before is still there. A killed one leaves a directory NAME.*.partial beside it,
 * which the next export to NAME removes.
 *
 * What the model lacked when it was opened is absent from the export as well, and its adapters that
 * the mask keeps stay in it. Every directory that is written can be opened with prune_model_open(),
 * and computes the same; factors of norms (LayerNorm Scaling) are multiplied into their gains,
 * which rounds.
 *   model          opened from a directory or a GGUF file; it may have adapters
 *   keep, n_keep   NULL with 0 = the model's mask, or that of the adapters
 *   adapters       of the same mask; NULL = none besides those that the model has
 *   directory      must not exist, unless options->replace
 *   options        NULL = defaults
 * Errors: PRUNE_ERR_ARGUMENT (mask and adapters do not fit), PRUNE_ERR_HANDLE,
 * PRUNE_ERR_FILE (the directory exists; no room; the text has the system's
 * reason), PRUNE_ERR_FORMAT (bad provenance), PRUNE_ERR_UNSUPPORTED (the format cannot express it,
 * or its runtimes would compute something else: the text says why, and which format can; the model
 * has no directory), PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_export(const prune_model *model, const uint8_t *keep, size_t n_keep,
    const prune_adapters *adapters, const char *directory, const prune_export_options *options);

/* ================================================================================================
 * Generation: text that a model writes
 * ============================================================================================== */

/* Why a sequence ended. */
typedef int32_t prune_end;
enum {
    /* It continues; never in results. */
    PRUNE_END_NONE = 0,
    /* A stop token was written; it is the last of the new tokens. */
    PRUNE_END_STOP = 1,
    /* max_new_tokens were written. */
    PRUNE_END_LENGTH = 2,
    /* Prompt and new tokens together fill context_length of prune_model_shape. */
    PRUNE_END_CONTEXT = 3,
    /* The token callback ended it. */
    PRUNE_END_CALLBACK = 4
};

/* A token that was just written. */
typedef struct prune_token {
    uint32_t struct_size;
    int32_t token_id;
    /* Index of the prompt that it continues. */
    int64_t prompt;
    /* Its place among the new tokens of that prompt, from 0. */
    int64_t index;
    /* -log p(token | prompt and new tokens before it), in nats, before temperature and
       truncation. */
    float loss;
    /* Why the sequence ends with this token; PRUNE_END_NONE = it continues. */
    prune_end end;
} prune_token;

/* What a token callback returns. */
typedef int32_t prune_token_answer;
enum {
    PRUNE_TOKEN_CONTINUE = 0,
    /* This sequence ends, the others continue. Any other value stops all: PRUNE_ERR_CANCELLED. */
    PRUNE_TOKEN_END_SEQUENCE = 1
};

/* Receives every token when it is written. Prompts that are continued together take turns, in their
   order. */
typedef prune_token_answer (*prune_token_fn)(void *user_data, const prune_token *token);

/* How text is generated. A token is chosen as transformers does: temperature, then top_k, then
   top_p. */
typedef struct prune_generate_options {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* Largest number of new tokens per prompt, at most 2^24. 0 = 128. */
    int64_t max_new_tokens;
    /* Temperature of sampling, which divides the logits. 0 = greedy: the largest logit, the first
       of equal ones. */
    double temperature;
    /* Number of likeliest tokens to draw from. Those as likely as the last are included.
       0 = all. */
    int64_t top_k;
    /* Smallest probability that the tokens to draw from have together. The likeliest tokens are
       kept until they reach it. A value of 1 keeps all. 0 = all. */
    double top_p;
    /* Seed of the draws. The same seed and prompts give the same text, apart from rounding, which
       depends on the batches. */
    uint64_t seed;
    /* Tokens that end a sequence. NULL = none. */
    const int32_t *stop_tokens;
    /* Length of `stop_tokens`. */
    size_t n_stop_tokens;
    /* Largest number of prompts continued together. 0 = chosen by the library, so that their keys
       and values take no more than a quarter of the free memory. */
    int64_t batch_sequences;
    /* Largest number of prompt tokens computed together. A longer prompt is a batch of its own.
       0 = chosen by the library. */
    int64_t batch_tokens;
    /* Called with every new token. NULL = none. */
    prune_token_fn on_token;
    /* Called as the work advances. NULL = none. A step is a new token; a sequence that ends early
       has done all of its steps. */
    prune_progress_fn progress;
    /* First argument of both callbacks. */
    void *user_data;
} prune_generate_options;
#define PRUNE_GENERATE_OPTIONS_INIT \
    { sizeof(prune_generate_options), 0, 0, 0.0, 0, 0.0, 0, NULL, 0, 0, 0, NULL, NULL, NULL }

/* What a model wrote. Immutable. */
typedef struct prune_generation prune_generation;

/*
 * Continues every sequence of `prompts`. Keys and values of earlier tokens are kept in fp32, for
 * kept attention layers only, and for no more tokens than a layer's window. When a sequence ends, a
 * waiting prompt takes its place.
 *   prompts          token ids; weights and choices are ignored. A prompt that fills the model's
 *                    context is not continued
 *   keep, n_keep     NULL with 0 = the model's mask
 *   options          NULL = defaults
 *   out_generation   receives the handle; give it to prune_generation_release()
 * Errors: PRUNE_ERR_ARGUMENT (also a stop token outside the vocabulary), PRUNE_ERR_HANDLE,
 * PRUNE_ERR_DATA (a token id outside the vocabulary), PRUNE_ERR_NONFINITE (names prompt and layer),
 * PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY, PRUNE_ERR_UNSUPPORTED (the model lacks
 * PRUNE_ABILITY_GENERATE).
 */
prune_status prune_model_generate(const prune_model *model, const prune_data *prompts,
    const uint8_t *keep, size_t n_keep, const prune_generate_options *options,
    prune_generation **out_generation);

/* Gives a generation back. NULL and a handle that was already released are allowed. */
void prune_generation_release(prune_generation *generation);

/* What a generation took. */
typedef struct prune_generation_summary {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* As many as prompts. */
    size_t n_sequences;
    /* Prompt tokens that were computed; prompts that fill the context are not. */
    int64_t prompt_tokens;
    /* New tokens of all sequences. */
    int64_t new_tokens;
    /* Seconds for the prompts, and the first new token of each. */
    double prompt_seconds;
    /* Seconds for all further tokens. */
    double decode_seconds;
    /* Largest number of bytes of keys and values, of all sequences under way. */
    int64_t kv_bytes_peak;
} prune_generation_summary;
#define PRUNE_GENERATION_SUMMARY_INIT { sizeof(prune_generation_summary), 0, 0, 0, 0, 0.0, 0.0, 0 }

/* Reads what a generation took. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_generation_info(
    const prune_generation *generation, prune_generation_summary *out_summary);

/*
 * Reads what was written after one prompt.
 *   prompt       0 .. n_sequences - 1
 *   out_tokens   the new tokens, a stop token included
 *   out_losses   one per new token, as in prune_token; room for as many as out_tokens; NULL = not
 *                wanted
 *   capacity     tokens that fit; out_count = new tokens, which may be 0
 *   out_end      why the sequence ended; NULL = not wanted. Written even if the tokens do not fit
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_generation_sequence(const prune_generation *generation, int64_t prompt,
    int32_t *out_tokens, float *out_losses, size_t capacity, size_t *out_count, prune_end *out_end);

/* ================================================================================================
 * SECOND PART
 *
 * Statistics: static metrics as running sums
 *
 * Data can arrive in parts, on several machines, and be merged. Merged parts equal the whole to
 * 1e-12 if the same tokens were computed together (`batch_tokens`); other batches round the hidden
 * states differently, which moves scores by about 1e-7. The sums cover the static metrics except
 * magnitude.
 * ============================================================================================== */

/* Running sums of the static metrics. */
typedef struct prune_statistics prune_statistics;

/* How statistics are gathered. */
typedef struct prune_statistics_options {
    uint32_t struct_size;
    /* Tokens that static metrics look at: all, or the last of each sequence. 0 = all. */
    prune_tokens tokens;
    /* Whether the angular distance of every run of contiguous blocks is also gathered. This keeps
       n_blocks + 1 hidden states of a batch in memory. 0 = no. 1 means yes. */
    int32_t windows;
    int32_t reserved; /* 0 */
} prune_statistics_options;
#define PRUNE_STATISTICS_OPTIONS_INIT { sizeof(prune_statistics_options), 0, 0, 0 }

/* Makes empty statistics for models of n_blocks blocks. `options` may be NULL = defaults. Errors:
   PRUNE_ERR_ARGUMENT, PRUNE_ERR_MEMORY. */
prune_status prune_statistics_create(
    int64_t n_blocks, const prune_statistics_options *options, prune_statistics **out_statistics);

/* Gives statistics back. NULL and a handle that was already released are allowed. */
void prune_statistics_release(prune_statistics *statistics);

/*
 * Adds all tokens of a data set by one forward pass. On failure, which includes cancelling, nothing
 * is added.
 *   options   NULL = defaults; keep, batch_tokens, progress and user_data are used, the rest is
 *             ignored
 * Errors: as prune_model_score().
 */
prune_status prune_statistics_collect(prune_statistics *statistics, const prune_model *model,
    const prune_data *data, const prune_score_options *options);

/* Rows of hidden states in the host's memory, one per token. */
typedef struct prune_rows {
    /* The first element of the first row, of any alignment. NULL if there are no rows. */
    const void *data;
    prune_element_type element_type;
    int32_t reserved; /* 0 */
    /* 0 adds nothing. */
    int64_t n_rows;
    /* Values per row: hidden_size. */
    int64_t width;
    /* Elements from one row to the next; 0 = width. May be negative. */
    int64_t row_stride;
    /* Elements from one value to the next; 0 = 1. May be negative. */
    int64_t column_stride;
} prune_rows;

/*
 * Adds some tokens of one unit. It serves runtimes that give only activations, through a hook or a
 * callback. Each unit counts its own tokens, so units may arrive in any order and in parts of any
 * size. Rows are read during this call.
 *   granularity     what `unit` counts: sublayers, blocks, attention or feed-forward layers. A
 *                   block's scores come from its own rows only, not from those of its sublayers
 *   before, after   hidden states before the unit and after it, of the same tokens: as many rows,
 *                   of the same width
 * The caller is responsible for PRUNE_TOKENS_LAST: every row given counts.
 * Errors: PRUNE_ERR_ARGUMENT (also statistics with windows, which need whole passes),
 * PRUNE_ERR_HANDLE, PRUNE_ERR_NONFINITE (the text names unit and row; nothing is added),
 * PRUNE_ERR_MEMORY.
 */
prune_status prune_statistics_update(prune_statistics *statistics, prune_granularity granularity,
    int64_t unit, const prune_rows *before, const prune_rows *after);

/* Adds `other` to `statistics`. Both must have the same blocks and options. Errors:
   PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_statistics_merge(prune_statistics *statistics, const prune_statistics *other);

/*
 * Computes scores from the sums, as prune_model_score() does.
 *   options   NULL = defaults; granularity, metrics (those of states; 0 = all of them) and
 *             relative_to are used
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_DATA (a unit, which the
 * text names, has no tokens).
 */
prune_status prune_statistics_scores(const prune_statistics *statistics,
    const prune_score_options *options, double *out_scores, size_t capacity, size_t *out_count);

/*
 * Reads the mean angular distance of every window of contiguous blocks: row n - 1, column i holds
 * the distance between the hidden state before block i and the one after block i + n - 1, for n = 1
 * .. n_blocks; NaN where i + n > n_blocks.
 *   capacity   n_blocks * n_blocks
 * Errors: PRUNE_ERR_ARGUMENT (windows was not set), PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER,
 * PRUNE_ERR_DATA.
 */
prune_status prune_statistics_windows(
    const prune_statistics *statistics, double *out_distances, size_t capacity, size_t *out_count);

/* ================================================================================================
 * Coalitions: what sets of kept sublayers are worth
 * ============================================================================================== */

/* What evaluating some masks took. A sublayer counts once per batch of tokens that it is applied
   to. */
typedef struct prune_walk_report {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* Sublayers applied. Masks share what they agree on from the first sublayer on. */
    int64_t sublayers_computed;
    /* Sublayers that would have been applied mask by mask. */
    int64_t sublayers_naive;
    /* Tokens of the data. */
    int64_t tokens;
    double seconds;
} prune_walk_report;
#define PRUNE_WALK_REPORT_INIT { sizeof(prune_walk_report), 0, 0, 0, 0, 0.0 }

/*
 * Evaluates a measure under each of n_masks masks, as one walk over their prefix tree.
 *   keep_masks, n_masks, n_keep   as in prune_model_evaluate(): n_keep is the length of one mask
 *   options                       NULL = defaults
 *   out_values                    n_masks values
 *   out_report                    NULL = not wanted
 * Errors: as prune_model_evaluate(); PRUNE_ERR_DATA (a choice measure, and the data has no
 * choices).
 */
prune_status prune_model_damages(const prune_model *model, const prune_data *data,
    const uint8_t *keep_masks, size_t n_masks, size_t n_keep,
    const prune_coalition_options *options, double *out_values, prune_walk_report *out_report);

/* ================================================================================================
 * Choices: multiple-choice items
 * ============================================================================================== */

/* How the candidates of a multiple-choice item are scored. */
typedef int32_t prune_choice_score;
enum {
    PRUNE_CHOICE_SCORE_SUM = 0, /* log-likelihood of the candidate after the context */
    PRUNE_CHOICE_SCORE_MEAN = 1 /* the same divided by the candidate's number of tokens */
};

/*
 * Multiple-choice items. Item i has a context and n_candidates[i] >= 2 candidate continuations, of
 * which answers[i] is right. Arrays of ids and lengths run through all items in order, and within
 * an item through its candidates.
 */
typedef struct prune_choices {
    uint32_t struct_size;
    prune_choice_score score;
    size_t n_items;
    const int32_t *context_ids;
    /* n_items lengths, each >= 1. */
    const int64_t *context_lengths;
    /* n_items counts, each >= 2. */
    const int64_t *n_candidates;
    const int32_t *candidate_ids;
    /* One per candidate, each >= 1. */
    const int64_t *candidate_lengths;
    /* n_items indices, 0 .. n_candidates[i] - 1. */
    const int64_t *answers;
} prune_choices;
#define PRUNE_CHOICES_INIT { sizeof(prune_choices), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL }

/*
 * Copies multiple-choice items as data. An item whose candidates are single tokens is computed as
 * one sequence, any other as one sequence per candidate. For calls that do not know choices, the
 * tokens of the right candidates weigh 1 and all others 0, so that the loss is that of the right
 * answers.
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_DATA (names the item), PRUNE_ERR_MEMORY.
 */
prune_status prune_data_create_choices(const prune_choices *choices, prune_data **out_data);

/*
 * Scores the candidates of multiple-choice data under a mask.
 *   keep, n_keep          NULL with 0 = the model's mask
 *   options               NULL = defaults
 *   out_log_likelihoods   one per candidate of all items: the sum over its tokens, in nats, not
 *                         length-normalised
 *   capacity              candidates that fit; out_count = candidates in all
 * The choice of an item is the candidate with the highest score (`score` of prune_choices), the
 * first of equal ones.
 * Errors: as prune_model_evaluate(), PRUNE_ERR_BUFFER; PRUNE_ERR_DATA (the data has no choices).
 */
prune_status prune_model_evaluate_choices(const prune_model *model, const prune_data *data,
    const uint8_t *keep, size_t n_keep, const prune_evaluate_options *options,
    double *out_log_likelihoods, size_t capacity, size_t *out_count);

/* ================================================================================================
 * Games: Shapley values, what each player adds
 *
 * A game gives every set of players (a coalition) a worth, higher = better. For models the players
 * are sublayers, or groups of them, a coalition is what is kept, and its worth is minus the damage.
 * An estimator asks for the worths of some coalitions. It may be told them in any order and from
 * any machine, and computes its estimate from them. The same seed and the same worths give the same
 * estimate. docs/shapley.md defines the estimators and compares them.
 * ============================================================================================== */

/* A game under way. Not const: one thread at a time. */
typedef struct prune_game prune_game;

/* How the values of a game are estimated. */
typedef int32_t prune_estimator;
enum {
    /* PRUNE_ESTIMATOR_SURROGATE, which measured best. */
    PRUNE_ESTIMATOR_DEFAULT = 0,
    /* All 2^n coalitions; n <= 20. */
    PRUNE_ESTIMATOR_EXACT = 1,
    /* v(all) - v(all but i): n + 1 coalitions. It is not a Shapley value. */
    PRUNE_ESTIMATOR_LEAVE_ONE_OUT = 2,
    /* Mean worth with i - mean worth without i, at one size, as in the paper. */
    PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS = 3,
    /* Marginal contributions along random orders. */
    PRUNE_ESTIMATOR_PERMUTATION = 4,
    /* The same along each order and its reverse. */
    PRUNE_ESTIMATOR_ANTITHETIC = 5,
    /* Orders from the full set down, abandoned once the worth is that of the empty set. */
    PRUNE_ESTIMATOR_TRUNCATED = 6,
    /* Means by size, with and without each player; coalitions in pairs. */
    PRUNE_ESTIMATOR_STRATIFIED = 7,
    /* Weighted regression; leverage sampling, in pairs, without repetition. */
    PRUNE_ESTIMATOR_KERNEL_SHAP = 8,
    /* A fitted model of the game, and the strata of its residuals. With more than 512 players the
       strata alone, since the time of fitting grows with the cube of their number. */
    PRUNE_ESTIMATOR_SURROGATE = 9,
    /* Weighted Banzhaf value: each other player is kept with keep_probability. */
    PRUNE_ESTIMATOR_BANZHAF = 10,
    /* Leave-one-out, and second differences of all pairs at the full set. */
    PRUNE_ESTIMATOR_PAIR_DIFFERENCES = 11
};

/* How a game is estimated and when it is done. The first bound that is met ends it. */
typedef struct prune_game_options {
    uint32_t struct_size;
    /* How the values are estimated. 0 = surrogate. */
    prune_estimator estimator;
    /* Seed of the random draws. */
    uint64_t seed;
    /* Largest number of coalitions to evaluate. 0 = what the estimator needs, or 32 per player;
       with random_subnetworks on a model, one round for every sequence of its data. */
    int64_t budget;
    /* Standard error at which the game is done: no player's is larger. 0 = no such bound. */
    double target_error;
    /* Number of lowest players to identify with certainty before the game is done. 0 = no such
       bound. */
    int64_t least;
    /* Probability with which the lowest players must be certain, between 0 and 1. 0 = 0.95. */
    double certainty;
    /* Banzhaf: probability with which each other player is kept. 0 = 0.5. */
    double keep_probability;
    /* Random subnetworks: number of players kept. n_players - 1 leaves out each player once per
       round, as the paper does by default. 0 = half of them. */
    int64_t subnetwork_size;
    /* Random subnetworks: number of coalitions per sequence of the data. 0 = 10, as in the
       paper. */
    int64_t subnetworks_per_round;
    /* Truncated: how close a worth must come to v(none) to end an order, as a share of |v(all) -
       v(none)|. 0 = 0.01. */
    double truncation;
} prune_game_options;
#define PRUNE_GAME_OPTIONS_INIT { sizeof(prune_game_options), 0, 0, 0, 0.0, 0, 0.0, 0.0, 0, 0, 0.0 }

/*
 * Begins a game.
 *   n_players   1 .. 8192
 *   options     NULL = defaults
 * Errors: PRUNE_ERR_ARGUMENT (an option out of range; EXACT with more than 20 players),
 * PRUNE_ERR_MEMORY.
 */
prune_status prune_game_create(
    int64_t n_players, const prune_game_options *options, prune_game **out_game);

/* Gives a game back. NULL and a handle that was already released are allowed. */
void prune_game_release(prune_game *game);

/*
 * Asks for coalitions whose worth is needed next. Returns fewer than `most`, possibly none, if the
 * game is done or still waits for earlier answers.
 *   most        coalitions that fit in out_masks
 *   out_masks   most * n_players bytes: 1 = in the coalition
 *   out_count   receives how many were written
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE.
 */
prune_status prune_game_ask(prune_game *game, size_t most, uint8_t *out_masks, size_t *out_count);

/*
 * Tells the worths of coalitions that were asked for, in any order; all of them or, on error, none.
 *   masks    n_masks coalitions of n_players bytes
 *   values   n_masks worths
 * Errors: PRUNE_ERR_ARGUMENT (a coalition that was never asked for, or was told before; a byte
 * other than 0 and 1), PRUNE_ERR_NONFINITE, PRUNE_ERR_HANDLE.
 */
prune_status prune_game_tell(
    prune_game *game, const uint8_t *masks, const double *values, size_t n_masks);

/* Where a game stands. */
typedef struct prune_game_state {
    uint32_t struct_size;
    /* 1 if a bound is met and the game will not ask for anything more. */
    int32_t done;
    int64_t n_players;
    /* Coalitions that the game asked for. */
    int64_t asked;
    /* Worths that it was told. */
    int64_t told;
    /* Coalitions asked for and not told. */
    int64_t outstanding;
    /* Sum of the values - (v(all) - v(none)); NaN while one of the two is unknown. */
    double efficiency_gap;
    /* Largest standard error; NaN while there is no estimate. */
    double largest_error;
    /* In games that prune_model_shapley() ran: as in prune_walk_report. */
    int64_t sublayers_computed;
    int64_t sublayers_naive;
    /* The estimator in use, never DEFAULT. */
    prune_estimator estimator;
    int32_t reserved; /* 0 */
} prune_game_state;
#define PRUNE_GAME_STATE_INIT { sizeof(prune_game_state), 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0, 0 }

/* Reads where a game stands. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_game_info(const prune_game *game, prune_game_state *out_state);

/*
 * Reads the estimate.
 *   out_values            n_players values: what each player adds to the worth
 *   out_standard_errors   n_players standard errors: value +- 1.96 of them covers the exact value
 *                         in about 95 of 100 cases. 0 where the value is exact, infinity where
 *                         there is too little data for an error; NULL = not wanted
 *   capacity              n_players
 * Errors: PRUNE_ERR_DATA (the worths told so far do not suffice: the text says what is missing,
 * such as a player that was never absent), PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_game_result(const prune_game *game, double *out_values,
    double *out_standard_errors, size_t capacity, size_t *out_count);

/*
 * Reads the strata of the worths told so far: D_i(k) = E[v(S) | i in S, |S| = k] - E[v(S) | i not
 * in S, |S| = k] in row i, column k - 1 for k = 1 .. n_players - 1; NaN where either mean has no
 * coalition. The Shapley value is (v(all) - v(none)) / n + the sum of a row / n.
 *   capacity   n_players * (n_players - 1)
 * Errors: as prune_game_result().
 */
prune_status prune_game_strata(
    const prune_game *game, double *out_strata, size_t capacity, size_t *out_count);

/*
 * Reads the interactions of pairs: row i, column j, symmetric, 0 on the diagonal. After EXACT, the
 * Shapley interaction index of order 2; after PAIR_DIFFERENCES, v(all) - v(all but i) - v(all but
 * j) + v(all but both).
 *   capacity   n_players * n_players
 * Errors: PRUNE_ERR_UNSUPPORTED for other estimators; as prune_game_result().
 */
prune_status prune_game_interactions(
    const prune_game *game, double *out_interactions, size_t capacity, size_t *out_count);

/*
 * Computes the exact weighted Banzhaf values after EXACT: E[v(S + i) - v(S)], each other player in
 * S with keep_probability.
 *   capacity   n_players
 * Errors: PRUNE_ERR_UNSUPPORTED for other estimators; as prune_game_result().
 */
prune_status prune_game_banzhaf(const prune_game *game, double keep_probability, double *out_values,
    size_t capacity, size_t *out_count);

/*
 * Saves a game as bytes, with a version and a checksum; they are the same on every machine. After
 * loading, the game asks again for outstanding coalitions. `capacity` and `out_count` count bytes.
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_game_save(
    const prune_game *game, uint8_t *out_bytes, size_t capacity, size_t *out_count);

/* Loads a saved game. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_FORMAT (damaged, or not a saved game),
   PRUNE_ERR_UNSUPPORTED (written by a later version). */
prune_status prune_game_load(const uint8_t *bytes, size_t n_bytes, prune_game **out_game);

/* How a game of a model stands. Pointers are valid during the callback. */
typedef struct prune_game_progress {
    uint32_t struct_size;
    /* 0 = there is no estimate yet, and values and standard_errors are NULL. */
    int32_t has_estimate;
    const prune_game_state *state;
    /* n_players values. */
    const double *values;
    /* n_players standard errors. */
    const double *standard_errors;
    /* Seconds since the call began. */
    double seconds;
} prune_game_progress;

/* Called after every batch of coalitions. Return 0 to continue; any other value stops the call with
   PRUNE_ERR_CANCELLED, and the game can be resumed or saved. The callback may call
   prune_game_save() on the game of the call. */
typedef int32_t (*prune_game_progress_fn)(void *user_data, const prune_game_progress *progress);

/* How a model plays a game. */
typedef struct prune_game_run_options {
    uint32_t struct_size;
    /* What counts as one player, unless sublayers are grouped. 0 = sublayers. */
    prune_granularity granularity;
    /* Player that each sublayer belongs to, or -1 for a sublayer that every coalition keeps.
       NULL = one player per unit of the granularity. */
    const int32_t *sublayer_players;
    /* Length of `sublayer_players`: 2 * n_blocks, or 0 with NULL. */
    size_t n_sublayer_players;
    /* How damage is measured. NULL = defaults. Its `progress` is called while a batch is
       evaluated. */
    const prune_coalition_options *coalitions;
    /* Largest number of sublayers to apply. 0 = no bound. Counted as in prune_walk_report. */
    int64_t sublayer_budget;
    /* Number of coalitions evaluated together. 0 = chosen by the library. */
    int64_t batch_coalitions;
    /* Called after every batch of coalitions. NULL = none. */
    prune_game_progress_fn on_batch;
    /* First argument of `on_batch`. */
    void *user_data;
} prune_game_run_options;
#define PRUNE_GAME_RUN_OPTIONS_INIT \
    { sizeof(prune_game_run_options), 0, NULL, 0, NULL, 0, 0, NULL, NULL }

/*
 * Plays a game on a model until it is done: asks, evaluates, tells. The worth of a coalition is
 * minus its damage, capped as the options say, so a player's value is the damage that it averts. It
 * resumes where the game stands. RANDOM_SUBNETWORKS draws new coalitions for every sequence of the
 * data, and evaluates them on that sequence only.
 *   game      made with as many players as the options name
 *   options   NULL = defaults
 * Errors: those of prune_model_damages(); PRUNE_ERR_ARGUMENT (the players do not fit);
 * PRUNE_ERR_CANCELLED. After every error the game is consistent and can be resumed or saved.
 */
prune_status prune_model_shapley(const prune_model *model, const prune_data *data, prune_game *game,
    const prune_game_run_options *options);

/* ================================================================================================
 * Moments: what closed-form adapters learn from, as running sums
 *
 * Moments are means and covariances, in double, of the inputs and updates of every removed
 * sublayer, over the full model's stream. Data can arrive in parts, on several machines, and be
 * merged: merged parts equal the whole to rounding.
 * ============================================================================================== */

/* Running sums for closed-form adapters. */
typedef struct prune_moments prune_moments;

/*
 * Makes empty moments for the sublayers that a mask removes: hidden_size^2 * 16 bytes each.
 *   keep, n_keep   NULL with 0 = the model's mask
 *   options        NULL = defaults; kind, input and block_slot are used
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_MEMORY.
 */
prune_status prune_moments_create(const prune_model *model, const uint8_t *keep, size_t n_keep,
    const prune_recover_options *options, prune_moments **out_moments);

/* Gives moments back. NULL and a handle that was already released are allowed. */
void prune_moments_release(prune_moments *moments);

/* Adds all tokens of a data set by one forward pass of the full model. On failure, which includes
   cancelling, nothing is added. Errors: as prune_model_score(); PRUNE_ERR_ARGUMENT (the moments are
   of another model). */
prune_status prune_moments_collect(prune_moments *moments, const prune_model *model,
    const prune_data *data, const prune_evaluate_options *options);

/* Adds `other`, of the same mask and options. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_moments_merge(prune_moments *moments, const prune_moments *other);

/*
 * Solves for adapters in closed form.
 *   held_out   moments of other data, by which ridge and rank are chosen. NULL = a ridge of 1e-3 if
 *              none is given; the rank must then be given
 *   options    NULL = defaults; kind, rank and ridge are used
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_DATA (no tokens), PRUNE_ERR_MEMORY.
 */
prune_status prune_moments_solve(const prune_moments *moments, const prune_moments *held_out,
    const prune_recover_options *options, prune_adapters **out_adapters);

/* ================================================================================================
 * Gradients
 * ============================================================================================== */

/*
 * Pulls a gradient back through one sublayer: a vector-Jacobian product, the residual path
 * included.
 *   data            its sequences say which tokens belong together
 *   states          hidden states before the sublayer, one row of hidden_size values per token
 *   gradients       gradient of any scalar with respect to the states after it, in the same layout
 *   n_values        length of either: tokens * hidden_size
 *   options         NULL = defaults
 *   out_gradients   receives the gradient with respect to the states before it: n_values values
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY,
 * PRUNE_ERR_UNSUPPORTED (the model lacks PRUNE_ABILITY_GRADIENTS).
 */
prune_status prune_model_vjp(const prune_model *model, const prune_data *data, int64_t sublayer,
    const float *states, const float *gradients, size_t n_values,
    const prune_evaluate_options *options, float *out_gradients);

/*
 * Computes the gradient of an objective with respect to the hidden states before a sublayer.
 *   objective      PRUNE_OBJECTIVE_CE, _KL or _JS; the latter two compare with the unmasked model
 *   keep, n_keep   NULL with 0 = the model's mask
 *   sublayer       0 .. 2 * n_blocks; the last = after all of them
 *   out_gradient   tokens * hidden_size values
 *   out_loss       the objective: weighted mean over predicting tokens; NULL = not wanted
 * Errors: as prune_model_evaluate(), PRUNE_ERR_BUFFER, PRUNE_ERR_UNSUPPORTED.
 */
prune_status prune_model_gradient(const prune_model *model, const prune_data *data,
    const uint8_t *keep, size_t n_keep, prune_objective objective, int64_t sublayer,
    const prune_evaluate_options *options, float *out_gradient, size_t capacity, size_t *out_count,
    double *out_loss);

/*
 * Computes the gradient of an objective with respect to one adapter, all adapters in place.
 *   model          the full model
 *   objective      any but PRUNE_OBJECTIVE_CLOSED_FORM
 *   out_gradient   the adapter's parameters: bias, then down and up, or matrix
 * Errors: as prune_model_gradient(); PRUNE_ERR_ARGUMENT (no adapter at the sublayer; adapters of
 * another model).
 */
prune_status prune_adapters_gradient(const prune_adapters *adapters, const prune_model *model,
    const prune_data *data, prune_objective objective, int64_t sublayer,
    const prune_evaluate_options *options, float *out_gradient, size_t capacity, size_t *out_count,
    double *out_loss);

/* ================================================================================================
 * Tensors: models whose weights are already in memory
 * ============================================================================================== */

/* A tensor in the host's memory. */
typedef struct prune_tensor {
    /* As in a Hugging Face checkpoint: "model.layers.0.self_attn.q_proj.weight". */
    const char *name;
    /* The first element, of any alignment. */
    const void *data;
    prune_element_type element_type;
    /* 1 or 2. */
    int32_t n_dimensions;
    /* n_dimensions entries. */
    const int64_t *shape;
    /* Elements from one index to the next, n_dimensions entries; NULL = row after row. The last
       must be 1, that of rows at least their length: rows of a wider matrix are allowed. */
    const int64_t *strides;
} prune_tensor;

/*
 * Makes a model over weights that the host already holds; nothing is copied. The memory is
 * borrowed: every call reads it anew. It must stay until prune_model_release() has returned, no
 * call is under way, and models attached to this one are released too; options->on_close says when.
 * The next call sees a weight that the host changes; weights must not change during a call.
 *   config_json   the text of the model's `config.json`
 *   tensors       named as in a checkpoint; those that the architecture does not need are ignored.
 *                 The array itself is no longer used after the call
 *   options       NULL = defaults
 * Architectures and errors: as prune_model_open(); PRUNE_ERR_FORMAT (a tensor is missing or has
 * another shape), PRUNE_ERR_ARGUMENT (two tensors of one name; a NULL; a negative size),
 * PRUNE_ERR_UNSUPPORTED (other strides).
 */
prune_status prune_model_from_tensors(const char *config_json, const prune_tensor *tensors,
    size_t n_tensors, const prune_model_options *options, prune_model **out_model);

/* As the DLPack standard defines it (dlpack.h, version 1). This header needs only its name. */
struct DLManagedTensorVersioned;

/*
 * Does the same with DLPack tensors on the CPU, of type float or bfloat, in 32 or 16 bits.
 *   names, tensors   n_tensors each. On PRUNE_OK the library owns the tensors and calls the deleter
 *                    of each once nothing uses it; on failure they remain the caller's
 * Errors: as prune_model_from_tensors(); PRUNE_ERR_UNSUPPORTED (another device, element type or
 * major version).
 */
prune_status prune_model_from_dlpack(const char *config_json, const char *const *names,
    struct DLManagedTensorVersioned *const *tensors, size_t n_tensors,
    const prune_model_options *options, prune_model **out_model);

/* ================================================================================================
 * Hosts: models whose layers your program runs
 *
 * The host runs the layers, wherever they live, and gives out its hidden states as handles of its
 * own: only what a callback returns leaves a GPU. Everything else in this header works on such a
 * model. What a host does not offer is computed from what it does offer, or refused with
 * PRUNE_ERR_UNSUPPORTED and the name of the missing callback.
 *
 *   static metrics                        compare, or read
 *   loss, Shapley values, leave-one-out   token_losses, or logits; or evaluate
 *   logit_l2, kl, js                      distances, or logits
 *   closed-form adapters                  read; norm for PRUNE_INPUT_NORMED; what adapters in place
 *                                         need, unless PRUNE_STREAM_FULL_MODEL
 *   adapters in place                     apply_adapter, or read and write
 *   trained adapters, vjp, gradient       vjp, read and write; and head_vjp, for any objective but
 *                                         PRUNE_OBJECTIVE_MSE
 *
 * Order of calls: embed gives the state of some sequences before sublayer 0; apply gives states
 * after a sublayer, each from the one before it; removed sublayers are not called. Masks that share
 * a state may use it many times. The library gives each state to release exactly once, before the
 * call that made it returns: after success, failure and cancelling alike.
 *
 * Tokens must see only those before them, in their own sequence. The first call that runs the model
 * tests that on four batches of at most 28 tokens, or by six calls of evaluate, and is refused with
 * PRUNE_ERR_UNSUPPORTED if it is not so; see known_causal.
 *
 * A callback returns 0, or any other value to stop the call: values of prune_status come back as
 * they are, all others as PRUNE_ERR_HOST, and the sentence of prune_host_error_set() comes back in
 * prune_last_error(). A callback that failed has given no state. Callbacks may call the library,
 * for this model too. Calls that use one model from several threads call back on these threads.
 * ============================================================================================== */

/* A hidden state of the host: anything but NULL. The library never looks behind it. */
typedef void *prune_host_state;

/* Some sequences that are computed together. Valid during the callback. */
typedef struct prune_host_batch {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    /* n_tokens ids, all sequences one after the other, inside the vocabulary. A state has one row
       per token, in this order. */
    const int32_t *token_ids;
    /* n_sequences lengths. */
    const int64_t *sequence_lengths;
    size_t n_sequences;
    size_t n_tokens;
} prune_host_batch;

/* Norms of the states h before and g after some unit, at one token. Later versions may append
   fields: see comparison_size of prune_host. */
typedef struct prune_comparison {
    double before_l1, before_squares; /* ||h||_1, ||h||_2^2 */
    double after_l1, after_squares;   /* ||g||_1, ||g||_2^2 */
    double update_l1, update_squares; /* ||g - h||_1, ||g - h||_2^2: of the difference */
} prune_comparison;

/* The distances of logits that a callback may be asked for. */
typedef int32_t prune_distance;
enum {
    PRUNE_DISTANCE_L2 = 0, /* ||logits - reference logits||_2 */
    PRUNE_DISTANCE_KL = 1, /* KL(reference || state) of the next-token distributions, in nats */
    PRUNE_DISTANCE_JS = 2  /* Jensen-Shannon divergence, in nats */
};

/* The formula of a norm. */
typedef int32_t prune_norm_kind;
enum {
    /* gain * h / sqrt(mean(h^2) + epsilon) */
    PRUNE_NORM_RMS = 0,
    /* gain * (h - mean(h)) / sqrt(variance(h) + epsilon) + bias */
    PRUNE_NORM_LAYER = 1
};

/* An adapter to apply: h + bias, or h + bias + up (down x), or h + bias + matrix x, with x = h, or
   norm(h) with numbers of its own. Arrays are fp32, row-major, and valid during the callback. */
typedef struct prune_host_adapter {
    uint32_t struct_size;
    prune_adapter_kind kind;
    /* The sublayer in whose place it stands. */
    int64_t sublayer;
    int64_t hidden_size;
    /* Rank of LOW_RANK; otherwise 0. */
    int64_t rank;
    /* hidden_size values. */
    const float *bias;
    /* rank x hidden_size values; NULL unless LOW_RANK. */
    const float *down;
    /* hidden_size x rank values; NULL unless LOW_RANK. */
    const float *up;
    /* hidden_size x hidden_size values; NULL unless LINEAR. */
    const float *matrix;
    /* hidden_size values; NULL = x is h. */
    const float *norm_gain;
    float norm_epsilon;
    /* PRUNE_NORM_LAYER only for hosts that offer layer_norm. */
    prune_norm_kind norm_kind;
    /* hidden_size values of a layer norm; NULL = 0. */
    const float *norm_bias;
} prune_host_adapter;

/*
 * A model as its host offers it. A callback that is NULL is not offered. Either embed, apply and
 * release are needed, or evaluate. Rows are numbered within the state's batch.
 */
typedef struct prune_host {
    uint32_t struct_size;
    /* 1 = apply is called with even sublayers only and computes the whole block: a mask removes
       both of its sublayers, or neither. */
    int32_t whole_blocks;
    /* First argument of every callback. */
    void *user_data;

    /* NULL = "host". */
    const char *architecture;
    /* At least 1. */
    int64_t n_blocks;
    /* At least 1; 0 if evaluate is the only callback. */
    int64_t hidden_size;
    /* At least 1; 0 if evaluate is the only callback. */
    int64_t vocabulary_size;
    /* 0 = not known. */
    int64_t context_length;
    /* The type that weights are stored in. */
    prune_element_type element_type;
    /* sizeof(prune_comparison) of the header that the host was compiled with; PRUNE_HOST_INIT sets
       it. Arrays of prune_comparison have that stride, so that the struct can grow. */
    uint32_t comparison_size;
    /* Parameters of embeddings, final norm and head, which no mask removes; 0 = not known. */
    int64_t fixed_parameters;
    /* Their bytes, as stored. */
    int64_t fixed_parameter_bytes;
    /* 2 * n_blocks entries, for costs; NULL = not known. Copied. */
    const prune_sublayer *sublayers;

    /* Gives the state of a batch before sublayer 0. */
    prune_status (*embed)(
        void *user_data, const prune_host_batch *batch, prune_host_state *out_state);

    /* Gives n_states states after a sublayer, each from the one before it, of one batch or of
       several: either all of them, or none. It may give a state back as it came if the host counts
       its uses: every state given is released. */
    prune_status (*apply)(void *user_data, int64_t sublayer, const prune_host_state *states,
        size_t n_states, prune_host_state *out_states);

    /* Frees a state. Cannot fail. */
    void (*release)(void *user_data, prune_host_state state);

    /* Computes -log p(tokens[i] | the tokens up to rows[i]) in nats, from a state after the last
       sublayer: final norm and head are the host's. There are n_rows of them; rows ascend, and may
       repeat. */
    prune_status (*token_losses)(void *user_data, prune_host_state state, const int64_t *rows,
        const int32_t *tokens, size_t n_rows, float *out_losses);

    /* Computes the logits of n_rows rows from first_row on: n_rows * vocabulary_size values. */
    prune_status (*logits)(void *user_data, prune_host_state state, int64_t first_row,
        int64_t n_rows, float *out_logits);

    /* Computes the distances between the logits of some rows and those of the same rows of another
       state of the batch. */
    prune_status (*distances)(void *user_data, prune_host_state state, prune_host_state reference,
        prune_distance kind, const int64_t *rows, size_t n_rows, float *out_distances);

    /* Compares some rows of two states of a batch, where they live. */
    prune_status (*compare)(void *user_data, prune_host_state before, prune_host_state after,
        const int64_t *rows, size_t n_rows, prune_comparison *out_comparisons);

    /* Reads a state: tokens * hidden_size values. */
    prune_status (*read)(void *user_data, prune_host_state state, float *out_values);

    /* Makes a state like another, of the same batch, with other values: tokens * hidden_size.
       Gradients are written in the same way. What a state carries besides its hidden values is
       taken from `like`. */
    prune_status (*write)(
        void *user_data, prune_host_state like, const float *values, prune_host_state *out_state);

    /* Reads gain (hidden_size values) and epsilon of the root-mean-square norm at a sublayer's
       input: gain * h / sqrt(mean(h^2) + epsilon). Returns PRUNE_ERR_UNSUPPORTED for a sublayer
       without one. */
    prune_status (*norm)(void *user_data, int64_t sublayer, float *out_gain, float *out_epsilon);

    /* Gives the state after an adapter, where it lives. */
    prune_status (*apply_adapter)(void *user_data, const prune_host_adapter *adapter,
        prune_host_state state, prune_host_state *out_state);

    /* Computes gradients with respect to the states before a sublayer from those with respect to
       the states after it, the residual path included. Gradients are states. */
    prune_status (*vjp)(void *user_data, int64_t sublayer, const prune_host_state *states,
        const prune_host_state *gradients, size_t n_states, prune_host_state *out_gradients);

    /* Computes losses of some ascending rows of a state after the last sublayer, and the gradient
       of sum(weights[i] * losses[i]) with respect to it.
         objective   PRUNE_OBJECTIVE_CE: -log p(tokens[i]); _KL, _JS: distance from the reference's
                     distribution, as in distances
         reference   NULL for CE
         tokens      NULL for KL and JS */
    prune_status (*head_vjp)(void *user_data, prune_host_state state, prune_objective objective,
        prune_host_state reference, const int64_t *rows, const int32_t *tokens,
        const float *weights, size_t n_rows, float *out_losses, prune_host_state *out_gradient);

    /* Computes the loss of a whole data set under each of some masks, in nats: the mean over its
       predicted tokens by their weights.
         batch           all of its sequences
         token_weights   one per token, as in prune_data_options; NULL = all 1
         keep_masks      n_masks rows of 2 * n_blocks bytes
       Used where token_losses and logits are not offered. */
    prune_status (*evaluate)(void *user_data, const prune_host_batch *batch,
        const float *token_weights, const uint8_t *keep_masks, size_t n_masks, double *out_losses);

    /* Called once, when the library no longer uses the model; NULL = none. */
    prune_close_fn on_close;

    /* 1 = the host knows that no token sees a later one or another sequence: it is not tested. */
    int32_t known_causal;
    int32_t reserved; /* 0 */

    /* Reads gain and bias (hidden_size values each) and epsilon of the layer norm at a sublayer's
       input; see PRUNE_NORM_LAYER. A norm without a gain gives 1s, without a bias 0s. Returns
       PRUNE_ERR_UNSUPPORTED for a sublayer without one. A sublayer for which norm gives a norm is
       not asked. A host that offers it is given adapters with such norms. */
    prune_status (*layer_norm)(
        void *user_data, int64_t sublayer, float *out_gain, float *out_bias, float *out_epsilon);
} prune_host;
#define PRUNE_HOST_INIT                                                                           \
    { sizeof(prune_host), 0, NULL, NULL, 0, 0, 0, 0, 0, sizeof(prune_comparison), 0, 0, NULL,     \
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
        0, 0, NULL }

/*
 * Makes a model that its host runs.
 *   host   copied; what user_data stands for must stay until on_close
 * Errors: PRUNE_ERR_ARGUMENT (a size out of range; a callback that is needed is NULL, or compare is
 * offered with a comparison_size that the library cannot read: the text names it),
 * PRUNE_ERR_MEMORY.
 */
prune_status prune_model_from_host(const prune_host *host, prune_model **out_model);

/*
 * For callbacks of a prune_host that are about to fail: sets the sentence that prune_last_error()
 * returns for the call under way on this thread. NULL = none.
 */
void prune_host_error_set(const char *sentence);

#ifdef __cplusplus
}
#endif

#endif /* PRUNECORE_H */
