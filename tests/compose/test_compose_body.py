from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.compose import container, container_name, filled, read
from orchestrator.compose.interpolation import interpolated, strangers
from orchestrator.compose.values import BadValueError, nano_cpus, nanoseconds, seconds, size, words

RELEASE = "b18-v2-0123456789ab"
FILE = """
services:
  engine:
    image: katago:1
    {line}
networks: {{default: {{name: here}}, outside: {{name: shared, external: true}}}}
volumes: {{data: {{name: real-data}}}}
"""


def body(line: str) -> dict[str, Any]:
    return container(read(FILE.format(line=line), source="x"), "engine", release=RELEASE)


BASE = body("")


def test_without_anything():
    assert BASE == {
        "Image": "katago:1",
        "OpenStdin": False,
        "Tty": False,
        "HostConfig": {"NetworkMode": "here"},
        "NetworkingConfig": {"EndpointsConfig": {"here": {"Aliases": []}}},
    }


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("entrypoint: sh -c 'a b'", {"Entrypoint": ["sh", "-c", "a b"]}),
        ("entrypoint: []", {"Entrypoint": []}),
        ("command: [a, '$$b c']", {"Cmd": ["a", "$b c"]}),
        ("command: a '$$b c'", {"Cmd": ["a", "$b c"]}),
        ("working_dir: /r/${ORCHESTRATE_RELEASE}", {"WorkingDir": f"/r/{RELEASE}"}),
        ("working_dir: /r/$ORCHESTRATE_RELEASE", {"WorkingDir": f"/r/{RELEASE}"}),
        ("environment: {A: 1, B: 'x y', C: ''}", {"Env": ["A=1", "B=x y", "C="]}),
        ("environment: [A=1, B=x=y]", {"Env": ["A=1", "B=x=y"]}),
        ("user: '1000:1000'", {"User": "1000:1000"}),
        ("hostname: h1", {"Hostname": "h1"}),
        ("labels: {a.b: 1, c: x}", {"Labels": {"a.b": "1", "c": "x"}}),
        ("labels: [a=b=c, d]", {"Labels": {"a": "b=c", "d": ""}}),
        ("stdin_open: true", {"OpenStdin": True}),
        ("tty: true", {"Tty": True}),
        ("stop_grace_period: 1m30s", {"StopTimeout": 90}),
        ("stop_signal: SIGINT", {"StopSignal": "SIGINT"}),
        ("healthcheck: {test: a b}", {"Healthcheck": {"Test": ["CMD-SHELL", "a b"]}}),
        ("healthcheck: {test: [CMD, a]}", {"Healthcheck": {"Test": ["CMD", "a"]}}),
        ("healthcheck: {test: [NONE]}", {"Healthcheck": {"Test": ["NONE"]}}),
        ("healthcheck: {disable: true}", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            "healthcheck: {interval: 1m30s, timeout: 500ms, retries: 2, start_period: 0s}",
            {
                "Healthcheck": {
                    "Interval": 90_000_000_000,
                    "Timeout": 500_000_000,
                    "Retries": 2,
                    "StartPeriod": 0,
                }
            },
        ),
        ("network_mode: none", {"HostConfig": {"NetworkMode": "none"}, "NetworkingConfig": None}),
        ("network_mode: host", {"HostConfig": {"NetworkMode": "host"}, "NetworkingConfig": None}),
        (
            "networks: {outside: {priority: 1, aliases: [a]}, default: {aliases: [b]}}",
            {
                "HostConfig": {"NetworkMode": "shared"},
                "NetworkingConfig": {"EndpointsConfig": {"shared": {"Aliases": ["a"]}}},
            },
        ),
        (
            "ports: ['127.0.0.1:8080:80', '9000:9000/udp', '[::1]::7']",
            {
                "ExposedPorts": {"7/tcp": {}, "80/tcp": {}, "9000/udp": {}},
                "HostConfig": {
                    "NetworkMode": "here",
                    "PortBindings": {
                        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
                        "9000/udp": [{"HostIp": "", "HostPort": "9000"}],
                        "7/tcp": [{"HostIp": "::1", "HostPort": ""}],
                    },
                },
            },
        ),
        (
            "ports: ['80-81:90-91', '100-200:5', {target: 90, published: 7, host_ip: 127.0.0.1}]",
            {
                "ExposedPorts": {"5/tcp": {}, "90/tcp": {}, "91/tcp": {}},
                "HostConfig": {
                    "NetworkMode": "here",
                    "PortBindings": {
                        "90/tcp": [
                            {"HostIp": "", "HostPort": "80"},
                            {"HostIp": "127.0.0.1", "HostPort": "7"},
                        ],
                        "91/tcp": [{"HostIp": "", "HostPort": "81"}],
                        "5/tcp": [{"HostIp": "", "HostPort": "100-200"}],
                    },
                },
            },
        ),
        ("expose: [80, '82-83/udp']", {"ExposedPorts": {"80/tcp": {}, "82/udp": {}, "83/udp": {}}}),
    ],
)
def test_what_is_beside_host_config(line, wanted):
    expected = {key: value for key, value in (BASE | wanted).items() if value is not None}
    assert body(line) == expected


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('restart: "no"', {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}}),
        ("restart: always", {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}}),
        (
            "restart: on-failure:3",
            {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
        ),
        ("group_add: [27, video]", {"GroupAdd": ["27", "video"]}),
        ("init: true", {"Init": True}),
        ("read_only: true", {"ReadonlyRootfs": True}),
        ("tmpfs: /tmp", {"Tmpfs": {"/tmp": ""}}),
        (
            "tmpfs: ['/tmp:size=64m,mode=1777', /run]",
            {"Tmpfs": {"/tmp": "size=64m,mode=1777", "/run": ""}},
        ),
        ("security_opt: ['no-new-privileges:true']", {"SecurityOpt": ["no-new-privileges:true"]}),
        ("cap_add: [NET_ADMIN]", {"CapAdd": ["NET_ADMIN"]}),
        ("cap_drop: [ALL]", {"CapDrop": ["ALL"]}),
        (
            "devices: [/dev/a, '/dev/a:/dev/b', '/dev/a:/dev/b:r']",
            {
                "Devices": [
                    {
                        "PathOnHost": "/dev/a",
                        "PathInContainer": inside,
                        "CgroupPermissions": permissions,
                    }
                    for inside, permissions in (
                        ("/dev/a", "rwm"),
                        ("/dev/b", "rwm"),
                        ("/dev/b", "r"),
                    )
                ]
            },
        ),
        ("device_cgroup_rules: ['c 1:3 mr']", {"DeviceCgroupRules": ["c 1:3 mr"]}),
        ("runtime: nvidia", {"Runtime": "nvidia"}),
        ("cpus: 2.0", {"NanoCpus": 2_000_000_000}),
        ("cpus: '0.1'", {"NanoCpus": 100_000_000}),
        ("cpuset: 0-2,4", {"CpusetCpus": "0-2,4"}),
        ("cpu_shares: 512", {"CpuShares": 512}),
        ("mem_limit: 4096m", {"Memory": 4 * 2**30}),
        ("mem_limit: 1g\n    memswap_limit: -1", {"Memory": 2**30, "MemorySwap": -1}),
        ("mem_limit: 1g\n    memswap_limit: 2GB", {"Memory": 2**30, "MemorySwap": 2**31}),
        ("mem_reservation: 10000000", {"MemoryReservation": 10_000_000}),
        ("shm_size: 64k", {"ShmSize": 65536}),
        ("pids_limit: 100", {"PidsLimit": 100}),
        ("oom_score_adj: -5", {"OomScoreAdj": -5}),
        (
            "ulimits: {nofile: 1024, core: {soft: 0, hard: -1}}",
            {
                "Ulimits": [
                    {"Name": "nofile", "Soft": 1024, "Hard": 1024},
                    {"Name": "core", "Soft": 0, "Hard": -1},
                ]
            },
        ),
        ("sysctls: {net.core.somaxconn: 1024}", {"Sysctls": {"net.core.somaxconn": "1024"}}),
        ("sysctls: [net.core.somaxconn=1024]", {"Sysctls": {"net.core.somaxconn": "1024"}}),
        ("ipc: host", {"IpcMode": "host"}),
        (
            "logging: {driver: json-file, options: {max-size: 10m, max-file: 3}}",
            {"LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}},
        ),
        (
            "extra_hosts: ['a:1.2.3.4', 'b:::1', 'c:host-gateway']",
            {"ExtraHosts": ["a:1.2.3.4", "b:::1", "c:host-gateway"]},
        ),
        ("extra_hosts: {a: 1.2.3.4}", {"ExtraHosts": ["a:1.2.3.4"]}),
        (
            "dns: 1.1.1.1\n    dns_opt: [rotate]\n    dns_search: [a.b]",
            {"Dns": ["1.1.1.1"], "DnsOptions": ["rotate"], "DnsSearch": ["a.b"]},
        ),
        (
            "deploy: {resources: {limits: {cpus: '1.5', memory: 1g}, reservations: {memory: 1m}}}",
            {"NanoCpus": 1_500_000_000, "Memory": 2**30, "MemoryReservation": 2**20},
        ),
        (
            "volumes: [data:/d, 'data:/e:ro', '/srv:/s']",
            {
                "Mounts": [
                    {"Type": "volume", "Source": "real-data", "Target": "/d", "ReadOnly": False},
                    {"Type": "volume", "Source": "real-data", "Target": "/e", "ReadOnly": True},
                    {"Type": "bind", "Source": "/srv", "Target": "/s", "ReadOnly": False},
                ]
            },
        ),
        (
            """volumes:
    - {type: volume, source: data, target: /d, volume: {nocopy: true}}
    - {type: bind, source: /srv, target: /s, read_only: true, bind: {propagation: slave}}
    - {type: tmpfs, target: /t, tmpfs: {size: 64m}}""",
            {
                "Mounts": [
                    {
                        "Type": "volume",
                        "Source": "real-data",
                        "Target": "/d",
                        "ReadOnly": False,
                        "VolumeOptions": {"NoCopy": True},
                    },
                    {
                        "Type": "bind",
                        "Source": "/srv",
                        "Target": "/s",
                        "ReadOnly": True,
                        "BindOptions": {"Propagation": "slave"},
                    },
                    {
                        "Type": "tmpfs",
                        "Target": "/t",
                        "ReadOnly": False,
                        "TmpfsOptions": {"SizeBytes": 2**26},
                    },
                ]
            },
        ),
    ],
)
def test_host_config(line, wanted):
    made = body(line)
    assert made["HostConfig"] == {"NetworkMode": "here", **wanted}
    assert {**made, "HostConfig": BASE["HostConfig"]} == BASE


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ("driver: nvidia, count: all, capabilities: [gpu]", ("nvidia", -1, [], ["gpu"])),
        ("count: 2, capabilities: [gpu, utility]", ("", 2, [], ["gpu", "utility"])),
        ("capabilities: [gpu]", ("", -1, [], ["gpu"])),
        (
            "driver: cdi, device_ids: [nvidia.com/gpu=all], capabilities: [gpu]",
            ("cdi", 0, ["nvidia.com/gpu=all"], ["gpu"]),
        ),
    ],
)
def test_device_requests(device, wanted):
    made = body(f"deploy: {{resources: {{reservations: {{devices: [{{{device}}}]}}}}}}")
    driver, count, ids, capabilities = wanted
    assert made["HostConfig"]["DeviceRequests"] == [
        {
            "Driver": driver,
            "Count": count,
            "DeviceIDs": ids,
            "Capabilities": [capabilities],
            "Options": {},
        }
    ]


