package doctor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/doctor"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
	"github.com/dagbucket/dagbucket/internal/state"
)

// settings are the configuration of a set-up, which faults change.
type settings struct {
	Source, State, Deployment, Organization, Token, MaxWait string
	Extra                                                   string // another line of the route
}

func (s settings) yaml() []byte {
	organization := ""
	if s.Organization != "" {
		organization = "\n    organization: " + s.Organization
	}
	return fmt.Appendf(nil, `state: %s
routes:
  - name: prod
    sources: [{url: %q}]
    deployment: %s%s
    token: %q
    quiet_period: 0s
    max_wait: %s
%s`, s.State, s.Source, s.Deployment, organization, s.Token, s.MaxWait, s.Extra)
}

// setup is what both clouds' set-ups have in common: a stand-in for Astro, and one route that ran.
type setup struct {
	t        *testing.T
	astro    *astrotest.Server
	token    string
	settings settings
	place    string // of the configuration
	env      map[string]string
	buckets  bucket.Openers
	secrets  secret.Resolver
	clouds   func() map[string]doctor.Cloud // new ones, as each call of the command line has
	late     time.Duration                  // of the local clock
	readOnly atomic.Bool                    // the token's role may not deploy
	litters  bool                           // nothing can be deleted
}

func newSetup(t *testing.T) *setup {
	s := &setup{t: t, astro: astrotest.New(astrotest.Options{}), token: astrotest.Token(astrotest.OrganizationID, time.Time{})}
	require.NoError(t, s.astro.Start())
	t.Cleanup(s.astro.Close)
	server := httptest.NewServer(http.HandlerFunc(s.api))
	t.Cleanup(server.Close)
	s.env = map[string]string{"ASTRO_API_URL": server.URL + "/v1"}
	return s
}

