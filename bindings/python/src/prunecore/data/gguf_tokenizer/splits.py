# SPDX-License-Identifier: Apache-2.0
"""How byte-level BPE splits text first: the patterns that `tokenizer.ggml.pre` names.

A GGUF file names the split and does not hold it. What stands here is what llama.cpp means by the
names, in the words of Oniguruma, which the package tokenizers uses. Where llama.cpp splits by an
approximation of a model's own pattern, the model's own stands here. Each pattern splits what those
before it left, and what lies between its matches is a piece, too.
"""

from __future__ import annotations

from dataclasses import dataclass

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SLASH_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES


def _cased(suffix: str) -> str:
    """Words that end where a capital follows a small letter."""
    first = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{suffix}"
    return rf"{first}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{suffix}"


GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA_3 = _CONTRACTIONS + "|" + _WORD + r"|\p{N}{1,3}" + _REST
QWEN_2 = _CONTRACTIONS + "|" + _WORD + r"|\p{N}" + _REST
TEKKEN = _cased("") + r"|\p{N}" + _SLASH_REST
GPT_4O = _cased(_CONTRACTIONS + "?") + r"|\p{N}{1,3}" + _SLASH_REST
DIGIT, DIGITS, UP_TO_3_DIGITS, EACH_3_DIGITS = r"\p{N}", r"\p{N}+", r"\p{N}{1,3}", "[0-9][0-9][0-9]"

_QWEN_35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + _SPACES
)
_BLOOM = r" ?[^(\s|.,!?" + "\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c" + r")]+"
_HAN = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_ASCII_SIGN = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
_DEEPSEEK_WORD = _ASCII_SIGN + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
_DEEPSEEK_3 = _DEEPSEEK_WORD + r"| ?[\p{P}\p{S}]+[\r\n]*|" + _SPACES
_DEEPSEEK_HAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
# The letters of DeepSeek LLM: those with case of an older Unicode, as ranges of code points.
_DEEPSEEK_LETTERS = """
41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376-377 37B-37D 37F 386 388-38A
38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF
1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D
1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4
1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F
2145-2149 214E 2183-2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2-2CF3 A640-A66D A680-A69B A722-A76F
A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3
104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943
"""


def _class_of(ranges: str) -> str:
    return "".join(
        "-".join(chr(int(end, 16)) for end in part.split("-")) for part in ranges.split()
    )


