package statuspage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/state"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const astroURL = "https://cloud.astronomer.io/org/deployments/dep"

// sample has a file of each kind.
func sample() *state.Status {
	file := func(path, fate string) state.StatusFile {
		return state.StatusFile{Path: "dags/" + path, Source: "s3://acme/dags/", Key: "dags/" + path, Size: 1234, State: fate, Since: noon.Add(-time.Hour), DeployID: "deploy-1", Run: "run-1"}
	}
	s := &state.Status{Format: 1, Route: "prod", Written: noon, State: state.StatusAttention, Summary: "One file is kept.", Next: "Its author repairs it; then `dagbucket sync` deploys it.",
		Deployment: state.StatusDeployment{ID: "dep", Name: "production", URL: astroURL, DesiredVersion: "v7", InSync: true},
		Sources:    []state.StatusSource{{URL: "s3://acme/dags/"}},
		Live: &state.StatusDeploy{Run: "run-1", DeployID: "deploy-1", URL: astroURL + "/deploys", Digest: "sha256:0123456789abcdef", Files: 3, Bytes: 3702, At: noon.Add(-time.Hour),
			LiveAt: noon.Add(-time.Hour + 75*time.Second)},
		Checked: noon,
		Files: []state.StatusFile{file("airflow.py", state.Live), file("broken.py", state.Kept), file("held.py", state.HeldFile), file("ignored.pyc", state.LeftOut),
			file("new.py", state.Waiting), file("odd.py", state.Live), file("unsafe.py", state.LeftOut)},
		Runs: []state.Run{
			{Run: "run-0", At: noon.Add(-2 * time.Hour), Outcome: "failed", Reason: "the token was refused", Seconds: 0.4},
			{Run: "run-1", At: noon.Add(-time.Hour), Outcome: "deployed", DeployID: "deploy-1", Files: 3, Added: 2, Modified: 1, Removed: 4, Kept: 1, Seconds: 12.4, LiveAfter: 75,
				Steps: map[string]float64{"list": 1, "wait": 9, "upload": 2.4, "lease": 0.01}},
		},
	}
	s.Files[0].ImportError = "Traceback:\n  No module named 'acme'"
	b := &s.Files[1]
	b.Reason, b.Message, b.Line, b.Column, b.Excerpt = "syntax", "Expected `:`, found newline", 12, 20, "if x\n    ^"
	s.Files[3].Reason, s.Files[3].Message = "excluded", "Python bytecode"
	s.Files[4].Modified = noon.Add(-time.Minute)
	s.Files[5].Reason, s.Files[5].Message = "unchecked", "it is too large"
	s.Files[6].Reason, s.Files[6].Message = "unsafe", "it has a control character"
	return s
}

func rendered(t testing.TB, s *state.Status) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, Render(&out, s))
	return out.String()
}

// words is what a page says: its text without tags, styles, scripts and data, its white space collapsed.
func words(html string) string {
	html = regexp.MustCompile(`(?s)<(style|script|template)[ >].*?</(style|script|template)>`).ReplaceAllString(html, " ")
	html = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(html, " ")
	html = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&#43;", "+", "&amp;", "&").Replace(html)
	return strings.Join(strings.Fields(html), " ")
}

