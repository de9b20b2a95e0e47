# SPDX-License-Identifier: Apache-2.0
"""The command `prunecore search`: results, checkpoints that outlive the process, errors."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import prunecore as pc
import pytest
from checkpoints import killed, told_of
from commands import SMALL, on_terminal, only_json, run, stopped, write_questions
from PIL import Image
from prunecore.cli.app import main


def test_search_command_writes_the_mask_of_the_library(folder: Path, tales: pc.Model) -> None:
    arguments = (
        f"search model {SMALL} --strategy greedy --remove 2 --protect attn.0,block.11 --seed 3 "
        "--checkpoint made/search --out made/mask.json --plot made/path.png --json"
    )
    printed = only_json(run(folder, arguments))
    data = pc.Data.from_text(folder / "text.jsonl", tales, 24, limit=2, seed=3)
    wanted = tales.search(data, remove=2, protect=["attn.0", "block.11"], seed=3)
    mask = pc.Mask.load(folder / "made" / "mask.json")
    assert mask == wanted.mask and mask.provenance == wanted.mask.provenance
    record = {name: printed[name] for name in wanted.to_dict()}
    assert pc.SearchResult.from_dict(record).mask == mask
    assert printed["state"]["told"] == wanted.state.told
    assert printed["state"]["damage"] == pytest.approx(wanted.damage, abs=1e-6)
    assert printed["cost_after"] == tales.cost(mask).to_dict()
    assert (folder / "made" / "search").is_file()
    with Image.open(folder / "made" / "path.png") as image:
        assert image.width > 500
    # The mask is one that other commands take.
    run(folder, f"evaluate model {SMALL} --mask made/mask.json")


def test_search_command_prints_a_table(folder: Path) -> None:
    shown = run(folder, f"search model {SMALL} --granularity block --remove 2").stdout
    for word in ("(start)", "block.", "strategy", "greedy", "masks evaluated", "saved", "damage"):
        assert word in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80 and "…" not in shown


def test_options_of_the_search_command_reach_the_search(
    folder: Path, tales: pc.Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(folder)
    whole = tales.cost()
    for options, check in (
        (f"--kv-bytes {whole.kv_bytes // 2} --strategy tail",
         lambda r: r["cost_after"]["kv_bytes"] <= whole.kv_bytes // 2),
        (f"--parameter-bytes {whole.parameter_bytes * 3 // 4} --strategy one-shot --metric l2",
         lambda r: r["cost_after"]["parameter_bytes"] <= whole.parameter_bytes * 3 // 4
         and r["provenance"]["metric"] == "l2"),
        ("--remove-parameters 0.2 --strategy random --seed 4",
         lambda r: r["cost_after"]["parameters"] <= 0.8 * whole.parameters
         and r["provenance"]["seed"] == 4),
        ("--remove-attention 2 --remove-feed-forward 1 --strategy tail",
         lambda r: r["removed"] == ["attn.10", "attn.11", "ffn.11"]),
        ("--decode-ms 100 --strategy tail",
         lambda r: r["removed"] == [] and len(r["provenance"]["budget"]["times"]) == 2),
        ("--prefill-ms 100 --strategy tail", lambda r: r["removed"] == []),
        ("--granularity block --max-loss-increase 0.02",
         lambda r: r["state"]["damage"] <= 1.02 * r["state"]["start_damage"]),
        ("--granularity block --max-damage 4.2", lambda r: r["state"]["damage"] <= 4.2),
        ("--granularity block --remove 1 --exchanges 0 --measure kl",
         lambda r: r["state"]["told"] == 13 and r["provenance"]["measure"] == "kl"),
        ("--granularity block --strategy evolutionary --remove 2 --offspring 4 --generations 2 "
         "--patience 1",
         lambda r: [r["provenance"][n] for n in ("offspring", "generations", "patience")]
         == [4, 2, 1]),
    ):  # fmt: skip
        assert main(f"search model {SMALL} --json {options}".split()) == 0
        assert check(json.loads(capsys.readouterr().out)), options


def test_search_command_takes_scores_and_masks_of_other_commands(folder: Path) -> None:
    run(folder, f"score model {SMALL} --metric cosine,l1 --out scores.json")
    run(folder, "prune model --scores scores.json --metric cosine --remove 2 --out start.json")
    start = set(pc.Mask.load(folder / "start.json").removed)
    base = f"search model {SMALL} --scores scores.json --json"
    one = only_json(
        run(folder, f"{base} --metric l1 --strategy one_shot --remove 2 --start start.json")
    )
    assert start < set(one["removed"]) and len(one["removed"]) == 4
    two = only_json(run(folder, f"{base} --metric cosine --candidates 3 --remove 2 --exchanges 0"))
    assert two["state"]["told"] == 1 + 3 + 3
    assert "cosine, l1" in run(folder, f"{base} --strategy one_shot --remove 2", 2).stderr


def test_search_command_takes_questions(folder: Path) -> None:
    write_questions(folder)
    base = "search model --choices q.jsonl --granularity block --remove 1 --json"
    found = only_json(run(folder, f"{base} --measure choice_loss --scoring mean"))
    assert found["provenance"]["measure"] == "choice_loss" and found["state"]["damage"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("search model --remove 1", "--data or --choices"),
        (f"search model {SMALL}", "budget"),
        (f"search model {SMALL} --remove 30", "30|24"),
        (f"search model {SMALL} --remove 1 --strategy best", "strategy is 'best'"),
        (f"search model {SMALL} --remove 1 --granularity heads", "granularity is 'heads'"),
        (f"search model {SMALL} --remove 1 --protect attn.99", "beyond the last block"),
        (f"search model {SMALL} --remove 1 --protect head", "unknown sublayer"),
        (f"search model {SMALL} --remove many", "--remove"),
        (f"search model {SMALL} --remove 1 --plot path.gif", r"\.png"),
        (f"search model {SMALL} --remove 1 --start missing.json", "missing.json"),
        (f"search model {SMALL} --remove 1 --scores missing.json", "missing.json"),
        (f"search model {SMALL} --kv-bytes 1 --protect block.0", "cannot be met"),
        ("search nowhere --data text.jsonl --remove 1", "nowhere"),
    ],
)
def test_bad_input_of_the_search_command_is_one_sentence(
    folder: Path,
    arguments: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(folder)
    assert main(arguments.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    assert shown.err.startswith("prunecore: ") and re.search(words, shown.err)
    assert set(folder.iterdir()) == {folder / n for n in ("model", "text.jsonl", "other.jsonl")}


LONG = "--data text.jsonl --sequence-length 64 --limit 6 --remove 5 --threads 1 --seed 1"


def test_killed_searches_end_with_the_same_mask(folder: Path) -> None:
    arguments = f"search model {LONG}"
    whole = only_json(run(folder, f"{arguments} --json"))
    arguments += " --checkpoint kept --out parts.json"
    killed(folder, arguments, folder / "kept", pc.Search, seed=1)
    parts = only_json(run(folder, f"{arguments} --json"))
    assert parts == whole
    assert pc.Mask.load(folder / "parts.json").removed == whole["removed"]


def test_ctrl_c_ends_the_search_command_with_130_and_keeps_the_checkpoint(folder: Path) -> None:
    arguments = f"search model {LONG} --checkpoint kept --out mask.json"
    done = stopped(folder, arguments, signal.SIGINT, 5)
    assert (done.returncode, done.stderr) == (130, "prunecore: cancelled\n")
    told = told_of(folder / "kept", pc.Search)
    assert told > 0 and not (folder / "mask.json").exists()
    run(folder, arguments)
    assert told_of(folder / "kept", pc.Search) > told and (folder / "mask.json").exists()
    wrong = run(folder, arguments.replace("--remove 5", "--remove 4"), 2).stderr
    assert "another run" in wrong and "budget" in wrong


def test_search_command_shows_progress_on_a_terminal(folder: Path) -> None:
    output, shown = on_terminal(folder, f"search model {LONG} --json")
    assert len(json.loads(output)["removed"]) == 5
    assert b"masks" in shown and b"damage" in shown and b"removed" in shown
