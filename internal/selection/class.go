package selection

import (
	"errors"
	"fmt"
	"strings"
)

// class is a set of bytes.
type class [256]bool

// readClass reads the class that pattern begins with, "[a-c]" for instance, by git's rules, and returns how long it is.
func readClass(pattern string) (set class, length int, err error) {
	i := 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	low := -1 // the byte before, from which a range may go on
	for first := i; i < len(pattern); {
		if pattern[i] == ']' && i > first {
			if !set.keepUsable(negated) {
				return set, 0, fmt.Errorf("%s matches nothing that a file name has", shortened(pattern[:i+1]))
			}
			return set, i + 1, nil
		}
		if name, ok := className(pattern[i:]); ok {
			if !set.addNamed(name) {
				return set, 0, fmt.Errorf("there is no class [:%s:]: use alnum, alpha, digit, lower, punct, upper or xdigit", shortened(name))
			}
			i += len("[:") + len(name) + len(":]")
			low = -1
			continue
		}
		isRange := pattern[i] == '-' && low >= 0 && i+1 < len(pattern) && pattern[i+1] != ']'
		if isRange {
			i++
		}
		if pattern[i] == '\\' {
			i++
		}
		if i == len(pattern) {
			break
		}
		if isRange {
			set.add(byte(low), pattern[i])
			low = -1
		} else {
			set.add(pattern[i], pattern[i])
			low = int(pattern[i])
		}
		i++
	}
	return set, 0, errors.New(`a "[" lacks its "]": add it, or write "\[" for the character itself`)
}

// className reads "[:name:]".
func className(pattern string) (name string, ok bool) {
	inner, ok := strings.CutPrefix(pattern, "[:")
	if !ok {
		return "", false
	}
	if inner, _, ok = strings.Cut(inner, "]"); !ok {
		return "", false
	}
	return strings.CutSuffix(inner, ":")
}

func (s *class) add(low, high byte) {
	for c := int(low); c <= int(high); c++ {
		s[c] = true
	}
}

// addNamed adds the bytes of a class of POSIX, all of them ASCII. It reports whether there is one of that name.
func (s *class) addNamed(name string) bool {
	members, known := map[string]string{
		"alnum": "azAZ09", "alpha": "azAZ", "blank": "  \t\t", "cntrl": "\x00\x1f\x7f\x7f", "digit": "09", "graph": "!~",
		"lower": "az", "print": " ~", "punct": "!/:@[`{~", "space": "  \t\r", "upper": "AZ", "xdigit": "09afAF",
	}[name]
	for i := 0; i < len(members); i += 2 {
		s.add(members[i], members[i+1])
	}
	return known
}

// keepUsable turns the set around if it is negated, removes what no segment of a path has, and reports whether something is left.
func (s *class) keepUsable(negated bool) bool {
	left := false
	for c := range s {
		s[c] = s[c] != negated && usable(c)
		left = left || s[c]
	}
	return left
}

func usable(c int) bool { return c >= ' ' && c != '/' && c != 0x7f }

// glob writes the set in the library's language.
func (s *class) glob() string {
	var b strings.Builder
	b.WriteByte('[')
	for c := 0; c < len(s); c++ {
		if !s[c] {
			continue
		}
		low := c
		for c+1 < len(s) && s[c+1] {
			c++
		}
		writeLiteral(&b, byte(low))
		if c > low {
			b.WriteByte('-')
			writeLiteral(&b, byte(c))
		}
	}
	b.WriteByte(']')
	return b.String()
}
