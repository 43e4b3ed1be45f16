"""The document of faults says the truth about the tests."""

from __future__ import annotations

from collections import Counter

from tests.faults.catalogue import DOCUMENT, proofs, rewritten, rows

ROWS = {"A": 20, "B": 26, "C": 15, "D": 19, "E": 18, "F": 10, "G": 14, "H": 9, "I": 17, "J": 12}


def test_all_160_rows_are_there_once_and_74_are_starred():
    written = rows(DOCUMENT.read_text())
    assert [row.name for row in written] == [f"{letter}{i:02}" for letter, count in ROWS.items() for i in range(1, count + 1)]
    assert Counter(row.starred for row in written) == {True: 74, False: 86}


def test_no_test_bears_an_id_that_does_not_exist():
    assert not set(proofs()) - {row.name for row in rows(DOCUMENT.read_text())}


def test_each_row_has_its_tests_or_says_why_not():
    document = DOCUMENT.read_text()
    assert document == rewritten(document, proofs()), "python -m tests.faults.catalogue writes it anew"


def test_a_row_without_a_test_says_why():
    nameless = [row.name for row in rows(DOCUMENT.read_text()) if row.is_open and len(row.proven) < 20]
    assert not nameless
