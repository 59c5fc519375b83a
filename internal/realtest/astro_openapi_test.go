package realtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// apiDescription is Astro's own OpenAPI description. It is not ours to copy, so it lies beside the project, where
// ASTRO_OPENAPI says otherwise. Without it there is nothing to check against: this is the one test that may skip.
func apiDescription(t *testing.T) routers.Router {
	t.Helper()
	path := os.Getenv("ASTRO_OPENAPI")
	if path == "" {
		path = filepath.Join("..", "..", "..", "shared", "astro-openapi.yaml")
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Skipf("NOTHING IS CHECKED against Astro's OpenAPI description: there is no %s; set ASTRO_OPENAPI to its path", path)
	}
	doc, err := openapi3.NewLoader().LoadFromFile(path)
	require.NoError(t, err)
	for _, schema := range doc.Components.Schemas {
		if len(schema.Value.Properties) > 0 { // so that a misspelt field is found
			schema.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: new(bool)}
		}
	}
	doc.Servers = openapi3.Servers{{URL: "/v1"}}
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	return router
}

// checked is a transport that compares each call and its answer with the description.
type checked struct {
	to       http.RoundTripper
	router   routers.Router
	seen     map[string]int // operation and status
	problems []string
}

func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := c.to.RoundTrip(r)
	if err != nil || strings.HasPrefix(r.URL.Path, "/blobs/") { // the storage's, not the API's
		return resp, err
	}
	answered, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answered))
	if problem := c.check(r.Context(), r, sent, resp, answered); problem != nil {
		c.problems = append(c.problems, fmt.Sprintf("%s %s: %d: %v", r.Method, r.URL.Path, resp.StatusCode, problem))
	}
	return resp, nil
}

func (c *checked) check(ctx context.Context, r *http.Request, sent []byte, resp *http.Response, answered []byte) error {
	if r.Method == http.MethodGet && r.URL.Path == "/v1/organizations" {
		c.seen[fmt.Sprint("ListOrganizations ", resp.StatusCode)]++
		return nil // not part of the reduced description
	}
	ours := r.Clone(ctx)
	ours.Body = io.NopCloser(bytes.NewReader(sent))
	route, params, err := c.router.FindRoute(ours)
	if err != nil {
		return err
	}
	c.seen[fmt.Sprint(route.Operation.OperationID, " ", resp.StatusCode)]++
	request := &openapi3filter.RequestValidationInput{Request: ours, PathParams: params, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: hasToken}}
	if err := openapi3filter.ValidateRequest(ctx, request); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if unlisted(route.Operation.OperationID, resp.StatusCode) {
		return nil
	}
	response := &openapi3filter.ResponseValidationInput{RequestValidationInput: request, Status: resp.StatusCode, Header: resp.Header,
		Options: request.Options}
	return openapi3filter.ValidateResponse(ctx, response.SetBodyBytes(answered))
}

func hasToken(_ context.Context, input *openapi3filter.AuthenticationInput) error {
	if !strings.HasPrefix(input.RequestValidationInput.Request.Header.Get("Authorization"), "Bearer ") {
		return errors.New("no bearer token")
	}
	return nil
}

// unlisted are answers that the description leaves out, though a client meets them: rate limits, a gateway's own
// errors, and a finalize for what is not there.
func unlisted(operation string, status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable ||
		operation == "FinalizeDeploy" && status == http.StatusNotFound
}

type astroWorld struct {
	*astro.Client
	server *astrotest.Server
	wire   *checked
	token  string
}

func newAstroWorld(t *testing.T, router routers.Router, o astrotest.Options, deploymentID string) *astroWorld {
	t.Helper()
	w := &astroWorld{server: astrotest.New(o), token: astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))}
	w.wire = &checked{to: w.server.Transport(), router: router, seen: map[string]int{}}
	client, err := astro.New(astro.Options{BaseURL: "http://127.0.0.1/v1", Deployment: deploymentID, Version: "test", Transport: w.wire,
		Token: func(context.Context, bool) (string, error) { return w.token, nil }})
	require.NoError(t, err)
	w.Client = client
	return w
}

func (w *astroWorld) deploy(ctx context.Context) error {
	if _, err := w.Deployment(ctx); err != nil {
		return err
	}
	if _, err := w.Deploys(ctx, 100); err != nil {
		return err
	}
	d, err := w.CreateDeploy(ctx, "dagbucket/prod/0123")
	if err != nil {
		return err
	}
	content := []byte("bundle")
	version, err := w.Upload(ctx, d, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }, 6)
	if err != nil {
		return err
	}
	if err := w.Finalize(ctx, d.ID, version); err != nil {
		return err
	}
	_, err = w.Deploy(ctx, d.ID)
	return err
}

