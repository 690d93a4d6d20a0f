"""The smoke benchmark of an ONNX net, as one program that is fed to a host's Python over stdin.

    python3 - --model MODEL --config CONFIG [--golden GOLDEN.npz]

Needs Python 3.8, numpy and onnxruntime, and nothing of this package. Prints one JSON object as the
last line of stdout: `metrics` (numbers by name), `failure` (one line, empty when the net loads and
answers) and `detail` (text). A failure is an answer too: the exit status is 0.

Metrics: `load_s` until the session is there; `latency_p50_ms`, `latency_p95_ms` of one run at the
config's batch size; `evals_per_s`, the batch size over the median latency; `peak_rss_mb` of the
process in MiB; with golden answers `golden_max_error` and `positions`. The error of one output is

    max |answer - golden| / max(1, max |golden|)

absolute for outputs up to 1 (probabilities), relative to the largest for those beyond (logits,
scores), and `golden_max_error` is the largest over all outputs.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]


def report(metrics: dict[str, float], failure: str, detail: str) -> None:
    """Print the one line that is read on the other side."""
    result = {"metrics": metrics, "failure": failure, "detail": detail}
    sys.stdout.write(json.dumps(result) + "\n")


try:
    import numpy as np
    import onnxruntime
except ImportError as exc:
    report({}, f"{sys.executable} cannot import {exc.name}: {exc}", "")
    sys.exit()

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
OPTIMIZATION = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "off": "ORT_DISABLE_ALL",
}
TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
BOARD = 19  # the length of a free axis behind the batch: a Go board's
ENOUGH_S = 0.5
ENOUGH_RUNS = 10
MOST_S = 10.0
MOST_RUNS = 2000


class NetError(Exception):
    """The net did not load or did not answer; the text says why in one line."""


def read_config(path: str) -> dict[str, str]:
    """The `key = value` lines of the config."""
    settings = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("#")[0].partition("=")
        if equals:
            settings[key.strip()] = value.strip()
    return settings


def load(model: str, settings: dict[str, str]) -> tuple[Any, float]:
    """The session on the wanted execution provider, and the seconds it took."""
    name = settings.get("execution_provider", "cpu")
    wanted = PROVIDERS.get(name)
    if wanted is None:
        raise NetError(f"the config's execution_provider {name} is none of {', '.join(PROVIDERS)}")
    available = onnxruntime.get_available_providers()
    if wanted not in available:
        raise NetError(f"this onnxruntime has no {wanted}, only {', '.join(available)}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = int(settings.get("intra_op_threads", "0"))
    level = OPTIMIZATION[settings.get("graph_optimization", "all")]
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    started = time.perf_counter()
    try:
        session = onnxruntime.InferenceSession(model, options, providers=[wanted])
    except Exception as exc:
        raise NetError(f"the net does not load: {one_line(exc)}") from exc
    seconds = time.perf_counter() - started
    used = session.get_providers()[0]
    if used != wanted:
        raise NetError(f"onnxruntime fell back from {wanted} to {used}")
    return session, seconds


def read_golden(path: str) -> tuple[Arrays, Arrays]:
    """Inputs and wanted outputs of a golden file, by name."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as exc:
        raise NetError(f"the golden file cannot be read: {one_line(exc)}") from exc
    inputs = {name[6:]: array for name, array in arrays.items() if name.startswith("input:")}
    outputs = {name[7:]: array for name, array in arrays.items() if name.startswith("output:")}
    if not inputs or not outputs:
        raise NetError("the golden file has no input:<name> and output:<name> arrays")
    return inputs, outputs


def matched(session: Any, inputs: Arrays, outputs: Arrays) -> Arrays:
    """The golden inputs in the net's own types; refuses names that the net does not have."""
    wanted = {value.name: TYPES.get(value.type) for value in session.get_inputs()}
    if set(wanted) != set(inputs):
        raise NetError(
            f"golden inputs are {', '.join(sorted(inputs))}, the net's {', '.join(sorted(wanted))}"
        )
    absent = sorted(set(outputs) - {value.name for value in session.get_outputs()})
    if absent:
        raise NetError(f"the net has no output {', '.join(absent)}, the golden file has")
    return {
        name: array.astype(wanted[name]) if wanted[name] and array.dtype.kind == "f" else array
        for name, array in inputs.items()
    }


def fixed_batch(session: Any) -> int | None:
    """The batch size that is built into the net, None where it is free."""
    sizes = [value.shape[0] for value in session.get_inputs() if value.shape]
    return next((size for size in sizes if isinstance(size, int)), None)


def common_length(arrays: list[NDArray[Any]]) -> int:
    """The length that all arrays have along their first axis; 0 when they differ."""
    lengths = {array.shape[0] if array.ndim else 0 for array in arrays}
    return lengths.pop() if len(lengths) == 1 else 0


def answer(session: Any, feed: Arrays) -> Arrays:
    """The net's outputs for one feed, by name."""
    names = [value.name for value in session.get_outputs()]
    try:
        outputs = session.run(names, feed)
    except Exception as exc:
        raise NetError(f"the net does not run: {one_line(exc)}") from exc
    return {name: np.asarray(outputs[index]) for index, name in enumerate(names)}


