package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/doctor"
	"github.com/dagbucket/dagbucket/internal/secret"
)

// fakeCloud is a cloud of whose wiring there is nothing to say.
type fakeCloud struct {
	credentials doctor.Check
	wiring      []doctor.Check
	wants       *[]doctor.Want
}

func (f fakeCloud) Credentials(context.Context) doctor.Check { return f.credentials }

func (f fakeCloud) Wiring(_ context.Context, w doctor.Want) []doctor.Check {
	if f.wants != nil {
		*f.wants = append(*f.wants, w)
	}
	return f.wiring
}

const twoRoutes = `
state: s3://state/
routes:
  - {name: prod, sources: [{url: "s3://acme/dags/"}, {url: "file:///srv/none/"}], deployment: clmh57jtm000008lb58fe2wmv, max_wait: 5m}
  - {name: dev, sources: [{url: "s3://acme/dev/"}], deployment: clmdev}
`

// options are of two routes over buckets in memory; the second one's Deployment is not there.
func options(t *testing.T, buckets map[string]bucket.Bucket) doctor.Options {
	astro := astrotest.New(astrotest.Options{})
	require.NoError(t, astro.Start())
	t.Cleanup(astro.Close)
	env := map[string]string{"DAGBUCKET_CONFIG": "s3://config/dagbucket.yaml", "ASTRO_API_URL": astro.URL(),
		"ASTRO_API_TOKEN": astrotest.Token(astrotest.OrganizationID, time.Time{})}
	getenv := func(name string) string { return env[name] }
	return doctor.Options{
		Load: func(ctx context.Context) (*config.Config, error) {
			return config.Load(ctx, getenv, func(context.Context, string) ([]byte, error) { return []byte(twoRoutes), nil })
		},
		Place: "s3://config/dagbucket.yaml",
		Buckets: bucket.Openers{"s3": func(_ context.Context, u bucket.URL) (bucket.Bucket, error) {
			if b := buckets[u.Bucket]; b != nil {
				return b, nil
			}
			return nil, bucket.ErrNoBucket
		}},
		Secrets: secret.Local(getenv), ConfigSHA256: func() string { return "" }, Settings: map[string]string{"DAGBUCKET_CONFIG": "s3://config/dagbucket.yaml"},
		Clouds: map[string]doctor.Cloud{"s3": fakeCloud{credentials: doctor.Good("credentials", "there are some"), wiring: []doctor.Check{doctor.Good("notifications", "on")}}},
	}
}

func filled(t *testing.T) map[string]bucket.Bucket {
	acme := membucket.New("acme")
	for _, key := range []string{"dags/", "dags/a.py", "dev/a.py"} {
		_, err := acme.Put(t.Context(), key, strings.NewReader("a = 1"), bucket.Always)
		require.NoError(t, err)
	}
	return map[string]bucket.Bucket{"acme": acme, "state": membucket.New("state")}
}

func TestEveryRouteIsChecked(t *testing.T) {
	t.Parallel()
	o := options(t, filled(t))
	var wants []doctor.Want
	o.Clouds["s3"] = fakeCloud{credentials: doctor.Good("credentials", "there are some"), wants: &wants}
	report := doctor.Run(t.Context(), o)
	require.Len(t, report.Routes, 2)
	require.Equal(t, []doctor.Check{
		{Name: "configuration", Status: doctor.OK, Says: "valid; 2 routes: prod, dev"}, {Name: "credentials", Status: doctor.OK, Says: "there are some"},
	}, report.Checks)
	require.Equal(t, doctor.Fault, statuses(report.Routes[0].Checks)["source"], "file:///srv/none/ cannot be opened here")
	require.Equal(t, "deployment", firstFault(report.Routes[1].Checks).Name)
	require.Equal(t, "source", report.First.Name)
	require.Equal(t, "prod", report.First.Route)
	require.Equal(t, 1, report.ExitCode())
	require.Len(t, wants, 2)
	require.Equal(t, 5*time.Minute, wants[1].MaxWait, "the function runs the routes with longer waits as well")

	o.Route = "dev"
	require.Len(t, doctor.Run(t.Context(), o).Routes, 1)
	o.Route = "nightly"
	report = doctor.Run(t.Context(), o)
	require.Empty(t, report.Routes)
	require.Equal(t, "configuration", report.First.Name)
	require.Contains(t, report.First.Says, "known: prod, dev")
}

