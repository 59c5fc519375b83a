// Package config is the only reader of the configuration file and of the environment's settings.
package config

import (
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// Config is a validated configuration. It holds no secret but the addresses of webhooks, only references to secrets.
type Config struct {
	State  bucket.URL // outside every source
	Routes []Route    // at least one, names unique, at most one for each Deployment
	// Follow is how long a function's run waits for Astro to run what it deployed: DAGBUCKET_FOLLOW, default 1m; 0 leaves that to the next run.
	Follow   time.Duration
	AstroURL string // ASTRO_API_URL without trailing slash; https, or plain http to a loopback host
	Memory   int64  // of the function that this runs in, in bytes; 0 if it is none, or does not tell
}

// Route is one Deployment and the sources that feed it.
type Route struct {
	Name            string        // [a-z0-9-]{1,63}
	Sources         []Source      // at least one
	Deployment      string        // Astro Deployment ID
	Organization    string        // Astro Organization ID; "" is read from the API token
	Token           string        // a reference (env:NAME, file:PATH, aws-sm:…, gcp-sm:…), never the token itself
	QuietPeriod     time.Duration // default 10s; 0 does not wait
	MaxWait         time.Duration // default 3m; at least QuietPeriod
	Syntax          string        // keep-last-good (default), hold, warn or off
	Guard           Guard
	Limits          Limits
	ReplaceExisting bool        // default false
	OnDrift         string      // heal (default), redeploy or report
	BaseDir         string      // "dags" (default), or "" for the archive's root
	KeepBundles     int         // default 20
	Status          *bucket.URL // nil: no copy of the status pages
	ImportErrors    bool        // default false
	Notify          []Target    // no two to one place
}

// Source is one prefix of one bucket.
type Source struct {
	URL    bucket.URL
	Mount  string // sub-directory of the base folder without slashes at its ends; "" for the base folder itself
	Syntax string // as Route.Syntax, which it defaults to
}

// Guard says what may be removed without asking.
type Guard struct {
	AllowEmpty        bool // default false
	MaxRemovedPercent int  // 0 to 100, default 50
	MaxRemovedFiles   int  // default 10
}

// Limits bound what one route may deploy.
type Limits struct {
	MaxFiles int   // default 50,000; 0: no limit
	MaxBytes int64 // default 2 GiB; 0: no limit
}

const defaultAstroURL = "https://api.astronomer.io/v1"

func defaultRoute() Route {
	return Route{
		QuietPeriod: 10 * time.Second,
		MaxWait:     3 * time.Minute,
		Syntax:      "keep-last-good",
		Guard:       Guard{MaxRemovedPercent: 50, MaxRemovedFiles: 10},
		Limits:      Limits{MaxFiles: 50_000, MaxBytes: 2 << 30},
		OnDrift:     "heal",
		BaseDir:     "dags",
		KeepBundles: 20,
	}
}

// Route returns the route of that name. Where there is only one, "" names it too. The error is an *Error that lists the
// known names.
func (c *Config) Route(name string) (Route, error) {
	names := make([]string, len(c.Routes))
	for i, route := range c.Routes {
		if route.Name == name || name == "" && len(c.Routes) == 1 {
			return route, nil
		}
		names[i] = route.Name
	}
	text := "there is no route " + quote(name)
	if name == "" {
		text = "there are several routes: name one"
	}
	return Route{}, &Error{Problems: []Problem{{Key: "route", Text: text + "; known: " + strings.Join(names, ", ")}}}
}
