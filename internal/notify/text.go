package notify

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dagbucket/dagbucket/internal/state"
)

// message is a notice in words: no control characters, no line breaks, nothing that is longer than people read.
type message struct {
	title string   // says it all
	told  []string // what happened, in sentences
	files []string // a line for each
	next  []string // what to do, in sentences
	url   string   // where to look; "" if unknown
}

// Text is a notice for people: plain text, whose first line says it all, of at most maxText bytes.
func Text(n *state.Notice) string {
	m := compose(n)
	return blocks(m.title, strings.Join(m.told, "\n"), strings.Join(m.files, "\n"), strings.Join(m.next, "\n"), m.url)
}

// maxText follows from the bounds of its parts.
const maxText = 10_000

// Title is the first line of a notice's text.
func Title(n *state.Notice) string { return compose(n).title }

// Subject is the title as the subject of an e-mail: ASCII, and below the 100 characters that SNS takes.
func Subject(n *state.Notice) string {
	const longest = 99
	ascii := strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, Title(n))
	if len(ascii) > longest {
		ascii = ascii[:longest-3] + "..."
	}
	return ascii
}

// Slack is a notice as Slack shows it, and Mattermost and Google Chat: each line about a file is code, so that nothing in it is markup, a
// link or a mention.
func Slack(n *state.Notice) string {
	m := compose(n)
	for i, line := range m.files {
		if i < shownFiles(n) {
			m.files[i] = "`" + slackEscape.Replace(strings.ReplaceAll(line, "`", "'")) + "`"
		}
	}
	title := "*" + slackProse(strings.ReplaceAll(m.title, "*", "·")) + "*"
	return blocks(title, slackProse(strings.Join(m.told, "\n")), strings.Join(m.files, "\n"), slackProse(strings.Join(m.next, "\n")), slackEscape.Replace(m.url))
}

// slackEscape writes the characters that begin Slack's links and mentions such as <!channel>.
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackProse also keeps @channel, which Mattermost knows, from being a mention, and backticks from swallowing what follows. Addresses of
// people stay as they are.
func slackProse(s string) string {
	var b strings.Builder
	before := ' '
	for _, r := range strings.ReplaceAll(s, "`", "'") {
		b.WriteRune(r)
		if r == '@' && !unicode.IsLetter(before) && !unicode.IsDigit(before) {
			b.WriteRune('\u200b')
		}
		before = r
	}
	return slackEscape.Replace(b.String())
}

// blocks puts an empty line between those that have something to say.
func blocks(parts ...string) string {
	var given []string
	for _, p := range parts {
		if p != "" {
			given = append(given, p)
		}
	}
	return strings.Join(given, "\n\n")
}

func shownFiles(n *state.Notice) int { return min(len(n.Files), state.NoticeFiles) }

// total counts the files of a notice, and those that are not in it.
func total(n *state.Notice) int { return max(n.Total, len(n.Files)) }

// The bounds of what is shown, in bytes.
const (
	maxPath  = 200
	maxLine  = 300 // of what is said of a file
	maxName  = 100
	maxCause = 1_200
	maxURL   = 500
)

// place is a file with its line and column. Of a long path the end is shown, where the file's name is.
func place(f state.NoticeFile) string {
	p := clean(f.Path)
	if len(p) > maxPath {
		p = "…" + strings.ToValidUTF8(p[len(p)-maxPath:], "")
	}
	if f.Line > 0 {
		p += fmt.Sprintf(":%d", f.Line)
		if f.Column > 0 {
			p += fmt.Sprintf(":%d", f.Column)
		}
	}
	return p
}

// shown is a text from outside, made fit to be shown.
func shown(s string, longest int) string { return cut(clean(s), longest) }

// clean writes a text in one line. Characters that nobody sees, such as those that turn the direction of writing, are replaced; but for the one
// that joins emoji.
func clean(s string) string {
	const joiner = '\u200d'
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == joiner || unicode.IsPrint(r):
			return r
		}
		return utf8.RuneError
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// cut shortens a text to so many bytes, and says so.
func cut(s string, longest int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest-len("…")], "") + "…"
}

// link is an address that may be opened, or "".
func link(s string) string {
	if !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://") || len(s) > maxURL || s != clean(s) || strings.ContainsAny(s, " <>\"`") {
		return ""
	}
	return s
}
