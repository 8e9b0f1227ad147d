"""Token-level ground truth: what each concept holds on, for Python that parses, that does not, and
any other text.
"""

import pytest

from features.records import Piece, SequenceRecord
from workers.pipeline.concepts import word_lists
from workers.pipeline.concepts.all_concepts import CONCEPTS, concepts_with_lists
from workers.pipeline.concepts.context_concepts import CONTEXTS, context_flags
from workers.pipeline.concepts.token_concepts import TokenConcepts
from workers.pipeline.concepts.tokenized_document import Document, token_spans
from workers.pipeline.data.tokens import Tokenized, pack, vocabulary

BY_NAME = {concept.name: concept for concept in CONCEPTS}
CODE = '''"""Cats.

They purr.
"""
import os.path as op
from errno import EINTR

LIMIT_ONE = 0x1F  # bytes


@property
def purr(self, times=3, *rest) -> int:
    """Say it."""
    if times > 1 and not self.tired:
        print(f"{times} purrs", end="\\n")
    return [n for n in range(times)][-1:]


class TestCat(Animal):
    async def test_it(self):
        try:
            raise ValueError("no") from None
        except (OSError, KeyError):
            self.assertTrue(d["key"] == 1.5)
'''


def held(name: str, text: str) -> list[str]:
    """What a concept holds on in a text that is cut into single characters: its runs."""
    document = Document("a.py", text, [(i, i + 1) for i in range(len(text))])
    flags = [*BY_NAME[name].find(document).tolist(), False]
    runs, start = [], None
    for place, flag in enumerate(flags):
        if flag and start is None:
            start = place
        elif not flag and start is not None:
            runs.append(text[start:place])
            start = None
    return runs


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("python.docstring", ['"""Cats.\n\nThey purr.\n"""', '"""Say it."""']),
        ("python.docstring-first", ['"""Cats.', '"""Say it."""']),
        ("python.docstring-module", ['"""Cats.\n\nThey purr.\n"""']),
        ("python.comment", ["# bytes"]),
        ("python.import", ["import os.path as op", "from errno import EINTR"]),
        ("python.from", ["errno"]),
        ("python.imported", ["os.path as op", "EINTR"]),
        ("python.decorator", ["property"]),
        ("python.def-name", ["purr", "test_it"]),
        ("python.class-name", ["TestCat"]),
        ("python.method-name", ["test_it"]),
        ("python.parameter", ["self", "times", "rest", "self"]),
        ("python.default", ["3"]),
        ("python.returns", ["int"]),
        ("python.bases", ["Animal"]),
        ("python.called", ["print", "range", "ValueError"]),
        ("python.method", ["assertTrue"]),
        ("python.attribute", ["tired", "assertTrue"]),
        ("python.self-attribute", ["tired", "assertTrue"]),
        ("python.keyword-name", ["end"]),
        ("python.condition", ["times > 1 and not self.tired"]),
        ("python.boolean", ["times > 1 and not self.tired"]),
        ("python.not", ["self.tired"]),
        ("python.comprehension", ["[n for n in range(times)]"]),
        ("python.loop-variable", ["n"]),
        ("python.iterated", ["range(times)"]),
        ("python.slice", ["-1:"]),
        ("python.f-field", ["times"]),
        ("python.raised", ['ValueError("no")']),
        ("python.except-type", ["(OSError, KeyError)"]),
        ("python.subscript", ["-1:", '"key"']),
        ("python.number", ["0x1F", "3", "1", "1", "1.5"]),
        ("python.float", ["1.5"]),
        ("python.exception", ["ValueError", "OSError", "KeyError"]),
        ("python.builtin", ["print"]),
        ("python.type", ["property", "int", "range"]),
        ("python.self", ["self", "self", "self", "self"]),
        ("python.arrow", ["->"]),
        ("python.string-opens", ['"""', '"""', 'f"', '"', '"', '"']),
        ("keyword.return", ["return"]),
        ("keyword.not", ["not"]),
        ("word.constant", ["LIMIT_ONE"]),
        ("number.hex", ["0x1F"]),
        ("text.escape", ["\\n"]),
    ],
)
def test_what_a_concept_of_python_holds_on(name, runs):
    assert held(name, CODE) == runs


def test_test_code_is_all_of_a_test():
    assert [run.splitlines()[0] for run in held("python.test", CODE)] == ["class TestCat(Animal):"]
    assert held("python.asserts", CODE) == ['self.assertTrue(d["key"] == 1.5)']


def test_accents_and_line_ends_of_windows_do_not_move_what_is_marked():
    text = "x = 1\r\ndef naïve(ä, self):\r\n    return '日本', ä\r\n"
    assert held("python.def-name", text) == ["naïve"]
    assert held("python.parameter", text) == ["ä", "self"]
    assert held("python.returned", text) == ["'日本', ä"]
    assert held("python.string", text) == ["'日本'"]


def test_a_text_that_stops_being_python_is_read_as_far_as_it_goes():
    text = "import os\n\ndef purr(cat):\n    return cat\n\nfrom here on it is prose, and no code.\n"
    assert held("python.def-name", text) == ["purr"]
    assert held("keyword.from", text) == []


@pytest.mark.parametrize(
    "text",
    ["", "hello", "A cat sat, and (so) it goes.", "\0", "((((" * 500, "x = '''", "a\rb\x0cc"],
)
def test_what_is_no_python_has_none_of_its_concepts(text):
    document = Document("any", text, [(i, i + 1) for i in range(len(text))])
    for concept in CONCEPTS:
        flags = concept.find(document)
        assert flags.shape == (len(text),)
        assert not flags.any() or not concept.name.startswith(("python.", "keyword.")), concept.name


