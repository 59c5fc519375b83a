package service

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/event"
)

// scan finds the routes as the index does, by looking at each.
func scan(routes []config.Route, e event.Event) (found []int) {
	for i, r := range routes {
		if concerns(e, r) {
			found = append(found, i)
		}
	}
	return found
}

func concerns(e event.Event, r config.Route) bool {
	switch e.Kind {
	case event.Schedule:
		return true
	case event.Manual:
		return e.Route == "" || e.Route == r.Name
	}
	for _, src := range r.Sources {
		if src.URL.Scheme == e.Scheme && src.URL.Bucket == e.Bucket && strings.HasPrefix(e.Key, src.URL.Prefix) {
			return true
		}
	}
	return false
}

func requireFound(t *testing.T, routes []config.Route, e event.Event) {
	t.Helper()
	want, got := scan(routes, e), newIndex(routes).concerned(e)
	require.Equal(t, fmt.Sprint(want), fmt.Sprint(got), "%+v", e)
}

// someRoutes have sources that lie in each other, share buckets, and differ in little.
func someRoutes(random *rand.Rand) (routes []config.Route) {
	for i := range random.IntN(12) {
		r := config.Route{Name: fmt.Sprintf("r%d", i)}
		for range 1 + random.IntN(3) {
			u := bucket.URL{Scheme: pick(random, "s3", "gs", "file"), Bucket: pick(random, "a", "b", "/srv")}
			if u.Scheme != "file" {
				u.Prefix = someKey(random)
				u.Prefix = u.Prefix[:strings.LastIndexByte(u.Prefix, '/')+1]
			}
			r.Sources = append(r.Sources, config.Source{URL: u})
		}
		routes = append(routes, r)
	}
	return routes
}

func pick(random *rand.Rand, values ...string) string { return values[random.IntN(len(values))] }

func someKey(random *rand.Rand) (key string) {
	for range random.IntN(5) {
		key += pick(random, "x", "xy", "é", "") + pick(random, "/", "/", "")
	}
	return key
}

func TestTheIndexFindsWhatAScanFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		e := event.Event{Kind: event.Kind(pick(random, string(event.Created), string(event.Removed), string(event.Schedule), string(event.Manual))),
			Scheme: pick(random, "s3", "gs", "file", ""), Bucket: pick(random, "a", "b", "/srv"), Key: someKey(random), Route: pick(random, "", "r1", "none")}
		requireFound(t, someRoutes(random), e)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add("", "dags/", "dags/team/", "dags/team/a.py")
	f.Add("dags/", "dags_old/", "/", "dags//a")
	f.Add("a/", "a/b/", "a/b/c/", "a/b/c/")
	f.Fuzz(func(t *testing.T, a, b, c, key string) {
		var routes []config.Route
		for i, p := range []string{a, b, c} {
			if p != "" && !strings.HasSuffix(p, "/") {
				p += "/" // as every prefix of a configuration ends
			}
			routes = append(routes, config.Route{Name: fmt.Sprint(i), Sources: []config.Source{
				{URL: bucket.URL{Scheme: "s3", Bucket: "x", Prefix: p}}, {URL: bucket.URL{Scheme: "s3", Bucket: "x", Prefix: "dags/"}}}})
		}
		requireFound(t, routes, event.Event{Kind: event.Created, Scheme: "s3", Bucket: "x", Key: key})
	})
}

func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{500, 5000} {
		var routes []config.Route
		for i := range n {
			routes = append(routes, config.Route{Name: fmt.Sprint(i), Sources: []config.Source{
				{URL: bucket.URL{Scheme: "s3", Bucket: "acme-dags", Prefix: fmt.Sprintf("team%04d/dags/", i)}}}})
		}
		e := event.Event{Kind: event.Created, Scheme: "s3", Bucket: "acme-dags", Key: fmt.Sprintf("team%04d/dags/etl/load/daily.py", n/2)}
		x := newIndex(routes)
		b.Run(fmt.Sprintf("%d routes/index", n), func(b *testing.B) {
			for b.Loop() {
				x.concerned(e)
			}
		})
		b.Run(fmt.Sprintf("%d routes/scan", n), func(b *testing.B) {
			for b.Loop() {
				scan(routes, e)
			}
		})
	}
}
