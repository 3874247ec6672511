"""`--compile auto`: one decision for a table, from measured numbers, which every process and every restart keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tiny import pack

from backbones import Backbone
from shards import Shard, ShardIndex
from zsl.features import choice, encoder
from zsl.features.choice import COMPILE_SECONDS, LEAST_BATCHES, LEAST_SHARE, Choice, Compile, Decision, choose
from zsl.features.extract import ExtractSettings, extract_features
from zsl.features.manifest import Manifest
from zsl.features.parts import Parts
from zsl.features.table import read_features

NOTHING = ShardIndex(benchmark="toy", count=0, total=0, shards=())


def never() -> Any:
    raise AssertionError("it was not to be measured")


@pytest.mark.parametrize("batches", [20, 200, 20_000])
@pytest.mark.parametrize("plain", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("speedup", [0.5, 1.0, 1.3])
def test_the_choice_is_what_a_plain_sum_of_seconds_says(batches: int, plain: float, speedup: float) -> None:
    saved_at_most = batches * plain * choice.EXPECTED_SHARE
    tried = saved_at_most > COMPILE_SECONDS
    decided = choose(batches, lambda: plain, (lambda: (50.0, plain, plain / speedup)) if tried else never)
    assert decided.compiled == (tried and speedup > 1)
    assert (decided.compile_seconds == 50.0) == tried
    assert decided.text.startswith(f"--compile auto: {'on' if decided.compiled else 'off'}, ")


def test_the_time_of_the_compiler_is_not_known_before_and_what_it_made_must_gain_more_than_noise() -> None:
    for spent, gain in product((1.0, 1000.0), (0.9, 1.1)):
        decided = choose(10_000, lambda: 1.0, lambda: (spent, 1.0, 1 - gain * LEAST_SHARE))  # noqa: B023 (called now)
        assert decided.compiled == (gain > 1)


def test_where_the_compiler_does_not_work_the_choice_is_off_and_says_so() -> None:
    decided = choose(10_000, lambda: 1.0, lambda: None)
    assert not decided.compiled
    assert "does not work here" in decided.text


def decision(folder: Path, batches: int, wait: Callable[[], Any] = lambda: None, **more: Any) -> Decision:
    parts = Parts(folder=folder / "parts", index=NOTHING, key={})
    return Decision(path=parts.folder / "compile.json", batches=batches, alone=parts.alone, wait=wait, **more)


def test_of_many_processes_one_measures_and_all_keep_its_choice_also_after_a_restart(tmp_path: Path) -> None:
    measured = []
    barrier = threading.Barrier(4, timeout=60)

    def measure() -> Choice:
        measured.append(threading.get_ident())
        return Choice(compiled=True, batches=len(measured), plain_seconds=1.0)

    with ThreadPoolExecutor(4) as pool:
        choices = list(pool.map(lambda _: decision(tmp_path, 100, barrier.wait).made(measure), range(4)))
    assert len(measured) == 1
    assert set(choices) == {Choice(compiled=True, batches=1, plain_seconds=1.0)}
    assert decision(tmp_path, 100).made(never) == choices[0]
    assert decision(tmp_path, 1).made(never) == choices[0]  # with more processes, each has fewer batches


def test_a_small_table_is_not_measured_and_with_fewer_processes_it_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    small = Choice(compiled=False, batches=LEAST_BATCHES - 1)
    assert decision(tmp_path, LEAST_BATCHES - 1).made(never) == small
    assert decision(tmp_path, 8 * LEAST_BATCHES).made(never) == small


def test_a_table_with_plain_parts_is_not_measured(tmp_path: Path) -> None:
    assert not decision(tmp_path, 8 * LEAST_BATCHES, plain_parts=True).made(never).compiled


def test_a_damaged_choice_is_refused_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "compile.json").write_text('{"compiled": "yes"}')
    with pytest.raises(ValueError, match=r"compile\.json.*delete it, and start the command again"):
        decision(tmp_path, 100).made(never)


# --- an extraction ---------------------------------------------------------------------------------------------------


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The encoders that were compiled; a compiled one differs from the plain one, and more than in its last bits."""
    seen = []

    def compile_otherwise(model: Any, **_: Any) -> Any:
        seen.append(model)
        return lambda images: model(images) * 1.5

    monkeypatch.setattr(torch, "compile", compile_otherwise)
    monkeypatch.setattr(choice, "LEAST_BATCHES", 1)
    return seen


