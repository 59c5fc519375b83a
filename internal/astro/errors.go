package astro

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Error is why something could not be done on Astro, in one line without a secret.
type Error struct {
	Op        string // what was being done, naming the Deployment or the deploy
	Problem   string // what is wrong
	Status    int    // HTTP status of the answer; 0 when there was none
	Message   string // the answer's own words: one line of at most 300 bytes; may be ""
	RequestID string // the API's name for the request, for Astronomer's support; may be ""
	Repair    string // what a person can do; "" when only time helps

	permanent   bool
	hibernating bool
	repeatable  bool          // the same call may go well in a moment
	noEffect    bool          // the call surely changed nothing
	retryAfter  time.Duration // what the answer asked to wait at least
	cause       error
	quiet       bool // Problem says what cause does
}

// Error says what was being done, what is wrong and what repairs it.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("astro: " + e.Op + ": " + e.Problem)
	if e.Message != "" {
		fmt.Fprintf(&b, ": %q", e.Message)
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	if e.cause != nil && !e.quiet {
		b.WriteString(": " + e.cause.Error())
	}
	if e.Repair != "" {
		b.WriteString("; " + e.Repair)
	}
	return b.String()
}

// Unwrap is the network's, the token source's or the bundle's own error, if there is one.
func (e *Error) Unwrap() error { return e.cause }

// Permanent reports whether this will not pass by itself.
func (e *Error) Permanent() bool { return e.permanent }

// Hibernating reports whether the Deployment sleeps: nothing is wrong, and nothing can be deployed until it wakes.
func (e *Error) Hibernating() bool { return e.hibernating }

// isPermanent asks another package's error.
func isPermanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

const (
	maxMessage = 300 // bytes of an answer's words that an error repeats
	maxName    = 100 // bytes of a request ID, an error code or a content type
)

// secrets are texts that no error may hold.
type secrets []string

// minSecret keeps short harmless texts (a flag in a query, a date) out of secrets.
const minSecret = 16

func (s *secrets) add(texts ...string) {
	for _, text := range texts {
		if len(text) >= minSecret {
			*s = append(*s, text)
		}
	}
}

var (
	tokenShape = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)*`)
	queryShape = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://[^\s"'<>?]*)\?[^\s"'<>]*`)
	sigShape   = regexp.MustCompile(`(?i)\b([a-z-]*sig(?:nature)?)=[^\s"'<>&]+`)
)

// redact takes the secrets out of a text, and whatever has the shape of one: a token, the query of any URL, or a signature.
func (s secrets) redact(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, "(secret)")
	}
	text = tokenShape.ReplaceAllString(text, "(token)")
	text = queryShape.ReplaceAllString(text, "$1?(query)")
	return sigShape.ReplaceAllString(text, "$1: (signature)")
}

// line makes foreign text fit to be shown: redacted, on one line, printable, at most limit bytes.
func (s secrets) line(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s.redact(text), "?"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// causeOf prepares an error of the network for wrapping. A *url.Error prints its URL, so what it wraps takes its place;
// an error that quotes a secret, or too much of an answer, is replaced by its cleaned text.
func (s secrets) causeOf(err error) error {
	var withURL *url.Error
	for errors.As(err, &withURL) {
		err = withURL.Err
	}
	if err == nil {
		return errors.New("the request failed")
	}
	if text := s.line(err.Error(), maxMessage); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// neverSent reports whether err says that no connection was made, so that the other side saw nothing.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// brokenConnection reports whether err says that a connection was made and ended before the answer.
func brokenConnection(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op == "read" || op.Op == "write" || op.Op == "readfrom"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// unreachable reports whether err says that host, or what speaks for it, is not there.
func unreachable(err error) bool {
	var lookup *net.DNSError
	var notTLS tls.RecordHeaderError
	return neverSent(err) || errors.As(err, &lookup) || errors.As(err, &notTLS)
}

func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", status, http.StatusText(status)))
}
