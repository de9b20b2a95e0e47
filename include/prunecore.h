/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * prunecore.h: depth pruning of decoder-only language models, in process.
 *
 * PruneCore opens a language model, says how much each block, attention layer and feed-forward layer matters, removes
 * the ones that matter least with a mask, and measures what the removal costs. The method and its words follow
 * "A deeper look at depth pruning of LLMs" (arXiv 2407.16286).
 *
 * Words
 *   block i        0 .. n_blocks-1, one decoder layer.
 *   sublayer u     0 .. 2*n_blocks-1. u = 2i is the attention of block i, u = 2i+1 its feed-forward.
 *   keep mask      one byte per sublayer, 1 = kept, 0 = removed. A removed sublayer leaves the residual stream as it
 *                  is; its norm is not computed, its keys and values are not stored, and the positions of the other
 *                  sublayers do not change. All removed is allowed: embeddings go straight to the head.
 *   influence      a score; higher = more important. Pruning removes ascending, ties go to the lower index.
 *   loss           mean negative log-likelihood per predicted token, in nats.
 *
 * Rules that hold for every function
 *   Errors         A call that can fail returns a prune_status. Anything but PRUNE_OK means that it failed, unknown
 *                  values too; prune_last_error() then has a sentence that names the thing at fault. Outputs are
 *                  left as they were, except that `out` handles become NULL and `out_count` may say what is needed.
 *   Pointers       Every pointer is checked for NULL. Where NULL is allowed, the comment says so.
 *   Handles        Opaque. Made by _open or _create, given back by _release, which accepts NULL. A handle that was
 *                  released, or is of another kind, is recognised and gives PRUNE_ERR_HANDLE.
 *   Threads        A const handle may be used by several threads at once; a handle passed without const by one.
 *                  Releasing waits for nobody: calls under way keep what they use alive.
 *   Strings        UTF-8 and NUL-terminated. Given to the library: copied. Given by it: borrowed, lifetime stated.
 *   Structs        `struct_size` comes first and is set by the caller (PRUNE_*_INIT does it); later versions only
 *                  append fields. Zero is the default of every field. A size smaller than the first version's, or a
 *                  larger one whose unknown tail is not zero, gives PRUNE_ERR_ARGUMENT. Reserved fields must be 0.
 *   Buffers        Caller's memory, `capacity` in elements, `out_count` what was written. Too small: PRUNE_ERR_BUFFER,
 *                  nothing written, and `out_count` says how many elements are needed. `out_count` may be NULL.
 *   Callbacks      Called on the thread that made the call; never kept after it returns. Those of prune_host are kept until
 *                  its model is let go, and still called on the thread of the call that needs them.
 *   The process    The library never prints, exits, traps, or changes signal handlers or the environment, of which it
 *                  reads PRUNECORE_COMPUTE. The thread count of BLAS, which is process-wide, is changed only inside
 *                  calls and put back.
 */
#ifndef PRUNECORE_H
#define PRUNECORE_H

#include <stddef.h>
#include <stdint.h>

#define PRUNE_VERSION_MAJOR 0
#define PRUNE_VERSION_MINOR 1
#define PRUNE_VERSION_PATCH 0

/* Grows when a change breaks programs built against an older header; prune_abi_version() says the library's. */
#define PRUNE_ABI_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

/* ====================================================================================================================
 * Library
 * ==================================================================================================================*/

/* Result of a call. Values are never reused. */
typedef int32_t prune_status;
enum {
    PRUNE_OK = 0,
    PRUNE_ERR_ARGUMENT = 1,    /* NULL, out of range, wrong length, wrong struct_size */
    PRUNE_ERR_HANDLE = 2,      /* handle was released, or is not of this kind */
    PRUNE_ERR_MEMORY = 3,      /* memory could not be had */
    PRUNE_ERR_FILE = 4,        /* file missing or unreadable */
    PRUNE_ERR_FORMAT = 5,      /* file is damaged, or contradicts itself */
    PRUNE_ERR_UNSUPPORTED = 6, /* well-formed, but not something this version computes */
    PRUNE_ERR_DATA = 7,        /* token ids that do not fit the model, or too few of them */
    PRUNE_ERR_NONFINITE = 8,   /* NaN or infinity met; the text names the layer */
    PRUNE_ERR_CANCELLED = 9,   /* the progress callback asked to stop */
    PRUNE_ERR_BUFFER = 10,     /* caller's buffer too small; out_count says what is needed */
    PRUNE_ERR_INTERNAL = 11,   /* a fault of the library itself; please report it */
    PRUNE_ERR_HOST = 12        /* a callback of the host failed; the text names it, and has the host's own sentence */
};

/* Version as "major.minor.patch". Static; never NULL. */
const char *prune_version(void);

/* PRUNE_ABI_VERSION of the library. Compare with the header's before the first other call. */
int32_t prune_abi_version(void);

/* Name of a status, "PRUNE_ERR_FILE" for PRUNE_ERR_FILE. Static; never NULL; "PRUNE_ERR_UNKNOWN" for other values. */
const char *prune_status_name(prune_status status);

/*
 * What went wrong in the last failed call of this thread: one sentence that names the file, tensor, layer or argument.
 * Never NULL; "" if nothing failed yet. Valid until the next call of this thread. For people: branch on the status.
 */
const char *prune_last_error(void);

/* What the library runs on. Filled by prune_runtime_info(). Strings are static. */
typedef struct prune_runtime {
    uint32_t struct_size;
    int32_t threads;           /* threads that a call uses at most */
    int32_t processors;        /* processors this process may run on */
    int32_t reserved;          /* 0 */
    const char *blas;          /* name and configuration of the BLAS in use */
    const char *blas_kernels;  /* kernels that BLAS chose when it was loaded, such as "SkylakeX" */
    const char *blas_forced;   /* value of the environment variable OPENBLAS_CORETYPE at load; "" if unset */
    const char *cpu_features;  /* those that matter for speed, such as "avx2 fma avx512f avx512_bf16" */
    const char *advice;        /* a sentence if the kernels in use are slower than the CPU allows; "" if all is well */
    const char *bf16_kernels;  /* instructions of PRUNE_COMPUTE_BFLOAT16, "avx512_bf16"; "" if the CPU has none */
    const char *loop_kernels;  /* what the library's own loops are compiled for: "avx512", "avx2" or "baseline" */
} prune_runtime;
#define PRUNE_RUNTIME_INIT { sizeof(prune_runtime), 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/* Describes kernels, CPU and threads. Errors: PRUNE_ERR_ARGUMENT. */
prune_status prune_runtime_info(prune_runtime *out_runtime);

/*
 * Sets how many threads a call uses at most, for the whole library. 0 = one per processor (the default).
 * Takes effect with the next call. Errors: PRUNE_ERR_ARGUMENT if `threads` is negative or above 1024.
 */
prune_status prune_threads_set(int32_t threads);

/* How far a long call has come. A call of several stages counts each from 0. Strings are valid during the callback. */
typedef struct prune_progress {
    uint32_t struct_size;
    int32_t reserved;    /* 0 */
    const char *stage;   /* what is being done, such as "score" or "leave one out" */
    int64_t done;        /* steps done, 0 .. total */
    int64_t total;       /* steps in all; a step is one sublayer applied to one batch of tokens */
    double seconds;      /* since the call began */
} prune_progress;

/* Told of progress, at most a few dozen times a second. Returns 0 to go on; anything else stops: PRUNE_ERR_CANCELLED. */
typedef int32_t (*prune_progress_fn)(void *user_data, const prune_progress *progress);

/* ====================================================================================================================
 * Models
 * ==================================================================================================================*/

/* A decoder-only language model. */
typedef struct prune_model prune_model;

/*
 * What matrix products multiply in. Sums, the residual stream, norms and softmax are fp32 either way. Same type, same
 * inputs: same results.
 */
typedef int32_t prune_compute;
enum {
    PRUNE_COMPUTE_AUTOMATIC = 0, /* what the environment variable PRUNECORE_COMPUTE (float32, bfloat16) says; where it is
                                    unset or empty, BFLOAT16 for weights stored in bf16 on a CPU with AVX512-BF16, else
                                    FLOAT32 */
    PRUNE_COMPUTE_FLOAT32 = 1,   /* weights are widened exactly: results agree with a fp32 reference to its rounding */
    PRUNE_COMPUTE_BFLOAT16 = 2   /* activations are rounded to bf16 before each product, as PyTorch does in a bf16 model;
                                    up to twice as fast. Losses move by about 1e-4 of themselves */
};

/* Told once that nothing of the library uses what a host lent it any more. May be called on any thread that lets the last
   user go: it must not call the library. */
typedef void (*prune_close_fn)(void *user_data);

/* How a model is opened. */
typedef struct prune_model_options {
    uint32_t struct_size;
    prune_compute compute;
    prune_close_fn on_close;   /* of prune_model_from_tensors() and _from_dlpack() alone: the tensors' memory may go now. Calls under
                                  way, and models attached to this one, use it beyond prune_model_release(). Not called if the
                                  model was not made. NULL = none */
    void *user_data;           /* of on_close */
} prune_model_options;
#define PRUNE_MODEL_OPTIONS_INIT { sizeof(prune_model_options), 0, NULL, NULL }

/*
 * Opens a Hugging Face model directory: `config.json` and `model.safetensors`, or the shards that
 * `model.safetensors.index.json` names. Weights stay memory-mapped in their stored type (bf16, fp16 or fp32) and must
 * not be changed while the model is open. Architectures: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM,
 * Qwen3ForCausalLM; rotary embeddings of type default, linear, llama3 and yarn.
 *   directory   path
 *   options     NULL = defaults
 *   out_model   receives the handle; give it to prune_model_release()
 * Errors: PRUNE_ERR_ARGUMENT (also an unknown compute type, of the options or of PRUNECORE_COMPUTE), PRUNE_ERR_FILE,
 * PRUNE_ERR_FORMAT (damaged files; missing tensors; wrong shapes), PRUNE_ERR_UNSUPPORTED (architecture, element type,
 * activation or rotary type; BFLOAT16 on a CPU that has no instructions for it), PRUNE_ERR_MEMORY.
 */
prune_status prune_model_open(const char *directory, const prune_model_options *options, prune_model **out_model);

/* How an element of a tensor is stored. */
typedef int32_t prune_element_type;
enum {
    PRUNE_ELEMENT_FLOAT32 = 0,
    PRUNE_ELEMENT_FLOAT16 = 1,
    PRUNE_ELEMENT_BFLOAT16 = 2
};

/* A tensor in the host's memory. The layout is fixed within an ABI version. */
typedef struct prune_tensor {
    const char *name;                /* as in a Hugging Face checkpoint: "model.layers.0.self_attn.q_proj.weight" */
    const void *data;                /* the first element; of any alignment */
    prune_element_type element_type;
    int32_t n_dimensions;            /* 1 or 2 */
    const int64_t *shape;            /* n_dimensions entries */
    const int64_t *strides;          /* elements from one index to the next, n_dimensions entries; NULL = row after row. The
                                        last must be 1, that of rows at least their length: rows of a wider matrix will do */
} prune_tensor;

/*
 * A model over weights that the host already holds: nothing is copied. The memory is borrowed: it must stay, and is read
 * anew by every call, until prune_model_release() returned, no call is under way, and models attached to this one are
 * released too; options->on_close tells when. A weight that the host changes is seen by the next call; it must not change
 * during one.
 *   config_json   the text of the model's `config.json`
 *   tensors       named as in a checkpoint; those that the architecture does not need are ignored. Only the array is done
 *                 with on return
 *   options       NULL = defaults
 * Architectures and errors as prune_model_open(); a tensor that is missing or has another shape is PRUNE_ERR_FORMAT; two of
 * one name, a NULL, or a negative size are PRUNE_ERR_ARGUMENT; other strides are PRUNE_ERR_UNSUPPORTED.
 */
prune_status prune_model_from_tensors(const char *config_json, const prune_tensor *tensors, size_t n_tensors,
                                      const prune_model_options *options, prune_model **out_model);

/* As the DLPack standard defines it (dlpack.h, version 1): this header needs its name only. */
struct DLManagedTensorVersioned;

