package selection

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// compileAirflowGlob reads one glob as Airflow's _GlobIgnoreRule and, in it, pathspec's GitWildMatchPattern do: pathspec 0.12.1 for
// Airflow 2, 1.1.1 for Airflow 3. It is false for a line that has no effect or that they refuse.
//
// The language looks like that of a .gitignore, but too much differs to share toGlob: wildcards stand for characters and not for bytes,
// a pattern is cut at each slash before its brackets are read, "[!a]" may be a slash, "[:alpha:]" is no class, and "**" stands for
// folders wherever it is a whole segment.
func compileAirflowGlob(line string, syntax AirflowSyntax) (airflowRule, bool) {
	r := airflowRule{anchored: strings.Contains(strings.TrimRight(line, "/"), "/") || strings.HasPrefix(line, "/")}
	if strings.TrimFunc(line, isPythonSpace) == "/" {
		return r, false
	}
	if !strings.HasSuffix(line, `\ `) {
		line = strings.TrimRightFunc(line, isPythonSpace)
	}
	if syntax == Airflow2Glob {
		line = strings.TrimLeftFunc(line, isPythonSpace)
	}
	line, r.negated = strings.CutPrefix(line, "!")
	if line == "" {
		return r, false
	}
	source, ok := globRegexp(line, syntax)
	if !ok {
		return r, false
	}
	compiled, err := regexp.Compile(source)
	if err != nil {
		return r, false
	}
	r.match = compiled.MatchString
	return r, true
}

// globRegexp translates a glob into a regular expression that is searched for in a path. It is false if the glob is malformed or
// cannot match any path.
func globRegexp(glob string, syntax AirflowSyntax) (string, bool) {
	segments := globSegments(glob)
	if slices.Equal(segments, []string{"**"}) {
		if strings.HasSuffix(glob, "/") {
			return "/", syntax == Airflow3Glob || glob[0] != '/' // "/**/" matches nothing in Airflow 2, and "!/" takes back nothing
		}
		return ".", true
	}
	var b strings.Builder
	b.WriteByte('^')
	slash := "" // between this segment and the one before
	for i, segment := range segments {
		isLast := i == len(segments)-1
		switch {
		case segment == "":
			return "", false // no path has two slashes in a row
		case segment == "**" && i == 0:
			b.WriteString("(?:.+/)?")
			continue
		case segment == "**" && isLast:
			b.WriteByte('/')
		case segment == "**":
			b.WriteString("(?:/.+)?")
		default:
			translated, ok := segmentRegexp(segment, syntax)
			if !ok {
				return "", false
			}
			b.WriteString(slash + translated)
			if isLast {
				b.WriteString("(?:/|$)")
			}
		}
		slash = "/"
	}
	return b.String(), true
}

// globSegments cuts a glob at its slashes and adds the "**" that pathspec reads into it: before a lone name, and after a last slash.
func globSegments(glob string) []string {
	segments := strings.Split(glob, "/")
	if segments[0] == "" {
		segments = segments[1:]
	} else if len(segments) == 1 || len(segments) == 2 && segments[1] == "" {
		segments = append([]string{"**"}, segments...)
	}
	if last := &segments[len(segments)-1]; *last == "" {
		*last = "**"
	}
	return slices.CompactFunc(segments, func(a, b string) bool { return a == "**" && b == "**" })
}

func segmentRegexp(segment string, syntax AirflowSyntax) (string, bool) {
	if segment == "*" {
		return "[^/]+", true
	}
	var b strings.Builder
	for i := 0; i < len(segment); {
		r, size := utf8.DecodeRuneInString(segment[i:])
		i += size
		switch r {
		case '*':
			b.WriteString("[^/]*")
		case '?':
			b.WriteString("[^/]")
		case '\\':
			if i == len(segment) {
				return "", false
			}
			_, size := utf8.DecodeRuneInString(segment[i:])
			b.WriteString(regexp.QuoteMeta(segment[i : i+size]))
			i += size
		case '[':
			length := bracketLength(segment[i:])
			if length == 0 && syntax == Airflow2Glob {
				b.WriteString(`\[`)
				continue
			}
			set, ok := bracketRegexp(segment[i:][:max(length-1, 0)])
			if length == 0 || !ok {
				return "", false
			}
			b.WriteString(set)
			i += length
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return b.String(), true
}

// bracketLength says how long the rest of a bracket expression is, with its "]"; 0 if it has none. A "]" that comes first is a member.
func bracketLength(rest string) int {
	from := 0
	if strings.HasPrefix(rest, "!") || strings.HasPrefix(rest, "^") {
		from++
	}
	if strings.HasPrefix(rest[from:], "]") {
		from++
	}
	end := strings.IndexByte(rest[from:], ']')
	if end < 0 {
		return 0
	}
	return from + end + 1
}

// bracketRegexp translates what stands between "[" and "]". A backslash is a member like any other character.
func bracketRegexp(members string) (string, bool) {
	var b strings.Builder
	b.WriteByte('[')
	if strings.HasPrefix(members, "!") || strings.HasPrefix(members, "^") {
		b.WriteByte('^')
		members = members[1:]
	}
	runes := []rune(members)
	for i := 0; i < len(runes); i++ {
		low, high := runes[i], runes[i]
		if i+2 < len(runes) && runes[i+1] == '-' {
			i += 2
			high = runes[i]
		}
		if high < low {
			return "", false
		}
		fmt.Fprintf(&b, `\x{%x}-\x{%x}`, low, high)
	}
	b.WriteByte(']')
	return b.String(), true
}
