// Package selection decides which objects of a listing are shipped, and under which path. It does no input or output.
package selection

import (
	"fmt"
	"strings"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// Source is what must be known of one source to select from it.
type Source struct {
	Prefix string  // "" or ending in "/"
	Mount  string  // folder below the base folder, such as "a/b"; "" for the base folder itself; a safe path
	Ignore *Ignore // the source's own ignore file; may be nil
	Index  int     // which of the route's sources this is; copied into each File
}

// File is an object that is shipped.
type File struct {
	Path   string // below the base folder: "<mount>/<key without prefix>"
	Source int    // Source.Index
	Object *bucket.Object
}

// LeftOut is an object that is not shipped.
type LeftOut struct {
	Path    string // as File.Path would be; bytes that cannot be printed are written as \x00
	Source  int    // Source.Index
	Key     string // as listed, so perhaps not UTF-8
	Reason  string // one of the Reason constants
	Message string // for people
}

// The reasons for leaving an object out.
const (
	ReasonExcluded = "excluded" // by the fixed list: placeholders, bytecode, temporary files
	ReasonIgnored  = "ignored"  // by the source's ignore file
	ReasonUnsafe   = "unsafe"   // the key is no safe path, or names a file and a folder at once
)

// Select divides a listing of s.Prefix into what is shipped and what is not. Both keep the listing's order; a listing in order
// of key gives files in order of path, both compared as bytes. The files refer to objects.
func Select(s Source, objects []bucket.Object) (files []File, leftOut []LeftOut) {
	base := ""
	if s.Mount != "" {
		base = s.Mount + "/"
	}
	files = make([]File, 0, len(objects))
	ignore := s.Ignore.walk()
	for i := range objects {
		o := &objects[i]
		rel, below := strings.CutPrefix(o.Key, s.Prefix)
		reason, message := ReasonUnsafe, "its key does not begin with the source's prefix"
		if below {
			reason, message = judge(rel, len(base), o.Size, ignore)
		}
		if reason == "" {
			files = append(files, File{Path: base + rel, Source: s.Index, Object: o})
			continue
		}
		leftOut = append(leftOut, LeftOut{Path: base + printable(rel), Source: s.Index, Key: o.Key, Reason: reason, Message: message})
	}
	return files, leftOut
}

// judge returns why the object at rel is left out, or "". A key that is no safe path is reported as such even where another
// reason would do too, since the other rules are about paths.
func judge(rel string, baseLen int, size int64, ignore *walk) (reason, message string) {
	if size == 0 && (rel == "" || strings.HasSuffix(rel, "/")) {
		return ReasonExcluded, "a placeholder for a folder"
	}
	if wrong := unsafe(rel, baseLen); wrong != "" {
		return ReasonUnsafe, wrong
	}
	if what := excluded(rel, size); what != "" {
		return ReasonExcluded, what
	}
	if r := ignore.ruleFor(rel); r != nil {
		return ReasonIgnored, fmt.Sprintf("line %d of %s: %s", r.line, IgnoreFile, r.text)
	}
	return "", ""
}
