package config

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/selection"
)

// FuzzFile: whatever the file holds, Load ends with a valid configuration or with a report that can be shown.
func FuzzFile(f *testing.F) {
	for _, name := range []string{"testdata/full.yaml", "testdata/broken.yaml"} {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, seed := range []string{
		"", minimal, "a: &a [*a]", "? {a: b}\n: c", "--- x\n--- y", "\xef\xbb\xbfstate: s3://x/", "routes: [*r, &r {}]", "%TAG ! x:\n--- !y z",
		strings.Repeat("[", 20_000), strings.Repeat("- ", 20_000), wideAliases(), "state: &s s3://\xc2\x85/\n" + strings.Repeat("x: *s\n", 300), "---\n...\n", "#", "\x00", "\xff\xfes\x00",
		"state: !!binary czM6Ly94Lw==\n", "state: 0x1\nroutes: 2026-01-01", "\"\\u001b[2J\": x", "state: \"\\e[2J\\u2028\"",
		strings.Replace(minimal, "name:", "notify: [slack:env:A, {to: 'webhook:https://h/', secret: env:K, format: json, events: [kept, deployed]}], name:", 1),
		strings.Replace(minimal, "name:", "notify: [{to: 'pubsub:projects/p/topics/dags'}, {to: , events: }, {webhook: https://h/}], name:", 1),
		strings.Replace(minimal, "name:", "status: s3://acme-dags/, limits: {max_bytes: 1e3}, quiet_period: 1e-9s, name:", 1),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := loadBytes(t, data)
		again, errAgain := loadBytes(t, data)
		require.Equal(t, c, again)
		require.Equal(t, fmt.Sprint(err), fmt.Sprint(errAgain), "a second report")
		if err != nil {
			requireReport(t, err)
			return
		}
		requireValid(t, c)
	})
}

// requireReport checks that err is a report that can be shown: a line for each problem, each one short.
func requireReport(t *testing.T, err error) {
	var report *Error
	require.ErrorAs(t, err, &report)
	require.NotEmpty(t, report.Problems)
	require.LessOrEqual(t, len(report.Problems), maxProblems+1)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 1+len(report.Problems), "one line a problem")
	for _, line := range lines {
		require.Less(t, len(line), 16_000)
		require.True(t, utf8.ValidString(line), "%q", line)
		require.NotRegexp(t, `[[:cntrl:]]`, line)
	}
	for _, p := range report.Problems {
		require.NotEmpty(t, p.Key)
		require.NotEmpty(t, p.Text)
	}
}

func requireValid(t *testing.T, c *Config) {
	requirePlace(t, c.State)
	require.NotEmpty(t, c.Routes)
	deployments, names := map[string]bool{}, map[string]bool{}
	for _, route := range c.Routes {
		require.False(t, deployments[route.Deployment] || names[route.Name])
		deployments[route.Deployment], names[route.Name] = true, true
		require.Regexp(t, `^[a-z0-9-]{1,63}$`, route.Name)
		require.Regexp(t, `^[A-Za-z0-9_-]{1,64}$`, route.Deployment)
		require.Regexp(t, `^(env|file|aws-sm|aws-ssm|gcp-sm):.`, route.Token)
		require.NotEmpty(t, route.Sources)
		require.GreaterOrEqual(t, route.MaxWait, route.QuietPeriod)
		require.GreaterOrEqual(t, int64(route.QuietPeriod), int64(0))
		require.GreaterOrEqual(t, min(route.Limits.MaxBytes, int64(route.Limits.MaxFiles), int64(route.KeepBundles), int64(route.Guard.MaxRemovedFiles)), int64(0))
		requireTargets(t, route.Notify)
		for _, source := range route.Sources {
			requirePlace(t, source.URL)
			requireMount(t, source.Mount)
			requireApart(t, c.State, source.URL)
			if route.Status != nil {
				require.False(t, source.URL.Contains(*route.Status) || c.State.Contains(*route.Status))
			}
		}
	}
}

func requireTargets(t *testing.T, targets []Target) {
	names := map[string]bool{}
	for _, target := range targets {
		require.Regexp(t, `^(sns:|pubsub:|webhook|slack)[A-Za-z0-9._:/#-]*-[0-9a-f]{8}$`, target.Name())
		require.False(t, names[target.Name()])
		names[target.Name()] = true
		require.Equal(t, target.Kind == Webhook, target.Format != "")
		require.NotEqual(t, target.Address == "", target.Reference == "")
		require.NotEmpty(t, target.Events)
		require.True(t, target.Secret == "" || target.Kind == Webhook)
	}
}

// requireApart compares what dagbucket writes with what it lists, key by key.
func requireApart(t *testing.T, state, source bucket.URL) {
	require.False(t, source.Contains(state) || state.Contains(source))
	if state.Root() == source.Root() {
		require.False(t, strings.HasPrefix(state.Prefix+"prod/record.json", source.Prefix), "%s and %s", state, source)
	}
}

