# SPDX-License-Identifier: Apache-2.0
"""Texts on which tokenizers differ if they differ at all, made from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

_SCRIPTS = {
    "latin": "etaoinshrdlucmfwypvbgkjqxz",
    "capitals": "ETAOINSHRDLUCMFWYP",
    "accents": "éèüßñçøåãőžłğİıſ",
    "greek": "αβγδεζηθλμπρσςτυφχψω",
    "cyrillic": "абвгдежзиклмнопрстуфхцчшщъыьэюяЁЇ",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
    "devanagari": "अआइईउकखगघचजटडतदनपबमयरलवसहािीुूेैोौ्ं",
    "thai": "กขคงจฉชซญดตถทนบปผพฟมยรลวสหอะาิีึืุูเแโไ็่้",
    "han": "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得",
    "kana": "あいうえおかきくけこさしすせそアイウエオカキクケコー",
    "hangul": "가나다라마바사아자차카타파하은는이을를에서",
    "combining": "e\u0301a\u0300o\u0308n\u0303A\u030a",
}
_EMOJI = ("😀", "👩‍👩‍👧", "🇫🇷", "👍🏽", "❤️", "🦜", "𝒜", "𐍈", "﷽")
_SPACES = (" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\u00a0", "\u3000", "\u2003", "\v")
_SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~…—–“”‘’«»¿¡§©€£¥°±×÷。，、！？「」।۔،"
_CONTROLS = "\x01\x02\x07\x08\x1b\x1f\x7f\x85\u200b\u200d\u2028\ufeff\ufffd\U000e0001"
_LOOK_ALIKES = (
    *("<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<|endoftext|>", "<|im_start|>"),
    *("<|im_end", "im_end|>", "<start_of_turn>", "<end_of_turn>", "<0x0A>", "<0xFF>", "[PAD]"),
    *(
        "[multimodal]",
        "<unused7>",
        "<table>",
        "\u2581",
        "\u2581\u2581x",
        "Ġ",
        "Ċ",
        "</",
        "<s",
        "s>",
    ),
)
_CODE = (
    "def f(x):\n    return x**2  # ok\n", 'if (a[i] != b) { printf("%d\\n", i++); }\n',
    "SELECT * FROM t WHERE a='b';", "<div class='x'>&nbsp;</div>", "x = {'a': [1, 2.5e-3]}",
    "http://example.org/a?b=c&d=%20", "C:\\Users\\n", "\t\t\tfor (;;)\n\t\t\t\t{}\n",
    "don't DON'T we'LL I'd it's they've 'tis y'all's",
)  # fmt: skip


def varied_texts(count: int, seed: int) -> list[str]:
    """That many texts: words of many scripts, numbers, code, spaces, signs, emoji, controls, parts
    of special tokens, very long words, and the empty text.
    """
    draw = random.Random(seed)
    makers = _makers(draw)
    made = ["", " ", "\n", "a", " a", "a ", "\u2581"]
    while len(made) < count:
        pieces = [draw.choice(makers)() for _ in range(draw.choice((1, 1, 2, 3, 5, 9, 17)))]
        made.append(draw.choice(("", " ", " ", " ")).join(pieces))
    return made[:count]


def documents_of(root: Path, names: Sequence[str]) -> list[str]:
    """Files of the repository, whole."""
    return [(root / name).read_text() for name in names]


def _makers(draw: random.Random) -> list[Callable[[], str]]:
    def word() -> str:
        letters = _SCRIPTS[draw.choice(list(_SCRIPTS))]
        found = "".join(draw.choices(letters, k=draw.choice((1, 2, 3, 4, 6, 9, 14))))
        return found.capitalize() if draw.random() < 0.2 else found

    def mixed() -> str:
        return "".join(draw.choices("".join(_SCRIPTS.values()) + _SIGNS + "0123456789 ", k=12))

    def number() -> str:
        digits = "".join(draw.choices("0123456789", k=draw.choice((1, 2, 3, 4, 5, 7, 12))))
        form = ("{}", "-{}", "{}.5", "1,{}", "0x{}", "{}%", "№{}", "{}²", "½{}", "٣{}", "{}th")
        return draw.choice(form).format(digits)

    def run() -> str:
        return draw.choice(" \t\n-=_*.#~a0!\u2581") * draw.randrange(1, 41)

    def spaces() -> str:
        return "".join(draw.choices(_SPACES, k=draw.randrange(1, 6)))

    def long_word() -> str:
        return "".join(draw.choices(_SCRIPTS["latin"], k=draw.choice((60, 300, 1200))))

    def several(choices: Sequence[str]) -> Callable[[], str]:
        return lambda: "".join(draw.choices(choices, k=draw.randrange(1, 4)))

    common = [word] * 8 + [number, mixed, run, spaces] * 2
    rare = [several(part) for part in (_EMOJI, _SIGNS, _CONTROLS, _LOOK_ALIKES, _CODE)]
    return [*common, *rare, *rare[1:2], long_word]
