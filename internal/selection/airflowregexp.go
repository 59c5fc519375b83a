package selection

import (
	"regexp"
	"regexp/syntax"
)

// maxRE2Size bounds the compiled size of one file's regular expressions, in about instructions: "(.{1000})" is short but large.
const maxRE2Size = 1 << 18

// re2Compiler compiles as Airflow 2.7 to 2.11 do, with RE2. Go's regexp is that engine with that language. For Airflow 3 see
// Airflow3Regexp.
func re2Compiler() func(line string) (airflowRule, bool) {
	left := maxRE2Size
	return func(line string) (airflowRule, bool) {
		tree, err := syntax.Parse(line, syntax.Perl)
		if err != nil {
			return airflowRule{}, false
		}
		size := re2Size(tree)
		if size > left {
			return airflowRule{}, false
		}
		compiled, err := regexp.Compile(line)
		if err != nil {
			return airflowRule{}, false
		}
		left -= size
		return airflowRule{match: compiled.MatchString}, true
	}
}

func re2Size(tree *syntax.Regexp) int {
	size := 1 + len(tree.Rune)
	for _, sub := range tree.Sub {
		size += re2Size(sub)
	}
	if tree.Op == syntax.OpRepeat {
		size *= max(tree.Min, tree.Max, 1)
	}
	return min(size, maxRE2Size+1) // before it overflows
}
