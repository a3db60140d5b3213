"""Personal data counts by checksum and range, alone or amid other numbers, and only what may exist counts."""

from __future__ import annotations

import pytest
from aisecops_server.domain.screening.detection import DetectionKind
from aisecops_server.domain.screening.inspection import inspect
from aisecops_server.domain.screening.personal_data import is_iban, is_payment_card, is_us_ssn
from hypothesis import given
from hypothesis import strategies as st


def personal(text: str) -> list[tuple[str, str]]:
    return [
        (seen.detector.partition(".")[2], text[seen.start : seen.end])
        for seen in inspect(text).detections
        if seen.kind is DetectionKind.PERSONAL
    ]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "ada.lovelace+news@mail.example.org"),
        ("phone", "+49 30 1234567"),
        ("phone", "+1 (415) 555-2671"),
        ("phone", "+442071838750"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("iban", "GB82WEST12345698765432"),
        ("iban", "NO93 8601 1117 947"),
        ("iban", "mt84 malt 0110 0001 2345 mtlc ast0 01s"),
        ("payment_card", "4111 1111 1111 1111"),
        ("payment_card", "5555-5555-5555-4444"),
        ("payment_card", "378282246310005"),
        ("payment_card", "6011000990139424"),
        ("us_ssn", "123-45-6789"),
        ("ip_address", "8.8.8.8"),
        ("ip_address", "2606:4700:4700::1111"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "it is {}.", "({}), and", "a: {}\nb", "给{}吧", "“{}”"])
def test_every_form_is_found_whole(kind: str, value: str, around: str) -> None:
    assert (kind, value) in personal(around.format(value))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("card 4111 1111 1111 1111 12 27", "4111 1111 1111 1111"),
        ("no 7 4111111111111111", "4111111111111111"),
        ("IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF", "DE89 3704 0044 0532 0130 00"),
        ("BE68 5390 0754 7034 FROM ADA", "BE68 5390 0754 7034"),
    ],
)
def test_a_number_amid_others_is_found(text: str, found: str) -> None:
    assert found in [value for _, value in personal(text)]


def test_values_side_by_side_are_each_found() -> None:
    text = "a@x.org,b@x.org; 8.8.8.8 9.9.9.9 4111111111111111 5555555555554444 123-45-6789 321-54-9876"
    assert len(personal(text)) == 8


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "1234567890123456",
        "0000 0000 0000 0000",
        "order 20260102030405 shipped",
        "DE89 3704 0044 0532 0130 01",
        "XX89 3704 0044 0532 0130 00",
        "000-12-3456",
        "666-12-3456",
        "912-12-3456",
        "123-00-4567",
        "123-45-0000",
        "555-123-4567 ext",
        "127.0.0.1 and 10.1.2.3 and 192.168.0.1 and 203.0.113.7",
        "version 1.2.3.4",
        "1.2.3.4.5",
        "10:20:30:40:50:60",
        "AC:A7:BE:45:1F:A6:BF:09:F2:D1:3F:08:7B:BC:EB:7F",
        "at@once",
        "@handle and name@host",
        "+1 2",
        "a+b = 12345678",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_what_cannot_exist_or_is_something_else_is_not_found(text: str) -> None:
    assert personal(text) == []


def test_digits_of_other_scripts_and_widths_count() -> None:
    wide = "4111111111111111".translate({ord("0") + at: 0xFF10 + at for at in range(10)})
    arabic = "4111111111111111".translate({ord("0") + at: 0x0660 + at for at in range(10)})
    assert personal(f"card {wide}") == [("payment_card", wide)]
    assert personal(f"card {arabic}") == [("payment_card", arabic)]


@given(st.integers(min_value=0, max_value=9), st.integers(min_value=0, max_value=15))
def test_one_wrong_digit_is_no_payment_card(digit: int, at: int) -> None:
    right = "4111111111111111"
    changed = right[:at] + str(digit) + right[at + 1 :]
    assert is_payment_card(changed) == (changed == right)


@given(st.integers(min_value=0, max_value=9), st.integers(min_value=2, max_value=21))
def test_one_wrong_digit_is_no_iban(digit: int, at: int) -> None:
    right = "DE89370400440532013000"
    changed = right[:at] + str(digit) + right[at + 1 :]
    assert is_iban(changed) == (changed == right)


def test_the_shape_of_social_security_numbers_is_that_of_issued_ones() -> None:
    assert [is_us_ssn(area, 12, 3456) for area in (0, 1, 665, 666, 667, 899, 900)] == [0, 1, 1, 0, 1, 1, 0]
