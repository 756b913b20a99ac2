"""Contexts: every token finds its document, whoever made the tokenizer; what is cut is said."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from limelight.errors import ArgumentTypeError, InputError
from limelight.text.chat_template import plain_message
from limelight.text.contexts import Context, encode
from limelight.text.tokenizers import Tokenizer

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

DOCUMENTS = {
    "english.md": "The cat isn't here.\n\nIt sleeps; 3.14 hours!",
    "japanese.md": "東京の猫。寝ます。",
    "emoji.md": "A 👩‍👩‍👧 and a 🇩🇪 flag: naïve café, Ελλάδα",
    "code.py": "def f(x):\n    return x  # ja\n",
}
QUESTION = "Wo schläft die Katze?"
TEXT = [*DOCUMENTS.values(), QUESTION]


@cache
def tokenizer(kind: str) -> Any:
    """Trained on nothing but these texts, the way the model families do it."""
    models, normal, pre, post = (
        getattr(tokenizers, name) for name in ("models", "normalizers", "pre_tokenizers", "processors")
    )
    trainers = tokenizers.trainers
    if kind == "byte-level":
        made = tokenizers.Tokenizer(models.BPE())
        made.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        made.post_processor = post.ByteLevel(trim_offsets=False)
        trainer = trainers.BpeTrainer(
            vocab_size=330, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
        )
    elif kind == "wordpiece":
        made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normal.BertNormalizer(lowercase=True)  # takes accents away: é is e
        made.pre_tokenizer = pre.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=150, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False
        )
    else:
        made = tokenizers.Tokenizer(models.Unigram())
        made.normalizer = normal.NFKC()
        made.pre_tokenizer = pre.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=150, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
        )
    made.train_from_iterator(TEXT * 2, trainer)
    if kind == "wordpiece":
        made.post_processor = post.TemplateProcessing(
            "[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    if kind == "sentencepiece":
        made.post_processor = post.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made)


KINDS = ("byte-level", "wordpiece", "sentencepiece")


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_of_every_document_cover_it_and_nothing_else(kind: str) -> None:
    context = Context.of(tokenizer(kind), DOCUMENTS, QUESTION)
    assert context.names == (*DOCUMENTS, "question")
    assert list(context.ids) == tokenizer(kind)("\n\n".join(TEXT))["input_ids"]
    for name, text in zip(context.names, TEXT, strict=True):
        spans = [context.segments.spans[token] for token in context.tokens_of(name)]
        covered = set().union(*(range(*span) for span in spans))
        start = context.segments.text.index(text)
        visible = {start + i for i, sign in enumerate(text) if not sign.isspace() and sign != "\u200d"}
        assert visible <= covered
        assert all(
            context.segments.text[place].isspace() for place in covered - set(range(start, start + len(text)))
        )


def test_a_part_that_is_none_is_refused() -> None:
    context = Context.of(tokenizer("wordpiece"), DOCUMENTS, QUESTION)
    assert context.tokens_of(-1) == context.tokens_of(4) == context.tokens_of("question")
    for part in (5, -6, "nope"):
        with pytest.raises(InputError, match=f"part must be one of 'english.md'.*from -5 to 4; got {part!r}"):
            context.tokens_of(part)


@pytest.mark.parametrize("kind", KINDS)
def test_words_stand_in_sentences_and_sentences_in_documents(kind: str) -> None:
    segments = Context.of(tokenizer(kind), DOCUMENTS, QUESTION).segments
    word, sentence, document = (segments.index(level).tolist() for level in ("word", "sentence", "document"))
    for inner, outer in ((word, sentence), (sentence, document)):
        homes: dict[int, int] = {}
        for one, other in zip(inner, outer, strict=True):
            if one >= 0:
                assert homes.setdefault(one, other) == other
    held = {unit.text for unit in segments.units("word") if unit.first_token >= 0}
    assert {"isn't", "東", "👩‍👩‍👧", "🇩🇪", "naïve", "Ελλάδα", "return", "Katze"} <= held


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece"])
def test_special_tokens_belong_to_nothing(kind: str) -> None:
    context = Context.of(tokenizer(kind), DOCUMENTS)
    special = [token for token, span in enumerate(context.segments.spans) if span[0] == span[1]]
    assert special == ([0, len(context.ids) - 1] if kind == "wordpiece" else [len(context.ids) - 1])
    assert {
        context.segments.index(level)[token].item() for token in special for level in ("word", "document")
    } == {-1}


def test_the_package_tokenizers_and_our_own_do_too() -> None:
    ours = Tokenizer.train(TEXT * 2, "bpe", 300)
    for given in (ours, tokenizer("byte-level").backend_tokenizer):
        context = Context.of(given, DOCUMENTS, QUESTION)
        assert all(context.tokens_of(name) for name in (*DOCUMENTS, "question"))
        ids, spans = encode(given, DOCUMENTS["emoji.md"])
        assert len(ids) == len(spans)
        assert max(end for _, end in spans) == len(DOCUMENTS["emoji.md"])


def test_documents_without_names_are_numbered() -> None:
    assert Context.of(tokenizer("byte-level"), ["a", "b"]).names == ("document 1", "document 2")
    assert Context.of(tokenizer("byte-level"), "a", "  ").names == ("document 1",)
    with pytest.raises(ArgumentTypeError, match="document 2 is int"):
        Context.of(tokenizer("byte-level"), ["a", 5])  # type: ignore[list-item]


def test_a_tokenizer_without_offsets_is_refused() -> None:
    class Slow:
        is_fast = False

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": []}

    with pytest.raises(InputError, match="must tell which characters each token covers; Slow cannot"):
        Context.of(Slow(), "a")
    with pytest.raises(ArgumentTypeError, match="got int"):
        Context.of(7, "a")


# ── Conversations ──

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] | trim }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def chatty() -> Any:
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer("byte-level").backend_tokenizer)
    made.chat_template = TEMPLATE
    return made


def test_roles_are_parts() -> None:
    pytest.importorskip("jinja2")
    said = [("system", "Be brief."), ("user", " Be brief? \n"), ("assistant", "Yes."), ("user", "Be brief.")]
    context = Context.chat(
        chatty(), [{"role": role, "content": text} for role, text in said], answer_next=True
    )
    assert context.names == ("system", "user 1", "assistant", "user 2")
    places = [context.segments.text[start:end] for start, end in context.segments.documents]
    assert places == [text.strip() for _, text in said]
    assert context.segments.text.endswith("<|assistant|>\n")
    assert all(context.tokens_of(name) for name in context.names)
    outside = [i for i, home in enumerate(context.segments.index("document").tolist()) if home < 0]
    assert outside


OWN_PROMPT = (  # with a prompt of its own, as Qwen's
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MOVED = (  # the system's message stands in the last of the user's, as Mistral has it
    "{% for message in messages if message['role'] != 'system' %}[{{ message['role'] }}]"
    "{% if loop.last %}{{ messages[0]['content'] }}\n{% endif %}{{ message['content'] }}{% endfor %}"
)


def placed(template: str, *said: tuple[str, str]) -> dict[str, tuple[int, str]]:
    """Each part's place and text in what a template makes of a conversation."""
    made = chatty()
    made.chat_template = template
    context = Context.chat(made, [{"role": role, "content": text} for role, text in said], answer_next=True)
    text, places = context.segments.text, context.segments.documents
    return {name: (start, text[start:end]) for name, (start, end) in zip(context.names, places, strict=True)}


