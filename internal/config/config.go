// Package config is the only reader of the configuration file and of the environment's settings.
package config

import (
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// Config is a validated configuration.
type Config struct {
	State    bucket.URL // outside every source
	Routes   []Route    // at least one, names unique, at most one for each Deployment
	AstroURL string     // ASTRO_API_URL without trailing slash; https, or plain http to a loopback host
}

// Route is one Deployment and the sources that feed it.
type Route struct {
	Name            string
	Sources         []Source // at least one
	Deployment      string   // Astro Deployment ID
	Organization    string   // Astro Organization ID; "" is read from the API token
	Token           string   // a reference (env:NAME, file:PATH, aws-sm:…, aws-ssm:…, gcp-sm:…), never the token itself
	QuietPeriod     time.Duration
	MaxWait         time.Duration
	Syntax          string // keep-last-good, hold, warn or off
	Guard           Guard
	Limits          Limits
	ReplaceExisting bool
	OnDrift         string // heal, redeploy or report
	BaseDir         string // "dags", or "" for the archive's root
	KeepBundles     int
	Status          *bucket.URL // nil: no copy of the status pages
	ImportErrors    bool
	Notify          []string // sns:…, pubsub:…, webhook:…, slack:…
}

// Source is one prefix of one bucket.
type Source struct {
	URL    bucket.URL
	Mount  string // sub-directory of the base folder without slashes at its ends; "" for the base folder itself
	Syntax string // as Route.Syntax, which it defaults to
}

// Guard says what may be removed without asking.
type Guard struct {
	AllowEmpty        bool
	MaxRemovedPercent int
	MaxRemovedFiles   int
}

// Limits bound what one route may deploy.
type Limits struct {
	MaxFiles int
	MaxBytes int64
}
