package astro_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// TestDAGOnlyDeploy goes the whole way over a real connection, with the client's own transport.
func TestDAGOnlyDeploy(t *testing.T) {
	for _, size := range []int{100, 3 << 20} { // the larger one asks before it sends
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			server := astrotest.New(astrotest.Options{})
			require.NoError(t, server.Start())
			t.Cleanup(server.Close)
			client, err := astro.New(astro.Options{BaseURL: server.URL() + "/", Deployment: deploymentID, Version: "1.2.3",
				Token: func(context.Context, bool) (string, error) { return astrotest.Token(orgID, time.Time{}) + "\n", nil }})
			require.NoError(t, err)
			ctx := t.Context()

			id, err := client.Organization(ctx)
			require.NoError(t, err)
			require.Equal(t, orgID, id)
			before, err := client.Deployment(ctx)
			require.NoError(t, err)
			require.NoError(t, before.Check())
			require.Equal(t, "3.1-1", before.RuntimeVersion)
			d, err := client.CreateDeploy(ctx, "dagbucket/prod/abc")
			require.NoError(t, err)
			require.Equal(t, astro.Initialized, d.Status)
			content := []byte(strings.Repeat("x", size))
			version, err := client.Upload(ctx, d, opens(content), int64(size))
			require.NoError(t, err)
			require.NoError(t, client.Finalize(ctx, d.ID, version))

			after, err := client.Deployment(ctx)
			require.NoError(t, err)
			require.True(t, after.Live(version))
			require.Equal(t, content, server.Live(deploymentID))
			read, err := client.Deploy(ctx, d.ID)
			require.NoError(t, err)
			require.Equal(t, []any{astro.Deployed, "dagbucket/prod/abc", version, astro.DAGOnly},
				[]any{read.Status, read.Description, read.DAGTarballVersion, read.Type})
			require.Equal(t, map[astrotest.Call]int{astrotest.GetDeployment: 2, astrotest.CreateDeploy: 1, astrotest.Upload: 1,
				astrotest.Finalize: 1, astrotest.GetDeploy: 1}, server.Calls())
		})
	}
}