def killed_after(write: Callable[..., None]) -> Callable[..., None]:
    def write_and_die(*given: Any) -> None:
        write(*given)
        raise KeyboardInterrupt

    return write_and_die


def test_plain_parts_of_a_start_before_are_kept(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, compiler: list[Any],
) -> None:  # fmt: skip
    index = pack(tiny_shapes, tmp_path / "shards", count=30)
    given = tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", killed_after(Parts.write))
        with pytest.raises(KeyboardInterrupt):
            extract_features(*given, ExtractSettings(batch_size=4, compile="off"))
    (part,) = (tmp_path / "out" / "parts").glob("*.safetensors")
    monkeypatch.setattr(choice, "may_pay", lambda *_: True)
    monkeypatch.setattr(encoder, "choose", never)
    written, write = [], Parts.write

    def note(parts: Parts, shard: Shard, *rest: Any) -> None:
        written.append(shard.file)
        write(parts, shard, *rest)

    monkeypatch.setattr(Parts, "write", note)
    manifest = extract_features(*given, ExtractSettings(batch_size=4))
    assert manifest.compute is not None
    assert not manifest.compute.compiled
    assert len(written) == len(index.shards) - 1
    assert not any(Path(file).stem in part.name for file in written)


def test_no_batch_is_larger_than_the_largest_shard(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, compiler: list[Any],
) -> None:  # fmt: skip
    index = pack(tiny_shapes, tmp_path / "shards", count=30)
    largest = max(shard.count for shard in index.shards)
    sizes: list[int] = []

    def compile_and_note(model: Any, **_: Any) -> Any:
        def encode(images: Any) -> Any:
            sizes.append(len(images))
            return model(images)

        return encode

    monkeypatch.setattr(torch, "compile", compile_and_note)
    settings = ExtractSettings(batch_size=1000, compile="on")
    given = tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator
    manifest = extract_features(*given, settings)
    assert manifest.compute is not None
    assert manifest.compute.batch_size == largest == max(sizes)


@pytest.mark.parametrize("faster", [True, False])
def test_a_killed_extraction_goes_on_as_it_was_decided_and_mixes_nothing(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, compiler: list[Any], faster: bool,
) -> None:  # fmt: skip
    index = pack(tiny_shapes, tmp_path / "shards", count=30)

    def extract(name: str, compile: Compile = "auto") -> Manifest:
        settings = ExtractSettings(batch_size=4, compile=compile)
        return extract_features(tiny_backbone, tmp_path / "shards", index, tmp_path / name, accelerator, settings)

    monkeypatch.setattr(choice, "may_pay", lambda *_: True)
    monkeypatch.setattr(choice, "is_faster", lambda *_: faster)
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", killed_after(Parts.write))
        with pytest.raises(KeyboardInterrupt):
            extract("out")
    assert len(list((tmp_path / "out" / "parts").glob("*.safetensors"))) == 1
    monkeypatch.setattr(encoder, "choose", never)  # the restart measures nothing
    manifest = extract("out")
    assert manifest.compute is not None
    assert manifest.choice is not None
    assert manifest.compute.compiled == manifest.choice.compiled == faster
    assert len(compiler) == 1 + faster  # the one that was measured, and that of the restart
    extract("undisturbed", compile="on" if faster else "off")
    resumed, undisturbed = (read_features(tmp_path / name).features for name in ("out", "undisturbed"))
    np.testing.assert_array_equal(resumed, undisturbed)


def test_where_a_compiled_table_was_begun_and_the_compiler_is_gone_the_start_is_refused(
    tiny_shapes: Path, tiny_backbone: Backbone, accelerator: Accelerator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, compiler: list[Any],
) -> None:  # fmt: skip
    index = pack(tiny_shapes, tmp_path / "shards", count=10)
    given = tiny_backbone, tmp_path / "shards", index, tmp_path / "out", accelerator
    monkeypatch.setattr(Decision, "made", lambda *_: Choice(compiled=True, batches=100))
    monkeypatch.setattr(encoder, "compiled_encoder", lambda *_: None)
    with pytest.raises(ValueError, match=r"begun with a compiled encoder.*--compile off makes all of it anew"):
        extract_features(*given)
