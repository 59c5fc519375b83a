//go:build infra

package infratest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/config"
)

// installed is what a plan installs: a function, its environment, and the configuration that it reads.
type installed struct {
	plan
	cloud       string // aws or gcp
	function    change
	environment map[string]string
	timeout     time.Duration
	config      *config.Config
	state       string // bucket
}

// installation finds the function of a plan. Tests that plan something else have none, nor has a plan that does not know yet what it will write.
func (p plan) installation(t *testing.T) *installed {
	t.Helper()
	i := installed{plan: p}
	var environment any
	var seconds float64
	switch aws, gcp := p.of("aws_lambda_function"), p.of("google_cloudfunctions2_function"); {
	case len(aws) == 1:
		i.cloud, i.function = "aws", aws[0]
		environment = aws[0].block("environment")["variables"]
		seconds, _ = aws[0].Change.After["timeout"].(float64)
	case len(gcp) == 1:
		i.cloud, i.function = "gcp", gcp[0]
		service := gcp[0].block("service_config")
		environment = service["environment_variables"]
		seconds, _ = service["timeout_seconds"].(float64)
	default:
		return nil
	}
	if !p.knowsItsConfiguration() {
		return nil
	}
	i.timeout = time.Duration(seconds) * time.Second
	i.environment = map[string]string{}
	for k, v := range environment.(map[string]any) {
		i.environment[k] = v.(string)
	}
	i.config = i.load(t)
	return &i
}

func (p plan) knowsItsConfiguration() bool {
	for _, o := range append(p.of("aws_s3_object"), p.of("google_storage_bucket_object")...) {
		if o.text("content") != "" {
			return true
		}
	}
	return false
}

// load reads the configuration as the function will.
func (i *installed) load(t *testing.T) *config.Config {
	t.Helper()
	objects := map[string]string{} // URL → content
	for _, o := range i.of("aws_s3_object") {
		objects["s3://"+o.text("bucket")+"/"+o.text("key")] = o.text("content")
	}
	for _, o := range i.of("google_storage_bucket_object") {
		objects["gs://"+o.text("bucket")+"/"+o.text("name")] = o.text("content")
	}
	open := func(_ context.Context, url string) ([]byte, error) {
		content, ok := objects[url]
		if !ok {
			return nil, fmt.Errorf("nothing is planned at %s", url)
		}
		return []byte(content), nil
	}
	cfg, err := config.Load(t.Context(), func(name string) string { return i.environment[name] }, open)
	require.NoError(t, err, i.plan)
	i.state = cfg.State.Bucket
	return cfg
}

// installations are those of all folders.
func installations(t *testing.T) []*installed {
	t.Helper()
	var all []*installed
	for _, folder := range folders {
		for _, p := range test(t, folder).plans {
			if i := p.installation(t); i != nil {
				all = append(all, i)
			}
		}
	}
	require.NotEmpty(t, all)
	return all
}

// TestTheConfigurationIsRead: the configuration that each plan writes is one for the function that reads it, in the time that it has.
func TestTheConfigurationIsRead(t *testing.T) {
	schemes := map[string]string{"aws": "s3", "gcp": "gs"}
	for _, i := range installations(t) {
		require.Equal(t, schemes[i.cloud], i.config.State.Scheme, i.plan)
		require.NotEmpty(t, i.environment["CONFIG_SHA256"], "%s: a new configuration would not start new instances", i.plan)
		for _, route := range i.config.Routes {
			require.LessOrEqual(t, route.MaxWait+2*time.Minute, i.timeout, "%s: route %s has no time to deploy after it has waited", i.plan, route.Name)
			for _, source := range route.Sources {
				require.Equal(t, schemes[i.cloud], source.URL.Scheme, i.plan)
				require.NotEqual(t, i.state, source.URL.Bucket, i.plan)
			}
		}
	}
}
