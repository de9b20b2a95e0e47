# SPDX-License-Identifier: Apache-2.0
"""From texts to token sequences: tokenizers, token files, packing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from prunecore._native.numbers import checked_count
from prunecore._native.paths import as_path, missing_hint, unreadable
from prunecore._native.reading import LFS_POINTER, check_no_pointer, read_text
from prunecore.data.gguf_tokenizer.path import is_gguf
from prunecore.errors import ArgumentError, DataError, FileError, FormatError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from prunecore.opened import OpenModel

    TokenizerSource: TypeAlias = "OpenModel | str | os.PathLike[str] | Tokenizer | Any"


def load_tokenizer(source: TokenizerSource) -> Tokenizer:
    """Finds the tokenizer of a model.

    Parameters
    ----------
    source : Model, path, or tokenizer
        A model or its directory (whose `tokenizer.json` is read), that file itself, a GGUF file
        (which holds a tokenizer), a `tokenizers.Tokenizer`, or a fast tokenizer of the package
        transformers.

    Raises
    ------
    ArgumentError
        It is none of these.
    FileError
        There is no `tokenizer.json`, or the model did not come from a directory; a GGUF file holds
        no tokenizer.
    FormatError
        It cannot be read.
    UnsupportedError
        The tokenizer of a GGUF file is of a kind that is not known.
    """
    from tokenizers import Tokenizer

    source = getattr(source, "backend_tokenizer", source)
    if isinstance(source, Tokenizer):
        return _plain(Tokenizer.from_str(source.to_str()))
    directory = getattr(source, "directory", source)
    if directory is None and source is not None:
        raise FileError(
            "the model did not come from a directory or file, so that it has no tokenizer: "
            "name one, or give a tokenizer"
        )
    if not isinstance(directory, (str, os.PathLike)):
        raise ArgumentError(
            f"cannot take a tokenizer from a {type(source).__name__}: give a model, its directory, "
            "or a tokenizer (of the package transformers a fast one)"
        )
    path = as_path(directory, "the tokenizer")
    if is_gguf(path):
        from prunecore.data.gguf_tokenizer.tokenizer import tokenizer_of

        return _plain(tokenizer_of(path))
    path = _tokenizer_file(path)
    text = read_text(path)
    try:
        return _plain(Tokenizer.from_str(text))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers raises plain Exception, and panics beside it
        raise FormatError(f"{path} is not a tokenizer: {error}") from error


def _tokenizer_file(path: Path) -> Path:
    if os.path.isdir(path):
        folder, path = path, path / "tokenizer.json"
        if not path.is_file() and (folder / "tokenizer.model").is_file():
            raise FileError(
                f"{path} is missing, and tokenizer.model beside it is not read: convert it once, "
                f"by transformers.AutoTokenizer.from_pretrained('{folder}').save_pretrained"
                f"('{folder}')"
            )
    if not os.path.isfile(path):
        raise FileError(
            f"{path} is missing: text needs the model's tokenizer there; "
            f"token ids can come from a .npy file instead{missing_hint(str(path))}"
        )
    return path


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    # Some files ask for padding or truncation, which would change what is measured.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenize(tokenizer: Tokenizer, text: str) -> npt.NDArray[np.int32]:
    """Token ids of one document, with the special tokens that the tokenizer adds.

    Where the text itself begins with the token that is added in front (such as "<s>"), that token
    appears once. Raises `DataError` where the tokenizer cannot encode the text.
    """
    ids = _ids(tokenizer, text)
    if len(ids) > 1 and ids[0] == ids[1] and _is_special(tokenizer, ids[0]):
        bare = _ids(tokenizer, text, add_special_tokens=False)
        if ids[1 : 1 + len(bare)] == bare:  # the first one was added, the second one was written
            ids = ids[1:]
    if ids and max(ids) >= 2**31:
        raise DataError(f"the tokenizer gives the token id {max(ids)}, beyond 31 bits")
    return np.array(ids, dtype=np.int32)


def _ids(tokenizer: Tokenizer, text: str, **options: bool) -> list[int]:
    try:
        ids: list[int] = tokenizer.encode(text, **options).ids
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers raises plain Exception, and panics beside it
        raise DataError(f"the tokenizer cannot encode a text: {error}") from error
    return ids


def _is_special(tokenizer: Tokenizer, token: int) -> bool:
    found = tokenizer.get_added_tokens_decoder().get(token)
    return found is not None and found.special


def load_tokens(path: Path) -> npt.NDArray[Any]:
    """Reads token ids from a `.npy` file: a 1-D or 2-D array of integers.

    How much the file says that it holds is compared with what it holds before memory is taken.
    """
    try:
        with path.open("rb") as file:
            check_no_pointer(file.read(len(LFS_POINTER)), str(path))
            file.seek(0)
            shape, dtype = _array_header(file)
            there = os.fstat(file.fileno()).st_size - file.tell()
            if dtype.kind not in "iu":
                raise FormatError(f"{path} holds no integers, but {dtype}")
            if len(shape) not in (1, 2):
                raise FormatError(f"{path} holds {len(shape)} dimensions, but 1 or 2 are needed")
            needed = math.prod(shape) * dtype.itemsize
            if min(shape, default=0) < 0 or needed != there:
                raise FormatError(f"{path} says that it holds {needed} bytes, but holds {there}")
            file.seek(0)
            return np.asarray(np.load(file, allow_pickle=False))
    except FormatError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # NumPy reads the header as Python's tokens, and raises as that does
        raise FormatError(f"{path} is not a .npy file: {error}") from error


def _array_header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the format is for names of fields")
    shape, _, dtype = read(file)
    return shape, dtype


def pack(rows: Iterable[npt.NDArray[Any]], sequence_length: int | None) -> list[npt.NDArray[Any]]:
    """Joins documents and cuts them into sequences of `sequence_length` tokens.

    The remainder is dropped, unless it is all there is. None leaves every document as it is.
    """
    documents_ = [row for row in rows if len(row)]
    if sequence_length is None:
        return documents_
    length = checked_count("sequence_length", sequence_length)
    if not documents_:
        return []
    stream = np.concatenate(documents_)
    whole = len(stream) // length
    if whole == 0:
        return [stream]
    return list(stream[: whole * length].reshape(whole, length))


def files_of_sequences(
    lengths: Sequence[Sequence[int]], n_sequences: int, sequence_length: int | None
) -> list[int]:
    """Of each sequence that `pack` made of several files, the file that its middle comes from.

    Parameters
    ----------
    lengths : sequence of sequences of int
        For each file the tokens of its documents.
    n_sequences : int
        Made by `pack`.
    sequence_length : int or None
        Given to it.
    """
    if sequence_length is None:
        return [file for file, rows in enumerate(lengths) for length in rows if length]
    ends = np.cumsum([sum(rows) for rows in lengths])
    middles = np.arange(n_sequences) * sequence_length + min(sequence_length, int(ends[-1])) // 2
    return [int(file) for file in np.searchsorted(ends, middles, side="right")]
