package gcsserver

import (
	"encoding/base64"
	"net/http"
	"sort"
	"strconv"
	"strings"
)

const maxResults = 1000 // of a page, as Cloud Storage's

// listAnswer is a page of a listing.
type listAnswer struct {
	Kind          string     `json:"kind"`
	NextPageToken string     `json:"nextPageToken,omitempty"`
	Prefixes      []string   `json:"prefixes,omitempty"`
	Items         []resource `json:"items,omitempty"`
}

// listing is what a page is asked for.
type listing struct {
	prefix, delimiter  string
	startAt, endBefore string // "" is no bound
	after              string // the last entry of the page before, or ""
	limit              int    // of objects and prefixes together
	trailing           bool   // objects that end with the delimiter, and nothing below it, are listed too
}

func listingOf(r *http.Request) (listing, error) {
	query := r.URL.Query()
	l := listing{
		prefix: query.Get("prefix"), delimiter: query.Get("delimiter"), startAt: query.Get("startOffset"), endBefore: query.Get("endOffset"),
		limit: maxResults, trailing: query.Get("includeTrailingDelimiter") == "true",
	}
	if query.Get("matchGlob") != "" {
		return l, errNotSupported
	}
	if asked := query.Get("maxResults"); asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 0 {
			return l, invalid("Invalid value for maxResults: %q", asked)
		}
		if n > 0 {
			l.limit = min(n, maxResults)
		}
	}
	after, err := base64.URLEncoding.DecodeString(query.Get("pageToken"))
	if err != nil {
		return l, invalid("Invalid page token")
	}
	l.after = string(after)
	return l, nil
}

// list answers with one page of objects and common prefixes, in the byte order of their names. What is written between two pages
// is in the later one, if it belongs there: a token says only where the page before ended.
func (s *Server) list(w http.ResponseWriter, r *http.Request, t target) error {
	wanted, err := listingOf(r)
	if err != nil {
		return err
	}
	objects, answer, err := s.page(t.bucket, wanted)
	if err != nil {
		return err
	}
	for _, o := range objects {
		answer.Items = append(answer.Items, o.resource())
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// page returns the objects of the page, and the answer without them.
func (s *Server) page(bucket string, l listing) ([]*object, listAnswer, error) {
	s.mu.Lock() // sorting the keys is a write
	defer s.mu.Unlock()
	answer := listAnswer{Kind: "storage#objects"}
	if !s.shelf.has(bucket) {
		return nil, answer, errNoBucket
	}
	var objects []*object
	var last string
	keys := s.shelf.keys(bucket)
	for _, key := range keys[sort.SearchStrings(keys, max(l.prefix, l.startAt, l.after)):] {
		if !strings.HasPrefix(key, l.prefix) || l.endBefore != "" && key >= l.endBefore {
			break
		}
		common := l.common(key)
		entry := key
		if common != "" {
			entry = common
		}
		listed := common == "" || l.trailing && key == common
		if l.after != "" && entry <= l.after || !listed && entry == last {
			continue
		}
		if len(objects)+len(answer.Prefixes) >= l.limit {
			answer.NextPageToken = base64.URLEncoding.EncodeToString([]byte(last))
			break
		}
		if common != "" && entry != last {
			answer.Prefixes = append(answer.Prefixes, common)
		}
		if listed {
			objects = append(objects, s.shelf.get(name{bucket, key}))
		}
		last = entry
	}
	return objects, answer, nil
}

// common returns the common prefix that key falls under, or "".
func (l listing) common(key string) string {
	if l.delimiter == "" {
		return ""
	}
	at := strings.Index(key[len(l.prefix):], l.delimiter)
	if at < 0 {
		return ""
	}
	return key[:len(l.prefix)+at+len(l.delimiter)]
}
