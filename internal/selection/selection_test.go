package selection

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// object has bytes unless its key ends in "/".
func object(key string) bucket.Object {
	o := bucket.Object{Key: key, Size: 7, Version: "v1"}
	if strings.HasSuffix(key, "/") {
		o.Size = 0
	}
	return o
}

func objects(keys ...string) []bucket.Object {
	var list []bucket.Object
	for _, k := range keys {
		list = append(list, object(k))
	}
	return list
}

func paths(files []File) []string {
	var list []string
	for _, f := range files {
		list = append(list, f.Path)
	}
	return list
}

func parse(t testing.TB, content string) *Ignore {
	t.Helper()
	i, err := ParseIgnore([]byte(content))
	require.NoError(t, err)
	return i
}

func TestSelectMapsKeysToPaths(t *testing.T) {
	t.Parallel()
	listing := objects("dags/a.py", "dags/sub/b.py")
	for name, c := range map[string]struct {
		source Source
		want   []string
	}{
		"below a prefix": {Source{Prefix: "dags/"}, []string{"a.py", "sub/b.py"}},
		"whole bucket":   {Source{}, []string{"dags/a.py", "dags/sub/b.py"}},
		"mounted":        {Source{Prefix: "dags/", Mount: "ml"}, []string{"ml/a.py", "ml/sub/b.py"}},
		"mounted deep":   {Source{Mount: "teams/ml"}, []string{"teams/ml/dags/a.py", "teams/ml/dags/sub/b.py"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.source.Index = 3
			files, leftOut := Select(c.source, listing)
			require.Empty(t, leftOut)
			require.Equal(t, c.want, paths(files))
			for i, f := range files {
				require.Equal(t, listing[i], *f.Object, "the object goes along whole")
				require.Equal(t, 3, f.Source)
			}
		})
	}
}

func TestSelectShipsOrdinaryNamesUnchanged(t *testing.T) {
	t.Parallel()
	names := []string{
		"dag.py", "a b.py", " leading.py", "trailing ", "a+b c%2B/é.py", "a&b.py", "it's.py", `"quoted".py`, "50%.py", "%2e%2e/x.py", "~user/x.py", "#1.py", "a#b.py",
		"é.py", "e\u0301.py", "Dag.py", "日本語/データ.py", "🎈/🎈.py", "a\u200db.py", "a\u00a0b.py", "a\u2028b.py", "\ufeffbom.py", "\ufffd.py", "نص.py",
		"...", "..a", "a..", ".hidden", ".hidden/x.py", "a:b.py", "a*b?.py", "a|b.py", "<x>.py", "$HOME.py", "`x`.py", "-rf", "CON.py", "a;b.py", "x=1/y.py",
		".airflowignore", "sub/.airflowignore", "sub/.dagbucketignore", ".gitignore", ".gitkeep", ".github/x.yml", "git/x.py", ".env", "__init__.py",
		"x.zip", "x.sql", "x.yaml", "x.tmp", "x.bak", "x.part", "x.orig", "x.save", "x.swp", ".dagbucket-notes.md", "x.partial", "header.template.partial", "x.12345678.partials", "pycache/x.py", "__pycache__.py",
		"x__pycache__/y.py", "__pycache__", ".git", "x.pyc.py", "x.pyd", "pyc", "x.pycs", "thumbs.db.py", "49130", "4913.py", "x4913", ".nfs_mount.py", ".nfs0123", "nfs.py", "DS_Store",
		"_x.py", "__x.py", "fuse_hidden.py", "x_$folder$", "gcloud/tmp/x.py", "sub/gcloud/tmp/parallel_composite_uploads/x.py", "~x.py", "x~y.py", "#x", "x#", ".lock.x#", "gstmp.py",
		strings.Repeat("s", 255), strings.Repeat(strings.Repeat("d", 99)+"/", 10) + strings.Repeat("f", 24),
	}
	for _, name := range names {
		files, leftOut := Select(Source{Prefix: "dags/"}, objects("dags/"+name))
		require.Empty(t, leftOut, "%q", name)
		require.Equal(t, []string{name}, paths(files))
	}
}

