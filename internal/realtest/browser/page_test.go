//go:build browser

package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/state"
)

// openings are the two ways in which people open the page.
var openings = map[string]func(*tab, *state.Status){"over HTTP": (*tab).serve, "from the disk": (*tab).openFile}

func TestAfterADeploy(t *testing.T) {
	for name, open := range openings {
		t.Run(name, func(t *testing.T) {
			x := newTab(t)
			open(x, deployed())
			require.Equal(t, "prod: Live – dagbucket", eval[string](x, `() => document.title`))
			require.Equal(t, "Live", x.text(".state"))
			require.Equal(t, "All 6 files of the source are live.", x.text(".summary"))
			require.Contains(t, x.text(".next"), "Next: Nobody has to act")
			require.Equal(t, "Written 30 Nov 2026, 10:10 UTC 2 minutes ago", x.text(".written"))
			live := x.text("section[aria-labelledby=live-title]")
			require.Contains(t, live, "6 files, 48 kB")
			require.Contains(t, live, "30 Nov 2026, 10:09 UTC 2 minutes ago")
			require.Contains(t, live, "ran it 24 s after it was deployed")
			require.Equal(t, deploysURL, eval[string](x, `() => [...document.links].find((a) => a.textContent === "clx9q2v5e00020llk7f3m9a2b").href`))
			require.Len(t, x.texts("#rows tr"), 6)
			require.Equal(t, []string{"All 6", "Live 6"}, x.texts("#filters button"))
			runs := x.texts(".runs > li")
			require.Len(t, runs, 3)
			require.Contains(t, runs[0], "Deployed")
			require.Contains(t, runs[0], "+1 added ~1 changed of 6 files")
			require.Contains(t, runs[0], "Live from it: dags/finance/close_month.py, dags/sales/orders_hourly.py")
			require.Equal(t, []string{"none"}, eval[[]string](x, `() => [getComputedStyle(document.getElementById("stale")).display]`))
		})
	}
}

func TestALeftOutFile(t *testing.T) {
	x := newTab(t)
	x.serve(attention())
	said := eval[string](x, `() => [...document.querySelectorAll(".attention > li")].find((e) => e.innerText.includes("train.py")).innerText`)
	for _, want := range []string{"Left out", "dags/ml/train.py:3:9", "syntax: unterminated string literal (detected at line 3)", "print(\"hello)\n      ^", "No version of it is live."} {
		require.Contains(t, said, want)
	}
	x.run(chromedp.Click(chromedp.CSS(`button[data-filter="leftOut"]`)))
	require.Equal(t, "Showing 2 of 9 files.", x.text("#count"))
	rows := x.texts("#rows tr")
	require.Len(t, rows, 2)
	require.Contains(t, rows[0], "dags/ml/train.py")
	require.Contains(t, rows[0], "syntax, line 3:9: unterminated string literal (detected at line 3)")
	require.Contains(t, rows[0], "from exports/train.py in s3://ml-team/exports/")
	require.NotContains(t, rows[0], "print(")
	require.Equal(t, []string{"8.1 kB", "–"}, x.texts("#rows td:last-child"), "a size that is not known is not 0")
	x.run(chromedp.Click(chromedp.CSS("#rows summary")))
	require.Contains(t, x.text("#rows tr"), "print(\"hello)")
}

func TestAnImportError(t *testing.T) {
	x := newTab(t)
	x.serve(attention())
	require.Contains(t, strings.Join(x.texts(".attention pre"), "\n"), "ModuleNotFoundError: No module named 'acme_orders'")
	x.run(chromedp.Click(chromedp.CSS(`button[data-filter="errors"]`)))
	require.Equal(t, []string{"dags/sales/orders_hourly.py"}, x.texts("#rows .path"))
	x.run(chromedp.Click(chromedp.CSS(`button[data-filter="warnings"]`)))
	require.Equal(t, []string{"dags/sql/orders.sql"}, x.texts("#rows .path"))
}

func TestAHold(t *testing.T) {
	x := newTab(t)
	x.serve(held())
	require.Equal(t, "Held", x.text(".state"))
	holds := x.texts(".callouts .callout")
	require.Len(t, holds, 2)
	require.Contains(t, holds[0], "since 30 Nov 2026, 09:32 UTC 40 minutes ago")
	require.Contains(t, holds[0], "the source s3://acme-dags/dags/ is empty: upload the files again, let them go with dagbucket approve")
	require.Contains(t, holds[1], "Paused")
	require.Contains(t, holds[1], "month end, until Tuesday (Ada)")
	require.Contains(t, x.text(".next"), "An operator uploads the files again")
	x.run(chromedp.Click(chromedp.CSS(`button[data-filter="held"]`)))
	require.Equal(t, []string{"Held", "Held"}, x.texts("#rows .pill"))
}

