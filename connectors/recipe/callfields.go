package recipe

import (
	"encoding/json"
	"net/http"
	"slices"

	"raffsync/connectors/rules"
)

// The fields of calls. What every request has comes first: a call, its update, a find and
// a check are requests.

var (
	methodField = field[callDocument]{
		rules.Setting{Name: "method", Takes: "GET, POST, PUT, PATCH or DELETE", Fallback: "POST; GET of `find` and `check`", Doc: "The method."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.method = p.oneOf(path, raw, http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete)
		},
	}
	urlField = field[callDocument]{
		rules.Setting{Name: "url", Takes: "a path from /, with CEL as ${…}", Fallback: "the recipe's `url` itself", Doc: "Below the recipe's `url`. What an expression gives is escaped: it stays one segment."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.url = p.line(path, raw, maxText)
		},
	}
	queryField = field[callDocument]{
		rules.Setting{Name: "query", Takes: "a mapping of names to texts, with CEL as ${…}", Fallback: "none", Doc: "The URL's query. What is absent is left out."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.query = p.texts(path, raw, maxText)
		},
	}
	headersField = field[callDocument]{
		rules.Setting{Name: "headers", Takes: "a mapping of headers to texts, with CEL as ${…}", Fallback: "the recipe's", Doc: "More headers, or others than the recipe's."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.headers = p.texts(path, raw, maxText)
		},
	}
	bodyField = field[callDocument]{
		rules.Setting{Name: "body", Takes: "json, form, graphql or none", Fallback: "graphql with `graphql`, none of GET and DELETE, otherwise json", Doc: "How what `map` gives is written. form nests as `detailItem[0].itemNo=…`."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.encoding = p.oneOf(path, raw, asJSON, asForm, asGraphQL, asNothing)
		},
	}
	graphqlField = field[callDocument]{
		rules.Setting{Name: "graphql", Takes: "a GraphQL document", Fallback: "none", Doc: "The query or mutation; `map` gives its variables."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.graphql = p.text(path, raw, maxGraphQL)
		},
	}
	mapField = field[callDocument]{
		rules.Setting{Name: "map", Takes: "a mapping, with CEL as ${…}", Fallback: "the route's step says it", Doc: "What is sent where the route's step has no `map` of its own."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			if _, ok := p.mapping(path, raw, "a mapping"); ok {
				c.mapping = raw
			}
		},
	}
	rulesField = field[callDocument]{
		rules.Setting{Name: "rules", Takes: "a list of rules", Fallback: "the recipe's", Doc: "What answers to this call mean, before the recipe's rules."},
		func(_ *problems, _ string, raw json.RawMessage, c *callDocument) { c.rules = raw },
	}
	answersField = field[callDocument]{
		rules.Setting{Name: "answers", Takes: "a list of recorded answers", Fallback: "none", Doc: "What they are held to."},
		func(_ *problems, _ string, raw json.RawMessage, c *callDocument) { c.answers = raw },
	}
	documentationField = field[callDocument]{
		rules.Setting{Name: "documentation", Takes: "a text", Fallback: "none", Doc: "What it does, for people."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.documentation = p.text(path, raw, maxText)
		},
	}
	repeatableField = field[callDocument]{
		rules.Setting{Name: "repeatable", Takes: "true or false", Fallback: "false", Doc: "To make it twice comes to the same as once, as with a PUT of the whole thing: after an unknown outcome it is made again without asking."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.repeatable = p.truth(path, raw)
		},
	}
	findField = field[callDocument]{
		rules.Setting{Name: "find", Takes: "a mapping", Fallback: "nobody can be asked", Inside: described(findFields), Doc: "The question whether the effect is there, by `reference()` or a field that is unique to it. It is asked after an unknown outcome, before anything is sent again."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.find = readFind(p, path, raw)
		},
	}
	receiptField = field[callDocument]{
		rules.Setting{Name: "receipt", Takes: "a mapping", Fallback: "`$.id`", Inside: described(receiptFields), Doc: "What the platform calls what it made."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			object(p, path, raw, receiptFields, &c.receipt)
		},
	}
	updateField = field[callDocument]{
		rules.Setting{Name: "update", Takes: "a mapping", Fallback: "what is there can't be updated", Inside: described(updateFields), Doc: "What of the call is otherwise where the effect is there already and the route says `if_exists: update`. What it leaves out is the call's."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			u := callDocument{name: c.name, path: path}
			object(p, path, raw, updateFields, &u)
			c.update = &u
		},
	}
)

func callFields() []field[callDocument] {
	return []field[callDocument]{
		documentationField, methodField, urlField, queryField, headersField, bodyField, graphqlField, mapField,
		rulesField, answersField, receiptField, findField, updateField, repeatableField,
	}
}