def test_the_containers_name():
    with_name = read(FILE.format(line="container_name: one"), source="x")
    assert container_name(with_name, "engine") == "one"
    assert container_name(read(FILE.format(line=""), source="x"), "engine") == ""


UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
PARTS = st.lists(st.sampled_from(list(UNITS)), min_size=1, unique=True).map(
    lambda units: sorted(units, key=lambda unit: -UNITS[unit])
)


@given(PARTS, st.data())
def test_durations_add_up(units, data):
    numbers = [data.draw(st.integers(0, 100_000)) for _ in units]
    text = "".join(f"{n}{unit}" for n, unit in zip(numbers, units, strict=True))
    whole = sum(n * UNITS[unit] for n, unit in zip(numbers, units, strict=True))
    assert nanoseconds(text) == whole
    if whole % 10**9 == 0:
        assert seconds(text) == whole // 10**9


@given(st.decimals(0, 10_000, places=3))
def test_fractions_of_durations_and_sizes_are_exact(number):
    assert nanoseconds(f"{number}s") == int(number * 10**9)
    assert size(f"{number}g") == int(number * 2**30)
    if number:
        assert nano_cpus(str(number)) == number * 10**9


@given(
    st.integers(0, 2**20),
    st.sampled_from(["", "k", "m", "g", "t"]),
    st.booleans(),
    st.booleans(),
)
def test_sizes(number, unit, with_b, upper):
    text = f"{number}{unit}{'b' if with_b else ''}"
    wanted = number * 1024 ** ["", "k", "m", "g", "t"].index(unit)
    assert size(text.upper() if upper else text) == wanted
    assert size(number) == number


