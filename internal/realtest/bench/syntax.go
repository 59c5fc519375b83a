package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/realtest"
)

// The bars of the syntax check.
const (
	minFilesPerSecond = 500
	maxLoad           = 0.3   // seconds, with machine code
	maxHostile        = 2.0   // seconds
	maxHostileRSS     = 500e6 // bytes
	maxCheckedRSS     = 300e6 // bytes, of the whole function
	maxDelay          = 0.05  // seconds that the check adds to a run with one changed file
)

// checked is what a process of the check alone measured: see the command syntaxcheck.
type checked struct {
	Load, Seconds                    float64
	Files, Bytes, Refused, Unchecked int
	Then                             bool
	rss                              int64 // bytes
}

// measureSyntax measures the check alone.
func measureSyntax(ctx context.Context, dir string, o options) error {
	root, err := realtest.ProjectRoot()
	if err != nil {
		return err
	}
	binary, err := build(root, dir, "syntaxcheck")
	if err != nil {
		return err
	}
	cache := filepath.Join(root, "build", "lambda", "pysyntax")
	fmt.Printf("\nSyntax check, alone, on one core\n\n")
	if err := speed(ctx, binary, cache, root, o.rounds); err != nil {
		return err
	}
	fmt.Printf("\n%-20s %9s   %-6s %9s   %-8s %s\n", "hostile source", "time", "≤ 2 s", "peak RSS", "≤ 500 MB", "ended in")
	for _, name := range []string{"100,000 brackets", "50 MB on one line", "1 MB on one line", "1 MB of errors", "1 MB of assignments", "1 MB of patterns", "NUL bytes"} {
		m, err := runCheck(ctx, binary, "-cache", cache, "-hostile", name)
		if err != nil {
			return err
		}
		end := "valid"
		switch {
		case m.Unchecked > 0:
			end = "unchecked"
		case m.Refused > 0:
			end = "refused"
		}
		if !m.Then {
			end += "; THE NEXT FILE WAS NOT CHECKED"
		}
		fmt.Printf("%-20s %8.2fs   %-6s %6.0f MB   %-8s %s\n", name, m.Seconds, verdict(m.Seconds, maxHostile, "SLOW"), float64(m.rss)/1e6,
			verdict(float64(m.rss), maxHostileRSS, "LARGE"), end)
	}
	return nil
}

// speed measures files that people wrote: Python's own library, beside Python's own compiler.
func speed(ctx context.Context, binary, cache, root string, rounds int) error {
	folder, python := pythonLibrary(ctx)
	if folder == "" {
		folder = filepath.Join(root, "internal", "pysyntax", "testdata", "corpus")
		fmt.Println("(there is no python3 here: the few files of the tests are measured instead)")
	}
	var loads, perSecond, pythonPerSecond []float64
	var last checked
	for range rounds {
		m, err := runCheck(ctx, binary, "-cache", cache, "-python", python, folder)
		if err != nil {
			return err
		}
		loads, perSecond, last = append(loads, m.Load), append(perSecond, float64(m.Files)/m.Seconds), m
		if python != "" {
			seconds, err := compileWithPython(ctx, folder)
			if err != nil {
				return err
			}
			pythonPerSecond = append(pythonPerSecond, float64(m.Files)/seconds)
		}
	}
	size := float64(last.Bytes) / float64(last.Files)
	fmt.Printf("%d files of %.1f KB on average, %d refused, %d not checked; median of %d\n", last.Files, size/1e3, last.Refused, last.Unchecked, rounds)
	fmt.Printf("machine code: loaded in %.0f ms (≤ 300: %s); %.0f files/s (≥ %d: %s), %.1f MB/s; peak RSS %.0f MB\n", median(loads)*1000,
		verdict(median(loads), maxLoad, "SLOW"), median(perSecond), minFilesPerSecond, verdict(-median(perSecond), -minFilesPerSecond, "SLOW"),
		median(perSecond)*size/1e6, float64(last.rss)/1e6)
	if python != "" {
		fmt.Printf("compile() of Python %s: %.0f files/s, %.1f MB/s\n", python, median(pythonPerSecond), median(pythonPerSecond)*size/1e6)
	}
	m, err := runCheck(ctx, binary, filepath.Join(root, "internal", "pysyntax", "testdata", "corpus"))
	if err != nil {
		return err
	}
	fmt.Printf("interpreted: loaded in %.0f ms; %.0f files/s, %.2f MB/s, of %d small files; peak RSS %.0f MB\n", m.Load*1000,
		float64(m.Files)/m.Seconds, float64(m.Bytes)/m.Seconds/1e6, m.Files, float64(m.rss)/1e6)
	return nil
}

