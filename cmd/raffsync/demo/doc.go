// Package demo is the shop that `raffsync demo` shows the broker with, and the
// screen that says what happens.
//
//   - [Platforms] are three simulated platforms (connectors/simulator) as child
//     processes: books is healthy, webstore fails on purpose, stock is strict. They
//     are started again when they die, at the same address, with the same ledger,
//     and end when this process does, however it ends: their standard input closes.
//   - [Shop] is a source connector that streams what happens at the tills of three
//     outlets, over gRPC, through connectors/client. An id is never used for other
//     content, however the process ended: an order's number is on disk before the
//     order is.
//   - [Screen] prints the first screen, and then what changes. It reads figures
//     through interfaces of its own.
//   - [Configuration] is the demo's configuration, as the file that it would be.
//
// What has to outlive the process is in the state folder:
//
//	shop.json                  the till's name, the next order number
//	platforms/books.secret     whsec_…, mode 0600
//	platforms/books.address    host:port; stored destinations refer to it
//	platforms/books.ledger     JSON lines
package demo
