package selection

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxSegment = 255   // bytes; what Linux file systems take
	maxPath    = 1_024 // bytes of File.Path, so with the mount and without the base folder
)

// unsafe says what keeps rel from being a safe path, and the repair; "" if nothing does. Control characters are those of
// Unicode (category Cc): below U+0020, DEL, and U+0080 to U+009F. Any other character is as good as a letter.
func unsafe(rel string, baseLen int) string {
	switch {
	case rel == "":
		return "its key is the source's prefix and names no file: copy it to a key with a name"
	case !utf8.ValidString(rel):
		return "its key is not UTF-8: copy it to a key that is"
	case strings.ContainsFunc(rel, unicode.IsControl):
		return "its key has a control character: copy it to a key without"
	case strings.Contains(rel, `\`):
		return `its key has a backslash: separate folders with "/"`
	case strings.HasPrefix(rel, "/"):
		return `its key has a "/" before the first name: write each slash once`
	case baseLen+len(rel) > maxPath:
		return fmt.Sprintf("its path has %d bytes, and more than %d cannot be shipped: use shorter names", baseLen+len(rel), maxPath)
	}
	for segment := range strings.SplitSeq(rel, "/") {
		switch {
		case segment == "":
			return `its key has an empty segment ("//", or a "/" at its end): write each slash once, and none at the end`
		case segment == "." || segment == "..":
			return fmt.Sprintf("its key has the segment %q: write the path without", segment)
		case len(segment) > maxSegment:
			return fmt.Sprintf("its key has a segment of %d bytes, and file names end at %d: use a shorter name", len(segment), maxSegment)
		}
	}
	return ""
}

// printable writes what cannot be printed as \x and two hexadecimal digits a byte.
func printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 || unicode.IsControl(r) {
			for _, c := range []byte(s[:size]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}
