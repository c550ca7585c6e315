package recipe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// maxBody bounds a request's body: more is not what any of these platforms takes.
const maxBody = 8 << 20

var errTooLarge = errors.New("the body is larger than 8 MiB")

// contentTypes of the encodings.
var contentTypes = map[string]string{
	asJSON:    "application/json",
	asGraphQL: "application/json",
	asForm:    "application/x-www-form-urlencoded",
}

// encode writes what a map gave, which is canonical JSON: the same map gives the same
// bytes.
func (c *call) encode(value []byte) ([]byte, error) {
	var body []byte
	switch c.encoding {
	case asNothing:
		return nil, nil
	case asForm:
		form, err := encodeForm(value)
		if err != nil {
			return nil, err
		}
		body = form
	case asGraphQL:
		body = make([]byte, 0, len(c.graphql)+len(value)+32)
		body = append(body, `{"query":`...)
		body = append(body, c.graphql...)
		if value != nil {
			body = append(append(body, `,"variables":`...), value...)
		}
		body = append(body, '}')
	default:
		body = value
	}
	if len(body) > maxBody {
		return nil, errTooLarge
	}
	return body, nil
}

// encodeForm writes nested JSON the way Struts and Accurate Online read forms: names of
// mappings with dots between, places in lists in brackets, from 0. A null is left out.
//
//	{"detailItem": [{"itemNo": "A 1"}]} → detailItem%5B0%5D.itemNo=A+1
func encodeForm(value []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var b bytes.Buffer
	if err := formValue(&b, decoder, ""); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// formValue goes through JSON token by token: so fields keep their order, and numbers
// stand as they are written.
func formValue(b *bytes.Buffer, decoder *json.Decoder, name string) error {
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("read what the map gave: %w", err)
	}
	switch token := token.(type) {
	case json.Delim:
		for i := 0; decoder.More(); i++ {
			inside := name + "[" + strconv.Itoa(i) + "]"
			if token == '{' {
				key, err := decoder.Token()
				if err != nil {
					return err
				}
				inside = below(name, key.(string)) // a name is a string
			}
			if err := formValue(b, decoder, inside); err != nil {
				return err
			}
		}
		_, err := decoder.Token()
		return err
	case nil:
	case bool:
		pair(b, name, strconv.FormatBool(token))
	case json.Number:
		pair(b, name, token.String())
	case string:
		pair(b, name, token)
	}
	return nil
}

func pair(b *bytes.Buffer, name, text string) {
	if b.Len() > 0 {
		b.WriteByte('&')
	}
	b.WriteString(url.QueryEscape(name))
	b.WriteByte('=')
	b.WriteString(url.QueryEscape(text))
}
