package accurate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	apiToken  = "aat.example"
	apiSecret = "signing-secret"
)

// shop is a database with a caller that knows its token.
type shop struct {
	*Simulator
	t   *testing.T
	url string
}

func newShop(t *testing.T, change func(*Config)) *shop {
	c := Config{
		Token: apiToken, Secret: apiSecret, Rate: 1000, Parallel: 100,
		Items:     []Item{{"85123A", "White holder", 10}, {"85123a", "Another", 5}},
		Customers: []Customer{{"C-1", "Ani"}},
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return &shop{s, t, server.URL}
}

// sign adds what an API token wants.
func sign(r *http.Request, stamp string) {
	mac := hmac.New(sha256.New, []byte(apiSecret))
	mac.Write([]byte(stamp))
	r.Header.Set("Authorization", "Bearer "+apiToken)
	r.Header.Set("X-Api-Timestamp", stamp)
	r.Header.Set("X-Api-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func (s *shop) do(r *http.Request) (int, object) {
	s.t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		s.t.Fatalf("%s: %s", response.Status, body)
	}
	return response.StatusCode, o
}

func (s *shop) request(method, path, body string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	sign(r, strconv.FormatInt(time.Now().Unix(), 10))
	return r
}

// call returns what a signed call with JSON comes to, which is always 200.
func (s *shop) call(path, body string) object {
	s.t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	status, o := s.do(s.request(method, "/accurate/api/"+path, body))
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %v", path, status, o)
	}
	return o
}

const invoice = `{"customerNo":"C-1","transDate":"24/11/2026","number":%q,"detailItem":[{"itemNo":"85123A","quantity":2,"unitPrice":0.001},{"itemNo":"85123a","quantity":"1","unitPrice":"2.55"}]}`

func TestSimulator_Invoice(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	first := s.call("sales-invoice/save.do", fmt.Sprintf(invoice, "INV-1"))
	if first["s"] != true || first["r"].(object)["number"] != "INV-1" {
		t.Fatalf("%v", first)
	}
	all := s.Documents("sales-invoice")
	if len(all) != 1 || all[0].Total.Cmp(big.NewRat(2552, 1000)) != 0 {
		t.Errorf("%+v", all)
	}
	if a, b := s.Stock("85123A"), s.Stock("85123a"); a.Cmp(big.NewRat(8, 1)) != 0 || b.Cmp(big.NewRat(4, 1)) != 0 {
		t.Errorf("stock %s and %s, want 8 and 4", a, b)
	}
	again := s.call("sales-invoice/save.do", fmt.Sprintf(invoice, "INV-1"))
	if again["s"] != false || !strings.HasPrefix(again["d"].([]any)[0].(string), "Sudah ada data lain dengan Nomor") {
		t.Errorf("a number twice: %v", again)
	}
	s.call("sales-invoice/save.do", fmt.Sprintf(invoice, ""))
	s.call("sales-invoice/save.do", fmt.Sprintf(invoice, ""))
	if n := len(s.Documents("sales-invoice")); n != 3 {
		t.Errorf("%d invoices, want one more for each without a number", n)
	}
	found := s.call("sales-invoice/detail.do?number=INV-1", "")
	if found["s"] != true || fmt.Sprint(found["d"].(object)["totalAmount"]) != "2.552" {
		t.Errorf("found %v", found)
	}
	if absent := s.call("sales-invoice/detail.do?number=INV-2", ""); absent["s"] != false {
		t.Errorf("found %v", absent)
	}
}

