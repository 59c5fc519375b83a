package selection

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// AirflowIgnoreFile lies in any folder below the DAG folder and names what Airflow does not parse there. It is shipped.
	AirflowIgnoreFile = ".airflowignore"
	// MaxAirflowIgnore is the largest content that is considered, in bytes.
	MaxAirflowIgnore = 1 << 20
	// maxAirflowLine is the longest pattern that is considered, in bytes: no path is that long.
	maxAirflowLine = 4 << 10
)

// AirflowSyntax is how one major version of Airflow reads .airflowignore files under one value of its option
// core.dag_ignore_file_syntax. The four differ; see the constants.
type AirflowSyntax int

const (
	// Airflow2Regexp is the default of Airflow 2: regular expressions of RE2 since 2.7, so a line with a lookaround is left out.
	Airflow2Regexp AirflowSyntax = iota
	// Airflow2Glob is "glob" in Airflow 2, and the default of Airflow 3.0.
	Airflow2Glob
	// Airflow3Regexp is "regexp" in Airflow 3: regular expressions of Python, which are read as RE2's. So a line with a lookaround or a
	// reference is left out, and a few others mean something else: `\w` knows ASCII only, "{,3}" stands for itself, and "^*" is no
	// error. Such a setting is rare, and a broken file that is not known to be ignored keeps its last good version, which harms nobody.
	Airflow3Regexp
	// Airflow3Glob is the default of Airflow 3, as 3.2 reads it.
	Airflow3Glob
)

func (s AirflowSyntax) isGlob() bool { return s == Airflow2Glob || s == Airflow3Glob }

// AirflowIgnore is a parsed .airflowignore file. It may be used concurrently; a nil one ignores nothing.
type AirflowIgnore struct {
	syntax AirflowSyntax
	rules  []airflowRule
}

// airflowRule is one line, without its comment.
type airflowRule struct {
	text     string
	match    func(subject string) bool
	negated  bool // globs only, as the next
	anchored bool // looks at the path below the ignore file's folder, and otherwise at the name only
}

// ParseAirflowIgnore reads an .airflowignore file. It has no error: a line that Airflow cannot read is left out, as Airflow does for
// regular expressions. (For a bad glob Airflow's whole search fails, so there is nothing to agree with.) For the same reason a file
// that is not UTF-8, larger than 1 MiB, or of more than 2,000 rules ignores nothing.
//
// It follows _find_path_from_directory in Airflow 2.10's airflow/utils/file.py and Airflow 3.2's airflow/_shared/module_loading/
// file_discovery.py: "#" begins a comment wherever it stands, and no backslash keeps it from that.
func ParseAirflowIgnore(content []byte, syntax AirflowSyntax) *AirflowIgnore {
	parsed := &AirflowIgnore{syntax: syntax}
	if len(content) > MaxAirflowIgnore || !utf8.Valid(content) {
		return parsed
	}
	compile := airflowCompiler(syntax)
	seen := map[string]bool{}
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(content)) // Python's open does it
	for line := range strings.SplitSeq(text, "\n") {
		line = withoutAirflowComment(line, syntax)
		if line == "" || len(line) > maxAirflowLine || seen[line] && syntax != Airflow3Glob {
			continue // Airflow 2 keeps the first of equal globs, whatever stands between them
		}
		seen[line] = true
		if r, ok := compile(line); ok {
			r.text = line
			parsed.rules = append(parsed.rules, r)
		}
		if len(parsed.rules) > maxRules {
			return &AirflowIgnore{syntax: syntax}
		}
	}
	return parsed
}

func airflowCompiler(syntax AirflowSyntax) func(line string) (airflowRule, bool) {
	if !syntax.isGlob() {
		return re2Compiler()
	}
	return func(line string) (airflowRule, bool) { return compileAirflowGlob(line, syntax) }
}

// withoutAirflowComment removes `\s*#.*` as the version's engine understands it.
func withoutAirflowComment(line string, syntax AirflowSyntax) string {
	before, _, found := strings.Cut(line, "#")
	switch {
	case !found:
		return line
	case syntax == Airflow2Regexp || syntax == Airflow2Glob:
		return strings.TrimRight(before, "\t\f\r ")
	}
	return strings.TrimRightFunc(before, isPythonSpace)
}

func isPythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// placedRule is a rule of the ignore file in folder.
type placedRule struct {
	*airflowRule
	syntax AirflowSyntax
	folder string
}

// IgnoredByAirflow reports whether Airflow does not look at the file at path: a safe path below the DAG folder. files holds the parsed
// ignore file of each folder that has one, by its path; "" is the DAG folder. All must be of one syntax.
//
// As in Airflow's walk a folder that is ignored is not entered, so nothing below it can be taken back. A folder's rules begin with
// those of the folders above it.
func IgnoredByAirflow(path string, files map[string]*AirflowIgnore) bool {
	var rules []placedRule
	folder, rest := "", path
	for {
		rules = appendPlaced(rules, folder, files[folder])
		_, below, entered := strings.Cut(rest, "/")
		if !entered {
			return airflowIgnores(rules, path, false)
		}
		folder, rest = path[:len(path)-len(below)-1], below
		if airflowIgnores(rules, folder, true) {
			return true
		}
	}
}

func appendPlaced(rules []placedRule, folder string, file *AirflowIgnore) []placedRule {
	if file == nil {
		return rules
	}
	above := rules
	for i := range file.rules {
		r := placedRule{airflowRule: &file.rules[i], syntax: file.syntax, folder: folder}
		isSame := func(a placedRule) bool { return !a.anchored && !r.anchored && a.text == r.text }
		if file.syntax == Airflow2Glob && slices.ContainsFunc(above, isSame) {
			continue // as within one file: the first of equal globs stays
		}
		rules = append(rules, r)
	}
	return rules
}

// airflowIgnores lets the last rule that matches decide. Regular expressions are never negated, so any does.
func airflowIgnores(rules []placedRule, path string, isFolder bool) bool {
	for i := len(rules) - 1; i >= 0; i-- {
		if rules[i].matches(path, isFolder) {
			return !rules[i].negated
		}
	}
	return false
}

// matches is what the two match methods of Airflow's rules do. A regular expression sees the path from the DAG folder, wherever its
// ignore file is. A glob sees a folder with a slash behind it: in Airflow 2 only if it ends in one itself, and in Airflow 3 always, but
// there such a glob is never asked about files.
func (r placedRule) matches(path string, isFolder bool) bool {
	if !r.syntax.isGlob() {
		return r.match(path)
	}
	forFolders := strings.HasSuffix(r.text, "/")
	if r.syntax == Airflow3Glob && forFolders && !isFolder {
		return false
	}
	switch {
	case !r.anchored:
		path = path[strings.LastIndexByte(path, '/')+1:]
	case r.folder != "":
		path = strings.TrimPrefix(path, r.folder+"/")
	}
	if isFolder && (forFolders || r.syntax == Airflow3Glob) {
		path += "/"
	}
	return r.match(path)
}
