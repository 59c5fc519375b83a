package pysyntax

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a hostile source may lead to.
const (
	isValid     = "valid"
	isInvalid   = "invalid"
	isUnchecked = "unchecked"
	isAnything  = "anything but a failure" // where it depends on the machine, the release or the limits
)

const large = MaxSource - 100

// fill repeats a piece up to a size in bytes.
func fill(piece string, size int) string { return strings.Repeat(piece, size/len(piece)) }

// count fills with pieces that have a number in them, at each %d.
func count(piece string, size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size-2*len(piece)-20; i++ {
		b.WriteString(strings.ReplaceAll(piece, "%d", fmt.Sprint(i)))
	}
	return b.String()
}

// nest indents each line by one blank more.
func nest(line string, depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + line + "\n")
	}
	return b.String() + strings.Repeat(" ", depth) + "pass\n"
}

var hostile = map[string]struct{ source, want string }{
	"100,000 brackets":         {strings.Repeat("[", 100_000), isUnchecked},
	"100,000 brackets, closed": {strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000), isUnchecked},
	"braces":                   {fill("{", large), isUnchecked},

	"50 MB on one line":          {fill("x = 1; ", 50<<20), isUnchecked},
	"null bytes":                 {fill("\x00", large), isInvalid},
	"null byte at the end":       {fill("#", large) + "\x00", isInvalid},
	"not UTF-8":                  {fill("\xff", large), isInvalid},
	"wide characters":            {"x = '" + fill("😀", large) + "'\n", isValid},
	"wide characters as names":   {fill("😀 ", large), isAnything},
	"a flood of errors":          {fill("1 1\n", 100<<10), isInvalid},
	"a flood of compiler errors": {fill("return\n", 200<<10), isInvalid},
	"the largest flood":          {fill("$", large), isAnything},
	"deep indentation":           {nest("if a:", 1400), isAnything},
	"nested functions":           {nest("def f():", 500), isAnything},
	"dedents that fit nowhere":   {fill("if a:\n      b\n    c\n  d\n", 50<<10), isInvalid},
	"lambdas":                    {"x = " + fill("lambda: ", large) + "1\n", isAnything},
	"a chain of calls":           {"x = a" + fill("()", large) + "\n", isUnchecked},
	"a chain of attributes":      {"x = a" + fill(".a", large) + "\n", isAnything},
	"a sum":                      {"x = 1" + fill("+1", large) + "\n", isUnchecked},
	"targets":                    {fill("a=", large) + "1\n", isAnything},
	"f-strings in f-strings":     {"x = " + strings.Repeat("f'{a:{", 20_000), isUnchecked},
	"backslashes":                {fill("\\\n", large), isInvalid},
	"parameters alike":           {"def f(" + fill("a,", large) + "): pass\n", isAnything},
	"parameters":                 {"def f(" + count("a%d,", 100<<10) + "): pass\n", isValid},
	"globals":                    {"def f():\n" + count(" a%d = 1\n", 100<<10) + count(" global a%d\n", 100<<10), isInvalid},
	"patterns":                   {"match a:\n case " + fill("a|", large) + "b: pass\n", isAnything},
	"string after string":        {"x = " + fill("''", large) + "\n", isAnything},
	"a long number":              {"x = " + fill("1", large) + "\n", isValid},
	"comments":                   {fill("# noqa\n", large), isValid},
	"tabs and blanks":            {"if a:\n  b\n" + fill("\t\n", large), isAnything},
}

// requireVerdict checks a hostile source, and an honest one after it.
func requireVerdict(t *testing.T, c *Checker, source, want string) {
	t.Helper()
	found, err := c.Check(t.Context(), []byte(source), "")
	got := isValid
	switch {
	case IsUnchecked(err):
		got = isUnchecked
	case len(found) > 0:
		got = isInvalid
	}
	if got != isUnchecked {
		require.NoError(t, err)
	}
	if want != isAnything {
		require.Equal(t, want, got, "%v, %v", found, err)
	}
	require.LessOrEqual(t, len(found), maxDiagnostics)
	for _, d := range found {
		requireInside(t, d, []byte(source))
	}
	require.Empty(t, check(t, c, "x = 1\n", ""), "the next one is checked normally")
	require.Len(t, check(t, c, "x = = 1\n", ""), 1, "the next one is checked normally")
}

func TestHostile(t *testing.T) {
	t.Parallel()
	c := New(Options{Cache: testCache, Make: true, Workers: 2})
	for name, tc := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireVerdict(t, c, tc.source, tc.want)
		})
	}
	t.Cleanup(func() {
		for _, in := range c.idle {
			require.LessOrEqual(t, in.memory(), uint32(keptMemory))
			require.LessOrEqual(t, in.heap.size(), keptValues)
		}
		require.LessOrEqual(t, len(c.idle), 2, "as many as there are workers")
		c.Close()
	})
}

// newTestInstance returns one that no checker has.
func newTestInstance(t *testing.T) *instance {
	t.Helper()
	in, err := sharedChecker(t).engine.newInstance(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { in.close(context.Background()) })
	return in
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	in := newTestInstance(t)
	_, err := in.check(t.Context(), []byte(fill("a=1\n", large)), "3.12")
	require.EqualError(t, err, "it takes too much memory to parse")
	require.LessOrEqual(t, in.memory(), uint32(memoryPages)<<16)
	require.Greater(t, in.memory(), uint32(memoryPages)<<15)
}

func TestTimeIsBounded(t *testing.T) {
	t.Parallel()
	in := newTestInstance(t)
	in.setFuel(1000)
	_, err := in.call(in.in(t.Context()), "workspace_new", in.heap.add(settings("3.12")), 2)
	require.ErrorContains(t, err, "unreachable")
	require.Zero(t, in.fuelLeft())

	// An instance that has nearly none left gets new fuel for each source and each version.
	in = newTestInstance(t)
	for _, python := range []string{"3.12", "3.12", "3.13"} {
		_, err := in.check(t.Context(), []byte("x = 1\n"), python)
		require.NoError(t, err)
		require.Less(t, in.fuelLeft(), uint64(fuelBase+fuelForByte*6), "it was taken")
		in.setFuel(1)
	}

	// As the text of an error says it.
	in = newTestInstance(t)
	_, err = in.check(t.Context(), []byte("x = "+fill("lambda: ", 200<<10)+"1\n"), "3.12")
	require.EqualError(t, err, "it takes too long to parse")
}

func TestFloodOfErrorsIsTheFirstOne(t *testing.T) {
	t.Parallel()
	in := newTestInstance(t)
	found, err := in.check(t.Context(), []byte("x = 1\n"+fill("1 1\n", 100<<10)), "3.12")
	require.NoError(t, err)
	require.True(t, in.overflowed)
	require.Len(t, found, 1)
	require.Equal(t, 2, found[0].Start.Row)
	require.Contains(t, found[0].Message, "must be separated by newlines")
}

// TestUnusedImports calls each function that the module does not need, as it would: that is an error of one source.
func TestUnusedImports(t *testing.T) {
	t.Parallel()
	for _, name := range unused {
		require.NotContains(t, imports, name)
		require.PanicsWithValue(t, "ruff called "+name+", which it does not need", func() {
			host(name)((&instance{heap: newHeap()}).in(t.Context()), nil, nil)
		})
	}
}
