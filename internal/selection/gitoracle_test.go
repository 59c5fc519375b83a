package selection

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ignoreCase is one ignore file with paths to judge.
type ignoreCase struct {
	content string
	paths   []string
}

// gitIgnores asks git which paths it ignores, for all cases in one process: each case is a folder with its own .gitignore.
func gitIgnores(t testing.TB, cases []ignoreCase) [][]bool {
	t.Helper()
	root := t.TempDir()
	var asked []byte
	for i, c := range cases {
		folder := filepath.Join(root, strconv.Itoa(i))
		require.NoError(t, os.Mkdir(folder, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, ".gitignore"), []byte(c.content), 0o644))
		for _, p := range c.paths {
			asked = append(asked, strconv.Itoa(i)+"/"+p+"\x00"...)
		}
	}
	git(t, root, nil, "init", "--quiet")
	// Not --verbose: git 2.39 then reads freed memory, and often crashes, where a path is more than 24 folders deep.
	out := git(t, root, bytes.NewReader(asked), "-c", "core.excludesFile=/dev/null", "-c", "core.ignoreCase=false", "check-ignore", "--no-index", "-z", "--stdin")
	ignored := map[string]bool{}
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		require.True(t, path == "" || bytes.Contains(asked, []byte(path+"\x00")), "git answers with paths as they were asked: %q", path)
		ignored[path] = true
	}
	verdicts := make([][]bool, len(cases))
	for i, c := range cases {
		for _, p := range c.paths {
			verdicts[i] = append(verdicts[i], ignored[strconv.Itoa(i)+"/"+p])
		}
	}
	return verdicts
}

func git(t testing.TB, folder string, stdin io.Reader, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C"}
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil {
		require.ErrorAs(t, err, &exit, "these tests need git")
		require.Equal(t, 1, exit.ExitCode(), "git %v: %s", args, &stderr) // 1: nothing is ignored
	}
	return out
}

// requireAsGit compares with git, and says how many answers there were and how many of them were "ignored".
func requireAsGit(t *testing.T, cases []ignoreCase) {
	t.Helper()
	answers, ignored := 0, 0
	for i, verdicts := range gitIgnores(t, cases) {
		rules := parseBlankingBadLines(t, cases[i].content)
		for j, want := range verdicts {
			answers++
			if want {
				ignored++
			}
			require.Equal(t, want, rules.Match(cases[i].paths[j]), "git ignores it: %v\nfile:\n%s\npath: %q", want, cases[i].content, cases[i].paths[j])
		}
	}
	t.Logf("as git: %d of %d answers, %d of them \"ignored\"", answers, answers, ignored)
	require.Greater(t, ignored, answers/20, "the cases must be worth asking")
}

// parseBlankingBadLines drops the lines that ParseIgnore refuses: git reads them too, and they must never match there.
func parseBlankingBadLines(t testing.TB, content string) *Ignore {
	t.Helper()
	lines := strings.Split(content, "\n")
	for i, line := range lines {
		if _, err := ParseIgnore([]byte(line)); err != nil {
			lines[i] = ""
		}
	}
	rules, err := ParseIgnore([]byte(strings.Join(lines, "\n")))
	require.NoError(t, err)
	return rules
}

// randomCases is the same for the same seed. Its alphabet is small, so that patterns and paths meet often.
func randomCases(seed uint64, n int) []ignoreCase {
	r := rand.New(rand.NewPCG(seed, 0))
	cases := make([]ignoreCase, n)
	for i := range cases {
		var file strings.Builder
		for range 1 + r.IntN(5) {
			file.WriteString(randomLine(r) + pick(r, "\n", "\n", "\n", "\r\n", " \n"))
		}
		cases[i].content = file.String()
		for range 24 {
			cases[i].paths = append(cases[i].paths, randomPath(r))
		}
	}
	return cases
}

func randomLine(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString(pick(r, "", "", "", "!", "!", "/", "!/", `\!`, `\#`, "#", " "))
	for i := range 1 + r.IntN(3) {
		if i > 0 {
			b.WriteString(pick(r, "/", "/", "/", "/", "/", "/**/", "//", `\/`))
		}
		if r.IntN(5) == 0 {
			b.WriteString(pick(r, "*", "**", "***"))
			continue
		}
		for range 1 + r.IntN(3) {
			b.WriteString(pick(r, "a", "a", "b", "b", "é", ".", "*", "?", "**", "[ab]", "[!a]", "[^b]", "[a-c]", "[]a]", "[!]a]", "[a/b]", "[!/]",
				"[[:alpha:]]", "[^[:punct:][:digit:]]", "[é]", "[a", "[b-a]", "[-a]", "[a-]", "[[:no:]]", `[\]a]`, `[+--]`, "[[:a]",
				`\a`, `\*`, `\?`, `\[`, `\\`, `\`, "{a,b}", "+", "-", " ", `\ `, "#", "!", "^", "]", "$", "(", "|"))
		}
	}
	b.WriteString(pick(r, "", "", "", "/", "/**", "/*", " ", `\ `, `\`))
	return b.String()
}

func randomPath(r *rand.Rand) string {
	segments := make([]string, 1+r.IntN(4))
	for i := range segments {
		for range 1 + r.IntN(3) {
			segments[i] += pick(r, "a", "a", "a", "b", "b", "b", "c", "é", "*", "[", "]", "{a,b}", " ", "#", "!", "-", "+", "A", "?", "0")
		}
	}
	return strings.Join(segments, "/")
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }
