package config

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

var update = flag.Bool("update", false, "write the reports that the tests compare with")

const minimal = `
state: s3://state/
routes:
  - {name: prod, deployment: dep1, token: "env:TOKEN", sources: [{url: s3://acme-dags/dags/}]}
`

type vars map[string]string

func (v vars) get(name string) string { return v[name] }

// with is v with more settings.
func (v vars) with(more vars) vars {
	all := vars{}
	for _, m := range []vars{v, more} {
		for name, value := range m {
			all[name] = value
		}
	}
	return all
}

// loadFile loads data as the file of DAGBUCKET_CONFIG.
func loadFile(t testing.TB, data string, env vars) (*Config, error) {
	path := filepath.Join(t.TempDir(), "dagbucket.yaml")
	require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
	c, err := Load(t.Context(), env.with(vars{"DAGBUCKET_CONFIG": path}).get, nil)
	var report *Error
	if errors.As(err, &report) && report.Source != "" {
		require.Equal(t, path, report.Source)
		report.Source = "dagbucket.yaml"
	}
	return c, err
}

func mustURL(t *testing.T, s string) bucket.URL {
	u, err := bucket.ParseURL(s)
	require.NoError(t, err)
	return u
}

func TestEveryKeyOfTheFile(t *testing.T) {
	c, err := Load(t.Context(), vars{"DAGBUCKET_CONFIG": "testdata/full.yaml"}.get, nil)
	require.NoError(t, err)
	status := mustURL(t, "s3://acme-dags-status/prod/")
	usual := []string{"kept", "left_out", "held", "failed", "recovered", "drift", "import_errors"}
	require.Equal(t, &Config{
		State:    mustURL(t, "s3://acme-dagbucket-state/"),
		AstroURL: "https://api.astronomer.io/v1", Follow: time.Minute,
		Routes: []Route{{
			Name: "prod",
			Sources: []Source{
				{URL: mustURL(t, "s3://acme-dags/dags/"), Syntax: "off"},
				{URL: mustURL(t, "s3://ml-team/dags/"), Mount: "ml/models", Syntax: "hold"},
			},
			Deployment:      "clmh57jtm000008lb58fe2wmv",
			Organization:    "clmg78a9d000008l7ek2m1a2b",
			Token:           "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf#token",
			QuietPeriod:     0,
			MaxWait:         90 * time.Second,
			Syntax:          "off",
			Guard:           Guard{AllowEmpty: true, MaxRemovedPercent: 100, MaxRemovedFiles: 0},
			Limits:          Limits{MaxFiles: 10, MaxBytes: 500_000_000},
			ReplaceExisting: true,
			OnDrift:         "report",
			BaseDir:         "",
			KeepBundles:     3,
			Status:          &status,
			ImportErrors:    true,
			Notify: []Target{
				{Kind: "sns", Address: "arn:aws:sns:eu-west-1:123456789012:dags", Events: usual},
				{Kind: "pubsub", Address: "projects/acme/topics/dags", Events: usual},
				{Kind: "webhook", Address: "https://hooks.acme.example/dags?key=1", Format: "json", Events: usual},
				{Kind: "webhook", Reference: "env:SLACK_WEBHOOK_URL", Format: "slack", Events: usual},
				{
					Kind: "webhook", Reference: "aws-sm:hook#url", Secret: "env:HOOK_KEY", Format: "slack", Events: []string{"held", "failed", "deployed"},
				},
			},
		}},
	}, c)
}

func TestDefaults(t *testing.T) {
	want := Route{
		Name:        "prod",
		Sources:     []Source{{URL: mustURL(t, "s3://acme-dags/dags/"), Syntax: "keep-last-good"}},
		Deployment:  "dep1",
		Token:       "env:TOKEN",
		QuietPeriod: 10 * time.Second,
		MaxWait:     3 * time.Minute,
		Syntax:      "keep-last-good",
		Guard:       Guard{MaxRemovedPercent: 50, MaxRemovedFiles: 10},
		Limits:      Limits{MaxFiles: 50000, MaxBytes: 2147483648},
		OnDrift:     "heal",
		BaseDir:     "dags",
		KeepBundles: 20,
	}
	c, err := loadFile(t, minimal, nil)
	require.NoError(t, err)
	require.Equal(t, []Route{want}, c.Routes)

	c, err = Load(t.Context(), vars{
		"DAGBUCKET_SOURCE": "s3://acme-dags/dags", "DAGBUCKET_STATE": "s3://state/", "ASTRO_DEPLOYMENT_ID": "dep1", "ASTRO_API_TOKEN": "SECRET",
	}.get, nil)
	require.NoError(t, err)
	want.Name, want.Token = "default", "env:ASTRO_API_TOKEN"
	require.Equal(t, []Route{want}, c.Routes)
}

func TestEveryVariable(t *testing.T) {
	c, err := Load(t.Context(), vars{
		"DAGBUCKET_SOURCE": "gs://acme-dags/dags/", "DAGBUCKET_STATE": "gs://state/x", "ASTRO_DEPLOYMENT_ID": "dep1",
		"ASTRO_ORGANIZATION_ID": "org1", "DAGBUCKET_TOKEN": "gcp-sm:projects/p/secrets/s/versions/latest", "DAGBUCKET_ROUTE": "dev",
		"DAGBUCKET_QUIET_PERIOD": "0", "DAGBUCKET_MAX_WAIT": "0s", "DAGBUCKET_SYNTAX": "warn", "DAGBUCKET_REPLACE_EXISTING": "TRUE",
		"ASTRO_API_URL": "http://127.0.0.1:8080/v1/", "DAGBUCKET_FOLLOW": "30s",
	}.get, nil)
	require.NoError(t, err)
	want := defaultRoute()
	want.Sources = []Source{{URL: mustURL(t, "gs://acme-dags/dags/"), Syntax: "warn"}}
	want.Name, want.Deployment, want.Organization, want.Syntax = "dev", "dep1", "org1", "warn"
	want.Token = "gcp-sm:projects/p/secrets/s/versions/latest"
	want.QuietPeriod, want.MaxWait, want.ReplaceExisting = 0, 0, true
	require.Equal(t, &Config{State: mustURL(t, "gs://state/x/"), AstroURL: "http://127.0.0.1:8080/v1", Follow: 30 * time.Second, Routes: []Route{want}}, c)
}

// TestReports compares whole reports: one line a problem, in the order of the file, no secret in any of them.
func TestReports(t *testing.T) {
	file := vars{"DAGBUCKET_CONFIG": "testdata/full.yaml"}
	cases := map[string]vars{
		"broken":     {"DAGBUCKET_CONFIG": "testdata/broken.yaml"},
		"nothing":    {},
		"onlytoken":  {"ASTRO_API_TOKEN": "SECRET"},
		"onlysource": {"DAGBUCKET_SOURCE": "s3://acme-dags/dags/"},
		"environment": {
			"DAGBUCKET_SOURCE": "s3://acme-dags/dags/", "DAGBUCKET_STATE": "s3://acme-dags/dags/state/", "ASTRO_DEPLOYMENT_ID": "SECRET.SECRET",
			"ASTRO_ORGANIZATION_ID": "acme inc", "ASTRO_API_TOKEN": "SECRET", "DAGBUCKET_TOKEN": "SECRET", "DAGBUCKET_ROUTE": "a_b",
			"DAGBUCKET_QUIET_PERIOD": "1m", "DAGBUCKET_MAX_WAIT": "30s", "DAGBUCKET_SYNTAX": "strict", "DAGBUCKET_REPLACE_EXISTING": "1",
			"ASTRO_API_URL": "http://api.astronomer.io/v1",
		},
		"twosources": {
			"DAGBUCKET_SOURCE": "s3://acme-dags/dags/,s3://ml-team/dags/", "DAGBUCKET_STATE": "s3://state/", "ASTRO_DEPLOYMENT_ID": "dep1",
			"ASTRO_API_TOKEN": "SECRET",
		},
		"fileandvariables": file.with(vars{"DAGBUCKET_SOURCE": "s3://acme-dags/", "ASTRO_DEPLOYMENT_ID": "dep1", "DAGBUCKET_TOKEN": "SECRET"}),
		"badfollow":        file.with(vars{"DAGBUCKET_FOLLOW": "soon"}),
		"badapiurl":        file.with(vars{"ASTRO_API_URL": "https://user:SECRET@api.astronomer.io/v1"}),
		"httpfile":         {"DAGBUCKET_CONFIG": "https://acme.s3.amazonaws.com/c.yaml?X-Amz-Signature=SECRET"},
		"nofile":           {"DAGBUCKET_CONFIG": "testdata/none.yaml"},
		"directory":        {"DAGBUCKET_CONFIG": "testdata"},
	}
	for name, env := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := Load(t.Context(), env.get, nil)
			require.Nil(t, c)
			var report *Error
			require.ErrorAs(t, err, &report)
			require.True(t, report.Permanent())
			require.NotContains(t, err.Error(), "SECRET")
			require.Equal(t, len(report.Problems), strings.Count(err.Error(), "\n"), "one line a problem")
			golden := filepath.Join("testdata", name+".report")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644))
			}
			want, readErr := os.ReadFile(golden)
			require.NoError(t, readErr)
			require.Equal(t, string(want), err.Error()+"\n")
		})
	}
}

