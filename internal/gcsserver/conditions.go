package gcsserver

import (
	"net/http"
	"strconv"
)

// conditions are the preconditions of a request on an object's generation and metageneration; nil is none.
type conditions struct {
	generation, notGeneration, metageneration, notMetageneration *int64

	exactly int64 // the generation that the request names as its object, or 0
}

func conditionsOf(r *http.Request, api api) (conditions, error) {
	var c conditions
	var exactly *int64
	query := r.URL.Query()
	for _, p := range []struct {
		value         **int64
		query, header string
	}{
		{&c.generation, "ifGenerationMatch", "X-Goog-If-Generation-Match"},
		{&c.notGeneration, "ifGenerationNotMatch", "X-Goog-If-Generation-Not-Match"},
		{&c.metageneration, "ifMetagenerationMatch", "X-Goog-If-Metageneration-Match"},
		{&c.notMetageneration, "ifMetagenerationNotMatch", "X-Goog-If-Metageneration-Not-Match"},
		{&exactly, "generation", ""},
	} {
		value := query.Get(p.query)
		if api == xmlAPI && p.header != "" {
			value = r.Header.Get(p.header)
		}
		if value == "" {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return c, invalid("Invalid value for %s: %q", p.query, value)
		}
		*p.value = &n
	}
	if exactly != nil {
		c.exactly = *exactly
	}
	return c, nil
}

// find checks a request for an object that must exist, o or nil: without it the answer is 404, whatever the conditions are.
func (c conditions) find(o *object, n name, api api) error {
	if o == nil || c.exactly != 0 && c.exactly != o.generation {
		return noObject(n, api)
	}
	return c.hold(o)
}

// hold checks the conditions against o, or nil, whose generation is 0.
func (c conditions) hold(o *object) error {
	if o == nil {
		o = &object{}
	}
	if c.generation != nil && *c.generation != o.generation || c.metageneration != nil && *c.metageneration != o.metageneration ||
		c.notGeneration != nil && *c.notGeneration == o.generation ||
		c.notMetageneration != nil && *c.notMetageneration == o.metageneration {
		return errPrecondition
	}
	return nil
}

// modified reports whether a reader who has the generation that c excludes must be sent o.
func (c conditions) modified(o *object) bool {
	return (c.notGeneration == nil || *c.notGeneration != o.generation) &&
		(c.notMetageneration == nil || *c.notMetageneration != o.metageneration)
}
