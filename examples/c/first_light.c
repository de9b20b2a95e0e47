/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A first program in C99: open a model, score its attention layers, remove four, and see what that costs.
 *
 *   first_light MODEL_DIRECTORY TOKENS_FILE
 *
 * for instance: first_light examples/models/tales-12l examples/data/tales_tokens.txt
 *
 * The tokens file has one sequence per line, ids separated by spaces (examples/python/write_tokens.py makes it).
 *
 *   cc -std=c99 -Iinclude examples/c/first_light.c -Lbuild/lib -lprunecore -Wl,-rpath,$PWD/build/lib -o first_light
 */
#include <prunecore.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sequences as the library expects them: all ids one after the other, and the length of each sequence. */
typedef struct {
    int32_t *ids;
    size_t n_ids;
    int64_t *lengths;
    size_t n_sequences;
} token_file;

/* Every PruneCore call that can fail returns a status. The text of the last failure says what was at fault. */
static int failed(prune_status status, const char *doing)
{
    if (status == PRUNE_OK) {
        return 0;
    }
    fprintf(stderr, "%s: %s: %s\n", doing, prune_status_name(status), prune_last_error());
    return 1;
}

/* Reads a whole file into NUL-terminated memory; NULL if that fails. */
static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t used = 0;
    size_t room = 1u << 16;
    if (file == NULL) {
        return NULL;
    }
    for (;;) {
        char *larger = realloc(text, room);
        if (larger == NULL) {
            break;
        }
        text = larger;
        used += fread(text + used, 1, room - used - 1, file);
        if (used < room - 1) {
            text[used] = '\0';
            if (ferror(file)) {
                break;
            }
            fclose(file);
            return text;
        }
        room *= 2;
    }
    free(text);
    fclose(file);
    return NULL;
}

static void free_tokens(token_file *tokens)
{
    free(tokens->ids);
    free(tokens->lengths);
}

/* Reads a tokens file. Returns 0, or 1 after printing what is wrong. */
static int read_tokens(const char *path, token_file *tokens)
{
    char *text = read_text(path);
    char *at = text;
    size_t room;
    int64_t length = 0;

    memset(tokens, 0, sizeof *tokens);
    if (text == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return 1;
    }
    /* There are at most as many ids, and as many lines, as characters. */
    room = strlen(text) + 1;
    tokens->ids = malloc(room * sizeof *tokens->ids);
    tokens->lengths = malloc(room * sizeof *tokens->lengths);
    if (tokens->ids == NULL || tokens->lengths == NULL) {
        fprintf(stderr, "%s: not enough memory\n", path);
        goto fail;
    }
    for (;;) {
        char *end;
        long id;
        while (*at == ' ' || *at == '\t' || *at == '\r') {
            at++;
        }
        if (*at == '\n' || *at == '\0') { /* a line ends a sequence; empty lines are nothing */
            if (length > 0) {
                tokens->lengths[tokens->n_sequences++] = length;
                length = 0;
            }
            if (*at == '\0') {
                break;
            }
            at++;
            continue;
        }
        errno = 0;
        id = strtol(at, &end, 10);
        if (end == at || errno != 0 || id < 0 || id > INT32_MAX) {
            fprintf(stderr, "%s: sequence %lu has something that is not a token id\n", path,
                    (unsigned long)tokens->n_sequences);
            goto fail;
        }
        tokens->ids[tokens->n_ids++] = (int32_t)id;
        length++;
        at = end;
    }
    free(text);
    return 0;

fail:
    free(text);
    free_tokens(tokens);
    memset(tokens, 0, sizeof *tokens);
    return 1;
}

int main(int argc, char **argv)
{
    prune_model *model = NULL;
    prune_data *data = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_evaluation before;
    prune_evaluation after;
    token_file tokens;
    double *scores = NULL;
    uint8_t *keep = NULL;
    size_t n_blocks;
    size_t n_sublayers;
    size_t u;
    int status = EXIT_FAILURE;

    if (argc != 3) {
        fprintf(stderr, "usage: first_light MODEL_DIRECTORY TOKENS_FILE\n");
        return 2;
    }
    if (prune_abi_version() != PRUNE_ABI_VERSION) {
        fprintf(stderr, "this program was built for another version of libprunecore\n");
        return EXIT_FAILURE;
    }
    if (read_tokens(argv[2], &tokens) != 0) {
        return EXIT_FAILURE;
    }

    /* Open the model and copy the token sequences into the library. */
    if (failed(prune_model_open(argv[1], NULL, &model), "opening the model") ||
        failed(prune_model_info(model, &shape), "describing the model") ||
        failed(prune_data_create(tokens.ids, tokens.lengths, tokens.n_sequences, NULL, &data), "taking in tokens")) {
        goto done;
    }
    n_blocks = (size_t)shape.n_blocks;
    n_sublayers = 2 * n_blocks; /* sublayer 2i is the attention of block i, 2i + 1 its feed-forward */
    scores = malloc(n_blocks * sizeof *scores);
    keep = malloc(n_sublayers);
    if (scores == NULL || keep == NULL) {
        fprintf(stderr, "not enough memory\n");
        goto done;
    }

    /* The loss of the full model: without a mask, the model's own counts, and a new model keeps everything. */
    if (failed(prune_model_evaluate(model, data, NULL, 1, 0, NULL, &before), "evaluating the whole model")) {
        goto done;
    }

    /* One score per attention layer: 1 - cos(hidden state before it, hidden state after it). */
    options.granularity = PRUNE_GRANULARITY_ATTENTION;
    options.metrics = PRUNE_METRIC_COSINE;
    if (failed(prune_model_score(model, data, &options, scores, n_blocks, NULL), "scoring")) {
        goto done;
    }

    /* Remove the four that matter least, and evaluate the rest. */
    if (failed(prune_mask_remove_lowest(scores, n_blocks, PRUNE_GRANULARITY_ATTENTION, 4, NULL, keep, n_sublayers),
               "pruning") ||
        failed(prune_model_evaluate(model, data, keep, 1, n_sublayers, NULL, &after), "evaluating what is left")) {
        goto done;
    }

    printf("removed:");
    for (u = 0; u < n_sublayers; u++) {
        if (!keep[u]) {
            printf(" %s.%lu", u % 2 == 0 ? "attn" : "ffn", (unsigned long)(u / 2));
        }
    }
    printf("\nloss before: %.4f nats per token, perplexity %.2f\n", before.loss, before.perplexity);
    printf("loss after:  %.4f nats per token, perplexity %.2f\n", after.loss, after.perplexity);
    status = EXIT_SUCCESS;

done:
    free(keep);
    free(scores);
    prune_data_release(data); /* NULL is allowed */
    prune_model_release(model);
    free_tokens(&tokens);
    return status;
}
