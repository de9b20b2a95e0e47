/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "input.h"

void input_replace(input *in, size_t begin, size_t end, const void *bytes, size_t n)
{
    if (begin > end || end > in->n || in->n - (end - begin) + n > INPUT_MOST) {
        return;
    }
    memmove(in->bytes + begin + n, in->bytes + end, in->n - end);
    memcpy(in->bytes + begin, bytes, n);
    in->n += n - (end - begin);
    in->bytes[in->n] = 0;
}

/* ---- JSON ---- */

enum {
    TOKENS_MOST = 4096
};

/* Where a token lies, and for an opening bracket the token that closes it. */
typedef struct token {
    size_t begin, end, partner;
} token;

static int is_space(unsigned char byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

/* The tokens of what may be JSON. Brackets without a partner are their own. */
static size_t tokens_of(const input *in, size_t begin, size_t end, token *tokens)
{
    size_t open[128], depth = 0, n = 0, at = begin;
    while (at < end && n < TOKENS_MOST) {
        unsigned char byte = in->bytes[at];
        token *own = &tokens[n];
        if (is_space(byte)) {
            at++;
            continue;
        }
        own->begin = at++;
        own->partner = n;
        if (byte == '"') {
            while (at < end && in->bytes[at] != '"') {
                at += in->bytes[at] == '\\' && at + 1 < end ? 2 : 1;
            }
            at += at < end;
        } else if (byte == '[' || byte == '{') {
            if (depth < 128) {
                open[depth++] = n;
            }
        } else if (byte == ']' || byte == '}') {
            if (depth > 0) {
                tokens[open[--depth]].partner = n;
            }
        } else if (byte != ',' && byte != ':') {
            while (at < end && !is_space(in->bytes[at]) && !strchr(",:[]{}\"", in->bytes[at])) {
                at++;
            }
        }
        own->end = at;
        n++;
    }
    return n;
}

static const char *const odd_values[] = {
    "0",
    "-0",
    "-0.0",
    "1",
    "-1",
    "2",
    "3",
    "0.5",
    "1e-320",
    "1e308",
    "1e309",
    "-1e309",
    "1e-999",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "1e18",
    "1e19",
    "3.4e38",
    "3.5e38",
    "1e-46",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "01",
    "1.",
    ".5",
    "+1",
    "0x10",
    "true",
    "false",
    "null",
    "tru",
    "\"\"",
    "\"x\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\u00e9\"",
    "\"../x\"",
    "\"/etc/passwd\"",
    "\"attn.0\"",
    "\"ffn.4095\"",
    "\"F32\"",
    "\"BF16\"",
    "\"I64\"",
    "\"silu\"",
    "\"full_attention\"",
    "\"sliding_attention\"",
    "\"yarn\"",
    "\"llama3\"",
    "\"linear\"",
    "\"dynamic\"",
    "\"longrope\"",
    "\"proportional\"",
    "\"lns\"",
    "\"pre_post\"",
    "\"gelu\"",
    "\"relu2\"",
    "{\"rope_type\":\"dynamic\",\"factor\":2}",
    "{\"type\":\"longrope\",\"short_factor\":[1,2,3,4],\"long_factor\":[4,3,2,1]}",
    "{\"full_attention\":{},\"sliding_attention\":{\"rope_theta\":5}}",
    "\"low_rank\"",
    "\"normed\"",
    "[]",
    "{}",
    "[0]",
    "[[]]",
    "[{}]",
    "{\"a\":1}",
    "{\"\":{}}",
    "[1,2,3]",
    "[0,0]",
    "[null]",
    "[true,false]",
    "[1e999]",
};

static const char *const odd_keys[] = {
    "\"rope_scaling\":",
    "\"rope_parameters\":",
    "\"rope_theta\":",
    "\"factor\":",
    "\"partial_rotary_factor\":",
    "\"rope_type\":",
    "\"short_factor\":",
    "\"original_max_position_embeddings\":",
    "\"max_position_embeddings\":",
    "\"layer_types\":",
    "\"norm_type\":",
    "\"post_num\":",
    "\"num_experts\":",
    "\"num_local_experts\":",
    "\"num_experts_per_tok\":",
    "\"decoder_sparse_step\":",
    "\"mlp_only_layers\":",
    "\"no_rope_layers\":",
    "\"sliding_window_pattern\":",
    "\"use_sliding_window\":",
    "\"logit_scale\":",
    "\"sliding_window\":",
    "\"head_dim\":",
    "\"quantization_config\":",
    "\"per_layer_config\":",
    "\"tie_word_embeddings\":",
    "\"attention_bias\":",
    "\"__metadata__\":",
    "\"weight_map\":",
    "\"metadata\":",
    "\"shape\":",
    "\"dtype\":",
    "\"data_offsets\":",
    "\"format\":",
    "\"version\":",
    "\"removed\":",
    "\"weight_sample\":",
    "\"\":",
    "\"\\u0061\":",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The bytes of the value that begins with a token. */
static void value_of(const token *tokens, size_t at, size_t *begin, size_t *end)
{
    *begin = tokens[at].begin;
    *end = tokens[tokens[at].partner].end;
}

static void nest(input *in, size_t begin, size_t end, random_state *random)
{
    static char text[1024];
    size_t depth = random_below(random, 4) == 0 ? 60 + random_below(random, 10) : 1 + random_below(random, 4), i, n = 0;
    int is_object = random_below(random, 2) == 0;
    for (i = 0; i < depth; i++) {
        n += (size_t)sprintf(text + n, "%s", is_object ? "{\"a\":" : "[");
    }
    for (i = 0; i < depth; i++) {
        text[512 + i] = is_object ? '}' : ']';
    }
    input_replace(in, end, end, text + 512, depth);
    input_replace(in, begin, begin, text, n);
}

static void repeat(input *in, size_t begin, size_t end, random_state *random)
{
    static unsigned char part[256];
    size_t n = end - begin < sizeof part ? end - begin : sizeof part, times = 1 + random_below(random, 1000), i;
    memcpy(part, in->bytes + begin, n);
    for (i = 0; i < times; i++) {
        input_replace(in, begin, begin, part, n);
    }
}

static void change_json(input *in, size_t begin, size_t end, const input *other, random_state *random)
{
    static token tokens[TOKENS_MOST], others[TOKENS_MOST];
    static unsigned char copy[INPUT_MOST];
    size_t n = tokens_of(in, begin, end, tokens), at = random_below(random, n), b, e, k;
    const char *text;
    if (n == 0) {
        input_replace(in, begin, begin, "{}", 2);
        return;
    }
    value_of(tokens, at, &b, &e);
    switch (random_below(random, 14)) {
    case 0:
    case 1:
    case 2:
        text = odd_values[random_below(random, COUNT(odd_values))];
        input_replace(in, b, e, text, strlen(text));
        break;
    case 3: /* a value of the same text in another place: types and keys mix */
        value_of(tokens, random_below(random, n), &begin, &end);
        memcpy(copy, in->bytes + begin, end - begin);
        input_replace(in, b, e, copy, end - begin);
        break;
    case 4: /* a value of another text */
        n = tokens_of(other, 0, other->n, others);
        if (n > 0) {
            value_of(others, random_below(random, n), &begin, &end);
            input_replace(in, b, e, other->bytes + begin, end - begin);
        }
        break;
    case 5:
        input_replace(in, b, e, "", 0);
        break;
    case 6: /* a member once more: a key that appears twice */
        for (k = at; k > 0 && in->bytes[tokens[k].begin] != ','; k--) {}
        begin = tokens[k].begin;
        memcpy(copy, in->bytes + begin, e - begin);
        input_replace(in, e, e, copy, e - begin);
        break;
    case 7:
        nest(in, b, e, random);
        break;
    case 8:
        text = odd_keys[random_below(random, COUNT(odd_keys))];
        for (k = at; k > 0 && in->bytes[tokens[k].begin] != ','; k--) {}
        if (k > 0) {
            static char member[256];
            size_t length = (size_t)snprintf(member, sizeof member, ",%s%s", text,
                                             odd_values[random_below(random, COUNT(odd_values))]);
            input_replace(in, tokens[k].begin, tokens[k].begin, member, length);
        }
        break;
    case 9: /* one byte of a token */
        in->bytes[b + random_below(random, e - b)] = (unsigned char)random_next(random);
        break;
    case 10: /* one digit or letter for another */
        k = b + random_below(random, e - b);
        in->bytes[k] = (unsigned char)(in->bytes[k] + (random_below(random, 2) ? 1 : 255));
        break;
    case 11:
        repeat(in, b, e, random);
        break;
    case 12:
        switch (random_below(random, 4)) {
        case 0:
            input_replace(in, 0, 0, "\xEF\xBB\xBF", 3);
            break;
        case 1:
            in->n = random_below(random, in->n);
            in->bytes[in->n] = 0;
            break;
        case 2:
            input_replace(in, b, b, "\xFF", 1);
            break;
        default:
            input_replace(in, b, b, "\n\t \r", 4);
        }
        break;
    default: /* the beginning of this text, the end of another */
        n = tokens_of(other, 0, other->n, others);
        if (n > 0) {
            begin = others[random_below(random, n)].begin;
            input_replace(in, b, end, other->bytes + begin, other->n - begin);
        }
    }
}

void mutate_json(input *in, size_t begin, size_t end, const input *other, random_state *random)
{
    size_t changes = 1 + random_below(random, random_below(random, 4) == 0 ? 8 : 2), i;
    for (i = 0; i < changes && begin <= end; i++) {
        size_t before = in->n, tail = in->n - end;
        change_json(in, begin, end, other, random);
        /* What follows the text stays what it was. */
        end = in->n >= tail + begin ? in->n - tail : begin;
        if (before > 0 && in->n == 0) {
            return;
        }
        if (end > in->n) {
            end = in->n;
        }
    }
}

/* ---- Bytes ---- */

static const uint64_t odd_fields[] = {
    0,
    1,
    2,
    7,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    UINT64_C(1) << 32,
    UINT64_C(1) << 47,
    UINT64_C(1) << 48,
    (UINT64_C(1) << 48) + 1,
    INT64_MAX,
    UINT64_C(1) << 63,
    UINT64_MAX,
    UINT64_C(0x7FF0000000000000), /* infinity */
    UINT64_C(0x7FF8000000000000), /* NaN */
    UINT64_C(0xFFF0000000000000),
    UINT64_C(0x0000000000000001), /* the least double */
    UINT64_C(0x7FEFFFFFFFFFFFFF),
    UINT64_C(0x3FF0000000000000),
    UINT64_C(0xBFF0000000000000),
    UINT64_C(0x7F8000007F800000), /* two infinite floats */
};

static void change_bytes(input *in, size_t begin, size_t end, const input *other, random_state *random)
{
    static unsigned char copy[INPUT_MOST];
    static const size_t sizes[] = { 1, 2, 4, 8 };
    size_t length = end - begin, at = begin + random_below(random, length), size, n, from, k;
    uint64_t field = 0;
    unsigned char bytes[8];
    if (length == 0) {
        return;
    }
    switch (random_below(random, 8)) {
    case 0:
        in->bytes[at] ^= (unsigned char)(1u << random_below(random, 8));
        break;
    case 1:
        in->bytes[at] = (unsigned char)random_next(random);
        break;
    case 2: /* a field with an odd value */
    case 3: /* a field with a value nearby */
        size = sizes[random_below(random, 4)];
        if (at + size > end) {
            break;
        }
        for (k = 0; k < size; k++) {
            field |= (uint64_t)in->bytes[at + k] << (8 * k);
        }
        field = random_below(random, 2) ? odd_fields[random_below(random, COUNT(odd_fields))]
                                        : field + random_below(random, 5) - 2;
        for (k = 0; k < size; k++) {
            in->bytes[at + k] = (unsigned char)(field >> (8 * k));
        }
        break;
    case 4: /* left out */
        n = 1 + random_below(random, random_below(random, 2) ? 16 : length);
        input_replace(in, at, at + n < end ? at + n : end, "", 0);
        break;
    case 5: /* once more */
        n = 1 + random_below(random, random_below(random, 2) ? 16 : 256);
        n = at + n < end ? n : end - at;
        memcpy(copy, in->bytes + at, n);
        input_replace(in, at, at, copy, n);
        break;
    case 6: /* put in */
        for (k = 0; k < 8; k++) {
            bytes[k] = (unsigned char)(odd_fields[random_below(random, COUNT(odd_fields))] >> (8 * k));
        }
        input_replace(in, at, at, bytes, sizes[random_below(random, 4)]);
        break;
    default: /* from another */
        from = random_below(random, other->n);
        n = random_below(random, other->n - from);
        n = n < end - at ? n : end - at;
        memcpy(in->bytes + at, other->bytes + from, n);
    }
}

void mutate_bytes(input *in, size_t begin, size_t end, const input *other, random_state *random)
{
    size_t changes = 1 + random_below(random, random_below(random, 4) == 0 ? 12 : 3), i;
    for (i = 0; i < changes && begin < end && end <= in->n; i++) {
        size_t tail = in->n - end;
        change_bytes(in, begin, end, other, random);
        end = in->n - tail;
    }
}
