"""`res101.mat` both ways: bit-exact round trips, a table that training takes at once, refusals in words."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from zsl.datasets.places import shards_folder
from zsl.features import mat
from zsl.features.facts import describe_data
from zsl.features.join import read_tables
from zsl.features.load import find_features, load_splits
from zsl.features.mat import FILES_FILE, export_mat, import_mat
from zsl.features.split import split_features
from zsl.features.table import read_features


@pytest.fixture
def content(tiny_features: Path) -> dict[str, Any]:
    """What an official file of the tiny benchmark would hold: float64 that float32 cannot hold."""
    labels = read_features(tiny_features).labels
    features = np.random.default_rng(0).random((5, 72))
    files = np.array([f"class/photo_{i}.jpg" for i in range(72)], dtype=object)[:, None]
    return {"features": features, "labels": (labels + 1)[:, None].astype(np.float64), "image_files": files}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_import_then_export_gives_the_same_numbers(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path, dtype: str
) -> None:
    content["features"] = content["features"].astype(dtype)
    savemat(tmp_path / "res101.mat", content)
    folder, _ = import_mat(tmp_path / "res101.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")
    export_mat(folder, tmp_path / "again.mat", tmp_path / "no shards")
    given, back = loadmat(tmp_path / "res101.mat"), loadmat(tmp_path / "again.mat")
    for key in ("features", "labels"):
        assert back[key].dtype == given[key].dtype
        assert back[key].tobytes() == given[key].tobytes()
    assert [str(cell[0]) for cell in back["image_files"].ravel()] == content["image_files"].ravel().tolist()
    assert "rows" not in back


def test_an_imported_table_can_be_trained_on_at_once(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path
) -> None:
    savemat(tmp_path / "res101.mat", content)
    folder, manifest = import_mat(tmp_path / "res101.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")
    made = read_features(folder)
    splits = load_splits("shapes", tmp_path, made)
    train, _ = split_features(made, splits)
    assert made.features.dtype == np.float32
    assert train.features.shape == (36, 5)
    np.testing.assert_array_equal(made.features, content["features"].T.astype(np.float32))
    np.testing.assert_array_equal(made.labels, content["labels"].ravel() - 1)
    assert describe_data(made, splits).pretraining == "unknown (imported from res101.mat)"
    assert import_mat(tmp_path / "res101.mat", "shapes", tmp_path) == (folder, manifest)
    (folder / "labels.npy").unlink()
    assert import_mat(tmp_path / "res101.mat", "shapes", tmp_path) == (folder, manifest)
    np.testing.assert_array_equal(read_features(folder).labels, made.labels)


def test_a_table_that_the_format_cannot_hold_is_refused_before_anything_is_written(
    tiny_shapes: Path, tiny_features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mat, "LARGEST_ARRAY", 72 * 64 * 4)
    with pytest.raises(ValueError, match=r"ours\.mat cannot hold .* read .*features\.npy with numpy\.load"):
        export_mat(tiny_features, tmp_path / "ours.mat", shards_folder(tiny_shapes, "shapes"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_images_is_refused(tiny_shapes: Path, tmp_path: Path) -> None:
    empty = {"features": np.zeros((5, 0), np.float32), "labels": np.zeros((0, 1)), "rows": np.zeros((0, 1))}
    savemat(tmp_path / "x.mat", empty)
    with pytest.raises(ValueError, match=r"x\.mat has no image; features should be D x N"):
        import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")


def test_export_then_import_gives_the_same_table(tiny_shapes: Path, tiny_features: Path, tmp_path: Path) -> None:
    export_mat(tiny_features, tmp_path / "ours.mat", shards_folder(tiny_shapes, "shapes"))
    written = loadmat(tmp_path / "ours.mat")
    assert written["features"].shape == (64, 72)
    assert written["labels"].min() == 1
    photos = sorted((tiny_shapes / "shapes" / "raw" / "images").glob("*/*.jpg"))
    assert [Path(str(cell[0])).name for cell in written["image_files"].ravel()] == [path.name for path in photos]
    folder, _ = import_mat(tmp_path / "ours.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")
    ours, back = read_features(tiny_features), read_features(folder)
    assert np.asarray(back.features).tobytes() == np.asarray(ours.features).tobytes()
    np.testing.assert_array_equal(back.labels, ours.labels)
    np.testing.assert_array_equal(back.rows, ours.rows)


def names(*first: str) -> np.ndarray:
    """72 paths of photos, which begin with `first`."""
    return np.array([*first, *(f"{number}.jpg" for number in range(72 - len(first)))], dtype=object)[:, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((5, 71))}, "71 columns of features, 72 labels"),
        ({"features": np.full((5, 72), np.nan)}, "column 1 is not finite"),
        ({"labels": np.zeros((72, 1))}, "labels reach from 0 to 0; right are 1 to 9"),
        ({"features": np.zeros((5, 72), dtype=np.int32)}, "features are int32"),
        ({"labels": np.full((72, 1), 1.5)}, r"x\.mat: labels holds 1\.5, which is no class number"),
        ({"labels": np.full((72, 1), np.nan)}, r"labels holds nan, which is no class number"),
        ({"rows": np.arange(72)[:, None] + 0.5}, r"rows holds 0\.5, which is no row number"),
        ({"image_files": names("a.jpg", "a.jpg")}, r"71 entries of image_files|1 entries of .*first is 'a.jpg'"),
        ({"image_files": names("a\nb.jpg")}, r"the entry 'a\\nb\.jpg' of image_files holds a line break"),
        ({"labels": None}, "has no labels; it has features, image_files"),
        ({"features": None}, "has no features; it has labels, image_files"),
    ],
)
def test_a_wrong_file_is_refused(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    savemat(tmp_path / "x.mat", {key: value for key, value in (content | change).items() if value is not None})
    with pytest.raises(ValueError, match=message):
        import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")
    assert not (tmp_path / "shapes").exists()


def test_another_number_of_images_is_refused(content: dict[str, Any], tiny_shapes: Path, tmp_path: Path) -> None:
    cut = {"features": content["features"][:, :70], "labels": content["labels"][:70]}
    savemat(tmp_path / "x.mat", cut | {"image_files": content["image_files"][:70]})
    with pytest.raises(ValueError, match="has 70 images, the split file 72 rows"):
        import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")


def test_an_hdf5_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(600))
    with pytest.raises(ValueError, match=r"is a MATLAB 7.3 \(HDF5\) file.*-v7"):
        import_mat(tmp_path / "x.mat", "shapes", tmp_path)


def as_cells(values: np.ndarray) -> np.ndarray:
    cells = np.empty(values.shape, dtype=object)
    for place, value in np.ndenumerate(values):
        cells[place] = np.array([[value]])
    return cells


def padded(values: np.ndarray) -> np.ndarray:
    width = max(len(value) for value in values.ravel())
    return np.array([value.ljust(width + 3) for value in values.ravel()])


AS_SAVED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "no image_files": lambda content: {"image_files": None},
    "sparse features": lambda content: {"features": csc_matrix(content["features"])},
    "labels as cells": lambda content: {"labels": as_cells(content["labels"])},
    "labels in a row": lambda content: {"labels": content["labels"].T},
    "padded names": lambda content: {"image_files": padded(content["image_files"])},
    "names in cells of cells": lambda content: {"image_files": as_cells(content["image_files"])},
}


@pytest.mark.parametrize("form", AS_SAVED)
def test_a_file_is_read_as_people_save_it(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path, form: str
) -> None:
    saved = content | AS_SAVED[form](content)
    savemat(tmp_path / "x.mat", {key: value for key, value in saved.items() if value is not None})
    folder, _ = import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")
    table = read_features(folder)
    np.testing.assert_array_equal(table.features, content["features"].T.astype(np.float32))
    np.testing.assert_array_equal(table.labels, content["labels"].ravel() - 1)
    export_mat(folder, tmp_path / "again.mat", tmp_path / "no shards")
    names = [f"row {row}" for row in range(1, 73)] if form == "no image_files" else content["image_files"].ravel()
    assert [str(cell[0]) for cell in loadmat(tmp_path / "again.mat")["image_files"].ravel()] == list(names)


@pytest.mark.parametrize("right", [True, False])
def test_labels_without_names_are_compared_with_the_official_ones(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path, right: bool
) -> None:
    splits = tmp_path / "splits"
    shutil.copytree(tiny_shapes / "shapes" / "splits", splits)
    official = content["labels"].copy()
    if not right:
        official[[0, -1]] = official[[-1, 0]]
    savemat(splits / "labels_files.mat", {"labels": official, "image_files": content["image_files"]})
    savemat(tmp_path / "x.mat", {"features": content["features"], "labels": content["labels"]})
    if right:
        folder, _ = import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=splits)
        assert (folder / FILES_FILE).read_text().splitlines() == content["image_files"].ravel().tolist()
    else:
        with pytest.raises(ValueError, match=r"x\.mat: 2 labels are not those of .*labels_files\.mat, the first is \d"):
            import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=splits)


def test_an_imported_table_is_joined_with_an_extracted_one(
    content: dict[str, Any], tiny_shapes: Path, tiny_features: Path, tmp_path: Path
) -> None:
    savemat(tmp_path / "x.mat", content)
    folder, _ = import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")
    for order in ((folder, tiny_features), (tiny_features, folder)):
        table = read_tables(order)
        assert table.features.shape == (72, 64 + 5)
        assert len(load_splits("shapes", tiny_shapes, table).seen) == 6


def test_a_name_that_means_an_imported_table_and_a_backbones_is_refused(tmp_path: Path) -> None:
    features = tmp_path / "shapes" / "features"
    for name in ("resnet101", "resnet18", "res101", "test_vit.r160_in1k"):
        (features / name).mkdir(parents=True)
        (features / name / "manifest.json").touch()
        assert find_features(tmp_path, "shapes", name) == features / name
    for name in ("resnet101.tv_in1k", "resnet18.a1_in1k"):
        (features / name).mkdir()
        (features / name / "manifest.json").touch()
        alone = name.partition(".")[0]
        with pytest.raises(ValueError, match=rf"--backbone {alone} means two tables here, {alone} and {name}; write"):
            find_features(tmp_path, "shapes", alone)
        assert find_features(tmp_path, "shapes", name) == features / name
    assert find_features(tmp_path, "shapes", "res101") == features / "res101"


def swap(*keys: str) -> Callable[[dict[str, Any]], None]:
    """Exchange two seen classes, in these variables of a split file."""

    def change(split: dict[str, Any]) -> None:
        if "names" in keys:
            split["allclasses_names"][[0, 1]] = split["allclasses_names"][[1, 0]]
        if "attributes" in keys:
            split["att"][:, [0, 1]] = split["att"][:, [1, 0]]

    return change


def exchange_parts(split: dict[str, Any]) -> None:
    """As many trainval rows as there are test_seen rows become those, and these trainval rows."""
    trainval, test_seen = (split[part].copy() for part in ("trainval_loc", "test_seen_loc"))
    count = len(test_seen)
    split["test_seen_loc"], split["trainval_loc"][:count] = trainval[:count], test_seen


def changed_splits(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of split files, without the list that says the order of the classes."""
    shutil.copytree(source, target)
    (target / "allclasses.txt").unlink(missing_ok=True)
    split = {key: value for key, value in loadmat(target / "att_splits.mat").items() if not key.startswith("__")}
    change(split)
    savemat(target / "att_splits.mat", split)
    return target


