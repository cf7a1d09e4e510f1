"""Which rows of a file are worked in one transaction: some packages of one order, and each of them whole."""

from __future__ import annotations

from dataclasses import dataclass

from service.confirmation_batches.rules import BatchRow, package_key

# An order is locked for as long as this many packages take, however many a file has of it.
PACKAGES_AT_A_TIME = 50


@dataclass(slots=True)
class Part:
    """Packages of an order: the first row of them, and that of the part which must be worked before."""

    first_row_number: int
    after_row_number: int | None
    package_count: int = 0


class Parts:
    """The parts of a file's orders, as its rows come."""

    def __init__(self) -> None:
        self._latest = dict[tuple[str, str], Part]()
        self._by_package = dict[tuple[str, str, int], Part]()

    def part_of(self, seller_id: str, order_id: str, row: BatchRow) -> Part:
        """Return the part that a row belongs to: that of its package, or the latest of its order with room for one."""
        order = seller_id, order_id
        # Packages are told apart by a hash, which is small: two that have the same are in one part, and no worse.
        package = (*order, hash(package_key(row)))
        part = self._by_package.get(package)
        if part is None:
            part = self._latest.get(order)
            if part is None or part.package_count >= PACKAGES_AT_A_TIME:
                part = Part(row.row_number, None if part is None else part.first_row_number)
                self._latest[order] = part
            part.package_count += 1
            self._by_package[package] = part
        return part
