package astro

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/network"
)

const (
	uploadTimeout = 2 * time.Minute // for one upload, plus its length at slowestUpload
	slowestUpload = 2 << 20         // bytes per second
	// askFirst is the size from which the storage is asked whether it wants the body (Expect: 100-continue), so that
	// an expired URL is told as such and not as a connection that broke somewhere in a gigabyte.
	askFirst = 1 << 20
)

const noProxy = "check that no proxy answers in the storage's place"

// Upload stores the DAG bundle of a deploy with one PUT and returns the DAG tarball version that the storage gave it.
// open begins reading the bundle, of size bytes; it is called again for each repeat, and its own errors are final.
// When the upload URL has expired the error is not permanent: another deploy gets another URL.
func (c *Client) Upload(ctx context.Context, d Deploy, open func(context.Context) (io.ReadCloser, error), size int64) (version string, err error) {
	op := "upload the DAG bundle of deploy " + d.ID
	target, hidden, problem := d.upload.target(c.plainHTTP)
	if problem != "" {
		return "", &Error{Op: op, Problem: problem, permanent: true}
	}
	if size <= 0 {
		return "", &Error{Op: op, Problem: "the bundle's size is not known", permanent: true}
	}
	put := upload{op: op, target: target, secrets: hidden, open: open, size: size, agent: c.agent, transport: c.transport}
	err = repeat(ctx, func() (err error) {
		version, err = put.once(ctx)
		return err
	})
	return version, err
}

type upload struct {
	op        string
	target    *url.URL
	secrets   secrets
	open      func(context.Context) (io.ReadCloser, error)
	size      int64
	agent     string
	transport http.RoundTripper
}

// once makes one PUT. A crash after it leaves a version of the blob that nothing refers to.
func (u upload) once(ctx context.Context) (version string, err error) {
	timeout := uploadTimeout + time.Duration(u.size/slowestUpload)*time.Second
	putCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	bundle, err := u.open(putCtx)
	if err != nil {
		return "", &Error{Op: u.op, Problem: "the stored bundle cannot be opened", permanent: isPermanent(err), cause: u.secrets.causeOf(err)}
	}
	body := &exactly{body: bundle, size: u.size}
	req := (&http.Request{Method: http.MethodPut, URL: u.target, Host: u.target.Host, Body: body, ContentLength: u.size,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}).WithContext(putCtx)
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	req.Header.Set("User-Agent", u.agent)
	if u.size >= askFirst {
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := u.transport.RoundTrip(req)
	if err != nil {
		if readErr := body.failure(); readErr != nil && putCtx.Err() == nil {
			return "", &Error{Op: u.op, Problem: "the stored bundle cannot be read", permanent: isPermanent(readErr),
				repeatable: !isPermanent(readErr), cause: u.secrets.causeOf(readErr)}
		}
		return "", u.noAnswer(ctx, putCtx, timeout, err)
	}
	if resp.StatusCode != http.StatusCreated {
		answer, _ := readAnswer(resp)
		return "", u.refusal(resp, answer)
	}
	_ = resp.Body.Close() // the header says it all
	version = resp.Header.Get("x-ms-version-id")
	if version == "" || len(version) > maxName || u.secrets.line(version, maxName) != version {
		return "", &Error{Op: u.op, Problem: "the storage gave no usable version (x-ms-version-id)", Status: resp.StatusCode}
	}
	return version, nil
}

// noAnswer is the error of a PUT that ended without an answer.
func (u upload) noAnswer(ctx, putCtx context.Context, timeout time.Duration, err error) error {
	if putCtx.Err() == nil && brokenConnection(err) {
		return &Error{Op: u.op, Problem: "the connection broke during the upload", repeatable: true, cause: u.secrets.causeOf(err), quiet: true}
	}
	return noAnswer(ctx, putCtx, u.op, timeout, u.target.Host, u.secrets, err)
}

// refusal turns the storage's answer other than 201 into an error. Its XML is read for the code only: the message
// goes on over the string that was signed.
func (u upload) refusal(resp *http.Response, body []byte) error {
	e := &Error{Op: u.op, Status: resp.StatusCode, Problem: statusText(resp.StatusCode) + " from the storage"}
	code := resp.Header.Get("x-ms-error-code")
	if code == "" {
		var said struct {
			Code string `xml:"Code"`
		}
		if xml.Unmarshal(body, &said) == nil {
			code = said.Code
		}
	}
	e.Message = u.secrets.line(code, maxName)
	e.RequestID = u.secrets.line(resp.Header.Get("x-ms-request-id"), maxName)
	switch status := resp.StatusCode; {
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		e.Problem += ": it refuses the signed upload URL, which has probably expired"
		e.Repair = "the next run makes a new deploy, with a new URL"
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		e.repeatable, e.retryAfter = true, network.RetryAfter(resp.Header)
	case status >= 200 && status < 300:
		e.Problem += ", where 201 was expected"
		e.Repair = noProxy
	case status >= 300 && status < 400:
		e.Problem += ": a redirect, which is not followed"
		e.Repair, e.permanent = noProxy, true
	case status == http.StatusBadRequest || status == http.StatusLengthRequired || status == http.StatusRequestEntityTooLarge:
		e.permanent = true
	}
	return e
}

// exactly is a body of a known length: a read beyond or short of it fails.
type exactly struct {
	body io.ReadCloser
	size int64
	read int64

	mu     sync.Mutex // the transport may still be reading when its RoundTrip has returned
	failed error
}

func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.body.Read(p)
	e.read += int64(n)
	switch {
	case e.read > e.size:
		err = fmt.Errorf("it is longer than its %d bytes", e.size)
	case err == io.EOF && e.read < e.size:
		err = fmt.Errorf("it ends after %d of %d bytes: %w", e.read, e.size, io.ErrUnexpectedEOF)
	}
	if err != nil && err != io.EOF {
		e.mu.Lock()
		e.failed = err
		e.mu.Unlock()
	}
	return n, err
}

