# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all, and places that are checked before the work."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
from processes import begun, wait_until
from prunecore._native.inner_path import inner_path
from prunecore._native.run_file import RunFile
from prunecore._native.whole_file import (
    check_export_place,
    check_folder,
    check_place,
    whole_file,
    write_whole,
)
from prunecore.plots import save_figure

SCORES = pc.Scores({"l1": np.arange(400.0)}, "block", 400)
MASK = pc.Mask.remove(["attn.3"], 12)

WRITERS: dict[str, Callable[[Path], Any]] = {
    "scores.json": SCORES.save,
    "mask.json": MASK.save,
    "picture.png": lambda path: save_figure(SCORES.plot(), path),
    "picture.svg": lambda path: save_figure(SCORES.plot(), path),
    "game": lambda path: RunFile(path, {"seed": 1}).save(bytes(9000)),
    "text": lambda path: write_whole(path, "x" * 9000),
}


def limited(bytes_: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, resource.RLIM_INFINITY))


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_on_files_leaves_the_old_file_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"before")
    limited(20)
    try:
        with pytest.raises(pc.FileError, match="larger than the limit") as caught:
            WRITERS[name](path)
    finally:
        limited(resource.RLIM_INFINITY)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == [name]
    WRITERS[name](path)
    assert path.read_bytes() != b"before" and os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_named_before_and_after(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / name
    WRITERS[name](path)  # folders are made
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(pc.FileError, match=f"{name} cannot be written: No space left"):
        WRITERS[name](path)
    assert path.read_bytes() == before and os.listdir(path.parent) == [name]


def test_links_stay_and_permissions_too(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("before")
    real.chmod(0o640)
    link.symlink_to("real")
    write_whole(link, "after")
    assert link.is_symlink() and real.read_text() == "after"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    (tmp_path / "dangling").symlink_to("made")
    write_whole(tmp_path / "dangling", "x")
    assert (tmp_path / "made").read_text() == "x" and (tmp_path / "dangling").is_symlink()
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "own", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o600


def test_what_stops_the_block_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "before")
    for error in (KeyboardInterrupt(), pc.DataError("no"), ValueError("no")):
        with pytest.raises(type(error)), whole_file(path) as file:
            file.write(b"half")
            raise error
        assert path.read_text() == "before" and os.listdir(tmp_path) == ["file"]


def test_leftovers_go_and_files_in_use_stay(tmp_path: Path) -> None:
    path = tmp_path / "file"
    left, other = tmp_path / "file.0123abcd.partial", tmp_path / "file.mine.partial"
    left.touch()
    other.touch()
    with whole_file(path) as first:
        first.write(b"first")
        write_whole(path, "second")  # another writer of the same place
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert sorted(os.listdir(tmp_path)) == ["file", "file.mine.partial"]


def save_often(path: str, size: int) -> None:
    for _ in range(60):
        RunFile(path, {"seed": 1}).save(bytes(size))


def test_two_processes_save_one_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "game"
    RunFile(path, {"seed": 1}).save(b"")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=save_often, args=(str(path), n)) for n in (200_000, 300_000)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert len(RunFile(path, {"seed": 1}).load() or b"") in (0, 200_000, 300_000)
    assert [writer.exitcode for writer in writers] == [0, 0]
    for writer in writers:
        writer.join()
    assert os.listdir(tmp_path) == ["game"]


def test_special_files_are_written_to_as_they_are(tmp_path: Path) -> None:
    write_whole("/dev/null", "x")
    code = "from prunecore._native.whole_file import *; check_place(P); write_whole(P, 'told')"
    for out in ("/dev/stdout", "/dev/fd/1"):
        command = [sys.executable, "-c", f"P = {out!r}; {code}"]
        assert subprocess.run(command, check=True, stdout=-1).stdout == b"told"
        with (tmp_path / "file").open("wb") as file:
            file.write(b"begun ")
            file.flush()
            subprocess.run(command, check=True, stdout=file)
        assert (tmp_path / "file").read_bytes() == b"begun told"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    check_place(fifo)
    reader = subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE)
    write_whole(fifo, "told")
    assert reader.communicate()[0] == b"told" and stat.S_ISFIFO(fifo.stat().st_mode)


