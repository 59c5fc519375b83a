package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"syscall"

	"github.com/dagbucket/dagbucket/internal/network"
)

// unanswered says why there was no answer, in words of its own: the library's hold the address, or the name of the host, which may be as
// secret. Nothing else of err is kept, since whoever logs it could print its chain.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &silence{"the webhook did not answer", context.Cause(ctx)}
	}
	var (
		lookup      *net.DNSError
		notTLS      tls.RecordHeaderError
		certificate *tls.CertificateVerificationError
		connection  *net.OpError
		alert       tls.AlertError
		slow        net.Error
	)
	why := "no answer that is one of HTTP"
	switch {
	case errors.As(err, &lookup):
		why = "its host's name was not found"
	case errors.As(err, &certificate), errors.As(err, new(x509.UnknownAuthorityError)):
		why = "its certificate is not valid"
	case errors.As(err, &notTLS), errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &alert):
		why = "it does not speak TLS as we do"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "its host refused the connection"
	case errors.As(err, &slow) && slow.Timeout():
		why = "its host was silent for too long"
	case network.Broken(err):
		why = "the connection broke"
	case errors.As(err, &connection):
		why = "no connection to its host was made"
	}
	return errors.New("the webhook could not be reached: " + why)
}

// silence is an error that tells of the end of a context.
type silence struct {
	text  string
	cause error
}

func (s *silence) Error() string { return s.text + ": " + s.cause.Error() }
func (s *silence) Unwrap() error { return s.cause }
