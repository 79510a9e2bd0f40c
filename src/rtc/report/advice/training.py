"""How what a method needs is trained for a policy of one's own: data, targets, network, and what it does in use."""

from rtc import methods
from rtc.report.advice.facts import Advice
from rtc.report.page import Section
from rtc.study import identity, recordings
from rtc.training.forward import ForwardTraining
from rtc.training.heads import HeadTraining


def training(advice: Advice) -> list[Section]:
    """A section where what is recommended needs training; on every ingredient in its name."""
    parts = advice.recommended.arm.config.method.split("+")
    found = [STEPS[part](advice) for part in STEPS if part in parts]
    if not found:
        return []
    before = (
        "What was compared goes with the benchmark's policies; yours needs its own. A tick is a control period, o(t) "
        "the observation of tick t as your policy reads it, H the length of a chunk. More: `docs/methods.md`."
    )
    return [Section("What has to be trained", [before, *found])]


def _rollouts(advice: Advice) -> str:
    kinds, chunk = recordings.kinds(advice.chosen.chunk), advice.chosen.chunk
    delays = ", ".join(str(one) for one in dict.fromkeys(kind.delay for kind in kinds))
    noise = " and ".join(f"{one:g}" for one in dict.fromkeys(kind.action_noise for kind in kinds))
    return (
        f"here {recordings.RecordingConfig().episodes} episodes per kind, at constant delays of {delays} ticks of "
        f"chunks of {chunk}, with noise of {noise} on actions in −1…1"
    )


def _command(advice: Advice, kind: str) -> str:
    method, chosen = advice.recommended.arm.config.method, advice.chosen
    run = identity.shown(methods.run_for(method, chosen.run_path, chosen.prefix_run_path))
    return f"`python src/train_networks.py --run-path {run} --level-paths {chosen.levels[0]} --kinds {kind}`"


def _correction(advice: Advice) -> str:
    used = HeadTraining()
    widths = " and ".join(map(str, used.model.widths))
    alone = advice.recommended.arm.config.method == "a2c2"
    queries = " Queries are those of `naive`, and no delay is estimated." if alone else ""
    return f"""\
**A correction head** for `a2c2` (arXiv 2509.23224):

- *Data*: o(t) at every tick and where episodes end: of demonstrations with their actions, or of your policy's own
  rollouts with and without delay ({_rollouts(advice)}). For every tick, {used.draws} chunks that your policy predicts
  from o(t).
- *Example*: a tick t, entry i of its chunk, i drawn evenly from 0 … H−1, and t+i still in the episode. Input: o(t+i),
  the chunk's action i, cos and sin of 2πi/H.
- *Target*: the right action of tick t+i minus the chunk's action i, by mean squared error. The right action is the
  demonstrated one; without demonstrations, it is the first action that your policy predicts from o(t+i). A policy that
  draws its chunks from noise must start there from the noise that entry i started from (so keep noise by tick, not by
  chunk), or the head learns a mean of several choices.
- *Network*: an MLP, {widths} wide, ReLU; AdamW, step size {used.learning_rate:g}, {used.num_epochs} passes, batches of
  {used.batch_size}. Of images it reads your encoder's features, which then have to be there at every tick; here
  observations are numbers.
- *Here*: {_command(advice, "correction")} does all this for a policy of this repository.
- *In use*: at every tick, between queries too, the head reads the newest observation, the planned action and its place
  in its chunk; planned action plus output is executed.{queries} In a simulator of your own:
  `rtc.evaluate(…, method="a2c2", networks={{"head": head}})`, `docs/own-policy.md`."""


def _forward(advice: Advice) -> str:
    used = ForwardTraining()
    return f"""\
**A forward model** for `foresee_learned`:

- *Data*: o(t), the action that was executed, and o(t+1), of your policy's own rollouts with and without delay
  ({_rollouts(advice)}).
- *Target*: o(t+1) − o(t), in units of that change's standard deviation, entry by entry; mean absolute error of
  {used.ticks} predictions, each made from the one before, within an episode.
- *Network*: a residual MLP, {used.model.width} wide, of the standardised o(t) and the action; AdamW, step size
  {used.learning_rate:g}, {used.num_epochs} passes, batches of {used.batch_size}. Observations here are numbers; how it
  fares on an encoder's features of images was not measured.
- *Here*: {_command(advice, "forward")} does all this for a policy of this repository.
- *In use*: at a query the model follows the actions that will be executed during the planned delay d, and your policy
  is asked with the observation that it predicts. The chunk begins d ticks after the query: if it arrives early, it
  waits; if late, its first entries have passed. It is only as good as the planned delay."""


def _prefix(advice: Advice) -> str:
    longest = advice.chosen.longest_prefix
    seen = "" if longest is None else f" (here 0 to {longest} ticks, short ones more often)"
    return f"""\
**A policy that continues committed actions** for `trained_prefix` (training-time RTC, arXiv 2512.05964):

- *Data*: the demonstrations that your policy learned from.
- *Target*: as in its own training (flow matching), but the first d actions of a demonstrated chunk are given, at flow
  time 1, and left out of the loss; d is drawn for every example{seen}.
- *Network*: your policy, trained further.
- *Here*: `src/train_flow.py` with `--config.load-dir` and `--config.model.simulated-delay` (`exp/train_all.sh`); in
  LeRobot `--policy.rtc_training_max_delay`.
- *In use*: a query tells the policy the actions that will be executed during the planned delay, and the chunk continues
  them."""


STEPS = {"a2c2": _correction, "foresee_learned": _forward, "trained_prefix": _prefix}
