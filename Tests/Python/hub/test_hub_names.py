# SPDX-License-Identifier: Apache-2.0
"""Models by their names on the hub: a cache made by hand, and a download that is acted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import prunecore as pc
import pytest
from gguf_blocks import write_blocks
from prunecore.hub import WANTED, cache_folder, locate
from typer.testing import CliRunner

COMMIT, OTHER = "0123456789abcdef" * 2 + "01234567", "f" * 40


@pytest.fixture
def checkpoint(tales_dir: Path) -> Path:
    return tales_dir


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def put(cache: Path, checkpoint: Path, commit: str = COMMIT, **refs: str) -> Path:
    """A snapshot as huggingface_hub lays it out, its files links to what it keeps once."""
    folder = cache / "models--some-org--Some.Model-1b"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "blobs").mkdir(exist_ok=True)
    for number, file in enumerate(sorted(checkpoint.iterdir())):
        blob = folder / "blobs" / f"{commit[:8]}{number}"
        blob.symlink_to(file)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    for ref, to in refs.items():
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / ref).write_text(to)
    return snapshot


def act(monkeypatch: pytest.MonkeyPatch, download: Any) -> None:
    """Has huggingface_hub download by a function of ours."""
    module = ModuleType("huggingface_hub")
    module.snapshot_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def test_names_lead_to_snapshots_of_the_cache(cache: Path, checkpoint: Path) -> None:
    main = put(cache, checkpoint, COMMIT, main=COMMIT)
    other = put(cache, checkpoint, OTHER, v2=OTHER)
    name = "some-org/Some.Model-1b"
    assert locate(name) == (main, name)
    assert locate(Path(name)) == (main, name)
    assert locate(f"{name}@v2") == (other, f"{name}@v2")
    assert locate(f"{name}@{OTHER}").path == other
    with pc.open(name) as model:
        assert model.directory == main
        assert model.provenance["name"] == name
        out = model.export("out", pc.Mask.remove(["block.0"], model.shape.n_blocks))
    assert not any(path.is_symlink() for path in out.iterdir())


def test_commands_take_names(cache: Path, checkpoint: Path) -> None:
    put(cache, checkpoint, main=COMMIT)
    from prunecore.cli.app import app

    done = CliRunner().invoke(app, ["info", "some-org/Some.Model-1b", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"]["n_blocks"] == 12


def test_paths_come_first(cache: Path, checkpoint: Path, tmp_path: Path) -> None:
    put(cache, checkpoint, main=COMMIT)
    (tmp_path / "some-org").mkdir()
    (tmp_path / "some-org" / "Some.Model-1b").symlink_to(checkpoint)
    assert locate("some-org/Some.Model-1b").path == Path("some-org/Some.Model-1b")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HOME": "/d"}, "/d/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_hugging_face_has_it(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_what_is_not_whole_in_the_cache_is_downloaded(
    cache: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = put(cache, checkpoint, main=COMMIT)
    (snapshot / "model.safetensors").unlink()
    asked: list[tuple[Any, ...]] = []

    def download(repo_id: str, *, revision: str, allow_patterns: list[str], **_: Any) -> str:
        asked.append((repo_id, revision, allow_patterns))
        return str(checkpoint)

    act(monkeypatch, download)
    with pc.open("some-org/Some.Model-1b") as model:
        assert model.directory == checkpoint
    locate("another/model@v3")
    assert asked == [("some-org/Some.Model-1b", "main", WANTED), ("another/model", "v3", WANTED)]


def test_gguf_files_have_names(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = cache.parent / "files"
    (files / "Q4").mkdir(parents=True)
    write_blocks(files / "a.Q8_0.gguf", "Q8_0")
    main, other = put(cache, files, COMMIT, main=COMMIT), put(cache, files, OTHER, v2=OTHER)
    name = "some-org/Some.Model-1b"
    assert locate(f"{name}/a.Q8_0.gguf") == (main / "a.Q8_0.gguf", f"{name}/a.Q8_0.gguf")
    assert locate(f"{name}@v2/a.Q8_0.gguf") == (
        other / "a.Q8_0.gguf",
        f"{name}@v2/a.Q8_0.gguf",
    )
    with pc.open(f"{name}/a.Q8_0.gguf") as model:
        assert model.shape.element_type == "q8_0"
        assert model.provenance["name"] == f"{name}/a.Q8_0.gguf"

    asked: list[tuple[Any, ...]] = []

    def download(repo_id: str, *, revision: str, allow_patterns: list[str], **_: Any) -> str:
        asked.append((repo_id, revision, allow_patterns))
        return str(files)

    act(monkeypatch, download)
    first, second = (f"Q4/b-0000{part}-of-00002.gguf" for part in (1, 2))
    (files / first).touch()
    # The cache has none of them.
    assert locate(f"{name}@refs/pr/7/{first}").path == files / first
    with pytest.raises(pc.FileError, match=r"no file c\.gguf"):
        locate(f"{name}/c.gguf")
    with pytest.raises(pc.FileError, match=rf"no config\.json.*{name}/FILE\.gguf"):
        locate(name)
    assert asked == [
        (name, "refs/pr/7", [first, second]),
        (name, "main", ["c.gguf"]),
        (name, "main", WANTED),
    ]


def test_what_cannot_be_had_is_refused_with_what_to_do(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(name: str, words: str) -> None:
        with pytest.raises(pc.FileError, match=words):
            pc.open(name)

    refused("an-org/a-model", r"HF_HUB_OFFLINE.*\(hf download an-org/a-model\)")
    refused("an-org/a-model@v2/a.gguf", r"\(hf download an-org/a-model a\.gguf --revision v2\)")

    def fail(*_: Any, **__: Any) -> str:
        raise RuntimeError("404\n  no such   repository")

    act(monkeypatch, fail)
    refused("an-org/a-model@v2", r"failed: 404 no such repository; .*a-model --revision v2\)")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused("an-org/a-model", r"pip install huggingface_hub.*hf download an-org/a-model")
    # In a folder that is here, it is a path with a slip in it.
    (tmp_path / "out").mkdir()
    refused("out/prunned", "no such directory")
    refused("out/prunned/a.gguf", "No such file")
    refused("an-org/../a-model", "No such file")


@pytest.mark.parametrize("text", ["../../../etc", "a" * 40 + "/x", "", "\udcff"])
def test_damaged_references_lead_nowhere(text: str, cache: Path, checkpoint: Path) -> None:
    put(cache, checkpoint, main=COMMIT)
    reference = cache / "models--some-org--Some.Model-1b" / "refs" / "main"
    reference.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(pc.FileError, match="hf download"):
        pc.open("some-org/Some.Model-1b")
