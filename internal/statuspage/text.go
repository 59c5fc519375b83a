package statuspage

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// visible returns text as it is shown: characters that cannot be seen, or that would reorder or hide others, are written as [U+202E].
// Line breaks and tabs stay only where lines is true. Text that is visible already stays as it is.
func visible(s string, lines bool) string {
	clean := utf8.ValidString(s)
	for at, r := range s {
		if !clean {
			break
		}
		clean = isPlain(s, at, r) || lines && (r == '\n' || r == '\t')
	}
	if clean {
		return s
	}
	var b strings.Builder
	for at := 0; at < len(s); {
		r, n := utf8.DecodeRuneInString(s[at:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "[0x%02X]", s[at])
		case lines && r == '\r' && strings.HasPrefix(s[at:], "\r\n"): // the line break follows
		case isPlain(s, at, r) || lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "[U+%04X]", r)
		}
		at += n
	}
	return b.String()
}

// isPlain tells whether the character at a place of s may be shown as it is.
func isPlain(s string, at int, r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	if r == nonJoiner || r == joiner { // they have their place in emoji and in some scripts, and only hide something in ASCII
		after, _ := utf8.DecodeRuneInString(s[at+utf8.RuneLen(r):])
		before, _ := utf8.DecodeLastRuneInString(s[:at])
		return isSeen(before) && isSeen(after) && before != utf8.RuneError && after != utf8.RuneError
	}
	return r >= ' ' && r < 0x7f || isSeen(r)
}

// isSeen tells of a character whether it is beyond ASCII and shows something.
func isSeen(r rune) bool { return r >= utf8.RuneSelf && unicode.IsGraphic(r) && !isBlank(r) }

// isBlank names characters that count as graphic and show nothing.
func isBlank(r rune) bool {
	switch r {
	case '\u034f', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u2800', '\u3164', '\uffa0':
		return true
	}
	return unicode.Is(unicode.Variation_Selector, r) && r != '\ufe0e' && r != '\ufe0f'
}

func show(s string) string      { return visible(s, false) }
func showLines(s string) string { return visible(s, true) }

// part is a piece of a sentence; Code stood between backticks.
type part struct {
	Text string
	Code bool
}

// prose divides a sentence into its parts. A backtick without another stays.
func prose(s string) []part {
	pieces := strings.Split(showLines(s), "`")
	if last := len(pieces) - 1; last%2 == 1 {
		pieces = append(pieces[:last-1], pieces[last-1]+"`"+pieces[last])
	}
	var parts []part
	for i, piece := range pieces {
		if piece != "" {
			parts = append(parts, part{piece, i%2 == 1})
		}
	}
	return parts
}

// safeURL returns a URL that may become a link, or "".
func safeURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	var b strings.Builder
	for _, c := range []byte(u.String()) { // a query and a fragment may have anything in them
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~!#$%&*+,/:;=?@[]", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// machine and human are the two forms of a time. Human ones have no seconds: the page says how long things took.
func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }
func human(t time.Time) string   { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

func took(from, to time.Time) string { return seconds(to.Sub(from).Seconds()) }

// seconds writes a duration as a person would.
func seconds(s float64) string {
	whole := int64(s + 0.5)
	switch {
	case s < 0.05:
		return "0 s"
	case s < 9.95:
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	case whole < 60:
		return fmt.Sprintf("%d s", whole)
	case whole < 3600:
		return fmt.Sprintf("%d min %d s", whole/60, whole%60)
	}
	return fmt.Sprintf("%d h %d min", whole/3600, whole%3600/60)
}

// size writes a number of bytes as page.js does.
func size(bytes int64) string {
	if bytes < 1000 {
		return fmt.Sprintf("%d B", bytes)
	}
	n, unit := float64(bytes), -1
	for ; n >= 999.5 && unit < 3; unit++ {
		n /= 1000
	}
	decimals := 0
	if n < 9.95 {
		decimals = 1
	}
	return strconv.FormatFloat(n, 'f', decimals, 64) + " " + []string{"kB", "MB", "GB", "TB"}[unit]
}

// number writes 10000 as 10,000.
func number(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + more
}

// short is the beginning of a digest.
func short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return digest[:min(len(digest), 12)]
}
