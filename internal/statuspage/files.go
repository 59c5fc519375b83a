package statuspage

import (
	"fmt"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// row is a file as the list shows it. All its texts are visible ones.
type row struct {
	Path   string
	Label  string
	Tone   string
	Since  time.Time
	Deploy string
	Size   string
	Lines  []string // below the path
	Blocks []string // below them, on demand
}

// rowOf is what the server writes; page.js makes the same of writeData's.
func rowOf(f *state.StatusFile, origins bool) row {
	fate := fileFate(f)
	r := row{Path: show(f.Path), Label: fate.Label, Tone: fate.Tone, Since: f.Since, Deploy: show(deployOf(f)), Size: sizeOf(f),
		Lines: linesOf(f), Blocks: blocksOf(f)}
	if _, from, source, rest := split(f, origins); from != "" {
		r.Lines = append(r.Lines, "from "+from+rest+source)
	}
	return r
}

// fate is a file's state in words.
type fate struct {
	Label, Tone string
	filter      string // the key of the button that shows such files
}

func fateOf(word string) fate {
	switch word {
	case state.Live:
		return fate{"Live", "good", word}
	case state.Waiting:
		return fate{"Waiting", "info", word}
	case state.HeldFile:
		return fate{"Held", "warn", word}
	case state.Kept:
		return fate{"Kept", "warn", word}
	case state.LeftOut:
		return fate{"Left out", "bad", word}
	}
	return fate{show(word), "quiet", ""}
}

// fileFate is that of its state, but for what was meant to be left out: that alarms nobody.
func fileFate(f *state.StatusFile) fate {
	fate := fateOf(f.State)
	if isMeant(f) {
		fate.Tone = "quiet"
	}
	return fate
}

// isMeant tells what the selection left out from what could not be shipped.
func isMeant(f *state.StatusFile) bool {
	return f.State == state.LeftOut && (f.Reason == "excluded" || f.Reason == "ignored")
}

// deployOf names the deploy that brought a file: by the run where Astro's name is not known.
func deployOf(f *state.StatusFile) string {
	if f.DeployID != "" || f.Run == "" {
		return f.DeployID
	}
	return "run " + f.Run
}

// sizeOf is "–" where the size is not known: of what is left out it often is not.
func sizeOf(f *state.StatusFile) string {
	if f.State == state.LeftOut && f.Size == 0 {
		return "–"
	}
	return size(f.Size)
}

func linesOf(f *state.StatusFile) []string {
	var lines []string
	if f.Reason != "" || f.Message != "" {
		lines = append(lines, sentence(show(f.Reason)+position(f, ", line %d", ", line %d:%d"), whyOf(f)))
	}
	if f.ImportError != "" {
		lines = append(lines, "Airflow cannot import it")
	}
	if (f.State == state.Waiting || f.State == state.HeldFile) && !f.Modified.IsZero() {
		lines = append(lines, "in the source since "+human(f.Modified))
	}
	return lines
}

func blocksOf(f *state.StatusFile) []string {
	var blocks []string
	for _, text := range []string{f.Excerpt, f.ImportError} {
		if text != "" {
			blocks = append(blocks, showLines(text))
		}
	}
	return blocks
}

// sentence joins a reason and its message, of which one may be missing.
func sentence(reason, message string) string {
	if reason != "" && message != "" {
		reason += ": "
	}
	return reason + showLines(message)
}

// position writes where in a file a message is about, or "".
func position(f *state.StatusFile, line, both string) string {
	switch {
	case f.Line <= 0:
		return ""
	case f.Column <= 0:
		return fmt.Sprintf(line, f.Line)
	}
	return fmt.Sprintf(both, f.Line, f.Column)
}

// whyOf is the message of a file, or what its reason means.
func whyOf(f *state.StatusFile) string {
	if f.Message != "" {
		return f.Message
	}
	switch f.Reason {
	case "syntax":
		return "it has a Python syntax error"
	case "removal":
		return "it is gone from its source together with many others"
	case "conflict":
		return "two objects claim its path"
	case "archived":
		return "its storage class must be restored first"
	case "changing":
		return "it changed just while it was looked at; the next run looks again"
	case "unchecked":
		return "it was deployed without being checked"
	case "rolled back":
		return "it stays as it was rolled back to until it changes in its source"
	}
	return ""
}

// split divides a path into what it shares with the paths of its kind and the rest. from and source surround the rest to name the
// object; they are "" where the path says it already. Most files have few different heads, and the page holds each once.
func split(f *state.StatusFile, origins bool) (head, from, source, rest string) {
	path, key := show(f.Path), show(f.Key)
	at := 0 // bytes that path and key have in common at their ends, back to a slash
	for n := 1; n <= len(path) && n <= len(key) && path[len(path)-n] == key[len(key)-n]; n++ {
		if n == len(path) || path[len(path)-n-1] == '/' {
			at = n
		}
	}
	head, rest = path[:len(path)-at], path[len(path)-at:]
	if at == 0 { // the key says something else
		head, rest = "", path
	}
	if key == "" || !origins && at > 0 {
		return head, "", "", rest
	}
	if at == 0 {
		return path, key, " in " + show(f.Source), ""
	}
	return head, key[:len(key)-at], " in " + show(f.Source), rest
}

// table numbers different values in the order in which they are first seen.
type table[T comparable] struct {
	numbers map[T]int64
	values  []T
}

func (t *table[T]) number(v T) int64 {
	n, seen := t.numbers[v]
	if !seen {
		if t.numbers == nil {
			t.numbers = map[T]int64{}
		}
		n = int64(len(t.values))
		t.numbers[v], t.values = n, append(t.values, v)
	}
	return n
}

// The flags of a file in the data.
const (
	flagWarning = 1 << iota
	flagError
)

func flagsOf(f *state.StatusFile) int {
	flags := 0
	if f.State == state.Live && f.Reason != "" {
		flags |= flagWarning
	}
	if f.ImportError != "" {
		flags |= flagError
	}
	return flags
}

// data is the JSON that page.js searches: an array a file, whose repeated texts are in tables after it.
type data struct {
	places  table[[3]string] // head, from, source
	states  table[[3]string] // label, tone, filter
	deploys table[string]
	origins bool
}

// writeData writes the files, one at a time.
func writeData(w *writer, s *state.Status) {
	d := data{origins: len(s.Sources) > 1}
	w.raw(`<script type="application/json" id="data">{"files":[`)
	for i := range s.Files {
		if i > 0 {
			w.raw(",")
		}
		d.write(w, &s.Files[i])
		if w.err != nil {
			return
		}
	}
	w.raw(`],"places":`).json(d.places.values)
	w.raw(`,"states":`).json(d.states.values)
	w.raw(`,"deploys":`).json(d.deploys.values)
	w.raw("}</script>\n")
}

// write writes place, rest of the path, state, size, since when, deploy and, if there are any, flags, lines and blocks.
func (d *data) write(w *writer, f *state.StatusFile) {
	head, from, source, rest := split(f, d.origins)
	fate := fileFate(f)
	since := int64(0)
	if !f.Since.IsZero() {
		since = f.Since.Unix()
	}
	w.raw("[").int(d.places.number([3]string{head, from, source})).raw(",").json(rest)
	for _, n := range []int64{d.states.number([3]string{fate.Label, fate.Tone, fate.filter}), f.Size, since, d.deploys.number(show(deployOf(f)))} {
		w.raw(",").int(n)
	}
	lines, blocks := linesOf(f), blocksOf(f)
	if flags := flagsOf(f); flags != 0 || len(lines)+len(blocks) > 0 {
		w.raw(",").int(int64(flags)).raw(",").json(orEmpty(lines)).raw(",").json(orEmpty(blocks))
	}
	w.raw("]")
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