def answer_all(session: Any, inputs: Arrays, count: int, batch: int) -> Arrays:
    """The net's outputs for `count` positions, run in batches of the size that is deployed."""
    if count == 0:
        return answer(session, inputs)
    parts = []
    for start in range(0, count, batch):
        rows = np.arange(start, start + batch).clip(max=count - 1)
        if fixed_batch(session) is None:
            rows = rows[: count - start]
        part = answer(session, {name: array[rows] for name, array in inputs.items()})
        parts.append({name: array[: count - start] for name, array in part.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def compare(name: str, answered: NDArray[Any], golden: NDArray[Any]) -> float:
    """The error of one output; refuses another shape, and NaN or infinity where there was none."""
    if answered.shape != golden.shape:
        raise NetError(f"output {name} has shape {answered.shape}, the golden one {golden.shape}")
    got, wanted = answered.astype("float64"), golden.astype("float64")
    finite = np.isfinite(wanted)
    broken = int((~np.isfinite(got) & finite).sum())
    if broken:
        raise NetError(f"output {name} has {broken} of {got.size} values NaN or infinite")
    if not np.array_equal(np.nan_to_num(got[~finite]), np.nan_to_num(wanted[~finite])):
        raise NetError(f"output {name} differs where the golden one is NaN or infinite")
    if not finite.any():
        return 0.0
    scale = max(1.0, float(np.abs(wanted[finite]).max()))
    return float(np.abs(got[finite] - wanted[finite]).max()) / scale


def refuse_nan(answers: Arrays) -> None:
    """Refuse NaN and +inf; -inf may be how a net masks what is illegal."""
    for name, array in answers.items():
        if array.dtype.kind == "f":
            broken = int((np.isnan(array) | np.isposinf(array)).sum())
            if broken:
                raise NetError(f"output {name} has {broken} of {array.size} values NaN or infinite")


def made_up(session: Any, batch: int) -> Arrays:
    """Inputs of the net's shapes: uniform in [0, 1) for floats, ones for flags, zeros for ids."""
    random = np.random.RandomState(1)
    feed: Arrays = {}
    for value in session.get_inputs():
        kind = TYPES.get(value.type)
        if kind is None:
            raise NetError(f"input {value.name} is a {value.type}: only golden answers can feed it")
        shape = [size if isinstance(size, int) else BOARD for size in value.shape]
        if shape and not isinstance(value.shape[0], int):
            shape[0] = batch
        if kind.startswith("float"):
            feed[value.name] = random.random_sample(shape).astype(kind)
        else:
            feed[value.name] = np.full(shape, kind == "bool", dtype=kind)
    return feed


def one_batch(inputs: Arrays, batch: int) -> Arrays:
    """The first golden positions, repeated until they fill a batch."""
    count = common_length(list(inputs.values()))
    if count == 0:
        return inputs
    return {name: array[np.arange(batch) % count] for name, array in inputs.items()}


def time_runs(session: Any, feed: Arrays) -> list[float]:
    """Sorted seconds of single runs, after one that warms up caches and builds kernels."""
    answer(session, feed)
    seconds: list[float] = []
    total = 0.0
    while total < MOST_S and len(seconds) < MOST_RUNS:
        if total >= ENOUGH_S and len(seconds) >= ENOUGH_RUNS:
            break
        started = time.perf_counter()
        session.run(None, feed)
        seconds.append(time.perf_counter() - started)
        total += seconds[-1]
    return sorted(seconds)


def peak_rss_mb() -> float:
    """The most memory the process held, in MiB; Linux counts in KiB, macOS in bytes."""
    unit = 1024.0 if sys.platform.startswith("linux") else 1024.0 * 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def one_line(exc: Exception) -> str:
    """The error's text without line breaks, at most 300 characters."""
    return " ".join(str(exc).split())[:300] or type(exc).__name__


def measure(
    model: str, config: str, golden: str, metrics: dict[str, float], detail: list[str]
) -> None:
    """Fill `metrics` and `detail` step by step, so that what was measured survives a failure."""
    detail.append(f"onnxruntime {onnxruntime.__version__}, numpy {np.__version__}")
    settings = read_config(config)
    session, metrics["load_s"] = load(model, settings)
    detail.append(f"on {', '.join(session.get_providers())}")
    batch = fixed_batch(session) or int(settings.get("batch_size", "1"))
    if golden:
        inputs, wanted = read_golden(golden)
        inputs = matched(session, inputs, wanted)
        count = common_length([*inputs.values(), *wanted.values()])
        answers = answer_all(session, inputs, count, batch)
        errors = {name: compare(name, answers[name], wanted[name]) for name in wanted}
        metrics["golden_max_error"] = max(errors.values())
        metrics["positions"] = count or 1
        detail += [f"golden error of {name}: {error:.3g}" for name, error in errors.items()]
        feed = one_batch(inputs, batch)
    else:
        feed = made_up(session, batch)
        refuse_nan(answer(session, feed))
    seconds = time_runs(session, feed)
    median = seconds[len(seconds) // 2]
    metrics["latency_p50_ms"] = median * 1e3
    metrics["latency_p95_ms"] = seconds[int(len(seconds) * 0.95)] * 1e3
    metrics["evals_per_s"] = batch / median
    metrics["peak_rss_mb"] = peak_rss_mb()
    detail.append(f"{len(seconds)} runs of batch size {batch}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--golden", default="")
    given = parser.parse_args()
    metrics: dict[str, float] = {}
    detail: list[str] = []
    failure = ""
    try:
        measure(given.model, given.config, given.golden, metrics, detail)
    except NetError as exc:
        failure = str(exc)
    report(metrics, failure, "; ".join(detail))


if __name__ == "__main__":
    main()
