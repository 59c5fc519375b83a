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
	if at := bytes.IndexByte(source, 0); at >= 0 {
		return nil, problemAt(source, at, "source code cannot contain null bytes"), nil
	}
	body, hasBOM := bytes.CutPrefix(source, bom)
	name, line := declaredEncoding(body)
	declared := func(format string) *Diagnostic {
		return &Diagnostic{Line: line, Column: 1, Message: fmt.Sprintf(format, name), Excerpt: excerpt(body, line, 1)}
	}
	codec, known := codecs[normalize(name)]
	switch {
	case name == "" || codec == utf8Codec:
		if at := invalidUTF8(body); at >= 0 {
			return nil, problemAt(body, at, fmt.Sprintf("byte 0x%02x is not UTF-8: save the file as UTF-8, or declare its encoding in the first line", body[at])), nil
		}
		return body, nil, nil
	case !known:
		return nil, declared("unknown encoding: %s"), nil
	case hasBOM:
		return nil, declared("encoding problem: %s with a byte order mark of UTF-8"), nil
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
	// No encoding here has the replacement character itself.
	if at := bytes.IndexRune(decoded, utf8.RuneError); at >= 0 && codec != asciiCodec || at >= 0 && !isASCII(body) {
		return nil, problemAt(decoded, at, "a byte here is not in the encoding that the file declares: "+name), nil
	}
	return decoded, nil, nil
}

func isASCII(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// invalidUTF8 returns where source is not UTF-8, or -1.
func invalidUTF8(source []byte) int {
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

// withoutSuppressions spoils the words of comments that would silence ruff, CPython's own errors among them. Names and positions keep their
// length.
func withoutSuppressions(source []byte) []byte {
	copied := false
	spoil := func(at int) {
		if !copied {
			source, copied = bytes.Clone(source), true
		}
		source[at] = '0'
	}
	for at := 0; ; at++ { // noqa, in any case, by its rarest letter
		next := bytes.IndexAny(source[at:], "qQ")
		if next < 0 {
			break
		}
		if at += next; at >= 2 && at+1 < len(source) && bytes.EqualFold(source[at-2:at+2], []byte("noqa")) {
			spoil(at - 1)
		}
	}
	word := []byte("ruff")
	for at := 0; ; at += len(word) {
		next := bytes.Index(source[at:], word)
		if next < 0 {
			return source
		}
		at += next
		spoil(at + 1)
	}
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
	runes := []rune(strings.ToValidUTF8(text, "\uFFFD"))
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

func lineOf(source []byte, line int) string {
	var text []byte
	for range line {
		text, source = cutLine(source)
	}
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

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