func TestNewRefuses(t *testing.T) {
	token := func(context.Context, bool) (string, error) { return "", nil }
	for name, test := range map[string]struct {
		change func(*astro.Options)
		says   string
	}{
		"no URL":                    {func(o *astro.Options) { o.BaseURL = "" }, "ASTRO_API_URL"},
		"no host":                   {func(o *astro.Options) { o.BaseURL = "https:///v1" }, "ASTRO_API_URL"},
		"plain http":                {func(o *astro.Options) { o.BaseURL = "http://api.astronomer.io/v1" }, "must begin with https://"},
		"plain http, odd loopback":  {func(o *astro.Options) { o.BaseURL = "http://127.0.0.1.example.com/v1" }, "must begin with https://"},
		"ftp":                       {func(o *astro.Options) { o.BaseURL = "ftp://127.0.0.1/v1" }, "must begin with https://"},
		"password in URL":           {func(o *astro.Options) { o.BaseURL = "https://me:hunter2@api.example.com" }, "ASTRO_API_URL"},
		"query":                     {func(o *astro.Options) { o.BaseURL = "https://api.example.com/v1?" }, "ASTRO_API_URL"},
		"no Deployment":             {func(o *astro.Options) { o.Deployment = "" }, `"" is not a Deployment ID`},
		"path as Deployment":        {func(o *astro.Options) { o.Deployment = "../x" }, `"../x" is not a Deployment ID`},
		"organization with a slash": {func(o *astro.Options) { o.Organization = "a/b" }, `"a/b" is not an Organization ID`},
		"no token":                  {func(o *astro.Options) { o.Token = nil }, "no API token"},
	} {
		t.Run(name, func(t *testing.T) {
			o := astro.Options{BaseURL: "https://api.astronomer.io/v1", Deployment: deploymentID, Token: token}
			_, err := astro.New(o)
			require.NoError(t, err)
			test.change(&o)
			_, err = astro.New(o)
			require.ErrorContains(t, err, test.says)
			require.True(t, failure(t, err).Permanent())
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestLoopbackMayBePlain(t *testing.T) {
	for _, base := range []string{"http://localhost:1/v1", "http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:8080/v1"} {
		_, err := astro.New(astro.Options{BaseURL: base, Deployment: deploymentID,
			Token: func(context.Context, bool) (string, error) { return "", nil }})
		require.NoError(t, err, base)
	}
}

// TestRefusals: each refusal is one clear line that names the thing and the repair.
func TestRefusals(t *testing.T) {
	readDeployment := func(w *world, ctx context.Context) error { _, err := w.Deployment(ctx); return err }
	create := func(w *world, ctx context.Context) error { _, err := w.CreateDeploy(ctx, "x"); return err }
	check := func(w *world, ctx context.Context) error {
		d, err := w.Deployment(ctx)
		if err != nil {
			return err
		}
		return d.Check()
	}
	refuse := func(call astrotest.Call, status int) func(*world) {
		return func(w *world) { w.server.Inject(astrotest.Fault{Call: call, Status: status, Times: -1}) }
	}
	update := func(change func(*astrotest.Deployment)) func(*world) {
		return func(w *world) { w.server.Update(deploymentID, change) }
	}
	token := func(token string) func(*world) { return func(w *world) { w.token = token } }
	for name, test := range map[string]struct {
		given       func(*world)
		client      astro.Options
		do          func(*world, context.Context) error
		says        []string
		hibernating bool
	}{
		"DAG deploys off": {given: update(func(d *astrotest.Deployment) { d.DAGDeploysOff = true }), do: check,
			says: []string{deploymentID, "Test Deployment", "DAG-only deploys are turned off", "--dag-deploy enable"}},
		"DAG deploys off after the check": {given: update(func(d *astrotest.Deployment) { d.DAGDeploysOff = true }), do: create,
			says: []string{deploymentID, "DAG-only deploys are turned off", "--dag-deploy enable"}},
		"hibernating": {given: update(func(d *astrotest.Deployment) { d.Hibernating = true }), do: check, hibernating: true,
			says: []string{deploymentID, "hibernates", "wake it"}},
		"hibernating after the check": {given: update(func(d *astrotest.Deployment) { d.Hibernating = true }), do: create, hibernating: true,
			says: []string{deploymentID, "hibernates", "HIBERNATING state", "wake it"}},
		"Remote Execution": {given: update(func(d *astrotest.Deployment) { d.RemoteExecution = true }), do: check,
			says: []string{deploymentID, "Remote Execution", "choose a Deployment without"}},
		"wrong Deployment": {client: astro.Options{Deployment: "clmwrong"}, do: readDeployment,
			says: []string{"organization " + orgID + " has no Deployment clmwrong", "404", "check the IDs"}},
		"wrong organization": {client: astro.Options{Organization: "clmother"}, do: readDeployment,
			says: []string{"no right", "403", "the token belongs to organization " + orgID + ", the configuration says clmother"}},
		"token without rights": {given: refuse(astrotest.CreateDeploy, 403), do: create,
			says: []string{deploymentID, "no right", "403", "give it a role"}},
		"token refused": {given: refuse(astrotest.GetDeployment, 401), do: readDeployment,
			says: []string{deploymentID, "refuses the API token", "401", "put a valid Astro API token"}},
		"token expired": {given: token(astrotest.Token(orgID, time.Date(1999, 1, 2, 3, 4, 5, 0, time.UTC))), do: readDeployment,
			says: []string{"API token", "expired on 1999-01-02T03:04:05Z", "put a valid Astro API token"}},
		"token empty":  {given: token(" \n"), do: readDeployment, says: []string{"API token", "empty", "ASTRO_API_TOKEN"}},
		"token is not": {given: token("hunter2"), do: readDeployment, says: []string{"no Astro API token", "ASTRO_API_TOKEN"}},
		"token is JSON": {given: token(`{"token":"a.b.c"}`), do: readDeployment,
			says: []string{"it is JSON", "aws-sm:ARN#key"}},
		"token with Bearer": {given: token("Bearer " + astrotest.Token(orgID, time.Time{})), do: readDeployment,
			says: []string{"no Astro API token", "not base64"}},
		"token without claims": {given: token("YQ.YQ.YQ"), do: readDeployment, says: []string{"no Astro API token", "claims"}},
		"redirect": {given: refuse(astrotest.GetDeployment, 302), do: readDeployment,
			says: []string{deploymentID, "redirect", "302", "ASTRO_API_URL"}},
		"bad request": {given: func(w *world) {
			w.server.Inject(astrotest.Fault{Call: astrotest.CreateDeploy, Status: 400, Message: "description is rude"})
		}, do: create, says: []string{deploymentID, "400", "description is rude", "request 8a3b1e52"}},
		"no such deploy": {do: func(w *world, ctx context.Context) error { _, err := w.Deploy(ctx, "clvnone"); return err },
			says: []string{"Deployment " + deploymentID + " has no deploy clvnone", "404"}},
		"odd deploy ID": {do: func(w *world, ctx context.Context) error { return w.Finalize(ctx, "../x", "v") },
			says: []string{`"../x"`, "not a deploy ID"}},
		"finalize of an unknown version": {do: func(w *world, ctx context.Context) error {
			d, err := w.CreateDeploy(ctx, "x")
			if err != nil {
				return err
			}
			return w.Finalize(ctx, d.ID, "2020-01-01T00:00:00.0000000Z")
		}, says: []string{"finalize deploy clv", "400", "unknown DAG tarball version"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, astrotest.Options{}, test.client)
				if test.given != nil {
					test.given(w)
				}
				err := test.do(w, t.Context())
				for _, words := range test.says {
					require.ErrorContains(t, err, words)
				}
				failed := failure(t, err)
				require.True(t, failed.Permanent())
				require.Equal(t, test.hibernating, failed.Hibernating())
				require.NotContains(t, err.Error(), "hunter2")
			})
		})
	}
}

func TestOrganization(t *testing.T) {
	for name, test := range map[string]struct {
		permissions []string
		configured  string
		shown       []astrotest.Organization
		want        string
		says        []string
		asked       int
	}{
		"configured":         {permissions: []string{"organizationId:clmother"}, configured: orgID, want: orgID},
		"in the token":       {permissions: []string{"workspaceId:w", "organizationId:clmtoken"}, want: "clmtoken"},
		"twice in the token": {permissions: []string{"organizationId:clmtoken", "organizationId:clmtoken"}, want: "clmtoken"},
		"several in the token": {permissions: []string{"organizationId:clmone", "organizationId:clmtwo"},
			says: []string{"several: clmone, clmtwo", "ASTRO_ORGANIZATION_ID"}},
		"the only one shown": {shown: []astrotest.Organization{{ID: "clmshown", Name: "Shown"}}, want: "clmshown", asked: 1},
		"several shown": {shown: []astrotest.Organization{{ID: "clmone", Name: "One"}, {ID: "clmtwo", Name: "Two"}}, asked: 2,
			says: []string{"several: clmone (One), clmtwo (Two)", "ASTRO_ORGANIZATION_ID"}},
		"none shown":             {shown: []astrotest.Organization{}, says: []string{"shows none", "ASTRO_ORGANIZATION_ID"}, asked: 2},
		"unsafe ID in the token": {permissions: []string{"organizationId:../x"}, want: orgID, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, astrotest.Options{Organizations: test.shown}, func(t *testing.T, w *world) {
				if test.configured != "" {
					configured := newWorld(t, astrotest.Options{}, astro.Options{Organization: test.configured})
					w = configured
				}
				w.token = astrotest.TokenWith(test.permissions, time.Time{})
				for range 2 { // the second time from memory, if it was found
					id, err := w.Organization(t.Context())
					if test.says == nil {
						require.NoError(t, err)
						require.Equal(t, test.want, id)
						continue
					}
					for _, words := range test.says {
						require.ErrorContains(t, err, words)
					}
					require.True(t, failure(t, err).Permanent())
				}
				require.Equal(t, test.asked, w.calls(astrotest.ListOrganizations))
			})
		})
	}
}

