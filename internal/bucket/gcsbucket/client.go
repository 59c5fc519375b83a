package gcsbucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/storage"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/googleauth"
	"github.com/dagbucket/dagbucket/internal/network"
)

// Client makes the requests of any number of buckets.
type Client struct {
	storage *storage.Client
	payer   func(context.Context) (string, error)
}

// Options say where and as whom a client makes its requests.
type Options struct {
	// Endpoint is the URL of a server without authentication, such as "http://127.0.0.1:4443"; "" is Cloud Storage itself, or the server
	// that STORAGE_EMULATOR_HOST names.
	Endpoint string
	// Anonymous makes requests without credentials.
	Anonymous bool
	// Credentials are those of the requests; nil finds the Application Default Credentials.
	Credentials *auth.Credentials
	// Payer names the project that pays for the requests to a requester-pays bucket. It is asked when a bucket wants one; nil names none.
	Payer func(context.Context) (string, error)
	// Transport makes the connections; nil is network.NewTransport.
	Transport http.RoundTripper
}

// NewClient returns a client. It makes no request to the storage.
func NewClient(ctx context.Context, o Options) (*Client, error) {
	base := o.Transport
	if base == nil {
		base = network.NewTransport()
	}
	if o.Payer == nil {
		o.Payer = func(context.Context) (string, error) { return "", errors.New("no project is known") }
	}
	var wire http.RoundTripper = &transport{base}
	opts := []option.ClientOption{storage.WithJSONReads(), storage.WithDisabledClientMetrics()} // errors of XML reads lose their words
	if o.Endpoint != "" {
		opts = append(opts, option.WithEndpoint(o.Endpoint+"/storage/v1/"))
	}
	if !o.Anonymous && o.Endpoint == "" {
		if o.Credentials == nil {
			found, err := googleauth.Default(storage.ScopeReadWrite)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", bucket.ErrDenied, err)
			}
			o.Credentials = found
		}
		authenticated, err := htransport.NewTransport(ctx, wire, option.WithAuthCredentials(o.Credentials), option.WithTelemetryDisabled())
		if err != nil {
			return nil, fmt.Errorf("making a client of Cloud Storage: %w", err)
		}
		wire = authenticated
	}
	// The transport authenticates, so the library need not look for credentials once more.
	opts = append(opts, option.WithoutAuthentication(), option.WithHTTPClient(&http.Client{Transport: wire}))
	client, err := storage.NewClient(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("making a client of Cloud Storage: %w", err)
	}
	return &Client{storage: client, payer: o.Payer}, nil
}

// call is what is noted of the answers to one call of the contract.
type call struct {
	mu           sync.Mutex
	first, last  time.Time // the storage's clock, at the beginning of the first answer and at the last one
	gen          int64
	broken       *brokenBody   // the body's own error
	firstElapsed time.Duration // how long the first answer took
}

type callKey struct{}

// withCall returns a context whose answers are noted in the call.
func withCall(ctx context.Context) (context.Context, *call) {
	c := new(call)
	return context.WithValue(ctx, callKey{}, c), c
}

// began is the storage's clock when the first answer was asked for. The answer may be dated long after what it shows; of whole seconds
// Date knows nothing anyway.
func (c *call) began() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first.Add(-c.firstElapsed.Truncate(time.Second))
}

func (c *call) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *call) generation() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gen
}

func (c *call) note(header http.Header, took time.Duration) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		date = time.Now().UTC() // no Date in the answer: no Cloud Storage does that
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last = date.UTC(); c.first.IsZero() {
		c.first, c.firstElapsed = c.last, took
	}
	c.gen, _ = strconv.ParseInt(header.Get("X-Goog-Generation"), 10, 64) // 0 is none
}

// writeInterval is from one write of an object to the next (cloud.google.com/storage/quotas#objects).
const writeInterval = time.Second

var errForeign = errors.New("the answer is not one of Cloud Storage: " + network.NoProxy)

// brokenBody ends the library's own way of going on with a body: bucket.NewReader does that, within bounds.
type brokenBody struct{ error }

func (b *brokenBody) Unwrap() error { return b.error }

// transport counts requests, notes the storage's clock and doubts pages of listings.
type transport struct{ base http.RoundTripper }

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, _ := req.Context().Value(callKey{}).(*call)
	if c != nil {
		if broken := c.broke(); broken != nil {
			return nil, broken
		}
	}
	listing, media := isListing(req), req.URL.Query().Get("alt") == "media"
	count(req, listing)
	switch {
	case listing:
		req = askForKind(req)
	case media:
		req = req.Clone(req.Context())
		req.Header.Set("Accept-Encoding", "gzip") // as it is stored, so that its size is the one that was listed, and offsets mean something
	}
	began := time.Now()
	answer, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if c != nil && answer.StatusCode < 300 {
		c.note(answer.Header, time.Since(began))
	}
	switch {
	case answer.StatusCode == http.StatusTooManyRequests:
		slowDown(req.Context())
	case listing && answer.StatusCode < 300:
		return checkPage(req, answer)
	case media && c != nil:
		answer.Body = &body{answer.Body, c}
	}
	return answer, nil
}

// slowDown makes the next attempt come late enough: the library's pauses may be much shorter than the second that Cloud Storage wants
// between two writes of an object. Waiting before each write instead would cost every deploy that second.
func slowDown(ctx context.Context) {
	timer := time.NewTimer(writeInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func count(req *http.Request, listing bool) {
	requests := bucket.RequestsOf(req.Context())
	switch {
	case listing:
		requests.List.Add(1)
	case req.Method == http.MethodGet:
		requests.Get.Add(1)
	case req.Method == http.MethodDelete:
		requests.Delete.Add(1)
	default:
		requests.Put.Add(1)
	}
}

func isListing(req *http.Request) bool {
	return req.Method == http.MethodGet && strings.HasSuffix(req.URL.EscapedPath(), "/o") && !strings.Contains(req.URL.EscapedPath(), "/o/")
}

// askForKind makes a page tell what it is: the library asks for nothing but what it needs.
func askForKind(req *http.Request) *http.Request {
	query := req.URL.Query()
	query.Set("fields", "kind,"+query.Get("fields"))
	req = req.Clone(req.Context())
	req.URL.RawQuery = query.Encode()
	return req
}

const maxPage = 64 << 20 // bytes; a page of a thousand of the longest names has 4 MiB

// checkPage refuses a page that is not one, and one that does not get on: the library reads any document as a page.
func checkPage(req *http.Request, answer *http.Response) (*http.Response, error) {
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxPage+1))
	_ = answer.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("a page of the listing broke off: %w", io.ErrUnexpectedEOF)
	}
	var page struct {
		Kind, NextPageToken string
		Items               []*struct{}
	}
	if json.Unmarshal(content, &page) != nil || page.Kind != "storage#objects" || slices.Contains(page.Items, nil) || len(content) > maxPage {
		return nil, errForeign
	}
	if page.NextPageToken != "" && page.NextPageToken == req.URL.Query().Get("pageToken") {
		return nil, errors.New("the listing does not get on: its next page is the same again")
	}
	answer.Body = io.NopCloser(bytes.NewReader(content))
	return answer, nil
}

// body notes that it broke.
type body struct {
	io.ReadCloser
	call *call
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.call.mu.Lock()
		b.call.broken = &brokenBody{err}
		b.call.mu.Unlock()
	}
	return n, err
}

func (c *call) broke() *brokenBody {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}
