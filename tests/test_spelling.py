"""What a person probably meant."""

from orchestrator.spelling import did_you_mean, nearest


def test_case_does_not_matter():
    assert nearest("KATAGO", ["katago", "onnx"]) == "katago"
    assert nearest("maxvisits", ["maxVisits", "maxTime"]) == "maxVisits"
    assert did_you_mean("KATAGO", ["katago", "onnx"]) == "Did you mean 'katago'?"


def test_nothing_near_asks_nothing():
    assert nearest("zebra", ["katago", "onnx"]) == ""
    assert did_you_mean("zebra", ["katago", "onnx"]) == ""
    assert did_you_mean("zebra", []) == ""


def test_a_higher_cutoff_wants_more_likeness():
    assert nearest("hosts_of", ["hosts"]) == "hosts"
    assert nearest("hosts_of", ["hosts"], cutoff=0.9) == ""
