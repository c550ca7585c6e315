// Package accurate plays Accurate Online, the accounting system, as far as a shop's
// orders, invoices, returns, receipts, customers, items and stock go: over real HTTP,
// with its authentication, its limits, its envelopes and its error texts, and with books
// that tests can look into.
//
// What it does comes from the platform's OpenAPI description and examples
// (tickernelz/accurate-openapi), the pages on call limits and on the API token
// (accurate.id), and public clients of the API (werehouse, forstok_doc). What no source
// says is set by [Config] and marked there with "unverified".
//
//	request ─▶ token or session ─▶ limit ─▶ fault? ─▶ form or JSON ─▶ document ─▶ answer
//	             │ 401, or {s:false}   │ refused                          │ HTTP 200 {s:false}
//
// The traits that connectors stumble over, all of them here:
//
//   - A refusal by the business comes as HTTP 200 with {"s":false,"d":["text"]}.
//   - Nothing is deduplicated but by a document's number: a second save with the number
//     of another is refused ("Sudah ada data lain dengan Nomor …"), and one without a
//     number makes another document.
//   - Eight calls a second and eight at once, over all of a database's callers.
//   - An invoice moves stock, an order does not, a return moves it back; an invoice whose
//     line is drawn from a delivery order does not move it again.
//   - On a line with a discount in per cent, the one in cash is dropped.
//   - Item and customer numbers differ by case alone.
package accurate
