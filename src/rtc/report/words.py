"""What the reports of studies say, in English and Chinese."""

from collections.abc import Mapping
from types import MappingProxyType

HEADINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "lead": ("Question", "问题"),
        "question": ("How it was asked", "如何研究"),
        "verdict": ("Verdict", "结论"),
        "comparisons": ("Comparisons", "比较"),
        "differences": ("Paired differences", "成对差值"),
        "effects": ("Effects of factors", "各因素的效应"),
        "aggregates": ("Over training seeds", "跨训练种子"),
        "curve": ("Delay by delay", "逐延迟"),
        "discussion": ("Discussion", "讨论"),
        "figures": ("Figures", "图"),
        "data": ("Data", "数据"),
        "arms": ("All arms", "全部条件"),
        "seeds": ("Results", "结果"),
        "costs": ("Costs and side effects", "代价与副作用"),
        "outcomes": ("Outcomes", "结果"),
        "levels": ("Level by level", "逐关卡"),
        "margins": ("Within a margin", "容差之内"),
        "losses": ("Where the loss comes from", "损失来自何处"),
        "regret": ("What estimating costs", "估计的代价"),
        "level_rates": ("Level by level", "逐关卡"),
        "modes": ("Which answer", "选了哪个答案"),
        "passes": ("Passes per query", "每次查询的前向次数"),
        "protocol": ("Protocol", "协议"),
        "provenance": ("Provenance", "来源"),
        "metrics": ("Metrics", "指标"),
        "cautions": ("Cautions", "注意"),
        "text": ("", ""),
    }
)
TEXTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "unanswered": ("No answer has been written yet.", "尚未写下回答。"),
        "no_timeline": (
            "The timeline is left out: no episode trace was recorded.",
            "时间线从略：没有逐步记录的回合。",
        ),
        "primary": ("Primary metric: {metric}{fixed}.", "主要指标：{metric}{fixed}。"),
        "fixed": (", fixed before the study ran", "，在研究运行之前确定"),
        "count": (
            " Comparisons: {count}; p values are corrected for their number (Holm).",
            "共 {count} 个比较；p 值按其数量校正（Holm）。",
        ),
        "families": (
            " Comparisons: {count}, in {families} families; p values are corrected for the number in a family (Holm).",
            "共 {count} 个比较，分为 {families} 组；p 值按组内数量校正（Holm）。",
        ),
        "unfit": (
            "**No conclusion:** without delay nothing solves {levels}, so failures there say nothing about delay.",
            "**不能下结论：** 无延迟时没有任何方法能解决 {levels}，因此那里的失败与延迟无关。",
        ),
        "missing": (
            "**Incomplete:** {missing} of {total} arms × levels have no finished cells (the first: {first}: {why}).",
            "**不完整：** {total} 个条件 × 关卡中有 {missing} 个没有完成的结果（第一个：{first}：{why}）。",
        ),
        "cells": (
            """\
Levels: {levels} ({names}), {episodes} episodes each. Values are means over the levels; brackets hold 95 % intervals.
All arms meet the same episodes, so differences are paired. Intervals say how far more episodes on these levels could
move a result, and nothing on other levels. "Better / worse levels" counts the levels on which the candidate is
better or worse in a sign test of its own (p < 0.05, not corrected for their number). "Extra evals/chunk" is what the
candidate passes more through the network than the reference for each chunk that arrives; where it is {least:g} or
more, the last column divides the difference by it.""",
            """\
{levels} 个关卡（{names}）的平均值，每个关卡 {episodes} 个回合；方括号内为 95 % 区间。
所有条件面对同样的回合，因此差值是成对的。区间说明在这些关卡上增加回合会使结果移动多少，不涉及其他关卡。
“better / worse levels” 统计单独符号检验（p < 0.05，未按数量校正）判定候选更好或更差的关卡数。
“extra evals/chunk” 是候选比参照每个到达的块多用的网络前向次数；若不小于 {least:g}，最后一列为差值除以它。""",
        ),
        "seeds": (
            "Level: {levels}. Mean ± standard deviation over seeds [95 % interval over all episodes: Wilson for solve "
            "rates, bootstrap else].",
            "关卡：{levels}。均值 ± 种子间标准差 [全部回合的 95 % 区间：成功率用 Wilson，其余用自助法]。",
        ),
        "baseline": (
            " The row `{profile}` is the same policy without inference delay.",
            "`{profile}` 一行是无推理延迟的同一策略。",
        ),
        "no_baseline": (" **The zero-delay baseline is missing**: {why}.", "**缺少无延迟基线**：{why}。"),
        "differences": (
            "Difference of means [95 % interval: score interval for solve rates, bootstrap else] over pairs (seed, "
            "episode), which share their random numbers; `*`: the interval excludes 0. No correction for multiple "
            "comparisons.",
            "均值之差 [95 % 区间：成功率用得分区间，其余用自助法]，配对为（种子，回合），共享随机数；`*`：区间不含 0。"
            "未做多重比较校正。",
        ),
        "losses": (
            """\
Loss against naive execution at d = 0, s = 1, means over the levels. `horizon`: naive execution without delay at the
same s. `staleness`: what planning for the state at hand-over, as the simulator tells it, gains over the method
(`foresee_simulator` less the method, negative where the method does better); from d > H/2 on, starvation is in it.
`rest`: what `foresee_simulator` loses beside the horizon: jumps between chunks, and noise. The parts add up;
losses.csv has them level by level.""",
            """\
相对于 d = 0、s = 1 的 naive 执行的损失，为各关卡的均值。`horizon`：无延迟、相同 s 的 naive 执行。
`staleness`：按模拟器给出的交接时刻状态规划相对于该方法的收益
（`foresee_simulator` 减去该方法，方法更好时为负）；d > H/2 时其中包含断供。
`rest`：`foresee_simulator` 除视界之外的损失：块间跳变与噪声。各部分相加等于总损失；losses.csv 给出每个关卡的数值。""",
        ),
        "regret": (
            """\
Regret: solve rate with the true delay of each query less that with its estimate, a quantile of the last delays (the
window, in queries), on the same episodes; negative where the estimate does better. [95 % interval over episodes].
`mean`: every profile counts alike; `largest`: of the profiles' regrets. No correction for multiple comparisons.""",
            """\
遗憾：按每次查询的真实延迟规划的成功率减去按估计规划的成功率，估计为最近若干次延迟（窗口，以查询次数计）的分位数，
回合相同；估计更好时为负。[回合的 95 % 区间]。`mean`：各分布权重相同；`largest`：各分布的遗憾中的最大值。
未做多重比较校正。""",
        ),
        "margins": (
            """\
Differences of solve rates against a margin of {margin:g} percentage points that was stated before the run. `finding`:
`equivalent` where the 90 % interval lies within the margin (two one-sided tests at 5 %), `differs` where the 95 %
interval excludes 0, else `not told apart`. `not worse`: a loss of the margin or more is excluded. `finds`: the
difference that so many episodes find with probability 0.8, from the spread of the pairs. No correction for multiple
comparisons.""",
            """\
成功率之差相对于运行前规定的 {margin:g} 个百分点容差。`finding`：90 % 区间落在容差内为 `equivalent`
（两个 5 % 单侧检验），95 % 区间不含 0 为 `differs`，否则为 `not told apart`。
`not worse`：排除了达到或超过容差的损失。`finds`：按配对的离散程度，这些回合以 0.8 的概率能发现的差值。
未做多重比较校正。""",
        ),
        "modes": (
            """\
Two answers are right. `answer 0 / 1 / none`: episodes that reached it. `answer 1`: its share among those that reached
one [95 % Wilson interval]. A movement between the answers leads to one of them where its command along the line through
both is at least half of the largest one, in the middle 40 % of the way; `switched`: share of episodes in which that
changed to the other answer once at least; `switches`: mean number of such changes [95 % bootstrap interval].""",
            """\
两个答案都正确。`answer 0 / 1 / none`：到达各答案（或都未到达）的回合数。
`answer 1`：在到达答案的回合中的占比 [95 % Wilson 区间]。
在两答案之间路程的中间 40 % 内，若指令沿两答案连线的分量至少为最大值的一半，则视为朝向其中一个答案；
`switched`：其间至少一次转向另一答案的回合占比；`switches`：平均转向次数 [95 % 自助法区间]。""",
        ),
        "unjudged": (
            "**Not judged:** {episodes} episodes of an arm on a level; at least {least} are needed to say anything.",
            "**不作判断：** 每个条件每个关卡 {episodes} 个回合；至少需要 {least} 个。",
        ),
        "sees": (
            "What methods have that naive execution has not: {methods}.",
            "各方法拥有而 naive 执行没有的：{methods}。",
        ),
        "aggregates": (
            "A seed is a policy from end to end: experts, demonstrations, cloning. 95 % intervals say how far the "
            "number could move with other episodes alone; with other episodes and training seeds on these levels (the "
            "stratified bootstrap); and with other levels, too (the hierarchical bootstrap; both wide rather than "
            "narrow with few seeds). P(improvement): that one policy of the candidate solves more than one of the "
            "reference on a level drawn at random, ties half (rliable, arXiv 2108.13264). No correction for multiple "
            "comparisons.",
            "一个种子即端到端的一个策略：专家、示范、克隆。95 % 区间分别说明数值会移动多少：只换回合；"
            "在这些关卡上换回合和训练种子（分层自助法）；以及再换关卡（层级自助法；种子少时后两者偏宽而不偏窄）。"
            "P(improvement)：在随机关卡上候选方法的一个策略比参照方法的一个策略解决更多的概率，平局计一半"
            "（rliable，arXiv 2108.13264）。未做多重比较校正。",
        ),
        "aliases": (
            " These combinations do not tell {pairs} apart.",
            "这些组合无法区分：{pairs}。",
        ),
        "effects": (
            "A main effect is the mean over the combinations with a factor's second setting less that over those with "
            "the first; an interaction, the same for combinations where two factors agree against those where they do "
            "not. [95 % interval over episodes]; `*`: the interval excludes 0. No correction for multiple comparisons. "
            "One policy per combination: what chance in training does is not in the intervals.{aliases}",
            "主效应为某因素取第二个设置的组合均值减去取第一个设置的组合均值；交互效应为两因素一致的组合减去不一致的组合。"
            "[回合的 95 % 区间]；`*`：区间不含 0。未做多重比较校正。"
            "每个组合只有一个策略：训练的随机性不在区间之内。{aliases}",
        ),
    }
)
# What a figure shows, where its axes do not say it.
_DOTS = "Marks: means with 95 % intervals; dots: levels, or seeds where there is one level; dashed: "
_DOTS_ZH = "标记：均值及 95 % 区间；小点：各关卡，只有一个关卡时为各种子；虚线："
CAPTIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "arms": (f"{_DOTS}what the comparisons are made against.", f"{_DOTS_ZH}比较的参照。"),
        "comparisons": (f"{_DOTS}no difference.", f"{_DOTS_ZH}无差异。"),
        "compute": (f"{_DOTS}what the comparisons are made against.", f"{_DOTS_ZH}比较的参照。"),
        "effects": (
            f"{_DOTS}no difference. The first row is the mean of all combinations, the others are main effects.",
            f"{_DOTS_ZH}无差异。第一行为全部组合的均值，其余为主效应。",
        ),
        "modes": (
            "Where on the line from answer to answer episodes decided, counted by what they reached; those that never "
            "decided are left out.",
            "各回合在两答案连线上作出决定的位置，按其结果计数；从未作出决定的回合不计。",
        ),
        "outcomes": (
            "Marks: means with 95 % intervals; dots: seeds; dashed: the baseline without delay. The axes do not start "
            "at zero.",
            "标记：均值及 95 % 区间；小点：各种子；虚线：无延迟基线。坐标轴不从零开始。",
        ),
        "delays": ("Sampled delays. Vermillion: longer than H − s.", "抽取的延迟。朱红：超过 H − s。"),
        "timeline": (
            "One episode: chunks, delays, age of the executed action, commanded action. Of the cell's solved episodes "
            "that starve, the one with the median number of starved ticks.",
            "一个回合：块、延迟、所执行动作的观测年龄、指令动作。取该单元中成功且断供的回合里断供步数为中位数者。",
        ),
        "grid": ("Crosses mark arms in which ticks starve.", "叉号标出有断供的条件。"),
        "losses": (
            "A panel per level; the parts add up to the loss, the dot.",
            "每个关卡一幅；各部分之和为总损失（圆点）。",
        ),
        "solve_rate": (
            "Dotted: published values; dashed: without delay. Below, every level.",
            "点线：已发表的数值；虚线：无延迟。下方为各关卡。",
        ),
        "regret": (
            "What the oracle, which knows the delay of each query, solves more; a line per window, in queries. Marks: "
            "means with 95 % intervals; dots: levels; dashed: no regret.",
            "知道每次查询延迟的 oracle 多解决的回合；每条线为一个窗口（查询次数）。标记：均值及 95 % 区间；"
            "小点：各关卡；虚线：无遗憾。",
        ),
        "layers": ("A line per level. Dashed: the flow policy.", "每条线为一个关卡。虚线：流策略。"),
    }
)
# Files of a report with data, and what they hold.
DATA: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "episodes.parquet": ("a row per episode", "每回合一行"),
        "results_all.csv": ("a row per cell", "每个单元一行"),
        "results.csv": ("a row per cell", "每个单元一行"),
        "summary.csv": ("a row per arm", "每个条件一行"),
        "losses.csv": ("parts of the losses", "损失的各部分"),
        "report.md": ("what was written by hand", "手写的讨论（英文）"),
        "discussion.md": ("what was written by hand", "手写的讨论（英文）"),
    }
)
CAUTIONS = """\
- The maxima (`max_delta_action`, `max_ddelta_action`) are poor measures of smoothness: a failing policy that
  is mostly starved holds still and scores best. Read them beside the solve rate and `rms_ddelta_action`.
- `p_violate` is not the starvation condition. Ticks starve where `max(s_k, d_k) + d_(k+1) > H`
  (`p_starve_condition`), which two moderate delays in a row can meet.
- Tail control that caps the delay is an idealisation: `d_p99` and `p_violate` fall by construction. The
  experiment shows how much the policy gains from a shorter tail, not how to get one.
- `realtime` plans with an estimate of the delay. With the maximum of a window, one spike makes it plan for a spike
  for the rest of the window (see `mean_planned_delay`), so a shorter tail also means a less cautious plan.
- Intervals treat episodes as independent; they hold for this policy and level, not for others.
"""


def heading(kind: str, chinese: bool) -> str:
    """The heading of a kind of section."""
    return HEADINGS[kind][chinese]


def text(name: str, chinese: bool, **values: object) -> str:
    """A text with its values filled in."""
    return TEXTS[name][chinese].format(**values)


def caption(kind: str, chinese: bool) -> str:
    """What stands below a kind of figure."""
    return CAPTIONS[kind][chinese]