func TestSelectExcludes(t *testing.T) {
	t.Parallel()
	for key, what := range map[string]string{
		"":                                     "a placeholder for a folder",
		"sub/":                                 "a placeholder for a folder",
		"sub//":                                "a placeholder for a folder",
		"/":                                    "a placeholder for a folder",
		"__pycache__/x.cpython-312.pyc":        "Python bytecode",
		"a/__pycache__/x.py":                   "Python bytecode",
		"x.pyc":                                "Python bytecode",
		"a/.pyc":                               "Python bytecode",
		".git/config":                          "part of a Git repository",
		"a/.git/objects/ab/cd":                 "part of a Git repository",
		".ipynb_checkpoints/dag-checkpoint.py": "Jupyter's copy of a file",
		".gcsfuse_tmp/x":                       "an unfinished file of gcsfuse",
		".~tmp~/dag.py":                        "an unfinished file of rsync",
		".stversions/dag~20260101-000000.py":   "an old version that Syncthing keeps",
		".DS_Store":                            "folder settings of macOS",
		"a/.DS_Store":                          "folder settings of macOS",
		"a/._dag.py":                           "a resource fork of macOS",
		"Thumbs.db":                            "folder settings of Windows",
		"a/desktop.ini":                        "folder settings of Windows",
		"dag.py~":                              "an editor's backup copy",
		"a/.dag.py.swp":                        "vim's copy of an open file",
		".dag.py.swx":                          "vim's copy of an open file",
		"a/4913":                               "vim's test whether it can write here",
		".dag.swpx":                            "vim's test of how long names may be",
		".dagbucket-123456.tmp":                "an unfinished file of dagbucket",
		".dag.py.kate-swp":                     "Kate's copy of an open file",
		".#dag.py":                             "Emacs' lock of an open file",
		"#dag.py#":                             "Emacs' copy of an open file",
		".goutputstream-X1Y2Z3":                "an unfinished file of a GNOME application",
		"dag.py___jb_tmp___":                   "an unfinished file of a JetBrains editor",
		"dag.py___jb_old___":                   "an unfinished file of a JetBrains editor",
		".~lock.data.ods#":                     "LibreOffice's lock of an open file",
		"~$data.xlsx":                          "Microsoft Office's lock of an open file",
		"dag.py_.gstmp":                        "an unfinished download of gsutil or gcloud",
		"dag.py.filepart":                      "an unfinished file of WinSCP",
		".syncthing.dag.py.tmp":                "an unfinished file of Syncthing",
		"~syncthing~dag.py.tmp":                "an unfinished file of Syncthing",
		".fuse_hidden0000000500000001":         "a deleted file that was still open on a FUSE mount",
		".nfs000000000003f2a100000001":         "a deleted file that was still open on an NFS mount",
		"dag.py.0a1b2c3d.partial":              "an unfinished file of rclone",
		"gcloud/tmp/parallel_composite_uploads/see_gcloud_storage_cp_help_for_details/x": "an unfinished upload of gcloud",
		".dagbucketignore": "for dagbucket itself",
	} {
		o := object("dags/" + key)
		files, leftOut := Select(Source{Prefix: "dags/", Mount: "m", Index: 2}, []bucket.Object{o})
		require.Empty(t, files, key)
		require.Equal(t, []LeftOut{{Path: "m/" + key, Source: 2, Key: "dags/" + key, Reason: ReasonExcluded, Message: what}}, leftOut)
	}
	_, leftOut := Select(Source{}, []bucket.Object{{Key: "sub_$folder$"}})
	require.Equal(t, "a placeholder for a folder (of Hadoop)", leftOut[0].Message)
}