func TestSimulator_Refusals(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(c *Config) { c.LockedBefore = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) })
	for name, c := range map[string]struct{ path, body, want string }{
		"AnItemByAnotherCase": {"sales-order/save.do", `{"customerNo":"C-1","detailItem":[{"itemNo":"85123A ","unitPrice":1}]}`, "Barang"},
		"NobodysCustomer":     {"sales-order/save.do", `{"customerNo":"c-1","detailItem":[{"itemNo":"85123A","unitPrice":1}]}`, "Pelanggan"},
		"NoLines":             {"sales-order/save.do", `{"customerNo":"C-1"}`, "Rincian"},
		"NoPrice":             {"sales-order/save.do", `{"customerNo":"C-1","detailItem":[{"itemNo":"85123A"}]}`, "Harga"},
		"SevenDecimals":       {"sales-order/save.do", `{"customerNo":"C-1","detailItem":[{"itemNo":"85123A","unitPrice":0.0000001}]}`, "Harga"},
		"ALongNumber":         {"sales-order/save.do", `{"number":"` + strings.Repeat("x", 31) + `"}`, "Maksimal 30 karakter"},
		"AnAmericanDate":      {"sales-order/save.do", `{"customerNo":"C-1","transDate":"11/24/2026","detailItem":[{"itemNo":"85123A","unitPrice":1}]}`, "tanggal"},
		"ALockedPeriod":       {"sales-invoice/save.do", `{"customerNo":"C-1","transDate":"31/10/2026","detailItem":[{"itemNo":"85123A","unitPrice":1}]}`, "tidak dapat lebih kecil"},
		"AnOrderThatIsNot":    {"sales-invoice/save.do", `{"customerNo":"C-1","detailItem":[{"itemNo":"85123A","unitPrice":1,"salesOrderNumber":"SO-9"}]}`, "Pesanan"},
		"AReturnOfNothing":    {"sales-return/save.do", `{"returnType":"INVOICE","invoiceNumber":"X","customerNo":"C-1","detailItem":[{"itemNo":"85123A","unitPrice":1}]}`, "Faktur"},
		"NotJSON":             {"sales-order/save.do", `{`, "JSON"},
		"AnEditOfNothing":     {"sales-order/save.do", `{"id":99}`, "tidak ditemukan"},
		"PaidTooLittle":       {"sales-receipt/save.do", `{"bankNo":"1-1","customerNo":"C-1","chequeAmount":5,"detailInvoice":[]}`, "Nilai"},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.call(c.path, c.body)
			if o["s"] != false || !strings.Contains(fmt.Sprint(o["d"]), c.want) {
				t.Errorf("%v, want a refusal about %q", o, c.want)
			}
		})
	}
}

func TestSimulator_Amounts(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	s.call("sales-order/save.do", `{"customerNo":"C-1","number":"SO-1","cashDiscount":"1","detailItem":[
		{"itemNo":"85123A","unitPrice":100,"quantity":3,"itemDiscPercent":"5 + 2","itemCashDiscount":50},
		{"itemNo":"85123A","unitPrice":10,"itemCashDiscount":4}],"detailExpense":[{"accountNo":"6-1","expenseAmount":7.5}]}`)
	// 300 × .95 × .98 + 10 − 4 + 7.5 − 1
	if got := s.Documents("sales-order")[0].Total; got.Cmp(big.NewRat(29180, 100)) != 0 {
		t.Errorf("total %s, want 291.8", got.FloatString(3))
	}
	if have := s.Stock("85123A"); have.Cmp(big.NewRat(10, 1)) != 0 {
		t.Errorf("an order moved the stock to %s", have)
	}
	s.call("sales-invoice/save.do", `{"customerNo":"C-1","number":"SI-1","detailItem":[{"itemNo":"85123A","unitPrice":1,"quantity":2,"deliveryOrderNumber":"DO-1","salesOrderNumber":"SO-1"},{"itemNo":"85123A","unitPrice":1,"salesOrderNumber":"SO-1"}]}`)
	s.call("sales-return/save.do", `{"customerNo":"C-1","returnType":"INVOICE","invoiceNumber":"SI-1","detailItem":[{"itemNo":"85123A","unitPrice":1}]}`)
	s.call("item-adjustment/save.do", `{"adjustmentAccountNo":"5-1","transDate":"24/11/2026","detailItem":[{"itemNo":"85123A","itemAdjustmentType":"ADJUSTMENT_OUT","quantity":4}]}`)
	if have := s.Stock("85123A"); have.Cmp(big.NewRat(6, 1)) != 0 {
		t.Errorf("stock %s, want 6: what the delivery order moved is not moved again", have)
	}
	s.call("item-adjustment/save-target-quantity.do", `{"detail":[{"itemNo":"85123A","targetQuantity":42}]}`)
	if o := s.call("item/get-stock.do?no=85123A", ""); fmt.Sprint(o["d"].(object)["availableStock"]) != "42" {
		t.Errorf("%v", o)
	}
	if !s.Close("SO-1") {
		t.Fatal("no such order")
	}
	if o := s.call("sales-invoice/save.do", `{"customerNo":"C-1","detailItem":[{"itemNo":"85123A","unitPrice":1,"salesOrderNumber":"SO-1"}]}`); !strings.Contains(fmt.Sprint(o["d"]), "sudah ditutup") {
		t.Errorf("%v", o)
	}
}

