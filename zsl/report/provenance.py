"""Where the numbers of a run come from, as pairs of words; and the audit of the run."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, get_type_hints

import msgspec

from zsl.audit.audit import AUDIT_FILE, VERSION, audit
from zsl.audit.findings import SEVERITIES, Finding
from zsl.common.files import read_json, read_object, write_json
from zsl.common.records import read_record
from zsl.datasets.split_file import read_split_file
from zsl.experiments.reads import ACCESS_FILE
from zsl.report.context import Context
from zsl.report.runs import ReportRun
from zsl.report.tables import PRETRAINING

OWN_AUDIT = "cache/audit"  # below the run's figures
REMEDY = "make the audit anew with scripts/audit.py"
UNKNOWN = "not recorded"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Audit:
    """The verdict of an audit with its findings, or why there is no audit."""

    verdict: str
    findings: tuple[Finding, ...] = ()  # the gravest first


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Number of findings of each severity."""

    fail: int = 0
    warn: int = 0
    ok: int = 0


@dataclass(frozen=True, kw_only=True)
class AuditContent:
    """The part of `audit.json` that the report shows."""

    benchmark: str
    counts: Counts
    findings: tuple[Finding, ...]


def facts(run: ReportRun, context: Context) -> list[tuple[str, str]]:
    """(name, value) of all that the numbers depend on."""
    r = run.results
    features = r.features
    hashes = context.table.manifest.source.hashes_text if context.table else "features not at hand"
    rows, classes = r.rows, r.classes
    return [
        ("benchmark", r.benchmark),
        ("photos", r.data),
        ("splits", r.splits),
        ("split hashes", hashes),
        ("rows", ", ".join(f"{part.removesuffix('_loc')} {number:,}" for part, number in rows.items())),
        ("classes", ", ".join(f"{number} {part}" for part, number in classes.items())),
        ("class attributes", r.attributes),
        ("side information", r.side_information),
        ("backbone", r.backbone),
        ("its pretraining", r.pretraining),
        (PRETRAINING, _seen_before(r.unseen_classes)),
        ("weights sha256", str(features.weights_sha256)),
        ("shards sha256", str(features.shards_sha256)),
        ("features", f"{features.count:,} x {features.dim}, precision {features.precision}"),
        ("method", f"{r.method}, {r.form}" if r.form else r.method),
        ("protocol", r.protocol),
        ("γ", f"{r.gamma.value:.4g} ({r.gamma.source})"),
        ("inductive", "yes: no training loss saw an unseen class's attributes" if r.inductive
         else "no: a training loss saw unseen classes' attributes"),
        ("seeds", ", ".join(str(entry.seed) for entry in r.seeds)),
        *_program(run),
        ("test rows opened", _opened(run)),
    ]  # fmt: skip


def _seen_before(flag: str) -> str:
    """The flag `unseen_classes` of the results with its meaning."""
    meaning = {
        "clean": "none of them is known to be among its classes",
        "synonyms": "some are among its classes under another name, or as a part",
        "probably seen": "some of them, so that they were not unseen to the backbone",
        "unknown": "it is not known what the backbone was trained on",
    }
    return f"{flag}: {meaning[flag]}" if flag in meaning else flag