/*
 * The same from DLPack tensors on the CPU, of type float or bfloat, in 32 or 16 bits.
 *   names, tensors   n_tensors each. On PRUNE_OK the library owns the tensors and calls the deleter of each once nothing
 *                    uses it; on failure they stay the caller's
 * Errors: as prune_model_from_tensors(); PRUNE_ERR_UNSUPPORTED for another device, element type or major version.
 */
prune_status prune_model_from_dlpack(const char *config_json, const char *const *names,
                                     struct DLManagedTensorVersioned *const *tensors, size_t n_tensors,
                                     const prune_model_options *options, prune_model **out_model);

/* Gives a model back. NULL and a handle that was already released are allowed. */
void prune_model_release(prune_model *model);

/* What a model can do: bits of prune_model_shape.abilities. */
enum {
    PRUNE_ABILITY_READ_STATES = 1, /* hidden states can be read or compared: static metrics work */
    PRUNE_ABILITY_MAGNITUDE = 2,   /* weights can be read: the magnitude metric works */
    PRUNE_ABILITY_GENERATE = 4,    /* prune_model_generate() works */
    PRUNE_ABILITY_GRADIENTS = 8,   /* gradients can be had: training and vjp work, and the taylor metric of native models */
    PRUNE_ABILITY_SUBLAYERS = 16,  /* sublayers can be removed one by one; without it, both of a block or none */
    PRUNE_ABILITY_STATES = 32      /* the model runs sublayer by sublayer; without it, only losses of whole masks can be had */
};

/* Shape of a model. Strings live as long as the handle. */
typedef struct prune_model_shape {
    uint32_t struct_size;
    uint32_t abilities;           /* PRUNE_ABILITY_* */
    const char *architecture;     /* such as "LlamaForCausalLM" */
    const char *element_type;     /* most frequent storage type of the weights: "bf16", "fp16" or "fp32" */
    int64_t n_blocks;
    int64_t hidden_size;
    int64_t feed_forward_size;
    int64_t n_heads;
    int64_t n_kv_heads;
    int64_t head_size;
    int64_t vocabulary_size;
    int64_t context_length;       /* positions the model was made for; longer sequences are computed all the same */
    int64_t tied_embeddings;      /* 1 if the head uses the embedding matrix */
    int64_t parameters;           /* of the whole model, a tied matrix counted once */
    int64_t parameter_bytes;      /* as stored */
    int64_t kv_bytes;   /* of all attention layers, in the stored type of the keys' and values' weights */
    prune_compute compute;        /* the type in use, never AUTOMATIC */
    int32_t reserved;             /* 0 */
} prune_model_shape;
#define PRUNE_MODEL_SHAPE_INIT { sizeof(prune_model_shape), 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Describes a model. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_model_info(const prune_model *model, prune_model_shape *out_shape);

/* One sublayer: what removing it saves. */
typedef struct prune_sublayer {
    int64_t block;               /* 0 .. n_blocks-1 */
    int64_t is_feed_forward;     /* 0 = attention, 1 = feed-forward */
    int64_t parameters;          /* its matrices, biases and norms, its pre-norm included */
    int64_t parameter_bytes;     /* as stored */
    int64_t kv_bytes;  /* 0 for feed-forward */
    int64_t window;              /* attention: tokens a query sees at most, itself included; 0 = all before it */
} prune_sublayer;

/*
 * Lists the 2 * n_blocks sublayers in order. The layout of prune_sublayer is fixed within an ABI version.
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_model_sublayers(const prune_model *model, prune_sublayer *out_sublayers, size_t capacity,
                                   size_t *out_count);

/* ====================================================================================================================
 * Data
 * ==================================================================================================================*/

/* Token sequences, immutable once created and not tied to a model. */
typedef struct prune_data prune_data;

/* How token sequences are taken in. */
typedef struct prune_data_options {
    uint32_t struct_size;
    int32_t reserved;            /* 0 */
    const float *token_weights;  /* NULL = all 1. One per token: how much the loss of predicting that token counts; finite,
                                    >= 0. The first token of a sequence is predicted by nothing: its weight is unused.
                                    A sequence with no weight is scored by static metrics, but has no perplexity. */
} prune_data_options;
#define PRUNE_DATA_OPTIONS_INIT { sizeof(prune_data_options), 0, NULL }

/*
 * Copies token sequences.
 *   token_ids         all sequences one after the other; ids >= 0
 *   sequence_lengths  n_sequences lengths, each >= 1
 *   options           NULL = defaults
 * Whether the ids fit a model's vocabulary is checked when the two meet.
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_DATA (no sequence, length < 1, negative id, bad weight), PRUNE_ERR_MEMORY.
 */
prune_status prune_data_create(const int32_t *token_ids, const int64_t *sequence_lengths, size_t n_sequences,
                               const prune_data_options *options, prune_data **out_data);

/* Gives data back. NULL and a handle that was already released are allowed. */
void prune_data_release(prune_data *data);

/* Counts of a data set: sequences and tokens in all. Either output may be NULL. Errors: PRUNE_ERR_ARGUMENT,
   PRUNE_ERR_HANDLE. */
prune_status prune_data_info(const prune_data *data, int64_t *out_sequences, int64_t *out_tokens);

/* ====================================================================================================================
 * Masks: plain memory, uint8_t keep[2 * n_blocks]
 * ==================================================================================================================*/

/* What is counted or removed together. */
typedef int32_t prune_granularity;
enum {
    PRUNE_GRANULARITY_SUBLAYER = 0,    /* 2 * n_blocks units; unit u is sublayer u */
    PRUNE_GRANULARITY_BLOCK = 1,       /* n_blocks units; unit i is sublayers 2i and 2i+1 */
    PRUNE_GRANULARITY_ATTENTION = 2,   /* n_blocks units; unit i is sublayer 2i */
    PRUNE_GRANULARITY_FEED_FORWARD = 3 /* n_blocks units; unit i is sublayer 2i+1 */
};

/*
 * Sets the mask that later calls on this model use when they are given none. A new model keeps everything.
 *   keep, n_keep   one byte per sublayer, 0 or 1; NULL with 0 = keep everything again
 * Errors: PRUNE_ERR_ARGUMENT (wrong length, byte other than 0 and 1), PRUNE_ERR_HANDLE.
 */
prune_status prune_model_mask_set(prune_model *model, const uint8_t *keep, size_t n_keep);

/* Reads the model's mask. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER. */
prune_status prune_model_mask_get(const prune_model *model, uint8_t *out_keep, size_t capacity, size_t *out_count);

/* What is left of a model under a mask. */
typedef struct prune_cost {
    uint32_t struct_size;
    int32_t sublayers_removed;
    int64_t parameters;          /* kept, embeddings and head included */
    int64_t parameter_bytes;
    int64_t kv_bytes;
} prune_cost;
#define PRUNE_COST_INIT { sizeof(prune_cost), 0, 0, 0, 0 }

/*
 * Says what a mask leaves.
 *   keep, n_keep   NULL with 0 = the model's mask
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE.
 */
prune_status prune_model_cost(const prune_model *model, const uint8_t *keep, size_t n_keep, prune_cost *out_cost);

/*
 * Removes the units with the lowest scores.
 *   scores, n_scores   one influence per unit of the granularity, finite; higher = more important
 *   granularity        what the scores speak of; n_scores is n_blocks, or 2 * n_blocks for sublayers
 *   n_remove           units to remove, beyond those that keep_in already lacks
 *   keep_in            the mask to start from, n_keep bytes; NULL = everything kept. A unit of which a sublayer is
 *                      already removed is left alone.
 *   out_keep           receives n_keep bytes; may be keep_in
 *   n_keep         2 * n_blocks
 * Ties go to the lower index. Errors: PRUNE_ERR_ARGUMENT (also if fewer than n_remove units are left),
 * PRUNE_ERR_NONFINITE (the text names the unit).
 */
prune_status prune_mask_remove_lowest(const double *scores, size_t n_scores, prune_granularity granularity,
                                      size_t n_remove, const uint8_t *keep_in, uint8_t *out_keep, size_t n_keep);

/*
 * Writes a mask as JSON: {"format": "prunecore.mask", "version": 1, "n_blocks", "removed": ["attn.3", "ffn.7"],
 * "provenance": {...}}.
 *   provenance_json   a JSON object that says where the mask comes from (method, metric, seed, data hash); NULL = {}
 *   out_text          receives UTF-8 with a NUL at the end; `capacity` and `out_count` count bytes, the NUL included
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_FORMAT (provenance is no JSON object), PRUNE_ERR_BUFFER.
 */
prune_status prune_mask_to_json(const uint8_t *keep, size_t n_keep, const char *provenance_json, char *out_text,
                                size_t capacity, size_t *out_count);

/*
 * Reads a mask from JSON as written by prune_mask_to_json().
 *   out_keep   receives 2 * n_blocks bytes
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_FORMAT (the text says what is wrong), PRUNE_ERR_UNSUPPORTED (written by a later
 * version), PRUNE_ERR_BUFFER.
 */
prune_status prune_mask_from_json(const char *text, uint8_t *out_keep, size_t capacity, size_t *out_count);

/* ====================================================================================================================
 * Scores
 * ==================================================================================================================*/

/*
 * Metrics, as bits. With h the hidden state before a unit, g the one after it, u = g - h, per token, then the mean over
 * all tokens of all sequences. Definitions and sources: docs/metrics.md. Higher = more important for every one.
 */
enum {
    PRUNE_METRIC_COSINE = 1,                    /* 1 - cos(h, g): block influence */
    PRUNE_METRIC_ANGULAR = 2,                   /* arccos(cos(h, g)) / pi */
    PRUNE_METRIC_L1 = 4,                        /* ||u||_1 */
    PRUNE_METRIC_L2 = 8,                        /* ||u||_2 */
    PRUNE_METRIC_RELATIVE_L1 = 16,              /* ||u||_1 / ||h||_1, or ||g||_1: see relative_to */
    PRUNE_METRIC_RELATIVE_L2 = 32,              /* ||u||_2 / ||h||_2, or ||g||_2 */
    PRUNE_METRIC_MAGNITUDE = 64,                /* sum of |w| over the unit's matrices; needs no data */
    PRUNE_METRIC_LEAVE_ONE_OUT_LOSS = 128,      /* loss without the unit - loss with it */
    PRUNE_METRIC_LEAVE_ONE_OUT_LOGIT_L2 = 256,  /* mean over tokens that predict of ||logits with - logits without||_2 */
    PRUNE_METRIC_TAYLOR = 512,                  /* sum over the unit's matrices of |w * d(loss)/dw|: forward and backward */
    PRUNE_METRIC_ALL_STATIC = 127,              /* the first seven: one forward pass for all of them */
    PRUNE_METRIC_ALL = 1023                     /* taylor among them: needs PRUNE_ABILITY_GRADIENTS */
};

/* The denominator of the relative metrics. */
enum {
    PRUNE_RELATIVE_TO_INPUT = 0, /* the hidden state before the unit */
    PRUNE_RELATIVE_TO_OUTPUT = 1 /* the hidden state after it */
};

/* The tokens that static metrics look at. */
enum {
    PRUNE_TOKENS_ALL = 0,
    PRUNE_TOKENS_LAST = 1 /* the last one of each sequence (arXiv 2403.17887) */
};

/* How scores are computed. */
typedef struct prune_score_options {
    uint32_t struct_size;
    prune_granularity granularity; /* 0 = sublayers */
    uint64_t metrics;              /* PRUNE_METRIC_*; 0 = PRUNE_METRIC_ALL_STATIC, without magnitude if the model lacks
                                      PRUNE_ABILITY_MAGNITUDE */
    int32_t relative_to;           /* PRUNE_RELATIVE_TO_* */
    int32_t tokens;                /* PRUNE_TOKENS_* */
    const uint8_t *keep;           /* mask under which to score; NULL = the model's. A unit that is wholly removed scores
                                      0 in every metric that needs data */
    size_t n_keep;             /* 2 * n_blocks, or 0 with NULL */
    int64_t batch_tokens;          /* tokens computed together at most; 0 = chosen by the library. A longer sequence is
                                      a batch of its own */
    prune_progress_fn progress;    /* NULL = none */
    void *user_data;
} prune_score_options;
#define PRUNE_SCORE_OPTIONS_INIT { sizeof(prune_score_options), 0, 0, 0, 0, NULL, 0, 0, NULL, NULL }

