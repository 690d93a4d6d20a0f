"""The real probe on simulated hosts, in three shells; each sample names its sources in SOURCE."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import CommandError
from orchestrator.fleet import probe
from tests.needs import needs_program

SAMPLES = Path(__file__).parent / "samples"
NAMES = sorted(folder.name for folder in SAMPLES.iterdir() if folder.is_dir())
SHELLS = {"dash": ("dash",), "busybox": ("busybox", "sh"), "bash": ("bash", "--posix")}
BASE_TOOLS = ("cat", "date", "df", "head", "stat", "timeout")
SH_PACKAGES = "apt-get install dash busybox bash"


def run_probe(
    shell, *, path, sysroot="", root="/nowhere/to/be/found", python="", asked="", **environment
):
    """What the probe prints, fed to the shell over stdin as the SSH target does."""
    script = f'{probe.script()}\nprobe "$ROOT" "$PYTHON" {asked}\n'
    finished = subprocess.run(
        [needs_program(shell[0], SH_PACKAGES), *shell[1:], "-s"],
        input=script.encode(),
        env={
            "PATH": str(path),
            "HOME": "/nowhere",
            "ROOT": str(root),
            "PYTHON": str(python),
            "ORCHESTRATE_SYSROOT": str(sysroot),
            **environment,
        },
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.decode()


@pytest.fixture(scope="session")
def base_tools(tmp_path_factory):
    """A folder with the few programs that every host has."""
    folder = tmp_path_factory.mktemp("base")
    for name in BASE_TOOLS:
        (folder / name).symlink_to(needs_program(name, "apt-get install coreutils"))
    return folder


@pytest.fixture(scope="session")
def busybox_tools(tmp_path_factory):
    """A userland of nothing but busybox."""
    folder = tmp_path_factory.mktemp("busybox")
    busybox = needs_program("busybox", SH_PACKAGES)
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        (folder / applet).symlink_to(busybox)
    return folder


def test_every_sample_names_its_source():
    assert all((SAMPLES / name / "SOURCE").read_text().strip() for name in NAMES)
    assert len(NAMES) >= 11


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", NAMES)
def test_facts_of_a_sample(name, shell, base_tools):
    sample = SAMPLES / name
    sysroot = sample / "sysroot"
    text = run_probe(SHELLS[shell], path=f"{sample}/bin:{base_tools}", sysroot=sysroot)
    facts = probe.to_dict(probe.parse(text))
    assert facts.pop("clock") > 1_700_000_000
    assert facts.pop("disk")["free_mb"] > 0
    assert not any(facts.pop("docker_engine").values())  # which no probe tells
    shown = json.loads(json.dumps(facts).replace(str(sysroot), "").replace(str(sample), ""))
    assert shown == json.loads((sample / "expected.json").read_text())


@pytest.mark.parametrize("name", ["raspberry-pi-4", "rtx-server", "jetson-nano"])
def test_what_changes_by_the_minute_is_read_without_the_rest(name, base_tools):
    sample = SAMPLES / name
    path = f"{sample}/bin:{base_tools}"
    text = run_probe(("dash",), path=path, sysroot=sample / "sysroot", asked="now")
    assert not any(
        word in text for word in ("katago=", "dpkg=", "docker=", "python=", "statfs=", "unit=")
    )
    facts = probe.to_dict(probe.parse(text))
    expected = json.loads((sample / "expected.json").read_text())
    assert {k: facts[k] for k in ("thermal", "load")} == {
        k: expected[k] for k in ("thermal", "load")
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_facts_of_this_machine(shell, tmp_path):
    root = tmp_path / "a" / "b"
    facts = probe.parse(run_probe(SHELLS[shell], path=os.environ["PATH"], root=root))
    uname = os.uname()
    assert (facts.system, facts.kernel) == (uname.sysname, uname.release)
    assert facts.cpu.cores <= len(os.sched_getaffinity(0))
    assert facts.cpu.model
    assert facts.load.one_minute is not None
    assert facts.load.cores >= facts.cpu.cores
    assert facts.memory.total_mb > facts.memory.available_mb > 0
    free = shutil.disk_usage(tmp_path).free >> 20
    assert facts.disk.writable
    assert abs(facts.disk.free_mb - free) < 2048
    assert not root.exists()


def test_busybox_alone_is_enough(busybox_tools, tmp_path):
    text = run_probe(("busybox", "sh"), path=busybox_tools, root=tmp_path)
    facts = probe.parse(text)
    assert facts.arch
    assert facts.cpu.cores >= 1
    assert facts.memory.total_mb > 0
    assert facts.disk.free_mb > 0
    assert facts.disk.writable
    assert facts.python.path == facts.docker == facts.katago.path == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_the_services_of_the_hosts_own(shell, base_tools, tmp_path):
    folder = tmp_path / "etc/systemd/system"
    (folder / "multi-user.target.wants").mkdir(parents=True)
    (folder / "multi-user.target.wants/wanted.service").write_text("[Service]\n")
    (folder / "orchestrate.service.d").mkdir()
    (folder / "directory.service").mkdir()
    (folder / "orchestrate.service").write_text("[Service]\n")
    (folder / "an odd@name.service").symlink_to(folder / "orchestrate.service")
    (folder / "masked.service").symlink_to("/dev/null")
    (folder / "gone.service").symlink_to("/no/such/file.service")
    (folder / "some.timer").write_text("[Timer]\n")
    text = run_probe(SHELLS[shell], path=base_tools, sysroot=tmp_path)
    assert probe.parse(text).units == ("an odd@name.service", "orchestrate.service")


def test_uname_serves_kernels_without_an_arch_file(base_tools, tmp_path):
    program(tmp_path / "uname", "echo Linux 5.4.0 ppc64le")
    path = f"{tmp_path}:{base_tools}"
    facts = probe.parse(run_probe(("dash",), path=path, sysroot=tmp_path / "none"))
    assert (facts.system, facts.kernel, facts.arch) == ("Linux", "5.4.0", "ppc64le")
    assert facts.hardware_class == "cpu-ppc64le"


def test_df_serves_where_stat_does_not(base_tools, tmp_path):
    broken = program(tmp_path / "stat", "exit 1")
    facts = probe.parse(run_probe(("dash",), path=f"{broken.parent}:{base_tools}", root=tmp_path))
    assert facts.disk.free_mb > 0
    assert facts.disk.free_inodes is None


def test_a_root_below_a_file_is_not_writable(base_tools, tmp_path):
    (tmp_path / "file").write_text("")
    facts = probe.parse(run_probe(("dash",), path=base_tools, root=tmp_path / "file" / "root"))
    assert not facts.disk.writable


def program(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("shell", ["dash", "bash"])  # busybox has its own timeout built in
def test_a_hanging_program_is_given_up_and_told(shell, base_tools, tmp_path):
    sleep = needs_program("sleep", "apt-get install coreutils")
    timeout = needs_program("timeout", "apt-get install coreutils")
    program(tmp_path / "nvidia-smi", f"exec {sleep} 50")
    # The probe asks for 15 seconds: the wait is shortened, the killing is timeout's own.
    program(tmp_path / "timeout", f'shift 3; exec {timeout} -s KILL 0.2 "$@"')
    listed = tmp_path / "sysroot/proc/driver/nvidia/gpus/0000:01:00.0/information"
    listed.parent.mkdir(parents=True)
    listed.write_text("Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 180\n")
    version = tmp_path / "sysroot/proc/driver/nvidia/version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19\n")
    path = f"{tmp_path}:{base_tools}"
    facts = probe.parse(run_probe(SHELLS[shell], path=path, sysroot=tmp_path / "sysroot"))
    assert facts.warnings == ("nvidia-smi did not answer in time",)
    assert [(gpu.name, gpu.compute_capability, gpu.driver) for gpu in facts.gpus] == [
        ("NVIDIA GeForce RTX 4090", 8.9, "535.129.03")
    ]
    assert facts.hardware_class == "rtx-40"


def test_programs_that_read_stdin_do_not_eat_the_script(base_tools, tmp_path):
    for name in ("nvidia-smi", "docker", "vcgencmd", "tegrastats", "katago", "trtexec", "nvcc"):
        program(tmp_path / name, "cat; exit 3")
    facts = probe.parse(run_probe(("dash",), path=f"{tmp_path}:{base_tools}"))
    assert facts.katago.path == str(tmp_path / "katago")
    assert facts.warnings == (
        "katago version failed: exit status 3",
        "nvidia-smi failed: exit status 3",
    )


@pytest.fixture
def root_with_venv(tmp_path):
    root = tmp_path / "root"
    program(root / "venv/bin/python3", "echo Python 3.11.2")
    packages = root / "venv/lib/python3.11/site-packages"
    for name in (
        "numpy-2.0.1",
        "onnxruntime_gpu-1.20.0",
        "onnxruntime_extensions-0.13.0",
        "tensorrt_rtx_cu12_libs-1.7.1.116",
        "tensorrt_rtx_extras-9.9",
    ):
        (packages / f"{name}.dist-info").mkdir(parents=True)
    capi = packages / "onnxruntime/capi"
    capi.mkdir(parents=True)
    for name in ("shared", "cuda", "tensorrt"):
        (capi / f"libonnxruntime_providers_{name}.so").touch()
    (root / "venv/pyvenv.cfg").write_text(
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n"
    )
    return root


def test_the_environment_in_the_root_is_found_without_starting_python(root_with_venv, base_tools):
    facts = probe.parse(run_probe(("dash",), path=base_tools, root=root_with_venv))
    assert facts.python.path == f"{root_with_venv}/venv/bin/python3"
    assert (facts.python.version, facts.python.numpy) == ("3.11.2", "2.0.1")
    assert facts.python.onnxruntime == "1.20.0"
    assert (facts.tensorrt_rtx, facts.tensorrt) == ("1.7.1.116", "")
    assert facts.python.execution_providers == (
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    )


def test_the_given_python_is_taken_and_asked_where_its_packages_are(base_tools, tmp_path):
    asked = program(
        tmp_path / "odd" / "python",
        '[ "$1" = -V ] && echo Python 3.12.1 || '
        "printf 'package=%s.dist-info\\n' onnxruntime-1.19.2 tensorrt-rtx-1.3.0.35",
    )
    facts = probe.parse(run_probe(("dash",), path=base_tools, python=asked))
    assert (facts.python.path, facts.python.onnxruntime) == (str(asked), "1.19.2")
    assert facts.tensorrt_rtx == "1.3.0.35"


def test_this_python_has_the_versions_that_it_says(base_tools):
    import sys
    from importlib.metadata import version

    facts = probe.parse(run_probe(("dash",), path=base_tools, python=sys.executable))
    assert facts.python.numpy == version("numpy")
    assert facts.python.onnxruntime == version("onnxruntime")
    assert facts.python.execution_providers == ("CPUExecutionProvider",)


def test_shell_options_and_names_of_the_caller_do_not_matter(base_tools):
    caller = "set -euf; IFS=:; root=x; find_katago() { exit 9; }\n"
    script = f"{caller}{probe.script()}\nprobe /nowhere ''\necho \"$root\"\n"
    finished = subprocess.run(
        [needs_program("dash", SH_PACKAGES), "-s"],
        input=script,
        env={"PATH": str(base_tools)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.endswith("@orchestrate-probe end\nx\n")
    assert probe.parse(finished.stdout).cpu.cores >= 1


def test_it_changes_nothing(base_tools, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    run_probe(("dash",), path=base_tools, root=home / "root", HOME=str(home))
    assert list(home.iterdir()) == []


def test_a_missing_shell_is_told_with_what_it_said():
    with pytest.raises(CommandError, match="did not answer") as error:
        probe.parse("\nThis account is currently not available.\n")
    assert "This account is currently not available." in error.value.hint
