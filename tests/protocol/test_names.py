"""Names and sentences of codes and registers: complete, and without a field that nobody explained."""

import pytest

from meterlink import labels, names, register_text, registers


def test_every_register_has_its_sentence_and_no_sentence_is_left_over():
    used = set()
    for _, _, block, fields in registers.BLOCKS:
        assert block in register_text.BLOCK
        for field in fields:
            assert register_text.of(block, field[0]).endswith(".")
            used.add(field[0])
    assert set(register_text.FIELD) <= used
    assert set(register_text.BLOCK) == {block[2] for block in registers.BLOCKS}


def test_codes_are_unique():
    for table in (
        names.RESULT,
        names.EVENT,
        names.HOLD,
        names.CAUSE,
        names.ASPECT,
        names.ROLE,
        names.ALARM,
        names.TYPED,
    ):
        assert len(set(table.values())) == len(table) > 0


def test_names_both_ways():
    assert names.of(names.RESULT, 26) == "bad_tag"
    assert names.of(names.RESULT, 999) == "code_999"
    assert names.code(names.HOLD, "arrears") == 1
    with pytest.raises(ValueError, match="customer_request"):
        names.code(names.HOLD, "whim")
    assert names.of_bits(names.HOLD, 0b10000010) == ["arrears", "safety"]
    assert names.of_flags(names.FLAG, 0x11) == ["clock_unknown", "supply_off"]


def test_who_opens_and_closes_has_a_name_and_words() -> None:
    told = [names.of_who(who) for who in (0, 1, 31, 0x100, 0x107, 0x200)]
    assert told == [
        ("who", "nobody"),
        ("hold", "arrears"),
        ("hold", "code_31"),
        ("cause", "out_of_credit"),
        ("cause", "under_voltage"),
        ("who", "key"),
    ]
    assert all(table in labels.LABEL for table, _ in told)


@pytest.mark.parametrize(
    ("label", "table"),
    [
        ("control", names.CONTROL),
        ("contact", names.CONTACT),
        ("diagnosis", names.DIAGNOSIS),
        ("pending", names.PENDING),
        ("clock", names.CLOCK),
        ("hold", names.HOLD),
        ("cause", names.CAUSE),
        ("who", names.WHO),
        ("alarm", names.ALARM),
        ("update", names.UPDATE),
        ("flag", names.FLAG),
        ("aspect", names.ASPECT),
        ("role", names.ROLE),
        ("event", names.EVENT),
        ("result", names.RESULT),
        ("typed", names.TYPED),
    ],
)
def test_every_code_has_its_words_in_both_languages(label: str, table: dict[int, str]) -> None:
    assert set(labels.LABEL[label]) == set(table.values())
    assert all(english and chinese for english, chinese in labels.LABEL[label].values())
