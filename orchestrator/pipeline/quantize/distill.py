"""A net taught to answer in INT8 as it does in FP32: short distillation, no game results needed."""

from __future__ import annotations

import math
import time
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from orchestrator.pipeline import accuracy, gate
from orchestrator.pipeline.answers import (
    FIRST_WITH_HALVED_ERRORS,
    KO_IS_NOT_SIMPLE,
    NO_RESULT,
    RULED_OUT,
    TERRITORY_SCORING,
    VERSION_8_CHANNELS,
    legal_moves,
)
from orchestrator.pipeline.interpreters.torch import TorchNet, layer_key
from orchestrator.pipeline.positions import Batch, framed
from orchestrator.pipeline.quantize.fake import FakeInt8, readers
from orchestrator.pipeline.runners import sliced
from orchestrator.pipeline.tensors import Inputs, Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.pipeline.accuracy import Report
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.tensors import InputArrays, OutputArrays

    Progress = Callable[[str, int, int], None]

ROWS = 16
SLICE = 16
SYMMETRIES = 8
# So often the net is judged; the last part of the training, with small steps, pays most.
EVALUATIONS = 6
# Learning rates: of weights in int8 steps, of norms and of activations' scales in their own size.
WEIGHTS, NORMS, ACTIVATIONS = 0.003, 1e-4, 1e-4
WARM_UP = 0.05
# Of the time: what passes before it can be said to be the nearer bound.
READY = 0.2
# What deviations of what layers read count, in shares of its mean square, beside the answers'.
INSIDE = 3000.0
TINY = 1e-12
CLIP = 1.0


@dataclass(frozen=True, slots=True)
class Trained:
    """How the training went.

    `steps` were taken, after `kept` of them the net was the best; `losses` one a step. `before` and
    `after` are the held-out positions' errors, of the net at the start and the one kept.
    """

    steps: int
    kept: int
    losses: tuple[float, ...]
    before: Report
    after: Report
    minutes: float


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers in units of the gate's limits, so that a difference of 1 is what is allowed.

    `log_policy` [N, P] over legal moves and `chance` [N, 3] are probabilities, `numbers` [N, K],
    `ownership` [N, H, W]; `read` is what layers read: those of the blocks, and the heads.
    """

    log_policy: torch.Tensor
    chance: torch.Tensor
    numbers: torch.Tensor
    ownership: torch.Tensor
    read: tuple[torch.Tensor, ...]


def distill(
    student: FakeInt8,
    frame: Shape,
    rows: Positions,
    held_out: Positions,
    *,
    steps: int,
    minutes: float,
    seed: int,
    device: str = "cpu",
    progress: Progress,
) -> Trained:
    """Train `student`, which is for `frame`, on rows of any board that it fits; keep the best.

    The best is the one whose worst metric is nearest to its limit on the held-out rows. The first
    bound that is reached ends it: `minutes` count all that is done here. The same arguments give
    the same net, on one machine with one number of threads, if the steps are the nearer bound.
    """
    started = time.monotonic()
    teacher = TorchNet(student.source, frame).to(device).eval()
    student.to(device)
    net = student.source
    asked, known = _Asked(teacher, net), _Asked(student, net)
    batches = _Rows(rows, frame, np.random.default_rng(seed))
    if student.activations:
        with torch.no_grad():
            student(*_tensors(batches.next(4 * ROWS), device))
        student.choose()
    best = _Best(student, _Judge(teacher, held_out, frame, net, device))
    groups = student.groups(weights=WEIGHTS, norms=NORMS, activations=ACTIVATIONS)
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0)
    rates = [group["lr"] for group in groups]
    losses: list[float] = []
    while len(losses) < steps and (share := _share(started, minutes)) < 1:
        share = max(share, len(losses) / steps)
        best.look(len(losses), share)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * _rate(share)
        inputs = batches.next(ROWS)
        given = _tensors(inputs, device)
        legal = torch.from_numpy(legal_moves(inputs)).to(device)
        with torch.no_grad():
            wanted = asked(given, legal)
        loss = difference(wanted, known(given, legal), given[0][:, 0])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], CLIP)
        optimizer.step()
        losses.append(float(loss.detach()))
        progress("fine-tuning", len(losses), steps)
    best.look(len(losses), 1.0)
    student.load_state_dict(best.state)
    spent = (time.monotonic() - started) / 60
    return Trained(len(losses), best.step, tuple(losses), best.before, best.report, spent)


class _Best:
    """The best state of the student so far; looked for after each part of the training."""

    def __init__(self, student: FakeInt8, judge: _Judge) -> None:
        self._student, self._judge = student, judge
        self.before = self.report = judge(student)
        self.step, self.state = 0, deepcopy(student.state_dict())
        self._due = 1 / EVALUATIONS

    def look(self, step: int, share: float) -> None:
        """Judge the student after `step` steps, where it is time to at that share of them."""
        if share < self._due or not step:
            return
        self._due = share + 1 / EVALUATIONS
        found = self._judge(self._student)
        if _margin(found) < _margin(self.report):
            self.report, self.step = found, step
            self.state = deepcopy(self._student.state_dict())


def difference(wanted: Answered, given: Answered, board: torch.Tensor) -> torch.Tensor:
    """How far answers are apart: squares in units of the gate's limits, a mean over positions."""
    limit = gate.FP16_LIMITS
    policy = wanted.log_policy.exp()
    apart = wanted.log_policy - given.log_policy
    divergence = (policy * torch.where(policy > 0, apart, 0.0)).sum(1) / limit["policy_kl"].p99
    top = wanted.log_policy.argmax(1, keepdim=True)
    top_move = policy.gather(1, top) - given.log_policy.gather(1, top).exp()
    top_move = (top_move / limit["top_policy"].p99).square().sum(1)
    chance = wanted.chance - given.chance
    winrate = (chance[:, 0] - chance[:, 1]) / 2 / limit["winrate"].p99
    none = chance[:, NO_RESULT] / limit["winrate"].p99
    numbers = (wanted.numbers - given.numbers).square().sum(1)
    points = (wanted.ownership - given.ownership).square() * board
    ownership = points.sum((1, 2)) / board.sum((1, 2)) / limit["ownership"].p99 ** 2
    answers = divergence + top_move + winrate.square() + none.square() + numbers + ownership
    inside = [_share_lost(a, b) for a, b in zip(wanted.read, given.read, strict=True)]
    return answers.mean() + INSIDE * torch.stack(inside).mean()


