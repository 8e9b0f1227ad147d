"""The vocabulary is exact bytes, and the token stream is what its module says, id by id."""

import copy

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from features.records import InvalidInput, SequenceRecord
from workers.pipeline.data.tokens import (
    BYTE_OF_CHARACTER,
    pack,
    separate,
    special_ids,
    take_tokens,
    token_batches,
    vocabulary,
)

TEXTS = ["def f(self):\n\treturn 'naïve œuvre'", "日本 🧠  two  spaces\r\n", "\x00\x7f\xad€ end "]
WORDS = ["<s>", "</s>", "<pad>", "a", "b", "c", "d", "e", "<mark>"]


def words(**roles: str) -> PreTrainedTokenizerFast:
    """One token per word: a = 3 to e = 7."""
    tokenizer = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<pad>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """A BPE with U+2581 for spaces and byte fallback, as Llama 2 and Gemma have."""
    pieces = {
        "<s>": 0,
        **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)},
        "▁": 257,
        "a": 258,
        "b": 259,
        "▁a": 260,
    }
    model = models.BPE(vocab=pieces, merges=[("▁", "a")], byte_fallback=True, unk_token=None)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["byte-level", "sentencepiece"])
def test_joining_the_bytes_of_tokens_gives_the_text_back(kind, text, tokenizer):
    chosen = tokenizer if kind == "byte-level" else sentencepiece_like()
    known = {token.token_id: token.text for token in vocabulary(chosen)}
    ids = chosen(text, add_special_tokens=False)["input_ids"]
    assert b"".join(known[index] for index in ids) == text.encode()


