package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/membucket"
)

// source is a bucket with those who write to it.
type source struct {
	w         *world
	name, url string
	bucket    *membucket.Bucket

	mu       sync.Mutex
	last     map[string]time.Time // when a key was last written
	versions map[string]string    // every content that was ever there, by key@version
	markers  map[string]string    // contents that a delete hides, by key; only in versioned buckets
	hidden   map[string]time.Time // and their times
	listings []*listing           // by anybody, oldest first
	missed   int                  // good listings until one may miss keys again
	setting  string               // of its syntax check
	good     map[string]string    // the last content without a syntax error, by key
}

func newSource(w *world, i int) *source {
	name := fmt.Sprint("s", i)
	s := &source{w: w, name: name, url: "s3://" + name + "/dags/", bucket: membucket.New(name), last: map[string]time.Time{},
		versions: map[string]string{}, markers: map[string]string{}, hidden: map[string]time.Time{}, good: map[string]string{}}
	if w.p.broken {
		s.setting = settingOf(w.roll("setting", name))
		w.log("%s: the setting is %q", name, s.setting)
	}
	s.bucket.ETags, s.bucket.PageSize, s.bucket.Now = w.p.etags, w.p.pageSize, storageClock
	s.bucket.Fault = func(op membucket.Op, _ string, after bool) error {
		if op == membucket.List && !after { // a page takes its time
			time.Sleep(between(w.roll("page", name), time.Millisecond, 400*time.Millisecond))
		}
		return nil
	}
	return s
}

// path is where a key is shipped.
func (s *source) path(key string) string {
	return "dags/" + s.name + "/" + strings.TrimPrefix(key, "dags/")
}

// key is the opposite of path.
func (s *source) key(p string) string { return "dags/" + strings.TrimPrefix(p, "dags/"+s.name+"/") }

// version is what a key has now; "" if there is none.
func (s *source) version(key string) string {
	for _, o := range s.objects() {
		if o.Key == key {
			return o.Version
		}
	}
	return ""
}

// keys lists what there is now.
func (s *source) keys() []string {
	var keys []string
	for _, o := range s.objects() {
		keys = append(keys, o.Key)
	}
	return keys
}

// objects is a true snapshot, taken without any time passing.
func (s *source) objects() []bucket.Object { return s.bucket.Snapshot("dags/") }

// contentOf is what a key ever was under a version.
func (s *source) contentOf(key, version string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[key+"@"+version]
}

func (s *source) content(key string) (string, bool) {
	content, _, err := bucket.Read(context.Background(), s.bucket, key, "", 1<<20)
	return string(content), err == nil
}

func (s *source) put(key, content string) {
	s.w.log("%s: put %s %q", s.name, key, content)
	version, err := s.bucket.Put(context.Background(), key, strings.NewReader(content), bucket.Always)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	s.versions[key+"@"+version] = content
	s.last[key] = time.Now()
	if !isBroken(content, "") {
		s.good[key] = content
	}
	delete(s.markers, key)
	s.mu.Unlock()
	s.w.notify(s, key)
}

func (s *source) remove(key string) {
	content, ok := s.content(key)
	if !ok {
		return
	}
	s.w.log("%s: delete %s", s.name, key)
	if err := s.bucket.Delete(context.Background(), key, ""); err != nil {
		panic(err)
	}
	s.mu.Lock()
	if s.w.p.versioned {
		s.markers[key], s.hidden[key] = content, s.last[key]
	}
	s.mu.Unlock()
	s.w.notify(s, key)
}

// undelete removes a delete marker: the object is there again, as old as it was.
func (s *source) undelete(key string) {
	s.mu.Lock()
	content, ok := s.markers[key]
	at := s.hidden[key]
	s.mu.Unlock()
	if !ok {
		return
	}
	s.w.log("%s: the delete marker of %s is removed", s.name, key)
	s.put(key, content)
	if s.w.p.google {
		return // there it is a copy, with a generation and a time of its own
	}
	s.bucket.Change(key, func(o *bucket.Object) { o.Modified = at.Truncate(time.Second) })
}

// misshow lets a listing miss some keys, once in a while: a storage that is wrong, or something before it.
func (s *source) misshow(l *bucket.Listing) {
	r := s.w.roll("misshow", s.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missed--; s.missed >= 0 || r.Float64() >= s.w.p.partial || s.w.isCalm() {
		return
	}
	s.missed = 5
	s.w.log("%s: a listing misses keys", s.name)
	l.Objects = slices.DeleteFunc(l.Objects, func(bucket.Object) bool { return r.IntN(3) == 0 })
}

func (s *source) shown(l *listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listings = append(s.listings, l)
}

// author does what authors do until end.
func (s *source) author(name string, end time.Time) {
	for {
		r := s.w.roll(name)
		pause := between(r, time.Second, s.w.p.pace*2)
		if r.IntN(6) == 0 {
			pause *= 5
		}
		time.Sleep(pause)
		if time.Now().After(end) {
			return
		}
		done := s.w.begin()
		s.act(r)
		done()
	}
}

func (s *source) act(r *rand.Rand) {
	if s.w.p.broken && r.IntN(2) == 0 {
		s.actBadly(r)
		return
	}
	pause := func(low, high time.Duration) { time.Sleep(between(r, low, high)) }
	newKey := func() string {
		dir := []string{"", "", "team/"}[r.IntN(3)]
		return fmt.Sprintf("dags/%sf%02d.py", dir, r.IntN(14))
	}
	text := func() string { // equal bytes come again
		if s.w.p.broken && r.IntN(6) == 0 {
			return badText(r)
		}
		return fmt.Sprintf("content %d", r.IntN(6))
	}
	keys := s.keys()
	some := func() string {
		if len(keys) == 0 {
			return newKey()
		}
		return keys[r.IntN(len(keys))]
	}
	switch r.IntN(10) {
	case 0, 1: // an upload, or an edit
		s.put(newKey(), text())
	case 2, 3: // a burst
		for range 2 + r.IntN(7) {
			s.put(newKey(), text())
			pause(time.Millisecond, 3*time.Second)
		}
	case 4: // a rename
		from := some()
		if content, ok := s.content(from); ok {
			s.put(newKey(), content)
			pause(time.Millisecond, 2*time.Second)
			s.remove(from)
		}
	case 5: // one file goes
		s.remove(some())
	case 6: // a slow removal of much
		for _, key := range keys[:r.IntN(len(keys)+1)] {
			s.remove(key)
			pause(time.Second, 20*time.Second)
		}
	case 7: // a wrong rm, perhaps of everything
		for _, key := range keys[:len(keys)-min(len(keys), r.IntN(3))] {
			s.remove(key)
			pause(time.Microsecond, 100*time.Millisecond)
		}
	case 8: // the same bytes again
		key := some()
		if content, ok := s.content(key); ok {
			if r.IntN(2) == 0 {
				s.remove(key)
				pause(time.Millisecond, 30*time.Second)
			}
			s.put(key, content)
		}
	case 9: // a delete marker goes, or it was an edit
		s.mu.Lock()
		var gone []string
		for key := range s.markers {
			gone = append(gone, key)
		}
		s.mu.Unlock()
		slices.Sort(gone)
		if len(gone) > 0 {
			s.undelete(gone[r.IntN(len(gone))])
			return
		}
		s.put(some(), text())
	}
}
