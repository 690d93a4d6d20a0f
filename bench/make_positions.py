"""Makes orchestrator/pipeline/positions.npz: the positions that every artifact is checked with.

KataGo plays short games against itself, by few visits and with much chance, on several boards and
under several rules; positions from all over each game are taken. The games differ from run to run.

python -m bench.make_positions --engine katago --model g170-b6c96.bin.gz --out positions.npz
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from itertools import takewhile
from pathlib import Path

from orchestrator.pipeline import calibration, positions

# Width, height, games, positions of each game.
BOARDS = ((9, 9, 6, 6), (10, 14, 3, 8), (13, 13, 4, 8), (19, 19, 6, 8))
RULES = ("chinese", "japanese", "tromp-taylor", "aga", "new-zealand", "stone-scoring", "aga-button")
KOMI = ("7.5", "6.5", "7", "5.5", "0.5")
LONGEST = 320
CONFIG = """
logAllGTPCommunication = false
logSearchInfo = false
rules = tromp-taylor
maxVisits = 4
numSearchThreads = 1
allowResignation = false
resignThreshold = -0.99
resignConsecTurns = 3
chosenMoveTemperatureEarly = 1.2
chosenMoveTemperature = 0.9
rootNoiseEnabled = true
"""


class Player:
    """A KataGo that plays by GTP."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, command: str) -> str:
        """The engine's answer."""
        to, answers = self.process.stdin, self.process.stdout
        assert to is not None
        assert answers is not None
        to.write(command + "\n")
        to.flush()
        answer = "".join(takewhile(str.strip, answers))
        if not answer.startswith("="):
            raise RuntimeError(f"{command}: {answer or 'the engine has ended'}")
        return answer[1:].strip()

    def play(self, width: int, height: int, rules: str, komi: str, out: Path) -> None:
        """One game, as SGF."""
        self.ask(f"rectangular_boardsize {width} {height}")
        self.ask("clear_board")
        self.ask(f"kata-set-rules {rules}")
        self.ask(f"komi {komi}")
        passes = 0
        for move in range(LONGEST):
            said = self.ask(f"genmove {'bw'[move % 2]}")
            passes = passes + 1 if said == "pass" else 0
            if passes == 2:
                break
        self.ask(f"printsgf {out}")


def main() -> None:
    """Play, encode, save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    settings = dict(text.split("=", 1) for text in options.set)
    parts = []
    with tempfile.TemporaryDirectory(prefix="positions-") as folder:
        config = Path(folder) / "play.cfg"
        config.write_text(CONFIG + "".join(f"{k} = {v}\n" for k, v in settings.items()))
        command = [options.engine, "gtp", "-model", options.model, "-config", config]
        player, number = Player([str(part) for part in command]), 0
        for width, height, games, per_game in BOARDS:
            sgfs = []
            for _ in range(games):
                sgfs.append(Path(folder) / f"{number}.sgf")
                rules, komi = RULES[number % len(RULES)], KOMI[number % len(KOMI)]
                player.play(width, height, rules, komi, sgfs[-1])
                number += 1
            made = calibration.from_sgf(
                options.engine,
                options.model,
                sgfs,
                per_game=per_game,
                seed=number,
                settings=settings,
            )
            print(made.boards, flush=True)
            parts += list(made)
        player.ask("quit")
    found = positions.Positions(tuple(sorted(parts, key=lambda b: b.height * b.width)))
    positions.write(options.out, found)
    print(found.count, found.boards, found.sha256, options.out.stat().st_size)


if __name__ == "__main__":
    main()
