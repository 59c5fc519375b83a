//go:build browser

package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// focus names the element that has the focus: by its ID, else by its text.
func (x *tab) focus() string {
	x.t.Helper()
	return eval[string](x, `() => document.activeElement.id || document.activeElement.innerText.trim()`)
}

// walk presses Tab so often, and returns where it came by.
func (x *tab) walk(times int) []string {
	x.t.Helper()
	var stops []string
	for range times {
		x.run(chromedp.KeyEvent(kb.Tab))
		stops = append(stops, x.focus())
	}
	return stops
}

func TestKeyboardOrder(t *testing.T) {
	x := newTab(t)
	x.serve(attention())
	require.Equal(t, []string{"Skip to the files", "acme-production", "clx9q2v5e00020llk7f3m9a2b", "clmh57jtm000008lb58fe2wmv",
		"search", "All 9", "Live 5", "Waiting 1", "Kept 1", "Left out 2", "Warnings 1", "Import errors 1", "Details", "Details", "Details"}, x.walk(15))
}

func TestTheSkipLink(t *testing.T) {
	x := newTab(t)
	x.serve(attention())
	require.Equal(t, []string{"Skip to the files"}, x.walk(1))
	require.True(t, eval[bool](x, `() => { const { top, left, height } = document.activeElement.getBoundingClientRect(); return top >= 0 && left >= 0 && height > 20 }`), "it is seen when it has the focus")
	x.run(chromedp.KeyEvent(kb.Enter))
	require.Equal(t, "files", x.focus())
	require.Equal(t, []string{"search", "All 9", "Live 5"}, x.walk(3))
}

func TestSearchByKeyboard(t *testing.T) {
	x := newTab(t)
	x.serve(attention())
	x.run(chromedp.Focus(chromedp.CSS("#search")), chromedp.KeyEvent("orders"))
	require.Equal(t, "Showing 3 of 9 files.", x.text("#count"))
	x.run(chromedp.KeyEvent(kb.Enter))
	require.Equal(t, "Showing 3 of 9 files.", x.text("#count"), "Enter sends nothing")
	require.Equal(t, "search", x.focus())
	x.run(chromedp.KeyEvent(kb.Escape))
	require.Equal(t, "Showing 9 files.", x.text("#count"), "Escape empties it")
	require.Empty(t, eval[string](x, `() => document.getElementById("search").value`))
	x.run(chromedp.KeyEvent("sales"), chromedp.KeyEvent(kb.Tab+kb.Tab+kb.Tab+kb.Tab), chromedp.KeyEvent(kb.Enter))
	require.Equal(t, "Kept 1", x.focus())
	require.Equal(t, []string{"false", "false", "false", "true"}, eval[[]string](x, `() => [...document.querySelectorAll("#filters button")].slice(0, 4).map((b) => b.ariaPressed)`))
	require.Equal(t, []string{"dags/sales/orders_daily.py"}, x.texts("#rows .path"))
	x.run(chromedp.KeyEvent(kb.Tab+kb.Tab+kb.Tab+kb.Tab), chromedp.KeyEvent(" "))
	require.Contains(t, x.text("#rows tr"), "if day.weekday() > 4", "Space opens the details")
}

func TestTheFocusIsSeen(t *testing.T) {
	x := newTab(t)
	x.serve(attention())
	for range 14 {
		x.run(chromedp.KeyEvent(kb.Tab))
		require.GreaterOrEqual(t, eval[float64](x, `() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle === "none" ? 0 : parseFloat(s.outlineWidth) }`), 2., x.focus())
	}
}
