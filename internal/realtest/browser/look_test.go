//go:build browser

package browser

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/state"
)

// tooWide lists what reaches over the right edge of the screen, but for what scrolls in its own box.
const tooWide = `() => [...document.querySelectorAll("body *")].filter((e) => {
	const box = e.getBoundingClientRect();
	return box.width > 1 && box.right > 360.5 && !e.closest("pre");
}).map((e) => e.outerHTML.slice(0, 120))`

func TestOnAPhone(t *testing.T) {
	for name, sample := range samples {
		t.Run(name, func(t *testing.T) {
			x := newTab(t)
			x.run(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
			x.serve(sample())
			require.Empty(t, eval[[]string](x, tooWide))
			require.Equal(t, []int{360, 360}, eval[[]int](x, `() => [document.documentElement.scrollWidth, innerWidth]`))
		})
	}
	t.Run("and this can fail", func(t *testing.T) {
		x := newTab(t)
		x.run(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
		x.serve(deployed())
		eval[bool](x, `() => { document.querySelector(".summary").attributeStyleMap.set("width", CSS.px(500)); return true }`)
		require.NotEmpty(t, eval[[]string](x, tooWide))
	})
}

// faint lists texts whose contrast with what is behind them is below that of WCAG's level AA for small text.
const faint = `() => {
	const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
	const over = ([r, g, b, a = 1], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
	const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
	const behind = (e) => { const c = parse(getComputedStyle(e).backgroundColor); return c.length === 4 && c[3] < 1 ? over(c, e.parentElement ? behind(e.parentElement) : [255, 255, 255]) : c };
	const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	let seen = 0;
	while (walker.nextNode()) {
		const e = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest("script,style")) continue;
		const back = behind(e), [a, b] = [light(over(parse(getComputedStyle(e).color), back)), light(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
		seen++;
		if (ratio < 4.5) found.push(ratio.toFixed(2) + " " + walker.currentNode.data.trim().slice(0, 60));
	}
	return seen < 30 ? ["only " + seen + " texts were seen"] : found;
}`

func TestContrast(t *testing.T) {
	for _, scheme := range []string{"light", "dark"} {
		for name, sample := range map[string]func() *state.Status{"deployed": deployed, "attention": attention, "held": held, "drifted": drifted, "failed": failed, "empty": empty} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				x := newTab(t)
				x.scheme(scheme)
				x.serve(sample())
				back := eval[string](x, `() => getComputedStyle(document.documentElement).backgroundColor`)
				require.Equal(t, map[string]string{"light": "rgb(245, 246, 248)", "dark": "rgb(14, 18, 23)"}[scheme], back)
				if name == "empty" { // it has few texts
					return
				}
				require.Empty(t, eval[[]string](x, faint))
				eval[bool](x, `() => { document.querySelector(".summary").attributeStyleMap.set("color", "rgb(128, 128, 128)"); return true }`)
				require.Len(t, eval[[]string](x, faint), 1, "this can fail")
			})
		}
	}
}

func TestMotionIsOnlyForThoseWhoWantIt(t *testing.T) {
	for want, preference := range map[string]string{"0s": "reduce", "0.12s": "no-preference"} {
		x := newTab(t)
		x.feature("prefers-reduced-motion", preference)
		x.serve(deployed())
		require.Equal(t, want, eval[string](x, `() => getComputedStyle(document.querySelector("#filters button")).transitionDuration.split(",")[0]`))
	}
}

// TestWhatAScreenReaderHears reads the accessibility tree, on a desktop's and on a phone's screen, where the table is laid out in another way.
func TestWhatAScreenReaderHears(t *testing.T) {
	for width, name := range map[int64]string{1280: "desktop", 360: "phone"} {
		t.Run(name, func(t *testing.T) {
			x := newTab(t)
			x.run(chromedp.EmulateViewport(width, 740))
			x.serve(attention())
			heard := map[string]int{} // by role and name
			for _, n := range call(x, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
				if !n.Ignored && n.Role != nil && n.Name != nil {
					heard[spoken(t, n.Role)+": "+spoken(t, n.Name)]++
				}
			}
			for what, times := range map[string]int{
				"RootWebArea: prod: Needs attention – dagbucket": 1, "banner: ": 1, "main: ": 1, "contentinfo: ": 1, "search: Files": 1,
				"region: State": 1, "region: Needs attention 4": 1, "region: Files 9": 1, "region: Runs": 1, "region: What is live": 1,
				"heading: prod deploys to acme-production": 1, "heading: Files 9": 1,
				"searchbox: Search by name or reason": 1, "group: Show files by state": 1, "button: Left out 2": 1,
				"table: Files 9": 1, "columnheader: File": 1, "columnheader: State": 1, "columnheader: Live since": 1, "columnheader: By deploy": 1, "columnheader: Size": 1,
				"rowheader: dags/common/hooks.py": 1, "cell: Kept": 1, "link: clx9q2v5e00020llk7f3m9a2b": 1,
			} {
				require.Equal(t, times, heard[what], "%s: instead there is %q", what, like(heard, what))
			}
			require.Equal(t, "status", eval[string](x, `() => document.getElementById("count").getAttribute("role")`))
		})
	}
}

func spoken(t *testing.T, v *accessibility.Value) string {
	t.Helper()
	var text string
	require.NoError(t, json.Unmarshal(v.Value, &text))
	return text
}

// like returns what was heard with the same role.
func like(heard map[string]int, what string) []string {
	role, _, _ := strings.Cut(what, ":")
	return slices.Sorted(func(yield func(string) bool) {
		for one := range heard {
			if strings.HasPrefix(one, role+":") && !yield(one) {
				return
			}
		}
	})
}
