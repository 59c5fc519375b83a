package pysyntax

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
)

var bom = []byte("\xef\xbb\xbf")

// decode makes UTF-8 of a source as CPython does (https://docs.python.org/3/reference/lexical_analysis.html#encoding-declarations), without a
// byte order mark. What CPython refuses on the way is a problem.
//
// One thing is stricter: bytes that are not UTF-8 are refused in comments too, where releases before 3.14 pass over them.
func decode(source []byte) (decoded []byte, problem *Diagnostic, err error) {
	body, hasBOM := bytes.CutPrefix(source, bom)
	if at := bytes.IndexByte(body, 0); at >= 0 {
		return nil, problemAt(body, at, "source code cannot contain null bytes"), nil
	}
	name, line := declaredEncoding(body)
	declared := func(format string) *Diagnostic {
		return &Diagnostic{Line: line, Column: 1, Message: fmt.Sprintf(format, name), Excerpt: excerpt(body, line, 1)}
	}
	codec, known := codecs[normalize(name)]
	switch {
	case hasBOM && name != "" && shortName(name) != shortUTF8:
		return nil, declared("encoding problem: %s with a byte order mark of UTF-8"), nil
	case name == "" || codec == utf8Codec:
		if at := invalidUTF8(body); at >= 0 {
			return nil, problemAt(body, at, fmt.Sprintf("byte 0x%02x is not UTF-8: save the file as UTF-8, or declare its encoding in the first line", body[at])), nil
		}
		return body, nil, nil
	case !known:
		return nil, declared("unknown encoding: %s"), nil
	case codec == nil:
		return nil, nil, unchecked("encoding %s", name)
	}
	return decodeBy(codec, body, name)
}

func decodeBy(codec encoding.Encoding, body []byte, name string) ([]byte, *Diagnostic, error) {
	decoded, err := codec.NewDecoder().Bytes(body)
	if err != nil {
		return nil, nil, unchecked("encoding %s: %w", name, err)
	}
	at := bytes.IndexRune(decoded, utf8.RuneError)
	if at < 0 {
		return decoded, nil, nil
	}
	if !isSingleByte(codec) { // CPython's table may have what this one has not
		return nil, nil, unchecked("encoding %s: a character that is not known here", name)
	}
	return nil, problemAt(decoded, at, "a byte here is not in the encoding that the file declares: "+name), nil
}

// invalidUTF8 returns where source is not UTF-8, or -1.
func invalidUTF8(source []byte) int {
	if utf8.Valid(source) {
		return -1
	}
	for at := 0; at < len(source); {
		if source[at] < utf8.RuneSelf {
			at++
			continue
		}
		r, n := utf8.DecodeRune(source[at:])
		if r == utf8.RuneError && n == 1 {
			return at
		}
		at += n
	}
	return -1
}

var (
	cookie = regexp.MustCompile(`^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)`) // of PEP 263
	noCode = regexp.MustCompile(`^[ \t\f]*(?:#|$)`)
)

// declaredEncoding returns the encoding that the first or second line declares, and the line; "" if there is none.
func declaredEncoding(body []byte) (name string, line int) {
	for line := 1; line <= 2; line++ {
		this, rest := cutLine(body)
		if m := cookie.FindSubmatch(this); m != nil {
			return string(m[1]), line
		}
		if !noCode.Match(this) {
			break
		}
		body = rest
	}
	return "", 0
}

// problemAt is a problem with the byte at an offset of source, which may not be UTF-8.
func problemAt(source []byte, at int, message string) *Diagnostic {
	before := source[:at]
	line := 1 + bytes.Count(before, []byte("\n")) + bytes.Count(before, []byte("\r")) - bytes.Count(before, []byte("\r\n"))
	start := 0
	if i := bytes.LastIndexAny(before, "\r\n"); i >= 0 {
		start = i + 1
	}
	column := utf8.RuneCount(before[start:]) + 1
	return &Diagnostic{Line: line, Column: column, Message: message, Excerpt: excerpt(source, line, column)}
}

