// Package astro is the client of the Astro Deploy API: what a DAG-only deploy needs, and nothing more.
//
// Every method repeats what may pass where a repeat is safe, each call has its own time-out, and ctx bounds the whole.
// Errors are *Error; neither the API token nor an upload URL is ever in one.
package astro

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/network"
)

const (
	readTimeout  = 45 * time.Second // one call that changes nothing; its answer can be slow too
	writeTimeout = time.Minute      // one create or finalize; Astro's processing can be slow
	maxAnswer    = 1 << 20          // bytes of an answer that are read
)

// Options say which Deployment, and how to reach it.
type Options struct {
	BaseURL      string // such as https://api.astronomer.io/v1; plain http only to a loopback host
	Organization string // ID; "" takes it from the token, or else from the API
	Deployment   string // ID
	// Token returns the API token. It is asked once, and with refresh again when the token has ended or was refused.
	Token     func(ctx context.Context, refresh bool) (string, error)
	Version   string    // dagbucket's own, for the User-Agent
	Transport Transport // nil: one made for this; redirects are never followed
}

// Transport makes requests, for any number of clients. NewTransport makes the usual one.
type Transport = http.RoundTripper

// Client talks to one Deployment. Its methods may be called concurrently.
type Client struct {
	base         string // without trailing slash
	plainHTTP    bool   // base is plain http to a loopback host, so an upload URL may be, too
	deployment   string
	agent        string
	transport    http.RoundTripper
	token        tokenSource
	organization organization
}

// New checks the options; it makes no call. Its errors are permanent.
func New(o Options) (*Client, error) {
	refuse := func(problem, repair string) (*Client, error) {
		return nil, &Error{Op: "set up the Astro client", Problem: problem, Repair: repair, permanent: true}
	}
	base, err := url.Parse(o.BaseURL)
	switch {
	case err != nil || base.Hostname() == "" || base.User != nil || strings.ContainsAny(o.BaseURL, "?#"):
		return refuse("the API's URL is not valid", "set ASTRO_API_URL to a URL such as https://api.astronomer.io/v1, or unset it")
	case base.Scheme != "https" && !plainLoopback(base):
		return refuse("the API's URL must begin with https://", "set ASTRO_API_URL accordingly; plain http is only for a loopback host")
	case !validID(o.Deployment):
		return refuse(fmt.Sprintf("%q is not a Deployment ID", o.Deployment), "copy the ID from the Deployment's page in Astro")
	case o.Organization != "" && !validID(o.Organization):
		return refuse(fmt.Sprintf("%q is not an Organization ID", o.Organization), "copy the ID from Astro's organization settings")
	case o.Token == nil:
		return refuse("there is no API token", tokenRepair)
	}
	transport := o.Transport
	if transport == nil {
		transport = NewTransport()
	}
	return &Client{
		base:         strings.TrimRight(base.String(), "/"),
		plainHTTP:    plainLoopback(base),
		deployment:   o.Deployment,
		agent:        "dagbucket/" + agentVersion(o.Version),
		transport:    counted{transport},
		token:        tokenSource{read: o.Token, busy: make(chan struct{}, 1)},
		organization: organization{configured: o.Organization},
	}, nil
}

// idleConnections is for a client of each of many Deployments, where one connection does not take all requests (HTTP/2 does).
const idleConnections = 64

// NewTransport is made for a function that is frozen between its runs: a dead connection must show itself quickly.
func NewTransport() Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  2 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    idleConnections,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        128 << 10,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// plainLoopback reports whether u is plain http to this very machine.
func plainLoopback(u *url.URL) bool {
	if u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// validID reports whether an ID can stand in a path as it is.
func validID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, r := range id {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
			return false
		}
	}
	return true
}

func agentVersion(version string) string {
	clean := strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return -1
	}, version)
	if clean == "" {
		return "dev"
	}
	return clean
}

// request is one call of the API.
type request struct {
	op      string // for errors: what is being done
	missing string // for errors: what a 404 says is not there
	method  string
	path    string // below the base URL, query included
	body    any    // sent as JSON; nil: none
	timeout time.Duration
}

// call makes one call and decodes its answer.
func (c *Client) call(ctx context.Context, r request, answer any) error {
	return c.authorized(ctx, func(token *apiToken) error { return c.callWith(ctx, r, token, answer) })
}

// authorized makes a call. If the token is refused it is read again, and if that gives another one, the call is made once more.
func (c *Client) authorized(ctx context.Context, call func(*apiToken) error) error {
	token, err := c.token.get(ctx)
	if err != nil {
		return err
	}
	err = call(token)
	var refused *Error
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		return err
	}
	fresh, renewErr := c.token.renew(ctx, token)
	if renewErr != nil {
		return renewErr
	}
	if fresh.raw == token.raw {
		return err
	}
	return call(fresh)
}

func (c *Client) callWith(ctx context.Context, r request, token *apiToken, answer any) error {
	callCtx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	req, err := c.newRequest(callCtx, r, token)
	if err != nil {
		return &Error{Op: r.op, Problem: "the request cannot be made", permanent: true, cause: token.secrets.causeOf(err)}
	}
	// The transport is called directly, without http.Client: so no redirect is followed and no error prints a URL.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return noAnswer(ctx, callCtx, r.op, r.timeout, req.URL.Host, token.secrets, err)
	}
	body, err := readAnswer(resp)
	switch {
	case err != nil && resp.StatusCode == http.StatusOK:
		return badAnswer(ctx, callCtx, r.op, r.timeout, req.URL.Host, token.secrets, err)
	case resp.StatusCode != http.StatusOK:
		return c.refusal(r, token, resp, body)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return notJSON(r.op, token.secrets, resp, body, err)
	}
	return nil
}