func requirePlace(t *testing.T, u bucket.URL) {
	require.Contains(t, []string{"s3", "gs", "file"}, u.Scheme)
	again, err := parseBucketURL(u.String())
	require.NoError(t, err)
	require.Equal(t, u, again)
}

// requireMount checks that a mount leaves ordinary files safe: selection ships them.
func requireMount(t *testing.T, mount string) {
	files, leftOut := selection.Select(selection.Source{Mount: mount}, []bucket.Object{{Key: "a/b.py"}})
	require.Empty(t, leftOut)
	require.Len(t, files, 1)
}

// FuzzEnvironment: variables may hold any bytes; an API token never reaches a report.
func FuzzEnvironment(f *testing.F) {
	f.Add("s3://acme-dags/dags/", "s3://state/", "dep1", "10s", "https://api.astronomer.io/v1", "false", "ml")
	f.Add("s3://acme-dags/dags/", "s3://acme-dags/dags/x", "dep\n1", "1", "http://localhost:1/v1/", "1", "../x")
	f.Add("file:///x//../y", "file:///", "\xff", "-1s", "http://[::1]%25/", "TRUE", "a/")
	f.Add("s3://a/\xff/", "gs://a/\x1b[2J", "eyJ.x.y", "9999999h", "https://u:p@h/", "", strings.Repeat("a/", 255)+"b")
	f.Add("s3://b/"+strings.Repeat("x", 2000), "s3://b?x-amz-signature=1", "d", "0", "https://h\x00", "yes", "a\\b")
	f.Fuzz(func(t *testing.T, source, state, deployment, quiet, api, replace, mount string) {
		env := vars{"DAGBUCKET_SOURCE": source, "DAGBUCKET_STATE": state, "ASTRO_DEPLOYMENT_ID": deployment, "DAGBUCKET_QUIET_PERIOD": quiet,
			"DAGBUCKET_MAX_WAIT": "24h", "ASTRO_API_URL": api, "DAGBUCKET_REPLACE_EXISTING": replace, "ASTRO_API_TOKEN": "hunter2hunter2"}
		c, err := Load(t.Context(), env.get, nil)
		require.True(t, (c == nil) == (err != nil))
		if err != nil {
			requireReport(t, err)
			require.NotContains(t, err.Error(), "hunter2hunter2")
		} else {
			requireValid(t, c)
			_, err := astro.New(astro.Options{BaseURL: c.AstroURL, Organization: c.Routes[0].Organization, Deployment: c.Routes[0].Deployment,
				Token: func(context.Context, bool) (string, error) { return "", nil }})
			require.NoError(t, err, "good here and refused there")
		}
		if m, err := parseMount(mount); err == nil {
			requireMount(t, m)
		}
	})
}

// FuzzSecretIsNotShown: what stands in the place of a secret never reaches a report.
func FuzzSecretIsNotShown(f *testing.F) {
	for _, seed := range []string{
		"eyJhbGciOiJSUzI1NiJ9.x.y", "https://hooks.slack.com/services/T0/B0/x", "env:has a space", "*anchors", "multiple\nlines of it", "gcp-sm:projects/x",
		"aws-sm:arn:aws:x#", "sns:arn:aws:sns:x", "slack:https://hooks/", "webhook:http://x/y", "file:\x00x/y/z/abc", "'quoted: {", "!!binary abcdef",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		if len(secret) < 12 || !utf8.ValidString(secret) {
			return
		}
		file, err := yaml.Marshal(map[string]any{
			"state": "s3://state/",
			"routes": []any{map[string]any{"name": "a", "deployment": secret, "token": secret, "notify": []any{
				secret, "webhook:" + secret, "slack:" + secret, map[string]any{"to": "webhook:" + secret, "secret": secret},
			}}},
		})
		require.NoError(t, err)
		if _, err = loadBytes(t, file); err == nil {
			return
		}
		known, err2 := loadBytes(t, []byte("state: s3://state/\nroutes: [{name: a, deployment: '', token: '', "+
			"notify: ['', 'webhook:', 'slack:', 'sns:', 'pubsub:', 'x', {to: '', secret: ''}, {to: 'webhook:env:A'}, 'webhook:env:A', {to: 'slack:env:A', secret: 'env:A'}]}]"))
		require.Nil(t, known)
		if !strings.Contains(err2.Error(), secret) { // a fixed text of the report is no leak
			require.NotContains(t, err.Error(), secret)
		}
	})
}

func loadBytes(t testing.TB, data []byte) (*Config, error) {
	open := func(context.Context, string) ([]byte, error) { return data, nil }
	c, err := Load(t.Context(), vars{"DAGBUCKET_CONFIG": "s3://conf/c.yaml"}.get, open)
	require.True(t, (c == nil) == (err != nil))
	return c, err
}
