"""The carriers that Amazon's order-fulfillment feed names, and what their tracking numbers look like."""

from __future__ import annotations

import re
from collections.abc import Mapping

from service.errors import FieldError, InvalidRequest, UnknownCarrier

OTHER = "Other"
NAME_IS_REQUIRED = "is required when carrierCode is Other"

# The international postal number (UPU S10), such as RR473124829BR; the ninth digit checks the eight before it.
_S10 = r"[A-Z]{2}\d{9}[A-Z]{2}"
_UPS = r"1Z[A-Z0-9]{15}\d"
_US_MAIL = r"(420\d{5}(\d{4})?)?9\d{19,21}"

# Each code as Amazon writes it, and the numbers of that carrier where their form is known. They only warn of a slip of
# the pen, so a form that is too wide is better than one that is too narrow. The table is our own: `tracking-numbers`
# on PyPI has had no release since 2022, and beside the postal form knows hardly a carrier outside North America.
CARRIERS: Mapping[str, str | None] = {
    "UPS": rf"{_UPS}|\d{{9}}|\d{{12}}|T\d{{10}}|\d{{26}}",
    "USPS": rf"{_US_MAIL}|\d{{20}}|{_S10}",
    "FedEx": r"\d{12}|\d{15}|\d{20}|\d{22}|96\d{32}",
    "DHL": rf"\d{{10,20}}|J[A-Z]{{2,3}}\d{{10,20}}|{_S10}",
    "DHL eCommerce": r"[A-Z]{0,5}\d{10,39}",
    "DHL Global Mail": r"[A-Z]{0,5}\d{10,39}",
    "Amazon Shipping": r"[A-Z]{1,3}\d{9,15}",
    "OnTrac": r"[CD]\d{14}|1LS[A-Z0-9]{10,20}",
    "Lasership": r"1LS[A-Z0-9]{10,20}|L[A-Z]\d{8}",
    "UPS Mail Innovations": r"\d{18,34}|MI\d{6}[A-Z0-9]{1,22}",
    "UPSMI": r"\d{18,34}|MI\d{6}[A-Z0-9]{1,22}",
    "FedEx SmartPost": r"\d{20}|\d{22}",
    "Newgistics": _US_MAIL,
    "OSM": _US_MAIL,
    "Streamlite": None,
    "Blue Package": None,
    "Target": None,
    "Canada Post": rf"\d{{12}}|\d{{16}}|{_S10}",
    "Purolator": r"[A-Z]{3}\d{9}|\d{12}",
    "Estafeta": r"[A-Z0-9]{22}|\d{10}",
    "Correios": _S10,
    "Jadlog": r"\d{14}",
    "Loggi": None,
    "Total Express": None,
    "Royal Mail": rf"{_S10}|[A-Z0-9]{{16}}|[A-Z0-9]{{21}}",
    "Parcelforce": rf"{_S10}|[A-Z]{{2}}\d{{7}}|[A-Z]{{4}}\d{{10}}",
    "Evri": r"[A-Z0-9]{16}",
    "Yodel": r"JD\d{16}|[A-Z]{2}\d{11}",
    "City Link": None,
    "Parcelnet": None,
    "Hermes Logistik Gruppe": r"\d{14}|\d{16}|H?\d{19,20}",
    "Deutsche Post": rf"{_S10}|\d{{12,20}}|[A-F0-9]{{20}}",
    "DPD": r"\d{10}|\d{12}|\d{14}[A-Z0-9]?|\d{18}|\d{28}",
    "GLS": r"\d{10,20}|[A-Z0-9]{8}",
    "GO!": None,
    "TNT": r"\d{8,9}|[A-Z]{2}\d{9}[A-Z]{2}",
    "La Poste": rf"{_S10}|\d[A-Z0-9]\d{{11}}",
    "Colissimo": rf"{_S10}|\d[A-Z0-9]\d{{11}}",
    "Chronopost": rf"{_S10}|[A-Z]{{2}}\d{{11}}|\d{{13}}|\d{{15}}",
    "Colis Prive": None,
    "Mondial Relay": r"\d{8}|\d{10}|\d{12}",
    "PostNL": rf"{_S10}|3S[A-Z0-9]{{11,13}}",
    "bpost": rf"{_S10}|\d{{24}}",
    "PostNord": rf"{_S10}|\d{{13}}|\d{{18,20}}",
    "InPost": r"\d{24}",
    "Poczta Polska": rf"{_S10}|\d{{20}}",
    "An Post": _S10,
    "Poste Italiane": rf"{_S10}|\d[A-Z0-9]{{11,12}}",
    "SDA": r"[A-Z0-9]{10,13}",
    "BRT": r"\d{12}|\d{14,19}",
    "Correos": rf"{_S10}|[A-Z0-9]{{23}}",
    "Correos Express": r"\d{16}|\d{23}",
    "Chrono Express": None,
    "Seur": r"\d{8,23}",
    "MRW": r"\d{12}",
    "Nacex": None,
    "Endopack": None,
    "YamatoTransport": r"\d{11,12}",
    "YAMATO": r"\d{11,12}",
    "SagawaExpress": r"\d{12}",
    "SAGAWA": r"\d{12}",
    "Japan Post": rf"{_S10}|\d{{11,12}}",
    "NipponExpress": None,
    "NITTSU": None,
    "FEDEX_JP": r"\d{12}|\d{15}",
    "JP_EXPRESS": None,
    "BlueDart": r"\d{8,11}",
    "Delhivery": r"\d{12,14}",
    "India Post": _S10,
    "DTDC": r"[A-Z]\d{8,10}",
    "AFL/Fedex": r"\d{12}",
    "Professional": None,
    "Overnite Express": None,
    "First Flight": None,
    "Xpressbees": None,
    "Ecom Express": None,
    "Australia Post": None,
    "AUSSIE_POST": None,
    "StarTrack": None,
    "Fastway": r"[A-Z]{2}\d{10}",
    "Smartmail": None,
    "Toll Global Express": None,
    "Aramex": r"\d{10,12}",
    "SF Express": r"SF\d{12,13}|\d{12}|\d{15}",
    "China Post": _S10,
    "EUB": _S10,
    "Yun Express": r"YT\d{16}",
    "4PX": rf"{_S10}|4PX\d{{10,16}}[A-Z]{{0,2}}",
    "YANWEN": None,
    "Ninjavan": None,
    "Qxpress": None,
    "Singapore Post": _S10,
    OTHER: None,
}


