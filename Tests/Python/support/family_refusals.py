# SPDX-License-Identifier: Apache-2.0
"""What the library refuses of the families, by capability, and words of the reason it gives.

Whatever is not here has to work. A name is a case's, or a family's where it holds for all its
cases; the words are a regular expression that the text of the `UnsupportedError` matches.
"""

from __future__ import annotations

import re

import prunecore as pc
from family_checks import CAPABILITIES
from family_models import CASES
from family_subjects import FamilySubject

# "open" stands for all capabilities: a model that does not open has none.
REFUSED: dict[str, dict[str, str]] = {
    # One norms heads after it turns them, the other's activation has weights of its own.
    "open": {
        "hunyuan": "runs in PyTorch alone",
        "hunyuan-alpha": "runs in PyTorch alone",
        "apertus": "runs in PyTorch alone",
    },
    "closed_form": {"opt-post-norm": "follows its sum and stays"},
    "hf_plain": {
        # The factor of a block's attention is its number, and a block that moves up has another.
        "gpt2-inverse-layers": "scale_attn_by_inverse_layer_idx",
        # The norms after its sums are there whatever is removed.
        "opt-post-norm": "norm after the sum of attn.1",
    },
    "hf_custom": {
        # Of the adapters that are exported after the model without them.
        "opt-post-norm": "follows its sum",
        # Some blocks have their norms after the sums and others before their sublayers.
        "llama-mix-ln": "transformers has no model like it",
    },
}
# Formats of a few architectures. Of these it is enough that the reason is given.
NARROW = {"deci": r"^deci cannot hold this: .{10,}", "gguf": r"(?i)(llama\.cpp|gguf).{10,}"}


def expected_refusal(name: str, capability: str) -> str | None:
    """Words of the reason why a case has no such capability; None if it has to have it."""
    for place in ("open", capability):
        named = REFUSED.get(place, {})
        for key in (name, CASES[name].family):
            if key in named:
                return named[key]
    return None


def measured(subject: FamilySubject, name: str) -> float | str:
    """The error of a capability, or the library's words for why there is none."""
    try:
        return CAPABILITIES[name].measure(subject)
    except pc.UnsupportedError as refused:
        return str(refused).replace(str(subject.directory), subject.name)


def check(subject: FamilySubject, name: str) -> None:
    """Fails if a capability is not exact enough, or not refused just where it is known to be."""
    expected = expected_refusal(subject.name, name)
    found = measured(subject, name)
    if isinstance(found, str):
        wanted = expected or NARROW.get(name)
        assert wanted is not None, f"{subject.name}: {name} is refused: {found}"
        assert re.search(wanted, found), f"{subject.name}: {name} is refused: {found}"
        return
    assert expected is None, f"{subject.name}: {name} works: take it out of REFUSED"
    limit = CAPABILITIES[name].tolerance
    assert found <= limit, f"{subject.name}: {name} is off by {found:.1e}, more than {limit:.0e}"
