package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"raffsync/connectors/client"
)

func TestRun_EndsWhereAPersonMustAct(t *testing.T) {
	for _, tc := range []struct {
		code codes.Code
		want string
	}{
		{codes.Unauthenticated, "raffsync keys create"},
		{codes.PermissionDenied, "key of a source"},
		{codes.InvalidArgument, "same version"},
		{codes.Unimplemented, "check that the address"},
	} {
		t.Run(tc.code.String(), func(t *testing.T) {
			_, address := newBroker(t, func(*session) error { return status.Error(tc.code, "the broker's words") })
			c, err := client.New(config(address))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Send(within(t), event(0)); err != nil {
				t.Fatal(err)
			}
			ran := c.Run(within(t))
			err = c.Flush(within(t))
			for where, err := range map[string]error{"Run": ran, "Flush": err, "Send": c.Send(within(t), event(1)), "Close": c.Close(within(t))} {
				if status.Code(errors.Unwrap(err)) != tc.code && status.Code(err) != tc.code {
					t.Errorf("%s: code of %v", where, err)
				}
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "the broker's words") || strings.Contains(err.Error(), testKey) {
					t.Errorf("%s: %v, want %q", where, err, tc.want)
				}
			}
		})
	}

	t.Run("WrongKey", func(t *testing.T) {
		_, address := newBroker(t, serve)
		cfg := config(address)
		cfg.Key = "rs_wrong_secret"
		err := <-run(t, cfg).done
		if status.Code(err) != codes.Unauthenticated || strings.Contains(err.Error(), cfg.Key) {
			t.Errorf("got %v", err)
		}
	})

	reasoned := func(code codes.Code, reason string) error {
		s, err := status.New(code, "the broker's words").WithDetails(&errdetails.ErrorInfo{Domain: "raffsync", Reason: reason})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	t.Run("SaysItOnce", func(t *testing.T) {
		_, address := newBroker(t, func(*session) error { return reasoned(codes.Unauthenticated, "KEY_REFUSED") })
		err := <-run(t, config(address)).done
		if status.Code(err) != codes.Unauthenticated || err == nil || err.Error() != "client: the broker at "+address+" does not let this client in: the broker's words" {
			t.Errorf("got %v", err)
		}
	})

	for reason, want := range map[string]string{
		"NOT_DURABLE":       "cannot write to its Postgres",
		"STORE_UNAVAILABLE": "see its log",
		"STOPPING":          "says what is in the way",
	} {
		t.Run("GivesUp/"+reason, func(t *testing.T) {
			_, address := newBroker(t, func(*session) error { return reasoned(codes.Unavailable, reason) })
			cfg := config(address)
			cfg.GiveUpAfter = 10 * time.Millisecond
			err := <-run(t, cfg).done
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the broker's words") || strings.Contains(err.Error(), "check the address") {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}

	t.Run("GivesUp/HTTP", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		defer server.Close()
		cfg := config(server.Listener.Addr().String())
		cfg.GiveUpAfter = 10 * time.Millisecond
		err := <-run(t, cfg).done
		if err == nil || !strings.Contains(err.Error(), "this is an HTTP port: give the broker's gRPC address, by default 127.0.0.1:9090") || strings.Contains(err.Error(), "http2") {
			t.Errorf("got %v", err)
		}
	})

	t.Run("GivesUp", func(t *testing.T) {
		cfg := config("127.0.0.1:1")
		cfg.GiveUpAfter = 10 * time.Millisecond
		err := <-run(t, cfg).done
		if err == nil || !strings.Contains(err.Error(), "check the address") || !strings.HasSuffix(err.Error(), ": dial tcp 127.0.0.1:1: connect: connection refused") {
			t.Errorf("got %v", err)
		}
	})

	t.Run("EventChangedAfterSend", func(t *testing.T) {
		welcomed := make(chan struct{})
		_, address := newBroker(t, func(s *session) error {
			<-welcomed
			return serve(s)
		})
		c, err := client.New(config(address))
		if err != nil {
			t.Fatal(err)
		}
		e := event(0)
		if err := c.Send(within(t), e); err != nil {
			t.Fatal(err)
		}
		e.Outlet = "\xff"
		close(welcomed)
		if err := c.Run(within(t)); err == nil || !strings.Contains(err.Error(), "changed after Send") {
			t.Errorf("got %v", err)
		}
	})
}