func (e *exactly) Close() error { return e.body.Close() }

func (e *exactly) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

// uploadURL gives a signed URL, a secret: whoever has it can replace the DAGs. It is a function, since whatever prints
// the struct around it finds its way to a string, but not into a function. nil: there is none.
type uploadURL func() string

const hiddenURL = "(upload URL)"

func (uploadURL) String() string               { return hiddenURL }
func (uploadURL) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, hiddenURL) }
func (uploadURL) LogValue() slog.Value         { return slog.StringValue(hiddenURL) }
func (uploadURL) MarshalText() ([]byte, error) { return []byte(hiddenURL), nil }

// target is the URL as it must be on the wire, byte for byte, with the texts that must not be shown; problem says why
// it cannot be used. It may go to any https host, and to a plain loopback one if the API itself is one.
func (u uploadURL) target(plainHTTP bool) (target *url.URL, hidden secrets, problem string) {
	const unusable = "Astro gave an upload URL that cannot be used: "
	if u == nil {
		return nil, nil, "this deploy has no upload URL; only a new deploy has one"
	}
	raw := u()
	for _, b := range []byte(raw) {
		if b <= ' ' || b >= 0x7f || b == '#' {
			return nil, nil, unusable + "it is malformed"
		}
	}
	target, err := url.Parse(raw)
	switch {
	case err != nil || target.Opaque != "" || target.Host == "" || target.User != nil:
		return nil, nil, unusable + "it is malformed"
	case target.Scheme == "http" && plainHTTP && plainLoopback(target):
	case target.Scheme != "https":
		return nil, nil, unusable + "it does not begin with https:// (plain http is only for a loopback host)"
	}
	hidden.add(raw, target.RawQuery, target.RequestURI())
	for pair := range strings.SplitSeq(target.RawQuery, "&") {
		_, value, _ := strings.Cut(pair, "=")
		hidden.add(value)
		if plain, err := url.QueryUnescape(value); err == nil {
			hidden.add(plain)
		}
	}
	if !exactOnWire(target, raw) {
		return nil, nil, unusable + "it is malformed"
	}
	return target, hidden, ""
}

// exactOnWire makes target's request line equal to raw: net/url would encode some characters of a path anew, and the
// signature would no longer fit. It reports whether that worked.
func exactOnWire(target *url.URL, raw string) bool {
	_, afterScheme, _ := strings.Cut(raw, "://")
	wire := "/"
	if i := strings.IndexAny(afterScheme, "/?"); i >= 0 {
		wire = "/" + strings.TrimPrefix(afterScheme[i:], "/")
	}
	if target.RequestURI() == wire {
		return true
	}
	target.Opaque, _, _ = strings.Cut(wire, "?")
	return target.RequestURI() == wire
}
