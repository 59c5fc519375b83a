package notify

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/notify/notifytest"
	"github.com/dagbucket/dagbucket/internal/state"
)

var update = flag.Bool("update", false, "write the texts that the tests compare with")

// requireGolden compares with a file, which the README's and the notes' quotations come from.
func requireGolden(t *testing.T, name, got string) {
	t.Helper()
	golden := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got+"\n"), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got+"\n")
}

func TestTexts(t *testing.T) {
	for kind, n := range notifytest.Notices() {
		t.Run(kind, func(t *testing.T) {
			requireGolden(t, kind+".txt", Text(n))
			requireGolden(t, kind+".slack", Slack(n))
			requireGolden(t, kind+".json", string(indent(t, Body(n))))
			requireHarmless(t, n)
		})
	}
}

func indent(t *testing.T, content []byte) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(json.RawMessage(content)))
	return []byte(strings.TrimSpace(b.String()))
}

// TestFewAndMany: one file, more, and notices that lack what they usually have.
func TestFewAndMany(t *testing.T) {
	one := func(kind string) *state.Notice {
		return &state.Notice{Kind: kind, Route: "prod", Files: []state.NoticeFile{{Path: "dags/a.py", Reason: "changing"}}, Total: 1}
	}
	for kind, want := range map[string]string{
		state.NoticeKept:         "dagbucket prod: 1 file kept its last good version\n\nOn the Deployment, it stays as it was. Everything else",
		state.NoticeLeftOut:      "dagbucket prod: 1 file is left out\n\nIt is in the bucket, but not on the Deployment.",
		state.NoticeImportErrors: "dagbucket prod: Airflow cannot import 1 file\n\nIt is live on the Deployment, but the DAGs in it do not load.",
		state.NoticeRecovered:    "dagbucket prod: 1 file is in order again\n\nWhat was told of it is over.",
		state.NoticeDeployed:     "dagbucket prod: 1 changed file is deployed to the Deployment\n\ndags/a.py: changing",
	} {
		require.Contains(t, Text(one(kind)), want)
	}
	for kind, want := range map[string]string{
		state.NoticeKept:      "dagbucket prod: some files kept their last good version\n",
		state.NoticeHeld:      "dagbucket prod: held, nothing is deployed\n\nSomebody has to act",
		state.NoticeFailed:    "dagbucket prod: the last run failed\n\nUploads wait",
		state.NoticeRecovered: "dagbucket prod: in order again\n\nWhat was told of before is over.",
		state.NoticeDrift:     "dagbucket prod: the DAGs on the Deployment are not those of the last deploy from here\n\nSomebody else",
		state.NoticeDeployed:  "dagbucket prod: deployed to the Deployment",
		"of a later version":  "dagbucket prod: of a later version",
		"":                    "dagbucket prod: ",
	} {
		require.Contains(t, Text(&state.Notice{Kind: kind, Route: "prod"}), want)
	}
}

func TestFilesAreCounted(t *testing.T) {
	n := &state.Notice{Kind: state.NoticeKept, Route: "prod", Total: 14}
	for i := range 12 { // more than a notice should have
		n.Files = append(n.Files, state.NoticeFile{Path: fmt.Sprintf("dags/%d.py", i), Line: i, Column: 3})
	}
	text := Text(n)
	require.Contains(t, text, "14 files kept")
	require.Contains(t, text, "\ndags/0.py\ndags/1.py:1:3\n")
	require.Contains(t, text, "\ndags/9.py:9:3\nand 4 more")
	require.NotContains(t, text, "10.py")
	require.Contains(t, Slack(n), "\n`dags/9.py:9:3`\nand 4 more")
}

func TestHostileWords(t *testing.T) {
	n := &state.Notice{
		ID: "1", Kind: state.NoticeHeld, Route: "prod", Deployment: "*A*\n\n<!here>", URL: "https://cloud.astronomer.io/a?b=<script>",
		Reason: "see <!channel> and @all `rm -rf`\r\nSubject: x\x1b[2J\u202egpj.exe\u2028end & 👩\u200d💻",
		Files:  []state.NoticeFile{{Path: "dags/`<@U1>`\x00\n" + strings.Repeat("é", 500) + "/end.py", Line: 1, Message: "``` & <http://evil|here>"}},
	}
	requireHarmless(t, n)
	text := Text(n)
	require.Contains(t, text, "see <!channel> and @all `rm -rf` Subject: x\ufffd[2J\ufffdgpj.exe end & 👩\u200d💻")
	require.Contains(t, text, "\n…é")
	require.Contains(t, text, "éé/end.py:1: ``` & <http://evil|here>")
	require.NotContains(t, text, "script", "not an address")

	require.Contains(t, string(Body(n)), "see <!channel> and @all `rm -rf`", "programs get it as it is")

	slack := Slack(n)
	require.Contains(t, slack, "see &lt;!channel&gt; and @\u200ball 'rm -rf'")
	require.Contains(t, slack, "/end.py:1: ''' &amp; &lt;http://evil|here&gt;`")
}