func TestTokenRotation(t *testing.T) {
	t.Run("a refused token is read again", func(t *testing.T) {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			_, err := w.Deployment(t.Context())
			require.NoError(t, err)
			w.token = astrotest.Token(orgID, time.Time{})
			w.server.AcceptTokens(w.token)
			for range 3 {
				_, err = w.Deployment(t.Context())
				require.NoError(t, err)
			}
			require.Equal(t, []bool{false, true}, w.reads)
			require.Equal(t, 1+4, w.calls(astrotest.GetDeployment))
		})
	})
	t.Run("in the middle of a deploy", func(t *testing.T) {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			d, version := w.uploaded(t)
			w.token = astrotest.Token(orgID, time.Time{})
			w.server.AcceptTokens(w.token)
			require.NoError(t, w.Finalize(t.Context(), d.ID, version))
			require.Len(t, w.server.Finalized(deploymentID), 1)
		})
	})
	t.Run("the same token again is not sent again", func(t *testing.T) {
		inBubble(t, astrotest.Options{Tokens: []string{"none"}}, func(t *testing.T, w *world) {
			_, err := w.Deployment(t.Context())
			require.Equal(t, 401, failure(t, err).Status)
			require.Equal(t, []bool{false, true}, w.reads)
			require.Equal(t, 1, w.calls(astrotest.GetDeployment))
		})
	})
	t.Run("another token that is refused, too, ends it", func(t *testing.T) {
		inBubble(t, astrotest.Options{Tokens: []string{"none"}}, func(t *testing.T, w *world) {
			_, err := w.Organization(t.Context())
			require.NoError(t, err)
			w.token = astrotest.Token(orgID, time.Time{})
			_, err = w.Deployment(t.Context())
			require.Equal(t, 401, failure(t, err).Status)
			require.Equal(t, 2, w.calls(astrotest.GetDeployment))
		})
	})
	t.Run("an expired token is read again before it is used", func(t *testing.T) {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			_, err := w.Deployment(t.Context())
			require.NoError(t, err)
			time.Sleep(2 * time.Hour)
			w.token = astrotest.Token(orgID, time.Now().Add(time.Hour))
			_, err = w.Deployment(t.Context())
			require.NoError(t, err)
			require.Equal(t, []bool{false, true}, w.reads)
			require.Equal(t, 2, w.calls(astrotest.GetDeployment))
		})
	})
	t.Run("two calls that are refused at once read it once", func(t *testing.T) {
		inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
			_, err := w.Organization(t.Context())
			require.NoError(t, err)
			gate := make(chan struct{})
			w.server.Inject(astrotest.Fault{Call: astrotest.GetDeployment, Times: 2, Wait: gate, Pass: true})
			w.token = astrotest.Token(orgID, time.Time{})
			w.server.AcceptTokens(w.token)
			failures := make(chan error, 2)
			for range 2 {
				go func() { _, err := w.Deployment(t.Context()); failures <- err }()
			}
			synctest.Wait()
			close(gate)
			require.NoError(t, <-failures)
			require.NoError(t, <-failures)
			require.Equal(t, []bool{false, true}, w.reads)
			require.Equal(t, 4, w.calls(astrotest.GetDeployment))
		})
	})
	t.Run("a source that fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			denied := &permanentError{}
			w := newWorld(t, astrotest.Options{}, astro.Options{Token: func(context.Context, bool) (string, error) { return "", denied }})
			_, err := w.Deployment(t.Context())
			require.ErrorIs(t, err, denied)
			require.True(t, failure(t, err).Permanent())
			require.ErrorContains(t, err, "astro: read the API token: it cannot be read: access denied")
		})
	})
	t.Run("a source that hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, astrotest.Options{}, astro.Options{Token: func(ctx context.Context, _ bool) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			}})
			start := time.Now()
			_, err := w.Deployment(t.Context())
			require.False(t, failure(t, err).Permanent())
			require.Equal(t, 45*time.Second, time.Since(start))
		})
	})
}

