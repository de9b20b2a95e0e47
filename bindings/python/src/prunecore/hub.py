# SPDX-License-Identifier: Apache-2.0
"""Models by their names on the Hugging Face hub: from the local cache, or downloaded into it.

A name is `org/name`, or `org/name/file.gguf` for one of the GGUF files of a repository (of a model
in several parts, the first). A revision, that is a branch, a tag or a commit, follows the name:
`org/name@revision` or `org/name@revision/file.gguf`.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from prunecore._native.paths import PathLike, as_path
from prunecore.errors import FileError

_PART = r"[A-Za-z0-9][\w.-]*"
# As few slashes as there can be are the revision's, but for what the hub itself names with them.
_REVISION = r"refs/\w+/[\w.-]+|[\w.][\w./-]*?"
_NAME = re.compile(
    rf"(?P<id>{_PART}/{_PART})(?:@(?P<revision>{_REVISION}))?"
    rf"(?:/(?P<file>(?:{_PART}/)*{_PART}\.gguf))?",
    re.ASCII,
)
_FIRST_PART = re.compile(r"-00001-of-(?P<count>\d{5})\.gguf")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What opening a model and reading text for it take, and what exports take along.
WANTED = [
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.tiktoken",
    "tekken.json",
    "chat_template*",
    "additional_chat_templates/*",
    "LICENSE*",
    "NOTICE*",
]
# The same weights once more, as some authors add them.
UNWANTED = ["original/*", "consolidated*", "onnx/*"]


class Located(NamedTuple):
    """Where a model lies, and what results call it."""

    path: Path
    name: str


class _HubName(NamedTuple):
    id: str
    revision: str
    file: str | None
    """One GGUF file; None = the model of the repository, for transformers."""

    @property
    def shown(self) -> str:
        """As a user writes it."""
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"{self.id}{revision}" + (f"/{self.file}" if self.file else "")

    @property
    def command(self) -> str:
        """What downloads it."""
        chosen = "" if self.revision == "main" else f" --revision {self.revision}"
        if self.file is None:
            return f"hf download {self.id}{chosen}"
        return f"hf download {self.id} {' '.join(self.parts)}{chosen}"

    @property
    def parts(self) -> list[str]:
        """The files that make a model in GGUF, `file` first."""
        assert self.file is not None
        found = _FIRST_PART.search(self.file)
        if found is None:
            return [self.file]
        stem, count = self.file[: found.start()], found["count"]
        return [f"{stem}-{number:05}-of-{count}.gguf" for number in range(1, int(count) + 1)]

    def within(self, folder: Path) -> Path:
        """What is opened, in the folder of a revision."""
        return folder if self.file is None else folder / self.file


def locate(given: PathLike) -> Located:
    """Where the model is that a caller names.

    A path that is there comes first. Else a name on the Hugging Face hub is looked up in the local
    cache (`HF_HUB_CACHE`, `HF_HOME`), and downloaded into it if it is not there whole, where
    huggingface_hub is installed and `HF_HUB_OFFLINE` is not set.

    Parameters
    ----------
    given : path
        A path, or a name: `org/name` with or without `@revision` and `/file.gguf`. A name whose
        first part is a folder here is a path, and never downloaded.

    Returns
    -------
    Located
        What is no name on the hub is given back as a path, be it there or not.

    Raises
    ------
    ArgumentError
        It is not a path.
    FileError
        A name on the hub that is neither in the cache nor can be downloaded; the text says how to.
    """
    path = as_path(given, "the model's path")
    name = None if os.path.lexists(path) else _hub_name(os.fsdecode(os.fspath(given)))
    if name is None:
        return Located(path, path.resolve().name)
    snapshot = _snapshot(name)
    if snapshot is not None and _is_whole(snapshot, name):
        return Located(name.within(snapshot), name.shown)
    if os.path.isdir(path.parts[0]):
        return Located(path, path.name)
    return Located(name.within(_download(name)), name.shown)


def cache_folder() -> Path:
    """The folder in which Hugging Face's programs keep what they download."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return Path(os.path.expandvars(folder)).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def _hub_name(text: str) -> _HubName | None:
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    return _HubName(found["id"], found["revision"] or "main", found["file"])


def _snapshot(name: _HubName) -> Path | None:
    """The folder of a revision in the cache; None if it is not there."""
    folder = cache_folder() / f"models--{name.id.replace('/', '--')}"
    try:
        commit = (folder / "refs" / name.revision).read_text().strip()
    except (OSError, UnicodeDecodeError):
        commit = name.revision
    # What a damaged file says could be any path.
    if _COMMIT.fullmatch(commit) is None:
        return None
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def _is_whole(snapshot: Path, name: _HubName) -> bool:
    """Whether a folder of the cache has a model's weights: others ask for some files alone."""
    if name.file is not None:
        return all((snapshot / part).is_file() for part in name.parts)
    if not (snapshot / "config.json").is_file():
        return False
    if (snapshot / "model.safetensors").is_file():
        return True
    try:
        index = json.loads((snapshot / "model.safetensors.index.json").read_text())
        return all((snapshot / shard).is_file() for shard in set(index["weight_map"].values()))
    except OSError:
        # Opening these says how they are converted.
        return any(snapshot.glob("pytorch_model*"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return True  # and what is wrong with this index


def _download(name: _HubName) -> Path:
    """Downloads a model into the cache, with bars on standard error. Raises `FileError`."""
    nowhere = (
        f"{name.shown} is neither a path here nor in the Hugging Face cache ({cache_folder()})"
    )
    remedy = f"download it ({name.command}), or name the folder of a model"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise FileError(f"{nowhere}, and HF_HUB_OFFLINE forbids to download it; {remedy}")
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise FileError(
            f"{nowhere}, and huggingface_hub, which could download it, is not installed "
            f"(pip install huggingface_hub); {remedy}"
        ) from error
    wanted = WANTED if name.file is None else name.parts
    try:
        folder = Path(
            hub.snapshot_download(
                name.id, revision=name.revision, allow_patterns=wanted, ignore_patterns=UNWANTED
            )
        )
    except Exception as error:  # those of its network library, whichever that is, among others
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(f"{nowhere}, and downloading it failed: {reason}; {remedy}") from error
    if name.file is None and not (folder / "config.json").is_file():
        raise FileError(
            f"{name.shown} has no config.json, as models for transformers have; if it holds GGUF "
            f"files, name one: {name.shown}/FILE.gguf"
        )
    if name.file is not None and not (folder / name.file).is_file():
        raise FileError(f"the repository {name.id} has no file {name.file} ({name.revision})")
    return folder
