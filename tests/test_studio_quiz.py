"""The blind test and its rooms: seeds, intervals, and that a forged answer changes nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from gendiff.data import open_data
from gendiff.errors import GendiffError
from gendiff.images import to_uint8
from gendiff.studio import Studio, bank, quiz, rooms
from gendiff.studio.bank import KINDS
from gendiff.studio.models import Real
from gendiff.studio.neighbours import nearest
from gendiff.studio.quiz import ROUND, score
from gendiff.studio.rooms import LIFE, Rooms

DATA = "fashion"
FIRST = 1, DATA, 3  # the first round of a room that was opened with quiz 3
LONE = "\ud800"  # half of a surrogate pair: JSON can carry it, no encoding can


def key(question):
    return question.kind, question.seed, question.picture.tobytes()


# ---- The quiz -------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_quiz():
    first, again, other = quiz.quiz(DATA, 7), quiz.quiz(DATA, 7), quiz.quiz(DATA, 8)
    assert len(first) == ROUND
    assert [key(q) for q in first] == [key(q) for q in again] != [key(q) for q in other]
    assert [q.kind for q in first] != [q.kind for q in quiz.quiz("cats", 7)]


def test_no_picture_comes_twice_and_each_is_what_it_is_said_to_be():
    shelves = bank.read(DATA).shelves
    for seed in range(20):
        questions = quiz.quiz(DATA, seed)
        assert len({key(q) for q in questions}) == ROUND
        for q in questions:
            shelf = shelves[q.kind]
            (place,) = np.flatnonzero(shelf.seeds == q.seed)
            np.testing.assert_array_equal(shelf.pictures[place], q.picture)
            np.testing.assert_array_equal(shelf.nearest[place], q.nearest)
            assert q.label == shelf.labels[place] and q.source == shelf.source


def test_every_kind_is_as_likely_as_the_others():
    kinds = [q.kind for seed in range(300) for q in quiz.quiz(DATA, seed)]
    for kind in KINDS:  # 3,000 draws: a standard deviation is 26
        assert abs(kinds.count(kind) - 1000) < 130


@pytest.mark.parametrize("seed", [-1, 10**9 + 1, 1.5, None, "7", True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(GendiffError, match="number of a quiz"):
        quiz.quiz(DATA, seed)


@pytest.mark.parametrize("data", ["dogs", "../fashion", "", "x" * 300])
def test_a_data_set_without_samples_is_refused(data):
    with pytest.raises(GendiffError, match="made beforehand"):
        quiz.quiz(data, 1)


def test_the_score_is_a_confusion_matrix():
    made = score([("real", "real"), ("real", "gan"), ("diffusion", "diffusion"), ("gan", "real")])
    assert made.confusion == ((1, 1, 0), (1, 0, 0), (0, 0, 1))
    assert (made.right, made.answers) == (2, 4) and made.better_than_guessing is None
    assert score([("gan", "gan")] * 10).better_than_guessing is True
    assert score([("gan", "real")] * 20).better_than_guessing is False
    with pytest.raises(GendiffError, match="An answer is"):
        score([("real", "cat")])


# ---- Rooms ----------------------------------------------------------------------------------


@pytest.fixture
def clock():
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def house(clock):
    return Rooms(clock=clock)


def test_a_room_counts_each_visitor_s_first_answers(house):
    room, _ = house.open(DATA, 3)
    truths = [q.kind for q in quiz.quiz(DATA, 3)]
    visitors = [house.join(room.code.lower() + " ")[1] for _ in range(3)]
    assert len(set(visitors)) == 3
    for place in range(ROUND):
        assert house.answer(room.code, visitors[0], FIRST, place, truths[place])
        assert house.answer(room.code, visitors[1], FIRST, place, "real")
    assert house.answer(room.code, visitors[2], FIRST, 4, "gan")
    tally = house.tally(room.code)
    assert (tally.visitors, tally.finished, tally.score.answers) == (3, 2, 21)
    right = ROUND + truths.count("real") + (truths[4] == "gan")
    assert tally.score.right == right
    assert [sum(said) for said in tally.said] == [2, 2, 2, 2, 3, 2, 2, 2, 2, 2]


def test_forged_and_repeated_answers_change_nothing(house):
    (room, _), (other, _) = house.open(DATA, 3), house.open(DATA, 3)
    _, token = house.join(room.code)
    _, elsewhere = house.join(other.code)
    assert house.answer(room.code, token, FIRST, 0, "gan")
    before = house.tally(room.code)
    assert not house.answer(room.code, token, FIRST, 0, "real")  # sent twice
    for forged in ("", "guess", elsewhere, None, 7, ["x"], "' or 1=1 --", LONE):
        assert not house.answer(room.code, forged, FIRST, 1, "gan")
    for number in (0, 2, -1, 10**30, 1.0, "1", None, True):
        assert not house.answer(room.code, token, (number, DATA, 3), 1, "gan")
    for data, seed in (("cats", 3), (DATA, 9), ("cats", 9), (None, None), (LONE, 3)):
        assert not house.answer(room.code, token, (1, data, seed), 1, "gan")  # another quiz
    for place in (-1, ROUND, 10**30, 1.0, "1", None, True):
        assert not house.answer(room.code, token, FIRST, place, "gan")
    for said in ("cat", "", None, "<b>gan</b>"):
        assert not house.answer(room.code, token, FIRST, 1, said)
    for code in ("ABCDEF", "", "' or 1=1 --", "x" * 10_000, None, 5, LONE):
        with pytest.raises(GendiffError, match="no such room"):
            house.answer(code, token, FIRST, 1, "gan")
        with pytest.raises(GendiffError, match="no such room"):
            house.join(code)
    assert house.tally(room.code) == before
    assert house.tally(other.code).score.answers == 0


def test_rooms_expire_with_all_that_was_in_them(house, clock):
    room, _ = house.open(DATA, 3)
    _, token = house.join(room.code)
    house.answer(room.code, token, FIRST, 0, "gan")
    clock.now += LIFE - 1
    assert house.tally(room.code).room.seconds_left == pytest.approx(1)
    later, _ = house.open(DATA, 4)
    clock.now += 2
    with pytest.raises(GendiffError, match="no such room"):
        house.tally(room.code)
    assert house.tally(later.code).visitors == 0
    left = house._db.execute(
        "select (select count(*) from answers) + count(*), (select count(*) from rounds) "
        "from visitors"
    )
    assert left.fetchone() == (0, 1)


def test_there_are_bounds(house, monkeypatch):
    monkeypatch.setattr(rooms, "VISITORS_MAX", 2)
    room, key = house.open(DATA, 1)
    house.join(room.code), house.join(room.code)
    with pytest.raises(GendiffError, match="full"):
        house.join(room.code)
    monkeypatch.setattr(rooms, "ROOMS_MAX", 1)
    with pytest.raises(GendiffError, match="too many"):
        house.open(DATA, 1)
    with pytest.raises(GendiffError, match="made beforehand"):
        house.open("dogs", 1)
    monkeypatch.setattr(rooms, "ROUNDS_MAX", 1)
    with pytest.raises(GendiffError, match="has had 1 rounds"):
        house.next_round(room.code, key, DATA, 2)


def test_a_class_answers_at_once(house):
    room, _ = house.open(DATA, 3)

    def visit():
        _, token = house.join(room.code)
        for place in range(ROUND):
            house.answer(room.code, token, FIRST, place, KINDS[place % 3])
            house.answer(room.code, token, FIRST, place, "real")

    threads = [threading.Thread(target=visit) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally = house.tally(room.code)
    assert (tally.visitors, tally.finished, tally.score.answers) == (20, 20, 200)


def test_the_next_round_is_another_quiz_for_all_and_keeps_the_score_of_the_one_before(house):
    room, key = house.open(DATA, 3)
    _, token = house.join(room.code)
    truths = [q.kind for q in quiz.quiz(DATA, 3)]
    assert house.answer(room.code, token, FIRST, 0, truths[0])
    assert house.answer(room.code, token, FIRST, 1, truths[1])
    moved = house.next_round(room.code, key, "cats", 5)
    assert (moved.code, moved.round, moved.data, moved.seed) == (room.code, 2, "cats", 5)
    again, same = house.join(room.code, token)
    assert (again.round, again.data, same) == (2, "cats", token)
    assert house.answered(room.code, token) == {}
    assert not house.answer(room.code, token, FIRST, 2, "gan")  # too late for its round
    assert house.answer(room.code, token, (2, "cats", 5), 0, "real")
    tally = house.tally(room.code)
    assert (tally.room.data, tally.score.answers, tally.visitors) == ("cats", 1, 1)
    assert tally.said[0] == (1, 0, 0) and sum(map(sum, tally.said)) == 1
    (past,) = tally.past
    assert (past.data, past.seed, past.score.right, past.score.answers) == (DATA, 3, 2, 2)


@pytest.mark.parametrize("key", ["", "guess", None, 7, ["x"], "' or 1=1 --", "ä", LONE])
def test_only_the_host_starts_a_round(house, key):
    room, _ = house.open(DATA, 3)
    _, elsewhere = house.open(DATA, 3)
    _, token = house.join(room.code)
    before = house.tally(room.code)
    for forged in (key, elsewhere, token):
        with pytest.raises(GendiffError, match="Only the browser that opened"):
            house.next_round(room.code, forged, "cats", 5)
        with pytest.raises(GendiffError, match="Only the browser that opened"):
            house.check_host(room.code, forged, "show the truth")
    assert house.tally(room.code) == before


def test_a_round_with_a_quiz_that_is_none_changes_nothing(house):
    room, key = house.open(DATA, 3)
    for data, seed in (("dogs", 1), (DATA, -1), (DATA, "x")):
        with pytest.raises(GendiffError):
            house.next_round(room.code, key, data, seed)
    with pytest.raises(GendiffError, match="no such room"):
        house.next_round("ABCDEF", key, DATA, 1)
    assert house.tally(room.code).room.round == 1


def test_a_visitor_who_comes_back_is_the_same_visitor(house):
    room, _ = house.open(DATA, 3)
    _, token = house.join(room.code)
    house.answer(room.code, token, FIRST, 2, "gan")
    assert house.join(room.code, token)[1] == token
    assert house.answered(room.code, token) == {2: "gan"}
    for forged in ("forged", LONE):
        _, other = house.join(room.code, forged)
        assert other not in (forged, token)
    assert house.answered(room.code, other) == {}
    assert house.tally(room.code).visitors == 3


# ---- The bank -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["fashion", "cats"])
def test_the_bundled_bank_holds_real_and_generated_pictures(data):
    stored = bank.read(data)
    real = Studio(device="cpu").real(data)
    for kind, shelf in stored.shelves.items():
        assert len(shelf) == bank.COUNT and shelf.pictures.shape == shelf.nearest.shape
        assert shelf.pictures.dtype == np.uint8 and (shelf.rms >= 0).all()
        apart = (shelf.pictures.astype(float) - shelf.nearest).reshape(len(shelf), -1) / 127.5
        np.testing.assert_allclose(np.sqrt((apart**2).mean(1)), shelf.rms, atol=5e-3)
        if kind == "real":
            np.testing.assert_array_equal(shelf.pictures, real.pictures[shelf.seeds])
            assert shelf.rms.min() > 0  # a test picture is no training picture
        else:
            assert shelf.sha256 and shelf.source.startswith(f"{data}-{kind}")


def test_a_bank_is_written_whole_and_knows_its_weights(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(bank, "FOLDER", tmp_path)
    monkeypatch.setattr(bank, "nearest", lambda data, p: (255 - p, np.ones(len(p))))
    studio = Studio(saved, "cpu", "float32")
    real = bank.read.__wrapped__
    pictures = np.arange(20 * 64, dtype=np.uint8).reshape(20, 8, 8, 1)
    monkeypatch.setattr(studio, "real", lambda data: Real(pictures, np.zeros(20, int)))
    bank.write(bank.make(studio, "shapes", count=5))
    stored = real("shapes")
    assert stored.stale(studio) == [] and bank.banks() == ["shapes"]
    made = stored.shelves["diffusion"]
    again, labels = bank.samples(studio.model("tiny-diffusion"), range(5))
    np.testing.assert_array_equal(made.pictures, again)
    np.testing.assert_array_equal(made.labels, labels)
    np.testing.assert_array_equal(made.nearest, 255 - again)
    other = Studio(tmp_path, "cpu", "float32")
    assert stored.stale(other) == ["gan", "diffusion"]
    path = tmp_path / "shapes.npz"
    for damaged in (b"", path.read_bytes()[:100], b"junk"):
        path.write_bytes(damaged)
        with pytest.raises(GendiffError, match="damaged"):
            real("shapes")


# ---- Nearest training pictures --------------------------------------------------------------


@pytest.mark.parametrize("data", ["fashion", "cats"])
def test_a_training_picture_is_its_own_nearest(data):
    try:
        train = open_data(data, "train")
    except GendiffError as error:
        pytest.skip(str(error))
    own = to_uint8(train.batch(torch.tensor([0, 3001, len(train) // 2]))[0])
    found, rms = nearest(data, own)
    assert rms.max() < 2 / 255 and np.abs(found.astype(int) - own).max() <= 1
    with pytest.raises(GendiffError, match="nearest training picture"):
        nearest("ring", own)
