//go:build browser

package browser

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/state"
)

// attacks are texts that would do something if a page took them for anything but text.
var attacks = []string{
	`</script><script>window.__pwned=1</script>`,
	`<img src=x onerror="window.__pwned=2">`,
	`"><svg onload=window.__pwned=3>`,
	`' onfocus='window.__pwned=4' autofocus='`,
	"]]>\u2028window.__pwned=5;\u2029<!--<script>",
	`javascript:window.__pwned=6`,
	`{{.}}${window.__pwned=7}` + "`",
	"invoice\u202efdp.exe\u2066\u200b\u0000\u0007\x1b[31m",
	`</style><style>*{display:none}</style>`,
	`</title><base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=https://evil.example/">`,
	`</template><iframe srcdoc="<script>parent.__pwned=8</script>"></iframe>`,
	`&lt;b&gt; &amp;quot; \u003cscript\u003e`,
}

// hostile has an attack in every text.
func hostile() *state.Status {
	all := strings.Join(attacks, " ")
	bad := "javascript:window.__pwned=9//"
	s := &state.Status{Route: all, Written: now, State: all, Summary: all, Next: all, Drift: all,
		Deployment: state.StatusDeployment{ID: all, Name: all, URL: bad, DesiredVersion: all},
		Sources:    []state.StatusSource{{URL: all, Mount: all}, {URL: bad}},
		Live:       &state.StatusDeploy{Run: all, DeployID: all, URL: bad, TarballVersion: all, Digest: attacks[0], At: now, RolledBack: all, Files: 1},
		Pending:    &state.StatusDeploy{DeployID: all, URL: "data:text/html,<script>window.__pwned=10</script>", At: now},
		Holds:      []state.Hold{{Kind: all, Reason: all, At: now}},
	}
	for i, a := range attacks {
		s.Files = append(s.Files, state.StatusFile{Path: "dags/" + a, Source: all, Key: a, State: []string{state.Live, state.Kept, state.LeftOut, state.Waiting, state.HeldFile, a}[i%6],
			Since: now, DeployID: a, Run: a, Reason: a, Message: all, Line: 1, Column: 1, Excerpt: all + "\n^", ImportError: all})
		s.Runs = append(s.Runs, state.Run{Run: a, At: now, Outcome: []string{"deployed", a}[i%2], Reason: all, DeployID: a, Files: 1, Seconds: 1, Steps: map[string]float64{a: 1, "list": 2}})
	}
	return s
}

func TestHostileTextsAreTexts(t *testing.T) {
	for name, open := range openings {
		t.Run(name, func(t *testing.T) {
			x := newTab(t)
			open(x, hostile())
			x.tryEverything()
			require.True(t, eval[bool](x, `() => window.__pwned === undefined`), "something was executed")
			require.Empty(t, eval[[]string](x, `() => [...document.links].map((a) => a.href).filter((h) => !h.endsWith("#files"))`), "no URL of these may be a link")
			require.Equal(t, []int{2, 1, 0, 0, 0}, eval[[]int](x, `() => ["script", "style", "img", "iframe", "base"].map((tag) => document.getElementsByTagName(tag).length)`))
			require.Equal(t, []string{"dags/" + attacks[0], "dags/" + attacks[1], "dags/" + attacks[2], "dags/" + attacks[3]}, x.texts("#rows .path")[:4])
			paths := strings.Join(x.texts("#rows .path"), "\n")
			require.Contains(t, paths, "invoice[U+202E]fdp.exe[U+2066][U+200B][U+0000][U+0007][U+001B][31m")
			require.Contains(t, paths, "]]>[U+2028]window.__pwned=5;[U+2029]<!--<script>")
			require.Equal(t, -1, eval[int](x, `() => document.documentElement.outerHTML.search(/[\u202a-\u202e\u2066-\u2069\u200b\u2028\u2029\0\x07\x1b]/)`))
			require.Contains(t, x.text(".summary"), attacks[1])
			require.Contains(t, x.text(".callouts .callout"), attacks[0])
		})
	}
}

// tryEverything searches for each attack, which writes it anew, opens all that can be opened, and clicks all that can be clicked.
func (x *tab) tryEverything() {
	x.t.Helper()
	for _, a := range append(attacks, "") {
		eval[bool](x, `(text) => { const box = document.getElementById("search"); box.value = text; box.dispatchEvent(new Event("input")); return true }`, a)
	}
	eval[bool](x, `() => { document.querySelectorAll("details").forEach((d) => { d.open = true }); document.querySelectorAll("button").forEach((b) => b.click()); return true }`)
	eval[bool](x, `() => { document.querySelector("button[data-filter=all]").click(); return true }`)
	x.settle()
}

// TestAnAttackWouldBeNoticed puts the attacks into a page that takes them for HTML: without the policy one works, and with it none does.
func TestAnAttackWouldBeNoticed(t *testing.T) {
	page := string(render(t, deployed()))
	summary := deployed().Summary
	x := openTab(t)
	x.serveBytes([]byte(strings.Replace(strings.Replace(page, "Content-Security-Policy", "X", 1), summary, attacks[1], 1)))
	x.settle()
	require.Equal(t, 2, eval[int](x, `() => window.__pwned`))
	x = openTab(t)
	x.serveBytes([]byte(strings.Replace(page, summary, strings.Join(attacks, " "), 1)))
	x.settle()
	require.True(t, eval[bool](x, `() => window.__pwned === undefined`))
	require.NotEmpty(t, x.said, "the policy refused something")
}
