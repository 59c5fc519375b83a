package gcsserver

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// mutation is a request that changes one object.
type mutation struct {
	name              // of the object
	sources    []name // other objects that the fake needs for it; they must exist
	generation int64  // that the only source must have, or 0
	conditions conditions
	mustExist  bool // else the answer is 404
	metadata   bool // only that is changed, so that it counts for no WriteInterval
	remove     bool

	request *http.Request // goes to the fake, with this path and body
	path    string
	body    []byte
}

// mutate runs m as one step and tells of it. It returns the object as it is then, nil if it was removed, and the fake's answer.
func (s *Server) mutate(m mutation) (*object, *recorder, error) {
	after, answer, changes, err := s.mutateLocked(m)
	if err == nil && s.OnChange != nil {
		for _, c := range changes {
			s.OnChange(c)
		}
	}
	return after, answer, err
}

func (s *Server) mutateLocked(m mutation) (*object, *recorder, []Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.shelf.get(m.name)
	if err := s.allowed(m, before); err != nil {
		return nil, nil, nil, err
	}
	held := m.sources
	if before != nil {
		held = append(held, m.name)
	}
	for _, n := range held {
		s.shelf.get(n).putBack()
	}
	s.awaitGeneration()
	answer := s.ask(m.request, m.path, m.body)
	after := s.shelf.take(m.name)
	for _, n := range m.sources {
		s.shelf.take(n)
	}
	if answer.status >= 400 {
		return before, answer, nil, nil // it changed nothing
	}
	if before != nil && after != nil && before.generation == after.generation {
		after.metageneration, after.updated = before.metageneration+1, time.Now().UTC()
	}
	s.shelf.set(m.name, after)
	if after != nil {
		s.generation = max(s.generation, after.generation)
	}
	if s.WriteInterval > 0 && !m.metadata {
		s.written[m.name] = time.Now()
	}
	return after, answer, s.changesOf(before, after), nil
}

// allowed says why m must not run on the object as it is now, or nil.
func (s *Server) allowed(m mutation, before *object) error {
	if !s.shelf.has(m.bucket) {
		return errNoBucket
	}
	for _, n := range m.sources {
		source := s.shelf.get(n)
		if source == nil || m.generation != 0 && m.generation != source.generation {
			return noObject(n, jsonAPI)
		}
	}
	check := m.conditions.hold(before)
	if m.mustExist {
		check = m.conditions.find(before, m.name, jsonAPI)
	}
	if check != nil {
		return check
	}
	if last, ok := s.written[m.name]; ok && !m.metadata && time.Since(last) < s.WriteInterval {
		return tooManyWrites(m.name)
	}
	return nil
}

// awaitGeneration waits until the fake must give a generation that is higher than all before: it takes the microseconds of the clock.
func (s *Server) awaitGeneration() {
	for time.Now().UnixMicro() <= s.generation {
		time.Sleep(time.Microsecond)
	}
}

// changeObject serves what changes an existing object, or makes one of others.
func (s *Server) changeObject(w http.ResponseWriter, r *http.Request, t target) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	m := mutation{name: t.name, request: r, path: t.name.path(), body: body, mustExist: true}
	if m.conditions, err = conditionsOf(r, jsonAPI); err != nil {
		return err
	}
	action, rest, _ := strings.Cut(t.action, "/")
	switch {
	case action == "rewriteTo" || action == "copyTo":
		destination, ok := rewriteTarget(rest)
		if query := r.URL.Query(); !ok || query.Has("ifSourceGenerationMatch") || query.Has("ifSourceGenerationNotMatch") {
			return errNotSupported
		}
		if m.generation, err = takeSourceGeneration(r); err != nil {
			return err
		}
		m.sources, m.name, m.mustExist, m.path = []name{t.name}, destination, false, m.path+"/"+t.action
	case action == "compose":
		m.sources, m.mustExist, m.path = composeSources(t.bucket, body), false, m.path+"/compose"
	case r.Method == http.MethodDelete:
		m.remove = true
	default:
		m.metadata = true
	}
	if !m.mustExist {
		if err := checkKey(m.key); err != nil {
			return err
		}
	}
	after, answer, err := s.mutate(m)
	if err != nil {
		return err
	}
	s.answer(w, m, action, after, answer)
	return nil
}

// answer answers a mutation that was allowed.
func (s *Server) answer(w http.ResponseWriter, m mutation, action string, after *object, answer *recorder) {
	switch {
	case answer.status >= 400:
		answer.send(w)
	case m.remove:
		w.WriteHeader(http.StatusNoContent)
	case action == "rewriteTo":
		writeJSON(w, http.StatusOK, rewritten{
			Kind: "storage#rewriteResponse", TotalBytesRewritten: int64(len(after.content)), ObjectSize: int64(len(after.content)),
			Done: true, Resource: after.resource(),
		})
	default:
		writeJSON(w, http.StatusOK, after.resource())
	}
}

type rewritten struct {
	Kind                string   `json:"kind"`
	TotalBytesRewritten int64    `json:"totalBytesRewritten,string"`
	ObjectSize          int64    `json:"objectSize,string"`
	Done                bool     `json:"done"`
	Resource            resource `json:"resource"`
}

// rewriteTarget reads what follows "rewriteTo/" in a path: b/<bucket>/o/<key>.
func rewriteTarget(path string) (name, bool) {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(path, "b/"), "/o/")
	return name{unescaped(bucket), unescaped(key)}, ok
}

// takeSourceGeneration takes the generation that must be copied out of a request, since the fake has its own; 0 is any.
func takeSourceGeneration(r *http.Request) (int64, error) {
	query := r.URL.Query()
	asked := query.Get("sourceGeneration")
	if asked == "" {
		return 0, nil
	}
	generation, err := strconv.ParseInt(asked, 10, 64)
	if err != nil {
		return 0, invalid("Invalid value for sourceGeneration: %q", asked)
	}
	query.Del("sourceGeneration")
	r.URL.RawQuery = query.Encode()
	return generation, nil
}

func composeSources(bucket string, body []byte) []name {
	var in struct {
		SourceObjects []struct{ Name string }
	}
	// What cannot be decoded is refused by the fake.
	_ = json.Unmarshal(body, &in)
	var sources []name
	for _, o := range in.SourceObjects {
		sources = append(sources, name{bucket, o.Name})
	}
	return sources
}
