package graph

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A browser opens the page, runs the query that it offers, and asks nobody else for
// anything. RAFFSYNC_SCREENSHOTS names a folder to leave a picture in.
func TestConsole_WorksInABrowser(t *testing.T) {
	browser := findBrowser()
	if browser == "" {
		t.Skip("SKIPPED, the page is not tried: no chromium on the PATH")
	}
	h := openHouse(t, nil)
	seedShop(t, h)
	h.raise(t, 1)
	h.exec(t, `INSERT INTO configuration (tenant, version, document, digest, actor, reason) SELECT 'kopi', coalesce(max(version), 0) + 1, '{"outlets": [{"name": "mall", "team": "jakarta"}]}', '', 'a', 'r' FROM configuration WHERE tenant = 'kopi'`)
	h.exec(t, `UPDATE exposures SET amount = 1500000.5 WHERE currency = 'USD'`)
	h.exec(t, `INSERT INTO held_outlets (exception, outlet, tenant, held) SELECT id, 'mall', 'kopi', 1 FROM exceptions`)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.WindowSize(1400, 900))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()

	var mu sync.Mutex
	var requests, complaints []string
	try := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	try("start", chromedp.Do(ctx, chromedp.Navigate("about:blank")))
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	defer cancel()
	try("listen", chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			requests = append(requests, e.Request.URL)
		case *network.EventWebSocketCreated:
			requests = append(requests, e.URL)
		case *runtime.EventExceptionThrown:
			complaints = append(complaints, e.ExceptionDetails.Text)
		case *log.EventEntryAdded: // what the content security policy refuses, among others
			complaints = append(complaints, e.Entry.Text+" "+e.Entry.URL)
		}
	}))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	try("listen to the network", err)
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	try("listen to the log", err)
	r := http.Request{Header: make(http.Header)}
	r.SetBasicAuth("op-kopi", "secret-kopi")
	_, err = chromedp.Call(ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
		Headers: network.Headers{"Authorization": r.Header.Get("Authorization")},
	})
	try("give the credential", err)
	clearExceptions(t, ctx, h)
	sayWhatIsThere(t, ctx, h)
	try("open and run", chromedp.Do(ctx,
		chromedp.Navigate(h.server.URL+"/#api"),
		chromedp.WaitVisible(`.graphiql-execute-button`),
		chromedp.Click(`.graphiql-execute-button`),
	))
	_, err = chromedp.Run(ctx, chromedp.Poll[bool](`document.querySelector('.result-window')?.innerText.includes('webstore')`))
	try("wait for the answer", err)
	answer, err := chromedp.Run(ctx, chromedp.Text(`.result-window`))
	try("read the answer", err)
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	try("take a picture", err)
	if !strings.Contains(answer, `"name": "webstore"`) {
		t.Errorf("the page shows %s", answer)
	}
	// The live feed, in the third tab.
	try("open the live feed", chromedp.Do(ctx,
		chromedp.Click(`.graphiql-tab:nth-child(3) .graphiql-tab-button`),
		chromedp.Click(`.graphiql-execute-button`),
	))
	_, err = chromedp.Run(ctx, chromedp.Poll[bool](`document.querySelector('.result-window')?.innerText.includes('lagged')`))
	try("wait for the live feed", err)
	mu.Lock()
	defer mu.Unlock()
	asked := false
	for _, address := range requests {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		asked = asked || u.Path == "/graphql"
		if u.Scheme != "data" && u.Scheme != "blob" && u.Scheme+"://"+u.Host != h.server.URL {
			t.Errorf("the page asked %s", address)
		}
	}
	if !asked || len(complaints) > 0 {
		t.Errorf("asked /graphql: %t; complaints %v", asked, complaints)
	}
	if folder := os.Getenv("RAFFSYNC_SCREENSHOTS"); folder != "" {
		if err := os.WriteFile(filepath.Join(folder, "console.png"), picture, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// clearExceptions does what an operator would: reads what the first exception is, takes it
// up, adds the mapping that it lacks, and tries again what the other one holds.
func clearExceptions(t *testing.T, ctx context.Context, h *house) {
	t.Helper()
	try := func(what string, err error) {
		t.Helper()
		if err != nil {
			shown, _ := chromedp.Run(ctx, chromedp.Text(`#page`))
			t.Fatalf("%s: %v; the page shows\n%s", what, err, shown)
		}
	}
	until := func(what, condition string) {
		t.Helper()
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](condition))
		try(what, err)
	}
	says := func(place, text string) string {
		return fmt.Sprintf(`document.querySelector(%q)?.innerText.includes(%q)`, place, text)
	}
	picture := func(name string) {
		t.Helper()
		folder := os.Getenv("RAFFSYNC_SCREENSHOTS")
		if folder == "" {
			return
		}
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		try("take a picture", err)
		try("keep it", os.WriteFile(filepath.Join(folder, name), png, 0o600))
	}
	try("open", chromedp.Do(ctx, chromedp.Navigate(h.server.URL+"/"), chromedp.WaitVisible(`.queue ol li:nth-child(2)`)))
	try("choose the first", chromedp.Do(ctx, chromedp.Click(`.queue ol li:first-child a`), chromedp.WaitVisible(`.one h2`)))
	for _, text := range []string{"No mapping for sku SKU-1", "Add the entry to sku", "jakarta", "1 delivery", "USD 1 500 000.5, 1 unit", "needs action"} {
		until("read "+text, says(".one", text))
	}
	try("say it in Indonesian", chromedp.Do(ctx, chromedp.Click(`.languages button:nth-child(2)`)))
	until("read it", says(".one h2", "belum dipetakan"))
	picture("exception.png")
	try("say why", chromedp.Do(ctx, chromedp.SendKeys(`input[name=why]`, "asking the supplier")))
	until("may be taken up", `!document.querySelector('.actions p:nth-of-type(2) button').disabled`)
	try("take it up", chromedp.Do(ctx, chromedp.Click(`.actions p:nth-of-type(2) button:nth-of-type(1)`)))
	until("is taken up", says(".one dl", "acknowledged until"))
	try("map it", chromedp.Do(ctx,
		chromedp.SendKeys(`.mapping input[name=target]`, "ITM-42"), chromedp.SendKeys(`.mapping input[name=reason]`, "new item"), chromedp.Click(`.mapping > button`),
	))
	until("is resolved", says(".one dl", "resolved"))
	until("the queue knows", `document.querySelectorAll('.queue ol li').length === 1`)
	try("choose the other", chromedp.Do(ctx, chromedp.Click(`.queue ol li:first-child a`)))
	until("read it", says(".one dl", "no such SKU"))
	try("say why", chromedp.Do(ctx, chromedp.SendKeys(`input[name=why]`, "it is there now")))
	until("may be tried", `!document.querySelector('.actions p button').disabled`)
	try("try again", chromedp.Do(ctx, chromedp.Click(`.actions p:nth-of-type(1) button:nth-of-type(1)`)))
	until("is let go", says(".actions [role=status]", "trying again 3 deliveries"))
	until("nothing is left", says(".queue", "Nothing needs a person"))
	picture("cleared.png")
	var got struct {
		Exceptions struct {
			Nodes []struct{ Status string }
		}
	}
	h.get(t, "kopi", `{ exceptions(first: 5) { nodes { status } } }`, nil, &got)
	for _, x := range got.Exceptions.Nodes {
		if x.Status != "RESOLVED" {
			t.Errorf("one is %s", x.Status)
		}
	}
}

