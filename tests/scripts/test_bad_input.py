"""Every kind of bad input that a user can give ends with an error in words: one test, one line a kind."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from scipy.io import loadmat, savemat
from toy import toy_splits, toy_table
from toy_runs import FACTS, NO_GAMMA

from backbones import Backbone, decode_image, load_backbone
from shards import read_index
from zsl.datasets.benchmark import read_benchmark
from zsl.datasets.pack import make_shards, open_shards
from zsl.datasets.split_file import PARTS, read_split_file
from zsl.datasets.splits import make_splits
from zsl.experiments.run import run_seeds
from zsl.features.extract import extract_features
from zsl.features.load import find_features, load_splits
from zsl.features.split import split_features
from zsl.features.table import read_features


@dataclass(frozen=True)
class Place:
    """Copies of good input that a case may spoil: raw folder (which is its own split folder), `--data`, weights."""

    raw: Path
    data: Path
    weights: Path
    features: Path
    backbone: Backbone
    accelerator: Accelerator

    def read(self) -> Any:
        """Raw folder to splits."""
        return read_benchmark("shapes", self.raw, self.raw)

    def split_file(self, **changes: Any) -> None:
        """Rewrite att_splits.mat with other variables, each made from the old content."""
        path = self.raw / "att_splits.mat"
        content = {key: value for key, value in loadmat(path).items() if key[0] != "_"}
        savemat(path, content | {key: change(content) for key, change in changes.items()})

    def load(self, benchmark: str = "shapes", **options: Any) -> Any:
        """Feature table to splits."""
        return load_splits(benchmark, self.data, read_features(self.features), **options)

    def extract(self) -> None:
        """Shards to a feature table that is not there yet."""
        shards = self.data / "shapes" / "shards"
        extract_features(self.backbone, shards, read_index(shards), self.data / "new", self.accelerator)

    def photo(self) -> Path:
        """The first photo."""
        return min((self.raw / "images").glob("*/*.jpg"))


@pytest.fixture
def place(
    tmp_path: Path,
    tiny_shapes: Path,
    tiny_features: Path,
    tiny_weights: Path,
    tiny_backbone: Backbone,
    accelerator: Accelerator,
) -> Place:
    data = tmp_path / "data"
    shutil.copytree(tiny_shapes, data)
    weights = tmp_path / "weights.safetensors"
    shutil.copy(tiny_weights, weights)
    features = data / tiny_features.relative_to(tiny_shapes)
    if not features.is_dir():
        shutil.copytree(tiny_features, features)
    return Place(data / "shapes" / "raw", data, weights, features, tiny_backbone, accelerator)


Case = Callable[[Place], Any]


def spoiled(spoil: Case, use: Case) -> Case:
    """Spoil the input, then use it as a user would."""

    def case(place: Place) -> Any:
        spoil(place)
        return use(place)

    return case


def split(**changes: Any) -> Case:
    return spoiled(lambda place: place.split_file(**changes), Place.read)


def swap_classes(content: dict[str, Any]) -> Any:
    names = content["allclasses_names"]
    names[[0, 1]] = names[[1, 0]]
    return names


def with_value(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    """The variable `key` as floats, its first value replaced."""

    def change(content: dict[str, Any]) -> Any:
        changed = content[key].astype(float)
        changed[0, 0] = value
        return changed

    return change


def cut(path: Path, share: float = 0.5) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])


def to_hdf5(place: Place) -> None:
    """The header of a real one: MATLAB's text block of 512 bytes, then HDF5's signature."""
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64 HDF5 schema 1.00 .".ljust(124) + b"\0\2IM"
    (place.raw / "att_splits.mat").write_bytes(text.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(80))


def shard(place: Place) -> Path:
    return place.data / "shapes" / "shards" / "shard-000000.tar"


def damage_shard(place: Place) -> None:
    content = bytearray(shard(place).read_bytes())
    content[2000] ^= 1
    shard(place).write_bytes(content)


def without_unseen_class(place: Place) -> None:
    raw = place.read()
    shutil.rmtree(place.raw / "images" / raw.splits.class_names[raw.splits.unseen[0]])
    place.read()


def edit_manifest(**changes: Any) -> Case:
    def edit(place: Place) -> None:
        path = place.features / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def save_labels(place: Place) -> None:
    """Rows of unseen classes get labels of seen ones, the usual result of labels in another class order."""
    labels = np.load(place.features / "labels.npy")
    np.save(place.features / "labels.npy", np.roll(labels, 8))


def labels_of(change: Callable[[np.ndarray], np.ndarray]) -> Case:
    def case(place: Place) -> Any:
        table = read_features(place.features)
        return make_splits(read_split_file(place.raw), table.rows, change(table.labels.copy()))

    return case


def rewrite(name: str, text: str) -> Case:
    return lambda place: (place.data / "shapes" / "splits" / name).write_text(text)


def photo_repacked(change: Callable[[Path], Any]) -> Case:
    def case(place: Place) -> None:
        change(place.photo())
        make_shards("shapes", place.data)
        place.extract()

    return case


def other_config(place: Place) -> None:
    folder = place.data / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(FACTS)))
    other = dataclasses.replace(FACTS, config={"gan": {"steps": 6}})
    run_seeds(lambda *_: pytest.fail("trained"), *toy_splits(), (0,), folder, other, NO_GAMMA, place.accelerator)


def missing_row(place: Place) -> None:
    table, splits = toy_table()
    split_features(dataclasses.replace(table, rows=table.rows + 1), splits)


def own_folder(place: Place, attributes: str, splits: str) -> None:
    """The photos with tables of one's own; `{names}` of the tables are the classes."""
    folder = place.data / "birds"
    shutil.copytree(place.raw / "images", folder / "images")
    names = sorted(path.name for path in (folder / "images").iterdir())
    tables = {
        "attributes.csv": "class,a,b\n" + "".join(f"{name},1,{i}\n" for i, name in enumerate(names)),
        "splits.csv": "class,split\n" + "".join(f"{n},{'unseen' if i > 5 else 'seen'}\n" for i, n in enumerate(names)),
    }
    for (file, text), change in zip(tables.items(), (attributes, splits), strict=True):
        old, new = (word.format(*names) for word in change.split(">"))
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))
    make_shards(str(folder), place.data)


