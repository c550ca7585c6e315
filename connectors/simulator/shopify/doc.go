// Package shopify plays the GraphQL Admin API of a Shopify shop, as far as orders,
// refunds, inventory, variants and customers go: over real HTTP, with its throttle, its
// errors inside HTTP 200 and its idempotent mutations, and with books that tests can look
// into.
//
// What it does comes from shopify.dev (rate limits, idempotent requests, orderCreate,
// refundCreate, inventorySetQuantities) and notes of 2026. What could not be checked
// there is set by [Config] and marked there with "unverified".
//
//	request ─▶ token ─▶ throttle ─▶ fault? ─▶ scope, key ─▶ mutation or query ─▶ answer
//	            │ 401      │ THROTTLED in the body  │ ACCESS_DENIED      │ userErrors in the body
//
// The traits that connectors stumble over, all of them here:
//
//   - Nearly everything is HTTP 200: throttled, not allowed, refused by the business.
//   - refundCreate and the inventory's mutations take @idempotent(key:), from version
//     2026-04 on they want it; a key is remembered for 24 hours, and with other arguments
//     it is a mismatch. orderCreate takes none: an order is found again by its tag.
//   - Quantities are set against what was there (changeFromQuantity; null opts out).
//   - Queries cost points, which come back at a rate.
//
// Of the language it takes one operation with variables and fragments; fields are not
// held against a schema: what a document does not have is null.
package shopify
