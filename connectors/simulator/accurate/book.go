package accurate

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// kind is a kind of document.
type kind struct {
	// name is the field that names a document; no two have one name.
	name string
	// what the platform calls that field when it complains.
	called string
	// prefix of the numbers that it gives by itself.
	prefix string
	check  func(*Simulator, object) (effects, []string)
}

var kinds = map[string]kind{
	"customer":        {"customerNo", "ID Pelanggan", "C.", checkCustomer},
	"item":            {"no", "Kode Barang", "", checkItem},
	"sales-order":     {"number", "No Pesanan", "SO.", checkOrder},
	"sales-invoice":   {"number", "Nomor", "SI.", checkInvoice},
	"sales-return":    {"number", "Nomor", "SRT.", checkReturn},
	"sales-receipt":   {"number", "Nomor", "CR.", checkReceipt},
	"item-adjustment": {"number", "Nomor", "IA.", checkAdjustment},
}

// effects are what a document does besides standing in its book.
type effects struct {
	stock map[string]*big.Rat // by item
	total *big.Rat
}

func (e *effects) move(item string, quantity *big.Rat) {
	if e.stock == nil {
		e.stock = make(map[string]*big.Rat)
	}
	if e.stock[item] == nil {
		e.stock[item] = new(big.Rat)
	}
	e.stock[item].Add(e.stock[item], quantity)
}

// book holds the documents of a kind.
type book struct {
	byID   map[int64]object
	byName map[string]int64
	order  []int64
	did    map[int64]effects
}

func newBook() *book {
	return &book{byID: make(map[int64]object), byName: make(map[string]int64), did: make(map[int64]effects)}
}

func (b *book) put(nameField string, id int64, o object) {
	if old, there := b.byID[id]; there {
		delete(b.byName, text(old, nameField))
	} else {
		b.order = append(b.order, id)
	}
	b.byID[id] = o
	b.byName[text(o, nameField)] = id
}

// longestNumber is what a document's number may have, in characters.
const longestNumber = 30

// save makes a document, or changes the one whose id is given.
func (s *Simulator) save(kindName string, o object) answer {
	k, b := kinds[kindName], s.books[kindName]
	id, isNew, problem := s.identify(k, b, o)
	if problem != "" {
		return refused(problem)
	}
	if !isNew {
		var gone bool
		if o, gone = amended(b.byID[id], o); gone {
			return refused("Data rincian tidak ditemukan atau sudah dihapus")
		}
	}
	does, problems := k.check(s, o)
	if len(problems) > 0 {
		return refused(problems...)
	}
	if isNew {
		s.lastID++
		id = s.lastID
		if text(o, k.name) == "" {
			o[k.name] = fmt.Sprintf("%s%s.%05d", k.prefix, s.now().In(jakarta).Format("2006.01"), id)
		}
	} else {
		s.move(b.did[id], -1)
	}
	o["id"] = id
	s.identifyLines(o)
	s.move(does, 1)
	if does.total != nil {
		o["totalAmount"] = exact(does.total)
	}
	b.put(k.name, id, o)
	b.did[id] = does
	if kindName == "item" && s.stock[text(o, "no")] == nil {
		s.stock[text(o, "no")] = new(big.Rat)
	}
	a := done([]any{fmt.Sprintf("%s %q berhasil disimpan", k.called, text(o, k.name))})
	a.body["r"] = o
	if s.config.Brief {
		a.body["r"] = object{"id": id, k.name: text(o, k.name)}
	}
	return a
}

// identifyLines gives the lines of a document that have none yet ids of their own.
func (s *Simulator) identifyLines(o object) {
	for _, value := range o {
		list, _ := value.([]any)
		for _, element := range list {
			if line, ok := element.(object); ok && text(line, "id") == "" {
				s.lastID++
				line["id"] = s.lastID
			}
		}
	}
}