func (c *Client) newRequest(ctx context.Context, r request, token *apiToken) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		content, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(content)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, body)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token.raw)
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("X-Astro-Client-Identifier", "dagbucket")
	return req, nil
}

var errTooLong = errors.New("the answer is longer than 1 MiB")

// readAnswer reads and closes a body; what lies beyond maxAnswer is never read.
func readAnswer(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errTooLong
	}
	return body, err
}

// noAnswer is the error of a call that ended without an answer from host. ctx is the caller's, callCtx the call's own.
func noAnswer(ctx, callCtx context.Context, op string, timeout time.Duration, host string, s secrets, err error) error {
	switch {
	case ctx.Err() != nil:
		return &Error{Op: op, Problem: "interrupted", cause: context.Cause(ctx)}
	case callCtx.Err() != nil:
		return &Error{Op: op, Problem: fmt.Sprintf("no complete answer within %s", timeout), repeatable: true}
	}
	e := &Error{Op: op, Problem: "no answer", repeatable: true, noEffect: neverSent(err), cause: s.causeOf(err)}
	if unreachable(err) {
		e.Repair = "check that the function can reach " + host + " (DNS, VPC, proxy)"
	}
	return e
}

// badAnswer is the error of a call whose answer began well and could not be read to its end.
func badAnswer(ctx, callCtx context.Context, op string, timeout time.Duration, host string, s secrets, err error) error {
	if errors.Is(err, errTooLong) {
		return &Error{Op: op, Problem: err.Error(), Repair: baseURLRepair, permanent: true}
	}
	return noAnswer(ctx, callCtx, op, timeout, host, s, fmt.Errorf("the answer broke off: %w", err))
}

const baseURLRepair = "check that ASTRO_API_URL is the Astro API's (https://api.astronomer.io/v1) and that no proxy answers in its place"

// notJSON is the error of an answer with status 200 that does not say what it should.
func notJSON(op string, s secrets, resp *http.Response, body []byte, err error) error {
	var syntax *json.SyntaxError
	if len(bytes.TrimSpace(body)) == 0 || errors.As(err, &syntax) && syntax.Offset >= int64(len(body)) {
		return &Error{Op: op, Problem: "the answer is empty or cut short", Status: resp.StatusCode, repeatable: true}
	}
	kind := s.line(resp.Header.Get("Content-Type"), maxName)
	if media, _, mimeErr := mime.ParseMediaType(kind); mimeErr == nil {
		kind = media
	}
	return &Error{Op: op, Problem: fmt.Sprintf("the answer (%q) is not the expected JSON", kind), Status: resp.StatusCode,
		Repair: baseURLRepair, permanent: true}
}

// refusal turns an answer other than 200 into an error.
func (c *Client) refusal(r request, token *apiToken, resp *http.Response, body []byte) error {
	e := &Error{Op: r.op, Status: resp.StatusCode, Problem: statusText(resp.StatusCode)}
	var said struct {
		Message   string `json:"message"`
		RequestID string `json:"requestId"`
	}
	if json.Unmarshal(body, &said) == nil {
		e.Message = token.secrets.line(said.Message, maxMessage)
		e.RequestID = token.secrets.line(said.RequestID, maxName)
	}
	switch status := resp.StatusCode; {
	case status == http.StatusBadRequest && strings.Contains(strings.ToUpper(said.Message), "HIBERNATING"):
		e.Problem, e.Repair = hibernates, wakeRepair
		e.hibernating, e.permanent = true, true
	case status == http.StatusUnauthorized:
		e.Problem, e.Repair = "Astro refuses the API token ("+e.Problem+")", tokenRepair
		e.permanent, e.noEffect = true, true
	case status == http.StatusForbidden:
		e.Problem, e.Repair = "the API token has no right to do this ("+e.Problem+")", c.rightsRepair(token)
		e.permanent, e.noEffect = true, true
	case status == http.StatusNotFound:
		e.Problem, e.Repair = r.missing+" ("+e.Problem+")", c.missingRepair(token)
		e.permanent = true
	case status == http.StatusTooManyRequests:
		e.Problem = "Astro asks to slow down (" + e.Problem + ")"
		e.repeatable, e.noEffect, e.retryAfter = true, true, network.RetryAfter(resp.Header)
	case status >= 300 && status < 400:
		e.Problem, e.Repair = "the API answers with a redirect ("+e.Problem+"), which is not followed", baseURLRepair
		e.permanent = true
	case status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly:
		e.repeatable, e.retryAfter = true, network.RetryAfter(resp.Header)
	case status == http.StatusConflict || status == http.StatusLocked:
		// Somebody else is at work on the Deployment; the next run looks again.
	default:
		e.permanent = true
	}
	return e
}

func (c *Client) rightsRepair(token *apiToken) string {
	return fmt.Sprintf("give it a role that may deploy to Deployment %s (such as Deployment Admin or Workspace Operator)%s",
		c.deployment, c.otherOrganization(token))
}

func (c *Client) missingRepair(token *apiToken) string {
	return "check the IDs of organization and Deployment in the configuration" + c.otherOrganization(token)
}

// otherOrganization points out that the token was made for another organization than the configured one.
func (c *Client) otherOrganization(token *apiToken) string {
	configured := c.organization.configured
	if configured == "" || len(token.organizations) != 1 || token.organizations[0].id == configured {
		return ""
	}
	return fmt.Sprintf("; the token belongs to organization %s, the configuration says %s", token.organizations[0].id, configured)
}
