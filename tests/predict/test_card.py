"""Sharing: cards hold the facts of their folders, and what is read from the hub is what lies in the folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from command_line import assert_refused, load_script
from command_line import run as run_command

from zsl.cli import FeatureArgs
from zsl.experiments.results import read_results, spread_text
from zsl.features.card import table_card
from zsl.features.manifest import read_manifest
from zsl.features.table import read_features
from zsl.predict.card import predictor_card
from zsl.predict.encoders import export
from zsl.predict.predictor import load_predictor, score
from zsl.predict.reader import Reader


@pytest.fixture
def exported(tiny_run: Path, tiny_weights: Path, tiny_reader: Reader, tmp_path: Path) -> Path:
    export(tiny_reader.predictor, tmp_path / "exported", tiny_run, [tiny_weights])
    return tmp_path / "exported"


def test_the_card_of_an_export_has_its_scores_and_facts(tiny_run: Path, exported: Path) -> None:
    card = predictor_card(exported)
    results = read_results(tiny_run / "results.json")
    for key in ("acc_zsl", "acc_unseen", "acc_seen", "harmonic", "ausuc"):
        assert spread_text(results, key) in card
    for fact in (results.backbone, results.pretraining, results.protocol, results.splits, "attributes: att"):
        assert fact in card
    assert next(iter(results.rows_read.values())).hash in card  # type: ignore[operator]
    assert "no licence to heed" in card
    head = yaml.safe_load(card.split("---")[1])
    assert "zero-shot-learning" in head["tags"]
    (exported / "results.json").unlink()
    assert "No results lie beside the models" in predictor_card(exported)


def test_the_card_of_an_export_of_one_seed_says_so(tiny_run: Path, tiny_weights: Path, tmp_path: Path) -> None:
    export(load_predictor(tiny_run, [1]), tmp_path / "one", tiny_run, [tiny_weights])
    assert "The answers are those of seed 1, which the folder holds." in predictor_card(tmp_path / "one")
    export(load_predictor(tiny_run), tmp_path / "both", tiny_run, [tiny_weights])
    assert "The answers are the mean of all seeds." in predictor_card(tmp_path / "both")


def test_the_card_of_a_table_has_its_hashes(tiny_features: Path) -> None:
    manifest, card = read_manifest(tiny_features / "manifest.json"), table_card(tiny_features)
    for fact in (*manifest.source.split_hashes, manifest.backbone, manifest.pretraining, str(manifest.weights_sha256)):  # type: ignore[misc]
        assert fact in card
    assert f"{manifest.count:,} x {manifest.dim}" in card


def test_the_script_writes_cards_and_changes_nothing_else(exported: Path, tiny_features: Path, tmp_path: Path) -> None:
    table = tmp_path / "table"
    shutil.copytree(tiny_features, table)
    done = run_command("card.py", table, exported)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(table / "README.md"), str(exported / "README.md")]
    read_features(table).check_content()
    load_predictor(exported)
    assert_refused(run_command("card.py", tmp_path), "is neither a feature table (no manifest.json) nor an export")


def test_no_card_is_written_for_a_run_or_for_what_is_not_whole(
    tiny_run: Path, exported: Path, tiny_features: Path, tmp_path: Path
) -> None:
    card_of = load_script("card.py").card_of
    with pytest.raises(ValueError, match="is the folder of a run"):
        card_of(tiny_run)
    table = tmp_path / "table"
    shutil.copytree(tiny_features, table)
    (table / "labels.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"no labels.npy"):
        card_of(table)
    (exported / "backbone.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no backbone.safetensors"):
        card_of(exported)
    shutil.rmtree(exported / "seed-0")
    shutil.rmtree(exported / "seed-1")
    with pytest.raises(FileNotFoundError, match=r"lacks seed-0/model\.safetensors, which its predictor\.json lists"):
        card_of(exported)


@pytest.mark.parametrize("name", ["exported", "tiny_features"])
def test_the_commands_of_a_card_are_a_block_of_code(name: str, request: pytest.FixtureRequest) -> None:
    markdown = pytest.importorskip("markdown", reason="Markdown is not installed (extra docs)")
    card = load_script("card.py").card_of(request.getfixturevalue(name))
    html = markdown.markdown(card, extensions=["fenced_code"])
    (code,) = re.findall(r"<pre><code.*?>(.*?)</code></pre>", html, re.DOTALL)
    assert [line.split()[0] for line in code.splitlines()] == ["hf", "python"]


def test_predictor_and_table_are_read_from_the_hub(
    exported: Path, tiny_features: Path, tiny_reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tiny_shapes: Path,
) -> None:  # fmt: skip
    places = {"me/predictor": exported, "me/table": tiny_features}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repository, **_: str(places[repository]))
    table = FeatureArgs(features=Path("hf://datasets/me/table")).read_table()
    assert table.manifest.backbone == tiny_features.name
    predict = load_script("predict.py")
    photo = next((tiny_shapes / "shapes" / "raw" / "images").glob("*/*.jpg"))
    with pytest.raises(SystemExit) as ended:
        predict.main(predict.Args(photos=(str(photo),), run=Path("hf://me/predictor"), json=True))
    assert ended.value.code == 0
    (answer,) = json.loads(capsys.readouterr().out)["photos"]
    features = torch.from_numpy(table.features[:1].copy())
    assert torch.equal(score(load_predictor(exported), features).scores, score(tiny_reader.predictor, features).scores)
    assert answer["classes"]
