import re

import pytest

from orchestrator.compose import filled, networks, networks_of, read, volumes
from orchestrator.compose.document import Compose
from orchestrator.errors import TemplateError

SMALLEST = """services:
  engine:
    image: katago:1
    network_mode: none
"""
NETWORKED = """services:
  engine:
    image: katago:1
networks:
  default: {name: here}
"""


def parsed(text: str) -> Compose:
    return read(text, source="docker-compose.yml")


def mistakes(text: str) -> list[str]:
    with pytest.raises(TemplateError) as caught:
        parsed(text)
    assert caught.value.exit_code == 2
    return caught.value.message.splitlines()


def hint(text: str) -> str:
    with pytest.raises(TemplateError) as caught:
        parsed(text)
    return caught.value.hint


def test_the_smallest_file():
    compose = parsed(SMALLEST)
    assert list(compose.services) == ["engine"]
    assert networks(compose, "engine", release="r-1") == {}
    assert volumes(compose) == networks_of(compose) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("imag: x", "docker-compose.yml:5: services.engine.imag: not supported"),
        ("build: .", "docker-compose.yml:5: services.engine.build: not supported"),
        ("restart: no", "docker-compose.yml:5: services.engine.restart: expected text, got false"),
        ("restart: never", "services.engine.restart: 'never' does not look right"),
        ("user: 1000", "services.engine.user: expected text, got 1000"),
        ("networks: [default]", "services.engine.networks: does not go with network_mode"),
        ("ports: ['80:80']", "services.engine.ports: does not go with network_mode: none"),
        ("ports: [22:22]", "services.engine.ports[0]: 1342 has none of the known"),
        ("command: 'sh -c \"x'", "services.engine.command: not readable as a command"),
        ("working_dir: here", "services.engine.working_dir: 'here' does not look right"),
        ("environment: [HOME]", "services.engine.environment[0]: 'HOME' has no value"),
        ("environment: {A: 1.0}", "services.engine.environment.A: expected text or a whole"),
        ("environment: {A: 1.5}", "services.engine.environment.A: expected text or a whole"),
        ("environment: {A: yes}", "services.engine.environment.A: expected text or a whole"),
        ("environment: [A=1, A=2]", "services.engine.environment[1]: 'A' stands twice"),
        ("mem_limit: 4x", "services.engine.mem_limit: '4x' is no size"),
        ("mem_limit: 99999999999t", "services.engine.mem_limit: '99999999999t' is too large"),
        ("memswap_limit: 4g", "services.engine.memswap_limit: needs a limit of memory"),
        ("cpus: 0", "services.engine.cpus: 0 is no number of CPUs"),
        ("stop_grace_period: 1500ms", "stop_grace_period: '1500ms' is not a number of whole"),
        ("stop_grace_period: '10'", "services.engine.stop_grace_period: '10' is no duration"),
        ("healthcheck: {test: [a]}", "healthcheck.test: does not start with CMD, CMD-SHELL or"),
        ("healthcheck: {test: []}", "healthcheck.test: does not start with CMD, CMD-SHELL or"),
        ("healthcheck: {disable: false}", "services.engine.healthcheck.disable: expected true"),
        ("healthcheck: {disable: true, test: x}", "a check that is disabled has no test"),
        ("healthcheck: {interval: 10ns}", "services.engine.healthcheck.interval: '10ns' is too"),
        ("security_opt: ['seccomp:./x.json']", "security_opt[0]: 'seccomp:./x.json' does not"),
        ("devices: [nvidia.com/gpu=all]", "devices[0]: 'nvidia.com/gpu=all' does not look right"),
        ("tmpfs: [tmp]", "services.engine.tmpfs: 'tmp' is no absolute path"),
        ("volumes: [/data]", "services.engine.volumes[0]: '/data' is no mount"),
        ("volumes: ['./a:/a']", "services.engine.volumes[0]: './a' is no absolute path"),
        ("volumes: ['a:/a']", "services.engine.volumes[0]: there is no volume 'a'"),
        ("volumes: ['/a:/a:z']", "services.engine.volumes[0]: 'z' is no mode that is supported"),
        ("volumes: ['/a:/b', '/c:/b']", "services.engine.volumes[0]: /b is mounted twice"),
        ("volumes: [{type: volume, target: /a}]", "a volume without a name would be left over"),
        (
            "volumes: [{type: bind, source: /a, target: /a, volume: {nocopy: true}}]",
            "services.engine.volumes[0].volume: belongs to mounts of type volume, this is a bind",
        ),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 0}]}}}",
            "services.engine.deploy.resources.reservations.devices[0].count: ",
        ),
        (
            "deploy: {resources: {reservations: {devices: [{driver: nvidia}]}}}",
            "devices[0]: the key 'capabilities' is missing",
        ),
        (
            """deploy: {resources: {reservations: {devices: [
        {capabilities: [gpu], count: 1, device_ids: ['0']}]}}}""",
            "devices[0]: device_ids and count do not go together",
        ),
        ("deploy: {replicas: 2}", "services.engine.deploy.replicas: not supported"),
        ("expose: [x]", "services.engine.expose[0]: 'x' is no port"),
        ("extra_hosts: [here]", "services.engine.extra_hosts[0]: 'here' has no value"),
    ],
)
def test_a_mistake_in_a_service(line, said):
    [mistake] = mistakes(f"{SMALLEST}    {line}\n")
    assert said in mistake
    assert re.match(r"docker-compose.yml:[56]: services.engine\.", mistake)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("'99999:1'", "99999 is no port"),
        ("'x:1'", "'x:1' is no port mapping"),
        ("'1-3:1-2'", "1-3 and 1-2 are not equally many ports"),
        ("'3-1:3-1'", "3-1 is no port"),
        ("'1.2.3:1:1'", "'1.2.3' is no IP address"),
        ("{target: 80, published: x}", "'x' is no port"),
        ("{target: 80, host_ip: x}", "'x' is no IP address"),
        ("{target: 80, protocol: icmp}", "'icmp' is not one of tcp, udp, sctp"),
    ],
)
def test_a_mistake_in_a_port(entry, said):
    text = NETWORKED.replace("katago:1", f"katago:1\n    ports: ['80:80', {entry}]")
    [mistake] = mistakes(text)
    assert mistake.startswith("docker-compose.yml:4: services.engine.ports[1]")
    assert said in mistake


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "top level: the key 'services' is missing"),
        ("services: {front: {image: a}}", ":1: services: the key 'engine' is missing"),
        (SMALLEST + "  other: {image: a}\n", ":5: services.other: not supported"),
        (SMALLEST.replace("    image: katago:1\n", ""), "services.engine: the key 'image'"),
        ("version: '3'\n" + SMALLEST, ":1: version: not supported"),
        ("name: x\n" + SMALLEST, ":1: name: not supported"),
        (SMALLEST + "volumes: {a: {}}\n", ":5: volumes.a: the key 'name' is missing"),
        (SMALLEST + "networks: {a: }\n", ":5: networks.a: the key 'name' is missing"),
        (
            SMALLEST + "volumes: {a: {external: true, driver: local}}\n",
            ":5: volumes.a.driver: does not go with external: true",
        ),
        (
            SMALLEST + "volumes: {a: {name: a, labels: [x=1, x=2]}}\n",
            ":5: volumes.a.labels[1]: 'x' stands twice",
        ),
        (NETWORKED.replace("default", "other"), "services.engine: there is no network 'default'"),
        (SMALLEST + "  engine: {image: b}\n", ":5:3: 'engine' stands twice"),
        (SMALLEST + "\tx", ":5:1: not valid YAML"),
    ],
)
def test_a_mistake_in_the_file(text, said):
    [mistake] = mistakes(text)
    assert said in mistake


