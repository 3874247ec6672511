"""The pages: a report of a run and a comparison of runs, each one file that needs no network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from zsl.common.files import write_text
from zsl.experiments.results import TABLE
from zsl.report import tables
from zsl.report.context import Context, find_context
from zsl.report.figures import FIGURES_FOLDER, classes_plot, confusion_plot, curve_plot, curves_plot
from zsl.report.gallery import CLASSES, make_gallery
from zsl.report.paper_figures import paper_figures, why_not
from zsl.report.provenance import facts, find_audit, reads
from zsl.report.ranking import run_ranking
from zsl.report.runs import ReportRun, read_report_run

REPORT_FILE, COMPARISON_FILE = "report.html", "comparison.html"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The inputs of a report beside the run folder."""

    data: Path = Path("data")
    features: Path | None = None  # folder of the feature table; None: the backbone's below `data`
    attribute_names: Path | None = None  # a file of names; None: one below `data`
    audit: bool = True  # audit the run
    audit_file: Path | None = None  # an audit that was made before; None: make one
    paper_figures: bool = False  # train what Figures 7 to 9 need


def write_report(run: ReportRun, companions: Sequence[ReportRun], options: Options) -> Path:
    """Write `report.html` and `figures/` into the run's folder; `companions` are runs to show beside it.

    Raises:
        FileNotFoundError: a file of `options` is not there.
        ValueError: a file of `options`, or the features below its `data`, do not fit the run.
    """
    context = find_context(run, options.data, features=options.features, attribute_names=options.attribute_names)
    folder = run.folder / FIGURES_FOLDER
    cards, gallery_notes = make_gallery(run, context)
    no_paper = why_not(run, context)
    paper = paper_figures(run, context, folder) if options.paper_figures and no_paper is None else None
    verdict = find_audit(run, context, options.audit_file, folder) if options.audit or options.audit_file else None
    companions = [other for other in companions if other.results.benchmark == run.results.benchmark]
    compared = companions if len(companions) < tables.ALL_PAIRS else []  # of more runs the comparison page says it
    differences, incomparable = tables.difference_table(compared, run)
    run = read_report_run(run.folder)  # the figures have opened test rows since
    page = _environment().get_template("report.html").render(
        run=run, headline=headline(run), notes=[*run.notes, *context.notes],
        gallery_of=_gallery_of(run), seeds=tables.seed_table(run),
        beside=tables.run_table([run, *companions], run) if companions else None,
        differences=differences, incomparable=incomparable, paper_rows=tables.paper_table(run, companions),
        answers=_answers(run, context, folder), paper=paper, no_paper=no_paper or _ASK_FOR_PAPER_FIGURES,
        cards=cards, gallery_notes=gallery_notes,
        cards_speak=any(answer.speaks_for or answer.speaks_against for card in cards for answer in card.answers),
        facts=facts(run, context), reads=reads(run), audit=verdict,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )  # fmt: skip
    write_text(run.folder / REPORT_FILE, page)
    return run.folder / REPORT_FILE


_ASK_FOR_PAPER_FIGURES = "Not drawn: they need networks that a run does not keep. --paper-figures trains those again."


def write_comparison(runs: Sequence[ReportRun], out: Path) -> Path:
    """Write the page that compares `runs` to the file `out`, and its figures beside it.

    Raises:
        ValueError: the runs are of several benchmarks.
    """
    names = {run.results.benchmark for run in runs}
    if len(names) > 1:
        raise ValueError(f"the runs are on {', '.join(sorted(names))}; a comparison is of runs on one benchmark")
    with_answers = [run for run in runs if run.details]
    folder = out.parent / f"{out.stem}-figures"
    curves = curves_plot(with_answers, folder) if with_answers else None
    differences, incomparable = tables.difference_table(runs)
    paper = tables.paper_table(runs[0], runs[1:])
    page = _environment().get_template("comparison.html").render(
        benchmark=names.pop(), runs=runs, scores=tables.run_table(runs), curves=curves, differences=differences,
        incomparable=incomparable, ranking=run_ranking(with_answers, folder), paper_rows=paper,
        photos=sorted({run.results.data for run in runs}),
        notes=[f"{run.name}: {note}" for run in runs for note in run.notes], first_seeds=_first_seeds(runs),
        links={run.name: _link(run.folder / REPORT_FILE, out.parent) for run in runs},
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )  # fmt: skip
    write_text(out, page)
    return out


def headline(run: ReportRun) -> list[dict[str, str]]:
    """The five scores at the top of the page, each with its standard deviation and what it means."""
    meaning = {
        "T1": "unseen images, unseen classes to choose from",
        "U": "unseen images, all classes to choose from",
        "S": "test images of seen classes, all classes to choose from",
        "H": "harmonic mean of U and S",
        "AUSUC": "area under the seen–unseen curve",
    }
    mean, std = run.results.mean, run.results.std
    return [
        {
            "name": name,
            "mean": f"{100 * mean[key]:.1f}",
            "std": f"± {100 * std[key]:.1f}" if run.spreads else tables.NO_SPREAD,
            "said": meaning[name],
        }
        for name, key in TABLE.items()
    ]


def _gallery_of(run: ReportRun) -> str:
    """The classes that the gallery shows, in words."""
    count = 0 if run.first is None else len(run.first.unseen_labels.unique())
    return f"each of the first {CLASSES} of {count} unseen classes" if count > CLASSES else "each unseen class"


def _answers(run: ReportRun, context: Context, folder: Path) -> dict[str, Any] | None:
    """All figures and tables of the answers that the run kept; None where it kept none."""
    if run.first is None:
        return None
    return {
        "curve": curve_plot(run, folder),
        "unseen": classes_plot(run, "unseen", context, folder),
        "seen": classes_plot(run, "seen", context, folder),
        "classes": tables.class_table(run.first, context),
        "confusion": confusion_plot(run, folder),
        "astray": tables.astray_table(run.first, context),
    }


def _first_seeds(runs: Sequence[ReportRun]) -> str:
    """The seeds whose curves the comparison shows, in words."""
    return ", ".join(sorted({str(run.first_seed) for run in runs}))


def _link(target: Path, start: Path) -> str | None:
    """A relative link from the folder `start` to `target`; None where `target` is no file."""
    if not target.is_file():
        return None
    return Path(os.path.relpath(target, start)).as_posix()  # pathlib walks up from Python 3.12 on


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("zsl.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
