/* SPDX-License-Identifier: Apache-2.0 */
#include "changes.h"

#include <string.h>

enum {
    FINGERPRINT_END = 20 /* mark, version, and the training that a checkpoint is of */
};

void mutate_text(input *in, const input *other, random_state *random) { mutate_json(in, 0, in->n, other, random); }

/* A document that its checksum seals; the mark at its beginning mostly stays. */
void mutate_sealed(input *in, const input *other, random_state *random)
{
    size_t begin = random_below(random, 50) == 0 ? 0 : 8;
    if (in->n >= 16) {
        mutate_bytes(in, begin, in->n - 8, other, random);
    }
    if (random_below(random, 50) != 0) {
        seal_document(in);
    }
}

void mutate_checkpoint(input *in, const input *other, random_state *random)
{
    size_t begin = random_below(random, 50) == 0 ? 0 : FINGERPRINT_END;
    if (in->n >= begin + 8) {
        mutate_bytes(in, begin, in->n - 8, other, random);
    }
    seal_document(in);
}

uint64_t number_at(const unsigned char *bytes)
{
    uint64_t number = 0;
    int i;
    for (i = 0; i < 8; i++) {
        number |= (uint64_t)bytes[i] << (8 * i);
    }
    return number;
}

void set_number_at(unsigned char *bytes, uint64_t number)
{
    int i;
    for (i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(number >> (8 * i));
    }
}

/* The header's text is changed, and its length fits again, or bytes anywhere are. */
static void mutate_tensors_at(input *in, size_t at, const input *other, random_state *random)
{
    static input text;
    uint64_t length;
    if (in->n < at + 8 || (length = number_at(in->bytes + at)) > in->n - at - 8 || random_below(random, 8) == 0) {
        mutate_bytes(in, at, in->n, other, random);
        return;
    }
    text.n = 0;
    input_replace(&text, 0, 0, in->bytes + at + 8, (size_t)length);
    mutate_json(&text, 0, text.n, other, random);
    if (text.n + in->n - (size_t)length > INPUT_MOST) {
        return;
    }
    input_replace(in, at + 8, at + 8 + (size_t)length, text.bytes, text.n);
    set_number_at(in->bytes + at, text.n);
}

void mutate_tensors(input *in, const input *other, random_state *random) { mutate_tensors_at(in, 0, other, random); }

/* Eight bytes with the length of the document, the document, the file of tensors. */
void mutate_adapters(input *in, const input *other, random_state *random)
{
    static input text;
    size_t length = (size_t)number_at(in->bytes);
    char digest[65];
    unsigned char *place;
    if (random_below(random, 3) == 0) {
        mutate_tensors_at(in, 8 + length, other, random);
    } else {
        text.n = 0;
        input_replace(&text, 0, 0, in->bytes + 8, length);
        mutate_json(&text, 0, text.n, other, random);
        if (text.n + in->n - length <= INPUT_MOST) {
            input_replace(in, 8, 8 + length, text.bytes, text.n);
            length = text.n;
            set_number_at(in->bytes, length);
        }
    }
    sha256_text(in->bytes + 8 + length, in->n - 8 - length, digest);
    for (place = in->bytes + 8; place + 10 + 64 < in->bytes + 8 + length; place++) {
        if (memcmp(place, "\"sha256\": ", 10) == 0) {
            memcpy(place + 11, digest, 64);
            return;
        }
    }
}

void mutate_plain(input *in, const input *other, random_state *random) { mutate_bytes(in, 0, in->n, other, random); }