var (
	requestFields = []field[callDocument]{methodField, urlField, queryField, headersField, bodyField, graphqlField, mapField}
	checkFields   = slices.Concat(requestFields, []field[callDocument]{rulesField, answersField})
	updateFields  = slices.Concat([]field[callDocument]{
		methodField, urlField, queryField, headersField, graphqlField,
		{
			rules.Setting{Name: "map", Takes: "a mapping, with CEL as ${…}", Fallback: "none", Doc: "What is added to the map of the call or step, or stands in place of it, name by name: `id: \"${existing.id}\"`."},
			mapField.read,
		},
		{
			rules.Setting{Name: "find", Takes: "a mapping, as `find` of the call", Fallback: "nobody can be asked", Doc: "The question whether what is there is up to date."},
			findField.read,
		},
	}, []field[callDocument]{repeatableField, {
		rules.Setting{Name: "needs_existing", Takes: "true or false", Fallback: "false", Doc: "A map of a route's step that does not read `existing` updates nothing: its lines would be added to those that are there."},
		func(p *problems, path string, raw json.RawMessage, c *callDocument) {
			c.needsExisting = p.truth(path, raw)
		},
	}})
)

var receiptFields = []field[receiptDocument]{
	{
		rules.Setting{Name: "id", Takes: place, Fallback: "what the deciding rule says, or `$.id`", Doc: "The id. Of at most 500 bytes."},
		func(p *problems, path string, raw json.RawMessage, r *receiptDocument) {
			r.id = p.line(path, raw, maxText)
		},
	},
	{
		rules.Setting{Name: "url", Takes: "an https URL, with CEL as ${receipt.id} or ${body.r.slug}", Fallback: "the header Location", Doc: "Where people can see it."},
		func(p *problems, path string, raw json.RawMessage, r *receiptDocument) {
			r.url = p.line(path, raw, maxText)
		},
	},
	{
		rules.Setting{Name: "fields", Takes: "a mapping of names to " + place, Fallback: "none", Doc: "What later steps need of the answer: `steps.NAME.receipt.FIELD`. At most 16, of 200 bytes each."},
		func(p *problems, path string, raw json.RawMessage, r *receiptDocument) {
			r.fields = p.texts(path, raw, maxText)
		},
	},
}

// readFind reads the fields of a request, and those that say what its answer proves.
func readFind(p *problems, path string, raw json.RawMessage) *findDocument {
	f := &findDocument{callDocument: callDocument{name: "find", path: path, method: http.MethodGet}}
	object(p, path, raw, findFields, f)
	return f
}

// findFields are filled in init: they hold the fields of requests, of another type.
var findFields = slices.Concat(lifted(requestFields), []field[findDocument]{
	{
		rules.Setting{Name: "found", Takes: "a condition: status, headers, body as in a rule", Fallback: "what the rules call DELIVERED", Doc: "The answer shows what was asked for, or a list that is complete."},
		func(_ *problems, _ string, raw json.RawMessage, f *findDocument) { f.found = raw },
	},
	{
		rules.Setting{Name: "absent", Takes: "a condition, as `{status: 404}`", Fallback: "an empty list of `items`", Doc: "The answer proves that it is not there. It is then sent again, so nothing is guessed: an answer that proves neither leaves the outcome unknown."},
		func(_ *problems, _ string, raw json.RawMessage, f *findDocument) { f.absent = raw },
	},
	{
		rules.Setting{Name: "items", Takes: "a JSON path", Fallback: "the answer is the one thing", Doc: "The list in the answer, as $.data[*]: the whole of it. Where it is there and nothing in it is what was asked for, that is not there."},
		func(p *problems, path string, raw json.RawMessage, f *findDocument) {
			f.items = p.line(path, raw, maxLine)
		},
	},
	{
		rules.Setting{Name: "whole", Takes: "a condition, as `{headers: {X-Pages: [\"0\", \"1\"]}}`", Fallback: "each answer with the list has all of it", Doc: "The answer has the whole list of `items`, not the first page of it. Otherwise what is not among them leaves the outcome unknown."},
		func(_ *problems, _ string, raw json.RawMessage, f *findDocument) { f.whole = raw },
	},
	{
		rules.Setting{Name: "where", Takes: "a mapping of JSON paths to texts, with CEL as ${…}", Fallback: "anything", Doc: "What it must be like, byte for byte; `$` is the item."},
		func(p *problems, path string, raw json.RawMessage, f *findDocument) {
			f.where = p.texts(path, raw, maxText)
		},
	},
	{
		rules.Setting{Name: "receipt", Takes: "a mapping, as `receipt` of the call", Fallback: "the call's", Doc: "Of the item, or of the answer. Without `url`, that of the call."},
		func(p *problems, path string, raw json.RawMessage, f *findDocument) {
			f.receipt = &receiptDocument{}
			object(p, path, raw, receiptFields, f.receipt)
		},
	},
})

func lifted(fields []field[callDocument]) []field[findDocument] {
	var all []field[findDocument]
	for _, f := range fields {
		all = append(all, field[findDocument]{f.Setting, func(p *problems, path string, raw json.RawMessage, into *findDocument) {
			f.read(p, path, raw, &into.callDocument)
		}})
	}
	return all
}