// identify finds out whether a save is about a new document, and whether its number is
// its own.
func (s *Simulator) identify(k kind, b *book, o object) (id int64, isNew bool, problem string) {
	name := text(o, k.name)
	if len([]rune(name)) > longestNumber {
		return 0, false, fmt.Sprintf("%s terlalu besar. Maksimal %d karakter", k.called, longestNumber)
	}
	isNew = text(o, "id") == ""
	if !isNew {
		if _, err := fmt.Sscan(text(o, "id"), &id); err != nil || b.byID[id] == nil {
			return 0, false, "Data tidak ditemukan atau sudah dihapus"
		}
	}
	if other, taken := b.byName[name]; name != "" && taken && other != id {
		return 0, false, fmt.Sprintf("Sudah ada data lain dengan %s %q", k.called, name)
	}
	return id, isNew, ""
}

// amended is a document with what a save changes in it. A line with an id changes that
// one, or deletes it; one without is added; gone is that there is none of an id.
func amended(old, change object) (merged object, gone bool) {
	merged = maps.Clone(old)
	for name, value := range change {
		list, isList := value.([]any)
		before, wasList := old[name].([]any)
		if !isList || !wasList {
			merged[name] = value
			continue
		}
		all := slices.Clone(before)
		for _, element := range list {
			line, _ := element.(object)
			if text(line, "id") == "" {
				all = append(all, line)
				continue
			}
			at := slices.IndexFunc(all, func(one any) bool { o, ok := one.(object); return ok && text(o, "id") == text(line, "id") })
			switch {
			case at < 0:
				return nil, true
			case text(line, "_status") == "delete":
				all = slices.Delete(all, at, at+1)
			default:
				all[at], _ = amended(all[at].(object), line)
			}
		}
		merged[name] = all
	}
	return merged, false
}

// move changes the stock by what a document does, or takes it back.
func (s *Simulator) move(e effects, sign int64) {
	for item, quantity := range e.stock {
		if s.stock[item] == nil {
			s.stock[item] = new(big.Rat)
		}
		s.stock[item].Add(s.stock[item], new(big.Rat).Mul(quantity, big.NewRat(sign, 1)))
	}
}

// mostInBulk is the most documents of one bulk-save.
const mostInBulk = 100

func (s *Simulator) bulkSave(kindName string, input object) answer {
	all := lines(input, "data")
	if len(all) == 0 || len(all) > mostInBulk {
		return refused(fmt.Sprintf("Jumlah data harus 1 sampai %d", mostInBulk))
	}
	var each []any
	ok := true
	for _, o := range all {
		a := s.save(kindName, o)
		ok = ok && a.body["s"] == true
		each = append(each, a.body)
	}
	a := done(each)
	a.body["s"] = ok
	return a
}

// Document is one that was saved.
type Document struct {
	ID     int64
	Number string
	Total  *big.Rat // nil where it has none
	Fields map[string]any
}

// Documents of a kind ("sales-invoice") as they stand, in the order in which they came.
// Nothing of them may be changed.
func (s *Simulator) Documents(kindName string) []Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.books[kindName]
	if b == nil {
		return nil
	}
	all := make([]Document, 0, len(b.order))
	for _, id := range b.order {
		all = append(all, Document{id, text(b.byID[id], kinds[kindName].name), b.did[id].total, b.byID[id]})
	}
	return all
}

// Count is how many documents of a kind there are.
func (s *Simulator) Count(kindName string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.books[kindName]; b != nil {
		return len(b.order)
	}
	return 0
}

// Stock of an item.
func (s *Simulator) Stock(item string) *big.Rat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stock[item] == nil {
		return new(big.Rat)
	}
	return new(big.Rat).Set(s.stock[item])
}

// missing is how the platform says that something named is not there.
func missing(what, name string) string {
	return fmt.Sprintf("%s %q tidak ditemukan atau sudah dihapus", what, strings.TrimSpace(name))
}