type permanentError struct{}

func (*permanentError) Error() string   { return "access denied" }
func (*permanentError) Permanent() bool { return true }

func TestHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []*http.Request
		server := astrotest.New(astrotest.Options{})
		w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			seen = append(seen, r)
			return server.Transport().RoundTrip(r)
		})})
		d, version := w.uploaded(t)
		require.NoError(t, w.Finalize(t.Context(), d.ID, version))
		require.Len(t, seen, 3)
		for _, r := range seen {
			require.Equal(t, "dagbucket/1.2.3", r.Header.Get("User-Agent"))
			if r.Method == http.MethodPut {
				require.Empty(t, r.Header.Values("Authorization"))
				require.Equal(t, "BlockBlob", r.Header.Get("x-ms-blob-type"))
				require.Equal(t, int64(len(archive)), r.ContentLength)
				continue
			}
			require.Equal(t, "Bearer "+w.token, r.Header.Get("Authorization"))
			require.Equal(t, "dagbucket", r.Header.Get("X-Astro-Client-Identifier"))
			require.Equal(t, "application/json", r.Header.Get("Content-Type"))
		}
	})
}

// TestBodiesAreClosed: those of answers, good and bad, and those that are sent.
func TestBodiesAreClosed(t *testing.T) {
	for _, status := range []int{0, 200, 400, 500, 503} {
		synctest.Test(t, func(t *testing.T) {
			server := astrotest.New(astrotest.Options{})
			for _, call := range []astrotest.Call{astrotest.GetDeployment, astrotest.CreateDeploy, astrotest.Upload, astrotest.Finalize} {
				if status != 0 {
					server.Inject(astrotest.Fault{Call: call, Skip: 1, Status: status, Times: 1, Body: "odd"})
				}
			}
			var open atomic.Int64
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := server.Transport().RoundTrip(r)
				if err == nil {
					open.Add(1)
					resp.Body = &closing{ReadCloser: resp.Body, open: &open}
				}
				return resp, err
			})})
			for range 2 {
				_, _ = w.Deployment(t.Context())
				d, err := w.CreateDeploy(t.Context(), "")
				if err != nil {
					continue
				}
				version, _ := w.Upload(t.Context(), d, func(context.Context) (io.ReadCloser, error) {
					open.Add(1)
					return &closing{ReadCloser: io.NopCloser(newReader(archive)), open: &open}, nil
				}, int64(len(archive)))
				_ = w.Finalize(t.Context(), d.ID, version)
			}
			synctest.Wait()
			require.Zero(t, open.Load())
		})
	}
}

