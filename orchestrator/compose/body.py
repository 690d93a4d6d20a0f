"""A service of a compose file as the body of the Docker Engine API's `POST /containers/create`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.compose import values
from orchestrator.compose.values import BadValueError
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Mistake = tuple[tuple[Any, ...], str, str]
    Service = Mapping[str, Any]

DEFAULT_NETWORK = "default"
MILLISECOND = 10**6

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Names:
    """What Docker calls the networks and volumes that the file names at its top level."""

    networks: Mapping[str, str]
    volumes: Mapping[str, str]


def body(service: Service, names: Names) -> dict[str, Any]:
    """The body that creates the container of a service that is interpolated and has no mistakes.

    The container joins the first of its networks: older engines take only one at creation.
    """
    config: dict[str, Any] = {"OpenStdin": False, "Tty": False}
    host: dict[str, Any] = {}
    for key, value in service.items():
        if key in _CONFIG:
            name, translated = _CONFIG[key]
            config[name] = translated(value)
        elif key in _HOST:
            name, translated = _HOST[key]
            host[name] = translated(value)
    host |= _deployed(service.get("deploy", {}))
    if "volumes" in service:
        host["Mounts"] = _mounts(service["volumes"], names)
    ports, bindings = _ports(service)
    if ports:
        config["ExposedPorts"] = {port: {} for port in sorted(ports)}
    if bindings:
        host["PortBindings"] = bindings
    joined = networks(service, names)
    host["NetworkMode"] = service.get("network_mode", "") or next(iter(joined))
    for name, aliases in list(joined.items())[:1]:
        config["NetworkingConfig"] = {"EndpointsConfig": {name: {"Aliases": list(aliases)}}}
    return config | {"HostConfig": host}


def networks(service: Service, names: Names) -> dict[str, tuple[str, ...]]:
    """The networks that the service joins, in order, by Docker's names, each with its aliases.

    A higher priority comes first, then the name in the file. The service's own name, which Docker
    Compose adds, is no alias: it would clash with other projects on a network that is shared.
    """
    if "network_mode" in service:
        return {}
    asked = service.get("networks") or [DEFAULT_NETWORK]
    entries = asked if isinstance(asked, dict) else dict.fromkeys(asked)
    known = {name: entry or {} for name, entry in entries.items()}
    order = sorted(known, key=lambda name: (-known[name].get("priority", 0), name))
    return {names.networks[name]: tuple(known[name].get("aliases", ())) for name in order}


def mistakes(service: Service, names: Names) -> Iterator[Mistake]:
    """What the schema cannot say of a service that fits it: where, what, and the way out."""
    for key, value in service.items():
        translated = _translation(key, names)
        if translated is None:
            continue
        found: list[BadValueError] = []
        try:
            translated(value)
        except* BadValueError as group:
            found = [wrong for wrong in group.exceptions if isinstance(wrong, BadValueError)]
        for wrong in found:
            yield (key, *wrong.path), wrong.message, wrong.hint
    yield from _network_mistakes(service, names)
    yield from _memory_mistakes(service)


def _translation(key: str, names: Names) -> Callable[[Any], Any] | None:
    if key in _CONFIG:
        return _CONFIG[key][1]
    if key in _HOST:
        return _HOST[key][1]
    special: dict[str, Callable[[Any], Any]] = {
        "deploy": _deployed,
        "volumes": lambda entries: _mounts(entries, names),
        "ports": lambda entries: _each(entries, values.published),
        "expose": lambda entries: _each(entries, values.exposed),
    }
    return special.get(key)


def _network_mistakes(service: Service, names: Names) -> Iterator[Mistake]:
    mode = service.get("network_mode", "")
    if mode and "networks" in service:
        yield ("networks",), "does not go with network_mode", "Keep one of them."
    if mode in {"none", "host"} and service.get("ports"):
        hint = "Write `networks:` instead, or remove `ports:`."
        yield ("ports",), f"does not go with network_mode: {mode}", hint
    if mode:
        return
    asked = service.get("networks") or [DEFAULT_NETWORK]
    for place, name in enumerate(asked):
        if name not in names.networks:
            path = ("networks", name if isinstance(asked, dict) else place)
            hint = did_you_mean(name, names.networks) or (
                f"Write `{name}: {{name: ...}}` under the top level's `networks:`, "
                "or `network_mode: none`."
            )
            yield path if "networks" in service else (), f"there is no network {name!r}", hint


def _memory_mistakes(service: Service) -> Iterator[Mistake]:
    resources = service.get("deploy", {}).get("resources", {})
    for part, key, plain in (
        ("limits", "cpus", "cpus"),
        ("limits", "memory", "mem_limit"),
        ("reservations", "memory", "mem_reservation"),
    ):
        if plain in service and key in resources.get(part, {}):
            yield (plain,), f"stands in deploy.resources.{part} too", "Keep one of them."
    limited = "mem_limit" in service or "memory" in resources.get("limits", {})
    if service.get("memswap_limit", -1) != -1 and not limited:
        yield ("memswap_limit",), "needs a limit of memory", "Write `mem_limit:` too."


def _each(items: Iterable[_Item], translated: Callable[[_Item], _Result]) -> list[_Result]:
    """All of them translated; raises a group with all that are wrong."""
    done: list[_Result] = []
    wrong: list[BadValueError] = []
    for index, item in enumerate(items):
        try:
            done.append(translated(item))
        except BadValueError as exc:
            wrong.append(BadValueError(exc.message, exc.hint, (index, *exc.path)))
    if wrong:
        raise ExceptionGroup("entries", wrong)
    return done


def _at(path: tuple[Any, ...], translated: Callable[[Any], _Result], value: Any) -> _Result:
    """The value translated; what is wrong with it is said of `path`."""
    try:
        return translated(value)
    except BadValueError as exc:
        raise BadValueError(exc.message, exc.hint, (*path, *exc.path)) from exc


def _as_is(value: Any) -> Any:
    return value


def _texts(entries: list[Any]) -> list[str]:
    return [str(entry) for entry in entries]


def _environment(value: Any) -> list[str]:
    return [f"{name}={text}" for name, text in values.pairs(value, needed=True).items()]


def _labels(value: Any) -> dict[str, str]:
    return values.pairs(value, needed=False)


def _sysctls(value: Any) -> dict[str, str]:
    return values.pairs(value, needed=True)


def _extra_hosts(value: Any) -> list[str]:
    return [f"{n}:{ip}" for n, ip in values.pairs(value, needed=True, by=":").items()]


def _health(check: Mapping[str, Any]) -> dict[str, Any]:
    test = check.get("test")
    if "disable" in check:
        if test is not None:
            raise BadValueError(
                "a check that is disabled has no test", "Keep one of them.", ("disable",)
            )
        return {"Test": ["NONE"]}
    done: dict[str, Any] = {}
    if isinstance(test, str):
        done["Test"] = ["CMD-SHELL", test]
    elif test is not None:
        done["Test"] = list(test)
    if test is not None and (not test or done["Test"][0] not in {"NONE", "CMD", "CMD-SHELL"}):
        hint = 'Write such as ["CMD", "/bin/check"], or one text for a shell.'
        raise BadValueError("does not start with CMD, CMD-SHELL or NONE", hint, ("test",))
    for key, name in (
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
    ):
        if key in check:
            done[name] = _at((key,), _health_time, check[key])
    if "retries" in check:
        done["Retries"] = int(check["retries"])
    return done


def _health_time(text: str) -> int:
    nanoseconds = values.nanoseconds(text)
    if 0 < nanoseconds < MILLISECOND:
        raise BadValueError(
            f"{text!r} is too short", "Docker takes 1ms or more, or 0s for its default."
        )
    return nanoseconds


def _restart(policy: str) -> dict[str, Any]:
    name, _, most = policy.partition(":")
    return {"Name": name, "MaximumRetryCount": int(most or 0)}


def _tmpfs(value: str | list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in values.listed(value):
        target, _, options = entry.partition(":")
        if not target.startswith("/"):
            raise BadValueError(
                f"{target!r} is no absolute path", "Write such as /tmp or /tmp:size=64m."
            )
        if target in found:
            raise BadValueError(f"{target} stands twice", "Keep one of them.")
        found[target] = options
    return found


def _devices(entries: list[str]) -> list[dict[str, str]]:
    done = []
    for entry in entries:
        host, _, rest = entry.partition(":")
        inside, _, permissions = rest.partition(":")
        done.append(
            {
                "PathOnHost": host,
                "PathInContainer": inside or host,
                "CgroupPermissions": permissions or "rwm",
            }
        )
    return done


def _ulimits(entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    done = []
    for name, entry in entries.items():
        limits = entry if isinstance(entry, dict) else {"soft": entry, "hard": entry}
        done.append({"Name": name, "Soft": int(limits["soft"]), "Hard": int(limits["hard"])})
    return done


def _logging(entry: Mapping[str, Any]) -> dict[str, Any]:
    options = _at(("options",), _labels, entry.get("options", {}))
    return {"Type": entry.get("driver", ""), "Config": options}


def _swap(value: Any) -> int:
    return -1 if value == -1 else values.size(value)


def _deployed(entry: Mapping[str, Any]) -> dict[str, Any]:
    resources = entry.get("resources", {})
    limits, reserved = resources.get("limits", {}), resources.get("reservations", {})
    done: dict[str, Any] = {}
    for name, part, place, translated in (
        ("NanoCpus", limits, ("limits", "cpus"), values.nano_cpus),
        ("Memory", limits, ("limits", "memory"), values.size),
        ("MemoryReservation", reserved, ("reservations", "memory"), values.size),
    ):
        if place[-1] in part:
            done[name] = _at(("resources", *place), translated, part[place[-1]])
    if "devices" in reserved:
        path = ("resources", "reservations", "devices")
        done["DeviceRequests"] = [
            _at((*path, index), _device, device) for index, device in enumerate(reserved["devices"])
        ]
    return done


def _device(entry: Mapping[str, Any]) -> dict[str, Any]:
    ids = list(entry.get("device_ids", ()))
    if ids and "count" in entry:
        raise BadValueError("device_ids and count do not go together", "Keep one of them.")
    count = entry.get("count", 0 if ids else "all")
    options = _at(("options",), _labels, entry.get("options", {}))
    return {
        "Driver": entry.get("driver", ""),
        "Count": -1 if count == "all" else int(count),
        "DeviceIDs": ids,
        "Capabilities": [list(entry["capabilities"])],
        "Options": options,
    }


def _mounts(entries: list[Any], names: Names) -> list[dict[str, Any]]:
    done = _each(entries, lambda entry: _mount(entry, names))
    counted = Counter(mount["Target"] for mount in done)
    for index, mount in enumerate(done):
        if counted[mount["Target"]] > 1:
            raise BadValueError(
                f"{mount['Target']} is mounted twice", "Keep one of them.", (index,)
            )
    return done


def _mount(entry: str | Mapping[str, Any], names: Names) -> dict[str, Any]:
    if isinstance(entry, str):
        entry = _short_mount(entry)
    kind, source = entry["type"], entry.get("source", "")
    others = [key for key in ("volume", "bind", "tmpfs") if key in entry and key != kind]
    if others:
        raise BadValueError(
            f"belongs to mounts of type {others[0]}, this is a {kind}", "", (others[0],)
        )
    mount: dict[str, Any] = {"Type": kind, "Target": entry["target"]}
    if kind == "tmpfs":
        if source:
            raise BadValueError("a tmpfs has no source", "Remove it.", ("source",))
    else:
        mount["Source"] = _source(kind, source, names)
    mount["ReadOnly"] = entry.get("read_only", False)
    if "nocopy" in entry.get("volume", {}):
        mount["VolumeOptions"] = {"NoCopy": entry["volume"]["nocopy"]}
    if "propagation" in entry.get("bind", {}):
        mount["BindOptions"] = {"Propagation": entry["bind"]["propagation"]}
    if "size" in entry.get("tmpfs", {}):
        size = _at(("tmpfs", "size"), values.size, entry["tmpfs"]["size"])
        mount["TmpfsOptions"] = {"SizeBytes": size}
    return mount


def _short_mount(entry: str) -> dict[str, Any]:
    parts = entry.split(":")
    hint = "Write SOURCE:/TARGET, SOURCE:/TARGET:ro, or the long form."
    if len(parts) not in {2, 3} or not parts[1].startswith("/"):
        raise BadValueError(f"{entry!r} is no mount", hint)
    mode = parts[2] if parts[2:] else "rw"
    if mode not in {"ro", "rw"}:
        raise BadValueError(f"{mode!r} is no mode that is supported here: ro, rw", hint)
    kind = "bind" if parts[0].startswith(("/", ".", "~")) else "volume"
    return {"type": kind, "source": parts[0], "target": parts[1], "read_only": mode == "ro"}


def _source(kind: str, source: str, names: Names) -> str:
    if kind == "bind":
        if not source.startswith("/"):
            raise BadValueError(
                f"{source!r} is no absolute path", "Name a file or folder of the Docker host."
            )
        return source
    if source not in names.volumes:
        if not source:
            raise BadValueError(
                "a volume without a name would be left over", "Write its `source:`."
            )
        hint = did_you_mean(source, names.volumes) or (
            f"Write `{source}: {{name: ...}}` under the top level's `volumes:`."
        )
        raise BadValueError(f"there is no volume {source!r}", hint)
    return names.volumes[source]


def _ports(service: Service) -> tuple[set[str], dict[str, list[dict[str, str]]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for entry in service.get("ports", ()):
        for port, place in values.published(entry):
            bindings.setdefault(port, []).append(place)
    ports = {port for entry in service.get("expose", ()) for port in values.exposed(entry)}
    return ports | set(bindings), bindings


_CONFIG: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "image": ("Image", _as_is),
    "entrypoint": ("Entrypoint", values.words),
    "command": ("Cmd", values.words),
    "working_dir": ("WorkingDir", _as_is),
    "environment": ("Env", _environment),
    "user": ("User", _as_is),
    "hostname": ("Hostname", _as_is),
    "labels": ("Labels", _labels),
    "stdin_open": ("OpenStdin", _as_is),
    "tty": ("Tty", _as_is),
    "stop_grace_period": ("StopTimeout", values.seconds),
    "stop_signal": ("StopSignal", _as_is),
    "healthcheck": ("Healthcheck", _health),
}
_HOST: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "group_add": ("GroupAdd", _texts),
    "init": ("Init", _as_is),
    "restart": ("RestartPolicy", _restart),
    "read_only": ("ReadonlyRootfs", _as_is),
    "tmpfs": ("Tmpfs", _tmpfs),
    "security_opt": ("SecurityOpt", list),
    "cap_add": ("CapAdd", list),
    "cap_drop": ("CapDrop", list),
    "devices": ("Devices", _devices),
    "device_cgroup_rules": ("DeviceCgroupRules", list),
    "runtime": ("Runtime", _as_is),
    "cpus": ("NanoCpus", values.nano_cpus),
    "cpuset": ("CpusetCpus", _as_is),
    "cpu_shares": ("CpuShares", int),
    "mem_limit": ("Memory", values.size),
    "mem_reservation": ("MemoryReservation", values.size),
    "memswap_limit": ("MemorySwap", _swap),
    "shm_size": ("ShmSize", values.size),
    "pids_limit": ("PidsLimit", int),
    "oom_score_adj": ("OomScoreAdj", int),
    "ulimits": ("Ulimits", _ulimits),
    "sysctls": ("Sysctls", _sysctls),
    "ipc": ("IpcMode", _as_is),
    "logging": ("LogConfig", _logging),
    "extra_hosts": ("ExtraHosts", _extra_hosts),
    "dns": ("Dns", values.listed),
    "dns_opt": ("DnsOptions", list),
    "dns_search": ("DnsSearch", values.listed),
}
