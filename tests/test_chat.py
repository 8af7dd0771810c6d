"""Prompts in a model's own chat format: targets are found where they are said, and nowhere else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from config_files import refused, written
from texts import experiment, target
from tokenizers import Tokenizer, models

from tokentrails.config.experiments import load_experiment
from tokentrails.models.tokenizer import save_tokenizer
from tokentrails.running.cost import CHAT_TOKENS, MESSAGE_TOKENS, tokens_of
from tokentrails.settings import Message, Prompt
from tokentrails.texts import chat, chat_renderer
from tokentrails.texts.chat import ChatTemplate
from tokentrails.texts.splits import tokenize_splits
from tokentrails.texts.tokenization import TokenizerFiles, tokenize
from tokentrails.texts.word_list import Entry, WordList

# As ChatML, which keeps white space, with a system message of its own; the other one strips it.
KEEPS = """{%- if messages[0].role != 'system' %}[system]
You lead the team.
{% endif %}
{%- for message in messages %}[{{ message.role }}]
{{ message.content }}
{% endfor %}
{%- if add_generation_prompt %}[assistant]
{% endif %}"""
STRIPS = """{{ bos_token }}
{%- for message in messages %}<{{ message.role }}>{{ message.content | trim }}
{%- endfor %}"""

SYSTEM = Message("system", "Do not lead the team.")


def with_template(files: TokenizerFiles, source: str, **tokens) -> TokenizerFiles:
    return replace(files, chat_template=ChatTemplate(source, tokens))


def in_chat(files, *prompts, generation_prompt=False):
    made = replace(experiment(*prompts), chat_template=True, generation_prompt=generation_prompt)
    tokens, skipped = tokenize(made, files, 512, model="tiny")
    return tokens.to_pylist(), skipped.to_pylist()


@pytest.mark.parametrize(
    ("source", "before"),
    [
        (
            KEEPS,
            [
                "[system]\nYou lead the team.\n[user]\nShe will",
                "[system]\nDo not lead the team.\n[user]\n  She will",
                "[system]\nYou lead the team.\n[user]\nlead the words, they",
                "[system]\nYou lead the team.\n[user]\nDo they lead?\n[assistant]\nThey",
                "[system]\nYou lead the team.\n[user]\n",
                "[system]\nYou lead the team.\n[user]\nthe lead and the",
            ],
        ),
        (
            STRIPS,
            [
                "<user>She will",
                "<system>Do not lead the team.<user>She will",
                "<user>lead the words, they",
                "<user>Do they lead?<assistant>They",
                "<user>",
                "<user>the lead and the",
            ],
        ),
    ],
)
def test_a_target_is_found_in_its_own_message(files, source, before):
    rows, skipped = in_chat(
        with_template(files("gpt2"), source),
        target("She will lead.", label="a", word=" lead"),
        Prompt("b", "  She will lead.\n ", word="lead", role="user", before=(SYSTEM,)),
        target("lead the words, they lead", label="c", word="lead", occurrence=2),
        Prompt(
            *("d", "They lead."),
            word="lead",
            role="assistant",
            before=(Message("user", "Do they lead?"),),
            after=(Message("user", "You lead."),),
        ),
        target("lead", label="e", word="lead"),
        target("the lead and the lead", label="f", token="Ġlead", occurrence=2),
    )
    assert skipped == []
    decode = files("gpt2").tokenizer.decode
    for row, text in zip(rows, before, strict=True):
        assert decode(row["token_ids"][: row["first"]]) == text
        assert decode(row["token_ids"][row["first"] : row["last"] + 1]).strip() == "lead"
        assert row["word"] == "lead" and row["special_tokens"] == 0
        assert decode(row["token_ids"]) == row["text"]


def test_the_beginning_of_an_answer_and_one_bos(files):
    own = replace(files("llama"), bos="<s>")  # which puts one in front of its own accord
    (plain,) = own.encode(["lead"], add_special_tokens=True, bos=False)
    assert plain.ids[0] == own.bos_id
    rows, _ = in_chat(
        with_template(own, "{{ bos_token }} " + KEEPS, bos_token="<s>"),
        target("We lead", word="lead"),
        generation_prompt=True,
    )
    assert rows[0]["text"].endswith("We lead\n[assistant]\n")
    assert rows[0]["token_ids"].count(own.bos_id) == 1


def test_in_whole_texts_the_format_is_of_no_word(files):
    prompts = (
        Prompt("a", "The system of a user."),
        Prompt("b", "They lead.", role="user", before=(SYSTEM,)),
    )
    rows, skipped = in_chat(with_template(files("gpt2"), KEEPS), *prompts)
    assert skipped == []
    words = {label: [r["word"] for r in rows if r["label"] == label] for label in "ab"}
    said = {label: list(dict.fromkeys(filter(None, words[label]))) for label in "ab"}
    assert said["a"] == ["The", "system", "of", "a", "user", "."]
    assert said["b"] == ["Do", "not", "lead", "the", "team", ".", "They"]
    assert all(row["text"].startswith("[system]") for row in rows)
    assert {r["word_part"] for r in rows if not r["word"]} == {None}


AS_ASKED = """{%- for message in messages %}
{%- if message.role == 'shouts' %}{{ message.content | upper }}
{%- elif message.role == 'repeats' %}{{ message.content }} {{ message.content }}
{%- elif message.role == 'silent' %}{{ messages | length }} messages
{%- elif message.role == 'refuses' %}{{ raise_exception('Only users\n may speak') }}
{%- elif message.role == 'writes' %}{{ messages.append(message) }}{{ message.content }}
{%- elif message.role == 'escapes' %}{{ ''.__class__.__mro__ }}{{ message.content }}
{%- elif message.role == 'long' %}{{ message.content }}{{ 'a' * 2000000 }}
{%- elif message.role == 'large' %}{{ message.content }}{{ 'a' * 10 ** (7 + messages | length) }}
{%- elif message.role == 'dates' %}{{ strftime_now('%d %b %Y') }} {{ message.content }}
{%- else %}{{ message.content }}{% endif %}
{%- endfor %}"""


def test_what_a_template_does_with_a_text_is_why_it_is_left_out(files):
    reasons = {
        "shouts": "changes what is said",
        "repeats": "of a message of 'repeats' the chat template has it 2 times",
        "silent": "of a message of 'silent' the chat template leaves it out",
        "refuses": "the chat template refuses it: Only users may speak",
        "writes": "the chat template refuses it: ",
        "escapes": "the chat template refuses it: ",
        "long": f"more than {chat_renderer.MOST_CHARACTERS:,} characters",
        "large": "the chat template refuses it: MemoryError",
    }
    three = (Message("user", "one"), Message("user", "two"))
    prompts = [Prompt(role, "They lead", word="lead", role=role) for role in reasons]
    prompts = [replace(p, before=three) if p.label == "large" else p for p in prompts]
    kept = [Prompt(role, "They lead", word="lead", role=role) for role in ("user", "dates")]
    rows, skipped = in_chat(with_template(files("gpt2"), AS_ASKED), *prompts, *kept)
    assert [row["text"] for row in rows] == ["They lead", "26 Jul 2024 They lead"]
    for row, (label, reason) in zip(skipped, reasons.items(), strict=True):
        assert row["label"] == label and reason in row["reason"], row


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "1 sec"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_a_template_that_does_not_work_is_one_message(files, monkeypatch, source, problem):
    monkeypatch.setattr(chat, "SECONDS", 1 if "for" in source else 60)
    with refused(problem):
        in_chat(with_template(files("gpt2"), source), target("They lead", word="lead"))


def test_a_model_without_a_template_is_refused(files):
    with refused("experiments.e.chat_template: ", "it is true", "'tiny' has no chat template"):
        in_chat(replace(files("gpt2"), chat_template=None), target("They lead", word="lead"))


# --- the files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "file", "expected"),
    [
        ({}, None, None),
        ({"chat_template": "A"}, None, "A"),
        ({"chat_template": "A"}, "B\n", "B\n"),
        ({"chat_template": [{"name": "tools", "template": "T"}]}, None, None),
        ({"chat_template": ["default", {"template": "T"}]}, None, None),
        ({"chat_template": {"default": 3}}, None, None),
        ({"chat_template": "\ud800"}, None, "\ud800"),
        (
            {
                "chat_template": [
                    {"name": "tools", "template": "T"},
                    {"name": "default", "template": "D"},
                ]
            },
            None,
            "D",
        ),
    ],
)
def test_the_template_of_a_model_is_kept(tmp_path, settings, file, expected):
    raw = Tokenizer(models.WordLevel({"a": 0, "<s>": 1}, unk_token="a"))
    raw.add_special_tokens(["<s>"])
    raw.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    settings = settings | {"bos_token": {"content": "<s>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    if file is not None:
        (tmp_path / "chat_template.jinja").write_text(file)
    (made := tmp_path / "made").mkdir()
    save_tokenizer(tmp_path, made, {}, "models.m")
    files = TokenizerFiles.load(made)
    assert files.bos == "<s>"
    assert files.chat_template == (expected and ChatTemplate(expected, {"bos_token": "<s>"}))
    assert expected is None or len(files.chat_template.sha256) == 64


CHAT = [
    {"role": "system", "content": "Say lead."},
    {"role": "user", "content": "They lead.", "word": "lead"},
    {"role": "assistant", "content": "Do they?"},
]


ON, ANSWER = {"chat_template": True}, {"generation_prompt": True}


def entry(prompt, more, keys):
    data = {"prompts": [{"label": "a", "prompt": prompt} | more]}
    return {"file": written(data)} | keys


def test_messages_of_an_experiment_file(here):
    made = load_experiment("e", entry(CHAT, {"sense": "guide"}, ON))
    system, _, after = (Message(each["role"], each["content"]) for each in CHAT)
    marked = Prompt("a", "They lead.", word="lead", groups={"sense": "guide"}, role="user")
    assert made.prompts == (replace(marked, before=(system,), after=(after,)),)
    assert load_experiment("e", made.token_settings).hash == made.hash
    assert tokens_of(made) == 3 + 4 + 3 + 3 * MESSAGE_TOKENS + CHAT_TOKENS
    (whole,) = load_experiment("e", entry(CHAT[:1], {}, ON)).prompts
    assert whole == Prompt("a", "Say lead.", role="system") and whole.is_whole


def test_the_hash_is_of_messages_and_of_the_format(here):
    other = [CHAT[0] | {"role": "user"}, *CHAT[1:]]
    given = [("They lead.", {"word": "lead"}, keys) for keys in ({}, ON, ON | ANSWER)]
    given += [(prompt, {}, ON) for prompt in (CHAT, other, CHAT[:2], CHAT[1:], CHAT[1:2])]
    hashes = [load_experiment("e", entry(*each)).hash for each in given]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize(
    ("prompt", "more", "keys", "parts"),
    [
        (CHAT, {}, {}, ("experiments.e.chat_template", "'a'", "has messages")),
        (CHAT[:1], {}, {}, ("experiments.e.chat_template", "has messages")),
        ("a b", {}, ANSWER, ("experiments.e.generation_prompt",)),
        ("a b", {}, ON | {"special_tokens": "bos"}, ("e.special_tokens", "the BOS too")),
        ([CHAT[1], CHAT[1]], {}, ON, ("prompts[0].prompt[1]", "targets in 2 of its messages")),
        (CHAT, {"word": "lead"}, ON, ("prompts[0].word", "of which one")),
        ([CHAT[0] | {"occurrence": 2}], {}, ON, ("prompts[0].prompt[0].occurrence", "has none")),
        ([{"role": "user"}], {}, ON, ("prompts[0].prompt[0]", "'content'")),
        ([{"role": "user", "content": "a", "label": "b"}], {}, ON, ("prompt[0].label", "unknown")),
        ([], {}, ON, ("prompts[0].prompt", "is empty")),
        ([CHAT[0], CHAT[2]], {}, ON | {"shuffle": 0}, ("several messages",)),
    ],
)
def test_what_makes_no_chat_is_refused(here, prompt, more, keys, parts):
    with refused(*parts):
        load_experiment("e", entry(prompt, more, keys))


def test_rows_of_a_table_are_messages_of_a_user(here):
    Path("t.csv").write_text("text,word\nThey lead.,lead\n", encoding="utf-8")
    given = {"file": written({"table": {"file": "t.csv", "text": "text", "word": "word"}})}
    prompts = (target("They lead.", word="lead"),)
    made, plain = (load_experiment("e", given | keys, prompts=prompts) for keys in (ON, {}))
    assert made.prompts[0].chat == (Message("user", "They lead."),)
    assert made.hash != plain.hash


@pytest.mark.parametrize(
    "data",
    [
        {"words": {}},
        {"words": {}, "contexts": ["a {word}", "b {word}"]},
        {"sentences": {"lead": {"sentences": ["They lead."]}}},
        {"corpus": {}},
    ],
)
def test_a_chat_is_made_of_prompts(here, data):
    with refused("experiments.e.chat_template", "and what a chat template takes are prompts"):
        load_experiment("e", {"file": written(data)} | ON)


def test_another_word_in_a_message_leaves_the_others(here):
    (made,) = load_experiment("e", entry(CHAT, {}, ON | {"replace": ["zinc"]})).prompts
    assert made.prompt == "They zinc." and made.before == (Message("system", "Say lead."),)


def test_words_of_messages_are_cut_up_as_those_of_texts(here, files):
    cut = {"prompts": [{"label": "a", "prompt": CHAT}], "splits": {"pieces": [2]}}
    made = load_experiment("e", {"file": written(cut)} | ON)
    listed = WordList((Entry(1, "lead"),), "0" * 64)
    own = with_template(files("gpt2"), STRIPS)
    (row,) = tokenize_splits(made, listed, own, 64, model="tiny")[0].to_pylist()
    before = own.tokenizer.decode(row["token_ids"][: row["first"]])
    assert (row["variant"], before) == ("whole", "<system>Say lead.<user>They")