// closing counts down when it is closed for the first time.
type closing struct {
	io.ReadCloser
	open *atomic.Int64
	once sync.Once
}

func (c *closing) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.ReadCloser.Close()
}

// TestRedirects: none is followed, so neither token nor bundle reaches another host.
func TestRedirects(t *testing.T) {
	var reached []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached = append(reached, r.Method+" "+r.URL.Path)
	}))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for call, do := range map[astrotest.Call]func(*astro.Client) error{
			astrotest.GetDeployment: func(c *astro.Client) error { _, err := c.Deployment(t.Context()); return err },
			astrotest.CreateDeploy:  func(c *astro.Client) error { _, err := c.CreateDeploy(t.Context(), ""); return err },
			astrotest.Upload: func(c *astro.Client) error {
				d, err := c.CreateDeploy(t.Context(), "")
				require.NoError(t, err)
				_, err = c.Upload(t.Context(), d, opens(archive), int64(len(archive)))
				return err
			},
		} {
			t.Run(fmt.Sprint(status, call), func(t *testing.T) {
				server := astrotest.New(astrotest.Options{})
				require.NoError(t, server.Start())
				t.Cleanup(server.Close)
				server.Inject(astrotest.Fault{Call: call, Status: status, Header: http.Header{"Location": {other.URL + "/?sig=secret"}}})
				client, err := astro.New(astro.Options{BaseURL: server.URL(), Deployment: deploymentID,
					Token: func(context.Context, bool) (string, error) { return astrotest.Token(orgID, time.Time{}), nil }})
				require.NoError(t, err)
				err = do(client)
				require.ErrorContains(t, err, "redirect")
				require.True(t, failure(t, err).Permanent())
				require.Equal(t, status, failure(t, err).Status)
				require.NotContains(t, err.Error(), "sig=")
			})
		}
	}
	require.Empty(t, reached)
}