def _share_lost(wanted: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    return (wanted - given).square().mean() / (wanted.square().mean() + TINY)


class _Asked:
    """A module as what answers in units of the limits."""

    def __init__(self, module: TorchNet | FakeInt8, net: Net) -> None:
        self.module, self.net = module, net
        whole = module if isinstance(module, TorchNet) else module.net
        self._read: list[torch.Tensor] | None = None
        for name in sorted(readers(net) | {net.value.v1_conv.name}):
            whole.layers[layer_key(name)].register_forward_pre_hook(self._see, prepend=True)

    def __call__(self, given: Sequence[torch.Tensor], legal: torch.Tensor) -> Answered:
        """The answers to rows of inputs; `legal` [N, P]."""
        read = self._read = []
        policy, value, misc, ownership = self.module(*given)
        self._read = None
        ko, scoring = given[1][:, KO_IS_NOT_SIMPLE], given[1][:, TERRITORY_SCORING]
        ruled_out = functional.one_hot(torch.tensor(NO_RESULT), 3).to(value) * RULED_OUT
        value = value + ((ko != 0) & (scoring == 0)).unsqueeze(1) * ruled_out
        return Answered(
            torch.log_softmax(torch.where(legal, policy, RULED_OUT), 1),
            torch.softmax(value, 1),
            numbers(misc, self.net),
            ownership[:, 0],
            tuple(read),
        )

    def _see(self, _layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if self._read is not None:
            self._read.append(given[0])


def numbers(misc: torch.Tensor, net: Net) -> torch.Tensor:
    """The numbers that the gate limits, in units of its limits at the 99th percentile: [N, K]."""
    by, limit = net.post_process, gate.FP16_LIMITS
    found = [
        misc[:, 0] * (by.score_mean / limit["score_mean"].p99),
        functional.softplus(misc[:, 1]) * (by.score_stdev / limit["score_stdev"].p99),
        misc[:, 2] * (by.lead / limit["lead"].p99),
    ]
    if misc.shape[1] > VERSION_8_CHANNELS:
        half = 0.5 if net.version >= FIRST_WITH_HALVED_ERRORS else 1.0
        found += [
            functional.softplus(misc[:, channel] * half) * (math.sqrt(factor) / limit[name].p99)
            for channel, name, factor in (
                (4, "shortterm_winloss_error", by.shortterm_value_error),
                (5, "shortterm_score_error", by.shortterm_score_error),
            )
        ]
    return torch.stack(found, 1)


class _Rows:
    """Rows of all boards in random order, each turned and mirrored at random, without end."""

    def __init__(self, rows: Positions, frame: Shape, rng: np.random.Generator) -> None:
        self._rows, self._frame, self._rng = rows, frame, rng
        self._places = np.array([(i, j) for i, b in enumerate(rows) for j in range(len(b))])
        self._left = np.empty((0, 2), np.intp)

    def next(self, count: int) -> InputArrays:
        """So many rows, put into the frame."""
        while len(self._left) < count:
            self._left = np.concatenate([self._left, self._rng.permutation(self._places)])
        chosen, self._left = self._left[:count], self._left[count:]
        turns = self._rng.integers(SYMMETRIES, size=count)
        rows = [
            framed(turned(self._rows.batches[i].rows(slice(j, j + 1)), int(turn)), self._frame)
            for (i, j), turn in zip(chosen, turns, strict=True)
        ]
        metas = [row.meta for row in rows if row.meta is not None]
        return Inputs(
            np.concatenate([row.spatial for row in rows]),
            np.concatenate([row.global_ for row in rows]),
            np.concatenate(metas) if metas else None,
        )


def turned(batch: Batch, symmetry: int) -> Batch:
    """The same positions on a board that is mirrored (bits 0 and 1) and transposed (bit 2)."""
    spatial = batch.inputs.spatial
    if symmetry & 1:
        spatial = spatial[:, :, ::-1]
    if symmetry & 2:
        spatial = spatial[:, :, :, ::-1]
    if symmetry & 4:
        spatial = spatial.transpose(0, 1, 3, 2)
    height, width = spatial.shape[2:]
    spatial = np.ascontiguousarray(spatial)
    return Batch(height, width, Inputs(spatial, batch.inputs.global_, batch.inputs.meta))


class TorchRunner:
    """See runners.Runner: a module that was made for `shape`."""

    def __init__(self, module: nn.Module, shape: Shape, device: str = "cpu") -> None:
        self.name, self.shape = "torch", shape
        self._module, self._device = module, device

    def __call__(self, inputs: InputArrays) -> OutputArrays:
        """See Runner."""
        return sliced(self._ask, inputs, SLICE)

    def _ask(self, inputs: InputArrays) -> OutputArrays:
        with torch.no_grad():
            found = self._module(*_tensors(inputs, self._device))
        return Outputs(*(values.cpu().numpy() for values in found))


class _Judge:
    """Tells how far a module's answers to the held-out rows are from the teacher's."""

    def __init__(
        self, teacher: nn.Module, held_out: Positions, frame: Shape, net: Net, device: str
    ) -> None:
        self._held_out, self._frame, self._net, self._device = held_out, frame, net, device
        self._known = accuracy.evaluate(TorchRunner(teacher, frame, device), held_out, net)

    def __call__(self, module: nn.Module) -> Report:
        runner = TorchRunner(module, self._frame, self._device)
        return accuracy.compare(self._known, runner, self._held_out, self._net)


def _margin(report: Report) -> float:
    return max(gate.judge(report).margins.values())


def _share(started: float, minutes: float) -> float:
    """How much of the time is over, after what getting ready may take."""
    over = (time.monotonic() - started) / (minutes * 60) if minutes > 0 else 1.0
    return (over - READY) / (1 - READY)


def _rate(share: float) -> float:
    """Up in a straight line, then down along a cosine, over shares 0 to 1 of the training."""
    if share < WARM_UP:
        return (share + WARM_UP / 10) / (1.1 * WARM_UP)
    return 0.5 + 0.5 * math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP))


def _tensors(inputs: InputArrays, device: str) -> list[Any]:
    given = (inputs.spatial, inputs.global_, inputs.meta)
    return [
        torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)
        for values in given
        if values is not None
    ]
