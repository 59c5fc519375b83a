package config

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxNodes bounds the work that a small file can ask for through aliases of aliases.
	maxNodes    = 100_000
	maxProblems = 100
)

// reader turns YAML nodes into values. It goes on after a problem, so that all of them are reported at once.
type reader struct {
	token    string            // the reference that a route without one gets; "" if there is none
	names    map[string]string // what a key is called where it is not in a file
	lines    map[string]int    // line of each key that is given
	bad      map[string]bool   // keys with a problem, whose values mean nothing
	nodes    int
	problems []Problem
}

// field decodes the value of one key, and says what to do when the key is missing; "" if it is optional.
type field struct {
	decode  func(r *reader, n *yaml.Node, key string)
	missing string
}

func (f field) required(repair string) field {
	f.missing = repair
	return f
}

// problem notes what is wrong with key. The line is its own or that of the nearest key around it.
func (r *reader) problem(key, format string, args ...any) {
	r.bad[key] = true
	line := 0
	for k := key; k != "" && line == 0; k = k[:max(strings.LastIndexAny(k, ".["), 0)] {
		line = r.lines[k]
	}
	shown := cmp.Or(r.names[key], key, "file")
	r.problems = append(r.problems, Problem{Key: shown, Line: line, Text: fmt.Sprintf(format, args...)})
}

// ok reports whether the values of all keys can be compared with others.
func (r *reader) ok(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return r.bad[key] })
}

// err is the report in the order of the file, or nil.
func (r *reader) err(source string) error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if more := len(r.problems) - maxProblems; more > 0 {
		r.problems = append(r.problems[:maxProblems:maxProblems],
			Problem{Key: "file", Text: fmt.Sprintf("%d more problems are not shown: repair these first", more)})
	}
	return &Error{Source: source, Problems: r.problems}
}

// enter notes that key is given at n, and returns the node that n stands for; nil for a null, or when the file is
// too large to go on.
func (r *reader) enter(n *yaml.Node, key string, line int) *yaml.Node {
	if r.nodes++; r.nodes > maxNodes {
		if r.nodes == maxNodes+1 {
			r.problem("", "its aliases expand to more than %d values: use fewer aliases, or split the file", maxNodes)
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.lines[key] = line
	if n.ShortTag() == "!!null" {
		return nil
	}
	return n
}

func (r *reader) mapping(n *yaml.Node, key string, fields map[string]field) {
	if n.Kind != yaml.MappingNode {
		r.problem(key, "must be a mapping, lines of `key: value`, not %s", kind(n))
		return
	}
	given, first := map[string]bool{}, map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := join(key, shownKey(name))
		if line, twice := first[name.Value]; twice {
			r.problem(at, "is given twice, in line %d and in line %d: remove one", line, name.Line)
			continue
		}
		first[name.Value] = name.Line
		f, known := fields[name.Value]
		if value = r.enter(value, at, name.Line); !known || name.Kind != yaml.ScalarNode {
			r.problem(at, "is not a known key: %s", suggestKey(name.Value, slices.Sorted(maps.Keys(fields))))
		} else if value != nil {
			given[name.Value] = true
			f.decode(r, value, at)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if f := fields[name]; f.missing != "" && !given[name] {
			r.problem(join(key, name), "is missing: %s", f.missing)
		}
	}
}

// group is a mapping below a mapping.
func group(fields map[string]field) field {
	return field{decode: func(r *reader, n *yaml.Node, key string) { r.mapping(n, key, fields) }}
}

// list decodes each item, keeping a place for the broken ones so that positions stay those of the file.
func list[T any](into *[]T, item func(r *reader, n *yaml.Node, key string) T) field {
	return field{decode: func(r *reader, n *yaml.Node, key string) {
		if n.Kind != yaml.SequenceNode {
			r.problem(key, "must be a list, lines of `- item`, not %s", kind(n))
			return
		}
		if len(n.Content) == 0 {
			*into = []T{}
		}
		for i, entry := range n.Content {
			at := fmt.Sprintf("%s[%d]", key, i)
			value := r.enter(entry, at, entry.Line)
			if r.nodes > maxNodes {
				return
			}
			var decoded T
			if value == nil {
				r.problem(at, "is empty: give it a value, or remove the item")
			} else {
				decoded = item(r, value, at)
			}
			*into = append(*into, decoded)
		}
	}}
}

// The wishes of scalars: the YAML types they accept, the first of which names what to write.
var (
	aText     = []string{"!!str"}
	aNumber   = []string{"!!int"}
	aBool     = []string{"!!bool"}
	anAmount  = []string{"!!str", "!!int", "!!float"} // the parser explains which unit is missing
	typeWords = map[string]string{
		"!!str":  "text; put it in quotes",
		"!!int":  "a whole number, without quotes",
		"!!bool": "true or false, without quotes",
	}
)

// scalar decodes one value. No message about its type shows it, since it may be a secret; parse decides for its own.
func scalar[T any](into *T, wish []string, parse func(string) (T, error)) field {
	return field{decode: func(r *reader, n *yaml.Node, key string) {
		if n.Kind != yaml.ScalarNode {
			r.problem(key, "must be a single value, not %s", kind(n))
			return
		}
		if !slices.Contains(wish, n.ShortTag()) {
			r.problem(key, "must be %s", typeWords[wish[0]])
			return
		}
		value, err := parse(n.Value)
		if err != nil {
			r.problem(key, "%s", err)
			return
		}
		*into = value
	}}
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping (mind that a colon followed by a space makes one)"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// shownKey is a key as it stands in the report: cut where it is no word, since somebody may have put a value there.
func shownKey(n *yaml.Node) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "(not a text)"
	case !plainKey.MatchString(n.Value):
		return quote(n.Value[:min(len(n.Value), 20)])
	default:
		return n.Value
	}
}

// suggestKey is the repair of an unknown key.
func suggestKey(name string, known []string) string {
	if name == "<<" {
		return "merging mappings with << is not supported; repeat the keys, each may hold an alias"
	}
	plain := strings.NewReplacer("_", "", "-", "").Replace
	best, least := "", 3
	for _, k := range known {
		d := distance(strings.ToLower(plain(name[:min(len(name), 40)])), plain(k))
		if d < least && d < len(plain(k)) {
			best, least = k, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "known here are " + strings.Join(known, ", ")
}

// distance counts the letters to insert, delete or replace to turn a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