func TestThePageSaysWhatIsLiveAndWhatIsNot(t *testing.T) {
	t.Parallel()
	said := words(rendered(t, sample()))
	for _, want := range []string{
		"prod → deploys to production",
		"Written 30 Nov 2026, 12:00 UTC",
		"Needs attention One file is kept. Next: Its author repairs it; then dagbucket sync deploys it.",
		"3 files, 3.7 kB Since 30 Nov 2026, 11:00 UTC Astro ran it 1 min 15 s after it was deployed Deploy deploy-1 Run run-1 Digest 0123456789ab",
		"Its version v7 as deployed from here",
		"Import error dags/airflow.py Airflow cannot import it: Traceback: No module named 'acme' It is live since 30 Nov 2026, 11:00 UTC .",
		"Kept dags/broken.py :12:20 syntax: Expected : , found newline if x ^ Its last good version is live since 30 Nov 2026, 11:00 UTC .",
		"Left out dags/unsafe.py unsafe: it has a control character No version of it is live",
		"Warning dags/odd.py unchecked: it is too large It is live",
		"All 7 Live 2 Waiting 1 Held 1 Kept 1 Left out 2 Warnings 1 Import errors 1",
		"Showing 7 files.",
		"dags/broken.py syntax, line 12:20: Expected `:`, found newline Details if x ^ Kept 30 Nov 2026, 11:00 UTC deploy-1 1.2 kB",
		"dags/ignored.pyc excluded: Python bytecode Left out",
		"dags/new.py in the source since 30 Nov 2026, 11:59 UTC Waiting",
		"Deployed 30 Nov 2026, 11:00 UTC took 12 s +2 added ~1 changed −4 removed 1 kept of 3 files",
		"list 1.0 s wait 9.0 s upload 2.4 s",
		"Astro ran it 1 min 15 s after it was deployed · run run-1 · deploy deploy-1",
		"Failed 30 Nov 2026, 10:00 UTC took 0.4 s the token was refused",
		"at the latest every 15 minutes",
	} {
		require.Contains(t, said, want)
	}
	require.Less(t, strings.Index(said, "Deployed 30 Nov"), strings.Index(said, "Failed 30 Nov"), "the newest run comes first")
	attention := said[strings.Index(said, "Needs attention 4"):strings.Index(said, "Files 7")]
	require.NotContains(t, attention, "ignored.pyc", "what was meant to be left out alarms nobody")
}

func TestTheStatesOfARoute(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{state.StatusFailed: "Failed", state.StatusHeld: "Held", state.StatusDrifted: "Changed by others", state.StatusAttention: "Needs attention",
		state.StatusWaiting: "Waiting", state.StatusDeploying: "Deploying", state.StatusLive: "Live", "a newer word": "a newer word"} {
		s := sample()
		s.State = word
		html := rendered(t, s)
		require.Contains(t, html, `<p class="state">`+want+`</p>`)
		require.Contains(t, html, "<title>prod: "+want+" – dagbucket</title>")
	}
}

func TestWhatStandsInTheWay(t *testing.T) {
	t.Parallel()
	s := sample()
	s.Holds = []state.Hold{{Kind: state.HeldBack, Reason: "the source is empty", At: noon}, {Kind: state.Paused, Reason: "month end", At: noon}, {Kind: state.Promoting}}
	s.Drift = "somebody deployed an image"
	s.Pending = &state.StatusDeploy{DeployID: "deploy-2", URL: astroURL + "/deploys", Files: 4, Bytes: 999, At: noon}
	said := words(rendered(t, s))
	require.Contains(t, said, "Held since 30 Nov 2026, 12:00 UTC the source is empty Paused since 30 Nov 2026, 12:00 UTC month end A promotion is writing into the sources "+
		"What others did somebody deployed an image On its way since 30 Nov 2026, 12:00 UTC 4 files, 999 B. Deploy deploy-2 .")
	require.NotContains(t, words(rendered(t, sample())), "On its way")
}

func TestARouteWithoutFilesAndDeploys(t *testing.T) {
	t.Parallel()
	html := rendered(t, &state.Status{Route: "new", Written: noon, State: state.StatusWaiting, Summary: "Waiting for the first file.", Sources: []state.StatusSource{{URL: "gs://team/dags/"}}})
	said := words(html)
	require.Contains(t, said, "Nothing has been deployed from here.")
	require.Contains(t, said, "There are no files yet. Upload the first one to gs://team/dags/ .")
	require.Contains(t, said, "No run has ended yet.")
	require.NotContains(t, html, "<table")
	require.NotContains(t, html, "0001", "a time that is not there is not shown")
	require.NotContains(t, words(rendered(t, &state.Status{})), "0001-01-01T")
}

func TestThePolicyNamesWhatThePageHolds(t *testing.T) {
	t.Parallel()
	html := rendered(t, sample())
	require.Contains(t, html, "<style>"+style+"</style>")
	require.Contains(t, html, "<script>"+script+"</script>")
	require.NotContains(t, style+script, "</", "an end tag would end the element early")
	said := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(html)[1]
	said = strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(said)
	require.Equal(t, "default-src 'none'; style-src '"+hash(style)+"'; script-src '"+hash(script)+"'; img-src data:; base-uri 'none'; form-action 'none'", said)
	require.NotContains(t, html, "style=", "the policy refuses inline styles")
	require.Equal(t, 2, strings.Count(html, "<script"), "the script and the data")
}

