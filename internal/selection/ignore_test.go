package selection

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/stretchr/testify/require"
)

// everyPath is judged against each ignore file of the table.
var everyPath = []string{
	"a", "a.py", "a/b", "a/b.py", "a/b/c", "a/b/c/d", "a/bc", "ab", "ab/c", "abc", "b", "b/a", "b/a/c", "c/a", "c/a/b", "x/y/z", "x/abc", "x/abcd/e",
	"foo", "foo.py", "foobar", "foo/bar", "foo/x/bar", "foo/x/y/bar", "fooX/bar", "fooX/y/bar", "bar", "x/foo", "x/foo/bar", "x/foo/y",
	"build/x.py", "src/build/x.py", "build.py", "src/build", "logs/1.log", "1.log", "logs/keep.log", "logs/deep/keep.log", "src/logs/1.log",
	"dags/team a/x.py", "trailing ", "trailing", " leading", "#hash", "!bang", "x/#hash", "a*b", "a?b", "a[b]", "a{b,c}", "{a,b}", "a\u00a0b",
	"é.py", "e\u0301.py", "É.py", "日本/x.py", "🎈.py", "🎈/🎈.py", "[", "]", "]a", "-", "-a", "a-c", "^", "^a", "+", "a+b c%2B/é.py", "&", "'q'", `"q"`, "$x", "a|b", "(a)", "a.b",
	".hidden", ".hidden/x", "x/.hidden", ".airflowignore", "A.PY", "README.md", "docs/README.md", "tests/test_x.py", "x/tests/test_x.py", "1", "12", "a1", "d", "e", "m", "x\u2028y", "~", "%",
	".gitignore", "aaa", "aaaa/aaa", "a/a/a/a", "abababab/ab", "foo/", "deep/" + strings.Repeat("d/", 40) + "x.py",
}