def own(attributes: str = ">", splits: str = ">") -> Case:
    return lambda place: own_folder(place, attributes, splits)


def own_with(spoil: Callable[[Path, Path], Any]) -> Case:
    """The first two photos of the first class may be spoiled beforehand."""

    def case(place: Place) -> None:
        first, second, *_ = sorted((place.raw / "images").glob("*/*.jpg"))
        spoil(first, second)
        own_folder(place, ">", ">")

    return case


KINDS: dict[str, tuple[Case, str]] = {
    # split file
    "no split file": (
        spoiled(lambda p: (p.raw / "att_splits.mat").unlink(), Place.read),
        r"no att_splits\.mat in .*Proposed Splits archive",
    ),
    "truncated .mat": (
        spoiled(lambda p: cut(p.raw / "att_splits.mat"), Place.read),
        r"is the download complete\?|has no ",
    ),
    "HDF5 .mat": (spoiled(to_hdf5, Place.read), r"is a MATLAB 7\.3 \(HDF5\) file; .*'-v7'"),
    "text for a .mat": (
        spoiled(lambda p: (p.raw / "att_splits.mat").write_text("<html>404</html>"), Place.read),
        r"cannot be read as a MATLAB 5 file",
    ),
    "0-based rows": (
        split(**{part: lambda content, part=part: content[part].astype(int) - 1 for part in PARTS}),
        r"holds row 0; official rows are 1-based",
    ),
    "overlapping splits": (
        split(test_seen_loc=lambda c: np.concatenate([c["test_seen_loc"], c["trainval_loc"][:2]])),
        r"2 rows are both in trainval_loc and in test_seen_loc",
    ),
    "row left out": (split(trainval_loc=lambda c: c["trainval_loc"][1:]), r"1 rows of 1\.\.72 are in no part"),
    "row listed twice": (
        split(trainval_loc=lambda c: np.concatenate([c["trainval_loc"], c["trainval_loc"][:1]])),
        r"is listed twice in one part",
    ),
    "fractional row": (
        split(trainval_loc=with_value("trainval_loc", 2.5)),
        r"trainval_loc holds 2\.5, which is no row",
    ),
    "row that is NaN": (
        split(test_seen_loc=with_value("test_seen_loc", np.nan)),
        r"test_seen_loc holds nan, which is no",
    ),
    "attribute NaN": (split(att=with_value("att", np.nan)), r"1 of its values are not finite"),
    "attributes of too few classes": (split(att=lambda c: c["att"][:, 1:]), r"att has 8 classes for 9 names"),
    "class name twice": (
        split(allclasses_names=lambda c: np.concatenate([c["allclasses_names"][:1], c["allclasses_names"][:-1]])),
        r"1 class names occur twice in allclasses_names",
    ),
    "leaky vintage": (
        split(train_loc=lambda c: np.concatenate([c["trainval_loc"], c["test_seen_loc"][:3]])),
        r"leaky vintage: train_loc holds 3 test_seen rows\. .*version 2\.0",
    ),
    "val_loc with unseen classes": (
        split(val_loc=lambda c: c["test_unseen_loc"][:5]),
        r"leaky vintage: val_loc holds 5 test_unseen rows",
    ),
    # class names and lists
    "swapped class order": (
        spoiled(lambda p: p.split_file(allclasses_names=swap_classes), lambda p: make_shards("shapes", p.data)),
        r"allclasses\.txt has 9 classes in another order than allclasses_names",
    ),
    "class name mismatch": (
        spoiled(lambda p: p.photo().parent.rename(p.raw / "images" / "tapir"), Place.read),
        r"not in the split file.*'tapir'",
    ),
    "unknown validation class": (
        spoiled(rewrite("valclasses1.txt", "tapir\n"), lambda p: p.load(fold=1)),
        r"valclasses1\.txt names 'tapir', which is not a class",
    ),
    "validation classes without a seen class": (
        spoiled(rewrite("valclasses1.txt", ""), lambda p: p.load(fold=1)),
        r"fold 1 leaves 6 seen and 0 unseen classes",
    ),
    "seen class not in the lists": (
        spoiled(rewrite("trainvalclasses.txt", ""), Place.load),
        r"6 classes with trainval rows are not in trainvalclasses\.txt",
    ),
    # photos
    "missing photo": (spoiled(lambda p: p.photo().unlink(), Place.read), r"lists 71 images, the split file .* 72 rows"),
    "unseen class without images": (without_unseen_class, r"lists 64 images, .* 72 rows; no image of "),
    "unreadable photo": (photo_repacked(cut), r"row 0.*not a whole image"),
    "photo that is text": (photo_repacked(lambda path: path.write_text("hello")), r"5 bytes are not a whole image"),
    "empty photo": (photo_repacked(lambda path: path.write_bytes(b"")), r"is empty \(row 0\)"),
    "box outside the photo": (
        lambda p: decode_image(p.photo().read_bytes(), (0, 0, 9_999, 10)),
        r"box \[0, 0, 9999, 10\].*not inside the image",
    ),
    # labels
    "wrong labels": (
        spoiled(save_labels, Place.load),
        r"classes (have|with) .*rows.*do not belong together|has test_seen rows and",
    ),
    "label out of range": (labels_of(lambda labels: labels + 1), r"labels reach from 1 to 9; there are 9 classes"),
    "too few labels": (labels_of(lambda labels: labels[1:]), r"72 rows for 71 labels"),
    "duplicate rows": (
        lambda p: make_splits(read_split_file(p.raw), np.array([3, 3, 4]), np.zeros(3, np.int64)),
        r"row 3 is given 2 times",
    ),
    # names
    "unknown benchmark": (lambda p: make_shards("bird", p.data), r"no benchmark 'bird'; there are .*shapes"),
    "no --images": (lambda p: make_shards("cub", p.data), r"--benchmark cub needs --images DIR .* --splits DIR"),
    "unknown backbone": (lambda p: load_backbone("resnet1o1"), r"no backbone 'resnet1o1'; there are .*resnet101"),
    "unknown weights tag": (lambda p: load_backbone("resnet101.in99k"), r"no weights 'in99k' for resnet101; there are"),
    "no weights file": (lambda p: load_backbone("test_vit", p.raw / "w.pth"), r"no weights file .*w\.pth"),
    "unreadable weights": (
        spoiled(lambda p: cut(p.weights), lambda p: load_backbone("test_vit", p.weights)),
        r"cannot be read as weights",
    ),
    "weights of another architecture": (
        lambda p: load_backbone("test_resnet", p.weights),
        r"does not fit the architecture: \d+ of \d+ tensors absent",
    ),
    # shards
    "no index": (
        spoiled(lambda p: (shard(p).parent / "index.json").unlink(), lambda p: read_index(shard(p).parent)),
        r"no index\.json in .*make_shards\.py",
    ),
    "no shards of a benchmark": (lambda p: open_shards("cub", p.data), r"no index\.json in .*cub"),
    "no shard": (
        spoiled(lambda p: shard(p).unlink(), Place.extract),
        r"no shard-000000\.tar in .*make the shards anew",
    ),
    "other shard": (
        spoiled(damage_shard, Place.extract),
        r"not the file that index\.json describes \(sha256 differs\)",
    ),
    # features
    "unfinished table": (
        spoiled(lambda p: (p.features / "manifest.json").unlink(), lambda p: read_features(p.features)),
        r"no whole feature table in .*extract\.py",
    ),
    "table of another format": (
        spoiled(edit_manifest(format=9), lambda p: read_features(p.features)),
        r"has format 9, this version reads 1",
    ),
    "table with a row too few": (
        spoiled(edit_manifest(count=73), lambda p: read_features(p.features)),
        r"72 features, .* the manifest says 73",
    ),
    "features of another benchmark": (
        lambda p: p.load("cub"),
        r"the features are of shapes, asked for is --benchmark cub",
    ),
    "features of another split": (
        spoiled(edit_manifest(source={"split_hashes": ["a", "b", "c"]}), Place.load),
        r"were made with splits a/b/c, these",
    ),
    "features of a backbone that are not there": (
        lambda p: find_features(p.data, "shapes", "resnet101"),
        r"no features of resnet101\.tv_in1k for shapes .*there are",
    ),
    "split row without feature": (missing_row, r"the feature table has no row 0"),
    # runs
    "other config in the run folder": (other_config, r"config\.gan\.steps: 5 there, 6 now"),
    # a benchmark of one's own; more of its faults are in test_own_benchmark.py
    "own: no such folder": (
        lambda p: make_shards("no/such", p.data),
        r"no folder no/such; --benchmark is a known name or",
    ),
    "own: no attributes": (
        spoiled(
            lambda p: (p.data / "own" / "images").mkdir(parents=True), lambda p: make_shards(f"{p.data}/own", p.data)
        ),
        r"no attributes\.csv in",
    ),
    "own: missing attribute": (own("{0},1,0>{0},,0"), r"attribute 'a' of class '.*' is ''"),
    "own: duplicate class": (own("{1},>{0},"), r"occurs 2 times"),
    "own: class without photos": (own("{0},1,0\n>{0},1,0\ntapir,1,0.37\n"), r"1 classes have no photo .*'tapir'"),
    "own: unknown class in the split": (own(splits="{0},>tapir,"), r"names the class 'tapir', which is not in attrib"),
    "own: unknown split": (own(splits="unseen>new"), r"split of '.*' is 'new'; it should be seen or unseen"),
    "own: the same photo twice": (
        own_with(lambda first, second: second.write_bytes(first.read_bytes())),
        r"are the same photo, byte for byte",
    ),
    "own: a photo of another type": (
        own_with(lambda first, second: second.with_suffix(".heic").write_bytes(b"\0\0\0\x18ftypheic")),
        r"neither JPEG nor PNG",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_refused_in_words(place: Place, kind: str) -> None:
    case, message = KINDS[kind]
    with pytest.raises((ValueError, FileNotFoundError)) as refusal:
        case(place)
    assert re.search(message, str(refusal.value), re.DOTALL), f"{kind}: {refusal.value}"


def test_the_same_input_unspoiled_is_accepted(place: Place) -> None:
    """So that each refusal above is for its reason."""
    assert place.read().missing == 0
    assert place.load(fold=1).unseen.size
    place.extract()
    own_folder(place, ">", ">")
