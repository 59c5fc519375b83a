package selection

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var airflowSyntaxes = map[string]AirflowSyntax{
	"2 regexp": Airflow2Regexp, "2 glob": Airflow2Glob, "3 regexp": Airflow3Regexp, "3 glob": Airflow3Glob,
}

type airflowCase struct {
	syntaxes      string            // names of airflowSyntaxes
	files         map[string]string // content, by folder
	ignored, kept string            // paths, between spaces
}

func inDAGFolder(content string) map[string]string { return map[string]string{"": content} }

// The expectations were compared with Airflow's code, as those of testdata/airflowignore.jsonl.
var airflowCases = map[string]airflowCase{
	"regexp: anywhere in the path":   {"2 regexp, 3 regexp", inDAGFolder("test\n"), "latest.py tests/a.py a/test.py a/tests/b.py", "a.py Test.py"},
	"regexp: from the DAG folder":    {"2 regexp, 3 regexp", map[string]string{"team": "^a\n^team/b\n"}, "team/b.py team/b/c.py", "a.py team/a.py team/c/b.py"},
	"regexp: below its folder":       {"2 regexp, 3 regexp", map[string]string{"team": "a.py"}, "team/a.py team/b/a.py", "a.py other/a.py"},
	"regexp: a folder, then no more": {"2 regexp, 3 regexp", inDAGFolder("^old$\n"), "old/a.py old/b/c.py", "old.py a/old/b.py"},
	"regexp: above and below":        {"2 regexp, 3 regexp", map[string]string{"": "x", "a/b": "y"}, "x.py a/b/y.py a/b/x.py a/xx/c.py", "y.py a/y.py"},
	"regexp: comments":               {"2 regexp, 3 regexp", inDAGFolder("# a\nfoo  # bar\n \t#\n\n#"), "foo.py afoo.py", "a.py bar.py"},
	"regexp: no escaped hash":        {"2 regexp, 3 regexp", inDAGFolder("a\\#b\n[#]c"), "", "a#b.py a.py #c.py c.py"},
	"regexp: spaces count":           {"2 regexp, 3 regexp", inDAGFolder("foo \n bar"), "", "foo.py bar.py"},
	"regexp: other line ends":        {"2 regexp, 3 regexp", inDAGFolder("foo$\r\nbar\rbaz\n\r\n"), "foo bar baz", "a"},
	"regexp: bad lines":              {"2 regexp, 3 regexp", inDAGFolder("*.py\na**\nb(\n[c\nd\\\nf{2,1}\nok"), "ok.py", "a.py b.py c.py d.py ff.py"},
	"regexp: no negation":            {"2 regexp, 3 regexp", inDAGFolder("py\n!a.py"), "a.py", "a"},
	"regexp: case":                   {"2 regexp, 3 regexp", inDAGFolder("(?i)foo"), "FOO.py foo.py", "fo.py"},
	"regexp: BOM is a character":     {"2 regexp, 3 regexp", inDAGFolder("\ufefffoo\nbar"), "bar.py", "foo.py"},
	"RE2: no lookaround":             {"2 regexp", inDAGFolder("^(?!prod_)\n(?<=a)b\n(a)\\1\nc"), "c.py", "a.py prod_a.py ab.py aa.py"},
	"RE2: its own":                   {"2 regexp", inDAGFolder("^\\pL\\.py\n[[:digit:]]\n\\Qa+\\E\nb\\z"), "é.py 1 a+.py xb", "_.py aa.py bx"},
	"RE2: ASCII words":               {"2 regexp", inDAGFolder("^\\w\\.py"), "e.py", "é.py"},
	"RE2: repeated places":           {"2 regexp", inDAGFolder("^*.py"), "py.py apy", "a.p"},
	"Python: escapes":                {"3 regexp", inDAGFolder("\\_b\\-\n\\x63d\n[\\-x\\]]y"), "_b-.py cd.py -y.py ]y.py", "b.py ay.py"},
	"Python: refused escapes":        {"3 regexp", inDAGFolder("\\hc\n[\\q]"), "", "c hc q.py"},
	"Python: refused groups":         {"3 regexp", inDAGFolder("(?'n'b)\n(?P<n>c\n(?P=n)\n(?n)d\n(?Px)\nf(?"), "", "b c d f x"},
	"Python: braces":                 {"3 regexp", inDAGFolder("^c{}\n^d{x}\n^e{2,}f"), "c{}.py d{x} eef", "c.py d.py ef"},
	"Python: classes":                {"3 regexp", inDAGFolder("^[]a]\\.\n^[^]b]x\n^[c-[]y\n^[[:d]z\n^[e-]!"), "].py a.py xx :z [z dz e! -!", "c.py ]x bx cy f!"},
	"Python: flags":                  {"3 regexp", inDAGFolder("(?i:d)e\n(?s-i:f)\n(?i)*x"), "De.py f.py", "dE.py F.py x.py"},

	"glob: a name":                                   {"2 glob, 3 glob", inDAGFolder("foo\na.py\n"), "foo a.py x/a.py foo/b.py x/foo/y/b.py", "foo.py b.py xa.py"},
	"glob: star":                                     {"2 glob, 3 glob", inDAGFolder("*_test.py\n"), "a_test.py x/b_test.py _test.py", "a.py a_test.pyc"},
	"glob: rooted":                                   {"2 glob, 3 glob", inDAGFolder("/a.py\nx/*.py"), "a.py x/b.py", "y/a.py y/x/b.py x/y/b.py"},
	"glob: rooted in its folder":                     {"2 glob, 3 glob", map[string]string{"team": "/a.py\nx/b.py\nc.py"}, "team/a.py team/x/b.py team/y/c.py", "a.py x/b.py team/y/a.py c.py"},
	"glob: folders only":                             {"2 glob, 3 glob", inDAGFolder("old/\nx/y/"), "old/a.py a/old/b.py x/y/c.py", "a/y/c.py b/old x/a"},
	"glob: the last one decides":                     {"2 glob, 3 glob", inDAGFolder("*.py\n!dag_*.py\ndag_x.py"), "a.py dag_x.py", "dag_a.py b/dag_c.py"},
	"glob: the folder's decides":                     {"2 glob, 3 glob", map[string]string{"": "*.py", "a": "!*.py", "a/b": "x.py"}, "c.py a/b/x.py", "a/c.py a/b/c.py"},
	"glob: not below an ignored":                     {"2 glob, 3 glob", map[string]string{"": "a\n!a/b.py", "a": "!*"}, "a/b.py", "b.py"},
	"glob: whitelist":                                {"2 glob, 3 glob", inDAGFolder("*\n!team/\n!team/*.py"), "a.py x/b.py team/c/d.py", "team/e.py"},
	"glob: comments":                                 {"2 glob, 3 glob", inDAGFolder("# a\nfoo.py  # bar.py\n[#]b"), "foo.py", "a bar.py #b b"},
	"glob: trailing space":                           {"2 glob, 3 glob", inDAGFolder("a.py \t\nb\\ "), "a.py", "b"},
	"glob: characters, not bytes":                    {"2 glob, 3 glob", inDAGFolder("?.py\n[è-ê]x"), "a.py é.py 🎈.py éx", "ab.py ax"},
	"glob: stars for folders":                        {"2 glob, 3 glob", inDAGFolder("**/x.py\na/**/b.py\nc/**"), "x.py y/x.py a/b.py a/y/z/b.py c/d.py c/e/f.py", "y/a/b.py y/c/d.py"},
	"glob: stars in a name":                          {"2 glob, 3 glob", inDAGFolder("a**b\nx/y**/z"), "acb ab q/ab x/yy/z", "a/b x/y/q/z"},
	"glob: everything":                               {"2 glob, 3 glob", inDAGFolder("**"), "a b/c.py", ""},
	"glob: everything in folders":                    {"2 glob, 3 glob", inDAGFolder("**/"), "a/b c/d/e", "x.py"},
	"glob: brackets":                                 {"2 glob, 3 glob", inDAGFolder("[ab]1\n[!a-c]2\n[^d]3\n[]x]4\n[y-]5\n[\\]6"), "a1 d2 e3 ]4 x4 -5 \\6", "c1 b2 d3 y4 x5 ]6"},
	"glob: no classes by name":                       {"2 glob, 3 glob", inDAGFolder("[[:digit:]]"), "d] :]", "1 d 1]"},
	"glob: cut before brackets":                      {"2 glob", inDAGFolder("a[b/c]d"), "a[b/c]d", "abd acd"},
	"glob: escapes":                                  {"2 glob, 3 glob", inDAGFolder("\\*.py\n\\!a\n\\b"), "*.py !a b", "x.py a"},
	"glob: nothing to alternate":                     {"2 glob, 3 glob", inDAGFolder("{a,b}.py"), "{a,b}.py", "a.py b.py"},
	"glob: no path is like this":                     {"2 glob, 3 glob", inDAGFolder("/\n / \n//\n//a\na//b\n"), "", "a a/b"},
	"glob: Airflow's search fails":                   {"2 glob, 3 glob", inDAGFolder("a\\#b\n[b-a]c\n!\nd\\\nok"), "ok", "a a#b bc d"},
	"glob 2: open bracket":                           {"2 glob", inDAGFolder("a[b\n!c[a"), "a[b", "ab"},
	"glob 3: open bracket":                           {"3 glob", inDAGFolder("a[b"), "", "a[b ab"},
	"glob 2: leading space":                          {"2 glob", inDAGFolder("  a"), "a", "b"},
	"glob 3: leading space":                          {"3 glob", inDAGFolder("  a"), "", "a b"},
	"glob 2: repeated":                               {"2 glob", inDAGFolder("*.py\n!a.py\n*.py"), "b.py", "a.py"},
	"glob 3: repeated":                               {"3 glob", inDAGFolder("*.py\n!a.py\n*.py"), "b.py a.py", ""},
	"glob 2: repeated below":                         {"2 glob", map[string]string{"": "*.py\n!a.py\n/b", "x": "*.py\n/b"}, "b.py x/b b", "x/a.py"},
	"glob 3: repeated below":                         {"3 glob", map[string]string{"": "*.py\n!a.py\n/b", "x": "*.py\n/b"}, "b.py x/b b x/a.py", "a.py"},
	"glob 2: into a folder":                          {"2 glob", inDAGFolder("x/**\n!x/a.py"), "x/b.py", "x/a.py"},
	"glob 3: not into a folder":                      {"3 glob", inDAGFolder("x/**\n!x/a.py"), "x/b.py x/a.py", "a.py"},
	"glob 2: folder and its files back, issue 62716": {"2 glob", inDAGFolder("*\n!abc/\n!abc/def/\n!abc/def/x/\n!abc/def/x/*"), "a.py abc/a.py", "abc/def/b.py abc/def/x/c.py"},
	"glob 3: folder back, issue 62716":               {"3 glob", inDAGFolder("*\n!abc/\n!abc/def/\n!abc/def/x/\n!abc/def/x/*"), "a.py abc/a.py abc/def/b.py", "abc/def/x/c.py"},
	"glob 3: every folder back":                      {"3 glob", inDAGFolder("*\n!/\n!a.py"), "b.py c/b.py", "a.py c/a.py c/d/a.py"},

	// What Airflow's own tests ask: tests/plugins/test_plugin_ignore.py, tests/utils/test_file.py with tests/dags/.airflowignore*.
	"Airflow's plugins, regexp": {"2 regexp, 3 regexp", map[string]string{"": "#ignore test\nnot\nsubdir2", "subdir1": "#ignore test\nnone\n_glob"},
		"test_notload.py test_notload_sub.py subdir1/test_noneload_sub1.py subdir2/test_shouldignore.py subdir3/test_notload_sub3.py", "test_load.py subdir1/test_load_sub1.py"},
	"Airflow's plugins, glob": {"2 glob, 3 glob", map[string]string{"": "#ignore test\n**/*not*\nsubdir2/", "subdir1": "#ignore test\n*none*"},
		"test_notload.py test_notload_sub.py subdir1/test_noneload_sub1.py subdir2/test_shouldignore.py subdir3/test_notload_sub3.py", "test_load.py subdir1/test_load_sub1.py"},
	"Airflow's DAGs, regexp": {"2 regexp, 3 regexp", inDAGFolder(".*_invalid.*  # Skip invalid files\nsubdir3       # Skip the nested folder\n# *badrule\n"),
		"test_invalid_cron.py test_invalid_param.py subdir2/subdir3/test_nested_dag.py", "test_on_kill.py subdir2/test_dont_ignore_this.py"},
	"Airflow's DAGs, glob": {"2 glob, 3 glob", inDAGFolder("**/.airflowignore\n*_invalid_*      # skip\n**/*_dont_*\n!**/*_negate_ignore.py\nsubdir2/**/test_nested*.py\nsubdir1/         # all\n" +
		"subdir2*test*    # nothing\nsubdir2?test*\ntest_[pr]*\n/                # nothing"),
		"test_invalid_cron.py test_prev_dagrun_dep.py subdir1/test_ignore_this.py subdir2/test_dont_ignore_this.py subdir2/subdir3/test_nested_dag.py",
		"test_on_kill.py subdir2/test_dont_negate_ignore.py subdir2/test_load.py"},
	"Airflow's negation": {"2 glob, 3 glob", inDAGFolder("*\n!subfolder/\n!subfolder/keep.py"), "drop.py subfolder/drop.py", "subfolder/keep.py"},
	"Airflow's negation, nested": {"2 glob, 3 glob", inDAGFolder("*\n!a/\n!a/b/\n!**/subfolder/\n!**/subfolder/keep.py\ndrop.py"),
		"ignore_top.py a/b/subfolder/drop.py", "a/b/subfolder/keep.py"},
}

