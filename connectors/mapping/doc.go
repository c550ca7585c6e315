// Package mapping is the language in which a configuration speaks about events: the
// conditions and versions of routes, and the maps that make requests of events. Its
// expressions are CEL (https://cel.dev). It is pure: the same expression, event, body and
// look-ups always give the same answer, without clock or I/O.
//
//	Condition   body.total > 5              true or false
//	Version     body.updated_at             which of two snapshots is the newer
//	Text        "order/${body.data.id}"     a string
//	Template    a tree of YAML              a tree of JSON, and the look-ups it misses
//
// # Conditions and versions
//
// An expression sees two variables:
//
//	event   id, type, ordering_key, outlet (strings), references (a map of strings),
//	        occurred_at (a timestamp). A misspelt field is an error at load.
//	body    the payload, where it is JSON; null where it is not. Integers that fit
//	        64 bits are exact ints, every other number is a double.
//
// What a condition answers:
//
//	true       it matches
//	false      it does not
//	absent     it reads something that the body or the references do not hold: it
//	           does not match, whatever stands around it, so `body.a == 1` and
//	           `!(body.a == 1)` are both false without an `a`; has(body.a) asks
//	error      anything else: a string where a number was compared, a division by
//	           zero, more work than the limit. The caller is told; it is never taken
//	           for false, since that would be a silent failure.
//
// Null is a value, not an absence: `null > 0` is an error.
//
// A version gives a whole number, a text or a time. What is absent or null is no version;
// anything else is an error.
//
// # Templates
//
// A template has the shape of what it renders. ${…} is an expression: alone it keeps its
// type, within a text it makes a text. $${ writes ${.
//
//	number: "${reference(30)}"
//	customer: "${lookup('customer', body.customer.id, {default: 'WALK-IN'})}"
//	date: "${date(body.created_at, outlet.timezone, 'dd/MM/yyyy')}"
//	memo: "Table ${body.table}"
//	lines:
//	  - $each: {line: "${body.lines}"}
//	    item: "${lookup('sku', line.product_id)}"
//	    quantity: "${line.quantity}"
//	    price: "${money(line.price, body.currency)}"
//
// What is absent is left out: a field, an element of a list, and a whole text of which
// any part is absent, here the memo where there is no table. Null is a value that stays
// (`memo: null`), except within a text, where it is absent. A map stays when all its
// fields are left out. `${body.?memo.orValue('none')}` says what else.
//
//	$each: {line: "${…}"}   in a list, a map with it stands there once for each value of
//	                        a list; an absent or null list has none
//	$index: i               names the place in that list, from 0, filtered or not
//	$if: "${…}"             the map is left out unless it is true. Absent is false
//	$value: …               what stands there instead of the map's fields: a scalar, a list
//	$splice: […]            in a list: what stands there, one by one. Loops nest in it:
//
//	lines:
//	  - $each: {line: "${body.lines}"}
//	    $splice:
//	      - item: "${line.sku}"
//	      - $each: {extra: "${line.extras}"}
//	        $if: "${extra.price > 0}"
//	        item: "${extra.sku}"
//
// A field whose name begins with $ is written with another one: $$ref.
//
// # Variables
//
//	event, body                  as above, but for numbers
//	outlet                       name, timezone (its name; an error where it is not known)
//	steps.NAME.receipt.FIELD     what an earlier step brought back: id, url, and others
//	existing.FIELD               the receipt of what is to be updated
//	headers, query               of a webhook; there, with body, they are all there is
//
// and what the caller declares ([Environment.With]). Where body is read, the payload has
// to be JSON in UTF-8, or empty (null): a document must not be made of anything else, so
// that is a [*BodyError]. Of fields with the same name the last one counts; JSON that
// nests deeper than 10,000 levels is none.
//
// # Numbers
//
// Every number is exact. Integers that 64 bits hold are ints; all others, and fractions,
// in JSON as in the expression, are decimals. There are no doubles: 0.1 + 0.2 is 0.3.
// Numbers that are only passed on keep the digits they were written with, 18.50 as much
// as twenty digits. + - * and comparisons mix ints and decimals and never round; / always
// gives a decimal (10 / 4 is 2.5), of at most 34 digits; ints that leave 64 bits are an
// error, which decimal() avoids. Decimals have at most 1,000 digits. In the output a
// number is a number, within a text and by string() a text.
//
//	decimal(value)             a number, or a text that is one ("12.50"), as a decimal
//	decimal(value, digits)     rounded to 0 to 30 digits after the point, halves away from 0
//	money(value, currency)     rounded to the currency's digits by ISO 4217, and always with
//	                           all of them: JPY 0, USD 2, KWD 3. IDR has 2 there
//	money(value, currency, n)  rounded to n digits, as the platform or the country writes it
//	sum(list)                  of numbers, and texts that are; an absence in it is an error
//	int(decimal)               a whole number, and an error where it is none
//
// # Other functions
//
//	lookup(table, value)       the value's counterpart in a mapping table, a text. The value
//	                           is a text, an int or a decimal as it is written
//	lookup(table, value, {default: …})
//	                           where there is none, or the value is absent or null
//	date(value, zone, pattern) from RFC 3339, unix seconds or milliseconds (since 1973), a
//	                           date, or a date and time, which are the zone's own. The
//	                           pattern is iso or made of yyyy yy MMMM MMM MM M dd d EEEE EEE
//	                           HH hh h mm m ss s SSS a XXX XX, signs, T and 'text'. Names
//	                           are English; a time that summer time leaves out is moved on
//	reference(n)               a document's number of at most n characters (from 12 on) of
//	                           A-Z a-z 0-9 and -: always the same for the same tenant,
//	                           destination and effect
//	trim upperAscii lowerAscii split replace join truncate(n)
//	                           as methods of a text, and join of a list
//
//	required(value)            the value, and an error where it is absent or null: what a
//	                           document must not go without
//
// The others, given null, are absent. What CEL has besides is there too: has(), size(), map,
// filter, exists, matches, timestamp, optional.
//
// # A miss does not stop it
//
// A look-up that finds nothing is noted, with table, value and place in the output, and
// gives a marker that survives every further operation, while everything else is
// rendered: so one pass names every miss, each once. What is rendered then shows
// ‹no sku for LATTE› in its place, and must not be sent. An absent value is no miss. What
// hangs on a missed look-up by $each or $if is not rendered, since it may not be wanted.
//
// # Errors and limits
//
// At load, errors name the path in the template, line and column in the text, and what is
// wrong ([*TemplateError], [*SyntaxError]). When rendered they name the place in the
// output, and never quote a payload, a header or a look-up. [Template.Check] renders
// samples at load.
//
//	an expression          4,096 characters; work of 100,000 in CEL's units
//	one rendering          work of 2,000,000, one for each value included; 1 MiB of JSON;
//	                       100 levels of nesting
//	within an expression   texts of 1 MiB, lists of 100,000 values, 10,000 values for one ==
//
// Loops look at the context, so that they end with it.
package mapping