func TestProblemsOfFiles(t *testing.T) {
	bombList := "state: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 8 {
		bombList += fmt.Sprintf("x%d: &%c [%s]\n", i, 'b'+i, strings.Repeat("*"+string(rune('a'+i))+",", 9))
	}
	cases := []struct{ name, file, want string }{
		{"empty", "", "file: is empty: write at least state and one route"},
		{"only comments", "# nothing\n", "file: is empty"},
		{"null", "---\n~\n", "file: is empty"},
		{"two documents", minimal + "---\nstate: s3://x/\n", "file: holds a second YAML document from line 5 on"},
		{"second document broken", minimal + "---\n[", "file: is not YAML"},
		{"not a mapping", "- a\n", "file: must be a mapping, lines of `key: value`, not a list"},
		{"broken YAML", "state: [s3://x/\nroutes: }\n", "file: is not YAML: near line 1: did not find expected"},
		{"tab", "state: s3://x/\nroutes:\n\t- name: a\n", "file: is not YAML: near line 3: found character that cannot start any token"},
		{"not UTF-8", "state: \xff\xfe\n", "file: is not YAML"},
		{"secret taken for an alias", "state: s3://x/\ntoken: *SECRET\n", "a text that begins with * needs quotes"},
		{"too large", minimal + strings.Repeat("#", 1<<20), "file: is larger than 1 MiB"},
		{"aliases of aliases", bombList, "state (line 1): must be a single value, not a list"},
		{"wide aliases", wideAliases(), "file: its aliases expand to more than 100000 values"},
		{"alias of itself", "state: s3://x/\nroutes: &a\n  - *a\n", "routes[0] (line 3): must be a mapping"},
		{"keys that are no text", "? [a, b]\n: c\n", "(not a text) (line 1): is not a known key"},
		{"a value in place of a key", "token eyJhbGciOiJSUzI1NiJ9.SECRET.SECRET: x\n", `"token eyJhbGciOiJSUz" (line 1): is not a known key`},
		{"no routes", "state: s3://x/\nroutes: []\n", "routes (line 2): is empty: list at least one route"},
		{"routes null", "state: s3://x/\nroutes:\n", "routes (line 2): is missing: list at least one route"},
		{"custom tag", "state: !!binary czM6Ly94Lw==\n", "state (line 1): must be text"},
		{"state is the source", strings.Replace(minimal, "s3://state/", "s3://acme-dags/dags", 1), `state (line 2): "s3://acme-dags/dags/" lies inside the source`},
		{
			"source inside the state", strings.Replace(minimal, "s3://state/", "s3://acme-dags/", 1),
			`routes[0].sources[0].url (line 4): "s3://acme-dags/dags/" lies inside the state ("s3://acme-dags/")`,
		},
		{
			"wait below the default quiet period", strings.Replace(minimal, "name:", "max_wait: 5s, name:", 1),
			"routes[0].max_wait (line 4): 5s is shorter than the quiet period of 10s",
		},
		{
			"quiet period above the default wait", strings.Replace(minimal, "name:", "quiet_period: 4m, name:", 1),
			"routes[0].max_wait (line 4): 3m0s is shorter than the quiet period of 4m0s",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadFile(t, c.file, nil)
			var report *Error
			require.ErrorAs(t, err, &report)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "SECRET")
			require.LessOrEqual(t, len(report.Problems), 101)
		})
	}
}

// TestWorkGrowsWithTheFile counts allocations, which no busy machine changes: twice the routes are twice the work, not four times.
func TestWorkGrowsWithTheFile(t *testing.T) {
	allocated := func(routes int) float64 {
		file := "state: s3://state/\nroutes:\n"
		for i := range routes {
			file += fmt.Sprintf("  - {name: r%d, deployment: d%d, token: 'env:T', status: 's3://pages/%d', sources: [{url: 's3://dags/'}]}\n", i, i, i)
		}
		open := func(context.Context, string) ([]byte, error) { return []byte(file), nil }
		return testing.AllocsPerRun(1, func() {
			_, err := Load(t.Context(), vars{"DAGBUCKET_CONFIG": "s3://conf/c.yaml"}.get, open)
			require.NoError(t, err)
		})
	}
	require.Less(t, allocated(1000), 3*allocated(500))
}

