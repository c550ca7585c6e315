package graph

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/99designs/gqlgen/graphql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"raffsync/graph/internal/scalar"
	"raffsync/outbox"
	"raffsync/outbox/view"
)

// Codes that stand in `extensions.code`.
const (
	codeBadInput        = "BAD_INPUT"
	codeUnauthenticated = "UNAUTHENTICATED"
	codeForbidden       = "FORBIDDEN"
	codeNotFound        = "NOT_FOUND"
	codeConflict        = "CONFLICT"
	codeTooLarge        = "TOO_LARGE"
	codeDepth           = "DEPTH_LIMIT_EXCEEDED"
	codeAliases         = "ALIAS_LIMIT_EXCEEDED"
	codeSize            = "SIZE_LIMIT_EXCEEDED"
	codeBusy            = "TOO_MANY_OPERATIONS"
	codeTimeout         = "TIMEOUT"
	codeUnavailable     = "UNAVAILABLE"
	codeInternal        = "INTERNAL"
)

// callerError is a message that is meant for the caller.
type callerError struct{ code, message string }

func (e *callerError) Error() string { return e.message }

func badInput(format string, args ...any) error {
	return &callerError{codeBadInput, fmt.Sprintf(format, args...)}
}

// translations are what callers are told of the errors that they can do something
// about. An empty message stands for the error's own.
var translations = []struct {
	is            error
	code, message string
}{
	{view.ErrID, codeBadInput, view.ErrID.Error()},
	{view.ErrCursor, codeBadInput, view.ErrCursor.Error()},
	{view.ErrPage, codeBadInput, view.ErrPage.Error()},
	{view.ErrText, codeBadInput, view.ErrText.Error()},
	{scalar.ErrInput, codeBadInput, ""},
	{outbox.ErrUnauthenticated, codeUnauthenticated, "a credential is needed: HTTP Basic with an operator's name and secret"},
	{outbox.ErrNotFound, codeNotFound, "there is no such thing"},
	{outbox.ErrConflict, codeConflict, "it has changed meanwhile; read it again"},
	{context.DeadlineExceeded, codeTimeout, "it took too long; ask for less, or try again"},
	{context.Canceled, codeTimeout, "the request was given up before it was answered"},
}

// translate returns what a caller is told of an error, and whether the table knows it.
func translate(err error) (code, message string, known bool) {
	var caller *callerError
	if errors.As(err, &caller) {
		return caller.code, caller.message, true
	}
	var input *view.InputError
	if errors.As(err, &input) {
		return codeBadInput, input.Message, true
	}
	for _, t := range translations {
		if errors.Is(err, t.is) {
			if t.message == "" {
				return t.code, err.Error(), true
			}
			return t.code, t.message, true
		}
	}
	var integer *graphql.IntegerError
	var overflow *graphql.NumberOverflowError
	if errors.As(err, &integer) || errors.As(err, &overflow) {
		return codeBadInput, "expected an integer of up to 32 bits", true
	}
	return codeInternal, "", false
}

// presenter turns an error into what the caller is told.
func presenter(log *slog.Logger) graphql.ErrorPresenterFunc {
	return func(ctx context.Context, err error) *gqlerror.Error {
		var own *gqlerror.Error
		if errors.As(err, &own) && own.Err == nil {
			return own // gqlgen's own words about the request
		}
		told := &gqlerror.Error{Extensions: map[string]any{}}
		if own != nil {
			told.Path, told.Locations = own.Path, own.Locations
		} else {
			told.Path = graphql.GetPath(ctx)
		}
		code, message, known := translate(err)
		if !known {
			reference := rand.Text()[:10]
			code, message = codeInternal, "something went wrong on our side; the log says more under the reference"
			var connect *pgconn.ConnectError
			if errors.As(err, &connect) {
				code, message = codeUnavailable, "the database cannot be reached; try again"
			}
			told.Extensions["reference"] = reference
			log.ErrorContext(ctx, "a GraphQL request failed", "reference", reference, "path", told.Path.String(), "error", err)
		}
		told.Message = message
		told.Extensions["code"] = code
		return told
	}
}

// recoverer keeps a panic of one field from ending the process.
func recoverer(log *slog.Logger) graphql.RecoverFunc {
	return func(ctx context.Context, p any) error {
		log.ErrorContext(ctx, "a resolver panicked", "panic", p, "stack", string(debug.Stack()))
		return errors.New("a resolver panicked")
	}
}