func TestNothingIsLoadedAndLinksAreSafe(t *testing.T) {
	t.Parallel()
	html := rendered(t, sample())
	for _, url := range regexp.MustCompile(`[a-z]+://[^\s"'<>]*`).FindAllString(html, -1) {
		require.True(t, strings.HasPrefix(url, astroURL) || url == "s3://acme/dags/", "the page names %s", url)
	}
	links := regexp.MustCompile(`<a href[^>]*>`).FindAllString(html, -1)
	require.Len(t, links, 3)
	for _, link := range links {
		require.Contains(t, link, `rel="noopener noreferrer"`)
	}
	for _, bad := range []string{"javascript:alert(1)", "data:text/html,x", "//evil.example/", "/status", "JaVaScRiPt:alert(1)", "https://user:pw@evil.example/", "https:", "http://[", " https://x/"} {
		s := sample()
		s.Deployment.URL, s.Live.URL = bad, bad
		require.NotContains(t, rendered(t, s), "<a href", "%q is no link", bad)
	}
}

func TestWithoutJavaScriptTheFirstFilesAreThere(t *testing.T) {
	t.Parallel()
	html := rendered(t, many(1000))
	require.Equal(t, firstRows+2, strings.Count(html, "<tr role="), "the first rows, the heading, and the script's pattern")
	require.Contains(t, html, "Showing the first 100 of 1,000 files.")
	require.Contains(t, html, fmt.Sprintf("const slice = %d;", firstRows), "the script goes on in the same steps")
	require.Contains(t, html, "<noscript><p")
	require.Contains(t, words(html), "80 earlier runs")
	require.NotContains(t, rendered(t, sample()), "<noscript><p", "all files are there")
}

func TestManyFilesWithTroubleDoNotBuryTheRest(t *testing.T) {
	t.Parallel()
	s := many(1000)
	for i := range s.Files {
		s.Files[i].State, s.Files[i].Reason = state.Kept, "removal"
	}
	s.Files[999].Reason, s.Files[998].Reason, s.Files[997].State, s.Files[997].Reason = "syntax", "conflict", state.Live, "unchecked"
	said := words(rendered(t, s))
	attention := said[strings.Index(said, "Needs attention 1,000"):strings.Index(said, "Files 1,000")]
	require.Equal(t, 8, strings.Count(attention, "dags/team"))
	require.True(t, strings.HasPrefix(attention, "Needs attention 1,000 Kept "+s.Files[999].Path+" :12 syntax"), "the worst comes first: %s", attention)
	require.Contains(t, attention, "removal: it is gone from its source together with many others")
	require.True(t, strings.HasSuffix(attention, "992 more are in the list of files below. "), attention)
}

func TestWhatIsNotKnownIsADash(t *testing.T) {
	t.Parallel()
	html := rendered(t, &state.Status{Written: noon, Files: []state.StatusFile{{Path: "dags/a.py", State: state.Waiting}, {Path: "dags/b.py", State: state.Live, Since: noon}}})
	require.Equal(t, 2, strings.Count(html, `data-label="Live since"><span class="none">–</span>`), "of the file that never was live, and of the script's pattern")
	require.Equal(t, 1, strings.Count(html, `data-label="Live since"><time datetime="2026-11-30T12:00:00Z">`))
	for _, c := range []struct {
		state string
		size  int64
		want  string
	}{{state.LeftOut, 0, "–"}, {state.LeftOut, 1, "1 B"}, {state.Live, 0, "0 B"}, {state.Waiting, 0, "0 B"}} {
		html := rendered(t, &state.Status{Files: []state.StatusFile{{Path: "dags/a.py", State: c.state, Size: c.size}}})
		require.Contains(t, html, `data-label="Size" class="num">`+c.want+"</td>", "%s of %d", c.state, c.size)
	}
}

// dataOf is what page.js reads.
func dataOf(t testing.TB, html string) (data struct {
	Files   [][]any
	Places  [][3]string
	States  [][3]string
	Deploys []string
}) {
	t.Helper()
	_, rest, found := strings.Cut(html, `<script type="application/json" id="data">`)
	require.True(t, found)
	text, _, _ := strings.Cut(rest, "</script>")
	require.NoError(t, json.Unmarshal([]byte(text), &data))
	return data
}