// TestHostileAnswers: whatever the other side says, the error is clear, bounded, and told apart.
func TestHostileAnswers(t *testing.T) {
	deployment := `{"id":"` + deploymentID + `","isDagDeployEnabled":true,"name":"x"}`
	html := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	for name, test := range map[string]struct {
		answer    http.RoundTripper
		says      string
		permanent bool
		calls     int
	}{
		"HTML with 200":          {always(200, html, "<html>Sign in</html>"), `("text/html") is not the expected JSON; check that ASTRO_API_URL`, true, 1},
		"HTML with 502":          {always(502, html, "<html>Bad gateway</html>"), "HTTP 502 Bad Gateway (tried 5 times)", false, 5},
		"empty":                  {always(200, nil, ""), "empty or cut short", false, 5},
		"cut short":              {always(200, nil, deployment[:20]), "empty or cut short", false, 5},
		"another type":           {always(200, nil, `{"id":7}`), "is not the expected JSON", true, 1},
		"a list":                 {always(200, nil, `[]`), "is not the expected JSON", true, 1},
		"null":                   {always(200, nil, `null`), "is not about this Deployment", true, 1},
		"another Deployment":     {always(200, nil, strings.ReplaceAll(deployment, deploymentID, "clmother")), "is not about this Deployment", true, 1},
		"missing field":          {always(200, nil, `{"id":"`+deploymentID+`"}`), "is not about this Deployment", true, 1},
		"created instead":        {always(201, nil, deployment), "HTTP 201 Created", true, 1},
		"no content":             {always(204, nil, ""), "HTTP 204 No Content", true, 1},
		"huge":                   {always(200, nil, deployment+strings.Repeat(" ", 1<<20)), "longer than 1 MiB", true, 1},
		"endless":                {endless(200), "longer than 1 MiB", true, 1},
		"endless error":          {endless(500), "HTTP 500", false, 5},
		"never comes":            {hanging{}, "no complete answer within 45s", false, 5},
		"never ends":             {dripping{}, "no complete answer within 45s", false, 5},
		"breaks off":             {breaking{}, "the answer broke off: connection reset by peer", false, 5},
		"status unknown":         {always(799, nil, ""), "HTTP 799", false, 5},
		"long and wild message":  {always(400, nil, `{"message":"`+strings.Repeat(`\n\u0007\u202e`, 9)+strings.Repeat("é", 9000)+`"}`), "ééé", true, 1},
		"error of another shape": {always(400, nil, `{"message":{"a":1}}`), "HTTP 400 Bad Request", true, 1},
		"conflict":               {always(409, nil, `{"message":"busy"}`), `HTTP 409 Conflict: "busy"`, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					calls++
					return test.answer.RoundTrip(r)
				})})
				_, err := w.Deployment(t.Context())
				require.ErrorContains(t, err, test.says)
				require.ErrorContains(t, err, "read Deployment "+deploymentID)
				require.Less(t, len(err.Error()), 800)
				require.Equal(t, test.permanent, failure(t, err).Permanent())
				require.Equal(t, test.calls, calls)
				require.NotRegexp(t, `[[:cntrl:]]|\x{202e}`, err.Error())
			})
		})
	}
}