/*
 * Scores every unit of a model: static metrics in one forward pass, leave-one-out in one pass per unit more, taylor in one
 * pass forward and backward, or several where memory holds the gradients of some layers at a time.
 *   data         NULL is allowed if magnitude is the only metric
 *   options      NULL = defaults
 *   out_scores   one row per metric asked for, in ascending order of its bit, one column per unit
 *   capacity     doubles that fit in out_scores; out_count = metrics * units
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_DATA, PRUNE_ERR_NONFINITE,
 * PRUNE_ERR_UNSUPPORTED (magnitude or taylor of a model without that ability), PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_score(const prune_model *model, const prune_data *data, const prune_score_options *options,
                               double *out_scores, size_t capacity, size_t *out_count);

/*
 * Statistics: the static metrics as running sums, so that data can come in parts, on several machines, and be merged.
 * Parts merged equal the whole to 1e-12 where the same tokens were computed together (`batch_tokens`); other batches
 * round the hidden states otherwise, which moves scores by about 1e-7. Only the static metrics but magnitude are among them.
 */
typedef struct prune_statistics prune_statistics;

/* How statistics are gathered. */
typedef struct prune_statistics_options {
    uint32_t struct_size;
    int32_t tokens;   /* PRUNE_TOKENS_* */
    int32_t windows;  /* 1 = also the angular distance of every run of contiguous blocks; keeps n_blocks + 1 hidden states of
                         a batch in memory */
    int32_t reserved; /* 0 */
} prune_statistics_options;
#define PRUNE_STATISTICS_OPTIONS_INIT { sizeof(prune_statistics_options), 0, 0, 0 }

/* Makes empty statistics for models of n_blocks blocks. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_MEMORY. */
prune_status prune_statistics_create(int64_t n_blocks, const prune_statistics_options *options,
                                     prune_statistics **out_statistics);

/* Gives statistics back. NULL and a handle that was already released are allowed. */
void prune_statistics_release(prune_statistics *statistics);

/*
 * Adds all tokens of a data set by one forward pass. On failure, cancelling included, nothing is added.
 *   options   NULL = defaults; keep, batch_tokens, progress and user_data are used, the rest is ignored
 * Errors: as prune_model_score().
 */
prune_status prune_statistics_collect(prune_statistics *statistics, const prune_model *model, const prune_data *data,
                                      const prune_score_options *options);

/* Rows of hidden states in the host's memory, one per token. The layout is fixed within an ABI version. */
typedef struct prune_rows {
    const void *data;                /* the first element of the first row; of any alignment. NULL if there are no rows */
    prune_element_type element_type;
    int32_t reserved;                /* 0 */
    int64_t n_rows;                  /* 0 adds nothing */
    int64_t width;                   /* hidden_size */
    int64_t row_stride;              /* elements from a row to the next; 0 = width. May be negative */
    int64_t column_stride;           /* elements from a value to the next; 0 = 1. May be negative */
} prune_rows;

/*
 * Adds some tokens of one unit: for runtimes of which no more can be had than activations, by a hook or a callback. Each
 * unit counts its own tokens, so that units may come in any order, and in parts of any size. Rows are read on this call.
 *   granularity     what `unit` counts: sublayers, blocks, attention or feed-forward layers. A block's scores come from its
 *                   own rows only, not from those of its sublayers
 *   before, after   hidden states before the unit and after it, of the same tokens: as many rows, as wide
 * PRUNE_TOKENS_LAST is the host's to heed: every row given counts.
 * Errors: PRUNE_ERR_ARGUMENT (also statistics with windows, which need whole passes), PRUNE_ERR_HANDLE,
 * PRUNE_ERR_NONFINITE (the text names unit and row; nothing is added), PRUNE_ERR_MEMORY.
 */
prune_status prune_statistics_update(prune_statistics *statistics, prune_granularity granularity, int64_t unit,
                                     const prune_rows *before, const prune_rows *after);

/* Adds `other` to `statistics`. Both must have the same blocks and options. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_statistics_merge(prune_statistics *statistics, const prune_statistics *other);

/*
 * Reads scores: as prune_model_score(), from the sums.
 *   options   NULL = defaults; granularity, metrics (static ones but magnitude; 0 = all six) and relative_to are used
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_DATA (a unit, which the text names, was given
 * no tokens).
 */
prune_status prune_statistics_scores(const prune_statistics *statistics, const prune_score_options *options,
                                     double *out_scores, size_t capacity, size_t *out_count);

/*
 * Reads the mean angular distance of every window of contiguous blocks: row n-1, column i holds that between the hidden
 * state before block i and the one after block i+n-1, for n = 1..n_blocks; NaN where i+n > n_blocks.
 *   capacity   n_blocks * n_blocks
 * Errors: PRUNE_ERR_ARGUMENT (windows was not set), PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_DATA.
 */
prune_status prune_statistics_windows(const prune_statistics *statistics, double *out_distances, size_t capacity,
                                      size_t *out_count);

/* ====================================================================================================================
 * Evaluation
 * ==================================================================================================================*/

/* How masks are evaluated. */
typedef struct prune_evaluate_options {
    uint32_t struct_size;
    int32_t reserved;           /* 0 */
    int64_t batch_tokens;       /* as in prune_score_options */
    prune_progress_fn progress; /* NULL = none */
    void *user_data;
} prune_evaluate_options;
#define PRUNE_EVALUATE_OPTIONS_INIT { sizeof(prune_evaluate_options), 0, 0, NULL, NULL }

/* What a model is worth on a data set under one mask. The layout is fixed within an ABI version. */
typedef struct prune_evaluation {
    double loss;                 /* weighted mean over all predicted tokens, nats */
    double perplexity;           /* exp(loss): token-pooled */
    double sequence_perplexity;  /* mean over sequences of exp(mean loss of the sequence): the paper's */
    double weight;               /* sum of the weights of the predicted tokens */
    int64_t tokens;              /* predicted tokens with a weight above 0 */
    int64_t sequences;           /* sequences that have such a token */
} prune_evaluation;

/*
 * Evaluates a model under each of n_masks masks.
 *   keep_masks, n_masks, n_keep   n_masks rows of n_keep = 2 * n_blocks bytes; NULL with 1 and 0 = the model's
 *                                      mask. A pruning curve is a call with nested masks.
 *   options                            NULL = defaults
 *   out_evaluations                    n_masks of them
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_DATA (id outside the vocabulary; nothing to predict),
 * PRUNE_ERR_NONFINITE, PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_evaluate(const prune_model *model, const prune_data *data, const uint8_t *keep_masks,
                                  size_t n_masks, size_t n_keep, const prune_evaluate_options *options,
                                  prune_evaluation *out_evaluations);

/*
 * Loss of every token under a mask: out_losses[t] = -log p(token t | those before it in its sequence), nats, not
 * weighted; 0 for the first token of each sequence.
 *   keep, n_keep   NULL with 0 = the model's mask
 *   capacity           number of tokens of the data
 * Errors: as prune_model_evaluate(), and PRUNE_ERR_BUFFER.
 */
prune_status prune_model_token_losses(const prune_model *model, const prune_data *data, const uint8_t *keep,
                                      size_t n_keep, const prune_evaluate_options *options, float *out_losses,
                                      size_t capacity, size_t *out_count);

/*
 * Logits of every token under a mask: row t holds the vocabulary_size logits that predict what follows token t. Meant for
 * checks and small data: tokens * vocabulary_size floats. Arguments and errors as prune_model_token_losses().
 */
prune_status prune_model_logits(const prune_model *model, const prune_data *data, const uint8_t *keep,
                                size_t n_keep, const prune_evaluate_options *options, float *out_logits,
                                size_t capacity, size_t *out_count);

/*
 * Hidden states on the residual stream under a mask: row t holds the hidden_size values of token t before sublayer
 * `sublayer`; 2 * n_blocks = after the last one, before the final norm.
 * Other arguments and errors as prune_model_token_losses().
 */
prune_status prune_model_hidden_states(const prune_model *model, const prune_data *data, const uint8_t *keep,
                                       size_t n_keep, int64_t sublayer, const prune_evaluate_options *options,
                                       float *out_states, size_t capacity, size_t *out_count);

/* ====================================================================================================================
 * Generation: text that a model writes
 * ==================================================================================================================*/

/* Why a sequence ended. */
enum {
    PRUNE_END_NONE = 0,    /* it goes on; in results never */
    PRUNE_END_STOP = 1,    /* a stop token was written; it is the last of the new tokens */
    PRUNE_END_LENGTH = 2,  /* max_new_tokens were written */
    PRUNE_END_CONTEXT = 3, /* prompt and new tokens together fill context_length of prune_model_shape */
    PRUNE_END_CALLBACK = 4 /* the token callback ended it */
};

/* A token that was just written. */
typedef struct prune_token {
    uint32_t struct_size;
    int32_t token_id;
    int64_t prompt;   /* index of the prompt that it continues */
    int64_t index;    /* its place among the new tokens of that prompt, from 0 */
    float loss;       /* -log p(token | prompt and new tokens before it), nats, before temperature and truncation */
    int32_t end;      /* PRUNE_END_*: why the sequence ends with this token; PRUNE_END_NONE = it goes on */
} prune_token;

/* What a token callback answers. */
enum {
    PRUNE_TOKEN_CONTINUE = 0,
    PRUNE_TOKEN_END_SEQUENCE = 1 /* this sequence ends, others go on. Any other value stops all: PRUNE_ERR_CANCELLED */
};

/* Told every token when it is written. Prompts that are continued together take turns, in their order. */
typedef int32_t (*prune_token_fn)(void *user_data, const prune_token *token);

/* How text is generated. A token is chosen as transformers does: temperature, then top_k, then top_p. */
typedef struct prune_generate_options {
    uint32_t struct_size;
    int32_t reserved;           /* 0 */
    int64_t max_new_tokens;     /* per prompt, at most 2^24; 0 = 128 */
    double temperature;         /* logits are divided by it; 0 = greedy: the largest logit, the first of equal ones */
    int64_t top_k;              /* so many of the likeliest tokens remain, and those as likely as the last; 0 = all */
    double top_p;               /* of these, the fewest likeliest ones with this probability together; 0 or 1 = all */
    uint64_t seed;              /* same seed and prompts: same text, but for rounding, which depends on the batches */
    const int32_t *stop_tokens; /* a sequence ends with any of these; NULL = none */
    size_t n_stop_tokens;
    int64_t batch_sequences;    /* prompts continued together at most; 0 = chosen by the library, so that their keys and
                                   values take no more than a quarter of the memory that is free */
    int64_t batch_tokens;       /* tokens of prompts computed together, as in prune_score_options */
    prune_token_fn on_token;    /* NULL = none */
    prune_progress_fn progress; /* NULL = none. A step is a new token; a sequence that ends early has done all of its */
    void *user_data;            /* of both callbacks */
} prune_generate_options;
#define PRUNE_GENERATE_OPTIONS_INIT \
    { sizeof(prune_generate_options), 0, 0, 0.0, 0, 0.0, 0, NULL, 0, 0, 0, NULL, NULL, NULL }

/* What a model wrote. Immutable. */
typedef struct prune_generation prune_generation;

/*
 * Continues every sequence of `prompts`. Keys and values of earlier tokens are kept in fp32, for kept attention layers
 * alone, and for no more tokens than a layer's window. Where a prompt ends, one that waits takes its place.
 *   prompts            token ids; weights and choices are ignored. A prompt that fills the model's context is left alone
 *   keep, n_keep   NULL with 0 = the model's mask
 *   options            NULL = defaults
 *   out_generation     receives the handle; give it to prune_generation_release()
 * Errors: PRUNE_ERR_ARGUMENT (also a stop token outside the vocabulary), PRUNE_ERR_HANDLE, PRUNE_ERR_DATA (a token id
 * outside the vocabulary), PRUNE_ERR_NONFINITE (names prompt and layer), PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY,
 * PRUNE_ERR_UNSUPPORTED (the model lacks PRUNE_ABILITY_GENERATE).
 */
