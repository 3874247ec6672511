"""The precision in accelerate_config.yaml."""

from pathlib import Path

import pytest

from zsl.common.compute import CONFIG_FILE, make_accelerator


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the file in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    return tmp_path / CONFIG_FILE


@pytest.mark.parametrize(
    ("text", "precision"),
    [("no", "no"), ("'no'", "no"), ("", "no"), ("off", "no"), ("BF16", "bf16"), ("bf16", "bf16"), ("FP16", "fp16")],
)
def test_a_precision_is_read_however_yaml_spells_it(
    config: Path, monkeypatch: pytest.MonkeyPatch, text: str, precision: str
) -> None:
    config.write_text(f"mixed_precision: {text}\n")
    asked: list[str] = []

    def is_native(precision: str, use_cpu: bool) -> bool:
        asked.append(precision)
        return False

    monkeypatch.setattr("zsl.common.compute._is_native", is_native)
    assert make_accelerator().mixed_precision == "no"
    assert asked == [precision]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"mixed_precision: fp8\n", "mixed_precision is 'fp8'; it is one of no, bf16, fp16"),
        (b"mixed_precision: yes\n", "mixed_precision is True"),
        (b"mixed_precision: [bf16\n", "is no YAML"),
        (b"\xff\xfe\xff", "is no YAML"),
        (b"- bf16\n", "holds a list, not a mapping"),
        (b"bf16\n", "holds a str, not a mapping"),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(config: Path, content: bytes, message: str) -> None:
    config.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{CONFIG_FILE}.*{message}"):
        make_accelerator()
