package doctor

import (
	"fmt"
	"io"
	"strings"
)

// marks are of a terminal, and of everything else.
var marks = map[bool]map[Status]string{
	true:  {OK: "✓", Warning: "!", Fault: "✗", Skipped: "-"},
	false: {OK: "ok", Warning: "WARN", Fault: "FAULT", Skipped: "skip"},
}

// Write prints the report for people; without a terminal in plain ASCII, but for what the checks themselves say.
func (r *Report) Write(w io.Writer, terminal bool) {
	printChecks(w, r.Checks, terminal)
	for _, route := range r.Routes {
		fmt.Fprintf(w, "\nroute %s\n", route.Route)
		printChecks(w, route.Checks, terminal)
	}
	fmt.Fprintln(w)
	if r.First == nil {
		fmt.Fprintln(w, "All is well.")
		return
	}
	where := r.First.Name
	if r.First.Route != "" && len(r.Routes) > 1 {
		where = "route " + r.First.Route + ", " + where
	}
	if r.First.About != "" {
		where += " " + r.First.About
	}
	fmt.Fprintf(w, "First: %s: %s\nDo:    %s\n", where, indented(r.First.Says, "         "), r.First.Repair)
}

func printChecks(w io.Writer, checks []Check, terminal bool) {
	width := 0
	for _, c := range checks {
		width = max(width, len(c.Name))
	}
	mark := marks[terminal]
	column := 0
	for _, m := range mark {
		column = max(column, len([]rune(m)))
	}
	for _, c := range checks {
		about := ""
		if c.About != "" {
			about = c.About + ": "
		}
		pad := strings.Repeat(" ", column-len([]rune(mark[c.Status])))
		margin := strings.Repeat(" ", column+width+6)
		fmt.Fprintf(w, "  %s%s  %-*s  %s%s\n", mark[c.Status], pad, width, c.Name, about, indented(c.Says, margin))
		if c.Repair != "" {
			fmt.Fprintf(w, "%s-> %s\n", margin, c.Repair)
		}
	}
}

func indented(text, margin string) string { return strings.ReplaceAll(text, "\n", "\n"+margin) }

// Count is a number of things, such as "1 file" or "2 files".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// longest is of foreign texts, in bytes.
const longest = 600

// Line makes a foreign text one line of bounded length.
func Line(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

func oneLine(err error) string { return Line(err.Error()) }
