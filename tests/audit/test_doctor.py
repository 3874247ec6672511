"""The doctor: what is there is ok, what is not is named as the official archive names it, with what to do."""

from functools import partial
from pathlib import Path

import pytest

from zsl.audit.doctor import Item, check_packages, doctor, report


def look(items: list[Item], what: str) -> Item:
    return next(item for item in items if item.what.startswith(what))


def test_nothing_is_missing_for_the_embedded_benchmark(tiny_shapes: Path, tiny_weights: Path) -> None:
    items = doctor("shapes", tiny_shapes, images=None, splits=None, backbone="test_vit", weights=tiny_weights)
    assert [item for item in items if item.state == "missing"] == []
    assert look(items, "shards").found.startswith("72 photos in 1 shard")
    assert report(items).endswith("nothing is missing")


@pytest.mark.parametrize(
    ("benchmark", "archives"),
    [
        ("cub", ("CUB_200_2011.tgz",)),
        ("awa2", ("AwA2-data.zip", "JPEGImages")),
        ("sun", ("SUNAttributeDB_Images.tar.gz",)),
        ("apy", ("VOCtrainval_14-Jul-2008.tar", "ayahoo_test_images.tar.gz", "attribute_data")),
    ],
)
def test_absent_data_are_named_as_in_the_archive(
    benchmark: str, archives: tuple[str, ...], tmp_path: Path, tiny_weights: Path
) -> None:
    items = doctor(
        benchmark, tmp_path, images=tmp_path / "no", splits=tmp_path, backbone="test_vit", weights=tiny_weights
    )
    photos = look(items, "photos")
    assert photos.state == "missing"
    assert all(name in photos.remedy for name in archives)
    assert look(items, "split file").state == "missing"
    assert "xlsa17.zip" in look(items, "split file").remedy
    assert report(items).endswith("missing: 3")


def test_photos_are_counted(shared_data: Path, tmp_path: Path, tiny_weights: Path) -> None:
    look_at = partial(
        doctor,
        "cub",
        tmp_path,
        images=shared_data / "CUB_200_2011",
        splits=shared_data / "xlsa17" / "CUB",
        backbone="test_vit",
        weights=tiny_weights,
    )
    strict = look_at()
    assert look(strict, "photos").state == "missing"
    assert look(strict, "photos").found.startswith("2,889 present, 8,899 missing")
    lenient = look_at(allow_missing=True)
    assert [item.what for item in lenient if item.state == "missing"] == []


def test_absent_weights_are_missing(tmp_path: Path, tiny_shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = doctor("shapes", tiny_shapes, images=None, splits=None, backbone="resnet101", weights=tmp_path / "no.pth")
    assert look(none, "weights").state == "missing"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    hub = doctor("shapes", tiny_shapes, images=None, splits=None, backbone="resnet101", weights=None)
    assert look(hub, "weights").state == "missing"
    assert "timm/resnet101.tv_in1k is not in" in look(hub, "weights").found
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: "/cache/model.safetensors")
    cached = doctor("shapes", tiny_shapes, images=None, splits=None, backbone="resnet101", weights=None)
    assert look(cached, "weights").state == "ok"


def test_an_absent_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["torch>=999", "no-such-package>=1", "numpy>=1"])
    items = list(check_packages())
    assert [(item.state, item.what) for item in items] == [
        ("missing", "package torch"),
        ("missing", "package no-such-package"),
        ("ok", "packages"),
    ]
