package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/config"
)

// checkTimeout bounds one check, or those of a kind, retries included: a million objects are listed in some two minutes.
const checkTimeout = 5 * time.Minute

// examination is one call of Run.
type examination struct {
	Options
	report Report
	known  map[string]Check // the checks of credentials, by scheme
}

// configuration reads the configuration, and returns the routes to look at; none if it cannot be used.
func (x *examination) configuration(ctx context.Context) (*config.Config, []config.Route) {
	scheme, _, _ := strings.Cut(x.Place, "://")
	if c, known := x.credentials(ctx, scheme); known && c.Status == Fault { // it would look like a fault of the configuration
		x.report.Checks = append(x.report.Checks, Skip("configuration", "not read, because of the credentials"), c)
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cfg, err := x.Load(ctx)
	if err != nil {
		x.report.Checks = append(x.report.Checks, unusable(err))
		return nil, nil
	}
	routes := cfg.Routes
	if x.Route != "" {
		one, err := cfg.Route(x.Route)
		if err != nil {
			x.report.Checks = append(x.report.Checks, unusable(err))
			return nil, nil
		}
		routes = []config.Route{one}
	}
	x.report.Checks = append(x.report.Checks, Good("configuration", "%s", describe(cfg)))
	for _, scheme := range schemes(cfg, routes) {
		if c, known := x.credentials(ctx, scheme); known {
			x.report.Checks = append(x.report.Checks, c)
		}
	}
	return cfg, routes
}

// unusable has all problems of a configuration, each with its own repair.
func unusable(err error) Check {
	var problems *config.Error
	if !errors.As(err, &problems) {
		return Bad("configuration", "see that it can be reached, and run doctor again", "it cannot be read now: %s", oneLine(err))
	}
	repair := "correct it, and run doctor again"
	if problems.Source != "" {
		repair = "correct " + problems.Source + ", and run doctor again"
	}
	return Bad("configuration", repair, "%s", err) // a line for each problem
}

func describe(cfg *config.Config) string {
	names := make([]string, len(cfg.Routes))
	for i, r := range cfg.Routes {
		names[i] = r.Name
	}
	return "valid; " + Count(len(names), "route") + ": " + strings.Join(names, ", ")
}

// schemes are those of the clouds that the routes need, in a fixed order.
func schemes(cfg *config.Config, routes []config.Route) []string {
	needed := map[string]bool{cfg.State.Scheme: true}
	for _, r := range routes {
		for _, s := range r.Sources {
			needed[s.URL.Scheme] = true
		}
		needed[schemeOfToken(r.Token)] = true
	}
	return slices.DeleteFunc([]string{"s3", "gs"}, func(s string) bool { return !needed[s] })
}

// schemeOfToken is the scheme of the cloud that keeps a secret; "" if none does.
func schemeOfToken(reference string) string {
	store, _, _ := strings.Cut(reference, ":")
	return map[string]string{"aws-sm": "s3", "aws-ssm": "s3", "gcp-sm": "gs"}[store]
}

// credentials checks each cloud's once.
func (x *examination) credentials(ctx context.Context, scheme string) (Check, bool) {
	cloud, known := x.Clouds[scheme]
	if !known {
		return Check{}, false
	}
	if c, done := x.known[scheme]; done {
		return c, true
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	c := cloud.Credentials(ctx)
	x.known[scheme] = c
	return c, true
}

// barred reports whether the credentials for a scheme were refused.
func (x *examination) barred(scheme string) bool { return x.known[scheme].Status == Fault }
