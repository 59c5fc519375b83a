package selection

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Conflict is a path that several objects claim.
type Conflict struct {
	Path  string
	Files []File // two or more, in order of source
}

// Message names the objects and the repair, for people.
func (c Conflict) Message() string {
	var claims []string
	for _, f := range c.Files {
		claims = append(claims, fmt.Sprintf("%q of sources[%d]", f.Object.Key, f.Source))
	}
	return strings.Join(claims, " and ") + " claim the same path: remove all but one, or give the sources different mounts"
}

// Merge brings the files of all sources together. Each ends in exactly one of the results: in files if its path is its own, in
// conflicts if another object claims that path too, and in leftOut if the path is also a folder's, whoever claims what is in that
// folder. All three are in order of path, as bytes.
func Merge(perSource ...[]File) (files []File, conflicts []Conflict, leftOut []LeftOut) {
	all := slices.Concat(perSource...)
	slices.SortFunc(all, func(a, b File) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(a.Source, b.Source), strings.Compare(a.Object.Key, b.Object.Key))
	})
	files = make([]File, 0, len(all))
	for len(all) > 0 {
		path := all[0].Path
		n := 1
		for n < len(all) && all[n].Path == path {
			n++
		}
		same := all[:n:n]
		all = all[n:]
		inside := firstInside(path, all)
		switch {
		case inside != nil:
			leftOut = append(leftOut, asFolder(same, inside)...)
		case n > 1:
			conflicts = append(conflicts, Conflict{Path: path, Files: same})
		default:
			files = append(files, same[0])
		}
	}
	return files, conflicts, leftOut
}

// firstInside returns the first file below the folder, or nil. It need not be the next one: "a.py" lies between "a" and "a/b.py".
func firstInside(folder string, sorted []File) *File {
	inside := folder + "/"
	at, _ := slices.BinarySearchFunc(sorted, inside, func(f File, path string) int { return strings.Compare(f.Path, path) })
	if at == len(sorted) || !strings.HasPrefix(sorted[at].Path, inside) {
		return nil
	}
	return &sorted[at]
}

func asFolder(same []File, inside *File) []LeftOut {
	var leftOut []LeftOut
	for _, f := range same {
		leftOut = append(leftOut, LeftOut{Path: f.Path, Source: f.Source, Key: f.Object.Key, Reason: ReasonUnsafe,
			Message: fmt.Sprintf("its name is also that of the folder of %q of sources[%d]: rename one of them", inside.Object.Key, inside.Source)})
	}
	return leftOut
}