func TestTheOtherStates(t *testing.T) {
	for name, c := range map[string]struct {
		status *state.Status
		want   []string
	}{
		"drifted": {drifted(), []string{"Changed by others", "Somebody made a DAG-only deploy", "On its way", "clxa00aaa00030llk1a2b3c4d", "to the contents of run 20261129T081500Z-11aa", "not what was deployed last"}},
		"failed":  {failed(), []string{"Failed", "the API token was refused", "the upload broke off: the storage answered 503"}},
		"empty":   {empty(), []string{"Waiting", "Nothing has been deployed from here.", "There are no files yet. Upload the first one to gs://new-team-dags/dags/.", "No run has ended yet."}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTab(t)
			x.serve(c.status)
			said := x.text("body")
			for _, want := range c.want {
				require.Contains(t, said, want)
			}
		})
	}
}

// TestTheScriptShowsFilesAsTheServerDoes compares the rows that are there at first with those that the script makes of the data.
func TestTheScriptShowsFilesAsTheServerDoes(t *testing.T) {
	for name, sample := range map[string]*state.Status{"attention": attention(), "hostile": hostile(), "many": many(100)} {
		t.Run(name, func(t *testing.T) {
			x := newTab(t)
			x.serve(sample)
			const rows = `() => [...document.getElementById("rows").children].map((e) => e.outerHTML.replace(/>\s+</g, "><"))`
			byServer := eval[[]string](x, rows)
			require.Len(t, byServer, len(sample.Files))
			x.run(chromedp.Click(chromedp.CSS(`button[data-filter="all"]`)))
			require.Equal(t, byServer, eval[[]string](x, rows))
		})
	}
}

func TestWithoutJavaScript(t *testing.T) {
	x := newTab(t)
	call(x, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	x.serve(many(1000))
	call(x, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: false}) // to look at what is there
	require.True(t, eval[bool](x, `() => document.getElementById("controls").hidden`), "what does nothing is not shown")
	said := x.text("body")
	for _, want := range []string{"Needs attention", "dags/team-000/pipeline_00099/load_stock.py", "Expected :, found newline", "Showing the first 100 of 1,000 files.",
		"With JavaScript switched on, all files can be shown", "dags/team-000/pipeline_00098/load_invoices.py", "80 earlier runs"} {
		require.Contains(t, said, want)
	}
	require.NotContains(t, said, "minutes ago")
}

func TestTimesGoOn(t *testing.T) {
	x := newTab(t)
	x.serve(deployed())
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{0, "2 minutes ago"}, {17 * time.Minute, "19 minutes ago"}, {61 * time.Minute, "1 hour ago"}, {50 * time.Hour, "2 days ago"}, {-time.Hour, "just now"}} {
		eval[bool](x, `(at) => { Date.now = () => at; document.dispatchEvent(new Event("visibilitychange")); return true }`, now.Add(c.after).UnixMilli())
		require.Equal(t, c.want, x.text(".written .ago"))
		isLate := c.after > 18*time.Minute
		require.Equal(t, isLate, strings.Contains(x.text("main"), "This page is older than it should be."), c.after)
	}
}

func TestEarlierRunsAreFoldedAway(t *testing.T) {
	x := newTab(t)
	x.serve(many(100))
	require.Len(t, x.texts("#runs > .runs > li"), 20)
	require.NotContains(t, x.text("#runs"), "run-79 ")
	x.run(chromedp.Click(chromedp.CSS(".earlier summary")))
	require.Contains(t, x.text("#runs"), "run-79 ")
	require.Len(t, x.texts(".earlier li"), 80)
}

// TestTheWatchNotices shows that a page that does what it must not makes the tests fail.
func TestTheWatchNotices(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		list   func(*tab) []string
		want   string
	}{
		"an error":       {`console.error("oh")`, func(x *tab) []string { return x.said }, "oh"},
		"a warning":      {`console.warn("oh")`, func(x *tab) []string { return x.said }, "oh"},
		"an exception":   {`throw new Error("oh")`, func(x *tab) []string { return x.said }, "exception"},
		"a broken image": {`document.body.append(Object.assign(new Image(), { src: "/x.png" }))`, func(x *tab) []string { return x.requests }, "/x.png"},
		"a request":      {`fetch("http://elsewhere.example/").catch(() => 0)`, func(x *tab) []string { return x.requests }, "elsewhere.example"},
		"a dialog":       {`alert("oh")`, func(x *tab) []string { return x.dialogs }, "oh"},
	} {
		t.Run(name, func(t *testing.T) {
			x := openTab(t)
			x.serveBytes(fmt.Appendf(nil, "<!doctype html><link rel=icon href=data:,><body><script>%s</script>", c.script))
			x.settle()
			x.mu.Lock()
			defer x.mu.Unlock()
			require.Contains(t, strings.Join(c.list(x), "\n"), c.want)
		})
	}
}
