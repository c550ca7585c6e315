package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// A connector: it sends two orders, is told what became of each, and leaves once
// both are durable at the broker.
func Example() {
	_, address, stop, err := startBroker(nil, serve) // yours listens on 127.0.0.1:9090
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	c, err := client.New(client.Config{
		Target: address,
		Key:    testKey, // from a file or the environment, trimmed
		Name:   "till-7 2.1.0",
		OnResult: func(e *raffsyncv1.Event, r client.Result) {
			fmt.Println(e.Id, r.Status) // and r.Fix, where something is to be done
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()

	for _, order := range []string{"1042", "1043"} {
		err := c.Send(ctx, &raffsyncv1.Event{
			Id:          "order/" + order + "/created", // the same whenever it is sent again
			Type:        "order.created",
			OrderingKey: "order/" + order,
			OccurredAt:  timestamppb.New(time.Date(2026, 11, 23, 10, 41, 0, 0, time.UTC)),
			Outlet:      "mall",
			References:  map[string]string{"order": order},
			Data:        &raffsyncv1.Event_BinaryData{BinaryData: []byte(`{"total":"312000"}`)},
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := c.Close(ctx); err != nil { // waits until both are durable
		log.Fatal(err)
	}
	if err := <-ran; err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Stats().Accepted, "accepted as", c.Stats().Source)

	// Output:
	// order/1042/created STATUS_ACCEPTED
	// order/1043/created STATUS_ACCEPTED
	// 2 accepted as shop
}
