package config

import (
	"go.yaml.in/yaml/v3"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

func (r *reader) config(n *yaml.Node, c *Config) {
	r.mapping(n, "", map[string]field{
		"state": scalar(&c.State, aText, parseBucketURL).
			required("give it a bucket URL outside every source, such as s3://acme-dagbucket-state/"),
		"routes": list(&c.Routes, (*reader).route).required("list at least one route"),
	})
}

func (r *reader) route(n *yaml.Node, key string) Route {
	route := defaultRoute()
	token := scalar(&route.Token, aText, parseReference)
	if route.Token = r.token; r.token == "" {
		token = token.required("set ASTRO_API_TOKEN to the API token, or give the reference of where it is kept: " + referenceForms)
	}
	r.mapping(n, key, map[string]field{
		"name":    scalar(&route.Name, aText, parseRouteName).required("give the route a name, such as prod"),
		"sources": list(&route.Sources, (*reader).source).required("list at least one source"),
		"deployment": scalar(&route.Deployment, aText, parseAstroID).
			required("give the ID of the Astro Deployment; its page in the Astro UI shows it"),
		"organization": scalar(&route.Organization, aText, parseAstroID),
		"token":        token,
		"quiet_period": scalar(&route.QuietPeriod, anAmount, parseDuration),
		"max_wait":     scalar(&route.MaxWait, anAmount, parseDuration),
		"syntax":       scalar(&route.Syntax, aText, parseSyntax),
		"guard": group(map[string]field{
			"allow_empty":         scalar(&route.Guard.AllowEmpty, aBool, parseBool),
			"max_removed_percent": scalar(&route.Guard.MaxRemovedPercent, aNumber, parsePercent),
			"max_removed_files":   scalar(&route.Guard.MaxRemovedFiles, aNumber, parseCount),
		}),
		"limits": group(map[string]field{
			"max_files": scalar(&route.Limits.MaxFiles, aNumber, parseCount),
			"max_bytes": scalar(&route.Limits.MaxBytes, anAmount, parseSize),
		}),
		"replace_existing": scalar(&route.ReplaceExisting, aBool, parseBool),
		"on_drift":         scalar(&route.OnDrift, aText, oneOf("heal", "redeploy", "report")),
		"base_dir":         scalar(&route.BaseDir, aText, oneOf("dags", "")),
		"keep_bundles":     scalar(&route.KeepBundles, aNumber, parseCount),
		"status":           scalar(&route.Status, aText, parseStatus),
		"import_errors":    scalar(&route.ImportErrors, aBool, parseBool),
		"notify":           list(&route.Notify, (*reader).target),
	})
	for i := range route.Sources {
		if route.Sources[i].Syntax == "" {
			route.Sources[i].Syntax = route.Syntax
		}
	}
	return route
}

func (r *reader) source(n *yaml.Node, key string) Source {
	var s Source
	r.mapping(n, key, map[string]field{
		"url":    scalar(&s.URL, aText, parseBucketURL).required("give it a bucket URL, such as s3://acme-dags/dags/"),
		"mount":  scalar(&s.Mount, aText, parseMount),
		"syntax": scalar(&s.Syntax, aText, parseSyntax),
	})
	return s
}

func parseStatus(s string) (*bucket.URL, error) {
	u, err := parseBucketURL(s)
	return &u, err
}
