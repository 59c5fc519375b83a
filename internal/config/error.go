package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Error is everything that is wrong with a configuration. It holds no value of a secret.
type Error struct {
	Source   string // path or URL of the file, "" for the environment
	Problems []Problem
}

// Problem is one thing to repair.
type Problem struct {
	Key  string // where: "routes[0].sources[1].url", or the name of an environment variable
	Line int    // line of the file, from 1; 0 where none is known
	Text string // what is wrong and what to do, in one line
}

// Error is a line that says where the configuration came from, and then one line a problem.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("the configuration")
	if e.Source != "" {
		b.WriteString(" " + quote(e.Source))
	}
	b.WriteString(" has " + strconv.Itoa(len(e.Problems)) + " problem")
	if len(e.Problems) != 1 {
		b.WriteString("s")
	}
	b.WriteString(":")
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// Permanent is true: a configuration does not repair itself.
func (e *Error) Permanent() bool { return true }

// String is the problem as one line of the report.
func (p Problem) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.Key, p.Text)
	}
	return fmt.Sprintf("%s (line %d): %s", p.Key, p.Line, p.Text)
}

// quote keeps a value that people wrote to one line of bounded length.
func quote(s string) string {
	const longest = 200
	if len(s) > longest {
		s = s[:longest] + "…"
	}
	return strconv.Quote(s)
}