// ignoreFiles is a broad table of ignore files; all are compared with git over everyPath.
var ignoreFiles = map[string]string{
	"names":                     "foo\na.py\n",
	"star":                      "*.py\n",
	"everything":                "*\n",
	"everything but":            "*\n!*.py\n!*/\n",
	"star in folder":            "a/*\n",
	"rooted":                    "/foo\n",
	"rooted star":               "/*.py\n",
	"rooted everything but":     "/*\n!/foo\n/foo/*\n!/foo/bar\n",
	"folder only":               "build/\n",
	"folder only rooted":        "/build/\n",
	"folder only deep":          "src/build/\n",
	"inner slash ties to root":  "foo/bar\n",
	"last one wins":             "*.log\n!keep.log\n",
	"and wins again":            "*.log\n!keep.log\nlogs/keep.log\n",
	"not below an ignored one":  "logs/\n!logs/keep.log\n",
	"below its contents":        "logs/*\n!logs/keep.log\n",
	"folder taken back":         "logs/*\n!logs/deep/\n",
	"folder taken back, deep":   "a/**\n!a/b\n",
	"and its contents too":      "a/**\n!a/b\n!a/b/**\n",
	"all but folders":           "a/**/*\n!a/b\n",
	"leading stars":             "**/foo\n",
	"leading stars, two names":  "**/foo/bar\n",
	"trailing stars":            "foo/**\n",
	"trailing stars and slash":  "foo/**/\n",
	"middle stars":              "foo/**/bar\n",
	"three stars":               "foo/***/bar\n",
	"only stars":                "**\n",
	"only stars and slash":      "**/\n",
	"stars star":                "**/*\n",
	"stars twice":               "**/**/foo\n",
	"stars at both ends":        "**/x/**\n",
	"star then stars":           "*/**\n",
	"star, stars, name":         "*/**/b\n",
	"stars inside a name":       "a**b\n",
	"stars after a name":        "foo**\n",
	"stars after a name, path":  "x/abc**\n",
	"stars after a name, more":  "foo**/bar\n",
	"stars after wildcard":      "f?o**/bar\n",
	"stars before a name":       "**bar\n",
	"stars before a name, path": "foo/**bar\n",
	"rooted stars":              "/**/foo\n",
	"question mark":             "a?\n?\n",
	"question mark is no slash": "a?b\n",
	"question mark is a byte":   "?.py\n??.py\n",
	"four bytes":                "????.py\n",
	"class":                     "[ab]\n",
	"range":                     "[a-c]\n",
	"negated":                   "[!ab]\n",
	"negated with a caret":      "[^ab]\n",
	"negated is no slash":       "a[!x]b\n",
	"reversed range":            "[b-a]\n",
	"range after a range":       "[a-c-e]\n",
	"range after a name":        "[[:digit:]-z]\n",
	"range over the slash":      "a[+-9]b\n",
	"bracket first":             "[]a]\n",
	"bracket first, negated":    "[!]a]\n",
	"dash first":                "[-a]\n",
	"dash last":                 "[a-]\n",
	"escaped in class":          "[\\]\\-]\n",
	"caret in class":            "[a^]\n",
	"alpha":                     "[[:alpha:]]\n",
	"alnum and more":            "[[:alnum:]_.-]*\n",
	"digits":                    "[[:digit:]]*\n",
	"upper":                     "[[:upper:]]*\n",
	"punct":                     "[[:punct:]]*\n",
	"space":                     "*[[:space:]]*\n",
	"xdigit, negated":           "[^[:xdigit:]]\n",
	"every other name":          "[[:graph:]]\n[[:print:]][[:lower:]]\n[[:blank:]]*\n[[:cntrl:]a]\n",
	"class of non-ASCII":        "[é].py\n[éè][éè].py\n",
	"range to the end":          "[é-ÿ]*\n",
	"no bracket opened":         "]\na]\n",
	"braces are ordinary":       "{a,b}\na{b,c}\n",
	"other special characters":  "a|b\n(a)\n$x\n+\n^\na.b\n&\n",
	"comment":                   "#hash\n# another\n",
	"escaped hash":              "\\#hash\n",
	"escaped bang":              "\\!bang\n",
	"negated bang":              "*\n!!bang\n",
	"escaped star":              "a\\*b\n",
	"escaped question mark":     "a\\?b\n",
	"escaped bracket":           "a\\[b]\n\\[\n",
	"escaped letter":            "\\f\\o\\o\n",
	"escaped slash":             "foo\\/bar\n",
	"stars before escaped one":  "foo/**\\/bar\n",
	"stars to the very end":     "foo**/**\nabab**/*\n",
	"trailing space":            "foo \n",
	"trailing spaces":           "foo   \n",
	"trailing escaped space":    "trailing\\ \n",
	"escaped and more":          "trailing\\   \n",
	"escaped backslash, space":  "foo\\\\ \n",
	"leading space":             " leading\n foo\n",
	"space inside":              "dags/team a/\n",
	"blank lines":               "\n\n   \n\t\nfoo\n\n",
	"windows":                   "foo\r\n*.log\r\n\r\n!keep.log\r\n",
	"windows, no last end":      "foo\r\nbar\r",
	"no last end":               "foo\nbar",
	"byte order mark":           "\ufefffoo\n",
	"byte order mark, comment":  "\ufeff# foo\nbar\n",
	"empty":                     "",
	"only a slash":              "/\n",
	"only a bang":               "!\n*.py\n",
	"two slashes":               "foo//bar\nfoo//\n//foo\n",
	"dot":                       "./foo\n.\n..\nfoo/../bar\n",
	"case":                      "*.PY\nreadme.md\n",
	"Unicode":                   "é.py\n日本\n🎈*\n",
	"no normalisation":          "e\u0301.py\n",
	"hidden":                    ".*\n",
	"hidden but one":            ".*\n!.airflowignore\n",
	"star does match a dot":     "*hidden\n",
	"tests":                     "tests/\n!x/tests/\n",
	"backtracking":              "a*a*a*b\n*ab*ab\na/*a/**/a\n",
	"slow to match":             "a*a*a*a*a*a*a*a*a*a*a*a*b\n**/d/**/d/**/d/**/d/**/y\n",
	"a usual one":               "# local\n.venv/\n*.log\n/tests/\n**/fixtures/**\n!important.log\ndocs/**/*.md\n",
}

