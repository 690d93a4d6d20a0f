"""Connection variables, as Ansible names them."""

from __future__ import annotations

import traceback

import pytest

from orchestrator.errors import InventoryError
from orchestrator.fleet.host import Host
from orchestrator.targets.connection import ConnectionSpec, connection_spec


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"address": "pi-1", "kind": "ssh", "port": None, "user": None, "become": False}),
        ({"ansible_host": "192.0.2.7", "ansible_port": 2222}, {"port": 2222}),
        ({"ansible_port": "2222", "ansible_user": "pi"}, {"port": 2222, "user": "pi"}),
        ({"ansible_connection": "local"}, {"kind": "local"}),
        ({"ansible_connection": "smart"}, {"kind": "ssh"}),
        ({"ansible_become": "yes", "ansible_become_user": "net"}, {"become_user": "net"}),
        ({"ansible_become": "no"}, {"become": False}),
        ({"ansible_ssh_common_args": "-J ops@gate:2200,inner"}, {"jump": "ops@gate:2200,inner"}),
        ({"ansible_ssh_common_args": "-o ProxyJump=gate"}, {"jump": "gate"}),
        ({"ansible_ssh_common_args": "-oProxyJump=gate -C"}, {"jump": "gate", "compress": True}),
        (
            {"ansible_ssh_common_args": "-o 'ProxyCommand=nc -X 5 %h %p'"},
            {"proxy_command": "nc -X 5 %h %p"},
        ),
        (
            {"ansible_ssh_common_args": "-o UserKnownHostsFile=/k1 -o StrictHostKeyChecking=no"},
            {"known_hosts": ("/k1",)},
        ),
        ({"ansible_ssh_extra_args": "-p 2022 -i /key -l me"}, {"port": 2022, "key_file": "/key"}),
        ({"ansible_ssh_common_args": "-o ConnectTimeout=3"}, {"connect_timeout": 3.0}),
        ({"ansible_host": "{{ inventory_hostname }}.lan"}, {"address": "pi-1.lan"}),
        ({"zone": "lan", "ansible_host": "x.{{ zone }}"}, {"address": "x.lan"}),
        ({"orchestrate_root": "/opt/nets//"}, {"root": "/opt/nets"}),
        ({"orchestrate_root": "~/"}, {"root": "~"}),
        ({"orchestrate_root": "/"}, {"root": "/"}),
        ({"ansible_user": 5}, {"user": "5"}),
        ({"ansible_password": "{% raw %}p{{w0rd{% endraw %}{{ '' }}"}, {"password": "p{{w0rd"}),
        ({"ansible_password": "{% raw %}p{{w0rd{% endraw %}"}, {"password": "p{{w0rd"}),
        ({"orchestrate_root": "~/nets", "orchestrate_python": "/v/py"}, {"root": "~/nets"}),
    ],
)
def test_variables_become_a_connection(variables, expected):
    spec = connection_spec(Host("pi-1", ("pis",), variables))
    assert {name: getattr(spec, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ansible_connection": "winrm"}, "ansible_connection is 'winrm'"),
        ({"ansible_port": "ssh"}, "ansible_port is 'ssh'"),
        ({"ansible_port": 70000}, "ansible_port is '70000'"),
        ({"ansible_ssh_common_args": "-o Tunnel=yes"}, "'-o tunnel' is not understood"),
        ({"ansible_ssh_common_args": "-X"}, "'-X' is not understood"),
        ({"ansible_ssh_common_args": "-o 'open"}, "No closing quotation"),
        ({"ansible_ssh_common_args": "-o ConnectTimeout=soon"}, "ConnectTimeout is 'soon'"),
        ({"ansible_ssh_common_args": "-o ConnectTimeout=nan"}, "ConnectTimeout is 'nan'"),
        ({"ansible_ssh_common_args": "-o ConnectTimeout=inf"}, "ConnectTimeout is 'inf'"),
        ({"ansible_ssh_common_args": "-o ConnectTimeout=-5"}, "ConnectTimeout is '-5'"),
        ({"ansible_ssh_common_args": ["-J", "x"]}, "ansible_ssh_common_args is a list"),
        ({"ansible_host": "{{ nowhere }}"}, "'nowhere' is undefined"),
        ({"ansible_host": "{{ 1 / 0 }}"}, "ansible_host: division by zero"),
        ({"ansible_host": ["a"]}, "ansible_host is a list"),
        ({"ansible_host": {"a": 1}}, "ansible_host is a mapping"),
        ({"ansible_host": "a\0b"}, "ansible_host has a control character"),
        ({"ansible_port": [22]}, "ansible_port is a list"),
        ({"ansible_port": True}, "ansible_port is true/false"),
        ({"ansible_become": "maybe"}, "ansible_become is 'maybe'"),
        ({"ansible_become": ["yes"]}, "ansible_become is"),
        ({"ansible_password": ["x"]}, "ansible_password is a list"),
        ({"orchestrate_root": ["a"]}, "orchestrate_root is a list"),
        ({"orchestrate_root": "relative/root"}, "orchestrate_root is 'relative/root'"),
        ({"orchestrate_root": "~nobody/x"}, "orchestrate_root is '~nobody/x'"),
        ({"orchestrate_root": "-dash"}, "orchestrate_root is '-dash'"),
        ({"orchestrate_root": "/new\nline"}, "orchestrate_root has a control character"),
    ],
)
def test_what_cannot_be_understood_is_an_error_with_a_hint(variables, message):
    with pytest.raises(InventoryError, match=message) as caught:
        connection_spec(Host("pi-1", (), variables))
    assert caught.value.hint


def test_a_connection_does_not_show_its_secrets():
    spec = ConnectionSpec("h", password="hunter2", become_password="hunter3")
    assert "hunter" not in repr(spec)
    assert "hunter" not in f"{spec}"


@pytest.mark.parametrize("name", ["ansible_password", "ansible_become_pass", "ansible_ssh_pass"])
@pytest.mark.parametrize("secret", ["p{{w0rd", "p{{w0rd}}", "{{ w0rd w0rd }}", "{{ 'w0rd' / 2 }}"])
def test_an_error_about_a_password_does_not_show_it(name, secret):
    with pytest.raises(InventoryError, match=name) as caught:
        connection_spec(Host("pi-1", (), {name: secret}))
    said = "".join(traceback.format_exception(caught.value))
    assert "w0rd" not in said + caught.value.hint
    assert "{% raw %}" in caught.value.hint


def test_an_error_about_a_docker_host_does_not_show_a_password():
    variables = {
        "ansible_connection": "docker",
        "orchestrate_docker_host": "ssh://admin:hunter2@box",
        "orchestrate_image": "sha256:" + "0" * 64,
    }
    with pytest.raises(InventoryError, match=r"ssh://admin:\*\*\*@box") as caught:
        connection_spec(Host("gpu-1", (), variables))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