def test_every_mistake_is_told_in_the_order_of_the_file():
    text = SMALLEST.replace("none", "nothing") + "    tyy: true\n    cap_add: NET\n"
    assert [each.split(": ")[0] for each in mistakes(text)] == [
        f"docker-compose.yml:{line}" for line in (4, 5, 6)
    ]
    assert hint(text) == "Mend these 3 mistakes in docker-compose.yml."
    text = SMALLEST + "    mem_limit: x\n    cpus: y\n    volumes: [a, b]\n"
    assert [each.split(": ")[1] for each in mistakes(text)] == [
        "services.engine.mem_limit",
        "services.engine.cpus",
        "services.engine.volumes[0]",
        "services.engine.volumes[1]",
    ]


@pytest.mark.parametrize(
    ("line", "way_out"),
    [
        ("comand: x", "Did you mean 'command'?"),
        ("build: .", "Images are made before; name one with `image:`."),
        ("restart: no", 'Write it in quotes: "no"'),
        ("ports: [22:22]", 'such as "127.0.0.1:8080:8080", in quotes'),
        ("zzz: 1", "Supported are: image, container_name, entrypoint"),
        ("volumes: ['dta:/a']\nvolumes: {data: {name: d}}", "Did you mean 'data'?"),
    ],
)
def test_the_way_out(line, way_out):
    assert hint(f"{SMALLEST}    {line}\n").startswith(way_out)