prune_status prune_model_generate(const prune_model *model, const prune_data *prompts, const uint8_t *keep,
                                  size_t n_keep, const prune_generate_options *options,
                                  prune_generation **out_generation);

/* Gives a generation back. NULL and a handle that was already released are allowed. */
void prune_generation_release(prune_generation *generation);

/* What generating took. */
typedef struct prune_generation_summary {
    uint32_t struct_size;
    int32_t reserved;        /* 0 */
    int64_t n_sequences;     /* as many as prompts */
    int64_t prompt_tokens;   /* computed; prompts that fill the context are not */
    int64_t new_tokens;      /* of all sequences */
    double prompt_seconds;   /* for the prompts, and the first new token of each */
    double decode_seconds;   /* for all further tokens */
    int64_t kv_bytes_peak;   /* memory for keys and values of all sequences under way, at most */
} prune_generation_summary;
#define PRUNE_GENERATION_SUMMARY_INIT { sizeof(prune_generation_summary), 0, 0, 0, 0, 0.0, 0.0, 0 }

/* Says what generating took. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_generation_info(const prune_generation *generation, prune_generation_summary *out_report);

/*
 * Reads what was written after one prompt.
 *   prompt       0 .. n_sequences-1
 *   out_tokens   the new tokens, a stop token included
 *   out_losses   one per new token, as in prune_token; room for as many as out_tokens; NULL = not wanted
 *   capacity     tokens that fit; out_count = new tokens, which may be 0
 *   out_end      PRUNE_END_*; NULL = not wanted. Written even if the tokens do not fit.
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_generation_sequence(const prune_generation *generation, int64_t prompt, int32_t *out_tokens,
                                       float *out_losses, size_t capacity, size_t *out_count, int32_t *out_end);

/* ====================================================================================================================
 * Coalitions: what sets of kept sublayers are worth
 * ==================================================================================================================*/

/* Quantities of a masked model, each a damage: lower = better. Definitions: docs/shapley.md. */
typedef int32_t prune_measure;
enum {
    PRUNE_MEASURE_LOSS = 0,         /* mean negative log-likelihood per predicted token, nats */
    PRUNE_MEASURE_LOGIT_L2 = 1,     /* mean over predicting tokens of ||logits - reference logits||_2 */
    PRUNE_MEASURE_KL = 2,           /* mean KL divergence of the next-token distribution from the reference's, nats */
    PRUNE_MEASURE_JS = 3,           /* mean Jensen-Shannon divergence between the two, nats; at most ln 2 */
    PRUNE_MEASURE_CHOICE_ERROR = 4, /* share of multiple-choice items answered wrongly */
    PRUNE_MEASURE_CHOICE_LOSS = 5   /* mean over items of -log softmax over the candidates' scores, at the answer */
};

/* Special values of the option `cap`. */
#define PRUNE_CAP_DEFAULT 0.0    /* ln(vocabulary_size) for PRUNE_MEASURE_LOSS in Shapley calls; else none */
#define PRUNE_CAP_NONE (-1.0)    /* values as they are */

/* How coalitions are evaluated. */
typedef struct prune_coalition_options {
    uint32_t struct_size;
    prune_measure measure;
    double cap;                 /* a value above it counts as it; or PRUNE_CAP_* */
    const uint8_t *reference;   /* mask whose logits the distances are taken to; NULL = everything kept */
    size_t n_reference;     /* 2 * n_blocks, or 0 with NULL */
    int64_t batch_tokens;       /* as in prune_score_options */
    int64_t memory_budget;      /* bytes for hidden states at most, those under way included; 0 = a quarter of the
                                   memory that is free. Masks that do not fit together are evaluated one after the
                                   other, and states that do not fit even then are computed again. Those of one batch
                                   before and after a sublayer, and of the reference, are held in any case */
    prune_progress_fn progress; /* NULL = none */
    void *user_data;
} prune_coalition_options;
#define PRUNE_COALITION_OPTIONS_INIT { sizeof(prune_coalition_options), 0, 0.0, NULL, 0, 0, 0, NULL, NULL }

/* What evaluating some masks took. A sublayer counts once per batch of tokens that it is applied to. */
typedef struct prune_walk_report {
    uint32_t struct_size;
    int32_t reserved;            /* 0 */
    int64_t sublayers_computed;  /* sublayers applied; masks share what they agree on from the first sublayer on */
    int64_t sublayers_naive;     /* sublayers that it would have taken mask by mask */
    int64_t tokens;              /* of the data */
    double seconds;
} prune_walk_report;
#define PRUNE_WALK_REPORT_INIT { sizeof(prune_walk_report), 0, 0, 0, 0, 0.0 }

/*
 * Evaluates a measure under each of n_masks masks, as one walk over their prefix tree.
 *   keep_masks, n_masks, n_keep   as in prune_model_evaluate()
 *   out_values                         n_masks values
 *   out_report                         NULL = not wanted
 * Errors: as prune_model_evaluate(); PRUNE_ERR_DATA if a choice measure is asked of data without choices.
 */
prune_status prune_model_damages(const prune_model *model, const prune_data *data, const uint8_t *keep_masks,
                                   size_t n_masks, size_t n_keep, const prune_coalition_options *options,
                                   double *out_values, prune_walk_report *out_report);

/* How the candidates of a multiple-choice item are scored. */
enum {
    PRUNE_CHOICE_SCORE_SUM = 0, /* log-likelihood of the candidate after the context */
    PRUNE_CHOICE_SCORE_MEAN = 1 /* the same divided by the candidate's number of tokens */
};

/*
 * Multiple-choice items. Item i has a context and n_candidates[i] >= 2 candidate continuations, of which answers[i] is
 * right. Arrays of ids and lengths run through all items in order, and within an item through its candidates.
 */
typedef struct prune_choices {
    uint32_t struct_size;
    int32_t score;                     /* PRUNE_CHOICE_SCORE_* */
    size_t n_items;
    const int32_t *context_ids;
    const int64_t *context_lengths;    /* n_items; each >= 1 */
    const int64_t *n_candidates;       /* n_items; each >= 2 */
    const int32_t *candidate_ids;
    const int64_t *candidate_lengths;  /* one per candidate; each >= 1 */
    const int64_t *answers;            /* n_items; 0 .. n_candidates[i] - 1 */
} prune_choices;
#define PRUNE_CHOICES_INIT { sizeof(prune_choices), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL }

/*
 * Copies multiple-choice items as data. Items whose candidates are single tokens are computed as one sequence; others as
 * one sequence per candidate. For calls that do not know of choices, the tokens of the right candidates weigh 1 and all
 * others 0, so that the loss is that of the right answers.
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_DATA (names the item), PRUNE_ERR_MEMORY.
 */
prune_status prune_data_create_choices(const prune_choices *choices, prune_data **out_data);

/*
 * Scores the candidates of multiple-choice data under a mask.
 *   keep, n_keep      NULL with 0 = the model's mask
 *   options               NULL = defaults
 *   out_log_likelihoods   one per candidate of all items: the sum over its tokens, nats, not length-normalised
 *   capacity              candidates that fit; out_count = candidates in all
 * The choice of an item is the candidate with the highest score (`score` of prune_choices); ties go to the first.
 * Errors: as prune_model_evaluate(), PRUNE_ERR_BUFFER; PRUNE_ERR_DATA if the data has no choices.
 */
prune_status prune_model_evaluate_choices(const prune_model *model, const prune_data *data, const uint8_t *keep,
                                 size_t n_keep, const prune_evaluate_options *options, double *out_log_likelihoods,
                                 size_t capacity, size_t *out_count);

/* ====================================================================================================================
 * Shapley values: what each player adds to a game
 *
 * A game gives every set of players (a coalition) a worth, higher = better. For models the players are sublayers, or
 * groups of them, a coalition is what is kept, and its worth is minus a measure. An estimator asks for the worths of some
 * coalitions and is told them, in any order and from any machine; what it knows decides its estimate. Same seed and same
 * worths: same estimate. docs/shapley.md defines the estimators and shows what each is worth.
 * ==================================================================================================================*/

/* A game under way. Not const: one thread at a time. */
typedef struct prune_game prune_game;

typedef int32_t prune_estimator;
enum {
    PRUNE_ESTIMATOR_DEFAULT = 0,            /* the one that measured best: PRUNE_ESTIMATOR_SURROGATE */
    PRUNE_ESTIMATOR_EXACT = 1,              /* all 2^n coalitions; n <= 20 */
    PRUNE_ESTIMATOR_LEAVE_ONE_OUT = 2,      /* v(all) - v(all but i): n + 1 coalitions; no Shapley value */
    PRUNE_ESTIMATOR_RANDOM_SUBNETWORKS = 3, /* the paper's: mean worth with i - mean worth without, at one size */
    PRUNE_ESTIMATOR_PERMUTATION = 4,        /* marginal contributions along random orders */
    PRUNE_ESTIMATOR_ANTITHETIC = 5,         /* the same along each order and its reverse */
    PRUNE_ESTIMATOR_TRUNCATED = 6,          /* orders from the full set down, left once the worth is that of the empty set */
    PRUNE_ESTIMATOR_STRATIFIED = 7,         /* means by size, with and without each player; coalitions in pairs */
    PRUNE_ESTIMATOR_KERNEL_SHAP = 8,        /* weighted regression, leverage sampling, pairs, no repetition */
    PRUNE_ESTIMATOR_SURROGATE = 9,          /* a fitted model of the game, and the strata of what it leaves */
    PRUNE_ESTIMATOR_BANZHAF = 10,           /* weighted Banzhaf value: each other player is kept with keep_probability */
    PRUNE_ESTIMATOR_PAIR_DIFFERENCES = 11   /* leave-one-out, and second differences of all pairs at the full set */
};

/* How a game is estimated and when it is done. The first bound that is met ends it. */
typedef struct prune_game_options {
    uint32_t struct_size;
    prune_estimator estimator;
    uint64_t seed;
    int64_t budget;               /* coalitions asked for at most; 0 = what the estimator needs, or 32 * n_players; for
                                     RANDOM_SUBNETWORKS on a model, a round for every sequence of its data */
    double target_error;          /* done when no standard error is above it; 0 = no such bound */
    int64_t least;          /* done when it is certain which players are the lowest, this many; 0 = no bound */
    double certainty;             /* 0 < certainty < 1; 0 = 0.95 */
    double keep_probability;      /* of BANZHAF; 0 = 0.5 */
    int64_t subnetwork_size;      /* of RANDOM_SUBNETWORKS: players kept; 0 = half of them. n_players - 1 leaves out each
                                     player once per round, as the paper does by default */
    int64_t subnetworks_per_round;/* of RANDOM_SUBNETWORKS: coalitions per sequence of the data; 0 = 10, as the paper */
    double truncation;            /* of TRUNCATED: an order is left when the worth is within truncation * |v(all) - v(none)|
                                     of v(none); 0 = 0.01 */
} prune_game_options;
#define PRUNE_GAME_OPTIONS_INIT { sizeof(prune_game_options), 0, 0, 0, 0.0, 0, 0.0, 0.0, 0, 0, 0.0 }

/*
 * Begins a game.
 *   n_players   1 .. 8192
 *   options     NULL = defaults
 * Errors: PRUNE_ERR_ARGUMENT (an option out of range; EXACT with more than 20 players), PRUNE_ERR_MEMORY.
 */
prune_status prune_game_create(int64_t n_players, const prune_game_options *options, prune_game **out_game);

/* Gives a game back. NULL and a handle that was already released are allowed. */
void prune_game_release(prune_game *game);

/*
 * Asks for coalitions whose worth is wanted next. Fewer than asked for, none at all even, if the game is done or waits for
 * worths it asked for before.
 *   most        coalitions at most
 *   out_masks   most * n_players bytes: 1 = in the coalition
 *   out_count   receives how many were written
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE.
 */
prune_status prune_game_ask(prune_game *game, size_t most, uint8_t *out_masks, size_t *out_count);

/*
 * Tells worths of coalitions that were asked for, in any order; all of them or, on error, none.
 *   masks, values, n   n rows of n_players bytes, n worths
 * Errors: PRUNE_ERR_ARGUMENT (a coalition was never asked for, or was told before, or a byte is not 0 or 1),
 * PRUNE_ERR_NONFINITE, PRUNE_ERR_HANDLE.
 */
