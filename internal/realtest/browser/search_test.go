//go:build browser

package browser

import (
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// helpers are defined in the page: frame waits until what is there was drawn, search is a person's typing, timed, and naive is the bare
// way to show a list, which shows all of it.
const helpers = `() => {
	window.frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
	window.search = async (text) => {
		const box = document.getElementById("search");
		await frame();
		const start = performance.now();
		box.value = text;
		box.dispatchEvent(new Event("input", { bubbles: true }));
		await frame();
		return performance.now() - start;
	};
	window.naive = async (text) => {
		const data = JSON.parse(document.getElementById("data").textContent), rows = document.getElementById("rows"), row = rows.firstElementChild;
		const paths = data.files.map(([place, rest]) => data.places[place][0] + rest).filter((path) => path.includes(text));
		await frame();
		const start = performance.now();
		rows.replaceChildren(...paths.map((path) => {
			const copy = row.cloneNode(true);
			copy.querySelector(".path").textContent = path;
			return copy;
		}));
		await frame();
		return performance.now() - start;
	};
	return true;
}`

func TestSearchOfTenThousandFiles(t *testing.T) {
	x := newTab(t)
	s := many(10_000)
	t.Logf("the page of 10,000 files has %d bytes", len(render(t, s)))
	x.serve(s)
	eval[bool](x, helpers)
	call(x, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks})
	slowest := 0.0
	for _, text := range []string{"p", "pi", "pipeline", "pipeline_07", "pipeline_0712", "load stock team-04", "syntax", "nothing of this", ""} {
		before := x.busy()
		took := eval[float64](x, `(text) => search(text)`, text)
		t.Logf("%-20q %5.1f ms, of which the page's thread worked %5.1f   %s", text, took, x.busy()-before, x.text("#count"))
		slowest = max(slowest, took)
	}
	naive := eval[float64](x, `() => naive("pipeline")`)
	t.Logf("the slowest search took %.1f ms; showing all 10,000 rows takes %.1f ms", slowest, naive)
	require.Less(t, slowest, naive/2, "a search is much quicker than showing all rows")
}

// busy is for how many milliseconds a processor worked for the page's thread: what else runs on the machine does not count.
func (x *tab) busy() float64 {
	x.t.Helper()
	for _, m := range call(x, performance.GetMetrics, cdp.Empty{}).Metrics {
		if m.Name == "TaskDuration" {
			return 1000 * m.Value
		}
	}
	require.Fail(x.t, "Chromium does not tell")
	return 0
}

func TestSearchFindsByNameAndReason(t *testing.T) {
	x := newTab(t)
	x.serve(many(10_000))
	eval[bool](x, helpers)
	find := func(text string) string {
		eval[float64](x, `(text) => search(text)`, text)
		return x.text("#count")
	}
	require.Equal(t, "Showing the first 100 of 10,000 files.", x.text("#count"))
	require.Equal(t, "Showing 1 of 10,000 files.", find("pipeline_07123"))
	require.Equal(t, []string{"dags/team-071/pipeline_07123/load_stock.py"}, x.texts("#rows .path"))
	require.Equal(t, []string{"pipeline_07123"}, x.texts("#rows mark"))
	require.Equal(t, "Showing 25 of 10,000 files.", find("  STOCK   team-042 "), "words in any order, in any case")
	require.Equal(t, "Showing 100 of 10,000 files.", find("expected found newline"))
	require.Equal(t, "Showing the first 100 of 2,500 matches.", find("customers"))
	require.Equal(t, "No file matches. Try fewer letters, or another state.", find("customers nobody"))
	require.Empty(t, x.texts("#rows tr"))
	require.Equal(t, "Showing the first 100 of 10,000 files.", find(""))
	x.run(chromedp.Click(chromedp.CSS(`button[data-filter="kept"]`)))
	require.Equal(t, "Showing 100 of 10,000 files.", x.text("#count"))
	require.Equal(t, "Showing 1 of 10,000 files.", find("team-042"), "search and state count both")
}

func TestShowMore(t *testing.T) {
	x := newTab(t)
	x.serve(many(250))
	require.Equal(t, "Show 100 more", x.text("#more"))
	eval[bool](x, `() => { document.getElementById("more").focus(); return true }`)
	x.run(chromedp.KeyEvent(kb.Enter))
	require.Equal(t, "Showing the first 200 of 250 files.", x.text("#count"))
	require.Equal(t, "more", x.focus(), "the button keeps the focus")
	require.Equal(t, "Show 50 more", x.text("#more"))
	x.run(chromedp.KeyEvent(kb.Enter))
	require.Equal(t, "Showing 250 files.", x.text("#count"))
	require.Len(t, x.texts("#rows tr"), 250)
	require.Equal(t, "dags/team-002/pipeline_00200/load_orders.py", x.focus(), "the focus goes on where the list went on")
}
