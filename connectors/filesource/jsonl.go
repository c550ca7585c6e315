package filesource

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// jsonLines makes an event of each line, as it comes.
func (r *Reader) jsonLines(text *bufio.Reader, yield func(*raffsyncv1.Event, error) bool) {
	// Data as text in JSON in JSON: each quote may take four bytes.
	most := 4*r.cfg.MaxEventBytes + 64<<10
	var buffer []byte
	for number := 1; ; number++ {
		content, tooLong, err := readLine(text, buffer[:0], most)
		buffer = content
		if err != nil && !errors.Is(err, io.EOF) {
			// What stands before the error is not known to be a whole line.
			yield(nil, r.readError(number-1, err))
			return
		}
		last := err != nil
		content = bytes.TrimSpace(content)
		if len(content) > 0 {
			r.lines.Add(1)
			var event *raffsyncv1.Event
			id, problem := "", fmt.Errorf("it has more than %d bytes: split it, or allow larger events here and at the broker", most)
			if !tooLong {
				event, id, problem = r.jsonEvent(content)
			}
			r.events.Add(1)
			if problem != nil {
				event, err = nil, &EventError{ID: id, Lines: []int{number}, Problem: problem.Error()}
			} else {
				err = nil
			}
			if !yield(event, err) {
				return
			}
		}
		if last {
			return
		}
	}
}

// readLine appends the next line to the buffer, without what is past the limit. The
// error comes with the last line.
func readLine(text *bufio.Reader, buffer []byte, most int) (content []byte, tooLong bool, err error) {
	for {
		piece, err := text.ReadSlice('\n')
		if len(buffer)+len(piece) > most {
			tooLong = true
			piece = piece[:max(0, min(len(piece), most-len(buffer)))]
		}
		buffer = append(buffer, piece...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return buffer, tooLong, err
		}
	}
}

// jsonEvent makes the event of one line, and its id as far as that is known.
func (r *Reader) jsonEvent(content []byte) (event *raffsyncv1.Event, id string, err error) {
	if !utf8.Valid(content) {
		return nil, "", errors.New("it is not UTF-8: save the file as UTF-8, or mend the value")
	}
	if r.cfg.ID == "" {
		event = &raffsyncv1.Event{}
		if err := protojson.Unmarshal(content, event); err != nil {
			return nil, "", fmt.Errorf("it is no event (%s): write {\"id\":…,\"type\":…,\"orderingKey\":…,\"textData\":…}, or name the column of the id to take any object", cut(plain(err)))
		}
	} else if event, id, err = r.mappedJSON(content); err != nil {
		return nil, id, err
	}
	size := len(event.GetTextData()) + len(event.GetBinaryData())
	switch {
	case event.Id == "":
		err = errors.New("it has no id: give it one that stays the same whenever it is sent")
	case event.Type == "":
		err = errors.New("it has no type: give it one, such as \"order.created\"")
	case event.OrderingKey == "":
		err = errors.New("it has no ordering key: give it one, such as \"order/1042\"")
	case size > r.cfg.MaxEventBytes:
		err = fmt.Errorf("its data has %d bytes and %d are allowed: split it, or allow more here and at the broker", size, r.cfg.MaxEventBytes)
	}
	return event, event.Id, err
}

// plain takes the varying spaces and the prefix out of an error of protojson.
func plain(err error) string {
	return strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
}

func (r *Reader) mappedJSON(content []byte) (*raffsyncv1.Event, string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(content, &object); err != nil || object == nil {
		return nil, "", fmt.Errorf("it is no JSON object: write one a line (%s)", cut(fmt.Sprint(err)))
	}
	valueOf := func(column string) (string, error) { return scalar(column, object[column]) }
	id, err := r.mapping.id.expand(valueOf)
	if err != nil {
		return nil, "", err
	}
	if id == "" {
		return nil, "", fmt.Errorf("the id is empty (%s): fill it in", strings.Join(r.mapping.id.columns(), ", "))
	}
	event, err := r.mapping.event(id, valueOf)
	if err != nil {
		return nil, id, err
	}
	data := bytes.Clone(content)
	if len(r.cfg.Payload) > 0 {
		data = selected(object, r.cfg.Payload)
	}
	event.Data = &raffsyncv1.Event_BinaryData{BinaryData: data}
	return event, id, nil
}

// scalar is a field's value as text: numbers exactly as they are written.
func scalar(name string, raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", fmt.Errorf("field %q is no text: %w", name, err)
		}
		return text, nil
	case '{', '[':
		return "", fmt.Errorf("field %q is a list or an object: name one that is a text, a number or a boolean", name)
	default:
		return string(raw), nil
	}
}

// selected is an object of some fields, those that there are, as they are written.
func selected(object map[string]json.RawMessage, names []string) []byte {
	b := []byte{'{'}
	for _, name := range names {
		raw, there := object[name]
		if !there {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(appendString(b, []byte(name)), ':')
		b = append(b, raw...)
	}
	return append(b, '}')
}
