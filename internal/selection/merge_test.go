package selection

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// filesOf are files of one source; each key is its path with "k:" before it.
func filesOf(source int, filePaths ...string) []File {
	var files []File
	for _, p := range filePaths {
		o := object("k:" + p)
		files = append(files, File{Path: p, Source: source, Object: &o})
	}
	return files
}

// summary is what Merge decided, in short.
type summary struct {
	files     []string
	conflicts []string
	leftOut   []string
}

func merge(perSource ...[]File) summary {
	files, conflicts, leftOut := Merge(perSource...)
	s := summary{files: paths(files)}
	for _, c := range conflicts {
		s.conflicts = append(s.conflicts, c.Path)
	}
	for _, l := range leftOut {
		s.leftOut = append(s.leftOut, l.Path)
	}
	return s
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sources [][]File
		want    summary
	}{
		"nothing":      {nil, summary{}},
		"one source":   {[][]File{filesOf(0, "a", "b/c")}, summary{files: []string{"a", "b/c"}}},
		"sorted":       {[][]File{filesOf(0, "b", "é"), filesOf(1, "B", "a/b", "a.py")}, summary{files: []string{"B", "a.py", "a/b", "b", "é"}}},
		"empty source": {[][]File{nil, filesOf(1, "a")}, summary{files: []string{"a"}}},
		"same path in two": {[][]File{filesOf(0, "a", "x"), filesOf(1, "a", "y")},
			summary{files: []string{"x", "y"}, conflicts: []string{"a"}}},
		"case and normalisation differ": {[][]File{filesOf(0, "a", "é"), filesOf(1, "A", "e\u0301")},
			summary{files: []string{"A", "a", "e\u0301", "é"}}},
		"file and folder": {[][]File{filesOf(0, "a", "a/b.py")},
			summary{files: []string{"a/b.py"}, leftOut: []string{"a"}}},
		"a name in between": {[][]File{filesOf(0, "a", "a b", "a.py", "a/b.py", "a0")},
			summary{files: []string{"a b", "a.py", "a/b.py", "a0"}, leftOut: []string{"a"}}},
		"file and deep folder": {[][]File{filesOf(0, "a/b", "a/b/c/d.py")},
			summary{files: []string{"a/b/c/d.py"}, leftOut: []string{"a/b"}}},
		"chain": {[][]File{filesOf(0, "a", "a/b", "a/b/c")},
			summary{files: []string{"a/b/c"}, leftOut: []string{"a", "a/b"}}},
		"file of one, mount of another": {[][]File{filesOf(0, "ml", "x"), filesOf(1, "ml/a.py")},
			summary{files: []string{"ml/a.py", "x"}, leftOut: []string{"ml"}}},
		"conflict below a file's name": {[][]File{filesOf(0, "a", "a/b"), filesOf(1, "a/b")},
			summary{conflicts: []string{"a/b"}, leftOut: []string{"a"}}},
		"conflict that is also a folder": {[][]File{filesOf(0, "a"), filesOf(1, "a"), filesOf(2, "a/b")},
			summary{files: []string{"a/b"}, leftOut: []string{"a", "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.want.files == nil {
				c.want.files = paths(nil)
			}
			require.Equal(t, c.want, merge(c.sources...))
		})
	}
}

func TestMergeNamesBothObjects(t *testing.T) {
	t.Parallel()
	one, two := filesOf(0, "a"), filesOf(2, "a")
	_, conflicts, _ := Merge(two, one)
	require.Equal(t, []Conflict{{Path: "a", Files: []File{one[0], two[0]}}}, conflicts, "in order of source, whatever the order of arguments")
	require.Equal(t, `"k:a" of sources[0] and "k:a" of sources[2] claim the same path: remove all but one, or give the sources different mounts`,
		conflicts[0].Message())

	_, _, leftOut := Merge(filesOf(0, "m"), filesOf(1, "m/x/y.py"))
	require.Equal(t, []LeftOut{{Path: "m", Source: 0, Key: "k:m", Reason: ReasonUnsafe,
		Message: `its name is also that of the folder of "k:m/x/y.py" of sources[1]: rename one of them`}}, leftOut)
}

func TestMergeLeavesItsArgumentsAlone(t *testing.T) {
	t.Parallel()
	one, two := filesOf(0, "b", "a"), filesOf(1, "a")
	_, conflicts, _ := Merge(one, two)
	_ = append(conflicts[0].Files, File{Path: "z"})
	require.Equal(t, filesOf(0, "b", "a"), one)
	require.Equal(t, filesOf(1, "a"), two)
}

// TestMergeAtRandom compares with the rules as they are said: quadratic, and obviously right.
func TestMergeAtRandom(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 0))
	for range 500 {
		var sources [][]File
		var all []string
		for source := range 1 + r.IntN(3) {
			names := map[string]bool{}
			for range r.IntN(8) {
				var segments []string
				for range 1 + r.IntN(3) {
					segments = append(segments, pick(r, "a", "b", "a.py", "a-", "é"))
				}
				names[strings.Join(segments, "/")] = true
			}
			var filePaths []string
			for n := range names {
				filePaths = append(filePaths, n)
			}
			sources = append(sources, filesOf(source, filePaths...))
			all = append(all, filePaths...)
		}
		slices.Sort(all)
		want := summary{files: paths(nil)}
		for i, p := range all {
			isFolder := slices.ContainsFunc(all, func(other string) bool { return strings.HasPrefix(other, p+"/") })
			again := i > 0 && all[i-1] == p
			claimed := again || i+1 < len(all) && all[i+1] == p
			switch {
			case isFolder:
				want.leftOut = append(want.leftOut, p)
			case claimed && !again:
				want.conflicts = append(want.conflicts, p)
			case !claimed:
				want.files = append(want.files, p)
			}
		}
		require.Equal(t, want, merge(sources...), "%v", all)
	}
}
