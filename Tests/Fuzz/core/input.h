/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs of parsers, and the random numbers that they are made with: the same for a seed on every machine. */
#ifndef INPUT_H
#define INPUT_H

#include <stddef.h>
#include <stdint.h>

enum {
    INPUT_MOST = 1 << 18 /* bytes of an input at most */
};

/* Bytes with a NUL behind them that does not count. */
typedef struct input {
    size_t n;
    unsigned char bytes[INPUT_MOST + 1];
} input;

/* SplitMix64. */
typedef struct random_state {
    uint64_t state;
} random_state;

static inline uint64_t random_next(random_state *random)
{
    uint64_t x = random->state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* A number below `end`; 0 if that is 0. */
static inline size_t random_below(random_state *random, size_t end)
{
    return end == 0 ? 0 : (size_t)(random_next(random) % end);
}

/* Replaces a part of an input. Does nothing if the input would become too long. */
void input_replace(input *in, size_t begin, size_t end, const void *bytes, size_t n);

/* Some changes to a JSON text, by its tokens: values of other types, extreme numbers, keys twice, nesting, values of
   another text, now and then bytes that are no JSON. The text is what lies in [begin, end) of the input. */
void mutate_json(input *in, size_t begin, size_t end, const input *other, random_state *random);

/* Some changes to bytes from `begin` to `end`: fields of every size, lengths, parts moved, left out, or taken from another
   input. */
void mutate_bytes(input *in, size_t begin, size_t end, const input *other, random_state *random);

/* Writes the checksum of a sealed document over its last eight bytes. */
void seal_document(input *in);

/* The SHA-256 of some bytes as 64 hexadecimal digits and a NUL. */
void sha256_text(const unsigned char *bytes, size_t n, char out[65]);

#endif