func TestSelectLeavesUnsafeKeysOut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("d", 250)
	for name, c := range map[string]struct {
		key   string
		path  string // "" means the key below its prefix
		wrong string
	}{
		"prefix itself":           {"dags/", "", "names no file"},
		"slash at the end":        {"dags/x.py/", "", "an empty segment"},
		"two slashes":             {"dags/a//b.py", "", "an empty segment"},
		"leading slash":           {"dags//b.py", "", `a "/" before the first name`},
		"dot":                     {"dags/./b.py", "", `the segment "."`},
		"dot at the end":          {"dags/a/.", "", `the segment "."`},
		"dot dot":                 {"dags/../etc/passwd", "", `the segment ".."`},
		"dot dot inside":          {"dags/a/../b.py", "", `the segment ".."`},
		"only dot dot":            {"dags/..", "", `the segment ".."`},
		"backslash":               {`dags/a\b.py`, "", `a backslash: separate folders with "/"`},
		"escape with backslashes": {`dags/..\..\x.py`, "", "a backslash"},
		"newline":                 {"dags/a\nb.py", `a\x0ab.py`, "a control character"},
		"NUL":                     {"dags/a\x00", `a\x00`, "a control character"},
		"DEL":                     {"dags/\x7f.py", `\x7f.py`, "a control character"},
		"C1":                      {"dags/a\u0085b.py", `a\xc2\x85b.py`, "a control character"},
		"not UTF-8":               {"dags/caf\xe9.py", `caf\xe9.py`, "not UTF-8"},
		"surrogate":               {"dags/\xed\xa0\x80", `\xed\xa0\x80`, "not UTF-8"},
		"overlong slash":          {"dags/..\xc0\xaf..", `..\xc0\xaf..`, "not UTF-8"},
		"long segment":            {"dags/" + strings.Repeat("é", 128), "", "a segment of 256 bytes"},
		"long path":               {"dags/" + strings.Repeat(long+"/", 4) + "abcdefghijklmnopqrst", "", "its path has 1026 bytes, and more than 1024"},
		"other prefix":            {"dags_old/x.py", "dags_old/x.py", "does not begin with the source's prefix"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.path == "" {
				c.path = strings.TrimPrefix(c.key, "dags/")
			}
			files, leftOut := Select(Source{Prefix: "dags/", Mount: "m"}, []bucket.Object{{Key: c.key, Size: 1}})
			require.Empty(t, files)
			require.Len(t, leftOut, 1)
			require.Equal(t, LeftOut{Path: "m/" + c.path, Key: c.key, Reason: ReasonUnsafe, Message: leftOut[0].Message}, leftOut[0])
			require.Contains(t, leftOut[0].Message, c.wrong)
			require.True(t, utf8.ValidString(leftOut[0].Message))
		})
	}
}

func TestSelectCountsTheMountAsPartOfThePath(t *testing.T) {
	t.Parallel()
	key := strings.Repeat(strings.Repeat("d", 99)+"/", 10) + strings.Repeat("f", 20) // 1,020 bytes
	files, _ := Select(Source{Mount: "abc"}, objects(key))
	require.Len(t, files, 1)
	require.Len(t, files[0].Path, 1_024)
	files, leftOut := Select(Source{Mount: "abcd"}, objects(key))
	require.Empty(t, files)
	require.Contains(t, leftOut[0].Message, "1025 bytes")
}

func TestSelectIgnores(t *testing.T) {
	t.Parallel()
	s := Source{Prefix: "dags/", Mount: "m", Index: 1, Ignore: parse(t, "# ours\n/tests/\n*.md\n!README.md\n")}
	files, leftOut := Select(s, objects("dags/.airflowignore", "dags/.dagbucketignore", "dags/README.md", "dags/m/tests/x.py", "dags/notes.md", "dags/tests/README.md", "dags/x.py"))
	require.Equal(t, []string{"m/.airflowignore", "m/README.md", "m/m/tests/x.py", "m/x.py"}, paths(files))
	require.Equal(t, []LeftOut{
		{Path: "m/.dagbucketignore", Source: 1, Key: "dags/.dagbucketignore", Reason: ReasonExcluded, Message: "for dagbucket itself"},
		{Path: "m/notes.md", Source: 1, Key: "dags/notes.md", Reason: ReasonIgnored, Message: "line 3 of .dagbucketignore: *.md"},
		{Path: "m/tests/README.md", Source: 1, Key: "dags/tests/README.md", Reason: ReasonIgnored, Message: "line 2 of .dagbucketignore: /tests/"},
	}, leftOut)
}