// withoutSuppressions spoils the words of comments by which ruff is told to be silent, about CPython's own errors too: "# noqa", "# flake8: noqa",
// "# ruff: noqa", "# ruff: ignore[...]" and so on. They are looked for from each # on to the end of its line, a quote or a brace, so that what is
// changed is never a name, even if that # is in a string. Lengths stay.
func withoutSuppressions(source []byte) []byte {
	copied := false
	for at := 0; ; {
		next := bytes.IndexByte(source[at:], '#')
		if next < 0 {
			return source
		}
		at += next + 1
		end := len(source)
		if n := bytes.IndexAny(source[at:], "#\r\n'\"{}"); n >= 0 {
			end = at + n
		}
		for ; at+4 <= end; at++ {
			if word := source[at : at+4]; bytes.EqualFold(word, noqa) || bytes.EqualFold(word, ruff) {
				if !copied {
					source, copied = bytes.Clone(source), true
				}
				source[at+1] = '0'
			}
		}
		at = end
	}
}

var noqa, ruff = []byte("noqa"), []byte("ruff")

// indentation returns the length of what a line is indented by.
func indentation(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " \t\f")) }

// expandTabs returns source with lines that are indented by spaces only, as many as CPython takes tabs for; nil if lines are not indented by
// both tabs and spaces.
func expandTabs(source []byte) []byte {
	var expanded []byte
	tabs, spaces := false, false
	for len(source) > 0 {
		line := source
		if at := bytes.IndexAny(source, "\r\n"); at >= 0 {
			line = source[:at+1]
		}
		source = source[len(line):]
		n := indentation(line)
		tabs = tabs || bytes.IndexByte(line[:n], '\t') >= 0
		spaces = spaces || bytes.IndexByte(line[:n], ' ') >= 0
		expanded = append(appendColumns(expanded, line[:n]), line[n:]...)
	}
	if !tabs || !spaces {
		return nil
	}
	return expanded
}

// appendColumns appends an indentation without tabs. A form feed begins it anew.
func appendColumns(b, indentation []byte) []byte {
	const tab = 8
	column := 0
	for _, c := range indentation {
		width := 1
		switch c {
		case '\t':
			c, width = ' ', tab-column%tab
		case '\f':
			column, width = -1, 1
		}
		column += width
		b = append(b, bytes.Repeat([]byte{c}, width)...)
	}
	return b
}

const (
	excerptWidth = 100 // characters
	excerptLead  = 60  // of them before the column, if the line is longer
)

// excerpt shows a place of a source: its line and a caret below. Control characters become spaces.
func excerpt(source []byte, line, column int) string {
	text := lineOf(source, line)
	if text == "" {
		return ""
	}
	runes := []rune(text) // a byte that is not UTF-8 is one
	at := min(max(column-1, 0), len(runes))
	start := 0
	if len(runes) > excerptWidth {
		start = max(0, at-excerptLead)
	}
	shown := runes[start:min(len(runes), start+excerptWidth)]
	for i, r := range shown {
		if !unicode.IsPrint(r) {
			shown[i] = ' '
		}
	}
	return strings.TrimRight(string(shown), " ") + "\n" + strings.Repeat(" ", at-start) + "^"
}

// lineOf returns a line, without its end; "" if there is none.
func lineOf(source []byte, line int) string {
	for ; line > 1 && source != nil; line-- {
		_, source = cutLine(source)
	}
	if line < 1 {
		return ""
	}
	text, _ := cutLine(source)
	return string(text)
}

// cutLine returns the first line, without its end, and what follows.
func cutLine(source []byte) (line, rest []byte) {
	at := bytes.IndexAny(source, "\r\n")
	if at < 0 {
		return source, nil
	}
	line, rest = source[:at], source[at+1:]
	if source[at] == '\r' {
		rest = bytes.TrimPrefix(rest, []byte("\n"))
	}
	return line, rest
}

// messageWidth is in characters. What is longer is a name or a literal of the source, which may be as long as that.
const messageWidth = 200

// literal is a string of the source in a message. It may be a secret, and messages reach logs.
var literal = regexp.MustCompile("`[a-zA-Z]*['\"][^`]*`")

// tellable is a message on one line, without control characters, and not for ever.
func tellable(message string) string {
	message = literal.ReplaceAllString(strings.Join(strings.Fields(message), " "), "`…`")
	runes := []rune(strings.ToValidUTF8(message, "\uFFFD"))
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = '\uFFFD'
		}
	}
	if len(runes) > messageWidth {
		return string(runes[:messageWidth]) + "…"
	}
	return string(runes)
}