def test_a_message_is_found_where_it_is_and_not_where_the_template_says_the_same() -> None:
    pytest.importorskip("jinja2")
    found = placed(OWN_PROMPT, ("user", "help"), ("assistant", " a\n"), ("user", "system"))
    rendered = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    assert found["user 1"] == (len(rendered), "help")
    before = len(f"{rendered}help<|im_end|>\n<|im_start|>assistant\n")
    assert found["assistant"] == (before + 1, "a")  # the template keeps the blanks around it
    assert found["user 2"][1] == "system"


def test_a_template_may_move_the_systems_message() -> None:
    pytest.importorskip("jinja2")
    found = placed(MOVED, ("system", "Be brief."), ("user", "One?"), ("assistant", "1."), ("user", "Two?"))
    assert {name: text for name, (_, text) in found.items()} == {
        "user 1": "One?",
        "assistant": "1.",
        "system": "Be brief.",
        "user 2": "Two?",
    }
    assert list(found) == ["user 1", "assistant", "system", "user 2"]  # in their order in the text


def test_an_empty_document_in_a_chat_template_moves_nothing() -> None:
    pytest.importorskip("jinja2")
    context = Context.of(chatty(), {"a": "", "b": "hello", "c": " "}, "who?", chat=True)
    places = [context.segments.text[start:end] for start, end in context.segments.documents]
    assert dict(zip(context.names, places, strict=True))["b"] == "hello"
    assert dict(zip(context.names, places, strict=True))["question"] == "who?"