func TestIgnoreIsAsGit(t *testing.T) {
	t.Parallel()
	var cases []ignoreCase
	for _, name := range slices.Sorted(maps.Keys(ignoreFiles)) {
		_, err := ParseIgnore([]byte(ignoreFiles[name]))
		require.NoError(t, err, name)
		cases = append(cases, ignoreCase{ignoreFiles[name], gitPaths(everyPath)})
	}
	requireAsGit(t, cases)
}

// gitPaths leaves out the paths with a slash at their end, which never reach an ignore file.
func gitPaths(paths []string) []string {
	var files []string
	for _, p := range paths {
		if !strings.HasSuffix(p, "/") {
			files = append(files, p)
		}
	}
	return files
}

func TestIgnoreIsAsGitAtRandom(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			requireAsGit(t, randomCases(seed, 1_000))
		})
	}
}

func TestIgnoreRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, want string }{
		"unclosed class":       {"*.log\n[abc\n", `line 2: "[abc": a "[" lacks its "]"`},
		"class without end":    {"a[", `line 1: "a[": a "[" lacks its "]"`},
		"class, only negation": {"[!", `a "[" lacks its "]"`},
		"class ends escaped":   {`[a\`, `a "[" lacks its "]"`},
		"unclosed named class": {"[[:alpha:]", `a "[" lacks its "]"`},
		"unknown class":        {"[[:word:]]", "there is no class [:word:]: use alnum, "},
		"class of a slash":     {"!a[/]b/", `line 1: "!a[/]b/": [/] matches nothing that a file name has`},
		"backslash at the end": {"ok\n\nwindows\\", `line 3: "windows\\": a backslash at the end escapes nothing: write "/" between folders`},
		"escaped last slash":   {`dir\/`, "a backslash at the end"},
		"tab at the end":       {"foo\t", `line 1: "foo\t" has a tab or another control character`},
		"NUL":                  {"a\nfo\x00o", `line 2: "fo\x00o" has a tab or another`},
		"old Mac line ends":    {"foo\rbar", "control character"},
		"Latin-1":              {"caf\xe9", "line 1: not UTF-8: save the file as UTF-8"},
		"UTF-16":               {"\xff\xfef\x00o\x00o\x00", "it is UTF-16: save it as UTF-8"},
		"UTF-16, big endian":   {"\xfe\xff\x00f", "it is UTF-16"},
		"several":              {"[\nok\n\\\n", `line 1: "[": a "[" lacks its "]": add it, or write "\[" for the character itself; line 3: "\\": a backslash`},
		"too many to list":     {strings.Repeat("[\n", 9), "; and 4 more"},
		"long pattern":         {strings.Repeat("x", 60_000) + "[", `line 1: "` + strings.Repeat("x", 100) + `…": a "[" lacks`},
		"long class":           {"[" + strings.Repeat("/", 60_000) + "]", `…": [` + strings.Repeat("/", 99) + "… matches nothing"},
		"long class name":      {"[[:" + strings.Repeat("z", 60_000) + ":]]", "there is no class [:" + strings.Repeat("z", 100) + "…:]"},
		"too many rules":       {strings.Repeat("a\n", maxRules+1), "it has 2001 rules, and at most 2000 are read: use fewer, more general patterns"},
		"a million rules":      {strings.Repeat("a\n", 1_000_000), "it has 2000000 bytes, and at most 65536 are read: use fewer, more general patterns"},
		"too large":            {strings.Repeat("a", MaxIgnoreFile+1), "it has 65537 bytes, and at most 65536 are read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, err := ParseIgnore([]byte(c.content))
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n", "one line")
			require.Less(t, len(err.Error()), 2_000)
			require.Nil(t, i)
		})
	}
}

func TestIgnoreMayBeAbsent(t *testing.T) {
	t.Parallel()
	var none *Ignore
	require.False(t, none.Match("a"))
	for _, content := range []string{"", "\n", "# nothing\n"} {
		i, err := ParseIgnore([]byte(content))
		require.NoError(t, err)
		require.False(t, i.Match("a"))
	}
}

func TestIgnoreTakesTheLargestFile(t *testing.T) {
	t.Parallel()
	i, err := ParseIgnore([]byte("x\n" + strings.Repeat("#", MaxIgnoreFile-2)))
	require.NoError(t, err)
	require.True(t, i.Match("x"))
	i, err = ParseIgnore([]byte(strings.Repeat("a\n", maxRules-1) + "# comments and empty lines are no rules\n\nx\n"))
	require.NoError(t, err)
	require.True(t, i.Match("x"))
}

