// Package hooks receives webhooks at /hooks/{source}, proves whose they are, makes an
// event of each, and publishes it through the broker in the same process.
//
//	POST ─▶ read ─▶ verify ─▶ unpack, convert ─▶ expressions ─▶ Publish ─▶ 200
//	         │        │ 401        └─ makes no sense ─▶ quarantine ─┘ └─ 503, Retry-After
//	         └ raw, into the signature as it comes
//
// # What it promises
//
//   - 200 is answered once the event is durable, and whatever is inside: a duplicate, a
//     second content of an id, an event that no route wants, and a webhook of which no
//     event can be made. Platforms switch off a feed that answers 4xx. The one 401 is for a
//     signature that does not prove whose it is; it says nothing more. 413 is never said.
//   - What cannot be made durable within 4 s, while the broker drains or is full, or the
//     disk is, is answered with 503 and Retry-After. It may become durable after that; sent
//     again, it is the same event.
//   - A webhook that makes no sense is kept as it came, up to 512 KiB of it with the hash
//     of the whole, and raises one exception for each source and cause (QUARANTINED). It can
//     be evaluated again once the expressions are put right.
//   - Signatures are over the body as it came, compared in constant time, each given one
//     with each secret. A signed time may differ by the window in both directions. A replay
//     within it is the same id: a duplicate. A header of the signature that is missing or
//     there twice proves nothing.
//   - Bounded: 1,024 webhooks at work, 128 MiB of bodies, 15 s for a body to come; of gzip
//     no more is unpacked than an event may have. A body of more than 64 MiB is not read to
//     its end, so its signature proves nothing.
//   - Whoever is refused leaves a count and a line a minute, and no payload.
//
// All of a source goes over one stream, in the order in which it was read, and shares the
// broker's group commit with every other stream.
//
// # Schemes
//
//	hmac-sha1|256|512  any sender: header, encoding, prefix, what is signed, time and id
//	standard-webhooks  Standard Webhooks 1.0
//	shopify            X-Shopify-Hmac-Sha256. Its topic and its id are not signed
//	woocommerce        X-WC-Webhook-Signature. The unsigned ping (webhook_id=N) gets 200
//	stripe             Stripe-Signature, any v1 of it
//	takeapp            as Svix signs. Take.app does not document it: seen in the code of one
//	                   consumer only. Every part of it can be set otherwise
//	none               what anybody sends
//
// A format brings the expressions that make an event; see defaults. CloudEvents are taken
// in binary and structured mode, signed by any scheme; in structured mode the attributes
// of the envelope are seen as the headers ce-NAME, and body is its data.
//
// # What expressions see
//
//	body     the JSON, integers exact; converted to UTF-8 from the charset that is declared
//	headers  by lower-case name, several of a name joined with ", "
//	query    the first value of each name
//	digest   the SHA-256 of the body as it came, in hexadecimal
//
// An id must be the same when a webhook is sent again, and so must all that becomes of the
// event: a time that changes at each attempt makes another content under the same id.
//
// # Tenants
//
// /hooks/{source} leads to the source of that name where one tenant has it, and
// /hooks/{tenant}/{source} always.
package hooks
