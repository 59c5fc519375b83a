//go:build browser

package browser

import (
	"strings"

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