func TestIgnoredByAirflow(t *testing.T) {
	t.Parallel()
	for name, c := range airflowCases {
		for syntax := range strings.SplitSeq(c.syntaxes, ", ") {
			t.Run(name+", Airflow "+syntax, func(t *testing.T) {
				t.Parallel()
				require.Contains(t, airflowSyntaxes, syntax)
				files := parsedAirflowIgnores(c.files, airflowSyntaxes[syntax])
				for path := range strings.FieldsSeq(c.ignored) {
					require.True(t, IgnoredByAirflow(path, files), "Airflow ignores %q", path)
				}
				for path := range strings.FieldsSeq(c.kept) {
					require.False(t, IgnoredByAirflow(path, files), "Airflow parses %q", path)
				}
			})
		}
	}
}

func parsedAirflowIgnores(files map[string]string, syntax AirflowSyntax) map[string]*AirflowIgnore {
	parsed := map[string]*AirflowIgnore{}
	for folder, content := range files {
		parsed[folder] = ParseAirflowIgnore([]byte(content), syntax)
	}
	return parsed
}

// TestIgnoredAsAirflow compares with what Airflow's own code answered; the file says where that came from.
func TestIgnoredAsAirflow(t *testing.T) {
	t.Parallel()
	recorded, err := os.Open("testdata/airflowignore.jsonl")
	require.NoError(t, err)
	defer recorded.Close()
	answers, ignored := 0, 0
	lines := json.NewDecoder(recorded)
	var from struct{ From string }
	require.NoError(t, lines.Decode(&from))
	for lines.More() {
		var c struct {
			Syntax        string
			Files         map[string]string
			Ignored, Kept []string
		}
		require.NoError(t, lines.Decode(&c))
		require.Contains(t, airflowSyntaxes, c.Syntax)
		files := parsedAirflowIgnores(c.Files, airflowSyntaxes[c.Syntax])
		for _, path := range c.Ignored {
			require.True(t, IgnoredByAirflow(path, files), "Airflow %s ignores %q: %q", c.Syntax, path, c.Files)
		}
		for _, path := range c.Kept {
			require.False(t, IgnoredByAirflow(path, files), "Airflow %s parses %q: %q", c.Syntax, path, c.Files)
		}
		answers += len(c.Ignored) + len(c.Kept)
		ignored += len(c.Ignored)
	}
	t.Logf("as Airflow: %d answers, %d of them \"ignored\"", answers, ignored)
	require.Greater(t, answers, 3_000)
	require.Greater(t, ignored, answers/10, "the cases must be worth asking")
}

func TestAirflowIgnoreLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content string
		ignores bool // a.py
	}{
		"none":           {"", false},
		"largest":        {"a.py\n" + strings.Repeat("#", MaxAirflowIgnore-5), true},
		"too large":      {"a.py\n" + strings.Repeat("#", MaxAirflowIgnore-4), false},
		"most rules":     {manyRules(maxRules-1) + "a.py", true},
		"too many rules": {manyRules(maxRules) + "a.py", false},
		"long line":      {strings.Repeat("b", maxAirflowLine+1) + "\na.py", true},
		"line left out":  {"a.py#" + strings.Repeat("b", maxAirflowLine) + "\na.p" + strings.Repeat("y", maxAirflowLine), true},
		"not UTF-8":      {"a.py\n\xff", false},
		"UTF-16":         {"\xff\xfea\x00", false},
		"a NUL":          {"\x00\na.py", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, syntax := range airflowSyntaxes {
				require.Equal(t, c.ignores, IgnoredByAirflow("a.py", parsedAirflowIgnores(inDAGFolder(c.content), syntax)))
			}
		})
	}
	require.False(t, IgnoredByAirflow("a/b.py", nil))
	require.False(t, IgnoredByAirflow("a/b.py", map[string]*AirflowIgnore{"": nil, "a": {}}))
}

