package bucket

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Opener returns the bucket of a URL. It asks nothing of it.
type Opener func(ctx context.Context, u URL) (Bucket, error)

// Openers holds an Opener for each scheme that a program has a client for.
type Openers map[string]Opener

// With is o and more; a scheme of both is more's.
func (o Openers) With(more Openers) Openers {
	all := maps.Clone(o)
	maps.Copy(all, more)
	return all
}

// Open returns the bucket of u, or ErrScheme.
func (o Openers) Open(ctx context.Context, u URL) (Bucket, error) {
	open, ok := o[u.Scheme]
	if !ok {
		known := slices.Sorted(maps.Keys(o))
		return nil, fmt.Errorf("%w %s://: this program opens %s:// only; a function has its own cloud's clients alone, so let a route stay in one cloud, "+
			"or run it with the command line, which has them all", ErrScheme, u.Scheme, strings.Join(known, ":// and "))
	}
	return open(ctx, u)
}

// maxConfig bounds a configuration file in bytes: one more than its reader accepts.
const maxConfig = 1<<20 + 1

// ReadURL reads a small object, such as the configuration file, by its URL.
func (o Openers) ReadURL(ctx context.Context, url string) ([]byte, error) {
	place, key, err := ParseObjectURL(url)
	if err != nil {
		return nil, err
	}
	b, err := o.Open(ctx, place)
	if err != nil {
		return nil, err
	}
	content, _, err := Read(ctx, b, key, "", maxConfig)
	return content, err
}
