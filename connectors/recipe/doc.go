// Package recipe delivers events to any HTTP API, as a recipe says: data that names calls,
// what they send, what the answers mean, and how to ask whether an effect is there.
//
//	event ─▶ map, look-ups ─▶ request ─▶ Send ─▶ rules ─▶ outcome, receipt
//	                            │                   ▲
//	                            └─ find (Reconcile) ┘
//
// Recipes that ship are in recipes/; a user's own stands in the configuration, in the same
// format ([Fields], `raffsync check --reference`). GUIDE.md goes through one.
//
//	ledger:
//	  recipe:                                # or the name of one that ships
//	    url: "https://${settings.host}/v1"
//	    settings: {host: {doc: The account's host}, token: {doc: The API token, secret: true}}
//	    headers: {Authorization: "Bearer ${settings.token}"}
//	    calls:
//	      invoice:
//	        url: "/invoices"
//	        map: {number: "${reference(30)}", total: "${body.total}"}
//	        receipt: {id: $.id}
//	        find: {url: "/invoices", query: {number: "${reference(30)}"}, items: "$.data[*]", where: {$.number: "${reference(30)}"}}
//	  settings: {host: shop.ledger.example, token: "env:LEDGER_TOKEN"}
//
// # What expressions see
//
// In url, query, headers and map of a call, and in its find: event, body, outlet, steps,
// existing, reference() and lookup() as package mapping has them; settings.NAME, which are
// no secret; request.key, the idempotency key in the platform's form. In the recipe's url
// and in headers that read it: auth.NAME, what came with the authorisation (package auth).
// In a receipt: body and headers of the answer, settings, receipt.id.
//
// Where a platform can be authorised in several ways, auth is a list of them, and the
// `kind` under the destination's auth picks one.
//
// A secret setting may stand in headers alone, in a text that reads settings only: it is put
// in when the request is sent, and is in no request, content or preview.
//
// # What an answer means
//
// The first rule that matches: the destination's own, the call's, the recipe's, then
// rules.yaml. There a 2xx is DELIVERED, 401 AUTH_EXPIRED (AUTH_REVOKED where no credential
// could be renewed), and a 5xx of a platform that recognises no repeats UNKNOWN_OUTCOME. A
// rule that takes 2xx for a success before a later layer looks into the body is refused,
// and so is a rule for success that recorded answers do not tell from a failure.
//
// # What is asked
//
// A call with find is asked about after an unknown outcome, before anything is sent again:
//
//	found     by its rules, or as found says, and where holds byte for byte
//	absent    as absent says; or nothing in the whole list that items names is what where
//	          says, where whole says that all of it came. That is never guessed from
//	          anything else: it makes us send again
//	else      the platform cannot tell
//
// Where one call can be asked about, all are, or are repeatable: to make them twice comes
// to the same as once. An update needs a find of its own, or to be repeatable, since the
// find of its call tells that the effect is there, not that it is up to date.
//
// # Promises
//
//   - Prepare is pure, and the bytes depend on event, mapping and look-ups alone. A look-up
//     that misses stops nothing: all of them are in one [connectors.PrepareError].
//   - No payload changes the host, adds a segment to a path, or a header: what an
//     expression gives is escaped, and dots, empty segments and control characters are
//     refused.
//   - One Send is one request, through egress: no redirect, no replay, no secret in
//     outcomes, 256 KiB of an answer read.
//   - What is wrong with a recipe is found when it is compiled, and is an [*Error] with a
//     path, and line and column within an expression.
package recipe