func TestTheDataHasEveryFile(t *testing.T) {
	t.Parallel()
	s := sample()
	s.Sources = append(s.Sources, state.StatusSource{URL: "s3://ml/", Mount: "ml"})
	s.Files = append(s.Files, state.StatusFile{Path: "dags/ml/a/train.py", Source: "s3://ml/", Key: "x/a/train.py", State: state.Live, Run: "run-9"})
	d := dataOf(t, rendered(t, s))
	require.Len(t, d.Files, len(s.Files))
	for i, f := range s.Files {
		row := d.Files[i]
		place, fate := d.Places[int(row[0].(float64))], d.States[int(row[2].(float64))]
		require.Equal(t, f.Path, place[0]+row[1].(string))
		require.Equal(t, f.Key, place[1]+row[1].(string))
		require.Equal(t, " in "+f.Source, place[2])
		require.Equal(t, f.State, fate[2])
		require.EqualValues(t, f.Size, row[3])
	}
	require.Equal(t, []any{1., []any{"unchecked: it is too large"}, []any{}}, d.Files[5][6:])
	require.Equal(t, []any{2., []any{"Airflow cannot import it"}, []any{"Traceback:\n  No module named 'acme'"}}, d.Files[0][6:])
	require.Equal(t, []string{"deploy-1", "run run-9"}, d.Deploys)
	require.Equal(t, float64(noon.Add(-time.Hour).Unix()), d.Files[0][4])
	require.Equal(t, 0., d.Files[7][4], "never live")
}

func TestPathsAreDividedAtSlashes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ path, key, head, from, rest string }{
		"the same":           {"dags/a.py", "dags/a.py", "", "", "dags/a.py"},
		"another prefix":     {"dags/a.py", "prod/a.py", "dags/", "prod/", "a.py"},
		"no prefix":          {"dags/x/a.py", "x/a.py", "dags/", "", "x/a.py"},
		"no base folder":     {"a.py", "dags/a.py", "", "dags/", "a.py"},
		"mounted":            {"dags/ml/x/a.py", "exports/x/a.py", "dags/ml/", "exports/", "x/a.py"},
		"like, but no slash": {"dags/aa.py", "prod/ba.py", "dags/aa.py", "prod/ba.py", ""},
		"like in letters":    {"dags/éa.py", "prod/éa.py", "dags/", "prod/", "éa.py"},
		"no key":             {"dags/a.py", "", "", "", "dags/a.py"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &state.StatusFile{Path: c.path, Key: c.key, Source: "s3://b/"}
			head, from, _, rest := split(f, true)
			require.Equal(t, [3]string{c.head, c.from, c.rest}, [3]string{head, from, rest})
			head, from, _, rest = split(f, false)
			require.Equal(t, c.path, head+rest)
			if name == "like, but no slash" {
				require.Equal(t, c.key, from, "a key that says something else is always told")
			} else {
				require.Empty(t, from)
			}
		})
	}
}

func TestStepsAreInOrderAndFillTheBar(t *testing.T) {
	t.Parallel()
	steps := stepsOf(map[string]float64{"finalize": 2, "new step": 1, "lease": 0.04, "record": 0.03, "list": 1})
	require.Equal(t, []step{{"list", "look", 1}, {"finalize", "deploy", 2}, {"new step", "other", 1}, {"the rest", "other", 0.07}}, steps)
	bars := barsOf(steps[:3])
	require.Equal(t, []bar{{"look", 0, 248}, {"deploy", 250, 498}, {"other", 750, 248}}, bars)
	require.Empty(t, stepsOf(map[string]float64{"list": 0.01}))
	require.Empty(t, stepsOf(map[string]float64{"list": 0.04, "lease": 0.04}), "the rest of nothing")
	require.Empty(t, barsOf(nil))
}

// many has n files, of which every 100th is kept, and 100 runs.
func many(n int) *state.Status {
	s := sample()
	s.Files = make([]state.StatusFile, n)
	for i := range s.Files {
		path := fmt.Sprintf("dags/team-%03d/pipeline_%05d/load_orders.py", i/100, i)
		s.Files[i] = state.StatusFile{Path: path, Source: "s3://acme/dags/", Key: path, Size: int64(i), State: state.Live, Since: noon, DeployID: fmt.Sprint("clx8h1aaa00010llk2b4c6d", i%50),
			Run: fmt.Sprint("run-", i%50)}
		if i%100 == 99 {
			s.Files[i].State, s.Files[i].Reason, s.Files[i].Message, s.Files[i].Line, s.Files[i].Excerpt = state.Kept, "syntax", "Expected `:`, found newline", 12, "if x\n    ^"
		}
	}
	for i := range 98 {
		s.Runs = append(s.Runs, state.Run{Run: fmt.Sprint("run-", i+2), At: noon, Outcome: "unchanged", Files: n, Seconds: 1})
	}
	return s
}

