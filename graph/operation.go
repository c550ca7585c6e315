package graph

import (
	"context"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"raffsync/outbox"
)

// mostOperations bounds what runs at once over one WebSocket.
const mostOperations = 32

// channel is how a request came: what may be asked for over it.
type channel struct {
	streams bool         // more than one answer can be given
	running atomic.Int32 // operations under way
}

type channelKey struct{}

func withChannel(ctx context.Context, c *channel) context.Context {
	return context.WithValue(ctx, channelKey{}, c)
}

// admitOperation looks again whether the caller still may, since a WebSocket stays
// open for long, and refuses what the channel has no room or no way for.
func admitOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	c, _ := ctx.Value(channelKey{}).(*channel)
	session := sessionOf(ctx)
	if c == nil || session == nil {
		return refuse(outbox.ErrUnauthenticated)
	}
	if err := session.renew(ctx); err != nil {
		return refuse(err)
	}
	if graphql.GetOperationContext(ctx).Operation.Operation == ast.Subscription && !c.streams {
		return refuse(badInput("a subscription needs a WebSocket, or `Accept: text/event-stream`"))
	}
	if c.running.Add(1) > mostOperations {
		c.running.Add(-1)
		return refuse(tooMany("operations of one connection", mostOperations))
	}
	context.AfterFunc(ctx, func() { c.running.Add(-1) })
	return next(ctx)
}

// refuse answers once, and so that the transport ends the operation.
func refuse(err error) graphql.ResponseHandler {
	code, message, known := translate(err)
	if !known {
		message = "something went wrong on our side; try again"
	}
	return graphql.OneShot(&graphql.Response{Errors: gqlerror.List{{Message: message, Extensions: map[string]any{"code": code}}}})
}
