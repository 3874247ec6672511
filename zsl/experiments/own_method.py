"""The user's own methods: `path/to/file.py:NAME`, an object of the same type as the built-in methods.

Nothing else loads code from a file.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import logging
import re
import sys
import traceback
from dataclasses import asdict, is_dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from torch import Tensor

from zsl.common.config import override
from zsl.common.memory import is_lack_of_memory
from zsl.common.room import make_room
from zsl.features.split import TrainSplit
from zsl.scores.model import OWN_MODULE, broken_at
from zsl.training.journal import StepsBehind
from zsl.training.log import Log
from zsl.training.method import Goal, Method, Step

log = logging.getLogger(__name__)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # the name of a method, which also names folders


def is_own_method(text: str) -> bool:
    """Whether the word after `--method` names a file instead of a built-in method."""
    file, colon, _ = text.rpartition(":")
    return bool(colon) and file.endswith(".py")


def load_own_method(text: str, reserved: tuple[str, ...]) -> Method:
    """Run the code of the file in `path/to/file.py:NAME`, and return its method `NAME`.

    reserved: names of built-in methods, of groups and of rows of tables, which the method may not have.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file does not import, has no such name, or the object breaks the contract of a Method; the
            message names file and line.
    """
    file, _, attribute = text.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; --method FILE.py:NAME names a Python file and a Method in it")
    module = _load(path)
    if not hasattr(module, attribute):
        others = [name for name, value in vars(module).items() if isinstance(value, Method)]
        raise ValueError(
            f"{path} has no {attribute!r}; its methods are {', '.join(others) or 'none'}: docs/own-method.md"
        )
    method = getattr(module, attribute)
    _check(method, reserved, f"{path}:{_line_of(path, attribute)}: {attribute}")
    version = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(method, steps=_own_steps(method, module, path), version=version, source=text)


def _load(path: Path) -> ModuleType:
    """Import a file as a module, once.  A file with another path or content is another module and shares no steps."""
    name = f"{OWN_MODULE}{hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:12]}"
    if name in sys.modules:  # its classes stay the same, so that another process finds those of a configuration
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for their annotations here
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's file can raise any error
        del sys.modules[name]
        raise ValueError(f"{path}:{_line_of_error(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _own_steps(method: Method, module: ModuleType, path: Path) -> tuple[Step, ...]:
    """Return the steps with names that no step of another file, method or place has, each of which runs by `_run`."""
    return tuple(
        replace(step, name=f"{module.__name__}: {method.name}, {number} {step.name}", run=partial(_run, path, step))
        for number, step in enumerate(method.steps, 1)
    )


def _run(path: Path, step: Step, train: TrainSplit, before: Any, config: Any, seed: int, log: Log) -> Any:
    """Run a step of the user's file on copies of all that it is given, and name the line of an error.

    Other seeds, configurations and methods are given the same data, and other configurations the same result of the
    step before.  So what the file changes in them stays its own.

    Raises:
        BrokenMethod: the code raises an error that the program has no words for.
    """
    copies = {name: getattr(train, name).clone() for name in ("labels", "attributes", "seen", "unseen", "rows")}
    before, config = _copy_result(before, f"{path}: step {step.name!r}"), copy.deepcopy(config)
    try:
        return step.run(replace(train, features=_copy(train.features), **copies), before, config, seed, log)
    except (OSError, FloatingPointError, StepsBehind):
        raise
    except Exception as error:  # the user's file can raise any error
        if is_lack_of_memory(error):
            raise
        raise broken_at(f"{path}:{_line_of_error(error, path)}", error) from error


def _copy(features: Tensor) -> Tensor:
    """Copy features [N, D], which may be larger than memory."""
    return features.clone() if features.is_cuda else make_room(*features.shape).copy_(features)


def _copy_result(result: Any, step: str) -> Any:
    """Copy the result of the step before; one that cannot be copied is returned itself, and a warning says so."""
    try:
        return copy.deepcopy(result)
    except Exception as error:  # any object can be in it, such as a tensor with a graph
        if is_lack_of_memory(error):
            raise
        reason = str(error).partition(".")[0]
        _warn(f"{step} gets the one result of the step before, which has no copy ({reason}): it must not change it")
        return result


@cache
def _warn(text: str) -> None:
    """Give a warning once."""
    log.warning(text)


def _line_of_error(error: Exception, path: Path) -> int:
    def is_own(file: str | None) -> bool:
        return file is not None and Path(file).resolve() == path.resolve()

    if isinstance(error, SyntaxError) and is_own(error.filename):
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if is_own(frame.filename)]
    return (lines[-1] if lines else None) or 1


def _line_of(path: Path, attribute: str) -> int:
    pattern = re.compile(rf"{re.escape(attribute)}\b\s*[:=]|(def|class)\s+{re.escape(attribute)}\b")
    lines = path.read_text().splitlines()
    return next((number for number, line in enumerate(lines, start=1) if pattern.match(line)), 1)


def _check(method: Any, reserved: tuple[str, ...], where: str) -> None:
    """Check the contract of a Method as far as possible without training."""
    if not isinstance(method, Method):
        raise ValueError(f"{where} is a {type(method).__name__}; it should be a zsl.training.method.Method")
    if not isinstance(method.name, str) or not NAME.fullmatch(method.name):
        raise ValueError(f"{where} has the name {method.name!r}; letters, digits and . _ + - make a name")
    if method.name in reserved:
        raise ValueError(f"{where} has the name {method.name!r} of something built-in; give it another one")
    steps = method.steps if isinstance(method.steps, tuple) else ()
    if not steps or not all(isinstance(step, Step) and callable(step.run) for step in steps):
        raise ValueError(f"{where} has steps {method.steps!r}; one_step(train) makes those of a function")
    if not is_dataclass(method.config) or isinstance(method.config, type):
        raise ValueError(f"{where} has the config {method.config!r}; it should be an instance of a frozen dataclass")
    try:
        json.dumps(asdict(method.config))
    except TypeError as error:
        raise ValueError(f"{where}: its config cannot be written as JSON, as each run does: {error}") from error
    for step in steps:
        for what, part in (("part", step.part), ("resumes", step.resumes)):
            _check_part(part, method.config, f"{where}: {what} of its step {step.name!r}")
    if method.goal not in get_args(Goal):
        raise ValueError(f"{where} has the goal {method.goal!r}; it should be {' or '.join(get_args(Goal))}")
    for ability in ("transductive", "looks", "epochs", "oracle", "keep"):
        value = getattr(method, ability)
        if not callable(value) and (value is not None or ability == "transductive"):
            or_none = " or None" * (ability != "transductive")
            raise ValueError(f"{where}: {ability} is {value!r}; it should be a function{or_none}")
    try:
        method.configured(method.config)
        for overrides in (overrides for trials in method.rounds for overrides in trials):
            override(method.config, overrides)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: its rounds or settings do not fit its config: {error}") from error


def _check_part(part: Any, config: Any, where: str) -> None:
    """Check that a step's part of the configuration is one that a result can be known by."""
    try:
        json.dumps(None if part is None else asdict(part(config)))
    except Exception as error:  # the user's function can raise any error
        raise ValueError(f"{where} should give a configuration, such as replace(config, …): {error}") from error
