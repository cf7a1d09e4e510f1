"""The list of carriers, and which tracking numbers are worth a warning."""

from __future__ import annotations

import csv

import pytest

from service.errors import UnknownCarrier
from service.shipments.carriers import CARRIERS, OTHER, is_unusual, listed_carrier
from tests.conftest import SHARED

CONFIRMATIONS = SHARED / "data" / "olist" / "confirmations.tsv"

# Published examples of the carriers and of the postal union, with the right check digits.
USUAL = [
    ("UPS", "1Z999AA10123456784"),
    ("UPS", "1z 999 AA1 01 2345 6784"),
    ("UPS", "1Z8V92A70367203024"),
    ("USPS", "9400111202555842332669"),
    ("USPS", "420221539101026837331000039521"),
    ("USPS", "EA123456785US"),
    ("FedEx", "986578788855"),
    ("FedEx", "61299998820821171811"),
    ("DHL", "3318810025"),
    ("OnTrac", "C11031500001879"),
    ("Amazon Shipping", "TBA000000000000"),
    ("Canada Post", "0073938000549297"),
    ("Royal Mail", "RR473124829GB"),
    ("Correios", "RR473124829BR"),
    ("La Poste", "RR473124829FR"),
    ("Japan Post", "RR473124829JP"),
    ("YamatoTransport", "123456789012"),
    (OTHER, "anything"),
    ("StarTrack", "whose form is not known"),
    ("of a channel", "that this list does not have"),
]
UNUSUAL = [
    ("UPS", "1Z999AA10123456785"),  # the check digit
    ("UPS", "1Z999AA1012345678"),  # a digit is missing
    ("UPS", "9400111202555842332669"),  # another carrier's
    ("USPS", "1Z999AA10123456784"),
    ("USPS", "EA123456784US"),
    ("FedEx", "98657878885"),
    ("Royal Mail", "RR473124828GB"),
    ("Correios", "473124829"),
    ("Correios", "RR473124829B\u0661"),
]


@pytest.mark.parametrize(("carrier_code", "number"), USUAL)
def test_a_number_that_the_carrier_gives_is_usual(carrier_code: str, number: str) -> None:
    assert not is_unusual(carrier_code, number)


@pytest.mark.parametrize(("carrier_code", "number"), UNUSUAL)
def test_a_slip_of_the_pen_is_unusual(carrier_code: str, number: str) -> None:
    assert is_unusual(carrier_code, number)


def test_two_remainders_have_check_digits_of_their_own() -> None:
    # 0 weighs 0, which leaves 11 and is written 5; 8 weighs 7 * 8, which leaves 10 and is written 0.
    numbers = {number: is_unusual("Correios", number) for number in ("RR000000005BR", "RR000000080BR", "RR000000001BR")}

    assert list(numbers.values()) == [False, False, True]


def test_every_code_is_found_however_it_is_written_and_no_two_are_the_same() -> None:
    # Broken by two codes that differ in case or spaces alone.
    for code in CARRIERS:
        for written in (code, code.upper(), f" {code.lower()}\t", code.replace(" ", "")):
            assert listed_carrier(written) == code


@pytest.mark.parametrize("code", ["Fast Mail", "", "UPS2", "U-P-S", "\u0130"])
def test_a_code_that_is_not_in_the_list_is_refused(code: str) -> None:
    with pytest.raises(UnknownCarrier) as refused:
        listed_carrier(code)

    assert [each.pointer for each in refused.value.errors] == ["/carrierCode"]


@pytest.mark.skipif(not CONFIRMATIONS.exists(), reason="the real confirmations are not beside the project")
def test_the_carriers_of_real_confirmations_are_in_the_list() -> None:
    with CONFIRMATIONS.open(newline="", encoding="utf-8") as rows:
        codes = {row["carrier-code"] for row in csv.DictReader(rows, delimiter="\t")}

    assert codes
    assert codes <= CARRIERS.keys()
