package gcsserver

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// name is an object's full name.
type name struct{ bucket, key string }

// path is the path of the object in the JSON API.
func (n name) path() string {
	return "/storage/v1/b/" + url.PathEscape(n.bucket) + "/o/" + url.PathEscape(n.key)
}

type api int

const (
	jsonAPI api = iota
	xmlAPI
)

type kind int

const (
	unknown  kind = iota
	aBucket       // or all buckets, or what belongs to a bucket but its objects
	aListing      // the objects of a bucket
	anObject
	anUpload
)

// target is what a request's path says.
type target struct {
	api    api
	kind   kind
	name          // the key is "" but for objects
	media  bool   // the object's content, not its metadata
	action string // "compose", or "rewriteTo/b/<bucket>/o/<key>" or "copyTo/…"; mostly ""
	path   string // as it came, encoded
}

// targetOf reads the path before it is decoded, since a key's own slashes are encoded in it. The fake's router fails on some keys.
func targetOf(r *http.Request) target {
	path := r.URL.EscapedPath()
	alt := r.URL.Query().Get("alt")
	// gcloud has a path of its own for uploads that can be resumed.
	if rest, ok := strings.CutPrefix(strings.TrimPrefix(path, "/resumable"), "/upload/storage/v1/b/"); ok {
		bucket, rest, _ := strings.Cut(rest, "/")
		if rest == "o" || rest == "o/" {
			return target{kind: anUpload, name: name{bucket: unescaped(bucket)}}
		}
		return target{}
	}
	rest, download := strings.CutPrefix(path, "/download/storage/v1/b/")
	if !download {
		var ok bool
		if rest, ok = strings.CutPrefix(path, "/storage/v1/b"); !ok {
			return xmlTarget(path)
		}
		rest = strings.TrimPrefix(rest, "/")
	}
	bucket, rest, _ := strings.Cut(rest, "/")
	t := target{kind: aBucket, name: name{bucket: unescaped(bucket)}, path: path}
	switch object, isObject := strings.CutPrefix(rest, "o/"); {
	case rest == "o" || rest == "o/":
		t.kind = aListing
	case isObject:
		if r.Method == http.MethodPost {
			object, t.action = cutAction(object)
		}
		t.kind, t.key, t.media = anObject, unescaped(object), download || alt == "media" || r.Method == http.MethodHead
	}
	return t
}

func xmlTarget(path string) target {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	t := target{api: xmlAPI, name: name{unescaped(bucket), unescaped(key)}, media: true, path: path}
	if bucket != "" && key != "" && !strings.HasPrefix(path, "/_internal/") && !strings.HasPrefix(path, "/batch/") {
		t.kind = anObject
	}
	return t
}

// cutAction splits what follows a key from it. The slashes of a key should be encoded; where they are not, only these words end it.
func cutAction(path string) (key, action string) {
	for _, word := range []string{"/rewriteTo/b/", "/copyTo/b/"} {
		if at := strings.Index(path, word); at > 0 {
			return path[:at], path[at+1:]
		}
	}
	if key, ok := strings.CutSuffix(path, "/compose"); ok {
		return key, "compose"
	}
	return path, ""
}

// unescaped decodes a part of a path; what is not encoded properly stands for itself, as for the fake.
func unescaped(part string) string {
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}

// checkKey refuses the names that Cloud Storage cannot hold.
func checkKey(key string) error {
	switch {
	case key == "":
		return &failure{status: http.StatusBadRequest, reason: "required", code: "InvalidArgument", message: "Required"}
	case len(key) > 1024:
		return invalid("The maximum object length is 1024 characters, but got a name with %d characters: '%.1024s...'", len(key), key)
	case !utf8.ValidString(key) || strings.ContainsAny(key, "\r\n"):
		return invalid("Disallowed unicode characters present in object name %q", key)
	case key == "." || key == ".." || strings.HasPrefix(key, ".well-known/acme-challenge/"):
		return invalid("Invalid object name: %q", key)
	}
	return nil
}
