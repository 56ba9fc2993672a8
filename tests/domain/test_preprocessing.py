import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Rejected
from domain.identity import canonical_json, sha256_hex
from domain.preprocessing import (
    Preprocessing,
    StepDone,
    parse_steps,
    preprocess,
    with_single_spaces,
    without_control_characters,
)
from tests.support.fours_of_letters import FoursOfLetters

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs",)),
        st.sampled_from(
            " \t\r\n\x00\x85\u200b\u200c\u200d\u202e\u2066\ufeff\U000e0041\U0001f469\U0001f4bb\u0627\u0928"
        ),
    ),
    max_size=40,
)


def user(text):
    return ({"role": "user", "content": text},)


def test_nothing_is_wanted_where_no_step_is_named():
    assert parse_steps([]) is None
    assert Preprocessing().steps == ()


def test_steps_are_written_with_their_parameters():
    wanted = parse_steps(["truncate:500t", "pii:us", "control"], template="{user_input}", fields={})
    assert wanted == Preprocessing(
        control=True, pii=True, pii_region="US", truncate_tokens=500, template="{user_input}"
    )
    assert wanted.steps == ("control", "pii", "truncate", "template")
    assert parse_steps(["truncate"]) == Preprocessing(truncate_characters=10_000)
    assert parse_steps(["truncate:7", "pii"]) == Preprocessing(truncate_characters=7, pii=True)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["clean"], "'clean' is no step; use control, whitespace, pii, truncate, template"),
        ([""], "is no step"),
        (["pii", "pii:US"], "given twice"),
        (["pii:ZZ"], "'ZZ' is no region"),
        (["control:1"], "takes no parameter, such as '1'"),
        (["whitespace:"], "takes no parameter"),
        (["truncate:"], "can't be read"),
        (["truncate:10w"], "write truncate:2000 for characters"),
        (["truncate:0"], "between 1 and 10,000,000, not 0"),
        (["truncate:99999999t"], "between 1 and"),
        (["template"], "needs a template"),
    ],
)
def test_steps_that_cannot_be_run_are_rejected(names, said):
    with pytest.raises(Rejected, match=said):
        parse_steps(names)


def test_a_form_that_makes_no_sense_cannot_be_made():
    for wrong in (
        {"pii_region": "US"},
        {"truncate_characters": 1, "truncate_tokens": 1},
        {"fields": {"a": "b"}},
        {"template": "no place for the prompt"},
    ):
        with pytest.raises(Rejected):
            Preprocessing(**wrong)


@given(TEXTS)
def test_cleaning_twice_is_cleaning_once(text):
    for cleaned in (without_control_characters, with_single_spaces):
        assert cleaned(cleaned(text)) == cleaned(text)


def test_control_characters_go_and_what_they_hid_shows():
    assert without_control_characters("a\r\nb\rc\td\x00\x1b\x85\u202e") == "a\nb\nc\td"
    assert without_control_characters("ada\u200b@\u2060example\u00ad.org") == "ada@example.org"
    hidden = "".join(chr(0xE0000 + ord(char)) for char in "ignore all")
    assert without_control_characters(f"Hello{hidden}") == "Hello"


@pytest.mark.parametrize("kept", ["👩‍💻", "👨‍👩‍👧‍👦", "❤️‍🔥", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "می‌خواهم", "क्‍ष"])
def test_joiners_stay_where_they_join(kept):
    assert without_control_characters(kept) == kept


def test_white_space_is_collapsed():
    assert with_single_spaces("  a \t b\u00a0 \n\n\n \n c  \r\n") == "a b\n\n c"


@given(
    text=st.text(st.characters(exclude_categories=("Cs",)), min_size=1), limit=st.integers(1, 30), tokens=st.booleans()
)
def test_a_cut_is_a_bounded_beginning_and_cutting_again_changes_nothing(text, limit, tokens):
    fours = FoursOfLetters()
    wanted = Preprocessing(truncate_tokens=limit) if tokens else Preprocessing(truncate_characters=limit)
    try:
        cut = preprocess(user(text), wanted, fours)
    except Rejected:
        assert not text[: limit * 4 if tokens else limit].strip()
        return
    kept = cut.messages[0]["content"]
    assert text.startswith(kept)
    assert (fours.count(kept) if tokens else len(kept)) <= limit
    assert cut.steps[0].cut_characters == len(text) - len(kept)
    assert preprocess(cut.messages, wanted, fours).messages == cut.messages


def test_the_steps_run_in_their_own_order():
    wanted = parse_steps(
        ["template", "truncate:16", "pii", "whitespace", "control"],
        template="  Text: {user_input}  +1 650 253 0000",
    )
    outcome = preprocess(user("Write   to ad\u200ba@example.org now"), wanted)
    assert outcome.messages == user("  Text: Write to [EMAIL]  +1 650 253 0000")
    assert outcome.steps == (
        StepDone(step="control", removed_characters=1),
        StepDone(step="whitespace", removed_characters=2),
        StepDone(step="pii", replaced={"[EMAIL]": 1}),
        StepDone(step="truncate", parameter="16", cut_characters=4),
        StepDone(step="template", template=wanted.template),
    )


def test_what_was_asked_is_kept_with_its_hash_also_when_nothing_changed():
    wanted = parse_steps(["control"], template="{user_input} in {language}", fields={"language": "French"})
    outcome = preprocess(user("Say it"), wanted)
    original = canonical_json({"messages": user("Say it"), "fields": {"language": "French"}})
    assert outcome.original == original
    assert outcome.original_sha256 == sha256_hex(original)
    assert outcome.steps[0] == StepDone(step="control")


def test_what_held_personal_data_is_not_kept():
    outcome = preprocess(user("I am ada@example.org"), Preprocessing(pii=True))
    assert outcome.original is None
    assert outcome.original_sha256 == sha256_hex(
        canonical_json({"messages": user("I am ada@example.org"), "fields": {}})
    )


def test_users_texts_are_changed_and_personal_data_goes_from_all():
    messages = (
        {"role": "system", "content": "You  serve ada@example.org"},
        {"role": "user", "content": "First   question"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a  b"}, {"type": "image_url"}, {"type": "text", "text": "c  d"}],
        },
        {"role": "assistant", "content": "At  +1 650 253 0000"},
    )
    wanted = parse_steps(
        ["whitespace", "pii"], template="<{user_input}> {who}", fields={"who": "bob@example.org {user_input}"}
    )
    outcome = preprocess(messages, wanted)
    assert [message["content"] for message in outcome.messages] == [
        "You  serve [EMAIL]",
        "First question",
        None,
        [
            {"type": "text", "text": "a b"},
            {"type": "image_url"},
            {"type": "text", "text": "<c d> [EMAIL] {user_input}"},
        ],
        "At  [PHONE]",
    ]
    assert messages[1]["content"] == "First   question"


@pytest.mark.parametrize(
    ("text", "step"), [("\u200b\u200b", "control"), (" \u200b ", "control"), ("   ab", "truncate")]
)
def test_a_step_that_leaves_nothing_is_named(text, step):
    with pytest.raises(Rejected, match=f"The step {step} leaves nothing of the text in message 0"):
        preprocess(user(text), Preprocessing(control=True, truncate_characters=2))


def test_white_space_alone_is_emptied_by_its_step():
    with pytest.raises(Rejected, match="The step whitespace"):
        preprocess(user(" \n "), Preprocessing(whitespace=True))


def test_a_template_needs_a_users_text():
    with pytest.raises(Rejected, match="no text of a user"):
        preprocess(({"role": "system", "content": "?"},), Preprocessing(template="{user_input}"))
