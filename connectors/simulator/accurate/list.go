package accurate

import (
	"strconv"
	"strings"
)

// detail is one document, by its id or by a name that it has.
func (s *Simulator) detail(kindName string, input object) answer {
	k, b := kinds[kindName], s.books[kindName]
	var id int64
	if given := text(input, "id"); given != "" {
		id, _ = strconv.ParseInt(given, 10, 64) // 0 is nobody's
	} else {
		for _, field := range []string{"number", "no", "customerNo"} {
			if name := text(input, field); name != "" && field == k.name {
				id = b.byName[name]
			}
		}
	}
	o := b.byID[id]
	if o == nil {
		return refused("Data tidak ditemukan atau sudah dihapus")
	}
	return done(o)
}

const (
	pageSize    = 20
	mostOfAPage = 100
)

// list is a page of documents, the oldest first: sp.page from 1, fields, and
// filter.FIELD.op (EQUAL, CONTAIN) with filter.FIELD.val.
func (s *Simulator) list(kindName string, input object) answer {
	b := s.books[kindName]
	page, size := positive(text(input, "sp.page"), 1), min(positive(text(input, "sp.pageSize"), pageSize), mostOfAPage)
	var matching []object
	for _, id := range b.order {
		ok, err := filtered(b.byID[id], input)
		if err != nil {
			return refused(err.Error())
		}
		if ok {
			matching = append(matching, b.byID[id])
		}
	}
	found := []any{}
	for i := (page - 1) * size; i < min(page*size, len(matching)); i++ {
		found = append(found, chosen(matching[i], text(input, "fields")))
	}
	a := done(found)
	a.body["sp"] = object{"page": page, "pageSize": size, "pageCount": (len(matching) + size - 1) / size, "rowCount": len(matching), "sort": nil}
	return a
}

func positive(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n
	}
	return otherwise
}

func filtered(o, input object) (bool, error) {
	for name := range input {
		rest, isFilter := strings.CutPrefix(name, "filter.")
		field, isOp := strings.CutSuffix(rest, ".op")
		if !isFilter || !isOp {
			continue
		}
		have, want := text(o, field), text(input, "filter."+field+".val")
		switch op := text(input, name); op {
		case "EQUAL":
			if have != want {
				return false, nil
			}
		case "CONTAIN":
			if !strings.Contains(strings.ToLower(have), strings.ToLower(want)) {
				return false, nil
			}
		default:
			return false, complain("Operator %q tidak valid", op)
		}
	}
	return true, nil
}

// chosen is the fields that were asked for, by a comma apart; id where none were.
func chosen(o object, fields string) object {
	some := object{"id": o["id"]}
	for field := range strings.SplitSeq(fields, ",") {
		if v, there := o[strings.TrimSpace(field)]; there {
			some[strings.TrimSpace(field)] = v
		}
	}
	return some
}