func firstFault(checks []doctor.Check) doctor.Check {
	for _, c := range checks {
		if c.Status == doctor.Fault {
			return c
		}
	}
	return doctor.Check{}
}

// TestANewSetUpOnlyWaits has everything in order, and no run yet.
func TestANewSetUpOnlyWaits(t *testing.T) {
	t.Parallel()
	o := options(t, filled(t))
	o.Route = "dev"
	load := o.Load
	o.Load = func(ctx context.Context) (*config.Config, error) {
		cfg, err := load(ctx)
		cfg.Routes[1].Deployment = astrotest.DeploymentID
		return cfg, err
	}
	report := doctor.Run(t.Context(), o)
	require.Equal(t, 2, report.ExitCode(), "%s", textOf(report))
	require.Equal(t, "last run", report.First.Name)
	require.Contains(t, report.First.Says, "no run is recorded yet")
	for name, status := range statuses(report.Routes[0].Checks) {
		require.NotEqual(t, doctor.Fault, status, name)
	}
}

// TestConfigurationIsReadFirst has it fail in the ways that are no *config.Error, too.
func TestConfigurationIsReadFirst(t *testing.T) {
	t.Parallel()
	o := options(t, filled(t))
	o.Load = func(context.Context) (*config.Config, error) { return nil, errors.New("the network\nis down") }
	report := doctor.Run(t.Context(), o)
	require.Equal(t, "it cannot be read now: the network is down", report.First.Says)
	require.Equal(t, 1, report.ExitCode())

	o.Clouds["s3"] = fakeCloud{credentials: doctor.Bad("credentials", "log in", "they have expired")}
	report = doctor.Run(t.Context(), o)
	require.Equal(t, "credentials", report.First.Name, "a configuration in the cloud is behind the cloud's credentials")
	require.Equal(t, doctor.Skipped, report.Checks[0].Status)
}

// TestCredentialsAreToBlame has those of the routes' cloud refused, and the configuration elsewhere.
func TestCredentialsAreToBlame(t *testing.T) {
	t.Parallel()
	o := options(t, filled(t))
	o.Place = ""
	o.Clouds["s3"] = fakeCloud{credentials: doctor.Bad("credentials", "log in", "they have expired")}
	report := doctor.Run(t.Context(), o)
	require.Equal(t, "credentials", report.First.Name)
	found := statuses(report.Routes[1].Checks)
	require.Equal(t, map[string]doctor.Status{"source": doctor.Skipped, "state": doctor.Skipped, "record": doctor.Skipped, "notifications": doctor.Skipped,
		"last run": doctor.Skipped, "outcome": doctor.Skipped, "lease": doctor.Skipped},
		map[string]doctor.Status{"source": found["source"], "state": found["state"], "record": found["record"], "notifications": found["notifications"],
			"last run": found["last run"], "outcome": found["outcome"], "lease": found["lease"]})
	require.Equal(t, doctor.OK, found["token"], "it needs no cloud")
}

// TestTheTokensCloudIsToBlame has a token in a cloud whose credentials are refused, and everything else on disk.
func TestTheTokensCloudIsToBlame(t *testing.T) {
	t.Parallel()
	o := options(t, filled(t))
	o.Place, o.Route = "", "dev"
	load := o.Load
	o.Load = func(ctx context.Context) (*config.Config, error) {
		cfg, err := load(ctx)
		cfg.State = bucket.URL{Scheme: "file", Prefix: "srv/none/"}
		cfg.Routes[1].Sources, cfg.Routes[1].Token = nil, "aws-sm:astro"
		return cfg, err
	}
	o.Clouds["s3"] = fakeCloud{credentials: doctor.Bad("credentials", "log in", "they have expired")}
	report := doctor.Run(t.Context(), o)
	require.Equal(t, "credentials", report.First.Name)
	require.Equal(t, doctor.Skipped, statuses(report.Routes[0].Checks)["token"])
}

