package selection

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// rule is one pattern of an ignore file. A path matches if it begins with literal and glob matches the rest; both are bytewise.
type rule struct {
	line       int    // from 1
	text       string // as written, shortened
	negated    bool
	folderOnly bool
	nameOnly   bool // looks at the last segment of a path only
	literal    string
	glob       string // in the library's language
	endsToo    bool   // glob matches the empty rest
}

// matchesEmpty finds the patterns, from their first wildcard on, that match the empty string in git.
var matchesEmpty = regexp.MustCompile(`^(\*\*+/)*\**$`)

func (r *rule) matches(path string, isFolder bool) bool {
	if r.folderOnly && !isFolder {
		return false
	}
	if r.nameOnly {
		path = path[strings.LastIndexByte(path, '/')+1:]
	}
	rest, ok := strings.CutPrefix(path, r.literal)
	switch {
	case !ok:
		return false
	case rest == "":
		return r.endsToo
	}
	return r.glob != "" && doublestar.MatchUnvalidated(r.glob, rest)
}

// parseLine reads one line without its end; nil if it holds no pattern, or one that can match no path.
func parseLine(line string) (*rule, error) {
	if strings.HasPrefix(line, "#") || strings.Trim(line, " \t") == "" {
		return nil, nil
	}
	if !utf8.ValidString(line) {
		return nil, errors.New("not UTF-8: save the file as UTF-8")
	}
	pattern := trimSpaces(line)
	r := &rule{text: shortened(pattern)}
	if strings.ContainsFunc(pattern, unicode.IsControl) {
		return nil, fmt.Errorf("%q has a tab or another control character, which no path has: remove it", r.text)
	}
	pattern, r.negated = strings.CutPrefix(pattern, "!")
	pattern, r.folderOnly = strings.CutSuffix(pattern, "/")
	r.nameOnly = !strings.Contains(pattern, "/")
	pattern = strings.TrimPrefix(pattern, "/")
	if pattern == "" {
		return nil, nil
	}
	// Like git, compare what comes before the first wildcard literally, and let the wildcards begin anew after it. Besides
	// being quick it shows: in "a/b**/c" the stars stand at the beginning of "**/c", and so for any number of folders.
	at := strings.IndexAny(pattern, `*?[\`)
	if at < 0 {
		at = len(pattern)
	}
	glob, err := toGlob(pattern[at:], r.nameOnly)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", r.text, err)
	}
	r.literal, r.glob, r.endsToo = bytewise(pattern[:at]), glob, matchesEmpty.MatchString(pattern[at:])
	return r, nil
}

// trimSpaces removes spaces from the end, but for one that is escaped.
func trimSpaces(s string) string {
	end := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
			continue
		case '\\':
			i++
		}
		end = min(i+1, len(s))
	}
	return s[:end]
}

// shortened bounds what a message quotes: every path that a rule ignores repeats it.
func shortened(s string) string {
	const most = 100 // bytes
	if len(s) <= most {
		return s
	}
	end := most
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// toGlob translates a pattern of git, from its first wildcard on, into one of doublestar. They differ in this:
//
//   - "{a,b}" is an alternative there and literal in git: braces are escaped.
//   - "**" stands for folders in git if it is a whole segment; more stars mean the same, and anywhere else they are one star.
//   - "a/**" matches "a" itself there, in git only what is below: it becomes "a/**/*".
//   - A class may match "/" there, and knows no "[:alpha:]" or "]" at its beginning: classes are written anew (see readClass).
//   - Wildcards stand for characters there, for bytes in git: both pattern and path are made bytewise.
//   - There a pattern may be malformed; here that is an error, while in git it matches nothing.
func toGlob(pattern string, nameOnly bool) (string, error) {
	var glob strings.Builder
	for i := 0; i < len(pattern); {
		switch c := pattern[i]; c {
		case '*':
			end := i + len(pattern[i:]) - len(strings.TrimLeft(pattern[i:], "*"))
			glob.WriteString(stars(pattern, i, end, nameOnly))
			i = end
		case '?':
			glob.WriteByte('?')
			i++
		case '[':
			class, length, err := readClass(pattern[i:])
			if err != nil {
				return "", err
			}
			glob.WriteString(class.glob())
			i += length
		case '\\':
			if i+1 == len(pattern) {
				return "", errors.New(`a backslash at the end escapes nothing: write "/" between folders, or "\\" for a backslash`)
			}
			writeLiteral(&glob, pattern[i+1])
			i += 2
		default:
			writeLiteral(&glob, c)
			i++
		}
	}
	return glob.String(), nil
}

// stars translates the run of stars pattern[start:end].
func stars(pattern string, start, end int, nameOnly bool) string {
	beginsSegment := start == 0 || pattern[start-1] == '/'
	rest := pattern[end:]
	endsSegment := rest == "" || rest[0] == '/' || strings.HasPrefix(rest, `\/`)
	switch {
	case end-start == 1 || nameOnly || !beginsSegment || !endsSegment:
		return "*"
	case rest == "" && start > 0, rest != "" && rest[0] == '\\': // with an escaped slash git wants one folder at least
		return "**/*"
	}
	return "**"
}

// writeLiteral writes one byte of a pattern so that it stands for itself.
func writeLiteral(glob *strings.Builder, c byte) {
	if c < utf8.RuneSelf && strings.IndexByte(`\*?[]{}-,!^`, c) >= 0 {
		glob.WriteByte('\\')
	}
	glob.WriteRune(rune(c))
}
