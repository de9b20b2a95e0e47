# SPDX-License-Identifier: Apache-2.0
"""From text files to token sequences."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from prunecore.errors import ArgumentError, FileError, FormatError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from prunecore.opened import OpenModel

    TokenizerSource: TypeAlias = "OpenModel | str | os.PathLike[str] | Tokenizer | Any"


def load_tokenizer(source: TokenizerSource) -> Tokenizer:
    """Finds the tokenizer of a model.

    Parameters
    ----------
    source : Model, path, or tokenizer
        A model or its directory (whose `tokenizer.json` is read), that file itself, a
        `tokenizers.Tokenizer`, or a fast tokenizer of the package transformers.

    Raises
    ------
    FileError
        There is no `tokenizer.json`, or the model did not come from a directory.
    FormatError
        It cannot be read.
    """
    from tokenizers import Tokenizer

    source = getattr(source, "backend_tokenizer", source)
    if isinstance(source, Tokenizer):
        return _plain(Tokenizer.from_str(source.to_str()))
    directory = getattr(source, "directory", source)
    if directory is None:
        raise FileError(
            "the model did not come from a directory, so that it has no tokenizer.json: "
            "name one, or give a tokenizer"
        )
    if not isinstance(directory, (str, os.PathLike)):
        raise ArgumentError(
            f"cannot take a tokenizer from a {type(source).__name__}: "
            "give a model, its directory, or a tokenizer"
        )
    path = Path(directory)
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        raise FileError(
            f"{path} is missing: text needs the model's tokenizer there; "
            "token ids can come from a .npy file instead"
        )
    try:
        return _plain(Tokenizer.from_file(str(path)))
    except Exception as error:  # tokenizers raises plain Exception
        raise FormatError(f"{path} is not a tokenizer: {error}") from error


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    # Some files ask for padding or truncation, which would change what is measured.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenize(tokenizer: Tokenizer, text: str) -> npt.NDArray[np.int32]:
    """Token ids of one document, with the special tokens that the tokenizer adds.

    Where the text itself begins with the token that is added in front (such as "<s>"), that token
    appears once.
    """
    ids = tokenizer.encode(text).ids
    if len(ids) > 1 and ids[0] == ids[1] and _is_special(tokenizer, ids[0]):
        bare = tokenizer.encode(text, add_special_tokens=False).ids
        if ids[1 : 1 + len(bare)] == bare:  # the first one was added, the second one was written
            ids = ids[1:]
    return np.array(ids, dtype=np.int32)


def _is_special(tokenizer: Tokenizer, token: int) -> bool:
    found = tokenizer.get_added_tokens_decoder().get(token)
    return found is not None and found.special


def documents(path: Path) -> Iterator[str]:
    """The documents of a text file that are not empty: see `Data.from_text`."""
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text: {error.reason} at {error.start}") from error
    if path.suffix.lower() != ".jsonl":
        if content.strip():
            yield content
        return
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise FormatError(f"{path}, line {number}: no JSON: {error}") from error
        text = record.get("text") if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise FormatError(f'{path}, line {number}: no object with a text in the field "text"')
        if text.strip():
            yield text


def load_tokens(path: Path) -> npt.NDArray[np.integer[Any]]:
    """Reads token ids from a `.npy` file: a 1-D or 2-D array of integers."""
    try:
        tokens = np.load(path, allow_pickle=False)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path} is not a .npy file: {error}") from error
    if not isinstance(tokens, np.ndarray) or not np.issubdtype(tokens.dtype, np.integer):
        raise FormatError(f"{path} holds no integers")
    if tokens.ndim not in (1, 2):
        raise FormatError(f"{path} holds {tokens.ndim} dimensions, but 1 or 2 are needed")
    return tokens


def pack(rows: Iterable[npt.NDArray[Any]], sequence_length: int | None) -> list[npt.NDArray[Any]]:
    """Joins documents and cuts them into sequences of `sequence_length` tokens.

    The remainder is dropped, unless it is all there is. None leaves every document as it is.
    """
    documents_ = [row for row in rows if len(row)]
    if sequence_length is None or not documents_:
        return documents_
    if sequence_length < 1:
        raise ArgumentError(f"sequence_length is {sequence_length}, but must be at least 1")
    stream = np.concatenate(documents_)
    whole = len(stream) // sequence_length
    if whole == 0:
        return [stream]
    return list(stream[: whole * sequence_length].reshape(whole, sequence_length))
