/* SPDX-License-Identifier: Apache-2.0 */
/* How inputs of each format are changed: their structure mostly holds, and their checksums mostly fit again. */
#ifndef CHANGES_H
#define CHANGES_H

#include "input.h"

/* JSON. */
void mutate_text(input *in, const input *other, random_state *random);
/* A document that its checksum seals. */
void mutate_sealed(input *in, const input *other, random_state *random);
/* The checkpoint of a training, which names the training. */
void mutate_checkpoint(input *in, const input *other, random_state *random);
/* A file of tensors: length, header, values. */
void mutate_tensors(input *in, const input *other, random_state *random);
/* Adapters: eight bytes with the length of the document, the document, the file of tensors. */
void mutate_adapters(input *in, const input *other, random_state *random);
/* A GGUF file: its fields, one at a time. */
void mutate_gguf(input *in, const input *other, random_state *random);
/* Bytes of no format. */
void mutate_plain(input *in, const input *other, random_state *random);

/* A number as eight bytes, little-endian. */
uint64_t number_at(const unsigned char *bytes);
void set_number_at(unsigned char *bytes, uint64_t number);

#endif
