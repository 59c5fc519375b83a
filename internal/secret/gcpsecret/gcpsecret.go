// Package gcpsecret reads secrets from Google Cloud's Secret Manager.
package gcpsecret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/api/option"
	"google.golang.org/api/secretmanager/v1"

	"github.com/dagbucket/dagbucket/internal/googleauth"
	"github.com/dagbucket/dagbucket/internal/secret"
)

const (
	readTimeout = 20 * time.Second // bounds one read with its repeats
	maxTries    = 4
)

// Sources resolves gcp-sm:projects/P/secrets/S[/versions/V][#json-key], the version being the latest unless the reference
// names one, and regional secrets as projects/P/locations/L/secrets/S. Each read asks Secret Manager anew. Without options it
// uses the Application Default Credentials, which it looks up at the first read and, where that fails, at the next one; an
// endpoint among the options is used for all locations. What may pass is tried a few times.
func Sources(opts ...option.ClientOption) secret.Resolver {
	return newReader(opts).resolver()
}

// reader makes one client for each location, when a read first needs it.
type reader struct {
	opts   []option.ClientOption
	pauses func() backoff.BackOff

	mu      sync.Mutex
	clients map[string]*secretmanager.Service // by location; "" is the global one
}

func newReader(opts []option.ClientOption) *reader {
	return &reader{opts: opts, clients: map[string]*secretmanager.Service{}, pauses: func() backoff.BackOff {
		pauses := backoff.NewExponentialBackOff()
		pauses.Multiplier = 2
		return pauses
	}}
}

func (r *reader) resolver() secret.Resolver { return secret.Resolver{"gcp-sm": r.read} }

func (r *reader) read(ctx context.Context, ref string) (string, error) {
	name, key, withKey := strings.Cut(ref, "#")
	version, location, err := parse(name)
	if err != nil {
		return "", err
	}
	text, err := r.access(ctx, version, location)
	if err != nil {
		return "", err
	}
	return secret.Member(text, key, withKey, "gcp-sm:projects/P/secrets/S#token")
}

// form is narrow enough that no part can change the path or the host of the request, which carries an access token.
var form = regexp.MustCompile(`^projects/[a-z0-9][a-z0-9.:-]{0,99}/(?:locations/([a-z][a-z0-9-]{0,62})/)?secrets/[A-Za-z0-9_-]{1,255}(/versions/[A-Za-z0-9_-]{1,63})?$`)

// parse returns the full name of a version, and its location, "" for a global secret.
func parse(name string) (version, location string, err error) {
	parts := form.FindStringSubmatch(name)
	if parts == nil {
		return "", "", secret.Permanentf("the reference has not the form of a secret's name: write " +
			"gcp-sm:projects/PROJECT/secrets/SECRET, with /versions/VERSION for one that is not the latest, " +
			"and projects/PROJECT/locations/LOCATION/… for a regional secret")
	}
	if parts[2] == "" {
		name += "/versions/latest"
	}
	return name, parts[1], nil
}

// access reads a version. It repeats what may pass.
func (r *reader) access(ctx context.Context, version, location string) (string, error) {
	late := fmt.Errorf("%s has not answered within %s: %w", service(location), readTimeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, late)
	defer cancel()
	return backoff.Retry(ctx, func() (string, error) {
		text, err := r.accessOnce(ctx, version, location)
		var permanent *secret.PermanentError
		if errors.As(err, &permanent) {
			return "", backoff.Permanent(err)
		}
		return text, err
	}, backoff.WithBackOff(r.pauses()), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(readTimeout))
}

func (r *reader) accessOnce(ctx context.Context, version, location string) (string, error) {
	client, err := r.client(ctx, location)
	if err != nil {
		return "", err
	}
	// The call for regional secrets differs only in its name.
	got, err := client.Projects.Secrets.Versions.Access(version).Context(ctx).Do()
	if err != nil {
		return "", explain(err, service(location))
	}
	return textOf(got.Payload, service(location))
}

// client returns the client of a location. A client that cannot be made is tried again at the next call.
func (r *reader) client(ctx context.Context, location string) (*secretmanager.Service, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if made := r.clients[location]; made != nil {
		return made, nil
	}
	made, err := secretmanager.NewService(context.WithoutCancel(ctx), options(location, r.opts)...) // it outlives this read
	if err != nil {
		return nil, permanent("there are no usable credentials for Google Cloud: "+googleauth.LogIn, said{oneLine(err.Error()), err})
	}
	r.clients[location] = made
	return made, nil
}

// options silences the SDK, whose debug log, which its environment can turn on, shows payloads and tokens.
func options(location string, opts []option.ClientOption) []option.ClientOption {
	var all []option.ClientOption
	if location != "" {
		all = append(all, option.WithEndpoint("https://secretmanager."+location+".rep.googleapis.com/"))
	}
	return append(append(all, opts...), option.WithLogger(slog.New(slog.DiscardHandler)))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// textOf checks and decodes a payload. A checksum of 0 counts as none. Its errors leave out those of the decoder.
func textOf(payload *secretmanager.SecretPayload, from string) (string, error) {
	if payload == nil {
		return "", fmt.Errorf("%s answered without a payload", from)
	}
	data, err := base64.StdEncoding.DecodeString(payload.Data)
	if err != nil {
		return "", fmt.Errorf("%s answered with a payload that is not base64", from)
	}
	if sum := payload.DataCrc32c; sum != 0 && sum != int64(crc32.Checksum(data, castagnoli)) {
		return "", fmt.Errorf("the payload of %s does not match its checksum (CRC32C): it was damaged on its way", from)
	}
	if !utf8.Valid(data) {
		return "", secret.Permanentf("it is a binary secret: store it as text (UTF-8)")
	}
	return string(data), nil
}
