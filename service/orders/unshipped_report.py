"""The columns of the unshipped-orders report that are values of an order, as they are exported and imported.

Behind those of the platform's own report come `merchant-order-id` and what follows it: an order cannot be received
without its total, and would otherwise not be the same again. Tools that read the report go by its header.
"""

from __future__ import annotations

from collections.abc import Mapping

# By column, the path of the order.
ORDER_COLUMNS: Mapping[str, str] = {
    "order-id": "orderId",
    "purchase-date": "createdTime",
    "promise-date": "fulfillment.shipByWindow.latestDateTime",
    "buyer-email": "buyer.buyerEmail",
    "buyer-name": "buyer.buyerName",
    "ship-service-level": "fulfillment.fulfillmentServiceLevel",
    "recipient-name": "recipient.deliveryAddress.name",
    "ship-address-1": "recipient.deliveryAddress.addressLine1",
    "ship-address-2": "recipient.deliveryAddress.addressLine2",
    "ship-address-3": "recipient.deliveryAddress.addressLine3",
    "address-type": "recipient.deliveryAddress.addressType",
    "ship-city": "recipient.deliveryAddress.city",
    "ship-state": "recipient.deliveryAddress.stateOrRegion",
    "ship-postal-code": "recipient.deliveryAddress.postalCode",
    "ship-country": "recipient.deliveryAddress.countryCode",
    "purchase-order-number": "buyer.buyerPurchaseOrderNumber",
    "buyer-company-name": "buyer.buyerCompanyName",
    "order-total": "proceeds.grandTotal.amount",
    "currency": "proceeds.grandTotal.currencyCode",
    "order-channel": "salesChannel.channelName",
    "ship-company": "recipient.deliveryAddress.companyName",
    "ship-county": "recipient.deliveryAddress.districtOrCounty",
    "earliest-ship-date": "fulfillment.shipByWindow.earliestDateTime",
    "earliest-delivery-date": "fulfillment.deliverByWindow.earliestDateTime",
    "latest-delivery-date": "fulfillment.deliverByWindow.latestDateTime",
}

# By column, the path of the item that a row is about.
ITEM_COLUMNS: Mapping[str, str] = {
    "order-item-id": "orderItemId",
    "sku": "product.sellerSku",
    "product-name": "product.title",
    "quantity-purchased": "quantityOrdered",
    "quantity-shipped": "fulfillment.quantityFulfilled",
    "quantity-to-ship": "fulfillment.quantityUnfulfilled",
    "customized-url": "product.customization.customizedUrl",
    "price-designation": "product.price.priceDesignation",
    "buyer-requested-cancel-reason": "cancellation.cancellationRequest.cancelReason",
    "ioss-number": "fulfillment.shipping.internationalShipping.iossNumber",
    "asin": "product.asin",
}

BUSINESS, PRIME = "AMAZON_BUSINESS", "PRIME"
# By column, the program of the order that makes it true.
PROGRAM_COLUMNS: Mapping[str, str] = {"is-business-order": BUSINESS, "is-prime": PRIME}

SELLER_ORDER_ID = "SELLER_ORDER_ID"
# By fulfillment status, the platform's older word for it, which its reports use.
STATUS_WORDS: Mapping[str, str] = {
    "PENDING": "Pending",
    "UNSHIPPED": "Unshipped",
    "PARTIALLY_SHIPPED": "PartiallyShipped",
    "SHIPPED": "Shipped",
    "CANCELLED": "Cancelled",
}
