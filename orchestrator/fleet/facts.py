"""What the probe found on a host."""

from __future__ import annotations

from dataclasses import dataclass, field

_GPU = "nvidia.com/gpu="  # how CDI names a GPU


@dataclass(frozen=True, slots=True)
class Distribution:
    """From /etc/os-release."""

    id: str = ""
    version: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Libc:
    """`kind` is glibc or musl."""

    kind: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Cores are the ones a process may use."""

    model: str = ""
    cores: int = 1
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM in MiB."""

    total_mb: int = 0
    available_mb: int = 0


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that holds the root, or will: free space in MiB.

    `free_inodes` is None where the file system does not count them.
    """

    free_mb: int = 0
    writable: bool = True
    free_inodes: int | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """`kind` is raspberry-pi, jetson or generic; `model` as the device tree or DMI says.

    `compatible` is the device tree's list, which names module and chip where a carrier board
    has changed the model.
    """

    kind: str = "generic"
    model: str = ""
    l4t: str = ""
    jetpack: str = ""
    compatible: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU; compute capability as 8.6, memory in MiB (0 when shared with the CPU)."""

    name: str
    compute_capability: float = 0.0
    memory_mb: int = 0
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Python:
    """The Python that runs verification; versions are empty where a module is missing."""

    path: str = ""
    version: str = ""
    numpy: str = ""
    onnxruntime: str = ""
    execution_providers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Katago:
    """`backend` in lower case: eigen, opencl, cuda, tensorrt, onnx, metal."""

    path: str = ""
    version: str = ""
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Thermal:
    """Hottest zone in degrees Celsius, and what the board says of throttling."""

    temperature_c: float | None = None
    throttled: bool | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """How many processes wanted to run, on average over the last minute; None when unknown.

    `cores` are all of the machine's, also those that no process of ours may use: that is what the
    kernel counts over.
    """

    one_minute: float | None = None
    cores: int = 1


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """The Docker Engine of a Docker host; `version` is empty on every other host.

    `runtimes` are the names that a container may ask for, `cdi` the devices that CDI offers, such
    as `nvidia.com/gpu=all`. `container` is the name of the container that runs the active release,
    and of its volume. `image` is the reference that compose files get, `image_id` what it stands
    for there; the software that other facts tell of is that of the image. `arch` is the machine's,
    as the kernel names it, `image_arch` the image's, as Docker does.
    """

    version: str = ""
    api: str = ""
    storage_driver: str = ""
    runtimes: tuple[str, ...] = ()
    cdi: tuple[str, ...] = ()
    rootless: bool = False
    container: str = ""
    image: str = ""
    image_id: str = ""
    image_arch: str = ""
    arch: str = ""

    @property
    def offers_gpus(self) -> bool:
        """Whether a container there can ask for NVIDIA GPUs."""
        return "nvidia" in self.runtimes or bool(self.gpu_devices)

    @property
    def gpu_devices(self) -> tuple[str, ...]:
        """The devices of CDI that are all NVIDIA GPUs: the one that stands for all, if there is."""
        found = [device for device in self.cdi if device.startswith(_GPU)]
        return (f"{_GPU}all",) if f"{_GPU}all" in found else tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known of a host; an empty string or tuple means it is not there.

    `tensorrt` and `tensorrt_rtx` are two libraries, which do not read each other's engines.
    `units` are the services that systemd finds in /etc/systemd/system, as `orchestrate.service`,
    without masked ones; those of packages are elsewhere.
    `clock` is the host's own time in seconds since the epoch (0 when unknown); `warnings` are
    sentences on what did not answer, so that a missing GPU is not taken for no GPU.
    """

    arch: str = ""
    system: str = ""
    kernel: str = ""
    distribution: Distribution = field(default_factory=Distribution)
    libc: Libc = field(default_factory=Libc)
    cpu: Cpu = field(default_factory=Cpu)
    memory: Memory = field(default_factory=Memory)
    disk: Disk = field(default_factory=Disk)
    board: Board = field(default_factory=Board)
    gpus: tuple[Gpu, ...] = ()
    cuda: str = ""
    tensorrt: str = ""
    tensorrt_rtx: str = ""
    trtexec: str = ""
    docker: str = ""
    docker_engine: DockerEngine = field(default_factory=DockerEngine)
    python: Python = field(default_factory=Python)
    katago: Katago = field(default_factory=Katago)
    units: tuple[str, ...] = ()
    thermal: Thermal = field(default_factory=Thermal)
    load: Load = field(default_factory=Load)
    hardware_class: str = ""
    clock: int = 0
    warnings: tuple[str, ...] = ()