@given(st.text(alphabet="0123456789.hmsunkgtb -+e", max_size=8))
def test_other_durations_and_sizes_are_refused_by_name(text):
    for read_value in (nanoseconds, seconds, size, nano_cpus):
        said = ""
        try:
            assert read_value(text) >= 0
        except BadValueError as exc:
            said = exc.message
        assert not said or repr(text) in said


TOKENS = ("$", "$$", "${", "}", "a", " ", "_", "1", "'", "${ORCHESTRATE_RELEASE}")
VARIABLES = ("$ORCHESTRATE_RELEASE", "${ORCHESTRATE_ALIAS}")
TEXTS = st.lists(st.sampled_from((*TOKENS, *VARIABLES)), max_size=8).map("".join)


@given(TEXTS, st.from_regex(r"r-[0-9a-f]{1,4}", fullmatch=True))
def test_a_text_that_is_filled_means_what_the_value_means(text, release):
    if not list(strangers([text])):
        document = yaml.safe_dump({"key": [text]}, width=1000)
        again = yaml.safe_load(filled(document, release))
        assert interpolated(again, "unused") == interpolated({"key": [text]}, release)


@given(TEXTS)
def test_a_dollar_that_is_doubled_is_a_dollar(text):
    doubled = text.replace("$", "$$")
    assert interpolated(doubled, "unused") == text
    assert filled(doubled, "unused") == doubled
    assert not list(strangers(doubled))


@given(st.lists(st.text(max_size=8), max_size=4))
def test_a_command_as_a_list_is_taken_as_it_is(command):
    assert words(command) == command
