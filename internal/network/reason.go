package network

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// NoProxy is the repair where something answers that is not the storage.
const NoProxy = "check that no proxy answers in the storage's place"

// Reason is why a call got no answer, in the words of who reads it. repair is "" where only time helps.
func Reason(err error) (what, repair string) {
	var (
		lookup  *net.DNSError
		notTLS  tls.RecordHeaderError
		network *net.OpError // names the host; the error inside does not
	)
	connects := errors.As(err, &network) && (network.Op == "dial" || network.Op == "proxyconnect")
	switch {
	case errors.As(err, &lookup):
		return OneLine(lookup.Error()), reach(err)
	case errors.As(err, &notTLS), errors.Is(err, http.ErrSchemeMismatch):
		return "the other side does not speak TLS", reach(err)
	case connects:
		return OneLine(network.Error()), reach(err)
	case Broken(err):
		return "the connection broke", ""
	case network != nil:
		return OneLine(network.Error()), ""
	}
	return OneLine(innermost(err).Error()), ""
}

// reach is the repair where no connection was made.
func reach(err error) string {
	host := "the storage"
	var request *url.Error
	if errors.As(err, &request) {
		if endpoint, err := url.Parse(request.URL); err == nil && endpoint.Host != "" {
			host = endpoint.Host
		}
	}
	return "check that the function can reach " + host + " (DNS, VPC, proxy)"
}

// Broken reports whether err says that a connection ended where more was to come.
func Broken(err error) bool {
	for _, broken := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

// WithCause adds the end of ctx to an error that does not tell of it.
func WithCause(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}

// Say returns err with a text of its own in place of its chain's.
func Say(text string, err error) error { return said{text, err} }

type said struct {
	text string
	err  error
}

func (s said) Error() string { return s.text }
func (s said) Unwrap() error { return s.err }

// innermost is the cause of an error, without a library's words around it; of several the first.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			next = several.Unwrap()[0]
		}
		if next == nil {
			return err
		}
		err = next
	}
}

// OneLine is s without line breaks, cut where it gets long.
func OneLine(s string) string {
	const longest = 240 // bytes
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}