func TestThePageOfManyFilesIsSmall(t *testing.T) {
	t.Parallel()
	html := rendered(t, many(10_000))
	t.Logf("10,000 files: %d bytes", len(html))
	require.Less(t, len(html), 10_000*120, "bytes")
	require.Len(t, dataOf(t, html).Files, 10_000)
}

// TestRenderingHoldsAFewRowsOnly compares what a page of ten times the files holds at the end of its writing.
func TestRenderingHoldsAFewRowsOnly(t *testing.T) {
	held := func(n int) uint64 {
		s := many(n)
		var before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		last := &atEnd{}
		require.NoError(t, Render(last, s))
		runtime.KeepAlive(s)
		return last.heap - min(before.HeapAlloc, last.heap)
	}
	small, large := held(10_000), held(100_000)
	t.Logf("held while writing: %d bytes for 10,000 files, %d for 100,000", small, large)
	require.Less(t, large, small+1<<20)
}

// atEnd remembers how much was held when the page's last bytes were written.
type atEnd struct{ heap uint64 }

func (a *atEnd) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("</html>")) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		a.heap = m.HeapAlloc
	}
	return len(p), nil
}

func TestAWriterThatFailsEndsIt(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is full")
	for _, after := range []int{0, 1 << 17, 1 << 19} {
		require.ErrorIs(t, Render(&failing{broken, after}, many(10_000)), broken)
	}
}

type failing struct {
	err   error
	after int
}

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, f.err
	}
	return len(p), nil
}

// fill puts a text into every string of a value but the keys of maps; text gets the string's name, such as Files.Path.
func fill(v reflect.Value, name string, text func(name string) string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem(), name, text)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(noon))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), strings.TrimPrefix(name+"."+v.Type().Field(i).Name, "."), text)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), name, text)
		}
	case reflect.String:
		v.SetString(text(name))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Map:
	default:
		v.Set(reflect.ValueOf(7).Convert(v.Type()))
	}
}

// filled has a text everywhere, with files of each state, and one run that some are live from.
func filled(text func(name string) string) *state.Status {
	s := &state.Status{}
	fill(reflect.ValueOf(s).Elem(), "", text)
	for _, word := range []string{state.Live, state.Kept, state.LeftOut, state.Waiting, state.HeldFile} {
		f := s.Files[0]
		f.State = word
		s.Files = append(s.Files, f)
	}
	s.Runs[0].Steps = map[string]float64{text("Runs.Steps"): 1}
	s.Runs[1].Outcome = "deployed"
	return s
}

func always(text string) func(string) string { return func(string) string { return text } }

// TestEveryFieldIsEscaped has a tag, quotes and an ampersand in every string, so that a new field is covered, too.
func TestEveryFieldIsEscaped(t *testing.T) {
	t.Parallel()
	fields := map[string]bool{} // whether it was found
	html := rendered(t, filled(func(name string) string {
		fields[name] = false
		text := "<x-" + name + `>"'&`
		if strings.HasSuffix(name, "URL") && name != "Sources.URL" {
			return "https://acme.example/?" + text // or it would be no link
		}
		return text
	}))
	data := regexp.MustCompile(`(?s)<script type="application/json".*?</script>`).FindString(html)
	html = strings.NewReplacer(data, "", string(style), "", string(script), "").Replace(html)
	require.NotContains(t, html, "<x-")
	require.NotContains(t, data, "<x-")

	// Without the escaped forms nothing is left.
	cut := func(text *string, name, form string) bool {
		before := len(*text)
		*text = strings.ReplaceAll(*text, form, "")
		fields[name] = fields[name] || len(*text) < before
		return len(*text) < before
	}
	inData := []string{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		cut(&html, name, "&lt;x-"+name+"&gt;&#34;&#39;&amp;")
		cut(&html, name, "https://acme.example/?%3Cx-"+name+"%3E%22%27&amp;")
		if cut(&data, name, `\u003cx-`+name+`\u003e\"'\u0026`) {
			inData = append(inData, name)
		}
	}
	cut(&html, "Live.Digest", "&lt;x-Live.Dige") // its beginning
	require.NotRegexp(t, `x-[A-Z]`, html)
	require.NotRegexp(t, `x-[A-Z]`, data)
	require.Equal(t, []string{"Files.DeployID", "Files.Excerpt", "Files.ImportError", "Files.Key", "Files.Message", "Files.Path", "Files.Reason", "Files.Source", "Files.State"}, inData)
	maps.DeleteFunc(fields, func(_ string, found bool) bool { return found })
	require.Equal(t, []string{"Files.Run", "Live.TarballVersion", "Pending.Digest", "Pending.RolledBack", "Pending.Run", "Pending.TarballVersion", "Runs.Digest"},
		slices.Sorted(maps.Keys(fields)), "these are not in the page")
}

