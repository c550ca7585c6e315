// Package acknowledge is the link in a notice by which whoever reads it takes an
// exception up, and the page behind it.
//
//	GET  /acknowledge?t=TOKEN   a page with one button; changes nothing, since mail
//	                            scanners follow links
//	POST /acknowledge           the button: acknowledges for as long
//	                            as the policy says
//
// The token names tenant, exception, the address that it was sent to, when it expires and
// how long it acknowledges for, and is signed by the installation. Whoever has it can acknowledge that
// exception, as often as they like until it expires, and nothing else.
package acknowledge
