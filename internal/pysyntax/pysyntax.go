// Package pysyntax finds syntax errors in Python source, without a Python: it runs the parser of ruff (https://docs.astral.sh/ruff, MIT) as
// WebAssembly, by wazero, behind a check of the bytes as CPython's tokenizer makes it.
package pysyntax

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Diagnostic is one syntax error.
type Diagnostic struct {
	Line, Column int // from 1; columns count characters
	Message      string
	Excerpt      string // the source line, cut to what is near the column, and below it a line with a caret
}

// String is the diagnostic on one line.
func (d Diagnostic) String() string { return fmt.Sprintf("%d:%d: %s", d.Line, d.Column, d.Message) }

// Kind names this checker: verdicts of another one, or of another release, may be others. Its last number is of what this package does besides
// ruff; raise it when that changes.
const Kind = "ruff " + Version + "/1"

// Versions are the Python versions that can be asked for, ascending.
var Versions = []string{"3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"}

// Python returns the version that a source for pythonVersion (such as "3.11") is checked against: the newest one if it is not among Versions,
// so that syntax of a version that nobody knows here is not refused.
func Python(pythonVersion string) string {
	if slices.Contains(Versions, pythonVersion) {
		return pythonVersion
	}
	return Versions[len(Versions)-1]
}

// MaxSource is the largest source that is checked, in bytes. The largest file of Python's own library has three quarters of it.
const MaxSource = 1 << 20

// maxDiagnostics is enough for a person: most errors follow from the first one.
const maxDiagnostics = 20

// UncheckedError says why there is no verdict on a source.
type UncheckedError struct{ Err error }

func (e *UncheckedError) Error() string { return "not checked: " + e.Err.Error() }
func (e *UncheckedError) Unwrap() error { return e.Err }

func unchecked(format string, args ...any) error { return &UncheckedError{fmt.Errorf(format, args...)} }

// Check returns the syntax errors of a source, at most 20, in their order; none if it is valid. pythonVersion may be "", see Python. An
// *UncheckedError means that there is no verdict; any other error is ctx's. It may be called concurrently.
func (c *Checker) Check(ctx context.Context, source []byte, pythonVersion string) ([]Diagnostic, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(source) > MaxSource {
		return nil, unchecked("%d bytes are more than %d", len(source), MaxSource)
	}
	decoded, problem, err := decode(source)
	if problem != nil {
		problem.Message = tellable(problem.Message)
		return []Diagnostic{*problem}, nil
	}
	if err != nil {
		return nil, err
	}
	python := Python(pythonVersion)
	findings, err := c.run(ctx, withoutSuppressions(decoded), python)
	if err != nil {
		return nil, err
	}
	if len(findings) > 0 {
		return diagnose(findings, decoded), nil
	}
	return c.checkTabs(ctx, decoded, python)
}

// checkTabs finds indentation that depends on the width of a tab, in a source that is valid otherwise: ruff takes a tab for two columns,
// CPython for as many as lead to the next multiple of eight.
func (c *Checker) checkTabs(ctx context.Context, source []byte, python string) ([]Diagnostic, error) {
	expanded := expandTabs(source)
	if expanded == nil || len(expanded) > MaxSource {
		return nil, nil
	}
	findings, err := c.run(ctx, withoutSuppressions(expanded), python)
	if err != nil || len(findings) == 0 {
		return nil, err
	}
	line := diagnose(findings, source)[0].Line
	column := 1 + indentation([]byte(lineOf(source, line)))
	return []Diagnostic{{Line: line, Column: column, Message: "inconsistent use of tabs and spaces in indentation",
		Excerpt: excerpt(source, line, column)}}, nil
}

// rules are ruff's for the errors that CPython finds after parsing, in its symbol table and compiler; those of the parser have none.
var rules = strings.Fields("F404 F406 F407 F621 F622 F701 F702 F704 F706 F707 PLE0115 PLE0117 PLE0118 PLE1142 PLE1700")

// settings are ruff's for a Python version.
func settings(python string) any {
	selected := make([]any, 0, len(rules))
	for _, r := range rules {
		selected = append(selected, r)
	}
	return toValue(map[string]any{
		"target-version": "py" + strings.ReplaceAll(python, ".", ""),
		"lint":           map[string]any{"select": selected},
	})
}

func diagnose(findings []finding, source []byte) []Diagnostic {
	slices.SortStableFunc(findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Start.Row, b.Start.Row), cmp.Compare(a.Start.Column, b.Start.Column))
	})
	var found []Diagnostic
	for _, f := range findings[:min(len(findings), maxDiagnostics)] {
		found = append(found, Diagnostic{Line: f.Start.Row, Column: f.Start.Column, Message: tellable(f.Message),
			Excerpt: excerpt(source, f.Start.Row, f.Start.Column)})
	}
	return found
}

// IsUnchecked reports whether err says that there is no verdict.
func IsUnchecked(err error) bool {
	var u *UncheckedError
	return errors.As(err, &u)
}