def _program(run: ReportRun) -> list[tuple[str, str]]:
    """(name, value) of the command, the code and the machine of the run's last start."""
    if not run.starts:
        return [("command, commit, versions", UNKNOWN), ("time", _time_of(run))]
    last = read_start(run.starts[-1])
    versions = ", ".join(f"{name} {version}" for name, version in last.versions.items() if version)
    return [
        ("command", last.command),
        ("commit", last.commit or "not a git checkout"),
        ("versions", f"Python {last.python}, {versions}"),
        ("machine", last.machine),
        ("time", f"{last.time} (command started {_times(len(run.starts))})"),
    ]


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a line of `starts.jsonl` says of the program; a line of another version may say less."""

    time: str = UNKNOWN
    command: str = UNKNOWN
    commit: str | None = UNKNOWN
    python: str = UNKNOWN
    versions: dict[str, str | None] = field(default_factory=dict)  # of packages
    machine: str = UNKNOWN


def read_start(entry: dict[str, Any]) -> Start:
    """What the `entry` of a start says, as far as it has the types that this version writes."""
    types = get_type_hints(Start)
    known = {}
    for name in types.keys() & entry.keys():
        with suppress(msgspec.ValidationError):
            known[name] = msgspec.convert(entry[name], types[name])
    return Start(**known)


def _time_of(run: ReportRun) -> str:
    times = [str(entry["time"]) for entry in run.accesses if "purpose" not in entry and "time" in entry]
    return f"last tested {times[-1][:19]} UTC" if times else UNKNOWN


def _opened(run: ReportRun) -> str:
    """How often test rows were opened, and what for."""
    if not run.accesses:
        return f"no {ACCESS_FILE} in the run folder"
    shown = sum("purpose" in entry for entry in run.accesses)
    seeds = len(run.results.seeds)
    tested = len(run.accesses) - shown
    again = len({str(entry.get("seed")) for entry in run.accesses if "purpose" not in entry}) < tested
    extra = " (a seed was tested more than once)" if again and run.honest else ""
    return f"{_times(tested)} for scores of {seeds} seeds{extra}, {_times(shown)} for figures, which choose nothing"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def reads(run: ReportRun) -> list[tuple[str, str]]:
    """(stage, rows in words) for each stage of training."""
    return [(stage, f"{entry.count:,} rows, hash {entry.hash}") for stage, entry in run.results.rows_read.items()]


def find_audit(run: ReportRun, context: Context, file: Path | None, folder: Path) -> Audit:
    """The audit in `file`; None makes one, which is kept below `folder` as long as run and data are the same.

    Raises:
        FileNotFoundError: `file` is not there.
        ValueError: it is no audit of this benchmark.
    """
    if file is not None:
        return _read_file(file, run)
    if context.table is None:
        return Audit("not made: the features are not at hand")
    out = folder / OWN_AUDIT
    inputs = {
        "audit": VERSION,
        "config": read_object(run.folder / "config.json"),
        "results": run.folder.joinpath("results.json").stat().st_mtime,
        "shards": None if context.index is None else context.index.sha256,
        "table": context.table.manifest.as_json,
        "splits": list(read_split_file(context.data / context.benchmark / "splits").hashes),
    }
    key = json.loads(json.dumps(inputs))  # as the file will have it
    if not (out / AUDIT_FILE).is_file() or not _is_audit_of(out, key):
        log.info("auditing %s", run.folder)
        audit(context.benchmark, context.data, out, tables=list(context.table_folders), run=run.folder)
        write_json(out / "of.json", key)
    return _verdict(read_record(out / AUDIT_FILE, AuditContent, REMEDY))


def _is_audit_of(out: Path, key: Any) -> bool:
    """Whether the audit in `out` was made of these inputs; one whose inputs cannot be read was not."""
    try:
        return bool(read_json(out / "of.json") == key)
    except (FileNotFoundError, ValueError):
        return False


def _read_file(path: Path, run: ReportRun) -> Audit:
    if not path.is_file():
        raise FileNotFoundError(f"no audit {path}; scripts/audit.py --run {quote(str(run.folder))} makes one")
    content = read_record(path, AuditContent, REMEDY)
    if content.benchmark != run.results.benchmark:
        raise ValueError(f"{path} is an audit of {content.benchmark}, the run is on {run.results.benchmark}")
    return _verdict(content)


def _verdict(content: AuditContent) -> Audit:
    """The Audit that the content of an `audit.json` amounts to."""
    counts = content.counts
    words = "NOT CLEAN" if counts.fail else "clean, with warnings" if counts.warn else "clean"
    warnings = "1 warning" if counts.warn == 1 else f"{counts.warn} warnings"
    verdict = f"{words}: {counts.fail} failed, {warnings}, {counts.ok} passed"
    findings = sorted(content.findings, key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(verdict, tuple(findings))
