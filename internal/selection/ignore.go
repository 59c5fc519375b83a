package selection

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// IgnoreFile lies at a source's root, is written like a .gitignore, and is not shipped itself.
	IgnoreFile = ".dagbucketignore"
	// MaxIgnoreFile is the largest ignore file that is read, in bytes.
	MaxIgnoreFile = 64 << 10
	// maxRules bounds the work: each path, and each folder above it, may be compared with every rule.
	maxRules = 2_000
	// maxProblems bounds how many bad lines one error lists.
	maxProblems = 5
)

// Ignore is a parsed ignore file. It may be used concurrently; a nil Ignore ignores nothing.
//
// It follows gitignore(5): the last rule that matches decides, "!" takes a path back unless a folder above it is ignored,
// "/" inside a pattern ties it to the root, a "/" at its end means folders only. The wildcards are the doublestar library's;
// toGlob writes down how the two languages differ. As in git, "?" and "[...]" stand for one byte, so not for one "é", upper
// and lower case differ, and a name is never normalised.
//
// No library for whole ignore files agrees with git: over this package's tests go-git v6, the best, gives 99.2% of git's answers,
// go-git v5 and sabhiram/go-gitignore 93 to 97%. doublestar does the wildcards only and has no dependencies; with the order of
// the rules from here, every answer is git's.
//
// Two things are stricter than in git: only the file at the root counts, and a line that git would silently never match
// because it is malformed is an error.
type Ignore struct {
	rules []rule
}

// ParseIgnore reads an ignore file. Its error names the lines that are wrong and how.
func ParseIgnore(content []byte) (*Ignore, error) {
	if len(content) > MaxIgnoreFile {
		return nil, fmt.Errorf("it has %d bytes, and at most %d are read: use fewer, more general patterns", len(content), MaxIgnoreFile)
	}
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		return nil, errors.New("it is UTF-16: save it as UTF-8")
	}
	i := &Ignore{}
	var problems []string
	text := strings.TrimPrefix(string(content), "\uFEFF")
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		r, err := parseLine(strings.TrimSuffix(line, "\r"))
		switch {
		case err != nil:
			problems = append(problems, fmt.Sprintf("line %d: %v", number, err))
		case r != nil:
			r.line = number
			i.rules = append(i.rules, *r)
		}
	}
	if n := len(problems); n > maxProblems {
		problems = append(problems[:maxProblems], fmt.Sprintf("and %d more", n-maxProblems))
	}
	if problems != nil {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	if n := len(i.rules); n > maxRules {
		return nil, fmt.Errorf("it has %d rules, and at most %d are read: use fewer, more general patterns", n, maxRules)
	}
	return i, nil
}

// Match reports whether the file at path is ignored: a safe path from the source's root, as Select would ship it.
func (i *Ignore) Match(path string) bool {
	return i.walk().ruleFor(path) != nil
}

// walk judges many paths and remembers what became of their folders. It is nil, and ignores nothing, without rules.
type walk struct {
	rules   []rule
	folders map[string]*rule // the rule that ignores the folder, or nil
}

func (i *Ignore) walk() *walk {
	if i == nil || len(i.rules) == 0 {
		return nil
	}
	return &walk{rules: i.rules, folders: map[string]*rule{}}
}

// ruleFor returns the rule that ignores the file at path, or nil.
func (w *walk) ruleFor(path string) *rule {
	if w == nil {
		return nil
	}
	return w.judge(bytewise(path), false)
}

func (w *walk) judge(path string, isFolder bool) *rule {
	if at := strings.LastIndexByte(path, '/'); at >= 0 {
		parent := path[:at]
		r, known := w.folders[parent]
		if !known {
			r = w.judge(parent, true)
			w.folders[parent] = r
		}
		if r != nil {
			return r // nothing below an ignored folder can be taken back
		}
	}
	for i := len(w.rules) - 1; i >= 0; i-- {
		if r := &w.rules[i]; r.matches(path, isFolder) {
			if r.negated {
				return nil
			}
			return r
		}
	}
	return nil
}

// bytewise writes each byte as the character of its number: git's wildcards stand for bytes, the library's for characters.
func bytewise(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			wide := make([]rune, len(s))
			for j := range len(s) {
				wide[j] = rune(s[j])
			}
			return string(wide)
		}
	}
	return s
}
