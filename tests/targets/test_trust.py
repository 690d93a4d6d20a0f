"""What `trust` writes into known_hosts."""

import paramiko
import pytest

from orchestrator.targets import known_hosts
from orchestrator.targets.trust import OfferedKey, remember

OLD = paramiko.ECDSAKey.generate()
STOLEN = paramiko.ECDSAKey.generate()
NEW = paramiko.ECDSAKey.generate()


def offered(file, name):
    return OfferedKey(name, NEW.get_name(), NEW.fingerprint, "changed", NEW, file)


def line(names, key):
    return f"{names} {key.get_name()} {key.get_base64()}"


def test_a_new_file_is_for_its_owner_only(tmp_path):
    file = tmp_path / "ssh" / "known_hosts"
    remember(offered(file, "pi-1"))
    assert file.read_text() == line("pi-1", NEW) + "\n"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("names", ["pi-1", "pi-1,10.0.0.1", "10.0.0.1,pi-1"])
def test_the_old_key_goes_whatever_name_it_stands_under(tmp_path, names):
    file = tmp_path / "known_hosts"
    revoked = f"@revoked {line('pi-1', STOLEN)}"
    others = ["# the hosts of the lab", "#", "", revoked, line("pi-2", OLD)]
    file.write_text("\n".join([line(names, OLD), *others]) + "\n")
    remember(offered(file, "pi-1"))
    assert file.read_text().splitlines() == [*others, line("pi-1", NEW)]
    entries = paramiko.HostKeys()
    assert known_hosts.load([file], entries) == {STOLEN.asbytes()}
    assert entries.check("pi-1", NEW)
    assert entries.check("pi-2", OLD)


def test_a_hashed_name_is_recognized(tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text(line(paramiko.HostKeys.hash_host("pi-1"), OLD) + "\n")
    remember(offered(file, "pi-1"))
    assert file.read_text() == line("pi-1", NEW) + "\n"


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "dotfiles").mkdir()
    file = tmp_path / "known_hosts"
    file.symlink_to(tmp_path / "dotfiles" / "known_hosts")
    remember(offered(file, "pi-1"))
    assert file.is_symlink()
    assert file.read_text() == line("pi-1", NEW) + "\n"


@pytest.mark.parametrize(
    "bad",
    [
        b"pi-2 ssh-ed25519 AAAA!!!bad",
        b"\xff\xfe\x00 binary",
        b"garbage",
        b"|1|x ssh-ed25519",
        b"@cert-authority * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMZ0",
    ],
)
def test_lines_that_make_no_sense_are_passed_over_and_kept(tmp_path, bad):
    file = tmp_path / "known_hosts"
    file.write_bytes(bad + b"\n" + line("pi-2", OLD).encode() + b"\n")
    remember(offered(file, "pi-1"))
    assert file.read_bytes().startswith(bad + b"\n")
    entries = paramiko.HostKeys()
    known_hosts.load([file, tmp_path / "nowhere", tmp_path], entries)
    assert entries.check("pi-1", NEW)
    assert entries.check("pi-2", OLD)


def test_a_revoked_key_counts_for_nobody(tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text(f"{line('pi-1', OLD)}\n@revoked {line('*', OLD)}\n")
    entries = paramiko.HostKeys()
    assert known_hosts.load([file], entries) == {OLD.asbytes()}
    assert entries.lookup("pi-1") is None


def test_the_first_key_of_a_name_and_kind_counts(tmp_path):
    files = [tmp_path / "mine", tmp_path / "systems"]
    for file, key in zip(files, [OLD, NEW], strict=True):
        file.write_text(line("pi-1", key) + "\n")
    entries = paramiko.HostKeys()
    known_hosts.load(files, entries)
    assert entries.check("pi-1", OLD)