def test_an_imported_table_is_refused_beside_classes_in_another_order(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path
) -> None:
    savemat(tmp_path / "x.mat", content)
    splits = tiny_shapes / "shapes" / "splits"
    folder, _ = import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=splits)
    table = read_features(folder)
    load_splits("shapes", tmp_path, table, changed_splits(splits, tmp_path / "same", lambda split: None))
    other = changed_splits(splits, tmp_path / "other", swap("names", "attributes"))
    with pytest.raises(ValueError, match=r"made with other classes, or in another order.* import their file anew"):
        load_splits("shapes", tmp_path, table, other)
    moved = changed_splits(splits, tmp_path / "moved", exchange_parts)
    with pytest.raises(ValueError, match=r"made with splits .*, these are .*  Delete .* import their file anew"):
        load_splits("shapes", tmp_path, table, moved)


@pytest.mark.parametrize(
    ("keys", "what"), [(("names", "attributes"), "classes"), (("names",), "classes"), (("attributes",), "attributes")]
)
@pytest.mark.parametrize("again", [False, True])
def test_splits_with_other_classes_or_attributes_than_those_at_hand_are_refused(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path, keys: tuple[str, ...], what: str, again: bool
) -> None:
    savemat(tmp_path / "x.mat", content)
    splits = tiny_shapes / "shapes" / "splits"
    shutil.copytree(splits, tmp_path / "shapes" / "splits")
    if again:
        import_mat(tmp_path / "x.mat", "shapes", tmp_path)
    other = changed_splits(splits, tmp_path / "other", swap(*keys))
    with pytest.raises(ValueError, match=f"holds other {what}, or in another order, than --splits .*other"):
        import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=other)
    assert (tmp_path / "shapes" / "features").is_dir() == again


