package config

import (
	"cmp"
	"fmt"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// check compares values with each other, once each of them is good by itself.
func (r *reader) check(c *Config) {
	if c.Routes != nil && len(c.Routes) == 0 {
		r.problem("routes", "is empty: list at least one route")
	}
	seen := map[string]string{} // what must be unique → the key that has it
	unique := func(kind, value, key, repair string) {
		if value == "" || !r.ok(key) {
			return
		}
		if other, taken := seen[kind+value]; taken {
			r.problem(key, "is the same as %s: %s", other, repair)
			return
		}
		seen[kind+value] = key
	}
	sources := sourcesOf(c.Routes)
	for i, route := range c.Routes {
		at := fmt.Sprintf("routes[%d]", i)
		unique("name", route.Name, at+".name", "give each route a name of its own")
		unique("deployment", route.Deployment, at+".deployment", "two routes would overwrite each other; put all sources into one route")
		if route.Status != nil {
			unique("status", route.Status.String(), at+".status", "give each route's pages a place of their own")
			r.checkOutside(*route.Status, at+".status", sources)
			r.checkPages(*route.Status, at+".status", c.State)
		}
		r.checkTimes(route, at)
		r.checkSources(route, at)
		r.checkNotify(route, at)
	}
	r.checkOutside(c.State, "state", sources)
	r.checkState(c)
}

func (r *reader) checkTimes(route Route, at string) {
	quiet, wait := at+".quiet_period", at+".max_wait"
	if r.ok(quiet, wait) && route.MaxWait < route.QuietPeriod {
		r.problem(wait, "%s is shorter than the quiet period of %s: raise it, or lower the quiet period", route.MaxWait, route.QuietPeriod)
	}
}

func (r *reader) checkSources(route Route, at string) {
	if route.Sources != nil && len(route.Sources) == 0 {
		r.problem(at+".sources", "is empty: list at least one source")
	}
	seen := map[string]int{}
	for i, source := range route.Sources {
		key := fmt.Sprintf("%s.sources[%d]", at, i)
		if source.URL.Scheme == "" || !r.ok(key+".url", key+".mount") {
			continue
		}
		place := source.URL.String() + "\x00" + source.Mount
		if first, twice := seen[place]; twice {
			r.problem(key, "is the same as %s.sources[%d]: remove one, or mount it elsewhere", at, first)
			continue
		}
		seen[place] = i
	}
}

// checkOutside refuses a place that dagbucket writes to inside a source: each run would wake the next one, and what it
// wrote would be shipped.
func (r *reader) checkOutside(written bucket.URL, key string, sources sources) {
	if written.Scheme == "" || !r.ok(key) {
		return
	}
	if at, inside := sources.around(written); inside {
		r.problem(key, "%s lies inside the source %s (%s): dagbucket would deploy what it writes itself; move it outside",
			quote(written.String()), r.shown(sourceKey(at.route, at.source)), quote(at.url.String()))
	}
}

// sources are where to find the sources of all routes, by URL: the first of each.
type sources map[string]position

type position struct {
	route, source int
	url           bucket.URL
}

func sourcesOf(routes []Route) sources {
	s := sources{}
	for i, route := range routes {
		for j, source := range route.Sources {
			url := source.URL.String()
			if _, known := s[url]; !known && source.URL.Scheme != "" {
				s[url] = position{i, j, source.URL}
			}
		}
	}
	return s
}

// around returns the first source that contains a place. Its URL is one of the beginnings of that place's URL, up to a slash.
func (s sources) around(u bucket.URL) (first position, found bool) {
	url := u.String()
	for end := range len(url) {
		if url[end] != '/' {
			continue
		}
		at, known := s[url[:end+1]]
		if known && (!found || cmp.Or(cmp.Compare(at.route, first.route), cmp.Compare(at.source, first.source)) < 0) {
			first, found = at, true
		}
	}
	return first, found
}

// checkPages keeps the pages, which people read, away from what only dagbucket may touch.
func (r *reader) checkPages(status bucket.URL, key string, state bucket.URL) {
	if status.Scheme != "" && r.ok(key) && state.Contains(status) {
		r.problem(key, "%s lies inside the state (%s): give the pages a place of their own", quote(status.String()), quote(state.String()))
	}
}

func (r *reader) checkState(c *Config) {
	for i, route := range c.Routes {
		for j, source := range route.Sources {
			if source.URL.Scheme != "" && c.State.Scheme != "" && c.State.Contains(source.URL) && !source.URL.Contains(c.State) {
				r.problem(sourceKey(i, j), "%s lies inside the state (%s): give the state a place of its own",
					quote(source.URL.String()), quote(c.State.String()))
			}
		}
	}
}

func sourceKey(route, source int) string {
	return fmt.Sprintf("routes[%d].sources[%d].url", route, source)
}