def _word(code: str) -> str:
    return "".join(code.casefold().split())


_SPELLINGS = {_word(code): code for code in CARRIERS}
_FORMS = {code: re.compile(form, re.ASCII).fullmatch for code, form in CARRIERS.items() if form is not None}
_is_postal = re.compile(_S10, re.ASCII).fullmatch
_is_of_ups = re.compile(_UPS, re.ASCII).fullmatch


def spelling_of(carrier_code: str) -> str | None:
    """Return a code as the list spells it, whatever its case and spaces; None when it is not in the list."""
    return _SPELLINGS.get(_word(carrier_code))


def listed_carrier(carrier_code: str) -> str:
    """Return a code as the list spells it, or raise `UnknownCarrier`."""
    listed = spelling_of(carrier_code)
    if listed is None:
        raise UnknownCarrier(
            "use a code of the list, which the OpenAPI document has at carrierCode, or Other with the carrierName",
            FieldError(f"{carrier_code} is not a known code", "/carrierCode"),
        )
    return listed


def refuse_nameless(carrier_code: str | None, carrier_name: str | None) -> None:
    """Raise `InvalidRequest` for a carrier that neither a code nor a name tells."""
    if carrier_code == OTHER and not carrier_name:
        raise InvalidRequest("the carrier has no name", FieldError(NAME_IS_REQUIRED, "/carrierName"))


def is_unusual(carrier_code: str | None, tracking_number: str) -> bool:
    """Tell whether a tracking number is not one that the carrier gives, as far as its form is known."""
    fits = _FORMS.get(carrier_code or OTHER)
    number = "".join(tracking_number.upper().split())
    if fits is None:
        return False
    return not fits(number) or not _checks(number)


def _checks(number: str) -> bool:
    """Tell whether the check digit is right, of a number that has one."""
    if _is_postal(number):
        weighted = sum(
            int(digit) * weight for digit, weight in zip(number[2:10], (8, 6, 4, 2, 3, 5, 9, 7), strict=True)
        )
        return int(number[10]) == {10: 0, 11: 5}.get(rest := 11 - weighted % 11, rest)
    if _is_of_ups(number):
        values = [int(each) if each.isdigit() else (ord(each) - ord("A") + 2) % 10 for each in number[2:17]]
        return int(number[17]) == -(sum(values[::2]) + 2 * sum(values[1::2])) % 10
    return True
