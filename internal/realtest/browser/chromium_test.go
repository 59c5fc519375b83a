//go:build browser

package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/state"
	"github.com/dagbucket/dagbucket/internal/statuspage"
)

// chromium is the browser of all tests. Each has a tab of its own, one at a time, since the time of a search is measured.
var chromium context.Context

func TestMain(m *testing.M) {
	code, err := withChromium(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// withChromium runs the tests with a browser, or without if there is none: opening a tab then says what to install.
func withChromium(run func() int) (code int, err error) {
	binary := findChromium()
	if binary == "" {
		return run(), nil
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(binary),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")) // nothing of a page may be found elsewhere
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has no sandbox for root
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	defer end()
	ctx, closeBrowser := chromedp.NewContext(allocator)
	defer closeBrowser()
	if err := chromedp.Do(ctx); err != nil {
		return 0, fmt.Errorf("starting %s: %w", binary, err)
	}
	chromium = ctx
	return run(), nil
}

func findChromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	return ""
}

// tab is a page in the browser, and what it did.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	said     []string // to the console: messages, warnings, exceptions
	dialogs  []string
	requests []string
}

// newTab opens a tab whose clock stands still. At its end the test fails if the page had anything to complain of, opened a dialog, or asked for anything
// but itself.
func newTab(t *testing.T) *tab {
	t.Helper()
	x := openTab(t)
	t.Cleanup(func() {
		x.settle()
		x.mu.Lock()
		defer x.mu.Unlock()
		require.Empty(t, x.said, "the page wrote to the console")
		require.Empty(t, x.dialogs, "the page opened a dialog")
		require.LessOrEqual(t, len(x.requests), 1, "the page asked for more than itself: %q", x.requests)
	})
	return x
}

func openTab(t *testing.T) *tab {
	t.Helper()
	if chromium == nil {
		t.Fatal("no Chromium was found: install it (Debian: apt-get install chromium), and run `make test-browser`")
	}
	ctx, closeTab := chromedp.NewContext(chromium)
	t.Cleanup(closeTab)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	x := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, x.note))
	call(x, log.Enable, cdp.Empty{})
	call(x, network.Enable, network.EnableParams{})
	x.run(chromedp.EmulateViewport(1280, 900))
	x.clock(now)
	return x
}

// call runs a command of the DevTools protocol.
func call[P, R any](x *tab, command cdp.Command[P, R], params P) R {
	x.t.Helper()
	result, err := chromedp.Call(x.ctx, command, params)
	require.NoError(x.t, err)
	return result
}

// clock stops the clock of pages that are opened from now on.
func (x *tab) clock(at time.Time) {
	x.t.Helper()
	call(x, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: fmt.Sprintf("Date.now = () => %d", at.UnixMilli())})
}

// settle waits until the page has shown what it has to show: what it did by then has been noted.
func (x *tab) settle() {
	x.t.Helper()
	eval[bool](x, `() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(true))))`)
}

func (x *tab) note(event any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		for _, arg := range e.Args {
			x.said = append(x.said, fmt.Sprintf("%s: %s", e.Type, arg.Value))
		}
	case *runtime.EventExceptionThrown:
		x.said = append(x.said, "exception: "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		x.said = append(x.said, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "data:") { // the icon, which is part of the page
			x.requests = append(x.requests, e.Request.URL)
		}
	case *page.EventJavascriptDialogOpening:
		x.dialogs = append(x.dialogs, e.Message)
		go func() { // a dialog blocks its page
			_, _ = chromedp.Call(x.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}()
	}
}

func (x *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	x.t.Helper()
	require.NoError(x.t, chromedp.Do(x.ctx, steps...))
}

// serve opens the page of a status over HTTP.
func (x *tab) serve(s *state.Status) {
	x.t.Helper()
	x.serveBytes(render(x.t, s))
}

func (x *tab) serveBytes(html []byte) {
	x.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(html)
	}))
	x.t.Cleanup(server.Close)
	x.run(chromedp.Navigate(server.URL + "/status.html"))
}

// openFile opens the page of a status from the disk.
func (x *tab) openFile(s *state.Status) {
	x.t.Helper()
	file := filepath.Join(x.t.TempDir(), "status.html")
	require.NoError(x.t, os.WriteFile(file, render(x.t, s), 0o600))
	x.run(chromedp.Navigate("file://" + file))
}

func render(t *testing.T, s *state.Status) []byte {
	t.Helper()
	var html bytes.Buffer
	require.NoError(t, statuspage.Render(&html, s))
	return html.Bytes()
}

// eval returns what a JavaScript function returns, once it has, for arguments that JSON can hold.
func eval[T any](x *tab, function string, args ...any) T {
	x.t.Helper()
	list, err := json.Marshal(append([]any{}, args...))
	require.NoError(x.t, err)
	result, err := chromedp.Run(x.ctx, chromedp.Evaluate[T](fmt.Sprintf("(%s)(...%s)", function, list), chromedp.EvalAwaitPromise))
	require.NoError(x.t, err)
	return result
}

// text is what a person sees of the first element that fits.
func (x *tab) text(selector string) string {
	x.t.Helper()
	return eval[string](x, `(s) => document.querySelector(s).innerText`, selector)
}

// texts is what a person sees of all elements that fit.
func (x *tab) texts(selector string) []string {
	x.t.Helper()
	return eval[[]string](x, `(s) => [...document.querySelectorAll(s)].map((e) => e.innerText)`, selector)
}
