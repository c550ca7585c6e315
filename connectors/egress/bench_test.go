package egress_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"raffsync/connectors/egress"
)

// BenchmarkDo posts 701 bytes, as the other benchmarks of the project do, and
// reads a short answer; NetHTTP is the same by a plain http.Client.
func BenchmarkDo(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"ok":true}`)
	}))
	defer s.Close()
	payload := bytes.Repeat([]byte("x"), 701)
	post := func(b *testing.B) *http.Request {
		req, err := http.NewRequest(http.MethodPost, s.URL, bytes.NewReader(payload))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "order/1042")
		return req
	}
	client := loopback(b, nil)
	bare := &http.Client{
		Timeout: egress.DefaultTimeout,
		Transport: &http.Transport{
			MaxConnsPerHost: egress.DefaultMaxConnsPerHost, MaxIdleConnsPerHost: egress.DefaultMaxConnsPerHost,
			DisableCompression: true,
		},
	}
	b.Cleanup(bare.CloseIdleConnections)
	for _, way := range []struct {
		name string
		send func(b *testing.B)
	}{
		{"Egress", func(b *testing.B) {
			if _, err := client.Do(b.Context(), post(b)); err != nil {
				b.Error(err)
			}
		}},
		{"NetHTTP", func(b *testing.B) {
			answer, err := bare.Do(post(b).WithContext(b.Context()))
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.ReadAll(answer.Body); err != nil {
				b.Error(err)
			}
			answer.Body.Close()
		}},
	} {
		b.Run("Serial/"+way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				way.send(b)
			}
		})
		b.Run("Parallel/"+way.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					way.send(b)
				}
			})
		})
	}
}

func BenchmarkExcerpt(b *testing.B) {
	body := bytes.Repeat([]byte(`{"error":"no such SKU","access_token":"abc","code":6240} `), 18)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		egress.Excerpt(body, 0)
	}
}
