"""Token ids to text and boxes: bytes are the truth, characters stay whole."""

import pytest

from features.token_spans import alpha, around, short, spans, text_of, visible
from tests.builders import encode, vocabulary

VOCABULARY = {t.token_id: (t.text, t.special) for t in vocabulary()}


def texts(boxes):
    return [box.text for box in boxes]


@pytest.mark.parametrize("text", ["日本 🧠 naïve œuvre", "café", "plain", "a\n    b", "", "👩‍👩‍👧"])
def test_any_text_comes_back_as_it_was_whatever_its_tokens_split(text):
    ids = encode(text, bos=False)
    assert "".join(texts(spans(ids, VOCABULARY))) == text
    assert text_of(ids, VOCABULARY) == text


def test_tokens_that_split_a_character_are_one_box_with_their_largest_value():
    ids = encode("é", bos=False)
    assert len(ids) == 2
    boxes = spans(ids, VOCABULARY, [0, 1], [0.5, 1.5], 0, 2.0)
    assert texts(boxes) == ["é"]
    assert boxes[0].token_ids == tuple(ids)
    assert boxes[0].value == 1.5
    assert boxes[0].peak
    (below,) = spans(ids, VOCABULARY, [0, 1], [0.5, -1.5], 1, 2.0)
    assert (below.value, below.strength) == (-1.5, alpha(1.5, 2.0))


def test_bytes_that_are_no_character_are_shown_as_such_and_disturb_nobody():
    lonely = [0xC3 + 1, *encode("a", bos=False)]
    assert "".join(texts(spans(lonely, VOCABULARY))) == "\ufffda"
    assert texts(spans([0xC3 + 1], VOCABULARY)) == ["\ufffd"]
    assert texts(spans([0xA9 + 1, 0xA9 + 1], VOCABULARY)) == ["\ufffd", "\ufffd"]


def test_a_special_token_ends_a_broken_character_and_is_marked():
    boxes = spans([0xC3 + 1, 0, *encode("b", bos=False)], VOCABULARY)
    assert texts(boxes) == ["\ufffd", "<|endoftext|>", "b"]
    assert [box.special for box in boxes] == [False, True, False]


def test_an_unknown_token_id_is_a_replacement_sign():
    assert texts(spans([99999], VOCABULARY)) == ["\ufffd"]


def test_positions_count_tokens_not_boxes():
    ids = encode("é a", bos=False)
    assert [box.position for box in spans(ids, VOCABULARY)] == [0, 2]


def test_strength_is_logarithmic_from_nothing_to_the_maximum():
    assert alpha(0, 2) == alpha(1, 0) == 0
    assert alpha(-1, 2) == alpha(1, 2) > 0
    assert alpha(2, 2) == alpha(3, 2) == 1
    strengths = [alpha(share, 1) for share in (0.01, 0.1, 0.5, 1)]
    assert strengths == sorted(strengths)
    assert alpha(0.1, 1) > 0.3, "a tenth of the maximum is still easy to see"


def test_blanks_are_made_visible():
    assert visible(" a\n\t") == "␣a↵⇥"
    assert short(" day") == "day"
    assert short("\n        ") == "↵␣×8"
    assert short(" ") == "␣"


def test_a_part_around_the_peak_has_whole_characters():
    ids = encode("日本 ran 日本", bos=False)
    boxes = spans(ids, VOCABULARY, [6], [1.0], 6, 1.0)
    assert boxes[2].peak
    assert texts(around(boxes, 1, 1)) == ["本", " ran", " "]
    assert around([], 3, 3) == []
