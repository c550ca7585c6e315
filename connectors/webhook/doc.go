// Package webhook delivers events to HTTP endpoints: one signed POST an attempt.
//
// # What a receiver gets
//
// The body is the event's data, untouched, with its content type. The headers make
// it a message of Standard Webhooks 1.0 and, in binary mode, of CloudEvents 1.0.2:
//
//	Webhook-Id         the message, for deduplication: signed
//	Webhook-Timestamp  seconds since 1970, of the attempt: signed
//	Webhook-Signature  "v1," and base64 of HMAC-SHA256 over id.timestamp.body; two of
//	                   them, with a space between, while a secret is being replaced
//	Idempotency-Key    the same as Webhook-Id
//	Ce-Id, Ce-Type     the event's id and type
//	Ce-Source          "/" tenant "/" source, each escaped as in a URL's path
//	Ce-Subject         its ordering key
//	Ce-Time            when it happened, RFC 3339
//	Ce-Recordedtime    when it was accepted, RFC 3339
//	Ce-Outlet          its outlet; absent where there is none
//	Ce-Specversion     "1.0"
//
// Values of Ce- headers are percent-encoded as the CloudEvents HTTP binding says:
// url.PathUnescape gives the text. An event without data and content type has no
// Content-Type. Data that is itself a structured CloudEvent stays one; the headers
// tell of the event that carries it.
//
// Webhook-Id is the step's key, and not the event's id: it must be the same at every
// attempt but differ for a replay, which is meant to be taken again, and it must not
// be chosen by whoever makes events, since id.timestamp.body is what is signed. The
// Ce- headers are not signed. Hence: deduplicate by Webhook-Id, after the signature
// was verified, in one transaction with the effect. The example does that.
//
// # Settings
//
//	url                   https; http to this machine where loopback is allowed
//	secret                reference (env:, file:) to whsec_ and base64 of 24–64 bytes
//	previous_secret       the same; a second signature, until receivers have the new one
//	headers               names and values, at most 32, sent with each request; a value
//	                      may be a reference as a whole ("env:BOOKS_AUTHORIZATION")
//	idempotent            whether the receiver recognises keys; true unless set
//	deduplication_window  how long it remembers them, such as "24h"; for ever unless set
//	ask                   url: where to ask what became of a request; see below
//	auth                  what the receiver wants besides the signature: a key, a token of
//	                      OAuth 2, a session (package auth)
//
// # What is asked
//
// With ask, no event is sent again that may have had its effect: not after silence, a
// broken connection, a 5xx, or the end of the process that sent it. Once that request is
// surely over, the receiver is asked by a GET of
//
//	ask: {url: "https://books.example/hooks/{id}"}
//
// where {id} stands for the Webhook-Id of the request and {event_id} for the event's id,
// each escaped for its place in path or query. The GET carries Webhook-Id,
// Webhook-Timestamp and Webhook-Signature (over id.timestamp. and no body) and the
// configured headers. {id} is the better name: the event's id is not unique over sources
// and does not tell a replay from the first delivery.
//
//	2xx         the receiver has it: DELIVERED, with the receipt as for a POST; but for one
//	            of which a rule says otherwise
//	404, 410    the receiver surely does not have it: it is sent again
//	else        the receiver cannot tell: it is asked again, in the route's policy, and
//	            then a person decides (UNKNOWN_OUTCOME)
//
// A receiver must answer so only once the POST is through: 404 while it still works on
// it makes a duplicate. Receivers that do not recognise repeats ("idempotent: false") are
// what this is for; with one that does, it spares what deduplication_window would end in.
//
// # What an answer means
//
// The first rule that matches decides; its name is the outcome's Rule. A destination's
// own rules come first (package rules), then those in rules.yaml, which answers.yaml
// holds to what they are for:
//
//	2xx                            DELIVERED, even where the body breaks off
//	3xx                            VALIDATION: redirects are not followed
//	400, 422 about the key         KEY_MISUSE "idempotency key refused"; 409 too, where
//	                               it says that the body differs
//	409                            TRANSIENT where it says that an earlier request is
//	                               under way, DUPLICATE where it says that the thing is
//	                               there; without a word the first, and the second
//	                               where the receiver is not idempotent
//	400, 413, 415, 422             VALIDATION
//	401, 410                       AUTH_REVOKED: hold everything, tell someone once; 401
//	                               to an auth that can be renewed is AUTH_EXPIRED
//	403                            PERMISSION
//	402, 423                       ACCOUNT_STATE
//	429                            RATE_LIMITED
//	408, 425                       TRANSIENT
//	5xx                            TRANSIENT; UNKNOWN_OUTCOME where not idempotent
//	anything else, 404 and 405 too UNCLASSIFIED
//
// Where own rules look into the body of a success, one that breaks off is no longer
// DELIVERED but UNKNOWN_OUTCOME. What gets no answer at all is no rule's business:
//
//	"address not allowed"          VALIDATION: the egress guard refuses it
//	"no address", "no connection", "no TLS", "time-out before sending",
//	"cancelled before sending"     TRANSIENT: nothing was sent
//	"no answer", "time-out after sending",
//	"cancelled after sending"      UNKNOWN_OUTCOME
//
// A 5xx of an idempotent receiver is TRANSIENT although it may have had its effect
// before it failed. What makes that right is the key: it must stay the same after a
// TRANSIENT with a status. Only one without a status proves that nothing happened.
//
// Retry-After, or what a rule names instead, is honoured with any answer that is not a
// success, up to an hour. Code and field come from the JSON of the answer (its first
// 256 KiB), as does the "id" of a receipt, whose URL is the Location header. Successes
// keep no excerpt.
package webhook
