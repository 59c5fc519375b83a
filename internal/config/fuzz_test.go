package config

import (
	"context"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// FuzzFile: whatever the file holds, Load ends with a valid configuration or with a report.
func FuzzFile(f *testing.F) {
	for _, name := range []string{"testdata/full.yaml", "testdata/broken.yaml"} {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, seed := range []string{"", minimal, "a: &a [*a]", "? {a: b}\n: c", "--- x\n--- y", "\xef\xbb\xbfstate: s3://x/", "routes: [*r, &r {}]", "%TAG ! x:\n--- !y z"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := loadBytes(t, data)
		if err != nil {
			var report *Error
			require.ErrorAs(t, err, &report)
			require.Equal(t, len(report.Problems), strings.Count(err.Error(), "\n"), "one line a problem")
			return
		}
		require.NotEmpty(t, c.State.Scheme)
		require.NotEmpty(t, c.Routes)
		for _, route := range c.Routes {
			require.Regexp(t, `^[a-z0-9-]{1,63}$`, route.Name)
			require.NotEmpty(t, route.Deployment)
			require.NotEmpty(t, route.Token)
			require.NotEmpty(t, route.Sources)
			require.GreaterOrEqual(t, route.MaxWait, route.QuietPeriod)
			require.GreaterOrEqual(t, int64(route.QuietPeriod), int64(0))
			for _, source := range route.Sources {
				require.False(t, source.URL.Contains(c.State) || c.State.Contains(source.URL))
				require.NotContains(t, strings.Split(source.Mount, "/"), "..")
			}
		}
	})
}

// FuzzSecretIsNotShown: what stands in the place of a secret never reaches a report.
func FuzzSecretIsNotShown(f *testing.F) {
	for _, seed := range []string{"eyJhbGciOiJSUzI1NiJ9.x.y", "https://hooks.slack.com/services/T0/B0/x", "env:has a space", "*anchors", "multiple\nlines of it", "gcp-sm:projects/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		if len(secret) < 12 || !utf8.ValidString(secret) {
			return
		}
		file, err := yaml.Marshal(map[string]any{
			"state":  "s3://state/",
			"routes": []any{map[string]any{"name": "a", "deployment": secret, "token": secret, "notify": []string{secret, "webhook:" + secret, "slack:" + secret}}},
		})
		require.NoError(t, err)
		if _, err = loadBytes(t, file); err == nil {
			return
		}
		known, err2 := loadBytes(t, []byte("state: s3://state/\nroutes: [{name: a, deployment: '', token: '', "+
			"notify: ['', 'webhook:', 'slack:', 'sns:', 'pubsub:', 'x']}]"))
		require.Nil(t, known)
		if !strings.Contains(err2.Error(), secret) { // a fixed text of the report is no leak
			require.NotContains(t, err.Error(), secret)
		}
	})
}

func loadBytes(t *testing.T, data []byte) (*Config, error) {
	open := func(context.Context, string) ([]byte, error) { return data, nil }
	c, err := Load(t.Context(), vars{"DAGBUCKET_CONFIG": "s3://conf/c.yaml"}.get, open)
	require.True(t, (c == nil) == (err != nil))
	return c, err
}
