// Package mail plays a mail server: real SMTP on loopback, with STARTTLS, a certificate
// of its own, a login, and boxes that tests can look into. It can be down, refuse a
// recipient, or go away once it has taken a message and before it says so.
package mail
