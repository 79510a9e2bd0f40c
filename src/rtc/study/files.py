"""Studies written as TOML files: delay profiles times methods, and what is compared.

    name = "hedging"
    title = "Does hedging help?"
    levels = ["grasp_easy", "catapult"]
    num_evals = 1024                  # episodes per arm, level and seed
    seeds = [0, 1]

    [profiles.long_tail]              # a named profile
    [profiles.hedged]                 # another one, with some fields of DelayProfileConfig changed
    base = "long_tail"
    hedge = 2

    [defaults]                        # fields of EvalConfig for all methods
    execution = { execute_horizon = 2 }

    [methods.realtime]                # a named method
    [methods.soft]                    # one with fields of EvalConfig of its own
    method = "realtime"
    method_options = { max_guidance_weight = 2.0 }
    estimator = { kind = "quantile", q = 0.9 }

    [[comparisons]]
    candidate = ["hedged", "soft"]
    reference = ["long_tail", "realtime"]

A method may also name the run of its policies (`run_path`).
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtc import methods
from rtc.delay import profiles as delays
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.shared import toml
from rtc.shared.validation import require_choice, unknown
from rtc.study.study import DELAY_LEVELS, EPISODES, Arm, Comparison, Study, arm, starting_at_median
from rtc.worlds.kinetix.levels import LEVEL_NAMES

_ELSEWHERE = {
    "delay_profile": "belongs to the tables [profiles.<name>]",
    "num_evals": "is one number for the whole study, at the top",
    "num_slots": "is given on the command line, --num-slots",
    "model": "comes with the policy; leave it out",
    "step": "is the last one; leave it out",
}
_TEXTS = ("name", "title", "title_zh", "question", "question_zh", "primary")
_KEYS = (*_TEXTS, "num_evals", "seeds", "levels", "defaults", "profiles", "methods", "comparisons")


def read(path: str | Path) -> Study:
    """The study of a file.

    Raises:
        ValueError: the file cannot be read, lacks something, or names what does not exist; the message says where.
    """
    tables = toml.read(path)
    for key in tables:
        if key not in _KEYS:
            raise unknown(f"{path}: key", key, _KEYS)
    for key in ("profiles", "methods"):
        if not tables.get(key):
            raise ValueError(f"{path} has no tables [{key}.<name>]: give at least one")
    name = tables.get("name", Path(path).stem)
    texts = {"title": name, "title_zh": tables.get("title", name), "question": "", "question_zh": ""}
    texts |= {key: tables[key] for key in _TEXTS if key in tables}
    for level in tables.get("levels", ()):
        require_choice(f"{path}: levels entry", level, LEVEL_NAMES)
    defaults = tables.get("defaults", {})
    profiles = {name: _profile(name, table, f"{path}, profiles.{name}") for name, table in tables["profiles"].items()}
    return Study(
        **texts | {"name": name},
        arms=tuple(
            _arm(profile, config, label, defaults, table, str(path))
            for label, table in tables["methods"].items()
            for profile, config in profiles.items()
        ),
        comparisons=tuple(_comparison(entry, str(path)) for entry in tables.get("comparisons", ())),
        levels=tuple(tables.get("levels", DELAY_LEVELS)),
        num_evals=tables.get("num_evals", EPISODES),
        seeds=tuple(tables.get("seeds", (0,))),
    )


def _profile(name: str, table: Mapping[str, Any], where: str) -> DelayProfileConfig:
    changes = dict(table)
    named = name if name in delays.PROFILES and "mode" not in changes else None
    base = changes.pop("base", named)
    return toml.fill(DelayProfileConfig() if base is None else delays.profile(base), changes, where)


def _arm(
    profile: str,
    delay: DelayProfileConfig,
    label: str,
    defaults: Mapping[str, Any],
    table: Mapping[str, Any],
    path: str,
) -> Arm:
    changes = dict(table)
    run_path, method = changes.pop("run_path", None), changes.pop("method", label)
    require_choice(f"{path}, methods.{label}: method", method, methods.METHODS)
    config = arm(profile, method, delay=delay, estimator=EstimatorConfig()).config
    for where, values in ((f"{path}, defaults", defaults), (f"{path}, methods.{label}", changes)):
        for name, place in _ELSEWHERE.items():
            if name in values:
                raise ValueError(f"{where}: {name} {place}")
        config = toml.fill(config, values, where)
    if config.estimator.initial is None:
        config = dataclasses.replace(config, estimator=starting_at_median(delay, config.estimator))
    return Arm(profile, label, config, run_path)


def _comparison(entry: Mapping[str, Any], where: str) -> Comparison:
    try:
        candidate, reference = (tuple(entry[name]) for name in ("candidate", "reference"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{where}: a comparison needs candidate and reference, each [profile, method]") from error
    return Comparison(candidate, reference)