func runCheck(ctx context.Context, binary string, args ...string) (checked, error) {
	var m checked
	cmd := exec.CommandContext(ctx, binary, args...)
	out, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("the check alone: %w", err)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.rss = usage.Maxrss * 1024
	}
	return m, json.Unmarshal(out, &m)
}

// pythonLibrary returns the folder of Python's own library and its version, or nothing.
func pythonLibrary(ctx context.Context) (folder, version string) {
	out, err := exec.CommandContext(ctx, "python3", "-c",
		"import sys, sysconfig; print(sysconfig.get_path('stdlib')); print('%d.%d' % sys.version_info[:2])").Output()
	if err != nil {
		return "", ""
	}
	folder, version, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	return folder, version
}

// compileWithPython returns the seconds that Python takes to compile what it can of a folder.
func compileWithPython(ctx context.Context, folder string) (seconds float64, err error) {
	const script = `
import os, sys, time, warnings
warnings.simplefilter("ignore")
took = 0.0
for folder, folders, files in os.walk(sys.argv[1]):
    folders[:] = [f for f in folders if f != "site-packages"]
    for name in files:
        if name.endswith(".py"):
            with open(os.path.join(folder, name), "rb") as f:
                source = f.read()
            start = time.perf_counter()
            try:
                compile(source, name, "exec")
            except (SyntaxError, ValueError):
                pass
            took += time.perf_counter() - start
print(took)`
	out, err := exec.CommandContext(ctx, "python3", "-c", script, folder).Output()
	if err != nil {
		return 0, fmt.Errorf("python3: %w", err)
	}
	_, err = fmt.Sscan(string(out), &seconds)
	return seconds, err
}

// measureDelay measures what the check adds to a run of a warm function with one changed file among a thousand.
func (b *bench) measureDelay(ctx context.Context, rounds int) error {
	const source, file = "src-delay", folder + "team_00/dag_00000.py"
	valid := []byte(strings.Repeat("x = [1, 2, 3]  # a comment\n", 160))
	if err := b.createBucket(ctx, source); err != nil {
		return err
	}
	for i := range 1000 {
		if err := b.put(ctx, source, fmt.Sprintf("%steam_%02d/dag_%05d.py", folder, i%20, i), valid); err != nil {
			return err
		}
	}
	took := map[string][]float64{}
	functions := map[string]function{}
	for _, setting := range []string{"off", "keep-last-good"} {
		state := "state-delay-" + setting
		if err := b.createBucket(ctx, state); err != nil {
			return err
		}
		f, err := b.start(ctx, append(b.env(source, state, b.endpoint()), "DAGBUCKET_SYNTAX="+setting))
		if err != nil {
			return err
		}
		defer f.Stop()
		if _, _, err := sync(ctx, f, deployer.Deployed); err != nil { // it is warm from here on
			return err
		}
		functions[setting] = f
	}
	for round := range 4 * rounds {
		if err := b.put(ctx, source, file, append(valid, fmt.Sprintf("y = %d\n", round)...)); err != nil {
			return err
		}
		for setting, f := range functions {
			_, seconds, err := sync(ctx, f, deployer.Deployed)
			if err != nil {
				return err
			}
			took[setting] = append(took[setting], seconds)
		}
	}
	with, without := median(took["keep-last-good"]), median(took["off"])
	rss := functions["keep-last-good"].PeakRSS()
	fmt.Printf("\none changed file of 1,000, warm: %.0f ms without the check, %.0f ms with it; %+.0f ms (≤ 50: %s), median of %d; "+
		"the function's peak RSS with the checker %.0f MB (≤ 300: %s)\n", without*1000, with*1000, (with-without)*1000,
		verdict(with-without, maxDelay, "SLOW"), 4*rounds, float64(rss)/1e6, verdict(float64(rss), maxCheckedRSS, "LARGE"))
	return b.removeBucket(ctx, source)
}
