package service

import (
	"slices"
	"strings"

	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/event"
)

// index finds the routes that an event concerns, by their positions, without looking at each of them.
type index struct {
	all    []int
	named  map[string]int
	places map[place]map[string][]int // by prefix
}

// place is a bucket of one cloud.
type place struct{ scheme, bucket string }

func newIndex(routes []config.Route) *index {
	x := &index{named: map[string]int{}, places: map[place]map[string][]int{}}
	for i, r := range routes {
		x.all = append(x.all, i)
		x.named[r.Name] = i
		for _, src := range r.Sources {
			at := place{src.URL.Scheme, src.URL.Bucket}
			if x.places[at] == nil {
				x.places[at] = map[string][]int{}
			}
			x.places[at][src.URL.Prefix] = append(x.places[at][src.URL.Prefix], i)
		}
	}
	return x
}

// concerned returns the positions of the routes that e is a reason to run, ascending. The result must not be changed.
func (x *index) concerned(e event.Event) []int {
	switch {
	case e.Kind == event.Schedule, e.Kind == event.Manual && e.Route == "":
		return x.all
	case e.Kind == event.Manual:
		if i, known := x.named[e.Route]; known {
			return []int{i}
		}
		return nil
	}
	return x.at(place{e.Scheme, e.Bucket}, e.Key)
}

// at returns the routes with a source around a key: its prefix is "" or ends in a slash, as one of the key's beginnings does.
func (x *index) at(p place, key string) []int {
	prefixes := x.places[p]
	if len(prefixes) == 0 {
		return nil
	}
	found := slices.Clone(prefixes[""])
	for end := 0; end < len(key); {
		slash := strings.IndexByte(key[end:], '/')
		if slash < 0 {
			break
		}
		end += slash + 1
		found = append(found, prefixes[key[:end]]...)
	}
	slices.Sort(found)
	return slices.Compact(found) // a route may have several sources around one key
}
