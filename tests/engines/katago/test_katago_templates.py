"""Every shipped template on every kind of host: katago's check finds nothing, katago starts."""

from __future__ import annotations

import os
import subprocess
from itertools import product
from pathlib import Path

import pytest

from orchestrator.engines.katago import ENGINE
from orchestrator.engines.katago.cfg import parse
from orchestrator.fleet.facts import Board, Cpu, Facts, Gpu, Katago, Memory
from orchestrator.fleet.host import Host
from orchestrator.fleet.profile import EngineSpec
from orchestrator.models.manifest import Artifact
from orchestrator.planning.render import Templates
from tests.katago_engine import NO_NET, REPOSITORY, TUNER

FOLDER = REPOSITORY / "templates"
TEMPLATES = Templates.of({str(p.relative_to(FOLDER)): p.read_text() for p in FOLDER.rglob("*.j2")})
NAMES = ("rpi.cfg.j2", "jetson.cfg.j2", "analysis.cfg.j2", "cpu.cfg.j2")


def facts(backend, cores=4, ram=4000, gpus=(), **more):
    return Facts(
        arch="aarch64",
        cpu=Cpu("Cortex-A72", cores),
        memory=Memory(ram, ram // 2),
        katago=Katago("/usr/bin/katago", "1.18.1", backend),
        gpus=gpus,
        **more,
    )


HOSTS = {
    "pi4-1gb": facts("eigen", ram=920, board=Board("raspberry-pi", "Raspberry Pi 4 Model B")),
    "pi5-8gb": facts("eigen", ram=8000, board=Board("raspberry-pi", "Raspberry Pi 5")),
    "nano": facts("cuda", ram=3900, gpus=(Gpu("NVIDIA Tegra X1", 5.3),)),
    "xavier": facts("tensorrt", 6, 7600, gpus=(Gpu("Xavier", 7.2),)),
    "orin": facts("tensorrt", 12, 30000, gpus=(Gpu("Orin", 8.7),)),
    "rtx-two": facts("cuda", 32, 128000, gpus=(Gpu("RTX 4090", 8.9, 24000),) * 2),
    "gtx": facts("opencl", 8, 16000, gpus=(Gpu("GTX 1060", 6.1, 3000),)),
    "metal": facts("metal", 8, 16000),
    "onnx": facts("onnx", 8, 16000),
    "bare": facts("eigen", 1, 512),
    "unknown": facts("", 2, 2000),
}


def render(name, facts, command="gtp", kind="katago", **variables):
    context = {
        "facts": facts,
        "host": Host("pi-1"),
        "engine": EngineSpec(kind, command, path=facts.katago.path),
        "artifact": Artifact("katago", "fp32", "model.bin.gz", "0" * 64, 1),
        "model": "kata-b18",
        "version": "v2",
        "profile": "p",
        "vars": variables,
    }
    return TEMPLATES.render(name, context, host="pi-1")


def check(text, facts, command):
    spec = EngineSpec("katago", command, path=facts.katago.path)
    return ENGINE.check_config(text, spec, facts)


@pytest.mark.parametrize(
    ("name", "command", "host"), list(product(NAMES, ("gtp", "analysis"), HOSTS))
)
def test_no_problem_on_any_host(name, command, host):
    assert check(render(name, HOSTS[host], command), HOSTS[host], command) == []


EVERY_KNOB = {
    "katago_threads": 3,
    "katago_gpus": 2,
    "katago_analysis_threads": 2,
    "katago_max_visits": 7,
    "katago_max_time": 2.5,
    "katago_lag_buffer": 0.5,
    "katago_rules": "japanese",
    "katago_pondering": True,
    "katago_resign_threshold": -0.95,
    "katago_report_winrates_as": "SIDETOMOVE",
    "katago_cache_power_of_two": 12,
    "katago_board_size": 13,
    "katago_batch_size": 5,
    "katago_use_fp16": False,
    "katago_settings": {"useGraphSearch": False, "wideRootNoise": 0.1},
    "katago_home_data_dir": "/var/lib/katago data",
}
RESULT = {
    "gtp": {
        "numSearchThreads": "3",
        "lagBuffer": "0.5",
        "rules": "japanese",
        "ponderingEnabled": "true",
        "allowResignation": "true",
        "resignThreshold": "-0.95",
    },
    "analysis": {
        "numAnalysisThreads": "2",
        "numSearchThreadsPerAnalysisThread": "1",
        "reportAnalysisWinratesAs": "SIDETOMOVE",
    },
}
RESULT_BOTH = {
    "numNNServerThreadsPerModel": "2",
    "deviceToUseThread1": "1",
    "maxVisits": "7",
    "maxTime": "2.5",
    "nnCacheSizePowerOfTwo": "12",
    "maxBoardXSizeForNNBuffer": "13",
    "maxBoardYSizeForNNBuffer": "13",
    "nnMaxBatchSize": "5",
    "useFP16": "false",
    "useGraphSearch": "false",
    "wideRootNoise": "0.1",
    "homeDataDir": "/var/lib/katago data",
}


@pytest.mark.parametrize(("name", "command"), list(product(NAMES, ("gtp", "analysis"))))
def test_every_knob_is_turned_by_a_variable(name, command):
    text = render(name, HOSTS["rtx-two"], command, **EVERY_KNOB)
    settings, problems = parse(text)
    assert not problems
    values = {key: setting.value for key, setting in settings.items()}
    assert RESULT[command].items() <= values.items()
    assert RESULT_BOTH.items() <= values.items()
    assert check(text, HOSTS["rtx-two"], command) == []


def number(text, key):
    return int(parse(text)[0][key].value)


@pytest.mark.parametrize(
    ("name", "ram", "most"),
    [(name, ram, ram * 0.13) for name in NAMES for ram in (920, 1900, 3900, 7900, 32000)],
)
def test_the_cache_stays_a_small_part_of_the_ram(name, ram, most):
    power = number(render(name, facts("opencl", ram=ram)), "nnCacheSizePowerOfTwo")
    assert 2**power * 3 / 1024 <= most


@pytest.mark.parametrize("cores", [1, 2, 4, 8])
def test_threads_follow_the_cores_of_a_pi(cores):
    text = render("rpi.cfg.j2", facts("eigen", cores=cores))
    assert number(text, "numSearchThreads") == cores
    assert number(text, "numEigenThreadsPerModel") == cores


def test_threads_follow_the_gpus_of_a_server():
    one, two = (
        render(
            "analysis.cfg.j2", facts("cuda", 16, 64000, (Gpu("RTX", 8.6, 12000),) * n), "analysis"
        )
        for n in (1, 2)
    )

    def threads(text):
        return number(text, "numAnalysisThreads") * number(
            text, "numSearchThreadsPerAnalysisThread"
        )

    assert threads(two) == 2 * threads(one)
    assert number(two, "numNNServerThreadsPerModel") == 2
    assert number(two, "nnMaxBatchSize") == number(one, "nnMaxBatchSize") == threads(one)


@pytest.mark.parametrize("name", NAMES)
def test_equal_hosts_get_equal_configs(name):
    """Names and a few MB of RAM make no difference, so that releases are shared."""
    assert render(name, facts("eigen", ram=3792)) == render(name, facts("eigen", ram=3800))


@pytest.mark.parametrize(("name", "command"), list(product(NAMES, ("gtp", "analysis"))))
def test_katago_starts_on_it_and_uses_all_of_it(katago, tiny, tmp_path, name, command):
    here = facts("opencl", 2, 4000)
    text = render(
        name,
        here,
        command,
        katago_opencl_tuner_file=str(TUNER),
        katago_home_data_dir=str(tmp_path / "home"),
        katago_resign_threshold=-0.9,
        katago_board_size=19,
    )
    assert check(text, here, command) == []
    (tmp_path / "k.cfg").write_text(text)
    query = '{"id":"q","moves":[],"rules":"chinese","boardXSize":9,"boardYSize":9,"maxVisits":2}\n'
    done = subprocess.run(
        [katago, command, "-model", tiny, "-config", "k.cfg"],
        cwd=tmp_path,
        input="genmove b\nquit\n" if command == "gtp" else query,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert ("= " if command == "gtp" else '"rootInfo"') in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_config_of_an_onnx_net(name):
    text = render(name, HOSTS["pi4-1gb"], kind="onnxruntime", onnxruntime_threads=3)
    settings, problems = parse(text)
    assert not problems
    values = {key: setting.value for key, setting in settings.items()}
    assert values.keys() == {
        "execution_provider",
        "intra_op_threads",
        "batch_size",
        "graph_optimization",
    }
    assert (values["execution_provider"], values["intra_op_threads"]) == ("cpu", "3")


def test_the_run_script_works_from_anywhere(katago, tmp_path):
    release = tmp_path / "releases" / "r 1"
    release.mkdir(parents=True)
    (release / "k.cfg").write_text("logAllGTPCommunication = false\nlogSearchInfo = false\n")
    (release / "model.bin.gz").symlink_to(NO_NET)
    spec = EngineSpec("katago", "gtp", path=str(katago))
    run_line = ENGINE.run_line(spec, model=str(NO_NET), config="k.cfg")
    context = {"run_line": run_line, "model": "kata-b18", "version": "v2"}
    script = release / "run"
    script.write_text(TEMPLATES.render("run.sh.j2", context, host="h"))
    script.chmod(0o755)
    Path(tmp_path, "current").symlink_to(release)
    done = subprocess.run(
        [tmp_path / "current" / "run", "-override-config", "rules=chinese,numSearchThreads=1"],
        cwd="/",
        input="name\nquit\n",
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert "= KataGo" in done.stdout