func manyRules(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "b%d\n", i)
	}
	return b.String()
}

// TestAirflow3RegexpLeavesOut: unlike Airflow 3, this knows neither lookarounds nor references; the other lines hold.
func TestAirflow3RegexpLeavesOut(t *testing.T) {
	t.Parallel()
	files := parsedAirflowIgnores(inDAGFolder("^(?!prod_)\n(?<=a)b\n(a)\\1\n(?P<n>d)(?P=n)\nc"), Airflow3Regexp)
	require.True(t, IgnoredByAirflow("c.py", files))
	for _, path := range []string{"a.py", "prod_a.py", "ab.py", "aa.py", "dd.py"} {
		require.False(t, IgnoredByAirflow(path, files), path)
	}
}

// TestAirflowIgnoreIsBounded: what takes memory without end is as if it were not there.
func TestAirflowIgnoreIsBounded(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("(.{1000})(.{1000})(.{1000})\n(.{999})(.{998}){1}\n\\pL{1000}\n", 100) + "a.py"
	for _, syntax := range []AirflowSyntax{Airflow2Regexp, Airflow3Regexp} {
		require.True(t, IgnoredByAirflow("a.py", parsedAirflowIgnores(inDAGFolder(large), syntax)))
	}
}

// FuzzAirflowIgnore: no content panics, in no syntax, and what is below an ignored folder is ignored.
func FuzzAirflowIgnore(f *testing.F) {
	for _, c := range airflowCases {
		for path := range strings.FieldsSeq(c.ignored + " " + c.kept) {
			f.Add(c.files[""], "*.py\n!a.py", path)
		}
	}
	f.Add("(?i)[\\w-]+{,3}(?P<n>a)\\pL{2}\\b|(?s-i:b)", "[[]-\\]]**/[!", "é/\xff\n/a")
	f.Fuzz(func(t *testing.T, content, below, path string) {
		for _, syntax := range airflowSyntaxes {
			files := parsedAirflowIgnores(map[string]string{"": content, "a": below}, syntax)
			ignored := IgnoredByAirflow(path, files)
			folder, _, isBelow := strings.Cut(path, "/")
			if isBelow && airflowIgnores(appendPlaced(nil, "", files[""]), folder, true) {
				require.True(t, ignored, "%q is in an ignored folder", path)
			}
		}
	})
}
