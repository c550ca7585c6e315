package demo

import "time"

// outlet is a place where the shop sells.
type outlet struct {
	name     string
	till     string
	zone     *time.Location
	cashiers []string
	counter  []string // kinds of service
}

var (
	western = time.FixedZone("WIB", 7*60*60)  // Jakarta
	central = time.FixedZone("WITA", 8*60*60) // Denpasar, Makassar

	outlets = []outlet{
		{"mall", "MALL-1", western, []string{"Dewi", "Rizky", "Ayu"}, []string{"dine-in", "takeaway", "delivery"}},
		{"harbour", "HARBOUR-1", central, []string{"Wayan", "Nengah"}, []string{"dine-in", "takeaway"}},
		{"airport", "AIRPORT-2", central, []string{"Made", "Andi", "Sri"}, []string{"takeaway"}},
	}
	customers = []string{
		"Agus Setiawan", "Budi Santoso", "Citra Lestari", "Fitri Handayani", "Hendra Wijaya",
		"Indah Permata", "Joko Susilo", "Komang Ariani", "Made Sudiarta", "Nur Aini",
		"Putri Maharani", "Rahmat Hidayat", "Siti Rahmawati", "Teguh Prakoso", "Yohana Manalu",
	}
	payments = []string{"qris", "qris", "cash", "debit", "e-wallet"}
)

// product is a line of the menu. Prices are whole rupiah, without tax.
type product struct {
	sku   string
	name  string
	price int64
	// cup is what a drink is served in; goods without one are counted one by one.
	cup      string
	modifier []string
}

var menu = []product{
	{"ES-KOPI-SUSU", "Es Kopi Susu Gula Aren", 28_000, "CUP-12OZ", []string{"less sugar", "less ice", "extra shot"}},
	{"KOPI-TUBRUK", "Kopi Tubruk", 18_000, "CUP-8OZ", nil},
	{"AMERICANO", "Americano", 26_000, "CUP-12OZ", []string{"iced"}},
	{"LATTE", "Caffè Latte", 35_000, "CUP-12OZ", []string{"iced", "extra shot"}},
	{"CAPPUCCINO", "Cappuccino", 35_000, "CUP-8OZ", nil},
	{"TEH-TARIK", "Teh Tarik", 24_000, "CUP-12OZ", []string{"less sugar"}},
	{"WEDANG-JAHE", "Wedang Jahe", 22_000, "CUP-8OZ", nil},
	{"ROTI-BAKAR", "Roti Bakar Cokelat Keju", 25_000, "", nil},
	{"PISANG-GORENG", "Pisang Goreng Madu", 22_000, "", nil},
	{"KLEPON-CAKE", "Klepon Cake", 32_000, "", nil},
	{"BEANS-GAYO-250", "Biji Kopi Gayo 250 g", 95_000, "", nil},
	{"BEANS-TORAJA-250", "Biji Kopi Toraja 250 g", 110_000, "", nil},
}

// oatLatte is new: the tills sell it, the strict platform has not heard of it.
var oatLatte = product{"LATTE-OAT", "Oat Latte", 45_000, "CUP-12OZ", []string{"iced"}}

// hasOatLatte says which orders hold one. The first order of the demo does, so that
// its story has everything.
func hasOatLatte(number int64) bool { return number%9 == FirstOrder%9 }