def test_a_second_import_checks_the_splits_too(content: dict[str, Any], tiny_shapes: Path, tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", content)
    splits = tiny_shapes / "shapes" / "splits"
    first = import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=splits)
    assert import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=splits) == first
    with pytest.raises(FileNotFoundError, match=r"no folder .*absent; --splits is the folder with att_"):
        import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=tmp_path / "absent")


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (("--backbone", "resnet50"), "--backbone"),
        (("--weights", "x.pth"), "--weights"),
        (("--crops", "5", "--flip"), "--flip, --crops|--crops, --flip"),
        (("--on-error", "quarantine"), "--on-error"),
        (("--shards", "s3://x"), "--shards"),
    ],
)
def test_flags_for_photos_are_refused_beside_an_import(words: tuple[str, ...], flags: str, tmp_path: Path) -> None:
    process = run("extract.py", "--import-mat", tmp_path / "x.mat", "--data", tmp_path, *words)
    assert process.returncode == 1
    assert re.search(
        f"^error: --import-mat takes features as they are in the file; leave ({flags}) out", process.stderr
    )


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_kill_while_the_splits_are_copied_leaves_nothing_that_a_restart_does_not_mend(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    savemat(tmp_path / "x.mat", content)
    splits = tiny_shapes / "shapes" / "splits"
    expected = {path.name: path.read_bytes() for path in splits.iterdir() if path.name != "attribute_names.txt"}
    copy = shutil.copyfile

    for number in range(len(expected)):
        files = iter(range(len(expected)))

        def cut(source: Path, target: Path, files: Iterator[int] = files, number: int = number) -> None:
            if next(files) < number:
                copy(source, target)
                return
            target.write_bytes(source.read_bytes()[:9])
            raise Killed

        data = tmp_path / str(number)
        with monkeypatch.context() as patch:
            patch.setattr("shutil.copyfile", cut)
            with pytest.raises(Killed):
                import_mat(tmp_path / "x.mat", "shapes", data, splits=splits)
        assert {path.name for path in (data / "shapes" / "splits").iterdir()} <= expected.keys() - {"att_splits.mat"}
        folder, _ = import_mat(tmp_path / "x.mat", "shapes", data, splits=splits)
        assert {path.name: path.read_bytes() for path in (data / "shapes" / "splits").iterdir()} == expected
    assert load_splits("shapes", data, read_features(folder), fold=1).unseen.size


@pytest.mark.parametrize("again", [False, True])
def test_class_lists_that_are_absent_are_added_and_others_are_refused(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path, again: bool
) -> None:
    savemat(tmp_path / "x.mat", content)
    splits, kept = tiny_shapes / "shapes" / "splits", tmp_path / "shapes" / "splits"
    kept.mkdir(parents=True)
    shutil.copyfile(splits / "att_splits.mat", kept / "att_splits.mat")
    if again:
        import_mat(tmp_path / "x.mat", "shapes", tmp_path)
    import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=splits)
    assert {path.name for path in kept.glob("*.txt")} == {path.name for path in splits.glob("*classes*.txt")}
    (kept / "valclasses1.txt").write_text("tapir\n")
    with pytest.raises(ValueError, match=r"valclasses1\.txt has other classes than --splits .*valclasses1\.txt"):
        import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=splits)


