import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.curate.pii import mask_personal_data


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to ana.b+c@post-office.example, please.", "Write to [email], please."),
        ("x@y is no address, nor is @ana or 3@4.5", "x@y is no address, nor is @ana or 3@4.5"),
        ("Call +1 555 0123 4567 now", "Call [phone] now"),
        ("Call (555) 012-3456 or 555-012-3456.", "Call [phone] or [phone]."),
        ("+49 30 1234567 und +34 912 345 678", "[phone] und [phone]"),
        ("Tel.: 030/1234567", "Tel.: [phone]"),
        ("teléfono: 91 234 56 78", "teléfono: [phone]"),
        ("我的手机是 138 0013 8000。", "我的手机是 [phone]。"),
        ("in 2019-2024 it cost 1,234,567.89 on 2024-05-06", "in 2019-2024 it cost 1,234,567.89 on 2024-05-06"),
        ("48*6=288 and 104-48=56, then 12 345 678", "48*6=288 and 104-48=56, then 12 345 678"),
        ("phone 5 people", "phone 5 people"),
        ("from 93.184.216.34 and 8.8.8.8.", "from [ip] and [ip]."),
        ("private 10.0.0.1, 192.168.1.1, 127.0.0.1 stay", "private 10.0.0.1, 192.168.1.1, 127.0.0.1 stay"),
        ("version 1.2.3.4.5 and 999.1.1.1", "version 1.2.3.4.5 and 999.1.1.1"),
        ("2606:4700:4700::1111 but not fe80::1 or 12:30:45", "[ip] but not fe80::1 or 12:30:45"),
    ],
)
def test_masks(text: str, masked: str) -> None:
    assert mask_personal_data(text).text == masked


def test_counts() -> None:
    found = mask_personal_data("a@b.example, c@d.example, phone 555-012-3456, 1.1.1.1")
    assert found.counts == {"email": 2, "phone": 1, "ip": 1}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("card 4111 1111 1111 1111, exp 12/30", "card [card], exp 12/30"),  # numbers that makers of cards publish
        ("5555-5555-5555-4444 or 378282246310005.", "[card] or [card]."),
        ("4111 1111 1111 1112 fails its check", "4111 1111 1111 1112 fails its check"),
        ("0000 0000 0000 0000 and 4444444444444444", "0000 0000 0000 0000 and 4444444444444444"),
        ("isbn 9783161484100, 3.1415926535897932", "isbn 9783161484100, 3.1415926535897932"),
        ("key = 'AKIAIOSFODNN7EXAMPLE'", "key = '[secret]'"),
        ("ghp_" + "a1" * 18 + "; AKIA short; task-live", "[secret]; AKIA short; task-live"),
        ("sk_live_" + "x9" * 12 + " sk-proj-" + "b" * 20, "[secret] [secret]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nmore", "[secret]\nmore"),
        (
            "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----",
        ),
    ],
)
def test_cards_and_secrets(text: str, masked: str) -> None:
    assert mask_personal_data(text).text == masked


@pytest.mark.parametrize(
    ("country", "right", "wrong"),
    [
        ("us", "078-05-1120", "666-05-1120"),
        ("es", "12345678Z", "12345678A"),
        ("es", "X1234567L", "X1234567M"),
        ("fr", "2 55 08 14 168 025 38", "2 55 08 14 168 025 39"),
        ("cn", "11010519491231002X", "110105194912310021"),
    ],
)
def test_national_numbers_by_option_and_checksum(country: str, right: str, wrong: str) -> None:
    text = f"His number is {right}; hers {wrong}."
    assert mask_personal_data(text, [country]).text == f"His number is [id]; hers {wrong}."
    assert mask_personal_data(text, [country]).counts["id"] == 1
    assert mask_personal_data(text).text == text


@given(st.integers(10**14, 10**15 - 1))
def test_luhn_is_the_sum_written_out(number: int) -> None:
    """Exactly one last digit makes a number of sixteen right."""
    first = f"4{number}"[:15]
    right = [first + str(digit) for digit in range(10) if mask_personal_data(first + str(digit)).text == "[card]"]
    total = lambda text: sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(text))  # noqa: E731
    assert right == [one for one in (first + str(digit) for digit in range(10)) if total(one) % 10 == 0]