def test_what_a_template_refuses_is_told() -> None:
    pytest.importorskip("jinja2")
    made = chatty()
    made.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(InputError, match="refuses these messages: System role not supported"):
        Context.chat(made, [{"role": "system", "content": "a"}])


def test_documents_in_a_chat_template_keep_their_borders() -> None:
    pytest.importorskip("jinja2")
    context = Context.of(chatty(), DOCUMENTS, QUESTION, chat=True)
    places = [context.segments.text[start:end] for start, end in context.segments.documents]
    assert places == [text.strip() for text in TEXT]
    assert context.segments.text.startswith("<|user|>\n") and context.segments.text.endswith(
        "<|assistant|>\n"
    )


def test_a_content_in_parts_of_text_is_put_together() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert plain_message({"role": "user", "content": parts, "name": "x"}) == {
        "role": "user",
        "content": "a\nb",
        "name": "x",
    }
    for wrong in ({"role": "user", "content": [{"type": "image"}]}, {"role": "user"}, "hi"):
        with pytest.raises(InputError, match="A message must be"):
            plain_message(wrong)  # type: ignore[arg-type]


def test_without_a_template_there_is_no_conversation() -> None:
    with pytest.raises(InputError, match="has no chat template"):
        Context.chat(tokenizer("byte-level"), [{"role": "user", "content": "a"}])


def test_a_template_that_changes_what_is_said_is_refused() -> None:
    pytest.importorskip("jinja2")
    made = chatty()
    made.chat_template = "{{ messages[0]['content'] | upper }}"
    with pytest.raises(InputError, match="changes what is said"):
        Context.chat(made, [{"role": "user", "content": "small letters"}])


# ── Texts that are too long ──


def words(count: int, question: str | None = None, documents: int = 2) -> Context:
    from tests.capture import foreign

    made = foreign.word_tokenizer(tuple(f"w{i}" for i in range(100)))
    texts = {f"{d}.txt": " ".join(f"w{d * count + i}" for i in range(count)) for d in range(documents)}
    return Context.of(made, texts, question)


def test_a_text_that_fits_is_left_as_it_is() -> None:
    context = words(7)
    assert context.cut(16) is context and context.windows(16) == [context]
    assert context.note == ""


def test_the_end_of_the_documents_is_cut_and_the_question_kept() -> None:
    context = words(7, "w50 w51", documents=3).cut(13)
    assert len(context.ids) == 13
    assert context.names == ("0.txt", "1.txt", "question")
    assert [len(context.tokens_of(name)) for name in context.names] == [7, 2, 2]
    assert context.segments.text == "w0 w1 w2 w3 w4 w5 w6\n\nw7 w8\n\nw50 w51"
    words_read = [unit.text for unit in context.segments.units("word") for _ in unit.tokens]
    assert words_read == context.segments.text.split()
    assert context.note == (
        "The text has 25 tokens and the model reads 13: the last 12 tokens of the documents were left out "
        "(1.txt from its character 7 on; all of 2.txt)."
    )


@pytest.mark.parametrize(("overlap", "pieces"), [(0, 3), (4, 4), (None, 3), (8, 13)])
def test_windows_hold_every_token_and_share_some(overlap: int | None, pieces: int) -> None:
    whole = words(7, "w50 w51", documents=3)
    windows = whole.windows(13, overlap)
    assert len(windows) == pieces
    inside = [[id for id in window.ids if 4 <= id < 4 + 21] for window in windows]
    assert sorted({id for ids in inside for id in ids}) == list(range(4, 25))
    shared = 2 if overlap is None else overlap
    for before, after in pairwise(inside):
        assert before[len(before) - shared :] == after[:shared]
    for number, window in enumerate(windows, 1):
        assert len(window.ids) <= 13
        assert len(window.tokens_of("question")) == 2
        assert window.note.startswith(f"Window {number} of {pieces}: tokens ")


def test_a_question_that_is_too_long_itself_is_refused() -> None:
    with pytest.raises(InputError, match="The model reads 4 tokens at once"):
        words(7, "w50 w51").cut(4)
    with pytest.raises(InputError, match="overlap must be from 0 to 8"):
        words(7, "w50 w51").windows(13, 9)


@pytest.mark.parametrize("content", [None, [{"type": "image", "url": "a.png"}]])
def test_a_message_holds_one_text(content: Any) -> None:
    with pytest.raises(InputError, match="A message must be"):
        Context.chat(tokenizer("byte-level"), [{"role": "user", "content": content}])
