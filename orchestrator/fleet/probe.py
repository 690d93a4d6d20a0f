"""Facts from the probe: the script that runs on a host, and the parser of what it prints."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.fleet import hardware, probe_output
from orchestrator.fleet.facts import (
    Board,
    Cpu,
    Disk,
    Distribution,
    DockerEngine,
    Facts,
    Gpu,
    Katago,
    Libc,
    Load,
    Memory,
    Python,
    Thermal,
)
from orchestrator.fleet.probe_gpu import gpus
from orchestrator.fleet.probe_machine import (
    architecture,
    board,
    cpu,
    disk,
    distribution,
    integer,
    kernel,
    libc,
    load,
    memory,
    thermal,
)
from orchestrator.fleet.probe_software import (
    cuda,
    docker,
    katago,
    python,
    tensorrt,
    tensorrt_rtx,
    units,
    warnings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_T = TypeVar("_T")


def script() -> str:
    """The POSIX sh text that defines `probe ROOT PYTHON [now]`."""
    return resources.files("orchestrator.fleet").joinpath("probe.sh").read_text(encoding="utf-8")


def parse(text: str) -> Facts:
    """Facts from what `probe` printed; what cannot be read stays empty.

    Raises CommandError when the text is not the probe's output, or only a part of it.
    """
    output = probe_output.read(text)
    system, release, machine = kernel(output)
    found_board = board(output)
    facts = Facts(
        arch=architecture(output, machine),
        system=system,
        kernel=release,
        distribution=distribution(output),
        libc=libc(output),
        cpu=cpu(output),
        memory=memory(output),
        disk=disk(output),
        board=found_board,
        gpus=gpus(output, found_board),
        cuda=cuda(output),
        tensorrt=tensorrt(output),
        tensorrt_rtx=tensorrt_rtx(output),
        trtexec=output.first("trtexec_path"),
        docker=docker(output),
        python=python(output),
        katago=katago(output),
        units=units(output),
        thermal=thermal(output),
        load=load(output),
        clock=integer(output.first("clock")),
        warnings=warnings(output),
    )
    return replace(facts, hardware_class=hardware.hardware_class(facts))


def to_dict(facts: Facts) -> dict[str, Any]:
    """Facts as JSON can hold them: tuples as lists, flags sorted."""
    return asdict(facts, dict_factory=_plain)


def from_dict(document: Mapping[str, Any]) -> Facts:
    """Facts from `to_dict`'s document; unknown keys are left out, missing ones take defaults.

    Raises TypeError or ValueError when the document has another shape.
    """
    values = dict(document)
    for name, kind in _PARTS.items():
        if name in values:
            values[name] = _build(kind, values[name])
    values["gpus"] = [_build(Gpu, gpu) for gpu in values.get("gpus", ())]
    return _build(Facts, values)


_PARTS: dict[str, type[Any]] = {
    "distribution": Distribution,
    "libc": Libc,
    "cpu": Cpu,
    "memory": Memory,
    "disk": Disk,
    "docker_engine": DockerEngine,
    "board": Board,
    "python": Python,
    "katago": Katago,
    "thermal": Thermal,
    "load": Load,
}


def _plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in items}


def _plain_value(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


def _build(kind: type[_T], document: Any) -> _T:
    if not isinstance(document, dict):
        raise TypeError(f"{kind.__name__} is made from a mapping, not {type(document).__name__}")
    known: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in document:
            continue
        value = document[field.name]
        if isinstance(value, list):
            value = frozenset(value) if field.name == "flags" else tuple(value)
        known[field.name] = value
    return kind(**known)