// TestNoPatternIsCatastrophic doubles pattern and path together: what is polynomial takes a few times as long, what is exponential
// hundreds of times. Both run on the same machine at the same moment, so a busy one slows them alike.
func TestNoPatternIsCatastrophic(t *testing.T) {
	const small = 10
	for _, c := range []struct{ repeated, last, segment string }{
		{"*a", "b", "aa"}, {"a*", "b", "aa"}, {"?*", "b", "aa"}, {"[ab]*", "c", "ab"}, {"**", "b", "aa"}, {"{a,b}*", "c", "ab"},
		{"**/a/", "b", "a/a/"}, {"**/*a/", "b", "a/aa/"}, {"**/*a*a/", "b", "aaa/"}, {"**/**/", "b", "a/"}, {"*/**/", "b", "a/a/"},
	} {
		t.Run(c.repeated, func(t *testing.T) {
			timed := func(n int) time.Duration {
				i := parse(t, strings.Repeat(c.repeated, n)+c.last+"\n")
				path := strings.Repeat(c.segment, n) + "x"
				fastest := time.Hour
				for range 5 {
					start := time.Now()
					for range 20 {
						require.False(t, i.Match(path))
					}
					fastest = min(fastest, time.Since(start))
				}
				return fastest
			}
			require.Less(t, timed(2*small), 100*timed(small))
		})
	}
}

func FuzzIgnoreFile(f *testing.F) {
	for _, content := range ignoreFiles {
		f.Add([]byte(content), "foo/x/bar")
	}
	f.Add([]byte("[!]a-\\]é[:alpha:]"), "é/[")
	f.Add([]byte("*\n!a/\n!a/**\r\na\\ \n"), "a/b/c")
	f.Add(bytes.Repeat([]byte("a\n"), maxRules+1), "a")
	f.Fuzz(func(t *testing.T, content []byte, path string) {
		i, err := ParseIgnore(content)
		if err != nil {
			require.Nil(t, i)
			require.Regexp(t, `^(it|line \d+:) `, err.Error())
			requireOneShortLine(t, err.Error())
			return
		}
		require.LessOrEqual(t, len(i.rules), maxRules)
		for _, r := range i.rules {
			require.True(t, doublestar.ValidatePattern(r.glob), "%q became %q, which the library refuses", r.text, r.glob)
			requireOneShortLine(t, r.text)
		}
		if path == "" || unsafe(path, 0) != "" {
			return
		}
		ignored := i.Match(path)
		require.Equal(t, ignored, i.Match(path), "a second answer")
		if ignored && !bytes.Contains(content, []byte("!")) {
			require.True(t, i.Match(path+"/below"), "what is below an ignored name is ignored")
		}
		requireSameVerdict(t, content, path, ignored)
	})
}

// requireSameVerdict writes the rules in other ways that mean the same, or nothing, or everything.
func requireSameVerdict(t *testing.T, content []byte, path string, ignored bool) {
	for name, c := range map[string]struct {
		content string
		want    bool
	}{
		"a comment after it":  {string(content) + "\n# comment", ignored},
		"an empty line first": {"\n" + strings.TrimPrefix(string(content), "\ufeff"), ignored},
		"everything":          {string(content) + "\n*\n", true},
		"nothing":             {string(content) + "\n!*\n", false},
		"Windows' line ends":  {strings.ReplaceAll(strings.ReplaceAll(string(content), "\r\n", "\n"), "\n", "\r\n"), ignored},
	} {
		i, err := ParseIgnore([]byte(c.content))
		if err != nil {
			require.Regexp(t, "^it has ", err.Error(), "only its length may stand against it")
			continue
		}
		require.Equal(t, c.want, i.Match(path), name)
	}
}

func requireOneShortLine(t *testing.T, text string) {
	t.Helper()
	require.Less(t, len(text), 2_000)
	require.True(t, utf8.ValidString(text), "%q", text)
	require.NotRegexp(t, `[[:cntrl:]]`, text)
}
