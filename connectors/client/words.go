package client

import (
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// said is an error in the words that are meant for people: the broker's own, without
// gRPC's wrapping, and something to act on where gRPC speaks of frames.
type said struct{ error }

func (s said) Error() string {
	st, ok := status.FromError(s.error)
	switch {
	case !ok:
		return s.error.Error()
	case speaksHTTP(st.Message()):
		return "an HTTP server answers there, not gRPC"
	default:
		return unwrapped(st.Message())
	}
}

// unwrapped is what grpc-go reports of a connection, `connection error: desc = "…"`,
// without its wrapping.
func unwrapped(message string) string {
	const wrapping = "connection error: desc = "
	i := strings.LastIndex(message, wrapping)
	if i < 0 {
		return message
	}
	inner, err := strconv.Unquote(message[i+len(wrapping):])
	if err != nil {
		return message
	}
	return strings.TrimPrefix(inner, "transport: Error while dialing: ")
}

func (s said) Unwrap() error { return s.error }

// speaksHTTP recognises what grpc-go says where an HTTP/1.1 server answers.
func speaksHTTP(message string) bool {
	return strings.Contains(message, "HTTP/1.1 header") || strings.Contains(message, "frame too large")
}

// wayOut says what to look at when no stream gets anywhere.
func wayOut(err error) string {
	if st, ok := status.FromError(err); ok && speaksHTTP(st.Message()) {
		return "this is an HTTP port: give the broker's gRPC address, by default 127.0.0.1:9090"
	}
	switch errorReason(err) {
	case "NOT_DURABLE", "STORE_UNAVAILABLE":
		return "the broker runs but cannot write to its Postgres (down, read-only or out of disk?): see its log"
	case "":
		return "check the address and that the broker runs"
	default:
		return "the broker runs, and says what is in the way"
	}
}

// errorDomain is ErrorInfo.domain of a broker of ours.
const errorDomain = "raffsync"

// errorReason is the broker's ErrorInfo.reason; empty where it is none of ours.
func errorReason(err error) string {
	s, _ := status.FromError(err)
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			return info.GetReason()
		}
	}
	return ""
}