// TestAstroAPI: what the client sends and what the stand-in answers is what Astro's description says.
func TestAstroAPI(t *testing.T) {
	router := apiDescription(t)
	hold := func(d *astrotest.Deployment) { d.Hibernating = true }
	for name, test := range map[string]struct {
		deployment astrotest.Deployment
		id         string
		given      func(*astroWorld)
		fails      bool
		sees       []string
	}{
		"deploy":               {sees: []string{"GetDeployment 200", "ListDeploys 200", "CreateDeploy 200", "FinalizeDeploy 200", "GetDeploy 200"}},
		"HYBRID on Runtime 13": {deployment: astrotest.Deployment{Type: "HYBRID", RuntimeVersion: "13.2.0"}, sees: []string{"FinalizeDeploy 200"}},
		"Remote Execution":     {deployment: astrotest.Deployment{RemoteExecution: true}, sees: []string{"GetDeployment 200"}},
		"organization asked for": {given: func(w *astroWorld) { w.token = astrotest.Token("", time.Time{}) },
			sees: []string{"ListOrganizations 200", "FinalizeDeploy 200"}},
		"after other deploys": {given: func(w *astroWorld) {
			w.server.DeployFromOutside(astrotest.DeploymentID, "IMAGE_AND_DAG", "theirs", []byte("x"))
			id, _ := w.server.DeployFromOutside(astrotest.DeploymentID, "DAG_ONLY", "theirs", []byte("x"))
			w.server.FailDeploy(astrotest.DeploymentID, id)
		}, sees: []string{"ListDeploys 200"}},
		"hibernating":     {given: func(w *astroWorld) { w.server.Update(astrotest.DeploymentID, hold) }, fails: true, sees: []string{"CreateDeploy 400"}},
		"DAG deploys off": {deployment: astrotest.Deployment{DAGDeploysOff: true}, fails: true, sees: []string{"CreateDeploy 200"}},
		"no such":         {id: "clmnone", fails: true, sees: []string{"GetDeployment 404"}},
		"refused token":   {given: func(w *astroWorld) { w.server.AcceptTokens() }, fails: true, sees: []string{"GetDeployment 401"}},
		"no rights": {given: func(w *astroWorld) { w.server.Inject(astrotest.Fault{Call: astrotest.Finalize, Status: 403}) },
			fails: true, sees: []string{"FinalizeDeploy 403"}},
		"lost finalize": {given: func(w *astroWorld) {
			w.server.Inject(astrotest.Fault{Call: astrotest.Finalize, Status: 500, TakesEffect: true})
		}, sees: []string{"FinalizeDeploy 500", "GetDeploy 200"}},
		"rate limit": {given: func(w *astroWorld) {
			w.server.Inject(astrotest.Fault{Call: astrotest.CreateDeploy, Status: 429})
		}, sees: []string{"CreateDeploy 429", "CreateDeploy 200"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				id := test.id
				if id == "" {
					id = astrotest.DeploymentID
				}
				w := newAstroWorld(t, router, astrotest.Options{Deployments: []astrotest.Deployment{test.deployment}}, id)
				if test.given != nil {
					test.given(w)
				}
				err := w.deploy(t.Context())
				require.Equal(t, test.fails, err != nil, "%v", err)
				require.Empty(t, w.wire.problems)
				for _, call := range test.sees {
					require.NotZero(t, w.wire.seen[call], "%s in %v", call, w.wire.seen)
				}
			})
		})
	}
}

// TestAstroStandInForOthers checks the calls that the stand-in serves and the client does not make.
func TestAstroStandInForOthers(t *testing.T) {
	router := apiDescription(t)
	w := newAstroWorld(t, router, astrotest.Options{}, astrotest.DeploymentID)
	require.NoError(t, w.deploy(t.Context()))
	deployID := w.server.Finalized(astrotest.DeploymentID)[0].DeployID
	deployment := "/organizations/" + astrotest.OrganizationID + "/deployments/" + astrotest.DeploymentID
	for _, call := range []struct{ method, path, body, want string }{
		{"GET", "/organizations/" + astrotest.OrganizationID + "/deployments", "", "ListDeployments 200"},
		{"POST", deployment + "/deploys/" + deployID + "/rollback", `{"description":"back"}`, "DeployRollback 200"},
		{"GET", deployment + "/deploys", "", "ListDeploys 200"},
		{"POST", deployment + "/hibernation-override", `{"isHibernating":true,"overrideUntil":"2030-01-01T00:00:00Z"}`, "UpdateDeploymentHibernationOverride 200"},
		{"POST", deployment + "/deploys/clvnone/rollback", `{}`, "DeployRollback 404"},
		{"GET", deployment + "/deploys/clvnone", "", "GetDeploy 404"},
	} {
		before := w.wire.seen[call.want]
		r, err := http.NewRequestWithContext(t.Context(), call.method, "http://127.0.0.1/v1"+call.path, strings.NewReader(call.body))
		require.NoError(t, err)
		r.Header = http.Header{"Authorization": {"Bearer " + w.token}, "Content-Type": {"application/json"}}
		_, err = w.wire.RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, before+1, w.wire.seen[call.want], "%v", w.wire.seen)
	}
	require.Empty(t, w.wire.problems)
}