// wideAliases is a small file that stands for 400 routes of 4,000 sources each.
func wideAliases() string {
	return "state: s3://x/\nroutes:\n  - &r\n    name: a\n    sources: [&s {url: s3://y/}" + strings.Repeat(", *s", 4000) + "]\n" +
		strings.Repeat("  - *r\n", 400)
}

// TestNestings: what dagbucket writes lies in no source, and no source in the state, however the prefixes are written.
func TestNestings(t *testing.T) {
	const (
		stateInSource  = `state (line 1): STATE lies inside the source routes[0].sources[0].url (SOURCE): dagbucket would deploy what it writes itself; move it outside`
		sourceInState  = `routes[0].sources[0].url (line 3): SOURCE lies inside the state (STATE): give the state a place of its own`
		statusInSource = `routes[0].status (line 4): STATUS lies inside the source routes[0].sources[0].url (SOURCE): dagbucket would deploy what it writes itself; move it outside`
		statusInState  = `routes[0].status (line 4): STATUS lies inside the state (STATE): give the pages a place of their own`
	)
	for _, c := range []struct {
		state, source, status string
		want                  string // "" if all is well
	}{
		{"s3://b/state/", "s3://b/dags/", "s3://b/pages/", ""},
		{"s3://b/dags_state/", "s3://b/dags/", "s3://b/dags-pages/", ""},
		{"s3://b/dags.state", "s3://b/dags", "s3://b/", ""},
		{"gs://b/", "s3://b/", "file:///b/", ""},
		{"file:///srv/state", "file:///srv/dags", "file:///srv/dagspages", ""},
		{"s3://b/", "s3://b/", "s3://c/", stateInSource},
		{"s3://b/dags/", "s3://b/dags/", "s3://c/", stateInSource},
		{"s3://b/state/", "s3://b/", "s3://c/", stateInSource},
		{"s3://b/dags/state/", "s3://b/dags/", "s3://c/", stateInSource},
		{"s3://b/dags/a/b/c/", "s3://b/dags/", "s3://c/", stateInSource},
		{"file:///srv/dags/state/", "file:///srv/dags/", "s3://c/", stateInSource},
		{"s3://b/", "s3://b/dags/", "s3://c/", sourceInState},
		{"s3://b/state/", "s3://b/state/prod/bundles/", "s3://c/", sourceInState},
		{"file:///srv/", "file:///srv/dags/", "s3://c/", sourceInState},
		{"s3://c/", "s3://b/", "s3://b/pages/", statusInSource},
		{"s3://c/", "s3://b/dags/", "s3://b/dags/", statusInSource},
		{"s3://c/", "s3://b/dags/", "s3://b/dags/status/", statusInSource},
		{"s3://c/", "s3://b/dags/", "s3://c/", statusInState},
		{"s3://c/state/", "s3://b/dags/", "s3://c/state/prod/", statusInState},
	} {
		for _, cut := range []string{"", "/"} { // with the last slash and without
			t.Run(c.state+" "+c.source+" "+c.status+" "+cut, func(t *testing.T) {
				file := "state: " + strings.TrimSuffix(c.state, cut) + "\nroutes: [{name: prod, deployment: d, token: 'env:T',\n  sources: [{url: " +
					strings.TrimSuffix(c.source, cut) + "}],\n  status: " + strings.TrimSuffix(c.status, cut) + "}]\n"
				_, err := loadFile(t, file, nil)
				if c.want == "" {
					require.NoError(t, err)
					return
				}
				var report *Error
				require.ErrorAs(t, err, &report)
				require.Len(t, report.Problems, 1)
				require.Equal(t, withPlaces(c.want, mustURL(t, c.state), mustURL(t, c.source), mustURL(t, c.status)), report.Problems[0].String())
			})
		}
	}
}

// withPlaces puts the three places where form names them.
func withPlaces(form string, state, source, status bucket.URL) string {
	quoted := func(u bucket.URL) string { return fmt.Sprintf("%q", u.String()) }
	return strings.NewReplacer("STATE", quoted(state), "SOURCE", quoted(source), "STATUS", quoted(status)).Replace(form)
}

func TestStateThatIsTheSourceIsToldOnce(t *testing.T) {
	_, err := loadFile(t, strings.Replace(minimal, "s3://state/", "s3://acme-dags/dags/", 1), nil)
	var report *Error
	require.ErrorAs(t, err, &report)
	require.Len(t, report.Problems, 1)
}

func TestOneSourceMayBeMountedTwice(t *testing.T) {
	c, err := loadFile(t, strings.Replace(minimal, "[{url: s3://acme-dags/dags/}]",
		"[{url: s3://acme-dags/dags/}, {url: s3://acme-dags/dags/, mount: copy}, {url: s3://acme-dags/dags/team/}]", 1), nil)
	require.NoError(t, err)
	require.Len(t, c.Routes[0].Sources, 3)
}

func TestAliasesHoldValues(t *testing.T) {
	c, err := loadFile(t, `
state: s3://state/
routes:
  - {name: a, deployment: dep1, token: &t "env:TOKEN", guard: &g {allow_empty: true}, sources: [{url: s3://a/}]}
  - {name: b, deployment: dep2, token: *t, guard: *g, sources: [{url: s3://b/, mount: null}], status: null}
`, nil)
	require.NoError(t, err)
	require.Equal(t, "env:TOKEN", c.Routes[1].Token)
	require.True(t, c.Routes[1].Guard.AllowEmpty)
	require.Nil(t, c.Routes[1].Status)
}

func TestTokenOfTheEnvironmentIsTheDefault(t *testing.T) {
	noToken := strings.Replace(minimal, `token: "env:TOKEN", `, "", 1)
	_, err := loadFile(t, noToken, nil)
	require.ErrorContains(t, err, "routes[0].token (line 4): is missing: set ASTRO_API_TOKEN")

	c, err := loadFile(t, noToken, vars{"ASTRO_API_TOKEN": "SECRET"})
	require.NoError(t, err)
	require.Equal(t, "env:ASTRO_API_TOKEN", c.Routes[0].Token)

	c, err = loadFile(t, minimal, vars{"ASTRO_API_TOKEN": "SECRET"})
	require.NoError(t, err)
	require.Equal(t, "env:TOKEN", c.Routes[0].Token)
}

func TestFilesBehindURLs(t *testing.T) {
	gone := fmt.Errorf("s3://conf/c.yaml: %w", bucket.ErrNotExist)
	denied := fmt.Errorf("s3://conf/c.yaml: %w", bucket.ErrDenied)
	reset := errors.New("connection\nreset")
	cases := []struct {
		name, url  string
		data       string
		err        error
		extra      vars
		want       string
		mayPass    bool
		wantLoaded bool
	}{
		{name: "s3", url: "s3://conf/c.yaml", data: minimal, wantLoaded: true},
		{name: "gs", url: "gs://conf/c.yaml", data: minimal, wantLoaded: true},
		{name: "file", url: "file:///conf/c.yaml", data: minimal, wantLoaded: true},
		{name: "too large", url: "s3://conf/c.yaml", data: strings.Repeat("#", 1<<20+1), want: "file: is larger than 1 MiB"},
		{name: "not there", url: "s3://conf/c.yaml", err: gone, want: "file: cannot be read: s3://conf/c.yaml: no such object: correct DAGBUCKET_CONFIG"},
		{name: "denied", url: "s3://conf/c.yaml", err: denied, want: "file: cannot be read: s3://conf/c.yaml: access denied"},
		{name: "network", url: "s3://conf/c.yaml", err: reset, want: `read the configuration "s3://conf/c.yaml": connection`, mayPass: true},
		{
			name: "network and a bad variable", url: "s3://conf/c.yaml", err: reset, extra: vars{"ASTRO_API_URL": "x"},
			want: "file: cannot be read: connection reset",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			open := func(_ context.Context, url string) ([]byte, error) {
				require.Equal(t, c.url, url)
				return []byte(c.data), c.err
			}
			loaded, err := Load(t.Context(), c.extra.with(vars{"DAGBUCKET_CONFIG": c.url}).get, open)
			require.Equal(t, c.wantLoaded, loaded != nil)
			if c.wantLoaded {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			var report *Error
			require.Equal(t, !c.mayPass, errors.As(err, &report))
			if c.mayPass {
				require.ErrorIs(t, err, c.err)
			}
		})
	}
}

func TestRouteByName(t *testing.T) {
	c := &Config{Routes: []Route{{Name: "prod"}, {Name: "dev"}}}
	route, err := c.Route("dev")
	require.NoError(t, err)
	require.Equal(t, "dev", route.Name)

	_, err = c.Route("test")
	require.ErrorContains(t, err, `there is no route "test"; known: prod, dev`)
	_, err = c.Route("")
	require.ErrorContains(t, err, "there are several routes: name one; known: prod, dev")

	c.Routes = c.Routes[:1]
	route, err = c.Route("")
	require.NoError(t, err)
	require.Equal(t, "prod", route.Name)
	_, err = c.Route("dev")
	require.ErrorContains(t, err, `there is no route "dev"; known: prod`)
}
