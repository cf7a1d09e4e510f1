"""The tables of the service as SQLAlchemy's models, for the peer."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKeyConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

JSON_COLUMN = dict[str, Any] | None


class Base(DeclarativeBase):
    """The tables of the service."""

    type_annotation_map = {dict[str, Any]: JSON, datetime: DateTime(timezone=True)}  # noqa: RUF012  # as SQLAlchemy documents it


class Order(Base):
    """An order."""

    __tablename__ = "orders"

    seller_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    created_time: Mapped[datetime]
    last_updated_time: Mapped[datetime]
    marketplace_id: Mapped[str]
    fulfilled_by: Mapped[str]
    fulfillment_status: Mapped[str]
    fulfillment_service_level: Mapped[str | None]
    payment_status: Mapped[str | None]
    ship_by_earliest: Mapped[datetime | None]
    ship_by_latest: Mapped[datetime | None]
    confirm_by: Mapped[datetime | None]
    deliver_by_earliest: Mapped[datetime | None]
    deliver_by_latest: Mapped[datetime | None]
    cancelled_time: Mapped[datetime | None]
    cancel_reason: Mapped[str | None]
    sales_channel: Mapped[JSON_COLUMN]
    buyer: Mapped[JSON_COLUMN]
    recipient: Mapped[JSON_COLUMN]
    proceeds: Mapped[JSON_COLUMN]
    details: Mapped[str]
    order_items: Mapped[list["OrderItem"]] = relationship(order_by="OrderItem.item_number")
    packages: Mapped[list["Package"]] = relationship(order_by="Package.created_time, Package.package_reference_id")
    charge: Mapped["Charge | None"] = relationship()


class OrderItem(Base):
    """An item of an order."""

    __tablename__ = "order_items"
    __table_args__ = (ForeignKeyConstraint(["seller_id", "order_id"], ["orders.seller_id", "orders.order_id"]),)

    seller_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    order_item_id: Mapped[str] = mapped_column(primary_key=True)
    item_number: Mapped[int]
    quantity_ordered: Mapped[int]
    quantity_fulfilled: Mapped[int]
    details: Mapped[str]


class Package(Base):
    """A parcel of an order."""

    __tablename__ = "packages"
    __table_args__ = (ForeignKeyConstraint(["seller_id", "order_id"], ["orders.seller_id", "orders.order_id"]),)

    seller_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    package_reference_id: Mapped[str] = mapped_column(primary_key=True)
    created_time: Mapped[datetime]
    package_status: Mapped[str]
    detailed_status: Mapped[str | None]
    carrier_code: Mapped[str | None]
    carrier_name: Mapped[str | None]
    shipping_service: Mapped[str | None]
    tracking_number: Mapped[str | None]
    ship_time: Mapped[datetime | None]
    delivered_time: Mapped[datetime | None]
    ship_from_address: Mapped[JSON_COLUMN]
    package_items: Mapped[list["PackageItem"]] = relationship(order_by="PackageItem.order_item_id")


class PackageItem(Base):
    """What of an item is in a parcel."""

    __tablename__ = "package_items"
    __table_args__ = (
        ForeignKeyConstraint(
            ["seller_id", "order_id", "package_reference_id"],
            ["packages.seller_id", "packages.order_id", "packages.package_reference_id"],
        ),
    )

    seller_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    package_reference_id: Mapped[str] = mapped_column(primary_key=True)
    order_item_id: Mapped[str] = mapped_column(primary_key=True)
    quantity: Mapped[int]


class Charge(Base):
    """The charge of an order."""

    __tablename__ = "charges"
    __table_args__ = (ForeignKeyConstraint(["seller_id", "order_id"], ["orders.seller_id", "orders.order_id"]),)

    seller_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[Decimal]
    currency_code: Mapped[str]
    charge_status: Mapped[str]
    settled_outside: Mapped[bool]
    charged_time: Mapped[datetime]
