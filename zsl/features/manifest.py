"""The manifest of a feature table, `manifest.json`: what its numbers were made from.

The names of the fields are those of the JSON.  Every field is either None or has the type that stands here, and a file
that says something else is refused with the name of the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from backbones.tuned import TunedFacts
from zsl.common.files import read_json, write_json
from zsl.common.records import as_record, content_of
from zsl.features.choice import Choice

MANIFEST_FILE = "manifest.json"
FORMAT = 1  # a version that changes what a field means gives this another number
UNKNOWN = "unknown"
REMEDY = "delete that folder and make the table anew"

# The fields of a file, in its order: of a table from photos, and of one from `res101.mat`.
EXTRACTED = (
    "finetuned", "tuned_photos", "format", "benchmark", "source", "shards_sha256", "backbone", "pretraining",
    "weights_sha256", "transform", "encode", "precision", "engine", "versions", "dim", "unseen_classes", "weights_file",
    "compute", "choice", "comparison", "images_per_second", "count", "arrays_sha256", "quarantined",
)  # fmt: skip
IMPORTED = (
    "format", "benchmark", "source", "shards_sha256", "backbone", "pretraining", "weights_sha256", "transform",
    "precision", "versions", "count", "arrays_sha256", "dim", "imported",
)  # fmt: skip
OMITTED = (
    "finetuned",
    "tuned_photos",
    "engine",
    "choice",
    "comparison",
    "arrays_sha256",
    "images_per_second",
)  # where they are None; other fields are null then


@dataclass(frozen=True, kw_only=True)
class Source:
    """The photos and splits behind the shards; None stands for what the shards' index does not say."""

    verdict: str | None = None  # which split it is, and whether all photos are at hand, in words
    split_hashes: tuple[str, ...] | None = None  # of trainval, test_seen and test_unseen
    classes_hash: str | None = None  # of the names of all classes in the order of their ids
    missing: int | None = None  # number of official rows without a photo
    classes_left: int | None = None
    shared_photos: dict[str, int] | None = None  # how far rows of several splits lie in one photo; None: no rows do

    @classmethod
    def read(cls, content: Any, where: str) -> Source:
        """From JSON; `where` names the file for messages.

        Raises:
            ValueError: a field is of another type.
        """
        return as_record(content, cls, where, "make the shards anew with scripts/make_shards.py")

    @property
    def as_json(self) -> dict[str, Any]:
        """The content of the field `source`."""
        return {name: value for name, value in content_of(self).items() if value is not None}

    @property
    def hashes_text(self) -> str:
        """The hashes of the splits in one word."""
        return "/".join(self.split_hashes or ())


@dataclass(frozen=True, kw_only=True)
class TransformFacts:
    """What was done to each photo: `backbones.Transform`, and how the photo was cropped and decoded before it."""

    size: tuple[int, int]  # height and width in pixels
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_pct: float | None = None
    crops: int = 1
    crop: str = "none, whole image"  # in words
    decoder: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class EncodeFacts:
    """The options of a backbone that change its features and are not part of the transform."""

    flip: bool
    layer: str | None
    fp32_layers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How the features were computed."""

    compiled: bool
    batch_size: int
    device: str
    processes: int
    threads: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Features of an engine beside those of PyTorch in fp32, of some drawn images."""

    largest_difference: float  # of two numbers, in units of the largest number of PyTorch's features
    smallest_cosine: float  # of two features of an image


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The `res101.mat` that a table was made from."""

    file: str  # its name
    sha256: str
    features_dtype: str = "float32"
    labels_dtype: str = "float64"
    exact_in_float32: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that the numbers of a feature table depend on, and what a reader wants to know about it."""

    format: int = FORMAT
    benchmark: str
    source: Source
    shards_sha256: str | None = None  # None: made from no shards
    backbone: str  # full name with weights tag and options; of an imported table the name of its folder
    pretraining: str  # the data behind the weights, in words
    weights_sha256: str | None = None
    weights_file: str | None = None  # name of the user's file of weights; None: published weights
    finetuned: TunedFacts | None = None  # None: the weights were not fine-tuned
    tuned_photos: int | None = None  # number of photos that they were tuned on, here or elsewhere; None: not known
    transform: TransformFacts | None = None  # None: not known
    encode: EncodeFacts | None = None  # None: not known
    precision: str
    engine: str | None = None  # the program that ran the encoder: openvino, onnxruntime; None: PyTorch
    versions: dict[str, str] = field(default_factory=dict)  # of Python and libraries
    dim: int  # D
    count: int  # N
    arrays_sha256: dict[str, str] | None = None  # of each array; None: of an earlier version
    quarantined: int = 0  # photos that could not be read and are left out
    unseen_classes: str | None = None  # the worst that the pretraining data can mean for unseen classes
    compute: Compute | None = None  # None: not known
    choice: Choice | None = None  # what --compile auto decided; None: nothing was to decide
    comparison: Comparison | None = None  # of the engine; None: PyTorch itself
    images_per_second: float | None = None  # None: nothing was left to compute
    imported: Imported | None = None  # None: made from photos

    @classmethod
    def in_memory(
        cls, benchmark: str, *, source: Source | None = None, finetuned: TunedFacts | None = None, count: int, dim: int
    ) -> Manifest:
        """The manifest of a table that no file holds: of labels without features, or of features for one comparison."""
        return cls(
            benchmark=benchmark, source=source or Source(), finetuned=finetuned, backbone=UNKNOWN, pretraining=UNKNOWN,
            precision=UNKNOWN, count=count, dim=dim,
        )  # fmt: skip

    @classmethod
    def from_json(cls, content: Any, where: str) -> Manifest:
        """From the content of the file `where`.

        A field that this version does not know, of an earlier or a newer version, is passed over.  It cannot change
        what a known field means, for then `format` would be another.  No program writes a manifest over, so that the
        field stays in the file.

        Raises:
            ValueError: the format is another, or a field is absent or of another type.
        """
        if isinstance(content, Mapping) and content.get("format") != FORMAT:
            raise ValueError(
                f"{where} has format {content.get('format')!r}, this version reads {FORMAT}; extract anew, after you "
                "have deleted that folder"
            )
        if not isinstance(content, Mapping) or not content.get("finetuned"):
            return as_record(content, cls, where, REMEDY)
        manifest = as_record({**content, "finetuned": None}, cls, where, REMEDY)
        tuned = as_record(content["finetuned"], dict[str, Any], f"{where}: finetuned", REMEDY)
        return replace(manifest, finetuned=TunedFacts.read(tuned, f"{where}: finetuned"))

    @property
    def parts(self) -> tuple[Manifest, ...]:
        """The manifests of the tables that lie side by side in this one: of a table alone its own."""
        return (self,)

    @property
    def as_json(self) -> dict[str, Any]:
        """The content of the file."""
        content = content_of(self)
        content["source"] = self.source.as_json
        content["finetuned"] = self.finetuned.content() if self.finetuned else None
        names = IMPORTED if self.imported else EXTRACTED
        return {name: content[name] for name in names if content[name] is not None or name not in OMITTED}


def read_manifest(path: Path) -> Manifest:
    """The manifest in the file `path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, of another format, or a field is absent or of another type; the message names it.
    """
    return Manifest.from_json(read_json(path, REMEDY), str(path))


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `manifest` to `path`, atomically."""
    write_json(path, manifest.as_json)
