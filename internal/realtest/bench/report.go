package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"
)

// row is one line of the results: one variant of one point.
type row struct {
	Cloud    string           `json:"cloud"`
	Source   string           `json:"source"`
	Network  network          `json:"network"`
	Measured string           `json:"measured"`
	Files    int              `json:"files"`
	Changed  int              `json:"changed"`
	Rounds   int              `json:"rounds"`
	Seconds  float64          `json:"seconds"` // the median
	All      []float64        `json:"all"`
	PeakRSS  int64            `json:"peakRSS"` // bytes, the largest; 0 if it was not measured
	Requests map[string]int64 `json:"requests,omitempty"`
	Checks   []check          `json:"checks,omitempty"`
}

// check is a value beside its bar.
type check struct {
	Of      string  `json:"of"` // what the value is: a unit, or "× " and what it is a multiple of
	Value   float64 `json:"value"`
	Bar     float64 `json:"bar,omitempty"` // 0: there is none
	Verdict string  `json:"verdict,omitempty"`
}

func (c check) String() string {
	text := number(c.Value) + " " + c.Of
	if c.Bar > 0 {
		text += fmt.Sprintf(" (≤ %g: %s)", c.Bar, c.Verdict)
	}
	return text
}

func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// report collects the results and prints them as they come.
type report struct {
	out    io.Writer
	rows   []row
	fits   []fit
	prices []deployPrice
}

func (r *report) add(one row) {
	if len(r.rows) == 0 || r.rows[len(r.rows)-1].heading() != one.heading() {
		fmt.Fprintf(r.out, "\n%s\n", one.heading())
	}
	r.rows = append(r.rows, one)
	cells := one.cells()[3:]
	fmt.Fprintf(r.out, "  %s %s %s  %s  %s\n", pad(cells[0], -40), pad(cells[1], 9), pad(cells[2], 8), pad(cells[3], -62), cells[4])
}

// heading is what the lines that belong together have in common.
func (r row) heading() string {
	return strings.Join(slices.DeleteFunc([]string{r.Cloud, r.Source, string(r.Network)}, func(s string) bool { return s == "" }), ", ")
}

func (r *report) addSeries(cloud string, p point, all series) {
	for _, variant := range allVariants {
		v := all[variant]
		if v == nil {
			continue
		}
		changed := 0
		if slices.Contains([]string{changeFloor, changedSync, checkedSync, rcloneKept}, variant) {
			changed = 1
		}
		r.add(row{Cloud: cloud, Source: p.name, Network: p.network, Measured: variant, Files: p.files, Changed: changed, Rounds: len(v.seconds),
			Seconds: median(v.seconds), All: v.seconds, PeakRSS: v.rss, Requests: v.requests, Checks: compare(p, all, variant)})
	}
}

var rowHeader = []string{"cloud", "source", "network", "measured", "time", "peak RSS", "requests", "beside"}

func (r row) cells() []string {
	memory := ""
	if r.PeakRSS > 0 {
		memory = fmt.Sprintf("%.0f MB", float64(r.PeakRSS)/1e6)
	}
	var checks []string
	for _, c := range r.Checks {
		checks = append(checks, c.String())
	}
	return []string{r.Cloud, r.Source, string(r.Network), r.Measured, fmt.Sprintf("%.3f s", r.Seconds), memory, requestsText(r.Requests), strings.Join(checks, "; ")}
}

func requestsText(requests map[string]int64) string {
	var parts []string
	for _, kind := range []string{"list", "get", "sourceGet", "put", "delete", "astro"} {
		if n := requests[kind]; n > 0 {
			parts = append(parts, kind+" "+thousands(n))
		}
	}
	return strings.Join(parts, ", ")
}

// thousands writes a number with commas.
func thousands(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// pad fills up to a width in characters; on the right if the width is negative.
func pad(s string, width int) string {
	if missing := max(width, -width) - utf8.RuneCountInString(s); missing > 0 && width < 0 {
		return s + strings.Repeat(" ", missing)
	} else if missing > 0 {
		return strings.Repeat(" ", missing) + s
	}
	return s
}

// save writes the results as Markdown, JSON and a picture.
func (r *report) save(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "results.md"), []byte(r.markdown()), 0o644); err != nil {
		return err
	}
	content, err := json.MarshalIndent(map[string]any{"machine": machine(), "rows": r.rows, "fits": r.fits, "prices": r.prices}, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "results.json"), append(content, '\n'), 0o644); err != nil {
		return err
	}
	picture, err := r.plot()
	if err != nil {
		return fmt.Errorf("the plot: %w", err)
	}
	fmt.Fprintf(r.out, "\nthe results are in %s\n", folder)
	return os.WriteFile(filepath.Join(folder, "results.svg"), picture, 0o644)
}

func machine() string {
	return fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func (r *report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# What deploys cost\n\nWritten by `make bench` (%s). Times are medians of interleaved rounds, peak RSS is the largest of them, "+
		"and requests are of one run. A function's time is that of its invocation; a floor's, that of its work. "+
		"[What is measured, and how](../main.go).\n\n![Time, memory and requests](results.svg)\n\n## Measured\n\n", machine())
	table(&out, rowHeader, len(r.rows), func(i int) []string { return r.rows[i].cells() })
	if len(r.fits) > 0 {
		out.WriteString("\n## Growth\n\nStraight lines by least squares, over the loopback.\n\n")
		table(&out, fitHeader, len(r.fits), func(i int) []string { return r.fits[i].cells() })
	}
	if len(r.prices) > 0 {
		out.WriteString("\n## Price of a deploy\n\n" + priceNotes + "\n\n")
		table(&out, priceHeader, len(r.prices), func(i int) []string { return r.prices[i].cells() })
	}
	return out.String()
}

// table writes rows as Markdown.
func table(out *strings.Builder, header []string, rows int, cells func(int) []string) {
	line := func(cells []string) { fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | ")) }
	line(header)
	line(slices.Repeat([]string{"---"}, len(header)))
	for i := range rows {
		line(cells(i))
	}
}
