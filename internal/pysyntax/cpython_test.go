package pysyntax

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

//go:embed testdata/cpython.py
var cpythonScript string

// cpython runs testdata/cpython.py with the Python on the PATH, and decodes what it prints.
func cpython(t *testing.T, into any, stdin any, args ...string) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		skip(t, "there is no python3 on the PATH to compare with")
	}
	input, err := json.Marshal(stdin)
	require.NoError(t, err)
	// -I -S: nothing of this machine's settings runs; -W: no warnings about the files.
	cmd := exec.CommandContext(t.Context(), python, append([]string{"-I", "-S", "-W", "ignore", "-c", cpythonScript}, args...)...)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%s: %s\n%s", python, err, exit.Stderr)
	}
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, into))
}

// skip skips a test for want of something on this machine; where nothing may be wanting, it fails.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("TEST_ALL") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// pythonOnPATH returns its version, such as "3.11".
func pythonOnPATH(t *testing.T) string {
	t.Helper()
	var version string
	cpython(t, &version, nil, "version")
	const oldest = "3.8" // of the corpus; 3.7 still allowed yield in comprehensions
	if at := slices.Index(Versions, version); at < slices.Index(Versions, oldest) {
		skip(t, "python3 is %s: only from %s to %s is compared", version, oldest, Versions[len(Versions)-1])
	}
	return version
}

// TestLibrary checks Python's own library and what is installed: what is refused here must be refused there.
func TestLibrary(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	python := pythonOnPATH(t)
	var files []string
	cpython(t, &files, nil, "list", "4000")
	read, size, unchecked := 0, 0, 0
	refused := map[string]string{}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			continue // it is not ours: it may go
		}
		read, size = read+1, size+len(source)
		found, err := c.Check(context.Background(), source, python)
		if IsUnchecked(err) {
			unchecked++
			continue
		}
		require.NoError(t, err)
		if len(found) > 0 {
			refused[name] = found[0].String()
		}
	}
	t.Logf("Python %s: %d files, %d KB; %d refused, %d not checked", python, read, size>>10, len(refused), unchecked)
	require.GreaterOrEqual(t, read, 500)

	var invalid map[string]string
	cpython(t, &invalid, slices.Collect(maps.Keys(refused)), "compile-files")
	for name, why := range refused {
		if !strings.Contains(why, "is not UTF-8") { // the stricter case
			require.NotEmpty(t, invalid[name], "a false alarm: %s: %s", name, why)
		}
	}
}

// TestCorpusOnPATH compares with the Python on the PATH, whose release may be newer than those of the corpus.
func TestCorpusOnPATH(t *testing.T) {
	t.Parallel()
	c := sharedChecker(t)
	python := pythonOnPATH(t)
	sources := map[string][]byte{}
	for name := range corpus(t) {
		sources[name] = readCorpus(t, name)
	}
	invalid := compileSources(t, sources)
	var missed, refused []string
	for name, source := range sources {
		found := check(t, c, string(source), python)
		switch {
		case invalid[name] != "" && len(found) == 0:
			missed = append(missed, name+": "+invalid[name])
		case invalid[name] == "" && len(found) > 0 && name != stricter:
			refused = append(refused, name+": "+found[0].String())
		}
	}
	t.Logf("Python %s: %d files, %d of them invalid; missed: %q", python, len(sources), len(invalid), missed)
	require.Empty(t, refused, "valid files")
	require.LessOrEqual(t, len(missed)*100, len(invalid)*3, "at most 3 %%")
}

// compileSources returns what the Python on the PATH says to sources, by name; nothing of those that it accepts.
func compileSources(t *testing.T, sources map[string][]byte) map[string]string {
	t.Helper()
	invalid := map[string]string{}
	cpython(t, &invalid, sources, "compile-sources")
	return invalid
}
