"""Seven questions, each with manifests and fleets that answer it yes, partly and no."""

import pytest

from orchestrator.pipeline import checklist
from orchestrator.pipeline.checklist import checklist as answers
from orchestrator.pipeline.checklist_facts import Fleet, Host, Result, Wish
from tests.pipeline.built import built, by_hand, version

NET = by_hand("katago fp32")
FP32, FP16, INT8 = built("onnx fp32"), built("onnx fp16"), built("onnx int8")
BAD = built("onnx int8", 3.0)
NOON = 1_750_000_000.0  # 2025-06-15 15:06 UTC

PI = (Wish("pi", "onnx", "int8"), Wish("pi", "onnx", "fp32"))
PI_BY_KATAGO = (Wish("pi", "katago"), *PI)
GPU = (Wish("gpu", "tensorrt", "fp16"), Wish("gpu", "katago"))


def host(name="pi-1", where="rpi4", **more):
    return Host(name, where, **{"wants": True} | more)


def done(name="pi-1", where="rpi4", **more):
    return host(name, where, **{"has": "onnx int8", "passed": NOON} | more)


def result(name="pi-1", where="rpi4", artifact="onnx int8", time=NOON, **metrics):
    return Result(name, where, artifact, time, metrics)


def fleet(*hosts, wishes=PI, results=()):
    return Fleet(wishes, hosts, tuple(results))


def told(point):
    return str(point.answer), " | ".join(point.evidence), point.next


def check(point, answer, evidence, following):
    given, lines, command = told(point)
    assert given == answer, lines
    assert evidence in lines
    assert (command == "") is (given == "yes")
    assert command == following


@pytest.mark.parametrize(
    ("artifacts", "known", "answer", "evidence", "following"),
    [
        ([FP32, INT8], fleet(done()), "yes", "onnx int8 runs on pi-1", ""),
        (
            [FP32, INT8],
            fleet(host()),
            "partly",
            "profile pi: onnx int8 | no host has shown",
            "orchestrate plan --model go@v1",
        ),
        (
            [FP32, BAD],
            fleet(),
            "partly",
            "profile pi: onnx fp32",
            "orchestrate plan --model go@v1",
        ),
        ([FP16], fleet(), "no", "profile pi: nothing", "orchestrate build go@v1"),
        ([], fleet(), "no", "has no artifacts", "orchestrate models add go@v1 SOURCE"),
    ],
)
def test_precision(artifacts, known, answer, evidence, following):
    check(checklist.precision(version(*artifacts), known), answer, evidence, following)


AGAIN = "orchestrate build go@v1 --precision int8 --calibration PATH --again"


@pytest.mark.parametrize(
    ("artifacts", "wishes", "answer", "evidence", "following"),
    [
        (
            [FP32, INT8],
            PI,
            "yes",
            "onnx int8: 256 rows, sha256 abababababab…, self-play",
            "",
        ),
        ([FP32], GPU, "yes", "no profile asks for it", ""),
        (
            [INT8, by_hand("litert int8")],
            PI,
            "partly",
            "litert int8: not told",
            AGAIN,
        ),
        ([by_hand("onnx int8")], PI, "no", "onnx int8: not told", AGAIN),
        (
            [by_hand("onnx int8", provenance={"calibration": {"rows": "many"}})],
            PI,
            "no",
            "onnx int8: not told",
            AGAIN,
        ),
        (
            [NET],
            PI_BY_KATAGO,
            "partly",
            "profile pi: katago fp32 comes before int8",
            AGAIN.removesuffix(" --again"),
        ),
        (
            [NET, FP32],
            PI,
            "no",
            "there is no int8 artifact | profile pi: nothing comes before int8",
            AGAIN.removesuffix(" --again"),
        ),
    ],
)
def test_calibration(artifacts, wishes, answer, evidence, following):
    point = checklist.calibration(version(*artifacts), fleet(wishes=wishes))
    check(point, answer, evidence, following)


@pytest.mark.parametrize(
    ("artifacts", "wishes", "answer", "evidence", "following"),
    [
        ([FP32, INT8], PI, "yes", "onnx int8: there, for pi | onnx fp32: there, for pi", ""),
        (
            [FP32],
            PI,
            "partly",
            "onnx int8: missing, for pi | onnx fp32: there, for pi | every profile finds one",
            "orchestrate build go@v1 --format onnx --precision int8",
        ),
        (
            [FP32, INT8],
            PI + GPU,
            "partly",
            "nothing for gpu",
            "orchestrate build go@v1 --format tensorrt --precision fp16 --compute-capability X.Y",
        ),
        (
            [FP16],
            [Wish("pc", "katago")],
            "no",
            "katago: missing, for pc | nothing for pc",
            "orchestrate models add go@v1 SOURCE --format katago",
        ),
        (
            [built("onnx fp32 9x9")],
            [Wish("pc", "onnx", "fp32")],
            "no",
            "nothing for pc",
            "orchestrate build go@v1 --format onnx --precision fp32",
        ),
        ([FP32], [], "no", "no profile in orchestrate.yml asks", "orchestrate init DIR"),
        ([], PI, "no", "has no artifacts", "orchestrate models add go@v1 SOURCE"),
    ],
)
def test_export(artifacts, wishes, answer, evidence, following):
    point = checklist.export(version(*artifacts), fleet(wishes=tuple(wishes)))
    check(point, answer, evidence, following)


