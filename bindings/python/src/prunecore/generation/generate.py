# SPDX-License-Identifier: Apache-2.0
"""Text that a model writes: `Model.generate`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from prunecore._native import options_generated
from prunecore._native.given import listed
from prunecore._native.handle import Handle
from prunecore._native.json_files import read_json_object
from prunecore._native.library import ffi, lib
from prunecore._native.numbers import checked_count
from prunecore._native.options_generated import GenerateArguments
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.signatures import takes
from prunecore.data.data import Data
from prunecore.data.gguf_tokenizer.path import is_gguf
from prunecore.data.text import load_tokenizer, tokenize
from prunecore.errors import ArgumentError, FileError, UnsupportedError
from prunecore.generation.generation import (
    GeneratedToken,
    Generation,
    TokenFunction,
    read_report,
    read_sequence,
    reason_of,
)
from prunecore.generation.text_stream import TextStream
from prunecore.masks.mask import keep_pointer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from typing_extensions import Unpack

    from prunecore.data.text import TokenizerSource
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(options_generated.GenerateOptions):
    """How text is generated: see `Model.generate`."""

    ZEROS: ClassVar[frozenset[str]] = frozenset({"temperature"})


@takes(GenerateOptions)
def generate(
    self: OpenModel,
    prompts: str | Sequence[str] | Data | Any,
    max_new_tokens: int | None = 128,
    *,
    stop: int | str | Sequence[int | str] = (),
    stop_at_eos: bool = True,
    mask: MaskLike | None = None,
    tokenizer: TokenizerSource | None = None,
    on_token: TokenFunction | None = None,
    progress: ProgressFunction | None = None,
    **options: Unpack[GenerateArguments],
) -> Generation:
    """Continues prompts.

    Prompts of any lengths are continued together. Keys and values are kept for the attention layers
    that the mask keeps, and for no others. Each prompt draws from random numbers of its own: what
    it becomes depends on the seed and on its index, and not on the prompts beside it.

    Parameters
    ----------
    prompts : str, sequence of str, Data, or token ids as `Data` takes them
        Text is tokenised with the special tokens that the tokenizer adds in front.
    stop : int, str, or several of them
        A sequence ends with any of these token ids, or where its text has any of these texts. A
        text that is one special token, such as "</s>", is that token.
    stop_at_eos : bool
        Whether the model's own end tokens, of its configuration, stop, too.
    mask : Mask or array, optional
        Default: the model's.
    tokenizer : path or tokenizer, optional
        As for `Data.from_text`. Default: the model's.
    on_token : callable, optional
        Called with every `GeneratedToken`. A true result ends its sequence; an exception ends the
        call and is raised again.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`; a true result stops the call with
        `Cancelled`, an exception stops it and is raised again. A step is a new token.

    Raises
    ------
    ArgumentError
        An option is out of range.
    DataError
        There is no prompt, one is empty, or holds ids outside the vocabulary.
    FileError
        Text is given, or a text to stop at, and the model has no tokenizer.
    NonFiniteError
        NaN or infinity was met; the text names prompt and layer.
    """
    texts, data = None, prompts
    if not isinstance(prompts, Data):
        texts = [prompts] if isinstance(prompts, str) else _all_texts(prompts)
    stops = [stop] if isinstance(stop, (int, np.integer, str)) else list(stop)
    words = any(isinstance(entry, str) for entry in stops)
    decoder = _decoder(self, tokenizer, needed=words or texts is not None)
    if texts is not None:
        assert decoder is not None
        data = Data([tokenize(decoder, text) for text in texts])
    elif not isinstance(data, Data):
        data = Data(data)
    ids, stop_texts = _stops(stops, decoder)
    if stop_at_eos:
        ids += configured_tokens(self, "eos_token_id")
    stop_ids = np.array(sorted(set(ids)), dtype=np.int32)

    struct = GenerateOptions(max_new_tokens=max_new_tokens, **options).new()
    if len(stop_ids):
        struct.stop_tokens = ffi.from_buffer("int32_t[]", stop_ids)
        struct.n_stop_tokens = len(stop_ids)
    watch = TokenWatch(progress, on_token, data, decoder, stop_texts)
    struct.progress = watch.callback
    if watch.needed:
        struct.on_token = watch.token_callback
    pointer, n_keep = keep_pointer(self._keep(mask))

    def make(out: Any) -> int:
        status = lib.prune_model_generate(self.handle, data.handle, pointer, n_keep, struct, out)
        watch.check(status)
        return int(status)

    made = Handle("generation", "prune_generation", make, lib.prune_generation_release)
    try:
        return _read(made.pointer, data, watch, decoder)
    finally:
        made.close()


class TokenWatch(Watch):
    """The callbacks of one call of `generate`: progress, tokens, and texts to stop at."""

    def __init__(
        self,
        progress: ProgressFunction | None,
        on_token: TokenFunction | None,
        prompts: Data,
        decoder: Tokenizer | None,
        stops: Sequence[str],
    ) -> None:
        super().__init__(progress)
        self._on_token = on_token
        self.needed = on_token is not None or bool(stops)
        self.streams: list[TextStream] = []
        if decoder is not None and self.needed:
            rows = prompts.sequences
            self.streams = [TextStream(decoder, row.tolist(), stops) for row in rows]
        self.token_callback = ffi.callback(
            "prune_token_fn", self._token, error=-1, onerror=self._keep
        )

    def _token(self, _user_data: Any, told: Any) -> int:
        reason = reason_of(told.end)
        text = ""
        if self.streams:
            stream = self.streams[told.prompt]
            text = stream.feed(told.token_id)
            if reason is not None:
                text += stream.finish()
            if stream.stopped:
                reason = "stop"
        end = reason == "stop"
        if self._on_token is not None:
            token = GeneratedToken(
                prompt=told.prompt,
                index=told.index,
                token=told.token_id,
                loss=told.loss,
                text=text,
                reason=reason,
            )
            end = bool(self._on_token(token)) or end
        return int(ffi.integer_const("PRUNE_TOKEN_END_SEQUENCE" if end else "PRUNE_TOKEN_CONTINUE"))


def configured_tokens(model: OpenModel, key: str) -> list[int]:
    """Token ids that a model's configuration names: of `eos_token_id`, say, one, several or none.

    generation_config.json goes before config.json, as it does in transformers. A GGUF file says
    what it is told to stop at.
    """
    for configuration in _configurations(model):
        found = configuration.get(key)
        ids = found if isinstance(found, list) else [] if found is None else [found]
        # Some configurations name a token beyond the vocabulary, which can never be written.
        size = model.shape.vocabulary_size
        usable = [entry for entry in ids if isinstance(entry, int) and 0 <= entry < size]
        if usable:
            return usable
    return []


def _configurations(model: OpenModel) -> Iterator[Mapping[str, Any]]:
    """What a model's configurations say, that for generation first."""
    if model.directory is None:
        yield from model._configurations
        return
    path = model.directory / "generation_config.json"
    if is_gguf(model.directory):
        from prunecore.data.gguf_tokenizer.tokenizer import special_tokens_of

        yield special_tokens_of(model.directory)
    elif path.is_file():
        yield read_json_object(path)
    yield json.loads(model._config_text)


def _all_texts(prompts: Any) -> list[str] | None:
    """The prompts if they are texts; None if they are token ids."""
    # Arrays and tensors, and what tokenizers return, which has names.
    if isinstance(prompts, np.ndarray) or hasattr(prompts, "detach") or hasattr(prompts, "keys"):
        return None
    rows = listed("prompts", prompts)
    count = sum(isinstance(row, str) for row in rows)
    if count not in (0, len(rows)):
        raise ArgumentError("prompts are texts or token ids, but not both")
    return rows if count else None


def _decoder(model: OpenModel, source: TokenizerSource | None, needed: bool) -> Tokenizer | None:
    try:
        return load_tokenizer(model if source is None else source)
    except (FileError, UnsupportedError):
        if needed or source is not None:
            raise
        return None


def _stops(stops: Sequence[int | str], decoder: Tokenizer | None) -> tuple[list[int], list[str]]:
    """Token ids and texts to stop at."""
    ids, texts = [], []
    special = {} if decoder is None else decoder.get_added_tokens_decoder()
    names = {token.content: number for number, token in special.items() if token.special}
    for entry in stops:
        if not isinstance(entry, str):
            ids.append(checked_count("stop", entry, 0, 2**31 - 1))
        elif entry in names:
            ids.append(names[entry])
        elif entry:
            texts.append(entry)
        else:
            raise ArgumentError("stop holds an empty text, which every text has")
    return ids, texts


def _read(made: Any, data: Data, watch: TokenWatch, decoder: Tokenizer | None) -> Generation:
    tokens, losses, reasons, texts = [], [], [], []
    for index, prompt in enumerate(data.sequences):
        row, loss, reason = read_sequence(made, index)
        stream = watch.streams[index] if watch.streams else None
        if stream is None and decoder is not None:
            stream = TextStream(decoder, prompt.tolist())
            for token in row:
                stream.feed(int(token))
        if stream is not None:
            stream.finish()
            texts.append(stream.text)
            reason = "stop" if stream.stopped else reason
        tokens.append(row)
        losses.append(loss)
        reasons.append(str(reason))
    report = read_report(made)
    return Generation(
        prompts=data.sequences,
        tokens=tuple(tokens),
        losses=tuple(losses),
        reasons=tuple(reasons),
        texts=None if decoder is None else tuple(texts),
        prompt_tokens=report.prompt_tokens,
        prompt_seconds=report.prompt_seconds,
        decode_seconds=report.decode_seconds,
        kv_bytes_peak=report.kv_bytes_peak,
    )