prune_status prune_game_tell(prune_game *game, const uint8_t *masks, const double *values, size_t n);

/* Where a game stands. */
typedef struct prune_game_state {
    uint32_t struct_size;
    int32_t done;              /* 1 if a bound is met and nothing more will be asked for */
    int64_t n_players;
    int64_t asked;             /* coalitions asked for */
    int64_t told;              /* worths told */
    int64_t outstanding;       /* asked for and not told */
    double efficiency_gap;     /* sum of the values - (v(all) - v(none)); NaN while one of the two is unknown */
    double largest_error;      /* largest standard error; NaN while there is no estimate */
    int64_t sublayers_computed;/* in games that prune_model_shapley() ran: as in prune_walk_report */
    int64_t sublayers_naive;
    prune_estimator estimator; /* the one in use, never DEFAULT */
    int32_t reserved;          /* 0 */
} prune_game_state;
#define PRUNE_GAME_STATE_INIT { sizeof(prune_game_state), 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0, 0 }

/* Says where a game stands. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_game_info(const prune_game *game, prune_game_state *out_state);

/*
 * Reads the estimate.
 *   out_values            n_players values: what each player adds to the worth
 *   out_standard_errors   n_players standard errors, so that value +- 1.96 of them covers the exact one in about 95 of 100
 *                         cases; 0 where the value is exact, infinity where there is too little to tell; NULL = not wanted
 *   capacity              n_players
 * Errors: PRUNE_ERR_DATA if what was told does not do for an estimate (the text says what is missing: a player that was
 * never absent, say), PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_game_result(const prune_game *game, double *out_values, double *out_standard_errors, size_t capacity);

/*
 * Reads the strata D_i(k) = E[v(S) | i in S, |S| = k] - E[v(S) | i not in S, |S| = k] as they were told: row i, column k - 1
 * for k = 1 .. n_players - 1; NaN where either mean has no coalition. The Shapley value is
 * (v(all) - v(none)) / n + the sum of a row / n.
 *   capacity   n_players * (n_players - 1)
 * Errors: as prune_game_result().
 */
prune_status prune_game_strata(const prune_game *game, double *out_strata, size_t capacity, size_t *out_count);

/*
 * Reads the interactions of pairs: row i, column j, symmetric, 0 on the diagonal. After EXACT, the Shapley interaction index
 * of order 2; after PAIR_DIFFERENCES, v(all) - v(all but i) - v(all but j) + v(all but both).
 *   capacity   n_players * n_players
 * Errors: PRUNE_ERR_UNSUPPORTED for other estimators; as prune_game_result().
 */
prune_status prune_game_interactions(const prune_game *game, double *out_interactions, size_t capacity,
                                     size_t *out_count);

/*
 * Reads the exact weighted Banzhaf values after EXACT: E[v(S + i) - v(S)], each other player in S with keep_probability.
 * Errors: PRUNE_ERR_UNSUPPORTED for other estimators; as prune_game_result().
 */
prune_status prune_game_banzhaf(const prune_game *game, double keep_probability, double *out_values, size_t capacity);

/*
 * Saves a game as bytes: versioned, checksummed, the same on every machine. Coalitions that are outstanding are asked for
 * again after loading.
 *   capacity, out_count   bytes
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_game_save(const prune_game *game, void *out_bytes, size_t capacity, size_t *out_count);

/* Loads a saved game. Errors: PRUNE_ERR_FORMAT (damaged, or no saved game), PRUNE_ERR_UNSUPPORTED (a later version). */
prune_status prune_game_load(const void *bytes, size_t n_bytes, prune_game **out_game);

/* How a game of a model stands, told after every batch of coalitions. Pointers are valid during the callback. */
typedef struct prune_game_progress {
    uint32_t struct_size;
    int32_t has_estimate;                /* 0 = values and standard_errors are NULL as yet */
    const prune_game_state *state;
    const double *values;                /* n_players */
    const double *standard_errors;       /* n_players */
    double seconds;                      /* since the call began */
} prune_game_progress;

/* Returns 0 to go on; anything else stops with PRUNE_ERR_CANCELLED, and the game can be continued or saved. The callback may
   call prune_game_save() on the game of the call. */
typedef int32_t (*prune_game_progress_fn)(void *user_data, const prune_game_progress *progress);

/* How a model plays a game. */
typedef struct prune_game_run_options {
    uint32_t struct_size;
    prune_granularity granularity;      /* the players: its units, where player_of_sublayer is NULL */
    const int32_t *player_of_sublayer;  /* 2 * n_blocks players, one per sublayer, or -1 = kept in every coalition; NULL */
    size_t player_count;                /* its length, or 0 with NULL */
    prune_coalition_options coalitions; /* struct_size set to the size of this version: a struct inside a struct does
                                           not grow within an ABI version. Its progress is told while a batch is
                                           evaluated */
    int64_t sublayer_budget;            /* sublayers applied at most, as in prune_walk_report; 0 = no bound */
    int64_t batch_coalitions;           /* coalitions evaluated together; 0 = chosen by the library */
    prune_game_progress_fn progress;    /* NULL = none */
    void *user_data;
} prune_game_run_options;
#define PRUNE_GAME_RUN_OPTIONS_INIT \
    { sizeof(prune_game_run_options), 0, NULL, 0, PRUNE_COALITION_OPTIONS_INIT, 0, 0, NULL, NULL }

/*
 * Plays a game on a model until it is done: asks, evaluates, tells. The worth of a coalition is minus its measure, capped
 * as the options say, so a player's value is the damage that it averts. Goes on from where the game stands.
 * RANDOM_SUBNETWORKS draws its coalitions anew for every sequence of the data, and evaluates them on that sequence alone.
 *   game   made with as many players as the options name
 * Errors: those of prune_model_damages(); PRUNE_ERR_ARGUMENT if the players do not fit; PRUNE_ERR_CANCELLED. The game is
 * whole after every one of them.
 */
prune_status prune_model_shapley(const prune_model *model, const prune_data *data, prune_game *game,
                                 const prune_game_run_options *options);

/* ====================================================================================================================
 * Search: what to remove under a budget
 *
 * A search hands out masks, is told the damage that each does (a measure: lower = better), and ends with the mask that it
 * would choose and the way it came there. Masks may be evaluated anywhere, in any order: ask and tell. prune_model_search()
 * does it all on one model. Same seed and same damages: same masks. docs/search.md says what each strategy is worth.
 * ==================================================================================================================*/

/* A search under way. Not const: one thread at a time. */
typedef struct prune_search prune_search;

/* How a search goes about it. A unit is what the granularity counts. */
typedef int32_t prune_strategy;
enum {
    PRUNE_STRATEGY_DEFAULT = 0,      /* PRUNE_STRATEGY_GREEDY */
    PRUNE_STRATEGY_ONE_SHOT = 1,     /* by ascending score, as scored once */
    PRUNE_STRATEGY_GREEDY = 2,       /* the unit that does least damage now, then the next: SLEB (arXiv 2402.09025) for
                                        blocks, BlockPruner (2406.10594) and FinerCut (2405.18218) for sublayers; then
                                        removed units are exchanged for kept ones as long as that does less damage */
    PRUNE_STRATEGY_WINDOW = 3,       /* the run of contiguous units that does least damage, or has the lowest score
                                        (2403.17887: angular distance) */
    PRUNE_STRATEGY_TAIL = 4,         /* from the last unit on */
    PRUNE_STRATEGY_EVOLUTIONARY = 5, /* (1 + offspring), units exchanged, offspring selected on ever more data: EvoPress
                                        (2410.14649) */
    PRUNE_STRATEGY_RANDOM = 6        /* any: the control */
};

/* What one token takes in one place of the model. The layout is fixed within an ABI version. */
typedef struct prune_token_time {
    double prefill_ms;  /* as one of many tokens of a prompt */
    double decode_ms;   /* as the next one, after `context` tokens */
} prune_token_time;

/* How times are measured. */
typedef struct prune_time_options {
    uint32_t struct_size;
    int32_t repetitions;        /* of which the median counts; 0 = 5 */
    int64_t prompt_tokens;      /* of a prompt; 0 = 512 */
    int64_t context;            /* tokens before the one that is decoded; 0 = 512 */
    prune_progress_fn progress; /* NULL = none */
    void *user_data;
} prune_time_options;
#define PRUNE_TIME_OPTIONS_INIT { sizeof(prune_time_options), 0, 0, 0, NULL, NULL }

/*
 * Measures on this machine, with the threads of prune_threads_set(), what a token takes in every sublayer.
 *   out_times   2 * n_blocks + 1 entries: the sublayers in order, and embeddings, final norm and head together
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER, PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY,
 * PRUNE_ERR_UNSUPPORTED (the model lacks PRUNE_ABILITY_GENERATE).
 */
prune_status prune_model_times(const prune_model *model, const prune_time_options *options, prune_token_time *out_times,
                               size_t capacity, size_t *out_count);

/*
 * What a search may remove, and where it ends. Bounds that are 0 are none; where there are several, all must hold. A search
 * with no bound but max_loss_increase or max_damage removes as much as these allow.
 */
typedef struct prune_search_options {
    uint32_t struct_size;
    prune_strategy strategy;
    prune_granularity granularity;   /* of the units; 0 = sublayers */
    int32_t reserved;                /* 0 */
    uint64_t seed;                   /* of EVOLUTIONARY and RANDOM */
    /* The budget */
    int64_t remove;                  /* units, beyond those that `start` lacks; exactly as many */
    int64_t remove_attention;        /* of SUBLAYER: exactly as many attention sublayers; needs remove_feed_forward too, or */
    int64_t remove_feed_forward;     /* leaves the other kind alone. Not with `remove` */
    double remove_parameters;        /* share of the model's parameters, at least; below 1 */
    int64_t parameter_bytes;         /* that are left, at most */
    int64_t kv_bytes;      /* that are left, at most */
    double prefill_ms;     /* per token, at most: the sum of `times` of what is left */
    double decode_ms;
    const prune_token_time *times;   /* as prune_model_times() gives them; needed by the two before */
    size_t n_times;              /* 2 * n_blocks + 1, or 0 with NULL */
    double max_loss_increase;             /* damage at most this share above that of `start`: 0.02 = 2 %. Of a loss */
    double max_damage;               /* damage at most */
    /* The choice */
    const uint8_t *start;            /* mask to start from; NULL = everything kept */
    size_t n_start;              /* 2 * n_blocks, or 0 with NULL */
    const uint8_t *protect;          /* sublayers that are never removed: 1; NULL = none */
    size_t n_protect;            /* 2 * n_blocks, or 0 with NULL */
    const double *scores;            /* influence of each unit: of ONE_SHOT; of GREEDY with `candidates`. Of WINDOW n_blocks
                                        rows of n_blocks, as prune_statistics_windows() gives them. NULL where a strategy
                                        needs none, or prune_model_search() is to score */
    size_t n_scores;
    int64_t candidates;              /* of GREEDY: units with the lowest scores that are tried at each step; 0 = all */
    int64_t exchanges;               /* of GREEDY: rounds in a row without a better mask after which exchanges end; 0 = 3;
                                        -1 = no exchanges, as published */
    /* EVOLUTIONARY */
    int64_t offspring;               /* per generation; 0 = 32 */
    int64_t generations;             /* 0 = removed * kept / 1.5, as EvoPress does */
    int64_t patience;                /* generations without a better parent after which it ends; 0 = no such end */
} prune_search_options;
#define PRUNE_SEARCH_OPTIONS_INIT \
    { sizeof(prune_search_options), 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0.0, 0.0, NULL, 0, 0.0, 0.0, NULL, 0, NULL, 0, NULL, 0, 0, \
      0, 0, 0, 0 }

/*
 * Makes a search.
 *   model     for what its sublayers cost; not kept
 *   options   copied, arrays too; NULL is PRUNE_ERR_ARGUMENT, since there is no budget then
 * Errors: PRUNE_ERR_ARGUMENT (an option out of range, or of another strategy; a budget that cannot be met: the text says
 * what is left when everything that may go is gone), PRUNE_ERR_HANDLE, PRUNE_ERR_NONFINITE (a score),
 * PRUNE_ERR_UNSUPPORTED (the model lacks PRUNE_ABILITY_SUBLAYERS, and the units are no blocks).
 */