// TestWhatCanBeRead of a source: a folder's marker is no file, and what is archived proves nothing.
func TestWhatCanBeRead(t *testing.T) {
	t.Parallel()
	for says, edit := range map[string]func(*membucket.Bucket){
		"1 file can be listed, and read":             func(*membucket.Bucket) {},
		"1 file can be listed; whether they can be ": func(b *membucket.Bucket) { b.Change("dags/a.py", func(o *bucket.Object) { o.Archived = true }) },
		"it can be listed, and holds no file":        func(b *membucket.Bucket) { _ = b.Delete(t.Context(), "dags/a.py", "") },
		"1 file can be listed, and read ": func(b *membucket.Bucket) {
			b.Fault = func(op membucket.Op, _ string, _ bool) error {
				if op == membucket.Open {
					return bucket.ErrChanged // somebody overwrites it
				}
				return nil
			}
		},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			buckets := filled(t)
			edit(buckets["acme"].(*membucket.Bucket))
			o := options(t, buckets)
			o.Route = "prod"
			require.Contains(t, doctor.Run(t.Context(), o).Routes[0].Checks[0].Says, strings.TrimSpace(says))
		})
	}
}

// careless is a storage that keeps a part of the contract only.
type careless struct {
	*membucket.Bucket
	ignoreVersions bool // only creating is conditional
	stale          bool // reads show what was there before
}

func (c careless) Put(ctx context.Context, key string, body io.Reader, when bucket.Condition) (string, error) {
	if c.ignoreVersions && when.Version() != "" {
		when = bucket.Always
	}
	return c.Bucket.Put(ctx, key, body, when)
}

func (c careless) Open(ctx context.Context, key, version string, offset int64) (*bucket.Body, error) {
	body, err := c.Bucket.Open(ctx, key, version, offset)
	if err == nil && c.stale && strings.Contains(key, "doctor-") {
		body.ReadCloser = io.NopCloser(strings.NewReader(strings.Repeat("?", int(body.Object.Size))))
	}
	return body, err
}

func TestStateMustCompareAndSwap(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]careless{
		"it overwrites an object under the version of an older one": {ignoreVersions: true},
		"it does not return what was written last":                  {stale: true},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			buckets := filled(t)
			c.Bucket = membucket.New("state")
			buckets["state"] = c
			o := options(t, buckets)
			o.Route = "dev"
			report := doctor.Run(t.Context(), o)
			require.Equal(t, "state", report.First.Name)
			require.Contains(t, report.First.Says, says)
			require.Empty(t, c.Snapshot(""), "nothing is left behind")
		})
	}
}

// TestClockOfTheStorageCounts has a local clock that is a month ahead: the token's end is judged by the storage's.
func TestClockOfTheStorageCounts(t *testing.T) {
	t.Parallel()
	o := options(t, filled(t))
	o.Route = "dev"
	o.Now = func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }
	o.Secrets = secret.Resolver{"env": func(context.Context, string) (string, error) {
		return astrotest.Token(astrotest.OrganizationID, time.Now().Add(20*24*time.Hour)), nil
	}}
	report := doctor.Run(t.Context(), o)
	found := statuses(report.Routes[0].Checks)
	require.Equal(t, doctor.Warning, found["clock"])
	require.Equal(t, doctor.OK, found["token"], "%s", textOf(report))
	require.Contains(t, textOf(report), "ahead of the storage's")
}

func TestChooseTakesTheWayThatGetsFurthest(t *testing.T) {
	t.Parallel()
	good, bad := doctor.Good("a", ""), doctor.Bad("b", "r", "")
	ways := map[string][]doctor.Check{"dead": {bad}, "half": {good, bad}, "whole": {good, good, good}}
	walk := func(target string) []doctor.Check { return ways[target] }
	for name, c := range map[string]struct {
		created, removed []string
		want             []doctor.Check
	}{
		"one that ends well":         {[]string{"dead", "whole", "half"}, []string{"dead", "whole", "half"}, ways["whole"]},
		"none does":                  {[]string{"dead", "half"}, []string{"dead", "half"}, ways["half"]},
		"none does, the best first":  {[]string{"half", "dead"}, []string{"half", "dead"}, ways["half"]},
		"told of both":               {[]string{"whole", "half"}, []string{"half"}, ways["half"]},
		"each is told by another":    {[]string{"whole"}, []string{"dead"}, []doctor.Check{good, good, good, bad}},
		"the same is not said twice": {[]string{"half"}, []string{"dead"}, []doctor.Check{good, bad}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, doctor.Choose(c.created, c.removed, walk))
		})
	}
}

