// Package secret turns references such as "env:ASTRO_API_TOKEN" into the secrets they name. No error of it holds a
// secret: errors name the reference, which is none, and the repair.
package secret

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Source reads the secret that ref names; ref is a reference without its scheme and colon. It may be called concurrently.
// What will not pass by itself is a *PermanentError; every other error may pass. No error holds the secret or a part of it.
type Source func(ctx context.Context, ref string) (string, error)

// Resolver holds a Source for each scheme that a program supports.
type Resolver map[string]Source

// PermanentError is a failure that somebody has to repair.
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent is true.
func (e *PermanentError) Permanent() bool { return true }

// Permanentf makes a PermanentError of a message as fmt.Errorf does.
func Permanentf(format string, args ...any) error {
	return &PermanentError{Err: fmt.Errorf(format, args...)}
}

// Local resolves env:NAME and file:PATH.
func Local(env func(string) string) Resolver {
	return Resolver{
		"env": func(_ context.Context, name string) (string, error) {
			value := env(name)
			if value == "" {
				return "", Permanentf("the environment variable is not set or empty: set it")
			}
			return value, nil
		},
		"file": func(_ context.Context, path string) (string, error) { return readFile(path) },
	}
}

// With is r and more; a scheme of both is more's.
func (r Resolver) With(more Resolver) Resolver {
	all := maps.Clone(r)
	maps.Copy(all, more)
	return all
}

// Resolve returns the secret that ref ("scheme:rest") names, without the line ends that editors leave behind it. An empty
// secret is an error. Errors have Permanent() true where somebody has to repair something.
func (r Resolver) Resolve(ctx context.Context, ref string) (string, error) {
	if err := r.Check(ref); err != nil {
		return "", err
	}
	scheme, rest, _ := strings.Cut(ref, ":")
	value, err := r[scheme](ctx, rest)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", ref, err)
	}
	if value = strings.TrimRight(value, "\r\n"); strings.TrimSpace(value) == "" {
		return "", fmt.Errorf("secret %s: %w", ref, Permanentf("it is empty: store the secret there"))
	}
	return value, nil
}

// Check reports a reference that no source of r can read, whatever it names.
func (r Resolver) Check(ref string) error {
	if scheme, _, ok := strings.Cut(ref, ":"); !ok || r[scheme] == nil {
		return r.unknown(scheme, ok)
	}
	return nil
}

var schemeForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,15}$`)

// unknown shows a scheme only if it looks like one: somebody may have written the secret itself.
func (r Resolver) unknown(scheme string, isReference bool) error {
	what := "a secret's reference (not shown, it may be the secret itself) has no known scheme"
	if isReference && schemeForm.MatchString(scheme) {
		what = "a secret's reference has the scheme " + scheme + ":, which is not known here"
	}
	known := slices.Sorted(maps.Keys(r))
	return Permanentf("%s: write one of %s:…", what, strings.Join(known, ":…, "))
}

const maxFileBytes = 64 << 10

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", Permanentf("%w: mount the secret there, readable for this process", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return "", Permanentf("%w: name a readable file that holds the secret alone", err)
	}
	if len(data) > maxFileBytes {
		return "", Permanentf("the file is larger than %d KiB: name one that holds the secret alone", maxFileBytes>>10)
	}
	return string(data), nil
}
