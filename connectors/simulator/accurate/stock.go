package accurate

import (
	"fmt"
	"math/big"
)

func checkCustomer(s *Simulator, o object) (effects, []string) {
	if text(o, "name") == "" {
		return effects{}, []string{"Nama Pelanggan harus diisi"}
	}
	return effects{}, nil
}

func checkItem(_ *Simulator, o object) (effects, []string) {
	if text(o, "name") == "" {
		return effects{}, []string{"Nama Barang harus diisi"}
	}
	return effects{}, nil
}

// checkAdjustment: relative changes of stock.
func checkAdjustment(s *Simulator, o object) (effects, []string) {
	var e effects
	var problems []string
	say := func(format string, arguments ...any) { problems = append(problems, fmt.Sprintf(format, arguments...)) }
	if text(o, "adjustmentAccountNo") == "" {
		say("Akun penyesuaian harus diisi")
	}
	s.checkDate(o, say)
	items := lines(o, "detailItem")
	if len(items) == 0 {
		say("Rincian barang harus diisi")
	}
	for _, line := range items {
		item := text(line, "itemNo")
		quantity, err := decimal(line, "quantity", 0)
		switch {
		case s.books["item"].byName[item] == 0:
			say("%s", missing("Barang", item))
		case err != nil || quantity.Sign() <= 0:
			say("Kuantitas harus lebih besar dari 0")
		case text(line, "itemAdjustmentType") == "ADJUSTMENT_IN":
			e.move(item, quantity)
		case text(line, "itemAdjustmentType") == "ADJUSTMENT_OUT":
			e.move(item, new(big.Rat).Neg(quantity))
		default:
			say("Tipe penyesuaian tidak valid")
		}
	}
	return e, problems
}

// setStock counts stock anew: absolute, and without a number.
func (s *Simulator) setStock(input object) answer {
	counted := make(map[string]*big.Rat)
	for _, line := range lines(input, "detail") {
		item := text(line, "itemNo")
		target, err := decimal(line, "targetQuantity", 0)
		if err != nil || target.Sign() < 0 {
			return refused("Kuantitas tidak valid")
		}
		if s.books["item"].byName[item] == 0 {
			return refused(missing("Barang", item))
		}
		counted[item] = target
	}
	if len(counted) == 0 {
		return refused("Rincian barang harus diisi")
	}
	for item, target := range counted {
		s.stock[item] = target
	}
	return done([]any{"Penyesuaian Persediaan berhasil disimpan"})
}

func (s *Simulator) stockOf(input object) answer {
	item := text(input, "no")
	if s.books["item"].byName[item] == 0 {
		return refused(missing("Barang", item))
	}
	have := s.stock[item]
	if have == nil {
		have = new(big.Rat)
	}
	return done(object{"no": item, "availableStock": exact(have)})
}