// sayWhatIsThere has an operator look for two deliveries of unknown outcome, and find one.
func sayWhatIsThere(t *testing.T, ctx context.Context, h *house) {
	t.Helper()
	books := h.destinations["books"]
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, rule, sample, held) VALUES ('kopi', 'UNKNOWN_OUTCOME', $1, 'no answer', 'the connection was closed', 2)`, books)
	h.exec(t, `UPDATE deliveries d SET state = 2, exception = x.id, requests = 1, attempts = 1, kind = 3, unknown_at = now(), version = 2 FROM exceptions x
		WHERE x.class = 'UNKNOWN_OUTCOME' AND d.destination = $1 AND d.seq IN (SELECT seq FROM deliveries WHERE destination = $1 ORDER BY seq LIMIT 2)`, books)
	h.exec(t, `INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT exception, lane, destination, seq, tenant FROM deliveries WHERE destination = $1 AND state = 2`, books)
	until := func(what, condition string) {
		t.Helper()
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool](condition)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	// click presses the first button of what is held that says this.
	click := func(text string) {
		t.Helper()
		until("press "+text, fmt.Sprintf(`(() => { const b = [...document.querySelectorAll('.one li button')].find((b) => b.innerText === %q); b?.click(); return !!b; })()`, text))
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(h.server.URL+"/"), chromedp.WaitVisible(`.queue ol li`), chromedp.Click(`.queue ol li:first-child a`)); err != nil {
		t.Fatal(err)
	}
	until("it holds two", `document.querySelectorAll('.one li button').length === 8`)
	until("answer what is asked", `window.prompt = (question) => question.includes('called there') ? 'INV-7' : 'seen in their list', true`)
	click("It is there")
	until("one is left", `document.querySelectorAll('.one li button').length === 4`)
	click("It is not there: send it")
	until("none is left", `document.querySelectorAll('.one li button').length === 0`)
	for what, state := range map[string]string{"found": "DELIVERED", "resend": "PENDING"} {
		if n := h.number(t, `SELECT count(*)::integer FROM timeline WHERE what = $1 AND state = $2 AND actor IS NOT NULL AND reason = 'seen in their list' AND ($1 <> 'found' OR detail->>'externalId' = 'INV-7')`, what, state); n != 1 {
			t.Errorf("%d are %s", n, what)
		}
	}
}

func findBrowser() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
