package filesource_test

import (
	"errors"
	"fmt"
	"log"
	"strings"

	"raffsync/connectors/filesource"
)

// Lines with one number become one event, although another invoice stands between
// them. A line that makes no event is told, and the others go on.
func Example() {
	file := strings.NewReader(`InvoiceNo,StockCode,Quantity,CustomerID,InvoiceDate
536365,85123A,6,17850,2010-12-01T08:26:00Z
C536379,D,-1,,2010-12-01T09:41:00Z
536365,71053,8,17850,2010-12-01T08:26:00Z
536370,22728,24,12583,yesterday
`)
	r, err := filesource.New(filesource.Config{
		Input: file, // a file, plain or gzip, or any other io.Reader
		ID:    "InvoiceNo", Time: "InvoiceDate",
		Type: "invoice.issued", TypeIf: []filesource.TypeRule{{ID: "C*", Type: "invoice.cancelled"}},
		OrderingKey: "customer/{CustomerID}|invoice/{InvoiceNo}",
		Payload:     []string{"StockCode", "Quantity"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range r.Events() {
		var refused *filesource.EventError
		switch {
		case errors.As(err, &refused):
			fmt.Println("refused:", err)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(event.Type, event.OrderingKey)
			fmt.Printf("  %s\n", event.GetBinaryData())
		}
	}

	// Output:
	// invoice.issued customer/17850
	//   {"InvoiceNo":"536365","CustomerID":"17850","InvoiceDate":"2010-12-01T08:26:00Z","lines":[{"StockCode":"85123A","Quantity":"6"},{"StockCode":"71053","Quantity":"8"}]}
	// invoice.cancelled invoice/C536379
	//   {"InvoiceNo":"C536379","CustomerID":"","InvoiceDate":"2010-12-01T09:41:00Z","lines":[{"StockCode":"D","Quantity":"-1"}]}
	// refused: line 5, id "536370": "yesterday" in InvoiceDate is no time of the form "2006-01-02T15:04:05Z07:00": correct it, or name the file's form as time format
}
