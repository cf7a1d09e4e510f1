"""The list endpoint as it is commonly made: FastAPI, SQLAlchemy 2 async with asyncpg, pydantic.

It reads the same tables under the same row-level security, checks the same tokens, filters and pages by the same keys,
and answers with the same orders, items, packages and charges.
"""

# Installed for the benchmark only, so that the type checker may not find them.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownParameterType=false
# pyright: reportUnknownArgumentType=false, reportUntypedFunctionDecorator=false, reportUntypedBaseClass=false
# pyright: reportUnusedFunction=false, reportMissingModuleSource=false

import json
import os
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI, Header, HTTPException, Query
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload

from service.sellers.rules import hash_token
from tests.benchmarks.peer_tables import Order, Package


class Resource(BaseModel):
    """What is answered, in camelCase."""

    model_config = ConfigDict(from_attributes=True, alias_generator=to_camel, populate_by_name=True)


def _members(stored: str) -> dict[str, Any]:
    """Read JSON members as the service stores them; a JSON column would be read as well."""
    return json.loads("{" + stored[1:] + "}")


Members = Annotated[dict[str, Any], BeforeValidator(_members)]


class OrderItemResource(Resource):
    """An item."""

    order_item_id: str
    quantity_ordered: int
    quantity_fulfilled: int
    details: Members


class PackageItemResource(Resource):
    """What of an item is in a parcel."""

    order_item_id: str
    quantity: int


class PackageResource(Resource):
    """A parcel."""

    package_reference_id: str
    created_time: datetime
    package_status: str
    detailed_status: str | None
    carrier_code: str | None
    carrier_name: str | None
    shipping_service: str | None
    tracking_number: str | None
    ship_time: datetime | None
    delivered_time: datetime | None
    ship_from_address: dict[str, Any] | None
    package_items: list[PackageItemResource]


class ChargeResource(Resource):
    """The charge."""

    amount: Decimal
    currency_code: str
    charge_status: str
    settled_outside: bool
    charged_time: datetime


class OrderResource(Resource):
    """An order."""

    order_id: str
    seller_id: str
    version: int
    created_time: datetime
    last_updated_time: datetime
    fulfillment_status: str
    fulfilled_by: str
    fulfillment_service_level: str | None
    payment_status: str | None
    ship_by_earliest: datetime | None
    ship_by_latest: datetime | None
    confirm_by: datetime | None
    deliver_by_earliest: datetime | None
    deliver_by_latest: datetime | None
    cancelled_time: datetime | None
    cancel_reason: str | None
    sales_channel: dict[str, Any] | None
    buyer: dict[str, Any] | None
    recipient: dict[str, Any] | None
    proceeds: dict[str, Any] | None
    details: Members
    order_items: list[OrderItemResource]
    packages: list[PackageResource]
    charge: ChargeResource | None


class OrderPage(Resource):
    """A page of orders."""

    orders: list[OrderResource]
    next_token: str | None = None


class OrderQuery(Resource):
    """Which orders to list."""

    created_after: datetime | None = None
    created_before: datetime | None = None
    fulfillment_statuses: list[str] = Field(default_factory=list[str])
    max_results_per_page: int = Field(default=50, ge=1, le=100)
    pagination_token: str | None = None


async def _connect() -> asyncpg.Connection:
    given = conninfo_to_dict(os.environ["DATABASE_URL"])
    return await asyncpg.connect(
        host=given.get("host"),
        port=given.get("port") or 5432,
        user=given.get("user"),
        password=given.get("password"),
        database=given.get("dbname"),
        server_settings={"role": "manage_orders_service", "timezone": "UTC"},
    )


engine = create_async_engine("postgresql+asyncpg://", async_creator=_connect, pool_size=8)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def seller_session(authorization: Annotated[str, Header()]) -> AsyncIterator[tuple[AsyncSession, str]]:
    """Open a session that sees the rows of the token's seller."""
    token = hash_token(os.environ["BENCHMARK_SECRET_KEY"], authorization.removeprefix("Bearer "))
    async with sessions() as session:
        seller_id = await session.scalar(text("SELECT seller_id FROM find_token(:hash)"), {"hash": token})
        if seller_id is None:
            raise HTTPException(401)
        await session.execute(text("SELECT set_config('app.seller_id', :seller, true)"), {"seller": seller_id})
        yield session, seller_id


PARTS = (
    selectinload(Order.order_items),
    selectinload(Order.packages).selectinload(Package.package_items),
    selectinload(Order.charge),
)


@app.get("/v1/orders")
async def list_orders(
    query: Annotated[OrderQuery, Query()], acting: Annotated[tuple[AsyncSession, str], Depends(seller_session)]
) -> OrderPage:
    """List a seller's orders, the newest first, a page at a time."""
    session, seller_id = acting
    statement = select(Order).where(Order.seller_id == seller_id).options(*PARTS)
    if query.created_after:
        statement = statement.where(Order.created_time >= query.created_after)
    if query.created_before:
        statement = statement.where(Order.created_time <= query.created_before)
    if query.fulfillment_statuses:
        statement = statement.where(Order.fulfillment_status.in_(query.fulfillment_statuses))
    if query.pagination_token:
        created, _, order_id = query.pagination_token.partition(" ")
        statement = statement.where(
            tuple_(Order.created_time, Order.order_id) < (datetime.fromisoformat(created), order_id)
        )
    statement = statement.order_by(Order.created_time.desc(), Order.order_id.desc())
    rows: Sequence[Order] = (await session.scalars(statement.limit(query.max_results_per_page + 1))).all()
    shown, more = rows[: query.max_results_per_page], len(rows) > query.max_results_per_page
    return OrderPage(
        orders=[OrderResource.model_validate(each) for each in shown],
        next_token=f"{shown[-1].created_time.isoformat()} {shown[-1].order_id}" if more else None,
    )