// api is Astro's, for a token with the rights that it has.
func (s *setup) api(w http.ResponseWriter, r *http.Request) {
	if s.readOnly.Load() && r.Method == http.MethodPost {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"message": "You are not authorized to perform this action", "statusCode": 403}`)
		return
	}
	s.astro.ServeHTTP(w, r)
}

func (s *setup) getenv(name string) string {
	if value, ok := s.env[name]; ok {
		return value
	}
	return os.Getenv(name)
}

// configure stores the configuration's file.
func (s *setup) configure(content []byte) {
	s.t.Helper()
	s.put(s.place, string(content))
}

func (s *setup) bucketOf(url string) (bucket.Bucket, string) {
	s.t.Helper()
	u, key, err := bucket.ParseObjectURL(url)
	require.NoError(s.t, err)
	b, err := s.buckets.Open(s.t.Context(), u)
	require.NoError(s.t, err)
	return b, key
}

func (s *setup) put(url, content string) {
	s.t.Helper()
	b, key := s.bucketOf(url)
	_, err := b.Put(s.t.Context(), key, strings.NewReader(content), bucket.Always)
	require.NoError(s.t, err)
}

func (s *setup) remove(url string) {
	s.t.Helper()
	b, key := s.bucketOf(url)
	require.NoError(s.t, b.Delete(s.t.Context(), key, ""))
}

func (s *setup) load(ctx context.Context) (*config.Config, error) {
	return config.Load(ctx, s.getenv, s.buckets.ReadURL)
}

// route is the only route, as the function wires it.
func (s *setup) route() *deployer.Route {
	s.t.Helper()
	cfg, err := s.load(s.t.Context())
	require.NoError(s.t, err)
	svc, err := service.New(s.t.Context(), cfg, service.Deps{Buckets: s.buckets, Secrets: s.secrets, Version: "test", Log: slog.New(slog.DiscardHandler)})
	require.NoError(s.t, err)
	route, err := svc.Route("")
	require.NoError(s.t, err)
	return route
}

// sync is what the schedule does.
func (s *setup) sync() deployer.Result {
	s.t.Helper()
	return s.route().Sync(s.t.Context(), nil)
}

// edit changes the record.
func (s *setup) edit(change func(*state.Record)) {
	s.t.Helper()
	store := s.route().Store
	record, version, err := store.ReadRecord(s.t.Context())
	require.NoError(s.t, err)
	change(&record)
	_, err = store.SwapRecord(s.t.Context(), record, version)
	require.NoError(s.t, err)
}

// replace changes a part of a stored object.
func (s *setup) replace(url, old, changed string) {
	s.t.Helper()
	b, key := s.bucketOf(url)
	content, _, err := bucket.Read(s.t.Context(), b, key, "", 1<<20)
	require.NoError(s.t, err)
	require.Contains(s.t, string(content), old)
	s.put(url, strings.Replace(string(content), old, changed, 1))
}

// diagnose runs doctor as the command line does. Nothing that it says holds a secret.
func (s *setup) diagnose(deep bool) *doctor.Report {
	s.t.Helper()
	sum := ""
	report := doctor.Run(s.t.Context(), doctor.Options{
		Load: func(ctx context.Context) (*config.Config, error) {
			cfg, err := s.load(ctx)
			if err == nil {
				content, err := s.buckets.ReadURL(ctx, s.place)
				require.NoError(s.t, err)
				hash := sha256.Sum256(content)
				sum = hex.EncodeToString(hash[:])
			}
			return cfg, err
		},
		Place: s.env["DAGBUCKET_CONFIG"], Buckets: s.buckets, Secrets: s.secrets, Clouds: s.clouds(), Version: "test", Deep: deep,
		Settings: map[string]string{"DAGBUCKET_CONFIG": s.env["DAGBUCKET_CONFIG"]}, ConfigSHA256: func() string { return sum },
		Now: func() time.Time { return time.Now().Add(-s.late) },
	})
	var text bytes.Buffer
	report.Write(&text, true)
	document, err := json.Marshal(report)
	require.NoError(s.t, err)
	for _, part := range append(strings.Split(s.token, ".")[1:], "AKIASECRET", "sig=") {
		require.NotContains(s.t, text.String()+string(document), part)
	}
	if !s.litters {
		s.noProbe()
	}
	return report
}

// noProbe sees that nothing of doctor's is left in the state.
func (s *setup) noProbe() {
	b, err := s.buckets.Open(s.t.Context(), mustURL(s.t, s.settings.State))
	if err != nil {
		return
	}
	listing, err := b.List(s.t.Context(), "")
	if err != nil {
		return
	}
	for _, o := range listing.Objects {
		require.NotContains(s.t, o.Key, "doctor-")
	}
}

func mustURL(t *testing.T, s string) bucket.URL {
	u, err := bucket.ParseURL(s)
	require.NoError(t, err)
	return u
}

// row is one fault.
type row[T any] struct {
	fault  string
	inject func(T)
	deep   bool
	exit   int
	check  string // that names it first
	says   string // a part of what that says
	do     string // a part of the repair that it names
	repair func(T)
}

// runTable injects each fault into a set-up of its own: doctor must name that fault first, and be content after the repair that it names.
// With -v the table is printed.
func runTable[T interface{ diagnose(bool) *doctor.Report }](t *testing.T, rows []row[T], healthy func(*testing.T) T) {
	var table strings.Builder
	fmt.Fprintf(&table, "| fault | doctor says first | repair |\n|---|---|---|\n")
	for _, r := range rows {
		t.Run(r.fault, func(t *testing.T) {
			w := healthy(t)
			requireWell(t, w.diagnose(r.deep))
			r.inject(w)
			report := w.diagnose(r.deep)
			require.NotNil(t, report.First, "%s", textOf(report))
			first := report.First
			require.Equal(t, r.check, first.Name, "%s", textOf(report))
			require.Contains(t, first.Says, r.says, "%s", textOf(report))
			require.Contains(t, first.Repair, r.do)
			require.NotEmpty(t, r.do)
			require.Equal(t, r.exit, report.ExitCode(), "%s", textOf(report))
			r.repair(w)
			requireWell(t, w.diagnose(r.deep))
			fmt.Fprintf(&table, "| %s | %s `%s`: %s | %s |\n", r.fault, first.Status, first.Name, cell(first.Says), cell(first.Repair))
		})
	}
	t.Log("\n" + table.String())
}

func requireWell(t *testing.T, report *doctor.Report) {
	t.Helper()
	require.True(t, report.OK, "%s", textOf(report))
	require.Zero(t, report.ExitCode())
}

// requireRefusal wants a refusal alone to be a warning that names the right.
func requireRefusal(t *testing.T, report *doctor.Report, right string) {
	t.Helper()
	require.NotNil(t, report.First)
	require.Equal(t, 2, report.ExitCode(), "%s", textOf(report))
	require.Contains(t, report.First.Repair, right)
}

func textOf(report *doctor.Report) string {
	var text bytes.Buffer
	report.Write(&text, false)
	return text.String()
}

// cell is a text as a table can hold it.
func cell(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.ReplaceAll(text, "|", "\\|")
}

// statuses are the checks' own, by name; of several the worst.
func statuses(checks []doctor.Check) map[string]doctor.Status {
	worst := map[doctor.Status]int{doctor.OK: 0, doctor.Skipped: 1, doctor.Warning: 2, doctor.Fault: 3}
	found := map[string]doctor.Status{}
	for _, c := range checks {
		if known, ok := found[c.Name]; !ok || worst[c.Status] > worst[known] {
			found[c.Name] = c.Status
		}
	}
	return found
}
