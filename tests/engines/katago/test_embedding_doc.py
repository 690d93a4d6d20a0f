"""The programs of docs/embedding.md run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.katago_engine import NO_NET

DOC = Path(__file__).parents[3] / "docs" / "embedding.md"
# An engine that answers at random, whatever net it is given: it starts in a moment.
WITHOUT_NET = """#!/bin/sh
for word; do
  [ "$word" = model.bin.gz ] && word={net}
  shift
  set -- "$@" "$word"
done
exec '{katago}' "$@"
"""


def test_the_examples_run(katago, tmp_path, monkeypatch, capsys):
    programs = re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.DOTALL | re.MULTILINE)
    assert len(programs) == 3
    script = tmp_path / "katago"
    script.write_text(WITHOUT_NET.format(net=NO_NET, katago=katago))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    names, said = {}, []
    for program in programs:
        exec(compile(program, str(DOC), "exec"), names)
        said.append(capsys.readouterr().out)
    first, best, *_ = said[0].splitlines()
    assert re.fullmatch(r"Black wins with \d+% and is ahead by -?\d+\.\d points", first)
    assert re.match(r"\w+ \d+ \d+% \w+", best)
    assert {line.split()[0] for line in said[1].splitlines()} == {"0", "1", "2", "3"}
    assert said[2].endswith("no answer within 0.5 s\n")
    assert "visits so far" in said[2]