func TestSimulator_Edit(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	made := s.call("sales-invoice/save.do", `{"customerNo":"C-1","number":"SI-1","detailItem":[{"id":1,"itemNo":"85123A","unitPrice":10,"quantity":2},{"id":2,"itemNo":"85123a","unitPrice":1}]}`)
	id := int64(made["r"].(object)["id"].(float64))
	o := s.call("sales-invoice/save.do", fmt.Sprintf(`{"id":%d,"detailItem":[{"id":1,"quantity":3},{"id":2,"_status":"delete"}]}`, id))
	all := s.Documents("sales-invoice")
	if o["s"] != true || len(all) != 1 || all[0].Total.Cmp(big.NewRat(30, 1)) != 0 {
		t.Fatalf("%v: %+v", o, all)
	}
	if a, b := s.Stock("85123A"), s.Stock("85123a"); a.Cmp(big.NewRat(7, 1)) != 0 || b.Cmp(big.NewRat(5, 1)) != 0 {
		t.Errorf("stock %s and %s, want 7 and 5", a, b)
	}
}

func TestSimulator_FormAndList(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	form := url.Values{"customerNo": {"C-1"}, "number": {"SO-1"}, "detailItem[0].itemNo": {"85123A"}, "detailItem[0].unitPrice": {"3"}, "detailItem[1].itemNo": {"85123a"}, "detailItem[1].unitPrice": {"4"}}
	r := s.request(http.MethodPost, "/accurate/api/sales-order/save.do", form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, o := s.do(r); o["s"] != true {
		t.Fatalf("%v", o)
	}
	if total := s.Documents("sales-order")[0].Total; total.Cmp(big.NewRat(7, 1)) != 0 {
		t.Errorf("total %s", total)
	}
	for i := range 25 {
		s.call("customer/save.do", fmt.Sprintf(`{"name":"N%d","customerNo":"N-%d"}`, i, i))
	}
	o := s.call("customer/list.do?sp.page=2&fields=customerNo,name", "")
	sp := o["sp"].(object)
	if n := len(o["d"].([]any)); n != 6 || sp["rowCount"] != 26.0 || sp["pageCount"] != 2.0 {
		t.Errorf("%d on page 2, %v", n, sp)
	}
	o = s.call("customer/list.do?filter.customerNo.op=EQUAL&filter.customerNo.val=N-7", "")
	if n := len(o["d"].([]any)); n != 1 {
		t.Errorf("%d found", n)
	}
	bulk := s.call("customer/bulk-save.do", `{"data":[{"name":"a","customerNo":"B-1"},{"name":"b","customerNo":"N-1"}]}`)
	if bulk["s"] != false || bulk["d"].([]any)[0].(object)["s"] != true {
		t.Errorf("%v", bulk)
	}
}

func TestSimulator_Token(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"Nobody":        {func(r *http.Request) { r.Header.Del("Authorization") }, "invalid_token"},
		"AnotherToken":  {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, "invalid_token"},
		"NoTimestamp":   {func(r *http.Request) { r.Header.Del("X-Api-Timestamp") }, "Timestamp is required"},
		"NoSignature":   {func(r *http.Request) { r.Header.Del("X-Api-Signature") }, "Signature is required"},
		"OddTimestamp":  {func(r *http.Request) { sign(r, "yesterday") }, "Timestamp is invalid"},
		"BadSignature":  {func(r *http.Request) { r.Header.Set("X-Api-Signature", "x") }, "Signature is invalid"},
		"OldTimestamp":  {func(r *http.Request) { sign(r, "24/11/2025 10:00:00") }, "600 seconds"},
		"FarAhead":      {func(r *http.Request) { sign(r, time.Now().Add(11*time.Minute).Format(time.RFC3339)) }, "600 seconds"},
		"LocalTimeIsOK": {func(r *http.Request) { sign(r, time.Now().In(jakarta).Format("02/01/2006 15:04:05")) }, ""},
		"RFC3339IsOK":   {func(r *http.Request) { sign(r, time.Now().Format(time.RFC3339)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.request(http.MethodGet, "/accurate/api/item/list.do", "")
			c.change(r)
			status, o := s.do(r)
			if c.want == "" && status != http.StatusOK || c.want != "" && (status != http.StatusUnauthorized || !strings.Contains(fmt.Sprint(o), c.want)) {
				t.Errorf("%d %v, want %q", status, o, c.want)
			}
		})
	}
	_, o := s.do(s.request(http.MethodPost, "/api/api-token.do", ""))
	if host := o["d"].(object)["database"].(object)["host"]; host != s.url {
		t.Errorf("host %v", host)
	}
}

func TestSimulator_OAuth(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(c *Config) {
		c.OAuth = &OAuth{ClientID: "id", ClientSecret: "secret", Code: "code"}
	})
	token := func(form url.Values) object {
		r := s.request(http.MethodPost, "/oauth/token", form.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("id", "secret")
		_, o := s.do(r)
		return o
	}
	first := token(url.Values{"grant_type": {"authorization_code"}, "code": {"code"}})
	refreshed := token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first["refresh_token"].(string)}})
	if again := token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first["refresh_token"].(string)}}); again["error"] != "invalid_grant" {
		t.Errorf("a refresh token twice: %v", again)
	}
	get := func(path, session string) object {
		r := s.request(http.MethodGet, path, "")
		r.Header.Set("Authorization", "Bearer "+refreshed["access_token"].(string))
		r.Header.Set("X-Session-ID", session)
		_, o := s.do(r)
		return o
	}
	opened := get("/api/open-db.do?id=1", "")
	if o := get("/accurate/api/item/list.do", ""); !strings.Contains(fmt.Sprint(o["d"]), "Data Session Key") {
		t.Errorf("without a session: %v", o)
	}
	if o := get("/accurate/api/item/list.do", opened["session"].(string)); o["s"] != true {
		t.Errorf("%v", o)
	}
	s.Revoke()
	if o := get("/accurate/api/item/list.do", opened["session"].(string)); o["error"] != "invalid_token" {
		t.Errorf("revoked: %v", o)
	}
}

