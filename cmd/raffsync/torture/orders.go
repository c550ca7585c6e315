package torture

import "fmt"

// Every third event places an order, besides being an event. Orders are what the ledger
// keeps (see the configuration in rig.go): several events of all clients, under ordering
// keys of their own, are about one order, and it is to be there once.
const (
	placedEvery   = 3
	eventsOfOrder = 2 * placedEvery // of each client, in a row
	ordersOfSKU   = 2               // in a row
	wrongEvery    = 13              // orders; one in so many names what nobody ever sells
	wrongSKU      = "sku-of-nothing"
	rightSKU      = "sku-0" // what an operator makes of that
	placedType    = "order.placed"
)

// placed tells whether a client's event of that number places an order.
func placed(number int) bool { return number%placedEvery == 0 }

func typeOf(number int) string {
	if placed(number) {
		return placedType
	}
	return eventType
}

func orderOf(number int) int { return number / eventsOfOrder }

// skuOf is what an order is for.
func skuOf(order int) string {
	if order%wrongEvery == wrongEvery-1 {
		return wrongSKU
	}
	return fmt.Sprintf("sku-%d", order/ordersOfSKU)
}

// itemOf is what the ledger calls it, by the mapping table.
func itemOf(sku string) string { return "item/" + sku }

// itemWanted is the item of an order as it has to arrive: by the mapping table, and after
// an operator has put right what is wrong.
func itemWanted(order int) string {
	if sku := skuOf(order); sku != wrongSKU {
		return itemOf(sku)
	}
	return itemOf(rightSKU)
}

// orderEffects are what the ledger has to have of an event, by the names that the route
// gives them.
func orderEffects(s *sent) []string {
	if !placed(s.Number) {
		return nil
	}
	n := orderOf(s.Number)
	return []string{fmt.Sprintf("order/%d", n), fmt.Sprintf("invoice/%d", n)}
}
