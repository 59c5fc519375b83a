// Package doctor checks a live set-up: every precondition of a run, in order, and how each one that does not hold is repaired.
//
// Looking changes nothing but for one object in the state that is there for a moment, since that conditional writes are honoured can only
// be proven by writing; and, where asked for, a deploy that is never finalized. No check shows a secret.
package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/secret"
)

// Status is how a check ended.
type Status string

// The ways a check ends.
const (
	OK      Status = "ok"
	Warning Status = "warning" // runs go on, and something should be done about it
	Fault   Status = "fault"   // no run, or no event, gets past it
	Skipped Status = "skipped" // it would say nothing
)

// Check is one precondition.
type Check struct {
	Name   string `json:"name"`
	About  string `json:"about,omitempty"` // the source that it is about, where a route may have several
	Status Status `json:"status"`
	Says   string `json:"says"`   // what was found, in one line
	Repair string `json:"repair"` // what to do; "" unless it is a warning or a fault
}

// Good is a check that found what it should.
func Good(name, format string, args ...any) Check {
	return Check{Name: name, Status: OK, Says: fmt.Sprintf(format, args...)}
}

// Warn is a check that found what should be repaired.
func Warn(name, repair, format string, args ...any) Check {
	return Check{Name: name, Status: Warning, Says: fmt.Sprintf(format, args...), Repair: repair}
}

// Bad is a check that found what must be repaired.
func Bad(name, repair, format string, args ...any) Check {
	return Check{Name: name, Status: Fault, Says: fmt.Sprintf(format, args...), Repair: repair}
}

// Skip is a check that was not made.
func Skip(name, format string, args ...any) Check {
	return Check{Name: name, Status: Skipped, Says: fmt.Sprintf(format, args...)}
}

// Report is everything that was checked, in order. Its JSON form is documented and stable.
type Report struct {
	OK     bool    `json:"ok"`     // neither a fault nor a warning
	First  *First  `json:"first"`  // what to repair first; null if nothing
	Checks []Check `json:"checks"` // what all routes share
	Routes []Route `json:"routes"` // in order of the configuration
}

// Route is what was checked for one route.
type Route struct {
	Route  string  `json:"route"`
	Checks []Check `json:"checks"`
}

// First is the first fault, or else the first warning: what comes after it may come of it.
type First struct {
	Route string `json:"route,omitempty"` // "" if all routes share it
	Check
}

// Exit codes of a Report.
const (
	exitOK       = 0
	exitFaults   = 1
	exitWarnings = 2
)

// ExitCode is 0 if all is well, 1 with a fault, and 2 with warnings only.
func (r *Report) ExitCode() int {
	switch {
	case r.OK:
		return exitOK
	case r.First.Status == Fault:
		return exitFaults
	}
	return exitWarnings
}

// conclude fills OK and First.
func (r *Report) conclude() {
	groups := append([]Route{{Checks: r.Checks}}, r.Routes...)
	for _, status := range []Status{Fault, Warning} {
		for _, group := range groups {
			for _, c := range group.Checks {
				if r.First == nil && c.Status == status {
					r.First = &First{group.Route, c}
				}
			}
		}
	}
	r.OK = r.First == nil
}

// Cloud is what a cloud is asked besides its buckets. Its methods end soon after ctx does, and are not called
// concurrently.
type Cloud interface {
	// Credentials checks whether there are any that the cloud accepts, and says whose they are. Its name is "credentials".
	Credentials(ctx context.Context) Check
	// Wiring checks the way from a change below a source to a run: who is told, what carries it, which function gets it.
	// What the credentials may not look at is a warning.
	Wiring(ctx context.Context, w Want) []Check
}

// Want is the way that there should be.
type Want struct {
	Source  bucket.URL
	MaxWait time.Duration // the longest of the routes that the function runs
	// Settings are the environment variables that name the configuration which was looked at; none of them is a secret.
	Settings map[string]string
	// ConfigSHA256 is of the configuration's file, in hexadecimal digits; "" if there is none.
	ConfigSHA256 string
}

// Options are the surroundings of Run.
type Options struct {
	Load    func(ctx context.Context) (*config.Config, error)
	Place   string // the URL that Load reads from; "" if it is none
	Route   string // the only route to look at; "" for all
	Buckets bucket.Openers
	Secrets secret.Resolver
	Clouds  map[string]Cloud // by the scheme of their buckets' URLs
	// Settings and ConfigSHA256 become those of Want; ConfigSHA256 is called after Load.
	Settings     map[string]string
	ConfigSHA256 func() string
	Version      string // of dagbucket
	// Deep also proves the right to deploy, by a deploy that is created and never finalized: Astro's history shows it.
	Deep bool
	Now  func() time.Time // nil: time.Now
}

// Run checks a set-up.
func Run(ctx context.Context, o Options) *Report {
	if o.Now == nil {
		o.Now = time.Now
	}
	x := &examination{Options: o, known: map[string]Check{}}
	x.report.Checks, x.report.Routes = []Check{}, []Route{}
	cfg, routes := x.configuration(ctx)
	for _, r := range routes {
		p := &patient{examination: x, cfg: cfg, route: r, maxWait: longestWait(cfg)}
		x.report.Routes = append(x.report.Routes, Route{Route: r.Name, Checks: p.examine(ctx)})
	}
	x.report.conclude()
	return &x.report
}

func longestWait(cfg *config.Config) time.Duration {
	var longest time.Duration
	for _, r := range cfg.Routes {
		longest = max(longest, r.MaxWait)
	}
	return longest
}
