package pysyntax

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// testCache holds the machine code for tests. wazero gives it the version "dev", which it takes test binaries for, so that no other program's
// would serve them.
const testCache = "../../build/pysyntax/test"

// TestCompile fills testCache. It runs before the others, and the Makefile runs it alone before all: under the race detector it takes minutes.
func TestCompile(t *testing.T) {
	require.NoError(t, Compile(context.Background(), testCache))
	e, err := openEngine(context.Background(), testCache)
	require.NoError(t, err)
	e.close(context.Background())
}

// theChecker is shared by all tests that do not need one of their own.
var theChecker = sync.OnceValue(func() *Checker {
	c := New(Options{Cache: testCache, Make: true, Workers: 2})
	_ = c.Load()
	return c
})

func sharedChecker(t testing.TB) *Checker {
	t.Helper()
	c := theChecker()
	require.NoError(t, c.Load())
	require.False(t, c.interpreted)
	return c
}

// theInterpreter is what checkers that find no machine code use in tests. Under the race detector, where the real one takes 20 s to load, it has
// machine code too.
var theInterpreter = sync.OnceValues(func() (*engine, error) {
	if raceDetector {
		return openEngine(context.Background(), testCache)
	}
	return newInterpreter(context.Background())
})

// newChecker returns one with its own log. Its interpreter is shared: it must not be closed unless it is compiled.
func newChecker(o Options) (*Checker, *strings.Builder) {
	log := &strings.Builder{}
	o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c := New(o)
	c.newInterpreter = func(context.Context) (*engine, error) { return theInterpreter() }
	return c, log
}

// check returns the syntax errors of a source; the test fails if there is no verdict.
func check(t testing.TB, c *Checker, source, python string) []Diagnostic {
	t.Helper()
	found, err := c.Check(context.Background(), []byte(source), python)
	require.NoError(t, err)
	return found
}

// verdict is CPython's on a file: [type, message, line, column], or nil if it accepts it.
type verdict []any

// corpus returns CPython's verdicts by file and version.
func corpus(t testing.TB) map[string]map[string]verdict {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "corpus", "verdicts.json"))
	require.NoError(t, err)
	var all map[string]map[string]verdict
	require.NoError(t, json.Unmarshal(data, &all))
	require.NotEmpty(t, all)
	return all
}

func readCorpus(t testing.TB, name string) []byte {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "corpus", filepath.FromSlash(name)))
	require.NoError(t, err)
	return source
}
