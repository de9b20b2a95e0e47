# SPDX-License-Identifier: Apache-2.0
"""Runs numeric tests with every kind of kernels that can be forced on this machine.

    python scripts/test-kernels.py [--quick] [--only NAME[,NAME]] [--list] [-- PYTEST_OPTION ...]

Matrix products are OpenBLAS's, which has kernels for many kinds of CPUs; the other loops are our
own. Tests that pass with the kernels of one CPU may ask for more than others keep. This runs them
with each kind that OPENBLAS_CORETYPE and PRUNECORE_LOOPS can choose here, and says which could not
be chosen. Models compute in fp32, except where a test asks for bf16, and in the kind "compute
bfloat16", whose tests need no fp32 reference. With --quick it runs only the
Python tests marked `kernels`, with a few kinds: a minute or two, part of `make test`. Otherwise it
runs all numeric tests of Python, C and Swift. The exit status is 1 if a test fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PYTHON_TESTS = REPOSITORY / "Tests" / "Python"
PARITY = PYTHON_TESTS / "parity"  # where the marked tests are
NUMERIC = (
    "parity",
    "importance",
    "measures",
    "recovery",
    "generation",
    "hosts",
    "native/test_compute.py",
    "search/test_search_model.py",
    "shapley/test_shapley_model.py",
    "studies",
    "torch",
)
# What asks for no value of fp32: the same twice, saved and resumed, together as alone.
NUMERIC_BFLOAT16 = ("search", "shapley/test_shapley_model.py", "recovery")
NUMERIC_C = (
    "test_activations test_adapters test_choices test_compute test_damages test_evaluate "
    "test_generate test_gradients test_host test_moments test_recover test_score "
    "test_shapley test_shapley_runs test_statistics test_tensors"
).split()
NUMERIC_SWIFT = (
    "BFloat16ProductTests|ClosedFormTests|DecodingTests|GradientProductTests|GradientTests|"
    "DistanceTests|HeadGradientTests|KernelTests|LoopLevelTests|ObjectiveGradientTests|"
    "TaylorTests|TrainingNativeTests"
)
PROBE = (
    "import prunecore as pc; found = pc.runtime_info();"
    "print(found.blas_kernels, found.loop_kernels, found.bf16_kernels or 'none')"
)


@dataclass(frozen=True)
class Kernels:
    """A kind of kernels: the variable that chooses it, and its name there."""

    variable: str
    name: str

    @property
    def title(self) -> str:
        of = {"OPENBLAS_CORETYPE": "BLAS", LOOPS: "loops", COMPUTE: "compute"}
        return f"{of[self.variable]} {self.name}"

    def environment(self) -> dict[str, str]:
        """The environment that chooses it, and nothing else."""
        kept = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", LOOPS)}
        if self.variable == COMPUTE:
            return {**kept, COMPUTE: self.name, "PRUNECORE_TEST_COMPUTE": self.name}
        return {**kept, self.variable: self.name, COMPUTE: "float32"}

    def obstacle(self) -> str | None:
        """Why it cannot be chosen here; None if it can."""
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            env=self.environment(),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            return said[-1] if said else f"the process ended with {done.returncode}"
        blas, loops, bf16 = done.stdout.split()
        if self.variable == COMPUTE:
            return "the CPU has no instructions for it" if bf16 == "none" else None
        found = blas if self.variable == "OPENBLAS_CORETYPE" else loops
        return None if found.lower() == self.name.lower() else f"{found} were chosen in its place"


LOOPS = "PRUNECORE_LOOPS"
COMPUTE = "PRUNECORE_COMPUTE"
BLAS = {
    "x86_64": ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX", "Cooperlake"),
    "aarch64": ("ARMV8", "CORTEXA57", "NEOVERSEN1", "NEOVERSEV1"),
}
OURS = {"x86_64": ("baseline", "avx2", "avx512"), "aarch64": ("baseline", "neon")}
QUICK = ("Prescott", "Haswell", "ARMV8", "avx2")


def kinds() -> list[Kernels]:
    """All kinds of this sort of CPU."""
    machine = platform.machine().replace("arm64", "aarch64").replace("AMD64", "x86_64")
    return [
        *(Kernels("OPENBLAS_CORETYPE", name) for name in BLAS.get(machine, ())),
        *(Kernels(LOOPS, name) for name in OURS.get(machine, ())),
        Kernels(COMPUTE, "bfloat16"),
    ]


def commands(kernels: Kernels, quick: bool, options: list[str]) -> list[list[str]]:
    """What is run with a kind."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "auto"]
    pytest += ["--dist", "loadfile", *options]
    if quick:
        return [[*pytest, "-m", "kernels", "-k", "not tales and not stories", str(PARITY)]]
    if kernels.variable == COMPUTE:
        return [[*pytest, *(str(PYTHON_TESTS / name) for name in NUMERIC_BFLOAT16)]]
    return [
        [*pytest, *(str(PYTHON_TESTS / name) for name in NUMERIC)],
        [str(REPOSITORY / "Tests" / "CAPI" / "run.sh"), *NUMERIC_C],
        ["swift", "test", "--filter", NUMERIC_SWIFT],
    ]


def main() -> int:
    """Runs the tests; returns the exit status."""
    ours, theirs = sys.argv[1:], []
    if "--" in ours:
        at = ours.index("--")
        ours, theirs = ours[:at], ours[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few kinds, a few tests")
    parser.add_argument("--only", help="names of kinds, with commas between")
    parser.add_argument("--list", action="store_true", help="only say which can be chosen here")
    arguments = parser.parse_args(ours)
    chosen = [each for each in kinds() if not arguments.quick or each.name in QUICK]
    if arguments.only:
        wanted = arguments.only.split(",")
        chosen = [each for each in kinds() if each.name in wanted]
        if len(chosen) != len(wanted):
            parser.error(f"kinds are {', '.join(each.name for each in kinds())}")
    lines, failed = [], False
    for kernels in chosen:
        reason = kernels.obstacle()
        if reason is not None:
            lines.append(f"{kernels.title:20} not run: {reason}")
            continue
        if arguments.list:
            lines.append(f"{kernels.title:20} can be chosen")
            continue
        print(f"== {kernels.title}", flush=True)
        start = time.monotonic()
        statuses = [
            subprocess.run(
                command,
                cwd=REPOSITORY,
                env={**kernels.environment(), "PYTHON": sys.executable},
                check=False,
            ).returncode
            for command in commands(kernels, arguments.quick, theirs)
        ]
        said = "FAILED" if any(statuses) else "passed"
        failed = failed or any(statuses)
        lines.append(f"{kernels.title:20} {said}, {time.monotonic() - start:.0f} s")
    print("\n".join(["", "Kernels:", *lines]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