func TestSelectQuotesLongPatternsInPart(t *testing.T) {
	t.Parallel()
	_, leftOut := Select(Source{Ignore: parse(t, strings.Repeat("*", 99)+"é*\n")}, objects("é.py"))
	require.Equal(t, "line 1 of .dagbucketignore: "+strings.Repeat("*", 99)+"…", leftOut[0].Message)
	files, _ := Select(Source{Ignore: parse(t, strings.Repeat("*", 60_000)+"é\n")}, objects("é.py"))
	require.Len(t, files, 1, "the whole pattern counts")
}

func TestAnIgnoreFileCannotBringBackWhatIsExcluded(t *testing.T) {
	t.Parallel()
	files, leftOut := Select(Source{Ignore: parse(t, "!*.pyc\n!*\n")}, objects("x.pyc", "a//b"))
	require.Empty(t, files)
	require.Equal(t, ReasonExcluded, leftOut[0].Reason)
	require.Equal(t, ReasonUnsafe, leftOut[1].Reason)
}

func TestSelectOfNothing(t *testing.T) {
	t.Parallel()
	files, leftOut := Select(Source{Prefix: "dags/"}, nil)
	require.Empty(t, files)
	require.Empty(t, leftOut)
}

// manyKeys is a listing as large repositories have it: ten files a folder, three folders deep.
func manyKeys(n int) []bucket.Object {
	list := make([]bucket.Object, n)
	for i := range list {
		list[i] = object(fmt.Sprintf("dags/team%03d/area%03d/project%06d/dag_%06d.py", i/10_000, i/1_000, i/10, i))
	}
	return list
}

const usualIgnoreFile = "*.log\n*.tmp\n/tests/\n**/fixtures/**\ndocs/**/*.md\nteam00?/area0[5-9]?/\n!keep.log\n.venv/\n*_draft*.py\n/scratch\n"

// TestSelectingIsLinear compares 100,000 keys at once with a hundred times 1,000: the same work if it is linear, a hundred times
// as much if it is quadratic. What is linear takes equally long in both, so a busy machine slows them alike.
func TestSelectingIsLinear(t *testing.T) {
	rules := parse(t, usualIgnoreFile)
	list := manyKeys(100_000)
	timed := func(portion int) time.Duration {
		start := time.Now()
		for part := range slices.Chunk(list, portion) {
			files, leftOut := Select(Source{Prefix: "dags/", Ignore: rules}, part)
			merged, _, _ := Merge(files)
			require.Equal(t, len(part), len(merged)+len(leftOut))
		}
		return time.Since(start)
	}
	inParts, atOnce := timed(1_000), timed(len(list))
	for again := 0; again < 4 && atOnce >= 3*inParts; again++ {
		inParts, atOnce = min(inParts, timed(1_000)), min(atOnce, timed(len(list)))
	}
	require.Less(t, atOnce, 3*inParts, "at once, and in a hundred parts")
}

func BenchmarkSelect(b *testing.B) {
	list := manyKeys(100_000)
	for name, content := range map[string]string{"without ignore file": "", "with 10 rules": usualIgnoreFile, "with 100 rules": strings.Repeat(usualIgnoreFile, 10)} {
		b.Run(name, func(b *testing.B) {
			rules := parse(b, content)
			for b.Loop() {
				Select(Source{Prefix: "dags/", Ignore: rules}, list)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(list)), "ns/key")
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	one, _ := Select(Source{Prefix: "dags/"}, manyKeys(50_000))
	two, _ := Select(Source{Prefix: "dags/", Mount: "ml", Index: 1}, manyKeys(50_000))
	for b.Loop() {
		Merge(one, two)
	}
}
