/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF files are changed a field at a time, so that what comes before and after is still read as what it was. */
#include "changes.h"

enum {
    FIELDS_MOST = 512,
    STRING = 8,
    ARRAY = 9
};

/* A part of a file: a length, a key, a type, a value. */
typedef struct field {
    size_t begin, end;
} field;

typedef struct walk {
    const input *in;
    size_t at, n;
    field fields[FIELDS_MOST];
} walk;

static uint64_t number(const walk *w, size_t at, size_t size)
{
    uint64_t made = 0;
    size_t i;
    for (i = 0; i < size && at + i < w->in->n; i++) {
        made |= (uint64_t)w->in->bytes[at + i] << (8 * i);
    }
    return made;
}

/* Takes the next `size` bytes as a field; nothing if they are not there. */
static int take(walk *w, uint64_t size)
{
    if (w->n == FIELDS_MOST || size > w->in->n - w->at) {
        return 0;
    }
    w->fields[w->n].begin = w->at;
    w->at += (size_t)size;
    w->fields[w->n++].end = w->at;
    return 1;
}

static int take_string(walk *w)
{
    uint64_t length = number(w, w->at, 8);
    return take(w, 8) && (length == 0 || take(w, length));
}

static size_t size_of(uint64_t type)
{
    static const size_t sizes[13] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return type < 13 ? sizes[type] : 0;
}

static int take_value(walk *w)
{
    uint64_t type = number(w, w->at, 4), count, i;
    if (!take(w, 4)) {
        return 0;
    }
    if (type == STRING) {
        return take_string(w);
    }
    if (type != ARRAY) {
        return take(w, size_of(type));
    }
    type = number(w, w->at, 4);
    count = number(w, w->at + 4, 8);
    if (!take(w, 4) || !take(w, 8)) {
        return 0;
    }
    if (type != STRING) {
        return count <= w->in->n && take(w, count * size_of(type));
    }
    for (i = 0; i < count; i++) {
        if (!take_string(w)) {
            return 0;
        }
    }
    return 1;
}

/* All fields before the data, as far as they can be told apart. */
static void take_apart(walk *w)
{
    uint64_t tensors, values, i, d, rank;
    w->at = w->n = 0;
    if (!take(w, 4) || !take(w, 4)) {
        return;
    }
    tensors = number(w, 8, 8);
    values = number(w, 16, 8);
    if (!take(w, 8) || !take(w, 8)) {
        return;
    }
    for (i = 0; i < values; i++) {
        if (!take_string(w) || !take_value(w)) {
            return;
        }
    }
    for (i = 0; i < tensors; i++) {
        if (!take_string(w)) {
            return;
        }
        rank = number(w, w->at, 4);
        if (!take(w, 4)) {
            return;
        }
        for (d = 0; d < rank + 2; d++) {
            if (!take(w, d == rank ? 4 : 8)) {
                return;
            }
        }
    }
}

void mutate_gguf(input *in, const input *other, random_state *random)
{
    static walk w;
    size_t changes = 1 + random_below(random, 3), i;
    if (random_below(random, 16) == 0) {
        mutate_bytes(in, 0, in->n, other, random);
        return;
    }
    for (i = 0; i < changes; i++) {
        w.in = in;
        take_apart(&w);
        if (w.n > 0) {
            const field chosen = w.fields[random_below(random, w.n)];
            mutate_bytes(in, chosen.begin, chosen.end, other, random);
        }
    }
}