// TestHostileDeploys: answers of the other calls.
func TestHostileDeploys(t *testing.T) {
	create := func(w *world, ctx context.Context) error { _, err := w.CreateDeploy(ctx, ""); return err }
	list := func(w *world, ctx context.Context) error { _, err := w.Deploys(ctx, 10); return err }
	read := func(w *world, ctx context.Context) error { _, err := w.Deploy(ctx, "clv1"); return err }
	for name, test := range map[string]struct {
		do        func(*world, context.Context) error
		body      string
		says      string
		permanent bool
	}{
		"create: no ID":            {create, `{"dagsUploadUrl":"https://x"}`, "no usable deploy ID", true},
		"create: path as ID":       {create, `{"id":"../../x","dagsUploadUrl":"https://x"}`, "no usable deploy ID", true},
		"create: no URL":           {create, `{"id":"clv1","isDagDeployEnabled":true}`, "no upload URL", false},
		"create: no URL, DAGs off": {create, `{"id":"clv1"}`, "DAG-only deploys are turned off", true},
		"list: no list":            {list, `{"message":"hi"}`, "no list of deploys", true},
		"read: another":            {read, `{"id":"clv2"}`, "about another deploy", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: always(200, nil, test.body)})
			err := test.do(w, t.Context())
			require.ErrorContains(t, err, test.says)
			require.Equal(t, test.permanent, failure(t, err).Permanent())
		})
	}
}

// TestAnswersThatNeverEnd: of each call, and of its repeats, a bounded part is read in a bounded time, and the error is short.
func TestAnswersThatNeverEnd(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   func(context.Context) io.Reader
	}{
		"endless 200":   {200, func(context.Context) io.Reader { return spaces{} }},
		"endless 201":   {201, func(context.Context) io.Reader { return spaces{} }},
		"endless 403":   {403, func(context.Context) io.Reader { return spaces{} }},
		"endless 503":   {503, func(context.Context) io.Reader { return spaces{} }},
		"dripping 200":  {200, func(ctx context.Context) io.Reader { return drops{ctx} }},
		"dripping 201":  {201, func(ctx context.Context) io.Reader { return drops{ctx} }},
		"dripping 400":  {400, func(ctx context.Context) io.Reader { return drops{ctx} }},
		"endless lists": {200, func(context.Context) io.Reader { return nested{} }},
	} {
		for call, do := range map[string]func(context.Context, *world, astro.Deploy) error{
			"deployment": func(ctx context.Context, w *world, _ astro.Deploy) error { _, err := w.Deployment(ctx); return err },
			"deploys":    func(ctx context.Context, w *world, _ astro.Deploy) error { _, err := w.Deploys(ctx, 3); return err },
			"deploy":     func(ctx context.Context, w *world, d astro.Deploy) error { _, err := w.Deploy(ctx, d.ID); return err },
			"create": func(ctx context.Context, w *world, _ astro.Deploy) error {
				_, err := w.CreateDeploy(ctx, "")
				return err
			},
			"finalize": func(ctx context.Context, w *world, d astro.Deploy) error { return w.Finalize(ctx, d.ID, "v1") },
			"upload": func(ctx context.Context, w *world, d astro.Deploy) error {
				_, err := w.Upload(ctx, d, opens(archive), int64(len(archive)))
				return err
			},
		} {
			t.Run(name+" "+call, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					counted, hostile, calls := &counting{}, false, 0
					w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
						if !hostile {
							return always(200, nil, createAnswer(signedURL)).RoundTrip(r)
						}
						calls++
						counted.Reader = answer.body(r.Context())
						return &http.Response{StatusCode: answer.status, Header: http.Header{}, Body: io.NopCloser(counted), Request: r}, nil
					})})
					d, err := w.CreateDeploy(t.Context(), "")
					require.NoError(t, err)
					hostile = true
					start := time.Now()
					err = do(t.Context(), w, d)
					failed := failure(t, err)
					require.Less(t, len(err.Error()), 800)
					require.NotEmpty(t, failed.Op)
					require.Less(t, time.Since(start), 15*time.Minute, "longer than a function may run")
					require.LessOrEqual(t, calls, 10)
					require.LessOrEqual(t, counted.n, calls*(1<<20+1))
				})
			})
		}
	}
}

