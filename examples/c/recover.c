/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery in C99: remove four attention layers, win back what they cost, save the adapters and load them again.
 *
 *   recover MODEL_DIRECTORY TOKENS_FILE OUT_DIRECTORY
 *
 * for instance: recover examples/models/tales-12l examples/data/tales_tokens.txt out/adapters
 *
 * The tokens file has one sequence per line, ids separated by spaces (examples/python/write_tokens.py makes it). The
 * last quarter of its sequences is held out: losses are measured on tokens that no adapter learnt from.
 *
 *   cc -std=c99 -Iinclude examples/c/recover.c -Lbuild/lib -lprunecore -Wl,-rpath,$PWD/build/lib -o recover
 */
#include <prunecore.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every PruneCore call that can fail returns a status. The text of the last failure says what was at fault. */
static void must(prune_status status, const char *doing)
{
    if (status != PRUNE_OK) {
        fprintf(stderr, "%s: %s: %s\n", doing, prune_status_name(status), prune_last_error());
        exit(EXIT_FAILURE);
    }
}

/* Reads sequences of token ids, one a line. Makes one data set to learn from and one that is held out. */
static void read_tokens(const char *path, prune_data **out_learnt, prune_data **out_held_out)
{
    static int32_t ids[1 << 20];
    static int64_t lengths[1 << 14];
    size_t n_ids = 0, n_sequences = 0, n_learnt, first_held_out = 0, i;
    FILE *file = fopen(path, "r");
    int before = '\n';
    if (file == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(EXIT_FAILURE);
    }
    for (;;) {
        int next = fgetc(file);
        long id;
        if (next == ' ' || next == '\r') {
            continue;
        }
        if (next == '\n' || next == EOF) {
            n_sequences += before != '\n';
            before = '\n';
            if (next == EOF) {
                break;
            }
            continue;
        }
        ungetc(next, file);
        if (fscanf(file, "%ld", &id) != 1 || n_ids == sizeof ids / sizeof *ids ||
            n_sequences == sizeof lengths / sizeof *lengths) {
            fprintf(stderr, "%s: sequence %lu has something that is not a token id, or there are too many\n", path,
                    (unsigned long)n_sequences);
            exit(EXIT_FAILURE);
        }
        ids[n_ids++] = (int32_t)id;
        lengths[n_sequences]++;
        before = ' ';
    }
    fclose(file);
    n_learnt = n_sequences - n_sequences / 4;
    for (i = 0; i < n_learnt; i++) {
        first_held_out += (size_t)lengths[i];
    }
    must(prune_data_create(ids, lengths, n_learnt, NULL, out_learnt), "taking in tokens");
    must(prune_data_create(ids + first_held_out, lengths + n_learnt, n_sequences - n_learnt, NULL, out_held_out),
         "taking in held-out tokens");
}

/* The held-out loss of a model under a mask; NULL = everything that it has. */
static double loss_of(const prune_model *model, const prune_data *data, const uint8_t *keep, size_t n_keep)
{
    prune_evaluation evaluation;
    must(prune_model_evaluate(model, data, keep, 1, n_keep, NULL, &evaluation), "evaluating");
    return evaluation.loss;
}

int main(int argc, char **argv)
{
    prune_model *model = NULL, *recovered = NULL;
    prune_data *learnt = NULL, *held_out = NULL;
    prune_model_shape shape = PRUNE_MODEL_SHAPE_INIT;
    prune_score_options scoring = PRUNE_SCORE_OPTIONS_INIT;
    prune_recover_options options = PRUNE_RECOVER_OPTIONS_INIT;
    prune_adapters *adapters = NULL;
    prune_adapter list[4];
    double *scores;
    uint8_t *keep;
    size_t n_blocks, n_sublayers, count = 0, i;

    if (argc != 4) {
        fprintf(stderr, "usage: recover MODEL_DIRECTORY TOKENS_FILE OUT_DIRECTORY\n");
        return 2;
    }
    if (prune_abi_version() != PRUNE_ABI_VERSION) {
        fprintf(stderr, "this program was built for another version of libprunecore\n");
        return EXIT_FAILURE;
    }
    read_tokens(argv[2], &learnt, &held_out);
    must(prune_model_open(argv[1], NULL, &model), "opening the model");
    must(prune_model_info(model, &shape), "describing the model");
    n_blocks = (size_t)shape.n_blocks;
    n_sublayers = 2 * n_blocks;
    scores = malloc(n_blocks * sizeof *scores);
    keep = malloc(n_sublayers);
    if (scores == NULL || keep == NULL) {
        fprintf(stderr, "not enough memory\n");
        return EXIT_FAILURE;
    }

    /* Remove the four attention layers whose removal raises the loss least. */
    scoring.granularity = PRUNE_GRANULARITY_ATTENTION;
    scoring.metrics = PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
    must(prune_model_score(model, learnt, &scoring, scores, n_blocks, NULL), "scoring");
    must(prune_mask_remove_lowest(scores, n_blocks, PRUNE_GRANULARITY_ATTENTION, 4, NULL, keep, n_sublayers),
         "pruning");

    /* An adapter of rank 16 for each of them, in closed form: no gradient, one pass over the tokens. */
    options.kind = PRUNE_ADAPTER_LOW_RANK;
    options.rank = 16;
    must(prune_model_recover(model, learnt, keep, n_sublayers, &options, &adapters), "making adapters");
    must(prune_adapters_save(adapters, argv[3], "{\"made_by\": \"examples/c/recover.c\"}"), "saving adapters");
    prune_adapters_release(adapters);

    /* A model with adapters is a model like any other. */
    must(prune_adapters_load(argv[3], &adapters), "loading adapters");
    must(prune_model_attach(model, adapters, &recovered), "attaching adapters");
    must(prune_adapters_list(adapters, list, 4, &count), "listing adapters");
    for (i = 0; i < count; i++) {
        printf("%s.%d: rank %d, matrix norm %.2f, ridge %.0e\n", list[i].sublayer % 2 == 0 ? "attn" : "ffn",
               (int)(list[i].sublayer / 2), (int)list[i].rank, list[i].matrix_norm, list[i].ridge);
    }
    printf("loss of the whole model:    %.4f nats per token\n", loss_of(model, held_out, NULL, 0));
    printf("without four attention:     %.4f\n", loss_of(model, held_out, keep, n_sublayers));
    printf("with adapters in place:     %.4f\n", loss_of(recovered, held_out, NULL, 0));

    free(scores);
    free(keep);
    prune_adapters_release(adapters);
    prune_data_release(learnt);
    prune_data_release(held_out);
    prune_model_release(recovered);
    prune_model_release(model);
    return EXIT_SUCCESS;
}
