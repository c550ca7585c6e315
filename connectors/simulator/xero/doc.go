// Package xero plays Xero's accounting API, as far as contacts, sales invoices and credit
// notes go: over real HTTP, with its tokens, its limits, its idempotency keys and its
// validation, and with books that tests can look into.
//
// What it does comes from developer.xero.com (OAuth 2.0 FAQ, limits, idempotency,
// invoices, credit notes) and public clients (pyxero). What no source says is set by
// [Config] and marked there with "unverified".
//
//	request ─▶ token ─▶ organisation ─▶ limits ─▶ key seen? ─▶ fault? ─▶ document ─▶ answer
//	            │ 401      │ 403           │ 429      │ the first answer again
//
// The traits that connectors stumble over, all of them here:
//
//   - An Idempotency-Key is remembered for six minutes, errors too; with another URL,
//     method or body it is 400; and replays count for the limits.
//   - The number of a sales invoice is unique for ever: PUT with one that is there fails,
//     POST overwrites it.
//   - With summarizeErrors=false a refusal is HTTP 200 with a StatusAttributeString.
//   - In an update, lines without their LineItemID are gone.
//   - Unit amounts are rounded to two decimals unless unitdp=4 is asked for.
//   - A draft goes into a locked period; its approval does not.
//   - Refresh tokens are used once; the one before is good for half an hour more.
package xero