// counting counts what is read.
type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// nested is a list in a list in a list, without end.
type nested struct{}

func (nested) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	return len(p), nil
}

func endless(status int) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(spaces{}), Request: r}, nil
	})
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// hanging never answers.
type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// dripping sends a byte a second.
type dripping struct{}

func (dripping) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(drops{r.Context()}), Request: r}, nil
}

type drops struct{ ctx context.Context }

func (d drops) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	}
}

// breaking answers well and then the connection breaks.
type breaking struct{}

func (breaking) RoundTrip(r *http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(`{"id":`), failing{errNetwork})
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body), Request: r}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestDeploys(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		none, err := w.Deploys(t.Context(), 5)
		require.NoError(t, err)
		require.Empty(t, none)
		var want []string
		for i := range 4 {
			time.Sleep(time.Second)
			d, err := w.CreateDeploy(t.Context(), fmt.Sprint("deploy ", i))
			require.NoError(t, err)
			want = append([]string{d.ID}, want...)
		}
		deploys, err := w.Deploys(t.Context(), 3)
		require.NoError(t, err)
		require.Equal(t, want[:3], ids(deploys))
		require.Equal(t, "dagbucket-token", deploys[0].CreatedBy)
		require.Equal(t, "deploy 3", deploys[0].Description)
		require.Equal(t, time.Now().UTC(), deploys[0].CreatedAt)
	})
}

func ids(deploys []astro.Deploy) []string {
	var list []string
	for _, d := range deploys {
		list = append(list, d.ID)
	}
	return list
}

// TestDeploysOldestFirst: no document promises an order of the list.
func TestDeploysOldestFirst(t *testing.T) {
	w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		var offset, limit int
		_, err := fmt.Sscanf(r.URL.RawQuery, "offset=%d&limit=%d", &offset, &limit)
		require.NoError(t, err)
		var list []string
		for i := offset; i < min(offset+limit, 10); i++ {
			list = append(list, fmt.Sprintf(`{"id":"clv%d","createdAt":"2026-01-01T00:00:%02dZ"}`, i, i))
		}
		return always(200, nil, `{"totalCount":10,"deploys":[`+strings.Join(list, ",")+`]}`).RoundTrip(r)
	})})
	deploys, err := w.Deploys(t.Context(), 3)
	require.NoError(t, err)
	require.Equal(t, []string{"clv9", "clv8", "clv7"}, ids(deploys))
}

func TestDescriptionIsCut(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		d, err := w.CreateDeploy(t.Context(), strings.Repeat("é", 501))
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("é", 500), d.Description)
	})
}

func TestLive(t *testing.T) {
	inBubble(t, astrotest.Options{LiveAfter: time.Minute}, func(t *testing.T, w *world) {
		d, version := w.uploaded(t)
		require.NoError(t, w.Finalize(t.Context(), d.ID, version))
		deployment, err := w.Deployment(t.Context())
		require.NoError(t, err)
		require.False(t, deployment.Live(version))
		require.Equal(t, []string{"", version, "DEPLOYING"}, []string{deployment.DAGTarballVersion, deployment.DesiredDAGTarballVersion, deployment.Status})
		time.Sleep(time.Minute)
		deployment, err = w.Deployment(t.Context())
		require.NoError(t, err)
		require.True(t, deployment.Live(version))
		require.False(t, deployment.Live(""))
	})
}

// refused is how the transport says that nobody listens.
var refused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