func TestSubjects(t *testing.T) {
	n := &state.Notice{Kind: state.NoticeDrift, Route: strings.Repeat("r", 63), Deployment: "Análise\n" + strings.Repeat("x", 80)}
	subject := Subject(n)
	require.Len(t, subject, 99)
	require.True(t, strings.HasPrefix(subject, "dagbucket rrr"))
	require.Contains(t, Subject(&state.Notice{Kind: state.NoticeDrift, Route: "prod", Deployment: "Análise"}), "on An?lise are not")
}

func TestBodyIsTheSameEachTime(t *testing.T) {
	n := notifytest.Notices()[state.NoticeKept]
	require.Equal(t, Body(n), Body(n))
	local := *n
	local.At = n.At.In(time.FixedZone("x", 3600))
	require.Equal(t, string(Body(n)), string(Body(&local)))

	var empty map[string]any
	require.NoError(t, json.Unmarshal(Body(&state.Notice{}), &empty))
	require.Len(t, empty, 12, "every field is always there")
	require.Equal(t, []any{}, empty["files"])
}

var (
	markup  = regexp.MustCompile(`[<>]|&(?:[^agl]|$)|(^|[^\pL\pN])@[\w<!]`)
	code    = regexp.MustCompile("(?m)^`[^`\n]*`$")
	subject = regexp.MustCompile(`^dagbucket [ -~]{0,89}$`)
)

// requireHarmless checks what holds for every notice, whatever is in it.
func requireHarmless(t *testing.T, n *state.Notice) {
	t.Helper()
	text := Text(n)
	require.LessOrEqual(t, len(text), maxText)
	require.True(t, utf8.ValidString(text))
	require.LessOrEqual(t, strings.Count(text, "\n"), 40)
	require.False(t, strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && r != '\u200d' && !unicode.IsPrint(r) }), "%q", text)
	require.True(t, subject.MatchString(Subject(n)), "%q", Subject(n))
	require.Equal(t, Title(n), strings.SplitN(text, "\n", 2)[0])

	slack := Slack(n)
	require.LessOrEqual(t, len(slack), 6*maxText)
	prose := code.ReplaceAllString(slack, "")
	require.NotContains(t, prose, "`")
	require.False(t, markup.MatchString(prose), "%q", prose)
	require.False(t, strings.ContainsAny(slack, "<>"), "%q", slack)

	for _, content := range [][]byte{Body(n), SlackBody(n)} {
		require.True(t, json.Valid(content))
		require.True(t, utf8.Valid(content))
		require.NotContains(t, string(content), "\n")
	}
}

// FuzzText: whoever may name a file or write a message can do nothing with it but be shown.
func FuzzText(f *testing.F) {
	f.Add("kept", "prod", "Analytics", "https://x/", "reason", "dags/a.py", "syntax", "Expected `:`", 3, 2)
	f.Add("held", "p\nq", "<!channel>", "http://x/ y", "@all &amp; &", "\xff\xfe", "removal", "\x1b[0m", -1, 1<<30)
	f.Add("drift", strings.Repeat("é", 400), strings.Repeat("\u0301", 400), "javascript:x", strings.Repeat("&", 5000), strings.Repeat("a/", 600), "`", "```", 0, 0)
	f.Add("", "", "", "", "", "", "", "", 0, 0)
	long := strings.Repeat("x", 12_000)
	f.Add("import_errors", "prod", "d", "https://x/"+long, "", "a.py", "", "", 1, 11)
	f.Add("failed", "prod", "d", "https://x/", long, "a.py", "", "", 0, 0)
	f.Add("kept", long, long, "", "", long, long, long, 1, 11)
	f.Fuzz(func(t *testing.T, kind, route, deployment, url, reason, path, why, message string, line, total int) {
		file := state.NoticeFile{Path: path, Reason: why, Message: message, Line: line, Column: line}
		n := &state.Notice{ID: kind, Kind: kind, Route: route, Deployment: deployment, URL: url, Reason: reason, Total: total,
			Files: []state.NoticeFile{file, file, file, file, file, file, file, file, file, file, file}}
		requireHarmless(t, n)
		for kind := range wordings {
			n.Kind = kind
			requireHarmless(t, n)
		}
	})
}