def test_extensions_and_merge_keys():
    compose = parsed(
        "x-common: &common {cap_drop: [ALL]}\n"
        "services:\n  engine: {image: a, network_mode: none, x-note: 1, <<: *common}\n"
    )
    assert compose.services["engine"]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("written", ["$HOME", "${HOME}", "${ORCHESTRATE_RELEASE:-x}", "$1", "a $"])
def test_only_the_release_is_filled_in(written):
    [mistake] = mistakes(f"{SMALLEST}    command: ['{written}']\n")
    wanted = "docker-compose.yml:5: services.engine.command[0]: "
    assert mistake.startswith(wanted)
    assert mistake.endswith("is nothing that is filled in here")


def test_a_variable_that_is_misspelled():
    text = f"{SMALLEST}    command: ['$ORCHESTRATE_RELEASES']\n"
    assert hint(text) == "Did you mean 'ORCHESTRATE_RELEASE'?"


@pytest.mark.parametrize(
    "line",
    [
        "labels: {'${ORCHESTRATE_RELEASE}': x}",
        r'command: ["\x24ORCHESTRATE_RELEASE"]',
        r'command: ["\x24${ORCHESTRATE_RELEASE}"]',
    ],
)
def test_a_release_that_text_and_values_would_have_differently(line):
    [mistake] = mistakes(f"{SMALLEST}    {line}\n")
    assert "stands in a key or is written with YAML escapes" in mistake


def test_filled():
    text = (
        "${ORCHESTRATE_RELEASE} $ORCHESTRATE_RELEASE $${ORCHESTRATE_RELEASE} $$$ORCHESTRATE_RELEASE"
    )
    assert filled(text, "r-1") == "r-1 r-1 $${ORCHESTRATE_RELEASE} $$r-1"


def test_the_alias_is_filled_in_like_the_release():
    text = """services:
  engine:
    image: katago:1
    networks: {go: {aliases: ['${ORCHESTRATE_ALIAS}']}}
networks: {go: {external: true}}
"""
    release = "kata-9x9-v2-0123456789ab"
    assert networks(parsed(text), "engine", release=release) == {"go": ("r-0123456789ab",)}
    assert "aliases: ['r-0123456789ab']" in filled(text, release)
    assert filled("$ORCHESTRATE_ALIAS $$ORCHESTRATE_ALIAS", release) == (
        "r-0123456789ab $$ORCHESTRATE_ALIAS"
    )


def test_networks_come_by_priority_then_by_name():
    compose = parsed(
        """
services:
  engine:
    image: a
    networks: {z: {aliases: [one, two]}, a: , m: {priority: 5}}
networks: {a: {external: true}, m: {name: real-m}, z: {name: real-z, internal: true}}
volumes: {v: {name: real-v, driver_opts: {size: 5}, labels: [a=b, c]}}
"""
    )
    assert list(networks(compose, "engine", release="r-1").items()) == [
        ("real-m", ()),
        ("a", ()),
        ("real-z", ("one", "two")),
    ]
    known = networks_of(compose)
    assert [(each.name, each.external) for each in known.values()] == [
        ("a", True),
        ("real-m", False),
        ("real-z", False),
    ]
    assert known["z"].body["Internal"] is True
    [volume] = volumes(compose).values()
    assert volume.body == {
        "Name": "real-v",
        "Driver": "local",
        "DriverOpts": {"size": "5"},
        "Labels": {"a": "b", "c": ""},
    }