@pytest.mark.parametrize(
    ("name", "text", "runs"),
    [
        ("character.opening", "f(a[0])", ["(", "["]),
        ("character.line-end", "a\n\nb", ["\n\n"]),
        ("word.capitals", "The NASA and I", ["NASA"]),
        ("text.url", "see https://a.org/b?c=1 now", ["https://a.org/b?c=1"]),
        ("text.email", "to a.b@c.org.", ["a.b@c.org"]),
        ("text.round", "f(a, b) c", ["a, b"]),
        ("text.doctest", "x\n>>> f(1)\n2", [">>> f(1)"]),
        ("line.indentation-4", "a\n    b\n        c", ["    "]),
        ("line.first", "  if x:\ny", ["if", "y"]),
        ("token.starts-line", "  ab\nc d", ["a", "c"]),
        ("english.article", "The cat and an owl", ["The", "an"]),
        ("english.plural", "cats eat mice here", ["cats"]),
        ("english.gerund", "a king is running", ["running"]),
        ("english.past", "it walked to bed", ["walked"]),
        ("english.month", "in July and Sept", ["July"]),
        ("number.date", "on 2024-01-31 at", ["2024-01-31"]),
    ],
)
def test_what_a_concept_of_any_text_holds_on(name, text, runs):
    assert held(name, text) == runs


def test_there_are_many_concepts_and_each_has_a_name_and_words_of_its_own():
    every = [*CONCEPTS, *CONTEXTS]
    assert len(every) >= 80
    assert len({concept.name for concept in every}) == len(every)
    assert len({concept.words for concept in every}) == len(every)


def test_a_token_lies_where_its_text_without_leading_blanks_does():
    text = "# a\nx = 1"
    document = Document("a.py", text, [(0, 1), (1, 3), (3, 5), (5, 7), (7, 9)])
    assert BY_NAME["python.comment"].find(document).tolist() == [True, True, False, False, False]
    assert BY_NAME["python.name"].find(document).tolist() == [False, False, True, False, False]
    assert (
        BY_NAME["character.line-end"].find(document).tolist() == [False] * 5
    )  # its token has more than blanks


@pytest.mark.parametrize("text", ["plain", "naïve 日本 🧠 ok", "", "é"])
def test_tokens_lie_where_their_bytes_do(text):
    data = text.encode()
    cut = [data[i : i + 2] for i in range(0, len(data), 2)]
    spans = token_spans(text, cut)
    assert len(spans) == len(cut)
    for (start, end), piece in zip(spans, cut, strict=True):
        assert piece in text[start:end].encode()
        assert len(text[start:end].encode()) <= len(piece) + 6
    assert token_spans(text, [b" ", *cut])[1:] == spans  # a blank that SentencePiece puts first
    assert token_spans(text + "x", cut) is None


def test_concepts_follow_a_document_through_the_contexts_it_is_cut_into(tokenizer):
    documents = [
        ("one", "def purr(cat):\n    return cat  # soft\n"),
        ("two", "A cat, and no code."),
        ("three", CODE),
    ]
    texts = [record.text for record in vocabulary(tokenizer)]
    truth = TokenConcepts(CONCEPTS, texts)
    column = truth.names.index("python.comment")
    marked = b""
    for record in pack(documents, tokenizer, 16, on_document=truth.add_document):
        flags = truth.flags_of(record)
        assert flags.shape == (16, len(truth.names)) == (16, len(truth.words))
        assert not flags[0, : len(CONCEPTS)].any()  # BOS
        marked += b"".join(
            texts[i] for i, flag in zip(record.token_ids, flags[:, column], strict=True) if flag
        )
    assert b" ".join(marked.split()) == b"# soft# bytes"
    assert truth.unplaced == 0


def test_a_document_whose_tokens_are_not_its_text_is_counted_and_has_no_concepts():
    truth = TokenConcepts(CONCEPTS, [b"", b"x"])
    truth.add_document(Tokenized("odd", "y y", [1, 1]))
    record = SequenceRecord(0, "odd", [1, 1], [Piece(0, "odd", 0)])
    assert not truth.flags_of(record)[:, : len(CONCEPTS)].any()
    assert truth.unplaced == 1
    told = TokenConcepts(CONCEPTS, [b"", b"x"], lambda text: [(0, 1), (1, 3)])
    told.add_document(Tokenized("odd", "y y", [1, 1]))
    assert told.flags_of(record)[:, : len(CONCEPTS)].any()
    assert told.unplaced == 0


def test_repeats_are_told_from_the_context_alone():
    names = [concept.name for concept in CONTEXTS]
    found = dict(zip(names, context_flags([5, 6, 5, 6, 7, 7]).T.tolist(), strict=True))
    assert found["context.repeated"] == [False, False, True, True, False, True]
    assert found["context.pair"] == [False, False, False, True, False, False]
    assert found["context.doubled"] == [False] * 5 + [True]


def test_an_entry_of_a_list_is_found_as_whole_words_in_any_case():
    concept = word_lists.word_list_concept("animals", ["cat", "guinea pig", "C++"])
    text = "A Cat, a category, guinea\n pigs, Guinea  pig and C++"
    document = Document("any", text, [(i, i + 1) for i in range(len(text))])
    marked = "".join(
        c if flag else " " for c, flag in zip(text, concept.find(document), strict=True)
    ).split()
    assert marked == ["Cat", "Guinea", "pig", "C++"]
    assert concepts_with_lists([concept])[-1].name == "list.animals"
