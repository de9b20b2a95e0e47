# SPDX-License-Identifier: Apache-2.0
"""Token sequences, as every measurement takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.given import listed
from prunecore._native.handle import Handle
from prunecore._native.library import ffi, lib, new_struct
from prunecore._native.paths import PathLike
from prunecore._native.reading import given_text
from prunecore.data.documents import documents
from prunecore.data.draw import chosen_indices
from prunecore.data.paths import as_paths
from prunecore.data.text import (
    files_of_sequences,
    load_tokenizer,
    load_tokens,
    pack,
    tokenize,
)
from prunecore.data.token_rows import (
    Tokens,
    as_tokens,
    as_weights,
    checked_indices,
    checked_slice,
    token_rows,
)
from prunecore.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from prunecore.data.choice_data import ChoiceData
    from prunecore.data.choice_item import ChoiceItem
    from prunecore.data.choice_set import ChoiceSet
    from prunecore.data.text import TokenizerSource


class Data:
    """Token sequences, immutable and not tied to a model.

    Whether the ids fit a model's vocabulary is checked when the two meet.

    Parameters
    ----------
    sequences : sequence of sequences of int, or integer array
        Token ids >= 0, one entry per sequence, each of any length >= 1. Of a 2-D array every row is
        a sequence; a 1-D array, or a plain list of numbers, is one sequence. Tensors, pandas
        Series, rows of datasets, and what tokenizers of transformers return (a mapping with
        `input_ids`) are taken, too; padding that an `attention_mask` names is left out.
    token_weights : array of float, optional
        One per token, all sequences one after the other, or one array per sequence: how much the
        loss of predicting that token counts; finite, >= 0. Default: all 1. That of the first token
        of a sequence is unused.

    Raises
    ------
    DataError
        There is no sequence, one is empty, an id is negative or beyond 32 bits, or a weight is bad.
    ArgumentError
        The ids are no whole numbers, a mask has holes, or the weights are not one per token.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]] | Sequence[int] | npt.NDArray[np.integer[Any]] | Any,
        token_weights: Any = None,
    ) -> None:
        self._sequences = tuple(
            as_tokens(f"sequence {i}", row) for i, row in enumerate(token_rows(sequences))
        )
        self._lengths = np.array([len(row) for row in self._sequences], dtype=np.int64)
        self._ids = (
            np.concatenate(self._sequences) if self._sequences else np.empty(0, dtype=np.int32)
        )
        self._weights = as_weights(token_weights, self._lengths)
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
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return int(self._lengths.max(initial=0))

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
        return self.select(checked_slice(part, self.n_sequences))

    def select(self, indices: Iterable[int]) -> Data:
        """The sequences with these indices, in this order, as data of their own."""
        chosen = checked_indices(indices, self.n_sequences)
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
        chosen = listed("parts", parts)
        for part in chosen:
            if not isinstance(part, Data):
                raise ArgumentError(f"a {type(part).__name__} is among the parts, which are Data")
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
            `.jsonl`, `.ndjson`, `.jsonlines`: one JSON object per line, each a document in its
            field "text". `.json`: the same, or a list of such objects or of texts. Any other
            suffix: the file is one document, unless it holds JSON after all. Files may be packed
            with gzip, bzip2 or xz. A byte-order mark says the encoding; else it is UTF-8. Empty
            documents are left out.
        tokenizer : Model, path, or tokenizer
            A model or its directory, whose `tokenizer.json` is used; that file itself; a GGUF file;
            or a tokenizer of the packages tokenizers or transformers (a fast one).
        sequence_length : int or None
            Tokens per sequence; None = every document is a sequence.
        limit : int, optional
            Sequences taken at most. Default: all.
        seed : int, optional
            Given: the sequences are drawn without replacement (`numpy.random.default_rng`), and
            keep their order. Not given: all files give alike, each its first ones.

        Raises
        ------
        FileError
            A file, or the tokenizer, is missing or unreadable, or the path is a text itself.
        FormatError
            A file is not text; a line is not a JSON object, or has no field "text".
        """
        encoder = load_tokenizer(tokenizer)
        files = as_paths(paths)
        texts = [[tokenize(encoder, text) for text in documents(path)] for path in files]
        rows = pack([row for rows in texts for row in rows], sequence_length)
        lengths = [[len(row) for row in rows] for rows in texts]
        origins = files_of_sequences(lengths, len(rows), sequence_length)
        return cls(_draw(rows, limit, seed, files, origins))

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        tokenizer: TokenizerSource,
        sequence_length: int | None = 256,
        *,
        limit: int | None = None,
        seed: int | None = None,
    ) -> Data:
        """Tokenises texts that a program holds itself: each is a document, as in `from_text`.

        Parameters
        ----------
        texts : iterable of str
            Documents; empty ones are left out.
        tokenizer, sequence_length, limit, seed
            As for `from_text`; without a seed, the first sequences are taken.

        Raises
        ------
        ArgumentError
            Something is no text, or holds half a surrogate pair.
        DataError
            There is no text.
        FileError, FormatError
            The tokenizer cannot be read.
        """
        if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
            raise ArgumentError(
                f"texts are one {type(texts).__name__}, but must be a list of texts, also of one"
            )
        given = [
            given_text(f"text {number}", text) for number, text in enumerate(listed("texts", texts))
        ]
        encoder = load_tokenizer(tokenizer)
        rows = pack((tokenize(encoder, text) for text in given if text.strip()), sequence_length)
        if not rows:
            raise DataError("there are no tokens in the texts")
        return cls([rows[index] for index in chosen_indices(len(rows), limit, seed)])

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
        rows: list[Any] = []
        origins: list[int] = []
        for number, path in enumerate(files):
            tokens = load_tokens(path)
            found = pack([tokens], sequence_length) if tokens.ndim == 1 else list(tokens)
            rows += found
            origins += [number] * len(found)
        return cls(_draw(rows, limit, seed, files, origins))

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
    rows: list[Any],
    limit: int | None,
    seed: int | None,
    files: Sequence[Any],
    origins: Sequence[int],
) -> list[Any]:
    """The sequences to take; `origins` says the file of each."""
    if not rows:
        raise DataError(f"there are no tokens in {', '.join(str(path) for path in files)}")
    return [rows[index] for index in chosen_indices(len(rows), limit, seed, origins)]
