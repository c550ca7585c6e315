package accurate

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"raffsync/connectors/simulator/loose"
)

var (
	text  = loose.Text
	lines = loose.List // of a document
)

const (
	maxBody  = 4 << 20
	maxLines = 10_000 // of a form's list
)

// complaint is an error in the platform's words.
type complaint string

func (c complaint) Error() string { return string(c) }

func complain(format string, arguments ...any) complaint {
	return complaint(fmt.Sprintf(format, arguments...))
}

// read makes one object of query and body, be that a form or JSON.
func read(r *http.Request) (object, error) {
	input := make(object)
	if err := unfold(input, r.URL.Query()); err != nil {
		return nil, err
	}
	if r.Method != http.MethodPost {
		return input, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(body) > maxBody {
		return nil, complaint("Data terlalu besar")
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/json" {
		decoder := json.NewDecoder(strings.NewReader(string(body)))
		decoder.UseNumber()
		if err := decoder.Decode(&input); err != nil {
			return nil, complaint("Format JSON tidak valid")
		}
		return input, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, complaint("Format data tidak valid")
	}
	return input, unfold(input, form)
}

var indexed = regexp.MustCompile(`^([A-Za-z]\w*)\[(\d{1,5})\]\.(.+)$`)

// unfold puts the values of a form where they belong: detailItem[0].itemNo.
func unfold(into object, form url.Values) error {
	for name, values := range form {
		at, rest := into, name
		for {
			parts := indexed.FindStringSubmatch(rest)
			if parts == nil {
				break
			}
			index, _ := strconv.Atoi(parts[2]) // digits
			if index >= maxLines {
				return complain("Terlalu banyak baris: %s", parts[1])
			}
			list, _ := at[parts[1]].([]any)
			for len(list) <= index {
				list = append(list, object{})
			}
			at[parts[1]] = list
			inner, ok := list[index].(object)
			if !ok {
				return complain("Format data tidak valid: %s", name)
			}
			at, rest = inner, parts[3]
		}
		at[rest] = values[0]
	}
	return nil
}

var number = regexp.MustCompile(`^-?\d{1,15}(\.\d{1,6})?$`)

// decimal of a field, with six decimals at most; otherwise where it is not given.
func decimal(o object, name string, otherwise int64) (*big.Rat, error) {
	given := text(o, name)
	if given == "" {
		return new(big.Rat).SetInt64(otherwise), nil
	}
	if !number.MatchString(given) {
		return nil, complain("%s tidak valid", name)
	}
	value, _ := new(big.Rat).SetString(given) // its form was looked at
	return value, nil
}

// date of a field, dd/MM/yyyy.
func date(o object, name string) (time.Time, error) {
	at, err := time.Parse("02/01/2006", text(o, name))
	if err != nil {
		return at, complain("Format tanggal %s tidak valid, gunakan dd/MM/yyyy", name)
	}
	return at, nil
}

// exact writes a decimal as JSON does.
func exact(r *big.Rat) json.Number {
	s := r.FloatString(6)
	return json.Number(strings.TrimSuffix(strings.TrimRight(s, "0"), "."))
}