prune_status prune_search_create(const prune_model *model, const prune_search_options *options, prune_search **out_search);

/* Gives a search back. NULL and a handle that was already released are allowed. */
void prune_search_release(prune_search *search);

/*
 * Hands out masks whose damage is wanted next. Those that were asked for and not told are not handed out again, but after
 * prune_search_load().
 *   most        masks that fit in out_masks: most * 2 * n_blocks bytes
 *   out_count   how many were handed out: 0 if the search is done, or waits to be told
 *   out_share   share of the data that these masks are to be evaluated on, its first sequences: below 1 only for
 *               EVOLUTIONARY; NULL = not wanted: shares other than 1 are then not asked for. The first call decides it
 * Errors: PRUNE_ERR_ARGUMENT (also a search that goes by scores and has none; out_share is NULL where the first call had
 * it, and such a share is due), PRUNE_ERR_HANDLE.
 */
prune_status prune_search_ask(prune_search *search, size_t most, uint8_t *out_masks, size_t *out_count, double *out_share);

/*
 * Tells damages of masks that were asked for: all, or none on failure.
 * Errors: PRUNE_ERR_ARGUMENT (a mask that was not asked for, or was told before), PRUNE_ERR_HANDLE, PRUNE_ERR_NONFINITE.
 */
prune_status prune_search_tell(prune_search *search, const uint8_t *masks, const double *damages, size_t n);

/* Where a search stands. */
typedef struct prune_search_state {
    uint32_t struct_size;
    prune_strategy strategy;     /* the one in use, never DEFAULT */
    int32_t done;                /* 1 if nothing more will be asked for */
    int32_t met;                 /* 1 if the mask meets the budget */
    int64_t n_blocks;
    int64_t asked;
    int64_t told;
    int64_t removed;             /* units that the mask removes beyond `start` */
    int64_t steps;               /* entries of the path */
    double start_damage;         /* NaN while it was not told; ONE_SHOT, TAIL, RANDOM ask for it only if a bound needs it */
    double damage;               /* of the mask, on all data; NaN while it was not told */
    int64_t sublayers_computed;  /* in searches that prune_model_search() ran: as in prune_walk_report; the naive count is */
    int64_t sublayers_naive;     /* that of each mask by itself */
} prune_search_state;
#define PRUNE_SEARCH_STATE_INIT { sizeof(prune_search_state), 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0 }

/* Says where a search stands. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_search_info(const prune_search *search, prune_search_state *out_state);

/* Reads the mask that the search would choose now: 2 * n_blocks bytes. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE,
   PRUNE_ERR_BUFFER. */
prune_status prune_search_mask(const prune_search *search, uint8_t *out_keep, size_t capacity, size_t *out_count);

/* A step on the way. The layout is fixed within an ABI version. */
typedef struct prune_search_step {
    int64_t unit;                /* removed by this step; -1 if several changed, as by EVOLUTIONARY and WINDOW */
    int64_t removed;             /* units that are removed after it */
    double damage;               /* after it; NaN if it was not told */
    int64_t parameters;          /* that are left */
    int64_t parameter_bytes;
    int64_t kv_bytes;
    int64_t told;                /* damages told until then */
} prune_search_step;

/*
 * Reads the path: the start, then each removal, or each generation's parent.
 *   out_steps   the steps; NULL with capacity 0 = not wanted
 *   out_masks   the masks after them: 2 * n_blocks bytes each; NULL = not wanted
 *   capacity    steps that fit in either
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_search_path(const prune_search *search, prune_search_step *out_steps, uint8_t *out_masks,
                               size_t capacity, size_t *out_count);

/*
 * Writes a search as bytes, versioned and with a checksum. What was asked for and not told is asked for again after loading.
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_search_save(const prune_search *search, uint8_t *out_bytes, size_t capacity, size_t *out_count);

/* Reads a saved search: it goes on as if it had never stopped. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_FORMAT (damaged),
   PRUNE_ERR_UNSUPPORTED (a later version). */
prune_status prune_search_load(const uint8_t *bytes, size_t count, prune_search **out_search);

/* Told after every batch of masks: the search is whole, and may be read and saved. Non-zero stops: PRUNE_ERR_CANCELLED. */
typedef int32_t (*prune_search_progress_fn)(void *user_data, const prune_search *search);

/* How a model runs a search. */
typedef struct prune_search_run_options {
    uint32_t struct_size;
    int32_t reserved;                   /* 0 */
    prune_coalition_options coalitions; /* measure, reference, memory; struct_size set to that of this version. No cap unless
                                           one is given. Its progress is told while a batch is evaluated */
    uint64_t metric;                    /* PRUNE_METRIC_*, one bit: what scores are made of that the search lacks; 0 =
                                           COSINE, and ANGULAR for WINDOW over blocks. LEAVE_ONE_OUT_LOSS for WINDOW: by
                                           the damage of each run, as where there are no scores to be had */
    int64_t batch_masks;                /* masks evaluated together at most; 0 = 64 */
    prune_search_progress_fn on_batch;  /* NULL = none */
    void *user_data;
} prune_search_run_options;
#define PRUNE_SEARCH_RUN_OPTIONS_INIT \
    { sizeof(prune_search_run_options), 0, PRUNE_COALITION_OPTIONS_INIT, 0, 0, NULL, NULL }

/*
 * Runs a search on a model until it is done: scores where scores are lacking, asks, evaluates, tells. Goes on from where the
 * search stands.
 *   data      of 16 sequences or more, EVOLUTIONARY uses shares
 *   search    made for a model of as many blocks
 *   options   NULL = defaults
 * Errors: those of prune_model_damages() and prune_model_score(); PRUNE_ERR_CANCELLED. The search is whole after every one
 * of them.
 */
prune_status prune_model_search(const prune_model *model, const prune_data *data, prune_search *search,
                                const prune_search_run_options *options);

/* ====================================================================================================================
 * Recovery: adapters that emulate what was removed
 *
 * An adapter stands in the place of a removed sublayer and adds to the hidden state h of every token
 *
 *     bias + matrix * x,    x = norm(h), or h itself
 *
 * with the norm of the sublayer that it emulates. It is found in closed form, by ridge regression of the update that the
 * sublayer made on x, or trained. Formulas and what each is worth: docs/recovery.md.
 * ==================================================================================================================*/

/* Adapters for the removed sublayers of one model, and the mask that removes them. */
typedef struct prune_adapters prune_adapters;

typedef int32_t prune_adapter_kind;
enum {
    PRUNE_ADAPTER_DEFAULT = 0,  /* PRUNE_ADAPTER_LOW_RANK */
    PRUNE_ADAPTER_BIAS = 1,     /* bias alone: the mean update, emulated (arXiv 2407.16286) */
    PRUNE_ADAPTER_LOW_RANK = 2, /* matrix = up * down, of rank `rank` */
    PRUNE_ADAPTER_LINEAR = 3    /* a whole matrix, hidden_size x hidden_size */
};

/* What adapters are made to bring near the full model. */
typedef int32_t prune_objective;
enum {
    PRUNE_OBJECTIVE_CLOSED_FORM = 0, /* least squares of each update alone; solved, not trained */
    PRUNE_OBJECTIVE_MSE = 1,         /* mean squared difference of the hidden state after the last sublayer to the full
                                        model's, divided by the mean square of that */
    PRUNE_OBJECTIVE_CE = 2,          /* loss of the tokens that follow */
    PRUNE_OBJECTIVE_KL = 3,          /* KL(full model || recovered model) of the next-token distributions */
    PRUNE_OBJECTIVE_JS = 4           /* Jensen-Shannon divergence of the two */
};

/* What the matrix of an adapter is applied to. */
enum {
    PRUNE_INPUT_NORMED = 0, /* norm(h), with the norm of the sublayer that is emulated */
    PRUNE_INPUT_RAW = 1     /* h */
};

/* The hidden states that the closed form learns from. */
enum {
    PRUNE_STREAM_RECOVERED = 0, /* sublayer after sublayer, along the model as it is pruned and already recovered: an
                                   adapter learns to lead from the state that reaches it to the full model's after it */
    PRUNE_STREAM_FULL_MODEL = 1 /* the full model's: one pass for all sublayers */
};

/* Which sublayers of a block that is removed whole get an adapter. */
enum {
    PRUNE_SLOT_ATTENTION = 0,    /* one that emulates the block, in the place of its attention */
    PRUNE_SLOT_FEED_FORWARD = 1, /* one that emulates the block, in the place of its feed-forward */
    PRUNE_SLOT_BOTH = 2          /* one for each of the two */
};

/* Where training starts. */
enum {
    PRUNE_START_CLOSED_FORM = 0,
    PRUNE_START_ZERO = 1 /* adapters that add nothing */
};

/* How a training stands, told after every step. */
typedef struct prune_training_progress {
    uint32_t struct_size;
    int32_t reserved;          /* 0 */
    int64_t step;              /* steps done */
    int64_t steps;             /* in all */
    double loss;               /* objective of the last step */
    double held_out_loss;      /* objective on the held-out tokens when last looked at */
    double best_loss;          /* the lowest of these so far */
    double learning_rate;      /* of the last step */
    double tokens_per_second;  /* trained on since the call began */
    double seconds;            /* since the call began */
} prune_training_progress;

/* Returns 0 to go on; anything else stops: PRUNE_ERR_CANCELLED. */
typedef int32_t (*prune_training_progress_fn)(void *user_data, const prune_training_progress *progress);

/* How adapters are made. */
typedef struct prune_recover_options {
    uint32_t struct_size;
    prune_adapter_kind kind;
    prune_objective objective;
    int32_t input;                /* PRUNE_INPUT_* */
    int32_t stream;               /* PRUNE_STREAM_* */
    int32_t block_slot;           /* PRUNE_SLOT_* */
    int32_t start;                /* PRUNE_START_*; of trained objectives */
    int32_t reserved;             /* 0 */
    int64_t rank;                 /* of LOW_RANK; 0 = 16; -1 = chosen among powers of two by what held-out tokens lose */
    double ridge;                 /* added to the diagonal of the input's covariance, as a share of its mean; 0 = chosen on
                                     held-out tokens */
    const prune_data *held_out;   /* what ridge, rank and the best step are chosen by; NULL = a share of the data */
    double held_out_share;        /* of the data's sequences, drawn by seed; 0 = 0.1; of use where held_out is NULL */
    uint64_t seed;                /* of held-out share, first weights and batches */
    int64_t batch_tokens;         /* as in prune_score_options */
    int64_t memory_budget;        /* bytes of statistics at most; 0 = a quarter of the memory that is free. Sublayers that
                                     do not fit wait for another pass */
    const prune_adapters *initial;/* adapters of the same mask to train on from; NULL = as `start` says */
    int64_t steps;                /* of training; 0 = 300 */
    int64_t step_tokens;          /* tokens of a step, in whole sequences; 0 = 2048 */
    double learning_rate;         /* at its highest; 0 = chosen by kind and hidden size: docs/recovery.md */
    double weight_decay;          /* of AdamW, on matrices; 0 = none */
    int64_t warmup_steps;         /* over which the learning rate rises; 0 = a tenth of all. It falls as a cosine then */
    double clip_norm;             /* largest norm of all gradients together; 0 = 1; -1 = no bound */
    int64_t evaluate_every;       /* steps between two looks at the held-out loss; 0 = a twentieth of all */
    int64_t patience;             /* looks without a lower held-out loss after which training ends; 0 = no such end. The
                                     adapters of the best look are kept either way */
    const char *checkpoint;       /* a file for the state of training, written whole or not at all; where it exists,
                                     training goes on from it and ends with the same bits. NULL = none */
    int64_t checkpoint_every;     /* steps between two; 0 = whenever the held-out loss is looked at */
    prune_training_progress_fn on_step; /* NULL = none */
    prune_progress_fn progress;   /* of the closed form; NULL = none */
    void *user_data;              /* of both callbacks */
} prune_recover_options;
#define PRUNE_RECOVER_OPTIONS_INIT \
    { sizeof(prune_recover_options), 0, 0, 0, 0, 0, 0, 0, 0, 0.0, NULL, 0.0, 0, 0, 0, NULL, 0, 0, 0.0, 0.0, 0, 0.0, 0, 0, \
      NULL, 0, NULL, NULL, NULL }

