"""What cannot be seen has a name that can be searched; what scripts and emoji need stays."""

import unicodedata

import pytest

from features.character_names import HIDDEN, bytes_of_names, name_hidden, token_text
from features.records import InvalidInput
from features.text_cleaning import clean
from features.token_spans import in_sentence, short, visible

UNSEEN = ["\u200b", "\u00ad", "\ufeff", "\u200d", "\u202b", "\u0007", "\0", "\u2028", "\ufe0f"]
JOINED = ["👩‍👩‍👧", "❤️‍🔥", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "می‌خواهم", "क्‍ष", "葛󠄀"]


@pytest.mark.parametrize("shown", [visible, short])
def test_tokens_that_cannot_be_seen_have_different_names(shown):
    names = [shown(text) for text in UNSEEN]
    assert names[:6] == ["U+200B", "U+00AD", "U+FEFF", "U+200D", "U+202B", "U+0007"]
    assert len(set(names)) == len(UNSEEN)
    assert all(name.isascii() for name in names)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a\u200bb", "a‹U+200B›b"),
        ("\u200b\u200b", "U+200B U+200B"),
        ("\u200b" * 9, "U+200B×9"),
        ("\u00a0", "U+00A0"),
        ("\u0301", "◌\u0301"),
        ("a\u200d", "a‹U+200D›"),
        ("x\u200dy", "x‹U+200D›y"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_names_stand_alone_or_apart_from_the_text(text, name):
    assert name_hidden(text) == name


@pytest.mark.parametrize("text", JOINED)
def test_joiners_stay_where_scripts_and_emoji_need_them(text):
    assert name_hidden(text) == visible(text) == text
    assert clean(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", [*UNSEEN, "\u200d\u200c", " \u200b \u202e"])
def test_a_label_that_cannot_be_seen_is_refused(text):
    with pytest.raises(InvalidInput, match="at least one word"):
        clean(text)


def test_a_label_loses_what_turns_or_hides_text():
    assert clean("pass\u200bword \u202egnp\u202c x\u200d") == "password gnp x"


def test_every_control_and_format_character_is_hidden_unless_it_is_drawn():
    drawn = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    drawn |= {*range(0x13430, 0x13440), *map(ord, "\t\n\r\x85")}
    missing = [
        hex(number)
        for number in range(0x110000)
        if unicodedata.category(chr(number)) in ("Cc", "Cf", "Co")
        and number not in drawn
        and not HIDDEN.match(chr(number))
    ]
    assert missing == []


def test_bytes_that_are_no_text_alone_have_different_names():
    vocabulary = {0: (b"\xe2", False), 1: (b"\x80", False), 2: (b"\xe2\x80", False)}
    assert in_sentence([0, 1, 2], vocabulary) == ["<0xE2>", "<0x80>", "<0xE2><0x80>"]


@pytest.mark.parametrize("text", [*UNSEEN, *JOINED, "a\u200bb", "\u0301", "\u200b\u00ad", "day"])
def test_a_name_leads_back_to_the_token(text):
    assert bytes_of_names(name_hidden(text)) == text.encode()


def test_the_name_of_a_byte_leads_back_to_it():
    assert bytes_of_names(token_text(b"a\xe2\x80")) == b"a\xe2\x80"
    assert bytes_of_names("U+D800") == b"U+D800"
