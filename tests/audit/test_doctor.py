"""The doctor: what is there is ok, what is not is named as the official archive names it, with what to do."""

import os
import re
from functools import partial
from pathlib import Path

import fake_openclip
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from zsl.audit.doctor import check_packages, doctor, report
from zsl.audit.findings import Finding


def look(findings: list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check.startswith(check))


def test_nothing_is_missing_for_the_embedded_benchmark(tiny_shapes: Path, tiny_weights: Path) -> None:
    findings = doctor("shapes", tiny_shapes, images=None, splits=None, backbone="test_vit", weights=tiny_weights)
    assert [finding for finding in findings if finding.severity == "fail"] == []
    assert look(findings, "shards").message.startswith("72 photos in 1 shard")
    assert report(findings).endswith("nothing is missing")


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
    findings = doctor(
        benchmark, tmp_path, images=tmp_path / "no", splits=tmp_path, backbone="test_vit", weights=tiny_weights
    )
    photos = look(findings, "photos")
    assert photos.severity == "fail"
    assert all(name in photos.remedy for name in archives)
    assert look(findings, "split file").severity == "fail"
    assert "xlsa17.zip" in look(findings, "split file").remedy
    assert report(findings).endswith("missing: 3")


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
    assert look(strict, "photos").severity == "fail"
    assert look(strict, "photos").message.startswith("2,889 present, 8,899 missing")
    lenient = look_at(allow_missing=True)
    assert [finding.check for finding in lenient if finding.severity == "fail"] == []


def test_absent_weights_are_missing(tmp_path: Path, tiny_shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = doctor("shapes", tiny_shapes, images=None, splits=None, backbone="resnet101", weights=tmp_path / "no.pth")
    assert look(none, "weights").severity == "fail"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    hub = doctor("shapes", tiny_shapes, images=None, splits=None, backbone="resnet101", weights=None)
    assert look(hub, "weights").severity == "fail"
    assert "timm/resnet101.tv_in1k is not in" in look(hub, "weights").message
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: "/cache/model.safetensors")
    cached = doctor("shapes", tiny_shapes, images=None, splits=None, backbone="resnet101", weights=None)
    assert look(cached, "weights").severity == "ok"


def test_a_file_of_weights_is_read_and_its_own_table_looked_for(
    tiny_shapes: Path, tiny_weights: Path, other_weights: Path, tiny_features: Path, tmp_path: Path
) -> None:
    look_at = partial(doctor, "shapes", tiny_shapes, images=None, splits=None, backbone="test_vit")
    there = look_at(weights=tiny_weights)
    assert look(there, "features").message == f"72 x 64 ({tiny_features})"
    assert look(there, "weights").severity == "ok"
    pointer = tmp_path / "pointer.pth"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    for weights, message in ((other_weights, "does not fit the architecture"), (pointer, "is a Git LFS pointer")):
        finding = look(look_at(weights=weights), "weights")
        assert finding.severity == "fail"
        assert message in finding.message
    state = load_file(tiny_weights)
    save_file(state | {"norm.bias": state["norm.bias"] + 1}, tmp_path / "tiny.safetensors")
    changed = look_at(weights=tmp_path / "tiny.safetensors")
    assert look(changed, "features").severity == "warn", "the table of other weights is not theirs"
    assert look(changed, "weights").severity == "ok"


def test_an_absent_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["torch>=999", "no-such-package>=1", "numpy>=1"])
    findings = list(check_packages())
    assert [(finding.severity, finding.check) for finding in findings] == [
        ("fail", "package torch"),
        ("fail", "package no-such-package"),
        ("ok", "packages"),
    ]


def test_each_remedy_stands_below_what_is_missing_which_comes_first() -> None:
    findings = [
        Finding(check="a", severity="ok", message="fine"),
        Finding(check="long", severity="warn", message="odd"),
        Finding(check="b", severity="fail", message="gone", remedy="make it"),
    ]
    assert report(findings).splitlines() == [
        "MISSING  b     gone", "               -> make it", "NOTE     long  odd", "OK       a     fine", "missing: 1"
    ]  # fmt: skip


# --- a folder of one's own, and open_clip ----------------------------------------------------------------------------


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """A folder that was not packed yet: seven classes of four photos."""
    folder = tmp_path / "animals"
    names = [f"animal {number}" for number in range(7)]
    for number, name in enumerate(names):
        (folder / "images" / name).mkdir(parents=True)
        for photo in range(4):
            pixels = np.full((8, 8, 3), 30 * number + photo, np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{photo}.png")
    rows = [f"{name},{number + 1},{(number * 3) % 7 + 1},{number % 3}" for number, name in enumerate(names)]
    (folder / "attributes.csv").write_text("class,size,speed,fur\n" + "\n".join(rows) + "\n")
    parts = [f"{name},{'unseen' if number > 4 else 'seen'}" for number, name in enumerate(names)]
    (folder / "splits.csv").write_text("class,split\n" + "\n".join(parts) + "\n")
    return folder


def test_a_folder_of_ones_own_needs_no_archive(
    animals: Path, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at = partial(doctor, str(animals), tmp_path / "data", backbone="test_vit", weights=tiny_weights)
    findings = look_at(images=None, splits=None)
    assert [finding for finding in findings if finding.severity == "fail"] == []
    assert look(findings, "own folder").message.startswith("28 photos, 7 classes")
    assert "xlsa17" not in report(findings)
    assert "leave them out" in look(look_at(images=animals, splits=animals), "own folder").remedy
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        locked = look(look_at(images=None, splits=None), "own folder")
    assert locked.severity == "fail"
    assert re.fullmatch(r".*0\.png cannot be read or written: this user has no permission for it; .*", locked.message)
    (animals / "splits.csv").unlink()
    broken = look(look_at(images=None, splits=None), "own folder")
    assert broken.severity == "fail"
    assert "splits.csv" in broken.message
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("facts", "severity", "message"),
    [
        ({"hf_hub": "owner/clip/"}, "fail", "owner/clip is not in"),
        ({"hf_hub": "owner/clip/weights.bin"}, "fail", "owner/clip is not in"),
        ({"url": "https://example.org/w.pt"}, "warn", "fetches them from https://example.org/w.pt"),
        ({}, "fail", "open_clip publishes no weights seed3"),
    ],
)
def test_weights_of_open_clip_are_looked_for_where_it_has_them(
    facts: dict[str, str], severity: str, message: str, tmp_path: Path, tiny_shapes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fake_openclip.install(monkeypatch)
    monkeypatch.setattr("open_clip.get_pretrained_cfg", lambda name, tag: facts)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    name = f"openclip_{fake_openclip.MODEL}.seed3"
    look_at = partial(doctor, "shapes", tiny_shapes, images=None, splits=None, backbone=name, weights=None)
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *place: asked.append(place))
    found = look(look_at(), "weights")
    assert found.severity == severity
    assert message in found.message
    if "hf_hub" in facts:
        assert asked[0] == ("owner/clip", facts["hf_hub"].partition("clip/")[2] or "open_clip_model.safetensors")
        monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *place: "/cache/file")
        assert look(look_at(), "weights").severity == "ok"
