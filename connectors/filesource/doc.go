// Package filesource reads a file of business records into events: CSV or JSON
// Lines, plain or gzip, from any io.Reader.
//
//	r, err := filesource.New(filesource.Config{Input: file, ID: "InvoiceNo",
//		Type:        "invoice.issued",
//		TypeIf:      []filesource.TypeRule{{ID: "C*", Type: "invoice.cancelled"}},
//		OrderingKey: "customer/{CustomerID}|invoice/{InvoiceNo}",
//		Time:        "InvoiceDate",
//	})
//	for event, err := range r.Events() { … }
//
// Ids come from the file, so reading it again gives the same events, and sending
// them again makes nothing twice.
//
// # CSV
//
// The first row names the columns. All lines with one id become one event, wherever
// they stand: the whole file is read and grouped before the first event, and events
// come in the order of their first lines. Id, type, ordering key, time, outlet and
// references are made from an event's first line. The payload has the columns that
// the mapping uses, from the first line, and every column of every line:
//
//	{"InvoiceNo":"536365","InvoiceDate":"2010-12-01T08:26:00Z","CustomerID":"17850",
//	 "Country":"United Kingdom",
//	 "lines":[{"InvoiceNo":"536365","StockCode":"85123A","Quantity":"6","UnitPrice":"2.55",…},…]}
//
// Every value is a text exactly as the file has it: "2.50" stays "2.50".
//
// The lines are held in memory, about the size of the uncompressed file and 17 bytes
// a line (the 541,909 lines and 46 MiB of a real shop's year take 58 MiB).
// [Config.MaxBytes] bounds it.
//
// Quotes are strict (RFC 4180). A byte-order mark and CRLF are accepted; a line break
// inside a quoted field becomes LF. Empty lines are skipped. Excel's first line that names
// the separator, "sep=;", wins over [Config.Comma].
//
// # JSON Lines
//
// A line is an event, and files of any length stream through. Without [Config.ID] a
// line is an event in the JSON form of the contract:
//
//	{"id":"1042","type":"order.created","orderingKey":"order/1042","textData":"{…}"}
//
// With it a line is any JSON object, whose outermost fields are mapped like columns
// (texts, numbers and booleans; null counts as empty), and which is the payload as
// it stands. A field that a line does not have counts as empty.
//
// # What can be wrong
//
// Each line ends up in an event or in an error. An [*InputError] is about the file: it
// comes last, and from a CSV file it comes before any event, so that none is sent
// without the lines that a damaged part may hold. An [*EventError] is about one
// event, names its lines, and reading goes on.
package filesource
