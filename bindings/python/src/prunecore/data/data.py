# SPDX-License-Identifier: Apache-2.0
"""Token sequences, as every measurement takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.handle import Handle
from prunecore._native.library import ffi, lib, new_struct
from prunecore.data.draw import chosen_indices
from prunecore.data.paths import PathLike, as_paths
from prunecore.data.text import documents, load_tokenizer, load_tokens, pack, tokenize
from prunecore.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from prunecore.data.choice_data import ChoiceData
    from prunecore.data.choice_item import ChoiceItem
    from prunecore.data.choice_set import ChoiceSet
    from prunecore.data.text import TokenizerSource

Tokens = npt.NDArray[np.int32]


class Data:
    """Token sequences, immutable and not tied to a model.

    Whether the ids fit a model's vocabulary is checked when the two meet.

    Parameters
    ----------
    sequences : sequence of sequences of int, or integer array
        Token ids >= 0, one entry per sequence, each of any length >= 1. Of a 2-D array every row is
        a sequence; a 1-D array, or a plain list of numbers, is one sequence.
    token_weights : array of float, optional
        One per token, all sequences one after the other, or one array per sequence: how much the
        loss of predicting that token counts; finite, >= 0. Default: all 1. That of the first token
        of a sequence is unused.

    Raises
    ------
    DataError
        There is no sequence, one is empty, an id is negative or beyond 32 bits, or a weight is bad.
    ArgumentError
        The ids are not integers, or the weights are not one per token.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]] | Sequence[int] | npt.NDArray[np.integer[Any]] | Any,
        token_weights: Any = None,
    ) -> None:
        self._sequences = tuple(
            as_tokens(f"sequence {i}", row) for i, row in enumerate(_rows(sequences))
        )
        self._lengths = np.array([len(row) for row in self._sequences], dtype=np.int64)
        self._ids = (
            np.concatenate(self._sequences) if self._sequences else np.empty(0, dtype=np.int32)
        )
        self._weights = _as_weights(token_weights, self._lengths)
        self._handle = Handle("data", "prune_data", self._make, lib.prune_data_release)

    def _make(self, out: Any) -> int:
        options = new_struct("prune_data_options")
        weights = None
        if self._weights is not None:
            weights = ffi.from_buffer("float[]", self._weights)
            options.token_weights = weights
        return int(
            lib.prune_data_create(
                ffi.from_buffer("int32_t[]", self._ids),
                ffi.from_buffer("int64_t[]", self._lengths),
                len(self._lengths),
                options,
                out,
            )
        )

    @property
    def n_sequences(self) -> int:
        """Number of sequences."""
        return len(self._lengths)

    @property
    def n_tokens(self) -> int:
        """Number of tokens of all sequences."""
        return len(self._ids)

    @property
    def sequences(self) -> tuple[Tokens, ...]:
        """Token ids, one read-only int32 array per sequence."""
        return self._sequences

    @property
    def token_weights(self) -> npt.NDArray[np.float32] | None:
        """Weights, one per token of all sequences; None = all 1."""
        return self._weights

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the sequences: the data hash of results.

        Hashed are the number of sequences and their lengths (little-endian int64), all ids (int32),
        and the weights if there are any (float32).
        """
        digest = hashlib.sha256()
        digest.update(np.int64(self.n_sequences).astype("<i8").tobytes())
        digest.update(self._lengths.astype("<i8").tobytes())
        digest.update(self._ids.astype("<i4").tobytes())
        if self._weights is not None:
            digest.update(self._weights.astype("<f4").tobytes())
        return digest.hexdigest()

    @property
    def handle(self) -> Any:
        """The C handle, for the raw layer. Borrowed."""
        return self._handle.pointer

    def __len__(self) -> int:
        return self.n_sequences

    def __getitem__(self, part: slice) -> Data:
        """Some of the sequences, as data of their own: `data[:16]`."""
        if not isinstance(part, slice):
            raise TypeError("data is cut with a slice, such as data[:16]; see also data.sequences")
        return self.select(range(*part.indices(self.n_sequences)))

    def select(self, indices: Iterable[int]) -> Data:
        """The sequences with these indices, in this order, as data of their own."""
        chosen = list(indices)
        weights = None
        if self._weights is not None:
            parts = np.split(self._weights, np.cumsum(self._lengths)[:-1])
            weights = [parts[index] for index in chosen]
        return Data([self._sequences[index] for index in chosen], weights)

    @staticmethod
    def concatenate(parts: Iterable[Data]) -> Data:
        """All sequences of several data sets, one after the other.

        Multiple-choice data stay so if all parts are, and are scored alike.
        """
        chosen = list(parts)
        kinds = {type(part) for part in chosen}
        kind = kinds.pop() if len(kinds) == 1 else Data
        return kind._joined(chosen)

    @classmethod
    def _joined(cls, parts: Sequence[Any]) -> Data:
        """All sequences of data sets of this class."""
        weights = None
        if any(part.token_weights is not None for part in parts):
            weights = np.concatenate(
                [
                    np.ones(part.n_tokens, np.float32)
                    if part.token_weights is None
                    else part.token_weights
                    for part in parts
                ]
            )
        return Data([row for part in parts for row in part.sequences], weights)

    def __repr__(self) -> str:
        return f"Data(n_sequences={self.n_sequences}, n_tokens={self.n_tokens})"

    @classmethod
    def from_text(
        cls,
        paths: PathLike | Sequence[PathLike],
        tokenizer: TokenizerSource,
        sequence_length: int | None = 256,
        *,
        limit: int | None = None,
        seed: int | None = None,
    ) -> Data:
        """Reads and tokenises text files.

        Every document is tokenised with its special tokens, all documents are joined, cut into
        sequences of `sequence_length` tokens, and the remainder is dropped (arXiv 2407.16286, its
        released code). Where there is not even one full sequence, the one there is is kept.

        Parameters
        ----------
        paths : path or sequence of paths
            `.jsonl`: one JSON object per line, each a document in its field "text". Any other
            suffix: the file is one document. Empty documents are left out.
        tokenizer : Model, path, or tokenizer
            A model or its directory, whose `tokenizer.json` is used; that file itself; or a
            tokenizer of the packages tokenizers or transformers (a fast one).
        sequence_length : int or None
            Tokens per sequence; None = every document is a sequence.
        limit : int, optional
            Sequences taken at most. Default: all.
        seed : int, optional
            Given: the sequences are drawn without replacement (`numpy.random.default_rng`), and
            keep their order. Not given: the first ones are taken.

        Raises
        ------
        FileError
            A file, or the tokenizer, is missing or unreadable.
        FormatError
            A line is not a JSON object, or has no field "text".
        """
        encoder = load_tokenizer(tokenizer)
        files = as_paths(paths)
        rows = (tokenize(encoder, text) for path in files for text in documents(path))
        return cls(_draw(pack(rows, sequence_length), limit, seed, files))

    @classmethod
    def from_file(
        cls,
        paths: PathLike | Sequence[PathLike],
        tokenizer: TokenizerSource | None = None,
        sequence_length: int | None = 256,
        *,
        limit: int | None = None,
        seed: int | None = None,
    ) -> Data:
        """Reads files of text or of token ids, by their suffix.

        `.npy` holds token ids and needs no tokenizer: the rows of a 2-D integer array are sequences
        as they are; a 1-D array is one stream, cut into sequences of `sequence_length`. Everything
        else is text: see `from_text`, also for the parameters. Several files must be of one kind.
        """
        files = as_paths(paths)
        binary = [path.suffix.lower() == ".npy" for path in files]
        if not any(binary):
            if tokenizer is None:
                raise ArgumentError(f"{files[0]} is text, which needs a model or a tokenizer")
            return cls.from_text(list(files), tokenizer, sequence_length, limit=limit, seed=seed)
        if not all(binary):
            raise ArgumentError("files of token ids (.npy) and of text cannot be mixed")
        rows: list[Tokens] = []
        for path in files:
            tokens = load_tokens(path)
            rows.extend(pack([tokens], sequence_length) if tokens.ndim == 1 else list(tokens))
        return cls(_draw(rows, limit, seed, files))

    @staticmethod
    def from_choices(
        items: ChoiceSet | Iterable[ChoiceItem] | PathLike,
        tokenizer: TokenizerSource,
        scoring: Literal["letter", "sum", "mean"] = "letter",
        *,
        shots: int = 0,
        limit: int | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
    ) -> ChoiceData:
        """Turns multiple-choice questions into data that the measures of choices understand.

        The prompt is that of MMLU (see docs/tasks.md): a heading if the question has a subject,
        `shots` solved examples, the question, and "Answer:".

        Parameters
        ----------
        items : ChoiceSet, path, or iterable of ChoiceItem
            A path is read by `ChoiceSet.load`.
        tokenizer : Model, path, or tokenizer
            As for `from_text`.
        scoring : {"letter", "sum", "mean"}
            "letter": the prompt lists the choices as A, B, ..; scored is the letter that follows.
            "sum" and "mean": they are not listed; scored is the text of each choice after the
            prompt, by its log-likelihood or by that divided by its number of tokens.
        shots : int
            Examples shown before each question; the choice set must hold them.
        limit, seed : int, optional
            As for `from_text`; they count questions.
        max_tokens : int, optional
            Shots are left out one by one while a prompt is longer. Default: the context length of
            the model where a model is given, but at most 2048, as MMLU has it.

        Raises
        ------
        ArgumentError
            There are fewer examples than shots, or more choices than letters.
        FileError, FormatError
            The questions or the tokenizer cannot be read.
        """
        from prunecore.data.choice_prompts import encode

        return encode(
            items, tokenizer, scoring, shots=shots, limit=limit, seed=seed, max_tokens=max_tokens
        )


def _draw(
    rows: list[Tokens], limit: int | None, seed: int | None, files: list[Path]
) -> list[Tokens]:
    if not rows:
        raise DataError(f"there are no tokens in {', '.join(str(path) for path in files)}")
    return [rows[index] for index in chosen_indices(len(rows), limit, seed)]


def _rows(sequences: Any) -> list[Any]:
    if isinstance(sequences, np.ndarray):
        if sequences.ndim not in (1, 2):
            raise ArgumentError(
                f"token ids have {sequences.ndim} dimensions, but 1 or 2 are needed"
            )
        return [sequences] if sequences.ndim == 1 else list(sequences)
    rows = list(sequences)
    if rows and all(isinstance(row, (int, np.integer)) for row in rows):
        return [rows]
    return rows


def as_tokens(name: str, row: Any) -> Tokens:
    """Checks the token ids of one sequence; errors call it by `name`."""
    try:
        ids = np.asarray(row)
    except (ValueError, OverflowError) as error:
        raise ArgumentError(f"{name} is not a list of token ids: {error}") from error
    if ids.size == 0:
        ids = ids.astype(np.int64)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ArgumentError(
            f"{name} must be a 1-D list of integers, but is {ids.ndim}-D of {ids.dtype}"
        )
    if ids.size and int(ids.max()) >= 2**31:
        raise DataError(f"{name} holds the token id {int(ids.max())}, beyond 32 bits")
    if ids.size and int(ids.min()) < 0:
        raise DataError(f"{name} holds the negative token id {int(ids.min())}")
    tokens: Tokens = np.array(ids, dtype=np.int32)
    tokens.setflags(write=False)
    return tokens


def _as_weights(weights: Any, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
    if weights is None:
        return None
    try:
        flat = np.asarray(weights, dtype=np.float32)
        if flat.ndim > 1 and flat.shape != (len(lengths), lengths[0]):
            raise ArgumentError("token weights must be as many as the tokens of each sequence")
    except (ValueError, TypeError) as error:
        if isinstance(error, ArgumentError):
            raise
        parts = [np.asarray(part, dtype=np.float32).reshape(-1) for part in weights]
        if [len(part) for part in parts] != lengths.tolist():
            raise ArgumentError(
                "token weights must be as many as the tokens of each sequence"
            ) from error
        flat = np.concatenate(parts)
    flat = np.array(flat.reshape(-1), dtype=np.float32)
    if len(flat) != int(lengths.sum()):
        raise ArgumentError(f"{len(flat)} token weights for {int(lengths.sum())} tokens")
    flat.setflags(write=False)
    return flat
