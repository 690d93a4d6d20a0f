"""Rows for calibration: samples of training data, and games through a real engine."""

import numpy as np
import pytest

from orchestrator.errors import ModelError
from orchestrator.pipeline import calibration
from tests.katago_engine import TUNER
from tests.pipeline.test_positions import batch, training_rows

TUNED = {"openclTunerFile": str(TUNER)}
GAME = (
    "(;GM[1]FF[4]SZ[10:14]KM[6.5]RU[japanese]C[a \\] ;B[aa\\]];B[cc];W[gk](;B[ck];W[gd])(;B[de]))"
)


@pytest.fixture
def folder(tmp_path):
    """40 rows of 19x19, 6 of 9x9 and 2 of 10x7, in two files."""
    parts = [batch(19, 19, 30), batch(9, 9, 5), batch(7, 10, 1)]
    np.savez(tmp_path / "a.npz", **training_rows(*parts))
    parts = [batch(9, 9, 1, seed=1), batch(19, 19, 10, seed=1), batch(7, 10, 1, seed=1)]
    (tmp_path / "below").mkdir()
    np.savez(tmp_path / "below" / "b.npz", **training_rows(*parts))
    return tmp_path


class TestRows:
    def test_each_board_has_its_share(self, folder):
        assert calibration.rows(folder, count=24, seed=1).boards == {
            "10x7": 1,
            "9x9": 3,
            "19x19": 20,
        }

    def test_rare_boards_are_not_left_out(self, folder):
        found = calibration.rows(folder, count=5, seed=1)
        assert found.boards == {"10x7": 1, "9x9": 1, "19x19": 3}

    def test_fewer_rows_than_boards(self, folder):
        assert calibration.rows(folder, count=2, seed=1).count == 2

    def test_all_there_are(self, folder):
        found = calibration.rows(folder, count=48, seed=1)
        assert found.boards == {"10x7": 2, "9x9": 6, "19x19": 40}
        rows = {row.tobytes() for part in found for row in part.inputs.global_}
        assert len(rows) == 48

    def test_a_seed_gives_the_same_rows(self, folder):
        digests = [calibration.rows(folder, count=9, seed=seed).sha256 for seed in (1, 1, 2)]
        assert digests[0] == digests[1] != digests[2]

    def test_files_may_be_named(self, folder):
        found = calibration.rows([folder / "a.npz"], count=36, seed=1)
        assert found.boards == {"10x7": 1, "9x9": 5, "19x19": 30}

    def test_too_few(self, folder):
        with pytest.raises(ModelError, match=r"a.npz with 1 more has 48 rows, 49 are needed"):
            calibration.rows(folder, count=49, seed=1)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ModelError, match=r"holds no .npz file"):
            calibration.rows(tmp_path, count=1, seed=1)

    def test_other_arrays(self, tmp_path):
        np.savez(tmp_path / "x.npz", x=np.zeros(3))
        with pytest.raises(ModelError, match=r"x.npz holds no training rows: it has x"):
            calibration.rows(tmp_path, count=1, seed=1)


class TestGames:
    @pytest.fixture
    def game(self, tmp_path):
        path = tmp_path / "a game.sgf"
        path.write_text(GAME)
        return path

    def test_the_engine_encodes_them(self, katago, tiny, game):
        told = []
        found = calibration.from_sgf(
            *(katago, tiny, game.parent),
            per_game=2,
            seed=4,
            settings=TUNED,
            advance=lambda done, of: told.append((done, of)),
        )
        assert found.boards == {"10x14": 2}
        assert told == [(1, 2), (2, 2)]
        inputs = found.batches[0].inputs
        # Black to move after two moves, cc and gk, and after four, ck and gd being the others.
        assert np.argwhere(inputs.spatial[:, 1]).tolist() == [[0, 2, 2], [1, 2, 2], [1, 10, 2]]
        assert np.argwhere(inputs.spatial[:, 2]).tolist() == [[0, 10, 6], [1, 3, 6], [1, 10, 6]]
        assert inputs.global_[:, 9].tolist() == [1, 1]  # territory scoring

    def test_no_game(self, katago, tiny, game):
        game.write_text("(;GM[1]FF[4]SZ[9];B[zz])")
        with pytest.raises(
            ModelError, match=r"made no inputs of a game.sgf, move [01]: .+"
        ) as caught:
            calibration.from_sgf(katago, tiny, game, per_game=1, seed=1, settings=TUNED)
        assert "libzip" in caught.value.hint

    @pytest.mark.parametrize("text", ["", "B[aa]", "<html>"])
    def test_no_sgf(self, tiny, game, text):
        game.write_text(text)
        with pytest.raises(ModelError, match=r"a game.sgf is no SGF game"):
            calibration.from_sgf(tiny, tiny, game, per_game=1, seed=1)

    def test_no_engine(self, tiny, game, tmp_path):
        with pytest.raises(ModelError, match=r"cannot run .*/katago: No such file"):
            calibration.from_sgf(tmp_path / "katago", tiny, game, per_game=1, seed=1)

    def test_an_engine_that_cannot_write_inputs(self, tiny, game, tmp_path):
        engine = tmp_path / "katago"
        engine.write_text("#!/bin/sh\necho 'Compiled without libzip' >&2\nexit 1\n")
        engine.chmod(0o755)
        with pytest.raises(ModelError, match=r"made no inputs of .*: Compiled without libzip$"):
            calibration.from_sgf(engine, tiny, game, per_game=1, seed=1)

    def test_an_engine_that_says_too_much_for_one_line(self, tiny, game, tmp_path):
        engine = tmp_path / "katago"
        engine.write_text("#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' a\n")
        engine.chmod(0o755)
        with pytest.raises(ModelError, match=r"made no inputs of .*: a{300}$"):
            calibration.from_sgf(engine, tiny, game, per_game=1, seed=1)

    @pytest.mark.parametrize(
        ("text", "moves"),
        [
            ("(;SZ[9])", 0),
            ("(;SZ[9];B[aa];W[])", 2),
            ("\ufeff ( ;SZ[9]AB[aa];W [bb]C[;B[cc\\]];B[dd]MN[1]\n;KO[];BL[30]B[ee])", 3),
            (GAME, 4),
        ],
    )
    def test_moves_of_the_main_line(self, game, text, moves):
        game.write_text(text)
        assert calibration.main_line_moves(game) == moves

    @pytest.mark.parametrize(("moves", "count"), [(0, 3), (4, 5), (5, 2), (100, 7), (1, 9)])
    def test_positions_are_spread_over_the_game(self, moves, count):
        found = calibration.spread(moves, count, np.random.default_rng(1))
        assert len(found) == len(set(found)) == min(count, moves + 1)
        assert found == sorted(found)
        assert 0 <= found[0] <= found[-1] <= moves
        assert found[-1] >= moves - moves / len(found) - 1


def test_a_folder_without_rows_is_named(tmp_path):
    with pytest.raises(ModelError) as caught:
        calibration.rows([tmp_path], count=1, seed=1)
    assert caught.value.message == f"{tmp_path} holds no .npz file"
