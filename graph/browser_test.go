package graph

import (
	"context"
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
	try("open and run", chromedp.Do(ctx,
		chromedp.Navigate(h.server.URL+"/"),
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

func findBrowser() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
