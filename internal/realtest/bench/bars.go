package main

import (
	"slices"
	"time"
)

// The bars.
const (
	maxRatio       = 1.3 // to what the work needs in any case
	maxRSS         = 200e6
	maxLargeRSS    = 250e6
	maxHeavyRSS    = 150e6 // with one changed: bytes that grow with no file's size
	maxStart       = 200 * time.Millisecond
	maxOfFirst     = 0.5 // one changed, to a first sync
	maxOfTemplate  = 0.07
	maxOfRclone    = 0.7
	maxOfRcloneOne = 0.35 // one changed, to a whole copy: a function's new instance has an empty folder
)

// comparison is a ratio of two variants of the same rounds.
type comparison struct {
	measured, against string
	bar               float64
	barred            func(point) bool // where the bar holds; elsewhere the ratio is only shown
}

var comparisons = []comparison{
	{firstSync, firstFloor, maxRatio, func(p point) bool { return slices.Contains(scenarios, p.scenario) }},
	{firstSync, template, maxOfTemplate, func(p point) bool { return p.scenario == small && p.network == distant }},
	{firstSync, rcloneCopy, maxOfRclone, func(p point) bool { return p.scenario == medium }},
	{changedSync, changeFloor, maxRatio, func(p point) bool { return p.scenario == medium }},
	{changedSync, onlyListing, maxRatio, func(p point) bool { return p.scenario == large }},
	{changedSync, firstSync, maxOfFirst, func(p point) bool { return p.scenario == medium }},
	{changedSync, rcloneCopy, maxOfRcloneOne, func(p point) bool { return p.scenario == medium && p.network == distant }},
	{changedSync, rcloneKept, 0, nil},
	{checkedFirst, firstSync, 0, nil},
	{checkedSync, changedSync, 0, nil},
}

// compare holds one variant of a series against the others, and its memory against its bar.
func compare(p point, all series, variant string) []check {
	var checks []check
	for _, c := range comparisons {
		if c.measured != variant || all[c.against] == nil {
			continue
		}
		found := check{Of: "× " + c.against, Value: median(all[variant].seconds) / median(all[c.against].seconds)}
		if c.barred != nil && c.barred(p) {
			found.Bar, found.Verdict = c.bar, verdict(found.Value, c.bar, "SLOW")
		}
		checks = append(checks, found)
	}
	if bar := rssBar(p.scenario, variant); bar > 0 {
		rss := float64(all[variant].rss)
		checks = append(checks, check{Of: "MB", Value: rss / 1e6, Bar: bar / 1e6, Verdict: verdict(rss, bar, "LARGE")})
	}
	return checks
}

// rssBar is the most resident memory that a variant may take; 0 if there is no bar.
func rssBar(s scenario, variant string) float64 {
	switch {
	case s == large && (variant == firstSync || variant == changedSync || variant == noChange):
		return maxLargeRSS
	case s == heavy && variant == changedSync:
		return maxHeavyRSS
	case slices.Contains(scenarios, s) && variant == firstSync:
		return maxRSS
	}
	return 0
}
