package s3server

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/johannesboyne/gofakes3"
)

const maxKeys = 1000 // of a page, as S3's

// listResult is the answer to ListObjects and ListObjectsV2.
type listResult struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                string
	Delimiter             string `xml:",omitempty"`
	Marker                string `xml:",omitempty"`
	NextMarker            string `xml:",omitempty"`
	ContinuationToken     string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	StartAfter            string `xml:",omitempty"`
	KeyCount              int
	MaxKeys               int
	EncodingType          string `xml:",omitempty"`
	IsTruncated           bool
	Contents              []listEntry
	CommonPrefixes        []commonPrefix
}

type listEntry struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
	StorageClass string
}

type commonPrefix struct{ Prefix string }

// isList reports whether r lists objects. gofakes3's own listing knows no encoding-type, and says "truncated" when only keys outside
// the prefix follow.
func isList(r *http.Request) bool {
	bucket, key := target(r)
	if r.Method != http.MethodGet || bucket == "" || key != "" {
		return false
	}
	query := r.URL.Query()
	for _, other := range []string{"location", "versioning", "versions", "uploads"} {
		if query.Has(other) {
			return false
		}
	}
	return true
}

// list answers with one page of objects and common prefixes, in the byte order of their names.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	result := listResult{
		Prefix: query.Get("prefix"), Delimiter: query.Get("delimiter"), Marker: query.Get("marker"), StartAfter: query.Get("start-after"),
		ContinuationToken: query.Get("continuation-token"), EncodingType: query.Get("encoding-type"), MaxKeys: maxKeys,
	}
	result.Name, _ = target(r)
	if asked := query.Get("max-keys"); asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 0 {
			writeError(w, r, gofakes3.ErrInvalidArgument)
			return
		}
		result.MaxKeys = min(n, maxKeys)
	}
	token, err := base64.URLEncoding.DecodeString(result.ContinuationToken)
	if err != nil {
		writeError(w, r, gofakes3.ErrInvalidToken)
		return
	}
	all, err := s.store.ListBucket(result.Name, nil, gofakes3.ListBucketPage{})
	if err != nil {
		writeError(w, r, err)
		return
	}
	last := result.fill(all.Contents, max(result.Marker, result.StartAfter, string(token)))
	if result.IsTruncated && query.Get("list-type") == "2" {
		result.NextContinuationToken = base64.URLEncoding.EncodeToString([]byte(last))
	} else if result.IsTruncated {
		result.NextMarker = last
	}
	if result.EncodingType == "url" {
		result.encode()
	}
	w.Header().Set("Content-Type", "application/xml")
	_, _ = w.Write([]byte(xml.Header))
	_ = xml.NewEncoder(w).Encode(result)
}

// fill takes up to MaxKeys entries after marker from contents, which are in order, and returns the last one's name.
func (l *listResult) fill(contents []*gofakes3.Content, marker string) (last string) {
	for _, o := range contents {
		rest, ok := strings.CutPrefix(o.Key, l.Prefix)
		if !ok {
			continue
		}
		entry, isCommon := o.Key, false
		if l.Delimiter != "" {
			var head string
			if head, _, isCommon = strings.Cut(rest, l.Delimiter); isCommon {
				entry = l.Prefix + head + l.Delimiter
			}
		}
		if entry <= marker || entry == last {
			continue
		}
		if l.KeyCount == l.MaxKeys {
			l.IsTruncated = l.MaxKeys > 0
			return last
		}
		l.KeyCount++
		last = entry
		if isCommon {
			l.CommonPrefixes = append(l.CommonPrefixes, commonPrefix{entry})
			continue
		}
		l.Contents = append(l.Contents, listEntry{Key: o.Key, ETag: o.ETag, Size: o.Size, StorageClass: "STANDARD",
			LastModified: o.LastModified.UTC().Format("2006-01-02T15:04:05.000Z")})
	}
	return last
}

// encode encodes every key as S3 does for encoding-type=url, since XML cannot hold all of them.
func (l *listResult) encode() {
	for _, name := range []*string{&l.Prefix, &l.Delimiter, &l.Marker, &l.NextMarker, &l.StartAfter} {
		*name = formEncoded(*name)
	}
	for i := range l.Contents {
		l.Contents[i].Key = formEncoded(l.Contents[i].Key)
	}
	for i := range l.CommonPrefixes {
		l.CommonPrefixes[i].Prefix = formEncoded(l.CommonPrefixes[i].Prefix)
	}
}

// formEncoded encodes a key as listings and notifications do: as a form's value, but for the slashes.
func formEncoded(key string) string {
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}