def test_places_are_checked_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    places = {
        tmp_path: "is a folder",
        tmp_path / "file" / "new": "is not a folder|Not a directory",
        tmp_path / "loop": "Too many levels",
        tmp_path / ("n" * 256): "longer than systems allow",
        Path("/proc/nothing"): "cannot be written",
    }
    for place, words in places.items():
        with pytest.raises(pc.FileError, match=f"(?i){words}"):
            check_place(place)
        with pytest.raises(pc.FileError):
            write_whole(place, "x")
    for given in ("", "a\0b"):
        with pytest.raises(pc.ArgumentError):
            check_place(given)
    check_place(tmp_path / ("n" * 255), tmp_path / "new" / "folder" / "file", tmp_path / "file")
    write_whole(tmp_path / ("n" * 255), "x")
    with pytest.raises(pc.FileError, match="is not a folder"):
        check_folder(tmp_path / "file")
    (tmp_path / "folder" / "curves.json").mkdir(parents=True)
    with pytest.raises(pc.FileError, match=r"curves\.json is a folder"):
        check_folder(tmp_path / "folder", ("curves.png", "curves.json"))
    with pytest.raises(pc.FileError, match="exists already"):
        check_export_place(tmp_path / "file", replaces=False)
    check_export_place(tmp_path / "folder", replaces=True)
    assert sorted(os.listdir(tmp_path)) == sorted(["file", "loop", "n" * 255, "folder"])


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", ".", 7, None, "a\0b"])
def test_names_in_files_do_not_lead_out_of_their_directory(name: Any, tmp_path: Path) -> None:
    with pytest.raises(pc.FormatError, match="not inside"):
        inner_path(tmp_path, name, tmp_path / "index.json")
    assert inner_path(tmp_path, "a/b.safetensors", tmp_path) == tmp_path / "a" / "b.safetensors"


def saved_or_ended(checkpoint: Path, process: subprocess.Popen[str]) -> bool:
    return checkpoint.exists() or process.poll() is not None


def test_signals_end_the_command_and_a_closed_pipe_is_quiet(folder: Path) -> None:
    command = [sys.executable, "-m", "prunecore", "shapley", "model", "--data", "text.jsonl"]
    command += ["--budget", "100000", "--estimator", "permutation", "--checkpoint", "game"]
    for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        process = begun(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        wait_until(functools.partial(saved_or_ended, folder / "game", process), "a checkpoint")
        assert process.poll() is None
        process.send_signal(number)
        _, errors = process.communicate()
        assert (process.returncode, errors) == (code, f"prunecore: cancelled by {number.name}\n")
        assert not list(folder.glob("*.partial"))
        (folder / "game").unlink()
    shown = subprocess.Popen(
        [sys.executable, "-m", "prunecore", "info", "model", "--json"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert shown.stdout is not None and shown.stderr is not None
    shown.stdout.close()
    assert shown.stderr.read() == b"" and shown.wait() == 141


def test_a_result_that_cannot_be_written_is_kept(tmp_path: Path, tales_dir: Path) -> None:
    text = tales_dir / "maths.jsonl"
    command = f"-m prunecore score {tales_dir} --data {text} --limit 1 --out"
    # Room for the few bytes that the check writes, and not for the result.
    done = subprocess.run(
        [sys.executable, *command.split(), str(tmp_path / "s.json")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: limited(4096),
    )
    assert done.returncode == 2
    assert "printed to standard output" in done.stderr and "s.json cannot be" in done.stderr
    assert json.loads(done.stdout[done.stdout.index("\n{") :])["granularity"] == "sublayer"
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize("name", WRITERS)
def test_a_tilde_is_the_home_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    place = Path("~", "results", name)
    check_place(place)
    WRITERS[name](place)
    assert (tmp_path / "results" / name).stat().st_size > 0
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("export_format", ["hf", "gguf"])
def test_exports_go_to_the_home_folder(
    export_format: str, tales: pc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    mask = pc.Mask.remove(["block.3"], 12)
    tales.export("~/made/it", mask, format=export_format)
    assert (tmp_path / "made" / "it").exists() and not (tmp_path / "~").exists()
