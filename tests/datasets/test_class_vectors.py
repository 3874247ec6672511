"""Class vectors: found by name, refused where wrong, labelled in results, kept for later readers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from command_line import assert_refused
from command_line import run as run_command
from toy import toy_table
from toy_runs import toy_experiment

from zsl.baselines.eszsl import METHOD as ESZSL
from zsl.common.tensors import write_tensors
from zsl.datasets.class_vectors import ClassVectors, Origin, read_class_vectors, with_vectors, write_class_vectors
from zsl.datasets.splits import Splits
from zsl.experiments.compare import compare, read_run, table
from zsl.features.side_information import with_kept
from zsl.features.split import split_features

WIDTH = 5


def of_file(folder: Path, names: list[str], vectors: np.ndarray, *, beside: bool = False) -> ClassVectors:
    np.save(folder / "v.npy", vectors)
    (folder / "v.txt").write_text("\n".join(names), encoding="utf-8")
    return read_class_vectors(folder / "v.npy", beside=beside)


@pytest.fixture
def splits() -> Splits:
    return toy_table()[1]


@pytest.fixture
def vectors(splits: Splits) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(splits.class_names), WIDTH))


def test_vectors_follow_their_names_in_any_order(tmp_path: Path, splits: Splits, vectors: np.ndarray) -> None:
    order = np.random.default_rng(1).permutation(len(vectors))
    names = [splits.class_names[at] for at in order]
    made = with_vectors(
        splits, of_file(tmp_path, ["a class of nobody", *names], np.vstack([np.ones(WIDTH), vectors[order]]))
    )
    expected = [vector / np.sqrt(sum(x * x for x in vector)) for vector in vectors]
    assert made.attributes == pytest.approx(np.array(expected), abs=1e-6)
    assert made.side_information == "class vectors"
    assert len(made.attribute_names) == WIDTH
    assert splits.side_information == "attributes"


def test_beside_attributes_each_kind_has_half_of_the_squared_length(
    tmp_path: Path, splits: Splits, vectors: np.ndarray
) -> None:
    made = with_vectors(splits, of_file(tmp_path, list(splits.class_names), 1000 * vectors, beside=True))
    count = splits.attributes.shape[1]
    for part in (made.attributes[:, :count], made.attributes[:, count:]):
        assert np.square(part).sum(1) == pytest.approx(0.5, abs=1e-5)
    cosine = (made.attributes[0, :count] @ splits.attributes[0]) / np.linalg.norm(splits.attributes[0])
    assert cosine == pytest.approx(np.sqrt(0.5), abs=1e-5)
    assert made.side_information == "attributes and class vectors"
    assert len(made.attribute_names) == count + WIDTH


def test_a_class_without_photos_may_lack_a_vector(tmp_path: Path, splits: Splits, vectors: np.ndarray) -> None:
    fewer = replace(splits, unseen=splits.unseen[:-1])
    made = with_vectors(fewer, of_file(tmp_path, list(splits.class_names[:-1]), vectors[:-1]))
    assert not made.attributes[-1].any()


def test_wrong_files_are_refused_in_words(tmp_path: Path, splits: Splits, vectors: np.ndarray) -> None:
    names = list(splits.class_names)

    def refused(message: str, names: list[str], vectors: np.ndarray) -> None:
        with pytest.raises(ValueError, match=message):
            with_vectors(splits, of_file(tmp_path, names, vectors))

    broken = vectors.copy()
    broken[3, 1] = np.nan
    refused(r"the vector of 'class 3' \(row 3\) is not finite", names, broken)
    refused(r"has 20 rows, .*v.txt has 19 names", names[1:], vectors)
    refused(r"the class 'class 0' occurs 2 times", [names[0], *names[:-1]], vectors)
    refused(r"no vector of 'class 19' \(1 of 20.*; did you mean 'class 19x'\?", [*names[:-1], "class 19x"], vectors)
    refused(r"holds float64 \[100\]; needed is one matrix", names, vectors.reshape(-1))
    refused(r"holds <U1 \[20, 1\]", names, np.full((20, 1), "a"))
    refused(
        r"classes 'class 0' and 'class 1' have equal or proportional", names, np.vstack([2 * vectors[1:2], vectors[1:]])
    )
    refused(r"class 'class 0' has no attribute but 0", names, np.vstack([0 * vectors[:1], vectors[1:]]))
    refused("row 0\\) is not finite", names, 1e300 * np.abs(vectors))
    (tmp_path / "v.npy").write_bytes(b"numbers")
    with pytest.raises(ValueError, match=r"v.npy is no .npy file without pickles"):
        read_class_vectors(tmp_path / "v.npy")
    np.save(tmp_path / "v.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"no .npy file without pickles"):
        read_class_vectors(tmp_path / "v.npy")
    (tmp_path / "v.txt").unlink()
    with pytest.raises(FileNotFoundError, match="--class-vectors-names"):
        read_class_vectors(tmp_path / "v.npy")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x04\x00((((", b"version https://git-lfs"])
def test_bytes_that_are_no_array_are_refused_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.npy").write_bytes(content)
    (tmp_path / "v.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"v.npy is no .npy file without pickles"):
        read_class_vectors(tmp_path / "v.npy")


def test_names_are_read_as_spreadsheets_and_other_systems_write_them(tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", vectors[:2])
    (tmp_path / "v.txt").write_bytes("\ufeffA\u0308rger\r\n\r\n  cat \r\n".encode())
    assert read_class_vectors(tmp_path / "v.npy").names == ("\u00c4rger", "cat")


def test_a_kill_leaves_the_old_vectors_the_new_ones_or_an_error(
    tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, names = tmp_path / "v.npy", [f"class {number}" for number in range(len(vectors))]
    rename, found = Path.replace, []
    for files in range(4):  # that are whole before the kill
        write_class_vectors(path, names, vectors, Origin(source="old"))
        left = iter([True] * files)

        def killed(file: Path, target: Path, left: Iterator[bool] = left) -> Path:
            if not next(left, False):
                raise KeyboardInterrupt
            return rename(file, target)

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(Path, "replace", killed)
            write_class_vectors(path, names[::-1], 2 * vectors, Origin(source="new"))
        if files in (1, 2):
            with pytest.raises(ValueError, match="describes other vectors"):
                read_class_vectors(path)
            continue
        read = read_class_vectors(path)
        found.append(read.origin.source)
        factor = 1 if found[-1] == "old" else 2
        assert read.vectors == pytest.approx((factor * vectors).astype(np.float32))
        assert read.names == tuple(names if found[-1] == "old" else names[::-1])
    assert found == ["old", "new"]


def test_vectors_in_the_place_of_embedded_ones_are_not_labelled_as_these(tmp_path: Path, vectors: np.ndarray) -> None:
    path, names = tmp_path / "v.npy", [f"class {number}" for number in range(len(vectors))]
    write_class_vectors(path, names, vectors, Origin(kind="class names", source="texts"))
    assert read_class_vectors(path).origin.kind == "class names"
    np.save(path, vectors[::-1])
    with pytest.raises(ValueError, match=r"v.json describes other vectors .* delete the .json if"):
        read_class_vectors(path)
    path.with_suffix(".json").write_text("[1]")
    with pytest.raises(ValueError, match=r"v.json: Expected .* move the file away"):
        read_class_vectors(path)
    with pytest.raises(ValueError, match=r"names.txt: .* ends in .npy"):
        write_class_vectors(tmp_path / "names.txt", names, vectors, Origin())


def test_a_run_with_vectors_says_so_keeps_them_and_is_flagged_beside_another(
    tmp_path: Path, splits: Splits, vectors: np.ndarray, accelerator: Accelerator
) -> None:
    usual = toy_experiment(accelerator)
    made = with_vectors(splits, of_file(tmp_path, list(splits.class_names), vectors))
    train, test = split_features(usual.table, made)
    other = replace(usual, splits=made, train=train, test=test)
    with_attributes = usual.run(ESZSL, tmp_path / "usual", gamma=0.0)
    results = other.run(ESZSL, tmp_path / "vectors", gamma=0.0)
    assert (with_attributes.side_information, results.side_information) == ("attributes", "class vectors")
    assert json.loads((tmp_path / "vectors" / "results.json").read_text())["side_information"] == "class vectors"
    assert with_attributes.mean != results.mean
    assert np.array_equal(with_kept(splits, results, tmp_path / "vectors").attributes, made.attributes)
    wrongs: list[dict[str, torch.Tensor]] = [{}, {"attributes": torch.from_numpy(made.attributes[1:].copy())}]
    for wrong in wrongs:
        (tmp_path / "odd").mkdir(exist_ok=True)
        write_tensors(tmp_path / "odd" / "side_information.safetensors", wrong)
        with pytest.raises(ValueError, match=f"needed is a row for each of {len(splits.class_names)} classes"):
            with_kept(splits, results, tmp_path / "odd")
    assert not (tmp_path / "usual" / "side_information.safetensors").exists()
    a, b = read_run(tmp_path / "usual"), read_run(tmp_path / "vectors")
    text = table(a, b, compare(a.details, b.details, resamples=2))
    assert "NOT THE SAME SIDE INFORMATION: A has attributes, B has class vectors" in text
    assert "SIDE INFORMATION" not in table(a, a, compare(a.details, a.details, resamples=2))
    with pytest.raises(ValueError, match="holds a run with other attributes"):
        other.run(ESZSL, tmp_path / "usual", gamma=0.0)


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path, accelerator: Accelerator) -> None:
    """Its config.json has no `side_information`, which means attributes."""
    experiment = toy_experiment(accelerator, seeds=(0,))
    before = experiment.run(ESZSL, tmp_path / "run", gamma=0.0)
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    del content["side_information"]
    path.write_text(json.dumps(content))
    assert experiment.run(ESZSL, tmp_path / "run", gamma=0.0) == before


def test_the_scripts_take_the_flags(tiny_features: Path, tmp_path: Path) -> None:
    words: list[str | Path] = [
        "--data",
        tiny_features.parents[2],
        "--features",
        tiny_features,
        "--runs",
        tmp_path,
        "--method",
        "eszsl",
    ]
    lines = (tiny_features.parents[1] / "names.csv").read_text().splitlines()[1:]
    names = [line.split(",")[0] for line in lines]
    of_file(tmp_path, names, np.random.default_rng(0).normal(size=(len(names), WIDTH)))
    done = run_command("train_dcrgan.py", *words, "--class-vectors", tmp_path / "v.npy", "--seeds", "0")
    assert done.returncode == 0, done.stderr
    assert "SIDE INFORMATION: class vectors of v.npy" in done.stdout
    assert (tmp_path / "shapes-eszsl-vectors" / "results.json").is_file()
    assert_refused(run_command("train_dcrgan.py", *words, "--class-vectors-beside"), "which is absent")
    unused = "--class-vectors", tmp_path / "v.npy", "--attributes", "original_att", "--normalise"
    assert_refused(run_command("train_dcrgan.py", *words, *unused), "original_att, --normalise: the class vectors take")