# --- what is exported ------------------------------------------------------------------------------------------------


@pytest.fixture
def killed_import(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Import float64 features under a name, and be killed before the manifest; gives the folder."""

    def kill(*_: object) -> None:
        raise Killed

    def start(name: str) -> Path:
        savemat(tmp_path / f"{name}.mat", content)
        with monkeypatch.context() as patch:
            patch.setattr("zsl.features.mat.write_manifest", kill)
            with pytest.raises(Killed):
                import_mat(tmp_path / f"{name}.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")
        return tmp_path / "shapes" / "features" / name

    return start


def test_nothing_of_a_killed_import_is_exported(
    content: dict[str, Any], tmp_path: Path, killed_import: Callable[[str], Path]
) -> None:
    assert "features_float64.npy" in {path.name for path in killed_import("x").iterdir()}
    corrected = np.arange(5 * 72, dtype=np.float32).reshape(5, 72)
    savemat(tmp_path / "x.mat", content | {"features": corrected})
    folder, _ = import_mat(tmp_path / "x.mat", "shapes", tmp_path)
    export_mat(folder, tmp_path / "again.mat", tmp_path / "no shards")
    assert loadmat(tmp_path / "again.mat")["features"].tobytes() == corrected.tobytes()


def test_an_extracted_table_takes_nothing_of_a_killed_import_that_had_its_name(
    tiny_shapes: Path, tiny_features: Path, tmp_path: Path, killed_import: Callable[[str], Path]
) -> None:
    folder = killed_import("test_vit")
    for path in tiny_features.iterdir():
        shutil.copyfile(path, folder / path.name)
    export_mat(folder, tmp_path / "again.mat", shards_folder(tiny_shapes, "shapes"))
    back = loadmat(tmp_path / "again.mat")
    np.testing.assert_array_equal(back["features"].T, np.load(tiny_features / "features.npy"))
    assert "photo_0.jpg" not in str(back["image_files"][0, 0])


def halve(file: str) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / file, np.load(folder / file) / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (halve("features.npy"), r"features\.npy of x for shapes: not as the manifest describes"),
        (halve("features_float64.npy"), r"features_float64\.npy holds other numbers than features\.npy"),
        (
            lambda folder: (folder / "features_float64.npy").unlink(),
            r"no features_float64\.npy in .*the table anew",
        ),
        (lambda folder: (folder / FILES_FILE).unlink(), r"no image_files\.txt in .*make the table anew"),
        (lambda folder: (folder / FILES_FILE).write_text("a.jpg\n"), r"image_files\.txt has 1 lines for 72 rows"),
    ],
)
def test_an_imported_table_that_changed_is_not_exported(
    content: dict[str, Any], tiny_shapes: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    savemat(tmp_path / "x.mat", content)
    folder, _ = import_mat(tmp_path / "x.mat", "shapes", tmp_path, splits=tiny_shapes / "shapes" / "splits")
    change(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        export_mat(folder, tmp_path / "again.mat", tmp_path / "no shards")
    assert not (tmp_path / "again.mat").exists()


def test_a_changed_extracted_table_is_not_exported(tiny_shapes: Path, tiny_features: Path, tmp_path: Path) -> None:
    table = shutil.copytree(tiny_features, tmp_path / "table")
    halve("features.npy")(table)
    with pytest.raises(ValueError, match=r"features\.npy of .* for shapes: not as the manifest describes"):
        export_mat(table, tmp_path / "ours.mat", shards_folder(tiny_shapes, "shapes"))


def test_a_table_of_shards_from_a_command_is_exported(
    tiny_shapes: Path, tiny_features: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    location = f"pipe:cat {shards_folder(tiny_shapes, 'shapes')}/{{file}}"
    words = ("--backbone", "test_vit", "--weights", tiny_weights, "--precision", "no", "--data", tmp_path)
    process = run(
        "extract.py", *words, "--shards", location, "--allow-pipe", "--export-mat", tmp_path / "from_command.mat"
    )
    assert process.returncode == 0, process.stderr
    export_mat(tiny_features, tmp_path / "from_folder.mat", shards_folder(tiny_shapes, "shapes"))
    names = [loadmat(tmp_path / f"from_{place}.mat")["image_files"] for place in ("command", "folder")]
    assert str(names[0].tolist()) == str(names[1].tolist())
    with pytest.raises(ValueError, match="would run a command on this machine; --allow-pipe permits it"):
        export_mat(tiny_features, tmp_path / "again.mat", location)