def of_model(model, pre_tokenizer=None, decoder=None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(model)
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder:
        tokenizer.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


def ids_from(*tokens: str) -> dict[str, int]:
    return {token: index for index, token in enumerate(["[UNK]", *tokens])}


PIECES = ["q", "u", "i", "c", "k</w>", "qu", "ic", "quic", "quick</w>", "f", "o", "x</w>", "fo"]
MERGES = [("q", "u"), ("i", "c"), ("qu", "ic"), ("quic", "k</w>"), ("f", "o")]
KINDS = {
    "WordPiece": lambda: of_model(
        models.WordPiece(ids_from("the", "quick", "br", "##ow", "##n", "."), unk_token="[UNK]"),
        pre_tokenizers.BertPreTokenizer(),
        decoders.WordPiece(),
    ),
    "words": lambda: of_model(
        models.WordLevel(ids_from("the", "quick", "brown", "."), unk_token="[UNK]"),
        pre_tokenizers.Whitespace(),
    ),
    "word ends": lambda: of_model(
        models.BPE(ids_from(*PIECES), MERGES, end_of_word_suffix="</w>", unk_token="[UNK]"),
        pre_tokenizers.Whitespace(),
        decoders.BPEDecoder(),
    ),
    "metaspace": lambda: of_model(
        models.Unigram([("[UNK]", 0.0), ("▁the", -1.0), ("▁quick", -1.0), (".", -2.0)], 0),
        pre_tokenizers.Metaspace(),
        decoders.Metaspace(),
    ),
    "metaspace without decoder": lambda: of_model(
        models.WordLevel(ids_from("▁the", "▁quick", "▁."), unk_token="[UNK]"),
        pre_tokenizers.Metaspace(),
    ),
    "CTC-like fuse": lambda: of_model(
        models.WordLevel(ids_from("the", "quick", "."), unk_token="[UNK]"),
        pre_tokenizers.Whitespace(),
        decoders.Fuse(),
    ),
}
"""Tokenizers that are not byte-level, by what marks their words."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["the quick .", "quick fox", "the brown quick.", "the"])
def test_the_texts_of_tokens_join_to_what_the_tokenizer_decodes(kind, text):
    tokenizer = KINDS[kind]()
    ids = [index for index in tokenizer(text, add_special_tokens=False)["input_ids"] if index]
    known = {token.token_id: token.text for token in vocabulary(tokenizer)}
    joined = b"".join(known[index] for index in ids).decode()
    assert joined.strip(" ") == tokenizer.backend_tokenizer.decode(ids).strip(" ")
    assert len(joined) - len(joined.strip(" ")) <= 1


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("WordPiece", {"##ow": "ow", "quick": " quick", ".": "."}),
        ("words", {"quick": " quick"}),
        ("word ends", {"quick</w>": "quick ", "qu": "qu"}),
        ("metaspace", {"▁quick": " quick", ".": "."}),
    ],
)
def test_marks_of_words_are_no_part_of_a_token_s_text(kind, texts):
    tokenizer = KINDS[kind]()
    known = {token.token_id: token.text.decode() for token in vocabulary(tokenizer)}
    vocabulary_ids = tokenizer.get_vocab()
    assert {token: known[vocabulary_ids[token]] for token in texts} == texts


def test_the_byte_alphabet_is_that_of_the_tokenizers_library():
    assert set(BYTE_OF_CHARACTER) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(BYTE_OF_CHARACTER.values()) == [bytes([byte]) for byte in range(256)]


def test_special_tokens_are_marked_by_id_and_keep_their_name(tokenizer):
    special = [token for token in vocabulary(tokenizer) if token.special]
    assert [(token.token_id, token.text) for token in special] == [(0, b"<|endoftext|>")]


def test_every_kind_of_special_token_is_left_out_of_counts():
    tokenizer = words(bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<mark>"]})
    assert special_ids(tokenizer) == {0, 1, 2, 8}


def test_an_added_token_that_is_not_special_stands_for_its_own_text(tokenizer):
    more = copy.deepcopy(tokenizer)
    more.add_tokens(["été"])
    last = vocabulary(more)[-1]
    assert (last.text, last.special) == ("été".encode(), False)


def ids_of(tokenizer, texts, size, **options) -> list[list[int]]:
    documents = [(f"d{number}", text) for number, text in enumerate(texts)]
    return [sequence.token_ids for sequence in pack(documents, tokenizer, size, **options)]


def test_documents_follow_each_other_with_a_separator_and_each_context_starts_with_bos():
    both = words(bos_token="<s>", eos_token="</s>")
    assert ids_of(both, ["a b", "c d e a b"], 4) == [[0, 3, 4, 0], [0, 5, 6, 7], [0, 3, 4, 0]]


def test_a_context_never_starts_with_bos_and_a_separator():
    assert ids_of(words(bos_token="<s>"), ["a b c", "d e a", "b c d"], 4) == [
        [0, 3, 4, 5],
        [0, 6, 7, 3],
        [0, 4, 5, 6],
    ]


def test_a_tokenizer_without_bos_separates_with_eos_and_starts_contexts_with_text():
    assert ids_of(words(eos_token="</s>"), ["a b", "c d e", "a"], 4) == [[3, 4, 1, 5], [6, 7, 1, 3]]


def test_a_tokenizer_without_either_just_joins():
    assert ids_of(words(), ["a b", "c d e"], 2) == [[3, 4], [5, 6]]


def test_bos_can_be_left_out():
    assert ids_of(words(bos_token="<s>"), ["a b", "c d e"], 3, prepend_bos=False) == [
        [3, 4, 0],
        [5, 6, 7],
    ]


def test_a_long_document_fills_many_contexts_and_the_last_partial_one_is_dropped():
    assert ids_of(words(bos_token="<s>"), ["a b c d e a"], 3) == [[0, 3, 4], [0, 5, 6], [0, 7, 3]]


def test_separate_documents_share_no_context_and_the_last_one_is_shorter():
    documents = [("one", "a b c d e a"), ("empty", ""), ("two", "b"), ("three", "c d e")]
    contexts = list(separate(documents, words(bos_token="<s>"), 4))
    assert [c.token_ids for c in contexts] == [[0, 3, 4, 5], [0, 6, 7, 3], [0, 4], [0, 5, 6, 7]]
    assert [(c.position, c.document) for c in contexts] == [
        (0, "one"),
        (1, "one"),
        (2, "two"),
        (3, "three"),
    ]


def test_separate_documents_without_bos_fill_their_contexts_with_text():
    documents = [("one", "a b c"), ("two", "d")]
    for tokenizer, options in ((words(bos_token="<s>"), {"prepend_bos": False}), (words(), {})):
        assert [c.token_ids for c in separate(documents, tokenizer, 2, **options)] == [
            [3, 4],
            [5],
            [6],
        ]


@pytest.mark.parametrize("texts", [[""], []])
def test_separate_documents_without_a_token_are_refused(texts):
    with pytest.raises(InvalidInput, match="no token") as caught:
        list(separate([(str(n), text) for n, text in enumerate(texts)], words(bos_token="<s>"), 8))
    assert caught.value.field == "corpus"


def test_each_context_names_its_place_and_the_document_of_its_first_token():
    documents = [("one", "a b c"), ("empty", ""), ("two", "d e a b c d")]
    packed = list(pack(documents, words(bos_token="<s>"), 4))
    assert [(s.position, s.document) for s in packed] == [(0, "one"), (1, "two"), (2, "two")]


def test_the_stream_is_the_tokens_of_the_texts(tokenizer, texts):
    packed = list(pack(texts, tokenizer, 16))
    stream = [index for sequence in packed for index in sequence.token_ids[1:] if index]
    plain = [
        index
        for _, text in texts
        for index in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    assert stream == plain[: len(stream)]
    assert len(plain) - len(stream) < 16
    assert all(len(sequence.token_ids) == 16 and sequence.token_ids[0] == 0 for sequence in packed)
    assert not any(
        a == b == 0 for s in packed for a, b in zip(s.token_ids, s.token_ids[1:], strict=False)
    )


@pytest.mark.parametrize("texts", [["a b"], [""], []])
def test_a_corpus_shorter_than_one_context_is_refused(texts):
    with pytest.raises(InvalidInput) as caught:
        ids_of(words(bos_token="<s>"), texts, 8)
    assert caught.value.field == "corpus"
    assert "8" in caught.value.message


def test_take_stops_after_so_many_tokens_that_are_not_special():
    contexts = [SequenceRecord(place, "", [0, 3, 4, 0, 5]) for place in range(5)]
    assert len(list(take_tokens(contexts, 6, special={0}))) == 2
    assert len(list(take_tokens(contexts, 7, special=torch.tensor([0])))) == 3
    assert len(list(take_tokens(contexts, 10))) == 2
    assert len(list(take_tokens(contexts, 0))) == 0


def test_take_reads_no_further_than_it_must():
    def endless():
        yield SequenceRecord(0, "", [3, 4])
        raise AssertionError("read too far")

    assert len(list(take_tokens(endless(), 2))) == 1


def test_batches_hold_ids_in_order():
    contexts = [SequenceRecord(place, "", [place, place + 1]) for place in range(5)]
    batches = list(token_batches(contexts, 2))
    assert [batch.tolist() for batch in batches] == [[[0, 1], [1, 2]], [[2, 3], [3, 4]], [[4, 5]]]
    assert batches[0].dtype == torch.int64


def test_short_contexts_are_filled_up_with_a_token_that_nobody_counts():
    contexts = [SequenceRecord(place, "", [3] * length) for place, length in enumerate((2, 4, 1))]
    (batch,) = token_batches(contexts, 3, special=torch.tensor([1, 2]))
    assert batch.tolist() == [[3, 3, 1, 1], [3, 3, 3, 3], [3, 1, 1, 1]]


def test_short_contexts_without_any_special_token_are_refused():
    contexts = [SequenceRecord(place, "", [3] * length) for place, length in enumerate((2, 4))]
    with pytest.raises(InvalidInput, match="packed documents"):
        list(token_batches(contexts, 2))
    assert [batch.tolist() for batch in token_batches(contexts, 1)] == [[[3, 3]], [[3, 3, 3, 3]]]