/*
 * Makes adapters for every sublayer that a mask removes.
 *   data               what they learn from. Token weights count in the objectives CE, KL and JS
 *   keep, n_keep   NULL with 0 = the model's mask
 *   options            NULL = defaults
 *   out_adapters       receives the handle; give it to prune_adapters_release()
 * Errors: PRUNE_ERR_ARGUMENT (the mask removes nothing; an option out of range; `initial` of another mask or model),
 * PRUNE_ERR_HANDLE, PRUNE_ERR_DATA (nothing to predict; too few sequences to hold some out), PRUNE_ERR_NONFINITE (a loss
 * or a gradient; the text names step and layer), PRUNE_ERR_FILE, PRUNE_ERR_FORMAT (the checkpoint is damaged, or of
 * another training), PRUNE_ERR_CANCELLED (a checkpoint holds the last step that it was due), PRUNE_ERR_MEMORY,
 * PRUNE_ERR_UNSUPPORTED (training, and the model lacks PRUNE_ABILITY_GRADIENTS).
 */
prune_status prune_model_recover(const prune_model *model, const prune_data *data, const uint8_t *keep,
                                 size_t n_keep, const prune_recover_options *options,
                                 prune_adapters **out_adapters);

/* Gives adapters back. NULL and a handle that was already released are allowed. Models they are attached to keep them. */
void prune_adapters_release(prune_adapters *adapters);

/*
 * Attaches adapters: gives the recovered model as a model of its own, on which every other function works. Its sublayer u
 * is the adapter that stands there; nothing, where the adapters' mask removes u and none stands; else the sublayer of
 * `model`, whose weights it shares. Keep masks for it speak of its own sublayers: removing one that is an adapter takes
 * the adapter away. Later changes of `adapters` do not reach it. Release it to detach; `model` itself is not changed, and
 * may be released before it.
 * Errors: PRUNE_ERR_ARGUMENT (the adapters are of another model; `model` has adapters attached itself: they are for full
 * models, here and in the calls that make them), PRUNE_ERR_HANDLE, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_attach(const prune_model *model, const prune_adapters *adapters, prune_model **out_model);

/* Adapters as a whole, and how they came about. */
typedef struct prune_adapters_summary {
    uint32_t struct_size;
    prune_objective objective;   /* the last one that they were made for */
    int64_t n_blocks;
    int64_t hidden_size;
    int64_t n_adapters;
    int64_t parameters;          /* of all; fp32 each */
    int64_t statistics_tokens;   /* tokens that the closed form learnt from */
    int64_t trained_tokens;      /* tokens trained on, repetitions counted */
    int64_t steps;               /* of training, done */
    int64_t best_step;           /* the one whose adapters these are */
    double held_out_before;      /* objective on held-out tokens before training, and of these adapters; NaN if they */
    double held_out_best;        /* were not trained */
    double seconds;              /* that it took to make them */
} prune_adapters_summary;
#define PRUNE_ADAPTERS_SUMMARY_INIT { sizeof(prune_adapters_summary), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0 }

/* Describes adapters. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_adapters_info(const prune_adapters *adapters, prune_adapters_summary *out_summary);

/* One adapter. The layout is fixed within an ABI version. */
typedef struct prune_adapter {
    int64_t sublayer;        /* in whose place it stands */
    prune_adapter_kind kind;
    int32_t input;           /* PRUNE_INPUT_*; RAW for BIAS */
    int64_t rank;            /* of LOW_RANK; else 0 */
    int64_t parameters;
    double bias_norm;        /* Euclidean norm of the bias */
    double matrix_norm;      /* Frobenius norm of the matrix; 0 for BIAS */
    double ridge;            /* that the closed form used, as in prune_recover_options; NaN if there was none */
    double explained;        /* share of the update's variance on held-out tokens that the closed form explains; NaN */
} prune_adapter;

/* Lists adapters by ascending sublayer. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER. */
prune_status prune_adapters_list(const prune_adapters *adapters, prune_adapter *out_adapters, size_t capacity,
                                 size_t *out_count);

/* Reads the mask that adapters were made for: 2 * n_blocks bytes. Errors: as prune_adapters_list(). */
prune_status prune_adapters_mask(const prune_adapters *adapters, uint8_t *out_keep, size_t capacity, size_t *out_count);

/* Looks at the losses of a training. The layout is fixed within an ABI version. */
typedef struct prune_training_record {
    int64_t step;
    double loss;           /* mean objective of the steps since the look before; NaN at step 0 */
    double held_out_loss;
} prune_training_record;

/* Lists the looks in order; none for adapters that were not trained. Errors: as prune_adapters_list(). */
prune_status prune_adapters_history(const prune_adapters *adapters, prune_training_record *out_records, size_t capacity,
                                    size_t *out_count);

/* The arrays of an adapter. */
enum {
    PRUNE_PART_BIAS = 0,   /* hidden_size */
    PRUNE_PART_DOWN = 1,   /* LOW_RANK: rank x hidden_size */
    PRUNE_PART_UP = 2,     /* LOW_RANK: hidden_size x rank */
    PRUNE_PART_MATRIX = 3, /* LINEAR: hidden_size x hidden_size */
    PRUNE_PART_NORM = 4    /* gain of its input's norm, hidden_size; none for BIAS and PRUNE_INPUT_RAW */
};

/*
 * Reads an array of an adapter. Errors: PRUNE_ERR_ARGUMENT (no adapter at the sublayer; its kind has no such part),
 * PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_adapters_get(const prune_adapters *adapters, int64_t sublayer, int32_t part, float *out_values,
                                size_t capacity, size_t *out_count);

/*
 * Replaces an array of an adapter, the norm excepted. Errors: PRUNE_ERR_ARGUMENT (also a wrong count), PRUNE_ERR_HANDLE,
 * PRUNE_ERR_NONFINITE.
 */
prune_status prune_adapters_set(prune_adapters *adapters, int64_t sublayer, int32_t part, const float *values,
                                size_t count);

/*
 * Saves adapters as a directory of two files, adapters.safetensors (fp32; "attn.3.bias", "attn.3.down.weight",
 * "attn.3.up.weight", "attn.3.linear.weight", "attn.3.norm.weight") and adapters.json (mask, kinds, report, provenance,
 * and the first file's checksum). The directory is made if it is not there. Adapters that were there are replaced: whenever
 * the process stops, the older or the newer ones can be loaded.
 *   provenance_json   a JSON object kept with them; NULL = {}
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_FILE, PRUNE_ERR_FORMAT (provenance is no JSON object).
 */
prune_status prune_adapters_save(const prune_adapters *adapters, const char *directory, const char *provenance_json);

/* Loads saved adapters. Errors: PRUNE_ERR_FILE, PRUNE_ERR_FORMAT (names file and tensor), PRUNE_ERR_UNSUPPORTED (a later
   version). */
prune_status prune_adapters_load(const char *directory, prune_adapters **out_adapters);

/*
 * Folds adapters that are biases into the biases of sublayers before them. Exact where no adapter with an input, and no
 * sublayer, lies between the two.
 *   out_biases   2 * n_blocks rows of hidden_size values: what to add to the output bias of each kept sublayer; zeros
 *   out_rest     receives the adapters that could not be folded, of the same mask; it may have none
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_BUFFER.
 */
prune_status prune_adapters_fold(const prune_adapters *adapters, float *out_biases, size_t capacity, size_t *out_count,
                                 prune_adapters **out_rest);

/*
 * Moments: what the closed form learns from, as running sums in double: means of the inputs and updates of every removed
 * sublayer, and their covariances, over the full model's stream. Data can come in parts, on several machines, and be
 * merged: parts merged equal the whole to rounding.
 */
typedef struct prune_moments prune_moments;

/*
 * Makes empty moments for the sublayers that a mask removes: hidden_size^2 * 16 bytes each.
 *   keep, n_keep   NULL with 0 = the model's mask
 *   options            NULL = defaults; kind, input and block_slot are used
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_MEMORY.
 */
prune_status prune_moments_create(const prune_model *model, const uint8_t *keep, size_t n_keep,
                                  const prune_recover_options *options, prune_moments **out_moments);

/* Gives moments back. NULL and a handle that was already released are allowed. */
void prune_moments_release(prune_moments *moments);

/* Adds all tokens of a data set by one forward pass of the full model. On failure, cancelling included, nothing is added.
   Errors: as prune_model_score(); PRUNE_ERR_ARGUMENT if the moments are of another model. */
prune_status prune_moments_collect(prune_moments *moments, const prune_model *model, const prune_data *data,
                                   const prune_evaluate_options *options);

/* Adds `other`, of the same mask and options. Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE. */
prune_status prune_moments_merge(prune_moments *moments, const prune_moments *other);

/*
 * Solves for adapters in closed form.
 *   held_out   moments of other data to choose ridge and rank by; NULL = a ridge of 1e-3 where none is given; rank must be
 *   options    NULL = defaults; kind, rank and ridge are used
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_DATA (no tokens), PRUNE_ERR_MEMORY.
 */
prune_status prune_moments_solve(const prune_moments *moments, const prune_moments *held_out,
                                 const prune_recover_options *options, prune_adapters **out_adapters);

/* ====================================================================================================================
 * Gradients
 * ==================================================================================================================*/

/*
 * Pulls a gradient back through one sublayer: a vector-Jacobian product, the residual path included.
 *   data        its sequences say which tokens belong together
 *   states      hidden states before the sublayer, one row of hidden_size values per token
 *   gradients   gradient of any scalar with respect to the states after it, in the same layout
 *   count       of either: tokens * hidden_size
 *   options     NULL = defaults
 *   out         receives the gradient with respect to the states before it: count values
 * Errors: PRUNE_ERR_ARGUMENT, PRUNE_ERR_HANDLE, PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY, PRUNE_ERR_UNSUPPORTED (the model
 * lacks PRUNE_ABILITY_GRADIENTS).
 */
prune_status prune_model_vjp(const prune_model *model, const prune_data *data, int64_t sublayer, const float *states,
                             const float *gradients, size_t count, const prune_evaluate_options *options, float *out);

/*
 * The gradient of an objective with respect to the hidden states before a sublayer.
 *   objective     PRUNE_OBJECTIVE_CE, _KL or _JS; the latter two compare with the model when it keeps everything
 *   keep          NULL with 0 = the model's mask
 *   sublayer      0 .. 2 * n_blocks; the last = after all of them
 *   out_gradient  tokens * hidden_size values
 *   out_loss      the objective: weighted mean over predicting tokens; NULL = not wanted
 * Errors: as prune_model_evaluate(), PRUNE_ERR_BUFFER, PRUNE_ERR_UNSUPPORTED.
 */
prune_status prune_model_gradient(const prune_model *model, const prune_data *data, const uint8_t *keep,
                                  size_t n_keep, prune_objective objective, int64_t sublayer,
                                  const prune_evaluate_options *options, float *out_gradient, size_t capacity,
                                  size_t *out_count, double *out_loss);

/*
 * The gradient of an objective with respect to one adapter, all adapters in place.
 *   model         the full model
 *   objective     any but PRUNE_OBJECTIVE_CLOSED_FORM
 *   out_gradient  the adapter's parameters: bias, then down and up, or matrix
 * Errors: as prune_model_gradient(); PRUNE_ERR_ARGUMENT (no adapter at the sublayer; adapters of another model).
 */
prune_status prune_adapters_gradient(const prune_adapters *adapters, const prune_model *model, const prune_data *data,
                                     prune_objective objective, int64_t sublayer,
                                     const prune_evaluate_options *options, float *out_gradient, size_t capacity,
                                     size_t *out_count, double *out_loss);

/* ====================================================================================================================
 * Export: directories that runtimes serve
 * ==================================================================================================================*/

