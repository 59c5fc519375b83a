package bucket

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// URL is a place in a storage: a bucket, or a directory, and a prefix below it.
type URL struct {
	Scheme string // "s3", "gs" or "file"
	Bucket string // bucket name; for "file" the absolute path of the directory, without trailing slash
	Prefix string // "" or ending in "/"; always "" for "file"
}

// ParseURL reads "s3://bucket/prefix/", "gs://bucket/prefix/" or "file:///dir/". A missing last slash is added, so that
// the prefix "dags" never matches "dags_old/". Nothing is percent-decoded: what stands there is the key.
func ParseURL(s string) (URL, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return URL{}, fmt.Errorf("%q is not a bucket URL: write s3://bucket/prefix/, gs://bucket/prefix/ or file:///dir/", s)
	}
	switch scheme {
	case "s3", "gs":
		name, prefix, _ := strings.Cut(rest, "/")
		if err := checkBucketName(name); err != nil {
			return URL{}, fmt.Errorf("bucket URL %q: %w", s, err)
		}
		if prefix != "" && !strings.HasSuffix(prefix, "/") {
			prefix += "/"
		}
		if strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "//") {
			return URL{}, fmt.Errorf("bucket URL %q: the prefix has an empty segment (\"//\"); write each slash once", s)
		}
		return URL{Scheme: scheme, Bucket: name, Prefix: prefix}, nil
	case "file":
		if !strings.HasPrefix(rest, "/") {
			return URL{}, fmt.Errorf("bucket URL %q: a directory needs an absolute path, such as file:///srv/dags/", s)
		}
		return URL{Scheme: scheme, Bucket: path.Clean(rest)}, nil
	default:
		return URL{}, fmt.Errorf("bucket URL %q: unknown scheme %q; use s3, gs or file", s, scheme)
	}
}

// ParseObjectURL splits the URL of one object, such as "s3://bucket/dir/config.yaml", into its bucket and its key.
func ParseObjectURL(s string) (URL, string, error) {
	at := strings.LastIndex(s, "/")
	if at < 0 || at == len(s)-1 {
		return URL{}, "", fmt.Errorf("%q is not the URL of an object: it needs a name after the last slash", s)
	}
	place := s[:at+1]
	if strings.HasSuffix(place, "://") && place != "file://" {
		return URL{}, "", fmt.Errorf("%q is not the URL of an object: it names a bucket only", s)
	}
	u, err := ParseURL(place)
	if err != nil {
		return URL{}, "", err
	}
	return u, u.Prefix + s[at+1:], nil
}

func checkBucketName(name string) error {
	if name == "" {
		return errors.New("the bucket's name is missing")
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_') {
			return fmt.Errorf("%q is not a bucket name: letters, digits, dots, dashes and underscores only", name)
		}
	}
	return nil
}

// String is the URL as ParseURL reads it, with its last slash.
func (u URL) String() string {
	return u.Root() + "/" + u.Prefix
}

// Root is the URL without prefix and last slash: what Bucket.String returns. For "file:///" that is "file://".
func (u URL) Root() string { return u.Scheme + "://" + strings.TrimSuffix(u.Bucket, "/") }

// Contains reports whether other lies at or below u.
func (u URL) Contains(other URL) bool {
	if u.Scheme != other.Scheme {
		return false
	}
	if u.Scheme == "file" {
		return u.Bucket == "/" || other.Bucket == u.Bucket || strings.HasPrefix(other.Bucket, u.Bucket+"/")
	}
	return u.Bucket == other.Bucket && strings.HasPrefix(other.Prefix, u.Prefix)
}