@pytest.mark.parametrize(
    ("artifacts", "answer", "evidence", "following"),
    [
        ([NET, INT8], "yes", "katago fp32: the net itself | onnx int8: pass: winrate p99 1 %", ""),
        (
            [NET, FP32, BAD],
            "partly",
            "onnx int8: fail: winrate p99 6 %, 2 % allowed | no host gets what failed",
            "orchestrate compare go@v1",
        ),
        ([BAD], "no", "onnx int8: fail", "orchestrate compare go@v1"),
        ([by_hand("onnx int8")], "no", "onnx int8: not measured", "orchestrate build go@v1"),
        ([], "no", "has no artifacts", "orchestrate models add go@v1 SOURCE"),
    ],
)
def test_accuracy(artifacts, answer, evidence, following):
    check(checklist.accuracy(version(*artifacts)), answer, evidence, following)


TO_ANY = "orchestrate deploy --model go@v1 --limit HOSTS"
FAST, SLOW = result(evals_per_s=4.0), result("pi-2", time=NOON + 60, evals_per_s=2.0)


@pytest.mark.parametrize(
    ("known", "answer", "evidence", "following"),
    [
        (
            fleet(done(), results=[FAST]),
            "yes",
            "rpi4: onnx int8 4 evals/s on pi-1, 2025-06-15 15:06 UTC",
            "",
        ),
        (
            fleet(done(), done("pi-2"), results=[result(evals_per_s=9.0), FAST, SLOW]),
            "yes",
            "onnx int8 3 evals/s on pi-1, pi-2, 2025-06-15 15:07 UTC",
            "",
        ),
        (
            fleet(done(), results=[result(evals_per_s=90.0, visits_per_s=1234.5)]),
            "yes",
            "rpi4: onnx int8 1234 visits/s",
            "",
        ),
        (
            fleet(done(), host("orin-1", "jetson-orin"), results=[FAST]),
            "partly",
            "on pi-1, 2025-06-15 15:06 UTC | jetson-orin: not measured | where it was built",
            "orchestrate deploy --limit orin-1",
        ),
        (
            fleet(done(), done("x", "", passed=None), results=[FAST]),
            "partly",
            "unknown: not measured",
            "orchestrate verify --limit x",
        ),
        (
            fleet(done(), host("orin-1", "jetson-orin", waits=True), results=[FAST]),
            "partly",
            "jetson-orin: not measured",
            "orchestrate reconcile",
        ),
        (fleet(), "partly", "where it was built: onnx int8 10 evals/s", TO_ANY),
    ],
)
def test_speed(known, answer, evidence, following):
    point = checklist.measured(version(INT8), known, "?", checklist.SPEEDS)
    check(point, answer, evidence, following)


@pytest.mark.parametrize(
    ("artifact", "results", "answer", "evidence"),
    [
        (INT8, [result(evals_per_s=1.0, peak_rss_mb=81.26)], "yes", "onnx int8 81.3 MiB at most"),
        (INT8, [FAST], "partly", "rpi4: not measured | where it was built: onnx int8 100 MiB"),
        (by_hand("onnx int8"), [FAST], "no", "rpi4: not measured"),
    ],
)
def test_memory(artifact, results, answer, evidence):
    point = checklist.measured(
        version(artifact), fleet(done(), results=results), "?", checklist.MEMORY
    )
    following = "" if answer == "yes" else "orchestrate verify --limit pi-1"
    check(point, answer, evidence, following)


def test_nothing_was_measured_anywhere():
    point = checklist.measured(version(NET), fleet(), "?", checklist.SPEEDS)
    check(point, "no", "not measured anywhere", TO_ANY)


@pytest.mark.parametrize(
    ("hosts", "answer", "evidence", "following"),
    [
        (
            [done(), done("pi-2", passed=NOON + 60)],
            "yes",
            "onnx int8, verified 2025-06-15 15:07 UTC: pi-1, pi-2",
            "",
        ),
        ([done(wants=False)], "yes", "onnx int8, verified", ""),
        (
            [done(), host("pi-2")],
            "partly",
            "wanted, not there: pi-2",
            "orchestrate deploy --limit pi-2",
        ),
        (
            [done(), host("pi-2", waits=True)],
            "partly",
            "wanted, and a deploy did not reach it: pi-2",
            "orchestrate reconcile",
        ),
        (
            [done(), done("pi-2", passed=None)],
            "partly",
            "not verified there: pi-2",
            "orchestrate verify --limit pi-2",
        ),
        ([host()], "no", "wanted, not there: pi-1", "orchestrate deploy --limit pi-1"),
        (
            [host(f"pi-{n}") for n in range(9)],
            "no",
            "pi-0, pi-1, pi-2, pi-3, pi-4 and 4 more",
            "orchestrate deploy",
        ),
        ([host(wants=False)], "no", "no host wants it, and none has it", TO_ANY),
    ],
)
def test_deployment(hosts, answer, evidence, following):
    check(checklist.deployment(version(INT8), fleet(*hosts)), answer, evidence, following)


def test_the_questions_stand_in_their_order():
    points = answers(version(FP32, INT8), fleet(done(), results=[FAST]))
    words = ("precision", "calibration", "exported", "accuracy", "speed", "memory", "deployed")
    assert [word in point.question for word, point in zip(words, points, strict=True)] == [True] * 7
    assert [str(point.answer) for point in points] == ["yes"] * 5 + ["partly", "yes"]
