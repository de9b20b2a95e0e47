# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/models-in-cpp.md run as they are written, over the example's engine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import prunecore as pc
import pytest
from prunecore._library import LIBRARY_PATH

MAIN = """
#include <fstream>
#include <sstream>
#include <string>

int main(int, char **argv) {
  engine::Engine engine = engine::Engine::load(argv[1]);
  std::vector<std::vector<std::int32_t>> sequences;
  std::ifstream file(argv[2]);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    sequences.emplace_back();
    for (std::int32_t id; words >> id;) sequences.back().push_back(id);
  }
  prune_engine(engine, sequences);
  const prune::Data data = prune::Data::from_sequences(sequences);
  evaluate_fragile(engine, data);
  const prune::Model elsewhere(argv[1], prune::Compute::float32);
  const auto host = std::make_shared<WholeMasks>(elsewhere, data);
  const prune::Model whole = prune::Model::from_host(host);
  const std::vector<double> equal(12, 0.0);
  const prune::Mask mask = whole.mask().remove_lowest(equal, prune::Granularity::block, 2);
  std::printf("%.6f %.6f\\n", whole.evaluate(data, mask).loss, elsewhere.evaluate(data, mask).loss);
}
"""


@pytest.fixture
def text(repository_root: Path) -> str:
    return (repository_root / "docs" / "models-in-cpp.md").read_text(encoding="utf-8")


def test_examples(
    text: str, repository_root: Path, tales_dir: Path, tales: pc.Model, tmp_path: Path
) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    source = tmp_path / "page.cpp"
    source.write_text("".join(re.findall(r"```cpp\n(.*?)```", text, re.DOTALL)) + MAIN)
    flags = ["-std=c++17", "-O3", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    engine = repository_root / "examples" / "cpp"
    folders = [repository_root / "include", repository_root / "bindings" / "cpp", engine]
    sources = [source, engine / "engine.cpp", engine / "engine_files.cpp"]
    # By its path: the library that the package uses, wherever it is.
    library = [str(LIBRARY_PATH), f"-Wl,-rpath,{LIBRARY_PATH.parent}"]
    program = tmp_path / "page"
    built = subprocess.run(
        [compiler, *flags, *(f"-I{folder}" for folder in folders), *map(str, sources), *library]
        + ["-o", str(program)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")

    tokens = tmp_path / "tokens.txt"
    lines = (repository_root / "examples" / "data" / "tales_tokens.txt").read_text().splitlines()
    sequences = [[int(word) for word in line.split()][:48] for line in lines[:4]]
    tokens.write_text("".join(" ".join(map(str, ids)) + "\n" for ids in sequences))
    done = subprocess.run(
        [str(program), str(tales_dir), str(tokens)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.splitlines()
    assert printed[3] == "device 3 is lost"
    numbers = [[float(word) for word in printed[i].split()] for i in (0, 1, 2, 4)]
    for ours, theirs in numbers:
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert numbers[0][0] == pytest.approx(tales.evaluate(pc.Data(sequences)).loss, rel=1e-5)
    pruned, recovered = numbers[1][1], numbers[2][1]
    assert recovered < pruned


def test_the_callbacks_page_has_the_place_that_is_linked(text: str, repository_root: Path) -> None:
    """And every function that a host may override is one that the header names."""
    page = (repository_root / "docs" / "models-from-callbacks.md").read_text(encoding="utf-8")
    assert "## What a missing method costs\n" in page
    header = (repository_root / "include" / "prunecore.h").read_text(encoding="utf-8")
    host = (repository_root / "bindings/cpp/prunecore/host.hpp").read_text(encoding="utf-8")
    struct = header[header.index("typedef struct prune_host {") : header.index("} prune_host;")]
    in_c = set(re.findall(r"\(\*(\w+)\)", struct))
    in_cpp = set(re.findall(r'not_offered\("(\w+)"\)', host))
    assert in_c == in_cpp | {"release"}
