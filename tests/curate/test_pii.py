import pytest

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
    assert (found.emails, found.phones, found.ips) == (2, 1, 1)