func TestSettingsOfAFunction(t *testing.T) {
	t.Parallel()
	file := map[string]string{"DAGBUCKET_CONFIG": "s3://state/dagbucket.yaml"}
	route := map[string]string{"DAGBUCKET_SOURCE": "s3://acme/dags", "DAGBUCKET_STATE": "s3://state/", "ASTRO_DEPLOYMENT_ID": "clm1"}
	for name, c := range map[string]struct {
		here, there map[string]string
		status      doctor.Status // "": nothing is said
		says, do    string
	}{
		"same file":     {file, map[string]string{"DAGBUCKET_CONFIG": "s3://state/dagbucket.yaml"}, "", "", ""},
		"same route":    {route, map[string]string{"DAGBUCKET_SOURCE": "s3://acme/dags/", "DAGBUCKET_STATE": "s3://state", "ASTRO_DEPLOYMENT_ID": "clm1"}, "", "", ""},
		"nothing there": {file, nil, doctor.Fault, "it has no configuration", "set DAGBUCKET_CONFIG"},
		"another file":  {file, map[string]string{"DAGBUCKET_CONFIG": "s3://b/c.yaml"}, doctor.Fault, "it reads s3://b/c.yaml", "run doctor with DAGBUCKET_CONFIG=s3://b/c.yaml"},
		"a local file":  {map[string]string{"DAGBUCKET_CONFIG": "prod.yaml"}, file, doctor.Warning, "looked at the file prod.yaml", "run doctor with"},
		"file there":    {route, file, doctor.Fault, "the settings of its own environment", "run doctor with"},
		"route there":   {file, route, doctor.Fault, "takes one route from its environment", "set DAGBUCKET_CONFIG"},
		"another Deployment": {route, map[string]string{"DAGBUCKET_SOURCE": "s3://acme/dags", "DAGBUCKET_STATE": "s3://state/", "ASTRO_DEPLOYMENT_ID": "clm2"},
			doctor.Fault, "ASTRO_DEPLOYMENT_ID is clm2 there and clm1 here", "set the function's variables"},
		"a signed URL": {file, map[string]string{"DAGBUCKET_CONFIG": "https://acme.example/c?sig=SECRET"}, doctor.Fault, "(not shown)", "run doctor with"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := doctor.Want{Settings: c.here}.CheckSettings("dagbucket", c.there)
			if c.status == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Equal(t, c.status, found[0].Status)
			require.Contains(t, found[0].Says, c.says)
			require.True(t, strings.HasPrefix(found[0].Says, "dagbucket: "), "it names the function")
			require.Contains(t, found[0].Repair, c.do)
			require.NotContains(t, found[0].Says+found[0].Repair, "SECRET")
		})
	}
}

func TestReportInText(t *testing.T) {
	t.Parallel()
	report := &doctor.Report{
		First:  &doctor.First{Route: "prod", Check: doctor.Bad("state", "allow it", "denied")},
		Checks: []doctor.Check{doctor.Good("configuration", "valid")},
		Routes: []doctor.Route{{Route: "prod", Checks: []doctor.Check{
			{Name: "source", About: "s3://acme/dags/", Status: doctor.Warning, Says: "empty", Repair: "upload"}, doctor.Bad("state", "allow it", "denied"),
			doctor.Skip("record", "not checked, because of: state")}}},
	}
	var text bytes.Buffer
	report.Write(&text, true)
	require.Equal(t, `  ✓  configuration  valid

route prod
  !  source  s3://acme/dags/: empty
             -> upload
  ✗  state   denied
             -> allow it
  -  record  not checked, because of: state

First: state: denied
Do:    allow it
`, text.String())
	text.Reset()
	report.Write(&text, false)
	require.Contains(t, text.String(), "\n  FAULT  state   denied\n")
	for _, r := range text.String() {
		require.Less(t, r, rune(128), "ASCII only")
	}
	document, err := json.Marshal(report)
	require.NoError(t, err)
	require.JSONEq(t, `{"ok": false, "first": {"route": "prod", "name": "state", "status": "fault", "says": "denied", "repair": "allow it"},
		"checks": [{"name": "configuration", "status": "ok", "says": "valid", "repair": ""}],
		"routes": [{"route": "prod", "checks": [
			{"name": "source", "about": "s3://acme/dags/", "status": "warning", "says": "empty", "repair": "upload"},
			{"name": "state", "status": "fault", "says": "denied", "repair": "allow it"},
			{"name": "record", "status": "skipped", "says": "not checked, because of: state", "repair": ""}]}]}`, string(document))
}
