"""The list of runs: finished, stopped and running ones, partial scores, and folders that cannot be read."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate import Accelerator
from command_line import assert_refused
from command_line import run as run_command
from toy import toy_splits
from toy_runs import FACTS, NO_GAMMA

from zsl.baselines.eszsl import METHOD as ESZSL
from zsl.common.locks import sole_process
from zsl.experiments.results import Results
from zsl.experiments.run import run_seeds
from zsl.features.split import TrainSplit
from zsl.report.run_list import Line, list_runs, runs_table
from zsl.scores.model import Calibrated
from zsl.training.log import Log

Train = Callable[[TrainSplit, int, Log], Calibrated]


def train(split: TrainSplit, seed: int, log: Log) -> Calibrated:
    return Calibrated(ESZSL.train(split, ESZSL.config, seed=seed), 0.1 * seed, split.seen)


def stop_in_seed_two(split: TrainSplit, seed: int, log: Log) -> Calibrated:
    if seed == 2:
        log("gan", 340, {"loss": 1.0})
        raise KeyboardInterrupt
    return train(split, seed, log)


def run(training: Train, folder: Path, accelerator: Accelerator, seeds: tuple[int, ...] = (0, 1, 2)) -> Results:
    return run_seeds(training, *toy_splits(), seeds, folder, FACTS, NO_GAMMA, accelerator)


def only(lines: list[Line]) -> Line:
    (line,) = lines
    return line


def test_a_finished_run_has_the_scores_of_its_results(tmp_path: Path, accelerator: Accelerator) -> None:
    results = run(train, tmp_path / "table" / "eszsl", accelerator)
    line = only(list_runs(tmp_path))
    assert (line.folder, line.kind, line.state, line.seeds) == ("table/eszsl", "run", "finished", (0, 1, 2))
    assert line.mean["H"] == pytest.approx(results.mean["harmonic"])
    assert line.std["AUSUC"] == pytest.approx(results.std["ausuc"])
    assert line.seconds is not None
    cells = [cell.strip() for cell in runs_table([line]).splitlines()[-1].split(" | ")]
    assert f"{100 * results.mean['harmonic']:.1f} ± {100 * results.std['harmonic']:.1f}" in cells


def test_one_seed_has_no_spread(tmp_path: Path, accelerator: Accelerator) -> None:
    run(train, tmp_path / "a", accelerator, seeds=(0,))
    line = only(list_runs(tmp_path))
    assert set(line.content["std"].values()) == {None}
    assert line.content["mean"]["H"] > 0
    assert all("±" not in cell for cell in line.cells)


def test_a_stopped_run_says_where_and_has_the_scores_so_far(tmp_path: Path, accelerator: Accelerator) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(stop_in_seed_two, tmp_path / "a", accelerator)
    line = only(list_runs(tmp_path))
    assert (line.state, line.detail, line.seeds) == ("stopped", "seed 2, gan stage, step 340", (0, 1))
    assert line.cells[4] == "2 of 3"
    scores = [json.loads((tmp_path / f"a/seed-{seed}/scores.json").read_text())["acc_seen"] for seed in (0, 1)]
    assert line.mean["S"] == pytest.approx(statistics.fmean(scores))
    with sole_process(tmp_path / "a"):
        assert only(list_runs(tmp_path)).state == "running"
    run(train, tmp_path / "a", accelerator)
    assert only(list_runs(tmp_path)).state == "finished"


def test_the_folder_of_a_run_lists_that_run_alone(tmp_path: Path, accelerator: Accelerator) -> None:
    """Its seeds, finished or not, and its figures are no foreign folders; the lock of the table around it counts."""
    folder = tmp_path / "table" / "a"
    with pytest.raises(KeyboardInterrupt):
        run(stop_in_seed_two, folder, accelerator)
    (folder / "figures").mkdir()
    line = only(list_runs(folder))
    assert (line.folder, line.state, line.detail) == ("a", "stopped", "seed 2, gan stage, step 340")
    for table in (tmp_path / "table", tmp_path):
        with sole_process(table):
            assert only(list_runs(folder)).state == "running"


def test_the_folder_of_a_table_at_work_lists_its_run_as_running(tmp_path: Path, accelerator: Accelerator) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(stop_in_seed_two, tmp_path / "table" / "a", accelerator)
    with sole_process(tmp_path / "table"):
        assert only(list_runs(tmp_path / "table")).state == "running"


def test_a_finished_run_that_was_asked_for_more_seeds_is_not_finished(tmp_path: Path, accelerator: Accelerator) -> None:
    run(train, tmp_path / "a", accelerator, (0, 1))
    with pytest.raises(KeyboardInterrupt):
        run(stop_in_seed_two, tmp_path / "a", accelerator)
    assert only(list_runs(tmp_path)).cells[4] == "2 of 3"


def test_of_the_runs_of_a_table_at_work_the_newest_is_the_one_at_work(tmp_path: Path, accelerator: Accelerator) -> None:
    for name in ("z", "a"):  # the second one is newer
        with pytest.raises(KeyboardInterrupt):
            run(stop_in_seed_two, tmp_path / "table" / name, accelerator)
    with sole_process(tmp_path / "table"):
        assert {line.folder: line.state for line in list_runs(tmp_path)} == {"table/a": "running", "table/z": "stopped"}


def test_damaged_and_foreign_folders_are_named_and_do_not_end_the_list(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    for name in ("b", "c", "d", "e"):
        run(train, tmp_path / name, accelerator, (0,))
    (tmp_path / "b" / "config.json").write_text('{"method": ')
    (tmp_path / "c" / "results.json").write_text('{"seeds": []}')
    (tmp_path / "d" / "results.json").unlink()
    (tmp_path / "d" / "seed-0" / "scores.json").write_text('{"acc_zsl": "high"}')
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.svg").touch()
    (tmp_path / "comparison-figures").mkdir()
    (tmp_path / "comparison-figures" / "seen-unseen-curves.svg").touch()  # what report.py makes of several runs
    lines = {line.folder: line for line in list_runs(tmp_path)}
    assert {name: line.state for name, line in lines.items()} == {
        "b": "damaged", "c": "damaged", "d": "damaged", "e": "finished", "holiday": "foreign",
    }  # fmt: skip
    assert "config.json is no JSON" in lines["b"].detail
    assert "results.json" in lines["c"].detail
    assert "acc_zsl" in lines["d"].detail
    assert runs_table(list(lines.values())).count("\n") == 2 + 5


def test_a_damaged_fine_tuning_and_odd_names_do_not_end_the_list(tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "config.json").write_text('{"started_from_sha256": "0"}')
    for name in (b"caf\xe9", b"a\nb | c"):
        (tmp_path / os.fsdecode(name)).mkdir()
    lines = list_runs(tmp_path)
    (tuned,) = (line for line in lines if line.folder == "tuned")
    assert tuned.state == "damaged"
    assert "config.json" in tuned.detail
    assert "benchmark" in tuned.detail
    table = runs_table(lines)
    assert table.encode().count(b"\n") == 2 + 3
    assert r"caf\xe9" in table
    assert r"a b \| c" in table


def test_a_file_that_vanishes_meanwhile_does_not_damage_the_list(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(stop_in_seed_two, tmp_path / "table" / "a", accelerator)
    gone, stat = tmp_path / "table" / "a" / "gone.tmp", Path.stat
    gone.touch()

    def stat_or_gone(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path == gone and not next(looks, False):
            raise FileNotFoundError(2, "No such file", str(path))
        return stat(path, follow_symlinks=follow_symlinks)

    looks = iter([True])  # it is there at the first look alone
    monkeypatch.setattr(Path, "stat", stat_or_gone)
    with sole_process(tmp_path / "table"):
        assert only(list_runs(tmp_path)).state == "running"


def test_the_script_prints_a_table_or_json(tmp_path: Path, tiny_run: Path) -> None:
    table = run_command("runs.py", "--runs", tiny_run.parent)
    assert table.returncode == 0, table.stderr
    assert "| tiny | dcrgan | shapes |" in table.stdout
    printed = run_command("runs.py", "--runs", tiny_run.parent, "--json").stdout
    assert printed.endswith("]\n")
    (entry,) = json.loads(printed)
    results = json.loads((tiny_run / "results.json").read_text())
    assert entry["mean"]["U"] == pytest.approx(results["mean"]["acc_unseen"])
    assert_refused(run_command("runs.py", "--runs", tmp_path / "none"), "no folder", "--runs")
