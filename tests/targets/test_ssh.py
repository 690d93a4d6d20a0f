"""The SSH target against real OpenSSH daemons."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.errors import (
    AuthError,
    CommandError,
    HostKeyError,
    InventoryError,
    UnreachableError,
)
from orchestrator.fleet.host import Host
from orchestrator.targets import commands, connect, ssh, trust
from orchestrator.targets.connection import ConnectionSpec, connection_spec
from tests.proxy import Cut
from tests.sshd import write_key_pair


def spec_of(host, **variables):
    return connection_spec(Host(host.name, (), {**host.inventory_vars(), **variables}))


def test_run_returns_status_output_and_lines(sshd_fleet):
    (host,) = sshd_fleet()
    lines = []
    with connect(spec_of(host)) as target:
        done = target.run(
            "cat; echo err >&2; exit 3", stdin=b"a\nb\n", timeout=10, on_line=lines.append
        )
    assert (done.exit_status, done.stdout, done.stderr) == (3, "a\nb\n", "err\n")
    assert lines == ["a", "b"]


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_a_flood_of_output_is_stopped(sshd_fleet, stream):
    (host,) = sshd_fleet()
    with connect(spec_of(host)) as target:
        with pytest.raises(CommandError, match="8 MiB") as caught:
            target.run(f"yes {stream}", timeout=60)
        assert target.run("echo still here", timeout=10).stdout == "still here\n"
    assert caught.value.as_dict()["code"] == "too_much_output"


def test_large_output_on_both_streams_does_not_block(sshd_fleet):
    (host,) = sshd_fleet()
    big = "dd if=/dev/zero bs=1M count=6 2>/dev/null | tr '\\0' x"
    with connect(spec_of(host)) as target:
        done = target.run(f"{big} >&2; {big}", timeout=60)
    assert len(done.stdout) == len(done.stderr) == 6 << 20


def test_upload_is_binary_safe_and_reports_bytes(sshd_fleet):
    (host,) = sshd_fleet()
    data = os.urandom(3_000_001)
    sent = []
    with connect(spec_of(host)) as target:
        done = target.upload(
            f"cat > {host.here('/').joinpath(str(host.folder), 'f')}",
            [data],
            timeout=20,
            on_sent=sent.append,
        )
    assert done.exit_status == 0
    assert sum(sent) == len(data)
    assert hashlib.sha256((host.folder / "f").read_bytes()).digest() == (
        hashlib.sha256(data).digest()
    )


def test_upload_to_a_command_that_stops_reading_says_why(sshd_fleet):
    (host,) = sshd_fleet()
    with connect(spec_of(host)) as target:
        done = target.upload(
            "echo full >&2; exit 1", [b"x" * 1_000_000] * 40, timeout=20, on_sent=lambda _: None
        )
    assert done.exit_status == 1
    assert "full" in done.stderr


def test_a_command_that_does_not_end_is_killed_on_the_host(sshd_fleet):
    (host,) = sshd_fleet()
    with connect(spec_of(host)) as target:
        done = target.run("echo started; exec sleep 1000", timeout=1)
        assert done.exit_status == 124
        assert not [p for p in host.processes() if "1000" in p.argv]


def test_a_host_that_ignores_its_timeout_is_given_up_on(sshd_fleet, monkeypatch):
    monkeypatch.setattr("orchestrator.targets.shell.GRACE", 0.5)
    (host,) = sshd_fleet()
    with connect(spec_of(host)) as target, pytest.raises(CommandError, match="no end after 1 s"):
        target.run("trap '' TERM; while :; do read -r _ </dev/zero || :; done", timeout=1)
    host.kill_sessions("while :")


def test_unknown_host_key_is_refused_until_trusted(sshd_fleet, tmp_path):
    (host,) = sshd_fleet()
    known = tmp_path / "empty" / "known_hosts"
    spec = spec_of(host, ansible_ssh_common_args=f"-o UserKnownHostsFile={known}")
    with pytest.raises(HostKeyError, match="is not known") as caught:
        connect(spec)
    assert caught.value.as_dict()["code"] == "host_key_unknown"
    assert "orchestrate trust host-1" in caught.value.hint
    offered = trust.offered_key(spec)
    assert offered.known == "no"
    assert offered.fingerprint.startswith("SHA256:")
    trust.remember(offered)
    connect(spec).close()
    assert trust.offered_key(spec).known == "yes"


def test_strict_host_key_checking_no_changes_nothing(sshd_fleet, tmp_path):
    (host,) = sshd_fleet()
    spec = spec_of(
        host,
        ansible_ssh_common_args=f"-o StrictHostKeyChecking=no -o UserKnownHostsFile={tmp_path}/k",
    )
    with pytest.raises(HostKeyError):
        connect(spec)


def test_changed_host_key_is_refused_and_can_be_replaced(sshd_fleet):
    (host, other) = sshd_fleet(2)
    host.rotate_host_key()
    with pytest.raises(HostKeyError, match="CHANGED") as caught:
        connect(spec_of(host))
    assert caught.value.as_dict()["code"] == "host_key_mismatch"
    offered = trust.offered_key(spec_of(host))
    assert offered.known == "changed"
    trust.remember(offered)
    connect(spec_of(host)).close()
    connect(spec_of(other)).close()


def test_refused_key_names_user_and_what_to_try(sshd_fleet, tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (host,) = sshd_fleet()
    write_key_pair(tmp_path / "stranger")
    spec = spec_of(host, ansible_ssh_private_key_file=str(tmp_path / "stranger"))
    with pytest.raises(AuthError, match="was refused"):
        connect(spec)


def test_nobody_listening_is_unreachable(sshd_fleet):
    (host,) = sshd_fleet()
    host.stop()
    with pytest.raises(UnreachableError, match="refused"):
        connect(spec_of(host))


def test_jump_host_is_gone_through_and_checked(sshd_fleet, tmp_path):
    jump, host = sshd_fleet(2)
    through = f"-J {jump.inventory_vars()['ansible_user']}@{jump.address}:{jump.port}"
    args = f"{host.inventory_vars()['ansible_ssh_common_args']} {through}"
    with connect(spec_of(host, ansible_ssh_common_args=args)) as target:
        assert target.run("echo there", timeout=10).stdout == "there\n"
        assert "direct-tcpip" in jump.log or jump.processes()
    jump.rotate_host_key()
    with pytest.raises(HostKeyError, match="CHANGED") as caught:
        connect(spec_of(host, ansible_ssh_common_args=args))
    assert f"jump host {jump.address}:{jump.port}" in caught.value.message
    assert f"ssh-keygen -f {host.known_hosts} -R '[{jump.address}]:{jump.port}'" in (
        caught.value.hint
    )
    host.known_hosts.write_text(host.known_hosts_line())
    for asked in (connect, trust.offered_key):
        with pytest.raises(HostKeyError, match="is not known") as caught:
            asked(spec_of(host, ansible_ssh_common_args=args))
        assert f"jump host {jump.address}:{jump.port}" in caught.value.message
        assert f"ssh -p {jump.port} " in caught.value.hint
        assert "orchestrate trust" not in caught.value.hint


def test_a_revoked_key_is_refused(sshd_fleet):
    (host,) = sshd_fleet()
    marked = host.known_hosts_line().split(" ", 1)[1]
    host.known_hosts.write_text(f"{host.known_hosts.read_text()}@revoked * {marked}")
    for asked in (connect, trust.offered_key):
        with pytest.raises(HostKeyError, match="is revoked") as caught:
            asked(spec_of(host))
        assert caught.value.as_dict()["code"] == "host_key_revoked"


def test_known_hosts_with_bad_lines_still_serves(sshd_fleet):
    (host,) = sshd_fleet()
    good = host.known_hosts.read_bytes()
    host.known_hosts.write_bytes(
        b"\xff\xfe\nhost ssh-ed25519 AAAA!!!bad\n@cert-authority * x\n" + good
    )
    connect(spec_of(host)).close()


def test_a_cut_link_is_a_lost_connection(sshd_fleet):
    (host,) = sshd_fleet()
    with Cut(host, after=200_000) as cut:
        host.known_hosts.write_text(
            host.known_hosts.read_text() + host.known_hosts_line(cut.address, cut.port)
        )
        spec = connection_spec(Host(host.name, (), cut.inventory_vars()))
        with (
            connect(spec) as target,
            pytest.raises(UnreachableError, match="connection broke") as caught,
        ):
            target.upload(
                "cat >/dev/null", [b"x" * 100_000] * 50, timeout=20, on_sent=lambda _: None
            )
    assert caught.value.as_dict()["code"] == "connection_lost"


def stalled(cut, **options):
    """A connection through `cut`, which lets nothing pass to the host once it is made."""
    spec = connection_spec(Host("host-1", (), cut.inventory_vars()), **options)
    target = connect(spec)
    target.run("true", timeout=10)
    cut.after = cut.passed
    return target


@pytest.mark.parametrize(
    "use",
    [
        lambda target: target.run("true", timeout=100),
        lambda target: target.upload(
            "cat >/dev/null", [b"x" * 10**6] * 40, timeout=100, on_sent=lambda _: None
        ),
    ],
    ids=["run", "upload"],
)
def test_a_stalled_link_is_a_lost_connection(sshd_fleet, use):
    (host,) = sshd_fleet()
    with (
        Cut(host, then="stall") as cut,
        stalled(cut, connect_timeout=1.0, keepalive=50) as target,
        pytest.raises(UnreachableError) as caught,
    ):
        use(target)
    assert caught.value.as_dict()["code"] == "connection_lost"


def test_a_link_that_stalls_while_a_command_runs_is_noticed(sshd_fleet):
    (host,) = sshd_fleet()
    with Cut(host, then="stall") as cut:
        spec = connection_spec(Host("host-1", (), cut.inventory_vars()), keepalive=0.5)

        def stall(line):
            cut.after = cut.passed

        with connect(spec) as target, pytest.raises(UnreachableError) as caught:
            target.run("echo go; sleep 100", timeout=100, on_line=stall)
        assert cut.happened.is_set()
    assert caught.value.as_dict()["code"] == "connection_lost"
    host.kill_sessions("sleep 100")


def test_an_upload_that_stalls_midway_ends_with_its_timeout(sshd_fleet):
    (host,) = sshd_fleet()
    with Cut(host, after=5_000_000, then="stall") as cut:
        spec = connection_spec(Host("host-1", (), cut.inventory_vars()), keepalive=50)
        with connect(spec) as target, pytest.raises(UnreachableError) as caught:
            target.upload(
                "cat >/dev/null", [b"x" * 10**6] * 40, timeout=1.5, on_sent=lambda _: None
            )
    assert caught.value.as_dict()["code"] == "connection_lost"


def test_a_silent_command_outlives_many_keepalives(sshd_fleet):
    (host,) = sshd_fleet()
    spec = connection_spec(Host(host.name, (), host.inventory_vars()), keepalive=0.2)
    with connect(spec) as target:
        assert target.run("sleep 2; echo done", timeout=10).stdout == "done\n"


def test_a_server_that_hangs_up_on_newcomers_is_asked_again(sshd_fleet):
    (host,) = sshd_fleet()
    with Cut(host, after=0) as cut:
        spec = connection_spec(Host(host.name, (), cut.inventory_vars()))
        with connect(spec) as target:
            assert target.run("echo in", timeout=10).stdout == "in\n"
        assert cut.happened.is_set()


def test_gcm_is_what_is_spoken(sshd_fleet):
    (host,) = sshd_fleet()
    with connect(spec_of(host)) as target:
        assert target._transport.remote_cipher == "aes128-gcm@openssh.com"


def test_sudo_password_goes_over_stdin_only(sshd_fleet, tmp_path):
    (host,) = sshd_fleet()
    fake = tmp_path / "bin"
    fake.mkdir()
    sudo = fake / "sudo"
    sudo.write_text(
        f'#!/bin/sh\nread -r secret\nprintf "%s\\n" "$secret" "$*" >{tmp_path}/seen\n'
        'while [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    )
    sudo.chmod(0o755)
    host.environment = {"PATH": f"{fake}:{os.environ['PATH']}"}
    host.restart()
    spec = spec_of(host, ansible_become=True, ansible_become_password="s3cret word")
    with connect(spec) as target:
        done = target.run("cat", stdin=b"the data", timeout=10)
    assert done.stdout == "the data"
    secret, argv = (tmp_path / "seen").read_text().splitlines()[:2]
    assert secret == "s3cret word"
    assert "s3cret" not in argv
    assert "s3cret" not in repr(spec)


def test_many_threads_share_the_ssh_configuration(sshd_fleet):
    fleet = sshd_fleet(2)
    said = []

    def one(host):
        with connect(spec_of(host)) as target:
            said.append(target.run("echo $HOME", timeout=10).stdout.strip())

    threads = [threading.Thread(target=one, args=(host,)) for host in fleet for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(said)) == sorted(str(host.folder / "home") for host in fleet)
    assert len(said) == 8


def test_connections_are_prepared_in_many_threads_at_once():
    specs = [ConnectionSpec(f"h{n}", address="127.0.0.1", known_hosts=("/x",)) for n in range(200)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(20) as threads:
            assert all(hops for hops, _ in threads.map(ssh.prepared, specs))
    finally:
        sys.setswitchinterval(usual)


def test_the_helper_survives_a_chatty_login(sshd_fleet):
    (host,) = sshd_fleet(
        force_command='echo "Welcome @root /nonsense"; eval "$SSH_ORIGINAL_COMMAND"'
    )
    with connect(spec_of(host)) as target:
        done = target.run(commands.SHELL, stdin=commands.script("survey /x"), timeout=10)
    assert [a for a in commands.answers(done, "h") if a.tag == "root"][-1].text == "/x"


def test_the_users_ssh_config_is_honoured(sshd_fleet, tmp_path):
    jump, host = sshd_fleet(2)
    config = tmp_path / "config"
    config.write_text(
        f"Host gate\n  HostName {jump.address}\n  Port {jump.port}\n"
        f"Host pi\n  HostName {host.address}\n  Port {host.port}\n  ProxyJump gate\n"
        f"Host *\n  User {host.inventory_vars()['ansible_user']}\n"
        f"  IdentityFile {host.client_key}\n  UserKnownHostsFile {host.known_hosts}\n"
    )
    spec = connection_spec(Host("pi", (), {"ansible_ssh_common_args": f"-F {config}"}))
    with connect(spec) as target:
        assert target.run("echo $SSH_CONNECTION", timeout=10).stdout.split()[2] == host.address
    jump.rotate_host_key()
    with pytest.raises(HostKeyError):
        connect(spec)


@pytest.mark.parametrize("sudo", ["read -r secret\n", ""], ids=["asks", "remembers"])
def test_a_sudo_password_never_reaches_the_command(sshd_fleet, tmp_path, sudo):
    (host,) = sshd_fleet()
    fake = tmp_path / "bin"
    fake.mkdir()
    program = fake / "sudo"
    program.write_text(f'#!/bin/sh\n{sudo}while [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    program.chmod(0o755)
    host.environment = {"PATH": f"{fake}:{os.environ['PATH']}"}
    host.restart()
    spec = spec_of(host, ansible_become=True, ansible_become_password="s3cret word")
    with connect(spec) as target:
        assert target.run("cat", stdin=b"the data", timeout=10).stdout == "the data"
        done = target.upload("cat", [b"\0bin", b"ary\n"], timeout=10, on_sent=lambda _: None)
        assert done.stdout == "\0binary\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not there"),
        ("this is = = not\nHost\n", "Unparsable line"),
        ('Host "unclosed\n', "Unparsable host"),
        ('Include "unclosed\n', "No closing quotation"),
    ],
)
def test_an_ssh_config_that_cannot_be_read_is_the_operators_mistake(tmp_path, text, message):
    config = tmp_path / "config"
    if text:
        config.write_text(text)
    spec = connection_spec(Host("pi", (), {"ansible_ssh_common_args": f"-F {config}"}))
    for asked in (connect, trust.offered_key):
        with pytest.raises(InventoryError, match=message) as caught:
            asked(spec)
        assert str(config) in caught.value.message


def test_ssh_configs_include_others(sshd_fleet, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (host,) = sshd_fleet()
    login = f"  User {host.inventory_vars()['ansible_user']}\n  IdentityFile {host.client_key}\n"
    known = f"  UserKnownHostsFile {host.known_hosts}\n"
    (tmp_path / ".ssh" / "conf.d").mkdir(parents=True)
    (tmp_path / ".ssh" / "conf.d" / "1.conf").write_text(
        f"Host pi\n  HostName {host.address}\nInclude ~/more\n"
    )
    (tmp_path / "more").write_text(f"Port {host.port}\nHost other\n  Port 1\n")
    config = tmp_path / "config"
    config.write_text(
        f"Host gate\n  HostName 192.0.2.1\nHost pi*\n  Include conf.d/*.conf\n{login}{known}"
        "  ProxyJump none\nHost *\n  ProxyJump gate\n"
    )
    spec = connection_spec(Host("pi", (), {"ansible_ssh_common_args": f"-F {config}"}))
    with connect(spec) as target:
        assert target.run("echo in", timeout=10).stdout == "in\n"


def test_jump_hosts_of_the_ssh_config_are_gone_through_in_order(tmp_path):
    config = tmp_path / "config"
    config.write_text("Host *\n  ProxyJump one,two\n")
    spec = connection_spec(Host("pi", (), {"ansible_ssh_common_args": f"-F {config}"}))
    hops, _ = ssh.prepared(spec)
    assert [hop.host for hop in hops] == ["one", "two", "pi"]