@dataclass(frozen=True)
class Split:
    """A way to split text before byte-level BPE.

    Attributes
    ----------
    patterns : tuple of str
        Applied one after the other.
    whole_words : bool
        Whether a piece that is a token is taken whole, whatever the merges would make of it.
    adds_bos : bool
        Whether the first token is put in front where the file does not say.
    composes : bool
        Whether text is composed first (Unicode's form NFC), as the models' own tokenizers do.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    adds_bos: bool = False
    composes: bool = False


_LLAMA_3 = Split((LLAMA_3,), whole_words=True, adds_bos=True)
_DIGITS_GPT_2 = Split((DIGIT, GPT_2))
_DEEPSEEK_V3 = Split((UP_TO_3_DIGITS, _HAN, _DEEPSEEK_3))
_GPT_4O = Split((GPT_4O,))
_BAILING = Split(
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    )
)
_SIGNS = r"[\p{P}\$\+<=>\^~\|]+"
_SIGNS_OF_FALCON = r"[\p{P}\$\+<=>\^~\|`]+"
_THREES_FROM_THE_RIGHT = r"\d{1,3}(?=(?:\d{3})*\b)"

# llama.cpp's own splits, under the names that its converter writes.
_ROWS: tuple[tuple[str, Split], ...] = (
    # Files older than the names: llama.cpp splits them so, whatever the model did.
    ("default", Split((_SIGNS, GPT_2, DIGITS, EACH_3_DIGITS))),
    ("gpt-2 phi-2 gigachat a.x-4.0 mellum jais trillion granite-docling exaone4", Split((GPT_2,))),
    ("olmo mpt", Split((GPT_2,), composes=True)),
    ("smollm starcoder refact codeshell exaone minerva-7b mellum2", _DIGITS_GPT_2),
    ("command-r", Split((DIGIT, GPT_2), composes=True)),
    ("llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2", _LLAMA_3),
    ("dbrx smaug-bpe chatglm-bpe", Split((LLAMA_3,))),
    ("glm4 glm5", Split((LLAMA_3,), whole_words=True)),
    ("qwen2", Split((QWEN_2,), composes=True)),
    (
        "deepseek-r1-qwen megrez stablelm2 hunyuan solar-open grok-2 kormo f2llmv2",
        Split((QWEN_2,)),
    ),
    ("qwen35", Split((_QWEN_35,), composes=True)),
    ("laguna", Split((r"[^\n]+|[\n]+", QWEN_2))),
    ("tekken", Split((TEKKEN,), whole_words=True, adds_bos=True)),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", _GPT_4O),
    ("tiny_aya cohere2moe", Split((_THREES_FROM_THE_RIGHT, GPT_4O))),
    ("deepseek-v3 hunyuan-dense joyai-llm hy_v4", _DEEPSEEK_V3),
    (
        "deepseek-coder",
        Split((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _DEEPSEEK_HAN, DIGIT)),
    ),
    (
        "deepseek-llm",
        Split(
            (
                r"[\r\n]",
                rf"\s?[{_class_of(_DEEPSEEK_LETTERS)}]+",
                "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
                r"\s+$",
                _DEEPSEEK_HAN,
                DIGITS,
            )
        ),
    ),
    ("falcon", Split((_SIGNS_OF_FALCON, GPT_2, EACH_3_DIGITS))),
    ("bloom poro-chat gpt3-finnish", Split((_BLOOM,))),
    ("viking", Split((_BLOOM, DIGIT))),
    ("bailingmoe bailingmoe2 llada-moe", _BAILING),
    (
        "seed-coder",
        Split(
            (
                _CONTRACTIONS
                + "|"
                + _WORD
                + r"|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
            )
        ),
    ),
    (
        "exaone-moe",
        Split(
            (
                _CONTRACTIONS
                + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
                + r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
            )
        ),
    ),
    (
        "minicpm5",
        Split((UP_TO_3_DIGITS, _CONTRACTIONS + "|" + _WORD + r"|\p{N}+" + _REST), whole_words=True),
    ),
    (
        "jais-2",
        Split(
            (
                _CONTRACTIONS
                + "|"
                + _WORD
                + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
                + "".join(rf"\s{{{2**power}}}(?!\S)|" for power in range(9, 1, -1))
                + r"\s{1,2}(?!\S)|\s{1}",
            )
        ),
    ),
    (
        "spark2_5",
        Split(
            (
                UP_TO_3_DIGITS,
                _HAN,
                _DEEPSEEK_WORD + r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+",
                DIGIT,
            )
        ),
    ),
    (
        "youtu",
        Split(
            (
                "[\uac00-\ud7a3\u3131-\u318e]+"
                "|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
                f"|[\u3105-\u312f]+|{_HAN}",
                _cased(_CONTRACTIONS + "?") + r"|\p{N}" + _SLASH_REST,
            ),
            whole_words=True,
        ),
    ),
    ("superbpe", Split((DIGITS, r"(?=(\d{3})+(?!\d))"))),
    (
        "chameleon",
        Split(
            (
                "<sentinel:[0-9]+>",
                "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                r"([\t\n]|    |  )",
                DIGIT,
                r"[\p{P}!-/:-@\[-`{-~]",
                GPT_2,
            ),
            adds_bos=True,
        ),
    ),
)

SPLITS = {name: split for names, split in _ROWS for name in names.split()}
"""By the names that files give in `tokenizer.ggml.pre`."""
