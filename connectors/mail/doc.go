// Package mail tells people something by mail: one message an event, handed to a server by
// SMTP.
//
// # Settings
//
//	server    host:port; TLS from the start at port 465, STARTTLS at any other, and
//	          nothing is sent without (but to this machine, in development)
//	from      the sender's address
//	to        the recipient's
//	username  for servers that want a login; with it
//	password  a reference (env:, file:)
//
// The server is the installation's own choice, and often stands in its own network: it is
// not held to the rules for addresses that come with events or from the other side.
//
// SMTP knows no keys, but the message's id is the step's key: the same at each attempt. A
// message of unknown outcome is sent again: of a notice, twice is better than never.
package mail