// TestAstroCheckCanFail breaks requests and answers, one thing at a time: each must be found.
func TestAstroCheckCanFail(t *testing.T) {
	router := apiDescription(t)
	deploys := "http://127.0.0.1/v1/organizations/o/deployments/d/deploys"
	good := `{"id":"clv1","createdAt":"2026-01-01T00:00:00Z","deploymentId":"d","imageRepository":"i","imageTag":"t",` +
		`"isDagDeployEnabled":true,"status":"INITIALIZED","type":"DAG_ONLY"}`
	type exchange struct {
		method, url, token, sent string
		status                   int
		answered                 string
	}
	base := exchange{"POST", deploys, "Bearer x", `{"type":"DAG_ONLY","description":"x"}`, 200, good}
	for name, test := range map[string]struct {
		change func(*exchange)
		found  string // "": nothing is wrong
	}{
		"nothing":                {func(*exchange) {}, ""},
		"unknown path":           {func(e *exchange) { e.url += "s" }, "no matching operation"},
		"unknown method":         {func(e *exchange) { e.method = "PATCH" }, "method not allowed"},
		"no token":               {func(e *exchange) { e.token = "" }, "no bearer token"},
		"unknown type of deploy": {func(e *exchange) { e.sent = `{"type":"DAGS"}` }, "request"},
		"misspelt field":         {func(e *exchange) { e.sent = `{"type":"DAG_ONLY","descripton":"x"}` }, "descripton"},
		"long description":       {func(e *exchange) { e.sent = `{"type":"DAG_ONLY","description":"` + strings.Repeat("x", 501) + `"}` }, "500"},
		"missing field":          {func(e *exchange) { e.sent = `{}` }, `"type" is missing`},
		"unlisted status":        {func(e *exchange) { e.status = 201 }, "status"},
		"answer without ID":      {func(e *exchange) { e.answered = strings.Replace(good, `"id":"clv1",`, "", 1) }, `"id" is missing`},
		"unknown status":         {func(e *exchange) { e.answered = strings.Replace(good, "INITIALIZED", "STARTED", 1) }, "allowed values"},
		"no boolean":             {func(e *exchange) { e.answered = strings.Replace(good, "true", `"true"`, 1) }, "boolean"},
		"unknown field":          {func(e *exchange) { e.answered = strings.Replace(good, `{`, `{"dagsUploadURL":"x",`, 1) }, "dagsUploadURL"},
		"not a time":             {func(e *exchange) { e.answered = strings.Replace(good, "T00:00:00Z", "", 1) }, "date-time"},
		"error without request":  {func(e *exchange) { e.status, e.answered = 400, `{"message":"x","statusCode":400}` }, `"requestId" is missing`},
		"HTML":                   {func(e *exchange) { e.answered = "<html>" }, "response body"},
	} {
		t.Run(name, func(t *testing.T) {
			e := base
			test.change(&e)
			to := answers(func(*http.Request) *http.Response {
				return &http.Response{StatusCode: e.status, Header: http.Header{"Content-Type": {"application/json"}},
					Body: io.NopCloser(strings.NewReader(e.answered))}
			})
			wire := &checked{to: to, router: router, seen: map[string]int{}}
			r, err := http.NewRequestWithContext(t.Context(), e.method, e.url, strings.NewReader(e.sent))
			require.NoError(t, err)
			r.Header = http.Header{"Authorization": {e.token}, "Content-Type": {"application/json"}}
			_, err = wire.RoundTrip(r)
			require.NoError(t, err)
			if test.found == "" {
				require.Empty(t, wire.problems)
				return
			}
			require.Len(t, wire.problems, 1)
			require.True(t, slices.ContainsFunc(wire.problems, func(p string) bool { return strings.Contains(p, test.found) }), "%q", wire.problems)
		})
	}
}

type answers func(*http.Request) *http.Response

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }
