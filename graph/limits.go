package graph

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"raffsync/graph/internal/generated"
	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

// Limits of one request.
const (
	maxBody       = 256 << 10
	maxTokens     = 2_000
	maxDepth      = 10
	maxAliases    = 30
	maxFields     = 2_000 // with every fragment written out
	maxComplexity = 300
	maxSearchText = 300 // characters
)

// shapeLimit refuses operations that are too deep, have too many aliases, or grow too
// large once their fragments are written out. It looks at each fragment once, so that
// fragments of fragments cost nothing to refuse.
type shapeLimit struct{ introspection bool }

var _ interface {
	graphql.HandlerExtension
	graphql.OperationContextMutator
} = shapeLimit{}

func (shapeLimit) ExtensionName() string                          { return "ShapeLimit" }
func (shapeLimit) Validate(schema graphql.ExecutableSchema) error { return nil }

func (l shapeLimit) MutateOperationContext(_ context.Context, opCtx *graphql.OperationContext) *gqlerror.Error {
	s := measurer{fragments: make(map[*ast.FragmentDefinition]shape)}.measure(opCtx.Operation.SelectionSet)
	if s.introspects && !l.introspection {
		err := gqlerror.Errorf("the schema is shown in development only")
		err.Extensions = map[string]any{"code": codeForbidden}
		return err
	}
	for _, limit := range []struct {
		is, most   int
		code, what string
	}{
		{s.fields, maxFields, codeSize, "fields with its fragments written out"},
		{s.depth, maxDepth, codeDepth, "levels of fields"},
		{s.aliases, maxAliases, codeAliases, "aliases"},
	} {
		if limit.is > limit.most {
			err := gqlerror.Errorf("the operation has more %s than the %d that are allowed", limit.what, limit.most)
			err.Extensions = map[string]any{"code": limit.code}
			return err
		}
	}
	return nil
}

// shape is the size of a selection.
type shape struct {
	fields, depth, aliases int
	introspects            bool
}

type measurer struct {
	fragments map[*ast.FragmentDefinition]shape
}

func (m measurer) measure(set ast.SelectionSet) shape {
	var s shape
	add := func(o shape) {
		s = shape{
			fields: min(s.fields+o.fields, maxFields+1), depth: max(s.depth, o.depth), aliases: min(s.aliases+o.aliases, maxAliases+1),
			introspects: s.introspects || o.introspects,
		}
	}
	for _, selection := range set {
		switch node := selection.(type) {
		case *ast.Field:
			if strings.HasPrefix(node.Name, "__") {
				// The schema is as deep as it is; __typename is a value like others.
				add(shape{fields: 1, introspects: node.Name != "__typename"})
				continue
			}
			inner := m.measure(node.SelectionSet)
			inner.fields++
			inner.depth++
			if node.Alias != node.Name {
				inner.aliases++
			}
			add(inner)
		case *ast.InlineFragment:
			add(m.measure(node.SelectionSet))
		case *ast.FragmentSpread:
			inner, ok := m.fragments[node.Definition]
			if !ok {
				inner = m.measure(node.Definition.SelectionSet)
				m.fragments[node.Definition] = inner
			}
			add(inner)
		}
	}
	return s
}

// paged is the complexity of a page: what one node costs, once for every ten.
func paged(child, first int) int { return 1 + max(1, child)*max(1, min(first, 10*maxComplexity)/10) }

// complexities are those of fields that are not as cheap as others: a value costs
// nothing, any other field 1 and what is selected of it.
func complexities() generated.ComplexityRoot {
	var c generated.ComplexityRoot
	// Some events have a delivery for each of several destinations.
	c.Event.Deliveries = func(child int) int { return 1 + 3*child }
	// Some deliveries lack several mappings.
	c.Delivery.Exceptions = func(child int) int { return 1 + 3*child }
	// A payload may have 512 KiB.
	c.Event.Payload = func(child int) int { return 20 + child }
	c.Conflict.Payload = func(child int) int { return 20 + child }
	c.Quarantined.Body = func(child int) int { return 20 + child }
	c.Destination.OldestOpen = func(child int) int { return 5 + child }
	c.Delivery.Attempts = paged
	// A few steps, and up to a hundred attempts.
	c.Delivery.Steps = func(child int) int { return 10 + 3*child }
	// It reads an event, or two, and prepares it; a body may have 512 KiB.
	c.Delivery.Preview = func(child int) int { return 20 + child }
	c.Query.PreviewEvent = func(child int, _, _ string) int { return 20 + child }
	page := func(child, first int, _ *string) int { return paged(child, first) }
	c.Event.Timeline, c.Exception.Timeline = page, page
	c.Exception.Held, c.Exception.Conflicts, c.Exception.Quarantined = page, page, page
	c.Query.Search = func(child int, _ string, first int, _ *string) int { return paged(child, first) }
	c.Query.Events = pagedBy[events]
	c.Query.Deliveries = pagedBy[deliveries]
	c.Query.Exceptions = func(child int, _ exceptions, _ view.ExceptionOrder, first int, _ *string) int {
		return paged(child, first)
	}
	c.Exception.History = func(child int) int { return 10 + 10*child }
	c.Exception.Comments = c.Exception.History
	c.Query.Timeline = pagedBy[timeline]
	c.Query.Jobs = func(child, first int, _ *string) int { return paged(child, first) }
	c.Query.Edits = func(child int, _ *model.EditState, first int, _ *string) int { return paged(child, first) }
	c.Job.Failures = func(child, first int, _ *int64) int { return paged(child, first) }
	c.Query.Mapping = func(child int, _ string, _, _ *string, first int, _ *string) int { return paged(child, first) }
	c.Query.MappingHistory = func(child int, _, _, _ *string, first int, _ *string) int { return paged(child, first) }
	c.Query.MappingUses = func(child int, _, _, _ string, _ *time.Time, _ *string, first int, _ *string) int {
		return paged(child, first)
	}
	c.Query.ShadowFindings = func(child int, _ *string) int { return 20 + child }
	c.Query.MappingGaps = func(child int, _, _ *string, first int, _ *string) int { return paged(child, first) }
	return c
}

func pagedBy[F any](child int, _ F, first int, _ *string) int { return paged(child, first) }

func tooMany(what string, most int) error {
	return &callerError{codeBusy, fmt.Sprintf("at most %d %s at once; end one first", most, what)}
}
