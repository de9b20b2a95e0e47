/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers of the core as the fuzzer drives them: through the C interface alone. */
#ifndef PARSERS_H
#define PARSERS_H

#include "input.h"

typedef struct parser {
    const char *name;
    /* Changes an input, which was a seed; what checksums it has are made to fit again, mostly. */
    void (*mutate)(input *in, const input *other, random_state *random);
    /* Hands an input to the library, and uses what it makes of it. */
    void (*execute)(const input *in);
    /* Executions of a batch, by how long one takes. */
    size_t batch;
} parser;

extern const parser parsers[];
extern const size_t n_parsers;

/* Writes seeds of all parsers to the directories seeds/PARSER/ of the working directory. Uses the library. */
void write_seeds(void);

/* Makes what executions need: a model, data, a directory. In the process that executes, once. */
void prepare_executions(void);

/* Ends the process if a call gave a status that no input may cause: an internal error, or a number that is no status. */
void expect_status(int status, const char *call);

/* A file as an input; it must be there. */
void read_input(input *in, const char *path);
void write_input(const input *in, const char *path);

#endif
