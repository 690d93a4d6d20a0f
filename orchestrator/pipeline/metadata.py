"""What an artifact says of itself inside its file, whatever its format."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape


def metadata(net: Net, shape: Shape, precision: str) -> dict[str, str]:
    """The net's name and version, what the file was made for, and KataGo's output factors.

    `board` is width x height, as Go has it.
    """
    post = net.post_process
    return {
        "name": net.name,
        "katago_version": str(net.version),
        "board": f"{shape.width}x{shape.height}",
        "masked": str(shape.masked).lower(),
        "optimism": f"{shape.optimism:g}",
        "precision": precision,
        "softplus": str(shape.softplus).lower(),
        "post_process": " ".join(f"{getattr(post, name):g}" for name in post.__dataclass_fields__),
    }
