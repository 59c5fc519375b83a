package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// tail is what a run may need after max_wait: packing, uploading and cleaning up.
const tail = 2 * time.Minute

// Choose walks the ways that lead away from a source to their targets, and returns the checks of the one that gets furthest: others may be
// somebody else's. created and removed are the targets that are told of new files, and of deletions; where none is told of both, it takes a
// way for each.
func Choose(created, removed []string, walk func(target string) []Check) []Check {
	both := slices.DeleteFunc(slices.Clone(created), func(t string) bool { return !slices.Contains(removed, t) })
	if len(both) > 0 {
		return furthest(both, walk)
	}
	checks := furthest(created, walk)
	for _, c := range furthest(removed, walk) {
		if !slices.Contains(checks, c) {
			checks = append(checks, c)
		}
	}
	return checks
}

func furthest(targets []string, walk func(target string) []Check) []Check {
	var best []Check
	reached := -1
	for _, target := range targets {
		checks := walk(target)
		steps := slices.IndexFunc(checks, func(c Check) bool { return c.Status == Fault })
		if steps < 0 {
			return checks
		}
		if steps > reached {
			best, reached = checks, steps
		}
	}
	return best
}

// CheckTold says whether somebody is told of every change below the source: created and removed are as for Choose, who tells is by, and notes say
// why other ways do not do.
func (w Want) CheckTold(by, repair string, created, removed, notes []string) Check {
	const name = "notifications"
	prefix, why := w.Source.Prefix, ""
	if len(notes) > 0 {
		why = " (" + strings.Join(notes, "; ") + ")"
	}
	switch {
	case len(created) == 0 && len(removed) == 0:
		return Bad(name, repair, "the bucket tells nobody of changes below %q%s: uploads wait for the schedule", prefix, why)
	case len(created) == 0:
		return Bad(name, repair, "nobody is told of new files below %q%s: uploads wait for the schedule", prefix, why)
	case len(removed) == 0:
		return Bad(name, repair, "nobody is told of deletions below %q%s: they wait for the schedule", prefix, why)
	}
	return Good(name, "%s tell of changes below %q", by, prefix)
}

// CheckTimeout compares the time-out of a function with what a run may need. It returns nothing if all is well.
func (w Want) CheckTimeout(function string, timeout time.Duration) []Check {
	least := w.MaxWait + tail
	if timeout >= least {
		return nil
	}
	return []Check{Warn("function", fmt.Sprintf("set its time-out to at least %d s, or lower max_wait", int(least.Seconds())),
		"the time-out of %s is %s, and max_wait with two minutes for the deploy is %s", function, timeout, least)}
}

// CheckSettings compares the environment of a function with the settings that were looked at. It returns nothing if all is well.
func (w Want) CheckSettings(function string, env map[string]string) []Check {
	checks := w.compareSettings(env)
	for i := range checks {
		checks[i].Says = function + ": " + checks[i].Says
	}
	return checks
}

func (w Want) compareSettings(env map[string]string) []Check {
	wanted, reads := w.Settings["DAGBUCKET_CONFIG"], env["DAGBUCKET_CONFIG"]
	switch {
	case reads == "" && wanted == "" && env["DAGBUCKET_SOURCE"] != "":
		return w.compareVariables(env)
	case reads == "" && env["DAGBUCKET_SOURCE"] == "":
		return []Check{Bad("function", "set DAGBUCKET_CONFIG of the function to the URL of its configuration file", "it has no configuration: DAGBUCKET_CONFIG is not set")}
	case reads == "":
		return []Check{Bad("function", "set DAGBUCKET_CONFIG of the function to "+shown(wanted),
			"it takes one route from its environment (source %s), and doctor looked at %s", shown(env["DAGBUCKET_SOURCE"]), shown(wanted))}
	case reads == wanted && w.ConfigSHA256 != "" && env["CONFIG_SHA256"] != "" && env["CONFIG_SHA256"] != w.ConfigSHA256:
		return []Check{Warn("function", "apply Terraform again, or set CONFIG_SHA256 of the function to "+w.ConfigSHA256+", so that new instances start",
			"the configuration file was changed since the function was deployed: instances that run go on with the former one")}
	case reads == wanted:
		return nil
	case wanted != "" && !strings.Contains(wanted, "://"):
		return []Check{Warn("function", "run doctor with DAGBUCKET_CONFIG="+shown(reads), "it reads %s, and doctor looked at the file %s", shown(reads), shown(wanted))}
	}
	return []Check{Bad("function", "run doctor with DAGBUCKET_CONFIG="+shown(reads)+"; or set that of the function to what doctor looked at, if that is the right one",
		"it reads %s, and doctor looked at %s", shown(reads), orEnvironment(wanted))}
}

func orEnvironment(place string) string {
	if place == "" {
		return "the settings of its own environment"
	}
	return shown(place)
}

// compareVariables is for a function without a file.
func (w Want) compareVariables(env map[string]string) []Check {
	var differ []string
	for _, name := range slices.Sorted(maps.Keys(w.Settings)) {
		if !sameSetting(env[name], w.Settings[name]) {
			differ = append(differ, fmt.Sprintf("%s is %s there and %s here", name, shown(env[name]), shown(w.Settings[name])))
		}
	}
	if differ == nil {
		return nil
	}
	return []Check{Bad("function", "set the function's variables to those that doctor was run with, or run doctor with the function's", "%s", strings.Join(differ, ", "))}
}

// sameSetting takes URLs that mean the same place for equal.
func sameSetting(a, b string) bool {
	if a == b {
		return true
	}
	u, err1 := bucket.ParseURL(a)
	v, err2 := bucket.ParseURL(b)
	return err1 == nil && err2 == nil && u == v
}

// shown is a setting, unless somebody put a signed URL or credentials there.
func shown(value string) string {
	switch {
	case value == "":
		return "(not set)"
	case strings.ContainsAny(value, "?@"):
		return "(not shown)"
	}
	return Line(value)
}
