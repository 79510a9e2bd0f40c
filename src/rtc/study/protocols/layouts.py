"""The layouts of the reports of tail_v1, the published delay curve and RSD."""

from collections.abc import Collection, Mapping, Sequence

from rtc.study.layout import VERDICT, Section

DELAY_METRICS = (
    "d_p50",
    "d_p95",
    "d_p99",
    "p_violate",
    "p_starve_condition",
    "p_late",
    "mean_planned_delay",
    "starved_fraction",
    "mean_execute_horizon",
    "age_p50",
    "age_p99",
    "flow_evals_per_tick",
)
OUTCOME_METRICS = (
    "returned_episode_solved",
    "returned_episode_returns",
    "returned_episode_lengths",
    "rms_ddelta_action",
    "max_delta_action",
    "max_ddelta_action",
)
_TAIL_V1 = (
    Section("verdict"),
    Section("seeds"),
    Section("costs", heading="Delay and starvation", text="Means over seeds.", metrics=DELAY_METRICS),
    Section("differences"),
    Section("margins"),
    Section("figures", heading="Figures"),
    Section("protocol"),
    Section("provenance"),
    Section("metrics", metrics=(*OUTCOME_METRICS, *DELAY_METRICS)),
    Section("cautions"),
)
_CURVE_TEXT = """\
Every query takes d control ticks, the controller knows d, and s actions are executed per query. Solve rates in percent;
brackets hold 95 % intervals: Wilson's for a level and, at the effective number of episodes, for means over levels;
score intervals for paired differences (all methods meet the same episodes). `published`: arXiv 2509.23224, table 4,
with other, larger policies; of VLASH arXiv 2512.01031, where the simulator predicts the robot (1024 episodes)."""
_SYSTEMS = (
    "s = {horizon}; methods plan with the largest of the last ten delays. `_prefix`: told which actions are committed; "
    "`_shuffled`: delays drawn independently from the pooled law of the delays of `exact`."
)
_SYSTEM_METRICS = ("mean_delay", "d_p95", "mean_planned_delay", "p_late", "starved_fraction", "mean_flow_steps")
_CURVE_COSTS = ("flow_evals_per_tick", "query_multiplications", "multiplications_per_tick", "starved_fraction")
_OUTCOMES = ("returned_episode_returns", "rms_ddelta_action")


def tail_v1(arms: Collection[tuple[str, str]]) -> tuple[Section, ...]:
    """The layout of tail_v1; a part of its arms has no verdict."""
    judged = set(VERDICT).issubset(arms)
    return tuple(section for section in _TAIL_V1 if judged or section.kind != "verdict")


def curve(
    profiles: Sequence[str], grid: Sequence[str] = (), grid_methods: Sequence[str] = (), divided: bool = False
) -> tuple[Section, ...]:
    """The layout of the published delay curve.

    Args:
        profiles: names of the delays on the curve, s = max(d, 1).
        grid: names of all delays and execute horizons.
        grid_methods: methods that were evaluated at all of them.
        divided: the loss can be divided into parts.
    """
    sections = [
        Section("text", text=_CURVE_TEXT),
        Section("curve", heading="Mean over the levels", profiles=tuple(profiles), figures=("solve_rate",)),
        Section("comparisons"),
        Section("costs", profiles=tuple(profiles), metrics=_CURVE_COSTS, figures=("compute",)),
        Section("level_rates", profiles=tuple(profiles)),
    ]
    if divided:
        sections.insert(3, Section("losses", profiles=tuple(profiles), figures=("losses",)))
    if grid_methods:
        sections.append(
            Section("curve", "All d and s", profiles=tuple(grid), methods=tuple(grid_methods), figures=("grid",))
        )
    return tuple(sections)


def rsd(text: str, horizons: tuple[int, int], timings: Mapping[str, str], training: str) -> tuple[Section, ...]:
    """The layout of RSD.

    Args:
        text: episodes and seeds, in a sentence.
        horizons: s without delay and in the closed loop, in ticks.
        timings: profiles of the closed loop -> where their times come from.
        training: how the policies were trained.
    """
    episodes = f"s = {horizons[0]}; {text}"
    sections = [
        Section(
            "outcomes",
            heading="How many layers matter",
            text=f"Tokens of `blocks`, of which only the leading layers are decoded. {episodes}",
            profiles=("depth",),
            metrics=_OUTCOMES,
            figures=("layers",),
        ),
        Section(
            "outcomes",
            heading="Ways to decode, without delay",
            text=episodes,
            profiles=("no_delay",),
            metrics=_OUTCOMES,
        ),
        Section("passes", text="Of the main model.", profiles=("no_delay",)),
        Section("comparisons", heading="Differences", text="Paired by episode.", profiles=("no_delay",)),
    ]
    for profile, timing in timings.items():
        heading, where = f"Closed loop, times {profile}", {"profiles": (profile,)}
        systems = _SYSTEMS.format(horizon=horizons[1])
        sections += [
            Section("outcomes", heading=heading, text=f"{timing} {systems}", metrics=_OUTCOMES, **where),
            Section(
                "costs",
                heading=f"{heading}: delays",
                text="Means over the levels.",
                metrics=_SYSTEM_METRICS,
                **where,
            ),
            Section("comparisons", heading=f"{heading}: differences", text="Paired by episode.", **where),
        ]
    return (*sections, Section("text", heading="How the policies were trained", text=training))