// TestDataIsNoMarkup reads the sources: besides writer.go's methods, which escape it, data has no way into the page.
func TestDataIsNoMarkup(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	require.Contains(t, files, "page.go")
	way, attr := regexp.MustCompile(`\bmarkup\(|\.(put|out|enc)\b`), regexp.MustCompile(`\.attr\([^,]*,`)
	var attrs []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		if name != "writer.go" {
			require.NotRegexp(t, way, string(source), name)
		}
		attrs = append(attrs, attr.FindAllString(string(source), -1)...)
	}
	slices.Sort(attrs)
	require.Equal(t, []string{`.attr("aria-pressed",`, `.attr("class",`, `.attr("content",`, `.attr("data-filter",`, `.attr("datetime",`, `.attr("href",`, `.attr("width",`, `.attr("x",`},
		slices.Compact(slices.Clone(attrs)), "browsers must not load or run what is in these")
	require.Len(t, slices.DeleteFunc(attrs, func(a string) bool { return a != `.attr("href",` }), 2, "that of link, and the icon")
}

// structure is a page's tags and the names of their attributes, without any text.
func structure(html string) string {
	html = strings.Replace(html, string("<style>"+style+"</style>"), "", 1)
	html = strings.Replace(html, string("<script>"+script+"</script>"), "", 1)
	tags := regexp.MustCompile(`<[^>]*>?`).FindAllString(html, -1)
	return regexp.MustCompile(`="[^"]*"`).ReplaceAllString(strings.Join(tags, "\n"), "=")
}

// FuzzRender shows that no text changes the page's structure, whatever it is.
func FuzzRender(f *testing.F) {
	for _, text := range []string{"</script><script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "' onload='x", "<!--<script>", "]]>\u2028\u2029", "a\u202eb\u200b\x00\x1b\x7f\u0085",
		"\xff\xfe<", "`code` <b>", "{{.}}", "</title></style></textarea></template>", "&lt;&amp;&#0;", "javascript:alert(1)",
		`<x>"'&`, "https://acme.example/?<x>\"'&\u202e", "é\u200d\u202eé"} {
		f.Add(text)
	}
	want := structure(rendered(f, filled(always("x"))))
	f.Fuzz(func(t *testing.T, text string) {
		html := rendered(t, filled(always("x"+strings.ReplaceAll(text, "`", "'")))) // backticks make code, see TestProse
		require.Equal(t, want, structure(html))
		hidden := strings.IndexFunc(html, func(r rune) bool {
			return r != '\n' && r != '\t' && (r < ' ' || r > '~' && unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp))
		})
		require.Negative(t, hidden, "a character that cannot be seen is in the page")
		require.Len(t, dataOf(t, html).Files, 7)
		require.Equal(t, show(text), show(show(text)), "what can be seen stays as it is")
		require.Equal(t, showLines(text), showLines(showLines(text)))
		require.Regexp(t, "^$|^https?://[!-~]+$", safeURL(text))
	})
}

func TestTheStructureShowsAnInjection(t *testing.T) {
	t.Parallel()
	html := rendered(t, sample())
	require.NotEqual(t, structure(html), structure(strings.Replace(html, "the token was refused", "<b>", 1)))
	require.NotEqual(t, structure(html), structure(strings.Replace(html, `rel="noopener`, `onclick="x" rel="noopener`, 1)))
}

func TestRenderingDoesNotChangeTheStatus(t *testing.T) {
	t.Parallel()
	s := sample()
	require.Equal(t, rendered(t, s), rendered(t, s))
	require.Equal(t, sample(), s)
}

func BenchmarkRender(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		s := many(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, Render(io.Discard, s))
			}
		})
	}
}