typedef int32_t prune_format;
enum {
    PRUNE_FORMAT_HF = 0,        /* PRUNE_FORMAT_HF_PLAIN where that can say it, else PRUNE_FORMAT_HF_CUSTOM */
    PRUNE_FORMAT_HF_PLAIN = 1,  /* whole blocks removed: a checkpoint like any other, blocks renumbered. No adapters, but
                                   biases that prune_adapters_fold() moves into output biases that the model has */
    PRUNE_FORMAT_HF_CUSTOM = 2, /* sublayers removed, adapters in their places: with a modelling file of its own, which
                                   transformers runs with trust_remote_code, and `per_layer_config` as a declaration */
    PRUNE_FORMAT_DECI = 3       /* nemotron-nas with block_configs, for vLLM and mlx: sublayers removed, no adapters */
};

/* How a model is exported. */
typedef struct prune_export_options {
    uint32_t struct_size;
    prune_format format;
    int64_t shard_bytes;         /* a file of weights at most; 0 = 5 * 10^9. A larger tensor is a file of its own */
    const char *provenance_json; /* a JSON object kept in prunecore.json; NULL = {} */
    int32_t replace;             /* 1 = a directory that PruneCore exported before is replaced, if nothing was added to it */
    int32_t reserved;            /* 0 */
    prune_progress_fn progress;  /* NULL = none; steps are tensors */
    void *user_data;
} prune_export_options;
#define PRUNE_EXPORT_OPTIONS_INIT { sizeof(prune_export_options), 0, 0, NULL, 0, 0, NULL, NULL }

/*
 * Exports a model without what a mask removes: config.json, weights in their stored type, copied tensor by tensor, the other
 * files of the model's directory (tokenizer, generation_config.json), and prunecore.json with mask, provenance and checksums.
 * The directory appears when it is whole: written beside, synced, renamed. Whatever stops it, a kill included, what was there
 * before is there still; a killed one leaves a directory NAME.*.partial beside, which the next export to NAME takes away.
 *   model        opened from a directory
 *   keep, n_keep   NULL with 0 = the model's mask, or that of the adapters
 *   adapters     of the same mask; NULL = none
 *   directory    must not exist, unless options->replace
 *   options      NULL = defaults
 * Errors: PRUNE_ERR_ARGUMENT (mask and adapters do not fit; the model has adapters attached), PRUNE_ERR_HANDLE, PRUNE_ERR_FILE
 * (exists; no room; the text has the system's reason), PRUNE_ERR_FORMAT (bad provenance), PRUNE_ERR_UNSUPPORTED (the format
 * cannot say it, or its runtimes would compute something else: the text says why and which format can; the model has no
 * directory), PRUNE_ERR_CANCELLED, PRUNE_ERR_MEMORY.
 */
prune_status prune_model_export(const prune_model *model, const uint8_t *keep, size_t n_keep,
                                const prune_adapters *adapters, const char *directory, const prune_export_options *options);

/* ====================================================================================================================
 * Models that the host runs
 *
 * The host runs the layers, wherever they live, and hands out its hidden states as handles of its own: nothing leaves a GPU
 * but what a callback returns. Everything else of this header works on such a model. What a host does not offer is computed
 * from what it does, or refused with PRUNE_ERR_UNSUPPORTED and the name of the callback that is missing.
 *
 *   static metrics                        compare, or read
 *   loss, Shapley values, leave-one-out   token_losses, or logits; or evaluate
 *   logit_l2, kl, js                      distances, or logits
 *   closed-form adapters                  read; norm for PRUNE_INPUT_NORMED; what adapters in place need, unless
 *                                         PRUNE_STREAM_FULL_MODEL
 *   adapters in place                     apply_adapter, or read and write
 *   trained adapters, vjp, gradient       vjp, read and write; and head_vjp, for any objective but PRUNE_OBJECTIVE_MSE
 *
 * Order of calls: embed gives the state before sublayer 0 of some sequences; apply gives states after a sublayer, each from
 * one before it; removed sublayers are not called. A state may be used many times, by masks that share it, and is let go by
 * release, exactly once, before the call that made it returns: after success, failure, and cancelling alike.
 *
 * A callback returns 0, or anything else to stop the call: values of prune_status come back as they are, all others as
 * PRUNE_ERR_HOST, with the sentence of prune_host_error_set() in prune_last_error(). It gave no state then. Callbacks may
 * call the library, for this model too. Calls that use one model from several threads call back from these threads.
 * ==================================================================================================================*/

/* A hidden state of the host: anything but NULL. The library never looks behind it. */
typedef void *prune_host_state;

/* Some sequences that are computed together. Valid during the callback. */
typedef struct prune_host_batch {
    uint32_t struct_size;
    int32_t reserved;                 /* 0 */
    const int32_t *token_ids;         /* n_tokens, all sequences one after the other, inside the vocabulary. A row of a state
                                         belongs to each token, in this order */
    const int64_t *sequence_lengths;  /* n_sequences */
    size_t n_sequences;
    size_t n_tokens;
} prune_host_batch;

/* Norms of the states h before and g after some unit, at one token. */
typedef struct prune_comparison {
    double before_l1, before_squares; /* ||h||_1, ||h||_2^2 */
    double after_l1, after_squares;   /* ||g||_1, ||g||_2^2 */
    double update_l1, update_squares; /* ||g - h||_1, ||g - h||_2^2: of the difference, not a difference of norms */
} prune_comparison;

/* Distances of logits, as callbacks are asked for them. */
typedef int32_t prune_distance;
enum {
    PRUNE_DISTANCE_L2 = 0, /* ||logits - reference logits||_2 */
    PRUNE_DISTANCE_KL = 1, /* KL(reference || state) of the next-token distributions, nats */
    PRUNE_DISTANCE_JS = 2  /* Jensen-Shannon divergence, nats */
};

/* An adapter to apply: h + bias, or h + bias + up (down x), or h + bias + matrix x, with x = h, or norm(h) of its own gain
   and epsilon. Arrays are fp32, row-major, valid during the callback. */
typedef struct prune_host_adapter {
    uint32_t struct_size;
    prune_adapter_kind kind;
    int64_t sublayer;         /* in whose place it stands */
    int64_t hidden_size;
    int64_t rank;             /* of LOW_RANK; else 0 */
    const float *bias;        /* hidden_size */
    const float *down;        /* rank x hidden_size; NULL unless LOW_RANK */
    const float *up;          /* hidden_size x rank; NULL unless LOW_RANK */
    const float *matrix;      /* hidden_size x hidden_size; NULL unless LINEAR */
    const float *norm_gain;   /* hidden_size; NULL = x is h */
    float norm_epsilon;       /* norm(h) = gain * h / sqrt(mean(h^2) + epsilon) */
    int32_t reserved;         /* 0 */
} prune_host_adapter;

/*
 * A model as its host offers it. Callbacks that are NULL are not offered. Needed are either embed, apply and release, or
 * evaluate. Rows are numbered within the state's batch.
 */
typedef struct prune_host {
    uint32_t struct_size;
    int32_t whole_blocks;          /* 1 = apply is called with even sublayers only, and computes the whole block: both of its
                                      sublayers are removed, or none */
    void *user_data;               /* first argument of every callback */

    const char *architecture;      /* NULL = "host" */
    int64_t n_blocks;              /* at least 1 */
    int64_t hidden_size;           /* at least 1; 0 if there is evaluate alone */
    int64_t vocabulary_size;       /* at least 1; 0 if there is evaluate alone */
    int64_t context_length;        /* 0 = not known */
    prune_element_type element_type; /* in which weights are stored */
    int32_t reserved;              /* 0 */
    int64_t fixed_parameters;      /* of embeddings, final norm and head: what no mask removes; 0 = not known */
    int64_t fixed_parameter_bytes;
    const prune_sublayer *sublayers; /* 2 * n_blocks, for costs; NULL = not known. Copied */

    /* The state of a batch before sublayer 0. */
    prune_status (*embed)(void *user_data, const prune_host_batch *batch, prune_host_state *out_state);

    /* States after a sublayer, each from the one before it: n_states of them, of one batch or of several. Either all are
       given, or none. A state may be given again as it came, if the host counts its uses: every one given is released. */
    prune_status (*apply)(void *user_data, int64_t sublayer, const prune_host_state *states, size_t n_states,
                          prune_host_state *out_states);

    /* Lets a state go. Cannot fail. */
    void (*release)(void *user_data, prune_host_state state);

    /* -log p(tokens[i] | the tokens up to rows[i]) in nats, from a state after the last sublayer: final norm and head are the
       host's. n of them; rows ascend, and may repeat. */
    prune_status (*token_losses)(void *user_data, prune_host_state state, const int64_t *rows, const int32_t *tokens,
                                 size_t n, float *out_losses);

    /* Logits of n_rows rows from first_row on: n_rows * vocabulary_size values. */
    prune_status (*logits)(void *user_data, prune_host_state state, int64_t first_row, int64_t n_rows, float *out_logits);

    /* Distances of the logits of some rows to those of the same rows of another state of the batch. */
    prune_status (*distances)(void *user_data, prune_host_state state, prune_host_state reference, prune_distance kind,
                              const int64_t *rows, size_t n, float *out_distances);

    /* Compares some rows of two states of a batch, where they live. */
    prune_status (*compare)(void *user_data, prune_host_state before, prune_host_state after, const int64_t *rows, size_t n,
                            prune_comparison *out_comparisons);

    /* Reads a state: tokens * hidden_size values. */
    prune_status (*read)(void *user_data, prune_host_state state, float *out_values);

    /* A state like another, of the same batch, with other values: tokens * hidden_size. Gradients are written so, too. What
       a state carries besides its hidden values is that of `like`. */
    prune_status (*write)(void *user_data, prune_host_state like, const float *values, prune_host_state *out_state);

    /* Gain (hidden_size values) and epsilon of the root-mean-square norm at a sublayer's input: gain * h / sqrt(mean(h^2) +
       epsilon). Returns PRUNE_ERR_UNSUPPORTED for a sublayer that has none. */
    prune_status (*norm)(void *user_data, int64_t sublayer, float *out_gain, float *out_epsilon);

    /* The state after an adapter, where it lives. */
    prune_status (*apply_adapter)(void *user_data, const prune_host_adapter *adapter, prune_host_state state,
                                  prune_host_state *out_state);

    /* Gradients with respect to the states before a sublayer, from those with respect to the states after it, residual path
       included. Gradients are states. */
    prune_status (*vjp)(void *user_data, int64_t sublayer, const prune_host_state *states,
                        const prune_host_state *gradients, size_t n_states, prune_host_state *out_gradients);

    /* Losses of some ascending rows of a state after the last sublayer, and the gradient of sum(weights[i] * losses[i]) with
       respect to it.
         objective   PRUNE_OBJECTIVE_CE: -log p(tokens[i]); _KL, _JS: from the reference's distribution, as in distances
         reference   NULL for CE
         tokens      NULL for KL and JS */
    prune_status (*head_vjp)(void *user_data, prune_host_state state, prune_objective objective, prune_host_state reference,
                             const int64_t *rows, const int32_t *tokens, const float *weights, size_t n, float *out_losses,
                             prune_host_state *out_gradient);

    /* The loss of all of a data set under each of some masks, in nats: the mean over its predicted tokens by their weights.
         batch           all of its sequences
         token_weights   one per token, as in prune_data_options; NULL = all 1
         keep_masks      n_masks rows of 2 * n_blocks bytes
       Used where token_losses and logits are not offered. */
    prune_status (*evaluate)(void *user_data, const prune_host_batch *batch, const float *token_weights,
                             const uint8_t *keep_masks, size_t n_masks, double *out_losses);

    prune_close_fn on_close;       /* told once that the model is let go for good; NULL = none */
} prune_host;
#define PRUNE_HOST_INIT \
    { sizeof(prune_host), 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
      NULL, NULL, NULL, NULL, NULL, NULL }

/*
 * A model that its host runs.
 *   host   copied; what user_data stands for must stay until on_close
 * Errors: PRUNE_ERR_ARGUMENT (a size out of range; a callback that is needed is NULL: the text names it), PRUNE_ERR_MEMORY.
 */
prune_status prune_model_from_host(const prune_host *host, prune_model **out_model);

/*
 * For callbacks of a prune_host that are about to fail: the sentence that says why, for prune_last_error() of the call
 * under way on this thread. NULL = none.
 */
void prune_host_error_set(const char *sentence);

#ifdef __cplusplus
}
#endif

#endif /* PRUNECORE_H */