func TestSimulator_Limits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var clock sync.Mutex
	s := newShop(t, func(c *Config) {
		c.Rate, c.Parallel = 0, 0
		c.Now = func() time.Time { clock.Lock(); defer clock.Unlock(); return now }
	})
	for i := range 9 {
		r := s.request(http.MethodGet, "/accurate/api/item/list.do", "")
		status, o := s.do(r)
		if i < 8 && status != http.StatusOK || i == 8 && (status != http.StatusTooManyRequests || !strings.Contains(fmt.Sprint(o), "request per detik")) {
			t.Errorf("call %d: %d %v", i+1, status, o)
		}
	}
	clock.Lock()
	now = now.Add(time.Second)
	clock.Unlock()
	if o := s.call("item/list.do", ""); o["s"] != true || s.Limited() != 1 {
		t.Errorf("a second later: %v, limited %d", o, s.Limited())
	}
}

func TestSimulator_Faults(t *testing.T) {
	t.Parallel()
	for fault, effects := range map[Fault]int{Unavailable: 0, Reset: 0, ResetAfter: 1, InternalAfter: 1, SessionExpired: 0} {
		s := newShop(t, func(c *Config) { c.Fault = func(int, string) Fault { return fault } })
		response, err := http.DefaultClient.Do(s.request(http.MethodPost, "/accurate/api/sales-invoice/save.do", fmt.Sprintf(invoice, "INV-1")))
		if err == nil {
			response.Body.Close()
		}
		if n := len(s.Documents("sales-invoice")); n != effects {
			t.Errorf("fault %d: %d invoices, want %d", fault, n, effects)
		}
		if broke := err != nil; broke != (fault == Reset || fault == ResetAfter) {
			t.Errorf("fault %d: error %v", fault, err)
		}
	}
}
